/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/location/gateway_cache.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/location/gateway_moves.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/location/gateway_users.h"

/* A refuted record is left out of answers for this long at least; then its peer is asked again. Of
 * what the modules are told it stays left out for as long as it is the same record. */
#define REFUTED_MIN_MS 5000

/* What the peer of a record said. */
struct said {
	uint64_t confirmed_ms, refuted_ms; /* mono; 0: it did not */
	bool compared;			   /* with who is registered here, gateway_moves.h */
};

struct names {
	uint64_t read_ms; /* mono */
	uint64_t digest;  /* of the candidates that the modules were told of, or could ask for */
	unsigned int n;
	struct said *said;	      /* as many as e, behind them */
	struct p2p_userset_entry e[]; /* a whole p2p_userset has room for 32 */
};

struct gw_cache {
	struct gw *gw;
	struct gw_map *map;
	bool uncompared; /* some may be: their peers were taken for dead, or there was no room */
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

static struct names *names_new(const struct p2p_userset *set)
{
	size_t entries = sizeof(struct names) + set->n * sizeof(set->e[0]);
	struct names *e = calloc(1, entries + set->n * sizeof(struct said));

	if (!e)
		return NULL;
	e->n = set->n;
	memcpy(e->e, set->e, set->n * sizeof(e->e[0]));
	e->said = (struct said *)((char *)e + entries);
	return e;
}

static int names_find(const struct names *e, const struct p2p_hit *hit, uint64_t order)
{
	for (unsigned int i = 0; e && i < e->n; i++)
		if (e->e[i].order == order && !p2p_hit_cmp(&e->e[i].hit, hit))
			return (int)i;
	return -1;
}

static uint64_t names_digest(struct gw_cache *c, const struct names *e)
{
	struct p2p_candidate_set cands;
	struct p2p_userset set;

	set_load(&set, e);
	for (unsigned int i = 0; i < e->n; i++)
		if (e->said[i].refuted_ms)
			set.e[i].tombstone = true;
	gw_peers_candidates(c->gw->peers, &set, &cands);
	return digest(&cands);
}

/* Phones that are registered here may have gone there. */
static void compare(struct gw_cache *c, const char *name, size_t len, struct names *e)
{
	struct p2p_published_info own;
	struct p2p_candidate_set cands;
	struct p2p_userset set;

	if (!c->gw->moves || p2p_published_get(gw_users_table(c->gw->users), name, len, &own) ||
	    own.desired != P2P_DESIRED_CLAIMED)
		return;
	/* without tombstones, what has expired, and what revoked peers have signed */
	set_load(&set, e);
	gw_peers_candidates(c->gw->peers, &set, &cands);
	for (unsigned int k = 0; k < cands.n; k++) {
		int i = names_find(e, &cands.c[k].hit, cands.c[k].order);

		if (i < 0 || e->said[i].compared)
			continue;
		e->said[i].compared = !(cands.c[k].flags & P2P_CANDIDATE_LAPSED) &&
				      gw_moves_other(c->gw->moves, name, len, &e->e[i]);
		if (!e->said[i].compared)
			c->uncompared = true;
	}
}

static void compare_one(const void *key, size_t len, void *value, void *arg)
{
	compare(arg, key, len, value);
}

void gw_cache_compare(struct gw_cache *c)
{
	uint64_t cursor = 0;

	if (!c->uncompared)
		return;
	c->uncompared = false;
	gw_map_scan(c->map, &cursor, SIZE_MAX, compare_one, c);
}

void gw_cache_uncompared(struct gw_cache *c, const char *name, size_t len,
			 const struct p2p_hit *hit, uint64_t order)
{
	struct names *e = gw_map_peek(c->map, name, len);
	int i = names_find(e, hit, order);

	if (i < 0)
		return;
	e->said[i].compared = false;
	c->uncompared = true;
}

static void store(struct gw_cache *c, const char *name, size_t len, const struct p2p_userset *set,
		  bool tell)
{
	struct names *e = gw_map_peek(c->map, name, len), *next;
	bool was = e != NULL;
	uint64_t old = e ? e->digest : 0;

	next = names_new(set);
	if (!next)
		return;
	next->read_ms = gw_mono(c->gw);
	for (unsigned int i = 0; i < next->n; i++) {
		int j = names_find(e, &next->e[i].hit, next->e[i].order);

		if (j >= 0)
			next->said[i] = e->said[j];
	}
	next->digest = names_digest(c, next);
	if (next->digest != old && (was || tell || gw_users_serves(c->gw->users, name, len)))
		gw_users_event(c->gw, name, len);
	compare(c, name, len, next);
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

const struct p2p_userset_entry *gw_cache_known(const struct gw_cache *c, const char *name,
					       size_t len, const struct p2p_hit *hit)
{
	const struct names *e = gw_map_peek(c->map, name, len);

	for (unsigned int i = 0; e && i < e->n; i++)
		if (!p2p_hit_cmp(&e->e[i].hit, hit))
			return e->e[i].expiry_ms > gw_wall(c->gw) ? &e->e[i] : NULL;
	return NULL;
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
	gw_cache_filter(c, name, len, out);
	for (unsigned int i = 0; i < out->n; i++)
		if (!(out->c[i].flags & P2P_CANDIDATE_LAPSED))
			return 0;
	return ENOENT;
}

unsigned int gw_cache_gateways(const struct gw_cache *c, const char *name, size_t len,
			       const struct p2p_hit *hit, uint64_t order,
			       struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX],
			       uint64_t *confirmed_ms)
{
	const struct names *e = gw_map_peek(c->map, name, len);
	int i = names_find(e, hit, order);

	if (i < 0)
		return 0;
	memcpy(gateway, e->e[i].gateway, sizeof(e->e[i].gateway));
	*confirmed_ms = e->said[i].confirmed_ms;
	return e->e[i].n_gateways;
}

void gw_cache_confirm(struct gw_cache *c, const char *name, size_t len, const struct p2p_hit *hit,
		      uint64_t order)
{
	struct names *e = gw_map_peek(c->map, name, len);
	int i = names_find(e, hit, order);

	if (i < 0)
		return;
	e->said[i].confirmed_ms = gw_mono(c->gw);
	if (!e->said[i].refuted_ms)
		return;
	e->said[i].refuted_ms = 0;
	e->digest = names_digest(c, e);
	gw_users_event(c->gw, name, len);
}

void gw_cache_refute(struct gw_cache *c, const char *name, size_t len, const struct p2p_hit *hit,
		     uint64_t order)
{
	struct names *e = gw_map_peek(c->map, name, len);
	int i = names_find(e, hit, order);
	uint64_t now;

	if (i < 0)
		return;
	e->said[i].refuted_ms = gw_mono(c->gw);
	e->said[i].confirmed_ms = 0;
	now = names_digest(c, e);
	if (now == e->digest)
		return;
	e->digest = now;
	gw_users_event(c->gw, name, len);
}

void gw_cache_filter(const struct gw_cache *c, const char *name, size_t len,
		     struct p2p_candidate_set *cands)
{
	const struct names *e = gw_map_peek(c->map, name, len);
	uint64_t now = gw_mono(c->gw), keep = (uint64_t)c->gw->settings->ask_fresh_ms;
	unsigned int n = 0;

