/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to p2p_registrar: settings, and what its files offer to each other. */
#ifndef P2P_REGISTRAR_H
#define P2P_REGISTRAR_H

#include <stdbool.h>
#include <stdint.h>

#include "core/counters.h"
#include "core/kemi.h"
#include "core/parser/msg_parser.h"
#include "core/route_struct.h"
#include "core/sr_module.h"
#include "core/str.h"
#include "modules/registrar/api.h"
#include "modules/tm/tm_load.h"
#include "modules/p2p_route/api.h"
#include "modules/p2p_usrloc/api.h"
#include "modules/p2p_registrar/p2p_registrar_digest.h"

struct reg_settings {
	int lookup_timeout_ms;
	int local_wait_ms; /* for others, when there are contacts here */
	int lookup_workers;
	int lookups_max;     /* suspended at a time */
	int orphan_window_s; /* after a start: absence is asked about */
	int retry_after_s;
	int attempts;	/* rounds of branches for one request */
	char *publish;	/* "async" or "confirmed" */
	bool confirmed; /* it is the latter */
	int confirm_ms;
};

/* --- _settings.c ---------------------------------------------------------------------------- */

extern struct reg_settings reg_settings;
extern param_export_t reg_params[];

/* mod_init. 0 or -1, logged. */
int reg_settings_check(void);
/* PROC_INIT, when tm's own are fixed. */
int reg_settings_fr_timer_check(void);

/* --- _native.c, _kemi.c: the script's functions, which turn results into its return codes ---- */

extern cmd_export_t reg_cmds[];
extern sr_kemi_t reg_kemi[];

/* --- _mod.c: what others offer --------------------------------------------------------------- */

extern tm_api_t reg_tm;
extern registrar_api_t reg_stock;
extern p2p_usrloc_api_t reg_ul;
extern p2p_route_api_t reg_route;

/* --- _save.c: the stock registrar, by its C API and by what it exports to KEMI -------------- */

/* Bit of p2p_registered()'s flags that is ours: registered at another peer (by the cache) counts.
 */
#define REG_ANYWHERE 8

int reg_stock_init(void);
int reg_save(struct sip_msg *msg, str *table, int flags, str *uri);
int reg_unregister(struct sip_msg *msg, str *table, str *uri, str *ruid);
int reg_registered(struct sip_msg *msg, str *table, str *uri, int flags, int action);
int reg_fetch_contacts(struct sip_msg *msg, str *table, str *uri, str *profile);
int reg_free_contacts(struct sip_msg *msg, str *profile);
int reg_stock_lookup_branches(struct sip_msg *msg, str *table);
/* Make usrloc know a table (at start only). 0 or -1. */
int reg_table_register(char *table);

/* --- _request.c: what a REGISTER asks for --------------------------------------------------- */

/* One contact that it wants to have. True: no more of them. */
typedef bool reg_contact_h(const str *uri, void *arg);
/* Each contact whose expiry is not 0, until h returns true. Returns whether it did. */
bool reg_request_contacts(struct sip_msg *msg, reg_contact_h *h, void *arg);
/* Whose they are: uri, or where that is NULL or empty the To header. False: no name. */
bool reg_request_name(struct sip_msg *msg, const str *uri, struct p2p_name *name);

/* --- _again.c: a REGISTER that was under way when Kamailio was killed ------------------------ */

struct usrloc_api;

/* Before the registrar sees it: a binding of before this start that has its contact, Call-ID and
 * CSeq does not make it an old one. Does nothing but in the first minute after a start. Takes
 * usrloc's slot lock. */
void reg_again(const struct usrloc_api *ul, struct sip_msg *msg, const str *table, const str *uri);

/* --- outcome of a lookup -------------------------------------------------------------------- */

enum reg_result {
	REG_FOUND,
	REG_ABSENT,
	REG_UNKNOWN,
	REG_UNAVAILABLE,
	REG_DENIED,
	REG_SAVED, /* of p2p_save() that waits */
	REG_FAILED,
};

