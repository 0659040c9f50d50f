/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The asking side of the overlay peer protocol: questions to other peers' gateways, over kept
 * connections, with a circuit breaker for each peer. A peer that is down, silent or answers rubbish
 * costs one question its deadline; then it is left alone until a probe of ours was answered. */
#ifndef P2PSIP_GATEWAY_ASK_H
#define P2PSIP_GATEWAY_ASK_H

#include "dht-gateway/gateway.h"
#include "lib/model/breaker.h"
#include "lib/proto/opp.h"

struct gw_asks;
struct gw_ask;
struct https_client_stats;

int gw_asks_new(struct gw_asks **ap, struct gw *gw);
/* Questions under way are told nothing more. */
void gw_asks_free(struct gw_asks *a);

/* err 0: user is the answer. ETIMEDOUT, ECONNREFUSED, EPERM (whoever is there is not that peer),
 * EPROTO (rubbish, or refused), EBUSY (it has too much to do): nothing is known. */
typedef void gw_ask_h(int err, const struct p2p_opp_user *user, void *arg);

/* Is the user whose records have this key with this peer? 0: h will be called once, never from
 * inside this call, unless it is cancelled. EBUSY: not asked (the breaker is open, the peer wants
 * to be left alone for a moment, too many questions); ENOENT: no address that we could reach, or
 * [peers] is not enabled; ENOMEM. */
int gw_asks_user(struct gw_asks *a, const struct p2p_hit *hit, const struct p2p_locator *gateway,
		 unsigned int n, const struct p2p_key *key, uint64_t deadline_ms, gw_ask_h *h,
		 void *arg, struct gw_ask **out);
void gw_ask_cancel(struct gw_ask *ask);

struct gw_ask_info {
	bool known; /* it was asked since we started */
	enum p2p_breaker_state breaker;
	uint32_t failures; /* since its last answer */
	bool answered;
	uint64_t answer_age_ms;
	uint32_t took_us;    /* its last answer */
	unsigned int asking; /* questions under way */
};
void gw_asks_info(const struct gw_asks *a, const struct p2p_hit *hit, struct gw_ask_info *info);
void gw_asks_stats(const struct gw_asks *a, struct https_client_stats *stats);
/* Peers whose breaker is not closed. */
unsigned int gw_asks_broken(const struct gw_asks *a);

#endif
