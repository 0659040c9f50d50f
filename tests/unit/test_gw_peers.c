/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Gateways that ask each other over loopback: whole gateways over the memory engine, and servers
 * that are not what they should be. */
#include "tests/unit/test.h"
#include "tests/unit/test_gw_world.h"
#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/keys/gateway_cert.h"
#include "dht-gateway/gateway_core.h"
#include "dht-gateway/keys/gateway_identity.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/location/gateway_moves.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/peers/gateway_presence.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/location/gateway_route.h"
#include "dht-gateway/keys/gateway_secret.h"
#include "dht-gateway/location/gateway_users.h"
#include "lib/io/https_client.h"
#include "lib/io/https_server.h"
#include "lib/base/bytes.h"
#include "lib/proto/opp.h"

/* --- tests ------------------------------------------------------------------------------------ */

static void test_yes(void **state)
{
	struct world *w = *state;
	struct https_client_stats st;
	struct gw_ask_info info;
	struct routed r;

	serve(w, 1, "alice");
	r = route(w, 0, "alice", false);
	assert_at(&r, w, 1);
	assert_int_equal(metrics(w, 0)->asks_yes, 1);
	assert_int_equal(metrics(w, 1)->answers_yes, 1);
	/* not again so soon, and then over the same connection */
	r = route(w, 0, "alice", true);
	assert_at(&r, w, 1);
	assert_int_equal(metrics(w, 0)->asks_yes, 1);
	w->p[0].settings.ask_fresh_ms = 0;
	r = route(w, 0, "alice", true);
	assert_at(&r, w, 1);
	assert_int_equal(metrics(w, 0)->asks_yes, 2);
	gw_asks_stats(w->p[0].gw->asks, &st);
	assert_true(st.reused >= 1);
	gw_asks_info(w->p[0].gw->asks, &w->p[1].gw->hit, &info);
	assert_true(info.known && info.answered);
	assert_int_equal(info.breaker, P2P_BREAKER_CLOSED);
}

static void test_unknown_user(void **state)
{
	struct world *w = *state;

	assert_int_equal(route(w, 0, "nobody", false).err, ENOENT);
	assert_int_equal(metrics(w, 0)->asks_no, 0);
}

/* The record's own peer does not know the user: absent, in one ROUTE. */
static void test_stale_record(void **state)
{
	struct world *w = *state;
	struct routed r;
	unsigned int events;

	plant(w, 1, "ghost", w->p[1].port);
	r = route(w, 0, "ghost", false);
	assert_int_equal(r.err, ENOENT);
	assert_int_equal(metrics(w, 0)->asks_no, 1);
	assert_int_equal(metrics(w, 0)->route_refuted, 1);
	events = w->p[0].events;
	/* it is still out there; who asks again soon is not told of it, nor are the modules */
	assert_int_equal(route(w, 0, "ghost", true).err, ENOENT);
	assert_int_equal(metrics(w, 0)->asks_no, 1);
	assert_int_equal(w->p[0].events, events);
	/* and when the user comes, that is a later record */
	serve(w, 1, "ghost");
	r = route(w, 0, "ghost", true);
	assert_at(&r, w, 1);
}

static void test_next_candidate(void **state)
{
	struct world *w = *state;
	struct routed r;

	serve(w, 2, "bob");
	plant(w, 1, "bob", w->p[1].port);
	r = route(w, 0, "bob", true);
	assert_at(&r, w, 2);
	assert_int_equal(metrics(w, 0)->route_refuted, 1);
}

/* The peer that the user left knows where to, whatever the asker has read. */
static void test_moved(void **state)
{
	struct world *w = *state;
	struct p2p_candidate_set cands;
	struct routed r;

	serve(w, 1, "carol");
	serve(w, 2, "carol");
	leave(w, 1, "carol");
	/* 1 has read the record of 2 */
	route(w, 1, "carol", true);
	assert_ok(gw_cache_get(w->p[1].gw->cache, "carol", 5, 60000, &cands));
	plant(w, 1, "carol", w->p[1].port);
	r = route(w, 0, "carol", true);
	assert_at(&r, w, 2);
	assert_int_equal(metrics(w, 1)->answers_moved, 1);
	assert_int_equal(metrics(w, 0)->route_moved, 0);
}

/* The record of the peer where the user is now is not found: only the former one knows. */
static void test_moved_without_record(void **state)
{
	struct world *w = *state;
	struct gw *gw = w->p[2].gw;
	char path[256], hex[2 * P2P_KEY_LEN + 1];
	struct p2p_key key;
	struct routed r;

	serve(w, 1, "oscar");
	serve(w, 2, "oscar");
	leave(w, 1, "oscar");
	route(w, 1, "oscar", true);
	assert_ok(gw_record_key_user(gw, "oscar", 5, &key));
	p2p_hex_print(hex, key.b, sizeof(key.b));
	snprintf(path, sizeof(path), "%s/dht/%s", w->dir, hex);
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	plant(w, 1, "oscar", w->p[1].port);
	r = route(w, 0, "oscar", true);
	assert_at(&r, w, 2);
	assert_int_equal(metrics(w, 0)->route_moved, 1);
	assert_int_equal(metrics(w, 2)->answers_yes, 2); /* 1 has asked it too */
}

