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
#include <unistd.h>

#define URL_MAX 256

struct https_get {
	struct https_client *c;
	struct https_get *prev, *next;
	CURL *easy;
	struct curl_slist *to, *headers;
	struct p2p_hit hit;
	https_answer_h *h;
	void *arg;
	size_t headers_len, len;
	bool too_long;
	char error[CURL_ERROR_SIZE];
	char body[];
};

struct https_client {
	struct https_client_config config;
	struct event_base *base;
	CURLM *multi;
	struct event *timer;
	struct https_get *gets;
	unsigned int n_gets;
	struct https_client_stats stats;
};

static void done(struct https_client *c);

/* Out of the client and libcurl; what is left is memory. */
static void get_leave(struct https_get *g)
{
	struct https_client *c = g->c;

	if (g->prev)
		g->prev->next = g->next;
	else
		c->gets = g->next;
	if (g->next)
		g->next->prev = g->prev;
	c->n_gets--;
	if (g->easy)
		curl_multi_remove_handle(c->multi, g->easy);
	curl_easy_cleanup(g->easy);
	curl_slist_free_all(g->to);
	curl_slist_free_all(g->headers);
}

/* --- the loop ----------------------------------------------------------------------------------
 */

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
	struct https_client *c = arg;
	struct event *ev = socketp;

	(void)easy;
	if (ev)
		event_free(ev);
	ev = NULL;
	if (what != CURL_POLL_REMOVE) {
		ev = event_new(c->base, fd,
			       (short)((what & CURL_POLL_IN ? EV_READ : 0) |
				       (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST),
			       on_socket_event, c);
		if (ev)
			event_add(ev, NULL);
	}
	curl_multi_assign(c->multi, fd, ev);
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

/* --- one request -------------------------------------------------------------------------------
 */

static bool on_certificate(const struct p2p_hit *hit, void *arg)
{
	return !p2p_hit_cmp(hit, arg);
}

/* For each new connection. */
static CURLcode on_tls(CURL *easy, void *ctx, void *arg)
{
	struct https_get *g = arg;
	struct p2p_hit *hit = malloc(sizeof(*hit));

	(void)easy;
	if (!hit)
		return CURLE_OUT_OF_MEMORY;
	*hit = g->hit;
	/* whatever libcurl has set by now: nobody is believed who does not have the key */
	if (https_tls_expect(ctx, g->c->config.identity.crypto, on_certificate, hit, free)) {
		free(hit);
		return CURLE_OUT_OF_MEMORY;
	}
	return https_tls_setup(ctx, &g->c->config.identity) ? CURLE_SSL_CERTPROBLEM : CURLE_OK;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	struct https_get *g = arg;

	(void)data;
	g->headers_len += size * n;
	if (g->headers_len <= g->c->config.headers_max)
		return size * n;
	g->too_long = true;
	return 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct https_get *g = arg;

	n *= size;
	if (n > g->c->config.body_max - g->len) {
		g->too_long = true;
		return 0;
	}
	memcpy(g->body + g->len, data, n);
	g->len += n;
	return n;
}

static int error_of(const struct https_get *g, CURLcode code)
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
		return g->too_long ? EMSGSIZE : EPROTO;
	default:
		return EPROTO;
	}
}

static void answer(struct https_get *g, CURLcode code)
{
	struct https_client *c = g->c;
	struct https_answer a = {.err = error_of(g, code)};
	curl_off_t us = 0, wait = 0;
	long number = 0;

	curl_easy_getinfo(g->easy, CURLINFO_RESPONSE_CODE, &number);
	a.status = (int)number;
	number = 1;
	curl_easy_getinfo(g->easy, CURLINFO_NUM_CONNECTS, &number);
	a.reused = !number;
	curl_easy_getinfo(g->easy, CURLINFO_TOTAL_TIME_T, &us);
	a.took_us = (uint32_t)us;
	us = 0;
	curl_easy_getinfo(g->easy, CURLINFO_APPCONNECT_TIME_T, &us);
	a.tls_us = a.reused ? 0 : (uint32_t)us;
	curl_easy_getinfo(g->easy, CURLINFO_RETRY_AFTER, &wait);
	a.retry_after_s = wait > 0 && wait < 3600 ? (unsigned int)wait : 0;
	a.body = g->body;
	a.len = g->len;
	if (a.err)
		snprintf(a.text, sizeof(a.text), "%.150s",
			 *g->error ? g->error : curl_easy_strerror(code));
	if (a.err)
		c->stats.failed++;
	else if (a.reused)
		c->stats.reused++;
	/* it leaves first, so that h may do what it likes */
	get_leave(g);
	g->h(&a, g->arg);
	free(g);
}

