/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verified records of names, as last read: for answers within [limits] cache_fresh_ms, to tell the
 * modules of changes, and for `p2psipctl records`. Nothing in it says that a name is absent. */
#ifndef P2PSIP_GATEWAY_CACHE_H
#define P2PSIP_GATEWAY_CACHE_H

#include "dht-gateway/gateway.h"
#include "lib/model/candidate.h"
#include "lib/model/userset.h"

int gw_cache_new(struct gw_cache **cp, struct gw *gw);
void gw_cache_free(struct gw_cache *c);

/* What was last read of this peer's record of the name, a tombstone too. NULL: nothing, or it has
 * expired. Valid until the next change. */
const struct p2p_userset_entry *gw_cache_known(const struct gw_cache *c, const char *name,
					       size_t len, const struct p2p_hit *hit);
/* What was read. complete: by a search that asked everybody; it takes the place of what is there,
 * else it is merged into it. The modules are told when the candidates of a name that was known
 * before, or that is served here, are others now (`tell`: of any that have candidates). */
void gw_cache_put(struct gw_cache *c, const char *name, size_t len, const struct p2p_userset *set,
		  bool complete, bool tell);
/* One more record. */
void gw_cache_add(struct gw_cache *c, const char *name, size_t len, const struct p2p_record *rec,
		  const struct p2p_hit *hit, const void *bytes, size_t blen);
/* Candidates not older than max_age_ms. ENOENT: none that are usable. */
int gw_cache_get(struct gw_cache *c, const char *name, size_t len, uint64_t max_age_ms,
		 struct p2p_candidate_set *out);

/* --- what the serving peers said themselves; it goes with the record (its order) ----------------
 */

/* Addresses of the gateway of the peer that a record names: how many, 0 when there is no such
 * record any more. confirmed_ms: when the peer said that the user is there, monotonic; 0: not yet.
 */
unsigned int gw_cache_gateways(const struct gw_cache *c, const char *name, size_t len,
			       const struct p2p_hit *hit, uint64_t order,
			       struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX],
			       uint64_t *confirmed_ms);
void gw_cache_confirm(struct gw_cache *c, const char *name, size_t len, const struct p2p_hit *hit,
		      uint64_t order);
/* The peer said that the user is not there. The modules are told, once. */
void gw_cache_refute(struct gw_cache *c, const char *name, size_t len, const struct p2p_hit *hit,
		     uint64_t order);
/* Leave out the candidates that were refuted a short while ago. */
void gw_cache_filter(const struct gw_cache *c, const char *name, size_t len,
		     struct p2p_candidate_set *cands);

/* The peer is none any more: the modules are told of all names that it serves. */
void gw_cache_forget(struct gw_cache *c, const struct p2p_hit *hit);

struct gw_cache_info {
	const char *name;
	size_t len;
	uint64_t age_ms;
	const struct p2p_userset_entry *entry;
	unsigned int n;
};
void gw_cache_scan(const struct gw_cache *c, uint64_t *cursor, size_t count,
		   void (*fn)(const struct gw_cache_info *info, void *arg), void *arg);
/* Records that were not compared with who is registered here, gateway_moves.h, are now: their peers
 * were taken for dead, there was no room, or it was in vain. */
void gw_cache_compare(struct gw_cache *c);
/* It was in vain. */
void gw_cache_uncompared(struct gw_cache *c, const char *name, size_t len,
			 const struct p2p_hit *hit, uint64_t order);
size_t gw_cache_count(const struct gw_cache *c);
/* Names that had to go for others, so far. */
uint64_t gw_cache_evicted(const struct gw_cache *c);

#endif
