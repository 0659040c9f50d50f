/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "relay/ng/ng_msg.h"

int ng_datagram_split(const char *buf, size_t len, size_t *cookie_len, size_t *body_off)
{
	size_t max = len < NG_COOKIE_MAX + 1 ? len : NG_COOKIE_MAX + 1;
	const char *sp = len > 0 ? memchr(buf, ' ', max) : NULL;

	if (sp == NULL || sp == buf)
		return EBADMSG;
	*cookie_len = (size_t)(sp - buf);
	*body_off = *cookie_len + 1;
	return 0;
}

static const char *member_string(struct json_object *o, const char *key, size_t *len)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string))
		return NULL;
	if (len != NULL)
		*len = (size_t)json_object_get_string_len(v);
	return json_object_get_string(v);
}

int ng_reply_parse(struct ng_reply *reply, const char *s, size_t len)
{
	struct ng_reply r = {.text = s, .text_len = len};
	struct json_tokener *tok;
	struct json_object *v;
	const char *result;
	int err = EBADMSG;

	if (len == 0 || len > NG_DATAGRAM_MAX)
		return EBADMSG;
	tok = json_tokener_new_ex(NG_DEPTH_MAX);
	if (tok == NULL)
		return ENOMEM;
	r.root = json_tokener_parse_ex(tok, s, (int)len);
	/* a dictionary is complete at its closing brace: what follows is not ours to believe */
	if (json_tokener_get_error(tok) != json_tokener_success
	    || json_tokener_get_parse_end(tok) != len
	    || !json_object_is_type(r.root, json_type_object))
		goto out;
	result = member_string(r.root, "result", NULL);
	if (result == NULL)
		goto out;
	if (strcmp(result, "ok") == 0) {
		r.result = NG_RESULT_OK;
	} else if (strcmp(result, "pong") == 0) {
		r.result = NG_RESULT_PONG;
	} else if (strcmp(result, "load limit") == 0) {
		r.result = NG_RESULT_LIMIT;
	} else if (strcmp(result, "error") == 0) {
		r.result = NG_RESULT_ERROR;
		r.error = member_string(r.root, "error-reason", NULL);
		if (r.error == NULL)
			r.error = "";
	} else {
		goto out;
	}
	if (json_object_object_get_ex(r.root, "sdp", &v)) {
		r.sdp = member_string(r.root, "sdp", &r.sdp_len);
		if (r.sdp == NULL)
			goto out;
	}
	*reply = r;
	r.root = NULL;
	err = 0;
out:
	if (r.root != NULL)
		json_object_put(r.root);
	json_tokener_free(tok);
	return err;
}

void ng_reply_free(struct ng_reply *reply)
{
	if (reply->root != NULL)
		json_object_put(reply->root);
	memset(reply, 0, sizeof(*reply));
}

bool ng_reply_unknown_call(const struct ng_reply *reply)
{
	return reply->result == NG_RESULT_ERROR
	       && (strcasestr(reply->error, "unknown call") != NULL
		   || strcasestr(reply->error, "call-id not found") != NULL);
}

static uint64_t member_count(struct json_object *o, const char *kind, const char *key)
{
	struct json_object *t, *k, *v;
	int64_t n;

	if (!json_object_object_get_ex(o, "totals", &t) || !json_object_is_type(t, json_type_object)
	    || !json_object_object_get_ex(t, kind, &k) || !json_object_is_type(k, json_type_object)
	    || !json_object_object_get_ex(k, key, &v))
		return 0;
	n = json_object_get_int64(v);
	return n > 0 ? (uint64_t)n : 0;
}

/* A media section's flags are words; one that is neither inactive nor one-way has both. */
static bool media_held(struct json_object *media)
{
	struct json_object *flags, *f;
	bool sends = false, receives = false;
	size_t i;

	if (!json_object_is_type(media, json_type_object)
	    || !json_object_object_get_ex(media, "flags", &flags)
	    || !json_object_is_type(flags, json_type_array))
		return false;
	for (i = 0; i < json_object_array_length(flags); i++) {
		const char *s;

		f = json_object_array_get_idx(flags, i);
		if (!json_object_is_type(f, json_type_string))
			continue;
		s = json_object_get_string(f);
		if (strcmp(s, "send") == 0)
			sends = true;
		else if (strcmp(s, "recv") == 0)
			receives = true;
	}
	return !sends || !receives;
}

void ng_reply_call_state(const struct ng_reply *reply, struct ng_call_state *state)
{
	struct json_object *tags, *medias;
	size_t i;

	memset(state, 0, sizeof(*state));
	state->rtp_packets = member_count(reply->root, "RTP", "packets");
	state->packets = state->rtp_packets + member_count(reply->root, "RTCP", "packets");
	if (!json_object_object_get_ex(reply->root, "tags", &tags)
	    || !json_object_is_type(tags, json_type_object))
		return;
	json_object_object_foreach(tags, key, tag)
	{
		(void)key;
		state->tags++;
		if (!json_object_is_type(tag, json_type_object)
		    || !json_object_object_get_ex(tag, "medias", &medias)
		    || !json_object_is_type(medias, json_type_array))
			continue;
		for (i = 0; i < json_object_array_length(medias); i++)
			if (media_held(json_object_array_get_idx(medias, i)))
				state->held = true;
	}
}

