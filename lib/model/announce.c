/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/announce.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/shared.h"
#include "lib/proto/record_head.h"

#define KEY_AT 22
#define CURSOR_CHAIN 24

/* What a target knows of an entry. */
enum state { WAITING, UNDERWAY, KEPT };

struct target {
	uint16_t slot;
	uint8_t state;
	uint8_t queued; /* stands in its queue: once */
};

struct entry {
	struct entry *chain;
	uint64_t order;
	uint16_t refs; /* queues that it stands in */
	uint8_t n;
	bool dead; /* not in the table any more: freed with the last reference */
	struct target target[P2P_ANNOUNCE_TARGETS_MAX];
	struct p2p_shared *record;
};

/* A ring buffer of entries. */
struct queue {
	bool used;
	size_t waiting; /* or under way */
	size_t ready;	/* waiting only */
	struct entry **v;
	size_t head, n, cap;
};

struct p2p_announce {
	struct p2p_hash_key hash_key;
	struct entry **bucket;
	size_t n_buckets, n, max;
	struct queue *queue;
	size_t n_queues;
};

int p2p_announce_new(struct p2p_announce **ap, size_t max, const struct p2p_hash_key *key)
{
	struct p2p_announce *a;

	if (max == 0)
		return EINVAL;
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return ENOMEM;
	a->hash_key = *key;
	a->max = max;
	for (a->n_buckets = 64; a->n_buckets < max / 2 && a->n_buckets < (1u << 18);)
		a->n_buckets *= 2;
	a->bucket = calloc(a->n_buckets, sizeof(*a->bucket));
	if (a->bucket == NULL) {
		free(a);
		return ENOMEM;
	}
	*ap = a;
	return 0;
}

static void entry_free(struct entry *e)
{
	p2p_shared_drop(e->record);
	free(e);
}

static void unref(struct entry *e)
{
	if (--e->refs == 0 && e->dead)
		entry_free(e);
}

void p2p_announce_free(struct p2p_announce *a)
{
	size_t i;

	if (a == NULL)
		return;
	for (i = 0; i < a->n_queues; i++)
		p2p_announce_target_free(a, (uint16_t)i);
	for (i = 0; i < a->n_buckets; i++) {
		while (a->bucket[i] != NULL) {
			struct entry *e = a->bucket[i];

			a->bucket[i] = e->chain;
			entry_free(e);
		}
	}
	free(a->queue);
	free(a->bucket);
	free(a);
}

/* --- queues ------------------------------------------------------------------------------------
 */

static struct target *target_of(struct entry *e, uint16_t slot)
{
	unsigned int i;

	for (i = 0; i < e->n; i++) {
		if (e->target[i].slot == slot)
			return &e->target[i];
	}
	return NULL;
}

/* Those that were taken away, and a second time those that came back, stand there for nothing. */
static void queue_tidy(struct queue *q, uint16_t slot)
{
	size_t i, n = 0;
	struct target *t;

	for (i = 0; i < q->n; i++) {
		struct entry *e = q->v[(q->head + i) % q->cap];

		t = target_of(e, slot);
		if (t != NULL && t->state == WAITING && t->queued == 1) {
			t->queued = 2;
			q->v[(q->head + n++) % q->cap] = e;
		} else {
			unref(e);
		}
	}
	q->n = n;
	for (i = 0; i < n; i++) {
		t = target_of(q->v[(q->head + i) % q->cap], slot);
		t->queued = 1;
	}
}

static int queue_grow(struct queue *q, uint16_t slot)
{
	size_t i, cap = q->cap != 0 ? 2 * q->cap : 16;
	struct entry **v;

	queue_tidy(q, slot);
	if (q->n < q->cap / 2)
		return 0;
	v = malloc(cap * sizeof(*v));
	if (v == NULL)
		return q->n < q->cap ? 0 : ENOMEM;
	for (i = 0; i < q->n; i++)
		v[i] = q->v[(q->head + i) % q->cap];
	free(q->v);
	q->v = v;
	q->head = 0;
	q->cap = cap;
	return 0;
}

static int queue_add(struct queue *q, uint16_t slot, struct entry *e)
{
	if (q->n == q->cap && queue_grow(q, slot) != 0)
		return ENOMEM;
	q->v[(q->head + q->n++) % q->cap] = e;
	e->refs++;
	return 0;
}

static struct entry *queue_take(struct queue *q)
{
	struct entry *e = q->v[q->head];

	q->head = (q->head + 1) % q->cap;
	if (--q->n == 0) {
		free(q->v);
		q->v = NULL;
		q->head = q->cap = 0;
	}
	return e;
}

int p2p_announce_target_new(struct p2p_announce *a, uint16_t *slot)
{
	size_t i, cap;
	struct queue *v;

	for (i = 0; i < a->n_queues && a->queue[i].used; i++)
		;
	if (i == P2P_ANNOUNCE_SLOTS_MAX)
		return ENOSPC;
	if (i == a->n_queues) {
		cap = a->n_queues != 0 ? 2 * a->n_queues : 16;
		v = realloc(a->queue, cap * sizeof(*v));
		if (v == NULL)
			return ENOMEM;
		memset(v + a->n_queues, 0, (cap - a->n_queues) * sizeof(*v));
		a->queue = v;
		a->n_queues = cap;
	}
	a->queue[i].used = true;
	*slot = (uint16_t)i;
	return 0;
}

