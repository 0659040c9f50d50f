/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/location/gateway_watch.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/location/gateway_announce.h"
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/location/gateway_lookup.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/location/gateway_query.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/location/gateway_users.h"
#include "lib/proto/record_head.h"

#define HOLDERS 2
#define TICK_MS 1000
/* Of so many keys a second the holders are asked whether they are still what they were. */
#define PROBE_PAGE 256
/* A holder counts while it is among the first of the living. */
#define NEAR_MAX 9

struct watch {
	struct gw *gw;
	struct dht_watch *dht;
	size_t len;
	char name[P2P_NAME_MAX + 1];
};

/* By a key: two holders tell us of it. */
struct held {
	uint64_t until_ms; /* mono */
	unsigned int n;
	struct {
		struct p2p_hit hit;
		uint64_t instance;
	} holder[HOLDERS];
	size_t len;
	char name[];
};

struct gw_watches {
	struct gw *gw;
	struct gw_map *map;
	struct gw_map *held;
	struct event *tick;
	uint64_t probe_at, evicted;
};

static void held_drop(void *value, void *arg)
{
	(void)arg;
	free(value);
}

static void watch_drop(void *value, void *arg)
{
	struct watch *w = value;

	(void)arg;
	if (w->dht && w->gw->dht)
		w->gw->dht_ops->unwatch(w->gw->dht, w->dht);
	free(w);
}

static void probe_one(const void *key, size_t len, void *value, void *arg)
{
	struct gw_watches *ws = arg;
	const struct held *w = value;

	(void)key;
	(void)len;
	for (unsigned int i = 0; i < w->n; i++)
		gw_queries_probe(ws->gw->queries, &w->holder[i].hit);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct gw_watches *ws = arg;

	(void)fd;
	(void)what;
	gw_timer_set(ws->tick, TICK_MS);
	if (ws->gw->queries)
		gw_map_scan(ws->held, &ws->probe_at, PROBE_PAGE, probe_one, ws);
}

int gw_watches_new(struct gw_watches **wp, struct gw *gw)
{
	struct gw_watches *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return ENOMEM;
	w->gw = gw;
	/* bounded by the setting, which may change: not by the map */
	err = gw_map_new(&w->map, 65536, true, watch_drop, NULL);
	if (!err)
		err = gw_map_new(&w->held, (size_t)gw->settings->cache_max, true, held_drop, NULL);
	w->tick = err ? NULL : event_new(gw->base, -1, 0, on_tick, w);
	if (!w->tick) {
		gw_watches_free(w);
		return err ? err : ENOMEM;
	}
	gw_timer_set(w->tick, TICK_MS);
	*wp = w;
	return 0;
}

void gw_watches_free(struct gw_watches *w)
{
	if (!w)
		return;
	if (w->tick)
		event_free(w->tick);
	gw_map_free(w->map);
	gw_map_free(w->held);
	free(w);
}

/* --- by holders --------------------------------------------------------------------------------
 */

void gw_watches_held(struct gw_watches *ws, const char *name, size_t len, const struct p2p_key *key,
		     const struct p2p_hit *holder, uint64_t instance)
{
	struct held *w = gw_map_get(ws->held, key, sizeof(*key));
	unsigned int i;

	if (!w) {
		w = calloc(1, sizeof(*w) + len);
		if (!w)
			return;
		w->len = len;
		memcpy(w->name, name, len);
		if (gw_map_put(ws->held, key, sizeof(*key), w)) {
			free(w);
			return;
		}
	}
	for (i = 0; i < w->n && p2p_hit_cmp(&w->holder[i].hit, holder); i++)
		;
	if (i == HOLDERS)
		i = 0;
	if (i == w->n)
		w->n++;
	w->holder[i].hit = *holder;
	w->holder[i].instance = instance;
	/* a little less than they believe */
	w->until_ms = gw_mono(ws->gw) + GW_WATCH_S * 1000ull - 5000;
}

bool gw_watches_holds(const struct gw_watches *ws, const char *name, size_t len)
{
	const struct gw *gw = ws->gw;
	struct gw_near near[NEAR_MAX];
	const struct held *w;
	struct p2p_key key;
	unsigned int n;

	if (gw_record_key_user(gw, name, len, &key))
		return false;
	w = gw_map_peek(ws->held, &key, sizeof(key));
	if (!w || gw_mono(gw) >= w->until_ms)
		return false;
	/* one that is no holder any more is not told either */
	n = gw_gossip_nearest(gw->gossip, &key, (unsigned int)gw->settings->holders, true, near);
	for (unsigned int i = 0; i < w->n; i++)
		for (unsigned int k = 0; k < n; k++)
			if (!p2p_hit_cmp(&w->holder[i].hit, &near[k].hit) &&
			    gw_queries_instance(gw->queries, &near[k].hit) == w->holder[i].instance)
				return true;
	return false;
}

