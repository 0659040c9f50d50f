/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/proto/opp.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/key.h"
#include "lib/proto/opp_impl.h"
#include "lib/proto/revocation.h"

#define VERSION_MAX 1000

static const char *const presences[] = {
	[P2P_OPP_NO] = "no",
	[P2P_OPP_YES] = "yes",
	[P2P_OPP_ORPHAN] = "orphan",
	[P2P_OPP_MOVED] = "moved",
};
static const char *const errors[] = {
	[P2P_OPP_E_BADREQUEST] = "bad-request", [P2P_OPP_E_OVERLAY] = "overlay",
	[P2P_OPP_E_MEMBER] = "member",		[P2P_OPP_E_NOTFOUND] = "not-found",
	[P2P_OPP_E_VERSION] = "version",	[P2P_OPP_E_BUSY] = "busy",
	[P2P_OPP_E_METHOD] = "method",		[P2P_OPP_E_REPLAY] = "replay",
	[P2P_OPP_E_INUSE] = "in-use",		[P2P_OPP_E_NOCOMMON] = "no-common",
	[P2P_OPP_E_INVITATION] = "invitation",
};
#define N(a) (sizeof(a) / sizeof((a)[0]))

const char *p2p_opp_presence_text(enum p2p_opp_presence presence)
{
	return (size_t)presence < N(presences) && presences[presence] ? presences[presence] : "?";
}

const char *p2p_opp_error_text(enum p2p_opp_error_code code)
{
	return (size_t)code < N(errors) && errors[code] ? errors[code] : "?";
}

/* --- paths -------------------------------------------------------------------------------------
 */

/* Resources of one or two words and nothing else. */
static const struct {
	enum p2p_opp_resource resource;
	const char *word, *second;
} plain[] = {
	{P2P_OPP_RECORDS, "records", ""},    {P2P_OPP_QUERY, "records", "query"},
	{P2P_OPP_RANGE, "records", "range"}, {P2P_OPP_CHECK, "records", "check"},
	{P2P_OPP_CHANGES, "changes", ""},
};

static bool plain_print(const struct p2p_opp_path *path, const char *overlay,
			char text[P2P_OPP_PATH_MAX])
{
	size_t i;

	for (i = 0; i < N(plain); i++) {
		if (plain[i].resource == path->resource) {
			snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/%s%s%s", path->version, overlay,
				 plain[i].word, *plain[i].second ? "/" : "", plain[i].second);
			return true;
		}
	}
	return false;
}

void p2p_opp_path_print(const struct p2p_opp_path *path, char text[P2P_OPP_PATH_MAX])
{
	char overlay[2 * P2P_OVERLAY_ID_LEN + 1], key[2 * P2P_KEY_LEN + 1];

	p2p_overlay_id_print(&path->overlay, overlay);
	if (plain_print(path, overlay, text))
		return;
	if (path->resource == P2P_OPP_USER) {
		p2p_hex_print(key, path->key.b, sizeof(path->key.b));
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/users/%s", path->version, overlay, key);
	} else if (path->resource == P2P_OPP_SESSION) {
		p2p_hex_print(key, path->session, sizeof(path->session));
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/sessions/%s", path->version, overlay,
			 key);
	} else if (path->resource == P2P_OPP_REVOCATIONS && path->number > 0) {
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/revocations/%" PRIu32, path->version,
			 overlay, path->number);
	} else if (path->resource == P2P_OPP_REVOCATIONS) {
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/revocations", path->version, overlay);
	} else if (path->resource == P2P_OPP_ENROLMENT) {
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/enrolment", path->version, overlay);
	} else if (path->resource == P2P_OPP_SECRET) {
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/secret", path->version, overlay);
	} else if (path->resource == P2P_OPP_MEMBERS) {
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/members", path->version, overlay);
	} else
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/peer", path->version, overlay);
}

/* The part up to the next slash or the end; *s goes behind the slash. */
static size_t part(const char **s, const char *end, const char **begin)
{
	const char *p = *s;
	size_t n;

	*begin = p;
	while (p < end && *p != '/')
		p++;
	n = (size_t)(p - *begin);
	*s = p < end ? p + 1 : p;
	return n;
}