static void test_orphan_is_kept(void **state)
{
	struct world *w = *state;
	struct routed r;

	serve(w, 1, "dave");
	/* another Kamailio comes, and does not name dave */
	gw_users_disconnected(w->p[1].gw->users, 1);
	gw_users_connected(w->p[1].gw->users, 2);
	gw_users_begin(w->p[1].gw->users, 2);
	gw_users_synced(w->p[1].gw->users, 2);
	r = route(w, 0, "dave", true);
	assert_at(&r, w, 1);
	assert_int_equal(metrics(w, 0)->asks_orphan, 1);
}

/* Before Kamailio has named its users, nobody is absent. */
static void test_not_synced(void **state)
{
	struct world *w = *state;
	struct routed r;

	gw_users_disconnected(w->p[1].gw->users, 1);
	plant(w, 1, "erin", w->p[1].port);
	r = route(w, 0, "erin", true);
	assert_at(&r, w, 1);
	assert_int_equal(metrics(w, 1)->answers_unknown, 1);
	assert_int_equal(metrics(w, 0)->asks_failed, 1);
	assert_int_equal(metrics(w, 0)->breaker_opened, 0);
	gw_users_connected(w->p[1].gw->users, 3);
	gw_users_begin(w->p[1].gw->users, 3);
	run_for(w, 1100); /* its Retry-After */
	route(w, 0, "erin", true);
	assert_int_equal(metrics(w, 1)->answers_unknown, 2);
	gw_users_synced(w->p[1].gw->users, 3);
	run_for(w, 1100);
	assert_int_equal(route(w, 0, "erin", true).err, ENOENT);
}

/* Peers without the protocol are called by their records. */
static void test_mixed(void **state)
{
	struct world *w = *state;
	struct routed r;

	plant(w, 1, "frank", 0);
	r = route(w, 0, "frank", true);
	assert_at(&r, w, 1);
	assert_int_equal(metrics(w, 1)->asked, 0);
	peer_stop(&w->p[1]);
	peer_start(w, 1, "no");
	serve(w, 1, "grace");
	r = route(w, 0, "grace", true);
	assert_at(&r, w, 1);
	assert_int_equal(metrics(w, 0)->asks_yes + metrics(w, 0)->asks_failed, 0);
	serve(w, 0, "heidi");
	r = route(w, 1, "heidi", true);
	assert_at(&r, w, 0);
	assert_int_equal(metrics(w, 0)->asked, 0);
}

/* Another key answers where the record says that the peer's gateway is. */
static void test_impostor(void **state)
{
	struct world *w = *state;
	struct gw_ask_info info;
	struct routed r;

	strangers(w);
	plant(w, 1, "ivan", w->p[2].port);
	r = route(w, 0, "ivan", true);
	assert_at(&r, w, 1); /* by its record, as without an answer */
	assert_int_equal(metrics(w, 0)->asks_failed, 1);
	assert_int_equal(metrics(w, 2)->asked, 0);
	assert_non_null(strstr(w->warn, "does not have this peer's key"));
	gw_asks_info(w->p[0].gw->asks, &w->p[1].gw->hit, &info);
	assert_int_not_equal(info.breaker, P2P_BREAKER_CLOSED);
}

/* --- distance: bytes pass through, each way DELAY_MS later -------------------------------------
 */

#define DELAY_MS 20
#define RELAY_PAIRS 8

struct late {
	struct late *next;
	struct bufferevent *to;
	struct evbuffer *data;
	struct event *ev;
};

struct relay {
	struct event_base *base;
	struct evconnlistener *listener;
	struct sockaddr_in to;
	struct bufferevent *bev[RELAY_PAIRS][2];
	unsigned int n;
	struct late *late;
	unsigned int turns; /* times that the answering side began to speak */
	bool asking;
};

static void on_late_data(evutil_socket_t fd, short what, void *arg)
{
	struct late *l = arg;

	(void)fd;
	(void)what;
	bufferevent_write_buffer(l->to, l->data);
}

static void on_relay_read(struct bufferevent *bev, void *arg)
{
	struct relay *r = arg;
	struct late *l = calloc(1, sizeof(*l));

	for (unsigned int i = 0; i < r->n; i++) {
		if (r->bev[i][0] == bev) {
			l->to = r->bev[i][1];
			r->asking = true;
		} else if (r->bev[i][1] == bev) {
			l->to = r->bev[i][0];
			r->turns += r->asking;
			r->asking = false;
		}
	}
	l->data = evbuffer_new();
	evbuffer_add_buffer(l->data, bufferevent_get_input(bev));
	l->ev = event_new(r->base, -1, 0, on_late_data, l);
	l->next = r->late;
	r->late = l;
	/* from now on, and not from when the loop last looked at the clock */
	event_base_update_cache_time(r->base);
	gw_timer_set(l->ev, DELAY_MS);
}

static void on_relay_accept(struct evconnlistener *listener, evutil_socket_t fd,
			    struct sockaddr *addr, int len, void *arg)
{
	struct relay *r = arg;
	struct bufferevent **pair = r->bev[r->n++];

