/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: what the file of records looks like, on the disk and beside it; for its own three
 * files only: _file.c writes and reads records, _file_slots.c has their parts, _file_open.c opens.
 *
 * Beside the file there is memory that all processes share, made anew at each start: which slot is
 * free, and where a key's record is. A slot's entry there belongs to whoever holds the lock of its
 * record's stripe; the list of free slots needs no lock. */
#ifndef P2P_USRLOC_FILE_PRIV_H
#define P2P_USRLOC_FILE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/hash.h"
#include "modules/p2p_usrloc/p2p_usrloc_file.h"

#define PUL_FILE_PAGE 4096
#define PUL_FILE_HEADER PUL_FILE_PAGE
#define PUL_FILE_MAGIC "p2pulct\n"
#define PUL_FILE_NONE UINT32_MAX
#define PUL_FILE_STRIPES 256
/* Slots that are free when the file grows, so that it has grown before a worker needs it */
#define PUL_FILE_LOW_WATER (PUL_FILE_STEP / 4)

/* --- in the file; in the byte order of the machine, which the header tells --- */

struct header {
	char magic[8];
	uint32_t version, order, slot, step;
	struct p2p_hash_key key; /* of the sums */
	uint64_t sum;		 /* of all before it */
};

struct times {
	uint64_t expires, modified;
	uint32_t cseq, count;
	uint64_t sum; /* of all before it and the record's order */
};

struct pair {
	struct times t[2];
};

/* The first slot of a record */
struct head {
	atomic_ullong order; /* 0: no record */
	uint64_t sum;	     /* of the rest of this head, the order and the record */
	uint32_t len, next;  /* next: slot + 1, 0: none */
	uint32_t key_len, zero;
	uint8_t data[PUL_FILE_SLOT - 32];
};

/* The others: no record begins in them */
struct tail {
	uint64_t no_order;
	uint32_t next, zero;
	uint8_t data[PUL_FILE_SLOT - 16];
};

union slot {
	struct head head;
	struct tail tail;
};

#define PUL_FILE_TIMES_BYTES ((size_t)PUL_FILE_STEP * sizeof(struct pair))
#define PUL_FILE_CHUNK (PUL_FILE_TIMES_BYTES + (size_t)PUL_FILE_STEP * PUL_FILE_SLOT)

_Static_assert(sizeof(union slot) == PUL_FILE_SLOT, "slots have no holes");
_Static_assert(sizeof(struct pair) == 64, "one cache line");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "an order is stored at once");
_Static_assert(PUL_FILE_CHUNK % 4096 == 0 && PUL_FILE_HEADER >= sizeof(struct header),
	       "chunks begin with a page");

/* --- beside the file --- */

enum entry_flag {
	ENTRY_RECORD = 1, /* a record begins here */
	ENTRY_SECOND = 2, /* its second times are the newer ones */
	ENTRY_MARK = 4,
};

struct entry {
	atomic_uint next; /* of the bucket, or of the free ones: slot + 1 */
	uint32_t hash;
	uint32_t flags;
};

struct shared {
	atomic_ullong free; /* a count << 32 | slot + 1: nobody takes an old one for the new */
	atomic_uint n_free, used, slots; /* used: by records; the rest may be beyond slots_max */
	atomic_ullong order;		 /* of the next record */
	atomic_uint records;
	uint32_t damaged, replaced;
	atomic_ullong written, refreshed, dropped, refused;
	atomic_ullong synced, sync_us, synced_changes;
	atomic_ullong grow_again_ms;
	pthread_mutex_t grow;
	pthread_mutex_t stripe[PUL_FILE_STRIPES];
};

/* Of a page of the file: has it to be written to the copy on the disk? */
enum dirty {
	DIRTY_NO = 0,
	DIRTY_YES,
	DIRTY_MAYBE, /* at the start: if it is not there yet */
};

struct pul_file {
	int fd, wake_fd;
	int copy_fd; /* -1: there is none, the file itself is on the disk */
	uint32_t slots_max;
	uint32_t room; /* slots that there is memory for: slots_max, or the file's when it has more
			*/
	uint32_t n_buckets;
	struct p2p_hash_key key;
	uint8_t *map;
	size_t map_len;
	struct shared *sh;
	struct entry *entry;
	uint32_t *bucket;	/* slot + 1; of the stripe of its number */
	_Atomic uint8_t *dirty; /* by page of the file */
	void *mem;		/* these four */
	uint32_t populated; /* this process' own: slots whose pages it has; NONE: it does not care */
	size_t mem_len;
};

