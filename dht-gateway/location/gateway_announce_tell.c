/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Holders are told in rounds: what comes within a short while goes in one request, for a request
 * costs several times what a record does. The first one after a quiet while goes at once. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/location/gateway_announce_impl.h"
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/location/gateway_query.h"
#include "dht-gateway/location/gateway_users.h"

/* From one round to the next; while a phone waits for its 200 OK until others know of it. */
#define ROUND_MS 30
#define ROUND_HURRY_MS 5
/* Requests under way to one holder. */
#define WINDOW 2
#define RETRY_MIN_MS 200
#define RETRY_MAX_MS 5000

/* What a request is made of, and its answer read into: one at a time. */
struct scratch {
	struct p2p_opp_batch body;
	struct p2p_opp_results results;
	unsigned int n;
	struct sent sent[P2P_OPP_BATCH_MAX];
	char text[P2P_OPP_BULK_MAX];
};

static void pump(struct holder *h);

/* --- holders -----------------------------------------------------------------------------------
 */

static void batch_free(struct batch *b)
{
	if (b->ask)
		gw_ask_cancel(b->ask);
	LIST_REMOVE(b, all);
	b->holder->n_batches--;
	b->holder->n_sent -= b->n;
	free(b);
}

void gw_announce_holder_drop(void *value, void *arg)
{
	struct holder *h = value, **hp;
	struct gw_announces *a = h->all;

	(void)arg;
	for (hp = &a->due; h->is_due && *hp; hp = &(*hp)->next_due)
		if (*hp == h) {
			*hp = h->next_due;
			break;
		}
	while (!LIST_EMPTY(&h->batches))
		batch_free(LIST_FIRST(&h->batches));
	gw_announce_check_free(h);
	if (h->timer)
		event_free(h->timer);
	if (h->slot < a->n_slots)
		a->by_slot[h->slot] = NULL;
	p2p_announce_target_free(a->table, h->slot);
	free(h);
}

static void on_holder_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	gw_announce_due(arg);
}

struct holder *gw_announce_holder(struct gw_announces *a, const struct p2p_hit *hit)
{
	struct holder *h = gw_map_peek(a->holders, hit, sizeof(*hit));

	if (h)
		return h;
	/* there are never more members: those that are none any more make room */
	if (gw_map_count(a->holders) >= (size_t)a->gw->settings->members_max)
		gw_announce_holders_tidy(a);
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->all = a;
	h->hit = *hit;
	h->timer = event_new(a->gw->base, -1, 0, on_holder_timer, h);
	if (!h->timer || p2p_announce_target_new(a->table, &h->slot))
		goto fail;
	if (h->slot >= a->n_slots) {
		size_t n = (size_t)h->slot + 64;
		struct holder **v = realloc(a->by_slot, n * sizeof(struct holder *));

		if (!v)
			goto fail_slot;
		memset(v + a->n_slots, 0, (n - a->n_slots) * sizeof(struct holder *));
		a->by_slot = v;
		a->n_slots = n;
	}
	if (gw_map_put(a->holders, hit, sizeof(*hit), h))
		goto fail_slot;
	a->by_slot[h->slot] = h;
	return h;
fail_slot:
	p2p_announce_target_free(a->table, h->slot);
fail:
	if (h->timer)
		event_free(h->timer);
	free(h);
	return NULL;
}

/* --- rounds ------------------------------------------------------------------------------------
 */

/* Not on their way yet. */
static size_t unsent(const struct holder *h)
{
	size_t n = p2p_announce_waiting(h->all->table, h->slot);

	return n > h->n_sent ? n - h->n_sent : 0;
}

/* Until the next round. */
static uint64_t until_round(const struct gw_announces *a)
{
	uint64_t each = gw_users_confirms(a->gw->users) ? ROUND_HURRY_MS : ROUND_MS;
	uint64_t past = gw_mono(a->gw) - a->round_ms;

	return past < each ? each - past : 0;
}

