/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/location/gateway_tell.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/location/gateway_hold.h"
#include "dht-gateway/gateway_map.h"
#include "lib/proto/opp_records.h"

/* Keys that wait for one of them; beyond, the oldest is not told of. */
#define WAITING_MAX 65536
#define TIMEOUT_MS 1000
/* After a failure; then the same again, twice. Then it is doubted, and told when it is there again,
 * as long as it is a member. */
#define RETRY_MS 250
#define TRIES_MAX 3
#define AWAY_MS 1000

struct teller {
	struct gw_tells *all;
	struct p2p_hit hit;
	struct event *timer;
	struct gw_ask *ask;
	struct p2p_key *key; /* a ring buffer */
	size_t head, n, cap;
	/* under way */
	unsigned int tries, n_sent;
	struct p2p_key sent[P2P_OPP_BATCH_MAX]; /* of each record */
	unsigned int n_results;
	enum p2p_opp_result result[P2P_OPP_BATCH_MAX];
	size_t n_keys; /* that the records are of */
};

struct gw_tells {
	struct gw *gw;
	struct gw_map *map;
	size_t waiting;
	void (*unwanted)(const struct p2p_hit *hit, const struct p2p_key *key, void *arg);
	void *arg;
};

static void teller_drop(void *value, void *arg)
{
	struct teller *l = value;

	(void)arg;
	if (l->ask)
		gw_ask_cancel(l->ask);
	l->all->waiting -= l->n;
	event_free(l->timer);
	free(l->key);
	free(l);
}

static int read_results(const char *body, size_t len, void *arg)
{
	struct p2p_opp_results *r = malloc(sizeof(*r));
	struct teller *l = arg;
	int err = r ? p2p_opp_results_decode(r, body, len) : ENOMEM;

	l->n_results = err ? 0 : r->n;
	for (unsigned int i = 0; i < l->n_results; i++)
		l->result[i] = r->r[i].result;
	free(r);
	return err;
}

static void keys_drop(struct teller *l, size_t n)
{
	l->head = (l->head + n) % l->cap;
	l->n -= n;
	l->all->waiting -= n;
}

/* l may be gone afterwards. */
static void go_on(struct teller *l)
{
	if (l->n) {
		gw_timer_set(l->timer, l->tries >= TRIES_MAX ? AWAY_MS : l->tries ? RETRY_MS : 0);
		return;
	}
	gw_map_del(l->all->map, &l->hit, sizeof(l->hit));
}

static void on_answer(const struct gw_answer *a, void *arg)
{
	struct teller *l = arg;
	struct gw_tells *t = l->all;

	l->ask = NULL;
	if (a->err) {
		if (!a->ours && l->tries < TRIES_MAX && ++l->tries == TRIES_MAX)
			gw_gossip_doubt(t->gw->gossip, &l->hit);
		l->n_keys = 0;
		go_on(l);
		return;
	}
	for (unsigned int i = 0; i < l->n_sent && i < l->n_results; i++)
		if (l->result[i] == P2P_OPP_UNWANTED)
			t->unwanted(&l->hit, &l->sent[i], t->arg);
	keys_drop(l, l->n_keys);
	l->n_keys = 0;
	l->tries = 0;
	go_on(l);
}

/* As many whole keys as fit. */
static void gather(struct teller *l, struct p2p_opp_batch *batch)
{
	struct p2p_held_record rec[P2P_HELD_SIGNERS_MAX];

	l->n_sent = 0;
	for (l->n_keys = 0; l->n_keys < l->n; l->n_keys++) {
		const struct p2p_key *key = &l->key[(l->head + l->n_keys) % l->cap];
		unsigned int n = gw_holds_get(l->all->gw->holds, key, rec);

		for (unsigned int i = 0; i < n; i++) {
			if (!p2p_opp_batch_add(batch, rec[i].bytes, rec[i].len))
				return;
			l->sent[l->n_sent++] = *key;
		}
	}
}

