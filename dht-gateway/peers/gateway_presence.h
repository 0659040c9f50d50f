/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "Is this user with you?", for calls: of what is asked of one peer while a question to it is under
 * way, many go together in the next. A peer that does not know such questions is asked one by one.
 */
#ifndef P2PSIP_GATEWAY_PRESENCE_H
#define P2PSIP_GATEWAY_PRESENCE_H

#include "dht-gateway/peers/gateway_ask.h"

struct gw_presences;
struct gw_presence;

int gw_presences_new(struct gw_presences **pp, struct gw *gw);
/* Questions under way are told nothing more. Before what asks for it (gateway_ask.h). */
void gw_presences_free(struct gw_presences *p);

/* As gw_asks_user(), but that nothing is said of the user's phones, and that more may be asked
 * together with it. */
int gw_presence_ask(struct gw_presences *p, const struct p2p_hit *hit,
		    const struct p2p_locator *gateway, unsigned int n, const struct p2p_key *key,
		    uint64_t deadline_ms, gw_ask_h *h, void *arg, struct gw_presence **out);
void gw_presence_cancel(struct gw_presence *presence);

#endif
