/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/peers/gateway_ask.h"
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/gateway_load.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "lib/io/https_client.h"
#include "lib/proto/opp_records.h"

/* A probe may take longer than a call may wait. */
#define PROBE_MS 2000
/* Peers that nobody asks about any more are not probed for longer. */
#define PROBE_UNWANTED_MS 600000
/* Questions under way, all in all and to one peer. */
#define ASKS_MAX 4096
#define ASKS_PER_PEER 256
/* Who is being told of an answer is not put out by those who come meanwhile. */
#define PEERS_SPARE 64
#define HEADERS_MAX 8192
#define HOLD_MAX_S 30
/* Our side lets go of an idle connection first, so that no question meets one that is being closed.
 */
#define IDLE_SHARE(s) ((s)*3 / 4)

struct gw_ask {
	struct asked *peer;
	struct gw_ask *prev, *next;
	struct https_request *request;
	uint64_t began_ms; /* mono */
	uint64_t lost_ms;  /* gw_load_lost_ms() by then */
	bool goes_on;	   /* about what there may not be: that it is not is an answer */
	bool any;	   /* about enrolment: whatever it says is an answer */
	int (*read)(const char *body, size_t len, void *arg);
	gw_answer_h *h;
	void *arg;
	/* of a user */
	gw_ask_h *user_h;
	void *user_arg;
	struct p2p_opp_user user;
};

/* A peer that was asked. */
struct asked {
	struct gw_asks *all;
	struct p2p_hit hit;
	struct sockaddr_storage addr; /* where it was asked last */
	struct p2p_breaker breaker;
	struct event *timer; /* of the next probe */
	struct https_request *probe;
	uint64_t probe_ms, probe_lost_ms; /* as of gw_ask */
	struct gw_ask *asks;
	unsigned int n_asks;
	uint64_t wanted_ms, answered_ms, heard_ms, hold_ms; /* mono; heard: it has asked us */
	uint32_t took_us;
	int err; /* of the last failure, and why */
	char why[160];
	enum gw_cert_fault fault; /* of the certificate that it showed last */
};

struct gw_asks {
	struct gw *gw;
	struct gw_map *map;
	struct https_client *client; /* NULL: not enabled */
	unsigned int n_asks, broken;
};

static uint32_t random32(void)
{
	uint32_t r = 0;

	gw_crypto_random(&r, sizeof(r));
	return r;
}

static void ask_unlink(struct gw_ask *ask)
{
	struct asked *p = ask->peer;

	if (ask->prev)
		ask->prev->next = ask->next;
	else
		p->asks = ask->next;
	if (ask->next)
		ask->next->prev = ask->prev;
	p->n_asks--;
	p->all->n_asks--;
}

static void ask_end(struct gw_ask *ask, const struct gw_answer *answer)
{
	if (ask->request)
		https_client_cancel(ask->request);
	ask->request = NULL;
	ask_unlink(ask);
	ask->h(answer, ask->arg);
	free(ask);
}

void gw_ask_cancel(struct gw_ask *ask)
{
	https_client_cancel(ask->request);
	ask_unlink(ask);
	free(ask);
}

static void asked_drop(void *value, void *arg)
{
	struct asked *p = value;

	(void)arg;
	while (p->asks)
		ask_end(p->asks, &(struct gw_answer){.err = ECANCELED, .text = "forgotten"});
	if (p->probe)
		https_client_cancel(p->probe);
	if (!p2p_breaker_allows(&p->breaker))
		p->all->broken--;
	event_free(p->timer);
	free(p);
}

static void probe_arm(struct asked *p)
{
	uint64_t due = p2p_breaker_due(&p->breaker), now = gw_mono(p->all->gw);

	if (due != UINT64_MAX && now - p->wanted_ms < PROBE_UNWANTED_MS)
		gw_timer_set(p->timer, due > now ? due - now : 0);
}

