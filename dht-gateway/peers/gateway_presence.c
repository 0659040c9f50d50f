/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/peers/gateway_presence.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include "dht-gateway/gateway_map.h"
#include "lib/model/rtt.h"
#include "lib/model/userset.h"

/* What waits goes when the question before it is answered, or when that has taken as long as it
 * usually does; within these bounds. */
#define GATHER_MIN_MS 5
#define GATHER_MAX_MS 50
/* Whoever has no more time than so much of ask_ms is asked for alone: its time is the request's. */
#define HURRY(ask_ms) ((ask_ms) / 2)
/* A peer that does not know questions about many is not tried with one again for so long. */
#define ALONE_MS 60000

TAILQ_HEAD(waiting, gw_presence);

struct gw_presence {
	TAILQ_ENTRY(gw_presence) entry; /* while it waits */
	struct dest *dest;
	struct request *request; /* it is in there, at this place; NULL: it waits */
	unsigned int place;
	struct p2p_key key;
	uint64_t until_ms; /* mono */
	gw_ask_h *h;
	void *arg;
};

struct request {
	LIST_ENTRY(request) entry;
	struct dest *dest;
	struct gw_ask *ask;
	uint64_t sent_ms; /* mono */
	unsigned int n;
	struct gw_presence *who[P2P_OPP_USERS_MAX]; /* NULL: cancelled */
	struct p2p_opp_users users;
};

/* A peer. */
struct dest {
	struct gw_presences *all;
	struct p2p_hit hit;
	struct p2p_rtt rtt;
	uint64_t sent_ms, alone_ms; /* mono: the last request; when it did not know of many */
	struct event *flush;
	bool flushing; /* who is told in there may ask on, and must not have this one make room */
	struct waiting waiting;
	LIST_HEAD(, request) requests;
	/* where it is, as said last */
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];
	unsigned int n_gateways;
};

struct gw_presences {
	struct gw *gw;
	struct gw_map *map;
};

static void request_free(struct request *r)
{
	if (r->ask)
		gw_ask_cancel(r->ask);
	LIST_REMOVE(r, entry);
	free(r);
}

static void dest_drop(void *value, void *arg)
{
	struct dest *d = value;
	struct gw_presence *q;
	struct request *r;

	(void)arg;
	while ((r = LIST_FIRST(&d->requests))) {
		for (unsigned int i = 0; i < r->n; i++)
			free(r->who[i]);
		request_free(r);
	}
	while ((q = TAILQ_FIRST(&d->waiting))) {
		TAILQ_REMOVE(&d->waiting, q, entry);
		free(q);
	}
	event_free(d->flush);
	free(d);
}

static bool idle(const struct dest *d)
{
	return !d->flushing && LIST_EMPTY(&d->requests) && TAILQ_EMPTY(&d->waiting);
}

static bool alone(const struct dest *d)
{
	return d->alone_ms && gw_mono(d->all->gw) - d->alone_ms < ALONE_MS;
}

static void tell(struct gw_presence *q, int err, const struct p2p_opp_user *user)
{
	q->h(err, user, q->arg);
	free(q);
}

static uint64_t left_ms(const struct gw_presence *q)
{
	uint64_t now = gw_mono(q->dest->all->gw);

	return q->until_ms > now ? q->until_ms - now : 1;
}

/* --- one by one --- */

static void flush_soon(struct dest *d)
{
	if (!TAILQ_EMPTY(&d->waiting))
		gw_timer_set(d->flush, 0);
}

static void on_one(int err, const struct p2p_opp_user *user, void *arg)
{
	struct request *r = arg;
	struct gw_presence *q = r->who[0];
	struct dest *d = r->dest;

	r->ask = NULL;
	if (!err)
		p2p_rtt_add(&d->rtt, gw_mono(d->all->gw) - r->sent_ms);
	/* what is asked from in there waits for the next one */
	if (q) {
		r->who[0] = NULL;
		tell(q, err, user);
	}
	request_free(r);
	flush_soon(d);
}

