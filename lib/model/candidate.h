/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Serving peers of a user, as the gateway answers them and as the modules cache them. Plain data
 * of fixed size, so that it serves shared memory, a stack and a queue alike. */
#ifndef P2PSIP_MODEL_CANDIDATE_H
#define P2PSIP_MODEL_CANDIDATE_H

#include <stddef.h>
#include <stdint.h>
#include "lib/proto/hit.h"

/* Serving peers kept per name; the newest win when there are more. */
#define P2P_CANDIDATES_MAX 8
/* SIP addresses kept per peer, in the peer's order of preference. */
#define P2P_CANDIDATE_URIS_MAX 4
/* Longest SIP URI of a peer, with NUL: sip:[v6]:port;transport=tcp. */
#define P2P_CANDIDATE_URI_MAX 80
/* +sip.instance hashes kept per peer and user. */
#define P2P_CANDIDATE_INSTANCES_MAX 8

enum p2p_candidate_flag {
	P2P_CANDIDATE_LAPSED =
		1, /* the peer's lease ran out: try it last, its absence is unknown */
};

struct p2p_candidate {
	struct p2p_hit hit;
	uint64_t order;	 /* the record's hybrid logical clock */
	uint32_t ttl_ms; /* how long the record may be believed from when it was answered */
	uint32_t flags;	 /* enum p2p_candidate_flag */
	uint8_t n_uris;
	uint8_t n_instances;
	uint32_t instance[P2P_CANDIDATE_INSTANCES_MAX]; /* p2p_instance_hash() of each contact */
	char uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX];
};

struct p2p_candidate_set {
	uint8_t n;
	struct p2p_candidate c[P2P_CANDIDATES_MAX];
};

/* Hash of a +sip.instance value (RFC 5626), angle brackets and case aside; never 0. */
uint32_t p2p_instance_hash(const char *instance, size_t len);

#endif
