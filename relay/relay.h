/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The relay as one object: rtpengines, the table of calls, the sweep, both sockets. main.c is only
 * the command line and the life cycle around it. */
#ifndef P2PSIP_RELAY_RELAY_H
#define P2PSIP_RELAY_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/io/metrics.h"
#include "relay/ng/ng_msg.h"
#include "relay/relay_settings.h"

struct event_base;
struct relay;
struct relay_owner;

/* What the admin socket may ask of the program. */
struct relay_hooks {
	void (*reload)(void *arg);
	void (*shutdown)(void *arg);
	void (*log_level)(enum p2p_log_level level, void *arg);
	void *arg;
};

/* settings: kept as long as the relay lives, or until relay_reload replaces them; the relay does
 * not free them. sockets: false leaves the RESP sockets closed (tests). 0 or errno. */
int relay_new(struct relay **rp, struct event_base *base, const struct relay_settings *settings,
	      const struct p2p_log *log, const struct relay_hooks *hooks, bool sockets);
/* Requests under way are answered with UNAVAIL. Calls stay in the rtpengines: the relay that
 * starts next finds them there. */
void relay_free(struct relay *relay);
/* Take over what may change on reload. The old settings are no longer used afterwards. */
int relay_reload(struct relay *relay, const struct relay_settings *settings);
/* No more new requests: both sockets close. */
void relay_close_sockets(struct relay *relay);
/* Is nothing under way that somebody waits for? */
bool relay_idle(const struct relay *relay);

/* --- the operations, whoever asks ---------------------------------------------------------- */
enum relay_code {
	RELAY_OK = 0,
	RELAY_UNAVAIL, /* no rtpengine is healthy, or the call's own is not */
	RELAY_TIMEOUT,
	RELAY_BUSY,
	RELAY_BADARG,	/* rtpengine did not accept it */
	RELAY_NOTFOUND, /* no such call anywhere */
	RELAY_INTERNAL,
};
const char *relay_code_name(enum relay_code code);

/* OK: s holds the new SDP (query: rtpengine's JSON); else text says why. created: the call did not
 * exist before. Valid until it returns. Called exactly once, perhaps from within the operation. */
typedef void relay_result_h(enum relay_code code, const char *text, const char *s, size_t len,
			    bool created, void *arg);

/* offer->call_id is the id as in the table; tags, interfaces, ice, flags, sdp as in ng_msg.h. All
 * is copied as needed. owner may be NULL. */
void relay_media_offer(struct relay *relay, const struct ng_offer *offer, struct relay_owner *owner,
		       relay_result_h *done, void *arg);
/* Was the call known? In any case it is deleted wherever it is, and tried again until it is. */
bool relay_media_delete(struct relay *relay, const char *id);
void relay_media_query(struct relay *relay, const char *id, relay_result_h *done, void *arg);

/* --- who asks ------------------------------------------------------------------------------- */
/* One more connection of this Kamailio (its instance id); NULL when memory is short. */
struct relay_owner *relay_owner_join(struct relay *relay, const char *instance, size_t len);
void relay_owner_leave(struct relay *relay, struct relay_owner *owner);

/* --- to look at ----------------------------------------------------------------------------- */
struct relay_metrics {
	uint64_t offers, answers, deletes, queries;
	uint64_t ok, unavail, timeout, busy, badarg, notfound, internal;
	uint64_t failovers, moved, adopted, lost, swept, orphaned, located, delete_retries;
	uint64_t calls, deleting, instances_up, instances, clients;
	uint64_t ng_requests, ng_retransmissions, ng_timeouts, ng_strays, ng_malformed;
	uint64_t resp_commands, resp_errors, resp_refused, resp_cut_off;
};
extern const struct metric relay_metrics_table[];
/* The current figures. */
void relay_metrics_get(struct relay *relay, struct relay_metrics *m);

#endif
