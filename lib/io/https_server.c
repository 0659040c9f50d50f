/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection is evhttp's; beside it, as data of its SSL, is what we count and time. It goes with
 * the SSL. To close one, its socket is shut down: evhttp sees the end of the stream, and cleans up.
 * Its deadline is from request to request, however slowly bytes trickle in. */
#include "lib/io/https_server.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Above connections_max, so that those who come then are told so. */
#define SPARE 16
#define LISTENERS_MAX 16
#define BACKLOG 128

struct conn {
	struct https_server *s; /* NULL: the server is gone */
	LIST_ENTRY(conn) all;
	struct bufferevent *bev;
	struct event *timer;
	struct in6_addr addr;
	bool addressed; /* addr is set, and it was counted */
	bool known;	/* hit and cert are set */
	struct p2p_hit hit;
	X509 *cert;
	uint64_t tokens, at_ms; /* thousandths of a request */
};

struct https_server {
	struct https_server_config config;
	struct event_base *base;
	struct evhttp *http;
	SSL_CTX *ctx;
	struct evconnlistener *listener[LISTENERS_MAX];
	unsigned int n_listeners, n_conns;
	bool paused;
	LIST_HEAD(, conn) conns;
	struct https_server_stats stats;
};

struct https_exchange {
	struct https_server *s;
	struct evhttp_request *req;
	const struct conn *conn;
	bool replied;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void arm(struct conn *c, unsigned int ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

	event_add(c->timer, &tv);
}

/* Listening stops while there are too many. */
static void pause_update(struct https_server *s)
{
	bool pause = s->n_conns >= s->config.connections_max + SPARE;

	if (pause == s->paused)
		return;
	s->paused = pause;
	for (unsigned int i = 0; i < s->n_listeners; i++) {
		if (pause)
			evconnlistener_disable(s->listener[i]);
		else
			evconnlistener_enable(s->listener[i]);
	}
}

static void conn_unlink(struct conn *c)
{
	if (!c->s)
		return;
	LIST_REMOVE(c, all);
	c->s->n_conns--;
	c->s = NULL;
}

static void conn_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	struct conn *c = ptr;
	struct https_server *s;

	(void)parent;
	(void)ad;
	(void)idx;
	(void)argl;
	(void)argp;
	if (!c)
		return;
	s = c->s;
	conn_unlink(c);
	if (s)
		pause_update(s);
	event_free(c->timer);
	X509_free(c->cert);
	free(c);
}

static int conn_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_get_ex_new_index(0, NULL, NULL, NULL, conn_free);
	return index;
}

static void conn_cut(struct conn *c)
{
	evutil_socket_t fd = bufferevent_getfd(c->bev);

	if (fd >= 0)
		shutdown(fd, SHUT_RDWR);
}

static int address_of(evutil_socket_t fd, struct in6_addr *addr)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);

	if (fd < 0 || getpeername(fd, (struct sockaddr *)&ss, &len))
		return ENOTCONN;
	memset(addr, 0, sizeof(*addr));
	if (ss.ss_family == AF_INET)
		memcpy(addr, &((struct sockaddr_in *)&ss)->sin_addr, 4);
	else if (ss.ss_family == AF_INET6)
		*addr = ((struct sockaddr_in6 *)&ss)->sin6_addr;
	else
		return EAFNOSUPPORT;
	return 0;
}

/* First at once, when evhttp has given it its socket; then at its deadline. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg, *o;
	struct https_server *s = c->s;
	unsigned int n = 0;
	int one = 1;

	(void)fd;
	(void)what;
	if (!s)
		return;
	if (c->addressed) {
		s->stats.closed_slow++;
		conn_cut(c);
		return;
	}
	c->addressed = true;
	/* an answer goes out as several TLS records: none waits for the other side's
	 * acknowledgement */
	setsockopt(bufferevent_getfd(c->bev), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (address_of(bufferevent_getfd(c->bev), &c->addr)) {
		conn_cut(c);
		return;
	}
	LIST_FOREACH(o, &s->conns, all)
		n += o->addressed && !memcmp(&o->addr, &c->addr, sizeof(c->addr));
	if (n > s->config.connections_per_address) {
		s->stats.closed_limit++;
		conn_cut(c);
		return;
	}
	arm(c, s->config.handshake_ms);
}

/* NULL would make evhttp speak without TLS: on_request refuses whatever has no SSL. */
static struct bufferevent *on_accept(struct event_base *base, void *arg)
{
	struct https_server *s = arg;
	struct conn *c = calloc(1, sizeof(*c));
	SSL *ssl = SSL_new(s->ctx);

