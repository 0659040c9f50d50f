/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: opening the file of records: taking it for this Kamailio alone, its header, and which
 * records in it are whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "modules/p2p_usrloc/p2p_usrloc_file_priv.h"

#define FILE_VERSION 1
#define LOCK_POLL_MS 20

/* --- opening --- */

/* Is there a whole record in this slot? */
static bool record_whole(const struct pul_file *f, uint32_t slot, uint32_t slots)
{
	const struct head *h = &slot_at(f, slot)->head;
	uint32_t next = h->next, n = 1;
	size_t room = sizeof(h->data);

	if (atomic_load(&h->order) > INT64_MAX || h->key_len == 0 ||
	    h->key_len > PUL_FILE_KEY_MAX || h->len < h->key_len || h->len > PUL_FILE_RECORD_MAX)
		return false;
	for (; next != 0; next = slot_at(f, next - 1)->tail.next, n++) {
		if (next > slots || n == PUL_FILE_CHAIN_MAX)
			return false;
		room += sizeof(((struct tail *)0)->data);
	}
	return h->len <= room && pul_file_record_sum(f, slot, atomic_load(&h->order)) == h->sum;
}

/* Which of the two times is the newer one? -1: neither is whole. */
static int times_newer(const struct pul_file *f, uint32_t slot)
{
	const struct times *t = pair_at(f, slot)->t;
	uint64_t order = atomic_load(&slot_at(f, slot)->head.order);
	bool whole[2];
	int i;

	for (i = 0; i < 2; i++)
		whole[i] = t[i].sum != 0 && t[i].sum == pul_file_times_sum(f, &t[i], order);
	if (whole[0] && whole[1])
		return (int32_t)(t[1].count - t[0].count) > 0;
	return whole[0] ? 0 : whole[1] ? 1 : -1;
}

/* Are all slots of a record its own? Then they are used. */
static bool slots_claim(const struct pul_file *f, uint32_t slot, uint8_t *used)
{
	uint32_t next;

	if (used[slot])
		return false;
	for (next = slot_at(f, slot)->head.next; next != 0;
	     next = slot_at(f, next - 1)->tail.next) {
		if (used[next - 1] || next - 1 == slot)
			return false;
	}
	used[slot] = 1;
	for (next = slot_at(f, slot)->head.next; next != 0; next = slot_at(f, next - 1)->tail.next)
		used[next - 1] = 1;
	return true;
}

struct found {
	uint64_t order;
	uint32_t slot;
};

static int newest_first(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->order < y->order ? 1 : x->order > y->order ? -1 : 0;
}

static void record_undo(struct pul_file *f, struct head *h)
{
	atomic_store(&h->order, 0);
	touch(f, h);
}

/* Reads what is in the slots. Newer ones come first: of a key's records, and of those that claim
 * the same slot, the others are of no use. */
static int load(struct pul_file *f, uint32_t slots)
{
	struct found *found = malloc(slots * sizeof(*found));
	uint8_t *used = calloc(slots, 1);
	uint32_t i, n = 0, hash;
	struct head *h;
	int second;

	if (found == NULL || used == NULL) {
		free(found);
		free(used);
		return ENOMEM;
	}
	for (i = 0; i < slots; i++) {
		h = &slot_at(f, i)->head;
		if (atomic_load(&h->order) == 0)
			continue;
		if (!record_whole(f, i, slots)) {
			f->sh->damaged++;
			record_undo(f, h);
			continue;
		}
		found[n].order = atomic_load(&h->order);
		found[n++].slot = i;
	}
	qsort(found, n, sizeof(*found), newest_first);
	for (i = 0; i < n; i++) {
		h = &slot_at(f, found[i].slot)->head;
		hash = pul_file_key_hash(f, h->data, h->key_len);
		second = times_newer(f, found[i].slot);
		if (pul_file_find(f, hash, h->data, h->key_len) != PUL_FILE_NONE) {
			f->sh->replaced++;
			record_undo(f, h);
		} else if (second < 0 || !slots_claim(f, found[i].slot, used)) {
			f->sh->damaged++;
			record_undo(f, h);
		} else {
			pul_file_link_in(f, found[i].slot, hash, second > 0 ? ENTRY_SECOND : 0);
		}
	}
	atomic_store(&f->sh->order, n > 0 ? found[0].order + 1 : 1);
	atomic_store(&f->sh->slots, slots);
	pul_file_free_push_all(f, 0, slots < f->room ? slots : f->room, used);
	for (i = 0; i < slots; i++)
		atomic_fetch_add(&f->sh->used, used[i]);
	free(found);
	free(used);
	return 0;
}

