/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the bodies have in common, written and read. */
#include "lib/proto/opp.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/opp_impl.h"

int p2p_opp_printable(const char *s, size_t cap)
{
	size_t i;

	for (i = 0; i < cap && s[i] != '\0'; i++) {
		if (s[i] < ' ' || s[i] > '~')
			return 0;
	}
	return i < cap;
}

/* A string of printable ASCII. */
void p2p_opp_put_string(struct p2p_text *t, const char *s)
{
	p2p_text_add(t, "\"");
	for (; *s != '\0'; s++)
		p2p_text_add(t, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
	p2p_text_add(t, "\"");
}

int p2p_opp_put_end(const struct p2p_text *t, size_t *len)
{
	if (t->cut)
		return EMSGSIZE;
	*len = t->len;
	return 0;
}

int p2p_opp_put_uris(struct p2p_text *t, const char (*uri)[P2P_LOCATOR_URI_MAX], unsigned int n)
{
	unsigned int i;

	if (n > P2P_OPP_LIST_MAX)
		return EINVAL;
	p2p_text_add(t, "\"sip\":[");
	for (i = 0; i < n; i++) {
		struct p2p_locator l;

		if (!p2p_opp_printable(uri[i], P2P_LOCATOR_URI_MAX) ||
		    p2p_locator_parse(&l, uri[i], strlen(uri[i])) != 0)
			return EINVAL;
		if (i > 0)
			p2p_text_add(t, ",");
		p2p_opp_put_string(t, uri[i]);
	}
	p2p_text_add(t, "]");
	return 0;
}

#define RECORD_TEXT_MAX (P2P_BASE64URL_LEN(P2P_RECORD_MAX) + 1)

int p2p_opp_put_record(struct p2p_text *t, const uint8_t *record, size_t len)
{
	char text[RECORD_TEXT_MAX];

	if (len == 0 || len > P2P_RECORD_MAX)
		return EINVAL;
	p2p_base64url_print(text, record, len);
	p2p_text_add(t, "\"%s\"", text);
	return 0;
}

int p2p_opp_record_of(json_object *o, uint8_t record[P2P_RECORD_MAX], uint16_t *len)
{
	const char *s = p2p_opp_string_of(o, RECORD_TEXT_MAX);
	size_t have = s != NULL ? strlen(s) : 0, n = have * 3 / 4;

	if (n == 0 || n > P2P_RECORD_MAX || p2p_base64url_parse(record, n, s, have) != 0)
		return EBADMSG;
	*len = (uint16_t)n;
	return 0;
}

/* Addresses of a scheme or form that is not known here are left out. */
int p2p_opp_get_uris(json_object *o, char (*uri)[P2P_LOCATOR_URI_MAX], uint8_t *n)
{
	json_object *list;
	size_t i, len;

	*n = 0;
	if (p2p_opp_find_list(o, "sip", SIZE_MAX, &list, &len) != 0)
		return EBADMSG;
	for (i = 0; i < len && *n < P2P_OPP_LIST_MAX; i++) {
		const char *s =
			p2p_opp_string_of(json_object_array_get_idx(list, i), P2P_LOCATOR_URI_MAX);
		struct p2p_locator l;

		if (s == NULL || p2p_locator_parse(&l, s, strlen(s)) != 0)
			continue;
		strcpy(uri[(*n)++], s);
	}
	return 0;
}

int p2p_opp_put_versions(struct p2p_text *t, const unsigned int *version, size_t n)
{
	size_t i;

	if (n > P2P_OPP_LIST_MAX)
		return EINVAL;
	p2p_text_add(t, "[");
	for (i = 0; i < n; i++) {
		if (version[i] == 0 || version[i] > P2P_OPP_VERSION_NUMBER_MAX)
			return EINVAL;
		p2p_text_add(t, "%s%u", i > 0 ? "," : "", version[i]);
	}
	p2p_text_add(t, "]");
	return 0;
}

/* One that speaks more versions than we count is taken by its first ones. */
int p2p_opp_get_versions(json_object *o, unsigned int *version, uint8_t *n)
{
	json_object *list;
	size_t i, len;

	if (p2p_opp_get_list(o, "versions", SIZE_MAX, &list, &len) != 0)
		return EBADMSG;
	*n = 0;
	for (i = 0; i < len && *n < P2P_OPP_LIST_MAX; i++) {
		json_object *v = json_object_array_get_idx(list, i);
		int64_t number;

		if (!json_object_is_type(v, json_type_int))
			return EBADMSG;
		number = json_object_get_int64(v);
		if (number < 1 || number > P2P_OPP_VERSION_NUMBER_MAX)
			return EBADMSG;
		version[(*n)++] = (unsigned int)number;
	}
	return *n > 0 ? 0 : EBADMSG;
}

int p2p_opp_get_hit(json_object *o, struct p2p_hit *hit)
{
	const char *s = p2p_opp_get_string(o, "hit", P2P_HIT_TEXT_MAX);

	return s != NULL && p2p_hit_parse(hit, s, strlen(s)) == 0 ? 0 : EBADMSG;
}

int p2p_opp_body_parse(const char *text, size_t len, json_object **out)
{
	return len > P2P_OPP_BODY_MAX ? EMSGSIZE : p2p_opp_bulk_parse(text, len, out);
}

int p2p_opp_bulk_parse(const char *text, size_t len, json_object **out)
{
	struct json_tokener *tok;
	json_object *o;
	int err = EBADMSG;

	/* json-c stops at a NUL, and takes what is before it */
	if (len == 0 || text == NULL || memchr(text, 0, len) != NULL)
		return EBADMSG;
	tok = json_tokener_new_ex(P2P_OPP_DEPTH_MAX);
	if (tok == NULL)
		return ENOMEM;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tok, text, (int)len);
	if (o != NULL && json_tokener_get_error(tok) == json_tokener_success &&
	    json_tokener_get_parse_end(tok) == len && json_object_is_type(o, json_type_object)) {
		*out = o;
		o = NULL;
		err = 0;
	}
	json_object_put(o);
	json_tokener_free(tok);
	return err;
}