static void answered(struct asked *p, uint32_t took_us)
{
	struct gw *gw = p->all->gw;
	char text[P2P_HIT_TEXT_MAX];

	p->answered_ms = gw_mono(gw);
	p->took_us = took_us;
	if (!p2p_breaker_ok(&p->breaker))
		return;
	p->all->broken--;
	event_del(p->timer);
	p2p_hit_print(&p->hit, text);
	p2p_log(gw->log, P2P_LOG_INFO, "gateway of %s answers again", text);
}

/* What is under way to it ends as well: it would only wait for the same. */
static void failed(struct asked *p, int err, const char *why)
{
	struct gw *gw = p->all->gw;
	char text[P2P_HIT_TEXT_MAX];

	p->err = err;
	snprintf(p->why, sizeof(p->why), "%s", why);

	if (!p2p_breaker_fail(&p->breaker, gw_mono(gw), random32()))
		return;
	p->all->broken++;
	gw->metrics.breaker_opened++;
	probe_arm(p);
	p2p_hit_print(&p->hit, text);
	gw_warn_source(gw, &p->hit, sizeof(p->hit), "gateway of %s is not asked for a while: %s",
		       text, why);
	while (p->asks)
		ask_end(p->asks, &(struct gw_answer){.err = ETIMEDOUT, .text = why});
}

/* What is wrong with an answer; 0: nothing. EEXIST: *error is the answer. EBUSY: it only wants to
 * be left alone. */
static int judge(struct asked *p, const struct https_answer *a, bool goes_on, bool any,
		 struct p2p_opp_error *error, char *why, size_t len)
{
	if (a->err == EPERM && p->fault) {
		snprintf(why, len, "%s", gw_cert_fault_text(p->fault));
		return EPERM;
	}
	if (a->err) {
		snprintf(why, len, "%s%s",
			 a->err == EPERM ? "who answers there does not have this peer's key: " : "",
			 a->text);
		return a->err;
	}
	if (a->status == 200)
		return 0;
	if (p2p_opp_error_decode(error, a->body, a->len)) {
		snprintf(why, len, "status %d without a reason", a->status);
		return EPROTO;
	}
	snprintf(why, len, "status %d, %s: %s", a->status, p2p_opp_error_text(error->code),
		 error->reason);
	if (a->status == 503 && error->code == P2P_OPP_E_BUSY) {
		unsigned int s = a->retry_after_s < HOLD_MAX_S ? a->retry_after_s : HOLD_MAX_S;

		p->hold_ms = gw_mono(p->all->gw) + s * 1000ull;
		return EBUSY;
	}
	if (any ||
	    (a->status == 409 &&
	     (error->code == P2P_OPP_E_REPLAY || error->code == P2P_OPP_E_INUSE)) ||
	    (a->status == 406 && error->code == P2P_OPP_E_NOCOMMON) ||
	    (a->status == 404 && error->code == P2P_OPP_E_NOTFOUND && goes_on))
		return EEXIST;
	return a->status == 403 ? EACCES : EPROTO;
}

void gw_asks_count(struct gw *gw, int err, const struct p2p_opp_user *user)
{
	struct gw_metrics *m = &gw->metrics;

	if (err == ETIMEDOUT) {
		m->asks_timeout++;
	} else if (err) {
		m->asks_failed++;
	} else {
		switch (user->presence) {
		case P2P_OPP_YES:
			m->asks_yes++;
			break;
		case P2P_OPP_ORPHAN:
			m->asks_orphan++;
			break;
		case P2P_OPP_MOVED:
			m->asks_moved++;
			break;
		case P2P_OPP_NO:
			m->asks_no++;
		}
	}
}

