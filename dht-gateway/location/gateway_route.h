/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ROUTE: who serves a name, by the DHT's records and by what the serving peers say themselves, and
 * the session to send to each of them with, in one step. */
#ifndef P2PSIP_GATEWAY_ROUTE_H
#define P2PSIP_GATEWAY_ROUTE_H

#include "dht-gateway/location/gateway_lookup.h"
#include "dht-gateway/peers/gateway_session.h"

struct gw_routes;

int gw_routes_new(struct gw_routes **rp, struct gw *gw);
/* Those who wait are told ETIMEDOUT. */
void gw_routes_free(struct gw_routes *r);

/* err and cands as gw_lookup_h's. sessions: one for each of the candidates, in the same order, with
 * nothing in it about the user. */
typedef void gw_route_h(int err, const struct p2p_candidate_set *cands,
			const struct gw_session_answer *sessions, void *arg);

/* As gw_lookup, but peers that say that the user is not with them are left out. ENOENT also when
 * all were, and a fresh search that was completed found no others. With a peer that there is no
 * session with, one is opened, in the same breath as it is asked about the user. */
void gw_route(struct gw_routes *r, const char *name, size_t len, uint64_t deadline_ms, bool fresh,
	      gw_route_h *h, void *arg);

#endif
