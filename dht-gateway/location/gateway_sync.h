/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Of which keys this gateway is a holder, and whether it has all of their records: after a start,
 * and when its range has grown, it asks the other holders of each arc of its range. An arc is what
 * lies between two neighbours on the ring; all its keys have the same holders. */
#ifndef P2PSIP_GATEWAY_SYNC_H
#define P2PSIP_GATEWAY_SYNC_H

#include "dht-gateway/gateway.h"

struct gw_sync;

int gw_sync_new(struct gw_sync **sp, struct gw *gw);
void gw_sync_free(struct gw_sync *s);
/* The ring has changed, or who of it is alive. */
void gw_sync_changed(struct gw_sync *s);

/* Are we one of those that are to hold this key? */
bool gw_sync_holds(const struct gw_sync *s, const struct p2p_key *key);
/* Then: is a record that is not here nowhere? */
bool gw_sync_synced(const struct gw_sync *s, const struct p2p_key *key);
/* For so long nothing has changed, in ms. */
uint64_t gw_sync_settled(const struct gw_sync *s);

struct gw_sync_stats {
	unsigned int arcs, unsynced;
	uint64_t pages, records, failures;
};
void gw_sync_stats(const struct gw_sync *s, struct gw_sync_stats *st);

#endif
