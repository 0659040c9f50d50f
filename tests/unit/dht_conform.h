/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every DHT engine must do alike: three nodes of each in this process. Values here are no
 * records: the policy only looks at a few bytes. */
#ifndef P2PSIP_TESTS_DHT_CONFORM_H
#define P2PSIP_TESTS_DHT_CONFORM_H

#include "tests/unit/test.h"
#include <event2/event.h>
#include "dht-gateway/engine/dht_backend.h"

#define NODES 3
#define WAIT_MS 15000

struct net {
	const struct dht_ops *ops;
	struct event_base *base;
	struct dht_backend *b[NODES];
	char dir[64];
	uint16_t port;
	unsigned int statuses;
	const struct dht_ops *both[2];
	/* redis: the servers to be told of */
	const char *const *redis;
	size_t n_redis;
	const char *password;
	uint64_t store_bytes; /* opendht; 0: 1 MiB */
};

struct put {
	bool done;
	int err;
	unsigned int n;
};

struct get {
	bool done;
	enum dht_verdict verdict;
	unsigned int n, ends;
	unsigned int here, away;
	struct {
		uint64_t id;
		char text[64];
	} v[DHT_VALUES_MAX];
};

/* A value: 'v', its order, and any text; 'x' is refused. */
bool policy_store(enum dht_kind kind, const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data,
		  size_t len, void *arg);
bool policy_edit(const void *prev, size_t prevlen, const void *next, size_t nextlen, void *arg);
void on_status(void *arg);

uint64_t now_ms(void);
/* Turns the loop until done, or for so long; returns done. */
bool wait_for(struct net *n, const bool *done, unsigned int ms);
void pause_ms(struct net *n, unsigned int ms);
uint16_t free_port(void);

/* ops, base, port and dir are set. */
void node_start(struct net *n, int i);
/* NODES nodes that are all connected; like: what is set of redis is taken from it, or NULL. */
struct net *net_start(const char *name, const struct net *like);
void net_stop(struct net *n);

void on_put(int err, unsigned int nodes, void *arg);
void on_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len, bool here,
	      void *arg);
void on_got(enum dht_verdict verdict, unsigned int nodes, void *arg);
/* Waits for the end; the error. */
int put(struct net *n, int node, const uint8_t *key, uint64_t id, const char *text);
void get(struct net *n, int node, const uint8_t *key, struct get *g);

void conform(const char *name, const struct net *like);

#endif
