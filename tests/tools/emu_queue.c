/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A binary heap of packets; their bytes stay where they were put. */
#include "tests/tools/emu_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	uint64_t due;
	uint64_t order;
	uint32_t slot;
	uint16_t to;
	uint16_t len;
};

struct emu_queue {
	struct entry *heap;
	uint32_t *spare; /* slots nobody uses, from [len] on */
	uint8_t (*data)[EMU_PACKET_MAX];
	uint64_t order;
	unsigned int len, capacity;
};

int emu_queue_new(struct emu_queue **qp, unsigned int capacity)
{
	struct emu_queue *q = calloc(1, sizeof(*q));
	unsigned int i;

	if (!q)
		return ENOMEM;
	q->capacity = capacity;
	q->heap = calloc(capacity, sizeof(*q->heap));
	q->spare = calloc(capacity, sizeof(*q->spare));
	q->data = calloc(capacity, sizeof(*q->data));
	if (!q->heap || !q->spare || !q->data) {
		emu_queue_free(q);
		return ENOMEM;
	}
	for (i = 0; i < capacity; i++)
		q->spare[i] = i;
	*qp = q;
	return 0;
}

void emu_queue_free(struct emu_queue *q)
{
	if (!q)
		return;
	free(q->heap);
	free(q->spare);
	free(q->data);
	free(q);
}

static int before(const struct entry *a, const struct entry *b)
{
	return a->due != b->due ? a->due < b->due : a->order < b->order;
}

int emu_queue_put(struct emu_queue *q, uint64_t due, unsigned int to, const void *data, size_t len)
{
	struct entry e;
	unsigned int i, up;

	if (len > EMU_PACKET_MAX)
		return EMSGSIZE;
	if (q->len == q->capacity)
		return ENOBUFS;
	e = (struct entry){
		.due = due,
		.order = q->order++,
		.slot = q->spare[q->len],
		.to = (uint16_t)to,
		.len = (uint16_t)len,
	};
	memcpy(q->data[e.slot], data, len);
	for (i = q->len++; i > 0; i = up) {
		up = (i - 1) / 2;
		if (!before(&e, &q->heap[up]))
			break;
		q->heap[i] = q->heap[up];
	}
	q->heap[i] = e;
	return 0;
}

uint64_t emu_queue_due(const struct emu_queue *q)
{
	return q->len ? q->heap[0].due : UINT64_MAX;
}

const void *emu_queue_take(struct emu_queue *q, uint64_t now, unsigned int *to, size_t *len)
{
	struct entry first, last;
	unsigned int i, child;

	if (!q->len || q->heap[0].due > now)
		return NULL;
	first = q->heap[0];
	last = q->heap[--q->len];
	for (i = 0; (child = 2 * i + 1) < q->len; i = child) {
		if (child + 1 < q->len && before(&q->heap[child + 1], &q->heap[child]))
			child++;
		if (before(&last, &q->heap[child]))
			break;
		q->heap[i] = q->heap[child];
	}
	q->heap[i] = last;
	q->spare[q->len] = first.slot;
	*to = first.to;
	*len = first.len;
	return q->data[first.slot];
}

unsigned int emu_queue_len(const struct emu_queue *q)
{
	return q->len;
}
