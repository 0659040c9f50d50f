/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this gateway keeps of other peers' users: their records, told by the peers that serve them
 * (gateway_announce.h, over there), for whoever asks; and who wants to be told of changes. Soft
 * state: nothing of it outlives the process. docs/peer-protocol.md, Holders. */
#ifndef P2PSIP_GATEWAY_HOLD_H
#define P2PSIP_GATEWAY_HOLD_H

#include "dht-gateway/gateway.h"
#include "lib/model/held.h"
#include "lib/proto/opp_records.h"

struct gw_holds;

int gw_holds_new(struct gw_holds **hp, struct gw *gw);
/* Nobody is told of anything any more. */
void gw_holds_stop(struct gw_holds *h);
void gw_holds_free(struct gw_holds *h);
/* Another number in each process. */
uint64_t gw_holds_instance(const struct gw_holds *h);

/* --- other gateways' requests; `from` is a member ----------------------------------------------
 */

void gw_holds_announced(struct gw_holds *h, const struct p2p_hit *from,
			const struct p2p_opp_batch *in, struct p2p_opp_results *out);
void gw_holds_asked(struct gw_holds *h, const struct p2p_hit *from, const struct p2p_opp_query *in,
		    struct p2p_opp_found *out);
void gw_holds_ranged(struct gw_holds *h, const struct p2p_opp_range *in, struct p2p_opp_page *out);
void gw_holds_checked(struct gw_holds *h, const struct p2p_hit *from,
		      const struct p2p_opp_check *in, struct p2p_opp_missing *out);

/* --- our own -----------------------------------------------------------------------------------
 */

/* One that we have signed, of whose key we are a holder; kept here and there once. */
void gw_holds_own(struct gw_holds *h, struct p2p_shared *record);
/* One that another holder has kept, told while we synchronise. */
void gw_holds_pulled(struct gw_holds *h, const void *bytes, size_t len);
/* The records of a key: how many. Their signatures may not have been looked at yet. */
unsigned int gw_holds_get(const struct gw_holds *h, const struct p2p_key *key,
			  struct p2p_held_record out[P2P_HELD_SIGNERS_MAX]);
/* Are the n that gw_holds_get found all there are, as far as can be known? */
bool gw_holds_synced(const struct gw_holds *h, const struct p2p_key *key, unsigned int n);
/* Records had to go for want of room a short while ago: that one is not here says nothing. */
bool gw_holds_lossy(const struct gw_holds *h);

struct gw_holds_stats {
	size_t records, bytes, watchers;
	uint64_t lost;	/* for want of room, so far */
	size_t telling; /* keys that others are yet to be told of */
};
void gw_holds_stats(const struct gw_holds *h, struct gw_holds_stats *st);

#endif
