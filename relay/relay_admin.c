/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The socket that p2psipctl and redis-cli speak to. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "config.h"
#include "relay/relay_priv.h"

#define MAX_BULK 4096
#define MAX_ARGS 8
#define MAX_OUTPUT (4 * 1024 * 1024)
#define CALLS_DEFAULT 100
#define CALLS_MAX 1000
/* A hash bucket may hold some more than was asked for. */
#define CALLS_ROOM (CALLS_MAX + 256)

static void pair_str(struct resp_request *req, const char *key, const char *value)
{
	resp_reply_str(req, key);
	resp_reply_str(req, value);
}

static void pair_u64(struct resp_request *req, const char *key, uint64_t value)
{
	resp_reply_str(req, key);
	resp_reply_u64(req, value);
}

static void on_status(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct relay *relay = arg;
	struct relay_metrics m;

	(void)argc;
	(void)argv;
	relay_metrics_get(relay, &m);
	resp_reply_array(req, 16);
	pair_str(req, "server", "p2psip-relay");
	pair_str(req, "version", P2PSIP_VERSION);
	pair_u64(req, "uptime_s", (relay_now_ms() - relay->started_ms) / 1000);
	pair_u64(req, "calls", m.calls);
	pair_u64(req, "calls_deleting", m.deleting);
	pair_u64(req, "rtpengines", m.instances);
	pair_u64(req, "rtpengines_up", m.instances_up);
	pair_u64(req, "clients", m.clients);
}

static void on_instances(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct relay *relay = arg;
	struct ng_instance_stats st;
	struct ng_instance *instance;
	unsigned int i;
	size_t n = 0;

	(void)argc;
	(void)argv;
	for (i = 0; i < NG_INSTANCES_MAX; i++)
		n += ng_pool_at(relay->pool, i) != NULL;
	resp_reply_array(req, n);
	for (i = 0; i < NG_INSTANCES_MAX; i++) {
		instance = ng_pool_at(relay->pool, i);
		if (instance == NULL)
			continue;
		ng_instance_stats(instance, &st);
		resp_reply_array(req, 26);
		pair_str(req, "name", st.name);
		pair_str(req, "address", st.address);
		pair_str(req, "health", ng_health_name(st.health));
		pair_str(req, "draining", st.draining ? "yes" : "no");
		pair_u64(req, "weight", st.weight);
		pair_u64(req, "calls", st.calls);
		pair_u64(req, "pending", st.pending);
		pair_u64(req, "since_s", (relay_now_ms() - st.since_ms) / 1000);
		pair_u64(req, "came_up", st.up_count);
		pair_u64(req, "went_down", st.down_count);
		pair_u64(req, "ping_us", st.rtt_us);
		pair_u64(req, "requests", st.client.requests);
		pair_u64(req, "timeouts", st.client.timeouts);
	}
}

struct listing {
	struct relay_call *call[CALLS_ROOM];
	size_t n;
};

static void on_visit(struct relay_call *call, void *arg)
{
	struct listing *l = arg;

	if (l->n < CALLS_ROOM)
		l->call[l->n++] = call;
}

static bool number(const struct resp_arg *a, uint64_t max, uint64_t *v)
{
	char *end;

	if (a->len == 0 || a->s[0] < '0' || a->s[0] > '9')
		return false;
	errno = 0;
	*v = strtoull(a->s, &end, 10);
	return errno == 0 && *end == '\0' && *v <= max;
}

