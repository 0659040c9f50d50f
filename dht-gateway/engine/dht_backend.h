/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the gateway needs of a DHT: one narrow table of functions that each engine fills in. Only
 * an engine's own files know its library.
 *
 * Every function is called on the loop's thread, never blocks on the network, and every callback
 * comes from the loop, never from inside the call that asked for it. */
#ifndef P2PSIP_DHT_BACKEND_H
#define P2PSIP_DHT_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DHT_KEY_LEN 20
/* Longest value: a record. */
#define DHT_VALUE_MAX 500
/* Values of one key that a get reports at most; what is beyond is dropped and counted. */
#define DHT_VALUES_MAX 64

struct event_base;
struct dht_backend;
struct dht_ops;
struct dht_op;	  /* a get on its way */
struct dht_watch; /* a standing wish to hear of new values of a key */

enum dht_kind {
	DHT_RECORD, /* what get finds; one of the same id takes its place */
	DHT_BELL,   /* a copy of one that has changed, for those who watch the key; short-lived */
};

/* What may be stored here on others' behalf. Called from any thread, at once and more than once for
 * the same bytes: must not block, and must judge by the bytes and the clock alone. */
struct dht_policy {
	bool (*store)(enum dht_kind kind, const uint8_t key[DHT_KEY_LEN], uint64_t id,
		      const void *data, size_t len, void *arg);
	/* May next take prev's place? Both have the same key and id, and store() said yes to next.
	 */
	bool (*edit)(const void *prev, size_t prevlen, const void *next, size_t nextlen, void *arg);
	void *arg;
};

struct dht_config {
	/* opendht */
	const char *bind4, *bind6; /* numeric; NULL or "": not used, and at least one is */
	uint16_t port;
	uint32_t network; /* nodes of another network are not talked to */
	/* The same over restarts: as long as others believe that a node of another id lives at our
	 * address, each of their searches, and ours, waits for it in vain. */
	uint8_t node_id[DHT_KEY_LEN];
	const char *const *bootstrap; /* host or host:port or [v6]:port */
	size_t n_bootstrap;
	const char *nodes_file;	   /* known nodes are kept here over restarts; NULL: nowhere */
	int64_t max_requests;	   /* a second, received, in all; -1: no limit */
	int64_t max_peer_requests; /* of these from one address; -1: no limit */
	uint64_t store_bytes;	   /* kept for others and for oneself */
	uint32_t value_ttl_s;	   /* how long a value is kept that nobody repeats */
	unsigned max_ops;	   /* gets and puts on their way at once */
	/* redis */
	const char *const *redis; /* servers: address:port or the path of a unix socket */
	size_t n_redis;
	const char *redis_user, *redis_password; /* NULL, "": none */
	const char *redis_prefix;		 /* of all keys and channels, at most 63 bytes */
	uint32_t redis_timeout_ms;		 /* from a command to its reply */
	/* two at once */
	const struct dht_ops *both[2];
	/* memory */
	const char *dir; /* shared by all gateways of one overlay on this machine */

	struct dht_policy policy;
};

enum dht_verdict {
	DHT_COMPLETE,	/* all that could hold a value was asked and answered */
	DHT_INCOMPLETE, /* not so: what was not found may exist */
};

struct dht_stats {
	bool connected;			/* at least one other node answers, or none is needed */
	bool alone;			/* nobody to talk to is known or was ever configured */
	unsigned good4, good6, dubious; /* nodes */
	uint64_t stored, stored_bytes;
	uint64_t refused; /* values of others, for want of room */
	uint64_t puts, gets, watches, dropped;
	unsigned puts_pending, gets_pending;
	char node_id[41];
	char why[160]; /* it is not connected, as far as that is known; "" */
};

/* here: this is the copy that a put of our own has left at this very node. It says nothing of what
 * others have. */
typedef void dht_found_h(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len,
			 bool here, void *arg);
typedef void dht_got_h(enum dht_verdict verdict, unsigned nodes, void *arg);
/* err 0: some node besides this one said that it took it, which proves little (a node that refuses
 * says the same): read it back. ENETUNREACH: there was nobody. ECANCELED: the engine closes. */
typedef void dht_put_h(int err, unsigned nodes, void *arg);
/* The connection to the network came, went, grew or shrank. Never NULL. */
typedef void dht_status_h(void *arg);

struct dht_ops {
	const char *name;
	/* 0 or errno; reason gets a line for the operator. */
	int (*open)(struct dht_backend **bp, struct event_base *base,
		    const struct dht_config *config, dht_status_h *status, void *arg, char *reason,
		    size_t reasonlen);
	/* Puts and gets under way end with ECANCELED and DHT_INCOMPLETE before it returns. */
	void (*close)(struct dht_backend *b);
	/* Store, or repeat, a value; one with the same key and id is replaced where policy lets it.
	 * EBUSY: too many under way. done is called once, unless the call failed. */
	int (*put)(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
		   const void *data, size_t len, dht_put_h *done, void *arg);
	/* found for each value (the same id may come more than once with other data), then got. */
	int (*get)(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], dht_found_h *found,
		   dht_got_h *got, void *arg, struct dht_op **op);
	/* Neither found nor got is called any more. op is gone. Not for an op whose got was called.
	 */
	void (*cancel)(struct dht_backend *b, struct dht_op *op);
	/* Tell those who watch the key of this value, which was put under it; best effort. id: its
	 * own, not that of the put. */
	int (*ring)(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
		    const void *data, size_t len);
	/* found for values that are rung for from now on, and perhaps for some that are there; it
	 * must not unwatch. EBUSY: too many. */
	int (*watch)(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], dht_found_h *found,
		     void *arg, struct dht_watch **watch);
	void (*unwatch)(struct dht_backend *b, struct dht_watch *watch);
	void (*stats)(struct dht_backend *b, struct dht_stats *st);
	/* Keep what makes the next start fast. 0 or errno. */
	int (*save)(struct dht_backend *b);
};

/* All engines that were compiled in, ended by NULL. */
extern const struct dht_ops *const dht_backends[];
/* "": the first. "opendht redis": two at once, which are in both then (else NULL; both may be
 * NULL). NULL: there is none of that name. */
const struct dht_ops *dht_backend_find(const char *name, const struct dht_ops *both[2]);

#endif
