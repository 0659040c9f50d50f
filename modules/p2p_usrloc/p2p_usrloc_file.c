/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: writing records to a mapped file, reading them, and bringing them to the disk. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "modules/p2p_usrloc/p2p_usrloc_file_priv.h"

/* --- times --- */

static void times_set(const struct pul_file *f, struct times *t, const struct pul_times *times,
		      uint64_t order, uint32_t count)
{
	t->sum = 0;
	atomic_signal_fence(memory_order_seq_cst);
	t->expires = (uint64_t)times->expires;
	t->modified = (uint64_t)times->modified;
	t->cseq = (uint32_t)times->cseq;
	t->count = count;
	atomic_signal_fence(memory_order_seq_cst);
	t->sum = pul_file_times_sum(f, t, order);
	touch(f, t);
}

/* Wants the stripe's lock. */
static void times_write(struct pul_file *f, uint32_t slot, const struct pul_times *times)
{
	struct pair *p = pair_at(f, slot);
	bool second = f->entry[slot].flags & ENTRY_SECOND;
	const struct times *now = &p->t[second];

	if (now->expires == (uint64_t)times->expires &&
	    now->modified == (uint64_t)times->modified && now->cseq == (uint32_t)times->cseq)
		return;
	times_set(f, &p->t[!second], times, atomic_load(&slot_at(f, slot)->head.order),
		  now->count + 1);
	f->entry[slot].flags ^= ENTRY_SECOND;
}

static void times_get(const struct pul_file *f, uint32_t slot, struct pul_times *times)
{
	const struct times *t = &pair_at(f, slot)->t[(f->entry[slot].flags & ENTRY_SECOND) != 0];

	times->expires = (int64_t)t->expires;
	times->modified = (int64_t)t->modified;
	times->cseq = (int32_t)t->cseq;
}

/* --- writing --- */

static bool record_equals(const struct pul_file *f, uint32_t slot, const uint8_t *record,
			  size_t len)
{
	struct walk w;

	if (slot_at(f, slot)->head.len != len)
		return false;
	walk_start(&w, f, slot, len);
	do {
		if (memcmp(w.p, record, w.len) != 0)
			return false;
		record += w.len;
	} while (walk_on(&w));
	return true;
}

/* Takes slots for a record and writes it there; it is not there for anybody yet. PUL_FILE_NONE: no
 * room. */
static uint32_t record_write(struct pul_file *f, const uint8_t *record, size_t len, size_t key_len,
			     const struct pul_times *times, uint64_t *order)
{
	uint32_t slot[PUL_FILE_CHAIN_MAX];
	size_t need = 1, n, left = len, part;
	union slot *s;
	size_t cap;

	if (len > sizeof(s->head.data))
		need += (len - sizeof(s->head.data) + sizeof(s->tail.data) - 1) /
			sizeof(s->tail.data);
	for (n = 0; n < need; n++) {
		slot[n] = pul_file_slot_take(f);
		if (slot[n] == PUL_FILE_NONE) {
			while (n > 0)
				pul_file_free_push(f, slot[--n]);
			return PUL_FILE_NONE;
		}
	}
	atomic_fetch_add(&f->sh->used, (unsigned int)need);
	*order = atomic_fetch_add(&f->sh->order, 1);
	for (n = 0; n < need; n++, record += part, left -= part) {
		s = slot_at(f, slot[n]);
		cap = n == 0 ? sizeof(s->head.data) : sizeof(s->tail.data);
		part = left < cap ? left : cap;
		if (n == 0) {
			s->head.len = (uint32_t)len;
			s->head.next = need > 1 ? slot[1] + 1 : 0;
			s->head.key_len = (uint32_t)key_len;
			s->head.zero = 0;
			memcpy(s->head.data, record, part);
		} else {
			s->tail.no_order = 0;
			s->tail.next = n + 1 < need ? slot[n + 1] + 1 : 0;
			s->tail.zero = 0;
			memcpy(s->tail.data, record, part);
		}
	}
	times_set(f, &pair_at(f, slot[0])->t[0], times, *order, 1);
	s = slot_at(f, slot[0]);
	s->head.sum = pul_file_record_sum(f, slot[0], *order);
	for (n = 1; n < need; n++)
		touch(f, slot_at(f, slot[n]));
	return slot[0];
}