static void done(struct https_client *c)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(c->multi, &left))) {
		struct https_get *g = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &g);
		answer(g, msg->data.result);
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

#define SET(option, value) ok = ok && curl_easy_setopt(g->easy, option, value) == CURLE_OK
static bool get_setup(struct https_get *g, const char *url, long deadline_ms)
{
	const struct https_client_config *conf = &g->c->config;
	bool ok = true;

	SET(CURLOPT_URL, url);
	SET(CURLOPT_CONNECT_TO, g->to);
	if (g->headers)
		SET(CURLOPT_HTTPHEADER, g->headers);
	SET(CURLOPT_PRIVATE, g);
	SET(CURLOPT_ERRORBUFFER, g->error);
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
	SET(CURLOPT_SSL_CTX_DATA, g);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
	SET(CURLOPT_OPENSOCKETDATA, g->c);
	SET(CURLOPT_CLOSESOCKETFUNCTION, on_close);
	SET(CURLOPT_CLOSESOCKETDATA, g->c);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, g);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, g);
	SET(CURLOPT_MAXAGE_CONN, (long)conf->idle_s);
	SET(CURLOPT_TIMEOUT_MS, deadline_ms);
	return ok;
}

int https_client_get(struct https_client *c, const struct p2p_hit *hit, const struct sockaddr *addr,
		     const char *path, const char *header, uint64_t deadline_ms, https_answer_h *h,
		     void *arg, struct https_get **gp)
{
	char url[URL_MAX], to[64], text[P2P_HIT_TEXT_MAX];
	struct https_get *g;
	int n;

	if (c->n_gets >= c->config.requests_max)
		return EBUSY;
	if (connect_to(addr, to, sizeof(to)) || !deadline_ms || deadline_ms > 3600000)
		return EINVAL;
	p2p_hit_print(hit, text);
	n = snprintf(url, sizeof(url), "https://[%s]%s", text, path);
	if (n < 0 || (size_t)n >= sizeof(url))
		return EINVAL;
	g = calloc(1, sizeof(*g) + c->config.body_max);
	if (!g)
		return ENOMEM;
	g->c = c;
	g->hit = *hit;
	g->h = h;
	g->arg = arg;
	g->easy = curl_easy_init();
	g->to = curl_slist_append(NULL, to);
	if (header)
		g->headers = curl_slist_append(NULL, header);
	g->next = c->gets;
	if (g->next)
		g->next->prev = g;
	c->gets = g;
	c->n_gets++;
	if (!g->easy || !g->to || (header && !g->headers) ||
	    !get_setup(g, url, (long)deadline_ms) ||
	    curl_multi_add_handle(c->multi, g->easy) != CURLM_OK) {
		get_leave(g);
		free(g);
		return ENOMEM;
	}
	c->stats.requests++;
	*gp = g;
	return 0;
}

void https_client_cancel(struct https_get *g)
{
	get_leave(g);
	free(g);
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
	c->multi = curl_multi_init();
	if (!c->timer || !c->multi ||
	    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket) ||
	    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c) ||
	    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer_set) ||
	    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c) ||
	    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)config->idle_max) ||
	    curl_multi_setopt(c->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
			      (long)config->connections_per_peer)) {
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
	while (c->gets)
		https_client_cancel(c->gets);
	if (c->multi)
		curl_multi_cleanup(c->multi);
	if (c->timer)
		event_free(c->timer);
	free(c);
	curl_global_cleanup();
	ERR_clear_error();
}

void https_client_stats(const struct https_client *c, struct https_client_stats *stats)
{
	*stats = c->stats;
}
