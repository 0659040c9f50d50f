/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who serves a name: ROUTE. */
#ifndef P2PSIP_GATEWAY_LOOKUP_H
#define P2PSIP_GATEWAY_LOOKUP_H

#include "dht-gateway/gateway.h"
#include "lib/model/candidate.h"

/* Longest deadline a caller may set. */
#define GW_LOOKUP_DEADLINE_MAX_MS 30000

int gw_lookups_new(struct gw_lookups **lp, struct gw *gw);
/* Those who wait are told ETIMEDOUT. */
void gw_lookups_free(struct gw_lookups *l);

/* 0: cands has at least one; ENOENT: completed searches found none; ETIMEDOUT: no such search was
 * completed in time; EBUSY: too many lookups; EINVAL: no canonical name. cands is valid during the
 * call only. */
typedef void gw_lookup_h(int err, const struct p2p_candidate_set *cands, void *arg);

/* h is called once, now (from the cache, or EBUSY, EINVAL) or later. Lookups of one name share
 * their searches. fresh: not from the cache. */
void gw_lookup(struct gw_lookups *l, const char *name, size_t len, uint64_t deadline_ms, bool fresh,
	       gw_lookup_h *h, void *arg);
/* A holder tells of a record of this name, verified: whoever waits for one need not any longer. All
 * that it tells at once is taken together. */
void gw_lookup_told(struct gw_lookups *l, const char *name, size_t len, const struct p2p_key *key,
		    const void *bytes, size_t blen);
size_t gw_lookups_count(const struct gw_lookups *l);

#endif
