/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the announcer share: gateway_announce.c (records, and who is to be told of
 * them), gateway_announce_tell.c (telling holders), gateway_announce_check.c (asking them what they
 * have), gateway_announce_engine.c (the engine). */
#ifndef P2PSIP_GATEWAY_ANNOUNCE_IMPL_H
#define P2PSIP_GATEWAY_ANNOUNCE_IMPL_H

#include <sys/queue.h>
#include "dht-gateway/location/gateway_announce.h"
#include "lib/model/announce.h"

struct event;
struct gw_ask;
struct gw_map;
struct p2p_retry;
struct scratch;

#define TIMEOUT_MS 2000
#define TICK_MS 1000

struct sent {
	struct p2p_key key;
	uint64_t order;
};

/* On its way to a holder. */
struct batch {
	LIST_ENTRY(batch) all;
	struct holder *holder;
	struct gw_ask *ask;
	unsigned int n;
	struct sent sent[];
};

/* A question to a holder, what it has; being put together while ask is NULL. */
struct check {
	struct gw_ask *ask;
	struct p2p_opp_check body;
	struct p2p_opp_missing missing;
};

struct holder {
	struct gw_announces *all;
	struct holder *next_due;
	bool is_due;
	struct p2p_hit hit;
	uint16_t slot;
	uint64_t instance;
	struct event *timer; /* to try again */
	LIST_HEAD(, batch) batches;
	unsigned int n_batches, n_sent, failures; /* n_sent: records, in the batches */
	uint64_t retry_ms;			  /* mono */
	struct check *check;
};

struct gw_announces {
	struct gw *gw;
	struct p2p_announce *table;
	struct gw_map *holders; /* by HIT */
	struct gw_map *waiting; /* by key */
	struct holder **by_slot;
	size_t n_slots;
	struct event *tick, *walk;
	uint64_t walk_at, check_at;
	bool walking, walk_again;
	unsigned int ticks;
	/* telling */
	struct event *round;
	struct holder *due;
	uint64_t round_ms; /* mono: of the last one */
	struct scratch *scratch;
	/* the engine */
	uint16_t engine;
	struct event *engine_timer;
	double tokens;
	uint64_t tokens_ms;
	struct p2p_retry *engine_retry;
	unsigned int putting;
	bool closing;
	void (*other)(const struct p2p_hit *from, const void *bytes, size_t len, void *arg);
	void *other_arg;
	void (*stale)(const struct p2p_key *key, uint64_t order, uint64_t later, void *arg);
	void *stale_arg;
};

/* --- gateway_announce.c --- */

/* A holder has it: is it safe now? */
void gw_announces_judge(struct gw_announces *a, const struct p2p_key *key, uint64_t order);
/* Members that are none any more are forgotten. */
void gw_announce_holders_tidy(struct gw_announces *a);
/* What is waited for ends. */
void gw_announces_end(struct gw_announces *a, const struct p2p_key *key, int err, uint64_t order);

/* --- gateway_announce_tell.c --- */

/* NULL: no memory, or too many. */
struct holder *gw_announce_holder(struct gw_announces *a, const struct p2p_hit *hit);
/* A gw_map's drop. */
void gw_announce_holder_drop(void *value, void *arg);
/* There is something to tell it; soon, together with what else comes meanwhile. */
void gw_announce_due(struct holder *h);
/* It has answered; it may be another process than the one that said it kept them. */
void gw_announce_heard(struct holder *h, uint64_t instance);
int gw_announce_tell_init(struct gw_announces *a);
void gw_announce_tell_free(struct gw_announces *a);

/* --- gateway_announce_check.c --- */

/* Once a second: some records are asked for, and with probe every holder for its instance. */
void gw_announce_check(struct gw_announces *a, bool probe);
void gw_announce_check_free(struct holder *h);

/* --- gateway_announce_engine.c --- */

int gw_announce_engine_init(struct gw_announces *a);
void gw_announce_engine_free(struct gw_announces *a);
/* Puts what it may by now. */
void gw_announce_engine_pump(struct gw_announces *a);
/* There is something to put; in a while. */
void gw_announce_engine_due(struct gw_announces *a);

#endif
