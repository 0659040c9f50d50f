/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The modules' socket: its server, whose connection is whose, and the table of commands. */
#include "config.h"
#include "dht-gateway/gateway_resp_impl.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/location/gateway_lookup.h"
#include "dht-gateway/location/gateway_users.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/peers/gateway_session.h"
#include "lib/base/bytes.h"
#include "lib/proto/resp.h"

#define BULK_MAX 65536
#define OUTPUT_MAX 1048576
/* A module has a window of its own; this is what a client may have waiting for the DHT. */
#define PENDING_MAX 10000

/* One connection after its handshake. */
struct client {
	uint64_t kamailio;
};

/* The same over restarts of the gateway: the journal has it. */
static uint64_t kamailio_id(const struct resp_arg *instance)
{
	static const struct p2p_hash_key key = {{0}};

	return p2p_hash(&key, instance->s, instance->len);
}

static void instances_drop(void *value, void *arg)
{
	(void)arg;
	free(value);
}

/* *first: of its connections. 0, EBUSY: too many of them, ENOMEM. */
static int instance_connected(struct gw_resp *r, uint64_t kamailio, bool *first)
{
	unsigned int *n = gw_map_get(r->instances, &kamailio, sizeof(kamailio));
	int err;

	*first = !n;
	if (!n) {
		n = calloc(1, sizeof(*n));
		err = n ? gw_users_connected(r->gw->users, kamailio) : ENOMEM;
		if (!err && gw_map_put(r->instances, &kamailio, sizeof(kamailio), n)) {
			gw_users_disconnected(r->gw->users, kamailio);
			err = ENOMEM;
		}
		if (err) {
			free(n);
			return err;
		}
		p2p_log(r->gw->log, P2P_LOG_INFO, "Kamailio instance %016" PRIx64 " is connected",
			kamailio);
	}
	++*n;
	return 0;
}

static void instance_closed(struct gw_resp *r, uint64_t kamailio)
{
	unsigned int *n = gw_map_get(r->instances, &kamailio, sizeof(kamailio));

	if (!n || --*n)
		return;
	gw_map_del(r->instances, &kamailio, sizeof(kamailio));
	gw_users_disconnected(r->gw->users, kamailio);
	gw_sessions_disconnected(r->gw->sessions, kamailio);
	p2p_log(r->gw->log, P2P_LOG_INFO, "Kamailio instance %016" PRIx64 " is gone", kamailio);
}

/* The users that a Kamailio has named: does it go on where it was? resume: the run of the gateway
 * to which it named them; NULL: it does not say, and begins with its first connection. */
static bool sync_resumed(struct gw_resp *r, uint64_t kamailio, const struct resp_arg *resume,
			 bool first, uint64_t *seq)
{
	if (resume && resume->len == strlen(r->run) && !memcmp(resume->s, r->run, resume->len) &&
	    !gw_users_resume(r->gw->users, kamailio, seq))
		return true;
	if (resume || first)
		gw_users_begin(r->gw->users, kamailio);
	return false;
}

