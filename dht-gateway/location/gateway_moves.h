/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Phones that have gone to another peer: one that is registered here, and by a record of another
 * peer there too (the same +sip.instance). That peer is asked for how long it has had it; ages need
 * no clocks that agree. If it came there later than here, the modules are told ("replaced"). */
#ifndef P2PSIP_GATEWAY_MOVES_H
#define P2PSIP_GATEWAY_MOVES_H

#include "dht-gateway/gateway.h"
#include "lib/model/userset.h"

struct gw_moves;

int gw_moves_new(struct gw_moves **mp, struct gw *gw);
/* Questions under way are told nothing more. */
void gw_moves_free(struct gw_moves *m);
/* A verified record of another peer, of a user that is served here. False: there is no room for it;
 * gw_cache_compare() is called when there is. */
bool gw_moves_other(struct gw_moves *m, const char *name, size_t len,
		    const struct p2p_userset_entry *e);
/* A member lives that was taken for dead, or was none: what could not be asked of it is, soon. */
void gw_moves_alive(struct gw_moves *m);

/* Questions that wait or are under way. */
size_t gw_moves_count(const struct gw_moves *m);

#endif
