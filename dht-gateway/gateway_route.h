/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ROUTE: who serves a name, by the DHT's records and by what the serving peers say themselves. */
#ifndef P2PSIP_GATEWAY_ROUTE_H
#define P2PSIP_GATEWAY_ROUTE_H

#include "dht-gateway/gateway_lookup.h"

struct gw_routes;

int gw_routes_new(struct gw_routes **rp, struct gw *gw);
/* Those who wait are told ETIMEDOUT. */
void gw_routes_free(struct gw_routes *r);

/* As gw_lookup, but peers that say that the user is not with them are left out. ENOENT also when
 * all were, and a fresh search that was completed found no others. */
void gw_route(struct gw_routes *r, const char *name, size_t len, uint64_t deadline_ms, bool fresh,
	      gw_lookup_h *h, void *arg);

#endif