int ng_reply_calls(const struct ng_reply *reply, ng_call_id_h *f, void *arg)
{
	struct json_object *calls, *id;
	size_t i, n;

	if (!json_object_object_get_ex(reply->root, "calls", &calls)
	    || !json_object_is_type(calls, json_type_array))
		return -1;
	n = json_object_array_length(calls);
	for (i = 0; i < n; i++) {
		id = json_object_array_get_idx(calls, i);
		if (!json_object_is_type(id, json_type_string))
			continue;
		if (!f(json_object_get_string(id), (size_t)json_object_get_string_len(id), arg))
			break;
	}
	return (int)n;
}

/* Bytes of the UTF-8 sequence at s (RFC 3629), 0 when there is none. */
static size_t utf8_sequence(const unsigned char *s, size_t len)
{
	size_t n, i;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (len < n)
		return 0;
	for (i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)
	    || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

static struct json_object *json_text(const char *s, size_t len)
{
	struct json_object *o;
	size_t i = 0, n;
	char *copy;

	while (i < len && (n = utf8_sequence((const unsigned char *)s + i, len - i)) > 0)
		i += n;
	if (i == len)
		return json_object_new_string_len(s, (int)len);
	copy = malloc(len);
	if (copy == NULL)
		return NULL;
	memcpy(copy, s, len);
	while (i < len) {
		n = utf8_sequence((const unsigned char *)copy + i, len - i);
		if (n == 0) {
			copy[i] = '?';
			n = 1;
		}
		i += n;
	}
	o = json_object_new_string_len(copy, (int)len);
	free(copy);
	return o;
}

/* Takes v over, also when it fails. */
static int add(struct json_object *o, const char *key, struct json_object *v)
{
	if (v == NULL)
		return ENOMEM;
	if (json_object_object_add_ex(o, key, v,
				      JSON_C_OBJECT_ADD_KEY_IS_NEW | JSON_C_OBJECT_ADD_CONSTANT_KEY)
	    != 0) {
		json_object_put(v);
		return ENOMEM;
	}
	return 0;
}

static int add_text(struct json_object *o, const char *key, const char *s)
{
	return add(o, key, json_text(s, strlen(s)));
}

static struct json_object *text_list(const char *const *v, size_t n)
{
	struct json_object *list = json_object_new_array(), *s;
	size_t i;

	if (list == NULL)
		return NULL;
	for (i = 0; i < n; i++) {
		s = json_text(v[i], strlen(v[i]));
		if (s == NULL || json_object_array_add(list, s) != 0) {
			if (s != NULL)
				json_object_put(s);
			json_object_put(list);
			return NULL;
		}
	}
	return list;
}

struct json_object *ng_request_offer(const struct ng_offer *offer)
{
	/* The origin too: a phone that compares o= lines must not see the other's address */
	static const char *const replace[] = {"origin", "session-connection"};
	const char *direction[2];
	struct json_object *o = json_object_new_object();

	if (o == NULL)
		return NULL;
	direction[0] = offer->from_if;
	direction[1] = offer->to_if;
	if (add_text(o, "command", offer->answer ? "answer" : "offer") != 0
	    || add_text(o, "call-id", offer->call_id) != 0
	    || add_text(o, "from-tag", offer->from_tag) != 0
	    || (offer->to_tag != NULL && add_text(o, "to-tag", offer->to_tag) != 0)
	    || add(o, "direction", text_list(direction, 2)) != 0
	    || add(o, "replace", text_list(replace, 2)) != 0
	    || (offer->ice != NULL && add_text(o, "ICE", offer->ice) != 0)
	    || (offer->to_family != NULL && add_text(o, "address-family", offer->to_family) != 0)
	    || (offer->n_flags > 0 && add(o, "flags", text_list(offer->flags, offer->n_flags)) != 0)
	    || add(o, "sdp", json_text(offer->sdp, offer->sdp_len)) != 0) {
		json_object_put(o);
		return NULL;
	}
	return o;
}

struct json_object *ng_request_simple(const char *command, const char *call_id)
{
	struct json_object *o = json_object_new_object();

	if (o == NULL)
		return NULL;
	if (add_text(o, "command", command) != 0
	    || (call_id != NULL && add_text(o, "call-id", call_id) != 0)
	    /* at once: by default rtpengine keeps a deleted call for another 30 s */
	    || (strcmp(command, "delete") == 0
		&& add(o, "delete-delay", json_object_new_int(0)) != 0)) {
		json_object_put(o);
		return NULL;
	}
	return o;
}

struct json_object *ng_request_list(unsigned int limit)
{
	struct json_object *o = json_object_new_object();
	char text[16];

	if (o == NULL)
		return NULL;
	/* rtpengine wants this number as a string */
	snprintf(text, sizeof(text), "%u", limit);
	if (add_text(o, "command", "list") != 0 || add_text(o, "limit", text) != 0) {
		json_object_put(o);
		return NULL;
	}
	return o;
}

int ng_request_print(struct json_object *request, const char *cookie, char *buf, size_t cap,
		     size_t *len)
{
	size_t clen = strlen(cookie), n;
	const char *s = json_object_to_json_string_length(
		request, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n);

	if (s == NULL)
		return ENOMEM;
	if (clen + 1 + n > cap)
		return EMSGSIZE;
	memcpy(buf, cookie, clen);
	buf[clen] = ' ';
	memcpy(buf + clen + 1, s, n);
	*len = clen + 1 + n;
	return 0;
}
