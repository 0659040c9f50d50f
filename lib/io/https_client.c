/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The URL's host is the peer's HIT, and CURLOPT_CONNECT_TO says where that is: so libcurl keeps and
 * reuses connections by HIT and address, and never one peer's for another. */
#include "lib/io/https_client.h"
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#define URL_MAX 256
/* Room for a body, at first. */
#define BODY_FIRST 1024
/* Handles of libcurl's that are kept for the next requests: to make one costs as much as a small
 * request does. */
#define SPARE_MAX 16
/* However busy it is, a connection does not outlive what its certificates say for long. */
#define LIFETIME_S 3600L

struct https_request {
	struct https_client *c;
	LIST_ENTRY(https_request) all;
	CURL *easy;
	struct curl_slist *to, *headers;
	struct p2p_hit hit;
	https_answer_h *h;
	void *arg;
	size_t headers_len, len, cap;
	bool too_long;
	bool identify, identified; /* only the HIT is wanted; it was shown */
	char error[CURL_ERROR_SIZE];
	char *body;
};

struct https_client {
	struct https_client_config config;
	struct event_base *base;
	CURLM *multi;
	struct event *timer, *idle;
	LIST_HEAD(, https_request) requests;
	unsigned int n_requests;
	CURL *spare[SPARE_MAX];
	unsigned int n_spare;
	uint64_t fresh_until_ms; /* mono: kept connections are not used before */
	struct https_client_stats stats;
};

static void done(struct https_client *c);
static void easy_keep(struct https_client *c, CURL *easy);

static void request_free(struct https_request *r)
{
	free(r->body);
	free(r);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Out of the client and libcurl; what is left is memory. */
static void request_leave(struct https_request *r)
{
	struct https_client *c = r->c;

	LIST_REMOVE(r, all);
	c->n_requests--;
	if (!c->n_requests && c->idle)
		event_add(c->idle, &(struct timeval){.tv_sec = c->config.idle_s});
	if (r->easy)
		curl_multi_remove_handle(c->multi, r->easy);
	easy_keep(c, r->easy);
	curl_slist_free_all(r->to);
	curl_slist_free_all(r->headers);
}

/* --- the loop --- */

static void on_socket_event(evutil_socket_t fd, short what, void *arg)
{
	struct https_client *c = arg;
	int running;

	curl_multi_socket_action(c->multi, fd,
				 (what & EV_READ ? CURL_CSELECT_IN : 0) |
					 (what & EV_WRITE ? CURL_CSELECT_OUT : 0),
				 &running);
	done(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct https_client *c = arg;
	int running;

	(void)fd;
	(void)what;
	curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	done(c);
}

static int on_timer_set(CURLM *multi, long ms, void *arg)
{
	struct https_client *c = arg;
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

	(void)multi;
	if (ms < 0)
		event_del(c->timer);
	else
		event_add(c->timer, &tv);
	return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socketp)
{
	short events = (short)((what & CURL_POLL_IN ? EV_READ : 0) |
			       (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);
	struct https_client *c = arg;
	struct event *ev = socketp;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (ev)
			event_free(ev);
		curl_multi_assign(c->multi, fd, NULL);
		return 0;
	}
	if (ev) {
		event_del(ev);
		event_assign(ev, c->base, fd, events, on_socket_event, c);
	} else {
		ev = event_new(c->base, fd, events, on_socket_event, c);
		curl_multi_assign(c->multi, fd, ev);
	}
	if (ev)
		event_add(ev, NULL);
	return 0;
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *addr)
{
	struct https_client *c = arg;
	curl_socket_t fd;

	(void)purpose;
	fd = socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	c->stats.connections++;
	c->stats.connects++;
	return fd;
}

static int on_close(void *arg, curl_socket_t fd)
{
	struct https_client *c = arg;

	c->stats.connections--;
	return close(fd);
}

static CURLM *multi_new(struct https_client *c)
{
	CURLM *multi = curl_multi_init();

	if (multi && !curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket) &&
	    !curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, c) &&
	    !curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer_set) &&
	    !curl_multi_setopt(multi, CURLMOPT_TIMERDATA, c) &&
	    !curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)c->config.idle_max) &&
	    !curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS,
			       (long)c->config.connections_per_peer))
		return multi;
	if (multi)
		curl_multi_cleanup(multi);
	return NULL;
}

