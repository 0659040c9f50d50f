/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sessions: opened, answered, renewed; their keys. */
#include "lib/proto/opp.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/opp_impl.h"

static int put_words(struct p2p_text *t, const char *name, const struct p2p_opp_words *words)
{
	unsigned int i;

	if (words->n > P2P_OPP_LIST_MAX)
		return EINVAL;
	p2p_text_add(t, "\"%s\":[", name);
	for (i = 0; i < words->n; i++) {
		if (!p2p_opp_word_valid(words->word[i]))
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
	    p2p_opp_put_uris(t, offer->uri, offer->n_uris) != 0)
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
	if (!p2p_opp_word_valid(opened->signalling) || !p2p_opp_word_valid(opened->family) ||
	    !p2p_opp_word_valid(opened->media) ||
	    put_opening(&t, opened->nonce, opened->instance, opened->lifetime_s, &opened->offer) !=
		    0)
		return EINVAL;
	p2p_text_add(&t, ",\"signalling\":\"%s\",\"family\":\"%s\",\"media\":\"%s\"",
		     opened->signalling, opened->family, opened->media);
	if (opened->told) {
		p2p_text_add(&t, ",");
		if (p2p_opp_put_user(&t, &opened->user) != 0)
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

/* A list that is longer than ours is taken by its first words. */
static int get_words(json_object *o, const char *name, struct p2p_opp_words *words)
{
	json_object *list;
	size_t i, len;

	if (p2p_opp_get_list(o, name, SIZE_MAX, &list, &len) != 0)
		return EBADMSG;
	for (i = 0; i < len && words->n < P2P_OPP_LIST_MAX; i++) {
		const char *s =
			p2p_opp_string_of(json_object_array_get_idx(list, i), P2P_OPP_WORD_MAX);

		if (s == NULL || !p2p_opp_word_valid(s))
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
		err = p2p_opp_get_uris(v, offer->uri, &offer->n_uris);
	return err;
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
		err = p2p_opp_get_name(o, "signalling", opened.signalling);
	if (err == 0)
		err = p2p_opp_get_name(o, "family", opened.family);
	if (err == 0)
		err = p2p_opp_get_name(o, "media", opened.media);
	opened.told = json_object_object_get_ex(o, "user", NULL);
	if (err == 0 && opened.told)
		err = p2p_opp_get_user(o, &opened.user);
	if (err == 0)
		*out = opened;
	json_object_put(o);
	return err;
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
	if (err == 0 && json_object_object_get_ex(o, "retiring", NULL))
		err = p2p_opp_get_flag(o, "retiring", &calls.retiring);
	if (err == 0)
		*out = calls;
	json_object_put(o);
	return err;
}

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
