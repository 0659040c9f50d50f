/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A lookup of a name, shared by all who ask at the same time: the cache, and those who wait. Each
 * has a deadline of its own and is told ETIMEDOUT at that. A lookup that was answered goes on until
 * its search ends (gateway_lookup_search.c), for the cache's sake; one that nobody waits for any
 * more ends with its search. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/gateway_load.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/location/gateway_lookup_impl.h"
#include "dht-gateway/location/gateway_watch.h"
#include "dht-gateway/members/gateway_peers.h"

struct gw_lookup_waiter {
	struct gw_lookup *lookup;
	struct gw_lookup_waiter *prev, *next;
	struct event *timer;
	gw_lookup_h *h;
	void *arg;
};

static void waiter_unlink(struct gw_lookup_waiter *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		w->lookup->waiters = w->next;
	if (w->next)
		w->next->prev = w->prev;
	w->lookup->all->n_waiters--;
	event_free(w->timer);
}

static void count(struct gw *gw, int err)
{
	switch (err) {
	case 0:
		gw->metrics.route_found++;
		break;
	case ENOENT:
		gw->metrics.route_notfound++;
		break;
	case EBUSY:
		gw->metrics.route_busy++;
		break;
	default:
		gw->metrics.route_timeout++;
	}
}

void gw_lookup_tell(struct gw_lookup *l, int err, const struct p2p_candidate_set *cands)
{
	struct gw_lookup_waiter *w, *list = l->waiters;

	l->waiters = NULL;
	for (w = list; w; w = list) {
		list = w->next;
		l->all->n_waiters--;
		event_free(w->timer);
		count(l->all->gw, err);
		w->h(err, cands, w->arg);
		free(w);
	}
}

static void lookup_drop(void *value, void *arg)
{
	struct gw_lookup *l = value;

	(void)arg;
	gw_lookup_search_free(l);
	gw_lookup_tell(l, ETIMEDOUT, NULL);
	free(l);
}

void gw_lookup_candidates(const struct gw_lookup *l, struct p2p_candidate_set *cands)
{
	struct gw *gw = l->all->gw;

	gw_peers_candidates(gw->peers, &l->set, cands);
	gw_cache_filter(gw->cache, l->name, l->len, cands);
}

void gw_lookup_end(struct gw_lookup *l)
{
	if (l->waiters) {
		/* someone asked while others were told */
		p2p_search_anew(&l->state);
		gw_lookup_search(l);
		return;
	}
	gw_map_del(l->all->map, l->name, l->len);
}

static void on_waiter(evutil_socket_t fd, short what, void *arg)
{
	struct gw_lookup_waiter *w = arg;
	struct gw_lookup *l = w->lookup;
	struct gw *gw = l->all->gw;
	struct p2p_candidate_set cands;
	int err = ETIMEDOUT;

	(void)fd;
	(void)what;
	waiter_unlink(w);
	/* what was found so far, lapsed peers too, is better than nothing */
	gw_lookup_candidates(l, &cands);
	if (cands.n)
		err = 0;
	count(gw, err);
	w->h(err, err ? NULL : &cands, w->arg);
	free(w);
	if (!l->waiters && !l->op && !l->state.n_left)
		gw_lookup_end(l);
}

static struct gw_lookup *lookup_new(struct gw_lookups *all, const char *name, size_t len, int *err)
{
	struct gw_lookup *l = calloc(1, sizeof(*l));

	*err = ENOMEM;
	if (!l)
		return NULL;
	l->all = all;
	l->len = len;
	memcpy(l->name, name, len);
	p2p_userset_init(&l->set);
	if (gw_lookup_search_new(l))
		goto fail;
	*err = gw_map_put(all->map, name, len, l);
	if (*err)
		goto fail;
	return l;
fail:
	gw_lookup_search_free(l);
	free(l);
	return NULL;
}

void gw_lookup(struct gw_lookups *all, const char *name, size_t len, uint64_t deadline_ms,
	       bool fresh, gw_lookup_h *h, void *arg)
{
	struct gw *gw = all->gw;
	struct p2p_candidate_set cands;
	struct gw_lookup_waiter *w = NULL;
	struct gw_lookup *l;
	bool begun = false;
	uint64_t age = (uint64_t)gw->settings->cache_fresh_ms;
	int err;

	gw->metrics.lookups++;
	if (!p2p_name_valid(name, len)) {
		h(EINVAL, NULL, arg);
		return;
	}
	/* what is watched need not be read again */
	if (!fresh && gw_watches_holds(gw->watches, name, len))
		age = UINT64_MAX;
	if (!fresh && !gw_cache_get(gw->cache, name, len, age, &cands)) {
		gw->metrics.route_cached++;
		gw_watches_add(gw->watches, name, len, true);
		count(gw, 0);
		h(0, &cands, arg);
		return;
	}
	err = all->closing ? ETIMEDOUT : EBUSY;
	if (all->closing || all->n_waiters >= (size_t)gw->settings->lookups_max)
		goto fail;
	l = gw_map_get(all->map, name, len);
	if (l) {
		gw->metrics.lookups_joined++;
	} else if (gw_load_refuses(gw->load)) {
		goto fail;
	} else {
		l = lookup_new(all, name, len, &err);
		if (!l) {
			err = EBUSY;
			goto fail;
		}
		begun = true;
	}
	w = calloc(1, sizeof(*w));
	if (w)
		w->timer = event_new(gw->base, -1, 0, on_waiter, w);
	if (!w || !w->timer) {
		free(w);
		if (begun)
			gw_map_del(all->map, name, len);
		err = EBUSY;
		goto fail;
	}
	w->lookup = l;
	w->h = h;
	w->arg = arg;
	w->next = l->waiters;
	if (w->next)
		w->next->prev = w;
	l->waiters = w;
	all->n_waiters++;
	gw_timer_set(w->timer, deadline_ms < GW_LOOKUP_DEADLINE_MAX_MS ? deadline_ms
								       : GW_LOOKUP_DEADLINE_MAX_MS);
	if (!begun && l->state.answered && l->state.held) {
		/* what is still awaited there is for the cache only */
		p2p_search_anew(&l->state);
		begun = true;
	}
	if (begun)
		gw_lookup_search(l);
	return;
fail:
	count(gw, err);
	h(err, NULL, arg);
}

int gw_lookups_new(struct gw_lookups **lp, struct gw *gw)
{
	struct gw_lookups *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return ENOMEM;
	l->gw = gw;
	err = gw_map_new(&l->map, (size_t)gw->settings->lookups_max, false, lookup_drop, NULL);
	if (err) {
		free(l);
		return err;
	}
	*lp = l;
	return 0;
}

void gw_lookups_free(struct gw_lookups *l)
{
	if (!l)
		return;
	l->closing = true;
	gw_map_free(l->map);
	free(l);
}

size_t gw_lookups_count(const struct gw_lookups *l)
{
	return l->n_waiters;
}
