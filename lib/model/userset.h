/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The records of one user, merged: who serves the user now. No I/O, no clock, no allocation. */
#ifndef P2PSIP_MODEL_USERSET_H
#define P2PSIP_MODEL_USERSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/model/candidate.h"
#include "lib/proto/record.h"

/* Peers kept per user while merging, tombstones among them; the newest win when there are more. */
#define P2P_USERSET_MAX 32

/* Addresses of a peer's gateway kept per user. */
#define P2P_USERSET_GATEWAYS_MAX 2

struct p2p_userset_entry {
	struct p2p_hit hit;
	uint64_t order;
	uint64_t expiry_ms;
	uint64_t epoch;
	uint64_t tie; /* the signature's beginning: decides between equal orders */
	bool tombstone;
	uint8_t n_instances;
	uint8_t n_uris;
	uint8_t n_gateways;
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];
	uint32_t instance[P2P_CANDIDATE_INSTANCES_MAX];
	char uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX];
};

struct p2p_userset {
	uint8_t n;
	struct p2p_userset_entry e[P2P_USERSET_MAX];
};

/* What is known of the peer that signed a record. */
struct p2p_peer_state {
	bool known; /* a verified peer record was read */
	uint64_t epoch;
	uint64_t lease_ms; /* wall clock */
};

/* Empty the set. */
void p2p_userset_init(struct p2p_userset *set);

/* Merge a record that p2p_record_check found good; bytes: its encoding (its signature decides
 * between equal orders). 0: it counts. EALREADY: an equal or newer one of the peer was there.
 * ENOSPC: too many peers, and this is the oldest. EINVAL: no user record. */
int p2p_userset_add(struct p2p_userset *set, const struct p2p_record *rec,
		    const struct p2p_hit *hit, const void *bytes, size_t len);

/* Is there a record that is no tombstone and has not expired (whatever its peer's lease)? */
bool p2p_userset_any(const struct p2p_userset *set, uint64_t now_ms);

/* The candidates: tombstones, expired records, and those of `self` (may be NULL) are left out. A
 * peer whose lease ran out, or whose record is not known or is of another epoch than the user's, is
 * flagged P2P_CANDIDATE_LAPSED: whether it serves the user only a call tells.
 * Usable ones first, the newest first. state: what is known of a peer. */
void p2p_userset_candidates(const struct p2p_userset *set, uint64_t now_ms,
			    const struct p2p_hit *self,
			    void (*state)(const struct p2p_hit *hit, struct p2p_peer_state *out,
					  void *arg),
			    void *arg, struct p2p_candidate_set *out);

/* When the answer of p2p_userset_candidates may change by time alone: the next expiry, wall clock;
 * UINT64_MAX when never. (Leases are the caller's: it knows the peers.) */
uint64_t p2p_userset_next_expiry(const struct p2p_userset *set, uint64_t now_ms);

/* The addresses of the signer's gateway that a record holds, in order of preference: how many. */
uint8_t p2p_record_gateways(const struct p2p_record *rec,
			    struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX]);

/* A peer record as a candidate (PEER command): its SIP addresses, flags and lease. */
void p2p_candidate_from_peer(struct p2p_candidate *c, const struct p2p_record *peer,
			     const struct p2p_hit *hit, uint64_t now_ms);

#endif
