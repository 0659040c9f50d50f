/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private header of p2p_usrloc: what its files share. docs/locking.md tells which process runs
 * what, and the order of the locks. */
#ifndef P2P_USRLOC_H
#define P2P_USRLOC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/str.h"
#include "core/counters.h"
#include "core/locking.h"
#include "core/rpc.h"
#include "lib/base/hash.h"
#include "lib/base/log.h"
#include "lib/model/candidate.h"
#include "lib/proto/name.h"
#include "modules/p2p_usrloc/api.h"
#include "modules/p2p_usrloc/p2p_usrloc_answer.h"

/* --- _settings.c: module parameters ---------------------------------------------------------- */

struct pul_settings {
	char *gateway_socket;
	char *tables;
	char *name_format;
	int cache_size;
	int cache_fresh_ms;
	int cache_max_s;
	int peer_cache_size;
	int hash_size;
	int question_max;
	int publish_window;
	int publish_delay_ms;
	int memory_pieces;
	int query_connections;
	int gateway_timeout_ms;
	int reconnect_max_ms;
	int withdrawn_max;
	int sessions_max;
	int auth_cache_size;
	int auth_cache_s;
	int moves; /* a phone that registers elsewhere is over here */
	char *contacts_file;
	char *contacts_memory;
	int contacts_max;
	int contacts_sync_s;
};

extern struct pul_settings pul_settings;
extern param_export_t pul_params[];

/* Are all in range? Logs what is not and returns EINVAL. */
int pul_settings_check(void);

/* --- _shared.c: what all processes see -------------------------------------------------------- */

struct pul_box; /* a question with the client process' own fields, see _question.c */

/* shm; one per Kamailio. The atomics need no lock. */
struct pul_shared {
	/* 1: the client process was woken for this and has not looked yet */
	atomic_int wake_now;  /* questions */
	atomic_int wake_soon; /* publications, refreshes: may wait for more of them */
	atomic_int gateway_up;
	atomic_int gateway_seen;	  /* it has been up since this Kamailio's start */
	atomic_ullong gateway_changed_ms; /* when it came or went, or this process was started */
	atomic_int rescan;		  /* usrloc has contacts that the users table may lack */
	atomic_int resync;		  /* publish everything again */
	atomic_uint scan_gen;		  /* counts scans of usrloc */
	atomic_uint cache_gen;		  /* counts subscriptions: older entries are stale */
	/* gauges */
	atomic_int users, withdrawn, contacts, questions;
	atomic_int publishing; /* sent and not yet acknowledged */
	atomic_int lookups;    /* asked and not yet answered */
	atomic_int connections;
	/* users who left, over withdrawn_max: the gateway was not told of them */
	atomic_uint withdrawals_left;

	gen_lock_t ask_lock; /* guards the next two */
	struct pul_box *ask_head, *ask_tail;

	gen_lock_t info_lock; /* guards info and rules */
	struct pul_gateway_info info;
	struct pul_rules rules;

	gen_lock_t log_lock; /* guards log_limit */
	struct p2p_limit log_limit;
};

extern struct pul_shared *pul_shared;
/* pkg, set before forking */
extern struct p2p_hash_key pul_hash_key;
extern int pul_wake_fd; /* eventfd: workers write, the client process reads */

int pul_shared_init(void);
void pul_shared_destroy(void);
/* Wake the client process: at once, or within publish_delay_ms. */
void pul_wake_now(void);
void pul_wake_soon(void);
uint64_t pul_now_ms(void); /* CLOCK_MONOTONIC */
uint64_t pul_now_us(void);
void pul_info_get(struct pul_gateway_info *info);
void pul_rules_get(struct pul_rules *rules);
/* May a message about this source be logged now (once a minute and source)? */
bool pul_log_ok(const void *source, size_t len);

/* --- _names.c: AoRs, URIs and names ----------------------------------------------------------- */

/* Reads registrar's and usrloc's parameters and the local domains; logs and returns EINVAL when
 * name_format must be chosen or cannot be had. */
int pul_names_init(bool use_domain);
bool pul_names_have_domain(void);
int pul_name_from_uri(const str *uri, struct p2p_name *name); /* 0 or -1 */
/* 0, EINVAL or ENAMETOOLONG: this AoR cannot be published. */
int pul_name_from_aor(const str *aor, struct p2p_name *name);

/* --- _users.c: local users -------------------------------------------------------------------- */

/* shm hash table: name -> contacts in usrloc, and what the gateway knows of it. One lock per
 * bucket; called with a usrloc slot lock held or without, never the other way round. */

/* What the client process is to do about one user. */
struct pul_job {
	enum pul_job_kind { PUL_JOB_NONE, PUL_JOB_PUBLISH, PUL_JOB_WITHDRAW } kind;
	bool ask; /* find out who else serves it */
	struct p2p_name name;
	uint8_t n_instances;
	uint32_t instance[P2P_CANDIDATE_INSTANCES_MAX];
};