/* It is there from here on. */
static void record_commit(struct pul_file *f, uint32_t slot, uint64_t order)
{
	struct head *h = &slot_at(f, slot)->head;

	atomic_store_explicit(&h->order, order, memory_order_release);
	touch(f, h);
}

int pul_file_put(struct pul_file *f, const void *record, size_t len, size_t key_len,
		 const struct pul_times *times, bool *same)
{
	uint32_t hash, old, new;
	uint64_t order = 0;
	bool mark = false;

	if (same != NULL)
		*same = false;
	if (key_len == 0 || key_len > PUL_FILE_KEY_MAX || len < key_len ||
	    len > PUL_FILE_RECORD_MAX)
		return EINVAL;
	hash = pul_file_key_hash(f, record, key_len);
	lock(f, hash);
	old = pul_file_find(f, hash, record, key_len);
	if (old != PUL_FILE_NONE && record_equals(f, old, record, len)) {
		times_write(f, old, times);
		unlock(f, hash);
		atomic_fetch_add_explicit(&f->sh->refreshed, 1, memory_order_relaxed);
		if (same != NULL)
			*same = true;
		return 0;
	}
	unlock(f, hash);

	new = record_write(f, record, len, key_len, times, &order);
	lock(f, hash);
	old = pul_file_find(f, hash, record, key_len);
	if (new != PUL_FILE_NONE)
		record_commit(f, new, order);
	if (old != PUL_FILE_NONE) {
		mark = f->entry[old].flags & ENTRY_MARK;
		pul_file_forget(f, old);
	}
	if (new != PUL_FILE_NONE)
		pul_file_link_in(f, new, hash, mark ? ENTRY_MARK : 0);
	unlock(f, hash);
	if (new == PUL_FILE_NONE && old != PUL_FILE_NONE) {
		/* what it had took some, which are free now */
		new = record_write(f, record, len, key_len, times, &order);
		if (new != PUL_FILE_NONE) {
			lock(f, hash);
			record_commit(f, new, order);
			pul_file_link_in(f, new, hash, mark ? ENTRY_MARK : 0);
			unlock(f, hash);
		}
	}
	atomic_fetch_add_explicit(new != PUL_FILE_NONE ? &f->sh->written : &f->sh->refused, 1,
				  memory_order_relaxed);
	return new != PUL_FILE_NONE ? 0 : ENOSPC;
}

bool pul_file_drop(struct pul_file *f, const void *key, size_t key_len)
{
	uint32_t hash = pul_file_key_hash(f, key, key_len), slot;

	lock(f, hash);
	slot = pul_file_find(f, hash, key, key_len);
	if (slot != PUL_FILE_NONE)
		pul_file_forget(f, slot);
	unlock(f, hash);
	if (slot == PUL_FILE_NONE)
		return false;
	atomic_fetch_add_explicit(&f->sh->dropped, 1, memory_order_relaxed);
	return true;
}

/* --- reading --- */

/* Wants the stripe's lock. */
static void record_copy(const struct pul_file *f, uint32_t slot, struct pul_file_record *r)
{
	const struct head *h = &slot_at(f, slot)->head;
	struct walk w;
	size_t at = 0;

	r->slot = slot;
	r->order = atomic_load(&h->order);
	r->mark = (f->entry[slot].flags & ENTRY_MARK) != 0;
	r->len = h->len;
	r->key_len = h->key_len;
	times_get(f, slot, &r->times);
	walk_start(&w, f, slot, h->len);
	do {
		memcpy(r->data + at, w.p, w.len);
		at += w.len;
	} while (walk_on(&w));
}

bool pul_file_get(struct pul_file *f, const void *key, size_t key_len, struct pul_file_record *r)
{
	uint32_t hash = pul_file_key_hash(f, key, key_len), slot;

	lock(f, hash);
	slot = pul_file_find(f, hash, key, key_len);
	if (slot != PUL_FILE_NONE)
		record_copy(f, slot, r);
	unlock(f, hash);
	return slot != PUL_FILE_NONE;
}

