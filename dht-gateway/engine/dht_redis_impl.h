/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the Redis engine share. */
#ifndef P2PSIP_DHT_REDIS_IMPL_H
#define P2PSIP_DHT_REDIS_IMPL_H

#include <sys/queue.h>
#include "dht-gateway/engine/dht_backend.h"
#include "dht-gateway/engine/dht_redis_conn.h"
#include "dht-gateway/engine/dht_redis_map.h"

#define PREFIX_MAX 64
#define KEY_HEX (2 * DHT_KEY_LEN)
#define REDIS_NAME_MAX (PREFIX_MAX + sizeof(":bell:") + KEY_HEX + 2)
#define ID_HEX 16

struct server {
	struct dht_backend *b;
	struct redis_conn *conn;
	unsigned int index;
};

struct dht_op {
	TAILQ_ENTRY(dht_op) te; /* of those that wait, or of those that were sent */
	struct dht_backend *b;
	bool put, sent, cancelled;
	bool replica;	   /* sent to one */
	bool whole_script; /* the server does not know it by its hash */
	int err;	   /* how a put ends whose time is over */
	unsigned int node; /* where it was sent */
	uint64_t deadline_ms;
	uint8_t key[DHT_KEY_LEN];
	uint16_t slot;
	dht_put_h *done;
	dht_found_h *found;
	dht_got_h *got;
	void *arg;
	/* of a put */
	char id[ID_HEX + 1];
	size_t len, oldlen;
	uint8_t data[DHT_VALUE_MAX];
	uint8_t old[DHT_VALUE_MAX]; /* what it may replace */
};

struct dht_watch {
	TAILQ_ENTRY(dht_watch) te;
	char channel[REDIS_NAME_MAX];
	uint8_t key[DHT_KEY_LEN];
	dht_found_h *found;
	void *arg;
};

TAILQ_HEAD(ops, dht_op);

struct dht_backend {
	struct event_base *base;
	struct dht_policy policy;
	dht_status_h *status;
	void *arg;
	char prefix[PREFIX_MAX];
	char ttl[16];
	char sha[41]; /* of the script; "": not told yet */
	struct redis_login login;
	char *user, *password;
	uint32_t op_ms;
	struct event *tick;

	struct redis_map map;
	struct server server[REDIS_NODES_MAX];
	unsigned int n_servers, n_seeds;
	bool refreshing, stale; /* the map: is being read; should be */
	uint64_t refreshed_ms;

	struct redis_conn *listener; /* for messages */
	unsigned int listens_at;
	TAILQ_HEAD(, dht_watch) watches;
	unsigned int n_watches;

	struct ops waiting, sent;
	unsigned int n_ops, max_ops;
	uint64_t puts, gets, dropped;
	char why[160];
	bool connected, closing;
};

uint64_t redis_now_ms(void);

/* --- operations: dht_redis_ops.c --- */

/* One that waits. EBUSY, ENOMEM. */
int redis_op_new(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], void *arg,
		 struct dht_op **out);
/* Tells its owner, unless it was cancelled; it is gone. */
void redis_op_end(struct dht_op *op, int err, enum dht_verdict verdict);
/* To whom it may go now. An op that cannot be sent waits. */
void redis_op_try(struct dht_op *op);
/* Those that wait are tried again, or ended. */
void redis_ops_tick(struct dht_backend *b, uint64_t now_ms);
/* A server is there: it is told the script. */
void redis_script_load(struct dht_backend *b, struct redis_conn *c);

/* --- servers: dht_redis_servers.c --- */

/* A connection to each node that the map has. */
void redis_servers_follow(struct dht_backend *b);
/* Of all that there may be; b->connected: of some of it. */
bool redis_all_reachable(const struct dht_backend *b);
bool redis_server_up(const struct dht_backend *b, unsigned int i);
/* Reads the map again, where that is due. */
void redis_map_refresh(struct dht_backend *b);
/* Messages are heard at any server; at another one when this one is gone. */
void redis_listen_look(struct dht_backend *b);

#endif
