/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "dht-gateway/gateway_admin.h"
#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/enrol/gateway_auth_rules.h"
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/enrol/gateway_enrol.h"
#include "dht-gateway/location/gateway_lookup.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/gateway_metrics.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/enrol/gateway_renew.h"
#include "dht-gateway/peers/gateway_session.h"
#include "dht-gateway/location/gateway_users.h"
#include "lib/base/bytes.h"
#include "lib/io/resp_server.h"
#include "lib/proto/resp.h"

#define BULK_MAX 65536
#define ARGS_MAX 16
#define CLIENTS_MAX 32
#define OUTPUT_MAX (8 << 20)
#define PENDING_MAX 256
#define LOOKUP_DEADLINE_MS 5000

struct gw_admin {
	struct gw *gw; /* first: see gateway_resp.h */
	struct gw_resp *resp;
	struct gw_admin_hooks hooks;
	struct resp_server *server;
};

static void pair(FILE *f, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void pair(FILE *f, const char *key, const char *fmt, ...)
{
	va_list ap;

	fprintf(f, "%s:", key);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fputs("\r\n", f);
}

static void date(FILE *f, const char *key, int64_t s)
{
	time_t t = (time_t)s;
	char text[40];
	struct tm tm;

	if (gmtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		pair(f, key, "%s", text);
}

static void enrolment(FILE *f, const struct gw *gw)
{
	int64_t now_s = (int64_t)(gw_wall(gw) / 1000), until;

	pair(f, "enrolled", "%s", gw->enrolled ? "yes" : "no");
	if (!gw->enrolled)
		return;
	until = gw_cert_until(gw_members_cert(gw->members));
	pair(f, "authority", "%s", gw_enrol_here(gw) ? "here" : "elsewhere");
	date(f, "certificate_until", until);
	pair(f, "certificate_left_s", "%" PRId64, until > now_s ? until - now_s : 0);
	pair(f, "certificate_state", "%s", gw_renewal_state(gw));
	pair(f, "revocations", "%u", gw_revocations_count(gw->members));
	pair(f, "secret_generation", "%u", gw->secrets.e[0].generation);
}

/* Of any of them: METRICS says of which. */
static uint64_t limits_reached(const struct gw_metrics *m)
{
	return m->limit_users + m->limit_confirms + m->limit_queries + m->limit_moves +
	       m->limit_watchers + m->limit_kamailios + m->limit_held_peer + m->limit_clients +
	       m->limit_held + m->limit_store + m->route_busy;
}

char *gw_info_text(struct gw *gw)
{
	char overlay[2 * P2P_OVERLAY_ID_LEN + 1],
		uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX];
	const struct gw_metrics *m = &gw->metrics;
	struct dht_stats dht = {0};
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	unsigned int n;

	if (!f)
		return NULL;
	gw_metrics_refresh(gw);
	if (gw->dht)
		gw->dht_ops->stats(gw->dht, &dht);
	p2p_overlay_id_print(&gw->overlay, overlay);
	n = gw_peers_uris(gw->peers, uri);
	fputs("# Server\r\n", f);
	pair(f, "server", "p2psip-gateway");
	pair(f, "version", P2PSIP_VERSION);
	pair(f, "process_id", "%ld", (long)getpid());
	pair(f, "uptime_s", "%" PRIu64, m->uptime_s);
	fputs("# Peer\r\n", f);
	pair(f, "hit", "%s", gw->hit_text);
	pair(f, "overlay", "%s", overlay);
	pair(f, "epoch", "%" PRIu64, gw->epoch);
	enrolment(f, gw);
	pair(f, "lease_left_ms", "%" PRIu64, m->lease_left_ms);
	for (unsigned int i = 0; i < n; i++) {
		char key[24];

		snprintf(key, sizeof(key), "sip_uri_%u", i + 1);
		pair(f, key, "%s", uri[i]);
	}
	fputs("# DHT\r\n", f);
	pair(f, "dht_backend", "%s",
	     *gw->settings->backend ? gw->settings->backend : gw->dht_ops->name);
	pair(f, "dht_state", "%s",
	     dht.alone	     ? "alone"
	     : dht.connected ? "connected"
			     : "disconnected");
	if (*dht.why)
		pair(f, "dht_why", "%s", dht.why);
	pair(f, "dht_node_id", "%s", dht.node_id);
	pair(f, "dht_nodes_ipv4", "%u", dht.good4);
	pair(f, "dht_nodes_ipv6", "%u", dht.good6);
	pair(f, "dht_values", "%" PRIu64, dht.stored);
	pair(f, "dht_value_bytes", "%" PRIu64, dht.stored_bytes);
	pair(f, "dht_puts_pending", "%u", dht.puts_pending);
	pair(f, "dht_gets_pending", "%u", dht.gets_pending);
	pair(f, "dht_watches", "%" PRIu64, dht.watches);
	fputs("# Enrolment\r\n", f);
	pair(f, "enrolled", "%s", gw->enrolled ? "yes" : "no");
	if (gw_auth_rules_get(gw->rules)) {
		pair(f, "realm", "%s", gw_auth_rules_get(gw->rules)->realm);
		pair(f, "digests", "%s", p2p_digests_text(gw_auth_rules_get(gw->rules)->digests));
	}
	pair(f, "permission", "%s", m->permission_required ? "required" : "not required");
	pair(f, "enrolments", "%" PRIu64, m->enrolments);
	fputs("# Users\r\n", f);
	pair(f, "users_claimed", "%" PRIu64, m->users_claimed);
	pair(f, "users_orphan", "%" PRIu64, m->users_orphan);
	pair(f, "users_gone", "%" PRIu64, m->users_gone);
	pair(f, "users_dirty", "%" PRIu64, m->users_dirty);
	pair(f, "announce_waiting", "%" PRIu64, m->announce_waiting);
	pair(f, "engine_waiting", "%" PRIu64, m->engine_waiting);
	pair(f, "held_records", "%" PRIu64, m->held);
	pair(f, "arcs", "%" PRIu64, m->arcs);
	pair(f, "arcs_unsynced", "%" PRIu64, m->arcs_unsynced);
	pair(f, "holder_queries", "%" PRIu64, m->holder_queries);
	pair(f, "users_in_flight", "%" PRIu64, m->users_in_flight);
	fputs("# Limits\r\n", f);
	pair(f, "limits_reached", "%" PRIu64, limits_reached(m));
	pair(f, "changes_waiting", "%" PRIu64, m->telling);
	pair(f, "changes_lost", "%" PRIu64, m->changes_lost);
	pair(f, "confirms_waiting", "%" PRIu64, m->confirms_waiting);
	fputs("# Gateways\r\n", f);
	pair(f, "peer_protocol", "%s", gw->settings->peers_enabled ? "enabled" : "disabled");
	pair(f, "peer_connections_out", "%" PRIu64, m->ask_connections);
	pair(f, "peer_connections_in", "%" PRIu64, m->serve_connections);
	pair(f, "members_alive", "%" PRIu64, m->members_alive);
	pair(f, "members_suspect", "%" PRIu64, m->members_suspect);
	pair(f, "members_dead", "%" PRIu64, m->members_dead);
	pair(f, "member_exchanges", "%" PRIu64, m->exchanges_ok);
	pair(f, "member_exchanges_failed", "%" PRIu64, m->exchanges_failed);
	pair(f, "peers_left_alone", "%" PRIu64, m->peers_broken);
	pair(f, "records_refuted", "%" PRIu64, m->route_refuted);
	fputs("# Sessions\r\n", f);
	pair(f, "sessions_initiator", "%" PRIu64, m->sessions_initiator);
	pair(f, "sessions_responder", "%" PRIu64, m->sessions_responder);
	pair(f, "session_calls", "%" PRIu64, m->session_calls);
	fputs("# Lookups\r\n", f);
	pair(f, "lookups_pending", "%" PRIu64, m->lookups_pending);
	pair(f, "lookups_found", "%" PRIu64, m->route_found);
	pair(f, "lookups_notfound", "%" PRIu64, m->route_notfound);
	pair(f, "lookups_timeout", "%" PRIu64, m->route_timeout);
	pair(f, "lookups_busy", "%" PRIu64, m->route_busy);
	pair(f, "cache_names", "%" PRIu64, m->cache_entries);
	pair(f, "peers", "%" PRIu64, m->peers_known);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

static void on_info(struct resp_request *req, void *arg)
{
	struct gw_admin *a = arg;
	char *text = gw_info_text(a->gw);

	if (text)
		resp_reply_str(req, text);
	else
		resp_reply_error(req, "INTERNAL", "no memory");
	free(text);
}

/* STATUS: INFO as pairs. */
static void on_status(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_admin *a = arg;
	char *text = gw_info_text(a->gw), *save = NULL;
	size_t n = 0;

	(void)argc;
	(void)argv;
	if (!text) {
		resp_reply_error(req, "INTERNAL", "no memory");
		return;
	}
	for (const char *p = text; *p; p = strchr(p, '\n') + 1)
		n += *p != '#';
	resp_reply_array(req, 2 * n);
	for (char *line = strtok_r(text, "\r\n", &save); line;
	     line = strtok_r(NULL, "\r\n", &save)) {
		char *colon = strchr(line, ':');

		if (*line == '#')
			continue;
		resp_reply_bulk(req, line, (size_t)(colon - line));
		resp_reply_str(req, colon + 1);
	}
	free(text);
}

/* [cursor [count]] */
bool gw_args_page(struct resp_request *req, int argc, const struct resp_arg *argv, uint64_t *cursor,
		  uint64_t *count)
{
	*cursor = 0;
	*count = GW_PAGE_DEFAULT;
	if ((argc > 1 && p2p_u64_parse(cursor, argv[1].s, argv[1].len)) ||
	    (argc > 2 && p2p_u64_parse(count, argv[2].s, argv[2].len)) || !*count ||
	    *count > GW_PAGE_MAX) {
		resp_reply_error(req, "BADARG", "[cursor [count]], count within 1 to %d",
				 GW_PAGE_MAX);
		return false;
	}
	return true;
}

/* A page is gathered before it is replied to: the reply begins with what comes last, the cursor. */
struct page {
	struct gw *gw;
	size_t n;
	union {
		struct p2p_published_info *user;
		struct record {
			char name[P2P_NAME_MAX + 1];
			uint64_t age_ms;
			struct p2p_userset_entry e;
		} * record;
		struct peer {
			struct gw_peer_info info;
			struct p2p_record rec;
		} * peer;
		struct p2p_sessions_entry *session;
	};
	size_t max;
};

static void gather_user(const struct p2p_published_info *info, void *arg)
{
	struct page *p = arg;

	if (p->n < p->max)
		p->user[p->n++] = *info;
}

static void reply_head(struct resp_request *req, uint64_t cursor, size_t n)
{
	resp_reply_array(req, 2);
	resp_reply_u64(req, cursor);
	resp_reply_array(req, n);
}

void gw_pair_str(struct resp_request *req, const char *key, const char *value)
{
	resp_reply_str(req, key);
	resp_reply_str(req, value);
}

void gw_pair_u64(struct resp_request *req, const char *key, uint64_t value)
{
	resp_reply_str(req, key);
	resp_reply_u64(req, value);
}

void gw_pair_hit(struct resp_request *req, const char *key, const struct p2p_hit *hit)
{
	char text[P2P_HIT_TEXT_MAX];

	p2p_hit_print(hit, text);
	gw_pair_str(req, key, text);
}

struct gw *gw_admin_gw(void *arg)
{
	struct gw_admin *a = arg;

	return a->gw;
}

static void pair_uris(struct resp_request *req, unsigned int n,
		      const char (*uri)[P2P_CANDIDATE_URI_MAX])
{
	char text[P2P_CANDIDATE_URIS_MAX * (P2P_CANDIDATE_URI_MAX + 1) + 1];
	struct p2p_text t;

	p2p_text_init(&t, text, sizeof(text));
	for (unsigned int i = 0; i < n; i++)
		p2p_text_add(&t, "%s%s", i ? "," : "", uri[i]);
	gw_pair_str(req, "uris", text);
}

static void pair_instances(struct resp_request *req, const uint32_t *instance, unsigned int n)
{
	char text[9 * P2P_CANDIDATE_INSTANCES_MAX + 1];
	struct p2p_text t;

	p2p_text_init(&t, text, sizeof(text));
	for (unsigned int i = 0; i < n; i++)
		p2p_text_add(&t, "%s%08" PRIx32, i ? "," : "", instance[i]);
	gw_pair_str(req, "instances", text);
}

/* USERS */
static void on_users(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_admin *a = arg;
	struct page p = {.gw = a->gw};
	uint64_t cursor, count;

	if (!gw_args_page(req, argc, argv, &cursor, &count))
		return;
	p.max = count;
	p.user = calloc(count, sizeof(*p.user));
	if (!p.user) {
		resp_reply_error(req, "INTERNAL", "no memory");
		return;
	}
	p2p_published_scan(gw_users_table(a->gw->users), &cursor, count, gather_user, &p);
	reply_head(req, cursor, p.n);
	for (size_t i = 0; i < p.n; i++) {
		const struct p2p_published_info *u = &p.user[i];

		resp_reply_array(req, 16);
		resp_reply_str(req, "name");
		resp_reply_bulk(req, u->name, u->name_len);
		gw_pair_str(req, "desired", p2p_desired_text(u->desired));
		gw_pair_str(req, "published", p2p_put_state_text(u->put));
		gw_pair_str(req, "changed", u->dirty ? "yes" : "no");
		gw_pair_u64(req, "seq", u->seq);
		gw_pair_u64(req, "order", u->order);
		gw_pair_u64(req, "failures", u->failures);
		pair_instances(req, u->instance, u->n_instances);
	}
	free(p.user);
}

static void gather_record(const struct gw_cache_info *info, void *arg)
{
	struct page *p = arg;

	for (unsigned int i = 0; i < info->n && p->n < p->max; i++) {
		struct record *r = &p->record[p->n++];

		memcpy(r->name, info->name, info->len);
		r->name[info->len] = 0;
		r->age_ms = info->age_ms;
		r->e = info->entry[i];
	}
}

/* RECORDS */
static void on_records(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_admin *a = arg;
	struct page p = {.gw = a->gw};
	uint64_t cursor, count, now = gw_wall(a->gw);

	if (!gw_args_page(req, argc, argv, &cursor, &count))
		return;
	/* names with many peers fill it sooner */
	p.max = count * 4;
	p.record = calloc(p.max, sizeof(*p.record));
	if (!p.record) {
		resp_reply_error(req, "INTERNAL", "no memory");
		return;
	}
	gw_cache_scan(a->gw->cache, &cursor, count, gather_record, &p);
	reply_head(req, cursor, p.n);
	for (size_t i = 0; i < p.n; i++) {
		const struct p2p_userset_entry *e = &p.record[i].e;

		resp_reply_array(req, 16);
		gw_pair_str(req, "name", p.record[i].name);
		gw_pair_hit(req, "peer", &e->hit);
		gw_pair_str(req, "state",
			    e->tombstone	  ? "withdrawn"
			    : e->expiry_ms <= now ? "expired"
						  : "valid");
		gw_pair_u64(req, "order", e->order);
		gw_pair_u64(req, "epoch", e->epoch);
		gw_pair_u64(req, "expires_ms", e->expiry_ms > now ? e->expiry_ms - now : 0);
		gw_pair_u64(req, "age_ms", p.record[i].age_ms);
		pair_uris(req, e->n_uris, e->uri);
	}
	free(p.record);
}

static void gather_peer(const struct gw_peer_info *info, void *arg)
{
	struct page *p = arg;

	if (p->n >= p->max)
		return;
	p->peer[p->n].info = *info;
	if (info->rec)
		p->peer[p->n].rec = *info->rec;
	p->n++;
}

/* PEERS */
static void on_peers(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_admin *a = arg;
	struct page p = {.gw = a->gw};
	uint64_t cursor, count, now = gw_wall(a->gw);

	if (!gw_args_page(req, argc, argv, &cursor, &count))
		return;
	p.max = count;
	p.peer = calloc(count, sizeof(*p.peer));
	if (!p.peer) {
		resp_reply_error(req, "INTERNAL", "no memory");
		return;
	}
	gw_peers_scan(a->gw->peers, &cursor, count, gather_peer, &p);
	reply_head(req, cursor, p.n);
	for (size_t i = 0; i < p.n; i++) {
		const struct gw_peer_info *info = &p.peer[i].info;
		struct p2p_candidate c = {0};
		struct gw_gossip_info member = {.state = "no"};
		struct gw_ask_info ask;

		gw_gossip_info(a->gw->gossip, &info->hit, &member);
		if (info->known)
			p2p_candidate_from_peer(&c, &p.peer[i].rec, &info->hit, now);
		gw_asks_info(a->gw->asks, &info->hit, &ask);
		resp_reply_array(req, 26);
		gw_pair_hit(req, "peer", &info->hit);
		gw_pair_str(req, "member", member.state);
		gw_pair_u64(req, "member_since_ms", member.since_ms);
		gw_pair_str(req, "state",
			    !info->known	   ? "unknown"
			    : info->lease_ms > now ? "alive"
						   : "lapsed");
		gw_pair_u64(req, "epoch", info->epoch);
		gw_pair_u64(req, "lease_left_ms", info->lease_ms > now ? info->lease_ms - now : 0);
		gw_pair_u64(req, "age_ms", info->age_ms);
		gw_pair_str(req, "software", info->known ? p.peer[i].rec.software : "");
		gw_pair_str(req, "gateway",
			    !ask.known ? "not asked yet" : p2p_breaker_text(ask.breaker));
		gw_pair_u64(req, "gateway_failures", ask.failures);
		gw_pair_str(req, "gateway_answered", ask.answered ? "yes" : "no");
		gw_pair_u64(req, "gateway_answer_age_ms", ask.answer_age_ms);
		pair_uris(req, c.n_uris, c.uri);
	}
	free(p.peer);
}

static void gather_session(const struct p2p_sessions_entry *e, void *arg)
{
	struct page *p = arg;

	if (p->n < p->max)
		p->session[p->n++] = *e;
}

/* Without the keys. */
static void on_sessions(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_admin *a = arg;
	struct page p = {.gw = a->gw};
	uint64_t cursor, count, now = gw_mono(a->gw);

	if (!gw_args_page(req, argc, argv, &cursor, &count))
		return;
	p.max = count;
	p.session = calloc(count, sizeof(*p.session));
	if (!p.session) {
		resp_reply_error(req, "INTERNAL", "no memory");
		return;
	}
	gw_sessions_scan(a->gw->sessions, &cursor, count, gather_session, &p);
	reply_head(req, cursor, p.n);
	for (size_t i = 0; i < p.n; i++) {
		const struct p2p_sessions_entry *e = &p.session[i];
		bool open = e->state != P2P_SESSION_OPENING;
		char id[P2P_SESSION_ID_TEXT_MAX];

		p2p_session_id_print(&e->s.id, id);
		resp_reply_array(req, 26);
		gw_pair_str(req, "id", id);
		gw_pair_hit(req, "peer", &e->s.hit);
		gw_pair_str(req, "role", e->s.initiator ? "initiator" : "responder");
		gw_pair_str(req, "state",
			    e->retiring ? "retiring" : p2p_session_state_text(e->state));
		gw_pair_str(req, "signalling", open ? p2p_signalling_text(e->s.signalling) : "");
		gw_pair_str(req, "family", open ? p2p_family_text(e->s.family) : "");
		gw_pair_str(req, "media", open ? p2p_media_text(e->s.media) : "");
		gw_pair_u64(req, "calls", e->calls);
		gw_pair_u64(req, "their_calls", e->their_calls);
		gw_pair_u64(req, "ttl_ms", open && e->expires_ms > now ? e->expires_ms - now : 0);
		gw_pair_u64(req, "age_ms", now - e->opened_ms);
		gw_pair_u64(req, "unused_ms", now - e->used_ms);
		gw_pair_str(req, "uri", e->s.uri);
	}
	OPENSSL_cleanse(p.session, count * sizeof(*p.session));
	free(p.session);
}

static void on_found(int err, const struct p2p_candidate_set *cands, void *arg)
{
	struct resp_request *req = arg;

	if (err) {
		resp_reply_error(req,
				 err == ENOENT	 ? "NOTFOUND"
				 : err == EBUSY	 ? "BUSY"
				 : err == EINVAL ? "BADARG"
						 : "TIMEOUT",
				 "%s",
				 err == ENOENT	 ? "two completed searches found no other peer"
				 : err == EBUSY	 ? "too many lookups"
				 : err == EINVAL ? "no canonical user name"
						 : "no search was completed in time");
		return;
	}
	resp_reply_array(req, cands->n);
	for (unsigned int i = 0; i < cands->n; i++) {
		const struct p2p_candidate *c = &cands->c[i];

		resp_reply_array(req, 10);
		gw_pair_hit(req, "peer", &c->hit);
		gw_pair_str(req, "state", c->flags & P2P_CANDIDATE_LAPSED ? "lapsed" : "usable");
		gw_pair_u64(req, "order", c->order);
		gw_pair_u64(req, "ttl_ms", c->ttl_ms);
		pair_uris(req, c->n_uris, c->uri);
	}
}

/* LOOKUP name: a fresh ROUTE for people */
static void on_lookup(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_admin *a = arg;

	(void)argc;
	gw_lookup(a->gw->lookups, argv[1].s, argv[1].len, LOOKUP_DEADLINE_MS, true, on_found, req);
}

static void on_metrics(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_admin *a = arg;
	char *text = NULL;
	size_t len = 0;

	(void)argc;
	(void)argv;
	gw_metrics_refresh(a->gw);
	gw_resp_metrics(a->resp);
	if (metrics_text(gw_metrics_table, &a->gw->metrics, &text, &len))
		resp_reply_error(req, "INTERNAL", "no memory");
	else
		resp_reply_bulk(req, text, len);
	free(text);
}

static void on_reload(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_admin *a = arg;

	(void)argc;
	(void)argv;
	resp_reply_ok(req);
	a->hooks.reload(a->hooks.arg);
}

static void on_shutdown(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_admin *a = arg;

	(void)argc;
	(void)argv;
	resp_reply_ok(req);
	a->hooks.stop(a->hooks.arg);
}

static void on_loglevel(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_admin *a = arg;

	if (argc == 1) {
		resp_reply_str(req, p2p_log_level_name(a->gw->log->level));
		return;
	}
	if (a->hooks.log_level(argv[1].s, a->hooks.arg))
		resp_reply_error(req, "BADARG", "err, warn, info or dbg");
	else
		resp_reply_ok(req);
}

const struct resp_command gw_admin_commands[] = {
	{"STATUS", 1, 1, false, on_status, "the state of the gateway, pairs of key and value"},
	{"USERS", 1, 3, false, on_users, "[cursor [count]]: the users published here"},
	{"RECORDS", 1, 3, false, on_records, "[cursor [count]]: records last read from the DHT"},
	{"PEERS", 1, 3, false, on_peers, "[cursor [count]]: peers that were heard of"},
	{"SESSIONS", 1, 3, false, on_sessions, "[cursor [count]]: sessions with other peers"},
	{"LOOKUP", 2, 2, false, on_lookup,
	 "<name>: the other peers that serve the user, read afresh"},
	{"ENROLUSER", 3, 0, false, gw_auth_admin_user,
	 "ADD|PASSWD|REMOVE|ALLOW|DENY <name> [HA1 <MD5|SHA-256> <hex>]... [PEER <hit>]... [ANY]"},
	{"ENROLPEER", 3, 3, false, gw_auth_admin_peer,
	 "ALLOW|DENY <hit>: may the peer serve any user"},
	{"ENROLLED", 1, 3, false, gw_auth_admin_list,
	 "[cursor [count]]: the authority's users, and peers that may serve any"},
	{"REFRESH", 1, 1, false, gw_auth_admin_refresh, "sign all enrolment records of users anew"},
	{"RULES", 1, 7, false, gw_auth_admin_rules,
	 "[REALM <realm>] [DIGESTS <digests>] [PERMISSION required|optional]: show, or set"},
	{"INVITE", 2, 3, false, gw_admin_invite,
	 "<seconds> [address]: a token that lets one peer join, at the authority"},
	{"MEMBERS", 1, 3, false, gw_admin_members,
	 "[cursor [count]]: members as the authority knows them; elsewhere the revoked ones"},
	{"REVOKE", 2, 2, false, gw_admin_revoke,
	 "<hit>: put a peer out of the overlay, at the authority"},
	{"METRICS", 1, 1, false, on_metrics, "Prometheus text"},
	{"RELOAD", 1, 1, false, on_reload, "read the settings again"},
	{"SHUTDOWN", 1, 1, false, on_shutdown, "stop in an orderly way"},
	{"LOGLEVEL", 1, 2, false, on_loglevel,
	 "[err|warn|info|dbg]: show, or set until the next reload"},
	{.name = NULL},
};

/* Whatever the socket's mode came to be: root and our own user, and others only where the settings
 * name a group. */
static bool allow(uid_t uid, gid_t gid, pid_t pid, void *arg)
{
	const struct gw_admin *a = arg;

	if (uid == 0 || uid == geteuid() || *a->gw->settings->admin_group)
		return true;
	p2p_log(a->gw->log, P2P_LOG_WARN,
		"process %ld of uid %u, gid %u may not use the administrator's socket", (long)pid,
		(unsigned int)uid, (unsigned int)gid);
	return false;
}

int gw_admin_new(struct gw_admin **ap, struct gw *gw, struct gw_resp *resp,
		 const struct gw_admin_hooks *hooks, char *err, size_t errlen)
{
	const struct gw_settings *s = gw->settings;
	struct resp_server_config config = {
		.path = s->admin_socket,
		.group = *s->admin_group ? s->admin_group : NULL,
		.max_bulk = BULK_MAX,
		.max_args = ARGS_MAX,
		.max_clients = CLIENTS_MAX,
		.max_output = OUTPUT_MAX,
		.max_pending = PENDING_MAX,
		.commands = gw_admin_commands,
		.allow = allow,
		.info = on_info,
		.version = P2P_RESP_VERSION,
		.log = gw->log,
	};
	struct gw_admin *a = calloc(1, sizeof(*a));
	int ret = ENOMEM;

	if (!a)
		goto fail;
	a->gw = gw;
	a->resp = resp;
	a->hooks = *hooks;
	config.arg = a;
	ret = gw_settings_mode(s->admin_mode, &config.mode);
	if (!ret)
		ret = resp_server_new(&a->server, gw->base, &config);
	if (ret)
		goto fail;
	*ap = a;
	return 0;
fail:
	snprintf(err, errlen, "%s: %s", s->admin_socket, strerror(ret));
	free(a);
	return ret;
}

void gw_admin_free(struct gw_admin *a)
{
	if (!a)
		return;
	resp_server_free(a->server);
	free(a);
}
