/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: the file of records in memory, with a copy on the disk.
 *
 * Whoever writes to a page marks it afterwards. pul_file_sync() takes the mark away and copies the
 * page then: one that is written to meanwhile is marked again, and copied the next time. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "modules/p2p_usrloc/p2p_usrloc_file_priv.h"
#include "modules/p2p_usrloc/p2p_usrloc_pages.h"

#define TMPFS 0x01021994 /* statfs(2) */
#define RUN_MAX 64	 /* pages that are written at once */
#define TEMPORARY ".new"
#define BUCKETS_POPULATE_MAX (4u << 20) /* bytes */

static bool whole_write(int fd, const uint8_t *p, size_t len, off_t at)
{
	ssize_t n;

	for (; len > 0; p += n, len -= (size_t)n, at += n) {
		n = pwrite(fd, p, len, at);
		if (n < 0 && errno != EINTR)
			return false;
		if (n < 0)
			n = 0;
	}
	return true;
}

/* Is this page on the disk as it is here? */
static bool page_there(const struct pul_file *f, size_t page)
{
	uint8_t there[PUL_FILE_PAGE];

	return pread(f->copy_fd, there, sizeof(there), (off_t)(page * PUL_FILE_PAGE)) ==
		       (ssize_t)sizeof(there) &&
	       memcmp(there, f->map + page * PUL_FILE_PAGE, sizeof(there)) == 0;
}

/* Takes the mark of a page away. Has it to be written? */
static bool page_take(const struct pul_file *f, size_t page)
{
	uint8_t mark;

	if (atomic_load_explicit(&f->dirty[page], memory_order_relaxed) == DIRTY_NO)
		return false;
	mark = atomic_exchange(&f->dirty[page], DIRTY_NO);
	return mark == DIRTY_YES || (mark == DIRTY_MAYBE && !page_there(f, page));
}

int pul_file_copy_sync(struct pul_file *f)
{
	const size_t len = PUL_FILE_HEADER +
			   atomic_load(&f->sh->slots) / PUL_FILE_STEP * PUL_FILE_CHUNK,
		     pages = len / PUL_FILE_PAGE;
	size_t from, n, i;
	struct stat st;

	/* a copy has whole chunks; what is not written in them reads as zeros, as here */
	if (fstat(f->copy_fd, &st) != 0 ||
	    (st.st_size < (off_t)len && ftruncate(f->copy_fd, (off_t)len) != 0))
		return errno;
	for (from = 0; from < pages; from += n) {
		for (n = 0; n < RUN_MAX && from + n < pages && page_take(f, from + n); n++)
			;
		if (n == 0) {
			n = 1;
			continue;
		}
		if (!whole_write(f->copy_fd, f->map + from * PUL_FILE_PAGE, n * PUL_FILE_PAGE,
				 (off_t)(from * PUL_FILE_PAGE))) {
			int err = errno;

			for (i = 0; i < n; i++)
				atomic_store(&f->dirty[from + i], DIRTY_YES);
			return err;
		}
	}
	return fdatasync(f->copy_fd) != 0 ? errno : 0;
}

/* The header of an open file; all zero: it has none yet. False: it cannot be read. */
static bool header_get(int fd, struct header *h)
{
	memset(h, 0, sizeof(*h));
	return pread(fd, h, sizeof(*h), 0) >= 0;
}

static bool header_none(const struct header *h)
{
	static const struct header none;

	return memcmp(h, &none, sizeof(none)) == 0;
}

static int bytes_copy(int from, int to)
{
	uint8_t buf[RUN_MAX * PUL_FILE_PAGE];
	off_t at = 0;
	ssize_t n;

	while ((n = pread(from, buf, sizeof(buf), at)) > 0) {
		if (!whole_write(to, buf, (size_t)n, at))
			return errno;
		at += n;
	}
	return n < 0 ? errno : 0;
}

