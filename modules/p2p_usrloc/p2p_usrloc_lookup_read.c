/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: what the gateway says to a lookup, and what is remembered of it. */
#include <string.h>

#include "core/dprint.h"
#include "lib/proto/resp.h"
#include "modules/p2p_usrloc/p2p_usrloc_lookup_priv.h"

static enum p2p_answer_code error_code(const struct pul_lookup *l, const redisReply *r)
{
	enum p2p_resp_code code = p2p_resp_code(r->str, r->len);

	if (code == P2P_RESP_DENIED && l->kind == P2P_QUESTION_AUTH)
		return P2P_ANSWER_DENIED;
	switch (code) {
	case P2P_RESP_NOTFOUND:
		return P2P_ANSWER_ABSENT;
	case P2P_RESP_TIMEOUT:
		return P2P_ANSWER_UNKNOWN;
	case P2P_RESP_BUSY:
		return P2P_ANSWER_BUSY;
	case P2P_RESP_BADARG:
		return P2P_ANSWER_BADARG;
	case P2P_RESP_UNAVAIL:
		return P2P_ANSWER_UNAVAILABLE;
	default:
		if (pul_log_ok("error", 5))
			LM_WARN("the gateway says to a lookup: %.*s\n", (int)r->len, r->str);
		return P2P_ANSWER_UNKNOWN;
	}
}

/* The answer about the session that was asked for, and no other. */
static bool session_read(const struct pul_lookup *l, const redisReply *r)
{
	struct p2p_session s;

	return pul_answer_session(&s, r) && memcmp(&s.id, &l->hit, sizeof(s.id)) == 0 &&
	       pul_sessions_put(&s) == 0;
}

/* One that came with the answer to ROUTE. */
static void session_learn(const struct p2p_session *s)
{
	if (pul_sessions_put(s) != 0) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		if (pul_log_ok("session", 7))
			LM_WARN("the gateway gives one session to two peers\n");
	}
}

/* The session with the peer that was asked about. */
static bool peersession_read(const struct pul_lookup *l, const redisReply *r)
{
	struct p2p_session s;

	return pul_answer_session(&s, r) && p2p_hit_cmp(&s.hit, &l->hit) == 0 &&
	       pul_sessions_put(&s) == 0;
}

void pul_lookup_read(const struct pul_lookup *l, const redisReply *r, struct pul_said *said)
{
	said->code = P2P_ANSWER_FOUND;
	said->sense = true;
	said->serves = 0;
	said->auth = (struct p2p_auth){.enrolled = false};
	said->ttl_ms = 0;
	said->set->n = 0;
	if (r->type == REDIS_REPLY_ERROR) {
		said->code = error_code(l, r);
		return;
	}
	switch (l->kind) {
	case P2P_QUESTION_SERVES:
		said->sense = r->type == REDIS_REPLY_INTEGER && r->integer >= 0 && r->integer <= 2;
		said->serves = said->sense ? (int)r->integer : 0;
		break;
	case P2P_QUESTION_PEER:
		said->sense = pul_answer_peer(said->set, r, &l->hit);
		break;
	case P2P_QUESTION_SESSION:
		said->sense = session_read(l, r);
		break;
	case P2P_QUESTION_PEERSESSION:
		said->sense = peersession_read(l, r);
		break;
	case P2P_QUESTION_AUTH:
		said->sense = pul_answer_auth(&said->auth, &said->ttl_ms, r);
		break;
	default:
		said->sense = pul_answer_route(said->set, r, session_learn);
		break;
	}
	if (said->sense)
		return;
	said->set->n = 0;
	said->code = P2P_ANSWER_UNKNOWN;
	pul_count(PUL_CNT_PROTOCOL_ERRORS);
	if (pul_log_ok("sense", 5))
		LM_WARN("the gateway's answer to a lookup of [%s] makes no sense\n", l->name.s);
}

static void name_cache(const struct pul_lookup *l, enum p2p_answer_code code,
		       const struct p2p_candidate_set *set)
{
	bool serves = pul_users_serves(&l->name, NULL);

	if (code == P2P_ANSWER_FOUND) {
		if (pul_cache_put(pul_routes, l->name.s, l->name.len, set) != 0 &&
		    pul_log_ok("cache", 5))
			LM_WARN("no shared memory for the cache\n");
	} else if (serves) {
		/* put, not dropped: "others: none known" */
		pul_cache_put(pul_routes, l->name.s, l->name.len, set);
	} else {
		pul_cache_drop(pul_routes, l->name.s, l->name.len, NULL);
	}
	if (serves)
		pul_users_set_others(&l->name, code == P2P_ANSWER_FOUND);
}

/* The gateway does not know it (any more). */
static void session_gone(const struct p2p_hit *hit)
{
	struct p2p_session_id id;

	memcpy(&id, hit, sizeof(id));
	pul_sessions_close(&id);
}

/* What is remembered of a user's digest. */
static void auth_cache(const struct pul_lookup *l, enum p2p_answer_code code,
		       const struct p2p_auth *auth, uint64_t ttl_ms)
{
	static const struct p2p_auth none;

	if (code == P2P_ANSWER_FOUND)
		pul_auth_put(&l->name, auth, ttl_ms);
	else
		pul_auth_put(&l->name, &none, UINT64_MAX);
}

void pul_lookup_remember(const struct pul_lookup *l, const struct pul_said *said)
{
	if (l->kind == P2P_QUESTION_ROUTE && !l->outdated)
		name_cache(l, said->code, said->set);
	else if (l->kind == P2P_QUESTION_AUTH && !l->outdated)
		auth_cache(l, said->code, &said->auth, said->ttl_ms);
	else if (l->kind == P2P_QUESTION_PEER && said->code == P2P_ANSWER_FOUND)
		pul_cache_put(pul_peers, &l->hit, sizeof(l->hit), said->set);
	else if (l->kind == P2P_QUESTION_PEER)
		pul_cache_drop(pul_peers, &l->hit, sizeof(l->hit), NULL);
	else if (l->kind == P2P_QUESTION_SESSION && said->code == P2P_ANSWER_ABSENT)
		session_gone(&l->hit);
}
