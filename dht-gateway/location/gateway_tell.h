/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a holder tells others of changes: POST changes, to those that watch a key, and to the peers
 * that serve its user. Each has a queue of keys; what is sent is what is held of them by then. */
#ifndef P2PSIP_GATEWAY_TELL_H
#define P2PSIP_GATEWAY_TELL_H

#include "dht-gateway/gateway.h"

struct gw_tells;

int gw_tells_new(struct gw_tells **tp, struct gw *gw,
		 void (*unwanted)(const struct p2p_hit *hit, const struct p2p_key *key, void *arg),
		 void *arg);
void gw_tells_free(struct gw_tells *t);
/* Tell it of this key; nothing while it is dead, or is ourselves. */
void gw_tells_add(struct gw_tells *t, const struct p2p_hit *hit, const struct p2p_key *key);
/* Keys that wait to be told of. */
size_t gw_tells_waiting(const struct gw_tells *t);

#endif
