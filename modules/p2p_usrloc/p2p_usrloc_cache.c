/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: bounded cache of what the gateway answered, in shared memory.
 *
 * An entry is fresh for cache_fresh_ms, then stale: still used, and refreshed by the client
 * process when it is. Each candidate goes when its record's time is over; only while the gateway
 * is away do the ones that were valid when it went stay, for at most cache_max_s.
 *
 * Divided into shards by the key's hash, each with its lock, its table and its list by last use.
 * A hit copies out under the lock and allocates nothing. */
#include <errno.h>
#include <string.h>

#include "core/dprint.h"
#include "core/mem/shm_mem.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"

#define SHARDS 64
/* How soon a refresh is wanted again when the one before brought nothing. */
#define REFRESH_AGAIN_MS 2000

struct entry {
	struct entry *hash_next;
	struct entry *newer, *older; /* by last use */
	struct entry *wanted_next;
	uint64_t filled_ms;
	uint64_t fresh_until_ms;
	uint64_t refresh_from_ms; /* no refresh is wanted before */
	uint64_t valid_until_ms;  /* of the candidate that lives longest */
	unsigned int gen;
	uint32_t size;
	uint8_t n;
	uint8_t key_len;
	bool wanted;
	uint8_t data[]; /* key, then n packed candidates */
};

_Static_assert(P2P_NAME_MAX <= UINT8_MAX, "key_len is too small");
_Static_assert(P2P_CANDIDATE_URI_MAX <= UINT8_MAX, "a URI's length is kept in one byte");

/* The fixed part of a packed candidate; then its instances, the text why there is no session, then
 * length and text of each URI. */
struct packed {
	struct p2p_hit hit;
	uint64_t order;
	uint64_t valid_until_ms;
	uint32_t flags;
	uint8_t n_uris, n_instances;
	uint8_t session, why_len;
};

struct shard {
	gen_lock_t lock; /* guards all below, and the entries */
	struct entry **table;
	struct entry *newest, *oldest;
	struct entry *wanted;
	unsigned int n;
	size_t bytes;
	unsigned long hits, stale, misses, fills, evictions;
};

/* shm */
struct pul_cache {
	unsigned int table_size;  /* of each shard, a power of two */
	unsigned int max;	  /* entries of each shard */
	atomic_ullong wanted_map; /* shards with entries to refresh */
	struct shard shard[SHARDS];
};

struct pul_cache *pul_routes;
struct pul_cache *pul_peers;

int pul_cache_new(struct pul_cache **cachep, unsigned int max_entries)
{
	struct pul_cache *cache = shm_malloc(sizeof(*cache));
	struct entry **tables;
	unsigned int i;

	if (cache == NULL)
		goto nomem;
	memset(cache, 0, sizeof(*cache));
	cache->max = (max_entries + SHARDS - 1) / SHARDS;
	for (cache->table_size = 1; cache->table_size < cache->max; cache->table_size *= 2)
		;
	tables = shm_malloc(SHARDS * cache->table_size * sizeof(*tables));
	if (tables == NULL)
		goto nomem;
	memset(tables, 0, SHARDS * cache->table_size * sizeof(*tables));
	for (i = 0; i < SHARDS; i++) {
		cache->shard[i].table = tables + i * cache->table_size;
		lock_init(&cache->shard[i].lock);
	}
	*cachep = cache;
	return 0;

nomem:
	SHM_MEM_ERROR;
	if (cache != NULL)
		shm_free(cache);
	return ENOMEM;
}

void pul_cache_free(struct pul_cache *cache)
{
	unsigned int i;

	if (cache == NULL)
		return;
	pul_cache_flush(cache);
	for (i = 0; i < SHARDS; i++)
		lock_destroy(&cache->shard[i].lock);
	shm_free(cache->shard[0].table);
	shm_free(cache);
}

static struct shard *shard_of(struct pul_cache *cache, uint64_t hash)
{
	return &cache->shard[hash >> 58];
}

/* How long candidates may be used: until_ms and beyond it while the gateway is away. */
struct horizon {
	uint64_t now_ms;
	bool away;
	uint64_t away_since_ms;
};

