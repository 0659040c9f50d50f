/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The operator's socket: its server, the table of commands, and those about the gateway itself. */
#include "config.h"
#include "dht-gateway/gateway_admin.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "dht-gateway/gateway_metrics.h"
#include "lib/base/bytes.h"
#include "lib/proto/resp.h"

#define BULK_MAX 65536
#define ARGS_MAX 16
#define CLIENTS_MAX 32
#define OUTPUT_MAX (8 << 20)
#define PENDING_MAX 256

struct gw_admin {
	struct gw *gw; /* first: see gateway_resp.h */
	struct gw_resp *resp;
	struct gw_admin_hooks hooks;
	struct resp_server *server;
};

struct gw *gw_admin_gw(void *arg)
{
	struct gw_admin *a = arg;

	return a->gw;
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
	{"USERS", 1, 3, false, gw_admin_users, "[cursor [count]]: the users published here"},
	{"RECORDS", 1, 3, false, gw_admin_records,
	 "[cursor [count]]: records last read from the DHT"},
	{"PEERS", 1, 3, false, gw_admin_peers, "[cursor [count]]: peers that were heard of"},
	{"SESSIONS", 1, 3, false, gw_admin_sessions, "[cursor [count]]: sessions with other peers"},
	{"LOOKUP", 2, 2, false, gw_admin_lookup,
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
