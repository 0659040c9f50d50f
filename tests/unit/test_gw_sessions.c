/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sessions between gateways, over loopback: opened, used, renewed, closed; and all that goes wrong.
 */
#include "tests/unit/test.h"
#include "tests/unit/test_gw_world.h"
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/peers/gateway_session.h"
#include "dht-gateway/location/gateway_users.h"
#include "lib/base/bytes.h"
#include "lib/io/https_client.h"
#include "lib/io/https_server.h"

#define UDP(port) "sip:127.0.0.1:" #port ";transport=udp"
#define TCP(port) "sip:127.0.0.1:" #port ";transport=tcp"

static struct gw_sessions *of(struct world *w, unsigned int i)
{
	return w->p[i].gw->sessions;
}

static unsigned int count(struct world *w, unsigned int i)
{
	struct gw_metrics m = {0};

	gw_sessions_metrics(of(w, i), &m);
	return (unsigned int)(m.sessions_initiator + m.sessions_responder);
}

/* Until peer i has n sessions. */
static void until(struct world *w, unsigned int i, unsigned int n, unsigned int ms)
{
	for (unsigned int t = 0; t < ms && count(w, i) != n; t += 10)
		run_for(w, 10);
	assert_int_equal(count(w, i), n);
}

static struct p2p_session find(struct world *w, unsigned int i, const struct p2p_session_id *id)
{
	struct p2p_session s;
	bool retiring;

	assert_ok(gw_session_find(of(w, i), id, &s, &retiring));
	return s;
}

static bool knows(struct world *w, unsigned int i, const struct p2p_session_id *id)
{
	struct p2p_session s;
	bool retiring;

	return !gw_session_find(of(w, i), id, &s, &retiring);
}

static bool retired(struct world *w, unsigned int i, const struct p2p_session_id *id)
{
	struct p2p_session s;
	bool retiring = false;

	return !gw_session_find(of(w, i), id, &s, &retiring) && retiring;
}

static void until_retired(struct world *w, unsigned int i, const struct p2p_session_id *id,
			  unsigned int ms)
{
	for (unsigned int t = 0; t < ms && !retired(w, i, id); t += 10)
		run_for(w, 10);
	assert_true(retired(w, i, id));
}

/* A session of peer 0 with peer 1, by a ROUTE. */
static struct p2p_session open_one(struct world *w, const char *name)
{
	struct routed r;

	serve(w, 1, name);
	r = route(w, 0, name, true);
	assert_at(&r, w, 1);
	assert_int_equal(r.session[0].outcome, GW_SESSION_OPEN);
	return r.session[0].session;
}

/* [sessions] of all peers, as after a reload. */
static void times(struct world *w, int64_t lifetime_s, int64_t linger_s)
{
	for (unsigned int i = 0; i < PEERS; i++) {
		if (!w->p[i].core)
			continue;
		w->p[i].settings.session_lifetime_s = lifetime_s;
		w->p[i].settings.session_linger_s = linger_s;
		gw_sessions_reconsider(of(w, i));
	}
}

static void say(char **setting, const char *value)
{
	free(*setting);
	*setting = strdup(value);
}

/* --- how it should be --------------------------------------------------------------------------
 */

static void test_opened_by_route(void **state)
{
	struct world *w = *state;
	struct p2p_session here = open_one(w, "alice"), there, again;
	struct routed r;

	there = find(w, 1, &here.id);
	assert_true(here.initiator && !there.initiator);
	assert_ok(p2p_hit_cmp(&here.hit, &w->p[1].gw->hit));
	assert_ok(p2p_hit_cmp(&there.hit, &w->p[0].gw->hit));
	assert_memory_equal(here.key_out, there.key_in, sizeof(here.key_out));
	assert_memory_equal(here.key_in, there.key_out, sizeof(here.key_in));
	assert_memory_not_equal(here.key_in, here.key_out, sizeof(here.key_in));
	assert_int_equal(here.signalling, P2P_SIGNALLING_UDP);
	assert_int_equal(here.family, 4);
	assert_int_equal(here.media, P2P_MEDIA_RTP);
	assert_string_equal(here.uri, UDP(5061));
	assert_string_equal(here.stream_uri, TCP(5061));
	assert_string_equal(there.uri, UDP(5060));
	assert_string_equal(there.stream_uri, TCP(5060));
	assert_in_range(here.ttl_ms, 590000, 600000);
	assert_in_range(there.ttl_ms, 590000, 600000);
	/* the user was asked about in the same breath */
	assert_int_equal(metrics(w, 0)->asks_yes, 1);
	assert_int_equal(metrics(w, 1)->asked, 1);
	assert_int_equal(w->p[0].opens, 1);
	assert_int_equal(w->p[1].opens, 1);
	/* one session for whatever goes between the two, either way */
	w->p[0].settings.ask_fresh_ms = 0;
	r = route(w, 0, "alice", true);
	assert_memory_equal(&r.session[0].session.id, &here.id, sizeof(here.id));
	assert_int_equal(metrics(w, 0)->asks_yes, 2);
	serve(w, 0, "bob");
	r = route(w, 1, "bob", true);
	again = r.session[0].session;
	assert_memory_equal(&again.id, &here.id, sizeof(here.id));
	assert_memory_equal(again.key_out, there.key_out, sizeof(again.key_out));
	assert_int_equal(count(w, 0), 1);
	assert_int_equal(count(w, 1), 1);
	assert_int_equal(metrics(w, 1)->opens_ok, 0);
}

