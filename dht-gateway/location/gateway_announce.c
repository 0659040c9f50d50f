/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/location/gateway_announce.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/location/gateway_hold.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/location/gateway_query.h"
#include "dht-gateway/peers/gateway_serve.h"
#include "dht-gateway/location/gateway_sync.h"
#include "lib/model/announce.h"
#include "lib/model/quorum.h"
#include "lib/proto/record_head.h"

#define HOLDERS_MAX 9
#define MEMBERS_MAX 16000
/* Requests under way to one holder. */
#define WINDOW 2
#define TIMEOUT_MS 2000
#define RETRY_MIN_MS 200
#define RETRY_MAX_MS 5000
#define TICK_MS 1000
/* After a change of the ring, records are looked at in pages. */
#define WALK_MS 10
#define WALK_PAGE 1000
/* Each holder is asked for each record in this many ticks. */
#define CHECK_TICKS 600
/* And every so often for its instance. */
#define PROBE_TICKS 10
/* Puts into the engine: a burst, then so many a second; again after a failure. */
#define ENGINE_BURST 500
#define ENGINE_RETRY_MS 5000
#define ENGINE_AT_ONCE 16

struct sent {
	struct p2p_key key;
	uint64_t order;
};

struct holder;

struct batch {
	struct batch *prev, *next;
	struct holder *holder;
	struct gw_ask *ask;
	unsigned int n;
	struct sent sent[P2P_OPP_BATCH_MAX];
	struct p2p_opp_results *results; /* while they are read */
};

struct check {
	struct gw_ask *ask;
	struct p2p_opp_check body;
	struct p2p_opp_missing missing;
	bool read;
};

struct holder {
	struct gw_announces *all;
	struct p2p_hit hit;
	uint16_t slot;
	uint64_t instance;
	struct event *timer;
	struct batch *batches;
	unsigned int n_batches, failures;
	uint64_t retry_ms; /* mono */
	struct check *check;
};

struct put {
	struct gw_announces *all;
	struct p2p_key key;
	uint64_t order;
};

struct waiting {
	uint64_t order;
	gw_announced_h *h;
	void *arg;
};

struct gw_announces {
	struct gw *gw;
	struct p2p_announce *table;
	struct gw_map *holders; /* by HIT */
	struct gw_map *waiting; /* by key */
	struct holder **by_slot;
	size_t n_slots;
	struct event *tick, *walk, *engine_timer;
	uint64_t walk_at, check_at;
	bool walking, walk_again;
	unsigned int ticks;
	/* the engine */
	uint16_t engine;
	double tokens;
	uint64_t tokens_ms, engine_retry_ms;
	unsigned int putting;
	bool closing;
	void (*other)(const struct p2p_hit *from, const void *bytes, size_t len, void *arg);
	void *other_arg;
};

static void pump(struct holder *h);

static unsigned int holders_wanted(const struct gw *gw)
{
	return (unsigned int)gw->settings->holders;
}

bool gw_announces_possible(const struct gw_announces *a)
{
	return a->gw->settings->holders > 0 && gw_serve_listens(a->gw->serve) &&
	       gw_gossip_members(a->gw->gossip) > 1;
}

/* --- holders -----------------------------------------------------------------------------------
 */

static void batch_free(struct batch *b)
{
	if (b->ask)
		gw_ask_cancel(b->ask);
	if (b->prev)
		b->prev->next = b->next;
	else
		b->holder->batches = b->next;
	if (b->next)
		b->next->prev = b->prev;
	b->holder->n_batches--;
	free(b->results);
	free(b);
}

static void holder_drop(void *value, void *arg)
{
	struct holder *h = value;
	struct gw_announces *a = h->all;

	(void)arg;
	while (h->batches)
		batch_free(h->batches);
	if (h->check && h->check->ask)
		gw_ask_cancel(h->check->ask);
	free(h->check);
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
	pump(arg);
}

static struct holder *holder_of(struct gw_announces *a, const struct p2p_hit *hit)
{
	struct holder *h = gw_map_peek(a->holders, hit, sizeof(*hit));