/* The disk's copy into memory, at one stroke. */
static int memory_fill(const char *memory, int disk_fd, char *err, size_t err_size)
{
	char new[4096];
	int fd, code;

	if ((size_t)snprintf(new, sizeof(new), "%s" TEMPORARY, memory) >= sizeof(new))
		return pul_file_fail(err, err_size, memory, ENAMETOOLONG, "open");
	unlink(new);
	fd = open(new, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return pul_file_fail(err, err_size, new, errno, "open");
	code = bytes_copy(disk_fd, fd);
	if (code == 0 && rename(new, memory) != 0)
		code = errno;
	close(fd);
	if (code == 0)
		return 0;
	unlink(new);
	return pul_file_fail(err, err_size, memory, code, "cannot copy what is on the disk to it");
}

/* What is in memory is of no use unless it is the file that the disk has a copy of. */
static int memory_prepare(const char *memory, const char *disk, int disk_fd, char *err,
			  size_t err_size)
{
	struct header on_disk, here;
	const char *wrong;
	bool ours = false;
	int fd;

	if (!header_get(disk_fd, &on_disk))
		return pul_file_fail(err, err_size, disk, errno, "read");
	wrong = header_none(&on_disk) ? NULL : pul_file_header_wrong(&on_disk);
	if (wrong != NULL)
		return pul_file_fail(err, err_size, disk, 0, wrong);
	fd = open(memory, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd >= 0) {
		ours = header_get(fd, &here) && memcmp(&here, &on_disk, sizeof(here)) == 0;
		if (!ours && !header_none(&here) && pul_file_header_wrong(&here) != NULL)
			wrong = pul_file_header_wrong(&here);
		close(fd);
	}
	if (wrong != NULL)
		return pul_file_fail(err, err_size, memory, 0, wrong);
	if (ours && !header_none(&on_disk))
		return 0;
	if (!header_none(&on_disk))
		return memory_fill(memory, disk_fd, err, err_size);
	if (unlink(memory) != 0 && errno != ENOENT)
		return pul_file_fail(err, err_size, memory, errno, "unlink");
	return 0;
}

int pul_file_open_copied(struct pul_file **fp, const char *memory, const char *disk,
			 uint32_t slots_max, unsigned int wait_ms, char *err, size_t err_size)
{
	struct pul_file *f = NULL;
	struct stat st;
	size_t i;
	int fd, code;

	code = pul_file_take(disk, wait_ms, &fd, err, err_size);
	if (code != 0)
		return code;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    ((st.st_mode & 077) != 0 && fchmod(fd, 0600) != 0))
		code = pul_file_fail(err, err_size, disk, 0, "this is no file of ours");
	if (code == 0)
		code = memory_prepare(memory, disk, fd, err, err_size);
	if (code == 0)
		code = pul_file_open(&f, memory, slots_max, wait_ms, err, err_size);
	if (code != 0) {
		close(fd);
		return code;
	}
	f->copy_fd = fd;
	for (i = 0; i < f->map_len / PUL_FILE_PAGE; i++) {
		if (atomic_load(&f->dirty[i]) == DIRTY_NO)
			atomic_store(&f->dirty[i], DIRTY_MAYBE);
	}
	code = pul_file_copy_sync(f);
	if (code == 0) {
		*fp = f;
		return 0;
	}
	pul_file_fail(err, err_size, disk, code, "cannot write to it");
	pul_file_close(f);
	return code;
}

void pul_file_populate_slots(struct pul_file *f)
{
	uint32_t slots = atomic_load(&f->sh->slots), from = f->populated / PUL_FILE_STEP;

	pul_pages_populate(f->entry,
			   (size_t)(slots < f->room ? slots : f->room) * sizeof(*f->entry));
	pul_pages_populate(f->map + PUL_FILE_HEADER + from * PUL_FILE_CHUNK,
			   (slots / PUL_FILE_STEP - from) * PUL_FILE_CHUNK);
	f->populated = slots;
}

void pul_file_populate(struct pul_file *f)
{
	size_t buckets = (size_t)f->n_buckets * sizeof(*f->bucket);
	struct statfs fs;

	pul_pages_populate(f->sh, sizeof(*f->sh));
	if (buckets <= BUCKETS_POPULATE_MAX)
		pul_pages_populate(f->bucket, buckets);
	/* on a disk each page would be written, and be lost for writing with that */
	if (fstatfs(f->fd, &fs) == 0 && fs.f_type == TMPFS) {
		f->populated = 0;
		pul_file_populate_slots(f);
	}
}
