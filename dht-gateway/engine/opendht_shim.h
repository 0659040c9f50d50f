/* SPDX-License-Identifier: GPL-3.0-or-later */
/* OpenDHT's C++ interface as C: its own C interface has no bind addresses, limits, value ids, own
 * value types, or node export. No exception leaves the shim. Callbacks come on OpenDHT's thread. */
#ifndef P2PSIP_OPENDHT_SHIM_H
#define P2PSIP_OPENDHT_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ODHT_KEY_LEN 20

struct odht;
struct odht_listener;

enum odht_type {
	ODHT_RECORD,
	ODHT_BELL, /* kept for ODHT_BELL_TTL_S only, never replaced */
};

#define ODHT_BELL_TTL_S 60

struct odht_policy {
	bool (*store)(enum odht_type type, const uint8_t key[ODHT_KEY_LEN], uint64_t id,
		      const void *data, size_t len, void *arg);
	bool (*edit)(const void *prev, size_t prevlen, const void *next, size_t nextlen, void *arg);
	void *arg;
};

/* What comes back carries the tag that was given with the request, not a pointer: an answer may
 * come after its owner has gone. */
struct odht_config {
	const char *bind4, *bind6; /* numeric; NULL: not used */
	uint16_t port;
	uint32_t network;
	uint8_t node_id[ODHT_KEY_LEN];
	int64_t max_requests, max_peer_requests; /* a second; -1: no limit */
	uint64_t store_bytes; /* of memory: nothing more is stored for others beyond that, and at
			       * one place, of 1,024, beyond a 16th of it */
	uint32_t value_ttl_s;
	struct odht_policy policy;
	/* here: the copy that a put of this very node has left in its own store */
	void (*value)(uint64_t tag, uint64_t id, const void *data, size_t len, bool here,
		      void *arg);
	void (*done)(uint64_t tag, bool ok, unsigned nodes, void *arg);
	void (*status)(void *arg); /* the connection's state changed */
	void *arg;
};

struct odht_info {
	bool connected;
	unsigned good4, good6, dubious;
	uint64_t stored, stored_bytes; /* the memory that they take; this one as of now */
	uint64_t refused;	       /* values of others, for want of room */
	char node_id[41];
};

/* 0 or errno; reason gets what the library said. */
int odht_new(struct odht **dp, const struct odht_config *config, char *reason, size_t reasonlen);
/* Ends OpenDHT's thread: no callback comes after it has returned. done of what is under way may
 * never come. */
void odht_free(struct odht *d);

/* host is resolved by the library, and tried again while there is no connection. */
int odht_bootstrap(struct odht *d, const char *host, const char *port);
/* A node that was there the last time: its id and its sockaddr. */
int odht_node_import(struct odht *d, const uint8_t id[ODHT_KEY_LEN], const void *sa, size_t salen);
int odht_nodes_export(struct odht *d,
		      void (*node)(const uint8_t id[ODHT_KEY_LEN], const void *sa, size_t salen,
				   void *arg),
		      void *arg);

/* done comes once. */
int odht_put(struct odht *d, enum odht_type type, const uint8_t key[ODHT_KEY_LEN], uint64_t id,
	     const void *data, size_t len, uint64_t tag);
/* value comes any number of times, then done. */
int odht_get(struct odht *d, const uint8_t key[ODHT_KEY_LEN], uint64_t tag);
/* value comes until some time after odht_unlisten(). Once for each id: one that takes the place of
 * another of its id is missed. And while a key is listened for, gets of it are answered from what
 * the listening has collected, so that they miss it too: a key is either listened for or read. */
int odht_listen(struct odht *d, const uint8_t key[ODHT_KEY_LEN], uint64_t tag,
		struct odht_listener **lp);
void odht_unlisten(struct odht *d, struct odht_listener *l);
/* As of the last odht_info_refresh() that was answered; refreshing does not block. */
void odht_info_get(struct odht *d, struct odht_info *info);
void odht_info_refresh(struct odht *d);

#ifdef __cplusplus
}
#endif

#endif
