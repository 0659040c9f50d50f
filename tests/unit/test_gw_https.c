/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HTTPS between peers: who is let in, what is bounded, which connections are kept. */
#include "tests/unit/test.h"
#include <arpa/inet.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "dht-gateway/keys/gateway_cert.h"
#include "dht-gateway/keys/gateway_crypto.h"
#include "lib/io/https_client.h"
#include "lib/io/https_server.h"

struct side {
	EVP_PKEY *key;
	struct p2p_crypto crypto;
	struct https_identity tls;
	struct p2p_hit hit;
};

struct world {
	struct event_base *base;
	struct side a, b;
	struct https_server *server;
	struct https_client *client;
	struct sockaddr_in addr;
	unsigned int requests;
	char method[8], body[128], two[8]; /* of the last one */
	size_t body_len;
	struct p2p_hit caller; /* of the last request */
	size_t answer;	       /* bytes to answer with */
};

static void side_make(struct side *s)
{
	uint8_t pubkey[P2P_PUBKEY_LEN];
	char text[P2P_HIT_TEXT_MAX];

	s->key = EVP_EC_gen("P-256");
	gw_crypto_init(&s->crypto, s->key);
	assert_ok(gw_crypto_pubkey(s->key, pubkey));
	assert_ok(p2p_hit_from_pubkey(&s->hit, pubkey, &s->crypto));
	p2p_hit_print(&s->hit, text);
	s->tls.key = s->key;
	s->tls.crypto = &s->crypto;
	assert_ok(gw_cert_make(&s->tls.cert, s->key, text));
}

static void side_free(struct side *s)
{
	X509_free(s->tls.cert);
	EVP_PKEY_free(s->key);
}

static void on_request(struct https_exchange *x, void *arg)
{
	static char body[8192];
	struct world *w = arg;
	const char *sent = https_exchange_body(x, &w->body_len);

	memset(body, ' ', sizeof(body));
	w->requests++;
	snprintf(w->method, sizeof(w->method), "%s", https_exchange_method(x));
	snprintf(w->body, sizeof(w->body), "%.*s", (int)w->body_len, sent ? sent : "");
	snprintf(w->two, sizeof(w->two), "%s",
		 https_exchange_header(x, "Two") ? https_exchange_header(x, "Two") : "");
	w->caller = *https_exchange_hit(x);
	https_reply(x, 200, 0, body, w->answer);
}

static struct https_server_config server_config(struct world *w)
{
	return (struct https_server_config){
		.identity = w->b.tls,
		.connections_max = 4,
		.connections_per_address = 64,
		.requests_per_s = 1000,
		.handshake_ms = 300,
		.idle_ms = 700,
		.body_max = 100,
		.headers_max = 1024,
		.h = on_request,
		.arg = w,
	};
}