struct answered {
	bool done;
	int err;
	struct gw_session_answer a;
};

static void on_peer(int err, const struct gw_session_answer *a, void *arg)
{
	struct answered *x = arg;

	assert_false(x->done);
	x->done = true;
	x->err = err;
	if (!err)
		x->a = *a;
}

static struct answered peer_session(struct world *w, unsigned int i, const struct p2p_hit *hit)
{
	struct answered x = {0};

	gw_session_peer(of(w, i), hit, 2000, on_peer, &x);
	assert_true(wait_for(w, &x.done, 3000));
	return x;
}

static void test_opened_by_hit(void **state)
{
	struct world *w = *state;
	struct answered x, y = {0}, z = {0};
	struct p2p_hit nobody = w->p[1].gw->hit;

	run_for(w, 100); /* their records are out */
	/* who asks meanwhile waits for the same */
	gw_session_peer(of(w, 0), &w->p[1].gw->hit, 2000, on_peer, &y);
	gw_session_peer(of(w, 0), &w->p[1].gw->hit, 2000, on_peer, &z);
	assert_true(wait_for(w, &y.done, 3000) && wait_for(w, &z.done, 3000));
	assert_ok(y.err);
	assert_int_equal(y.a.outcome, GW_SESSION_OPEN);
	assert_memory_equal(&y.a.session.id, &z.a.session.id, sizeof(y.a.session.id));
	assert_int_equal(metrics(w, 0)->opens_ok, 1);
	/* the other side has it already */
	x = peer_session(w, 1, &w->p[0].gw->hit);
	assert_int_equal(x.a.outcome, GW_SESSION_OPEN);
	assert_memory_equal(&x.a.session.id, &y.a.session.id, sizeof(x.a.session.id));
	assert_int_equal(metrics(w, 1)->opens_ok, 0);
	nobody.b[15] ^= 1;
	assert_int_equal(peer_session(w, 0, &nobody).err, ENOENT);
}

/* Both at once: two sessions, and both sides send with the same of them. */
static void test_both_at_once(void **state)
{
	struct world *w = *state;
	struct answered x = {0}, y = {0};
	struct gw_session_answer a, b;

	run_for(w, 100);
	gw_session_peer(of(w, 0), &w->p[1].gw->hit, 2000, on_peer, &x);
	gw_session_peer(of(w, 1), &w->p[0].gw->hit, 2000, on_peer, &y);
	assert_true(wait_for(w, &x.done, 3000) && wait_for(w, &y.done, 3000));
	assert_int_equal(x.a.outcome, GW_SESSION_OPEN);
	assert_int_equal(y.a.outcome, GW_SESSION_OPEN);
	assert_int_equal(count(w, 0), 2);
	assert_int_equal(count(w, 1), 2);
	assert_ok(gw_session_get(of(w, 0), &w->p[1].gw->hit, &a));
	assert_ok(gw_session_get(of(w, 1), &w->p[0].gw->hit, &b));
	assert_memory_equal(&a.session.id, &b.session.id, sizeof(a.session.id));
	assert_memory_equal(a.session.key_out, b.session.key_in, sizeof(a.session.key_out));
	assert_true(knows(w, 0, &y.a.session.id) && knows(w, 1, &x.a.session.id));
	/* one of them goes: still the same for both */
	assert_ok(gw_session_refused(of(w, 0), &a.session.id));
	until(w, 1, 1, 1000);
	assert_ok(gw_session_get(of(w, 0), &w->p[1].gw->hit, &a));
	assert_ok(gw_session_get(of(w, 1), &w->p[0].gw->hit, &b));
	assert_memory_equal(&a.session.id, &b.session.id, sizeof(a.session.id));
}

/* --- no common ground --------------------------------------------------------------------------
 */