static int is(const char *s, size_t n, const char *word)
{
	return n == strlen(word) && memcmp(s, word, n) == 0;
}

static int all_zero(const uint8_t *p, size_t n)
{
	uint8_t any = 0;

	while (n-- > 0)
		any |= *p++;
	return any == 0;
}

static enum p2p_opp_resource plain_find(const char *word, size_t n, const char **s, const char *end)
{
	const char *second = *s, *p;
	size_t i, m = part(&second, end, &p);

	for (i = 0; i < N(plain); i++) {
		if (is(word, n, plain[i].word) && is(p, m, plain[i].second)) {
			*s = second;
			return plain[i].resource;
		}
	}
	return 0;
}

int p2p_opp_path_parse(struct p2p_opp_path *out, const char *text, size_t len)
{
	struct p2p_opp_path path = {0};
	const char *s = text, *end = text + len, *p;
	uint64_t version;
	size_t n;

	if (len == 0 || len >= P2P_OPP_PATH_MAX || *s++ != '/' || end[-1] == '/')
		return EINVAL;
	n = part(&s, end, &p);
	if (n < 2 || p[0] != 'v' || p2p_u64_parse(&version, p + 1, n - 1) != 0 || version == 0 ||
	    version > VERSION_MAX)
		return EINVAL;
	if (version != P2P_OPP_VERSION) {
		out->version = (unsigned int)version;
		return EPROTONOSUPPORT;
	}
	path.version = (unsigned int)version;
	n = part(&s, end, &p);
	if (p2p_overlay_id_parse(&path.overlay, p, n) != 0)
		return EINVAL;
	n = part(&s, end, &p);
	if (is(p, n, "peer")) {
		path.resource = P2P_OPP_PEER;
	} else if (is(p, n, "users")) {
		path.resource = P2P_OPP_USER;
		n = part(&s, end, &p);
		if (p2p_hex_parse(path.key.b, sizeof(path.key.b), p, n) != 0)
			return EINVAL;
	} else if (is(p, n, "sessions")) {
		path.resource = P2P_OPP_SESSION;
		n = part(&s, end, &p);
		if (p2p_hex_parse(path.session, sizeof(path.session), p, n) != 0 ||
		    all_zero(path.session, sizeof(path.session)))
			return EINVAL;
	} else if (is(p, n, "revocations")) {
		uint64_t number;

		path.resource = P2P_OPP_REVOCATIONS;
		if (s != end) {
			n = part(&s, end, &p);
			if (p2p_u64_parse(&number, p, n) != 0 || number == 0 ||
			    number > P2P_REVOCATIONS_MAX)
				return EINVAL;
			path.number = (uint32_t)number;
		}
	} else if (is(p, n, "enrolment")) {
		path.resource = P2P_OPP_ENROLMENT;
	} else if (is(p, n, "secret")) {
		path.resource = P2P_OPP_SECRET;
	} else if (is(p, n, "members")) {
		path.resource = P2P_OPP_MEMBERS;
	} else {
		path.resource = plain_find(p, n, &s, end);
		if (path.resource == 0)
			return EINVAL;
	}
	if (s != end)
		return EINVAL;
	*out = path;
	return 0;
}

int p2p_opp_version_choose(const unsigned int *theirs, size_t n, unsigned int *version)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (theirs[i] == P2P_OPP_VERSION) {
			*version = P2P_OPP_VERSION;
			return 0;
		}
	}
	return EPROTONOSUPPORT;
}

/* --- writing -----------------------------------------------------------------------------------
 */

static int printable(const char *s, size_t cap)
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

static int put_versions(struct p2p_text *t, const unsigned int *version, size_t n)
{
	size_t i;

	if (n > P2P_OPP_LIST_MAX)
		return EINVAL;
	p2p_text_add(t, "[");
	for (i = 0; i < n; i++) {
		if (version[i] == 0 || version[i] > VERSION_MAX)
			return EINVAL;
		p2p_text_add(t, "%s%u", i > 0 ? "," : "", version[i]);
	}
	p2p_text_add(t, "]");
	return 0;
}