static void on_calls(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct relay *relay = arg;
	uint64_t cursor = 0, count = CALLS_DEFAULT, now = relay_now_ms();
	struct listing *l;
	size_t i;

	if ((argc > 1 && !number(&argv[1], UINT64_MAX, &cursor)) ||
	    (argc > 2 && (!number(&argv[2], CALLS_MAX, &count) || count == 0))) {
		resp_reply_error(req, "BADARG", "CALLS [cursor [count]], count at most %d",
				 CALLS_MAX);
		return;
	}
	l = malloc(sizeof(*l));
	if (l == NULL) {
		resp_reply_error(req, "INTERNAL", "out of memory");
		return;
	}
	l->n = 0;
	cursor = relay_calls_visit(relay->calls, cursor, count, on_visit, l);
	resp_reply_array(req, 2);
	resp_reply_u64(req, cursor);
	resp_reply_array(req, l->n);
	for (i = 0; i < l->n; i++) {
		struct relay_call *call = l->call[i];

		resp_reply_array(req, 14);
		pair_str(req, "id", call->id);
		pair_str(req, "rtpengine", ng_instance_name(call->instance));
		pair_str(req, "state",
			 call->state == RELAY_CALL_DELETING ? "deleting"
			 : !call->answered		    ? "offered"
			 : call->held			    ? "held"
							    : "answered");
		pair_u64(req, "age_s", (now - call->created_ms) / 1000);
		pair_u64(req, "lease_s", call->lease_ms > now ? (call->lease_ms - now) / 1000 : 0);
		pair_u64(req, "packets", call->packets);
		pair_u64(req, "silent_s", (now - call->media_ms) / 1000);
	}
	free(l);
}

static void on_metrics(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct relay *relay = arg;
	struct relay_metrics m;
	char *text;
	size_t len;

	(void)argc;
	(void)argv;
	relay_metrics_get(relay, &m);
	if (metrics_text(relay_metrics_table, &m, &text, &len) != 0) {
		resp_reply_error(req, "INTERNAL", "out of memory");
		return;
	}
	resp_reply_bulk(req, text, len);
	free(text);
}

static void on_reload(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct relay *relay = arg;

	(void)argc;
	(void)argv;
	resp_reply_ok(req);
	if (relay->hooks.reload != NULL)
		relay->hooks.reload(relay->hooks.arg);
}

static void on_shutdown(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct relay *relay = arg;

	(void)argc;
	(void)argv;
	resp_reply_ok(req);
	if (relay->hooks.shutdown != NULL)
		relay->hooks.shutdown(relay->hooks.arg);
}

static void on_loglevel(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct relay *relay = arg;
	enum p2p_log_level level;

	if (argc == 1) {
		resp_reply_str(req, p2p_log_level_name(relay->log->level));
		return;
	}
	if (p2p_log_level_parse(&level, argv[1].s) != 0) {
		resp_reply_error(req, "BADARG", "LOGLEVEL err|warn|info|dbg");
		return;
	}
	if (relay->hooks.log_level != NULL)
		relay->hooks.log_level(level, relay->hooks.arg);
	resp_reply_ok(req);
}

static const struct resp_command commands[] = {
	{"STATUS", 1, 1, false, on_status, "Figures at a glance"},
	{"INSTANCES", 1, 1, false, on_instances, "The rtpengines and their health"},
	{"CALLS", 1, 3, false, on_calls, "Calls, from a cursor on: next cursor (0: end), calls"},
	{"METRICS", 1, 1, false, on_metrics, "All metrics, Prometheus text"},
	{"RELOAD", 1, 1, false, on_reload, "Read the settings file again"},
	{"LOGLEVEL", 1, 2, false, on_loglevel, "Show or set the log level"},
	{"SHUTDOWN", 1, 1, false, on_shutdown, "Stop in order"},
	{0},
};

int relay_admin_start(struct relay *relay)
{
	const struct relay_settings *s = relay->settings;
	struct resp_server_config config = {
		.path = s->admin_socket,
		.mode = s->admin_mode_bits,
		.group = s->admin_group[0] != '\0' ? s->admin_group : NULL,
		.max_bulk = MAX_BULK,
		.max_args = MAX_ARGS,
		.max_clients = (int)s->max_clients,
		.max_output = MAX_OUTPUT,
		.max_pending = (int)s->max_pending,
		.commands = commands,
		.arg = relay,
	};
	int err = resp_server_new(&relay->admin, relay->base, &config);

	if (err != 0)
		p2p_log(relay->log, P2P_LOG_ERR, "socket %s: %s", s->admin_socket, strerror(err));
	return err;
}