/* HANDSHAKE version client instance [uri <sip-uri>]... [resume run] */
static void on_handshake(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	struct gw *gw = r->gw;
	struct resp_client *rc = resp_request_client(req);
	char overlay[2 * P2P_OVERLAY_ID_LEN + 1], epoch[24], version[8];
	const char *uri[P2P_CANDIDATE_URIS_MAX];
	size_t len[P2P_CANDIDATE_URIS_MAX];
	const struct resp_arg *resume = NULL;
	bool first = false, resumed;
	unsigned int n = 0;
	uint64_t seq = 0;
	struct client *c;
	int err;

	if (argc < 4 || !argv[3].len || argv[3].len > 128 || argv[2].len > 128) {
		resp_reply_error(req, "BADARG",
				 "HANDSHAKE <version> <client> <instance> [uri <sip-uri>]... "
				 "[resume <run>]");
		return;
	}
	for (int i = 4; i < argc; i += 2) {
		if (i + 1 < argc && argv[i].len == 6 && !memcmp(argv[i].s, "resume", 6)) {
			resume = &argv[i + 1];
			continue;
		}
		if (i + 1 >= argc || argv[i].len != 3 || memcmp(argv[i].s, "uri", 3)) {
			resp_reply_error(req, "BADARG",
					 "after the instance come pairs of 'uri' and an address, "
					 "and of 'resume' and a run");
			return;
		}
		/* those beyond are less preferred anyway */
		if (n < P2P_CANDIDATE_URIS_MAX) {
			uri[n] = argv[i + 1].s;
			len[n++] = argv[i + 1].len;
		}
	}
	c = resp_client_data(rc);
	if (c && c->kamailio != kamailio_id(&argv[3])) {
		resp_reply_error(req, "BADARG", "this connection is another instance's");
		return;
	}
	err = gw_peers_uris_set(gw->peers, uri, len, n);
	if (err) {
		resp_reply_error(req, "BADARG",
				 "no SIP URI of a peer (sip:address:port;transport=udp, an address "
				 "and no host name, no user)");
		return;
	}
	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c) {
			resp_reply_error(req, "INTERNAL", "no memory");
			return;
		}
		c->kamailio = kamailio_id(&argv[3]);
		err = instance_connected(r, c->kamailio, &first);
		if (err) {
			free(c);
			resp_reply_error(req, err == EBUSY ? "BUSY" : "INTERNAL",
					 err == EBUSY ? "too many Kamailio instances"
						      : "no memory");
			return;
		}
		resp_client_set_data(rc, c);
	}
	resumed = sync_resumed(r, c->kamailio, resume, first, &seq);
	p2p_overlay_id_print(&gw->overlay, overlay);
	snprintf(epoch, sizeof(epoch), "%" PRIu64, gw->epoch);
	snprintf(version, sizeof(version), "%d", P2P_RESP_VERSION);
	resp_reply_array(req, resumed ? 14 : 12);
	gw_resp_reply_pair(req, "server", "p2psip-gateway " P2PSIP_VERSION);
	gw_resp_reply_pair(req, "version", version);
	gw_resp_reply_pair(req, "hit", gw->hit_text);
	gw_resp_reply_pair(req, "overlay", overlay);
	gw_resp_reply_pair(req, "epoch", epoch);
	gw_resp_reply_pair(req, "run", r->run);
	if (resumed) {
		snprintf(epoch, sizeof(epoch), "%" PRIu64, seq);
		gw_resp_reply_pair(req, "resumed", epoch);
	}
}

static void on_closed(struct resp_client *rc, void *arg)
{
	struct client *c = resp_client_data(rc);

	if (!c)
		return;
	resp_client_set_data(rc, NULL);
	instance_closed(arg, c->kamailio);
	free(c);
}

uint64_t gw_resp_kamailio(struct resp_request *req)
{
	const struct client *c = resp_client_data(resp_request_client(req));

	return c ? c->kamailio : 0;
}

bool gw_resp_arg_name(struct resp_request *req, const struct resp_arg *a)
{
	if (p2p_name_valid(a->s, a->len))
		return true;
	resp_reply_error(req, "BADARG", "no canonical user name");
	return false;
}

bool gw_resp_arg_u64(struct resp_request *req, const struct resp_arg *a, const char *what,
		     uint64_t *v)
{
	if (!p2p_u64_parse(v, a->s, a->len))
		return true;
	resp_reply_error(req, "BADARG", "%s is no decimal number", what);
	return false;
}

bool gw_resp_arg_deadline(struct resp_request *req, const struct resp_arg *a, uint64_t *ms)
{
	if (!gw_resp_arg_u64(req, a, "deadline_ms", ms))
		return false;
	if (*ms && *ms <= GW_LOOKUP_DEADLINE_MAX_MS)
		return true;
	resp_reply_error(req, "BADARG", "deadline_ms is within 1 to %d", GW_LOOKUP_DEADLINE_MAX_MS);
	return false;
}

bool gw_resp_arg_hit(struct resp_request *req, const struct resp_arg *a, struct p2p_hit *hit)
{
	if (!p2p_hit_parse(hit, a->s, a->len))
		return true;
	resp_reply_error(req, "BADARG", "no HIT");
	return false;
}

void gw_resp_reply_pair(struct resp_request *req, const char *key, const char *value)
{
	resp_reply_str(req, key);
	resp_reply_str(req, value);
}

/* RULES */
static void on_rules(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;

	(void)argc;
	(void)argv;
	gw_rules_reply(r->gw, req);
}

static void on_info(struct resp_request *req, void *arg)
{
	struct gw_resp *r = arg;
	char *text = gw_info_text(r->gw);

	if (text)
		resp_reply_str(req, text);
	else
		resp_reply_error(req, "INTERNAL", "no memory");
	free(text);
}

