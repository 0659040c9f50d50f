/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the gateway's roles share. Each role is a file of its own with an opaque struct; this is
 * the one place that knows them all. Everything runs on one loop; only the policy callbacks of
 * gateway_records.c are called from other threads. */
#ifndef P2PSIP_GATEWAY_H
#define P2PSIP_GATEWAY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dht-gateway/engine/dht_backend.h"
#include "dht-gateway/keys/gateway_secret.h"
#include "dht-gateway/gateway_settings.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/model/hlc.h"
#include "lib/model/session.h"
#include "lib/proto/crypto.h"
#include "lib/proto/hit.h"
#include "lib/proto/key.h"
#include "lib/proto/name.h"
#include "lib/proto/record.h"

struct event_base;
struct gw_anchor;
struct gw_announces;
struct gw_moves;
struct gw_asks;
struct gw_auth;
struct gw_auth_rules;
struct gw_auth_store;
struct gw_cache;
struct gw_gossip;
struct gw_holds;
struct gw_known;
struct gw_load;
struct gw_lookups;
struct gw_members;
struct gw_peers;
struct gw_presences;
struct gw_queries;
struct gw_renewal;
struct gw_rotation;
struct gw_routes;
struct gw_serve;
struct gw_sessions;
struct gw_state;
struct gw_sync;
struct gw_users;
struct gw_watches;
struct https_identity;

/* uint64_t each: gateway_metrics.c has their names. Counters unless said otherwise. */
struct gw_metrics {
	uint64_t route_found, route_cached, route_notfound, route_timeout, route_busy;
	uint64_t lookups, lookups_joined, lookups_told, searches, searches_incomplete;
	uint64_t publishes, withdrawals, stale;
	uint64_t puts, puts_failed, puts_stale, puts_unconfirmed;
	uint64_t values_good;
	/* by fault: read from the DHT, and wanted stored here by others (a copy of gw.refused) */
	uint64_t values_bad[P2P_RECORD_FAULTS], values_refused[P2P_RECORD_FAULTS];
	uint64_t events_users, events_peers, events_sessions, events_auth, events_moves;
	/* users' enrolment: questions of the modules, searches for them, changes heard of */
	uint64_t auths_ok, auths_absent, auths_denied, auths_timeout, auths_busy;
	uint64_t auth_searches, auth_changes, enrolment_puts;
	uint64_t reputs_kicked;
	/* holders: announcements of ours, questions of ours, and others' here */
	uint64_t announces, announces_failed, announces_refused, announces_missing;
	uint64_t announced_partly, announced_here, announced_bad, asked_here;
	uint64_t holder_queries, changes_told, changes_lost, changes_heard;
	uint64_t holders_yes, holders_no, holders_unknown;
	uint64_t route_refuted, route_moved;
	uint64_t asks_yes, asks_orphan, asks_no, asks_moved, asks_timeout, asks_failed;
	uint64_t asks_together, asks_not_asked, breaker_opened, probes;
	uint64_t asked, asked_strangers;
	uint64_t enrol_issued, enrol_refused, revocations;
	/* sessions: what became of our openings, of others', of renewals; and why they ended */
	uint64_t opens_ok, opens_uncommon, opens_refused, opens_failed;
	uint64_t accepts_ok, accepts_uncommon, accepts_replay, accepts_busy, accepts_bad;
	uint64_t renews_ok, renews_failed, renewed_by_peer;
	uint64_t closes_idle, closes_peer, closes_inuse, closes_expired, closes_unknown,
		closes_changed, closes_restarted, closes_revoked;
	uint64_t answers_yes, answers_orphan, answers_no, answers_moved, answers_unknown;
	/* members: exchanges with them, what was told and heard, who was doubted */
	uint64_t exchanges_ok, exchanges_failed, exchanges_served, news_told, news_heard;
	uint64_t member_suspicions, member_deaths, member_refuted, member_records_bad;
	/* how often a bound was reached: docs/limits.md */
	uint64_t limit_users, limit_confirms, limit_queries, limit_moves, limit_watchers;
	uint64_t limit_kamailios, limit_held_peer;
	uint64_t limit_searches, limit_load, overloads, timeouts_ours;
	uint64_t limit_clients, limit_held, limit_cache, limit_watches, limit_peers, limit_store;
	/* gauges, filled in when asked */
	uint64_t members_alive, members_suspect, members_dead;
	uint64_t users_claimed, users_orphan, users_gone, users_in_flight, users_dirty;
	uint64_t enrolments, permission_required;
	uint64_t announce_records, announce_waiting, engine_waiting, confirms_waiting;
	uint64_t held, held_bytes, watchers, telling;
	uint64_t arcs, arcs_unsynced, sync_pages, sync_records, sync_failures;
	uint64_t cache_entries, peers_known, lookups_pending, watches;
	uint64_t dht_connected, dht_good4, dht_good6, dht_stored, dht_stored_bytes, dht_dropped;
	uint64_t dht_puts, dht_gets;
	uint64_t sessions_initiator, sessions_responder, session_calls;
	uint64_t peers_broken, ask_connections, ask_connects, ask_reused;
	uint64_t serve_connections, serve_accepted, serve_busy, serve_closed;
	uint64_t clients, commands, command_errors, clients_cut_off;
	uint64_t epoch, lease_left_ms, uptime_s, late_ms;
};