/* Where the client process is in its round over the buckets with work. */
struct pul_cursor {
	unsigned int bucket;
	unsigned int left; /* buckets until a whole round is done since it was set */
};

struct pul_contact_view {
	str table, aor, ruid; /* in data */
	uint32_t instance;
	char data[64 + 256 + 64];
};

struct pul_user_view {
	struct p2p_name name;
	unsigned int contacts;
	bool claimed, in_flight, changed, others;
};

int pul_users_init(unsigned int hash_size);
void pul_users_destroy(void);
/* This process will work on the table. */
void pul_users_populate(void);
unsigned int pul_users_buckets(void);
/* A contact is there (a new one, or seen again). 0 or ENOMEM: nothing changed. table must live as
 * long as Kamailio does; it is kept, the rest is copied. */
int pul_users_add(const struct p2p_name *name, const str *table, const str *aor, const str *ruid,
		  uint32_t instance);
void pul_users_remove(const struct p2p_name *name, const str *ruid);
/* This contact has lost its connection: no scan finds it in usrloc, and it is kept all the same. */
void pul_users_set_stale(const struct p2p_name *name, const str *ruid);
#define PUL_USERS_STALE_MAX 8
/* Such contacts of a user, or of the phone with this instance hash (0: all), PUL_USERS_STALE_MAX at
 * most: their ruids are copied (s and len in, len out; longer ones are passed over). Returns how
 * many.
 */
unsigned int pul_users_stale(const struct p2p_name *name, uint32_t instance,
			     str ruid[PUL_USERS_STALE_MAX]);
/* Drop contacts that no scan since generation gen has seen. Returns how many. */
unsigned int pul_users_sweep(unsigned int gen);
/* Does this server have contacts for name? others (may be NULL): other peers are known, or were,
 * to serve it too. */
bool pul_users_serves(const struct p2p_name *name, bool *others);
void pul_users_set_others(const struct p2p_name *name, bool others);
/* Have the client process find out who else serves name. */
void pul_users_ask(const struct p2p_name *name);
/* The n-th (table, AoR) of a name: see api.h. */
int pul_users_aor(const struct p2p_name *name, int n, str *table, str *aor);
/* Client process only: the next piece of work, false when there is none. */
bool pul_users_take(struct pul_cursor *cursor, struct pul_job *job);
/* Client process only: the piece of work of this name, false when there is none. */
bool pul_users_take_name(const struct p2p_name *name, struct pul_job *job);
/* Is anybody on a work list? */
bool pul_users_work(void);
/* Client process only: the gateway answered. ok: it took it; retry: it is to be sent again. */
void pul_users_done(const struct p2p_name *name, enum pul_job_kind kind, bool ok, bool retry);
/* Is what the user has now what the gateway last said others can find? */
bool pul_users_confirmed(const struct p2p_name *name);
enum pul_users_progress {
	PUL_USERS_ABSENT,  /* not known, or the gateway does not want it */
	PUL_USERS_PENDING, /* to be told to the gateway */
	PUL_USERS_TOLD,
};
enum pul_users_progress pul_users_progress(const struct p2p_name *name);
/* Client process only: others can find what the gateway was last told. False: it has not said yet
 * that it took that. */
bool pul_users_confirm(const struct p2p_name *name);
/* Client process only: it is another peer's gateway. */
void pul_users_unconfirm_all(void);
/* Client process only: everything is to be published again, what is on its way too, once its answer
 * is there (or its loss: each job taken is to be reported done, once). */
void pul_users_mark_all(void);
/* Up to n users from *position (0: the first) on; sets it to where to go on, 0 at the end. */
unsigned int pul_users_page(uint64_t *position, struct pul_user_view *view, unsigned int n);
/* 0 or ENOENT. *n: in, room in contacts; out, how many there are (maybe more than fitted). */
int pul_users_show(const struct p2p_name *name, struct pul_user_view *view,
		   struct pul_contact_view *contacts, unsigned int *n);

/* --- _pieces.c: free memory in pieces --------------------------------------------------------- */

/* Client process only. */
void pul_pieces_shared_init(void);
/* Client process only, now and then: when half of the pieces are used up there are as many again.
 */
void pul_pieces_shared_run(void);
/* Once, in a process that works on SIP messages. */
void pul_pieces_private(void);

/* --- _cache.c: remote records ----------------------------------------------------------------- */

/* shm; bounded; least recently used goes first. Keys are names or HITs. One lock per shard. */
struct pul_cache;

