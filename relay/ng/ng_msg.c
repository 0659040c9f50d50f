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

static int result_set(struct ng_reply *r, const char *s, size_t len)
{
	static const struct {
		const char *word;
		enum ng_result result;
	} results[] = {
		{"ok", NG_RESULT_OK},
		{"pong", NG_RESULT_PONG},
		{"error", NG_RESULT_ERROR},
		{"load limit", NG_RESULT_LIMIT},
	};
	size_t i;

	for (i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
		if (strlen(results[i].word) == len && memcmp(results[i].word, s, len) == 0) {
			r->result = results[i].result;
			return 0;
		}
	}
	return EBADMSG;
}

static void error_set(struct ng_reply *r, const char *s, size_t len)
{
	size_t n = len < NG_ERROR_MAX - 1 ? len : NG_ERROR_MAX - 1, i;

	for (i = 0; i < n; i++)
		r->error[i] = s[i] != '\0' ? s[i] : '?';
	r->error[n] = '\0';
}

/* --- JSON --- */

static int json_parse(struct ng_reply *r, const char *s, size_t len)
{
	struct json_tokener *tok = json_tokener_new_ex(NG_DEPTH_MAX);
	const char *text;
	int err = EBADMSG;
	size_t n;

	if (tok == NULL)
		return ENOMEM;
	r->root = json_tokener_parse_ex(tok, s, (int)len);
	/* a dictionary is complete at its closing brace: what follows is not ours to believe */
	if (json_tokener_get_error(tok) != json_tokener_success ||
	    json_tokener_get_parse_end(tok) != len ||
	    !json_object_is_type(r->root, json_type_object))
		goto out;
	text = member_string(r->root, "result", &n);
	if (text == NULL || result_set(r, text, n) != 0)
		goto out;
	text = member_string(r->root, "error-reason", &n);
	if (r->result == NG_RESULT_ERROR && text != NULL)
		error_set(r, text, n);
	if (json_object_object_get_ex(r->root, "sdp", NULL)) {
		r->sdp = member_string(r->root, "sdp", &r->sdp_len);
		if (r->sdp == NULL)
			goto out;
	}
	err = 0;
out:
	if (err != 0 && r->root != NULL)
		json_object_put(r->root);
	json_tokener_free(tok);
	return err;
}

/* --- bencode: dictionaries d..e, lists l..e, integers i..e, strings LENGTH:BYTES --- */

static int ben_string(const char **p, const char *end, const char **s, size_t *len)
{
	size_t n = 0;

	if (*p >= end || **p < '0' || **p > '9')
		return EBADMSG;
	for (; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
		n = n * 10 + (size_t)(**p - '0');
		if (n > NG_DATAGRAM_MAX)
			return EBADMSG;
	}
	if (*p >= end || **p != ':' || (size_t)(end - *p) - 1 < n)
		return EBADMSG;
	*s = *p + 1;
	*len = n;
	*p += 1 + n;
	return 0;
}

static int ben_skip(const char **p, const char *end)
{
	unsigned int depth = 0;
	const char *s;
	size_t n;

	do {
		if (*p >= end)
			return EBADMSG;
		switch (**p) {
		case 'd':
		case 'l':
			if (++depth > NG_DEPTH_MAX)
				return EBADMSG;
			(*p)++;
			break;
		case 'e':
			if (depth == 0)
				return EBADMSG;
			depth--;
			(*p)++;
			break;
		case 'i':
			s = memchr(*p, 'e', (size_t)(end - *p));
			if (s == NULL)
				return EBADMSG;
			*p = s + 1;
			break;
		default:
			if (ben_string(p, end, &s, &n) != 0)
				return EBADMSG;
		}
	} while (depth > 0);
	return 0;
}

static bool key_is(const char *key, size_t len, const char *want)
{
	return len == strlen(want) && memcmp(key, want, len) == 0;
}

