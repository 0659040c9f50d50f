/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/gateway_map.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "lib/base/hash.h"

struct node {
	struct node *chain;	    /* same bucket */
	struct node *newer, *older; /* by last use */
	void *value;
	uint8_t len;
	uint8_t key[];
};

struct gw_map {
	struct p2p_hash_key hash_key;
	struct node **bucket;
	size_t mask, count, max;
	uint64_t evicted;
	bool evict;
	struct node *newest, *oldest;
	void (*drop)(void *value, void *arg);
	void *arg;
};

int gw_map_new(struct gw_map **mp, size_t max, bool evict, void (*drop)(void *value, void *arg),
	       void *arg)
{
	struct gw_map *m = calloc(1, sizeof(*m));
	size_t n = 16;
	int err = ENOMEM;

	if (!m)
		return ENOMEM;
	/* full, a chain has four or so */
	while (n < max / 4 && n < (size_t)1 << 20)
		n *= 2;
	m->bucket = calloc(n, sizeof(struct node *));
	if (!m->bucket)
		goto fail;
	err = gw_crypto_random(&m->hash_key, sizeof(m->hash_key));
	if (err)
		goto fail;
	m->mask = n - 1;
	m->max = max ? max : 1;
	m->evict = evict;
	m->drop = drop;
	m->arg = arg;
	*mp = m;
	return 0;
fail:
	free(m->bucket);
	free(m);
	return err;
}

static struct node **slot(const struct gw_map *m, const void *key, size_t len)
{
	struct node **np = &m->bucket[p2p_hash(&m->hash_key, key, len) & m->mask];

	while (*np && ((*np)->len != len || memcmp((*np)->key, key, len)))
		np = &(*np)->chain;
	return np;
}

static void use_unlink(struct gw_map *m, struct node *n)
{
	if (n->newer)
		n->newer->older = n->older;
	else
		m->newest = n->older;
	if (n->older)
		n->older->newer = n->newer;
	else
		m->oldest = n->newer;
}

static void use_link(struct gw_map *m, struct node *n)
{
	n->newer = NULL;
	n->older = m->newest;
	if (m->newest)
		m->newest->newer = n;
	else
		m->oldest = n;
	m->newest = n;
}

static void *unlink_node(struct gw_map *m, struct node **np)
{
	struct node *n = *np;
	void *value = n->value;

	*np = n->chain;
	use_unlink(m, n);
	m->count--;
	free(n);
	return value;
}

static void drop(struct gw_map *m, void *value)
{
	if (m->drop)
		m->drop(value, m->arg);
}

void gw_map_free(struct gw_map *m)
{
	if (!m)
		return;
	while (m->oldest)
		drop(m, unlink_node(m, slot(m, m->oldest->key, m->oldest->len)));
	free(m->bucket);
	free(m);
}

void *gw_map_peek(const struct gw_map *m, const void *key, size_t len)
{
	struct node *n = *slot(m, key, len);

	return n ? n->value : NULL;
}

void *gw_map_get(struct gw_map *m, const void *key, size_t len)
{
	struct node *n = *slot(m, key, len);

	if (!n)
		return NULL;
	use_unlink(m, n);
	use_link(m, n);
	return n->value;
}

int gw_map_put(struct gw_map *m, const void *key, size_t len, void *value)
{
	struct node **np, *n;

	if (!len || len > GW_MAP_KEY_MAX)
		return EINVAL;
	n = *slot(m, key, len);
	if (n) {
		void *old = n->value;

		n->value = value;
		use_unlink(m, n);
		use_link(m, n);
		if (old != value)
			drop(m, old);
		return 0;
	}
	if (m->count >= m->max && !m->evict)
		return ENOSPC;
	n = malloc(sizeof(*n) + len);
	if (!n)
		return ENOMEM;
	n->value = value;
	n->len = (uint8_t)len;
	memcpy(n->key, key, len);
	for (; m->count >= m->max; m->evicted++)
		drop(m, unlink_node(m, slot(m, m->oldest->key, m->oldest->len)));
	np = slot(m, key, len);
	n->chain = NULL;
	*np = n;
	use_link(m, n);
	m->count++;
	return 0;
}

void *gw_map_take(struct gw_map *m, const void *key, size_t len)
{
	struct node **np = slot(m, key, len);

	return *np ? unlink_node(m, np) : NULL;
}

int gw_map_del(struct gw_map *m, const void *key, size_t len)
{
	struct node **np = slot(m, key, len);

	if (!*np)
		return ENOENT;
	drop(m, unlink_node(m, np));
	return 0;
}

size_t gw_map_count(const struct gw_map *m)
{
	return m->count;
}

uint64_t gw_map_evicted(const struct gw_map *m)
{
	return m->evicted;
}

void *gw_map_oldest(const struct gw_map *m)
{
	return m->oldest ? m->oldest->value : NULL;
}

int gw_map_oldest_key(const struct gw_map *m, void *key, size_t len)
{
	if (!m->oldest || m->oldest->len != len)
		return ENOENT;
	memcpy(key, m->oldest->key, len);
	return 0;
}

void gw_map_scan(const struct gw_map *m, uint64_t *cursor, size_t count,
		 void (*fn)(const void *key, size_t len, void *value, void *arg), void *arg)
{
	struct node *n = m->newest;
	uint64_t at = 0;

	while (n && at < *cursor) {
		n = n->older;
		at++;
	}
	for (; n && count; n = n->older, at++, count--)
		fn(n->key, n->len, n->value, arg);
	*cursor = n ? at : 0;
}