/* What p2p_reply() answers, and what the script sees in $var(p2p_result), $var(p2p_reason). */
struct reg_outcome {
	enum reg_result result;
	int code;	    /* SIP status for p2p_reply; 0 when found */
	const char *phrase; /* its reason phrase */
	const char *reason; /* why */
	const char *header; /* a line that the reply gets, with its end; or NULL */
};

int reg_outcome_init(void);
void reg_outcome_set(struct sip_msg *msg, enum reg_result result, const char *reason);
/* The next outcome's reply gets this header line. */
void reg_outcome_header(const char *header);
void reg_outcome_set_code(struct sip_msg *msg, enum reg_result result, int code, const char *phrase,
			  const char *reason);
const struct reg_outcome *reg_outcome(void);
/* Answer the request as the outcome says (or with code and phrase). 1, or -1. */
int reg_reply(struct sip_msg *msg);
int reg_reply_unavailable(struct sip_msg *msg, const str *reason);
int reg_reply_code(struct sip_msg *msg, int code, const char *phrase, const char *reason);

/* --- _script.c: where the script goes on: in a route, or a function of a KEMI script --------- */

#define REG_ROUTE_MAX 64
#define REG_TABLE_MAX 64
#define REG_URI_MAX 512
#define REG_ROUTE_NONE (-2)

struct reg_route_ref {
	int index; /* in main_rt; -1: KEMI; or REG_ROUTE_NONE */
	char name[REG_ROUTE_MAX];
};

/* Find a route by name. 0 or -1 (there is none, or it is empty). */
int reg_route_find(const char *name, struct reg_route_ref *ref);
/* Run it in this process, on this message. */
void reg_route_run(struct sip_msg *msg, const struct reg_route_ref *ref);

/* --- _publish.c: 200 when other peers can find the phone ------------------------------------- */

/* Bits of p2p_save()'s flags that are ours, beside the registrar's (below 32): for this call. */
#define REG_PUBLISH_CONFIRMED 32
#define REG_PUBLISH_ASYNC 64
#define REG_SAVE_FLAGS 127

/* Binds what it needs; before forking. 0 or -1, logged. */
int reg_publish_init(void);
/* May registrations wait? */
bool reg_publish_waits(void);
/* p2p_save(), which waits if flags, or else the parameter publish, say so. ref: where the script
 * goes on afterwards, or NULL. The registrar's codes, when the request has been answered, or cannot
 * be; 0: the script ends. */
int reg_save_publish(struct sip_msg *msg, str *table, int flags, str *uri,
		     const struct reg_route_ref *ref);
/* In the continuing process. prepared: the registrar's headers for the reply. */
void reg_save_answered(struct sip_msg *msg, const str *prepared, enum p2p_answer_code code,
		       bool silent);

/* --- _lookup.c: the decision ---------------------------------------------------------------- */

struct reg_lookup {
	str table; /* NUL-terminated */
	str aor;   /* as dialled */
	struct p2p_name name;
	bool has_name;	   /* the overlay can be asked about it */
	bool gruu;	   /* a public GRUU: one instance is meant */
	uint32_t instance; /* its hash */
	enum p2p_peer_status peer;
	struct p2p_hit hit;	       /* of the sending peer */
	struct p2p_session_id session; /* of an unverified peer's request */
	char aor_buf[REG_URI_MAX];
	char table_buf[REG_TABLE_MAX];
};

/* 0, or -1 (too long, no URI). uri NULL: the Request-URI. */
int reg_lookup_prepare(struct sip_msg *msg, const str *table, const str *uri,
		       struct reg_lookup *lk);
/* p2p_lookup(table): stock return codes from local contacts and the cache. -3 also for what is no
 * SIP URI, as the registrar says. */
int reg_lookup_now(struct sip_msg *msg, str *table, str *uri);
/* p2p_lookup_to_dset, p2p_lookup_branches: the same for the destination set. */
int reg_lookup_to_dset(struct sip_msg *msg, str *table, str *uri);
int reg_lookup_branches(struct sip_msg *msg, str *table);
/* p2p_lookup(table, ROUTE): the route has run or will run. 0: the script ends here. */
int reg_lookup_route(struct sip_msg *msg, str *table, str *uri, const struct reg_route_ref *ref);