static struct request *request_new(struct dest *d)
{
	struct request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->dest = d;
	r->sent_ms = d->sent_ms = gw_mono(d->all->gw);
	LIST_INSERT_HEAD(&d->requests, r, entry);
	return r;
}

static void request_take(struct request *r, struct gw_presence *q)
{
	q->request = r;
	q->place = r->n;
	r->who[r->n++] = q;
}

static int one(struct dest *d, struct gw_presence *q)
{
	struct request *r = request_new(d);
	int err;

	if (!r)
		return ENOMEM;
	err = gw_asks_user(d->all->gw->asks, &d->hit, d->gateway, d->n_gateways, &q->key,
			   left_ms(q), on_one, r, &r->ask);
	if (err) {
		r->ask = NULL;
		request_free(r);
		return err;
	}
	request_take(r, q);
	return 0;
}

/* --- many --- */

static int read_users(const char *body, size_t len, void *arg)
{
	struct request *r = arg;
	int err = p2p_opp_users_decode(&r->users, body, len);

	return err ? err : r->users.n == r->n ? 0 : EBADMSG;
}

/* It does not know such questions. */
static void again_one_by_one(struct request *r)
{
	struct dest *d = r->dest;

	d->alone_ms = gw_mono(d->all->gw);
	for (unsigned int i = 0; i < r->n; i++) {
		struct gw_presence *q = r->who[i];
		int err = q ? one(d, q) : 0;

		r->who[i] = NULL;
		if (err)
			tell(q, err, NULL);
	}
}

static void on_many(const struct gw_answer *a, void *arg)
{
	struct request *r = arg;
	struct dest *d = r->dest;
	struct gw *gw = d->all->gw;

	r->ask = NULL;
	if (!a->err)
		p2p_rtt_add(&d->rtt, gw_mono(gw) - r->sent_ms);
	if (a->err == EEXIST && a->error->code == P2P_OPP_E_NOTFOUND)
		again_one_by_one(r);
	for (unsigned int i = 0; i < r->n; i++) {
		struct gw_presence *q = r->who[i];
		struct p2p_opp_user user = {0};
		int err = a->err;

		if (!q)
			continue;
		r->who[i] = NULL;
		if (!err && !r->users.a[i].known)
			err = EBUSY;
		if (!err) {
			user.presence = r->users.a[i].presence;
			user.hit = r->users.a[i].hit;
		}
		gw_asks_count(gw, err, &user);
		tell(q, err, err ? NULL : &user);
	}
	request_free(r);
	flush_soon(d);
}

static int many(struct dest *d)
{
	struct gw *gw = d->all->gw;
	struct p2p_opp_path path = {
		.version = P2P_OPP_VERSION, .overlay = gw->overlay, .resource = P2P_OPP_USERS};
	char text[P2P_OPP_BODY_MAX];
	struct p2p_opp_keys keys = {0};
	struct request *r = request_new(d);
	struct gw_presence *q;
	uint64_t ms = UINT64_MAX;
	size_t len;
	int err;

	if (!r)
		return ENOMEM;
	while (keys.n < P2P_OPP_USERS_MAX && (q = TAILQ_FIRST(&d->waiting))) {
		TAILQ_REMOVE(&d->waiting, q, entry);
		keys.key[keys.n++] = q->key;
		ms = left_ms(q) < ms ? left_ms(q) : ms;
		request_take(r, q);
	}
	err = p2p_opp_keys_encode(&keys, text, sizeof(text), &len);
	if (!err)
		err = gw_asks_question(gw->asks, &d->hit, d->gateway, d->n_gateways,
				       &(struct gw_question){.method = "POST",
							     .path = &path,
							     .body = text,
							     .len = len,
							     .read = read_users},
				       ms, on_many, r, &r->ask);
	if (err)
		on_many(&(struct gw_answer){.err = err, .text = strerror(err)}, r);
	else
		gw->metrics.asks_together += keys.n;
	return 0;
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct dest *d = arg;
	struct gw_presence *q = TAILQ_FIRST(&d->waiting);
	int err;

	(void)fd;
	(void)what;
	d->flushing = true;
	for (; q; q = TAILQ_FIRST(&d->waiting)) {
		if (TAILQ_NEXT(q, entry) && !alone(d)) {
			if (many(d)) {
				gw_timer_set(d->flush, GATHER_MIN_MS);
				break;
			}
			continue;
		}
		TAILQ_REMOVE(&d->waiting, q, entry);
		err = one(d, q);
		if (err)
			tell(q, err, NULL);
	}
	d->flushing = false;
}