	if (keep < REFUTED_MIN_MS)
		keep = REFUTED_MIN_MS;
	for (unsigned int k = 0; k < cands->n; k++) {
		int i = names_find(e, &cands->c[k].hit, cands->c[k].order);

		if (i >= 0 && e->said[i].refuted_ms && now - e->said[i].refuted_ms < keep)
			continue;
		if (n != k)
			cands->c[n] = cands->c[k];
		n++;
	}
	cands->n = (uint8_t)n;
}

struct forget {
	struct gw_cache *c;
	const struct p2p_hit *hit;
};

static void forget_one(const void *name, size_t len, void *value, void *arg)
{
	struct forget *f = arg;
	struct names *e = value;

	for (unsigned int i = 0; i < e->n; i++) {
		if (p2p_hit_cmp(&e->e[i].hit, f->hit))
			continue;
		e->digest = names_digest(f->c, e);
		gw_users_event(f->c->gw, name, len);
		return;
	}
}

void gw_cache_forget(struct gw_cache *c, const struct p2p_hit *hit)
{
	struct forget f = {.c = c, .hit = hit};
	uint64_t cursor = 0;

	gw_map_scan(c->map, &cursor, SIZE_MAX, forget_one, &f);
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

uint64_t gw_cache_evicted(const struct gw_cache *c)
{
	return gw_map_evicted(c->map);
}

size_t gw_cache_count(const struct gw_cache *c)
{
	return gw_map_count(c->map);
}