struct pul_cache_view {
	char key[P2P_NAME_MAX + 1];
	size_t key_len;
	enum p2p_cache_state state; /* P2P_CACHE_MISS: expired */
	uint64_t age_ms;
	int64_t valid_ms; /* until the last candidate expires */
	unsigned int n;
	struct p2p_hit first;
	char first_uri[P2P_CANDIDATE_URI_MAX];
};

struct pul_cache_stats {
	unsigned long hits, stale, misses, fills, evictions;
	unsigned int entries;
	size_t bytes;
};

int pul_cache_new(struct pul_cache **cachep, unsigned int max_entries);
void pul_cache_free(struct pul_cache *cache);
/* set is written unless P2P_CACHE_MISS. */
enum p2p_cache_state pul_cache_get(struct pul_cache *cache, const void *key, size_t len,
				   struct p2p_candidate_set *set);
/* 0 or ENOMEM (the old entry, if any, is gone then). set may be empty. */
int pul_cache_put(struct pul_cache *cache, const void *key, size_t len,
		  const struct p2p_candidate_set *set);
/* Returns whether there was one. hit NULL: the whole entry. */
bool pul_cache_drop(struct pul_cache *cache, const void *key, size_t len,
		    const struct p2p_hit *hit);
/* Client process only: a key whose entry is stale and in use; buf of P2P_NAME_MAX + 1. */
bool pul_cache_take_wanted(struct pul_cache *cache, char *buf, size_t *len);
/* Drop what has expired. Returns how many. */
unsigned int pul_cache_sweep(struct pul_cache *cache);
unsigned int pul_cache_flush(struct pul_cache *cache);
unsigned int pul_cache_page(struct pul_cache *cache, uint64_t *position,
			    struct pul_cache_view *view, unsigned int n);
void pul_cache_stats(struct pul_cache *cache, struct pul_cache_stats *st);

/* shm */
extern struct pul_cache *pul_routes; /* by name */
extern struct pul_cache *pul_peers;  /* by HIT, 16 bytes */

/* What api.h's cache_get says, local users and the routes cache taken together. */
enum p2p_cache_state pul_routes_get(const struct p2p_name *name, struct p2p_candidate_set *set);

/* --- _sessions.c: sessions with other peers --------------------------------------------------- */

int pul_sessions_init(unsigned int max);
void pul_sessions_destroy(void);
/* A new one, or what changed of a known one. 0, or EEXIST: the id is another peer's. */
int pul_sessions_put(const struct p2p_session *s);
/* Before forking: to be called, without a lock, with each session that was not there before. */
void pul_sessions_watch(void (*h)(const struct p2p_session *session));
/* Not to be sent with any more. False: not known. */
bool pul_sessions_close(const struct p2p_session_id *id);
/* See api.h. */
int pul_sessions_by_id(const struct p2p_session_id *id, struct p2p_session *out);
int pul_sessions_by_hit(const struct p2p_hit *hit, struct p2p_session *out);
int pul_sessions_by_tail(const uint8_t *tail, struct p2p_session *out);
/* Client process only: those that have ended, and are good for nothing any more, go with their
 * keys.
 */
void pul_sessions_sweep(void);
void pul_sessions_calls(const struct p2p_session_id *id, int calls);
void pul_sessions_want(const struct p2p_hit *hit);
/* Client process only: a peer to open a session with. */
bool pul_sessions_take_want(struct p2p_hit *hit);
/* Client process only: what take_report() gave could not be sent. */
void pul_sessions_report_again(const struct p2p_session_id *id);
/* The next one from *at on (0: the first) that the gateway has to be told about. */
bool pul_sessions_take_report(unsigned int *at, struct p2p_session_id *id, uint32_t *calls);
unsigned int pul_sessions_count(void);
/* The other peer's Kamailio does not know it: closed at once, and the gateway will be told. False:
 * not known, or closed already. */
bool pul_sessions_refused(const struct p2p_session_id *id);
/* Client process only: one that the gateway has to be told is refused. */
bool pul_sessions_take_refused(struct p2p_session_id *id);
/* The gateway may have forgotten them, and how many calls run over each. */
void pul_sessions_recheck_all(void);
/* The gateway has this one: if it is not known here it is to be asked about. */
void pul_sessions_heard(const struct p2p_session_id *id);
/* Client process only: one that the gateway is to be asked about. */
bool pul_sessions_take_recheck(struct p2p_session_id *id);
/* Is there one for any of the above? */
bool pul_sessions_waiting(void);

struct pul_session_view {
	struct p2p_session s; /* without its keys */
	uint32_t calls;
	bool closed;
};

/* Up to n sessions from *at (0: the first) on; sets it to where to go on, 0 at the end. */
unsigned int pul_sessions_page(unsigned int *at, struct pul_session_view *view, unsigned int n);

/* --- _auth.c: what the digests of enrolled users are checked by ---------------------------------
 */

