/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/peers/gateway_serve.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/enrol/gateway_enrol.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/enrol/gateway_rotate.h"
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/peers/gateway_serve_records.h"
#include "dht-gateway/peers/gateway_session.h"
#include "dht-gateway/location/gateway_users.h"
#include "lib/base/bytes.h"
#include "lib/io/https_server.h"
#include "lib/model/candidate.h"
#include "lib/proto/opp.h"

/* Another peer is named as the one where a user went when its record was read this lately. */
#define MOVED_AGE_MS 60000
#define HEADERS_MAX 4096
#define RETRY_AFTER_S 1
#define SOFTWARE "kamailio-p2psip"

struct gw_serve {
	struct gw *gw;
	struct https_server *server; /* NULL: not enabled */
	struct sockaddr_storage listen[GW_PEERS_LISTEN_MAX];
	unsigned int n_listen;
	bool behind; /* who asks now knows of revocations, and perhaps a secret, that we do not */
};

static void reply_fault(struct https_exchange *x, int status, struct p2p_opp_error *error)
{
	char body[P2P_OPP_BODY_MAX];
	size_t len = 0;

	if (error->code == P2P_OPP_E_VERSION)
		error->version[error->n_versions++] = P2P_OPP_VERSION;
	p2p_opp_error_encode(error, body, sizeof(body), &len);
	https_reply(x, status, status == 503 ? RETRY_AFTER_S : 0, body, len);
}

static void reply_error(struct https_exchange *x, int status, enum p2p_opp_error_code code,
			const char *reason)
{
	struct p2p_opp_error error = {.code = code};

	snprintf(error.reason, sizeof(error.reason), "%s", reason);
	reply_fault(x, status, &error);
}

static void reply_peer(struct gw_serve *s, struct https_exchange *x)
{
	struct gw *gw = s->gw;
	struct p2p_opp_peer peer = {.version = {P2P_OPP_VERSION},
				    .n_versions = 1,
				    .hit = gw->hit,
				    .overlay = gw->overlay,
				    .epoch = gw->epoch,
				    .software = SOFTWARE};
	char uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX];
	unsigned int n = gw_peers_uris(gw->peers, uri);
	char body[P2P_OPP_BODY_MAX];
	size_t len;

	for (unsigned int i = 0; i < n; i++)
		if (strlen(uri[i]) < sizeof(peer.uri[0]))
			strcpy(peer.uri[peer.n_uris++], uri[i]);
	if (p2p_opp_peer_encode(&peer, body, sizeof(body), &len))
		reply_error(x, 503, P2P_OPP_E_BUSY, "no description");
	else
		https_reply(x, 200, 0, body, len);
}

/* Is this user here? 0; EAGAIN: that is not known yet. */
static int presence(struct gw_serve *s, const struct p2p_key *key, struct p2p_opp_user *out)
{
	struct gw *gw = s->gw;
	struct p2p_opp_user user = {.presence = P2P_OPP_NO};
	struct p2p_candidate_set cands;
	const char *name;
	size_t len;
	int err = gw_users_find(gw->users, key, &name, &len);

	if (!err) {
		int serves = gw_users_serves(gw->users, name, len);

		if (serves)
			user.presence = serves == 2 ? P2P_OPP_ORPHAN : P2P_OPP_YES;
		else if (!gw_cache_get(gw->cache, name, len, MOVED_AGE_MS, &cands) &&
			 !(cands.c[0].flags & P2P_CANDIDATE_LAPSED)) {
			user.presence = P2P_OPP_MOVED;
			user.hit = cands.c[0].hit;
		}
	}
	/* Who is here, is; who is not may be one whom Kamailio has not named yet. */
	if (err == EAGAIN || (err == ENOENT && s->behind) ||
	    ((user.presence == P2P_OPP_NO || user.presence == P2P_OPP_MOVED) &&
	     !gw_users_complete(gw->users))) {
		gw->metrics.answers_unknown++;
		return EAGAIN;
	}
	switch (user.presence) {
	case P2P_OPP_YES:
		gw->metrics.answers_yes++;
		break;
	case P2P_OPP_ORPHAN:
		gw->metrics.answers_orphan++;
		break;
	case P2P_OPP_MOVED:
		gw->metrics.answers_moved++;
		break;
	case P2P_OPP_NO:
		gw->metrics.answers_no++;
	}
	*out = user;
	return 0;
}