static enum p2p_opp_result told(struct gw_watches *ws, const struct p2p_hit *from,
				const uint8_t *bytes, size_t len, enum p2p_record_fault *fault)
{
	struct gw *gw = ws->gw;
	struct p2p_record_head head;
	const struct p2p_userset_entry *known;
	const struct held *w;
	struct p2p_record rec;
	struct p2p_hit signer;
	struct p2p_key key;
	const char *name;
	size_t namelen;

	*fault = P2P_RECORD_BAD_MAGIC;
	if (p2p_record_head(&head, bytes, len))
		return P2P_OPP_REFUSED;
	memcpy(key.b, head.key, sizeof(key.b));
	*fault = P2P_RECORD_OK;
	w = gw_map_peek(ws->held, &key, sizeof(key));
	if (w) {
		name = w->name;
		namelen = w->len;
	} else if (gw_queries_asking(gw->queries, from, &key)) {
		/* its answer, in which we begin to watch, is on the way */
		return P2P_OPP_KEPT;
	} else if (gw_users_find(gw->users, &key, &name, &namelen) ||
		   !gw_users_serves(gw->users, name, namelen)) {
		return P2P_OPP_UNWANTED;
	}
	/* the other holder was first */
	if (!p2p_hit_from_pubkey(&signer, head.pubkey, gw->crypto)) {
		known = gw_cache_known(gw->cache, name, namelen, &signer);
		if (known && known->order == head.order)
			return P2P_OPP_KEPT;
	}
	*fault = gw_record_judge(gw, from, bytes, len, &rec, &signer);
	if (*fault != P2P_RECORD_OK)
		return P2P_OPP_REFUSED;
	gw_record_seen(gw, &rec, &signer);
	gw_cache_add(gw->cache, name, namelen, &rec, &signer, bytes, len);
	gw_lookup_told(gw->lookups, name, namelen, &key, bytes, len);
	gw->metrics.changes_heard++;
	return P2P_OPP_KEPT;
}

void gw_watches_told(struct gw_watches *ws, const struct p2p_hit *from,
		     const struct p2p_opp_batch *in, struct p2p_opp_results *out)
{
	enum p2p_record_fault fault, last = P2P_RECORD_OK;
	char text[P2P_HIT_TEXT_MAX];

	out->n = in->n;
	for (unsigned int i = 0; i < in->n; i++) {
		out->r[i].order = 0;
		out->r[i].result = told(ws, from, in->b + in->r[i].at, in->r[i].len, &fault);
		if (fault == P2P_RECORD_OK || fault == P2P_RECORD_EXPIRED ||
		    fault == P2P_RECORD_UNCHECKED)
			continue;
		ws->gw->metrics.announced_bad++;
		last = fault;
	}
	if (last == P2P_RECORD_OK)
		return;
	p2p_hit_print(from, text);
	gw_warn_source(ws->gw, from, sizeof(*from),
		       "gateway of %s tells of user records that are refused: %s", text,
		       p2p_record_fault_text(last));
}

/* --- by the engine -----------------------------------------------------------------------------
 */

static void on_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len,
		     bool here, void *arg)
{
	struct watch *w = arg;
	struct p2p_record rec;
	struct p2p_hit signer;

	(void)id;
	(void)here;
	if (!gw_record_read(w->gw, P2P_RECORD_USER, key, NULL, data, len, &rec, &signer))
		return;
	gw_record_seen(w->gw, &rec, &signer);
	gw_cache_add(w->gw->cache, w->name, w->len, &rec, &signer, data, len);
}

void gw_watches_add(struct gw_watches *ws, const char *name, size_t len, bool evict)
{
	size_t max = (size_t)ws->gw->settings->watches_max;
	struct p2p_key key;
	struct watch *w;

	if (gw_announces_possible(ws->gw->announces) || gw_map_get(ws->map, name, len) || !max ||
	    !ws->gw->dht || len > P2P_NAME_MAX)
		return;
	if (!evict && gw_map_count(ws->map) >= max)
		return;
	while (gw_map_count(ws->map) >= max) {
		struct watch *old = gw_map_oldest(ws->map);

		gw_map_del(ws->map, old->name, old->len);
		ws->evicted++;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return;
	w->gw = ws->gw;
	w->len = len;
	memcpy(w->name, name, len);
	if (gw_record_key_user(ws->gw, name, len, &key) ||
	    ws->gw->dht_ops->watch(ws->gw->dht, key.b, on_found, w, &w->dht)) {
		free(w);
		return;
	}
	if (gw_map_put(ws->map, name, len, w))
		watch_drop(w, NULL);
}

static void watch_rekey(const void *name, size_t len, void *value, void *arg)
{
	struct watch *w = value;
	struct gw *gw = w->gw;
	struct p2p_key key;

	(void)arg;
	if (!gw->dht)
		return;
	if (w->dht)
		gw->dht_ops->unwatch(gw->dht, w->dht);
	w->dht = NULL;
	if (gw_record_key_user(gw, name, len, &key) ||
	    gw->dht_ops->watch(gw->dht, key.b, on_found, w, &w->dht))
		w->dht = NULL;
}

void gw_watches_rekey(struct gw_watches *ws)
{
	uint64_t cursor = 0;
	struct p2p_key key;

	while (!gw_map_oldest_key(ws->held, &key, sizeof(key)))
		gw_map_del(ws->held, &key, sizeof(key));
	gw_map_scan(ws->map, &cursor, SIZE_MAX, watch_rekey, NULL);
}

void gw_watches_del(struct gw_watches *ws, const char *name, size_t len)
{
	gw_map_del(ws->map, name, len);
}

uint64_t gw_watches_evicted(const struct gw_watches *w)
{
	return w->evicted + gw_map_evicted(w->held);
}

size_t gw_watches_count(const struct gw_watches *w)
{
	return gw_map_count(w->map) + gw_map_count(w->held);
}