struct gw {
	struct event_base *base;
	const struct p2p_log *log;
	const struct p2p_clock *clock;
	const struct gw_settings *settings;

	/* identity */
	const struct p2p_crypto *crypto;
	struct p2p_hit hit;
	char hit_text[P2P_HIT_TEXT_MAX];
	uint8_t pubkey[P2P_PUBKEY_LEN];
	struct https_identity *tls; /* its certificate is renewed */
	struct gw_secrets secrets;
	struct gw_secret secret; /* the one in use */
	struct p2p_overlay_id overlay;
	bool enrolled; /* the overlay has an authority, and this peer its certificate */
	const struct gw_anchor *anchor; /* NULL in a closed overlay */
	struct gw_members *members;
	uint64_t epoch;
	uint64_t started_ms; /* mono */

	struct p2p_hlc hlc;
	struct p2p_limit limit; /* log lines that strangers can cause */
	struct gw_metrics metrics;

	/* refused by the store policy, on the engine's thread */
	atomic_uint_fast64_t refused[P2P_RECORD_FAULTS];
	atomic_int refused_fault;
	/* user records must have the authority's permission; the engine's thread asks, too */
	atomic_bool permission_required;

	const struct dht_ops *dht_ops;
	struct dht_backend *dht;

	struct gw_state *state;
	struct gw_peers *peers;
	struct gw_gossip *gossip;
	struct gw_cache *cache;
	struct gw_lookups *lookups;
	struct gw_routes *routes;
	struct gw_asks *asks;
	struct gw_presences *presences;
	struct gw_auth_store *enrolments;
	struct gw_auth_rules *rules;
	struct gw_auth *auth;
	struct gw_serve *serve;
	struct gw_sessions *sessions;
	struct gw_renewal *renewal;
	struct gw_known *known;
	struct gw_rotation *rotation;
	struct gw_users *users;
	struct gw_watches *watches;
	struct gw_sync *sync;
	struct gw_holds *holds;
	struct gw_queries *queries;
	struct gw_announces *announces;
	struct gw_moves *moves;
	struct gw_load *load;

	/* The records of a name changed, or those of a peer, or a session: told to the modules. Set
	 * by gateway_resp_events.c; may be NULL. */
	void (*users_event)(const char *name, size_t len, void *arg);
	/* phones of a user served here, by their instance hashes, that are at another peer now */
	void (*moves_event)(const struct p2p_hit *hit, const uint32_t *instance, unsigned int n,
			    const char *name, size_t len, void *arg);
	void (*peers_event)(const struct p2p_hit *hit, void *arg);
	/* what: "open", "change", "close" */
	void (*sessions_event)(const char *what, const struct p2p_session_id *id, void *arg);
	/* what: "change" and "gone" of a user, "all" users, the overlay's "rules" */
	void (*auth_event)(const char *what, const char *name, size_t len, void *arg);
	void (*tls_event)(void *arg); /* Kamailio's certificate was renewed */
	void *event_arg;
};

static inline uint64_t gw_mono(const struct gw *gw)
{
	return p2p_clock_mono(gw->clock);
}

static inline uint64_t gw_wall(const struct gw *gw)
{
	return p2p_clock_wall(gw->clock);
}

/* A warning that a stranger can cause: at most once a minute for each source. */
void gw_warn_source(struct gw *gw, const void *source, size_t len, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The same of a record from others that is no good, which is counted: what it is, ": ", the fault.
 */
void gw_warn_fault(struct gw *gw, enum p2p_record_fault fault, const void *source, size_t len,
		   const char *fmt, ...) __attribute__((format(printf, 5, 6)));

void gw_users_event(struct gw *gw, const char *name, size_t len);
void gw_moves_event(struct gw *gw, const struct p2p_hit *hit, const uint32_t *instance,
		    unsigned int n, const char *name, size_t len);
void gw_peers_event(struct gw *gw, const struct p2p_hit *hit);
void gw_sessions_event(struct gw *gw, const char *what, const struct p2p_session_id *id);
void gw_auth_event(struct gw *gw, const char *what, const char *name, size_t len);

/* Arm a one-shot timer to fire in ms milliseconds. */
struct event;
int gw_timer_set(struct event *timer, uint64_t ms);

#endif