static void target_remove(struct p2p_announce *a, struct entry *e, struct target *t)
{
	if (t->state != KEPT)
		a->queue[t->slot].waiting--;
	if (t->state == WAITING)
		a->queue[t->slot].ready--;
	*t = e->target[--e->n];
}

void p2p_announce_target_free(struct p2p_announce *a, uint16_t slot)
{
	struct queue *q;
	size_t i;

	if (slot >= a->n_queues || !a->queue[slot].used)
		return;
	q = &a->queue[slot];
	while (q->n > 0) {
		struct entry *e = queue_take(q);

		unref(e);
	}
	for (i = 0; i < a->n_buckets; i++) {
		struct entry *e;

		for (e = a->bucket[i]; e != NULL; e = e->chain) {
			struct target *t = target_of(e, slot);

			if (t != NULL)
				target_remove(a, e, t);
		}
	}
	*q = (struct queue){0};
}

/* It is to be told: now, or, if it stands in the queue still, when its turn comes. A target that
 * there is no memory for keeps waiting until something is asked of its entry again. */
static int wait_for(struct p2p_announce *a, struct entry *e, struct target *t)
{
	struct queue *q = &a->queue[t->slot];

	if (t->state == KEPT)
		q->waiting++;
	if (t->state != WAITING)
		q->ready++;
	t->state = WAITING;
	if (t->queued)
		return 0;
	if (queue_add(q, t->slot, e) != 0)
		return ENOMEM;
	t->queued = 1;
	return 0;
}

/* --- entries -----------------------------------------------------------------------------------
 */

static struct entry **slot_of(const struct p2p_announce *a, const uint8_t *key)
{
	struct entry **ep =
		&a->bucket[p2p_hash(&a->hash_key, key, P2P_KEY_LEN) & (a->n_buckets - 1)];

	while (*ep != NULL && memcmp((*ep)->record->bytes + KEY_AT, key, P2P_KEY_LEN) != 0)
		ep = &(*ep)->chain;
	return ep;
}

static void entry_drop(struct entry *e)
{
	e->dead = true;
	if (e->refs == 0)
		entry_free(e);
}

static int entry_bytes(struct entry *e, const void *bytes, size_t len, uint64_t order)
{
	struct p2p_shared *record = p2p_shared_new(bytes, len);

	if (record == NULL)
		return ENOMEM;
	p2p_shared_drop(e->record);
	e->record = record;
	e->order = order;
	return 0;
}

int p2p_announce_set(struct p2p_announce *a, const void *bytes, size_t len)
{
	struct p2p_record_head head;
	struct entry **ep, *e;
	unsigned int i;

	if (p2p_record_head(&head, bytes, len) != 0)
		return EBADMSG;
	ep = slot_of(a, head.key);
	if (*ep != NULL) {
		if ((*ep)->order > head.order)
			return ESTALE;
		if (entry_bytes(*ep, bytes, len, head.order) != 0)
			return ENOMEM;
		for (i = 0; i < (*ep)->n; i++)
			wait_for(a, *ep, &(*ep)->target[i]);
		return 0;
	}
	if (a->n >= a->max)
		return ENOSPC;
	e = calloc(1, sizeof(*e));
	if (e == NULL || entry_bytes(e, bytes, len, head.order) != 0) {
		free(e);
		return ENOMEM;
	}
	*ep = e;
	a->n++;
	return 0;
}

int p2p_announce_targets(struct p2p_announce *a, const struct p2p_key *key, const uint16_t *slot,
			 unsigned int n)
{
	struct entry *e = *slot_of(a, key->b);
	unsigned int i, j;
	int err = 0;

	if (e == NULL)
		return ENOENT;
	for (i = 0; i < e->n;) {
		for (j = 0; j < n && slot[j] != e->target[i].slot; j++)
			;
		if (j < n)
			i++;
		else
			target_remove(a, e, &e->target[i]);
	}
	for (j = 0; j < n && e->n < P2P_ANNOUNCE_TARGETS_MAX; j++) {
		struct target *t = target_of(e, slot[j]);

		if (t == NULL) {
			t = &e->target[e->n++];
			*t = (struct target){.slot = slot[j], .state = KEPT};
			err = wait_for(a, e, t) != 0 ? ENOMEM : err;
		} else if (t->state == WAITING && wait_for(a, e, t) != 0) {
			err = ENOMEM;
		}
	}
	return err;
}

static void fill(const struct entry *e, struct p2p_announced *out)
{
	struct p2p_record_head head = {0};

	p2p_record_head(&head, e->record->bytes, e->record->len);
	memcpy(out->key.b, e->record->bytes + KEY_AT, P2P_KEY_LEN);
	out->order = e->order;
	out->expiry_ms = head.expiry_ms;
	out->tombstone = head.tombstone;
	out->bytes = e->record->bytes;
	out->len = e->record->len;
	out->record = e->record;
}