static int memory_take(struct pul_file *f)
{
	size_t entries = (size_t)f->room * sizeof(*f->entry), buckets, at;
	pthread_mutexattr_t attr;
	int i;

	for (f->n_buckets = PUL_FILE_STRIPES; f->n_buckets < f->room; f->n_buckets *= 2)
		;
	at = (sizeof(*f->sh) + 63) / 64 * 64;
	buckets = (size_t)f->n_buckets * sizeof(*f->bucket);
	f->mem_len = at + entries + buckets + f->map_len / PUL_FILE_PAGE;
	/* pages that are never used are never there */
	f->mem = mmap(NULL, f->mem_len, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (f->mem == MAP_FAILED) {
		f->mem = NULL;
		return errno;
	}
	f->sh = f->mem;
	f->entry = (struct entry *)((char *)f->mem + at);
	f->bucket = (uint32_t *)((char *)f->entry + entries);
	f->dirty = (_Atomic uint8_t *)((char *)f->bucket + buckets);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&f->sh->grow, &attr);
	for (i = 0; i < PUL_FILE_STRIPES; i++)
		pthread_mutex_init(&f->sh->stripe[i], &attr);
	pthread_mutexattr_destroy(&attr);
	return 0;
}

int pul_file_fail(char *err, size_t err_size, const char *path, int code, const char *what)
{
	snprintf(err, err_size, "%s: %s%s%s", path, what, code != 0 ? ": " : "",
		 code != 0 ? strerror(code) : "");
	return code != 0 ? code : EINVAL;
}

