/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The answering side of the overlay peer protocol: who this peer is, and whether a user is here.
 * docs/peer-protocol.md describes it. */
#ifndef P2PSIP_GATEWAY_SERVE_H
#define P2PSIP_GATEWAY_SERVE_H

#include "dht-gateway/gateway.h"

struct gw_serve;
struct https_server_stats;

/* Listens where [peers] says; nothing at all when it is not enabled. 0 or errno, with the reason in
 * err. */
int gw_serve_new(struct gw_serve **sp, struct gw *gw, char *err, size_t errlen);
void gw_serve_free(struct gw_serve *s);

/* Can other gateways reach this one at all? */
bool gw_serve_listens(const struct gw_serve *s);
/* Where others reach this gateway, behind the SIP addresses that rec has already; what does not fit
 * is left out. Listening at all addresses: it is reached where Kamailio is. */
void gw_serve_locators(const struct gw_serve *s, struct p2p_record *rec);
/* Are other gateways listened to at this very address? */
bool gw_serve_is(const struct gw_serve *s, const struct p2p_locator *at);
/* gw->tls has another certificate. */
void gw_serve_identity(struct gw_serve *s);
void gw_serve_stats(const struct gw_serve *s, struct https_server_stats *stats);

#endif
