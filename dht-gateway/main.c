/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2psip-gateway: the process. What it does is in the convenience library, so that the tests link
 * the real code. */
#include "config.h"
#include <errno.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dht-gateway/gateway_core.h"
#include "dht-gateway/keys/gateway_identity.h"
#include "dht-gateway/gateway_metrics.h"
#include "dht-gateway/gateway_resp.h"
#include "dht-gateway/keys/gateway_secret.h"
#include "lib/base/bytes.h"
#include "lib/io/daemon.h"
#include "lib/io/daemon_args.h"

#define NAME "p2psip-gateway"
#define SUMMARY_MS 5000
#define STOP_TIMEOUT_MS 10000

struct program {
	const char *path;
	struct gw_settings settings;
	struct p2p_log log;
	struct event_base *base;
	struct daemon *daemon;
	struct gw_core *core;
	struct gw_resp *resp;
	struct gw_admin *admin;
	struct event *summary;
};

static void log_setup(struct program *p)
{
	p->log.sink = p->settings.log_to == GW_LOG_SYSLOG ? daemon_log_syslog : daemon_log_stderr;
	p->log.arg = (void *)NAME;
	p->log.level = (enum p2p_log_level)p->settings.log_level;
}

static void on_stopped(void *arg)
{
	struct program *p = arg;

	daemon_stopped(p->daemon);
}

static void on_stop(void *arg)
{
	struct program *p = arg;

	/* Sockets first, so that nobody asks for more; users stay published, their records hold as
	 * long as the lease does. */
	gw_admin_free(p->admin);
	p->admin = NULL;
	gw_resp_free(p->resp);
	p->resp = NULL;
	gw_core_stop(p->core, on_stopped, p);
}

struct changes {
	struct program *p;
	bool sip_uri;
};

static void on_changed(const struct setting *row, bool applied, void *arg)
{
	struct changes *c = arg;

	p2p_log(&c->p->log, applied ? P2P_LOG_INFO : P2P_LOG_WARN, "[%s] %s %s", row->section,
		row->key, applied ? "has changed" : "has changed, but needs a restart");
	if (applied && !strcmp(row->section, "sip"))
		c->sip_uri = true;
}

static void on_reload(void *arg)
{
	struct program *p = arg;
	struct changes changes = {.p = p};
	struct gw_settings fresh;
	char err[512];

	if (gw_settings_load(&fresh, p->path, err, sizeof(err))) {
		p2p_log(&p->log, P2P_LOG_ERR, "settings stay as they are: %s", err);
		return;
	}
	settings_reload(gw_settings_table, &p->settings, &fresh, on_changed, &changes);
	gw_settings_free(&fresh);
	p->log.level = (enum p2p_log_level)p->settings.log_level;
	gw_core_reloaded(p->core, changes.sip_uri);
	p2p_log(&p->log, P2P_LOG_INFO, "%s: settings were read again", p->path);
}

static void admin_reload(void *arg)
{
	struct program *p = arg;

	daemon_reload(p->daemon);
}

static void admin_stop(void *arg)
{
	struct program *p = arg;

	daemon_stop(p->daemon);
}

static int admin_log_level(const char *name, void *arg)
{
	struct program *p = arg;

	return p2p_log_level_parse(&p->log.level, name);
}

static void on_summary(evutil_socket_t fd, short what, void *arg)
{
	struct program *p = arg;
	char text[256];

	(void)fd;
	(void)what;
	gw_core_summary(p->core, text, sizeof(text));
	daemon_status(p->daemon, "%s", text);
	gw_timer_set(p->summary, SUMMARY_MS);
}

