/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/gateway_cache.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/gateway_peers.h"
#include "dht-gateway/gateway_users.h"

struct names {
	uint64_t read_ms; /* mono */
	uint64_t digest;  /* of the candidates that the modules were told of, or could ask for */
	unsigned int n;
	struct p2p_userset_entry e[]; /* a whole p2p_userset has room for 32 */
};

struct gw_cache {
	struct gw *gw;
	struct gw_map *map;
};

static void names_drop(void *value, void *arg)
{
	(void)arg;
	free(value);
}

int gw_cache_new(struct gw_cache **cp, struct gw *gw)
{
	struct gw_cache *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return ENOMEM;
	c->gw = gw;
	err = gw_map_new(&c->map, (size_t)gw->settings->cache_max, true, names_drop, NULL);
	if (err) {
		free(c);
		return err;
	}
	*cp = c;
	return 0;
}

void gw_cache_free(struct gw_cache *c)
{
	if (!c)
		return;
	gw_map_free(c->map);
	free(c);
}

static void set_load(struct p2p_userset *set, const struct names *e)
{
	p2p_userset_init(set);
	if (!e)
		return;
	memcpy(set->e, e->e, e->n * sizeof(e->e[0]));
	set->n = (uint8_t)e->n;
}

/* What a caller would see: which peers, where, for which phones. Not order and time to live, which
 * change each time a record is put again. */
static uint64_t digest(const struct p2p_candidate_set *cands)
{
	static const struct p2p_hash_key key = {{0}};
	uint64_t sum = 0;

	for (unsigned int i = 0; i < cands->n; i++) {
		const struct p2p_candidate *c = &cands->c[i];
		uint64_t h = p2p_hash(&key, &c->hit, sizeof(c->hit));

		for (unsigned int u = 0; u < c->n_uris; u++)
			h = h * 31 + p2p_hash(&key, c->uri[u], strlen(c->uri[u]));
		h = h * 31 + p2p_hash(&key, c->instance, c->n_instances * sizeof(c->instance[0]));
		sum += h; /* in any order */
	}
	return sum;
}

static void store(struct gw_cache *c, const char *name, size_t len, const struct p2p_userset *set,
		  bool tell)
{
	struct names *e = gw_map_peek(c->map, name, len), *next;
	struct p2p_candidate_set cands;
	bool was = e != NULL;
	uint64_t old = e ? e->digest : 0;

	next = malloc(sizeof(*next) + set->n * sizeof(next->e[0]));
	if (!next)
		return;
	next->read_ms = gw_mono(c->gw);
	next->n = set->n;
	memcpy(next->e, set->e, set->n * sizeof(next->e[0]));
	gw_peers_candidates(c->gw->peers, set, &cands);
	next->digest = digest(&cands);
	if (next->digest != old && (was || tell || gw_users_serves(c->gw->users, name, len)))
		gw_users_event(c->gw, name, len);
	if (gw_map_put(c->map, name, len, next))
		free(next);
}

void gw_cache_put(struct gw_cache *c, const char *name, size_t len, const struct p2p_userset *set,
		  bool complete, bool tell)
{
	struct names *e = gw_map_peek(c->map, name, len);
	struct p2p_userset all;

	if (complete || !e) {
		/* nothing found, nothing known: nothing to remember */
		if (!set->n && !e)
			return;
		store(c, name, len, set, tell);
		return;
	}
	/* Entries of the one that are newer win; entries are whole, so that a merge by hand is
	 * simple. */
	set_load(&all, e);
	for (unsigned int i = 0; i < set->n; i++) {
		unsigned int j = 0;

		while (j < all.n && p2p_hit_cmp(&all.e[j].hit, &set->e[i].hit))
			j++;
		if (j < all.n) {
			if (all.e[j].order < set->e[i].order)
				all.e[j] = set->e[i];
		} else if (all.n < P2P_USERSET_MAX) {
			all.e[all.n++] = set->e[i];
		}
	}
	store(c, name, len, &all, tell);
}

void gw_cache_add(struct gw_cache *c, const char *name, size_t len, const struct p2p_record *rec,
		  const struct p2p_hit *hit, const void *bytes, size_t blen)
{
	struct p2p_userset set;

	set_load(&set, gw_map_peek(c->map, name, len));
	if (!p2p_userset_add(&set, rec, hit, bytes, blen))
		store(c, name, len, &set, false);
}

int gw_cache_get(struct gw_cache *c, const char *name, size_t len, uint64_t max_age_ms,
		 struct p2p_candidate_set *out)
{
	struct names *e = gw_map_get(c->map, name, len);
	struct p2p_userset set;

	if (!e || gw_mono(c->gw) - e->read_ms > max_age_ms)
		return ENOENT;
	set_load(&set, e);
	gw_peers_candidates(c->gw->peers, &set, out);
	for (unsigned int i = 0; i < out->n; i++)
		if (!(out->c[i].flags & P2P_CANDIDATE_LAPSED))
			return 0;
	return ENOENT;
}

struct scan {
	const struct gw_cache *c;
	void (*fn)(const struct gw_cache_info *info, void *arg);
	void *arg;
};

static void scan_names(const void *key, size_t len, void *value, void *arg)
{
	const struct names *e = value;
	struct scan *s = arg;
	struct gw_cache_info info = {
		.name = key,
		.len = len,
		.age_ms = gw_mono(s->c->gw) - e->read_ms,
		.entry = e->e,
		.n = e->n,
	};

	s->fn(&info, s->arg);
}

void gw_cache_scan(const struct gw_cache *c, uint64_t *cursor, size_t count,
		   void (*fn)(const struct gw_cache_info *info, void *arg), void *arg)
{
	struct scan s = {.c = c, .fn = fn, .arg = arg};

	gw_map_scan(c->map, cursor, count, scan_names, &s);
}

size_t gw_cache_count(const struct gw_cache *c)
{
	return gw_map_count(c->map);
}
