/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ring of keys, 160 bits around, and who sits where on it: consistent hashing. The holders of
 * a key are the first members at it or clockwise from it. A sorted array: finding them is a binary
 * search, and a member that comes or goes changes the ranges of its neighbours only. */
#ifndef P2PSIP_MODEL_RING_H
#define P2PSIP_MODEL_RING_H

#include <stdbool.h>
#include <stddef.h>
#include "lib/proto/record.h"

struct p2p_ring_spot {
	struct p2p_key pos;
	void *member; /* the caller's */
};

/* All zero: an empty ring. */
struct p2p_ring {
	struct p2p_ring_spot *v; /* ascending */
	size_t n, cap;
};

void p2p_ring_free(struct p2p_ring *r);

/* 0, ENOMEM, or EEXIST: somebody sits there. */
int p2p_ring_add(struct p2p_ring *r, const struct p2p_key *pos, void *member);
/* 0, or ENOENT: nobody sits there. */
int p2p_ring_del(struct p2p_ring *r, const struct p2p_key *pos);

/* Index of the first at the key or clockwise from it; 0 where there is nobody. */
size_t p2p_ring_at(const struct p2p_ring *r, const struct p2p_key *key);

/* The first `max` at the key or clockwise from it that fit (NULL: everybody does): how many. */
unsigned int p2p_ring_nearest(const struct p2p_ring *r, const struct p2p_key *key, unsigned int max,
			      bool (*fits)(const void *member, void *arg), void *arg, void **out);

#endif
