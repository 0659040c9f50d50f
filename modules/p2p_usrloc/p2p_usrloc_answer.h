/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: what the gateway's answers mean. Nothing here knows of Kamailio, so that a fuzzer can
 * feed it: an answer is believed only as far as it is well-formed. */
#ifndef P2P_USRLOC_ANSWER_H
#define P2P_USRLOC_ANSWER_H

#include <stdbool.h>
#include <stdint.h>
#include <hiredis/hiredis.h>
#include "lib/model/candidate.h"
#include "lib/model/session.h"
#include "lib/proto/enrolment.h"
#include "lib/proto/name.h"

/* Bytes of a gateway's run. */
#define PUL_RUN_MAX 32

/* What the gateway said at the last handshake, and how it went on, for RPC and own_hit. */
struct pul_gateway_info {
	bool known; /* a handshake has succeeded since Kamailio's start */
	struct p2p_hit hit;
	char server[32], version[16], overlay[64], epoch[32];
	char run[PUL_RUN_MAX + 1]; /* of its process; empty: it does not say */
	bool resumed;		   /* it has what it took of this Kamailio, up to resumed_seq */
	uint64_t resumed_seq;
	char error[160];    /* why it is not connected; empty when it is */
	uint64_t synced_ms; /* when all users had been told after the last handshake; 0: not yet */
	int64_t orphans;    /* what SYNCED answered */
};

/* What the overlay's rules say of users, for auth_rules. */
struct pul_rules {
	bool known;
	uint8_t digests;
	char realm[P2P_REALM_MAX + 1];
};

/* A parser that does not allocate for arrays larger than any answer has; NULL: no memory. The
 * caller frees it (redisReaderFree). */
redisReader *pul_answer_reader(void);

/* HANDSHAKE's answer: pairs of key and value, `hit` among them. info is zeroed first. */
bool pul_answer_handshake(struct pul_gateway_info *info, const redisReply *r);
/* Told of each session that ROUTE's answer has. */
typedef void pul_session_h(const struct p2p_session *s);

/* ROUTE's: at least one candidate, each [hit, order, ttl_ms, flags, session, n_uris,
 * uri..., instance-hash...]. Candidates and URIs beyond what a set holds are left out. session is
 * an array as below, with the candidate's HIT, or a text: why there is none. */
bool pul_answer_route(struct p2p_candidate_set *set, const redisReply *r, pul_session_h *found);
/* PEER's: [hit, epoch, lease_ms_left, n_uris, uri...], about hit and no other. */
bool pul_answer_peer(struct p2p_candidate_set *set, const redisReply *r, const struct p2p_hit *hit);
/* SESSIONS': [cursor, id...]. False: no such answer. */
bool pul_answer_session_ids(const redisReply *r, uint64_t *cursor,
			    void (*found)(const struct p2p_session_id *id));
/* A session: [id, hit, role, ttl_ms, key_out, key_in, signalling, family, media, uri, stream_uri,
 * retiring...]. */
bool pul_answer_session(struct p2p_session *s, const redisReply *r);
/* AUTH's: [realm, ttl_ms, digest, HA1, digest, HA1...], at least one of them known here. */
bool pul_answer_auth(struct p2p_auth *auth, uint64_t *ttl_ms, const redisReply *r);
/* A phone of a user that is at another peer now. */
struct pul_move {
	struct p2p_hit hit;
	uint8_t n_instances;
	uint32_t instance[P2P_CANDIDATE_INSTANCES_MAX];
	const char *name; /* in the message, canonical */
	size_t name_len;
};
/* A message of the channel `moves`: "hit hash[,hash]... name". */
bool pul_answer_move(struct pul_move *move, const char *s, size_t len);
/* RULES': pairs of key and value, `realm` and `digests` among them. */
bool pul_answer_rules(struct pul_rules *rules, const redisReply *r);

#endif
