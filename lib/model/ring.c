/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CAP_MIN 16

/* The first that is not before the key, not around the end. */
static size_t lower(const struct p2p_ring *r, const struct p2p_key *key)
{
	size_t low = 0, high = r->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (memcmp(r->v[mid].pos.b, key->b, sizeof(key->b)) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool taken(const struct p2p_ring *r, size_t i, const struct p2p_key *pos)
{
	return i < r->n && memcmp(r->v[i].pos.b, pos->b, sizeof(pos->b)) == 0;
}

void p2p_ring_free(struct p2p_ring *r)
{
	free(r->v);
	memset(r, 0, sizeof(*r));
}

int p2p_ring_add(struct p2p_ring *r, const struct p2p_key *pos, void *member)
{
	size_t i = lower(r, pos);

	if (taken(r, i, pos))
		return EEXIST;
	if (r->n == r->cap) {
		size_t cap = r->cap > 0 ? 2 * r->cap : CAP_MIN;
		struct p2p_ring_spot *v = realloc(r->v, cap * sizeof(*v));

		if (v == NULL)
			return ENOMEM;
		r->v = v;
		r->cap = cap;
	}
	memmove(&r->v[i + 1], &r->v[i], (r->n - i) * sizeof(r->v[0]));
	r->v[i].pos = *pos;
	r->v[i].member = member;
	r->n++;
	return 0;
}

int p2p_ring_del(struct p2p_ring *r, const struct p2p_key *pos)
{
	size_t i = lower(r, pos);

	if (!taken(r, i, pos))
		return ENOENT;
	r->n--;
	memmove(&r->v[i], &r->v[i + 1], (r->n - i) * sizeof(r->v[0]));
	return 0;
}

size_t p2p_ring_at(const struct p2p_ring *r, const struct p2p_key *key)
{
	size_t i = lower(r, key);

	return i < r->n ? i : 0;
}

unsigned int p2p_ring_nearest(const struct p2p_ring *r, const struct p2p_key *key, unsigned int max,
			      bool (*fits)(const void *member, void *arg), void *arg, void **out)
{
	size_t i = p2p_ring_at(r, key), seen;
	unsigned int n = 0;

	for (seen = 0; seen < r->n && n < max; seen++) {
		if (fits == NULL || fits(r->v[i].member, arg))
			out[n++] = r->v[i].member;
		if (++i == r->n)
			i = 0;
	}
	return n;
}
