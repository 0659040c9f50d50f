/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Peer records: our own (renewed at a third of the lease), and what is known of others'. */
#ifndef P2PSIP_GATEWAY_PEERS_H
#define P2PSIP_GATEWAY_PEERS_H

#include "dht-gateway/gateway.h"
#include "lib/model/candidate.h"
#include "lib/model/userset.h"

/* 0 or ENOMEM. */
int gw_peers_new(struct gw_peers **pp, struct gw *gw);
void gw_peers_free(struct gw_peers *p);

/* Kamailio said where it can be reached (HANDSHAKE); what the settings say wins. Everything is
 * signed anew when that changes something. EINVAL: one of them is no such URI. */
int gw_peers_uris_set(struct gw_peers *p, const char *const *uri, const size_t *len,
		      unsigned int n);
/* Our SIP addresses, and our gateway's, into a record. ENOENT: none is known yet. */
int gw_peers_locators(const struct gw_peers *p, struct p2p_record *rec);
unsigned int gw_peers_uris(const struct gw_peers *p,
			   char uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX]);
/* The overlay has a new secret: everything lies elsewhere. */
void gw_peers_rekey(struct gw_peers *p);
/* It was revoked. */
void gw_peers_forget(struct gw_peers *p, const struct p2p_hit *hit);
/* Put our own record now (connected, addresses or epoch changed). */
void gw_peers_announce(struct gw_peers *p);
/* Search for our own key: what OpenDHT learns of its neighbours, it learns by searching. */
void gw_peers_probe(struct gw_peers *p);
/* Another peer's record that was verified, and did not come from the engine. */
void gw_peers_learn(struct gw_peers *p, const struct p2p_hit *hit, const struct p2p_record *rec,
		    const void *bytes, size_t len);
/* Our record as it would be signed now: all but key, order, expiry. ENOENT: no address is known
 * yet. */
int gw_peers_own_record(const struct gw_peers *p, struct p2p_record *rec);
/* Sign it anew and tell the members (somebody doubts that we live); or tell them that we leave. */
void gw_peers_own_tell(struct gw_peers *p);
void gw_peers_own_leave(struct gw_peers *p);
/* Somebody has this record of ours. */
void gw_peers_own_seen(struct gw_peers *p, const struct p2p_record *rec);
/* Until when others believe our records, wall clock; 0: never told. */
uint64_t gw_peers_lease(const struct gw_peers *p);

/* The candidates of a set, ourselves left out. Peers not heard of yet are taken for alive and
 * asked about in the background; so are those that were not asked about for a while. */
void gw_peers_candidates(struct gw_peers *p, const struct p2p_userset *set,
			 struct p2p_candidate_set *out);

/* 0, ENOENT, ETIMEDOUT, EBUSY; rec is valid during the call only, NULL unless 0. */
typedef void gw_peer_h(int err, const struct p2p_record *rec, void *arg);
/* h is called once, now or later. */
void gw_peers_get(struct gw_peers *p, const struct p2p_hit *hit, uint64_t deadline_ms, gw_peer_h *h,
		  void *arg);

struct gw_peer_info {
	struct p2p_hit hit;
	bool known, fetching;
	uint64_t epoch, lease_ms, order;
	uint64_t age_ms;	      /* since it was read */
	const struct p2p_record *rec; /* NULL unless known */
};
void gw_peers_scan(const struct gw_peers *p, uint64_t *cursor, size_t count,
		   void (*fn)(const struct gw_peer_info *info, void *arg), void *arg);
size_t gw_peers_count(const struct gw_peers *p);
/* Peers that had to go for others, so far. */
uint64_t gw_peers_evicted(const struct gw_peers *p);

#endif