	if (!c || !ssl)
		goto fail;
	c->timer = event_new(base, -1, 0, on_timer, c);
	if (!c->timer)
		goto fail;
	c->tokens = 2000ull * s->config.requests_per_s;
	c->at_ms = now_ms();
	if (SSL_set_ex_data(ssl, conn_index(), c) != 1)
		goto fail;
	c->bev = bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
						BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev) {
		SSL_free(ssl); /* and c with it */
		return NULL;
	}
	bufferevent_openssl_set_allow_dirty_shutdown(c->bev, 1);
	c->s = s;
	LIST_INSERT_HEAD(&s->conns, c, all);
	s->n_conns++;
	s->stats.accepted++;
	arm(c, 0);
	pause_update(s);
	return c->bev;
fail:
	if (c && c->timer)
		event_free(c->timer);
	free(c);
	SSL_free(ssl);
	return NULL;
}

static struct conn *conn_of(struct evhttp_request *req)
{
	struct evhttp_connection *ec = evhttp_request_get_connection(req);
	struct bufferevent *bev = ec ? evhttp_connection_get_bufferevent(ec) : NULL;
	SSL *ssl = bev ? bufferevent_openssl_get_ssl(bev) : NULL;
	struct conn *c = ssl ? SSL_get_ex_data(ssl, conn_index()) : NULL;
	X509 *cert;

	if (!c || c->known)
		return c;
	cert = SSL_get1_peer_certificate(ssl);
	if (cert)
		c->known = SSL_get_verify_result(ssl) == X509_V_OK &&
			   !https_tls_hit(cert, c->s->config.identity.crypto, &c->hit);
	if (c->known)
		c->cert = cert;
	else
		X509_free(cert);
	return c->known ? c : NULL;
}

static bool within_rate(struct conn *c)
{
	uint64_t now = now_ms(), max = 2000ull * c->s->config.requests_per_s;

	c->tokens += (now - c->at_ms) * c->s->config.requests_per_s;
	if (c->tokens > max)
		c->tokens = max;
	c->at_ms = now;
	if (c->tokens < 1000)
		return false;
	c->tokens -= 1000;
	return true;
}

static void on_request(struct evhttp_request *req, void *arg)
{
	static const char busy[] = "{\"error\":\"busy\",\"reason\":\"too many requests\"}";
	struct https_server *s = arg;
	struct conn *c = conn_of(req);
	struct https_exchange x = {.s = s, .req = req};

	s->stats.requests++;
	if (!c) {
		evhttp_send_error(req, 403, "Forbidden");
		return;
	}
	arm(c, s->config.idle_ms);
	x.conn = c;
	if (s->n_conns > s->config.connections_max) {
		evhttp_add_header(evhttp_request_get_output_headers(req), "Connection", "close");
		s->stats.refused_busy++;
		https_reply(&x, 503, 1, busy, sizeof(busy) - 1);
		return;
	}
	if (!within_rate(c)) {
		s->stats.refused_busy++;
		https_reply(&x, 503, 1, busy, sizeof(busy) - 1);
		return;
	}
	s->config.h(&x, s->config.arg);
	if (!x.replied)
		evhttp_send_error(req, 500, "Internal Server Error");
}

const struct p2p_hit *https_exchange_hit(const struct https_exchange *x)
{
	return &x->conn->hit;
}

X509 *https_exchange_cert(const struct https_exchange *x)
{
	return x->conn->cert;
}

const char *https_exchange_method(const struct https_exchange *x)
{
	switch (evhttp_request_get_command(x->req)) {
	case EVHTTP_REQ_PUT:
		return "PUT";
	case EVHTTP_REQ_POST:
		return "POST";
	case EVHTTP_REQ_DELETE:
		return "DELETE";
	default:
		return "GET";
	}
}

const char *https_exchange_body(const struct https_exchange *x, size_t *len)
{
	struct evbuffer *body = evhttp_request_get_input_buffer(x->req);

	*len = evbuffer_get_length(body);
	return *len ? (const char *)evbuffer_pullup(body, -1) : NULL;
}

const char *https_exchange_path(const struct https_exchange *x)
{
	return evhttp_request_get_uri(x->req);
}

const char *https_exchange_header(const struct https_exchange *x, const char *name)
{
	return evhttp_find_header(evhttp_request_get_input_headers(x->req), name);
}