static inline struct pair *pair_at(const struct pul_file *f, uint32_t i)
{
	return (struct pair *)(f->map + PUL_FILE_HEADER + i / PUL_FILE_STEP * PUL_FILE_CHUNK) +
	       i % PUL_FILE_STEP;
}

static inline union slot *slot_at(const struct pul_file *f, uint32_t i)
{
	return (union slot *)(f->map + PUL_FILE_HEADER + i / PUL_FILE_STEP * PUL_FILE_CHUNK +
			      PUL_FILE_TIMES_BYTES) +
	       i % PUL_FILE_STEP;
}

/* After something was written at p. A slot, or a pair of times, lies in one page. */
static inline void touch(const struct pul_file *f, const void *p)
{
	/* not before what was written: whoever copies the page takes the mark away first */
	atomic_store_explicit(&f->dirty[(size_t)((const uint8_t *)p - f->map) / PUL_FILE_PAGE],
			      DIRTY_YES, memory_order_release);
}

/* A record's bytes in slots, as pieces. */
struct walk {
	const struct pul_file *f;
	union slot *s;
	uint32_t index, next;
	uint8_t *p;
	size_t len, left; /* of this piece; of the record, with it */
};

static inline void walk_piece(struct walk *w, uint8_t *p, size_t cap)
{
	w->p = p;
	w->len = w->left < cap ? w->left : cap;
}

static inline void walk_start(struct walk *w, const struct pul_file *f, uint32_t slot, size_t len)
{
	w->f = f;
	w->index = slot;
	w->s = slot_at(f, slot);
	w->next = w->s->head.next;
	w->left = len;
	walk_piece(w, w->s->head.data, sizeof(w->s->head.data));
}

/* False at the end. */
static inline bool walk_on(struct walk *w)
{
	w->left -= w->len;
	if (w->left == 0 || w->next == 0)
		return false;
	w->index = w->next - 1;
	w->s = slot_at(w->f, w->index);
	w->next = w->s->tail.next;
	walk_piece(w, w->s->tail.data, sizeof(w->s->tail.data));
	return true;
}

/* --- _file_open.c --- */

/* Alone with it from here on, as long as a process has it open. 0, EWOULDBLOCK or errno. */
int pul_file_flock(int fd, unsigned int wait_ms);
/* Opens path, or makes it, and takes it; a line in err when it cannot be had. */
int pul_file_take(const char *path, unsigned int wait_ms, int *fd, char *err, size_t err_size);
int pul_file_fail(char *err, size_t err_size, const char *path, int code, const char *what);
/* NULL, or why this is none of ours. */
const char *pul_file_header_wrong(const struct header *h);

/* --- _file_copy.c --- */

/* Writes what has to be written to the copy, and brings that to the disk. */
int pul_file_copy_sync(struct pul_file *f);

/* This process has the pages of all slots there are. */
void pul_file_populate_slots(struct pul_file *f);

/* --- _file_slots.c --- */

uint64_t pul_file_now_us(void);
/* Free slots from `from` on that are not in use, the first one on top; used may be NULL: none is.
 */
void pul_file_free_push_all(struct pul_file *f, uint32_t from, uint32_t to, const uint8_t *used);
void pul_file_free_push(struct pul_file *f, uint32_t slot);
/* A free slot, the file grown for it if need be; PUL_FILE_NONE: there is none, and none can be had.
 */
uint32_t pul_file_slot_take(struct pul_file *f);
/* See pul_file_grow(). */
int pul_file_grow_now(struct pul_file *f);
uint64_t pul_file_times_sum(const struct pul_file *f, const struct times *t, uint64_t order);
uint64_t pul_file_record_sum(const struct pul_file *f, uint32_t slot, uint64_t order);
uint32_t pul_file_key_hash(const struct pul_file *f, const void *key, size_t key_len);

static inline void lock(struct pul_file *f, uint32_t hash)
{
	pthread_mutex_lock(&f->sh->stripe[hash % PUL_FILE_STRIPES]);
}

static inline void unlock(struct pul_file *f, uint32_t hash)
{
	pthread_mutex_unlock(&f->sh->stripe[hash % PUL_FILE_STRIPES]);
}

/* These want the stripe's lock. The slot of that key, or PUL_FILE_NONE */
uint32_t pul_file_find(const struct pul_file *f, uint32_t hash, const void *key, size_t key_len);
void pul_file_link_in(struct pul_file *f, uint32_t slot, uint32_t hash, uint32_t flags);
/* There is no such record any more, its slots are free. */
void pul_file_forget(struct pul_file *f, uint32_t slot);

#endif