/* A member that is a string without NULs; NULL: it is not there, or is none. */
const char *p2p_opp_string_of(json_object *o, size_t max)
{
	const char *s;
	int len;

	if (!json_object_is_type(o, json_type_string))
		return NULL;
	s = json_object_get_string(o);
	len = json_object_get_string_len(o);
	return s != NULL && len >= 0 && (size_t)len < max && strlen(s) == (size_t)len ? s : NULL;
}

const char *p2p_opp_get_string(json_object *o, const char *name, size_t max)
{
	json_object *v;

	return json_object_object_get_ex(o, name, &v) ? p2p_opp_string_of(v, max) : NULL;
}

int p2p_opp_find_list(json_object *o, const char *name, size_t max, json_object **list, size_t *n)
{
	*n = 0;
	if (!json_object_object_get_ex(o, name, list))
		return 0;
	if (!json_object_is_type(*list, json_type_array))
		return EBADMSG;
	*n = json_object_array_length(*list);
	return *n <= max ? 0 : EBADMSG;
}

int p2p_opp_get_list(json_object *o, const char *name, size_t max, json_object **list, size_t *n)
{
	*n = 0;
	return json_object_object_get_ex(o, name, NULL) ? p2p_opp_find_list(o, name, max, list, n)
							: EBADMSG;
}

int p2p_opp_get_u64(json_object *o, const char *name, uint64_t *v)
{
	const char *s = p2p_opp_get_string(o, name, 24);

	return s != NULL && p2p_u64_parse(v, s, strlen(s)) == 0 ? 0 : EBADMSG;
}

int p2p_opp_get_flag(json_object *o, const char *name, bool *v)
{
	json_object *b;

	if (!json_object_object_get_ex(o, name, &b) || !json_object_is_type(b, json_type_boolean))
		return EBADMSG;
	*v = json_object_get_boolean(b);
	return 0;
}

int p2p_opp_get_word(json_object *o, const char *name, const char *const *words, size_t n, int *out)
{
	const char *s = p2p_opp_get_string(o, name, 32);
	size_t i;

	if (s == NULL)
		return EBADMSG;
	for (i = 0; i < n; i++) {
		if (words[i] != NULL && strcmp(words[i], s) == 0) {
			*out = (int)i;
			return 0;
		}
	}
	return EBADMSG;
}

/* Members of these bodies are numbers that fit, or none at all. */
int p2p_opp_get_u32(json_object *o, const char *name, uint32_t min, uint32_t max, uint32_t *out)
{
	json_object *v;
	int64_t number;

	if (!json_object_object_get_ex(o, name, &v) || !json_object_is_type(v, json_type_int))
		return EBADMSG;
	number = json_object_get_int64(v);
	if (number < min || number > max)
		return EBADMSG;
	*out = (uint32_t)number;
	return 0;
}

int p2p_opp_get_hex(json_object *o, const char *name, uint8_t *out, size_t n)
{
	const char *s = p2p_opp_get_string(o, name, 2 * P2P_OPP_NONCE_LEN + 1);

	return s != NULL && p2p_hex_parse(out, n, s, strlen(s)) == 0 ? 0 : EBADMSG;
}

/* Of a buffer of P2P_OPP_WORD_MAX. */
int p2p_opp_word_valid(const char *s)
{
	size_t i;

	for (i = 0; i < P2P_OPP_WORD_MAX && s[i] != '\0'; i++) {
		if ((s[i] < 'a' || s[i] > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '-')
			return 0;
	}
	return i > 0 && i < P2P_OPP_WORD_MAX;
}

int p2p_opp_get_name(json_object *o, const char *name, char word[P2P_OPP_WORD_MAX])
{
	const char *s = p2p_opp_get_string(o, name, P2P_OPP_WORD_MAX);

	if (s == NULL || !p2p_opp_word_valid(s))
		return EBADMSG;
	strcpy(word, s);
	return 0;
}
