/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our users' records to those that hold them (the first living members clockwise from the key), and
 * to the engine, behind everything else and paced. Holders are told at once after a quiet while,
 * else every 30 ms of what has come meanwhile. What a holder has lost it is told again: after a
 * restart, by the instance in its answers; else when it is asked for what it has, every ten minutes
 * for each record. */
#ifndef P2PSIP_GATEWAY_ANNOUNCE_H
#define P2PSIP_GATEWAY_ANNOUNCE_H

#include "dht-gateway/gateway.h"
#include "lib/proto/opp_records.h"

struct gw_announces;

int gw_announces_new(struct gw_announces **ap, struct gw *gw);
/* No holder is told anything more. */
void gw_announces_stop(struct gw_announces *a);
/* The engine's puts under way have ended before. */
void gw_announces_free(struct gw_announces *a);

/* Are there holders? Else (nobody else speaks the protocol, or we do not) users are found by the
 * engine alone. */
bool gw_announces_possible(const struct gw_announces *a);

/* err 0: the record is safe, held by a majority of those that are to hold it (or by all that live,
 * when these are fewer). ESTALE: a holder has a later one of ours; order is that one's. */
typedef void gw_announced_h(int err, uint64_t order, void *arg);

/* One of our own records, the newest of its key. 0: h is called once, later, unless another record
 * of this key comes or it is cancelled. EALREADY: it is safe as it is, and h is not called. ENOSPC,
 * ENOMEM, ESTALE, EBADMSG. h may be NULL. */
int gw_announces_put(struct gw_announces *a, const void *bytes, size_t len, gw_announced_h *h,
		     void *arg);
void gw_announces_cancel(struct gw_announces *a, const struct p2p_key *key);
/* Somebody waits (gw_users_confirms) until what was put is safe: it goes sooner. */
void gw_announces_hurry(struct gw_announces *a);
/* A record of another peer that serves a user of ours; not verified. One subscriber. */
void gw_announces_on_other(struct gw_announces *a,
			   void (*h)(const struct p2p_hit *from, const void *bytes, size_t len,
				     void *arg),
			   void *arg);
/* A holder has a later record of ours (its order is later) than this one, which nobody waits for
 * any more. One subscriber. */
void gw_announces_on_stale(struct gw_announces *a,
			   void (*h)(const struct p2p_key *key, uint64_t order, uint64_t later,
				     void *arg),
			   void *arg);
/* The engine has begun anew, or more nodes are there: it is told everything again, in time. */
void gw_announces_engine(struct gw_announces *a);

struct gw_announces_stats {
	size_t records, waiting, engine_waiting;
	unsigned int holders;
};
void gw_announces_stats(const struct gw_announces *a, struct gw_announces_stats *st);

#endif
