/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: parts of the file of records: free slots, sums, which record a key has. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "modules/p2p_usrloc/p2p_usrloc_file_priv.h"

/* After the disk was full: a worker does not try it again for so long */
#define GROW_AGAIN_MS 1000

uint64_t pul_file_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* --- free slots --- */

void pul_file_free_push(struct pul_file *f, uint32_t slot)
{
	unsigned long long old = atomic_load(&f->sh->free), new;

	if (slot >= f->slots_max)
		return; /* of a time when there were more */
	do {
		atomic_store_explicit(&f->entry[slot].next, (uint32_t)old, memory_order_relaxed);
		new = ((old >> 32) + 1) << 32 | (slot + 1);
	} while (!atomic_compare_exchange_weak(&f->sh->free, &old, new));
	atomic_fetch_add(&f->sh->n_free, 1);
}

static uint32_t free_pop(struct pul_file *f)
{
	unsigned long long old = atomic_load(&f->sh->free), new;

	do {
		if ((uint32_t)old == 0)
			return PUL_FILE_NONE;
		new = ((old >> 32) + 1) << 32 |
		      atomic_load_explicit(&f->entry[(uint32_t)old - 1].next, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak(&f->sh->free, &old, new));
	atomic_fetch_sub(&f->sh->n_free, 1);
	return (uint32_t)old - 1;
}

/* Those from `from` on that are not in use, the first one on top */
void pul_file_free_push_all(struct pul_file *f, uint32_t from, uint32_t to, const uint8_t *used)
{
	uint32_t i;

	for (i = to; i-- > from;) {
		if (used == NULL || !used[i])
			pul_file_free_push(f, i);
	}
}

int pul_file_grow_now(struct pul_file *f)
{
	uint32_t slots;
	int err = 0;

	pthread_mutex_lock(&f->sh->grow);
	slots = atomic_load(&f->sh->slots);
	if (slots >= f->slots_max) {
		err = EFBIG;
	} else if (atomic_load(&f->sh->n_free) < PUL_FILE_LOW_WATER) {
		/* not ftruncate(): a page that the disk has no room for would be a SIGBUS */
		err = posix_fallocate(
			f->fd, (off_t)(PUL_FILE_HEADER + slots / PUL_FILE_STEP * PUL_FILE_CHUNK),
			(off_t)PUL_FILE_CHUNK);
		if (err == 0) {
			atomic_store(&f->sh->slots, slots + PUL_FILE_STEP);
			pul_file_free_push_all(f, slots, slots + PUL_FILE_STEP,
					       NULL); /* up to slots_max */
		} else {
			atomic_store(&f->sh->grow_again_ms,
				     pul_file_now_us() / 1000 + GROW_AGAIN_MS);
		}
	}
	pthread_mutex_unlock(&f->sh->grow);
	return err;
}

/* PUL_FILE_NONE: there is none, and none can be had. */
uint32_t pul_file_slot_take(struct pul_file *f)
{
	static const uint64_t one = 1;
	uint32_t slot = free_pop(f);

	if (atomic_load(&f->sh->n_free) == PUL_FILE_LOW_WATER &&
	    atomic_load(&f->sh->slots) < f->slots_max && write(f->wake_fd, &one, sizeof(one)) < 0)
		return slot; /* it looks by itself now and then */
	while (slot == PUL_FILE_NONE &&
	       pul_file_now_us() / 1000 >= atomic_load(&f->sh->grow_again_ms)) {
		if (pul_file_grow_now(f) != 0)
			return PUL_FILE_NONE;
		slot = free_pop(f);
	}
	if (slot != PUL_FILE_NONE && slot >= f->populated)
		pul_file_populate_slots(f);
	return slot;
}

/* --- sums --- */

uint64_t pul_file_times_sum(const struct pul_file *f, const struct times *t, uint64_t order)
{
	const uint64_t word[] = {order, t->expires, t->modified,
				 (uint64_t)t->cseq << 32 | t->count};

	return p2p_hash(&f->key, word, sizeof(word));
}

uint64_t pul_file_record_sum(const struct pul_file *f, uint32_t slot, uint64_t order)
{
	const struct head *h = &slot_at(f, slot)->head;
	uint64_t word[3] = {order, (uint64_t)h->len << 32 | h->key_len, 0};
	struct walk w;

	walk_start(&w, f, slot, h->len);
	do {
		word[2] = p2p_hash(&f->key, w.p, w.len);
		word[0] = p2p_hash(&f->key, word, sizeof(word));
		word[1] = w.next;
	} while (walk_on(&w));
	return word[0];
}

/* --- keys --- */

uint32_t pul_file_key_hash(const struct pul_file *f, const void *key, size_t key_len)
{
	return (uint32_t)p2p_hash(&f->key, key, key_len);
}

/* A key fits into the first slot. */
static bool key_is(const struct head *h, const void *key, size_t key_len)
{
	return h->key_len == key_len && memcmp(h->data, key, key_len) == 0;
}

/* Wants the stripe's lock. Where the slot of that key is linked, or NULL. */
uint32_t pul_file_find(const struct pul_file *f, uint32_t hash, const void *key, size_t key_len)
{
	uint32_t i = f->bucket[hash & (f->n_buckets - 1)];

	for (; i != 0; i = atomic_load_explicit(&f->entry[i - 1].next, memory_order_relaxed)) {
		if (f->entry[i - 1].hash == hash && key_is(&slot_at(f, i - 1)->head, key, key_len))
			return i - 1;
	}
	return PUL_FILE_NONE;
}

void pul_file_link_in(struct pul_file *f, uint32_t slot, uint32_t hash, uint32_t flags)
{
	uint32_t *b = &f->bucket[hash & (f->n_buckets - 1)];

	f->entry[slot].hash = hash;
	f->entry[slot].flags = ENTRY_RECORD | flags;
	atomic_store_explicit(&f->entry[slot].next, *b, memory_order_relaxed);
	*b = slot + 1;
	atomic_fetch_add(&f->sh->records, 1);
}

static void link_out(struct pul_file *f, uint32_t slot)
{
	uint32_t *b = &f->bucket[f->entry[slot].hash & (f->n_buckets - 1)], i, next;

	next = atomic_load_explicit(&f->entry[slot].next, memory_order_relaxed);
	f->entry[slot].flags = 0;
	atomic_fetch_sub(&f->sh->records, 1);
	if (*b == slot + 1) {
		*b = next;
		return;
	}
	for (i = *b - 1; atomic_load(&f->entry[i].next) != slot + 1;)
		i = atomic_load(&f->entry[i].next) - 1;
	atomic_store_explicit(&f->entry[i].next, next, memory_order_relaxed);
}

/* All slots of a record that nobody can find any more. Their bytes stay until they are used. */
static void slots_free(struct pul_file *f, uint32_t slot)
{
	uint32_t next = slot_at(f, slot)->head.next, n = 1;

	pul_file_free_push(f, slot);
	for (; next != 0 && n < PUL_FILE_CHAIN_MAX; n++) {
		slot = next - 1;
		next = slot_at(f, slot)->tail.next;
		pul_file_free_push(f, slot);
	}
	atomic_fetch_sub(&f->sh->used, n);
}

/* Wants the stripe's lock. */
void pul_file_forget(struct pul_file *f, uint32_t slot)
{
	link_out(f, slot);
	atomic_store_explicit(&slot_at(f, slot)->head.order, 0, memory_order_release);
	touch(f, slot_at(f, slot));
	slots_free(f, slot);
}
