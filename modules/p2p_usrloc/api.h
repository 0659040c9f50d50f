/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What p2p_usrloc offers to the other p2p modules: names, the cache of remote records, and
 * questions to the gateway that are answered later, in a process of the asker's choice. */
#ifndef P2P_USRLOC_API_H
#define P2P_USRLOC_API_H

#include "core/sr_module.h"
#include "core/str.h"
#include "lib/model/candidate.h"
#include "lib/model/session.h"
#include "lib/proto/enrolment.h"
#include "lib/proto/name.h"

/* A HIT is known by its last bytes where it has to be short. */
#define P2P_HIT_TAIL_LEN 7

/* A canonical name with its length; NUL-terminated. */
struct p2p_name {
	size_t len;
	char s[P2P_NAME_MAX + 1];
};

enum p2p_cache_state {
	P2P_CACHE_MISS = 0, /* nothing known: ask */
	P2P_CACHE_FRESH,    /* use it */
	P2P_CACHE_STALE,    /* use it; a refresh was started in the background */
};

enum p2p_answer_code {
	P2P_ANSWER_FOUND = 0,	/* set holds at least one candidate */
	P2P_ANSWER_ABSENT,	/* a completed search found nothing */
	P2P_ANSWER_UNKNOWN,	/* no completed search before the deadline */
	P2P_ANSWER_UNAVAILABLE, /* no gateway */
	P2P_ANSWER_BUSY,	/* a limit was reached here or in the gateway */
	P2P_ANSWER_BADARG,	/* the gateway did not accept the question */
	P2P_ANSWER_DENIED,	/* this peer may not serve the user (AUTH) */
};

enum p2p_question_kind {
	P2P_QUESTION_ROUTE = 1,	  /* who serves `name`: set */
	P2P_QUESTION_SERVES,	  /* is `name` published by this peer: serves */
	P2P_QUESTION_PEER,	  /* the signed peer record of `hit`: set.c[0], n 0 or 1 */
	P2P_QUESTION_SESSION,	  /* does the gateway know `session`: FOUND: session_by_id has it */
	P2P_QUESTION_PEERSESSION, /* open one with `hit`: FOUND: session_by_hit has it */
	P2P_QUESTION_AUTH,	  /* by what is the digest of `name` checked: auth */
	/* can other peers find `name` as it is registered here now: FOUND. It waits for a gateway
	 * that is away, and for what has changed last to be published. */
	P2P_QUESTION_CONFIRM,
};

#define P2P_QUESTION_FRESH 1u /* flags: past every cache */

/* One question to the gateway. Lives in shared memory: the asker makes it with question_new and
 * hands it over with question_ask; the client process fills it and hands it back, exactly once, by
 * writing its address (sizeof(void *), one datagram) to `reply_fd`; whoever reads it there owns it
 * and ends it with question_free. If reply_fd cannot take it, the client process tries again until
 * it can (the fd is one end of a socket pair made before forking). */
struct p2p_question {
	/* set by the asker */
	enum p2p_question_kind kind;
	unsigned int flags;
	struct p2p_name name;
	struct p2p_hit hit;
	struct p2p_session_id session;
	unsigned int deadline_ms; /* from question_ask on; answered by then in any case */
	int reply_fd;
	void *user[2];	      /* the asker's own */
	unsigned int uval[6]; /* the asker's own (a transaction's hash index and label, say) */
	/* set by the client process */
	enum p2p_answer_code code;
	int serves;	      /* 0 no, 1 claimed, 2 orphan */
	struct p2p_auth auth; /* cleansed by question_free */
	struct p2p_candidate_set set;
	unsigned int took_us;
};