/* libcurl looks at connections that are idle or were closed by the other side only when a request
 * comes. When none has come for idle_s all of them go. */
static void on_idle(evutil_socket_t fd, short what, void *arg)
{
	struct https_client *c = arg;
	CURLM *fresh;

	(void)fd;
	(void)what;
	if (c->n_requests || !c->stats.connections)
		return;
	fresh = multi_new(c);
	if (!fresh)
		return; /* memory is short: the next request sees to them */
	curl_multi_cleanup(c->multi);
	event_del(c->timer);
	c->multi = fresh;
	ERR_clear_error();
}

/* --- one request --- */

struct expected {
	struct p2p_hit hit;
	const struct https_client_config *config;
	struct https_request *identify; /* NULL: this HIT is demanded */
};

static bool on_certificate(X509 *cert, const struct p2p_hit *hit, void *arg)
{
	const struct expected *e = arg;

	if (e->identify) {
		e->identify->hit = *hit;
		e->identify->identified = true;
		return false;
	}
	if (p2p_hit_cmp(hit, &e->hit))
		return false;
	return e->config->check ? e->config->check(cert, hit, e->config->arg)
				: https_tls_current(cert);
}

/* For each new connection. */
static CURLcode on_tls(CURL *easy, void *ctx, void *arg)
{
	struct https_request *r = arg;
	struct expected *e = malloc(sizeof(*e));

	(void)easy;
	if (!e)
		return CURLE_OUT_OF_MEMORY;
	*e = (struct expected){
		.hit = r->hit, .config = &r->c->config, .identify = r->identify ? r : NULL};
	/* whatever libcurl has set by now: nobody is believed who does not have the key */
	if (https_tls_expect(ctx, r->c->config.identity.crypto, on_certificate, e, free)) {
		free(e);
		return CURLE_OUT_OF_MEMORY;
	}
	return https_tls_setup(ctx, &r->c->config.identity) ? CURLE_SSL_CERTPROBLEM : CURLE_OK;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	struct https_request *r = arg;

	(void)data;
	r->headers_len += size * n;
	if (r->headers_len <= r->c->config.headers_max)
		return size * n;
	r->too_long = true;
	return 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct https_request *r = arg;

	n *= size;
	if (n > r->c->config.body_max - r->len) {
		r->too_long = true;
		return 0;
	}
	if (r->len + n > r->cap) {
		size_t cap = r->len + n < BODY_FIRST ? BODY_FIRST : 2 * (r->len + n);
		char *body = realloc(r->body, cap);

		if (!body)
			return 0;
		r->body = body;
		r->cap = cap;
	}
	memcpy(r->body + r->len, data, n);
	r->len += n;
	return n;
}

static int error_of(const struct https_request *r, CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_OPERATION_TIMEDOUT:
		return ETIMEDOUT;
	case CURLE_COULDNT_CONNECT:
		return ECONNREFUSED;
	case CURLE_PEER_FAILED_VERIFICATION:
		return EPERM;
	case CURLE_OUT_OF_MEMORY:
		return ENOMEM;
	case CURLE_WRITE_ERROR:
		return r->too_long ? EMSGSIZE : EPROTO;
	default:
		return EPROTO;
	}
}

static void answer(struct https_request *r, CURLcode code)
{
	struct https_client *c = r->c;
	struct https_answer a = {.err = error_of(r, code)};
	curl_off_t us = 0, wait = 0;
	long number = 0;

	curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &number);
	a.status = (int)number;
	number = 1;
	curl_easy_getinfo(r->easy, CURLINFO_NUM_CONNECTS, &number);
	a.reused = !number;
	curl_easy_getinfo(r->easy, CURLINFO_TOTAL_TIME_T, &us);
	a.took_us = (uint32_t)us;
	us = 0;
	curl_easy_getinfo(r->easy, CURLINFO_APPCONNECT_TIME_T, &us);
	a.tls_us = a.reused ? 0 : (uint32_t)us;
	curl_easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &wait);
	a.retry_after_s = wait > 0 && wait < 3600 ? (unsigned int)wait : 0;
	a.identified = r->identified;
	a.hit = r->hit;
	a.body = r->body ? r->body : "";
	a.len = r->len;
	if (a.err)
		snprintf(a.text, sizeof(a.text), "%.150s",
			 *r->error ? r->error : curl_easy_strerror(code));
	if (a.err)
		c->stats.failed++;
	else if (a.reused)
		c->stats.reused++;
	/* it leaves first, so that h may do what it likes */
	request_leave(r);
	r->h(&a, r->arg);
	request_free(r);
}

