/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/gateway_watch.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/gateway_cache.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/gateway_records.h"

struct watch {
	struct gw *gw;
	struct dht_watch *dht;
	size_t len;
	char name[P2P_NAME_MAX + 1];
};

struct gw_watches {
	struct gw *gw;
	struct gw_map *map;
};

static void watch_drop(void *value, void *arg)
{
	struct watch *w = value;

	(void)arg;
	if (w->dht && w->gw->dht)
		w->gw->dht_ops->unwatch(w->gw->dht, w->dht);
	free(w);
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
	if (err) {
		free(w);
		return err;
	}
	*wp = w;
	return 0;
}

void gw_watches_free(struct gw_watches *w)
{
	if (!w)
		return;
	gw_map_free(w->map);
	free(w);
}

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
	p2p_hlc_see(&w->gw->hlc, rec.order, gw_wall(w->gw));
	gw_cache_add(w->gw->cache, w->name, w->len, &rec, &signer, data, len);
}

void gw_watches_add(struct gw_watches *ws, const char *name, size_t len, bool evict)
{
	size_t max = (size_t)ws->gw->settings->watches_max;
	struct p2p_key key;
	struct watch *w;

	if (gw_map_get(ws->map, name, len) || !max || !ws->gw->dht || len > P2P_NAME_MAX)
		return;
	if (!evict && gw_map_count(ws->map) >= max)
		return;
	while (gw_map_count(ws->map) >= max) {
		struct watch *old = gw_map_oldest(ws->map);

		gw_map_del(ws->map, old->name, old->len);
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

	gw_map_scan(ws->map, &cursor, SIZE_MAX, watch_rekey, NULL);
}

void gw_watches_del(struct gw_watches *ws, const char *name, size_t len)
{
	gw_map_del(ws->map, name, len);
}

size_t gw_watches_count(const struct gw_watches *w)
{
	return gw_map_count(w->map);
}
