// SPDX-License-Identifier: GPL-2.0-or-later
/* Requests between peers are authenticated: HMAC-SHA-256 with the session's key over what makes a
 * request that one and no other (p2p_route_header.h). Signed where it leaves, verified where it
 * arrives, and good once: an authenticator seen before is a retransmission, which belongs to a
 * transaction that lives, or a replay. */
#include <errno.h>
#include <time.h>

#include "core/crypto/sha256.h"
#include "core/locking.h"
#include "core/mem/shm_mem.h"
#include "core/parser/parse_cseq.h"
#include "core/parser/parse_from.h"
#include "core/parser/parse_to.h"
#include "lib/model/replay.h"
#include "modules/tm/h_table.h"
#include "modules/tm/t_lookup.h"
#include "p2p_route.h"

#define REPLAY_LOCKS 64
/* Method, Request-URI, Call-ID, CSeq, From tag: a longer request is not signed. */
#define SIGNED_MAX 4096

static struct {
	struct p2p_replay memory; /* its sets: shm */
	gen_lock_set_t *locks;	  /* a set's: its number modulo REPLAY_LOCKS */
} seen;

/* A module of this server changes Request-URIs within dialogs, on the way in and out. */
static bool hides_topology;

int route_auth_init(void)
{
	uint32_t sets = p2p_replay_sets((uint32_t)route_settings.replay_max);

	seen.memory.mask = sets - 1;
	seen.memory.set = shm_malloc(sets * sizeof(*seen.memory.set));
	seen.locks = lock_set_alloc(REPLAY_LOCKS);
	if (seen.memory.set == NULL || seen.locks == NULL || lock_set_init(seen.locks) == NULL) {
		LM_ERR("no shared memory for %d authenticators (replay_max)\n",
		       route_settings.replay_max);
		return -1;
	}
	memset(seen.memory.set, 0, sets * sizeof(*seen.memory.set));
	hides_topology = module_loaded("topos") || module_loaded("topoh");
	return 0;
}

void route_auth_destroy(void)
{
	if (seen.locks != NULL) {
		lock_set_destroy(seen.locks);
		lock_set_dealloc(seen.locks);
	}
	if (seen.memory.set != NULL)
		shm_free(seen.memory.set);
	seen.locks = NULL;
	seen.memory.set = NULL;
}

static uint64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* RFC 2104, with a key no longer than a block. */
static void hmac_sha256(const uint8_t *key, size_t key_len, const void *s, size_t len,
			uint8_t mac[ROUTE_MAC_LEN])
{
	uint8_t pad[SHA256_BLOCK_LENGTH];
	SHA256_CTX ctx;
	size_t i;

	memset(pad, 0x36, sizeof(pad));
	for (i = 0; i < key_len; i++)
		pad[i] ^= key[i];
	sr_SHA256_Init(&ctx);
	sr_SHA256_Update(&ctx, pad, sizeof(pad));
	sr_SHA256_Update(&ctx, s, len);
	sr_SHA256_Final(mac, &ctx);
	for (i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	sr_SHA256_Init(&ctx);
	sr_SHA256_Update(&ctx, pad, sizeof(pad));
	sr_SHA256_Update(&ctx, mac, ROUTE_MAC_LEN);
	sr_SHA256_Final(mac, &ctx);
}

static void uri_hash(const str *uri, uint8_t hash[ROUTE_URI_HASH_LEN])
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA256_CTX ctx;

	sr_SHA256_Init(&ctx);
	sr_SHA256_Update(&ctx, (const uint8_t *)uri->s, (size_t)uri->len);
	sr_SHA256_Final(digest, &ctx);
	memcpy(hash, digest, ROUTE_URI_HASH_LEN);
}

/* uri: as it is sent, or was received. 0, or -1: the request lacks what is signed, or it is too
 * long. */
static int request_mac(struct sip_msg *msg, const str *uri, const struct route_header *h,
		       const uint8_t *key, uint8_t mac[ROUTE_MAC_LEN])
{
	static uint8_t bytes[SIGNED_MAX];
	char hash[2 * ROUTE_URI_HASH_LEN + 1];
	str hashed = {hash, 2 * ROUTE_URI_HASH_LEN};
	struct route_signed s;
	struct p2p_writer w;
	const str *part[5];
	size_t i;

	if (parse_headers(msg, HDR_CALLID_F | HDR_CSEQ_F | HDR_FROM_F, 0) < 0 ||
	    msg->callid == NULL || msg->cseq == NULL || get_cseq(msg) == NULL ||
	    parse_from_header(msg) < 0)
		return -1;
	part[ROUTE_SIGNED_METHOD] = &msg->first_line.u.request.method;
	part[ROUTE_SIGNED_URI] = uri;
	if (h->within_dialog) {
		p2p_hex_print(hash, h->uri_hash, sizeof(h->uri_hash));
		part[ROUTE_SIGNED_URI] = &hashed;
	}
	part[ROUTE_SIGNED_CALLID] = &msg->callid->body;
	part[ROUTE_SIGNED_CSEQ] = &get_cseq(msg)->number;
	part[ROUTE_SIGNED_TAG] = &get_from(msg)->tag_value;
	for (i = 0; i < 5; i++) {
		s.part[i] = part[i]->s;
		s.len[i] = part[i]->len > 0 ? (size_t)part[i]->len : 0;
	}
	p2p_writer_init(&w, bytes, sizeof(bytes));
	if (route_signed_bytes(h, &s, &w) != 0)
		return -1;
	hmac_sha256(key, P2P_SESSION_KEY_LEN, bytes, w.len, mac);
	return 0;
}

