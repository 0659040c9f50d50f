/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/location/gateway_confirm.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include "dht-gateway/gateway_map.h"

#define WAITERS_MAX 65536

struct waiter {
	LIST_ENTRY(waiter) entry;
	struct wait *wait;
	struct event *timer;
	gw_confirm_h *h;
	void *arg;
};

struct wait {
	struct gw_confirms *all;
	LIST_HEAD(, waiter) waiters;
	size_t len;
	char name[];
};

struct gw_confirms {
	struct gw *gw;
	struct gw_map *map; /* struct wait by name */
	size_t n;
};

static void waiter_leave(struct waiter *w)
{
	LIST_REMOVE(w, entry);
	w->wait->all->n--;
	event_free(w->timer);
}

/* Its wait may be gone afterwards; waiters that its handler adds have a wait of their own. */
static void waiters_tell(struct wait *wait, int err)
{
	while (!LIST_EMPTY(&wait->waiters)) {
		struct waiter *w = LIST_FIRST(&wait->waiters);

		waiter_leave(w);
		w->h(err, w->arg);
		free(w);
	}
	free(wait);
}

static void wait_drop(void *value, void *arg)
{
	(void)arg;
	waiters_tell(value, ETIMEDOUT);
}

void gw_confirms_told(struct gw_confirms *c, const char *name, size_t len)
{
	struct wait *wait = gw_map_take(c->map, name, len);

	if (wait)
		waiters_tell(wait, 0);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct waiter *w = arg;
	struct wait *wait = w->wait;

	(void)fd;
	(void)what;
	waiter_leave(w);
	if (LIST_EMPTY(&wait->waiters)) {
		gw_map_take(wait->all->map, wait->name, wait->len);
		free(wait);
	}
	w->h(ETIMEDOUT, w->arg);
	free(w);
}

static struct wait *wait_of(struct gw_confirms *c, const char *name, size_t len)
{
	struct wait *wait = gw_map_get(c->map, name, len);

	if (wait)
		return wait;
	wait = calloc(1, sizeof(*wait) + len);
	if (!wait)
		return NULL;
	wait->all = c;
	wait->len = len;
	memcpy(wait->name, name, len);
	if (gw_map_put(c->map, name, len, wait)) {
		free(wait);
		return NULL;
	}
	return wait;
}

void gw_confirms_wait(struct gw_confirms *c, const char *name, size_t len, uint64_t deadline_ms,
		      gw_confirm_h *h, void *arg)
{
	struct waiter *w = c->n < WAITERS_MAX ? calloc(1, sizeof(*w)) : NULL;

	if (w)
		w->timer = event_new(c->gw->base, -1, 0, on_timeout, w);
	if (w && w->timer)
		w->wait = wait_of(c, name, len);
	if (!w || !w->wait) {
		if (w && w->timer)
			event_free(w->timer);
		free(w);
		c->gw->metrics.limit_confirms++;
		h(EBUSY, arg);
		return;
	}
	w->h = h;
	w->arg = arg;
	LIST_INSERT_HEAD(&w->wait->waiters, w, entry);
	c->n++;
	gw_timer_set(w->timer, deadline_ms);
}

int gw_confirms_new(struct gw_confirms **cp, struct gw *gw)
{
	struct gw_confirms *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return ENOMEM;
	c->gw = gw;
	err = gw_map_new(&c->map, WAITERS_MAX, false, wait_drop, NULL);
	if (err) {
		free(c);
		return err;
	}
	*cp = c;
	return 0;
}

void gw_confirms_free(struct gw_confirms *c)
{
	if (!c)
		return;
	gw_map_free(c->map);
	free(c);
}

size_t gw_confirms_count(const struct gw_confirms *c)
{
	return c->n;
}