	(void)listener;
	(void)addr;
	(void)len;
	assert_true(r->n <= RELAY_PAIRS);
	pair[0] = bufferevent_socket_new(r->base, fd, BEV_OPT_CLOSE_ON_FREE);
	pair[1] = bufferevent_socket_new(r->base, -1, BEV_OPT_CLOSE_ON_FREE);
	for (unsigned int i = 0; i < 2; i++) {
		bufferevent_setcb(pair[i], on_relay_read, NULL, NULL, r);
		bufferevent_enable(pair[i], EV_READ | EV_WRITE);
	}
	assert_ok(bufferevent_socket_connect(pair[1], (struct sockaddr *)&r->to, sizeof(r->to)));
}

static uint16_t relay_start(struct relay *r, struct world *w, uint16_t to)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);

	memset(r, 0, sizeof(*r));
	r->base = w->base;
	r->to = in;
	r->to.sin_port = htons(to);
	r->listener = evconnlistener_new_bind(w->base, on_relay_accept, r, LEV_OPT_CLOSE_ON_FREE, 8,
					      (struct sockaddr *)&in, sizeof(in));
	assert_non_null(r->listener);
	assert_ok(getsockname(evconnlistener_get_fd(r->listener), (struct sockaddr *)&in, &len));
	return ntohs(in.sin_port);
}

static void relay_stop(struct relay *r)
{
	while (r->late) {
		struct late *l = r->late;

		r->late = l->next;
		event_free(l->ev);
		evbuffer_free(l->data);
		free(l);
	}
	evconnlistener_free(r->listener);
	for (unsigned int i = 0; i < r->n; i++) {
		bufferevent_free(r->bev[i][0]);
		bufferevent_free(r->bev[i][1]);
	}
}

/* Over a kept connection a question is one round trip, however it is counted. */
static void test_distance(void **state)
{
	struct world *w = *state;
	struct routed r, asked, believed;
	struct relay relay;
	uint16_t port = relay_start(&relay, w, w->p[1].port);
	uint64_t first;

	serve(w, 1, "peggy");
	strangers(w);
	plant(w, 1, "peggy", port);
	w->p[0].settings.ask_fresh_ms = 0;
	w->p[0].settings.cache_fresh_ms = 60000;
	r = route(w, 0, "peggy", true);
	assert_at(&r, w, 1);
	assert_int_equal(metrics(w, 0)->asks_yes, 1);
	first = r.ms;
	assert_int_equal(relay.turns, 2); /* TLS, and the answer */
	asked = route(w, 0, "peggy", false);
	assert_int_equal(metrics(w, 0)->asks_yes, 2);
	assert_int_equal(relay.turns, 3);
	w->p[0].settings.ask_fresh_ms = 60000;
	believed = route(w, 0, "peggy", false);
	assert_int_equal(metrics(w, 0)->asks_yes, 2);
	assert_int_equal(relay.n, 1);
	print_message("at a round trip of %d ms: first %u ms, then %u ms; not asked %u ms\n",
		      2 * DELAY_MS, (unsigned int)first, (unsigned int)asked.ms,
		      (unsigned int)believed.ms);
	/* a timer counts from when its turn of the loop began: it may be early by what that took */
	assert_in_range(asked.ms - believed.ms, 2 * DELAY_MS - 10, 2 * DELAY_MS + 200);
	peer_stop(&w->p[0]);
	relay_stop(&relay);
}

/* Listens and never speaks. */
static int silent_listener(uint16_t *port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_ok(bind(fd, (struct sockaddr *)&in, len));
	assert_ok(listen(fd, 8));
	assert_ok(getsockname(fd, (struct sockaddr *)&in, &len));
	*port = ntohs(in.sin_port);
	return fd;
}

/* One question pays; those at the same time end with it, those after it are not asked. */
static void test_hanging(void **state)
{
	struct world *w = *state;
	struct routed first = {0}, second = {0}, r;
	struct gw_ask_info info;
	uint16_t port;
	int fd = silent_listener(&port);
	uint64_t start = gw_mono(w->p[0].gw);

	strangers(w);
	serve(w, 2, "kim");
	plant(w, 1, "judy", port);
	gw_route(w->p[0].gw->routes, "judy", 4, 3000, true, on_routed, &first);
	run_for(w, 150);
	gw_route(w->p[0].gw->routes, "judy", 4, 3000, true, on_routed, &second);
	/* others do not notice */
	r = route(w, 0, "kim", true);
	assert_at(&r, w, 2);
	assert_false(first.done);
	assert_true(wait_for(w, &first.done, 2000));
	assert_true(wait_for(w, &second.done, 20));
	assert_in_range(gw_mono(w->p[0].gw) - start, ASK_MS - 50, ASK_MS + 1000);
	assert_at(&first, w, 1);
	assert_at(&second, w, 1);
	assert_int_equal(metrics(w, 0)->breaker_opened, 1);
	r = route(w, 0, "judy", false);
	assert_at(&r, w, 1);
	assert_in_range(r.ms, 0, ASK_MS / 2);
	assert_int_equal(metrics(w, 0)->asks_not_asked, 1);
	gw_asks_info(w->p[0].gw->asks, &w->p[1].gw->hit, &info);
	assert_int_equal(info.failures, 1);
	/* its real gateway is told by the next record, and a probe finds it well */
	plant(w, 1, "judy", w->p[1].port);
	route(w, 0, "judy", true);
	for (unsigned int i = 0; i < 50; i++) {
		gw_asks_info(w->p[0].gw->asks, &w->p[1].gw->hit, &info);
		if (info.breaker == P2P_BREAKER_CLOSED)
			break;
		run_for(w, 50);
	}
	assert_int_equal(info.breaker, P2P_BREAKER_CLOSED);
	assert_int_equal(metrics(w, 0)->probes, 1);
	close(fd);
}

