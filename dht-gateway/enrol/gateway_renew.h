/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keeps this peer's certificates good, in an enrolled overlay: its own, which the authority's
 * gateway renews (wherever that is: who invited this peer is asked first, then others), and that of
 * its Kamailio, which it signs itself. */
#ifndef P2PSIP_GATEWAY_RENEW_H
#define P2PSIP_GATEWAY_RENEW_H

#include "dht-gateway/gateway.h"

/* In the state folder: the HIT of the peer that invited this one. */
#define GW_INVITER_FILE "inviter"

struct gw_renewal;

/* Who invited this peer. ENOENT: nobody, it has begun the overlay. */
int gw_inviter_load(const struct gw *gw, struct p2p_hit *hit);

/* Kamailio's certificate is there when this returns, if it can be. 0 or ENOMEM. */
int gw_renewal_new(struct gw_renewal **rp, struct gw *gw);
void gw_renewal_free(struct gw_renewal *r);
/* Look now, and not only every minute. */
void gw_renewal_check(struct gw_renewal *r);
/* "good", "renewal due", "ends soon", "expired". */
const char *gw_renewal_state(const struct gw *gw);

#endif
