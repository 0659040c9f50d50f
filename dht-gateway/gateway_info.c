/* SPDX-License-Identifier: GPL-2.0-or-later */
/* INFO: the state of the gateway as text, for both sockets. */
#include "config.h"
#include "dht-gateway/gateway_resp.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "dht-gateway/enrol/gateway_auth_rules.h"
#include "dht-gateway/enrol/gateway_enrol.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/enrol/gateway_renew.h"
#include "dht-gateway/gateway_load.h"
#include "dht-gateway/gateway_metrics.h"
#include "dht-gateway/members/gateway_peers.h"

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
	pair(f, "late_ms", "%" PRIu64, m->late_ms);
	pair(f, "overloaded", "%s", gw_load_behind(gw->load) ? "yes" : "no");
	pair(f, "lookups_refused", "%" PRIu64, m->limit_load);
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