static void on_answer(const struct https_answer *a, void *arg)
{
	struct gw_ask *ask = arg;
	struct asked *p = ask->peer;
	struct p2p_opp_error error;
	char why[256] = "";
	int err = judge(p, a, ask->goes_on, ask->any, &error, why, sizeof(why));
	struct gw_answer answer = {.err = err, .error = err == EEXIST ? &error : NULL, .text = why};

	ask->request = NULL;
	answer.ours = err == ETIMEDOUT && gw_load_is_ours(p->all->gw->load, ask->lost_ms,
							  gw_mono(p->all->gw) - ask->began_ms);
	if (!err && ask->read(a->body, a->len, ask->arg)) {
		snprintf(why, sizeof(why), "it answers rubbish");
		answer.err = err = EPROTO;
	}
	if (!err || err == EBUSY || err == EEXIST) {
		answered(p, a->took_us);
		ask_end(ask, &answer);
		return;
	}
	/* too many questions for its connections: it does answer; or we do not come to read that;
	 * or it is late, for over a connection that stands it asks us all the while */
	if (err == ETIMEDOUT && (p->answered_ms >= ask->began_ms || answer.ours ||
				 (a->reused && p->heard_ms >= ask->began_ms))) {
		ask_end(ask, &answer);
		return;
	}
	/* this one is told why, the others that it is of no use to wait */
	ask_unlink(ask);
	failed(p, err, why);
	ask->h(&answer, ask->arg);
	free(ask);
}

/* --- probes ------------------------------------------------------------------------------------
 */

static int send_question(struct asked *p, const struct gw_question *q, uint64_t deadline_ms,
			 https_answer_h *h, void *arg, struct https_request **out)
{
	struct gw *gw = p->all->gw;
	char text[P2P_OPP_PATH_MAX], proof[P2P_OPP_MEMBER_MAX];
	char header[sizeof(P2P_OPP_MEMBER_HEADER) + 2 + P2P_OPP_MEMBER_MAX];
	int err;

	if (gw->enrolled) {
		snprintf(header, sizeof(header), "%s: %u", P2P_OPP_KNOWN_HEADER,
			 gw_revocations_count(gw->members));
	} else {
		err = p2p_opp_member_make(proof, gw->secret.b, gw->secret.len, &gw->overlay,
					  &gw->hit, &p->hit, gw_wall(gw), gw->crypto);
		if (err)
			return err;
		snprintf(header, sizeof(header), "%s: %s", P2P_OPP_MEMBER_HEADER, proof);
	}
	p2p_opp_path_print(q->path, text);
	return https_client_ask(
		p->all->client, &p->hit, (struct sockaddr *)&p->addr,
		&(struct https_ask){
			.method = q->method,
			.path = text,
			.header = {header, q->final ? P2P_OPP_FINAL_HEADER ": yes" : NULL},
			.body = q->body,
			.len = q->len},
		deadline_ms, h, arg, out);
}

static void on_probed(const struct https_answer *a, void *arg)
{
	struct asked *p = arg;
	struct gw *gw = p->all->gw;
	struct p2p_opp_error error;
	struct p2p_opp_peer peer;
	unsigned int version;
	char why[256];

	p->probe = NULL;
	switch (judge(p, a, false, false, &error, why, sizeof(why))) {
	case 0:
		if (p2p_opp_peer_decode(&peer, a->body, a->len) ||
		    p2p_hit_cmp(&peer.hit, &p->hit) ||
		    memcmp(&peer.overlay, &gw->overlay, sizeof(peer.overlay)) ||
		    p2p_opp_version_choose(peer.version, peer.n_versions, &version))
			break;
		answered(p, a->took_us);
		return;
	case EBUSY:
		answered(p, a->took_us);
		return;
	case ETIMEDOUT:
		if (gw_load_is_ours(gw->load, p->probe_lost_ms, gw_mono(gw) - p->probe_ms)) {
			p2p_breaker_probe_void(&p->breaker, gw_mono(gw));
			probe_arm(p);
			return;
		}
		break;
	default:
		break;
	}
	p2p_breaker_probe_fail(&p->breaker, gw_mono(gw), random32());
	probe_arm(p);
}