typedef struct p2p_usrloc_api {
	/* Canonical name of a SIP URI by this server's name_format. 0, or -1 (no user part, bad
	 * escape, too long). Whether its domain is this server's own is the script's question. */
	int (*name_from_uri)(const str *uri, struct p2p_name *name);
	/* What the cache holds for a name; set is written unless P2P_CACHE_MISS (n may be 0 for a
	 * name served here that no other peer is known to serve). All candidates
	 * have a session that is open, or a gateway that speaks of none: else it is a miss. Never
	 * blocks on I/O. */
	enum p2p_cache_state (*cache_get)(const struct p2p_name *name,
					  struct p2p_candidate_set *set);
	/* Forget one peer's candidate of a name (hit), or the whole entry (hit NULL). */
	void (*cache_drop)(const struct p2p_name *name, const struct p2p_hit *hit);
	/* A verified peer record from the shared cache. 0, or -1 when not there or lapsed. */
	int (*peer_get)(const struct p2p_hit *hit, struct p2p_candidate *peer);
	/* Does this server have contacts for the name? 1 and the table and AoR (copied into the
	 * caller's buffers: s and len in, len out) of the n-th such AoR, or 0. */
	int (*local_aor)(const struct p2p_name *name, int n, str *table, str *aor);
	/* 1: a phone of this user was registered over a connection that went with an earlier
	 * Kamailio, and its registration is not over: it will be back. Allocates nothing, waits for
	 * nothing. */
	int (*user_stale)(const struct p2p_name *name);
	/* Is the client process connected and past its handshake? */
	int (*gateway_up)(void);
	/* Is it, or is a question of this kind worth asking all the same, as it waits for it? Those
	 * of P2P_QUESTION_SESSION and _SERVES do while it has been away for a moment only, others
	 * in the first moments of this Kamailio, when it has not been reached yet. */
	int (*gateway_soon)(enum p2p_question_kind kind);
	/* This peer's own HIT, as the gateway said; 0, or -1 when not known yet. */
	int (*own_hit)(struct p2p_hit *hit);
	/* Seconds since this Kamailio started. */
	unsigned int (*uptime)(void);
	/* 0 or -1 when no shared memory is left or too many questions are open. */
	struct p2p_question *(*question_new)(void);
	void (*question_free)(struct p2p_question *q);
	/* 0: will be answered. -1: was not taken (queue full); the caller still owns it. */
	int (*question_ask)(struct p2p_question *q);
	/* Tell the gateway these SIP addresses at the handshake (called from mod_init or child_init
	 * of PROC_INIT, before the client process is forked). At most P2P_CANDIDATE_URIS_MAX. */
	int (*advertise)(const str *uri);
	/* May something about this source (an address, a HIT) be logged now? Once a minute. */
	bool (*log_ok)(const void *source, size_t len);
	/* SIP_INT: 1 when names keep the domain */
	int (*name_has_domain)(void);
	/* The open session to send to a peer with: 0, or -1 when there is none. The copy's ttl_ms
	 * is what is left; session may be NULL. Neither allocates nor waits. */
	int (*session_by_hit)(const struct p2p_hit *hit, struct p2p_session *session);
	/* Likewise, by the last P2P_HIT_TAIL_LEN bytes of the HIT, for a request within a dialog:
	 * also one that is for running calls only, or has just ended, if there is no other. */
	int (*session_by_tail)(const uint8_t *tail, struct p2p_session *session);
	/* To verify with: 0 open; 1 closed or over for less than 32 s: good for requests within
	 * dialogs only; -1 not known here (P2P_QUESTION_SESSION asks). */
	int (*session_by_id)(const struct p2p_session_id *id, struct p2p_session *session);
	/* So many calls more (or less) run over it; 0: it was only used. */
	void (*session_calls)(const struct p2p_session_id *id, int calls);
	/* Calls run with that peer, and there is no session: have one opened in the background. */
	void (*session_want)(const struct p2p_hit *hit);
	/* The other peer's Kamailio says that it does not know it: not used any more from now on.
	 * The gateway is told before any question that is asked after this. */
	void (*session_refused)(const struct p2p_session_id *id);
	/* Called at start, by one module: h is called in the client process for each session that
	 * is new here. It must not wait, and has no keys. */
	void (*session_watch)(void (*h)(const struct p2p_session *session));
	/* The overlay's realm and digests. 0, or -1: not known (yet), or it has no authority. */
	int (*auth_rules)(char realm[P2P_REALM_MAX + 1], uint8_t *digests);
	/* What AUTH last said of a user, if that is not long ago and has not changed since. 0 or
	 * -1. Neither allocates nor waits. */
	int (*auth_get)(const struct p2p_name *name, struct p2p_auth *auth);
	/* What is registered here for the name, is it what other peers find? 1: yes, the gateway
	 * has said so, or users of that table are not published; 0: ask (P2P_QUESTION_CONFIRM). */
	int (*confirmed)(const str *table, const struct p2p_name *name);
} p2p_usrloc_api_t;

typedef int (*p2p_usrloc_bind_f)(p2p_usrloc_api_t *api);

static inline int p2p_usrloc_load_api(p2p_usrloc_api_t *api)
{
	p2p_usrloc_bind_f bind =
		(p2p_usrloc_bind_f)(void (*)(void))find_export("p2p_usrloc_bind", 1, 0);

	if (bind == NULL || bind(api) < 0) {
		LM_ERR("module p2p_usrloc must be loaded before this one\n");
		return -1;
	}
	return 0;
}

#endif