void gw_announce_due(struct holder *h)
{
	struct gw_announces *a = h->all;
	uint64_t now = gw_mono(a->gw);

	if (a->closing || h->n_batches == WINDOW)
		return; /* its answers go on from here */
	if (now < h->retry_ms) {
		if (!event_pending(h->timer, EV_TIMEOUT, NULL))
			gw_timer_set(h->timer, h->retry_ms - now);
		return;
	}
	if (!h->is_due) {
		h->is_due = true;
		h->next_due = a->due;
		a->due = h;
	}
	if (unsent(h) >= P2P_OPP_BATCH_MAX)
		gw_timer_set(a->round, 0);
	else if (!event_pending(a->round, EV_TIMEOUT, NULL))
		gw_timer_set(a->round, until_round(a));
}

void gw_announces_hurry(struct gw_announces *a)
{
	if (a->due && !a->closing)
		gw_timer_set(a->round, until_round(a));
}

static void on_round(evutil_socket_t fd, short what, void *arg)
{
	struct gw_announces *a = arg;

	(void)fd;
	(void)what;
	a->round_ms = gw_mono(a->gw);
	/* a holder may be dropped meanwhile, and others become due: those have a round of their own
	 */
	for (struct holder *h; (h = a->due);) {
		a->due = h->next_due;
		h->is_due = false;
		pump(h);
	}
}

/* --- telling -----------------------------------------------------------------------------------
 */

void gw_announce_heard(struct holder *h, uint64_t instance)
{
	struct gw_announces *a = h->all;

	gw_queries_heard(a->gw->queries, &h->hit, instance);
	if (h->instance && h->instance != instance)
		p2p_announce_again(a->table, h->slot);
	h->instance = instance;
}

static int read_results(const char *body, size_t len, void *arg)
{
	const struct batch *b = arg;
	struct p2p_opp_results *r = &b->holder->all->scratch->results;

	return p2p_opp_results_decode(r, body, len) || r->n != b->n;
}

/* A majority may have it, and whoever reads from this holder believes the later one. */
static void stale(struct gw_announces *a, const struct sent *s, uint64_t later)
{
	if (gw_map_peek(a->waiting, &s->key, sizeof(s->key)))
		gw_announces_end(a, &s->key, ESTALE, later);
	else if (a->stale)
		a->stale(&s->key, s->order, later, a->stale_arg);
}

static void results_take(struct holder *h, struct batch *b)
{
	struct gw_announces *a = h->all;
	const struct p2p_opp_results *r = &a->scratch->results;
	bool full = false;

	gw_announce_heard(h, r->instance);
	for (unsigned int i = 0; i < b->n; i++) {
		const struct sent *s = &b->sent[i];
		enum p2p_opp_result result = r->r[i].result;

		/* a refusal would be repeated; what it means is that this holder does not count */
		if (result == P2P_OPP_FULL) {
			full = true;
			p2p_announce_told(a->table, h->slot, &s->key, s->order, false);
		} else if (result == P2P_OPP_KEPT) {
			p2p_announce_told(a->table, h->slot, &s->key, s->order, true);
			gw_announces_judge(a, &s->key, s->order);
		} else if (result == P2P_OPP_STALE) {
			stale(a, s, r->r[i].order);
		} else {
			a->gw->metrics.announces_refused++;
		}
	}
	for (unsigned int i = 0; a->other && i < r->others.n; i++)
		a->other(&h->hit, r->others.b + r->others.r[i].at, r->others.r[i].len,
			 a->other_arg);
	h->failures = 0;
	h->retry_ms = full ? gw_mono(a->gw) + RETRY_MAX_MS : 0;
}

/* They did not get there. */
static void untold(const struct holder *h, const struct sent *sent, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		p2p_announce_told(h->all->table, h->slot, &sent[i].key, sent[i].order, false);
}