/* One that comes back is told; one that is no member any more is not. l may be gone afterwards. */
static void away(struct teller *l)
{
	struct gw *gw = l->all->gw;

	if (gw_gossip_dead(gw->gossip, &l->hit)) {
		l->tries = TRIES_MAX;
		go_on(l);
		return;
	}
	gw->metrics.changes_lost += l->n;
	gw_map_del(l->all->map, &l->hit, sizeof(l->hit));
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	struct teller *l = arg;
	struct gw *gw = l->all->gw;
	struct p2p_opp_path path = {
		.version = P2P_OPP_VERSION, .overlay = gw->overlay, .resource = P2P_OPP_CHANGES};
	struct p2p_locator at[P2P_USERSET_GATEWAYS_MAX];
	struct p2p_opp_batch *batch = malloc(sizeof(*batch));
	char *body = malloc(P2P_OPP_BULK_MAX);
	int err = batch && body ? 0 : ENOMEM;
	size_t len;

	(void)fd;
	(void)what;
	if (!gw_gossip_alive(gw->gossip, &l->hit)) {
		free(batch);
		free(body);
		away(l);
		return;
	}
	if (!err) {
		p2p_opp_batch_init(batch);
		gather(l, batch);
		err = p2p_opp_batch_encode(batch, body, P2P_OPP_BULK_MAX, &len);
	}
	if (!err)
		err = gw_asks_question(gw->asks, &l->hit, at,
				       gw_gossip_gateways(gw->gossip, &l->hit, at),
				       &(struct gw_question){.method = "POST",
							     .path = &path,
							     .body = body,
							     .len = len,
							     .read = read_results},
				       TIMEOUT_MS, on_answer, l, &l->ask);
	free(batch);
	free(body);
	if (err)
		on_answer(&(struct gw_answer){.err = err, .text = strerror(err)}, l);
	else
		gw->metrics.changes_told++;
}

static struct teller *teller_of(struct gw_tells *t, const struct p2p_hit *hit)
{
	struct teller *l = gw_map_get(t->map, hit, sizeof(*hit));

	if (l)
		return l;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->all = t;
	l->hit = *hit;
	l->timer = event_new(t->gw->base, -1, 0, on_due, l);
	if (!l->timer || gw_map_put(t->map, hit, sizeof(*hit), l)) {
		if (l->timer)
			event_free(l->timer);
		free(l);
		return NULL;
	}
	return l;
}

static int grow(struct teller *l)
{
	size_t cap = l->cap ? 2 * l->cap : 16;
	struct p2p_key *key = malloc(cap * sizeof(*key));

	if (!key)
		return ENOMEM;
	for (size_t i = 0; i < l->n; i++)
		key[i] = l->key[(l->head + i) % l->cap];
	free(l->key);
	l->key = key;
	l->cap = cap;
	l->head = 0;
	return 0;
}

void gw_tells_add(struct gw_tells *t, const struct p2p_hit *hit, const struct p2p_key *key)
{
	struct teller *l;

	if (!p2p_hit_cmp(hit, &t->gw->hit) ||
	    (!gw_gossip_alive(t->gw->gossip, hit) && !gw_gossip_dead(t->gw->gossip, hit)))
		return;
	l = teller_of(t, hit);
	/* the last one is told in full when its turn comes */
	if (!l || (l->n > l->n_keys &&
		   !memcmp(&l->key[(l->head + l->n - 1) % l->cap], key, sizeof(*key))))
		return;
	if (l->n == WAITING_MAX && !l->ask) {
		keys_drop(l, 1);
		t->gw->metrics.changes_lost++;
	}
	if (l->n == WAITING_MAX || (l->n == l->cap && grow(l))) {
		t->gw->metrics.changes_lost++;
		return;
	}
	l->key[(l->head + l->n++) % l->cap] = *key;
	t->waiting++;
	if (!l->ask && !event_pending(l->timer, EV_TIMEOUT, NULL))
		gw_timer_set(l->timer, 0);
}

int gw_tells_new(struct gw_tells **tp, struct gw *gw,
		 void (*unwanted)(const struct p2p_hit *hit, const struct p2p_key *key, void *arg),
		 void *arg)
{
	struct gw_tells *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return ENOMEM;
	t->gw = gw;
	t->unwanted = unwanted;
	t->arg = arg;
	err = gw_map_new(&t->map, (size_t)gw->settings->members_max, false, teller_drop, NULL);
	if (err) {
		free(t);
		return err;
	}
	*tp = t;
	return 0;
}

void gw_tells_free(struct gw_tells *t)
{
	if (!t)
		return;
	gw_map_free(t->map);
	free(t);
}

size_t gw_tells_waiting(const struct gw_tells *t)
{
	return t->waiting;
}