int p2p_opp_put_end(const struct p2p_text *t, size_t *len)
{
	if (t->cut)
		return EMSGSIZE;
	*len = t->len;
	return 0;
}

static int put_uris(struct p2p_text *t, const char (*uri)[P2P_LOCATOR_URI_MAX], unsigned int n)
{
	unsigned int i;

	if (n > P2P_OPP_LIST_MAX)
		return EINVAL;
	p2p_text_add(t, "\"sip\":[");
	for (i = 0; i < n; i++) {
		struct p2p_locator l;

		if (!printable(uri[i], P2P_LOCATOR_URI_MAX) ||
		    p2p_locator_parse(&l, uri[i], strlen(uri[i])) != 0)
			return EINVAL;
		if (i > 0)
			p2p_text_add(t, ",");
		p2p_opp_put_string(t, uri[i]);
	}
	p2p_text_add(t, "]");
	return 0;
}

int p2p_opp_peer_encode(const struct p2p_opp_peer *peer, char *buf, size_t cap, size_t *len)
{
	char hit[P2P_HIT_TEXT_MAX], overlay[2 * P2P_OVERLAY_ID_LEN + 1];
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	if (peer->n_versions == 0 || peer->n_uris > P2P_OPP_LIST_MAX ||
	    !printable(peer->software, sizeof(peer->software)))
		return EINVAL;
	p2p_hit_print(&peer->hit, hit);
	p2p_overlay_id_print(&peer->overlay, overlay);
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"versions\":");
	if (put_versions(&t, peer->version, peer->n_versions) != 0)
		return EINVAL;
	p2p_text_add(&t, ",\"hit\":\"%s\",\"overlay\":\"%s\",\"epoch\":\"%" PRIu64 "\"", hit,
		     overlay, peer->epoch);
	if (peer->software[0] != '\0') {
		p2p_text_add(&t, ",\"software\":");
		p2p_opp_put_string(&t, peer->software);
	}
	p2p_text_add(&t, ",");
	if (put_uris(&t, peer->uri, peer->n_uris) != 0)
		return EINVAL;
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

static int put_user(struct p2p_text *t, const struct p2p_opp_user *user)
{
	char hit[P2P_HIT_TEXT_MAX];

	if ((size_t)user->presence >= N(presences) || presences[user->presence] == NULL)
		return EINVAL;
	p2p_text_add(t, "\"user\":\"%s\"", presences[user->presence]);
	if (user->presence == P2P_OPP_MOVED) {
		p2p_hit_print(&user->hit, hit);
		p2p_text_add(t, ",\"hit\":\"%s\"", hit);
	}
	if (user->presence != P2P_OPP_YES || user->n_phones == 0)
		return 0;
	if (user->n_phones > P2P_OPP_LIST_MAX)
		return EINVAL;
	p2p_text_add(t, ",\"phones\":[");
	for (unsigned int i = 0; i < user->n_phones; i++) {
		if (user->phone[i].instance == 0 || user->phone[i].age_ms > P2P_OPP_AGE_MAX_MS)
			return EINVAL;
		p2p_text_add(t, "%s{\"instance\":\"%08" PRIx32 "\",\"age_ms\":%" PRIu64 "}",
			     i > 0 ? "," : "", user->phone[i].instance, user->phone[i].age_ms);
	}
	p2p_text_add(t, "]");
	return 0;
}