/* Who does not come to read answers cannot tell who gave none. */
static void test_hanging_while_late(void **state)
{
	struct world *w = *state;
	struct routed r = {0};
	uint16_t port;
	int fd = silent_listener(&port);

	strangers(w);
	plant(w, 1, "judy", port);
	gw_route(w->p[0].gw->routes, "judy", 4, 3000, true, on_routed, &r);
	run_for(w, 50);
	usleep(ASK_MS * 1000);
	assert_true(wait_for(w, &r.done, 2000));
	assert_at(&r, w, 1);
	assert_int_equal(metrics(w, 0)->breaker_opened, 0);
	assert_in_range(metrics(w, 0)->timeouts_ours, 1, UINT32_MAX);
	close(fd);
}

static void test_dead(void **state)
{
	struct world *w = *state;
	struct routed r;

	serve(w, 1, "leo");
	peer_stop(&w->p[1]);
	r = route(w, 0, "leo", true);
	assert_ok(r.err);
	assert_int_equal(r.cands.n, 1);
	assert_in_range(r.ms, 0, ASK_MS);
	assert_int_equal(metrics(w, 0)->breaker_opened, 1);
}

static const char *rubbish;
static int rubbish_status;

static void on_rubbish(struct https_exchange *x, void *arg)
{
	(void)arg;
	https_reply(x, rubbish_status, 0, rubbish, strlen(rubbish));
}

/* The right key, and nonsense. */
static void test_rubbish(void **state)
{
	static char big[2 * P2P_OPP_BODY_MAX];
	static const struct {
		int status;
		const char *body;
	} cases[] = {
		{200, "{\"user\":\"perhaps\"}"},
		{200, ""},
		{200, "[]"},
		{200, "{\"user\":\"moved\",\"hit\":\"192.0.2.1\"}"},
		{500, "{}"},
		{301, "{\"user\":\"no\"}"},
		{403, "{\"error\":\"member\",\"reason\":\"no\"}"},
		{200, big},
	};
	struct world *w = *state;
	struct https_server *server;
	struct https_server_config config = {
		.identity = *w->p[1].gw->tls,
		.connections_max = 8,
		.connections_per_address = 8,
		.requests_per_s = 100,
		.handshake_ms = 1000,
		.idle_ms = 5000,
		.body_max = 100,
		.headers_max = 4096,
		.h = on_rubbish,
	};
	uint16_t port;

	memset(big, ' ', sizeof(big) - 1);
	assert_ok(https_server_new(&server, w->base, &config));
	assert_ok(https_server_listen(server, "127.0.0.1", &port));
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char name[16];
		struct routed r;

		rubbish = cases[i].body;
		rubbish_status = cases[i].status;
		snprintf(name, sizeof(name), "user%u", i);
		strangers(w);
		plant(w, 1, name, port);
		r = route(w, 0, name, true);
		assert_at(&r, w, 1);
		assert_int_equal(metrics(w, 0)->asks_failed, i + 1);
		assert_int_equal(metrics(w, 0)->breaker_opened, i + 1);
		/* well again */
		peer_stop(&w->p[0]);
		peer_start(w, 0, "yes");
		w->p[0].gw->metrics.asks_failed = w->p[0].gw->metrics.breaker_opened = i + 1;
	}
	https_server_free(server);
}

/* --- many at once ------------------------------------------------------------------------------
 */

#define MANY 40

struct said {
	struct gw_presence *q;
	bool done;
	int err;
	struct p2p_opp_user user;
};

static void on_said(int err, const struct p2p_opp_user *user, void *arg)
{
	struct said *s = arg;

	s->done = true;
	s->q = NULL;
	s->err = err;
	if (user)
		s->user = *user;
}

/* Peer 0 asks peer 1, at this port, about users named user0, ... all at once. */
static void ask_many(struct world *w, uint16_t port, struct said *said)
{
	struct p2p_locator at = {.service = P2P_SERVICE_GATEWAY,
				 .transports = P2P_TRANSPORT_TLS,
				 .family = 4,
				 .addr = {127, 0, 0, 1},
				 .port = port};
	struct gw *gw = w->p[0].gw;

	memset(said, 0, MANY * sizeof(*said));
	for (unsigned int i = 0; i < MANY; i++) {
		struct p2p_key key;
		char name[16];

		snprintf(name, sizeof(name), "user%u", i);
		assert_ok(gw_record_key_user(gw, name, strlen(name), &key));
		assert_ok(gw_presence_ask(gw->presences, &w->p[1].gw->hit, &at, 1, &key, 3000,
					  on_said, &said[i], &said[i].q));
	}
}

