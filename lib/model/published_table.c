/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Published users: the table, in which every entry is by its name, and the heap of due ones. An
 * entry is either in that or in flight. The heap has room for all entries before one is added, so
 * that no state change can fail for lack of memory. */
#include "lib/model/published_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- the heap: due first, then oldest first --- */

static bool sooner(const struct p2p_pub_entry *a, const struct p2p_pub_entry *b)
{
	return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->id < b->id;
}

static void heap_set(struct p2p_published *p, size_t i, struct p2p_pub_entry *e)
{
	p->heap[i] = e;
	e->heap = (uint32_t)i;
}

static void heap_up(struct p2p_published *p, size_t i)
{
	struct p2p_pub_entry *e = p->heap[i];

	for (; i > 0 && sooner(e, p->heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap_set(p, i, p->heap[(i - 1) / 2]);
	heap_set(p, i, e);
}

static void heap_down(struct p2p_published *p, size_t i)
{
	struct p2p_pub_entry *e = p->heap[i];
	size_t child;

	while ((child = 2 * i + 1) < p->n_heap) {
		if (child + 1 < p->n_heap && sooner(p->heap[child + 1], p->heap[child]))
			child++;
		if (!sooner(p->heap[child], e))
			break;
		heap_set(p, i, p->heap[child]);
		i = child;
	}
	heap_set(p, i, e);
}

void p2p_pub_heap_add(struct p2p_published *p, struct p2p_pub_entry *e)
{
	heap_set(p, p->n_heap++, e);
	heap_up(p, e->heap);
}

void p2p_pub_heap_remove(struct p2p_published *p, struct p2p_pub_entry *e)
{
	size_t i = e->heap;
	struct p2p_pub_entry *last = p->heap[--p->n_heap];

	if (last == e)
		return;
	heap_set(p, i, last);
	heap_up(p, i);
	heap_down(p, last->heap);
}

void p2p_pub_set_due(struct p2p_published *p, struct p2p_pub_entry *e, uint64_t due_ms)
{
	e->due_ms = due_ms;
	heap_up(p, e->heap);
	heap_down(p, e->heap);
}

/* --- entries --- */

struct p2p_pub_entry *p2p_pub_find(const struct p2p_published *p, const char *name, size_t len)
{
	uint64_t hash = p2p_hash(&p->cfg.hash_key, name, len);
	struct p2p_pub_entry *e;

	LIST_FOREACH(e, &p->bucket[hash & (p->n_buckets - 1)], by_name) {
		if (e->hash == hash && e->name_len == len && memcmp(e->name, name, len) == 0)
			return e;
	}
	return NULL;
}

static void entry_free(struct p2p_pub_entry *e)
{
	free(e->phone);
	free(e);
}

void p2p_pub_entry_remove(struct p2p_published *p, struct p2p_pub_entry *e)
{
	if (e->in_flight) {
		LIST_REMOVE(e, by_flight);
		p->st.in_flight--;
	} else {
		p2p_pub_heap_remove(p, e);
	}
	p2p_pub_set_killed(p, e, false);
	p2p_pub_set_dirty(p, e, false);
	--*p2p_pub_desired_count(p, e->desired);
	p->st.entries--;
	LIST_REMOVE(e, by_name);
	entry_free(e);
}

int p2p_pub_entry_add(struct p2p_published *p, const char *name, size_t len, uint64_t now_ms,
		      struct p2p_pub_entry **ep)
{
	struct p2p_pub_entry *e;

	/* A new user is worth more than a tombstone that was already told. */
	if (p->st.entries >= p->cfg.max && !TAILQ_EMPTY(&p->killed))
		p2p_pub_entry_remove(p, TAILQ_FIRST(&p->killed));
	if (p->st.entries >= p->cfg.max)
		return ENOSPC;
	if (p->st.entries >= p->heap_cap) {
		size_t cap = p->heap_cap != 0 ? 2 * p->heap_cap : 64;
		struct p2p_pub_entry **heap =
			realloc(p->heap, cap * sizeof(struct p2p_pub_entry *));

		if (heap == NULL)
			return ENOMEM;
		p->heap = heap;
		p->heap_cap = cap;
	}
	e = calloc(1, sizeof(*e) + len + 1);
	if (e == NULL)
		return ENOMEM;
	memcpy(e->name, name, len);
	e->name_len = (uint8_t)len;
	e->hash = p2p_hash(&p->cfg.hash_key, name, len);
	e->id = ++p->last_id;
	e->desired = P2P_DESIRED_CLAIMED;
	e->due_ms = now_ms;
	LIST_INSERT_HEAD(&p->bucket[e->hash & (p->n_buckets - 1)], e, by_name);
	p2p_pub_heap_add(p, e);
	p->st.entries++;
	p->st.claimed++;
	*ep = e;
	return 0;
}

/* --- the whole --- */

static bool config_valid(const struct p2p_published_config *cfg)
{
	return cfg->max > 0 && cfg->reput_ms > 0 && cfg->retry_min_ms > 0 &&
	       cfg->retry_max_ms >= cfg->retry_min_ms && cfg->tombstone_ms > 0;
}

int p2p_published_new(struct p2p_published **pp, const struct p2p_published_config *config)
{
	struct p2p_published *p;

	if (!config_valid(config))
		return EINVAL;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return ENOMEM;
	p->cfg = *config;
	for (p->n_buckets = 64; p->n_buckets < config->max / 2 && p->n_buckets < (1u << 20);)
		p->n_buckets *= 2;
	p->bucket = calloc(p->n_buckets, sizeof(*p->bucket));
	if (p->bucket == NULL) {
		free(p);
		return ENOMEM;
	}
	TAILQ_INIT(&p->killed);
	*pp = p;
	return 0;
}

void p2p_published_free(struct p2p_published *p)
{
	struct p2p_pub_entry *e;
	size_t i;

	if (p == NULL)
		return;
	for (i = 0; i < p->n_buckets; i++) {
		while ((e = LIST_FIRST(&p->bucket[i])) != NULL) {
			LIST_REMOVE(e, by_name);
			entry_free(e);
		}
	}
	free(p->bucket);
	free(p->heap);
	free(p);
}

void p2p_published_configure(struct p2p_published *p, const struct p2p_published_config *config)
{
	struct p2p_published_config cfg = *config;

	cfg.max = p->cfg.max;
	cfg.hash_key = p->cfg.hash_key;
	if (config_valid(&cfg))
		p->cfg = cfg;
}

/* --- looking --- */

static bool is_confirmed(const struct p2p_pub_entry *e)
{
	enum p2p_put_state put = e->in_flight ? e->before : e->put;

	if (e->dirty || (e->in_flight && e->was_dirty))
		return false;
	return put == (e->desired == P2P_DESIRED_GONE ? P2P_PUT_KILLED : P2P_PUT_PUT);
}

static void fill_info(const struct p2p_pub_entry *e, struct p2p_published_info *info)
{
	memset(info, 0, sizeof(*info));
	memcpy(info->name, e->name, e->name_len + 1);
	info->name_len = e->name_len;
	info->desired = e->desired;
	info->put = e->put;
	info->dirty = e->dirty;
	info->confirmed = is_confirmed(e);
	info->failures = e->failures;
	info->kamailio = e->kamailio;
	info->seq = e->seq;
	info->order = e->order;
	info->due_ms = e->in_flight ? UINT64_MAX : e->due_ms;
	info->n_instances = p2p_pub_instances_get(e, info->instance);
}

int p2p_published_get(const struct p2p_published *p, const char *name, size_t len,
		      struct p2p_published_info *info)
{
	const struct p2p_pub_entry *e = p2p_pub_find(p, name, len);

	if (e == NULL)
		return ENOENT;
	fill_info(e, info);
	return 0;
}

/* cursor: bucket in the upper, place in its chain in the lower 24 bits */
#define CURSOR_CHAIN 24

void p2p_published_scan(const struct p2p_published *p, uint64_t *cursor, size_t count,
			void (*fn)(const struct p2p_published_info *info, void *arg), void *arg)
{
	uint64_t skip = *cursor & ((1u << CURSOR_CHAIN) - 1), place;
	size_t i;

	for (i = (size_t)(*cursor >> CURSOR_CHAIN); i < p->n_buckets; i++, skip = 0) {
		const struct p2p_pub_entry *e;

		place = 0;
		LIST_FOREACH(e, &p->bucket[i], by_name) {
			struct p2p_published_info info;

			if (place++ < skip)
				continue;
			if (count == 0) {
				*cursor = (uint64_t)i << CURSOR_CHAIN | (place - 1);
				return;
			}
			count--;
			fill_info(e, &info);
			fn(&info, arg);
		}
	}
	*cursor = 0;
}

void p2p_published_stats(const struct p2p_published *p, struct p2p_published_stats *st)
{
	*st = p->st;
}
