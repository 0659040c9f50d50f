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

/* Is there a session to send to this peer with, or why is there none? */
enum p2p_candidate_session {
	P2P_CANDIDATE_SESSION_NONE = 0,	   /* its gateway does not speak of sessions */
	P2P_CANDIDATE_SESSION_OPEN,	   /* there is one */
	P2P_CANDIDATE_SESSION_UNREACHABLE, /* its gateway does not answer */
	P2P_CANDIDATE_SESSION_NOCOMMON_SIGNALLING,
	P2P_CANDIDATE_SESSION_NOCOMMON_MEDIA, /* no way to talk that both sides allow */
	P2P_CANDIDATE_SESSION_REFUSED,	      /* not a member for it, or not who it should be */
};

/* Why there is none, for people; with NUL. */
#define P2P_CANDIDATE_WHY_MAX 64

struct p2p_candidate {
	struct p2p_hit hit;
	uint64_t order;	 /* the record's hybrid logical clock */
	uint32_t ttl_ms; /* how long the record may be believed from when it was answered */
	uint32_t flags;	 /* enum p2p_candidate_flag */
	uint8_t session; /* enum p2p_candidate_session */
	char why[P2P_CANDIDATE_WHY_MAX];
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
