/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is this gateway behind with its work? What follows from it is lib/model/lag.h's. */
#ifndef P2PSIP_GATEWAY_LOAD_H
#define P2PSIP_GATEWAY_LOAD_H

#include "dht-gateway/gateway.h"

int gw_load_new(struct gw_load **lp, struct gw *gw);
void gw_load_free(struct gw_load *l);

/* Is a new lookup that nobody has the answer to yet to be turned down, for there is too much to do?
 * Some are, the more the further the loop is behind; each that is, is counted. */
bool gw_load_refuses(struct gw_load *l);
/* Is some of it turned down now? */
bool gw_load_behind(const struct gw_load *l);
/* The time that the loop has lost so far, ms: to be kept by who begins to wait. */
uint64_t gw_load_lost_ms(const struct gw_load *l);
/* A deadline that was set waited_ms ago, when lost_ms was gw_load_lost_ms(), is over. Is that our
 * own doing? Then it says nothing of whom was waited for; it is counted. */
bool gw_load_is_ours(struct gw_load *l, uint64_t lost_ms, uint64_t waited_ms);
/* How late its turns are in the mean, ms. */
uint64_t gw_load_late_ms(const struct gw_load *l);

#endif