/* For how long its phones have been here. */
static void phones(struct gw_serve *s, const struct p2p_key *key, struct p2p_opp_user *user)
{
	const struct p2p_published *table = gw_users_table(s->gw->users);
	struct p2p_published_info info;
	const char *name;
	size_t len;

	if (gw_users_find(s->gw->users, key, &name, &len) ||
	    p2p_published_get(table, name, len, &info))
		return;
	for (unsigned int i = 0; i < info.n_instances && user->n_phones < P2P_OPP_LIST_MAX; i++) {
		uint64_t age;
		bool older;

		/* told too young, it would move away from others what did not move */
		if (!p2p_published_age(table, name, len, info.instance[i], gw_mono(s->gw), &age,
				       &older) ||
		    older || age > P2P_OPP_AGE_MAX_MS)
			continue;
		user->phone[user->n_phones].instance = info.instance[i];
		user->phone[user->n_phones++].age_ms = age;
	}
}

static void reply_user(struct gw_serve *s, struct https_exchange *x, const struct p2p_key *key)
{
	struct p2p_opp_user user;
	char body[1024];
	size_t len;

	if (presence(s, key, &user)) {
		reply_error(x, 503, P2P_OPP_E_BUSY, "Kamailio has not named its users yet");
		return;
	}
	if (user.presence == P2P_OPP_YES)
		phones(s, key, &user);
	p2p_opp_user_encode(&user, body, sizeof(body), &len);
	https_reply(x, 200, 0, body, len);
}

/* The same of many at once. */
static void reply_users(struct gw_serve *s, struct https_exchange *x)
{
	struct p2p_opp_users users = {0};
	struct p2p_opp_keys keys;
	char text[P2P_OPP_BODY_MAX];
	size_t len;
	const char *body = https_exchange_body(x, &len);

	if (strcmp(https_exchange_method(x), "POST")) {
		reply_error(x, 405, P2P_OPP_E_METHOD, "this takes POST only");
		return;
	}
	if (p2p_opp_keys_decode(&keys, body, len)) {
		reply_error(x, 400, P2P_OPP_E_BADREQUEST, "no such body");
		return;
	}
	for (; users.n < keys.n; users.n++) {
		struct p2p_opp_user user;

		if (presence(s, &keys.key[users.n], &user))
			continue;
		users.a[users.n].known = true;
		users.a[users.n].presence = user.presence;
		users.a[users.n].hit = user.hit;
	}
	if (p2p_opp_users_encode(&users, text, sizeof(text), &len))
		reply_error(x, 503, P2P_OPP_E_BUSY, "no answer");
	else
		https_reply(x, 200, 0, text, len);
}

static void reply_open(struct gw_serve *s, struct https_exchange *x, const uint8_t *id,
		       const char *body, size_t len)
{
	struct p2p_opp_opened opened;
	struct p2p_opp_error error;
	struct p2p_opp_open open;
	char text[P2P_OPP_BODY_MAX];
	int status;

	if (p2p_opp_open_decode(&open, body, len)) {
		s->gw->metrics.accepts_bad++;
		reply_error(x, 400, P2P_OPP_E_BADREQUEST, "no such body");
		return;
	}
	status = gw_session_accept(s->gw->sessions, https_exchange_hit(x), id, &open, &opened,
				   &error);
	if (!status) {
		opened.told = open.asks && !presence(s, &open.user, &opened.user);
		p2p_opp_opened_encode(&opened, text, sizeof(text), &len);
		https_reply(x, 200, 0, text, len);
	} else {
		error.told = error.code == P2P_OPP_E_NOCOMMON && open.asks &&
			     !presence(s, &open.user, &error.user);
		reply_fault(x, status, &error);
	}
	OPENSSL_cleanse(&open, sizeof(open));
	OPENSSL_cleanse(&opened, sizeof(opened));
	OPENSSL_cleanse(text, sizeof(text));
}