static void on_probe_due(evutil_socket_t fd, short what, void *arg)
{
	struct asked *p = arg;
	struct gw *gw = p->all->gw;
	struct p2p_opp_path path = {
		.version = P2P_OPP_VERSION, .overlay = gw->overlay, .resource = P2P_OPP_PEER};

	(void)fd;
	(void)what;
	if (p->probe || !p2p_breaker_probe(&p->breaker, gw_mono(gw))) {
		probe_arm(p);
		return;
	}
	gw->metrics.probes++;
	p->probe_ms = gw_mono(gw);
	p->probe_lost_ms = gw_load_lost_ms(gw->load);
	if (send_question(p, &(struct gw_question){.method = "GET", .path = &path}, PROBE_MS,
			  on_probed, p, &p->probe)) {
		p->probe = NULL;
		p2p_breaker_probe_fail(&p->breaker, gw_mono(gw), random32());
		probe_arm(p);
	}
}

/* --- questions ---------------------------------------------------------------------------------
 */

static struct asked *asked_of(struct gw_asks *a, const struct p2p_hit *hit)
{
	struct asked *p = gw_map_get(a->map, hit, sizeof(*hit));

	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->all = a;
	p->hit = *hit;
	p->timer = event_new(a->gw->base, -1, 0, on_probe_due, p);
	if (!p->timer || gw_map_put(a->map, hit, sizeof(*hit), p)) {
		if (p->timer)
			event_free(p->timer);
		free(p);
		return NULL;
	}
	return p;
}

static void sockaddr_of(const struct p2p_locator *l, struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof(*ss));
	if (l->family == 4) {
		struct sockaddr_in *in = (struct sockaddr_in *)ss;

		in->sin_family = AF_INET;
		in->sin_port = htons(l->port);
		memcpy(&in->sin_addr, l->addr, 4);
	} else {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(l->port);
		memcpy(&in6->sin6_addr, l->addr, 16);
	}
}

/* The first of a family that our DHT node speaks; else the first. */
static const struct p2p_locator *choose(const struct gw *gw, const struct p2p_locator *l,
					unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (l[i].family == 4 ? *gw->settings->bind4 : *gw->settings->bind6)
			return &l[i];
	return n ? &l[0] : NULL;
}

static int ask_begin(struct gw_asks *a, const struct p2p_hit *hit,
		     const struct p2p_locator *gateway, unsigned int n, const struct gw_question *q,
		     uint64_t deadline_ms, struct gw_ask *ask)
{
	struct gw *gw = a->gw;
	const struct p2p_locator *l = choose(gw, gateway, n);
	struct asked *p;
	int err;

	if (!a->client)
		return ENOENT;
	p = l ? asked_of(a, hit) : gw_map_get(a->map, hit, sizeof(*hit));
	if (!p)
		return l ? ENOMEM : ENOENT;
	p->wanted_ms = gw_mono(gw);
	if (l)
		sockaddr_of(l, &p->addr);
	/* A peer that refuses us, for our certificate has expired, refuses our probes, too; and is
	 * the one to ask for another. Such questions are rare, and no call waits for them. Members
	 * find out by asking whether another one lives. */
	ask->any = q->path->resource == P2P_OPP_ENROLMENT || q->path->resource == P2P_OPP_MEMBERS ||
		   q->path->resource == P2P_OPP_REVOCATIONS || q->path->resource == P2P_OPP_SECRET;
	if (!ask->any && !p2p_breaker_allows(&p->breaker)) {
		if (!p->probe && !event_pending(p->timer, EV_TIMEOUT, NULL))
			probe_arm(p);
		gw->metrics.asks_not_asked++;
		return EBUSY;
	}
	if (a->n_asks >= ASKS_MAX || p->n_asks >= ASKS_PER_PEER ||
	    (p->wanted_ms < p->hold_ms && q->path->resource != P2P_OPP_MEMBERS)) {
		gw->metrics.asks_not_asked++;
		return EBUSY;
	}
	ask->goes_on = (q->path->resource == P2P_OPP_SESSION && strcmp(q->method, "PUT")) ||
		       q->path->resource == P2P_OPP_USERS;
	err = send_question(p, q, deadline_ms, on_answer, ask, &ask->request);
	if (err)
		return err;
	ask->peer = p;
	ask->began_ms = p->wanted_ms;
	ask->lost_ms = gw_load_lost_ms(gw->load);
	ask->next = p->asks;
	if (ask->next)
		ask->next->prev = ask;
	p->asks = ask;
	p->n_asks++;
	a->n_asks++;
	return 0;
}