/* Peers that a request has been sent to already. */
struct reg_tried {
	int n;
	struct p2p_hit hit[P2P_CANDIDATES_MAX];
};

/* What was learnt by asking, for the continuation. */
struct reg_answers {
	bool asked_route, asked_serves, asked_session;
	enum p2p_answer_code route, serves_code, session;
	int serves;
	struct p2p_candidate_set set;
};

/* In the continuing process, before the route runs: branches and outcome. */
void reg_lookup_apply(struct sip_msg *msg, struct reg_lookup *lk, const struct reg_answers *an);
bool reg_in_orphan_window(void);

/* --- _candidates.c ------------------------------------------------------------------------- */

/* Candidates that a request could not be sent to. */
struct reg_left {
	int n;
	const struct p2p_candidate
		*why; /* one with which there is no session; NULL: none answers */
};

/* Add the candidates of a set that a request may be sent to. Returns how many; left: those that it
 * may not. first: none has been added yet. skip: those are left out (already tried), may be NULL.
 */
int reg_candidates_add(struct sip_msg *msg, const struct reg_lookup *lk,
		       const struct p2p_candidate_set *set, bool first,
		       const struct reg_tried *skip, struct reg_left *left);
/* Nobody else is left: what is answered. */
void reg_outcome_left(struct sip_msg *msg, const struct reg_left *left);

/* --- _auth.c: digest of the overlay's users --------------------------------------------------- */

/* What p2p_authenticate() came to: the auth module's codes, and two more. Also $var(p2p_auth). */
enum {
	REG_AUTH_OK = 1,
	REG_AUTH_ERROR = -1, /* credentials that make no sense, or a nonce that is not ours */
	REG_AUTH_PASSWORD = -2,
	REG_AUTH_NOUSER = -3,
	REG_AUTH_STALE = -4,
	REG_AUTH_NONE = -5, /* no credentials, or by an algorithm that was not offered */
	REG_AUTH_REUSED = -6,
	REG_AUTH_MISMATCH = -8,	    /* of another user than From or To */
	REG_AUTH_DENIED = -9,	    /* this peer may not serve the user */
	REG_AUTH_UNAVAILABLE = -10, /* nobody can say */
	REG_AUTH_ASK = 0,	    /* private: not judged yet */
};

#define REG_AUTH_ALWAYS 1  /* flags: the route runs whatever it came to */
#define REG_AUTH_NOMATCH 2 /* From and To may name others */
#define REG_AUTH_FLAGS 3

/* What is to be judged, by what the gateway says of the user. */
struct reg_auth {
	int flags;
	bool matches; /* From, and To, are the user */
	struct p2p_name name;
	struct reg_digest digest;
	char realm[P2P_REALM_MAX + 1];
};

/* Bind what it needs, before forking: lookup workers need it too. 0 or -1, logged. */
int reg_auth_init(void);
/* Has it? Logged if not. */
bool reg_auth_ready(void);
/* p2p_authenticate(): 0, the route has run or will run, or the request was answered; -1. */
int reg_authenticate(struct sip_msg *msg, const struct reg_route_ref *ref, int flags);
/* Answer with 401 or 407. 1, or -1 (the overlay's realm is not known). */
int reg_auth_challenge(struct sip_msg *msg, bool stale);
/* Take Proxy-Authorization for the overlay's realm out of the request. 1, or -1: there is none. */
int reg_auth_consume(struct sip_msg *msg);
/* The gateway has answered. True: the route is to be run; else the request was answered. */
bool reg_auth_answered(struct sip_msg *msg, const struct reg_auth *a, enum p2p_answer_code code,
		       const struct p2p_auth *auth);

/* --- _suspend.c ----------------------------------------------------------------------------- */

enum reg_stage {
	REG_STAGE_LOOKUP,
	REG_STAGE_OTHERS, /* there are contacts here: who else serves the user */
	REG_STAGE_NEXT,
	REG_STAGE_AUTH,
	REG_STAGE_SAVE,
};

/* Suspend the transaction, ask, and go on in the route when the answer is there. skip: of
 * p2p_next. 1: suspended. 0: nothing more to do (a retransmission, or cancelled). -1: could not,
 * the caller runs the route now. */