static void done(struct https_client *c)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(c->multi, &left))) {
		struct https_request *r = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &r);
		answer(r, msg->data.result);
	}
}

/* Where to connect instead of to the HIT: "::192.0.2.1:7443", for any host and port. */
static int connect_to(const struct sockaddr *addr, char *text, size_t cap)
{
	char host[INET6_ADDRSTRLEN];

	if (addr->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)addr;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(text, cap, "::%s:%u", host, ntohs(in->sin_port));
	} else if (addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(text, cap, "::[%s]:%u", host, ntohs(in6->sin6_port));
	} else {
		return EINVAL;
	}
	return 0;
}

#define SET(option, value) ok = ok && curl_easy_setopt(easy, option, value) == CURLE_OK

/* What is the same for all requests. */
static CURL *easy_new(struct https_client *c)
{
	CURL *easy = curl_easy_init();
	bool ok = easy != NULL;

	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	SET(CURLOPT_SSL_ENABLE_ALPN, 0L);
	/* names and chains mean nothing here; on_tls demands the key */
	SET(CURLOPT_SSL_VERIFYPEER, 0L);
	SET(CURLOPT_SSL_VERIFYHOST, 0L);
	SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
	SET(CURLOPT_SSL_CTX_FUNCTION, on_tls);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
	SET(CURLOPT_OPENSOCKETDATA, c);
	SET(CURLOPT_CLOSESOCKETFUNCTION, on_close);
	SET(CURLOPT_CLOSESOCKETDATA, c);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_MAXAGE_CONN, (long)c->config.idle_s);
	SET(CURLOPT_MAXLIFETIME_CONN, LIFETIME_S);
	if (ok)
		return easy;
	curl_easy_cleanup(easy);
	return NULL;
}

static CURL *easy_take(struct https_client *c)
{
	return c->n_spare ? c->spare[--c->n_spare] : easy_new(c);
}

/* Everything that request_setup and body_setup set is set anew by the next request. */
static void easy_keep(struct https_client *c, CURL *easy)
{
	if (easy && c->n_spare < SPARE_MAX) {
		curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, NULL);
		curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
		c->spare[c->n_spare++] = easy;
	} else {
		curl_easy_cleanup(easy);
	}
}

static bool body_setup(CURL *easy, const struct https_ask *ask)
{
	bool ok = true;

	SET(CURLOPT_HTTPGET, 1L);
	if (ask->body) {
		SET(CURLOPT_POSTFIELDSIZE, (long)ask->len);
		SET(CURLOPT_COPYPOSTFIELDS, ask->body);
	}
	SET(CURLOPT_CUSTOMREQUEST, strcmp(ask->method, "GET") ? ask->method : NULL);
	return ok;
}

static bool request_setup(struct https_request *r, const char *url, long deadline_ms)
{
	CURL *easy = r->easy;
	bool ok = true;

	SET(CURLOPT_URL, url);
	SET(CURLOPT_CONNECT_TO, r->to);
	SET(CURLOPT_HTTPHEADER, r->headers);
	SET(CURLOPT_PRIVATE, r);
	SET(CURLOPT_ERRORBUFFER, r->error);
	SET(CURLOPT_SSL_CTX_DATA, r);
	SET(CURLOPT_HEADERDATA, r);
	SET(CURLOPT_WRITEDATA, r);
	SET(CURLOPT_FRESH_CONNECT, now_ms() < r->c->fresh_until_ms || r->identify ? 1L : 0L);
	SET(CURLOPT_FORBID_REUSE, r->identify ? 1L : 0L);
	SET(CURLOPT_TIMEOUT_MS, deadline_ms);
	return ok;
}

static bool header_add(struct https_request *r, const char *line)
{
	struct curl_slist *list = curl_slist_append(r->headers, line);

	if (list)
		r->headers = list;
	return list != NULL;
}

