/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which server of a Redis Cluster has a key, and which replicas of it there are. Nothing here talks
 * to anybody. */
#ifndef P2PSIP_DHT_REDIS_MAP_H
#define P2PSIP_DHT_REDIS_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dht-gateway/engine/dht_redis_conn.h"

#define REDIS_SLOTS 16384
#define REDIS_NODES_MAX 64
/* A master and this many replicas of it */
#define REDIS_COPIES_MAX 4

struct redisReply;

struct redis_map_node {
	char host[REDIS_HOST_MAX];
	uint16_t port; /* 0: host is the path of a unix socket */
	uint32_t seen; /* the last reading of the map that named it */
};

struct redis_map {
	/* When there is no room, one that has nothing any more makes place for another. */
	struct redis_map_node node[REDIS_NODES_MAX];
	unsigned int n_nodes, n_fixed; /* the first ones stay: those of the settings */
	uint32_t readings;
	unsigned int asked;	     /* who told last: stays, too */
	bool known;		     /* who has what is known */
	bool cluster;		     /* else one server has all */
	uint8_t owners[REDIS_SLOTS]; /* index into set */
	unsigned int n_sets;	     /* at most 255 */
	struct redis_map_set {
		uint8_t n;			/* 0: nobody has it */
		uint8_t node[REDIS_COPIES_MAX]; /* the master first */
	} set[256];
};

void redis_map_init(struct redis_map *m);
/* The node's index, added if need be; -1: there are too many that are in use, or its name is too
 * long. */
int redis_map_node(struct redis_map *m, const char *host, size_t len, uint16_t port);
/* One server for everything. */
void redis_map_single(struct redis_map *m, unsigned int node);
/* From the reply to CLUSTER SLOTS, which came from this node. EINVAL: it is none; the map stays as
 * it was but for nodes added. */
int redis_map_slots(struct redis_map *m, const struct redisReply *reply, unsigned int from);
/* "MOVED 3999 127.0.0.1:6381", "ASK ...": the node; -1: it is none. MOVED is remembered. from: who
 * said so (it may leave out the host, and then means its own). */
int redis_map_redirect(struct redis_map *m, const char *error, unsigned int from, bool *ask);
/* Who has a slot. NULL: nobody. */
const struct redis_map_set *redis_map_find(const struct redis_map *m, uint16_t slot);

/* Of a key's hash tag (the part that counts): CRC16 as the Redis Cluster specification has it. */
uint16_t redis_slot(const void *tag, size_t len);

/* "192.0.2.1", "192.0.2.1:6379", "[2001:db8::1]:6379", "/run/redis.sock"; port 6379 if none is
 * given. 0 or EINVAL. */
int redis_address(const char *text, struct redis_map_node *node);

#endif