	if (h)
		return h;
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

/* --- is it safe? -------------------------------------------------------------------------------
 */

static bool kept_by(const struct gw_announces *a, const struct gw_near *near, const uint16_t *slot,
		    unsigned int n)
{
	const struct holder *h;

	if (near->self)
		return true; /* what is ours to hold we hold */
	h = gw_map_peek(a->holders, &near->hit, sizeof(near->hit));
	for (unsigned int i = 0; h && i < n; i++)
		if (slot[i] == h->slot)
			return true;
	return false;
}

static bool safe(const struct gw_announces *a, const struct p2p_key *key, uint64_t order)
{
	struct gw_near near[HOLDERS_MAX];
	uint16_t slot[P2P_ANNOUNCE_TARGETS_MAX];
	unsigned int n_kept = p2p_announce_kept(a->table, key, order, slot);
	unsigned int n, alive = 0, kept = 0;
	bool told = true, partial, ok;

	n = gw_gossip_nearest(a->gw->gossip, key, holders_wanted(a->gw), true, near);
	for (unsigned int i = 0; i < n; i++)
		told = told && kept_by(a, &near[i], slot, n_kept);
	n = gw_gossip_nearest(a->gw->gossip, key, holders_wanted(a->gw), false, near);
	for (unsigned int i = 0; i < n; i++) {
		alive += near[i].alive;
		kept += kept_by(a, &near[i], slot, n_kept);
	}
	ok = p2p_quorum_safe(n, alive, kept, told, &partial);
	if (ok && partial)
		a->gw->metrics.announced_partly++;
	return ok;
}

static void waiting_end(struct gw_announces *a, const struct p2p_key *key, int err, uint64_t order)
{
	struct waiting *w = gw_map_take(a->waiting, key, sizeof(*key));
	struct waiting copy;

	if (!w)
		return;
	copy = *w;
	free(w);
	copy.h(err, order, copy.arg);
}

static void judge(struct gw_announces *a, const struct p2p_key *key, uint64_t order)
{
	const struct waiting *w = gw_map_peek(a->waiting, key, sizeof(*key));

	if (w && w->order == order && safe(a, key, order))
		waiting_end(a, key, 0, order);
}

/* --- telling -----------------------------------------------------------------------------------
 */

/* It is another process than the one that said it kept them. */
static void heard(struct holder *h, uint64_t instance)
{
	struct gw_announces *a = h->all;

	gw_queries_heard(a->gw->queries, &h->hit, instance);
	if (h->instance && h->instance != instance)
		p2p_announce_again(a->table, h->slot);
	h->instance = instance;
}

static int read_results(const char *body, size_t len, void *arg)
{
	struct batch *b = arg;

	b->results = malloc(sizeof(*b->results));
	if (!b->results)
		return ENOMEM;
	return p2p_opp_results_decode(b->results, body, len) || b->results->n != b->n;
}

static void results_take(struct holder *h, struct batch *b)
{
	struct gw_announces *a = h->all;
	const struct p2p_opp_results *r = b->results;
	bool full = false;

	heard(h, r->instance);
	for (unsigned int i = 0; i < b->n; i++) {
		const struct sent *s = &b->sent[i];
		enum p2p_opp_result result = r->r[i].result;

		/* a refusal would be repeated; what it means is that this holder does not count */
		if (result == P2P_OPP_FULL) {
			full = true;
			p2p_announce_told(a->table, h->slot, &s->key, s->order, false);
		} else if (result == P2P_OPP_KEPT) {
			p2p_announce_told(a->table, h->slot, &s->key, s->order, true);
			judge(a, &s->key, s->order);
		} else if (result == P2P_OPP_STALE) {
			waiting_end(a, &s->key, ESTALE, r->r[i].order);
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

static void on_answer(const struct gw_answer *answer, void *arg)
{
	struct batch *b = arg;
	struct holder *h = b->holder;
	struct gw *gw = h->all->gw;
	uint64_t wait = RETRY_MIN_MS << (h->failures < 5 ? h->failures : 5);

	b->ask = NULL;
	if (!answer->err) {
		results_take(h, b);
	} else {
		for (unsigned int i = 0; i < b->n; i++)
			p2p_announce_told(h->all->table, h->slot, &b->sent[i].key, b->sent[i].order,
					  false);
		h->failures++;
		h->retry_ms = gw_mono(gw) + (wait < RETRY_MAX_MS ? wait : RETRY_MAX_MS);
		gw->metrics.announces_failed++;
		if (answer->err == ETIMEDOUT || answer->err == ECONNREFUSED)
			gw_gossip_doubt(gw->gossip, &h->hit);
	}
	batch_free(b);
	pump(h);
}

struct gather {
	struct batch *b;
	struct p2p_opp_batch *body;
};

static bool gather_one(const struct p2p_announced *e, void *arg)
{
	struct gather *g = arg;

	if (!p2p_opp_batch_add(g->body, e->bytes, e->len))
		return false;
	g->b->sent[g->b->n++] = (struct sent){.key = e->key, .order = e->order};
	return true;
}

/* 0; ENOENT: there is nothing to tell. */
static int batch_send(struct holder *h)
{
	struct gw *gw = h->all->gw;
	struct p2p_opp_path path = {
		.version = P2P_OPP_VERSION, .overlay = gw->overlay, .resource = P2P_OPP_RECORDS};
	struct p2p_locator at[P2P_USERSET_GATEWAYS_MAX];
	struct p2p_opp_batch *body = malloc(sizeof(*body));
	char *text = malloc(P2P_OPP_BULK_MAX);
	struct batch *b = calloc(1, sizeof(*b));
	struct gather g = {.b = b, .body = body};
	int err = body && text && b ? 0 : ENOMEM;
	size_t len;

	if (err) {
		free(b);
		goto out;
	}
	b->holder = h;
	b->next = h->batches;
	if (b->next)
		b->next->prev = b;
	h->batches = b;
	h->n_batches++;
	p2p_opp_batch_init(body);
	p2p_announce_next(h->all->table, h->slot, P2P_OPP_BATCH_MAX, gather_one, &g);
	if (!b->n) {
		batch_free(b);
		err = ENOENT;
		goto out;
	}
	err = p2p_opp_batch_encode(body, text, P2P_OPP_BULK_MAX, &len);
	if (!err)
		err = gw_asks_question(gw->asks, &h->hit, at,
				       gw_gossip_gateways(gw->gossip, &h->hit, at),
				       &(struct gw_question){.method = "POST",
							     .path = &path,
							     .body = text,
							     .len = len,
							     .read = read_results},
				       TIMEOUT_MS, on_answer, b, &b->ask);
	gw->metrics.announces++;
	if (!err)
		goto out;
	for (unsigned int i = 0; i < b->n; i++)
		p2p_announce_told(h->all->table, h->slot, &b->sent[i].key, b->sent[i].order, false);
	b->ask = NULL;
	batch_free(b);
	h->failures++;
	h->retry_ms = gw_mono(gw) + RETRY_MIN_MS;
out:
	free(text);
	free(body);
	return err;
}

static void pump(struct holder *h)
{
	struct gw_announces *a = h->all;
	uint64_t now = gw_mono(a->gw);

	while (!a->closing && p2p_announce_waiting(a->table, h->slot) && h->n_batches < WINDOW &&
	       gw_gossip_alive(a->gw->gossip, &h->hit)) {
		if (now < h->retry_ms) {
			gw_timer_set(h->timer, h->retry_ms - now);
			return;
		}
		if (batch_send(h))
			break;
	}
	if (h->retry_ms > now && p2p_announce_waiting(a->table, h->slot))
		gw_timer_set(h->timer, h->retry_ms - now);
}

/* Together with what else comes before the loop goes round. */
static void pump_soon(struct holder *h)
{
	if (!h->n_batches && !event_pending(h->timer, EV_TIMEOUT, NULL))
		gw_timer_set(h->timer, 0);
}

/* --- the engine --------------------------------------------------------------------------------
 */

static void engine_pump(struct gw_announces *a);

static void on_engine_put(int err, unsigned int nodes, void *arg)
{
	struct put *p = arg;
	struct gw_announces *a = p->all;

	(void)nodes;
	a->putting--;
	if (!a->closing) {
		p2p_announce_told(a->table, a->engine, &p->key, p->order, !err);
		if (err)
			a->engine_retry_ms = gw_mono(a->gw) + ENGINE_RETRY_MS;
		engine_pump(a);
	}
	free(p);
}

static bool engine_put(const struct p2p_announced *e, void *arg)
{
	struct gw_announces *a = arg;
	struct gw *gw = a->gw;
	struct put *p = malloc(sizeof(*p));

	if (!p)
		return false;
	*p = (struct put){.all = a, .key = e->key, .order = e->order};
	a->putting++;
	if (gw->dht_ops->put(gw->dht, e->key.b, p2p_record_value_id(&gw->hit), e->bytes, e->len,
			     on_engine_put, p)) {
		a->putting--;
		a->engine_retry_ms = gw_mono(gw) + ENGINE_RETRY_MS;
		free(p);
		return false;
	}
	gw->metrics.puts++;
	a->tokens -= 1;
	return true;
}

static void engine_pump(struct gw_announces *a)
{
	struct gw *gw = a->gw;
	uint64_t now = gw_mono(gw);
	double rate = (double)gw->settings->puts_per_s;
	struct dht_stats st;

	a->tokens += (double)(now - a->tokens_ms) * rate / 1000;
	if (a->tokens > ENGINE_BURST)
		a->tokens = ENGINE_BURST;
	a->tokens_ms = now;
	if (!p2p_announce_waiting(a->table, a->engine) || !gw->dht || a->closing)
		return;
	gw->dht_ops->stats(gw->dht, &st);
	if (!st.connected || st.alone || now < a->engine_retry_ms) {
		gw_timer_set(a->engine_timer, TICK_MS);
		return;
	}
	while (a->tokens >= 1 && a->putting < ENGINE_AT_ONCE &&
	       p2p_announce_next(a->table, a->engine, 1, engine_put, a))
		;
	if (p2p_announce_waiting(a->table, a->engine) && a->putting < ENGINE_AT_ONCE)
		gw_timer_set(a->engine_timer,
			     a->tokens >= 1 ? TICK_MS : (uint64_t)(1000 / rate) + 1);
}

static void on_engine_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	engine_pump(arg);
}

void gw_announces_engine(struct gw_announces *a)
{
	p2p_announce_again(a->table, a->engine);
	gw_timer_set(a->engine_timer, 0);
}

/* --- who is to be told -------------------------------------------------------------------------
 */

/* The living holders, and the engine; what is ours to hold we hold. */
static void retarget(struct gw_announces *a, const struct p2p_announced *e)
{
	struct gw_near near[HOLDERS_MAX];
	uint16_t slot[P2P_ANNOUNCE_TARGETS_MAX];
	struct holder *told[HOLDERS_MAX];
	unsigned int n = 0, k = 0, max;

	max = gw_gossip_nearest(a->gw->gossip, &e->key, holders_wanted(a->gw), true, near);
	slot[n++] = a->engine;
	for (unsigned int i = 0; i < max; i++) {
		struct holder *h = near[i].self ? NULL : holder_of(a, &near[i].hit);

		if (near[i].self)
			gw_holds_own(a->gw->holds, e->bytes, e->len);
		if (!h)
			continue;
		slot[n++] = h->slot;
		told[k++] = h;
	}
	p2p_announce_targets(a->table, &e->key, slot, n);
	for (unsigned int i = 0; i < k; i++)
		pump_soon(told[i]);
}

static bool walk_one(const struct p2p_announced *e, const uint16_t *kept, unsigned int n, void *arg)
{
	struct gw_announces *a = arg;

	(void)kept;
	(void)n;
	if (e->expiry_ms <= gw_wall(a->gw))
		return true;
	retarget(a, e);
	judge(a, &e->key, e->order);
	return false;
}

/* Members that are none any more are forgotten when no record names them. */
static void holders_tidy(struct gw_announces *a)
{
	struct p2p_locator at[P2P_USERSET_GATEWAYS_MAX];

	for (size_t i = 0; i < a->n_slots; i++) {
		struct holder *h = a->by_slot[i];

		if (h && !gw_gossip_alive(a->gw->gossip, &h->hit) &&
		    !gw_gossip_gateways(a->gw->gossip, &h->hit, at))
			gw_map_del(a->holders, &h->hit, sizeof(h->hit));
	}
}

static void on_walk(evutil_socket_t fd, short what, void *arg)
{
	struct gw_announces *a = arg;

	(void)fd;
	(void)what;
	if (!gw_announces_possible(a)) {
		a->walking = false;
		return;
	}
	a->walking = true;
	p2p_announce_scan(a->table, &a->walk_at, WALK_PAGE, walk_one, a);
	if (!a->walk_at) {
		holders_tidy(a);
		gw_timer_set(a->engine_timer, 0);
		a->walking = a->walk_again;
		a->walk_again = false;
	}
	if (a->walking)
		gw_timer_set(a->walk, WALK_MS);
}

static void on_change(const struct p2p_hit *hit, enum gw_gossip_event event, void *arg)
{
	struct gw_announces *a = arg;
	struct holder *h = gw_map_peek(a->holders, hit, sizeof(*hit));

	if (h && event == GW_GOSSIP_NEW_EPOCH)
		p2p_announce_again(a->table, h->slot);
	if (h && event == GW_GOSSIP_ALIVE)
		h->retry_ms = 0;
	if (a->walking)
		a->walk_again = true;
	else
		gw_timer_set(a->walk, WALK_MS);
	gw_sync_changed(a->gw->sync);
}

/* --- what do they have? ------------------------------------------------------------------------
 */

static int read_missing(const char *body, size_t len, void *arg)
{
	struct holder *h = arg;

	return p2p_opp_missing_decode(&h->check->missing, body, len);
}

static void on_checked(const struct gw_answer *answer, void *arg)
{
	struct holder *h = arg;
	struct check *c = h->check;
	struct gw_announces *a = h->all;

	c->ask = NULL;
	if (!answer->err) {
		heard(h, c->missing.instance);
		for (unsigned int i = 0; i < c->missing.n; i++)
			if (c->missing.at[i] < c->body.n)
				p2p_announce_missing(a->table, h->slot,
						     &c->body.r[c->missing.at[i]].key);
		a->gw->metrics.announces_missing += c->missing.n;
	}
	free(c);
	h->check = NULL;
	pump(h);
}

static void check_send(struct holder *h)
{
	struct gw *gw = h->all->gw;
	struct p2p_opp_path path = {
		.version = P2P_OPP_VERSION, .overlay = gw->overlay, .resource = P2P_OPP_CHECK};
	struct p2p_locator at[P2P_USERSET_GATEWAYS_MAX];
	char *text = malloc(P2P_OPP_BULK_MAX);
	size_t len;

	if (!text || p2p_opp_check_encode(&h->check->body, text, P2P_OPP_BULK_MAX, &len) ||
	    gw_asks_question(gw->asks, &h->hit, at, gw_gossip_gateways(gw->gossip, &h->hit, at),
			     &(struct gw_question){.method = "POST",
						   .path = &path,
						   .body = text,
						   .len = len,
						   .read = read_missing},
			     TIMEOUT_MS, on_checked, h, &h->check->ask)) {
		free(h->check);
		h->check = NULL;
	}
	free(text);
}

static bool check_one(const struct p2p_announced *e, const uint16_t *kept, unsigned int n,
		      void *arg)
{
	struct gw_announces *a = arg;

	if (e->expiry_ms <= gw_wall(a->gw))
		return true;
	for (unsigned int i = 0; i < n; i++) {
		struct holder *h = kept[i] < a->n_slots ? a->by_slot[kept[i]] : NULL;

		if (!h || (h->check && h->check->ask))
			continue;
		if (!h->check)
			h->check = calloc(1, sizeof(*h->check));
		if (!h->check)
			continue;
		h->check->body.r[h->check->body.n].key = e->key;
		h->check->body.r[h->check->body.n++].order = e->order;
		if (h->check->body.n == P2P_OPP_CHECKS_MAX)
			check_send(h);
	}
	return false;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct gw_announces *a = arg;
	size_t n = p2p_announce_count(a->table) / CHECK_TICKS + 1;
	bool probe = !(++a->ticks % PROBE_TICKS);

	(void)fd;
	(void)what;
	gw_timer_set(a->tick, TICK_MS);
	engine_pump(a);
	if (!gw_announces_possible(a))
		return;
	p2p_announce_scan(a->table, &a->check_at, n, check_one, a);
	for (size_t i = 0; i < a->n_slots; i++) {
		struct holder *h = a->by_slot[i];

		if (!h || !gw_gossip_alive(a->gw->gossip, &h->hit))
			continue;
		if (probe && h->check && !h->check->ask)
			check_send(h);
		pump_soon(h);
	}
}

/* --- records -----------------------------------------------------------------------------------
 */

void gw_announces_cancel(struct gw_announces *a, const struct p2p_key *key)
{
	free(gw_map_take(a->waiting, key, sizeof(*key)));
}

int gw_announces_put(struct gw_announces *a, const void *bytes, size_t len, gw_announced_h *h,
		     void *arg)
{
	struct p2p_record_head head;
	struct p2p_announced e;
	struct waiting *w;
	int err = p2p_record_head(&head, bytes, len);

	if (err)
		return err;
	memcpy(e.key.b, head.key, sizeof(e.key.b));
	gw_announces_cancel(a, &e.key);
	err = p2p_announce_set(a->table, bytes, len);
	if (err)
		return err;
	w = h ? malloc(sizeof(*w)) : NULL;
	if (h && !w)
		return ENOMEM;
	if (w) {
		*w = (struct waiting){.order = head.order, .h = h, .arg = arg};
		err = gw_map_put(a->waiting, &e.key, sizeof(e.key), w);
		if (err) {
			free(w);
			return err;
		}
	}
	p2p_announce_get(a->table, &e.key, &e);
	retarget(a, &e);
	if (!event_pending(a->engine_timer, EV_TIMEOUT, NULL))
		gw_timer_set(a->engine_timer, 0);
	/* nobody else lives who is to hold it */
	if (w && safe(a, &e.key, head.order)) {
		gw_announces_cancel(a, &e.key);
		return EALREADY;
	}
	return 0;
}

void gw_announces_on_other(struct gw_announces *a,
			   void (*h)(const struct p2p_hit *from, const void *bytes, size_t len,
				     void *arg),
			   void *arg)
{
	a->other = h;
	a->other_arg = arg;
}

static void waiting_drop(void *value, void *arg)
{
	(void)arg;
	free(value);
}

int gw_announces_new(struct gw_announces **ap, struct gw *gw)
{
	size_t max = (size_t)gw->settings->users_max * 2 + 1024;
	struct gw_announces *a = calloc(1, sizeof(*a));
	struct p2p_hash_key key;
	int err;

	if (!a)
		return ENOMEM;
	a->gw = gw;
	a->tokens = ENGINE_BURST;
	a->tokens_ms = gw_mono(gw);
	err = gw_crypto_random(&key, sizeof(key));
	if (!err)
		err = p2p_announce_new(&a->table, max, &key);
	if (!err)
		err = p2p_announce_target_new(a->table, &a->engine);
	if (!err)
		err = gw_map_new(&a->holders, MEMBERS_MAX, false, holder_drop, NULL);
	if (!err)
		err = gw_map_new(&a->waiting, 65536, false, waiting_drop, NULL);
	a->tick = event_new(gw->base, -1, 0, on_tick, a);
	a->walk = event_new(gw->base, -1, 0, on_walk, a);
	a->engine_timer = event_new(gw->base, -1, 0, on_engine_timer, a);
	if (!err && (!a->tick || !a->walk || !a->engine_timer))
		err = ENOMEM;
	if (err) {
		gw_announces_free(a);
		return err;
	}
	gw_gossip_on_change(gw->gossip, on_change, a);
	gw_timer_set(a->tick, TICK_MS);
	*ap = a;
	return 0;
}

void gw_announces_stop(struct gw_announces *a)
{
	if (!a || a->closing)
		return;
	a->closing = true;
	gw_gossip_on_change(a->gw->gossip, NULL, NULL);
	gw_map_free(a->holders);
	a->holders = NULL;
}

void gw_announces_free(struct gw_announces *a)
{
	if (!a)
		return;
	if (a->holders)
		gw_map_free(a->holders);
	if (a->waiting)
		gw_map_free(a->waiting);
	if (a->tick)
		event_free(a->tick);
	if (a->walk)
		event_free(a->walk);
	if (a->engine_timer)
		event_free(a->engine_timer);
	p2p_announce_free(a->table);
	free(a->by_slot);
	free(a);
}

void gw_announces_stats(const struct gw_announces *a, struct gw_announces_stats *st)
{
	*st = (struct gw_announces_stats){
		.records = p2p_announce_count(a->table),
		.engine_waiting = p2p_announce_waiting(a->table, a->engine),
		.holders = (unsigned int)gw_map_count(a->holders),
	};
	for (size_t i = 0; i < a->n_slots; i++)
		if (a->by_slot[i])
			st->waiting += p2p_announce_waiting(a->table, a->by_slot[i]->slot);
}
