/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names whose changes the DHT tells us of: those served here and those last looked up, as many as
 * [dht] watches_max. For the others, reading again before each repeated put has to do. */
#ifndef P2PSIP_GATEWAY_WATCH_H
#define P2PSIP_GATEWAY_WATCH_H

#include "dht-gateway/gateway.h"

int gw_watches_new(struct gw_watches **wp, struct gw *gw);
void gw_watches_free(struct gw_watches *w);
/* Watch it from now on. evict: in place of the one longest unused when there are too many; else
 * only where there is room, so that a great many users do not put out each other in turn. */
void gw_watches_add(struct gw_watches *w, const char *name, size_t len, bool evict);
/* The overlay has a new secret: the same names, elsewhere. */
void gw_watches_rekey(struct gw_watches *w);
void gw_watches_del(struct gw_watches *w, const char *name, size_t len);
size_t gw_watches_count(const struct gw_watches *w);

#endif