static int ben_parse(struct ng_reply *r, const char *s, size_t len)
{
	const char *p = s + 1, *end = s + len, *key, *value;
	bool result = false;
	size_t klen, vlen;

	while (p < end && *p != 'e') {
		if (ben_string(&p, end, &key, &klen) != 0)
			return EBADMSG;
		if (key_is(key, klen, "result")) {
			if (ben_string(&p, end, &value, &vlen) != 0 ||
			    result_set(r, value, vlen) != 0)
				return EBADMSG;
			result = true;
		} else if (key_is(key, klen, "sdp")) {
			if (ben_string(&p, end, &r->sdp, &r->sdp_len) != 0)
				return EBADMSG;
		} else if (key_is(key, klen, "error-reason")) {
			if (ben_string(&p, end, &value, &vlen) != 0)
				return EBADMSG;
			error_set(r, value, vlen);
		} else if (ben_skip(&p, end) != 0) {
			return EBADMSG;
		}
	}
	return result && p + 1 == end ? 0 : EBADMSG;
}

int ng_reply_parse(struct ng_reply *reply, const char *s, size_t len)
{
	struct ng_reply r = {.text = s, .text_len = len};
	int err;

	if (len == 0 || len > NG_DATAGRAM_MAX)
		return EBADMSG;
	err = s[0] == 'd' ? ben_parse(&r, s, len) : json_parse(&r, s, len);
	if (err == 0)
		*reply = r;
	return err;
}

void ng_reply_free(struct ng_reply *reply)
{
	if (reply->root != NULL)
		json_object_put(reply->root);
	reply->root = NULL;
}

bool ng_reply_unknown_call(const struct ng_reply *reply)
{
	return reply->result == NG_RESULT_ERROR &&
	       (strcasestr(reply->error, "unknown call") != NULL ||
		strcasestr(reply->error, "call-id not found") != NULL);
}

static uint64_t member_count(struct json_object *o, const char *kind, const char *key)
{
	struct json_object *t, *k, *v;
	int64_t n;

	if (!json_object_object_get_ex(o, "totals", &t) ||
	    !json_object_is_type(t, json_type_object) || !json_object_object_get_ex(t, kind, &k) ||
	    !json_object_is_type(k, json_type_object) || !json_object_object_get_ex(k, key, &v))
		return 0;
	n = json_object_get_int64(v);
	return n > 0 ? (uint64_t)n : 0;
}

/* A media section's flags are words. */
static bool media_talks(struct json_object *media)
{
	struct json_object *flags, *f;
	bool sends = false, receives = false;
	size_t i;

	if (!json_object_is_type(media, json_type_object) ||
	    !json_object_object_get_ex(media, "flags", &flags) ||
	    !json_object_is_type(flags, json_type_array))
		return true;
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
	return sends && receives;
}

void ng_reply_call_state(const struct ng_reply *reply, struct ng_call_state *state)
{
	struct json_object *tags, *medias;
	bool talks = false;
	size_t i;

	memset(state, 0, sizeof(*state));
	if (reply->root == NULL)
		return;
	state->rtp_packets = member_count(reply->root, "RTP", "packets");
	state->packets = state->rtp_packets + member_count(reply->root, "RTCP", "packets");
	if (!json_object_object_get_ex(reply->root, "tags", &tags) ||
	    !json_object_is_type(tags, json_type_object))
		return;
	json_object_object_foreach(tags, key, tag)
	{
		/* so rtpengine names the side that has not answered yet */
		if (strncmp(key, "<untagged", 9) != 0)
			state->tags++;
		if (!json_object_is_type(tag, json_type_object) ||
		    !json_object_object_get_ex(tag, "medias", &medias) ||
		    !json_object_is_type(medias, json_type_array)) {
			talks = true;
			continue;
		}
		/* a declined section says nothing: one that talks is enough */
		for (i = 0; i < json_object_array_length(medias); i++)
			if (media_talks(json_object_array_get_idx(medias, i)))
				talks = true;
	}
	state->held = !talks;
}