static void horizon_now(struct horizon *h)
{
	h->now_ms = pul_now_ms();
	h->away = !atomic_load(&pul_shared->gateway_up);
	h->away_since_ms = atomic_load(&pul_shared->gateway_changed_ms);
}

static bool usable(const struct horizon *h, uint64_t valid_until_ms)
{
	if (h->now_ms < valid_until_ms)
		return true;
	return h->away && valid_until_ms > h->away_since_ms &&
	       h->now_ms < h->away_since_ms + (uint64_t)pul_settings.cache_max_s * 1000;
}

/* --- packed candidates; no lock needed --- */

static size_t packed_size(const struct p2p_candidate *c)
{
	size_t size =
		sizeof(struct packed) + c->n_instances * sizeof(c->instance[0]) + strlen(c->why);
	unsigned int i;

	for (i = 0; i < c->n_uris; i++)
		size += 1 + strlen(c->uri[i]);
	return size;
}

static uint8_t *pack(uint8_t *p, const struct p2p_candidate *c, uint64_t now_ms)
{
	struct packed fixed = {
		.hit = c->hit,
		.order = c->order,
		.valid_until_ms = now_ms + c->ttl_ms,
		.flags = c->flags,
		.n_uris = c->n_uris,
		.n_instances = c->n_instances,
		.session = c->session,
		.why_len = (uint8_t)strlen(c->why),
	};
	unsigned int i;
	size_t len;

	memcpy(p, &fixed, sizeof(fixed));
	p += sizeof(fixed);
	memcpy(p, c->instance, c->n_instances * sizeof(c->instance[0]));
	p += c->n_instances * sizeof(c->instance[0]);
	memcpy(p, c->why, fixed.why_len);
	p += fixed.why_len;
	for (i = 0; i < c->n_uris; i++) {
		len = strlen(c->uri[i]);
		*p++ = (uint8_t)len;
		memcpy(p, c->uri[i], len);
		p += len;
	}
	return p;
}

/* Reads one candidate and returns where the next begins; c may be NULL. */
static const uint8_t *unpack(const uint8_t *p, struct p2p_candidate *c, struct packed *fixed)
{
	unsigned int i;
	uint8_t len;

	memcpy(fixed, p, sizeof(*fixed));
	p += sizeof(*fixed);
	if (c != NULL) {
		c->hit = fixed->hit;
		c->order = fixed->order;
		c->flags = fixed->flags;
		c->n_uris = fixed->n_uris;
		c->n_instances = fixed->n_instances;
		c->session = fixed->session;
		memcpy(c->instance, p, fixed->n_instances * sizeof(c->instance[0]));
	}
	p += fixed->n_instances * sizeof(c->instance[0]);
	if (c != NULL) {
		memcpy(c->why, p, fixed->why_len);
		c->why[fixed->why_len] = '\0';
	}
	p += fixed->why_len;
	for (i = 0; i < fixed->n_uris; i++) {
		len = *p++;
		if (c != NULL) {
			memcpy(c->uri[i], p, len);
			c->uri[i][len] = '\0';
		}
		p += len;
	}
	return p;
}

/* --- from here to the next line of dashes: the shard's lock is held --- */

static struct entry **entry_link(struct pul_cache *cache, struct shard *s, uint64_t hash,
				 const void *key, size_t len)
{
	struct entry **link = &s->table[hash & (cache->table_size - 1)];

	while (*link != NULL && ((*link)->key_len != len || memcmp((*link)->data, key, len) != 0))
		link = &(*link)->hash_next;
	return link;
}

static void use_list_del(struct shard *s, struct entry *e)
{
	if (e->newer != NULL)
		e->newer->older = e->older;
	else
		s->newest = e->older;
	if (e->older != NULL)
		e->older->newer = e->newer;
	else
		s->oldest = e->newer;
}

static void use_list_add(struct shard *s, struct entry *e)
{
	e->newer = NULL;
	e->older = s->newest;
	if (s->newest != NULL)
		s->newest->newer = e;
	else
		s->oldest = e;
	s->newest = e;
}

/* Unlinks from everything; the caller frees after releasing the lock. */
static struct entry *entry_unlink(struct shard *s, struct entry **link)
{
	struct entry *e = *link, **w;