/* --- who asks --- */

static void make_room(struct gw_presences *all)
{
	const struct dest *d = gw_map_oldest(all->map);

	if (gw_map_count(all->map) >= (size_t)all->gw->settings->peers_max && idle(d))
		gw_map_del(all->map, &d->hit, sizeof(d->hit));
}

static struct dest *dest_of(struct gw_presences *all, const struct p2p_hit *hit)
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
	LIST_INIT(&d->requests);
	d->flush = event_new(all->gw->base, -1, 0, on_flush, d);
	if (!d->flush || gw_map_put(all->map, hit, sizeof(*hit), d)) {
		if (d->flush)
			event_free(d->flush);
		free(d);
		return NULL;
	}
	return d;
}

/* From the last request on, how long others are waited for. */
static uint64_t gather_ms(const struct dest *d)
{
	uint64_t usual = p2p_rtt_usual_ms(&d->rtt), past = gw_mono(d->all->gw) - d->sent_ms;

	usual = usual < GATHER_MIN_MS	? GATHER_MIN_MS
		: usual > GATHER_MAX_MS ? GATHER_MAX_MS
					: usual;
	return past < usual ? usual - past : 0;
}

int gw_presence_ask(struct gw_presences *all, const struct p2p_hit *hit,
		    const struct p2p_locator *gateway, unsigned int n, const struct p2p_key *key,
		    uint64_t deadline_ms, gw_ask_h *h, void *arg, struct gw_presence **out)
{
	struct gw *gw = all->gw;
	struct gw_presence *q;
	struct dest *d;
	int err;

	if (!n)
		return ENOENT;
	d = dest_of(all, hit);
	q = d ? calloc(1, sizeof(*q)) : NULL;
	if (!q)
		return ENOMEM;
	d->n_gateways = n < P2P_USERSET_GATEWAYS_MAX ? n : P2P_USERSET_GATEWAYS_MAX;
	memcpy(d->gateway, gateway, d->n_gateways * sizeof(gateway[0]));
	q->dest = d;
	q->key = *key;
	q->until_ms = gw_mono(gw) + deadline_ms;
	q->h = h;
	q->arg = arg;
	/* one that is not to be asked at all says so at once */
	gw_asks_why(gw->asks, hit, &err);
	if (err || idle(d) || alone(d) || deadline_ms < HURRY((uint64_t)gw->settings->ask_ms)) {
		err = one(d, q);
		if (err) {
			free(q);
			return err;
		}
	} else {
		TAILQ_INSERT_TAIL(&d->waiting, q, entry);
		if (!event_pending(d->flush, EV_TIMEOUT, NULL))
			gw_timer_set(d->flush, gather_ms(d));
	}
	*out = q;
	return 0;
}

void gw_presence_cancel(struct gw_presence *q)
{
	if (q->request)
		q->request->who[q->place] = NULL;
	else
		TAILQ_REMOVE(&q->dest->waiting, q, entry);
	free(q);
}

int gw_presences_new(struct gw_presences **pp, struct gw *gw)
{
	struct gw_presences *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return ENOMEM;
	p->gw = gw;
	err = gw_map_new(&p->map, (size_t)gw->settings->peers_max + P2P_OPP_USERS_MAX, false,
			 dest_drop, NULL);
	if (err) {
		free(p);
		return err;
	}
	*pp = p;
	return 0;
}

void gw_presences_free(struct gw_presences *p)
{
	if (!p)
		return;
	gw_map_free(p->map);
	free(p);
}