static void test_no_common_ground(void **state)
{
	struct world *w = *state;
	struct routed r;
	unsigned int warns;

	say(&w->p[1].settings.media, "srtp-dtls");
	say(&w->p[0].settings.media, "rtp srtp-sdes");
	serve(w, 1, "alice");
	warns = w->warns;
	r = route(w, 0, "alice", true);
	assert_at(&r, w, 1);
	assert_int_equal(r.session[0].outcome, GW_SESSION_UNCOMMON);
	assert_int_equal(r.session[0].uncommon, P2P_UNCOMMON_MEDIA);
	assert_string_equal(r.session[0].text,
			    "no common media: rtp srtp-sdes here, srtp-dtls there");
	assert_int_equal(w->warns - warns, 2); /* one line each */
	assert_int_equal(count(w, 0) + count(w, 1), 0);
	/* known for a while */
	r = route(w, 0, "alice", true);
	assert_int_equal(r.session[0].outcome, GW_SESSION_UNCOMMON);
	assert_int_equal(metrics(w, 1)->accepts_uncommon, 1);
	/* a user who is not there is not there: that comes first, with the first question and then
	 */
	plant(w, 1, "nobody", w->p[1].port);
	assert_int_equal(route(w, 0, "nobody", true).err, ENOENT);
	gw_sessions_reconsider(of(w, 0));
	plant(w, 1, "noone", w->p[1].port);
	assert_int_equal(route(w, 0, "noone", true).err, ENOENT);
	assert_int_equal(metrics(w, 1)->accepts_uncommon, 2);
	/* signalling */
	say(&w->p[1].settings.media, "rtp");
	say(&w->p[1].settings.signalling, "tls");
	gw_sessions_reconsider(of(w, 0));
	r = route(w, 0, "alice", true);
	assert_int_equal(r.session[0].outcome, GW_SESSION_UNCOMMON);
	assert_int_equal(r.session[0].uncommon, P2P_UNCOMMON_SIGNALLING);
	/* and well again */
	say(&w->p[1].settings.signalling, "tcp");
	gw_sessions_reconsider(of(w, 0));
	r = route(w, 0, "alice", true);
	assert_int_equal(r.session[0].outcome, GW_SESSION_OPEN);
	assert_int_equal(r.session[0].session.signalling, P2P_SIGNALLING_TCP);
	assert_string_equal(r.session[0].session.uri, TCP(5061));
	assert_string_equal(r.session[0].session.stream_uri, "");
}

static void policy_for(struct world *w, unsigned int i, unsigned int peer, const char *what)
{
	struct setting_list *list = &w->p[i].settings.transport_peers;
	char text[160];

	snprintf(text, sizeof(text), "%s %s", w->p[peer].gw->hit_text, what);
	list->v = realloc(list->v, (list->n + 1) * sizeof(*list->v));
	list->v[list->n++] = strdup(text);
}

static void test_policy_for_one_peer(void **state)
{
	struct world *w = *state;
	struct routed r;

	policy_for(w, 0, 1, "signalling=tcp media=srtp-dtls srtp-sdes");
	open_one(w, "alice");
	serve(w, 2, "bob");
	r = route(w, 0, "alice", true);
	assert_int_equal(r.session[0].session.signalling, P2P_SIGNALLING_TCP);
	assert_int_equal(r.session[0].session.media, P2P_MEDIA_DTLS);
	r = route(w, 0, "bob", true);
	assert_int_equal(r.session[0].session.signalling, P2P_SIGNALLING_UDP);
	assert_int_equal(r.session[0].session.media, P2P_MEDIA_RTP);
}

/* --- their life --------------------------------------------------------------------------------
 */

static void test_renewed_while_used(void **state)
{
	struct world *w = *state;
	struct gw_metrics m = {0};
	struct p2p_session s;

	times(w, 2, 1);
	s = open_one(w, "alice");
	assert_in_range(s.ttl_ms, 1000, 2000);
	assert_ok(gw_session_used(of(w, 0), &s.id, 1, 3));
	assert_ok(gw_session_used(of(w, 0), &s.id, 2, 1)); /* of another Kamailio */
	assert_ok(gw_session_used(of(w, 1), &s.id, 1, 4));
	run_for(w, 1200);
	assert_int_equal(metrics(w, 0)->renews_ok, 1);
	assert_int_equal(metrics(w, 1)->renewed_by_peer, 1);
	assert_int_equal(w->p[0].changes, 1);
	assert_int_equal(w->p[1].changes, 1);
	assert_true(find(w, 0, &s.id).ttl_ms > 1500 && find(w, 1, &s.id).ttl_ms > 1500);
	/* one of its Kamailios is gone, the other one's calls go on */
	gw_sessions_disconnected(of(w, 0), 1);
	gw_sessions_metrics(of(w, 0), &m);
	assert_int_equal(m.session_calls, 1);
	/* the last call has ended, but not at the other side */
	assert_ok(gw_session_used(of(w, 0), &s.id, 2, 0));
	for (unsigned int i = 0; i < 30 && !metrics(w, 0)->closes_inuse; i++)
		run_for(w, 100);
	assert_int_equal(metrics(w, 0)->closes_inuse, 1);
	assert_int_equal(count(w, 0), 1);
	assert_int_equal(count(w, 1), 1);
	assert_ok(gw_session_used(of(w, 1), &s.id, 1, 0));
	until(w, 0, 0, 2500);
	assert_int_equal(count(w, 1), 0);
	assert_int_equal(metrics(w, 0)->closes_idle, 1);
	assert_int_equal(metrics(w, 1)->closes_peer, 1);
	assert_int_equal(w->p[0].closes, 1);
	assert_int_equal(w->p[1].closes, 1);
	assert_int_equal(gw_session_used(of(w, 0), &s.id, 1, 1), ENOENT);
}