	*link = e->hash_next;
	use_list_del(s, e);
	if (e->wanted) {
		for (w = &s->wanted; *w != e; w = &(*w)->wanted_next)
			;
		*w = e->wanted_next;
	}
	s->n--;
	s->bytes -= e->size;
	return e;
}

static void copy_out(const struct entry *e, const struct horizon *h, struct p2p_candidate_set *set)
{
	const uint8_t *p = e->data + e->key_len;
	struct packed fixed;
	unsigned int i;

	set->n = 0;
	for (i = 0; i < e->n; i++) {
		p = unpack(p, &set->c[set->n], &fixed);
		if (!usable(h, fixed.valid_until_ms))
			continue;
		set->c[set->n].ttl_ms = fixed.valid_until_ms > h->now_ms
						? (uint32_t)(fixed.valid_until_ms - h->now_ms)
						: 0;
		set->n++;
	}
}

static enum p2p_cache_state entry_state(const struct entry *e, const struct horizon *h)
{
	if (e->n > 0 && !usable(h, e->valid_until_ms))
		return P2P_CACHE_MISS;
	if (h->now_ms < e->fresh_until_ms && e->gen == atomic_load(&pul_shared->cache_gen))
		return P2P_CACHE_FRESH;
	return P2P_CACHE_STALE;
}

/* ---------------------------------------------------------------------------------------------- */

enum p2p_cache_state pul_cache_get(struct pul_cache *cache, const void *key, size_t len,
				   struct p2p_candidate_set *set)
{
	uint64_t hash = p2p_hash(&pul_hash_key, key, len);
	struct shard *s = shard_of(cache, hash);
	enum p2p_cache_state state = P2P_CACHE_MISS;
	struct horizon h;
	struct entry *e;
	bool wanted = false;

	horizon_now(&h);
	lock_get(&s->lock);
	e = *entry_link(cache, s, hash, key, len);
	if (e != NULL)
		state = entry_state(e, &h);
	if (state == P2P_CACHE_MISS) {
		s->misses++;
	} else {
		copy_out(e, &h, set);
		if (s->newest != e) {
			use_list_del(s, e);
			use_list_add(s, e);
		}
		if (state == P2P_CACHE_FRESH) {
			s->hits++;
		} else {
			s->stale++;
			if (!h.away && !e->wanted && h.now_ms >= e->refresh_from_ms) {
				e->refresh_from_ms = h.now_ms + REFRESH_AGAIN_MS;
				e->wanted = true;
				e->wanted_next = s->wanted;
				s->wanted = e;
				wanted = true;
			}
		}
	}
	lock_release(&s->lock);
	if (wanted) {
		atomic_fetch_or(&cache->wanted_map, 1ull << (s - cache->shard));
		pul_wake_soon();
	}
	return state;
}

int pul_cache_put(struct pul_cache *cache, const void *key, size_t len,
		  const struct p2p_candidate_set *set)
{
	uint64_t hash = p2p_hash(&pul_hash_key, key, len), now = pul_now_ms();
	struct shard *s = shard_of(cache, hash);
	size_t size = sizeof(struct entry) + len;
	struct entry *e, *old = NULL, *evicted = NULL, **link;
	uint8_t *p;
	unsigned int i;

	if (len > UINT8_MAX || set->n > P2P_CANDIDATES_MAX)
		return EINVAL;
	for (i = 0; i < set->n; i++)
		size += packed_size(&set->c[i]);
	e = shm_malloc(size);
	if (e == NULL) {
		pul_cache_drop(cache, key, len, NULL);
		return ENOMEM;
	}
	memset(e, 0, sizeof(*e));
	e->size = (uint32_t)size;
	e->key_len = (uint8_t)len;
	e->n = set->n;
	e->gen = atomic_load(&pul_shared->cache_gen);
	e->filled_ms = now;
	e->fresh_until_ms = now + (uint64_t)pul_settings.cache_fresh_ms;
	memcpy(e->data, key, len);
	p = e->data + len;
	for (i = 0; i < set->n; i++) {
		p = pack(p, &set->c[i], now);
		if (now + set->c[i].ttl_ms > e->valid_until_ms)
			e->valid_until_ms = now + set->c[i].ttl_ms;
	}

	lock_get(&s->lock);
	link = entry_link(cache, s, hash, key, len);
	if (*link != NULL) {
		old = entry_unlink(s, link);
	} else if (s->n >= cache->max) {
		uint64_t oldest = p2p_hash(&pul_hash_key, s->oldest->data, s->oldest->key_len);

		evicted = entry_unlink(
			s, entry_link(cache, s, oldest, s->oldest->data, s->oldest->key_len));
		s->evictions++;
	}
	e->hash_next = s->table[hash & (cache->table_size - 1)];
	s->table[hash & (cache->table_size - 1)] = e;
	use_list_add(s, e);
	s->n++;
	s->bytes += size;
	s->fills++;
	lock_release(&s->lock);
	if (old != NULL)
		shm_free(old);
	if (evicted != NULL)
		shm_free(evicted);
	return 0;
}