int p2p_opp_user_encode(const struct p2p_opp_user *user, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{");
	if (put_user(&t, user) != 0)
		return EINVAL;
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

/* Of a buffer of P2P_OPP_WORD_MAX. */
static int word_valid(const char *s)
{
	size_t i;

	for (i = 0; i < P2P_OPP_WORD_MAX && s[i] != '\0'; i++) {
		if ((s[i] < 'a' || s[i] > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '-')
			return 0;
	}
	return i > 0 && i < P2P_OPP_WORD_MAX;
}

static int put_words(struct p2p_text *t, const char *name, const struct p2p_opp_words *words)
{
	unsigned int i;

	if (words->n > P2P_OPP_LIST_MAX)
		return EINVAL;
	p2p_text_add(t, "\"%s\":[", name);
	for (i = 0; i < words->n; i++) {
		if (!word_valid(words->word[i]))
			return EINVAL;
		p2p_text_add(t, "%s\"%s\"", i > 0 ? "," : "", words->word[i]);
	}
	p2p_text_add(t, "],");
	return 0;
}

/* nonce, instance, lifetime_s, offer: how both bodies of an opening begin. */
static int put_opening(struct p2p_text *t, const uint8_t nonce[P2P_OPP_NONCE_LEN],
		       uint64_t instance, uint32_t lifetime_s, const struct p2p_opp_offer *offer)
{
	char hex[2 * P2P_OPP_NONCE_LEN + 1];

	if (lifetime_s == 0 || lifetime_s > P2P_OPP_LIFETIME_MAX_S)
		return EINVAL;
	p2p_hex_print(hex, nonce, P2P_OPP_NONCE_LEN);
	p2p_text_add(t,
		     "{\"nonce\":\"%s\",\"instance\":\"%016" PRIx64 "\",\"lifetime_s\":%" PRIu32
		     ",\"offer\":{",
		     hex, instance, lifetime_s);
	if (put_words(t, "signalling", &offer->signalling) != 0 ||
	    put_words(t, "family", &offer->family) != 0 ||
	    put_words(t, "media", &offer->media) != 0 ||
	    put_uris(t, offer->uri, offer->n_uris) != 0)
		return EINVAL;
	p2p_text_add(t, "}");
	return 0;
}

int p2p_opp_open_encode(const struct p2p_opp_open *open, char *buf, size_t cap, size_t *len)
{
	char key[2 * P2P_KEY_LEN + 1];
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	p2p_text_init(&t, buf, cap);
	if (put_opening(&t, open->nonce, open->instance, open->lifetime_s, &open->offer) != 0)
		return EINVAL;
	if (open->asks) {
		p2p_hex_print(key, open->user.b, sizeof(open->user.b));
		p2p_text_add(&t, ",\"user\":\"%s\"", key);
	}
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_opened_encode(const struct p2p_opp_opened *opened, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	p2p_text_init(&t, buf, cap);
	if (!word_valid(opened->signalling) || !word_valid(opened->family) ||
	    !word_valid(opened->media) ||
	    put_opening(&t, opened->nonce, opened->instance, opened->lifetime_s, &opened->offer) !=
		    0)
		return EINVAL;
	p2p_text_add(&t, ",\"signalling\":\"%s\",\"family\":\"%s\",\"media\":\"%s\"",
		     opened->signalling, opened->family, opened->media);
	if (opened->told) {
		p2p_text_add(&t, ",");
		if (put_user(&t, &opened->user) != 0)
			return EINVAL;
	}
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_calls_encode(const struct p2p_opp_calls *calls, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	if (calls->calls > P2P_OPP_CALLS_MAX || calls->lifetime_s > P2P_OPP_LIFETIME_MAX_S)
		return EINVAL;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"calls\":%" PRIu32, calls->calls);
	if (calls->lifetime_s > 0)
		p2p_text_add(&t, ",\"lifetime_s\":%" PRIu32, calls->lifetime_s);
	if (calls->retiring)
		p2p_text_add(&t, ",\"retiring\":true");
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_error_encode(const struct p2p_opp_error *error, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	if ((size_t)error->code >= N(errors) || errors[error->code] == NULL ||
	    !printable(error->reason, sizeof(error->reason)))
		return EINVAL;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"error\":\"%s\",\"reason\":", errors[error->code]);
	p2p_opp_put_string(&t, error->reason);
	if (error->n_versions > 0) {
		p2p_text_add(&t, ",\"versions\":");
		if (put_versions(&t, error->version, error->n_versions) != 0)
			return EINVAL;
	}
	if (error->code == P2P_OPP_E_NOCOMMON) {
		if (!word_valid(error->uncommon))
			return EINVAL;
		p2p_text_add(&t, ",\"uncommon\":\"%s\"", error->uncommon);
		if (error->told) {
			p2p_text_add(&t, ",");
			if (put_user(&t, &error->user) != 0)
				return EINVAL;
		}
	}
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

/* --- reading -----------------------------------------------------------------------------------
 */

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

static int get_word(json_object *o, const char *name, const char *const *words, size_t n, int *out)
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

static int get_hit(json_object *o, struct p2p_hit *hit)
{
	const char *s = p2p_opp_get_string(o, "hit", P2P_HIT_TEXT_MAX);

	return s != NULL && p2p_hit_parse(hit, s, strlen(s)) == 0 ? 0 : EBADMSG;
}

/* One that speaks more versions than we count is taken by its first ones. */
static int get_versions(json_object *o, unsigned int *version, uint8_t *n)
{
	json_object *list;
	size_t i, len;

	if (!json_object_object_get_ex(o, "versions", &list) ||
	    !json_object_is_type(list, json_type_array))
		return EBADMSG;
	len = json_object_array_length(list);
	*n = 0;
	for (i = 0; i < len && *n < P2P_OPP_LIST_MAX; i++) {
		json_object *v = json_object_array_get_idx(list, i);
		int64_t number;

		if (!json_object_is_type(v, json_type_int))
			return EBADMSG;
		number = json_object_get_int64(v);
		if (number < 1 || number > VERSION_MAX)
			return EBADMSG;
		version[(*n)++] = (unsigned int)number;
	}
	return *n > 0 ? 0 : EBADMSG;
}

/* Addresses of a scheme or form that is not known here are left out. */
static int get_uris(json_object *o, char (*uri)[P2P_LOCATOR_URI_MAX], uint8_t *n)
{
	json_object *list;
	size_t i, len;

	*n = 0;
	if (!json_object_object_get_ex(o, "sip", &list))
		return 0;
	if (!json_object_is_type(list, json_type_array))
		return EBADMSG;
	len = json_object_array_length(list);
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

static int get_name(json_object *o, const char *name, char word[P2P_OPP_WORD_MAX])
{
	const char *s = p2p_opp_get_string(o, name, P2P_OPP_WORD_MAX);

	if (s == NULL || !word_valid(s))
		return EBADMSG;
	strcpy(word, s);
	return 0;
}

/* A list that is longer than ours is taken by its first words. */
static int get_words(json_object *o, const char *name, struct p2p_opp_words *words)
{
	json_object *list;
	size_t i, len;

	if (!json_object_object_get_ex(o, name, &list) ||
	    !json_object_is_type(list, json_type_array))
		return EBADMSG;
	len = json_object_array_length(list);
	for (i = 0; i < len && words->n < P2P_OPP_LIST_MAX; i++) {
		const char *s =
			p2p_opp_string_of(json_object_array_get_idx(list, i), P2P_OPP_WORD_MAX);

		if (s == NULL || !word_valid(s))
			return EBADMSG;
		strcpy(words->word[words->n++], s);
	}
	return 0;
}

static int get_opening(json_object *o, uint8_t nonce[P2P_OPP_NONCE_LEN], uint64_t *instance,
		       uint32_t *lifetime_s, struct p2p_opp_offer *offer)
{
	json_object *v;
	uint8_t raw[8];
	int err = p2p_opp_get_hex(o, "nonce", nonce, P2P_OPP_NONCE_LEN);

	if (err == 0)
		err = p2p_opp_get_hex(o, "instance", raw, sizeof(raw));
	if (err != 0)
		return err;
	*instance = p2p_be64(raw);
	err = p2p_opp_get_u32(o, "lifetime_s", 1, P2P_OPP_LIFETIME_MAX_S, lifetime_s);
	if (err != 0)
		return err;
	if (!json_object_object_get_ex(o, "offer", &v) || !json_object_is_type(v, json_type_object))
		return EBADMSG;
	err = get_words(v, "signalling", &offer->signalling);
	if (err == 0)
		err = get_words(v, "family", &offer->family);
	if (err == 0)
		err = get_words(v, "media", &offer->media);
	if (err == 0)
		err = get_uris(v, offer->uri, &offer->n_uris);
	return err;
}

static int get_phone(json_object *o, struct p2p_opp_user *user)
{
	json_object *v;
	uint8_t raw[4];
	int64_t age;

	if (!json_object_is_type(o, json_type_object) ||
	    p2p_opp_get_hex(o, "instance", raw, sizeof(raw)) != 0 ||
	    !json_object_object_get_ex(o, "age_ms", &v) || !json_object_is_type(v, json_type_int))
		return EBADMSG;
	age = json_object_get_int64(v);
	user->phone[user->n_phones].instance =
		(uint32_t)raw[0] << 24 | (uint32_t)raw[1] << 16 | (uint32_t)raw[2] << 8 | raw[3];
	if (age < 0 || age > P2P_OPP_AGE_MAX_MS || user->phone[user->n_phones].instance == 0)
		return EBADMSG;
	user->phone[user->n_phones++].age_ms = (uint64_t)age;
	return 0;
}

static int get_phones(json_object *o, struct p2p_opp_user *user)
{
	json_object *list;
	int err = 0;

	user->n_phones = 0;
	if (user->presence != P2P_OPP_YES || !json_object_object_get_ex(o, "phones", &list))
		return 0;
	if (!json_object_is_type(list, json_type_array) ||
	    json_object_array_length(list) > P2P_OPP_LIST_MAX)
		return EBADMSG;
	for (size_t i = 0; err == 0 && i < json_object_array_length(list); i++)
		err = get_phone(json_object_array_get_idx(list, i), user);
	return err;
}

static int get_user(json_object *o, struct p2p_opp_user *user)
{
	int presence, err = get_word(o, "user", presences, N(presences), &presence);

	if (err == 0) {
		user->presence = (enum p2p_opp_presence)presence;
		if (user->presence == P2P_OPP_MOVED)
			err = get_hit(o, &user->hit);
	}
	return err != 0 ? err : get_phones(o, user);
}

int p2p_opp_open_decode(struct p2p_opp_open *out, const char *text, size_t len)
{
	struct p2p_opp_open open = {0};
	json_object *o;
	int err = p2p_opp_body_parse(text, len, &o);

	if (err != 0)
		return err;
	err = get_opening(o, open.nonce, &open.instance, &open.lifetime_s, &open.offer);
	open.asks = json_object_object_get_ex(o, "user", NULL);
	if (err == 0 && open.asks)
		err = p2p_opp_get_hex(o, "user", open.user.b, sizeof(open.user.b));
	if (err == 0)
		*out = open;
	json_object_put(o);
	return err;
}

int p2p_opp_opened_decode(struct p2p_opp_opened *out, const char *text, size_t len)
{
	struct p2p_opp_opened opened = {0};
	json_object *o;
	int err = p2p_opp_body_parse(text, len, &o);

	if (err != 0)
		return err;
	err = get_opening(o, opened.nonce, &opened.instance, &opened.lifetime_s, &opened.offer);
	if (err == 0)
		err = get_name(o, "signalling", opened.signalling);
	if (err == 0)
		err = get_name(o, "family", opened.family);
	if (err == 0)
		err = get_name(o, "media", opened.media);
	opened.told = json_object_object_get_ex(o, "user", NULL);
	if (err == 0 && opened.told)
		err = get_user(o, &opened.user);
	if (err == 0)
		*out = opened;
	json_object_put(o);
	return err;
}

/* false where there is none. */
static int get_bool(json_object *o, const char *name, bool *out)
{
	json_object *v;

	*out = false;
	if (!json_object_object_get_ex(o, name, &v))
		return 0;
	if (!json_object_is_type(v, json_type_boolean))
		return EBADMSG;
	*out = json_object_get_boolean(v);
	return 0;
}

int p2p_opp_calls_decode(struct p2p_opp_calls *out, const char *text, size_t len)
{
	struct p2p_opp_calls calls = {0};
	json_object *o;
	int err = p2p_opp_body_parse(text, len, &o);

	if (err != 0)
		return err;
	err = p2p_opp_get_u32(o, "calls", 0, P2P_OPP_CALLS_MAX, &calls.calls);
	if (err == 0 && json_object_object_get_ex(o, "lifetime_s", NULL))
		err = p2p_opp_get_u32(o, "lifetime_s", 1, P2P_OPP_LIFETIME_MAX_S,
				      &calls.lifetime_s);
	if (err == 0)
		err = get_bool(o, "retiring", &calls.retiring);
	if (err == 0)
		*out = calls;
	json_object_put(o);
	return err;
}

int p2p_opp_peer_decode(struct p2p_opp_peer *out, const char *text, size_t len)
{
	struct p2p_opp_peer peer = {0};
	json_object *o;
	const char *s;
	int err = p2p_opp_body_parse(text, len, &o);

	if (err != 0)
		return err;
	err = get_versions(o, peer.version, &peer.n_versions);
	if (err == 0)
		err = get_hit(o, &peer.hit);
	if (err == 0)
		err = get_uris(o, peer.uri, &peer.n_uris);
	if (err != 0)
		goto out;
	err = EBADMSG;
	s = p2p_opp_get_string(o, "overlay", 2 * P2P_OVERLAY_ID_LEN + 1);
	if (s == NULL || p2p_overlay_id_parse(&peer.overlay, s, strlen(s)) != 0)
		goto out;
	s = p2p_opp_get_string(o, "epoch", 24);
	if (s == NULL || p2p_u64_parse(&peer.epoch, s, strlen(s)) != 0)
		goto out;
	s = p2p_opp_get_string(o, "software", sizeof(peer.software));
	if (s != NULL && printable(s, sizeof(peer.software)))
		strcpy(peer.software, s);
	*out = peer;
	err = 0;
out:
	json_object_put(o);
	return err;
}

int p2p_opp_user_decode(struct p2p_opp_user *out, const char *text, size_t len)
{
	struct p2p_opp_user user = {0};
	json_object *o;
	int err = p2p_opp_body_parse(text, len, &o);

	if (err != 0)
		return err;
	err = get_user(o, &user);
	if (err == 0)
		*out = user;
	json_object_put(o);
	return err;
}

int p2p_opp_error_decode(struct p2p_opp_error *out, const char *text, size_t len)
{
	struct p2p_opp_error error = {0};
	json_object *o;
	const char *s;
	int code, err = p2p_opp_body_parse(text, len, &o);

	if (err != 0)
		return err;
	err = get_word(o, "error", errors, N(errors), &code);
	if (err == 0) {
		error.code = (enum p2p_opp_error_code)code;
		s = p2p_opp_get_string(o, "reason", sizeof(error.reason));
		if (s != NULL && printable(s, sizeof(error.reason)))
			strcpy(error.reason, s);
		if (json_object_object_get_ex(o, "versions", NULL))
			err = get_versions(o, error.version, &error.n_versions);
	}
	if (err == 0 && error.code == P2P_OPP_E_NOCOMMON) {
		err = get_name(o, "uncommon", error.uncommon);
		error.told = json_object_object_get_ex(o, "user", NULL);
		if (err == 0 && error.told)
			err = get_user(o, &error.user);
	}
	if (err == 0)
		*out = error;
	json_object_put(o);
	return err;
}

/* --- keys --------------------------------------------------------------------------------------
 */

static int session_key(const struct p2p_opp_secrets *s, uint8_t direction,
		       uint8_t key[P2P_OPP_SESSION_KEY_LEN], const struct p2p_crypto *crypto)
{
	static const char label[] = "p2psip-session"; /* its NUL too */
	uint8_t nonces[2 * P2P_OPP_NONCE_LEN];
	uint8_t msg[sizeof(label) + P2P_OVERLAY_ID_LEN + 2 * P2P_HIT_LEN + P2P_OPP_SESSION_ID_LEN +
		    1];
	struct p2p_writer w;

	memcpy(nonces, s->initiator_nonce, P2P_OPP_NONCE_LEN);
	memcpy(nonces + P2P_OPP_NONCE_LEN, s->responder_nonce, P2P_OPP_NONCE_LEN);
	p2p_writer_init(&w, msg, sizeof(msg));
	p2p_write(&w, label, sizeof(label));
	p2p_write(&w, s->overlay.b, sizeof(s->overlay.b));
	p2p_write(&w, s->initiator.b, sizeof(s->initiator.b));
	p2p_write(&w, s->responder.b, sizeof(s->responder.b));
	p2p_write(&w, s->id, sizeof(s->id));
	p2p_write_u8(&w, direction);
	return crypto->hmac_sha256(crypto->arg, nonces, sizeof(nonces), msg, w.len, key);
}

int p2p_opp_session_keys(const struct p2p_opp_secrets *secrets,
			 uint8_t from_initiator[P2P_OPP_SESSION_KEY_LEN],
			 uint8_t from_responder[P2P_OPP_SESSION_KEY_LEN],
			 const struct p2p_crypto *crypto)
{
	int err = session_key(secrets, 1, from_initiator, crypto);

	return err != 0 ? err : session_key(secrets, 2, from_responder, crypto);
}

/* --- membership --------------------------------------------------------------------------------
 */

static int member_mac(uint8_t mac[32], const void *secret, size_t secretlen,
		      const struct p2p_overlay_id *overlay, const struct p2p_hit *caller,
		      const struct p2p_hit *callee, uint64_t ms, const struct p2p_crypto *crypto)
{
	static const char label[] = "p2psip-member"; /* its NUL too */
	uint8_t msg[sizeof(label) + P2P_OVERLAY_ID_LEN + 2 * P2P_HIT_LEN + 8];
	struct p2p_writer w;

	p2p_writer_init(&w, msg, sizeof(msg));
	p2p_write(&w, label, sizeof(label));
	p2p_write(&w, overlay->b, sizeof(overlay->b));
	p2p_write(&w, caller->b, sizeof(caller->b));
	p2p_write(&w, callee->b, sizeof(callee->b));
	p2p_write_be64(&w, ms);
	return crypto->hmac_sha256(crypto->arg, secret, secretlen, msg, w.len, mac);
}

int p2p_opp_member_make(char text[P2P_OPP_MEMBER_MAX], const void *secret, size_t secretlen,
			const struct p2p_overlay_id *overlay, const struct p2p_hit *caller,
			const struct p2p_hit *callee, uint64_t now_ms,
			const struct p2p_crypto *crypto)
{
	uint8_t mac[32];
	char hex[2 * sizeof(mac) + 1];
	int err = member_mac(mac, secret, secretlen, overlay, caller, callee, now_ms, crypto);

	if (err != 0)
		return err;
	p2p_hex_print(hex, mac, sizeof(mac));
	snprintf(text, P2P_OPP_MEMBER_MAX, "%" PRIu64 ":%s", now_ms, hex);
	return 0;
}

int p2p_opp_member_check(const char *text, size_t len, const void *secret, size_t secretlen,
			 const struct p2p_overlay_id *overlay, const struct p2p_hit *caller,
			 const struct p2p_hit *callee, uint64_t now_ms,
			 const struct p2p_crypto *crypto)
{
	const char *colon = memchr(text, ':', len);
	uint8_t mac[32], theirs[32], diff = 0;
	uint64_t ms;
	size_t i;
	int err;

	if (colon == NULL || p2p_u64_parse(&ms, text, (size_t)(colon - text)) != 0 ||
	    p2p_hex_parse(theirs, sizeof(theirs), colon + 1, len - (size_t)(colon + 1 - text)) != 0)
		return EBADMSG;
	if ((ms > now_ms ? ms - now_ms : now_ms - ms) > P2P_OPP_MEMBER_SKEW_MS)
		return ESTALE;
	err = member_mac(mac, secret, secretlen, overlay, caller, callee, ms, crypto);
	if (err != 0)
		return err;
	/* in constant time */
	for (i = 0; i < sizeof(mac); i++)
		diff |= mac[i] ^ theirs[i];
	return diff == 0 ? 0 : EACCES;
}