static void test_unused_is_closed(void **state)
{
	struct world *w = *state;
	struct p2p_session s;

	times(w, 600, 1);
	s = open_one(w, "alice");
	run_for(w, 500);
	assert_true(knows(w, 0, &s.id)); /* and thereby used */
	run_for(w, 800);
	assert_int_equal(count(w, 0), 1);
	until(w, 0, 0, 1000);
	until(w, 1, 0, 500);
	assert_int_equal(metrics(w, 1)->closes_peer, 1);
}

/* The other peer is gone without a word: both sides' sessions end by themselves. */
static void test_peer_dies(void **state)
{
	struct world *w = *state;
	struct p2p_session s;

	times(w, 2, 600);
	s = open_one(w, "alice");
	serve(w, 2, "bob");
	assert_int_equal(route(w, 1, "bob", true).session[0].outcome, GW_SESSION_OPEN);
	assert_ok(gw_session_used(of(w, 0), &s.id, 1, 1));
	peer_stop(&w->p[1]);
	run_for(w, 500);
	assert_int_equal(count(w, 0), 1);
	assert_int_equal(count(w, 2), 1);
	until(w, 0, 0, 2500);
	until(w, 2, 0, 500);
	assert_int_equal(metrics(w, 0)->closes_expired, 1);
	assert_int_equal(metrics(w, 2)->closes_expired, 1);
	assert_int_equal(w->p[0].closes, 1);
	assert_int_equal(w->p[2].closes, 1);
}

/* A gateway that was restarted knows none of its sessions. */
static void test_restart(void **state)
{
	struct world *w = *state;
	struct p2p_session s = open_one(w, "alice"), again;
	struct routed r;

	peer_stop(&w->p[1]);
	peer_start(w, 1, "yes");
	/* its Kamailio refuses what comes, and ours says so */
	assert_false(knows(w, 1, &s.id));
	assert_ok(gw_session_refused(of(w, 0), &s.id));
	assert_int_equal(gw_session_refused(of(w, 0), &s.id), ENOENT);
	again = open_one(w, "bob");
	assert_memory_not_equal(&again.id, &s.id, sizeof(s.id));
	/* or it asks first: by that the older one is known to be void */
	peer_stop(&w->p[1]);
	peer_start(w, 1, "yes");
	serve(w, 0, "carol");
	r = route(w, 1, "carol", true);
	assert_int_equal(r.session[0].outcome, GW_SESSION_OPEN);
	assert_int_equal(count(w, 0), 1);
	assert_false(knows(w, 0, &again.id));
	assert_int_equal(metrics(w, 0)->closes_restarted, 1);
}

static void on_stopped(void *arg)
{
	*(bool *)arg = true;
}

/* Nothing new is begun, and nothing ends: both Kamailios go on with what they have. */
static void test_orderly_stop(void **state)
{
	struct world *w = *state;
	struct p2p_session s = open_one(w, "alice");
	struct routed r;
	bool stopped = false;

	serve(w, 0, "bob");
	route(w, 2, "bob", true);
	assert_int_equal(count(w, 0), 2);
	gw_core_stop(w->p[0].core, on_stopped, &stopped);
	run_for(w, 300);
	assert_true(wait_for(w, &stopped, 600));
	assert_true(knows(w, 1, &s.id));
	assert_int_equal(count(w, 2), 1);
	/* nobody opens one with it any more, nor does it open one */
	peer_stop(&w->p[1]);
	peer_start(w, 1, "yes");
	r = route(w, 1, "bob", true);
	assert_int_equal(r.session[0].outcome, GW_SESSION_UNREACHABLE);
}

static void test_peer_is_closed(void **state)
{
	struct world *w = *state;
	struct p2p_session s = open_one(w, "alice");

	serve(w, 2, "bob");
	route(w, 0, "bob", true);
	assert_int_equal(count(w, 0), 2);
	assert_ok(gw_session_used(of(w, 0), &s.id, 1, 2));
	gw_sessions_close_peer(of(w, 0), &w->p[1].gw->hit, "it was revoked");
	assert_int_equal(count(w, 0), 1);
	assert_false(knows(w, 0, &s.id));
	until(w, 1, 0, 1000);
	assert_int_equal(count(w, 2), 1);
}