static void reply_session(struct gw_serve *s, struct https_exchange *x, const uint8_t *id)
{
	const char *method = https_exchange_method(x), *final;
	const struct p2p_hit *hit = https_exchange_hit(x);
	struct p2p_opp_error error;
	struct p2p_opp_calls said, calls;
	char text[256];
	size_t len;
	const char *body = https_exchange_body(x, &len);
	int status;

	if (!strcmp(method, "PUT")) {
		reply_open(s, x, id, body, len);
		return;
	}
	if (!strcmp(method, "POST")) {
		if (p2p_opp_calls_decode(&said, body, len)) {
			reply_error(x, 400, P2P_OPP_E_BADREQUEST, "no such body");
			return;
		}
		status = gw_session_renew(s->gw->sessions, hit, id, &said, &calls, &error);
	} else if (!strcmp(method, "DELETE")) {
		final = https_exchange_header(x, P2P_OPP_FINAL_HEADER);
		status = gw_session_close(s->gw->sessions, hit, id, final && !strcmp(final, "yes"),
					  &calls, &error);
	} else {
		reply_error(x, 405, P2P_OPP_E_METHOD, "a session takes PUT, POST and DELETE");
		return;
	}
	if (status) {
		reply_fault(x, status, &error);
		return;
	}
	p2p_opp_calls_encode(&calls, text, sizeof(text), &len);
	https_reply(x, 200, 0, text, len);
}

/* An overlay with an authority: its certificate says. */
static bool certified(struct gw_serve *s, struct https_exchange *x)
{
	struct gw *gw = s->gw;
	const struct p2p_hit *hit = https_exchange_hit(x);
	enum gw_cert_fault fault = gw_member_check(gw, https_exchange_cert(x), hit);
	char text[P2P_HIT_TEXT_MAX];

	if (!fault)
		return true;
	gw->metrics.asked_strangers++;
	p2p_hit_print(hit, text);
	gw_warn_source(gw, hit, sizeof(*hit), "gateway of %s is refused: %s", text,
		       gw_cert_fault_text(fault));
	return false;
}

/* One without: the secret does. */
static bool proven(struct gw_serve *s, struct https_exchange *x)
{
	struct gw *gw = s->gw;
	const struct p2p_hit *hit = https_exchange_hit(x);
	const char *proof = https_exchange_header(x, P2P_OPP_MEMBER_HEADER);
	char text[P2P_HIT_TEXT_MAX];
	int err = EBADMSG;

	if (proof)
		err = p2p_opp_member_check(proof, strlen(proof), gw->secret.b, gw->secret.len,
					   &gw->overlay, hit, &gw->hit, gw_wall(gw), gw->crypto);
	if (!err)
		return true;
	gw->metrics.asked_strangers++;
	p2p_hit_print(hit, text);
	gw_warn_source(gw, hit, sizeof(*hit), "gateway of %s is refused: %s", text,
		       !proof	       ? "it does not prove that it is a member of this overlay"
		       : err == ESTALE ? "its proof of membership is too old or dated ahead: its "
					 "clock, or a replay"
				       : "its proof of membership is wrong: it does not have this "
					 "overlay's secret");
	return false;
}

static void reply_enrolment(struct gw_serve *s, struct https_exchange *x)
{
	struct p2p_opp_enrolled out;
	struct p2p_opp_error error;
	struct p2p_opp_enrol ask;
	char text[P2P_OPP_BODY_MAX];
	size_t len;
	const char *body = https_exchange_body(x, &len);
	int status;

	if (strcmp(https_exchange_method(x), "POST")) {
		reply_error(x, 405, P2P_OPP_E_METHOD, "this takes POST only");
		return;
	}
	if (p2p_opp_enrol_decode(&ask, body, len)) {
		reply_error(x, 400, P2P_OPP_E_BADREQUEST, "no such body");
		return;
	}
	status = gw_enrol_answer(s->gw, https_exchange_cert(x), https_exchange_hit(x), &ask, &out,
				 &error);
	if (status)
		reply_fault(x, status, &error);
	else if (p2p_opp_enrolled_encode(&out, text, sizeof(text), &len))
		reply_error(x, 503, P2P_OPP_E_BUSY, "no answer");
	else
		https_reply(x, 200, 0, text, len);
	OPENSSL_cleanse(&ask, sizeof(ask));
	OPENSSL_cleanse(&out, sizeof(out));
	OPENSSL_cleanse(text, sizeof(text));
}

