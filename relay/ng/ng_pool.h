/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rtpengines: which are there, which are healthy, which takes the next call.
 *
 * States of an instance, and what moves it:
 *   UNKNOWN --pong--> UP          (new, nothing heard yet; gets no calls)
 *   UP --fail_after failures in a row, or "connection refused"--> DOWN
 *   DOWN --pong--> UP
 * A failure is a ping or any other request that nobody answered. An instance that was taken out
 * of the settings drains: it gets no new calls, and is freed when it has none left. */
#ifndef P2PSIP_RELAY_NG_POOL_H
#define P2PSIP_RELAY_NG_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/base/log.h"
#include "relay/ng/ng_client.h"

#define NG_INSTANCE_NAME_MAX 32
#define NG_INSTANCES_MAX 32
#define NG_WEIGHT_MAX 1000

struct event_base;
struct ng_pool;
struct ng_instance;

/* "name udp:ADDRESS:PORT [weight N]"; an IPv6 address in brackets. */
struct ng_spec {
	char name[NG_INSTANCE_NAME_MAX + 1];
	char text[80]; /* udp:ADDRESS:PORT as given */
	struct sockaddr_storage addr;
	socklen_t addr_len;
	unsigned int weight; /* 1..NG_WEIGHT_MAX, 1 unless given */
};

/* EINVAL, and the reason in err. */
int ng_spec_parse(struct ng_spec *spec, const char *text, char *err, size_t errlen);

enum ng_health { NG_UNKNOWN = 0, NG_UP, NG_DOWN };

struct ng_pool_config {
	unsigned int ping_interval_ms, ping_timeout_ms;
	unsigned int fail_after;  /* unanswered requests in a row */
	unsigned int max_pending; /* per instance */
	unsigned int retransmit_ms;
	const struct p2p_log *log;
	/* An instance came up, or went down. May be NULL. */
	void (*changed)(struct ng_instance *instance, enum ng_health health, void *arg);
	/* A drained instance is about to be freed: forget it. May be NULL. */
	void (*gone)(struct ng_instance *instance, void *arg);
	void *arg;
};

struct ng_instance_stats {
	const char *name, *address;
	enum ng_health health;
	bool draining;
	unsigned int weight, calls, pending;
	uint64_t up_count, down_count; /* how often it came and went */
	uint64_t since_ms;	       /* of the last change, on the monotonic clock */
	unsigned int rtt_us;	       /* of the last ping */
	struct ng_client_stats client;
};

int ng_pool_new(struct ng_pool **pp, struct event_base *base, const struct ng_pool_config *config);
/* End what is under way (ECANCELED) and take nothing more; instances stay, for whoever points to
 * them, until ng_pool_free. */
void ng_pool_cancel(struct ng_pool *pool);
void ng_pool_free(struct ng_pool *pool);

/* The instances that are to be there: new ones are added, those with a changed weight keep their
 * state, those missing (or at another address) drain. 0, or errno when a new one could not be
 * made (the others are as asked). */
int ng_pool_set(struct ng_pool *pool, const struct ng_spec *spec, size_t n);
/* New intervals and bounds; max_pending and retransmit_ms hold for instances made from now on. */
void ng_pool_tune(struct ng_pool *pool, const struct ng_pool_config *config);

/* The healthy instance with the fewest calls for its weight that is not in tried (a bit for each
 * ng_instance_index), or NULL. */
struct ng_instance *ng_pool_pick(struct ng_pool *pool, uint32_t tried);
struct ng_instance *ng_pool_at(struct ng_pool *pool, unsigned int index); /* NULL: none there */
struct ng_instance *ng_pool_find(struct ng_pool *pool, const char *name);
unsigned int ng_pool_up(const struct ng_pool *pool); /* how many are healthy */

unsigned int ng_instance_index(const struct ng_instance *instance); /* < NG_INSTANCES_MAX */
const char *ng_instance_name(const struct ng_instance *instance);
bool ng_instance_usable(const struct ng_instance *instance); /* up; draining or not */
/* The table of calls tells where each of its calls is. */
void ng_instance_call_add(struct ng_instance *instance);
void ng_instance_call_remove(struct ng_instance *instance);
/* As ng_client_send; the outcome counts for its health. */
int ng_instance_send(struct ng_instance *instance, const struct ng_request *request,
		     unsigned int deadline_ms, ng_done_h *done, void *arg);
void ng_instance_stats(const struct ng_instance *instance, struct ng_instance_stats *stats);
const char *ng_health_name(enum ng_health health);

#endif