static void server_start(struct world *w, const struct https_server_config *config)
{
	uint16_t port;

	assert_ok(https_server_new(&w->server, w->base, config));
	assert_ok(https_server_listen(w->server, "127.0.0.1", &port));
	w->addr = (struct sockaddr_in){.sin_family = AF_INET,
				       .sin_port = htons(port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void client_start(struct world *w, unsigned int idle_s)
{
	struct https_client_config config = {
		.identity = w->a.tls,
		.idle_max = 2,
		.connections_per_peer = 16,
		.requests_max = 16,
		.idle_s = idle_s,
		.body_max = 1000,
		.headers_max = 1000,
	};

	assert_ok(https_client_new(&w->client, w->base, &config));
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct https_server_config sc;

	w->base = event_base_new();
	w->answer = 2;
	side_make(&w->a);
	side_make(&w->b);
	client_start(w, 30);
	sc = server_config(w);
	server_start(w, &sc);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	https_client_free(w->client);
	https_server_free(w->server);
	side_free(&w->a);
	side_free(&w->b);
	event_base_free(w->base);
	free(w);
	return 0;
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

static bool wait_for(struct world *w, const bool *done, int ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	bool late = false;
	struct event *ev = event_new(w->base, -1, 0, on_late, &late);

	event_add(ev, &tv);
	while (!*done && !late)
		event_base_loop(w->base, EVLOOP_ONCE);
	event_free(ev);
	return *done;
}

static void run_for(struct world *w, int ms)
{
	const bool never = false;

	wait_for(w, &never, ms);
}

struct got {
	bool done;
	struct https_answer a;
};

static void on_got(const struct https_answer *a, void *arg)
{
	struct got *g = arg;

	assert_false(g->done);
	g->done = true;
	g->a = *a;
}

static void ask(struct world *w, const struct p2p_hit *hit, const char *header, uint64_t ms,
		struct got *g, struct https_request **gp)
{
	g->done = false;
	assert_ok(https_client_ask(
		w->client, hit, (struct sockaddr *)&w->addr,
		&(struct https_ask){.method = "GET", .path = "/x", .header = {header}}, ms, on_got,
		g, gp));
	assert_false(g->done);
}

static struct https_answer get(struct world *w, const char *header)
{
	struct https_request *unused;
	struct got g;

	ask(w, &w->b.hit, header, 2000, &g, &unused);
	assert_true(wait_for(w, &g.done, 3000));
	return g.a;
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void test_kept(void **state)
{
	struct world *w = *state;
	struct https_client_stats st;
	struct https_answer a = get(w, NULL);
	uint64_t start;

	assert_ok(a.err);
	assert_int_equal(a.status, 200);
	assert_false(a.reused);
	assert_true(a.tls_us > 0);
	assert_ok(p2p_hit_cmp(&w->caller, &w->a.hit));
	print_message("first request %u us, of these %u until TLS stood\n", a.took_us, a.tls_us);
	start = now_us();
	for (int i = 0; i < 200; i++) {
		a = get(w, NULL);
		assert_ok(a.err);
		assert_true(a.reused);
	}
	print_message("further ones %u us each\n", (unsigned int)((now_us() - start) / 200));
	https_client_stats(w->client, &st);
	assert_int_equal(st.connects, 1);
	assert_int_equal(st.connections, 1);
	/* the server lets go when it hears nothing; a new one is made */
	run_for(w, 1200);
	a = get(w, NULL);
	assert_ok(a.err);
	assert_false(a.reused);
}

/* The same address, another HIT: never over the kept connection. */
static void test_another_hit(void **state)
{
	struct world *w = *state;
	struct https_request *unused;
	struct got g;

	assert_ok(get(w, NULL).err);
	ask(w, &w->a.hit, NULL, 2000, &g, &unused);
	assert_true(wait_for(w, &g.done, 3000));
	assert_int_equal(g.a.err, EPERM);
	assert_int_equal(w->requests, 1);
}

static void test_expired_certificate(void **state)
{
	struct world *w = *state;

	X509_gmtime_adj(X509_getm_notAfter(w->b.tls.cert), -10);
	X509_sign(w->b.tls.cert, w->b.key, EVP_sha256());
	assert_int_equal(get(w, NULL).err, EPERM);
	X509_gmtime_adj(X509_getm_notAfter(w->b.tls.cert), 1000);
	X509_gmtime_adj(X509_getm_notBefore(w->a.tls.cert), 100);
	X509_sign(w->b.tls.cert, w->b.key, EVP_sha256());
	X509_sign(w->a.tls.cert, w->a.key, EVP_sha256());
	assert_int_equal(get(w, NULL).err, EPROTO); /* the server does not take ours */
	assert_int_equal(w->requests, 0);
}

static void test_sizes(void **state)
{
	struct world *w = *state;
	char header[2000] = "X: ";

	w->answer = 1000;
	assert_ok(get(w, NULL).err);
	w->answer = 1001;
	assert_int_equal(get(w, NULL).err, EMSGSIZE);
	w->answer = 2;
	memset(header + 3, 'x', sizeof(header) - 4);
	assert_int_not_equal(get(w, header).status, 200);
	assert_int_equal(w->requests, 2);
	/* and it is still well */
	assert_int_equal(get(w, NULL).status, 200);
}

static void test_deadline_and_cancel(void **state)
{
	struct world *w = *state;
	struct https_request *first, *second, *unused;
	struct got g = {0}, h = {0};
	uint64_t start = now_us();

	https_server_free(w->server);
	w->server = NULL;
	ask(w, &w->b.hit, NULL, 2000, &g, &first);
	assert_true(wait_for(w, &g.done, 3000));
	assert_int_equal(g.a.err, ECONNREFUSED);
	/* an address that swallows everything */
	w->addr.sin_addr.s_addr = inet_addr("127.0.0.1");
	{
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		socklen_t len = sizeof(w->addr);

		w->addr.sin_port = 0;
		assert_ok(bind(fd, (struct sockaddr *)&w->addr, len));
		assert_ok(listen(fd, 4));
		assert_ok(getsockname(fd, (struct sockaddr *)&w->addr, &len));
		start = now_us();
		ask(w, &w->b.hit, NULL, 200, &g, &first);
		ask(w, &w->b.hit, NULL, 200, &h, &second);
		https_client_cancel(second);
		assert_true(wait_for(w, &g.done, 3000));
		assert_int_equal(g.a.err, ETIMEDOUT);
		assert_in_range(now_us() - start, 190000, 1500000);
		run_for(w, 50);
		assert_false(h.done);
		/* and what is under way at the end is told nothing */
		ask(w, &w->b.hit, NULL, 200, &h, &unused);
		close(fd);
	}
}

static int dial(struct world *w)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_ok(connect(fd, (struct sockaddr *)&w->addr, sizeof(w->addr)));
	return fd;
}

static bool closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

/* Who says nothing, or nothing in TLS, is gone after handshake_ms. */
static void test_slow(void **state)
{
	struct world *w = *state;
	struct https_server_stats st;
	int silent = dial(w), plain = dial(w);

	assert_true(send(plain, "GET / HTTP/1.1\r\n\r\n", 18, 0) == 18);
	run_for(w, 100);
	assert_false(closed(silent));
	https_server_stats(w->server, &st);
	assert_int_equal(st.accepted, 2);
	run_for(w, 400);
	assert_true(closed(silent));
	https_server_stats(w->server, &st);
	assert_int_equal(st.connections, 0);
	assert_true(st.closed_slow >= 1);
	assert_int_equal(w->requests, 0);
	close(silent);
	close(plain);
}

static void test_connections_per_address(void **state)
{
	struct world *w = *state;
	struct https_server_config config = server_config(w);
	struct https_server_stats st;
	int fd[5];

	config.connections_per_address = 3;
	https_server_free(w->server);
	server_start(w, &config);
	for (int i = 0; i < 5; i++) {
		fd[i] = dial(w);
		run_for(w, 10);
	}
	run_for(w, 50);
	for (int i = 0; i < 5; i++)
		assert_int_equal(closed(fd[i]), i >= 3);
	https_server_stats(w->server, &st);
	assert_int_equal(st.closed_limit, 2);
	for (int i = 0; i < 5; i++)
		close(fd[i]);
	run_for(w, 50);
	assert_ok(get(w, NULL).err);
}

/* Beyond connections_max: 503, then not even accepted, and all well when they have gone. */
static void test_connections_max(void **state)
{
	struct world *w = *state;
	struct https_server_stats st;
	struct https_answer a;
	int fd[40];

	for (int i = 0; i < 4; i++)
		fd[i] = dial(w);
	run_for(w, 20);
	a = get(w, NULL);
	assert_ok(a.err);
	assert_int_equal(a.status, 503);
	assert_int_equal(a.retry_after_s, 1);
	assert_int_equal(w->requests, 0);
	for (int i = 4; i < 40; i++)
		fd[i] = dial(w);
	run_for(w, 50);
	https_server_stats(w->server, &st);
	assert_int_equal(st.connections, 20);
	for (int i = 0; i < 40; i++)
		close(fd[i]);
	run_for(w, 500);
	https_server_stats(w->server, &st);
	assert_int_equal(st.connections, 0);
	assert_int_equal(get(w, NULL).status, 200);
}

static void test_rate(void **state)
{
	struct world *w = *state;
	struct https_server_config config = server_config(w);
	int ok = 0, busy = 0;

	config.requests_per_s = 5;
	https_server_free(w->server);
	server_start(w, &config);
	for (int i = 0; i < 30; i++) {
		struct https_answer a = get(w, NULL);

		assert_ok(a.err);
		if (a.status == 503) {
			assert_int_equal(a.retry_after_s, 1);
			busy++;
		} else {
			ok++;
		}
	}
	assert_in_range(ok, 10, 25);
	assert_int_equal(ok + busy, 30);
	run_for(w, 500);
	assert_int_equal(get(w, NULL).status, 200);
}

static struct https_answer send_body(struct world *w, const char *method, const char *body)
{
	struct https_request *unused;
	struct got g = {0};

	assert_ok(https_client_ask(w->client, &w->b.hit, (struct sockaddr *)&w->addr,
				   &(struct https_ask){.method = method,
						       .path = "/x",
						       .header = {"One: 1", "Two: 2"},
						       .body = body,
						       .len = body ? strlen(body) : 0},
				   2000, on_got, &g, &unused));
	assert_true(wait_for(w, &g.done, 3000));
	return g.a;
}

static void test_methods(void **state)
{
	static const char *const bodies[] = {"{\"a\":1}", NULL};
	struct world *w = *state;
	char big[102];

	for (unsigned int i = 0; i < 2; i++) {
		const char *body = bodies[i];

		for (unsigned int j = 0; j < 3; j++) {
			static const char *const methods[] = {"PUT", "POST", "DELETE"};
			struct https_answer a = send_body(w, methods[j], j < 2 ? body : NULL);

			/* evhttp takes no PUT and POST that do not say how long they are */
			assert_ok(a.err);
			assert_int_equal(a.status, 200);
			assert_string_equal(w->method, methods[j]);
			assert_string_equal(w->body, j < 2 && body ? body : "");
			assert_string_equal(w->two, "2");
			/* without asking first, and over one connection */
			assert_int_equal(a.reused, i > 0 || j > 0);
		}
	}
	assert_int_equal(send_body(w, "GET", NULL).status, 200);
	assert_string_equal(w->method, "GET");
	/* none that there is no use for, and none that is too long */
	w->requests = 0;
	assert_int_not_equal(send_body(w, "PATCH", "{}").status, 200);
	assert_int_equal(w->requests, 0);
	memset(big, ' ', sizeof(big));
	big[100] = 0;
	assert_int_equal(send_body(w, "PUT", big).status, 200);
	big[100] = ' ';
	big[101] = 0;
	assert_int_not_equal(send_body(w, "PUT", big).status, 200);
	assert_int_equal(w->requests, 1);
	assert_int_equal(send_body(w, "PUT", "{}").status, 200);
}

/* Many peers that are not spoken to cost no connection. */
static void test_idle_max(void **state)
{
	struct world *w = *state;
	struct https_request *unused;
	struct https_client_stats st;
	struct got g[4];

	for (int i = 0; i < 4; i++)
		ask(w, &w->b.hit, NULL, 2000, &g[i], &unused);
	for (int i = 0; i < 4; i++)
		assert_true(wait_for(w, &g[i].done, 3000));
	https_client_stats(w->client, &st);
	assert_int_equal(st.connects, 4);
	assert_in_range(st.connections, 1, 2);
}

/* A connection that the other side has closed meanwhile is no exception. */
static void test_idle_s(void **state)
{
	struct world *w = *state;
	struct https_client_stats st;

	https_client_free(w->client);
	client_start(w, 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(send_body(w, "GET", NULL).status, 200);
		https_client_stats(w->client, &st);
		assert_int_equal(st.connections, 1);
		assert_int_equal(st.connects, i + 1);
		run_for(w, 1200);
		https_client_stats(w->client, &st);
		assert_int_equal(st.connections, 0);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_kept),
		TEST(test_another_hit),
		TEST(test_expired_certificate),
		TEST(test_sizes),
		TEST(test_methods),
		TEST(test_deadline_and_cancel),
		TEST(test_slow),
		TEST(test_connections_per_address),
		TEST(test_connections_max),
		TEST(test_rate),
		TEST(test_idle_max),
		TEST(test_idle_s),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