/* Take one peer's candidate out. Wants the shard's lock. */
static bool candidate_del(struct entry *e, const struct p2p_hit *hit)
{
	uint8_t *p = e->data + e->key_len;
	const uint8_t *next, *end = (const uint8_t *)e + e->size;
	struct packed fixed;
	unsigned int i;

	for (i = 0; i < e->n; i++, p = (uint8_t *)(uintptr_t)next) {
		next = unpack(p, NULL, &fixed);
		if (p2p_hit_cmp(&fixed.hit, hit) == 0) {
			/* what is after the last one is not read again; size stays what the
			 * allocation is */
			memmove(p, next, end - next);
			e->n--;
			return true;
		}
	}
	return false;
}

bool pul_cache_drop(struct pul_cache *cache, const void *key, size_t len, const struct p2p_hit *hit)
{
	uint64_t hash = p2p_hash(&pul_hash_key, key, len);
	struct shard *s = shard_of(cache, hash);
	struct entry *e, *dead = NULL, **link;
	bool found = false;

	lock_get(&s->lock);
	link = entry_link(cache, s, hash, key, len);
	e = *link;
	if (e != NULL) {
		found = hit == NULL || candidate_del(e, hit);
		if (hit == NULL || e->n == 0)
			dead = entry_unlink(s, link);
	}
	lock_release(&s->lock);
	if (dead != NULL)
		shm_free(dead);
	return found;
}

bool pul_cache_take_wanted(struct pul_cache *cache, char *buf, size_t *len)
{
	unsigned long long map;
	struct entry *e;
	struct shard *s;
	unsigned int i;

	while ((map = atomic_load(&cache->wanted_map)) != 0) {
		i = (unsigned int)__builtin_ctzll(map);
		s = &cache->shard[i];
		/* cleared before looking: who adds one after this sets it again */
		atomic_fetch_and(&cache->wanted_map, ~(1ull << i));
		lock_get(&s->lock);
		e = s->wanted;
		if (e != NULL) {
			s->wanted = e->wanted_next;
			e->wanted = false;
			memcpy(buf, e->data, e->key_len);
			buf[e->key_len] = '\0';
			*len = e->key_len;
			if (s->wanted != NULL)
				atomic_fetch_or(&cache->wanted_map, 1ull << i);
		}
		lock_release(&s->lock);
		if (e != NULL)
			return true;
	}
	return false;
}

static unsigned int shard_clear(struct pul_cache *cache, struct shard *s, const struct horizon *h)
{
	struct entry *dead = NULL, *e, **link;
	unsigned int i, n = 0;

	lock_get(&s->lock);
	for (i = 0; i < cache->table_size; i++) {
		for (link = &s->table[i]; (e = *link) != NULL;) {
			if (h != NULL && entry_state(e, h) != P2P_CACHE_MISS) {
				link = &e->hash_next;
				continue;
			}
			entry_unlink(s, link);
			e->hash_next = dead;
			dead = e;
			n++;
		}
	}
	lock_release(&s->lock);
	for (; dead != NULL; dead = e) {
		e = dead->hash_next;
		shm_free(dead);
	}
	return n;
}

