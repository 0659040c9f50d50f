/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names whose changes we are told of. Where there are holders, two of a name's tell us of it (what
 * is served here they tell us of anyway). Where there are none, the engine does: of those served
 * here and those last looked up, as many as [dht] watches_max; for the others, reading again before
 * each repeated put has to do. */
#ifndef P2PSIP_GATEWAY_WATCH_H
#define P2PSIP_GATEWAY_WATCH_H

#include "dht-gateway/gateway.h"
#include "lib/proto/opp_records.h"

/* How long a holder is asked to tell of changes. */
#define GW_WATCH_S 600

int gw_watches_new(struct gw_watches **wp, struct gw *gw);
void gw_watches_free(struct gw_watches *w);
/* A holder, of which process, tells us of changes of this name from now on. */
void gw_watches_held(struct gw_watches *w, const char *name, size_t len, const struct p2p_key *key,
		     const struct p2p_hit *holder, uint64_t instance);
/* Is there a holder that would have told of any change since it was read? */
bool gw_watches_holds(const struct gw_watches *w, const char *name, size_t len);
/* POST changes, by a holder. */
void gw_watches_told(struct gw_watches *w, const struct p2p_hit *from,
		     const struct p2p_opp_batch *in, struct p2p_opp_results *out);
/* By the engine, where there are no holders. Watch it from now on. evict: in place of the one
 * longest unused when there are too many; else only where there is room, so that a great many users
 * do not put out each other in turn. */
void gw_watches_add(struct gw_watches *w, const char *name, size_t len, bool evict);
/* The overlay has a new secret: the same names, elsewhere. */
void gw_watches_rekey(struct gw_watches *w);
void gw_watches_del(struct gw_watches *w, const char *name, size_t len);
size_t gw_watches_count(const struct gw_watches *w);
/* Names that had to go for others, so far. */
uint64_t gw_watches_evicted(const struct gw_watches *w);

#endif