static void on_answer(const struct gw_answer *answer, void *arg)
{
	struct batch *b = arg;
	struct holder *h = b->holder;
	struct gw *gw = h->all->gw;
	uint64_t wait = RETRY_MIN_MS << (h->failures < 5 ? h->failures : 5);

	b->ask = NULL;
	if (answer->ours)
		wait = RETRY_MIN_MS;
	if (!answer->err) {
		results_take(h, b);
	} else {
		untold(h, b->sent, b->n);
		h->failures += !answer->ours;
		h->retry_ms = gw_mono(gw) + (wait < RETRY_MAX_MS ? wait : RETRY_MAX_MS);
		gw->metrics.announces_failed++;
		if ((answer->err == ETIMEDOUT && !answer->ours) || answer->err == ECONNREFUSED)
			gw_gossip_doubt(gw->gossip, &h->hit);
	}
	batch_free(b);
	if (unsent(h))
		gw_announce_due(h);
}

static bool gather_one(const struct p2p_announced *e, void *arg)
{
	struct scratch *s = arg;

	if (!p2p_opp_batch_add(&s->body, e->bytes, e->len))
		return false;
	s->sent[s->n++] = (struct sent){.key = e->key, .order = e->order};
	return true;
}

static struct batch *batch_new(struct holder *h, const struct scratch *s)
{
	struct batch *b = malloc(sizeof(*b) + s->n * sizeof(*s->sent));

	if (!b)
		return NULL;
	*b = (struct batch){.holder = h, .n = s->n};
	memcpy(b->sent, s->sent, s->n * sizeof(*s->sent));
	LIST_INSERT_HEAD(&h->batches, b, all);
	h->n_batches++;
	h->n_sent += b->n;
	return b;
}

static int batch_send(struct holder *h, const struct scratch *s, size_t len, struct batch *b)
{
	struct gw *gw = h->all->gw;
	struct p2p_opp_path path = {
		.version = P2P_OPP_VERSION, .overlay = gw->overlay, .resource = P2P_OPP_RECORDS};
	struct p2p_locator at[P2P_USERSET_GATEWAYS_MAX];
	int err =
		gw_asks_question(gw->asks, &h->hit, at, gw_gossip_gateways(gw->gossip, &h->hit, at),
				 &(struct gw_question){.method = "POST",
						       .path = &path,
						       .body = s->text,
						       .len = len,
						       .read = read_results},
				 TIMEOUT_MS, on_answer, b, &b->ask);

	if (err)
		b->ask = NULL;
	return err;
}

/* 0; ENOENT: there is nothing to tell. */
static int tell(struct holder *h)
{
	struct gw *gw = h->all->gw;
	struct scratch *s = h->all->scratch;
	struct batch *b = NULL;
	size_t len;
	int err;

	s->n = 0;
	p2p_opp_batch_init(&s->body);
	p2p_announce_next(h->all->table, h->slot, P2P_OPP_BATCH_MAX, gather_one, s);
	if (!s->n)
		return ENOENT;
	err = p2p_opp_batch_encode(&s->body, s->text, sizeof(s->text), &len);
	if (!err)
		b = batch_new(h, s);
	err = err ? err : b ? batch_send(h, s, len, b) : ENOMEM;
	gw->metrics.announces++;
	if (!err)
		return 0;
	untold(h, s->sent, s->n);
	if (b)
		batch_free(b);
	h->failures++;
	h->retry_ms = gw_mono(gw) + RETRY_MIN_MS;
	return err;
}

/* One request, and more while there are whole ones. */
static void pump(struct holder *h)
{
	struct gw_announces *a = h->all;

	if (a->closing || !gw_gossip_alive(a->gw->gossip, &h->hit))
		return;
	do {
		int err = h->n_batches < WINDOW && unsent(h) ? tell(h) : ENOENT;

		if (err == ENOENT)
			return;
		if (err)
			break;
	} while (unsent(h) >= P2P_OPP_BATCH_MAX);
	if (unsent(h))
		gw_announce_due(h);
}

int gw_announce_tell_init(struct gw_announces *a)
{
	a->scratch = malloc(sizeof(*a->scratch));
	a->round = event_new(a->gw->base, -1, 0, on_round, a);
	return a->scratch && a->round ? 0 : ENOMEM;
}

void gw_announce_tell_free(struct gw_announces *a)
{
	if (a->round)
		event_free(a->round);
	free(a->scratch);
}
