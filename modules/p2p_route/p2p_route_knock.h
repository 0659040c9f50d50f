/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Knocking at a peer's SIP port: does anybody listen there? By an OPTIONS from a socket of its own,
 * without a transaction and its repetitions; over TCP by a connection only; not over TLS. Any reply
 * says that the peer lives. Where Kamailio has died and its host has not, the host refuses at once
 * (ICMP, RST). Silence says nothing. A refusal is no proof (a firewall may refuse strange ports):
 * who hears of it asks in the ordinary way before it is believed.
 *
 * All of it is one process's own. */
#ifndef P2P_ROUTE_KNOCK_H
#define P2P_ROUTE_KNOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/proto/hit.h"

#define ROUTE_KNOCKS_MAX 32	/* peers that are knocked at, at the same time */
#define ROUTE_KNOCK_AGAIN_MS 50 /* one peer: not sooner */

struct pollfd;

/* Knock where this SIP URI leads, a numeric address; from: a SIP URI of our own. true: done. false:
 * too soon after the last time, too many peers, or it could not be done. */
bool route_knock(const struct p2p_hit *hit, const char *uri, const char *from, uint64_t now_ms);

/* What poll() is to wait for: up to ROUTE_KNOCKS_MAX. How many. */
unsigned int route_knock_poll(struct pollfd *fds);

/* refused: nobody listens there, as was found out took_ms after the knock. Else it lives. */
typedef void route_knock_h(const struct p2p_hit *hit, bool refused, uint64_t took_ms,
			   uint64_t now_ms);
/* What came of it. h must not knock. */
void route_knock_run(const struct pollfd *fds, unsigned int n, uint64_t now_ms, route_knock_h *h);

#endif