static void reply_members(struct gw_serve *s, struct https_exchange *x)
{
	const char *answer;
	size_t len;
	const char *body = https_exchange_body(x, &len);

	if (strcmp(https_exchange_method(x), "POST")) {
		reply_error(x, 405, P2P_OPP_E_METHOD, "this takes POST only");
		return;
	}
	switch (gw_gossip_serve(s->gw->gossip, https_exchange_hit(x), body, len, &answer, &len)) {
	case 0:
		https_reply(x, 200, 0, answer, len);
		return;
	case EBADMSG:
	case EMSGSIZE:
		reply_error(x, 400, P2P_OPP_E_BADREQUEST, "no such body");
		return;
	default:
		reply_error(x, 503, P2P_OPP_E_BUSY, "no answer");
	}
}

/* GET: those from a number on; POST: here are some. */
static void reply_revocations(struct gw_serve *s, struct https_exchange *x, uint32_t number)
{
	const char *method = https_exchange_method(x);
	struct p2p_opp_revocations said, out;
	char text[P2P_OPP_BODY_MAX];
	size_t len;
	const char *body = https_exchange_body(x, &len);

	if (!strcmp(method, "POST") && !number) {
		if (p2p_opp_revocations_decode(&said, body, len) ||
		    gw_rotation_told(s->gw->rotation, https_exchange_hit(x), &said)) {
			reply_error(x, 400, P2P_OPP_E_BADREQUEST, "no such body");
			return;
		}
		number = UINT32_MAX; /* the count is the answer */
	} else if (strcmp(method, "GET") || !number) {
		reply_error(x, 405, P2P_OPP_E_METHOD, "GET takes a number, POST none");
		return;
	}
	gw_rotation_list(s->gw->rotation, number, &out);
	if (p2p_opp_revocations_encode(&out, text, sizeof(text), &len))
		reply_error(x, 503, P2P_OPP_E_BUSY, "no list");
	else
		https_reply(x, 200, 0, text, len);
}

static void reply_secret(struct gw_serve *s, struct https_exchange *x)
{
	const struct gw *gw = s->gw;
	struct p2p_opp_secret secret = {.generation = gw->secrets.e[0].generation,
					.len = (uint8_t)gw->secret.len};
	char text[512];
	size_t len;

	memcpy(secret.b, gw->secret.b, gw->secret.len);
	if (p2p_opp_secret_encode(&secret, text, sizeof(text), &len))
		reply_error(x, 503, P2P_OPP_E_BUSY, "no secret");
	else
		https_reply(x, 200, 0, text, len);
	OPENSSL_cleanse(&secret, sizeof(secret));
	OPENSSL_cleanse(text, sizeof(text));
}

/* User records that this gateway holds, or wants to know of. */
static void reply_records(struct gw_serve *s, struct https_exchange *x,
			  const struct p2p_opp_path *path)
{
	char *text = NULL;
	size_t len, bodylen;
	const char *body = https_exchange_body(x, &bodylen);
	int err;

	if (strcmp(https_exchange_method(x), "POST")) {
		reply_error(x, 405, P2P_OPP_E_METHOD, "this takes POST only");
		return;
	}
	err = gw_serve_records(s->gw, path, https_exchange_hit(x), body, bodylen, &text, &len);
	if (!err)
		https_reply(x, 200, 0, text, len);
	else if (err == ENOMEM)
		reply_error(x, 503, P2P_OPP_E_BUSY, "no memory");
	else
		reply_error(x, 400, P2P_OPP_E_BADREQUEST, "no such body");
	free(text);
}

/* How many revocations does the caller know? */
static void heard(struct gw_serve *s, struct https_exchange *x)
{
	const char *text = https_exchange_header(x, P2P_OPP_KNOWN_HEADER);
	uint32_t ours;
	uint64_t n;

	s->behind = false;
	if (!s->gw->enrolled || !text || p2p_u64_parse(&n, text, strlen(text)) ||
	    n > P2P_REVOCATIONS_MAX)
		return;
	ours = gw_revocations_count(s->gw->members);
	s->behind = n > ours || gw_rotation_behind(s->gw->rotation);
	gw_rotation_heard(s->gw->rotation, https_exchange_hit(x), (uint32_t)n);
}

/* What a certificate has to be, each request is judged by: so there is a line for each refusal, and
 * whoever is not a member yet can ask to be let in. */