static bool within_dialog(struct sip_msg *msg)
{
	return parse_to_header(msg) == 0 && get_to(msg) != NULL && get_to(msg)->tag_value.len > 0;
}

/* Is the Request-URI what was signed, as far as it is covered? */
static bool uri_good(struct sip_msg *msg, const struct route_header *h)
{
	static const uint8_t uncovered[ROUTE_URI_HASH_LEN];
	uint8_t hash[ROUTE_URI_HASH_LEN];

	if (!h->within_dialog)
		return true; /* it is signed itself */
	if (!within_dialog(msg))
		return false;
	if (hides_topology || memcmp(h->uri_hash, uncovered, sizeof(uncovered)) == 0)
		return true;
	uri_hash(&msg->first_line.u.request.uri, hash);
	return memcmp(h->uri_hash, hash, sizeof(hash)) == 0;
}

int route_auth_sign(struct sip_msg *msg, struct route_header *h, const struct p2p_session *session)
{
	h->session = session->id;
	h->t_ms = wall_ms();
	h->is_signed = true;
	h->within_dialog = within_dialog(msg);
	if (h->within_dialog && !hides_topology)
		uri_hash(GET_RURI(msg), h->uri_hash);
	if (request_mac(msg, GET_RURI(msg), h, session->key_out, h->mac) < 0) {
		LM_WARN("a request is too long to be signed, or has no Call-ID, CSeq or From\n");
		h->is_signed = false;
		return -1;
	}
	route_count(ROUTE_CNT_SIGNED);
	return 0;
}

/* In constant time: how much of it was right is nobody's business. */
static bool equal(const uint8_t *a, const uint8_t *b, size_t n)
{
	unsigned int diff = 0;

	while (n-- > 0)
		diff |= (unsigned int)(*a++ ^ *b++);
	return diff == 0;
}

/* Does a transaction of this request live? Leaves tm as it was. */
static bool transaction_lives(struct sip_msg *msg)
{
	struct cell *t = route_tm.t_gett();
	int canceled = 0;

	if (t != NULL && t != T_UNDEFINED)
		return true;
	if (route_tm.t_lookup_request(msg, 0, &canceled) <= 0)
		return false;
	t = route_tm.t_gett();
	if (t == NULL || t == T_UNDEFINED)
		return false;
	route_tm.unref_cell(t);
	route_tm.t_sett(T_UNDEFINED, T_BR_UNDEFINED);
	return true;
}

static enum route_auth once(struct sip_msg *msg, const struct route_header *h)
{
	unsigned int set = p2p_replay_set_of(&seen.memory, h->mac);
	enum p2p_replay_verdict verdict;

	lock_set_get(seen.locks, (int)(set % REPLAY_LOCKS));
	verdict = p2p_replay_check(&seen.memory, h->mac, h->t_ms, wall_ms());
	lock_set_release(seen.locks, (int)(set % REPLAY_LOCKS));
	switch (verdict) {
	case P2P_REPLAY_NEW:
		return ROUTE_AUTH_GOOD;
	case P2P_REPLAY_SEEN:
		return transaction_lives(msg) ? ROUTE_AUTH_GOOD : ROUTE_AUTH_REPLAY;
	default:
		return ROUTE_AUTH_TIME;
	}
}

enum route_auth route_auth_verify(struct sip_msg *msg, const struct route_header *h)
{
	struct p2p_session session;
	uint8_t mac[ROUTE_MAC_LEN];
	enum route_auth result;
	int state;

	if (!h->is_signed)
		return ROUTE_AUTH_UNSIGNED;
	state = route_ul.session_by_id(&h->session, &session);
	if (state < 0)
		return ROUTE_AUTH_UNKNOWN;
	if (p2p_hit_cmp(&session.hit, &h->hit) != 0)
		result = ROUTE_AUTH_PEER;
	else if (request_mac(msg, &msg->first_line.u.request.uri, h, session.key_in, mac) < 0 ||
		 !equal(mac, h->mac, sizeof(mac)) || !uri_good(msg, h))
		result = ROUTE_AUTH_FORGED;
	else if (state > 0 && !within_dialog(msg))
		result = ROUTE_AUTH_CLOSED;
	else
		result = route_tls_channel(msg, &session);
	if (result == ROUTE_AUTH_GOOD)
		result = once(msg, h);
	memset(&session, 0, sizeof(session));
	return result;
}

const char *route_auth_text(enum route_auth result)
{
	static const char *const text[] = {
		[ROUTE_AUTH_GOOD] = "it is good",
		[ROUTE_AUTH_UNSIGNED] = "it is not signed",
		[ROUTE_AUTH_UNKNOWN] = "it is signed for a session that is not known here",
		[ROUTE_AUTH_CLOSED] = "it is signed for a session that has ended",
		[ROUTE_AUTH_PEER] = "it is signed for another peer's session",
		[ROUTE_AUTH_FORGED] = "its signature is wrong",
		[ROUTE_AUTH_TIME] = "its time is over 120 s off, or before what replay_max holds",
		[ROUTE_AUTH_REPLAY] = "it was received before: a replay",
	};

	return result == ROUTE_AUTH_CHANNEL ? route_tls_channel_text() : text[result];
}
