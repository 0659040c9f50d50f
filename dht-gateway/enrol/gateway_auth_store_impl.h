/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store of enrolment records, for its own files only: gateway_auth_store.c has the table,
 * gateway_auth_store_file.c the file, gateway_auth_store_put.c what is put into the DHT. */
#ifndef P2PSIP_GATEWAY_AUTH_STORE_IMPL_H
#define P2PSIP_GATEWAY_AUTH_STORE_IMPL_H

#include <stdio.h>
#include <sys/queue.h>
#include "dht-gateway/enrol/gateway_auth_store.h"

#define GW_AUTH_STORE_FILE "enrolments"

struct gw_auth_put;

struct gw_auth_entry {
	struct gw_auth_held pub;
	TAILQ_ENTRY(gw_auth_entry) due; /* in order of next_ms, nearly */
	uint64_t next_ms, retry_ms;
	uint64_t old_ms; /* mono; since when its key is that of the secret before; 0: it is not */
	struct gw_auth_put *put;
	bool ring;
	gw_auth_put_h *h;
	void *arg;
};

struct gw_auth_store {
	struct gw *gw;
	struct gw_map *map; /* by key and id */
	TAILQ_HEAD(, gw_auth_entry) due;
	struct event *timer;
	LIST_HEAD(, gw_auth_put) puts;
	unsigned int n_puts;
	FILE *file;
	uint64_t lines;
	bool closing;
};

/* gateway_auth_store.c */
struct gw_auth_entry *gw_auth_store_find(const struct gw_auth_store *s, const struct p2p_key *key,
					 uint64_t id);
/* Verified bytes into the table only; *hp is set too when EALREADY or ESTALE. */
int gw_auth_store_set(struct gw_auth_store *s, const struct p2p_record *rec,
		      const struct p2p_enrolment *en, const void *bytes, size_t len,
		      struct gw_auth_entry **hp);
void gw_auth_store_del(struct gw_auth_store *s, const struct gw_auth_entry *h);

/* gateway_auth_store_file.c. 0 or errno. */
int gw_auth_store_file_load(struct gw_auth_store *s);
/* The whole of it at one stroke. */
int gw_auth_store_file_renew(struct gw_auth_store *s);
/* One line: mark, and its bytes. */
int gw_auth_store_file_add(struct gw_auth_store *s, char mark, const void *bytes, size_t len);

/* gateway_auth_store_put.c. From here on what is due is put; 0 or ENOMEM. */
int gw_auth_store_puts_begin(struct gw_auth_store *s);
/* What is under way ends, and who waits for it is told. */
void gw_auth_store_puts_end(struct gw_auth_store *s);
/* Something else may be due now. */
void gw_auth_store_arm(struct gw_auth_store *s);

#endif
