/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What two members tell each other about all members: body of POST /v1/<overlay>/members, and of
 * its answer. docs/peer-protocol.md describes it; lib/model/gossip.h says what follows from it. */
#ifndef P2PSIP_PROTO_OPP_MEMBERS_H
#define P2PSIP_PROTO_OPP_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/proto/record.h"

/* Bytes of a body. */
#define P2P_OPP_MEMBERS_BODY_MAX 32768
/* Most of each in one body. */
#define P2P_OPP_MEMBERS_RECORDS 20
#define P2P_OPP_MEMBERS_DOUBTS 24
#define P2P_OPP_MEMBERS_PROBES 4
#define P2P_OPP_MEMBERS_BUCKETS 64
#define P2P_OPP_MEMBERS_HAVES 192
#define P2P_OPP_MEMBERS_WANTS 128

/* "This member does not answer." Of the record with this order: a later one refutes it. */
struct p2p_opp_doubt {
	struct p2p_hit hit;
	uint64_t order;
	bool dead;	 /* it has had its time to refute it */
	uint32_t age_ms; /* since somebody first said so */
};

struct p2p_opp_seen {
	struct p2p_hit hit;
	uint32_t age_ms; /* since it was spoken with */
};

struct p2p_opp_have {
	struct p2p_hit hit;
	uint64_t order;
	bool dead;
};

struct p2p_opp_members {
	uint8_t n_records, n_doubts, n_probes, n_seen;
	uint8_t n_digest; /* 0, or a power of two up to P2P_OPP_MEMBERS_BUCKETS */
	uint8_t n_buckets, n_wants;
	uint8_t n_haves;
	struct {
		uint16_t len;
		uint8_t b[P2P_RECORD_MAX];
	} record[P2P_OPP_MEMBERS_RECORDS]; /* peer records, whole and signed */
	struct p2p_opp_doubt doubt[P2P_OPP_MEMBERS_DOUBTS];
	struct p2p_hit probe[P2P_OPP_MEMBERS_PROBES]; /* "I cannot reach it: try, I ask again" */
	struct p2p_opp_seen seen[P2P_OPP_MEMBERS_PROBES];
	/* the digest: a sum for each bucket of members, of records up to this order */
	uint64_t as_of;
	uint64_t digest[P2P_OPP_MEMBERS_BUCKETS];
	/* the answer to one: the buckets (a mask, of n_buckets; 0: no answer) that differ and whose
	 * members are all listed */
	uint64_t buckets;
	struct p2p_opp_have have[P2P_OPP_MEMBERS_HAVES];
	struct p2p_hit want[P2P_OPP_MEMBERS_WANTS]; /* whose records are asked for */
};

/* buf: the JSON text and a NUL; len without it. EINVAL: a field out of range; EMSGSIZE: does not
 * fit cap (P2P_OPP_MEMBERS_BODY_MAX + 1 is enough for everything). */
int p2p_opp_members_encode(const struct p2p_opp_members *m, char *buf, size_t cap, size_t *len);
/* EMSGSIZE: over P2P_OPP_MEMBERS_BODY_MAX; EBADMSG: no such body; ENOMEM. What is in m then is of
 * no use. */
int p2p_opp_members_decode(struct p2p_opp_members *m, const char *text, size_t len);

#endif