static bool headers_setup(struct https_request *r, const struct https_ask *ask)
{
	bool ok = true;

	for (unsigned int i = 0; i < HTTPS_HEADERS_MAX && ask->header[i]; i++)
		ok = ok && header_add(r, ask->header[i]);
	/* without a round trip to ask whether the body may come */
	if (ask->body)
		ok = ok && header_add(r, "Content-Type: application/json") &&
		     header_add(r, "Expect:");
	return ok;
}

static int request_begin(struct https_client *c, const struct p2p_hit *hit,
			 const struct sockaddr *addr, const struct https_ask *ask,
			 uint64_t deadline_ms, bool identify, https_answer_h *h, void *arg,
			 struct https_request **rp)
{
	char url[URL_MAX], to[64], text[P2P_HIT_TEXT_MAX];
	struct https_request *r;
	int n;

	if (c->n_requests >= c->config.requests_max)
		return EBUSY;
	if (connect_to(addr, to, sizeof(to)) || !deadline_ms || deadline_ms > 3600000)
		return EINVAL;
	p2p_hit_print(hit, text);
	n = snprintf(url, sizeof(url), "https://[%s]%s", text, ask->path);
	if (n < 0 || (size_t)n >= sizeof(url))
		return EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return ENOMEM;
	r->c = c;
	r->hit = *hit;
	r->identify = identify;
	r->h = h;
	r->arg = arg;
	r->easy = easy_take(c);
	r->to = curl_slist_append(NULL, to);
	LIST_INSERT_HEAD(&c->requests, r, all);
	c->n_requests++;
	if (!r->easy || !r->to || !headers_setup(r, ask) ||
	    !request_setup(r, url, (long)deadline_ms) || !body_setup(r->easy, ask) ||
	    curl_multi_add_handle(c->multi, r->easy) != CURLM_OK) {
		request_leave(r);
		request_free(r);
		return ENOMEM;
	}
	c->stats.requests++;
	*rp = r;
	return 0;
}

int https_client_ask(struct https_client *c, const struct p2p_hit *hit, const struct sockaddr *addr,
		     const struct https_ask *ask, uint64_t deadline_ms, https_answer_h *h,
		     void *arg, struct https_request **rp)
{
	return request_begin(c, hit, addr, ask, deadline_ms, false, h, arg, rp);
}

int https_client_identify(struct https_client *c, const struct sockaddr *addr, uint64_t deadline_ms,
			  https_answer_h *h, void *arg, struct https_request **rp)
{
	static const struct p2p_hit nobody;

	return request_begin(c, &nobody, addr, &(struct https_ask){.method = "GET", .path = "/"},
			     deadline_ms, true, h, arg, rp);
}

void https_client_cancel(struct https_request *r)
{
	request_leave(r);
	request_free(r);
}

int https_client_new(struct https_client **cp, struct event_base *base,
		     const struct https_client_config *config)
{
	struct https_client *c = calloc(1, sizeof(*c));

	if (!c)
		return ENOMEM;
	if (curl_global_init(CURL_GLOBAL_DEFAULT)) {
		free(c);
		return ENOMEM;
	}
	c->config = *config;
	c->base = base;
	c->timer = event_new(base, -1, 0, on_timer, c);
	c->idle = event_new(base, -1, 0, on_idle, c);
	c->multi = multi_new(c);
	if (!c->timer || !c->idle || !c->multi) {
		https_client_free(c);
		return ENOMEM;
	}
	*cp = c;
	return 0;
}

void https_client_free(struct https_client *c)
{
	if (!c)
		return;
	while (!LIST_EMPTY(&c->requests))
		https_client_cancel(LIST_FIRST(&c->requests));
	while (c->n_spare)
		curl_easy_cleanup(c->spare[--c->n_spare]);
	if (c->multi)
		curl_multi_cleanup(c->multi);
	if (c->timer)
		event_free(c->timer);
	if (c->idle)
		event_free(c->idle);
	free(c);
	curl_global_cleanup();
	ERR_clear_error();
}

void https_client_identity(struct https_client *c, const struct https_identity *identity)
{
	c->config.identity = *identity;
	/* those that are kept have shown the other one; by then they are closed */
	c->fresh_until_ms = now_ms() + 1000ull * c->config.idle_s;
}

void https_client_stats(const struct https_client *c, struct https_client_stats *stats)
{
	*stats = c->stats;
}
