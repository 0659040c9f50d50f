/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine is told behind everything else, and paced. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include "dht-gateway/gateway_load.h"
#include "dht-gateway/location/gateway_announce_impl.h"
#include "lib/model/retry.h"

/* Puts: a burst, then so many a second. */
#define ENGINE_BURST 500
#define ENGINE_AT_ONCE 64
/* While the gateway is behind with its work: so much fewer a second. */
#define ENGINE_BEHIND 8
/* So many are put together: much of what one costs is that threads wake for it. */
#define ENGINE_BUNCH 64
/* From a record to its put: others may come with it. */
#define ENGINE_LATER_MS 200
/* What fails, and the engine that fails. */
static const struct p2p_retry_config engine_retry = {
	.max = 256, .first_ms = 5000, .most_ms = 300000, .in_a_row = 4, .all_ms = 5000};

struct put {
	struct gw_announces *all;
	struct p2p_key key;
	uint64_t order;
};

/* true: it comes back by itself, in engine_again. */
static bool engine_failed(struct gw_announces *a, const struct p2p_key *key, uint64_t order)
{
	a->gw->metrics.puts_failed++;
	return p2p_retry_failed(a->engine_retry, key, order, gw_mono(a->gw));
}

static void on_engine_put(int err, unsigned int nodes, void *arg)
{
	struct put *p = arg;
	struct gw_announces *a = p->all;

	(void)nodes;
	a->putting--;
	if (!a->closing) {
		if (!err)
			p2p_retry_succeeded(a->engine_retry, &p->key, p->order, gw_mono(a->gw));
		if (!err || !engine_failed(a, &p->key, p->order))
			p2p_announce_told(a->table, a->engine, &p->key, p->order, !err);
		gw_announce_engine_pump(a);
	}
	free(p);
}

static bool engine_put(const struct p2p_announced *e, void *arg)
{
	struct gw_announces *a = arg;
	struct gw *gw = a->gw;
	struct put *p = malloc(sizeof(*p));
	int err;

	if (!p)
		return false;
	*p = (struct put){.all = a, .key = e->key, .order = e->order};
	a->putting++;
	err = gw->dht_ops->put(gw->dht, e->key.b, p2p_record_value_id(&gw->hit), e->bytes, e->len,
			       on_engine_put, p);
	if (err) {
		a->putting--;
		free(p);
	}
	/* it takes none now, whichever: the next tick asks again */
	if (err == EBUSY || err == ENOMEM || err == ECANCELED)
		return false;
	gw->metrics.puts++;
	a->tokens -= 1;
	return !err || engine_failed(a, &e->key, e->order);
}

/* How many are put next; 0: none, or those that are on their way come first. */
static unsigned int bunch_of(const struct gw_announces *a)
{
	size_t n = p2p_announce_ready(a->table, a->engine);
	unsigned int most = p2p_retry_at_once(a->engine_retry, gw_mono(a->gw));

	if (n > ENGINE_BUNCH)
		n = ENGINE_BUNCH;
	if (n > most)
		n = most > a->putting ? most - a->putting : 0;
	return a->putting + n <= ENGINE_AT_ONCE ? (unsigned int)n : 0;
}

/* What failed, and has waited. */
static void engine_again(struct gw_announces *a, uint64_t now)
{
	struct p2p_key key;
	uint64_t order;

	while (p2p_retry_take(a->engine_retry, now, &key, &order))
		p2p_announce_told(a->table, a->engine, &key, order, false);
}

void gw_announce_engine_pump(struct gw_announces *a)
{
	struct gw *gw = a->gw;
	uint64_t now = gw_mono(gw);
	double rate = (double)gw->settings->puts_per_s;
	struct dht_stats st;
	unsigned int bunch;

	/* what can wait does, where there is too much to do */
	if (gw_load_behind(gw->load))
		rate /= ENGINE_BEHIND;
	a->tokens += (double)(now - a->tokens_ms) * rate / 1000;
	if (a->tokens > ENGINE_BURST)
		a->tokens = ENGINE_BURST;
	a->tokens_ms = now;
	if (!p2p_announce_waiting(a->table, a->engine) || !gw->dht || a->closing)
		return;
	engine_again(a, now);
	gw->dht_ops->stats(gw->dht, &st);
	if (!st.connected || st.alone) {
		gw_timer_set(a->engine_timer, TICK_MS);
		return;
	}
	while ((bunch = bunch_of(a)) && a->tokens >= bunch &&
	       p2p_announce_next(a->table, a->engine, bunch, engine_put, a))
		;
	if (bunch)
		gw_timer_set(a->engine_timer,
			     a->tokens >= bunch
				     ? TICK_MS
				     : (uint64_t)((bunch - a->tokens) * 1000 / rate) + 1);
}

static void on_engine_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	gw_announce_engine_pump(arg);
}

void gw_announce_engine_due(struct gw_announces *a)
{
	if (!event_pending(a->engine_timer, EV_TIMEOUT, NULL))
		gw_timer_set(a->engine_timer, ENGINE_LATER_MS);
}

void gw_announces_engine(struct gw_announces *a)
{
	p2p_announce_again(a->table, a->engine);
	gw_timer_set(a->engine_timer, 0);
}

int gw_announce_engine_init(struct gw_announces *a)
{
	a->tokens = ENGINE_BURST;
	a->tokens_ms = gw_mono(a->gw);
	if (p2p_retry_new(&a->engine_retry, &engine_retry))
		return ENOMEM;
	a->engine_timer = event_new(a->gw->base, -1, 0, on_engine_timer, a);
	return a->engine_timer ? p2p_announce_target_new(a->table, &a->engine) : ENOMEM;
}

void gw_announce_engine_free(struct gw_announces *a)
{
	if (a->engine_timer)
		event_free(a->engine_timer);
	p2p_retry_free(a->engine_retry);
}