static void assert_said(struct world *w, struct said *said, unsigned int but)
{
	for (unsigned int i = 0; i < MANY; i++) {
		if (i == but)
			continue;
		assert_true(wait_for(w, &said[i].done, 3000));
		assert_ok(said[i].err);
		assert_int_equal(said[i].user.presence, i % 2 ? P2P_OPP_NO : P2P_OPP_YES);
	}
}

static void test_many_at_once(void **state)
{
	struct world *w = *state;
	struct said said[MANY];
	uint64_t asked;

	for (unsigned int i = 0; i < MANY; i += 2) {
		char name[16];

		snprintf(name, sizeof(name), "user%u", i);
		serve(w, 1, name);
	}
	asked = metrics(w, 1)->asked;
	ask_many(w, w->p[1].port, said);
	/* one that nobody waits for any more */
	gw_presence_cancel(said[7].q);
	assert_said(w, said, 7);
	assert_false(said[7].done);
	assert_in_range(metrics(w, 1)->asked - asked, 2, 4);
	assert_int_equal(metrics(w, 0)->asks_together, MANY - 2);
	assert_int_equal(metrics(w, 0)->asks_yes + metrics(w, 0)->asks_no, MANY - 1);
	/* they end with the gateway */
	ask_many(w, w->p[1].port, said);
}

static unsigned int asked_old;

/* A gateway that knows questions about one user only. */
static void on_old(struct https_exchange *x, void *arg)
{
	static const char none[] = "{\"error\":\"not-found\",\"reason\":\"no such resource\"}";
	struct world *w = arg;
	const char *uri = https_exchange_path(x);
	struct p2p_opp_path path;
	struct p2p_key key;

	if (p2p_opp_path_parse(&path, uri, strlen(uri)) || path.resource != P2P_OPP_USER) {
		https_reply(x, 404, 0, none, strlen(none));
		return;
	}
	asked_old++;
	for (unsigned int i = 0; i < MANY; i++) {
		const char *body = i % 2 ? "{\"user\":\"no\"}" : "{\"user\":\"yes\"}";
		char name[16];

		snprintf(name, sizeof(name), "user%u", i);
		assert_ok(gw_record_key_user(w->p[0].gw, name, strlen(name), &key));
		if (!memcmp(&key, &path.key, sizeof(key)))
			https_reply(x, 200, 0, body, strlen(body));
	}
}

static void test_many_of_an_older_peer(void **state)
{
	struct world *w = *state;
	struct https_server *server;
	struct https_server_config config = {
		.identity = *w->p[1].gw->tls,
		.connections_max = 8,
		.connections_per_address = 8,
		.requests_per_s = 1000,
		.handshake_ms = 1000,
		.idle_ms = 5000,
		.body_max = P2P_OPP_BODY_MAX,
		.headers_max = 4096,
		.h = on_old,
		.arg = w,
	};
	struct said said[MANY];
	uint16_t port;

	strangers(w);
	asked_old = 0;
	assert_ok(https_server_new(&server, w->base, &config));
	assert_ok(https_server_listen(server, "127.0.0.1", &port));
	for (unsigned int i = 1; i < 3; i++) {
		ask_many(w, port, said);
		assert_said(w, said, MANY);
		assert_int_equal(asked_old, i * MANY);
		assert_int_equal(metrics(w, 0)->breaker_opened, 0);
	}
	https_server_free(server);
}

/* Who is told asks on, about another peer, for which the one that has just been asked in vain would
 * have to make room. */
struct on {
	struct world *w;
	const struct p2p_locator *at;
	struct p2p_hit other;
	unsigned int told;
	struct said said;
};

static void on_said_ask_on(int err, const struct p2p_opp_user *user, void *arg)
{
	struct on *on = arg;
	struct p2p_key key = {{2}};

	(void)user;
	assert_int_not_equal(err, 0);
	if (++on->told == 2)
		assert_ok(gw_presence_ask(on->w->p[0].gw->presences, &on->other, on->at, 1, &key,
					  3000, on_said, &on->said, &on->said.q));
}

static void test_room_for_another(void **state)
{
	struct world *w = *state;
	/* nobody listens there */
	struct p2p_locator at = {.service = P2P_SERVICE_GATEWAY,
				 .transports = P2P_TRANSPORT_TLS,
				 .family = 4,
				 .addr = {127, 0, 0, 1},
				 .port = 1};
	struct on on = {.w = w, .at = &at, .other = w->p[1].gw->hit};
	struct p2p_key key = {{1}};
	struct gw_presence *q;

	on.other.b[15] ^= 1;
	w->p[0].settings.peers_max = 1;
	/* the first is asked alone, the second waits, and is not asked once the first has failed */
	for (unsigned int i = 0; i < 2; i++)
		assert_ok(gw_presence_ask(w->p[0].gw->presences, &w->p[1].gw->hit, &at, 1, &key,
					  3000, on_said_ask_on, &on, &q));
	assert_true(wait_for(w, &on.said.done, 5000));
	assert_int_equal(on.told, 2);
	assert_int_not_equal(on.said.err, 0);
}