int reg_suspend(struct sip_msg *msg, const struct reg_lookup *lk, const struct reg_route_ref *ref,
		enum p2p_question_kind kind, unsigned int flags, enum reg_stage stage,
		const struct reg_tried *skip);
/* The same for the digest of a user. */
int reg_suspend_auth(struct sip_msg *msg, const struct reg_auth *a,
		     const struct reg_route_ref *ref);
/* Until what was saved for this name is what others find. ref NULL: the script is not gone on with.
 * The headers prepared for the reply are kept; when it could not be suspended, they are gone. */
int reg_suspend_save(struct sip_msg *msg, const struct p2p_name *name,
		     const struct reg_route_ref *ref, bool silent);
/* A question without a request waiting for it: refreshes the cache. */
void reg_refresh(const struct p2p_name *name);
/* An answer arrived in a worker: the one place that ends a question. */
void reg_finish(struct p2p_question *q);
/* Runs before the script of each failure route, and of each continuation. */
int reg_continuation_init(void);

/* --- _lumps.c: header changes of a request that is suspended more than once --------------------
 */

/* Before the first suspension. 0 or -1. */
int reg_lumps_anchor(struct sip_msg *msg);
/* Before a further one: what the continued route has changed so far is kept. 0, also where there is
 * nothing to keep; -1: no memory, nothing has changed. */
int reg_lumps_keep(struct sip_msg *msg, struct cell *t);

/* The headers that this process has added for the reply, taken out of the request: shm, as one text
 * (s NULL: none). 0 or -1: no memory, nothing has changed. */
int reg_lumps_reply_take(struct sip_msg *msg, str *text);

/* --- _next.c: failure routes ---------------------------------------------------------------- */

/* p2p_next(table, ROUTE): 0 the route ran, or will run; -1 nothing to do, the reply passes. */
int reg_next(struct sip_msg *msg, const str *table, const struct reg_route_ref *ref);
void reg_next_apply(struct sip_msg *msg, struct reg_lookup *lk, const struct reg_answers *an,
		    const struct reg_tried *skip);

/* --- _worker.c ------------------------------------------------------------------------------ */
int reg_workers_init(void); /* mod_init: the socket pair, process slots */
int reg_workers_fork(void); /* child_init of PROC_MAIN */
int reg_workers_reply_fd(void);
void reg_workers_destroy(void);

/* --- _rpc.c, _stats.c ----------------------------------------------------------------------- */
int reg_rpc_init(void);

enum reg_counter {
	REG_CNT_SAVES,
	REG_CNT_SENT_AGAIN,
	REG_CNT_LOOKUPS,
	REG_CNT_LOCAL,
	REG_CNT_CACHED,
	REG_CNT_SUSPENDED,
	REG_CNT_CONTINUED,
	REG_CNT_CANCELLED,
	REG_CNT_LATE,
	REG_CNT_REFRESHES,
	REG_CNT_FOUND,
	REG_CNT_ABSENT,
	REG_CNT_UNKNOWN,
	REG_CNT_UNAVAILABLE,
	REG_CNT_DENIED,
	REG_CNT_NEXT_STALE,
	REG_CNT_NEXT_DEAD,
	REG_CNT_NEXT_TRIED,
	REG_CNT_NEXT_FRESH,
	REG_CNT_NEXT_REFUSED,
	REG_CNT_REFUSED,
	REG_CNT_AUTHS,
	REG_CNT_AUTH_OK,
	REG_CNT_AUTH_CHALLENGED,
	REG_CNT_AUTH_WRONG,
	REG_CNT_AUTH_DENIED,
	REG_CNT_AUTH_UNAVAILABLE,
	REG_CNT_CONFIRMED_AT_ONCE,
	REG_CNT_CONFIRMED,
	REG_CNT_UNCONFIRMED,
	REG_CNT_MAX
};
int reg_stats_init(void);
void reg_count(enum reg_counter c);
const char *reg_stats_name(int i);
long reg_stats_value(int i);

/* Suspended now (shm), for RPC and the bound lookups_max. */
int reg_pending_init(void);
void reg_pending_destroy(void);
int reg_pending(void);

#endif
