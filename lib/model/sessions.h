/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sessions of a gateway: which ones there are, who may use them until when, and what is due
 * next. No I/O, no clock of its own; all times are of a monotonic clock, in ms. docs/states.md has
 * the same states with what follows from each.
 *
 *   this peer opens it:
 *     begin -> OPENING -- answered ------> OPEN -- half of the lifetime, and in use --> RENEWING
 *                 '------ failed -> gone     ^ ^---- renewed, or failed: again later ------'
 *                                  in use    | '-- unused for linger_ms --> CLOSING -> gone
 *                                  there     '----------------------------------'
 *   the other one does:
 *     accept -> OPEN -- renewed or closed by the other one; the lifetime is over -> gone
 *
 * A session that is RETIRING (this side's policy has changed) is not used for anything new; it is
 * closed when no call runs over it any more. */
#ifndef P2PSIP_MODEL_SESSIONS_H
#define P2PSIP_MODEL_SESSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/base/hash.h"
#include "lib/model/negotiate.h"
#include "lib/model/session.h"

/* Sessions with one peer at once: more are there only while a lost one has not expired yet. */
#define P2P_SESSIONS_PER_PEER 8
/* Sessions that one peer may open within the time that ids are remembered. */
#define P2P_SESSIONS_OPENED_MAX 64
/* A renewal that failed is tried again after so long, or an eighth of the lifetime if that is less.
 */
#define P2P_SESSIONS_RETRY_MS 5000

enum p2p_session_state {
	P2P_SESSION_OPENING = 1,
	P2P_SESSION_OPEN,
	P2P_SESSION_RENEWING,
	P2P_SESSION_CLOSING,
};

struct p2p_sessions_config {
	size_t max;	    /* sessions */
	size_t seen_max;    /* ids remembered */
	uint32_t linger_ms; /* unused for so long: closed */
	uint32_t seen_ms;   /* how long an id that was opened is remembered */
	struct p2p_hash_key key;
};

/* What it was made of. */
struct p2p_sessions_terms {
	struct p2p_offer offer; /* the other side's */
	uint64_t instance;	/* of the other gateway's process */
	uint32_t lifetime_ms;
	/* what the other side was told as ours for it; "": none */
	char own_uri[P2P_CANDIDATE_URI_MAX], own_stream_uri[P2P_CANDIDATE_URI_MAX];
};

struct p2p_sessions_entry {
	struct p2p_session s;
	struct p2p_sessions_terms terms; /* all 0 while OPENING */
	enum p2p_session_state state;
	bool retiring;
	bool untold;		     /* the other side does not know that it is retiring */
	uint32_t calls, their_calls; /* running over it, by this side's and the other's count */
	uint64_t opened_ms, used_ms, expires_ms;
	uint64_t due_ms; /* of the next step; while RENEWING and CLOSING: of none */
};

struct p2p_sessions;

/* 0, ENOMEM. */
int p2p_sessions_new(struct p2p_sessions **tp, const struct p2p_sessions_config *config);
void p2p_sessions_free(struct p2p_sessions *t);
void p2p_sessions_linger(struct p2p_sessions *t, uint32_t linger_ms);

/* This peer opens one: it is OPENING. ENOSPC: too many; EEXIST: there is such an id; ENOMEM. */
int p2p_sessions_begin(struct p2p_sessions *t, const struct p2p_session_id *id,
		       const struct p2p_hit *hit, uint64_t now_ms);
/* The other side has answered; s: all but ttl_ms. It may be used for its lifetime from began_ms on,
 * when it was asked for: the other side counts from later. ENOENT: gone meanwhile. */
int p2p_sessions_opened(struct p2p_sessions *t, const struct p2p_session *s,
			const struct p2p_sessions_terms *terms, uint64_t began_ms, uint64_t now_ms);
/* The other side opens one. EALREADY: that id was seen before, whoever had it; ENOSPC: too many
 * sessions, or ids to remember; ENOMEM. */
int p2p_sessions_accept(struct p2p_sessions *t, const struct p2p_session *s,
			const struct p2p_sessions_terms *terms, uint64_t now_ms);
/* What p2p_sessions_accept would say: before keys are made. */
int p2p_sessions_acceptable(const struct p2p_sessions *t, const struct p2p_session_id *id,
			    const struct p2p_hit *hit, uint64_t now_ms);

/* Gone, whatever its state. ENOENT. */
int p2p_sessions_remove(struct p2p_sessions *t, const struct p2p_session_id *id);

/* Lasts lifetime_ms from began_ms on. */
int p2p_sessions_renewed(struct p2p_sessions *t, const struct p2p_session_id *id,
			 uint32_t lifetime_ms, uint64_t began_ms, uint64_t now_ms);
/* The renewal, or the close, came to nothing: it is OPEN again. busy: the other side counts calls,
 * so that the linger time begins anew. */
int p2p_sessions_stays(struct p2p_sessions *t, const struct p2p_session_id *id, bool busy,
		       uint64_t now_ms);
/* Used just now, for so many calls that run. */
int p2p_sessions_used(struct p2p_sessions *t, const struct p2p_session_id *id, uint32_t calls,
		      uint64_t now_ms);
/* Used just now; the number of calls is as it was. */
int p2p_sessions_touch(struct p2p_sessions *t, const struct p2p_session_id *id, uint64_t now_ms);
int p2p_sessions_their_calls(struct p2p_sessions *t, const struct p2p_session_id *id,
			     uint32_t calls);
/* For the calls that run over it only. tell: by our own settings; who opened it renews it at once,
 * so that the other side learns of it. EALREADY: it is so. */
int p2p_sessions_retire(struct p2p_sessions *t, const struct p2p_session_id *id, bool tell,
			uint64_t now_ms);

/* Both valid until the table changes. find: whatever its state. best: the one to send with, of
 * those that can be used and are not retiring the one whose id is the lowest: both sides choose the
 * same. NULL: none. */
const struct p2p_sessions_entry *p2p_sessions_find(const struct p2p_sessions *t,
						   const struct p2p_session_id *id);
const struct p2p_sessions_entry *p2p_sessions_best(const struct p2p_sessions *t,
						   const struct p2p_hit *hit, uint64_t now_ms);
/* Can it be used (to verify what comes, at least)? */
bool p2p_sessions_usable(const struct p2p_sessions_entry *e, uint64_t now_ms);
/* The n-th session with a peer, from 0; NULL: there are no more. */
const struct p2p_sessions_entry *p2p_sessions_of(const struct p2p_sessions *t,
						 const struct p2p_hit *hit, unsigned int n);

enum p2p_sessions_action {
	P2P_SESSIONS_RENEW = 1, /* it is RENEWING now: p2p_sessions_renewed, _stays or _remove */
	P2P_SESSIONS_CLOSE,	/* it is CLOSING now: p2p_sessions_stays or _remove */
	P2P_SESSIONS_EXPIRED,	/* to be told of, and removed */
};
/* The next thing that is due. ENOENT: nothing is now. */
int p2p_sessions_next(struct p2p_sessions *t, uint64_t now_ms, struct p2p_session_id *id,
		      enum p2p_sessions_action *action);
/* When there will be something; UINT64_MAX: never. */
uint64_t p2p_sessions_due(const struct p2p_sessions *t);

/* A page: up to count entries after skipping *cursor; *cursor is set to go on with, 0 at the end.
 */
void p2p_sessions_scan(const struct p2p_sessions *t, uint64_t *cursor, size_t count,
		       void (*fn)(const struct p2p_sessions_entry *e, void *arg), void *arg);
size_t p2p_sessions_count(const struct p2p_sessions *t);
/* "opening", "open", "renewing", "closing" */
const char *p2p_session_state_text(enum p2p_session_state state);

#endif
