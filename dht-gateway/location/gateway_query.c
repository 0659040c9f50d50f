/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/location/gateway_query.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/gateway_map.h"
#include "lib/model/rtt.h"

#define TIMEOUT_MS 1000
/* Requests under way to one holder; further keys go together in the next one. */
#define WINDOW 4
/* Keys that wait for one holder. */
#define WAITING_MAX 8192
#define PROBE_MS 3000

struct gw_query {
	TAILQ_ENTRY(gw_query) waits;
	struct dest *dest;	 /* it waits there; or */
	struct request *request; /* it is in there, at this place */
	unsigned int place;
	struct p2p_key key;
	uint32_t watch_s;
	gw_query_h *h;
	void *arg;
};

struct request {
	LIST_ENTRY(request) all;
	struct dest *dest;
	struct gw_ask *ask;
	uint64_t sent_ms; /* mono */
	unsigned int n;
	struct gw_query *query[P2P_OPP_KEYS_MAX]; /* NULL: cancelled */
	struct p2p_opp_found *found;		  /* while it is read */
};

struct dest {
	struct gw_queries *all;
	struct p2p_hit hit;
	uint64_t instance, heard_ms, asked_ms;
	struct p2p_rtt rtt;
	struct event *flush;
	TAILQ_HEAD(, gw_query) waiting;
	unsigned int n_waiting, n_requests;
	LIST_HEAD(, request) requests;
};

struct gw_queries {
	struct gw *gw;
	struct gw_map *map;
};

static void request_free(struct request *r)
{
	struct dest *d = r->dest;

	if (r->ask)
		gw_ask_cancel(r->ask);
	LIST_REMOVE(r, all);
	d->n_requests--;
	free(r->found);
	free(r);
}

static void query_unlink(struct gw_query *q)
{
	struct dest *d = q->dest;

	TAILQ_REMOVE(&d->waiting, q, waits);
	q->dest = NULL;
	d->n_waiting--;
}

static void dest_drop(void *value, void *arg)
{
	struct dest *d = value;

	(void)arg;
	while (!LIST_EMPTY(&d->requests)) {
		struct request *r = LIST_FIRST(&d->requests);

		for (unsigned int i = 0; i < r->n; i++)
			free(r->query[i]);
		request_free(r);
	}
	while (!TAILQ_EMPTY(&d->waiting)) {
		struct gw_query *q = TAILQ_FIRST(&d->waiting);

		query_unlink(q);
		free(q);
	}
	event_free(d->flush);
	free(d);
}

static void heard(struct dest *d, uint64_t instance)
{
	d->instance = instance;
	d->heard_ms = gw_mono(d->all->gw);
}

static int read_found(const char *body, size_t len, void *arg)
{
	struct request *r = arg;

	r->found = malloc(sizeof(*r->found));
	return r->found ? p2p_opp_found_decode(r->found, body, len) : ENOMEM;
}

static void on_answer(const struct gw_answer *a, void *arg)
{
	struct request *r = arg;
	struct dest *d = r->dest;
	struct gw *gw = d->all->gw;
	struct gw_queried out;

	r->ask = NULL;
	if (!a->err) {
		heard(d, r->found->instance);
		p2p_rtt_add(&d->rtt, d->heard_ms - r->sent_ms);
	} else if ((a->err == ETIMEDOUT && !a->ours) || a->err == ECONNREFUSED) {
		gw_gossip_doubt(gw->gossip, &d->hit);
	}
	/* what is asked from in there goes together in the next one */
	for (unsigned int i = 0; i < r->n; i++) {
		struct gw_query *q = r->query[i];
		int err = a->err ? a->err : i < r->found->n ? 0 : EMSGSIZE;

		if (!q)
			continue;
		r->query[i] = NULL;
		if (!err)
			out = (struct gw_queried){.synced = r->found->a[i].synced,
						  .watched = r->found->a[i].watched,
						  .instance = r->found->instance,
						  .n = r->found->a[i].n,
						  .batch = &r->found->records,
						  .first = r->found->a[i].first};
		q->h(err, err ? NULL : &out, q->arg);
		free(q);
	}
	request_free(r);
	if (!TAILQ_EMPTY(&d->waiting))
		gw_timer_set(d->flush, 0);
}

/* The first one that waits says whether they are to be watched: those that are and those that are
 * not go in requests of their own. */
static struct request *gather(struct dest *d, struct p2p_opp_query *body)
{
	struct request *r = calloc(1, sizeof(*r));
	struct gw_query *q, *next;

	if (!r)
		return NULL;
	r->dest = d;
	r->sent_ms = gw_mono(d->all->gw);
	LIST_INSERT_HEAD(&d->requests, r, all);
	d->n_requests++;
	body->n = 0;
	q = TAILQ_FIRST(&d->waiting);
	body->watch_s = q ? q->watch_s : 0;
	for (; q && r->n < P2P_OPP_KEYS_MAX; q = next) {
		next = TAILQ_NEXT(q, waits);
		if (q->watch_s != body->watch_s)
			continue;
		query_unlink(q);
		q->request = r;
		q->place = r->n;
		r->query[r->n++] = q;
		body->key[body->n++] = q->key;
	}
	return r;
}

