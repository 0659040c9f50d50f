/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of calls: which rtpengine holds which call, and until when it is believed to live.
 *
 * States of a call, and what moves it:
 *   LIVE --DELETE, or the sweep finds it dead--> DELETING
 *   DELETING --rtpengine deleted it, does not know it, or delete_retry_s is over--> removed
 *   LIVE --rtpengine does not know it (it was restarted)--> removed, counted as lost
 * A call that a request is under way for is pinned: removed, it is out of the table at once, and
 * freed with its last pin. */
#ifndef P2PSIP_RELAY_CALL_H
#define P2PSIP_RELAY_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include "lib/base/hash.h"

struct ng_instance;
struct relay_calls;

/* Longest id: prefix-handle-Call-ID. */
#define RELAY_CALL_ID_MAX 600

enum relay_call_state { RELAY_CALL_LIVE = 0, RELAY_CALL_DELETING, RELAY_CALL_STATES };

/* A Kamailio that has shaken hands; lives as long as it has connections or calls. */
struct relay_owner;

struct relay_call {
	struct ng_instance *instance;
	struct relay_owner *owner; /* NULL: found at an rtpengine */
	enum relay_call_state state;
	bool answered;
	bool held;
	bool adopted;	    /* found at an rtpengine, not offered by us */
	bool asked;	    /* the sweep's query is under way */
	bool delete_wanted; /* delete as soon as what is under way is done */
	bool removed;	    /* out of the table, only pinned */
	unsigned int pins;
	uint32_t seen;	  /* the last comparison that listed it */
	uint64_t packets; /* as the last query said */
	uint64_t created_ms, lease_ms, media_ms, deleting_ms; /* monotonic clock */
	TAILQ_ENTRY(relay_call) by_lease;
	struct relay_call *next; /* in its bucket */
	size_t id_len;
	char id[];
};

int relay_calls_new(struct relay_calls **cp, const struct p2p_hash_key *key);
/* No call may be pinned any more. */
void relay_calls_free(struct relay_calls *calls);

struct relay_call *relay_calls_find(struct relay_calls *calls, const char *id, size_t len);
/* A new call at an instance, LIVE, its lease ending at lease_ms. ENOMEM. The id must not be there
 * yet. */
int relay_calls_add(struct relay_calls *calls, struct relay_call **cp, const char *id, size_t len,
		    struct ng_instance *instance, uint64_t now_ms, uint64_t lease_ms);
void relay_calls_remove(struct relay_calls *calls, struct relay_call *call);
void relay_calls_pin(struct relay_call *call);
void relay_calls_unpin(struct relay_call *call);
/* Leases of one state must be renewed in the order of their ends: each state has one length. */
void relay_calls_renew(struct relay_calls *calls, struct relay_call *call, uint64_t lease_ms);
void relay_calls_state(struct relay_calls *calls, struct relay_call *call,
		       enum relay_call_state state, uint64_t lease_ms);
void relay_calls_move(struct relay_call *call, struct ng_instance *instance);
/* The call of that state whose lease ends first, if it has ended by now_ms; else NULL. */
struct relay_call *relay_calls_expired(struct relay_calls *calls, enum relay_call_state state,
				       uint64_t now_ms);
size_t relay_calls_count(const struct relay_calls *calls, enum relay_call_state state);

/* Visit calls bucket by bucket from cursor (0 to begin), at least min of them if there are so
 * many; f may remove the call that it is given. Returns the next cursor, 0 at the end. A call that
 * stays in the table all the while is visited once, or, should the table have grown, perhaps
 * twice. */
typedef void relay_call_visit_h(struct relay_call *call, void *arg);
uint64_t relay_calls_visit(struct relay_calls *calls, uint64_t cursor, size_t min,
			   relay_call_visit_h *f, void *arg);

#endif