/* Takes the lock of the record in this slot; false: there is none. */
static bool slot_lock(struct pul_file *f, uint32_t slot, uint32_t *hash)
{
	struct entry *e;

	if (slot >= pul_file_slots(f))
		return false;
	e = &f->entry[slot];
	if (!(__atomic_load_n(&e->flags, __ATOMIC_RELAXED) & ENTRY_RECORD))
		return false;
	*hash = __atomic_load_n(&e->hash, __ATOMIC_RELAXED);
	lock(f, *hash);
	/* it may have become another record's before the lock was had */
	if ((e->flags & ENTRY_RECORD) && e->hash == *hash)
		return true;
	unlock(f, *hash);
	return false;
}

bool pul_file_read(struct pul_file *f, uint32_t slot, struct pul_file_record *r)
{
	uint32_t hash;

	if (!slot_lock(f, slot, &hash))
		return false;
	record_copy(f, slot, r);
	unlock(f, hash);
	return true;
}

bool pul_file_expire(struct pul_file *f, uint32_t slot, int64_t before, bool mark,
		     struct pul_file_record *r)
{
	struct pul_times times;
	uint32_t hash;
	bool over;

	if (!slot_lock(f, slot, &hash))
		return false;
	times_get(f, slot, &times);
	over = times.expires != 0 && times.expires < before &&
	       ((f->entry[slot].flags & ENTRY_MARK) != 0) == mark;
	if (over) {
		record_copy(f, slot, r);
		pul_file_forget(f, slot);
	}
	unlock(f, hash);
	return over;
}

void pul_file_mark(struct pul_file *f, const void *key, size_t key_len, bool mark)
{
	uint32_t hash = pul_file_key_hash(f, key, key_len), slot;

	lock(f, hash);
	slot = pul_file_find(f, hash, key, key_len);
	if (slot != PUL_FILE_NONE)
		f->entry[slot].flags = mark ? f->entry[slot].flags | ENTRY_MARK
					    : f->entry[slot].flags & ~(uint32_t)ENTRY_MARK;
	unlock(f, hash);
}

uint64_t pul_file_order(const struct pul_file *f)
{
	return atomic_load(&f->sh->order);
}

uint32_t pul_file_slots(const struct pul_file *f)
{
	uint32_t slots = atomic_load(&f->sh->slots);

	return slots < f->room ? slots : f->room;
}

void pul_file_stats(const struct pul_file *f, struct pul_file_stats *st)
{
	const struct shared *sh = f->sh;

	st->records = atomic_load(&sh->records);
	st->slots = pul_file_slots(f);
	st->slots_used = atomic_load(&sh->used);
	st->slots_max = f->slots_max;
	st->damaged = sh->damaged;
	st->replaced = sh->replaced;
	st->written = atomic_load(&sh->written);
	st->refreshed = atomic_load(&sh->refreshed);
	st->dropped = atomic_load(&sh->dropped);
	st->refused = atomic_load(&sh->refused);
	st->synced = atomic_load(&sh->synced);
	st->sync_us = atomic_load(&sh->sync_us);
}

/* --- the disk --- */

void pul_file_wait(struct pul_file *f, int wait_ms)
{
	struct pollfd p = {.fd = f->wake_fd, .events = POLLIN};
	uint64_t count;

	if (poll(&p, 1, wait_ms) > 0 && read(f->wake_fd, &count, sizeof(count)) < 0)
		return; /* somebody else looks */
}

int pul_file_grow(struct pul_file *f)
{
	return atomic_load(&f->sh->n_free) < PUL_FILE_LOW_WATER ? pul_file_grow_now(f) : 0;
}

int pul_file_sync(struct pul_file *f)
{
	unsigned long long changes = atomic_load(&f->sh->written) + atomic_load(&f->sh->refreshed) +
				     atomic_load(&f->sh->dropped);
	uint64_t start = pul_file_now_us();
	int err;

	if (changes == atomic_load(&f->sh->synced_changes))
		return 0;
	err = f->copy_fd >= 0 ? pul_file_copy_sync(f) : fdatasync(f->fd) != 0 ? errno : 0;
	if (err != 0)
		return err;
	atomic_store(&f->sh->synced_changes, changes);
	atomic_store(&f->sh->sync_us, pul_file_now_us() - start);
	atomic_fetch_add(&f->sh->synced, 1);
	return 0;
}