unsigned int pul_cache_sweep(struct pul_cache *cache)
{
	struct horizon h;
	unsigned int i, n = 0;

	horizon_now(&h);
	for (i = 0; i < SHARDS; i++)
		n += shard_clear(cache, &cache->shard[i], &h);
	return n;
}

unsigned int pul_cache_flush(struct pul_cache *cache)
{
	unsigned int i, n = 0;

	for (i = 0; i < SHARDS; i++)
		n += shard_clear(cache, &cache->shard[i], NULL);
	return n;
}

unsigned int pul_cache_page(struct pul_cache *cache, uint64_t *position,
			    struct pul_cache_view *view, unsigned int n)
{
	unsigned int got = 0, skip = *position & 0xffffffffu, i;
	uint64_t at = *position >> 32;
	struct p2p_candidate c;
	struct pul_cache_view *v;
	struct packed fixed;
	struct horizon h;
	struct entry *e;
	struct shard *s;

	horizon_now(&h);
	for (; at < SHARDS && got < n; at++, skip = 0) {
		s = &cache->shard[at];
		lock_get(&s->lock);
		for (e = s->newest, i = 0; e != NULL && got < n; e = e->older, i++) {
			if (i < skip)
				continue;
			v = &view[got++];
			memset(v, 0, sizeof(*v));
			memcpy(v->key, e->data, e->key_len);
			v->key_len = e->key_len;
			v->state = entry_state(e, &h);
			v->age_ms = h.now_ms - e->filled_ms;
			v->valid_ms = (int64_t)(e->valid_until_ms - h.now_ms);
			v->n = e->n;
			if (e->n > 0) {
				unpack(e->data + e->key_len, &c, &fixed);
				v->first = c.hit;
				if (c.n_uris > 0)
					strcpy(v->first_uri, c.uri[0]);
			}
		}
		lock_release(&s->lock);
		if (e != NULL) {
			*position = at << 32 | i;
			return got;
		}
	}
	*position = at < SHARDS ? at << 32 : 0;
	return got;
}

void pul_cache_stats(struct pul_cache *cache, struct pul_cache_stats *st)
{
	struct shard *s;
	unsigned int i;

	memset(st, 0, sizeof(*st));
	for (i = 0; i < SHARDS; i++) {
		s = &cache->shard[i];
		lock_get(&s->lock);
		st->hits += s->hits;
		st->stale += s->stale;
		st->misses += s->misses;
		st->fills += s->fills;
		st->evictions += s->evictions;
		st->entries += s->n;
		st->bytes += s->bytes;
		lock_release(&s->lock);
	}
}

/* No call goes out without the session that was agreed for it, and none is refused for a reason
 * that may have passed: the gateway is asked, and answers at once where it has just tried. */
static bool session_usable(const struct p2p_candidate *c)
{
	return c->session == P2P_CANDIDATE_SESSION_NONE ||
	       (c->session == P2P_CANDIDATE_SESSION_OPEN &&
		pul_sessions_by_hit(&c->hit, NULL) == 0);
}

enum p2p_cache_state pul_routes_get(const struct p2p_name *name, struct p2p_candidate_set *set)
{
	enum p2p_cache_state state = pul_cache_get(pul_routes, name->s, name->len, set);
	bool others;
	int i;

	if (state != P2P_CACHE_MISS && set->n > 0) {
		for (i = 0; i < set->n; i++)
			if (!session_usable(&set->c[i]))
				return P2P_CACHE_MISS;
		return state;
	}
	/* "No other peer" is worth knowing only of our own users: for anybody else it would be
	 * absence, which is never taken from a cache. */
	if (!pul_users_serves(name, &others)) {
		if (state != P2P_CACHE_MISS)
			pul_cache_drop(pul_routes, name->s, name->len, NULL);
		return P2P_CACHE_MISS;
	}
	if (state != P2P_CACHE_MISS)
		return state;
	/* Others were known and their entry went: ask. Else a call to one of our own does not wait
	 * for the overlay: the gateway reads before it publishes and tells of others by itself. */
	if (others)
		return P2P_CACHE_MISS;
	set->n = 0;
	if (atomic_load(&pul_shared->gateway_up))
		pul_users_ask(name);
	return P2P_CACHE_STALE;
}
