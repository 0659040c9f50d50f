/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "dht-gateway/gateway_resp.h"
#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/enrol/gateway_auth.h"
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/location/gateway_lookup.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/location/gateway_route.h"
#include "dht-gateway/peers/gateway_session.h"
#include "dht-gateway/location/gateway_users.h"
#include "lib/base/bytes.h"
#include "lib/io/resp_server.h"
#include "lib/proto/resp.h"

#define BULK_MAX 65536
#define ARGS_MAX 64
#define OUTPUT_MAX 1048576
/* A module has a window of its own; this is what a client may have waiting for the DHT. */
#define PENDING_MAX 10000

#define RUN_LEN 8

struct gw_resp {
	struct gw *gw;
	struct resp_server *server;
	struct gw_map *instances;  /* Kamailio's id -> its connections */
	char run[2 * RUN_LEN + 1]; /* of this process */
};

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

static void reply_pair(struct resp_request *req, const char *key, const char *value)
{
	resp_reply_str(req, key);
	resp_reply_str(req, value);
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
	reply_pair(req, "server", "p2psip-gateway " P2PSIP_VERSION);
	reply_pair(req, "version", version);
	reply_pair(req, "hit", gw->hit_text);
	reply_pair(req, "overlay", overlay);
	reply_pair(req, "epoch", epoch);
	reply_pair(req, "run", r->run);
	if (resumed) {
		snprintf(epoch, sizeof(epoch), "%" PRIu64, seq);
		reply_pair(req, "resumed", epoch);
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

static uint64_t client_kamailio(struct resp_request *req)
{
	const struct client *c = resp_client_data(resp_request_client(req));

	return c ? c->kamailio : 0;
}

static bool arg_name(struct resp_request *req, const struct resp_arg *a)
{
	if (p2p_name_valid(a->s, a->len))
		return true;
	resp_reply_error(req, "BADARG", "no canonical user name");
	return false;
}

static bool arg_u64(struct resp_request *req, const struct resp_arg *a, const char *what,
		    uint64_t *v)
{
	if (!p2p_u64_parse(v, a->s, a->len))
		return true;
	resp_reply_error(req, "BADARG", "%s is no decimal number", what);
	return false;
}

static bool arg_deadline(struct resp_request *req, const struct resp_arg *a, uint64_t *ms)
{
	if (!arg_u64(req, a, "deadline_ms", ms))
		return false;
	if (*ms && *ms <= GW_LOOKUP_DEADLINE_MAX_MS)
		return true;
	resp_reply_error(req, "BADARG", "deadline_ms is within 1 to %d", GW_LOOKUP_DEADLINE_MAX_MS);
	return false;
}

/* PUBLISH name seq [instance-hash]... */
static void on_publish(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	uint32_t instances[ARGS_MAX];
	uint64_t seq, seen = 0;
	size_t n = 0;
	int err;

	if (!arg_name(req, &argv[1]) || !arg_u64(req, &argv[2], "seq", &seq))
		return;
	for (int i = 3; i < argc && n < ARGS_MAX; i++) {
		uint8_t raw[4];

		if (p2p_hex_parse(raw, sizeof(raw), argv[i].s, argv[i].len) || !p2p_be32(raw)) {
			resp_reply_error(req, "BADARG",
					 "an instance is 8 hexadecimal digits, not all 0");
			return;
		}
		instances[n++] = p2p_be32(raw);
	}
	err = gw_users_publish(r->gw->users, argv[1].s, argv[1].len, client_kamailio(req), seq,
			       instances, n, &seen);
	switch (err) {
	case 0:
	case EALREADY:
		resp_reply_ok(req);
		break;
	case ESTALE:
		resp_reply_error(req, "STALE", "%" PRIu64, seen);
		break;
	case ENOSPC:
		resp_reply_error(req, "BUSY", "no room for more users ([limits] users_max)");
		break;
	default:
		resp_reply_error(req, "INTERNAL", "%s", strerror(err));
	}
}

/* WITHDRAW name seq */
static void on_withdraw(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	uint64_t seq, seen = 0;
	int err;

	(void)argc;
	if (!arg_name(req, &argv[1]) || !arg_u64(req, &argv[2], "seq", &seq))
		return;
	err = gw_users_withdraw(r->gw->users, argv[1].s, argv[1].len, client_kamailio(req), seq,
				&seen);
	if (err == ESTALE)
		resp_reply_error(req, "STALE", "%" PRIu64, seen);
	else if (err && err != ENOENT && err != EBUSY)
		resp_reply_error(req, "INTERNAL", "%s", strerror(err));
	else
		resp_reply_ok(req); /* unknown, or another Kamailio's by now: not this one's */
}

/* Where those who wait are told: a channel that is theirs alone. */
#define CONFIRM_CHANNEL "confirms:"
#define CONFIRM_CHANNEL_MAX 64

struct confirm {
	struct gw_resp *r;
	struct resp_request *req; /* NULL: told on the channel */
	uint64_t seq;
	char name[P2P_NAME_MAX + 1];
	char channel[CONFIRM_CHANNEL_MAX + 1];
};

static void on_confirmed(int err, void *arg)
{
	struct confirm *c = arg;
	char text[24 + P2P_NAME_MAX];
	int n;

	if (c->req && !err) {
		resp_reply_ok(c->req);
	} else if (c->req && err == EBUSY) {
		resp_reply_error(c->req, "BUSY", "too many wait for a confirmation");
	} else if (c->req) {
		resp_reply_error(c->req, "TIMEOUT", "not confirmed in time");
	} else if (!err) {
		n = snprintf(text, sizeof(text), "%" PRIu64 " %s", c->seq, c->name);
		resp_server_publish(c->r->server, c->channel, text, (size_t)n);
	}
	free(c);
}

/* CONFIRM name seq deadline_ms [channel] */
static void on_confirm(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	const size_t prefix = strlen(CONFIRM_CHANNEL);
	struct gw_resp *r = arg;
	struct confirm *c;
	uint64_t ms, seq;

	if (!arg_name(req, &argv[1]) || !arg_u64(req, &argv[2], "seq", &seq) ||
	    !arg_deadline(req, &argv[3], &ms))
		return;
	if (argc > 4 &&
	    (argv[4].len <= prefix || argv[4].len > CONFIRM_CHANNEL_MAX ||
	     memcmp(argv[4].s, CONFIRM_CHANNEL, prefix) || memchr(argv[4].s, 0, argv[4].len))) {
		resp_reply_error(req, "BADARG", "the channel is 'confirms:' and a word of yours");
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		resp_reply_error(req, "INTERNAL", "no memory");
		return;
	}
	c->r = r;
	c->seq = seq;
	memcpy(c->name, argv[1].s, argv[1].len);
	if (argc > 4) {
		memcpy(c->channel, argv[4].s, argv[4].len);
		resp_reply_ok(req);
	} else {
		c->req = req;
	}
	gw_users_confirm(r->gw->users, argv[1].s, argv[1].len, ms, on_confirmed, c);
}

/* SYNCED n */
static void on_synced(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	uint64_t n;
	size_t orphans;

	(void)argc;
	if (!arg_u64(req, &argv[1], "n", &n))
		return;
	orphans = gw_users_synced(r->gw->users, client_kamailio(req));
	p2p_log(r->gw->log, P2P_LOG_INFO,
		"Kamailio instance %016" PRIx64 " has named its %" PRIu64 " users; %zu orphans",
		client_kamailio(req), n, orphans);
	resp_reply_int(req, (int64_t)orphans);
}

/* SERVES name */
static void on_serves(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;

	(void)argc;
	if (arg_name(req, &argv[1]))
		resp_reply_int(req, gw_users_serves(r->gw->users, argv[1].s, argv[1].len));
}

/* Of S in docs/resp.md; readers take more. */
#define SESSION_ELEMENTS 12

static void reply_session(struct resp_request *req, const struct p2p_session *s, bool retiring)
{
	char id[P2P_SESSION_ID_TEXT_MAX], hit[P2P_HIT_TEXT_MAX];
	char key[2 * P2P_SESSION_KEY_LEN + 1];

	p2p_session_id_print(&s->id, id);
	p2p_hit_print(&s->hit, hit);
	resp_reply_array(req, SESSION_ELEMENTS);
	resp_reply_str(req, id);
	resp_reply_str(req, hit);
	resp_reply_str(req, s->initiator ? "initiator" : "responder");
	resp_reply_u64(req, s->ttl_ms);
	p2p_hex_print(key, s->key_out, sizeof(s->key_out));
	resp_reply_str(req, key);
	p2p_hex_print(key, s->key_in, sizeof(s->key_in));
	resp_reply_str(req, key);
	OPENSSL_cleanse(key, sizeof(key));
	resp_reply_str(req, p2p_signalling_text(s->signalling));
	resp_reply_u64(req, s->family);
	resp_reply_str(req, p2p_media_text(s->media));
	resp_reply_str(req, s->uri);
	resp_reply_str(req, s->stream_uri);
	resp_reply_u64(req, retiring);
}

/* A session, or why there is none. */
static void reply_answer(struct resp_request *req, const struct gw_session_answer *a)
{
	char text[GW_SESSION_TEXT_MAX + 32];
	const char *why;

	switch (a->outcome) {
	case GW_SESSION_OPEN:
		reply_session(req, &a->session, false);
		return;
	case GW_SESSION_NONE:
		resp_reply_str(req, "");
		return;
	case GW_SESSION_UNCOMMON:
		why = a->uncommon == P2P_UNCOMMON_MEDIA ? "nocommon-media" : "nocommon-signalling";
		break;
	case GW_SESSION_REFUSED:
		why = "refused";
		break;
	default:
		why = "unreachable";
	}
	snprintf(text, sizeof(text), "%s %s", why, a->text);
	resp_reply_str(req, text);
}

/* [hit, order, ttl_ms, flags, session, n_uris, uri..., instance-hash...] */
static void reply_candidate(struct resp_request *req, const struct p2p_candidate *c,
			    const struct gw_session_answer *a)
{
	char hit[P2P_HIT_TEXT_MAX], hex[9];

	p2p_hit_print(&c->hit, hit);
	resp_reply_array(req, 6u + c->n_uris + c->n_instances);
	resp_reply_str(req, hit);
	resp_reply_u64(req, c->order);
	resp_reply_u64(req, c->ttl_ms);
	resp_reply_u64(req, c->flags);
	reply_answer(req, a);
	resp_reply_u64(req, c->n_uris);
	for (unsigned int i = 0; i < c->n_uris; i++)
		resp_reply_str(req, c->uri[i]);
	for (unsigned int i = 0; i < c->n_instances; i++) {
		uint8_t raw[4];

		p2p_put_be32(raw, c->instance[i]);
		p2p_hex_print(hex, raw, sizeof(raw));
		resp_reply_str(req, hex);
	}
}

static void on_routed(int err, const struct p2p_candidate_set *cands,
		      const struct gw_session_answer *sessions, void *arg)
{
	struct resp_request *req = arg;

	switch (err) {
	case 0:
		resp_reply_array(req, cands->n);
		for (unsigned int i = 0; i < cands->n; i++)
			reply_candidate(req, &cands->c[i], &sessions[i]);
		break;
	case ENOENT:
		resp_reply_error(req, "NOTFOUND", "two completed searches found no other peer");
		break;
	case EBUSY:
		resp_reply_error(req, "BUSY", "too many lookups");
		break;
	default:
		resp_reply_error(req, "TIMEOUT", "no search was completed in time");
	}
}

/* ROUTE name deadline_ms [FRESH] */
static void on_route(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	uint64_t ms;

	if (!arg_name(req, &argv[1]) || !arg_deadline(req, &argv[2], &ms))
		return;
	if (argc > 3 && strcasecmp(argv[3].s, "FRESH")) {
		resp_reply_error(req, "BADARG", "after the deadline only FRESH");
		return;
	}
	gw_route(r->gw->routes, argv[1].s, argv[1].len, ms, argc > 3, on_routed, req);
}

struct peer_request {
	struct resp_request *req;
	struct gw *gw;
	struct p2p_hit hit;
};

static void on_peer_read(int err, const struct p2p_record *rec, void *arg)
{
	struct peer_request *p = arg;
	struct resp_request *req = p->req;
	struct p2p_candidate c;
	char hit[P2P_HIT_TEXT_MAX];
	uint64_t now = gw_wall(p->gw);

	if (err == ENOENT) {
		resp_reply_error(req, "NOTFOUND",
				 "two completed searches found no record of this peer");
	} else if (err == EBUSY) {
		resp_reply_error(req, "BUSY", "too many requests");
	} else if (err) {
		resp_reply_error(req, "TIMEOUT", "no search was completed in time");
	} else {
		p2p_candidate_from_peer(&c, rec, &p->hit, now);
		p2p_hit_print(&p->hit, hit);
		resp_reply_array(req, 4u + c.n_uris);
		resp_reply_str(req, hit);
		resp_reply_u64(req, rec->epoch);
		resp_reply_u64(req, rec->lease_ms > now ? rec->lease_ms - now : 0);
		resp_reply_u64(req, c.n_uris);
		for (unsigned int i = 0; i < c.n_uris; i++)
			resp_reply_str(req, c.uri[i]);
	}
	free(p);
}

/* PEER hit deadline_ms */
static void on_peer(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	struct peer_request *p;
	struct p2p_hit hit;
	uint64_t ms;

	(void)argc;
	if (p2p_hit_parse(&hit, argv[1].s, argv[1].len)) {
		resp_reply_error(req, "BADARG", "no HIT");
		return;
	}
	if (!arg_deadline(req, &argv[2], &ms))
		return;
	p = malloc(sizeof(*p));
	if (!p) {
		resp_reply_error(req, "BUSY", "no memory");
		return;
	}
	p->req = req;
	p->gw = r->gw;
	p->hit = hit;
	gw_peers_get(r->gw->peers, &hit, ms, on_peer_read, p);
}

static bool arg_session(struct resp_request *req, const struct resp_arg *a,
			struct p2p_session_id *id)
{
	if (!p2p_session_id_parse(id, a->s, a->len))
		return true;
	resp_reply_error(req, "BADARG", "a session's id is 32 hexadecimal digits in lower case");
	return false;
}

static void reply_unknown(struct resp_request *req)
{
	resp_reply_error(req, "NOTFOUND", "no such session is open");
}

/* SESSION id */
static void on_session(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	struct p2p_session_id id;
	struct p2p_session s;
	bool retiring;

	(void)argc;
	if (!arg_session(req, &argv[1], &id))
		return;
	if (gw_session_find(r->gw->sessions, &id, &s, &retiring))
		reply_unknown(req);
	else
		reply_session(req, &s, retiring);
	OPENSSL_cleanse(&s, sizeof(s));
}

/* Sessions in one answer of SESSIONS; readers take more elements than that. */
#define SESSIONS_PAGE 256

struct session_ids {
	size_t n;
	struct p2p_session_id id[SESSIONS_PAGE];
};

static void gather_id(const struct p2p_sessions_entry *e, void *arg)
{
	struct session_ids *ids = arg;

	if (e->state != P2P_SESSION_OPENING && ids->n < SESSIONS_PAGE)
		ids->id[ids->n++] = e->s.id;
}

/* SESSIONS [cursor] */
static void on_session_ids(struct resp_request *req, int argc, const struct resp_arg *argv,
			   void *arg)
{
	struct gw_resp *r = arg;
	struct session_ids ids = {0};
	char id[P2P_SESSION_ID_TEXT_MAX];
	uint64_t cursor = 0;

	if (argc > 1 && p2p_u64_parse(&cursor, argv[1].s, argv[1].len)) {
		resp_reply_error(req, "BADARG",
				 "the cursor is the number that the last answer began with");
		return;
	}
	gw_sessions_scan(r->gw->sessions, &cursor, SESSIONS_PAGE, gather_id, &ids);
	resp_reply_array(req, 1 + ids.n);
	resp_reply_u64(req, cursor);
	for (size_t i = 0; i < ids.n; i++) {
		p2p_session_id_print(&ids.id[i], id);
		resp_reply_str(req, id);
	}
}

static void on_peer_session(int err, const struct gw_session_answer *a, void *arg)
{
	struct resp_request *req = arg;

	if (err == ENOENT)
		resp_reply_error(req, "NOTFOUND",
				 "two completed searches found no record of this peer");
	else if (err == EBUSY)
		resp_reply_error(req, "BUSY", "too many requests");
	else if (err)
		resp_reply_error(req, "TIMEOUT", "no search was completed in time");
	else if (a->outcome == GW_SESSION_OPEN)
		reply_session(req, &a->session, false);
	else if (a->outcome == GW_SESSION_UNCOMMON)
		resp_reply_error(req, "NOCOMMON", "%s %s",
				 a->uncommon == P2P_UNCOMMON_MEDIA ? "media" : "signalling",
				 a->text);
	else if (a->outcome == GW_SESSION_NONE)
		resp_reply_error(req, "UNREACHABLE", "this peer has no gateway to talk to");
	else if (a->outcome == GW_SESSION_REFUSED)
		resp_reply_error(req, "DENIED", "%s", a->text);
	else
		resp_reply_error(req, "UNREACHABLE", "%s", a->text);
}

/* PEERSESSION hit deadline_ms */
static void on_peersession(struct resp_request *req, int argc, const struct resp_arg *argv,
			   void *arg)
{
	struct gw_resp *r = arg;
	struct p2p_hit hit;
	uint64_t ms;

	(void)argc;
	if (p2p_hit_parse(&hit, argv[1].s, argv[1].len)) {
		resp_reply_error(req, "BADARG", "no HIT");
		return;
	}
	if (arg_deadline(req, &argv[2], &ms))
		gw_session_peer(r->gw->sessions, &hit, ms, on_peer_session, req);
}

/* USED id calls */
static void on_used(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	struct p2p_session_id id;
	uint64_t calls;

	(void)argc;
	if (!arg_session(req, &argv[1], &id) || !arg_u64(req, &argv[2], "calls", &calls))
		return;
	if (calls > P2P_OPP_CALLS_MAX) {
		resp_reply_error(req, "BADARG", "calls is within 0 to %d", P2P_OPP_CALLS_MAX);
		return;
	}
	if (gw_session_used(r->gw->sessions, &id, client_kamailio(req), (uint32_t)calls))
		reply_unknown(req);
	else
		resp_reply_ok(req);
}

/* REFUSED id */
static void on_refused(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	struct p2p_session_id id;

	(void)argc;
	if (!arg_session(req, &argv[1], &id))
		return;
	/* gone already: that was wanted */
	gw_session_refused(r->gw->sessions, &id);
	resp_reply_ok(req);
}

static void reply_ha1(struct resp_request *req, const struct gw_auth_answer *a,
		      enum p2p_digest digest)
{
	char hex[2 * P2P_HA1_SHA256_LEN + 1];
	size_t at, len;

	if (p2p_digests_find(a->digests, digest, &at, &len))
		return;
	p2p_hex_print(hex, a->ha1 + at, len);
	reply_pair(req, p2p_digests_text(digest), hex);
	OPENSSL_cleanse(hex, sizeof(hex));
}

static void on_authed(int err, const struct gw_auth_answer *a, void *arg)
{
	struct resp_request *req = arg;

	switch (err) {
	case 0:
		resp_reply_array(req, a->digests == (P2P_DIGEST_MD5 | P2P_DIGEST_SHA256) ? 6 : 4);
		resp_reply_str(req, a->realm);
		resp_reply_u64(req, a->ttl_ms);
		/* RFC 8760, 2.3: the preferred one first */
		reply_ha1(req, a, P2P_DIGEST_SHA256);
		reply_ha1(req, a, P2P_DIGEST_MD5);
		break;
	case ENOENT:
		resp_reply_error(req, "NOTFOUND", "no such user is enrolled");
		break;
	case EACCES:
		resp_reply_error(req, "DENIED",
				 "the authority does not allow this peer to serve "
				 "the user");
		break;
	case EPERM:
		resp_reply_error(req, "DENIED",
				 "this overlay has no authority: its users are not "
				 "enrolled");
		break;
	case EBUSY:
		resp_reply_error(req, "BUSY", "too many requests");
		break;
	default:
		resp_reply_error(req, "TIMEOUT", "no search was completed in time");
	}
}

/* AUTH name deadline_ms */
static void on_auth(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	uint64_t ms;

	(void)argc;
	if (arg_name(req, &argv[1]) && arg_deadline(req, &argv[2], &ms))
		gw_auth_user(r->gw->auth, argv[1].s, argv[1].len, ms, on_authed, req);
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
	{"PUBLISH", 3, 3 + P2P_CANDIDATE_INSTANCES_MAX * 4, true, on_publish,
	 "<name> <seq> [<instance-hash>...]: this peer serves the user"},
	{"WITHDRAW", 3, 3, true, on_withdraw, "<name> <seq>: this peer serves the user no longer"},
	{"CONFIRM", 4, 5, true, on_confirm,
	 "<name> <seq> <deadline_ms> [<channel>]: tell when others find the user as it is wished"},
	{"SYNCED", 2, 2, true, on_synced,
	 "<n>: all users were named; answers how many orphans there are"},
	{"SERVES", 2, 2, true, on_serves, "<name>: 0 not served here, 1 served, 2 an orphan"},
	{"ROUTE", 3, 4, true, on_route,
	 "<name> <deadline_ms> [FRESH]: the other peers that serve the user, with a session each"},
	{"PEER", 3, 3, true, on_peer, "<hit> <deadline_ms>: a peer's own record"},
	{"SESSION", 2, 2, true, on_session, "<id>: an open session"},
	{"SESSIONS", 1, 2, true, on_session_ids, "[cursor]: the ids of all open sessions"},
	{"PEERSESSION", 3, 3, true, on_peersession,
	 "<hit> <deadline_ms>: the session with a peer, opened if there is none"},
	{"USED", 3, 3, true, on_used, "<id> <calls>: so many calls run over the session"},
	{"REFUSED", 2, 2, true, on_refused, "<id>: the other peer does not know the session"},
	{"AUTH", 3, 3, true, on_auth,
	 "<name> <deadline_ms>: by which HA1s an enrolled user's digest is checked here"},
	{"RULES", 1, 1, true, on_rules, "realm, digests and other rules of the overlay"},
	{.name = NULL},
};

static void users_event(const char *name, size_t len, void *arg)
{
	struct gw_resp *r = arg;

	resp_server_publish(r->server, "users", name, len);
}

/* "hit hash[,hash]... name" */
static void moves_event(const struct p2p_hit *hit, const uint32_t *instance, unsigned int n,
			const char *name, size_t len, void *arg)
{
	char text[P2P_HIT_TEXT_MAX + P2P_CANDIDATE_INSTANCES_MAX * 9 + P2P_NAME_MAX + 2];
	struct gw_resp *r = arg;
	size_t at;

	p2p_hit_print(hit, text);
	at = strlen(text);
	for (unsigned int i = 0; i < n && i < P2P_CANDIDATE_INSTANCES_MAX; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%c%08" PRIx32, i ? ',' : ' ',
				       instance[i]);
	at += (size_t)snprintf(text + at, sizeof(text) - at, " %.*s", (int)len, name);
	resp_server_publish(r->server, "moves", text, at);
}

static void peers_event(const struct p2p_hit *hit, void *arg)
{
	struct gw_resp *r = arg;
	char text[P2P_HIT_TEXT_MAX];

	p2p_hit_print(hit, text);
	resp_server_publish(r->server, "peers", text, strlen(text));
}

static void sessions_event(const char *what, const struct p2p_session_id *id, void *arg)
{
	struct gw_resp *r = arg;
	char text[16 + P2P_SESSION_ID_TEXT_MAX], id_text[P2P_SESSION_ID_TEXT_MAX];

	p2p_session_id_print(id, id_text);
	snprintf(text, sizeof(text), "%s %s", what, id_text);
	resp_server_publish(r->server, "sessions", text, strlen(text));
}

static void auth_event(const char *what, const char *name, size_t len, void *arg)
{
	struct gw_resp *r = arg;
	char text[16 + P2P_NAME_MAX];
	int n = snprintf(text, sizeof(text), name ? "%s %.*s" : "%s", what, (int)len, name);

	resp_server_publish(r->server, "auth", text, (size_t)n);
}

static void tls_event(void *arg)
{
	struct gw_resp *r = arg;

	resp_server_publish(r->server, "sessions", "tls", 3);
}

int gw_resp_new(struct gw_resp **rp, struct gw *gw, char *err, size_t errlen)
{
	const struct gw_settings *s = gw->settings;
	struct resp_server_config config = {
		.path = s->socket,
		.group = *s->socket_group ? s->socket_group : NULL,
		.max_bulk = BULK_MAX,
		.max_args = ARGS_MAX,
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
	uint8_t run[RUN_LEN];
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
	gw->users_event = users_event;
	gw->moves_event = moves_event;
	gw->peers_event = peers_event;
	gw->sessions_event = sessions_event;
	gw->auth_event = auth_event;
	gw->tls_event = tls_event;
	gw->event_arg = r;
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
	r->gw->users_event = NULL;
	r->gw->moves_event = NULL;
	r->gw->peers_event = NULL;
	r->gw->sessions_event = NULL;
	r->gw->auth_event = NULL;
	r->gw->tls_event = NULL;
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
