/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: a file of records that survives a SIGKILL at any moment. It is mapped; whoever writes
 * a record makes no system call. Knows nothing of Kamailio or of what is in a record.
 *
 * A record has a key, which it begins with, and times, which change alone most of the time. It is
 * written into free slots, and is there from one store of eight bytes on (its order, which grows
 * with each record); the one it replaces goes after that. Of a key's records the one with the
 * highest order counts. What is half written, or was damaged, is known by its sum.
 *
 *	header | chunk | chunk | ...        chunk: the times of 4096 slots, then these slots
 *
 * Two sets of times belong to a record, each with a sum and a count: the older one is written, so
 * that the other one is there whenever that is interrupted.
 *
 * What a SIGKILL leaves is all that was written. What a power failure leaves is what
 * pul_file_sync() brought to the disk, and maybe more; what is torn then is known by its sum.
 *
 * A file on a disk makes whoever writes wait for it now and then, for the kernel has to know where
 * each page goes, and holds on to those that are on their way. So the file may be in memory (tmpfs)
 * and have a copy on the disk, which pul_file_sync() writes; where the memory's is gone, after a
 * reboot, the copy is read. */
#ifndef P2P_USRLOC_FILE_H
#define P2P_USRLOC_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PUL_FILE_SLOT 512     /* bytes */
#define PUL_FILE_STEP 4096    /* slots by which the file grows */
#define PUL_FILE_CHAIN_MAX 16 /* slots of one record */
#define PUL_FILE_RECORD_MAX (480 + (PUL_FILE_CHAIN_MAX - 1) * 496) /* bytes of one record */
#define PUL_FILE_KEY_MAX 255
#define PUL_FILE_SLOTS_MAX 16777216u

struct pul_file;

struct pul_times {
	int64_t expires, modified; /* seconds since 1970 */
	int32_t cseq;
};

/* Of one record, copied. */
struct pul_file_record {
	uint32_t slot;
	bool mark;
	uint64_t order;
	struct pul_times times;
	size_t key_len, len; /* the key is the beginning of the record */
	uint8_t data[PUL_FILE_RECORD_MAX];
};

struct pul_file_stats {
	uint32_t records, slots_used, slots, slots_max;
	/* at the start: what was not whole, and whole ones that a newer one had replaced */
	uint32_t damaged, replaced;
	uint64_t written, refreshed, dropped, refused; /* records, since the start */
	uint64_t synced,
		sync_us; /* how often the disk was written to; how long the last one took */
};

/* Opens path, or makes it (0600), takes it for this process and its children alone, and reads
 * which records are in it. slots_max: 1 to PUL_FILE_SLOTS_MAX; what is in further slots of a file
 * that was made with more is read, and these are not used again. While another program has it, it
 * is waited for wait_ms. 0, or errno (EWOULDBLOCK: another program has it) with a line for the log
 * in err. Before forking; children inherit it. */
int pul_file_open(struct pul_file **fp, const char *path, uint32_t slots_max, unsigned int wait_ms,
		  char *err, size_t err_size);
/* Likewise, with the file itself in memory: at the path `memory`, which should be on a tmpfs, and
 * its copy at the path `disk`. When there is no copy, or it is of another file, the one in memory
 * is begun anew. */
int pul_file_open_copied(struct pul_file **fp, const char *memory, const char *disk,
			 uint32_t slots_max, unsigned int wait_ms, char *err, size_t err_size);
/* In each process that will write, after forking: spares it page faults later. */
void pul_file_populate(struct pul_file *f);
/* In the process that opened it. The file stays. */
void pul_file_close(struct pul_file *f);

/* From any process at any time; one key is written by one process at a time. */

/* There from its return on, in the place of what the key had. 0; EINVAL (length of record or key);
 * ENOSPC: slots_max are used, or the disk is full: what the key had is gone too, if it was
 * different. With equal bytes only the times are written: *same (may be NULL) tells. */
int pul_file_put(struct pul_file *f, const void *record, size_t len, size_t key_len,
		 const struct pul_times *times, bool *same);
/* Returns whether it was there. */
bool pul_file_drop(struct pul_file *f, const void *key, size_t key_len);
/* False: not there. */
bool pul_file_get(struct pul_file *f, const void *key, size_t key_len, struct pul_file_record *r);
/* The record that begins in this slot, if one does. Slots are counted from 0 on. */
bool pul_file_read(struct pul_file *f, uint32_t slot, struct pul_file_record *r);
/* Drops the record that begins in this slot, and copies it, if it is (not) marked and its time was
 * over before this one; without a time it never is. Returns whether it was dropped. */
bool pul_file_expire(struct pul_file *f, uint32_t slot, int64_t before, bool mark,
		     struct pul_file_record *r);
/* A mark of the caller's, not in the file. */
void pul_file_mark(struct pul_file *f, const void *key, size_t key_len, bool mark);
/* The order of the next one that is written */
uint64_t pul_file_order(const struct pul_file *f);
uint32_t pul_file_slots(const struct pul_file *f);
void pul_file_stats(const struct pul_file *f, struct pul_file_stats *st);

/* Of one process of its own, which may wait for the disk. */

/* Wait until the file has to grow, or wait_ms. */
void pul_file_wait(struct pul_file *f, int wait_ms);
/* Grow when few slots are free. 0, EFBIG (slots_max) or what the file system says. */
int pul_file_grow(struct pul_file *f);
/* Bring to the disk what was written since the last time. 0 or errno. */
int pul_file_sync(struct pul_file *f);

#endif