/* --- strangers -------------------------------------------------------------------------------- */

struct got {
	bool done;
	int err, status;
	char body[512];
};

static void on_got(const struct https_answer *a, void *arg)
{
	struct got *g = arg;

	g->done = true;
	g->err = a->err;
	g->status = a->status;
	snprintf(g->body, sizeof(g->body), "%.*s", (int)a->len, a->body ? a->body : "");
}

static struct got get(struct world *w, struct https_client *c, const char *path, const char *proof)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(w->p[1].port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char header[128];
	struct https_request *g;
	struct got got = {0};

	snprintf(header, sizeof(header), P2P_OPP_MEMBER_HEADER ": %s", proof ? proof : "");
	assert_ok(https_client_ask(c, &w->p[1].gw->hit, (struct sockaddr *)&in,
				   &(struct https_ask){.method = "GET",
						       .path = path,
						       .header = {proof ? header : NULL}},
				   2000, on_got, &got, &g));
	assert_true(wait_for(w, &got.done, 3000));
	return got;
}

static void test_strangers(void **state)
{
	static const uint8_t other_secret[32] = {1};
	struct world *w = *state;
	struct gw *gw = w->p[1].gw;
	struct https_client_config config = {
		.identity = w->stranger_tls,
		.idle_max = 4,
		.connections_per_peer = 2,
		.requests_max = 16,
		.idle_s = 10,
		.body_max = 4096,
		.headers_max = 4096,
	};
	struct p2p_opp_path path = {.version = 1, .overlay = gw->overlay, .resource = P2P_OPP_PEER};
	const struct p2p_hit *me = gw_identity_hit(w->stranger);
	char text[P2P_OPP_PATH_MAX], proof[P2P_OPP_MEMBER_MAX];
	uint64_t now = gw_wall(gw);
	struct p2p_opp_peer peer;
	struct https_client *c;
	struct got g;

	assert_ok(https_client_new(&c, w->base, &config));
	p2p_opp_path_print(&path, text);
	/* a key of one's own is not enough */
	assert_int_equal(get(w, c, text, NULL).status, 403);
	assert_int_equal(get(w, c, text, "1:00").status, 403);
	assert_ok(p2p_opp_member_make(proof, other_secret, sizeof(other_secret), &gw->overlay, me,
				      &gw->hit, now, gw->crypto));
	g = get(w, c, text, proof);
	assert_int_equal(g.status, 403);
	assert_non_null(strstr(g.body, "\"member\""));
	/* nor is what another member said: it names that member */
	assert_ok(p2p_opp_member_make(proof, gw->secret.b, gw->secret.len, &gw->overlay,
				      &w->p[0].gw->hit, &gw->hit, now, gw->crypto));
	assert_int_equal(get(w, c, text, proof).status, 403);
	/* said to somebody else; long ago; for another overlay */
	assert_ok(p2p_opp_member_make(proof, gw->secret.b, gw->secret.len, &gw->overlay, me,
				      &w->p[2].gw->hit, now, gw->crypto));
	assert_int_equal(get(w, c, text, proof).status, 403);
	assert_ok(p2p_opp_member_make(proof, gw->secret.b, gw->secret.len, &gw->overlay, me,
				      &gw->hit, now - 121000, gw->crypto));
	assert_int_equal(get(w, c, text, proof).status, 403);
	path.overlay.b[0] ^= 1;
	p2p_opp_path_print(&path, text);
	assert_ok(p2p_opp_member_make(proof, gw->secret.b, gw->secret.len, &path.overlay, me,
				      &gw->hit, now, gw->crypto));
	g = get(w, c, text, proof);
	assert_int_equal(g.status, 404);
	assert_non_null(strstr(g.body, "\"overlay\""));
	assert_int_equal(gw->metrics.asked_strangers, 7);
	/* with the secret it is a member, and its clock may be a minute off */
	path.overlay.b[0] ^= 1;
	p2p_opp_path_print(&path, text);
	assert_ok(p2p_opp_member_make(proof, gw->secret.b, gw->secret.len, &gw->overlay, me,
				      &gw->hit, now + 60000, gw->crypto));
	g = get(w, c, text, proof);
	assert_int_equal(g.status, 200);
	assert_ok(p2p_opp_peer_decode(&peer, g.body, strlen(g.body)));
	assert_ok(p2p_hit_cmp(&peer.hit, &gw->hit));
	assert_int_equal(peer.n_uris, 2);
	/* what is not there */
	assert_int_equal(get(w, c, "/v1/x", proof).status, 404);
	g = get(w, c, "/v2/whatever", proof);
	assert_int_equal(g.status, 404);
	assert_non_null(strstr(g.body, "\"versions\":[1]"));
	https_client_free(c);
}

