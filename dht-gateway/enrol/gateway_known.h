/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Members and where their gateways were: a small file in the state folder. A peer that was away
 * while the overlay's secret changed cannot look its peers up any more; these it asks. */
#ifndef P2PSIP_GATEWAY_KNOWN_H
#define P2PSIP_GATEWAY_KNOWN_H

#include "dht-gateway/gateway.h"

#define GW_KNOWN_FILE "gateways"
#define GW_KNOWN_MAX 32

struct gw_known;

/* 0 or ENOMEM. */
int gw_known_new(struct gw_known **kp, struct gw *gw);
void gw_known_free(struct gw_known *k);
/* Once in a while: takes those that are heard of now, and writes the file if they are others. */
void gw_known_update(struct gw_known *k);

size_t gw_known_count(const struct gw_known *k);
/* The i-th, from 0. */
struct p2p_hit gw_known_hit(const struct gw_known *k, size_t i);
/* How many; at most one. */
unsigned int gw_known_gateways(const struct gw_known *k, const struct p2p_hit *hit,
			       struct p2p_locator *gateway);

#endif
