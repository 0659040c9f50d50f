/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Peers' records, for their own two files: gateway_peers.c has the others', gateway_peers_own.c
 * ours. */
#ifndef P2PSIP_GATEWAY_PEERS_IMPL_H
#define P2PSIP_GATEWAY_PEERS_IMPL_H

#include "dht-gateway/members/gateway_peers.h"

struct dht_op;
struct event;
struct gw_map;

struct gw_peers {
	struct gw *gw;
	struct gw_map *map;
	unsigned int fetches, n_waiters;

	/* our own */
	char uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX];
	unsigned int n_uris;
	struct p2p_key key;
	struct event *own_timer;
	bool putting, again;
	uint64_t lease_ms;	    /* wall: as far as it is known to be out there */
	uint64_t lease_next;	    /* of the put under way */
	uint64_t order, told_order; /* of the last one put, and of the last one told to members */
	struct dht_op *own_op, *probe;
	struct event *own_deadline;
	bool seen;
	bool left; /* we leave: no more records of ours */
};

/* gateway_peers_own.c. 0 or ENOMEM; gw_peers_own_free() in either case. */
int gw_peers_own_new(struct gw_peers *p);
void gw_peers_own_free(struct gw_peers *p);

#endif