static bool anybody(X509 *cert, const struct p2p_hit *hit, void *arg)
{
	(void)cert;
	(void)hit;
	(void)arg;
	return true;
}

static void on_request(struct https_exchange *x, void *arg)
{
	struct gw_serve *s = arg;
	struct gw *gw = s->gw;
	const char *uri = https_exchange_path(x);
	struct p2p_opp_path path;
	char text[P2P_HIT_TEXT_MAX];
	int err = p2p_opp_path_parse(&path, uri, strlen(uri));

	if (!err && path.resource == P2P_OPP_MEMBERS)
		gw->metrics.exchanges_served++;
	else
		gw->metrics.asked++;
	if (!err && memcmp(&path.overlay, &gw->overlay, sizeof(path.overlay))) {
		gw->metrics.asked_strangers++;
		p2p_hit_print(https_exchange_hit(x), text);
		gw_warn_source(gw, https_exchange_hit(x), sizeof(struct p2p_hit),
			       "gateway of %s is refused: it asks for another overlay", text);
		reply_error(x, 404, P2P_OPP_E_OVERLAY, "this peer is not of that overlay");
		return;
	}
	/* who is let in is none yet */
	if (!err && gw->enrolled && path.resource == P2P_OPP_ENROLMENT) {
		reply_enrolment(s, x);
		return;
	}
	/* before anything is told, and whatever is asked for */
	if (gw->enrolled ? !certified(s, x) : !proven(s, x)) {
		reply_error(x, 403, P2P_OPP_E_MEMBER, "no proof of membership");
		return;
	}
	heard(s, x);
	gw_asks_heard(gw->asks, https_exchange_hit(x));
	if (err == EPROTONOSUPPORT) {
		reply_error(x, 404, P2P_OPP_E_VERSION, "this version is not spoken here");
	} else if (err) {
		reply_error(x, 404, P2P_OPP_E_NOTFOUND, "no such resource");
	} else if (path.resource == P2P_OPP_SESSION) {
		reply_session(s, x, path.session);
	} else if (gw_serve_is_records(&path)) {
		reply_records(s, x, &path);
	} else if (path.resource == P2P_OPP_USERS) {
		reply_users(s, x);
	} else if (path.resource == P2P_OPP_MEMBERS) {
		reply_members(s, x);
	} else if (path.resource == P2P_OPP_REVOCATIONS && gw->enrolled) {
		reply_revocations(s, x, path.number);
	} else if (strcmp(https_exchange_method(x), "GET")) {
		reply_error(x, 405, P2P_OPP_E_METHOD, "this takes GET only");
	} else if (path.resource == P2P_OPP_PEER) {
		reply_peer(s, x);
	} else if (path.resource == P2P_OPP_USER) {
		reply_user(s, x, &path.key);
	} else if (path.resource == P2P_OPP_SECRET && gw->enrolled) {
		reply_secret(s, x);
	} else {
		reply_error(x, 404, P2P_OPP_E_NOTFOUND, "no such resource");
	}
}

static void address_print(const struct sockaddr_storage *ss, char text[80])
{
	char host[INET6_ADDRSTRLEN];

	if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(text, 80, "[%s]:%u", host, ntohs(in6->sin6_port));
	} else {
		const struct sockaddr_in *in = (const struct sockaddr_in *)ss;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(text, 80, "%s:%u", host, ntohs(in->sin_port));
	}
}

static void addresses(struct gw_serve *s)
{
	const struct gw_settings *set = s->gw->settings;
	char text[80];

	for (size_t i = 0; i < set->peers_listen.n && s->n_listen < GW_PEERS_LISTEN_MAX; i++)
		if (!gw_settings_listen(set->peers_listen.v[i], &s->listen[s->n_listen]))
			s->n_listen++;
	if (set->peers_listen.n || !strcmp(set->backend, "memory"))
		return;
	if (*set->bind4 && !gw_settings_listen(set->bind4, &s->listen[s->n_listen]))
		s->n_listen++;
	snprintf(text, sizeof(text), "[%s]", set->bind6);
	if (*set->bind6 && !gw_settings_listen(text, &s->listen[s->n_listen]))
		s->n_listen++;
}