/* Shutting down with everything under way. */
static void test_stop_while_asking(void **state)
{
	struct world *w = *state;
	struct routed a = {0}, b = {0};
	uint16_t port;
	int fd = silent_listener(&port);

	strangers(w);
	plant(w, 1, "mia", port);
	plant(w, 2, "mia", w->p[2].port);
	gw_route(w->p[0].gw->routes, "mia", 3, 3000, true, on_routed, &a);
	gw_route(w->p[0].gw->routes, "nina", 4, 3000, true, on_routed, &b);
	run_for(w, 60);
	assert_false(a.done);
	peer_stop(&w->p[0]);
	assert_true(a.done && b.done);
	assert_int_equal(a.err, ETIMEDOUT);
	close(fd);
}

static int skip_without_loopback(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), err;

	err = bind(fd, (struct sockaddr *)&in, sizeof(in));
	close(fd);
	return err;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* --- phones that have gone to another peer --- */

static struct {
	unsigned int n;
	uint32_t instance;
	char name[16];
} moved;

static void on_moved(const struct p2p_hit *hit, const uint32_t *instance, unsigned int n,
		     const char *name, size_t len, void *arg)
{
	(void)hit;
	(void)arg;
	moved.n += n;
	moved.instance = instance[0];
	snprintf(moved.name, sizeof(moved.name), "%.*s", (int)len, name);
}

static void has_phone(struct world *w, unsigned int i, const char *name, uint32_t instance)
{
	uint64_t seen;

	gw_users_publish(w->p[i].gw->users, name, strlen(name), 1, ++w->p[i].seq, &instance, 1,
			 &seen);
}

/* The record by which peer i says that it has it. */
static struct p2p_userset_entry record_of(struct world *w, unsigned int i, uint32_t instance)
{
	struct p2p_userset_entry e = {
		.hit = w->p[i].gw->hit, .n_gateways = 1, .n_instances = 1, .instance = {instance}};

	e.gateway[0].family = 4;
	e.gateway[0].port = w->p[i].port;
	memcpy(e.gateway[0].addr, (const uint8_t[]){127, 0, 0, 1}, 4);
	return e;
}

/* Nobody else, such as the cache, tells it of records. */
static struct gw_moves *moves_alone(struct world *w, unsigned int i)
{
	struct gw_moves *m;

	gw_moves_free(w->p[i].gw->moves);
	w->p[i].gw->moves = NULL;
	w->p[i].gw->moves_event = on_moved;
	assert_int_equal(gw_moves_new(&m, w->p[i].gw), 0);
	return m;
}

static void no_moves_left(struct world *w, const struct gw_moves *m)
{
	for (unsigned int k = 0; k < 500 && gw_moves_count(m); k++)
		run_for(w, 20);
	assert_int_equal(gw_moves_count(m), 0);
}

static void test_moves(void **state)
{
	struct world *w = *state;
	struct gw_moves *m = moves_alone(w, 0), *theirs = moves_alone(w, 1);
	struct p2p_userset_entry e;

	memset(&moved, 0, sizeof(moved));
	has_phone(w, 0, "alice", 5);
	run_for(w, 30);
	has_phone(w, 1, "alice", 5);
	e = record_of(w, 1, 5);
	assert_true(gw_moves_other(m, "alice", 5, &e));
	no_moves_left(w, m);
	assert_int_equal(moved.n, 1);
	assert_int_equal(moved.instance, 5);
	assert_string_equal(moved.name, "alice");
	assert_int_equal(metrics(w, 0)->asks_yes, 1);
	/* the other one has it for longer, and asks as well */
	e = record_of(w, 0, 5);
	assert_true(gw_moves_other(theirs, "alice", 5, &e));
	no_moves_left(w, theirs);
	assert_int_equal(moved.n, 1);
	/* what concerns nobody here is not asked */
	e = record_of(w, 1, 6);
	assert_true(gw_moves_other(m, "alice", 5, &e));
	assert_true(gw_moves_other(m, "nobody", 6, &e));
	e = record_of(w, 1, 5);
	e.tombstone = true;
	assert_true(gw_moves_other(m, "alice", 5, &e));
	assert_int_equal(gw_moves_count(m), 0);
	gw_moves_free(theirs);
	gw_moves_free(m);
}

/* A record that changes while it is asked about is asked about again. */
static void test_moves_again(void **state)
{
	struct world *w = *state;
	struct gw_moves *m = moves_alone(w, 0);
	struct p2p_userset_entry e = record_of(w, 1, 5);

	memset(&moved, 0, sizeof(moved));
	has_phone(w, 0, "alice", 5);
	serve(w, 1, "alice");
	run_for(w, 30);
	assert_true(gw_moves_other(m, "alice", 5, &e));
	assert_true(gw_moves_other(m, "alice", 5, &e)); /* not asked yet: once will do */
	assert_int_equal(gw_moves_count(m), 1);
	for (unsigned int i = 0; i < 100 && !metrics(w, 1)->answers_yes; i++)
		event_base_loop(w->base, EVLOOP_ONCE);
	assert_int_equal(metrics(w, 0)->asks_yes, 0);
	/* it has answered that the phone is not there; now it is, and its record says so */
	has_phone(w, 1, "alice", 5);
	assert_true(gw_moves_other(m, "alice", 5, &e));
	no_moves_left(w, m);
	assert_int_equal(metrics(w, 0)->asks_yes, 2);
	assert_int_equal(moved.n, 1);
	gw_moves_free(m);
}