int gw_asks_question(struct gw_asks *a, const struct p2p_hit *hit,
		     const struct p2p_locator *gateway, unsigned int n,
		     const struct gw_question *question, uint64_t deadline_ms, gw_answer_h *h,
		     void *arg, struct gw_ask **out)
{
	struct gw_ask *ask = calloc(1, sizeof(*ask));
	int err;

	if (!ask)
		return ENOMEM;
	ask->read = question->read;
	ask->h = h;
	ask->arg = arg;
	err = ask_begin(a, hit, gateway, n, question, deadline_ms, ask);
	if (err)
		free(ask);
	else
		*out = ask;
	return err;
}

void gw_asks_heard(struct gw_asks *a, const struct p2p_hit *hit)
{
	struct asked *p = a ? gw_map_peek(a->map, hit, sizeof(*hit)) : NULL;

	if (p)
		p->heard_ms = gw_mono(a->gw);
}

void gw_asks_sign(struct gw_asks *a, const struct p2p_hit *hit)
{
	struct asked *p = a && a->broken ? gw_map_peek(a->map, hit, sizeof(*hit)) : NULL;

	if (!p || p2p_breaker_allows(&p->breaker))
		return;
	if (p2p_breaker_sign(&p->breaker, gw_mono(a->gw))) {
		a->broken--;
		event_del(p->timer);
	} else if (!p->probe) {
		probe_arm(p);
	}
}

const char *gw_asks_why(const struct gw_asks *a, const struct p2p_hit *hit, int *err)
{
	const struct asked *p = gw_map_peek(a->map, hit, sizeof(*hit));

	*err = 0;
	if (!p)
		return "";
	if (!p2p_breaker_allows(&p->breaker)) {
		*err = p->err;
		return p->why;
	}
	if (gw_mono(a->gw) < p->hold_ms) {
		*err = EBUSY;
		return "it has too much to do";
	}
	return "";
}

static int read_user(const char *body, size_t len, void *arg)
{
	struct gw_ask *ask = arg;

	return p2p_opp_user_decode(&ask->user, body, len);
}

static void on_user(const struct gw_answer *answer, void *arg)
{
	struct gw_ask *ask = arg;

	gw_asks_count(ask->peer->all->gw, answer->err, &ask->user);
	ask->user_h(answer->err, answer->err ? NULL : &ask->user, ask->user_arg);
}

int gw_asks_user(struct gw_asks *a, const struct p2p_hit *hit, const struct p2p_locator *gateway,
		 unsigned int n, const struct p2p_key *key, uint64_t deadline_ms, gw_ask_h *h,
		 void *arg, struct gw_ask **out)
{
	struct p2p_opp_path path = {.version = P2P_OPP_VERSION,
				    .overlay = a->gw->overlay,
				    .resource = P2P_OPP_USER,
				    .key = *key};
	struct gw_ask *ask;
	int err;

	if (!n)
		return ENOENT;
	ask = calloc(1, sizeof(*ask));
	if (!ask)
		return ENOMEM;
	ask->read = read_user;
	ask->h = on_user;
	ask->arg = ask;
	ask->user_h = h;
	ask->user_arg = arg;
	err = ask_begin(a, hit, gateway, n, &(struct gw_question){.method = "GET", .path = &path},
			deadline_ms, ask);
	if (err)
		free(ask);
	else
		*out = ask;
	return err;
}

/* --- who is there? -----------------------------------------------------------------------------
 */

struct gw_identify {
	struct https_request *request;
	gw_identify_h *h;
	void *arg;
};