int p2p_announce_get(const struct p2p_announce *a, const struct p2p_key *key,
		     struct p2p_announced *out)
{
	const struct entry *e = *slot_of(a, key->b);

	if (e == NULL)
		return ENOENT;
	fill(e, out);
	return 0;
}

static void unlink_at(struct p2p_announce *a, struct entry **ep)
{
	struct entry *e = *ep;

	*ep = e->chain;
	while (e->n > 0)
		target_remove(a, e, &e->target[0]);
	a->n--;
	entry_drop(e);
}

void p2p_announce_del(struct p2p_announce *a, const struct p2p_key *key)
{
	struct entry **ep = slot_of(a, key->b);

	if (*ep != NULL)
		unlink_at(a, ep);
}

/* --- telling -----------------------------------------------------------------------------------
 */

unsigned int p2p_announce_next(struct p2p_announce *a, uint16_t slot, unsigned int max,
			       bool (*fn)(const struct p2p_announced *e, void *arg), void *arg)
{
	struct queue *q = slot < a->n_queues ? &a->queue[slot] : NULL;
	unsigned int told = 0;

	while (q != NULL && told < max && q->n > 0) {
		struct entry *e = q->v[q->head];
		struct target *t = e->dead ? NULL : target_of(e, slot);
		struct p2p_announced out;

		/* one that was taken away and came back stands here twice */
		if (t != NULL && t->state == WAITING) {
			fill(e, &out);
			if (!fn(&out, arg))
				break;
			t->state = UNDERWAY;
			q->ready--;
			told++;
		}
		if (t != NULL)
			t->queued = 0;
		queue_take(q);
		unref(e);
	}
	return told;
}

void p2p_announce_told(struct p2p_announce *a, uint16_t slot, const struct p2p_key *key,
		       uint64_t order, bool kept)
{
	struct entry *e = *slot_of(a, key->b);
	struct target *t = e != NULL && e->order == order ? target_of(e, slot) : NULL;

	if (t == NULL || t->state != UNDERWAY)
		return;
	if (kept) {
		t->state = KEPT;
		a->queue[slot].waiting--;
	} else {
		wait_for(a, e, t);
	}
}

void p2p_announce_missing(struct p2p_announce *a, uint16_t slot, const struct p2p_key *key)
{
	struct entry *e = *slot_of(a, key->b);
	struct target *t = e != NULL ? target_of(e, slot) : NULL;

	if (t != NULL && t->state == KEPT)
		wait_for(a, e, t);
}

void p2p_announce_again(struct p2p_announce *a, uint16_t slot)
{
	struct entry *e;
	size_t i;

	for (i = 0; i < a->n_buckets; i++) {
		for (e = a->bucket[i]; e != NULL; e = e->chain) {
			struct target *t = target_of(e, slot);

			if (t != NULL && t->state == KEPT)
				wait_for(a, e, t);
		}
	}
}

static unsigned int kept_of(const struct entry *e, uint16_t slot[P2P_ANNOUNCE_TARGETS_MAX])
{
	unsigned int i, n = 0;

	for (i = 0; i < e->n; i++) {
		if (e->target[i].state == KEPT)
			slot[n++] = e->target[i].slot;
	}
	return n;
}

unsigned int p2p_announce_kept(const struct p2p_announce *a, const struct p2p_key *key,
			       uint64_t order, uint16_t slot[P2P_ANNOUNCE_TARGETS_MAX])
{
	const struct entry *e = *slot_of(a, key->b);

	return e != NULL && e->order == order ? kept_of(e, slot) : 0;
}

void p2p_announce_scan(struct p2p_announce *a, uint64_t *cursor, size_t count,
		       bool (*fn)(const struct p2p_announced *e, const uint16_t *kept,
				  unsigned int n, void *arg),
		       void *arg)
{
	uint64_t skip = *cursor & ((1u << CURSOR_CHAIN) - 1);
	size_t i;

	for (i = (size_t)(*cursor >> CURSOR_CHAIN); i < a->n_buckets; i++, skip = 0) {
		struct entry **ep = &a->bucket[i];
		uint64_t place = 0;

		while (*ep != NULL) {
			uint16_t slot[P2P_ANNOUNCE_TARGETS_MAX];
			struct p2p_announced out;

			if (place < skip) {
				place++;
				ep = &(*ep)->chain;
				continue;
			}
			if (count == 0) {
				*cursor = (uint64_t)i << CURSOR_CHAIN | place;
				return;
			}
			count--;
			fill(*ep, &out);
			if (fn(&out, slot, kept_of(*ep, slot), arg)) {
				unlink_at(a, ep);
			} else {
				place++;
				ep = &(*ep)->chain;
			}
		}
	}
	*cursor = 0;
}

size_t p2p_announce_count(const struct p2p_announce *a)
{
	return a->n;
}

size_t p2p_announce_waiting(const struct p2p_announce *a, uint16_t slot)
{
	return slot < a->n_queues ? a->queue[slot].waiting : 0;
}

size_t p2p_announce_ready(const struct p2p_announce *a, uint16_t slot)
{
	return slot < a->n_queues ? a->queue[slot].ready : 0;
}
