/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "relay/relay_priv.h"

#define OFF(member) offsetof(struct relay_metrics, member)
#define RESULT_HELP "Offers, answers, deletions and queries, by what came of them"

const struct metric relay_metrics_table[] = {
	{"p2psip_relay_offers_total", METRIC_COUNTER, OFF(offers), NULL, "SDP offers asked for"},
	{"p2psip_relay_answers_total", METRIC_COUNTER, OFF(answers), NULL, "SDP answers asked for"},
	{"p2psip_relay_deletes_total", METRIC_COUNTER, OFF(deletes), NULL, "Deletions asked for"},
	{"p2psip_relay_queries_total", METRIC_COUNTER, OFF(queries), NULL, "Queries asked for"},
	{"p2psip_relay_results_total", METRIC_COUNTER, OFF(ok), "result=\"ok\"", RESULT_HELP},
	{"p2psip_relay_results_total", METRIC_COUNTER, OFF(unavail), "result=\"unavail\"",
	 RESULT_HELP},
	{"p2psip_relay_results_total", METRIC_COUNTER, OFF(timeout), "result=\"timeout\"",
	 RESULT_HELP},
	{"p2psip_relay_results_total", METRIC_COUNTER, OFF(busy), "result=\"busy\"", RESULT_HELP},
	{"p2psip_relay_results_total", METRIC_COUNTER, OFF(badarg), "result=\"badarg\"",
	 RESULT_HELP},
	{"p2psip_relay_results_total", METRIC_COUNTER, OFF(notfound), "result=\"notfound\"",
	 RESULT_HELP},
	{"p2psip_relay_results_total", METRIC_COUNTER, OFF(internal), "result=\"internal\"",
	 RESULT_HELP},
	{"p2psip_relay_failovers_total", METRIC_COUNTER, OFF(failovers), NULL,
	 "New calls taken to another rtpengine because the first did not answer"},
	{"p2psip_relay_moved_total", METRIC_COUNTER, OFF(moved), NULL,
	 "Running calls taken to another rtpengine by a new offer, their own being down"},
	{"p2psip_relay_located_total", METRIC_COUNTER, OFF(located), NULL,
	 "Calls that were not in the table and were found at an rtpengine by asking"},
	{"p2psip_relay_adopted_total", METRIC_COUNTER, OFF(adopted), NULL,
	 "Calls taken over from an rtpengine's list (after a restart of the relay)"},
	{"p2psip_relay_lost_total", METRIC_COUNTER, OFF(lost), NULL,
	 "Calls that their rtpengine no longer knew (after its restart)"},
	{"p2psip_relay_swept_total", METRIC_COUNTER, OFF(swept), NULL,
	 "Calls deleted by the sweep, since no packet came any more"},
	{"p2psip_relay_orphaned_total", METRIC_COUNTER, OFF(orphaned), NULL,
	 "Unanswered calls deleted because their Kamailio was gone"},
	{"p2psip_relay_delete_retries_total", METRIC_COUNTER, OFF(delete_retries), NULL,
	 "Deletions repeated by the sweep"},
	{"p2psip_relay_calls", METRIC_GAUGE, OFF(calls), NULL, "Calls in the table"},
	{"p2psip_relay_calls_deleting", METRIC_GAUGE, OFF(deleting), NULL,
	 "Calls whose deletion is not confirmed yet"},
	{"p2psip_relay_rtpengines", METRIC_GAUGE, OFF(instances), NULL, "rtpengines known"},
	{"p2psip_relay_rtpengines_up", METRIC_GAUGE, OFF(instances_up), NULL,
	 "rtpengines that take new calls"},
	{"p2psip_relay_clients", METRIC_GAUGE, OFF(clients), NULL,
	 "Connections of Kamailio processes"},
	{"p2psip_relay_ng_requests_total", METRIC_COUNTER, OFF(ng_requests), NULL,
	 "Requests to rtpengines, health checks included"},
	{"p2psip_relay_ng_retransmissions_total", METRIC_COUNTER, OFF(ng_retransmissions), NULL,
	 "Requests repeated"},
	{"p2psip_relay_ng_timeouts_total", METRIC_COUNTER, OFF(ng_timeouts), NULL,
	 "Requests nobody answered"},
	{"p2psip_relay_ng_strays_total", METRIC_COUNTER, OFF(ng_strays), NULL,
	 "Replies to no request: late or forged"},
	{"p2psip_relay_ng_malformed_total", METRIC_COUNTER, OFF(ng_malformed), NULL,
	 "Replies that could not be parsed"},
	{"p2psip_relay_resp_commands_total", METRIC_COUNTER, OFF(resp_commands), NULL,
	 "Commands on both sockets"},
	{"p2psip_relay_resp_errors_total", METRIC_COUNTER, OFF(resp_errors), NULL,
	 "Error replies on both sockets"},
	{"p2psip_relay_resp_refused_total", METRIC_COUNTER, OFF(resp_refused), NULL,
	 "Connections refused on both sockets"},
	{"p2psip_relay_resp_cut_off_total", METRIC_COUNTER, OFF(resp_cut_off), NULL,
	 "Connections cut off: too slow, or breaking the protocol"},
	{0},
};

