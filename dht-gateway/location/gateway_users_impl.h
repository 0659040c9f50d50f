/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the served users share: gateway_users.c (wishes, and when what is due),
 * gateway_users_job.c (a record on its way), gateway_users_journal.c (over restarts). */
#ifndef P2PSIP_GATEWAY_USERS_IMPL_H
#define P2PSIP_GATEWAY_USERS_IMPL_H

#include <sys/queue.h>
#include "dht-gateway/location/gateway_users.h"

struct event;
struct gw_map;
struct gw_user_keys;
struct job;

struct gw_users {
	struct gw *gw;
	struct gw_user_keys *keys;
	struct gw_map *kamailios;      /* connected instances: a bool, has it named its users */
	unsigned int kamailios_behind; /* of these, that have not */
	struct p2p_published *table;
	struct gw_confirms *confirms;
	struct event *due;
	LIST_HEAD(, job) jobs;
	unsigned int n_jobs; /* that are not over */
	uint64_t signed_ms;  /* mono: when jobs were last begun */
	uint64_t kicked_ms;
	unsigned int good; /* nodes when everything was last put */
	bool stopping;
	bool restoring;
	bool put_any;
	bool no_uris; /* said so */
	bool held;    /* there are holders, as when last looked */
};

/* The next thing to do, by timer: never from inside a caller. */
void gw_users_arm(struct gw_users *u);
/* Is what is wished of the user out there? One that is not in the table is not. */
bool gw_users_confirmed(const struct gw_users *u, const char *name, size_t len);

/* Takes p, which is in flight, to its end. */
void gw_users_job_start(struct gw_users *u, const struct p2p_published_job *p);
/* Ends all; nobody is told. */
void gw_users_jobs_free(struct gw_users *u);

/* Writes the journal anew when it has grown too long. */
void gw_users_compact(struct gw_users *u);

#endif
