/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the process that watches branches (p2p_route_watch.c) asks of the table of peers, all of it
 * in that process only. Times are of the monotonic clock, in ms. */
#ifndef P2P_ROUTE_HEALTH_H
#define P2P_ROUTE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/proto/hit.h"

/* When the peer was heard of last; 0: never. down: it is known not to answer. */
uint64_t route_health_heard(const struct p2p_hit *hit, bool *down);
/* Nobody listens there: down. Its host lives, so it is tried again sooner than one that is silent.
 */
void route_health_gone(const struct p2p_hit *hit);

/* Ask it by OPTIONS, unless it was heard of after since_ms, or has been asked for less than
 * pause_ms.
 */
void route_health_ask(const struct p2p_hit *hit, uint64_t since_ms, uint64_t pause_ms,
		      uint64_t now);
/* Knock there (p2p_route_knock.h), unless it was heard of after since_ms, is known to be down, or
 * refusals are not believed. */
void route_health_knock(const struct p2p_hit *hit, uint64_t since_ms, uint64_t now);
/* It answers, and yet a knock was refused. */
void route_health_distrust(const struct p2p_hit *hit, uint64_t now);

/* Peers that are down and still wanted are asked and knocked at from time to time. true: there are
 * some. */
bool route_health_probes(uint64_t now);

#endif