static void on_identified(const struct https_answer *answer, void *arg)
{
	struct gw_identify *i = arg, copy = *i;

	free(i);
	copy.h(answer->identified ? 0 : answer->err, &answer->hit, answer->text, copy.arg);
}

int gw_asks_identify(struct gw_asks *a, const struct p2p_locator *at, uint64_t deadline_ms,
		     gw_identify_h *h, void *arg, struct gw_identify **out)
{
	struct sockaddr_storage ss;
	struct gw_identify *i;
	int err;

	if (!a->client)
		return ENOENT;
	i = calloc(1, sizeof(*i));
	if (!i)
		return ENOMEM;
	i->h = h;
	i->arg = arg;
	sockaddr_of(at, &ss);
	err = https_client_identify(a->client, (struct sockaddr *)&ss, deadline_ms, on_identified,
				    i, &i->request);
	if (err)
		free(i);
	else
		*out = i;
	return err;
}

void gw_asks_identify_cancel(struct gw_identify *i)
{
	https_client_cancel(i->request);
	free(i);
}

void gw_asks_info(const struct gw_asks *a, const struct p2p_hit *hit, struct gw_ask_info *info)
{
	const struct asked *p = a ? gw_map_peek(a->map, hit, sizeof(*hit)) : NULL;

	memset(info, 0, sizeof(*info));
	if (!p)
		return;
	*info = (struct gw_ask_info){
		.known = true,
		.breaker = p->breaker.state,
		.failures = p->breaker.failures,
		.answered = p->answered_ms != 0,
		.answer_age_ms = p->answered_ms ? gw_mono(a->gw) - p->answered_ms : 0,
		.took_us = p->took_us,
		.asking = p->n_asks,
	};
}

void gw_asks_identity(struct gw_asks *a)
{
	if (a && a->client)
		https_client_identity(a->client, a->gw->tls);
}

void gw_asks_stats(const struct gw_asks *a, struct https_client_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	if (a && a->client)
		https_client_stats(a->client, stats);
}

unsigned int gw_asks_broken(const struct gw_asks *a)
{
	return a ? a->broken : 0;
}

/* In a handshake, of the peer that we want to ask. */
static bool on_certificate(X509 *cert, const struct p2p_hit *hit, void *arg)
{
	struct gw_asks *a = arg;
	struct asked *p = gw_map_peek(a->map, hit, sizeof(*hit));
	enum gw_cert_fault fault = gw_member_check(a->gw, cert, hit);
	char text[P2P_HIT_TEXT_MAX];

	if (p)
		p->fault = fault;
	if (!fault)
		return true;
	p2p_hit_print(hit, text);
	gw_warn_source(a->gw, hit, sizeof(*hit), "gateway of %s is refused: %s", text,
		       gw_cert_fault_text(fault));
	return false;
}

int gw_asks_new(struct gw_asks **ap, struct gw *gw)
{
	const struct gw_settings *s = gw->settings;
	struct https_client_config config = {
		.identity = *gw->tls,
		.idle_max = (unsigned int)s->peer_idle_connections_max,
		.connections_per_peer = (unsigned int)s->peer_connections_each,
		.requests_max = ASKS_MAX + 256,
		.idle_s = (unsigned int)IDLE_SHARE(s->peer_idle_s),
		.body_max = P2P_OPP_BULK_MAX,
		.headers_max = HEADERS_MAX,
		.check = gw->enrolled ? on_certificate : NULL,
	};
	struct gw_asks *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return ENOMEM;
	a->gw = gw;
	config.arg = a;
	err = gw_map_new(&a->map, (size_t)s->peers_max + PEERS_SPARE, true, asked_drop, NULL);
	if (!err && s->peers_enabled)
		err = https_client_new(&a->client, gw->base, &config);
	if (err) {
		gw_asks_free(a);
		return err;
	}
	*ap = a;
	return 0;
}

void gw_asks_free(struct gw_asks *a)
{
	if (!a)
		return;
	if (a->map)
		gw_map_free(a->map);
	https_client_free(a->client);
	free(a);
}
