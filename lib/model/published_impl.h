/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Published users, for their own files only: published.c has what is wished and by whom,
 * published_table.c where entries are, published_work.c what is done about them. */
#ifndef P2PSIP_MODEL_PUBLISHED_IMPL_H
#define P2PSIP_MODEL_PUBLISHED_IMPL_H

#include "lib/model/published.h"

#include <sys/queue.h>

#define P2P_PUB_FLIGHT_BUCKETS 256

/* One of a user's phones. */
struct p2p_pub_phone {
	uint64_t since;
	uint32_t instance;
	bool earlier; /* it was there before since, in a former life */
};

/* There may be hundreds of thousands. */
struct p2p_pub_entry {
	LIST_ENTRY(p2p_pub_entry) by_name;
	union {
		LIST_ENTRY(p2p_pub_entry) by_flight;  /* while in flight */
		TAILQ_ENTRY(p2p_pub_entry) by_killed; /* while `killed`, and so not in flight */
	};
	uint64_t hash, id;
	uint64_t kamailio, seq;
	uint64_t order, last_expiry_ms;
	uint64_t due_ms, orphan_until_ms, forget_ms;
	struct p2p_pub_phone *phone; /* n_phones of them, by instance; NULL: none */
	uint32_t heap;		     /* index */
	uint32_t generation;	     /* of its Kamailio's connection, when it was last claimed */
	unsigned int failures;
	uint8_t stales;
	uint8_t desired;     /* enum p2p_desired */
	uint8_t put, before; /* enum p2p_put_state; before: when the put in flight began */
	bool dirty, was_dirty, in_flight, killed, spoiled;
	uint8_t n_phones;
	uint8_t name_len;
	char name[];
};

struct p2p_pub_kamailio {
	uint64_t id, seq; /* seq: the highest one taken */
	unsigned int connections;
	uint32_t generation; /* of its synchronisation; 0: the place is free */
	bool resumable;	     /* it has begun one, and all that it named since is still its own */
};

LIST_HEAD(p2p_pub_entry_list, p2p_pub_entry);

struct p2p_published {
	struct p2p_published_config cfg;
	struct p2p_pub_entry_list *bucket;
	size_t n_buckets;
	struct p2p_pub_entry **heap;
	size_t n_heap, heap_cap;
	struct p2p_pub_entry_list flight[P2P_PUB_FLIGHT_BUCKETS];
	TAILQ_HEAD(, p2p_pub_entry) killed; /* tombstones that were put, the oldest first */
	struct p2p_pub_kamailio kamailio[P2P_PUBLISHED_KAMAILIOS_MAX];
	struct p2p_published_stats st;
	uint64_t last_id;
	uint32_t last_generation;
};

static inline size_t *p2p_pub_desired_count(struct p2p_published *p, enum p2p_desired desired)
{
	switch (desired) {
	case P2P_DESIRED_CLAIMED:
		return &p->st.claimed;
	case P2P_DESIRED_ORPHAN:
		return &p->st.orphans;
	case P2P_DESIRED_GONE:
		break;
	}
	return &p->st.gone;
}

static inline void p2p_pub_set_desired(struct p2p_published *p, struct p2p_pub_entry *e,
				       enum p2p_desired desired)
{
	--*p2p_pub_desired_count(p, e->desired);
	++*p2p_pub_desired_count(p, desired);
	e->desired = (uint8_t)desired;
}

static inline void p2p_pub_set_dirty(struct p2p_published *p, struct p2p_pub_entry *e, bool dirty)
{
	if (dirty && !e->dirty)
		p->st.dirty++;
	else if (!dirty && e->dirty)
		p->st.dirty--;
	e->dirty = dirty;
}

static inline void p2p_pub_set_killed(struct p2p_published *p, struct p2p_pub_entry *e, bool killed)
{
	if (killed == e->killed)
		return;
	e->killed = killed;
	if (killed)
		TAILQ_INSERT_TAIL(&p->killed, e, by_killed);
	else
		TAILQ_REMOVE(&p->killed, e, by_killed);
}

/* Did (or may) a record of the user get out? */
static inline bool p2p_pub_is_out(const struct p2p_pub_entry *e)
{
	return e->put != P2P_PUT_NOTHING || e->last_expiry_ms != 0;
}

static inline uint8_t p2p_pub_instances_get(const struct p2p_pub_entry *e,
					    uint32_t instance[P2P_CANDIDATE_INSTANCES_MAX])
{
	int i;

	for (i = 0; i < e->n_phones; i++)
		instance[i] = e->phone[i].instance;
	return e->n_phones;
}

/* --- published_table.c --- */

/* Into the heap of due entries, out of it; due at another time. */
void p2p_pub_heap_add(struct p2p_published *p, struct p2p_pub_entry *e);
void p2p_pub_heap_remove(struct p2p_published *p, struct p2p_pub_entry *e);
void p2p_pub_set_due(struct p2p_published *p, struct p2p_pub_entry *e, uint64_t due_ms);

/* NULL: there is none. */
struct p2p_pub_entry *p2p_pub_find(const struct p2p_published *p, const char *name, size_t len);
/* A new one, claimed, due now. 0, ENOSPC or ENOMEM. */
int p2p_pub_entry_add(struct p2p_published *p, const char *name, size_t len, uint64_t now_ms,
		      struct p2p_pub_entry **ep);
void p2p_pub_entry_remove(struct p2p_published *p, struct p2p_pub_entry *e);

#endif