int gw_serve_new(struct gw_serve **sp, struct gw *gw, char *err, size_t errlen)
{
	const struct gw_settings *set = gw->settings;
	struct gw_serve *s = calloc(1, sizeof(*s));
	struct https_server_config config = {
		.identity = *gw->tls,
		.connections_max = (unsigned int)set->peer_connections_max,
		.connections_per_address = (unsigned int)set->peer_connections_per_address,
		.requests_per_s = (unsigned int)set->peer_requests_per_s,
		.handshake_ms = (unsigned int)set->peer_handshake_ms,
		.idle_ms = (unsigned int)set->peer_idle_s * 1000,
		.body_max = P2P_OPP_BULK_MAX,
		.headers_max = HEADERS_MAX,
		.check = gw->enrolled ? anybody : NULL,
		.h = on_request,
		.arg = s,
	};
	int ret;

	snprintf(err, errlen, "no memory");
	if (!s)
		return ENOMEM;
	s->gw = gw;
	if (set->peers_enabled)
		addresses(s);
	if (!s->n_listen) {
		*sp = s;
		return 0;
	}
	ret = https_server_new(&s->server, gw->base, &config);
	if (ret)
		snprintf(err, errlen, "[peers]: %s", strerror(ret));
	for (unsigned int i = 0; !ret && i < s->n_listen; i++) {
		char text[80];

		address_print(&s->listen[i], text);
		ret = https_server_listen(s->server, text, NULL);
		if (ret)
			snprintf(err, errlen, "[peers] listen at %s: %s", text, strerror(ret));
		else
			p2p_log(gw->log, P2P_LOG_INFO, "other gateways are listened to at %s",
				text);
	}
	if (ret) {
		gw_serve_free(s);
		return ret;
	}
	*sp = s;
	return 0;
}

void gw_serve_free(struct gw_serve *s)
{
	if (!s)
		return;
	https_server_free(s->server);
	free(s);
}

static void locator_add(struct p2p_record *rec, uint8_t family, const void *addr, uint16_t port)
{
	struct p2p_locator l = {.service = P2P_SERVICE_GATEWAY,
				.transports = P2P_TRANSPORT_TLS,
				.family = family,
				.port = port};

	memcpy(l.addr, addr, family == 4 ? 4 : 16);
	for (unsigned int i = 0; i < rec->n_locators; i++)
		if (!memcmp(&rec->locator[i], &l, sizeof(l)))
			return;
	if (rec->n_locators < P2P_LOCATORS_MAX)
		rec->locator[rec->n_locators++] = l;
}

bool gw_serve_listens(const struct gw_serve *s)
{
	return s && s->server;
}

void gw_serve_locators(const struct gw_serve *s, struct p2p_record *rec)
{
	unsigned int n = rec->n_locators;

	for (unsigned int i = 0; s && i < s->n_listen; i++) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&s->listen[i];
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&s->listen[i];
		uint8_t family = s->listen[i].ss_family == AF_INET ? 4 : 6;
		uint16_t port = ntohs(family == 4 ? in->sin_port : in6->sin6_port);

		if (family == 4 ? in->sin_addr.s_addr != INADDR_ANY
				: !IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr)) {
			locator_add(rec, family,
				    family == 4 ? (const void *)&in->sin_addr : &in6->sin6_addr,
				    port);
			continue;
		}
		for (unsigned int j = 0; j < n; j++)
			if (rec->locator[j].service == P2P_SERVICE_SIP &&
			    rec->locator[j].family == family)
				locator_add(rec, family, rec->locator[j].addr, port);
	}
}

bool gw_serve_is(const struct gw_serve *s, const struct p2p_locator *at)
{
	struct p2p_record rec = {.n_locators = 0};

	gw_serve_locators(s, &rec);
	for (unsigned int i = 0; i < rec.n_locators; i++)
		if (rec.locator[i].family == at->family && rec.locator[i].port == at->port &&
		    !memcmp(rec.locator[i].addr, at->addr, sizeof(at->addr)))
			return true;
	return false;
}

void gw_serve_identity(struct gw_serve *s)
{
	if (s && s->server && https_server_identity(s->server, s->gw->tls))
		p2p_log(s->gw->log, P2P_LOG_ERR, "the new certificate cannot be shown");
}

void gw_serve_stats(const struct gw_serve *s, struct https_server_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	if (s && s->server)
		https_server_stats(s->server, stats);
}