static void send_one(struct dest *d)
{
	struct gw *gw = d->all->gw;
	struct p2p_opp_path path = {
		.version = P2P_OPP_VERSION, .overlay = gw->overlay, .resource = P2P_OPP_QUERY};
	struct p2p_locator at[P2P_USERSET_GATEWAYS_MAX];
	char text[P2P_OPP_KEYS_MAX * (2 * P2P_KEY_LEN + 3) + 64];
	struct p2p_opp_query body;
	struct request *r = gather(d, &body);
	size_t len;
	int err;

	if (!r) {
		gw_timer_set(d->flush, 10);
		return;
	}
	err = p2p_opp_query_encode(&body, text, sizeof(text), &len);
	if (!err)
		err = gw_asks_question(gw->asks, &d->hit, at,
				       gw_gossip_gateways(gw->gossip, &d->hit, at),
				       &(struct gw_question){.method = "POST",
							     .path = &path,
							     .body = text,
							     .len = len,
							     .read = read_found},
				       TIMEOUT_MS, on_answer, r, &r->ask);
	gw->metrics.holder_queries++;
	if (err)
		on_answer(&(struct gw_answer){.err = err, .text = strerror(err)}, r);
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct dest *d = arg;

	(void)fd;
	(void)what;
	while (!TAILQ_EMPTY(&d->waiting) && d->n_requests < WINDOW)
		send_one(d);
}

/* Members come and go: the one that was asked and heard of least recently makes room. */
static void make_room(struct gw_queries *all)
{
	const struct dest *d = gw_map_oldest(all->map);

	if (gw_map_count(all->map) >= (size_t)all->gw->settings->members_max &&
	    TAILQ_EMPTY(&d->waiting) && LIST_EMPTY(&d->requests))
		gw_map_del(all->map, &d->hit, sizeof(d->hit));
}

static struct dest *dest_of(struct gw_queries *all, const struct p2p_hit *hit)
{
	struct dest *d = gw_map_get(all->map, hit, sizeof(*hit));

	if (d)
		return d;
	make_room(all);
	d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	d->all = all;
	d->hit = *hit;
	TAILQ_INIT(&d->waiting);
	d->flush = event_new(all->gw->base, -1, 0, on_flush, d);
	if (!d->flush || gw_map_put(all->map, hit, sizeof(*hit), d)) {
		if (d->flush)
			event_free(d->flush);
		free(d);
		return NULL;
	}
	return d;
}

int gw_queries_ask(struct gw_queries *all, const struct p2p_hit *holder, const struct p2p_key *key,
		   uint32_t watch_s, gw_query_h *h, void *arg, struct gw_query **out)
{
	struct dest *d = dest_of(all, holder);
	struct gw_query *q;

	if (!d)
		return ENOMEM;
	if (d->n_waiting >= WAITING_MAX) {
		all->gw->metrics.limit_queries++;
		return EBUSY;
	}
	q = calloc(1, sizeof(*q));
	if (!q)
		return ENOMEM;
	q->dest = d;
	q->key = *key;
	q->watch_s = watch_s;
	q->h = h;
	q->arg = arg;
	TAILQ_INSERT_TAIL(&d->waiting, q, waits);
	d->n_waiting++;
	if (d->n_requests < WINDOW && !event_pending(d->flush, EV_TIMEOUT, NULL))
		gw_timer_set(d->flush, 0);
	*out = q;
	return 0;
}

void gw_query_cancel(struct gw_query *q)
{
	if (q->dest)
		query_unlink(q);
	else
		q->request->query[q->place] = NULL;
	free(q);
}

bool gw_queries_asking(const struct gw_queries *all, const struct p2p_hit *holder,
		       const struct p2p_key *key)
{
	const struct dest *d = gw_map_peek(all->map, holder, sizeof(*holder));
	const struct request *r;

	if (!d)
		return false;
	LIST_FOREACH(r, &d->requests, all)
		for (unsigned int i = 0; i < r->n; i++)
			if (r->query[i] && r->query[i]->watch_s &&
			    !memcmp(&r->query[i]->key, key, sizeof(*key)))
				return true;
	return false;
}

uint64_t gw_queries_instance(const struct gw_queries *all, const struct p2p_hit *holder)
{
	const struct dest *d = gw_map_peek(all->map, holder, sizeof(*holder));

	return d ? d->instance : 0;
}

uint64_t gw_queries_usual_ms(const struct gw_queries *all, const struct p2p_hit *holder)
{
	const struct dest *d = gw_map_peek(all->map, holder, sizeof(*holder));

	return d ? p2p_rtt_usual_ms(&d->rtt) : 0;
}

void gw_queries_heard(struct gw_queries *all, const struct p2p_hit *holder, uint64_t instance)
{
	struct dest *d = dest_of(all, holder);

	if (d)
		heard(d, instance);
}

void gw_queries_probe(struct gw_queries *all, const struct p2p_hit *holder)
{
	struct dest *d = dest_of(all, holder);

	if (d && !d->n_requests && gw_mono(all->gw) - d->asked_ms >= PROBE_MS &&
	    gw_mono(all->gw) - d->heard_ms >= PROBE_MS &&
	    gw_gossip_alive(all->gw->gossip, holder)) {
		d->asked_ms = gw_mono(all->gw);
		send_one(d);
	}
}

int gw_queries_new(struct gw_queries **qp, struct gw *gw)
{
	struct gw_queries *q = calloc(1, sizeof(*q));
	int err;

	if (!q)
		return ENOMEM;
	q->gw = gw;
	err = gw_map_new(&q->map, (size_t)gw->settings->members_max, false, dest_drop, NULL);
	if (err) {
		free(q);
		return err;
	}
	*qp = q;
	return 0;
}

void gw_queries_free(struct gw_queries *q)
{
	if (!q)
		return;
	gw_map_free(q->map);
	free(q);
}
