/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/engine/gateway_names.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/gateway.h"

#define HOST_MAX 256
#define LOOK_MS 500
#define AGAIN_MS 3600000

/* The C library's own: it may still write here when we no longer wait. */
struct query {
	struct gaicb cb;
	struct addrinfo hints;
	char host[HOST_MAX];
};

struct name {
	struct query *query; /* NULL: nothing under way */
	char host[HOST_MAX];
};

struct gw_names {
	const struct p2p_log *log;
	struct event *timer;
	size_t n;
	struct name name[];
};

bool gw_names_host(const char *bootstrap, char *host, size_t cap)
{
	const char *colon = strchr(bootstrap, ':');
	size_t len = colon ? (size_t)(colon - bootstrap) : strlen(bootstrap);
	struct in_addr addr;

	if (*bootstrap == '[' || (colon && strchr(colon + 1, ':')) || !len || len >= cap)
		return false;
	memcpy(host, bootstrap, len);
	host[len] = 0;
	return inet_pton(AF_INET, host, &addr) != 1;
}

static void query_free(struct query *q)
{
	if (q->cb.ar_result)
		freeaddrinfo(q->cb.ar_result);
	free(q);
}

static void ask(struct name *name)
{
	struct query *q = calloc(1, sizeof(*q));
	struct gaicb *list[1];

	if (!q)
		return;
	memcpy(q->host, name->host, sizeof(q->host));
	q->hints.ai_socktype = SOCK_DGRAM;
	q->cb.ar_name = q->host;
	q->cb.ar_request = &q->hints;
	list[0] = &q->cb;
	if (getaddrinfo_a(GAI_NOWAIT, list, 1, NULL))
		free(q);
	else
		name->query = q;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct gw_names *names = arg;
	bool waiting = false, idle = true;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < names->n; i++)
		idle = idle && !names->name[i].query;
	for (size_t i = 0; i < names->n; i++) {
		struct name *name = &names->name[i];
		int err;

		if (idle)
			ask(name);
		if (!name->query)
			continue;
		err = gai_error(&name->query->cb);
		if (err == EAI_INPROGRESS) {
			waiting = true;
			continue;
		}
		if (err)
			p2p_log(names->log, P2P_LOG_WARN,
				"bootstrap '%s': the name does not resolve: %s", name->host,
				gai_strerror(err));
		query_free(name->query);
		name->query = NULL;
	}
	gw_timer_set(names->timer, waiting ? LOOK_MS : AGAIN_MS);
}

int gw_names_new(struct gw_names **np, struct event_base *base, const struct p2p_log *log,
		 const char *const *bootstrap, size_t n)
{
	struct gw_names *names = calloc(1, sizeof(*names) + n * sizeof(names->name[0]));

	if (!names)
		return ENOMEM;
	names->log = log;
	for (size_t i = 0; i < n; i++)
		if (gw_names_host(bootstrap[i], names->name[names->n].host, HOST_MAX))
			names->n++;
	names->timer = event_new(base, -1, 0, on_timer, names);
	if (!names->timer || (names->n && gw_timer_set(names->timer, 0))) {
		gw_names_free(names);
		return ENOMEM;
	}
	*np = names;
	return 0;
}

void gw_names_free(struct gw_names *names)
{
	if (!names)
		return;
	for (size_t i = 0; i < names->n; i++) {
		struct query *q = names->name[i].query;

		/* one under way cannot be taken back: its memory is left to it */
		if (q &&
		    (gai_cancel(&q->cb) == EAI_CANCELED || gai_error(&q->cb) != EAI_INPROGRESS))
			query_free(q);
	}
	if (names->timer)
		event_free(names->timer);
	free(names);
}
