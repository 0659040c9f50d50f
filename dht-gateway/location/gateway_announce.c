/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/location/gateway_announce.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/location/gateway_announce_impl.h"
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/location/gateway_hold.h"
#include "dht-gateway/location/gateway_moves.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/peers/gateway_serve.h"
#include "dht-gateway/location/gateway_sync.h"
#include "lib/model/quorum.h"
#include "lib/proto/record_head.h"

#define HOLDERS_MAX 9
/* After a change of the ring, records are looked at in pages. */
#define WALK_MS 10
#define WALK_PAGE 1000
/* Every so often each holder is asked for its instance. */
#define PROBE_TICKS 10

struct waiting {
	uint64_t order;
	gw_announced_h *h;
	void *arg;
};

static unsigned int holders_wanted(const struct gw *gw)
{
	return (unsigned int)gw->settings->holders;
}

bool gw_announces_possible(const struct gw_announces *a)
{
	return a->gw->settings->holders > 0 && gw_serve_listens(a->gw->serve) &&
	       gw_gossip_members(a->gw->gossip) > 1;
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

void gw_announces_end(struct gw_announces *a, const struct p2p_key *key, int err, uint64_t order)
{
	struct waiting *w = gw_map_take(a->waiting, key, sizeof(*key));
	struct waiting copy;

	if (!w)
		return;
	copy = *w;
	free(w);
	copy.h(err, order, copy.arg);
}

void gw_announces_judge(struct gw_announces *a, const struct p2p_key *key, uint64_t order)
{
	const struct waiting *w = gw_map_peek(a->waiting, key, sizeof(*key));

	if (w && w->order == order && safe(a, key, order))
		gw_announces_end(a, key, 0, order);
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
		struct holder *h = near[i].self ? NULL : gw_announce_holder(a, &near[i].hit);

		if (near[i].self)
			gw_holds_own(a->gw->holds, e->record);
		if (!h)
			continue;
		slot[n++] = h->slot;
		told[k++] = h;
	}
	p2p_announce_targets(a->table, &e->key, slot, n);
	for (unsigned int i = 0; i < k; i++)
		gw_announce_due(told[i]);
}

static bool walk_one(const struct p2p_announced *e, const uint16_t *kept, unsigned int n, void *arg)
{
	struct gw_announces *a = arg;

	(void)kept;
	(void)n;
	if (e->expiry_ms <= gw_wall(a->gw))
		return true;
	retarget(a, e);
	gw_announces_judge(a, &e->key, e->order);
	return false;
}

void gw_announce_holders_tidy(struct gw_announces *a)
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
		gw_announce_holders_tidy(a);
		gw_announce_engine_due(a);
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
	if (h && event == GW_GOSSIP_ALIVE) {
		/* what was sent to it before, and fails now, is no reason to wait for long */
		h->failures = 0;
		h->retry_ms = 0;
		event_del(h->timer);
		if (p2p_announce_waiting(a->table, h->slot))
			gw_announce_due(h);
	}
	if (event != GW_GOSSIP_DEAD && event != GW_GOSSIP_LEFT && a->gw->moves)
		gw_moves_alive(a->gw->moves);
	if (a->walking)
		a->walk_again = true;
	else
		gw_timer_set(a->walk, WALK_MS);
	gw_sync_changed(a->gw->sync);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct gw_announces *a = arg;

	(void)fd;
	(void)what;
	gw_timer_set(a->tick, TICK_MS);
	gw_announce_engine_pump(a);
	if (!gw_announces_possible(a))
		return;
	gw_announce_check(a, !(++a->ticks % PROBE_TICKS));
	for (size_t i = 0; i < a->n_slots; i++) {
		struct holder *h = a->by_slot[i];

		if (h && p2p_announce_waiting(a->table, h->slot) &&
		    gw_gossip_alive(a->gw->gossip, &h->hit))
			gw_announce_due(h);
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
	gw_announce_engine_due(a);
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

void gw_announces_on_stale(struct gw_announces *a,
			   void (*h)(const struct p2p_key *key, uint64_t order, uint64_t later,
				     void *arg),
			   void *arg)
{
	a->stale = h;
	a->stale_arg = arg;
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
	err = gw_crypto_random(&key, sizeof(key));
	if (!err)
		err = p2p_announce_new(&a->table, max, &key);
	if (!err)
		err = gw_announce_engine_init(a);
	if (!err)
		err = gw_announce_tell_init(a);
	if (!err)
		err = gw_map_new(&a->holders, (size_t)gw->settings->members_max, false,
				 gw_announce_holder_drop, NULL);
	if (!err)
		err = gw_map_new(&a->waiting, 65536, false, waiting_drop, NULL);
	a->tick = event_new(gw->base, -1, 0, on_tick, a);
	a->walk = event_new(gw->base, -1, 0, on_walk, a);
	if (!err && (!a->tick || !a->walk))
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
	gw_announce_engine_free(a);
	gw_announce_tell_free(a);
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