/* shm; bounded; each entry lives for auth_cache_s at most. */
int pul_auth_init(unsigned int max_entries);
void pul_auth_destroy(void);
/* False: not there, or too old. */
bool pul_auth_get(const struct p2p_name *name, struct p2p_auth *auth);
void pul_auth_put(const struct p2p_name *name, const struct p2p_auth *auth, uint64_t ttl_ms);
void pul_auth_drop(const struct p2p_name *name);
/* All. Returns how many there were. */
unsigned int pul_auth_flush(void);
unsigned int pul_auth_count(void);

/* --- _ul.c: usrloc ---------------------------------------------------------------------------- */

/* Binds usrloc and registers the callbacks. *use_domain: usrloc's parameter. */
int pul_ul_init(bool *use_domain);
void pul_ul_destroy(void);
/* Tables usrloc has by now, of those we publish. Call before a scan. */
void pul_ul_tables_find(void);
/* Look at one of `parts` parts of usrloc's contacts. Client process only. 0, EAGAIN (try this
 * part again) or ENOMEM. */
int pul_ul_scan_part(unsigned int part, unsigned int parts);
/* Are the users of this table published? */
bool pul_ul_publishes(const str *table);
/* All contacts of a user, of any table that is published, are over: usrloc's timer removes them.
 * Returns how many. */
unsigned int pul_ul_expire(const struct p2p_name *name);
struct usrloc_api;
struct udomain;
/* usrloc's functions, once pul_ul_init() is done */
const struct usrloc_api *pul_ul_api(void);
/* A table's name, which lives as long as Kamailio does; NULL: its users are not published. */
const str *pul_ul_table(const struct udomain *domain);
/* Those of the phone with this instance hash. */
unsigned int pul_ul_replace(const struct p2p_name *name, uint32_t instance);
/* Contacts whose AoR gives no name that can be published, since the start. */
unsigned int pul_ul_skipped(void);

/* --- _moves.c: phones that are at another peer now -------------------------------------------- */

/* Client process only: a message of the channel `moves`. */
void pul_moves_push(const char *s, size_t len);

/* --- _question.c: questions, as SIP workers see them ------------------------------------------ */

struct pul_lookup;

/* shm; the asker sees q only */
struct pul_box {
	struct p2p_question q;
	/* guarded by ask_lock while in the queue, then the client process' own */
	struct pul_box *next;
	uint64_t asked_us;
	uint64_t deadline_ms;
	struct pul_lookup *lookup;
};

struct p2p_question *pul_question_new(void);
void pul_question_free(struct p2p_question *q);
int pul_question_ask(struct p2p_question *q);
/* Client process: all that have been asked since the last call, oldest first. */
struct pul_box *pul_question_take_all(void);

/* --- _stats.c: counters ----------------------------------------------------------------------- */

enum pul_counter {
	PUL_CNT_PUBLISH,
	PUL_CNT_WITHDRAW,
	PUL_CNT_PUBLISH_ERRORS,
	PUL_CNT_UNPUBLISHABLE,
	PUL_CNT_QUESTIONS,
	PUL_CNT_REFUSED,
	PUL_CNT_FOUND,
	PUL_CNT_ABSENT,
	PUL_CNT_UNKNOWN,
	PUL_CNT_UNAVAILABLE,
	PUL_CNT_BUSY,
	PUL_CNT_DENIED,
	PUL_CNT_LOOKUPS,
	PUL_CNT_REFRESHES,
	PUL_CNT_NOTIFIED,
	PUL_CNT_SESSIONS_REFUSED,
	PUL_CNT_CONNECTS,
	PUL_CNT_DISCONNECTS,
	PUL_CNT_PROTOCOL_ERRORS,
	PUL_CNT_SCANS,
	PUL_CNT_CONFIRMS,
	PUL_CNT_CONFIRMED,
	PUL_CNT_UNCONFIRMED,
	PUL_CNT_MOVED,
	PUL_CNT_MOVES_KEPT,
	PUL_CNT_NO_MEMORY,
	PUL_CNT_SYNCS_ALL,
	PUL_CNT_SYNCS_REST,
	PUL_CNT_OUTPUT_FULL,
	PUL_CNT_SESSIONS_EVICTED,
	PUL_CNT_N,
};

int pul_stats_init(void);
void pul_count(enum pul_counter c);
/* Walks the table: name, value, help. */
void pul_stats_each(void (*h)(const char *name, long value, const char *help, void *arg),
		    void *arg);

/* --- _rpc.c ----------------------------------------------------------------------------------- */

extern rpc_export_t pul_rpc[];

/* --- _client.c: the client process ------------------------------------------------------------ */

/* Remember an address for the handshake; before forking only. 0 or -1. */
int pul_client_advertise(const str *uri);
int pul_client_init(void);
/* Never returns. */
void pul_client_run(void) __attribute__((noreturn));

#endif