static const char *reason_of(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 406:
		return "Not Acceptable";
	case 409:
		return "Conflict";
	case 503:
		return "Service Unavailable";
	}
	return "Error";
}

void https_reply(struct https_exchange *x, int status, unsigned int retry_after_s, const char *json,
		 size_t len)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(x->req);
	struct evbuffer *body = evbuffer_new();
	char text[16];

	if (x->replied) {
		if (body)
			evbuffer_free(body);
		return;
	}
	x->replied = true;
	evhttp_add_header(headers, "Content-Type", "application/json");
	evhttp_add_header(headers, "Cache-Control", "no-store");
	if (retry_after_s) {
		snprintf(text, sizeof(text), "%u", retry_after_s);
		evhttp_add_header(headers, "Retry-After", text);
	}
	if (!body || evbuffer_add(body, json, len))
		evhttp_send_error(x->req, 500, "Internal Server Error");
	else
		evhttp_send_reply(x->req, status, reason_of(status), body);
	if (body)
		evbuffer_free(body);
}

int https_server_listen(struct https_server *s, const char *address, uint16_t *port)
{
	struct sockaddr_storage ss = {0};
	int len = sizeof(ss), one = 1, err;
	struct evconnlistener *l;
	evutil_socket_t fd;
	socklen_t slen = sizeof(ss);

	if (s->n_listeners >= LISTENERS_MAX)
		return ENOSPC;
	if (evutil_parse_sockaddr_port(address, (struct sockaddr *)&ss, &len))
		return EINVAL;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (ss.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&ss, (socklen_t)len) || listen(fd, BACKLOG) ||
	    getsockname(fd, (struct sockaddr *)&ss, &slen)) {
		err = errno;
		close(fd);
		return err;
	}
	l = evconnlistener_new(s->base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
			       0, fd);
	if (!l) {
		close(fd);
		return ENOMEM;
	}
	if (!evhttp_bind_listener(s->http, l)) {
		evconnlistener_free(l);
		return ENOMEM;
	}
	s->listener[s->n_listeners++] = l;
	if (port)
		*port = ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
						       : ((struct sockaddr_in *)&ss)->sin_port);
	return 0;
}

int https_server_new(struct https_server **sp, struct event_base *base,
		     const struct https_server_config *config)
{
	struct https_server *s = calloc(1, sizeof(*s));
	int err = ENOMEM;

	if (!s)
		return ENOMEM;
	s->config = *config;
	s->base = base;
	s->http = evhttp_new(base);
	s->ctx = SSL_CTX_new(TLS_server_method());
	if (!s->http || !s->ctx || conn_index() < 0)
		goto fail;
	err = https_tls_setup(s->ctx, &config->identity);
	if (!err)
		err = https_tls_expect(s->ctx, config->identity.crypto, config->check, config->arg,
				       NULL);
	if (err)
		goto fail;
	evhttp_set_allowed_methods(s->http, EVHTTP_REQ_GET | EVHTTP_REQ_PUT | EVHTTP_REQ_POST |
						    EVHTTP_REQ_DELETE);
	evhttp_set_max_headers_size(s->http, (ev_ssize_t)config->headers_max);
	evhttp_set_max_body_size(s->http, (ev_ssize_t)config->body_max);
	evhttp_set_timeout(s->http, (int)(config->idle_ms / 1000) + 1);
	evhttp_set_bevcb(s->http, on_accept, s);
	evhttp_set_gencb(s->http, on_request, s);
	*sp = s;
	return 0;
fail:
	https_server_free(s);
	ERR_clear_error();
	return err;
}

void https_server_free(struct https_server *s)
{
	if (!s)
		return;
	/* libevent may free a connection's parts a loop later */
	while (!LIST_EMPTY(&s->conns)) {
		struct conn *c = LIST_FIRST(&s->conns);

		event_del(c->timer);
		conn_unlink(c);
	}
	if (s->http)
		evhttp_free(s->http);
	SSL_CTX_free(s->ctx);
	free(s);
}

int https_server_identity(struct https_server *s, const struct https_identity *identity)
{
	s->config.identity = *identity;
	if (SSL_CTX_use_certificate(s->ctx, identity->cert) == 1 &&
	    SSL_CTX_use_PrivateKey(s->ctx, identity->key) == 1)
		return 0;
	ERR_clear_error();
	return EINVAL;
}

void https_server_stats(const struct https_server *s, struct https_server_stats *stats)
{
	*stats = s->stats;
	stats->connections = s->n_conns;
}