static int run(struct program *p)
{
	struct daemon_config dc = {
		.name = NAME,
		.stop = on_stop,
		.reload = on_reload,
		.arg = p,
		.stop_timeout_ms = STOP_TIMEOUT_MS,
		.log = &p->log,
	};
	struct gw_admin_hooks hooks = {
		.reload = admin_reload,
		.stop = admin_stop,
		.log_level = admin_log_level,
		.arg = p,
	};
	struct gw_core_config cc;
	char err[512] = "";
	int ret = ENOMEM;

	umask(0077);
	p->base = event_base_new();
	if (!p->base) {
		snprintf(err, sizeof(err), "no event loop");
		goto out;
	}
	ret = daemon_new(&p->daemon, p->base, &dc);
	if (ret) {
		snprintf(err, sizeof(err), "%s", strerror(ret));
		goto out;
	}
	cc = (struct gw_core_config){
		.base = p->base,
		.settings = &p->settings,
		.log = &p->log,
		.clock = &p2p_clock_system,
	};
	ret = gw_core_new(&p->core, &cc, err, sizeof(err));
	if (ret)
		goto out;
	ret = gw_resp_new(&p->resp, gw_core_gw(p->core), err, sizeof(err));
	if (ret)
		goto out;
	ret = gw_admin_new(&p->admin, gw_core_gw(p->core), p->resp, &hooks, err, sizeof(err));
	if (ret)
		goto out;
	p->summary = event_new(p->base, -1, 0, on_summary, p);
	if (!p->summary) {
		ret = ENOMEM;
		goto out;
	}
	on_summary(-1, 0, p);
	daemon_ready(p->daemon);
	p2p_log(&p->log, P2P_LOG_INFO, NAME " %s serves %s", P2PSIP_VERSION, p->settings.socket);
	if (event_base_dispatch(p->base) < 0) {
		ret = EIO;
		snprintf(err, sizeof(err), "the event loop failed");
	}
out:
	if (ret)
		p2p_log(&p->log, P2P_LOG_ERR, "%s", err);
	if (p->summary)
		event_free(p->summary);
	gw_admin_free(p->admin);
	gw_resp_free(p->resp);
	gw_core_free(p->core);
	daemon_free(p->daemon);
	if (p->base)
		event_base_free(p->base);
	if (!ret)
		p2p_log(&p->log, P2P_LOG_INFO, "stopped");
	return ret;
}

/* After an error at a file: one that is missing is worth a note only, and so is one in a folder
 * that is closed to whoever asks, who need not be the gateway's user. */
static int file_note(int err, const char *path, const char *text)
{
	bool hidden = access(path, F_OK) && errno == EACCES;

	if (!err)
		return 0;
	fprintf(stderr, NAME ": %s%s\n", err == ENOENT || hidden ? "note: " : "", text);
	return err == ENOENT || hidden ? 0 : err;
}

/* The files that the settings name must be usable, where they are there. 0 or an errno value. */
static int check_files(const struct gw_settings *s)
{
	struct gw_identity *id = NULL;
	struct gw_secret secret;
	char text[512];
	int ret, ret2;

	ret = gw_identity_load(&id, s->identity_file, text, sizeof(text));
	gw_identity_free(id);
	/* made at the first start */
	ret = ret == ENOENT && s->identity_create ? 0 : file_note(ret, s->identity_file, text);
	ret2 = gw_secret_load(&secret, s->secret_file, text, sizeof(text));
	OPENSSL_cleanse(&secret, sizeof(secret));
	ret2 = file_note(ret2, s->secret_file, text);
	return ret ? ret : ret2;
}

int main(int argc, char **argv)
{
	char version[128];
	const struct daemon_program program = {
		.name = NAME,
		.summary = "The overlay manager of a Kamailio's peer-to-peer SIP overlay.",
		.config = GW_SETTINGS_PATH,
		.version = version,
		.settings = gw_settings_table,
		.metrics = gw_metrics_table,
	};
	struct daemon_args args;
	struct program p = {0};
	struct p2p_text t;
	char err[512];
	int ret;

	p2p_text_init(&t, version, sizeof(version));
	p2p_text_add(&t, "%s (", P2PSIP_VERSION);
	for (size_t i = 0; dht_backends[i]; i++)
		p2p_text_add(&t, "%s%s", i ? ", " : "", dht_backends[i]->name);
	p2p_text_add(&t, ")");
	if (!daemon_args(&program, argc, argv, &args, &ret))
		return ret;
	p.path = args.config;
	ret = gw_settings_load(&p.settings, p.path, err, sizeof(err));
	if (ret) {
		fprintf(stderr, NAME ": %s\n", err);
		return 1;
	}
	if (args.print)
		settings_print(gw_settings_table, &p.settings, stdout);
	if (args.check)
		ret = check_files(&p.settings);
	if (args.check && !args.print && !ret)
		printf("%s: good\n", p.path);
	if (!args.check && !args.print) {
		log_setup(&p);
		ret = run(&p);
	}
	gw_settings_free(&p.settings);
	return ret ? 1 : 0;
}
