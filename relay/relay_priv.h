/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the relay's own files share. */
#ifndef P2PSIP_RELAY_PRIV_H
#define P2PSIP_RELAY_PRIV_H

#include <sys/queue.h>
#include "lib/base/clock.h"
#include "lib/io/resp_server.h"
#include "relay/relay.h"
#include "relay/relay_call.h"
#include "relay/ng/ng_pool.h"

struct event;

struct relay_owner {
	TAILQ_ENTRY(relay_owner) entry;
	unsigned int connections, calls;
	uint64_t left_ms; /* when the last connection went; 0: there are some */
	size_t len;
	char instance[];
};

struct relay {
	struct event_base *base;
	const struct relay_settings *settings;
	const struct p2p_log *log;
	struct relay_hooks hooks;
	struct ng_pool *pool;
	struct relay_calls *calls;
	TAILQ_HEAD(, relay_owner) owners;
	struct resp_server *server, *admin;
	struct event *sweep_timer;
	unsigned int sweeping;	 /* queries of the sweep under way */
	unsigned int operations; /* that somebody waits for */
	uint32_t comparison;	 /* serial of the last comparison with an instance's list */
	uint64_t reconcile_ms[NG_INSTANCES_MAX]; /* when it was last begun */
	bool reconciling[NG_INSTANCES_MAX];
	uint64_t started_ms;
	bool closing;
	struct p2p_limit limit;
	struct relay_metrics count;
};

static inline uint64_t relay_now_ms(void)
{
	return p2p_clock_mono(&p2p_clock_system);
}

uint64_t relay_lease_end(const struct relay *relay);
/* Take the call out of the table. */
void relay_call_drop(struct relay *relay, struct relay_call *call);
void relay_call_own(struct relay_call *call, struct relay_owner *owner);
/* Delete it at its instance, once nothing is under way for it. */
void relay_call_delete(struct relay *relay, struct relay_call *call);
/* The call is no longer needed by what was under way. */
void relay_call_release(struct relay *relay, struct relay_call *call);
/* Tell an instance to delete a call that is not (or no longer) in the table as being there. */
void relay_delete_at(struct relay *relay, struct ng_instance *instance, const char *id);

/* relay_owner.c */
void relay_owner_sweep(struct relay *relay, uint64_t now_ms);
void relay_owners_free(struct relay *relay);

/* relay_sweep.c */
int relay_sweep_start(struct relay *relay);
void relay_sweep_stop(struct relay *relay);
void relay_sweep_instance_up(struct relay *relay, struct ng_instance *instance);
void relay_sweep_instance_gone(struct relay *relay, struct ng_instance *instance);

/* relay_commands.c, relay_admin.c */
int relay_commands_start(struct relay *relay);
int relay_admin_start(struct relay *relay);

#endif