static void on_health(struct ng_instance *instance, enum ng_health health, void *arg)
{
	struct relay *relay = arg;

	if (health == NG_UP)
		relay_sweep_instance_up(relay, instance);
}

static void on_gone(struct ng_instance *instance, void *arg)
{
	relay_sweep_instance_gone(arg, instance);
}

static void pool_config(struct relay *relay, struct ng_pool_config *pc)
{
	const struct relay_settings *s = relay->settings;

	*pc = (struct ng_pool_config){
		.ping_interval_ms = (unsigned int)s->ping_interval_ms,
		.ping_timeout_ms = (unsigned int)s->ping_timeout_ms,
		.fail_after = (unsigned int)s->fail_after,
		.max_pending = (unsigned int)s->instance_max_pending,
		.retransmit_ms = (unsigned int)s->retransmit_ms,
		.log = relay->log,
		.changed = on_health,
		.gone = on_gone,
		.arg = relay,
	};
}

int relay_new(struct relay **rp, struct event_base *base, const struct relay_settings *settings,
	      const struct p2p_log *log, const struct relay_hooks *hooks, bool sockets)
{
	struct relay *relay = calloc(1, sizeof(*relay));
	struct ng_pool_config pc;
	struct p2p_hash_key key;
	int err;

	if (relay == NULL)
		return ENOMEM;
	relay->base = base;
	relay->settings = settings;
	relay->log = log;
	if (hooks != NULL)
		relay->hooks = *hooks;
	TAILQ_INIT(&relay->owners);
	relay->started_ms = relay_now_ms();
	if (getrandom(&key, sizeof(key), 0) != sizeof(key)) {
		err = errno;
		goto out;
	}
	p2p_limit_init(&relay->limit, 60000, &key);
	err = relay_calls_new(&relay->calls, &key);
	if (err != 0)
		goto out;
	pool_config(relay, &pc);
	err = ng_pool_new(&relay->pool, base, &pc);
	if (err != 0)
		goto out;
	err = ng_pool_set(relay->pool, settings->spec, settings->n_spec);
	if (err != 0)
		goto out;
	err = relay_sweep_start(relay);
	if (err == 0 && sockets)
		err = relay_commands_start(relay);
	if (err == 0 && sockets)
		err = relay_admin_start(relay);
	if (err != 0)
		goto out;
	if (settings->n_spec == 0)
		p2p_log(log, P2P_LOG_WARN, "no rtpengine is configured: calls get UNAVAIL");
	*rp = relay;
	return 0;
out:
	relay_free(relay);
	return err;
}

void relay_free(struct relay *relay)
{
	if (relay == NULL)
		return;
	relay->closing = true;
	relay_sweep_stop(relay);
	/* what is under way is answered while the connections are still there */
	if (relay->pool != NULL)
		ng_pool_cancel(relay->pool);
	relay_close_sockets(relay);
	relay_calls_free(relay->calls);
	ng_pool_free(relay->pool);
	relay_owners_free(relay);
	free(relay);
}

int relay_reload(struct relay *relay, const struct relay_settings *settings)
{
	struct ng_pool_config pc;

	relay->settings = settings;
	pool_config(relay, &pc);
	ng_pool_tune(relay->pool, &pc);
	return ng_pool_set(relay->pool, settings->spec, settings->n_spec);
}

void relay_close_sockets(struct relay *relay)
{
	struct resp_server *server = relay->server, *admin = relay->admin;

	relay->server = NULL;
	relay->admin = NULL;
	if (server != NULL)
		resp_server_free(server);
	if (admin != NULL)
		resp_server_free(admin);
}

bool relay_idle(const struct relay *relay)
{
	return relay->operations == 0;
}

static void add_resp(struct relay_metrics *m, const struct resp_server *server)
{
	struct resp_server_stats st;

	if (server == NULL)
		return;
	resp_server_stats(server, &st);
	m->resp_commands += st.commands;
	m->resp_errors += st.errors;
	m->resp_refused += st.refused;
	m->resp_cut_off += st.cut_off;
}

void relay_metrics_get(struct relay *relay, struct relay_metrics *m)
{
	struct ng_instance_stats is;
	struct ng_instance *instance;
	struct resp_server_stats rs;
	unsigned int i;

	*m = relay->count;
	m->calls = relay_calls_count(relay->calls, RELAY_CALL_LIVE);
	m->deleting = relay_calls_count(relay->calls, RELAY_CALL_DELETING);
	m->instances_up = ng_pool_up(relay->pool);
	for (i = 0; i < NG_INSTANCES_MAX; i++) {
		instance = ng_pool_at(relay->pool, i);
		if (instance == NULL)
			continue;
		ng_instance_stats(instance, &is);
		m->instances++;
		m->ng_requests += is.client.requests;
		m->ng_retransmissions += is.client.retransmissions;
		m->ng_timeouts += is.client.timeouts;
		m->ng_strays += is.client.strays;
		m->ng_malformed += is.client.malformed;
	}
	add_resp(m, relay->server);
	add_resp(m, relay->admin);
	if (relay->server != NULL) {
		resp_server_stats(relay->server, &rs);
		m->clients = (uint64_t)rs.clients;
	}
}