/* Alone with it from here on; the lock goes with the last process that has the file open. */
int pul_file_flock(int fd, unsigned int wait_ms)
{
	uint64_t until = pul_file_now_us() / 1000 + wait_ms;
	const struct timespec pause = {0, LOCK_POLL_MS * 1000000L};

	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return errno;
		if (pul_file_now_us() / 1000 >= until)
			return EWOULDBLOCK;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int header_make(struct pul_file *f)
{
	struct header h = {.magic = PUL_FILE_MAGIC,
			   .version = FILE_VERSION,
			   .order = 0x01020304,
			   .slot = PUL_FILE_SLOT,
			   .step = PUL_FILE_STEP};
	int err;

	if (getrandom(&h.key, sizeof(h.key), 0) != sizeof(h.key))
		return EIO;
	h.sum = p2p_hash(&h.key, &h, offsetof(struct header, sum));
	err = posix_fallocate(f->fd, 0, (off_t)(PUL_FILE_HEADER + PUL_FILE_CHUNK));
	/* last, and of one block: what has no header yet is begun anew */
	if (err == 0 && (pwrite(f->fd, &h, sizeof(h), 0) != sizeof(h) || fsync(f->fd) != 0))
		err = errno;
	return err;
}

const char *pul_file_header_wrong(const struct header *h)
{
	if (memcmp(h->magic, PUL_FILE_MAGIC, sizeof(h->magic)) != 0)
		return "this is no file of contacts, and is left as it is";
	if (h->version != FILE_VERSION || h->order != 0x01020304 || h->slot != PUL_FILE_SLOT ||
	    h->step != PUL_FILE_STEP)
		return "this file of contacts is another version's or machine's: move it away";
	if (h->sum != p2p_hash(&h->key, h, offsetof(struct header, sum)))
		return "the head of this file of contacts is damaged: move it away";
	return NULL;
}

/* The header, and how many slots there are. */
static int header_read(struct pul_file *f, const char *path, uint32_t *slots, char *err,
		       size_t err_size)
{
	static const struct header none;
	struct header h = none;
	const char *wrong;
	struct stat st;
	uint64_t n;
	int code;

	if (fstat(f->fd, &st) != 0)
		return pul_file_fail(err, err_size, path, errno, "stat");
	if (!S_ISREG(st.st_mode))
		return pul_file_fail(err, err_size, path, 0, "this is no file");
	if (st.st_uid != geteuid())
		return pul_file_fail(err, err_size, path, 0, "it is another user's");
	if ((st.st_mode & 077) != 0 && fchmod(f->fd, 0600) != 0)
		return pul_file_fail(err, err_size, path, errno, "others may read it");
	if (st.st_size > 0 && pread(f->fd, &h, sizeof(h), 0) < 0)
		return pul_file_fail(err, err_size, path, errno, "read");
	if (memcmp(&h, &none, sizeof(h)) == 0) {
		code = header_make(f);
		if (code != 0)
			return pul_file_fail(err, err_size, path, code, "cannot make it");
		if (pread(f->fd, &h, sizeof(h), 0) != sizeof(h) || fstat(f->fd, &st) != 0)
			return pul_file_fail(err, err_size, path, errno, "read");
	}
	wrong = pul_file_header_wrong(&h);
	if (wrong != NULL)
		return pul_file_fail(err, err_size, path, 0, wrong);
	/* what is beyond the last whole chunk was being added */
	n = st.st_size > PUL_FILE_HEADER
		    ? (uint64_t)(st.st_size - PUL_FILE_HEADER) / PUL_FILE_CHUNK * PUL_FILE_STEP
		    : 0;
	if (n == 0 || n > PUL_FILE_SLOTS_MAX)
		return pul_file_fail(err, err_size, path, 0,
				     "this file of contacts has no size that one "
				     "has: move it away");
	/* a copy of it may have holes */
	code = posix_fallocate(f->fd, 0,
			       (off_t)(PUL_FILE_HEADER + n / PUL_FILE_STEP * PUL_FILE_CHUNK));
	if (code != 0)
		return pul_file_fail(err, err_size, path, code, "no room on the disk");
	f->key = h.key;
	*slots = (uint32_t)n;
	return 0;
}

int pul_file_take(const char *path, unsigned int wait_ms, int *fd, char *err, size_t err_size)
{
	int code;

	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
	if (*fd < 0)
		return pul_file_fail(err, err_size, path, errno, "open");
	code = pul_file_flock(*fd, wait_ms);
	if (code == 0)
		return 0;
	close(*fd);
	*fd = -1;
	pul_file_fail(err, err_size, path, code == EWOULDBLOCK ? 0 : code,
		      code == EWOULDBLOCK ? "another program has it" : "flock");
	return code;
}

int pul_file_open(struct pul_file **fp, const char *path, uint32_t slots_max, unsigned int wait_ms,
		  char *err, size_t err_size)
{
	struct pul_file *f = calloc(1, sizeof(*f));
	uint32_t slots = 0, chunks;
	int code;

	if (f == NULL)
		return pul_file_fail(err, err_size, path, ENOMEM, "open");
	f->wake_fd = f->copy_fd = -1;
	f->populated = PUL_FILE_NONE;
	code = pul_file_take(path, wait_ms, &f->fd, err, err_size);
	if (code != 0)
		goto out;
	code = header_read(f, path, &slots, err, err_size);
	if (code != 0)
		goto out;
	f->slots_max = slots_max;
	f->room = slots > slots_max ? slots : slots_max;
	chunks = (f->room + PUL_FILE_STEP - 1) / PUL_FILE_STEP;
	f->map_len = PUL_FILE_HEADER + (size_t)chunks * PUL_FILE_CHUNK;
	f->map = mmap(NULL, f->map_len, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	if (f->map == MAP_FAILED) {
		f->map = NULL;
		code = pul_file_fail(err, err_size, path, errno, "mmap");
		goto out;
	}
	f->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	code = f->wake_fd < 0 ? errno : memory_take(f);
	if (code == 0)
		code = load(f, slots);
	if (code != 0)
		pul_file_fail(err, err_size, path, code, "no memory for it");
out:
	if (code != 0) {
		pul_file_close(f);
		return code;
	}
	*fp = f;
	return 0;
}

void pul_file_close(struct pul_file *f)
{
	if (f == NULL)
		return;
	if (f->map != NULL)
		munmap(f->map, f->map_len);
	if (f->mem != NULL)
		munmap(f->mem, f->mem_len);
	if (f->fd >= 0)
		close(f->fd);
	if (f->wake_fd >= 0)
		close(f->wake_fd);
	if (f->copy_fd >= 0)
		close(f->copy_fd);
	free(f);
}