int ng_reply_calls(const struct ng_reply *reply, ng_call_id_h *f, void *arg)
{
	struct json_object *calls, *id;
	size_t i, n;

	if (reply->root == NULL || !json_object_object_get_ex(reply->root, "calls", &calls) ||
	    !json_object_is_type(calls, json_type_array))
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

/* --- requests --- */

struct ng_request {
	char *s;
	size_t len, cap;
	bool failed; /* memory was short; looked at once, at the end */
};

static void put(struct ng_request *r, const char *s, size_t len)
{
	size_t cap;
	char *t;

	if (r->failed)
		return;
	if (r->cap - r->len < len) {
		cap = r->cap * 2 + len;
		t = realloc(r->s, cap);
		if (t == NULL) {
			r->failed = true;
			return;
		}
		r->s = t;
		r->cap = cap;
	}
	memcpy(r->s + r->len, s, len);
	r->len += len;
}

static void put_word(struct ng_request *r, const char *s)
{
	put(r, s, strlen(s));
}

static void ben_put(struct ng_request *r, const char *s, size_t len)
{
	char n[24];

	put(r, n, (size_t)snprintf(n, sizeof(n), "%zu:", len));
	put(r, s, len);
}

static void ben_word(struct ng_request *r, const char *s)
{
	ben_put(r, s, strlen(s));
}

static void ben_pair(struct ng_request *r, const char *key, const char *value)
{
	ben_word(r, key);
	ben_word(r, value);
}

static void ben_list(struct ng_request *r, const char *key, const char *const *v, size_t n)
{
	size_t i;

	ben_word(r, key);
	put_word(r, "l");
	for (i = 0; i < n; i++)
		ben_word(r, v[i]);
	put_word(r, "e");
}

static struct ng_request *request_begin(size_t room)
{
	struct ng_request *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->s = malloc(room);
	r->cap = room;
	if (r->s == NULL) {
		free(r);
		return NULL;
	}
	return r;
}

static struct ng_request *request_end(struct ng_request *r)
{
	if (!r->failed)
		return r;
	ng_request_free(r);
	return NULL;
}

void ng_request_free(struct ng_request *r)
{
	if (r == NULL)
		return;
	free(r->s);
	free(r);
}

/* What a leg's transport is in rtpengine's words (10.5 to 12). An answer goes back in the profile
 * that was offered on its leg, whatever is said here: only what it may be keyed with is. */
static void put_transport(struct ng_request *r, const struct ng_offer *offer)
{
	/* All suites but the one that each side must know (RFC 4568). NULL leaves packets in clear;
	 * an INVITE with all twelve of rtpengine's does not fit into a datagram; and a phone may
	 * take GCM and then hear nothing (baresip 1.0). Newer rtpengines can be told "only". */
	static const char *const sdes[] = {
		"no-NULL_HMAC_SHA1_80",	      "no-NULL_HMAC_SHA1_32",
		"no-F8_128_HMAC_SHA1_80",     "no-F8_128_HMAC_SHA1_32",
		"no-AES_192_CM_HMAC_SHA1_80", "no-AES_192_CM_HMAC_SHA1_32",
		"no-AES_256_CM_HMAC_SHA1_80", "no-AES_256_CM_HMAC_SHA1_32",
		"no-AES_CM_128_HMAC_SHA1_32", "no-AEAD_AES_128_GCM",
		"no-AEAD_AES_256_GCM",
	};
	static const char *const off[] = {"off"}, *const offer_both[] = {"offer"};
	const char *profile = NULL;

	switch (offer->transport) {
	case NG_TRANSPORT_KEEP:
		return;
	case NG_TRANSPORT_RTP:
		profile = offer->feedback ? "RTP/AVPF" : "RTP/AVP";
		break;
	case NG_TRANSPORT_SDES:
		profile = offer->feedback ? "RTP/SAVPF" : "RTP/SAVP";
		break;
	case NG_TRANSPORT_DTLS:
		profile = offer->feedback ? "UDP/TLS/RTP/SAVPF" : "UDP/TLS/RTP/SAVP";
		break;
	case NG_TRANSPORT_OSRTP:
		profile = offer->feedback ? "RTP/AVPF" : "RTP/AVP";
		if (!offer->answer)
			ben_list(r, "OSRTP", offer_both, 1);
		break;
	}
	if (!offer->answer)
		ben_pair(r, "transport-protocol", profile);
	if (offer->transport != NG_TRANSPORT_DTLS)
		ben_pair(r, "DTLS", "off");
	if (offer->transport == NG_TRANSPORT_SDES || offer->transport == NG_TRANSPORT_OSRTP)
		ben_list(r, "SDES", sdes, sizeof(sdes) / sizeof(sdes[0]));
	else
		ben_list(r, "SDES", off, 1);
}

struct ng_request *ng_request_offer(const struct ng_offer *offer)
{
	/* The origin too: a phone that compares o= lines must not see the other's address */
	static const char *const replace[] = {"origin", "session-connection"};
	const char *const direction[] = {offer->from_if, offer->to_if};
	struct ng_request *r = request_begin(512 + offer->sdp_len);

	if (r == NULL)
		return NULL;
	put_word(r, "d");
	ben_pair(r, "command", offer->answer ? "answer" : "offer");
	ben_pair(r, "call-id", offer->call_id);
	ben_pair(r, "from-tag", offer->from_tag);
	if (offer->to_tag != NULL)
		ben_pair(r, "to-tag", offer->to_tag);
	ben_list(r, "direction", direction, 2);
	ben_list(r, "replace", replace, 2);
	if (offer->ice != NULL)
		ben_pair(r, "ICE", offer->ice);
	if (offer->to_family != NULL)
		ben_pair(r, "address-family", offer->to_family);
	put_transport(r, offer);
	if (offer->n_flags > 0)
		ben_list(r, "flags", offer->flags, offer->n_flags);
	ben_word(r, "sdp");
	ben_put(r, offer->sdp, offer->sdp_len);
	put_word(r, "e");
	return request_end(r);
}

struct ng_request *ng_request_ping(void)
{
	struct ng_request *r = request_begin(32);

	if (r == NULL)
		return NULL;
	put_word(r, "d7:command4:pinge");
	return request_end(r);
}

struct ng_request *ng_request_delete(const char *call_id)
{
	struct ng_request *r = request_begin(128 + strlen(call_id));

	if (r == NULL)
		return NULL;
	put_word(r, "d");
	ben_pair(r, "command", "delete");
	ben_pair(r, "call-id", call_id);
	/* at once: by default rtpengine keeps a deleted call for another 30 s */
	put_word(r, "12:delete-delayi0ee");
	return request_end(r);
}

static int add_string(struct json_object *o, const char *key, const char *value)
{
	struct json_object *v = json_object_new_string(value);

	if (v == NULL)
		return ENOMEM;
	if (json_object_object_add(o, key, v) == 0)
		return 0;
	json_object_put(v);
	return ENOMEM;
}

/* {"command":command,key:value} */
static struct ng_request *json_request(const char *command, const char *key, const char *value)
{
	struct json_object *o = json_object_new_object();
	struct ng_request *r = request_begin(256);
	const char *text;
	size_t len;

	if (o == NULL || r == NULL || add_string(o, "command", command) != 0 ||
	    add_string(o, key, value) != 0 ||
	    (text = json_object_to_json_string_length(
		     o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len)) == NULL) {
		ng_request_free(r);
		r = NULL;
	} else {
		put(r, text, len);
	}
	if (o != NULL)
		json_object_put(o);
	return r != NULL ? request_end(r) : NULL;
}

struct ng_request *ng_request_query(const char *call_id)
{
	return json_request("query", "call-id", call_id);
}

struct ng_request *ng_request_list(unsigned int limit)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", limit);
	return json_request("list", "limit", text);
}

int ng_request_datagram(const struct ng_request *request, const char *cookie, char **packet,
			size_t *len)
{
	size_t clen = strlen(cookie);
	char *p;

	if (clen + 1 + request->len > NG_DATAGRAM_MAX)
		return EMSGSIZE;
	p = malloc(clen + 1 + request->len);
	if (p == NULL)
		return ENOMEM;
	memcpy(p, cookie, clen);
	p[clen] = ' ';
	memcpy(p + clen + 1, request->s, request->len);
	*packet = p;
	*len = clen + 1 + request->len;
	return 0;
}
