// SPDX-License-Identifier: GPL-2.0-or-later
/* Counters of p2p_route: name and description in one table. Kamailio keeps a row per process and
 * adds them up when they are read (kamcmd cnt.grp_get_all p2p_route). */
#include "p2p_route.h"

static counter_handle_t handle[ROUTE_CNT_MAX];

#define CNT(i, n, d) [i] = {&handle[i], n, 0, NULL, NULL, d}
static counter_def_t defs[ROUTE_CNT_MAX + 1] = {
	CNT(ROUTE_CNT_BRANCHES, "branches", "branches sent towards peers"),
	CNT(ROUTE_CNT_TCP_SIZE, "tcp_for_size",
	    "branches that took TCP because of the request's size"),
	CNT(ROUTE_CNT_NO_ADDRESS, "no_address",
	    "peers without an address of a family and transport that this server has"),
	CNT(ROUTE_CNT_FROM_PEER, "from_peer", "requests known to come from a peer"),
	CNT(ROUTE_CNT_DENIED, "denied", "requests that named a peer they did not come from"),
	CNT(ROUTE_CNT_LOOPS, "loops",
	    "requests that came back to this peer, or went over max_hops"),
	CNT(ROUTE_CNT_PEER_DOWN, "peer_down", "times a peer was found not to answer"),
	CNT(ROUTE_CNT_PEER_UP, "peer_up", "times such a peer answered again"),
	CNT(ROUTE_CNT_PROBES, "probes", "OPTIONS sent to see whether a peer answers"),
	CNT(ROUTE_CNT_KNOCKS, "knocks", "times it was tried whether anybody listens at a peer"),
	CNT(ROUTE_CNT_REFUSED, "refused_down", "branches not tried because the peer was down"),
	CNT(ROUTE_CNT_STRIPPED, "headers_stripped", "P2P- headers taken out of requests"),
	CNT(ROUTE_CNT_SIGNED, "signed", "requests to peers that were signed"),
	CNT(ROUTE_CNT_FORGED, "forged",
	    "requests refused because of a wrong signature, or none, or another peer's session"),
	CNT(ROUTE_CNT_REPLAYS, "replays", "requests refused because they were received before"),
	CNT(ROUTE_CNT_CLOCK, "clock", "requests refused because their time is too far off"),
	CNT(ROUTE_CNT_NOSESSION, "no_session",
	    "requests refused because their session is not known, or has ended"),
	CNT(ROUTE_CNT_NOT_SENT, "not_sent",
	    "branches not sent because there is no session with the peer"),
	CNT(ROUTE_CNT_CALLS_FULL, "calls_full",
	    "calls over sessions that were not counted (calls_max)"),
	CNT(ROUTE_CNT_UNWATCHED, "unwatched",
	    "branches that were not watched: too many at once, or no shared memory"),
	CNT(ROUTE_CNT_PEERS_FULL, "peers_forgotten",
	    "peers whose state had to go for another's (max_peers)"),
	CNT(ROUTE_CNT_TLS_PROVEN, "tls_proven",
	    "connections to peers whose certificate was the peer's own"),
	CNT(ROUTE_CNT_TLS_UNPROVEN, "tls_unproven",
	    "times a peer had another certificate, or none that is good, or did not answer"),
	CNT(ROUTE_CNT_TLS_NOT_SENT, "tls_not_sent",
	    "requests not sent because the peer is not proven"),
	CNT(ROUTE_CNT_TLS_HELD, "tls_held", "messages that waited for a proof"),
	CNT(ROUTE_CNT_TLS_DROPPED, "tls_dropped",
	    "messages thrown away because there was no proof"),
	CNT(ROUTE_CNT_CHANNEL, "wrong_channel",
	    "requests refused because their session says TLS and they came otherwise, or with "
	    "another peer's certificate"),
	CNT(ROUTE_CNT_TLS_RELOADS, "tls_reloads", "times that new certificates were read"),
};

int route_stats_init(void)
{
	return counter_register_array("p2p_route", defs) < 0 ? -1 : 0;
}

void route_count(enum route_counter c)
{
	counter_inc(handle[c]);
}

const char *route_stats_name(int i)
{
	return i >= 0 && i < ROUTE_CNT_MAX ? defs[i].name : NULL;
}

long route_stats_value(int i)
{
	return counter_get_val(handle[i]);
}