/* Who did not open it says so when it is renewed. */
static void test_settings_change_there(void **state)
{
	struct world *w = *state;
	struct p2p_session s;

	w->p[0].settings.session_lifetime_s = 2;
	s = open_one(w, "alice");
	assert_ok(gw_session_used(of(w, 0), &s.id, 1, 1));
	assert_ok(gw_session_used(of(w, 1), &s.id, 1, 1));
	say(&w->p[1].settings.signalling, "tcp");
	gw_sessions_reconsider(of(w, 1));
	assert_true(retired(w, 1, &s.id));
	assert_false(retired(w, 0, &s.id));
	until_retired(w, 0, &s.id, 3000);
	/* calls that run keep it */
	assert_true(knows(w, 0, &s.id));
	assert_ok(gw_session_used(of(w, 1), &s.id, 1, 0));
	assert_ok(gw_session_used(of(w, 0), &s.id, 1, 0));
	until(w, 0, 0, 3000);
	until(w, 1, 0, 3000);
}

static void test_settings_change(void **state)
{
	struct world *w = *state;
	struct p2p_session s = open_one(w, "alice"), t;
	struct routed r;
	bool retiring;

	/* what changes nothing about it leaves it */
	say(&w->p[0].settings.family, "ipv4");
	gw_sessions_reconsider(of(w, 0));
	assert_true(knows(w, 0, &s.id));
	/* with a call over it: for that call only */
	assert_ok(gw_session_used(of(w, 0), &s.id, 1, 1));
	say(&w->p[0].settings.signalling, "tcp");
	gw_sessions_reconsider(of(w, 0));
	assert_ok(gw_session_find(of(w, 0), &s.id, &t, &retiring));
	assert_true(retiring);
	/* the other side is told */
	until_retired(w, 1, &s.id, 1000);
	r = route(w, 0, "alice", true);
	assert_int_equal(r.session[0].session.signalling, P2P_SIGNALLING_TCP);
	assert_int_equal(count(w, 0), 2);
	assert_ok(gw_session_used(of(w, 0), &s.id, 1, 0));
	until(w, 0, 1, 1000);
	until(w, 1, 1, 1000);
	assert_false(knows(w, 1, &s.id));
	/* without: at once */
	say(&w->p[0].settings.signalling, "udp");
	gw_sessions_reconsider(of(w, 0));
	until(w, 0, 0, 1000);
	until(w, 1, 0, 1000);
	/* Kamailio is somewhere else now: the other side must not send there any more */
	r = route(w, 0, "alice", true);
	s = r.session[0].session;
	assert_ok(gw_session_used(of(w, 0), &s.id, 1, 1));
	assert_ok(gw_session_used(of(w, 1), &s.id, 1, 1));
	say(&w->p[0].settings.uri.v[0], "sip:127.0.0.2:5060;transport=udp");
	gw_sessions_reconsider(of(w, 0));
	assert_int_equal(count(w, 0), 0);
	until(w, 1, 0, 1000);
	r = route(w, 0, "alice", true);
	t = find(w, 1, &r.session[0].session.id);
	assert_string_equal(t.uri, "sip:127.0.0.2:5060;transport=udp");
}

/* --- what goes wrong ---------------------------------------------------------------------------
 */

struct got {
	bool done;
	int err, status;
	unsigned int retry_after_s;
	char body[P2P_OPP_BODY_MAX];
};

static void on_got(const struct https_answer *a, void *arg)
{
	struct got *g = arg;

	g->done = true;
	g->err = a->err;
	g->status = a->status;
	g->retry_after_s = a->retry_after_s;
	snprintf(g->body, sizeof(g->body), "%.*s", (int)a->len, a->body ? a->body : "");
}

struct caller {
	struct https_client *c;
	struct p2p_hit hit;
};

/* Whoever has this key asks peer 1. */
static struct caller caller_new(struct world *w, const struct https_identity *tls,
				const struct p2p_hit *hit)
{
	struct https_client_config config = {
		.identity = *tls,
		.idle_max = 4,
		.connections_per_peer = 2,
		.requests_max = 16,
		.idle_s = 10,
		.body_max = P2P_OPP_BODY_MAX,
		.headers_max = 4096,
	};
	struct caller c = {.hit = *hit};

	assert_ok(https_client_new(&c.c, w->base, &config));
	return c;
}