/* One that was in vain is compared again when a member lives that was taken for dead; no other is.
 */
static void test_moves_left(void **state)
{
	struct world *w = *state;
	struct gw *gw = w->p[0].gw;
	const struct p2p_userset_entry *known;
	struct p2p_userset_entry e;
	struct p2p_record rec;
	uint8_t copy[P2P_RECORD_MAX];
	const uint8_t *bytes;
	size_t len;

	memset(&moved, 0, sizeof(moved));
	gw->moves_event = on_moved;
	has_phone(w, 0, "alice", 5);
	run_for(w, 30);
	has_phone(w, 1, "alice", 5);
	for (unsigned int i = 0; i < 250 && !moved.n; i++)
		run_for(w, 20);
	assert_int_equal(moved.n, 1);
	no_moves_left(w, gw->moves);
	gw_moves_alive(gw->moves);
	run_for(w, 500);
	assert_int_equal(moved.n, 1);
	known = gw_cache_known(gw->cache, "alice", 5, &w->p[1].gw->hit);
	assert_non_null(known);
	e = *known; /* valid until the next change only */
	gw_cache_uncompared(gw->cache, "alice", 5, &e.hit, e.order + 1); /* not this one */
	gw_moves_alive(gw->moves);
	run_for(w, 500);
	assert_int_equal(moved.n, 1);
	gw_cache_uncompared(gw->cache, "alice", 5, &e.hit, e.order);
	gw_moves_alive(gw->moves);
	run_for(w, 500);
	assert_int_equal(moved.n, 2);
	no_moves_left(w, gw->moves);
	/* one that comes back as a new member, as after ten minutes, will do */
	gw_cache_uncompared(gw->cache, "alice", 5, &e.hit, e.order);
	bytes = gw_gossip_bytes(gw->gossip, &w->p[2].gw->hit, &len);
	assert_non_null(bytes);
	assert_true(len <= sizeof(copy));
	memcpy(copy, bytes, len);
	assert_ok(p2p_record_decode(&rec, copy, len));
	gw_gossip_forget(gw->gossip, &w->p[2].gw->hit);
	assert_int_equal(gw_gossip_members(gw->gossip), 2);
	gw_gossip_record(gw->gossip, &w->p[2].gw->hit, &rec, copy, len);
	for (unsigned int i = 0; i < 250 && moved.n == 2; i++)
		run_for(w, 20);
	assert_int_equal(moved.n, 3);
	assert_int_equal(gw_gossip_members(gw->gossip), 3);
	no_moves_left(w, gw->moves);
}

/* More than can be under way at once wait for their turn; more than can wait are compared again. */
static void test_many_moves(void **state)
{
	struct world *w = *state;
	struct gw_moves *m = moves_alone(w, 0);
	struct p2p_userset_entry e = record_of(w, 1, 5);
	unsigned int refused = 0;
	char name[16];

	memset(&moved, 0, sizeof(moved));
	for (unsigned int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "user%u", i);
		has_phone(w, 0, name, 5);
	}
	run_for(w, 30);
	for (unsigned int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "user%u", i);
		has_phone(w, 1, name, 5);
		assert_true(gw_moves_other(m, name, strlen(name), &e));
	}
	assert_int_equal(gw_moves_count(m), 300);
	no_moves_left(w, m);
	assert_int_equal(moved.n, 300);
	/* its gateway is away: asked for a while, then no more; none more than there is room for */
	peer_stop(&w->p[1]);
	for (unsigned int i = 0; i < 9000; i++) {
		snprintf(name, sizeof(name), "more%u", i);
		has_phone(w, 0, name, 5);
		refused += !gw_moves_other(m, name, strlen(name), &e);
	}
	assert_int_equal(gw_moves_count(m), 9000 - refused);
	assert_true(refused > 0);
	assert_int_equal(metrics(w, 0)->limit_moves, refused);
	gw_moves_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_yes),
		TEST(test_unknown_user),
		TEST(test_stale_record),
		TEST(test_moved_without_record),
		TEST(test_next_candidate),
		TEST(test_moved),
		TEST(test_orphan_is_kept),
		TEST(test_not_synced),
		TEST(test_mixed),
		TEST(test_impostor),
		TEST(test_hanging_while_late),
		TEST(test_hanging),
		TEST(test_dead),
		TEST(test_many_at_once),
		TEST(test_many_of_an_older_peer),
		TEST(test_room_for_another),
		TEST(test_rubbish),
		TEST(test_strangers),
		TEST(test_stop_while_asking),
		TEST(test_distance),
		TEST(test_moves),
		TEST(test_moves_again),
		TEST(test_moves_left),
		TEST(test_many_moves),
	};

	signal(SIGPIPE, SIG_IGN);
	if (skip_without_loopback()) {
		puts("no loopback here");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
