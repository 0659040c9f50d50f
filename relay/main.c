/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2psip-relay: command line and life cycle; everything else is in the convenience library. */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "config.h"
#include "lib/io/daemon.h"
#include "lib/io/daemon_args.h"
#include "relay/relay.h"

#define NAME "p2psip-relay"
/* After the order to stop: for replies that are on their way out, and requests under way. */
#define STOP_TICK_MS 20
#define STOP_MAX_MS 1000

struct program {
	const char *path;
	struct event_base *base;
	struct daemon *daemon;
	struct relay *relay;
	struct relay_settings *settings;
	struct p2p_log log;
	struct event *stop_timer;
	unsigned int stop_ticks;
};

static void on_stop_tick(evutil_socket_t fd, short what, void *arg)
{
	struct program *p = arg;

	(void)fd;
	(void)what;
	if (!relay_idle(p->relay) && ++p->stop_ticks < STOP_MAX_MS / STOP_TICK_MS)
		return;
	event_del(p->stop_timer);
	daemon_stopped(p->daemon);
}

static void on_stop(void *arg)
{
	static const struct timeval tick = {.tv_usec = STOP_TICK_MS * 1000};
	struct program *p = arg;

	p2p_log(&p->log, P2P_LOG_INFO, "stopping");
	event_add(p->stop_timer, &tick);
}

static void on_reload(void *arg)
{
	struct program *p = arg;
	struct relay_settings *fresh = calloc(1, sizeof(*fresh)), *old = p->settings;
	char err[512] = "out of memory";

	if (fresh == NULL || relay_settings_load(fresh, p->path, err, sizeof(err)) != 0) {
		p2p_log(&p->log, P2P_LOG_ERR, "not reloaded: %s", err);
		free(fresh);
		return;
	}
	/* what is fixed at start must not differ from what is in force */
	if (strcmp(fresh->prefix, old->prefix) != 0 || strcmp(fresh->socket, old->socket) != 0 ||
	    strcmp(fresh->admin_socket, old->admin_socket) != 0)
		p2p_log(&p->log, P2P_LOG_WARN,
			"reload: socket, admin_socket and prefix change only with a restart");
	free(fresh->prefix);
	fresh->prefix = strdup(old->prefix);
	if (fresh->prefix == NULL) {
		p2p_log(&p->log, P2P_LOG_ERR, "not reloaded: %s", strerror(ENOMEM));
		relay_settings_free(fresh);
		free(fresh);
		return;
	}
	if (relay_reload(p->relay, fresh) != 0)
		p2p_log(&p->log, P2P_LOG_ERR, "reload: not all rtpengines could be added");
	p->settings = fresh;
	p->log.level = relay_settings_log_level(fresh);
	relay_settings_free(old);
	free(old);
	p2p_log(&p->log, P2P_LOG_INFO, "reloaded: %zu rtpengines", fresh->n_spec);
}

static void on_hook_reload(void *arg)
{
	daemon_reload(((struct program *)arg)->daemon);
}

static void on_hook_shutdown(void *arg)
{
	daemon_stop(((struct program *)arg)->daemon);
}

static void on_hook_log_level(enum p2p_log_level level, void *arg)
{
	((struct program *)arg)->log.level = level;
}

static int run(struct program *p)
{
	const struct relay_hooks hooks = {
		.reload = on_hook_reload,
		.shutdown = on_hook_shutdown,
		.log_level = on_hook_log_level,
		.arg = p,
	};
	const struct daemon_config dc = {
		.name = NAME,
		.pid_file = p->settings->pid_file,
		.stop = on_stop,
		.reload = on_reload,
		.arg = p,
		.log = &p->log,
	};
	char err[256];
	int e = ENOMEM;

	p->log.sink =
		p->settings->log_to == RELAY_LOG_SYSLOG ? daemon_log_syslog : daemon_log_stderr;
	p->log.arg = NAME;
	p->log.level = relay_settings_log_level(p->settings);
	e = daemon_drop(p->settings->user, p->settings->group, err, sizeof(err));
	if (e != 0) {
		p2p_log(&p->log, P2P_LOG_ERR, "%s", err);
		return e;
	}
	e = ENOMEM;
	p->base = event_base_new();
	if (p->base == NULL)
		goto out;
	p->stop_timer = event_new(p->base, -1, EV_PERSIST, on_stop_tick, p);
	if (p->stop_timer == NULL)
		goto out;
	e = daemon_new(&p->daemon, p->base, &dc);
	if (e != 0)
		goto out;
	e = relay_new(&p->relay, p->base, p->settings, &p->log, &hooks, true);
	if (e != 0)
		goto out;
	daemon_ready(p->daemon);
	p2p_log(&p->log, P2P_LOG_INFO, NAME " %s: %s, %zu rtpengines", P2PSIP_VERSION,
		p->settings->socket, p->settings->n_spec);
	event_base_dispatch(p->base);
out:
	if (e != 0)
		p2p_log(&p->log, P2P_LOG_ERR, "cannot start: %s", strerror(e));
	relay_free(p->relay);
	if (p->daemon != NULL)
		daemon_free(p->daemon);
	if (p->stop_timer != NULL)
		event_free(p->stop_timer);
	if (p->base != NULL)
		event_base_free(p->base);
	return e;
}

int main(int argc, char **argv)
{
	static const struct daemon_program program = {
		.name = NAME,
		.summary = "Controls the rtpengines of one peer of a peer-to-peer SIP overlay.",
		.config = "/etc/p2psip/relay.conf",
		.version = P2PSIP_VERSION,
		.settings = relay_settings_table,
		.metrics = relay_metrics_table,
	};
	struct daemon_args args;
	struct program p = {0};
	char err[512];
	int e;

	if (!daemon_args(&program, argc, argv, &args, &e))
		return e;
	p.path = args.config;
	p.settings = calloc(1, sizeof(*p.settings));
	if (p.settings == NULL)
		return 1;
	if (relay_settings_load(p.settings, p.path, err, sizeof(err)) != 0) {
		fprintf(stderr, NAME ": %s\n", err);
		free(p.settings);
		return 1;
	}
	if (args.print)
		settings_print(relay_settings_table, p.settings, stdout);
	e = args.check || args.print ? 0 : run(&p);
	relay_settings_free(p.settings);
	free(p.settings);
	return e == 0 ? 0 : 1;
}