static struct got ask(struct world *w, const struct caller *c, const char *method,
		      const uint8_t id[P2P_OPP_SESSION_ID_LEN], const char *body, bool final)
{
	struct gw *gw = w->p[1].gw;
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(w->p[1].port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct p2p_opp_path path = {
		.version = 1, .overlay = gw->overlay, .resource = P2P_OPP_SESSION};
	char text[P2P_OPP_PATH_MAX], proof[P2P_OPP_MEMBER_MAX], header[128];
	struct https_request *unused;
	struct got g = {0};

	memcpy(path.session, id, sizeof(path.session));
	p2p_opp_path_print(&path, text);
	assert_ok(p2p_opp_member_make(proof, gw->secret.b, gw->secret.len, &gw->overlay, &c->hit,
				      &gw->hit, gw_wall(gw), gw->crypto));
	snprintf(header, sizeof(header), P2P_OPP_MEMBER_HEADER ": %s", proof);
	assert_ok(https_client_ask(
		c->c, &gw->hit, (struct sockaddr *)&in,
		&(struct https_ask){.method = method,
				    .path = text,
				    .header = {header, final ? P2P_OPP_FINAL_HEADER ": yes" : NULL},
				    .body = body,
				    .len = body ? strlen(body) : 0},
		2000, on_got, &g, &unused));
	assert_true(wait_for(w, &g.done, 3000));
	assert_ok(g.err);
	return g;
}

static const char *opening(struct p2p_opp_open *o, char body[P2P_OPP_BODY_MAX])
{
	size_t len;

	if (!o->lifetime_s) {
		o->lifetime_s = 60;
		o->offer.signalling = (struct p2p_opp_words){.n = 2, .word = {"hip", "udp"}};
		o->offer.family = (struct p2p_opp_words){.n = 1, .word = {"ipv4"}};
		o->offer.media = (struct p2p_opp_words){.n = 1, .word = {"rtp"}};
		o->offer.n_uris = 1;
		strcpy(o->offer.uri[0], UDP(5070));
	}
	assert_ok(p2p_opp_open_encode(o, body, P2P_OPP_BODY_MAX, &len));
	return body;
}

static void assert_error(const struct got *g, int status, enum p2p_opp_error_code code)
{
	struct p2p_opp_error e;

	assert_int_equal(g->status, status);
	assert_ok(p2p_opp_error_decode(&e, g->body, strlen(g->body)));
	assert_int_equal(e.code, code);
}

static void test_replay(void **state)
{
	struct world *w = *state;
	struct caller c = caller_new(w, &w->stranger_tls, gw_identity_hit(w->stranger)),
		      other = caller_new(w, w->p[2].gw->tls, &w->p[2].gw->hit);
	uint8_t id[P2P_OPP_SESSION_ID_LEN] = {7};
	struct p2p_opp_open o = {.instance = 1};
	struct p2p_opp_opened opened;
	char body[P2P_OPP_BODY_MAX];
	unsigned int warns;
	struct got g;

	g = ask(w, &c, "PUT", id, opening(&o, body), false);
	assert_int_equal(g.status, 200);
	assert_ok(p2p_opp_opened_decode(&opened, g.body, strlen(g.body)));
	assert_string_equal(opened.signalling, "udp");
	assert_int_equal(opened.lifetime_s, 60);
	assert_false(opened.told);
	/* the same once more: while it is open, and when it is closed; and by somebody else */
	warns = w->warns;
	g = ask(w, &c, "PUT", id, body, false);
	assert_error(&g, 409, P2P_OPP_E_REPLAY);
	assert_non_null(strstr(w->warn, "a replay?"));
	g = ask(w, &c, "PUT", id, body, false);
	assert_int_equal(w->warns - warns, 1); /* a line a minute */
	g = ask(w, &other, "PUT", id, body, false);
	assert_error(&g, 409, P2P_OPP_E_REPLAY);
	/* it is nobody else's */
	g = ask(w, &other, "DELETE", id, NULL, true);
	assert_error(&g, 404, P2P_OPP_E_NOTFOUND);
	g = ask(w, &other, "POST", id, "{\"calls\":0}", false);
	assert_error(&g, 404, P2P_OPP_E_NOTFOUND);
	g = ask(w, &c, "POST", id, "{\"calls\":2}", false);
	assert_string_equal(g.body, "{\"calls\":0,\"lifetime_s\":60}");
	assert_ok(gw_session_used(of(w, 1), &(struct p2p_session_id){.b = {7}}, 1, 1));
	g = ask(w, &c, "DELETE", id, NULL, false);
	assert_error(&g, 409, P2P_OPP_E_INUSE);
	g = ask(w, &c, "DELETE", id, NULL, true);
	assert_string_equal(g.body, "{\"calls\":1}");
	g = ask(w, &c, "PUT", id, body, false);
	assert_error(&g, 409, P2P_OPP_E_REPLAY);
	g = ask(w, &c, "DELETE", id, NULL, false);
	assert_error(&g, 404, P2P_OPP_E_NOTFOUND);
	g = ask(w, &c, "GET", id, NULL, false);
	assert_error(&g, 405, P2P_OPP_E_METHOD);
	id[0]++;
	g = ask(w, &c, "PUT", id, "{}", false);
	assert_error(&g, 400, P2P_OPP_E_BADREQUEST);
	g = ask(w, &c, "PUT", id, NULL, false);
	assert_error(&g, 400, P2P_OPP_E_BADREQUEST);
	assert_int_equal(count(w, 1), 0);
	https_client_free(c.c);
	https_client_free(other.c);
}

/* One peer cannot take all the room. */
static void test_too_many(void **state)
{
	struct world *w = *state;
	struct caller c = caller_new(w, &w->stranger_tls, gw_identity_hit(w->stranger)),
		      other = caller_new(w, w->p[2].gw->tls, &w->p[2].gw->hit);
	uint8_t id[P2P_OPP_SESSION_ID_LEN] = {0};
	struct p2p_opp_open o = {.instance = 1};
	char body[P2P_OPP_BODY_MAX];
	struct got g = {0};

	opening(&o, body);
	for (unsigned int i = 0; i < P2P_SESSIONS_PER_PEER; i++) {
		id[15]++;
		g = ask(w, &c, "PUT", id, body, false);
		assert_int_equal(g.status, 200);
	}
	id[15]++;
	g = ask(w, &c, "PUT", id, body, false);
	assert_error(&g, 503, P2P_OPP_E_BUSY);
	assert_true(g.retry_after_s >= 1);
	g = ask(w, &other, "PUT", id, body, false);
	assert_int_equal(g.status, 200);
	/* nor by closing them again */
	for (unsigned int i = 1; i <= P2P_SESSIONS_PER_PEER; i++) {
		id[15] = (uint8_t)i;
		ask(w, &c, "DELETE", id, NULL, true);
	}
	for (unsigned int i = 0; i < P2P_SESSIONS_OPENED_MAX - P2P_SESSIONS_PER_PEER; i++) {
		id[15] = (uint8_t)(20 + i);
		g = ask(w, &c, "PUT", id, body, false);
		assert_int_equal(g.status, 200);
		ask(w, &c, "DELETE", id, NULL, true);
	}
	id[15] = 200;
	g = ask(w, &c, "PUT", id, body, false);
	assert_error(&g, 503, P2P_OPP_E_BUSY);
	/* nor as another process of the same gateway */
	o.instance = 2;
	g = ask(w, &c, "PUT", id, opening(&o, body), false);
	assert_error(&g, 503, P2P_OPP_E_BUSY);
	id[15] = 201;
	g = ask(w, &other, "PUT", id, body, false);
	assert_int_equal(g.status, 200);
	assert_int_equal(count(w, 1), 1); /* its earlier process's is void */
	https_client_free(c.c);
	https_client_free(other.c);
}

/* The other gateway with the right key, and an answer that does not follow from both offers. */
struct liar {
	struct world *w;
	const char *media;
	uint32_t lifetime_s;
	unsigned int puts, deletes;
};

static void on_lie(struct https_exchange *x, void *arg)
{
	struct liar *l = arg;
	struct p2p_opp_opened o = {.lifetime_s = l->lifetime_s,
				   .signalling = "udp",
				   .family = "ipv4",
				   .told = true,
				   .user = {.presence = P2P_OPP_YES}};
	struct p2p_opp_open open;
	char body[P2P_OPP_BODY_MAX];
	size_t len;
	const char *asked = https_exchange_body(x, &len);

	if (!strcmp(https_exchange_method(x), "DELETE")) {
		l->deletes++;
		https_reply(x, 200, 0, "{\"calls\":0}", 11);
		return;
	}
	l->puts++;
	assert_ok(p2p_opp_open_decode(&open, asked, len));
	o.offer = open.offer;
	strcpy(o.media, l->media);
	assert_ok(p2p_opp_opened_encode(&o, body, sizeof(body), &len));
	https_reply(x, 200, 0, body, len);
}

static void test_another_result(void **state)
{
	struct world *w = *state;
	struct liar l = {.w = w, .media = "srtp-dtls", .lifetime_s = 600};
	struct https_server_config config = {
		.identity = *w->p[1].gw->tls,
		.connections_max = 8,
		.connections_per_address = 8,
		.requests_per_s = 100,
		.handshake_ms = 1000,
		.idle_ms = 5000,
		.body_max = P2P_OPP_BODY_MAX,
		.headers_max = 4096,
		.h = on_lie,
		.arg = &l,
	};
	struct https_server *server;
	struct routed r;
	uint16_t port;

	assert_ok(https_server_new(&server, w->base, &config));
	assert_ok(https_server_listen(server, "127.0.0.1", &port));
	strangers(w);
	plant(w, 1, "mallory", port);
	r = route(w, 0, "mallory", true);
	assert_at(&r, w, 1);
	assert_int_equal(r.session[0].outcome, GW_SESSION_REFUSED);
	run_for(w, 100);
	assert_int_equal(l.puts, 1);
	assert_int_equal(l.deletes, 1);
	assert_int_equal(count(w, 0), 0);
	assert_non_null(strstr(w->warn, "makes another thing of both offers"));
	/* for longer than was asked for */
	l.media = "rtp";
	l.lifetime_s = 601;
	r = route(w, 0, "mallory", true);
	assert_int_equal(r.session[0].outcome, GW_SESSION_REFUSED);
	/* and what is right is taken */
	l.lifetime_s = 600;
	r = route(w, 0, "mallory", true);
	assert_int_equal(r.session[0].outcome, GW_SESSION_OPEN);
	https_server_free(server);
}

/* Nobody there, or one that does not answer: the deadline, once, and a reason. */
static void test_unreachable(void **state)
{
	struct world *w = *state;
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct routed r;

	assert_ok(bind(fd, (struct sockaddr *)&in, len));
	assert_ok(listen(fd, 8));
	assert_ok(getsockname(fd, (struct sockaddr *)&in, &len));
	strangers(w);
	plant(w, 1, "judy", ntohs(in.sin_port));
	serve(w, 2, "kim");
	r = route(w, 0, "judy", true);
	assert_at(&r, w, 1);
	assert_int_equal(r.session[0].outcome, GW_SESSION_UNREACHABLE);
	assert_true(*r.session[0].text != 0);
	assert_in_range(r.ms, ASK_MS - 50, ASK_MS + 500);
	r = route(w, 0, "judy", true);
	assert_int_equal(r.session[0].outcome, GW_SESSION_UNREACHABLE);
	assert_in_range(r.ms, 0, ASK_MS / 2);
	r = route(w, 0, "kim", true);
	assert_int_equal(r.session[0].outcome, GW_SESSION_OPEN);
	assert_int_equal(count(w, 0), 1);
	close(fd);
	/* a peer without a gateway: nobody was asked */
	plant(w, 1, "frank", 0);
	r = route(w, 0, "frank", true);
	assert_at(&r, w, 1);
	assert_int_equal(r.session[0].outcome, GW_SESSION_NONE);
}

/* One that does not take us for a member. */
static void on_no_member(struct https_exchange *x, void *arg)
{
	static const char body[] = "{\"error\":\"member\",\"reason\":\"no proof of membership\"}";

	(void)arg;
	https_reply(x, 403, 0, body, sizeof(body) - 1);
}

static void test_refused(void **state)
{
	struct world *w = *state;
	struct https_server_config config = {
		.identity = *w->p[1].gw->tls,
		.connections_max = 8,
		.connections_per_address = 8,
		.requests_per_s = 100,
		.handshake_ms = 1000,
		.idle_ms = 5000,
		.body_max = P2P_OPP_BODY_MAX,
		.headers_max = 4096,
		.h = on_no_member,
	};
	struct https_server *server;
	struct routed r;
	uint16_t port;

	assert_ok(https_server_new(&server, w->base, &config));
	assert_ok(https_server_listen(server, "127.0.0.1", &port));
	strangers(w);
	plant(w, 1, "mallory", port);
	for (unsigned int i = 0; i < 2; i++) {
		r = route(w, 0, "mallory", true);
		assert_at(&r, w, 1);
		assert_int_equal(r.session[0].outcome, GW_SESSION_REFUSED);
		assert_non_null(strstr(r.session[0].text, "no proof of membership"));
	}
	https_server_free(server);
}

static void test_clock_off(void **state)
{
	struct world *w = *state;
	struct p2p_session s;

	w->p[1].wall_shift_ms = 60000;
	times(w, 2, 600);
	s = open_one(w, "alice");
	assert_ok(gw_session_used(of(w, 0), &s.id, 1, 1));
	run_for(w, 1200);
	assert_int_equal(metrics(w, 0)->renews_ok, 1);
	assert_ok(gw_session_refused(of(w, 0), &s.id));
	until(w, 1, 0, 1000);
}

/* What is under way when a gateway goes leaves nothing. */
static void test_freed_while_opening(void **state)
{
	struct world *w = *state;
	struct answered x = {0};
	struct routed r = {0};

	serve(w, 1, "alice");
	gw_route(w->p[0].gw->routes, "alice", 5, 3000, true, on_routed, &r);
	gw_session_peer(of(w, 0), &w->p[2].gw->hit, 2000, on_peer, &x);
	for (unsigned int i = 0; i < 100 && !metrics(w, 1)->accepts_ok; i++)
		event_base_loop(w->base, EVLOOP_ONCE);
	peer_stop(&w->p[0]);
	assert_true(r.done && x.done);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_opened_by_route),
		TEST(test_opened_by_hit),
		TEST(test_both_at_once),
		TEST(test_no_common_ground),
		TEST(test_policy_for_one_peer),
		TEST(test_renewed_while_used),
		TEST(test_unused_is_closed),
		TEST(test_peer_dies),
		TEST(test_restart),
		TEST(test_orderly_stop),
		TEST(test_peer_is_closed),
		TEST(test_settings_change),
		TEST(test_settings_change_there),
		TEST(test_replay),
		TEST(test_too_many),
		TEST(test_another_result),
		TEST(test_unreachable),
		TEST(test_refused),
		TEST(test_clock_off),
		TEST(test_freed_while_opening),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