const struct resp_command gw_resp_commands[] = {
	{"PUBLISH", 3, 3 + P2P_CANDIDATE_INSTANCES_MAX * 4, true, gw_resp_on_publish,
	 "<name> <seq> [<instance-hash>...]: this peer serves the user"},
	{"WITHDRAW", 3, 3, true, gw_resp_on_withdraw,
	 "<name> <seq>: this peer serves the user no longer"},
	{"CONFIRM", 4, 5, true, gw_resp_on_confirm,
	 "<name> <seq> <deadline_ms> [<channel>]: tell when others find the user as it is wished"},
	{"SYNCED", 2, 2, true, gw_resp_on_synced,
	 "<n>: all users were named; answers how many orphans there are"},
	{"SERVES", 2, 2, true, gw_resp_on_serves,
	 "<name>: 0 not served here, 1 served, 2 an orphan"},
	{"ROUTE", 3, 4, true, gw_resp_on_route,
	 "<name> <deadline_ms> [FRESH]: the other peers that serve the user, with a session each"},
	{"PEER", 3, 3, true, gw_resp_on_peer, "<hit> <deadline_ms>: a peer's own record"},
	{"SESSION", 2, 2, true, gw_resp_on_session, "<id>: an open session"},
	{"SESSIONS", 1, 2, true, gw_resp_on_session_ids, "[cursor]: the ids of all open sessions"},
	{"PEERSESSION", 3, 3, true, gw_resp_on_peersession,
	 "<hit> <deadline_ms>: the session with a peer, opened if there is none"},
	{"USED", 3, 3, true, gw_resp_on_used, "<id> <calls>: so many calls run over the session"},
	{"REFUSED", 2, 2, true, gw_resp_on_refused,
	 "<id>: the other peer does not know the session"},
	{"AUTH", 3, 3, true, gw_resp_on_auth,
	 "<name> <deadline_ms>: by which HA1s an enrolled user's digest is checked here"},
	{"RULES", 1, 1, true, on_rules, "realm, digests and other rules of the overlay"},
	{.name = NULL},
};

int gw_resp_new(struct gw_resp **rp, struct gw *gw, char *err, size_t errlen)
{
	const struct gw_settings *s = gw->settings;
	struct resp_server_config config = {
		.path = s->socket,
		.group = *s->socket_group ? s->socket_group : NULL,
		.max_bulk = BULK_MAX,
		.max_args = GW_RESP_ARGS_MAX,
		.max_clients = (int)s->clients_max,
		.max_output = OUTPUT_MAX,
		.max_pending = PENDING_MAX,
		.commands = gw_resp_commands,
		.closed = on_closed,
		.info = on_info,
		.version = P2P_RESP_VERSION,
		.handshake = on_handshake,
		.log = gw->log,
	};
	struct gw_resp *r = calloc(1, sizeof(*r));
	uint8_t run[GW_RESP_RUN_LEN];
	int ret = ENOMEM;

	if (!r)
		goto fail;
	ret = gw_crypto_random(run, sizeof(run));
	if (ret)
		goto fail;
	p2p_hex_print(r->run, run, sizeof(run));
	r->gw = gw;
	config.arg = r;
	ret = gw_settings_mode(s->socket_mode, &config.mode);
	if (ret)
		goto fail;
	ret = gw_map_new(&r->instances, P2P_PUBLISHED_KAMAILIOS_MAX, false, instances_drop, NULL);
	if (ret)
		goto fail;
	ret = resp_server_new(&r->server, gw->base, &config);
	if (ret)
		goto fail;
	gw_resp_events_begin(r);
	*rp = r;
	return 0;
fail:
	snprintf(err, errlen, "%s: %s", s->socket, strerror(ret));
	if (r)
		gw_map_free(r->instances);
	free(r);
	return ret;
}

void gw_resp_free(struct gw_resp *r)
{
	if (!r)
		return;
	gw_resp_events_end(r);
	resp_server_free(r->server);
	gw_map_free(r->instances);
	free(r);
}

void gw_resp_metrics(struct gw_resp *r)
{
	struct gw_metrics *m = &r->gw->metrics;
	struct resp_server_stats st;

	resp_server_stats(r->server, &st);
	m->clients = (uint64_t)st.clients;
	m->commands = st.commands;
	m->command_errors = st.errors;
	m->clients_cut_off = st.cut_off;
	m->limit_clients = st.refused;
}
