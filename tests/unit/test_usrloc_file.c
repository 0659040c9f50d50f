/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file of contacts: what a kill, a power failure or somebody's hand leaves of it is what was
 * put there, or nothing; never anything else. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "modules/p2p_usrloc/p2p_usrloc_file.h"
#include "modules/p2p_usrloc/p2p_usrloc_record.h"

#define KEY_LEN 8

static char dir[64], path[96];
static struct pul_file_record rec;

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/dev/shm/test_usrloc_file.XXXXXX");
	if (mkdtemp(dir) == NULL) {
		strcpy(dir, "/tmp/test_usrloc_file.XXXXXX");
		if (mkdtemp(dir) == NULL)
			return -1;
	}
	snprintf(path, sizeof(path), "%s/contacts", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static struct pul_file *open_with(uint32_t slots_max)
{
	struct pul_file *f = NULL;
	char err[256] = "";

	if (pul_file_open(&f, path, slots_max, 0, err, sizeof(err)) != 0)
		fail_msg("%s", err);
	return f;
}

static struct pul_file *file_open(void)
{
	return open_with(8000);
}

static const char *key_of(unsigned int n)
{
	static char key[16];

	snprintf(key, sizeof(key), "key%05u", n % 100000);
	return key;
}

/* What key `n` has in its `version`: every byte depends on both. */
static size_t make(uint8_t *buf, unsigned int n, unsigned int version, size_t len)
{
	size_t i;

	memcpy(buf, key_of(n), KEY_LEN);
	for (i = KEY_LEN; i < len; i++)
		buf[i] = (uint8_t)(i * 31 + n * 7 + version * 13);
	return len;
}

static struct pul_times times_of(unsigned int version)
{
	struct pul_times t = {1000000 + version, 500000 + version, (int32_t)version};

	return t;
}

static int put(struct pul_file *f, unsigned int n, unsigned int version, size_t len)
{
	uint8_t buf[PUL_FILE_RECORD_MAX + 1];
	struct pul_times t = times_of(version);

	make(buf, n, version, len);
	return pul_file_put(f, buf, len, KEY_LEN, &t, NULL);
}

static bool get(struct pul_file *f, unsigned int n)
{
	return pul_file_get(f, key_of(n), KEY_LEN, &rec);
}

/* Is what get() found the record of that version, all of it? */
static bool is(unsigned int n, unsigned int version, size_t len)
{
	uint8_t buf[PUL_FILE_RECORD_MAX];

	make(buf, n, version, len);
	return rec.len == len && rec.key_len == KEY_LEN && memcmp(rec.data, buf, len) == 0 &&
	       rec.times.expires == times_of(version).expires &&
	       rec.times.modified == times_of(version).modified &&
	       rec.times.cseq == (int32_t)version;
}

static struct pul_file_stats stats(const struct pul_file *f)
{
	struct pul_file_stats st;

	pul_file_stats(f, &st);
	return st;
}

static void test_put_get_drop(void **state)
{
	struct pul_file *f = file_open();
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_false(get(f, 1));
	assert_ok(put(f, 1, 1, 300));
	assert_ok(put(f, 2, 1, 300));
	assert_true(get(f, 1) && is(1, 1, 300));
	assert_ok(put(f, 1, 2, 2000)); /* another one in its place */
	assert_true(get(f, 1) && is(1, 2, 2000));
	assert_int_equal(stats(f).records, 2);
	assert_int_equal(stats(f).slots_used, 1 + 5);
	assert_true(pul_file_drop(f, "key00002", KEY_LEN));
	assert_false(pul_file_drop(f, "key00002", KEY_LEN));
	assert_int_equal(stats(f).slots_used, 5);
	assert_int_equal(put(f, 3, 1, KEY_LEN - 1), EINVAL);
	assert_int_equal(put(f, 3, 1, PUL_FILE_RECORD_MAX + 1), EINVAL);
	pul_file_close(f);

	f = file_open();
	assert_int_equal(stats(f).records, 1);
	assert_int_equal(stats(f).damaged + stats(f).replaced, 0);
	assert_true(get(f, 1) && is(1, 2, 2000));
	assert_false(get(f, 2));
	pul_file_close(f);
}

static void test_every_length(void **state)
{
	struct pul_file *f = open_with(20000);
	size_t len;
	unsigned int n = 0, i;

	(void)state;
	for (len = KEY_LEN; len <= PUL_FILE_RECORD_MAX; len += len < 1500 ? 1 : 97)
		assert_ok(put(f, n++, 1, len));
	assert_ok(put(f, n++, 1, PUL_FILE_RECORD_MAX));
	pul_file_close(f);
	f = open_with(20000);
	for (i = 0, len = KEY_LEN; i < n - 1; i++, len += len < 1500 ? 1 : 97)
		assert_true(get(f, i) && is(i, 1, len));
	assert_true(get(f, n - 1) && is(n - 1, 1, PUL_FILE_RECORD_MAX));
	assert_int_equal(stats(f).damaged, 0);
	for (i = 0; i < n; i++) {
		assert_true(pul_file_drop(f, key_of(i), KEY_LEN));
	}
	assert_int_equal(stats(f).slots_used, 0);
	pul_file_close(f);
}

static void test_times_alone(void **state)
{
	struct pul_file *f = file_open();
	uint8_t buf[300];
	struct pul_times t;
	unsigned int i;
	bool same;

	(void)state;
	make(buf, 1, 1, sizeof(buf));
	for (i = 1; i < 10; i++) {
		t = times_of(i);
		assert_ok(pul_file_put(f, buf, sizeof(buf), KEY_LEN, &t, &same));
		assert_int_equal(same, i > 1);
		assert_true(get(f, 1));
		assert_int_equal(rec.times.cseq, i);
		pul_file_close(f);
		f = file_open();
		assert_true(get(f, 1));
		assert_int_equal(rec.times.cseq, i);
		assert_int_equal(rec.times.expires, times_of(i).expires);
	}
	assert_int_equal(stats(f).records, 1);
	pul_file_close(f);
}

static void test_full_and_room_again(void **state)
{
	struct pul_file *f = open_with(100);
	unsigned int i;

	(void)state;
	for (i = 0; i < 100; i++)
		assert_ok(put(f, i, 1, 300));
	assert_int_equal(put(f, 100, 1, 300), ENOSPC);
	assert_int_equal(put(f, 101, 1, 5000), ENOSPC);
	assert_int_equal(stats(f).refused, 2);
	/* what is there may change, in the place it has */
	assert_ok(put(f, 5, 2, 400));
	assert_true(get(f, 5) && is(5, 2, 400));
	/* grown, it has no room: and is not what it was any more either */
	assert_int_equal(put(f, 5, 3, 1000), ENOSPC);
	assert_false(get(f, 5));
	assert_ok(put(f, 100, 1, 300));
	pul_file_close(f);
	/* one that may have fewer keeps what it has */
	f = open_with(50);
	assert_int_equal(stats(f).records, 100);
	assert_int_equal(put(f, 101, 1, 300), ENOSPC);
	for (i = 0; i < 60; i++) {
		pul_file_drop(f, key_of(i), KEY_LEN);
	}
	assert_ok(put(f, 101, 1, 300));
	pul_file_close(f);
}

static void test_grows(void **state)
{
	struct pul_file *f = open_with(10000);
	unsigned int i;

	(void)state;
	assert_int_equal(stats(f).slots, PUL_FILE_STEP);
	assert_ok(pul_file_grow(f)); /* there are enough */
	assert_int_equal(stats(f).slots, PUL_FILE_STEP);
	for (i = 0; i < PUL_FILE_STEP - 10; i++)
		assert_ok(put(f, i, 1, 300));
	assert_ok(pul_file_grow(f));
	assert_int_equal(stats(f).slots, 2 * PUL_FILE_STEP);
	for (; i < 10000; i++) /* by itself, too */
		assert_ok(put(f, i, 1, 300));
	assert_int_equal(put(f, i, 1, 300), ENOSPC);
	assert_int_equal(pul_file_grow(f), EFBIG);
	pul_file_close(f);
	f = open_with(10000);
	assert_int_equal(stats(f).records, 10000);
	for (i = 0; i < 10000; i += 997)
		assert_true(get(f, i) && is(i, 1, 300));
	assert_ok(pul_file_sync(f));
	pul_file_close(f);
}

static void test_expire_and_mark(void **state)
{
	struct pul_file *f = file_open();
	struct pul_times never = {0, 1, 1};
	uint32_t slot, n = 0;
	uint8_t buf[100];

	(void)state;
	assert_ok(put(f, 1, 1, 300)); /* until 1000001 */
	assert_ok(put(f, 2, 50, 300));
	make(buf, 3, 1, sizeof(buf));
	assert_ok(pul_file_put(f, buf, sizeof(buf), KEY_LEN, &never, NULL));
	pul_file_mark(f, "key00002", KEY_LEN, true);
	for (slot = 0; slot < pul_file_slots(f); slot++)
		n += pul_file_expire(f, slot, 1000010, false, &rec);
	assert_int_equal(n, 1);
	assert_false(get(f, 1));
	for (slot = 0; slot < pul_file_slots(f); slot++)
		assert_false(pul_file_expire(f, slot, 1000050, true, &rec));
	for (slot = 0; slot < pul_file_slots(f); slot++)
		n += pul_file_expire(f, slot, 1000051, true, &rec);
	assert_int_equal(n, 2);
	assert_false(get(f, 2));
	assert_true(get(f, 3));
	pul_file_close(f);
}

static void test_one_program_only(void **state)
{
	struct pul_file *f = file_open(), *other = NULL;
	char err[256] = "";
	int status;
	pid_t pid;

	(void)state;
	assert_ok(put(f, 1, 1, 300));
	pid = fork();
	if (pid == 0) {
		_exit(pul_file_open(&other, path, 100, 50, err, sizeof(err)) == EWOULDBLOCK &&
				      strstr(err, "another program has it") != NULL
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(get(f, 1) && is(1, 1, 300));
	pul_file_close(f);
}

static void refused(const char *why)
{
	struct pul_file *f = NULL;
	char err[256] = "";

	assert_int_not_equal(pul_file_open(&f, path, 100, 0, err, sizeof(err)), 0);
	assert_null(f);
	if (strstr(err, why) == NULL || strstr(err, path) == NULL)
		fail_msg("\"%s\" is not \"%s\"", err, why);
}

static void poke(off_t at, uint8_t with)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0 && pwrite(fd, &with, 1, at) == 1);
	close(fd);
}

static void test_other_files_are_left_alone(void **state)
{
	int fd;

	(void)state;
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(fd >= 0 && write(fd, "thesis", 6) == 6);
	close(fd);
	refused("this is no file of contacts");
	unlink(path);
	pul_file_close(file_open());
	poke(8, 2);
	refused("another version's");
	poke(8, 1);
	poke(30, 1);
	poke(31, 1);
	refused("is damaged");
	unlink(path);
	pul_file_close(file_open());
	assert_int_equal(truncate(path, 5000), 0);
	refused("no size");
	unlink(path);
	assert_int_equal(symlink("/dev/null", path), 0);
	refused("open");
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	refused("open");
	rmdir(path);
	/* what was being made is begun anew, what was being added is left off */
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(fd >= 0 && ftruncate(fd, 10000) == 0);
	close(fd);
	pul_file_close(file_open());
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_true(fd >= 0 && write(fd, "more", 4) == 4);
	close(fd);
	pul_file_close(file_open());
}

/* --- images of the file --- */

static uint8_t *image_read(size_t *len)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *p;

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	*len = (size_t)st.st_size;
	p = malloc(*len);
	assert_non_null(p);
	assert_int_equal(read(fd, p, *len), *len);
	close(fd);
	return p;
}

static void image_write_at(const uint8_t *p, size_t from, size_t to)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, p + from, to - from, (off_t)from), to - from);
	close(fd);
}

struct torn {
	unsigned int old_version, new_version; /* 0: not there */
	size_t old_len, new_len;
	bool whole_allowed_only; /* one of the two must be there */
};

static unsigned int torn_old, torn_new, torn_none;

static void torn_check(const struct torn *t)
{
	struct pul_file *f = file_open();

	assert_true(get(f, 2) && is(2, 1, 300)); /* the neighbour */
	if (!get(f, 1)) {
		torn_none++;
		assert_true(!t->whole_allowed_only || t->new_version == 0);
	} else if (t->old_version != 0 && is(1, t->old_version, t->old_len)) {
		torn_old++;
	} else {
		assert_true(t->new_version != 0 && is(1, t->new_version, t->new_len));
		torn_new++;
	}
	pul_file_close(f);
}

/* A put is cut off after each byte that it changes: in the order of the addresses, and in the
 * opposite order. The disk after a power failure may have any of these. */
static void torn_at_every_byte(struct torn t)
{
	size_t len, len2, i, first = 0, last = 0;
	uint8_t *before, *after, *mix;
	struct pul_file *f;
	int backwards;

	before = image_read(&len);
	f = file_open();
	if (t.new_version != 0)
		assert_ok(put(f, 1, t.new_version, t.new_len));
	else
		assert_true(pul_file_drop(f, "key00001", KEY_LEN));
	pul_file_close(f);
	after = image_read(&len2);
	assert_int_equal(len, len2);
	for (i = 0; i < len; i++) {
		if (before[i] != after[i]) {
			if (first == 0)
				first = i;
			last = i;
		}
	}
	mix = malloc(len);
	assert_non_null(mix);
	for (backwards = 0; backwards < 2; backwards++) {
		for (i = first; i <= last + 1; i++) {
			if (i <= last && before[i] == after[i])
				continue;
			memcpy(mix, backwards ? after : before, len);
			memcpy(mix + first, (backwards ? before : after) + first, i - first);
			image_write_at(mix, first, last + 1);
			torn_check(&t);
		}
	}
	image_write_at(after, first, last + 1);
	free(before);
	free(after);
	free(mix);
}

static void start_torn(void)
{
	struct pul_file *f = file_open();

	assert_ok(put(f, 1, 1, 300));
	assert_ok(put(f, 2, 1, 300));
	pul_file_close(f);
	torn_old = torn_new = torn_none = 0;
}

static void test_torn_first_record(void **state)
{
	(void)state;
	start_torn();
	pul_file_close(file_open());
	torn_at_every_byte((struct torn){1, 0, 300, 0, false}); /* dropped */
	torn_at_every_byte((struct torn){0, 2, 0, 350, false});
	assert_true(torn_new > 0 && torn_none > 300);
}

static void test_torn_replacement(void **state)
{
	(void)state;
	start_torn();
	torn_at_every_byte((struct torn){1, 2, 300, 300, false});
	torn_at_every_byte((struct torn){2, 3, 300, 1200, false});
	torn_at_every_byte((struct torn){3, 4, 1200, 600, false});
	assert_true(torn_new > 0 && torn_old > 300);
}

static void test_torn_times(void **state)
{
	struct pul_times t;
	struct pul_file *f;
	size_t len, i, k;
	uint8_t *before, *after, buf[300];
	unsigned int version;

	(void)state;
	start_torn();
	make(buf, 1, 1, sizeof(buf));
	for (version = 2; version < 5; version++) {
		before = image_read(&len);
		f = file_open();
		t = times_of(version);
		assert_ok(pul_file_put(f, buf, sizeof(buf), KEY_LEN, &t, NULL));
		pul_file_close(f);
		after = image_read(&len);
		for (i = 0; i < len; i++) {
			if (before[i] == after[i])
				continue;
			/* up to this byte, and this byte alone */
			for (k = 0; k < 2; k++) {
				image_write_at(before, 0, len);
				image_write_at(after, k == 0 ? 4096 : i, i + 1);
				f = file_open();
				assert_true(get(f, 1));
				assert_true(rec.times.cseq == (int32_t)version ||
					    rec.times.cseq == (int32_t)version - 1);
				assert_int_equal(rec.times.expires,
						 times_of((unsigned int)rec.times.cseq).expires);
				pul_file_close(f);
			}
		}
		image_write_at(after, 0, len);
		free(before);
		free(after);
	}
}

/* Bytes anywhere behind the header */
static void test_damaged_at_random(void **state)
{
	unsigned int round, i, n, there;
	struct pul_file *f;
	size_t len, at;
	uint8_t *image;

	(void)state;
	srandom(1);
	f = file_open();
	for (i = 0; i < 200; i++)
		assert_ok(put(f, i, 1, 100 + 10 * i));
	pul_file_close(f);
	image = image_read(&len);
	for (round = 0; round < 300; round++) {
		image_write_at(image, 0, len);
		n = 1 + (unsigned int)random() % 64;
		for (i = 0; i < n; i++) {
			/* most of them where the records are */
			at = 4096 +
			     (size_t)random() % (i % 2 ? 200 * 64 : 64 * PUL_FILE_STEP + 700 * 512);
			poke((off_t)at, (uint8_t)random());
		}
		f = file_open();
		for (i = there = 0; i < 200; i++) {
			if (!get(f, i))
				continue;
			assert_true(is(i, 1, 100 + 10 * i));
			there++;
		}
		assert_true(there + n >= 200);
		assert_int_equal(there, stats(f).records);
		/* and it can be used */
		assert_ok(put(f, 500, 1, 3000));
		assert_true(get(f, 500) && is(500, 1, 3000));
		pul_file_close(f);
	}
	free(image);
}

/* --- kills --- */

#define KILL_KEYS 16

struct acks {
	atomic_uint begun[KILL_KEYS], done[KILL_KEYS]; /* versions */
};

/* Puts ever newer versions; some of them differ in their times only, some are long. */
static void writer(struct pul_file *f, struct acks *a)
{
	unsigned int n, version;
	uint8_t buf[PUL_FILE_RECORD_MAX];
	struct pul_times t;

	for (;;) {
		n = (unsigned int)random() % KILL_KEYS;
		version = atomic_load(&a->begun[n]) + 1;
		atomic_store(&a->begun[n], version);
		t = times_of(version);
		make(buf, n, version / 4, 100 + version / 4 % 3 * 700);
		if (pul_file_put(f, buf, 100 + version / 4 % 3 * 700, KEY_LEN, &t, NULL) != 0)
			_exit(1);
		atomic_store(&a->done[n], version);
	}
}

static void test_killed_at_random(void **state)
{
	struct acks *a =
		mmap(NULL, sizeof(*a), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int round, n, version;
	uint8_t buf[PUL_FILE_RECORD_MAX];
	struct pul_file *f;
	pid_t pid;
	int status;

	(void)state;
	assert_true(a != MAP_FAILED);
	for (round = 0; round < 200; round++) {
		pid = fork();
		if (pid == 0) {
			srandom(round);
			writer(file_open(), a);
		}
		usleep(2000 + (useconds_t)(round * 37 % 3000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		f = file_open();
		assert_int_equal(stats(f).damaged, 0);
		for (n = 0; n < KILL_KEYS; n++) {
			unsigned int begun = atomic_load(&a->begun[n]),
				     done = atomic_load(&a->done[n]);

			if (!get(f, n)) {
				assert_int_equal(done, 0);
				continue;
			}
			version = (unsigned int)rec.times.cseq;
			assert_true(version == done || version == begun);
			assert_int_equal(rec.times.expires, times_of(version).expires);
			make(buf, n, version / 4, 100 + version / 4 % 3 * 700);
			assert_int_equal(rec.len, 100 + version / 4 % 3 * 700);
			assert_memory_equal(rec.data, buf, rec.len);
			atomic_store(&a->begun[n], version);
			atomic_store(&a->done[n], version);
		}
		pul_file_close(f);
	}
	for (n = 0; n < KILL_KEYS; n++)
		assert_true(atomic_load(&a->done[n]) > 10);
	munmap(a, sizeof(*a));
}

/* Many processes put and drop; each key is one's own. */
static void test_many_processes(void **state)
{
	enum { PROCESSES = 4, KEYS = 50, ROUNDS = 3000 };
	struct pul_file *f = open_with(PROCESSES * KEYS * 4);
	unsigned int p, i, k;
	int status;

	(void)state;
	for (p = 0; p < PROCESSES; p++) {
		if (fork() != 0)
			continue;
		srandom(p);
		for (i = 0; i < ROUNDS; i++) {
			k = p * KEYS + (unsigned int)random() % KEYS;
			if (i % 3 == 0)
				pul_file_drop(f, key_of(k), KEY_LEN);
			else if (put(f, k, i, 100 + k * 8) != 0 || !get(f, k) ||
				 !is(k, i, 100 + k * 8))
				_exit(1);
		}
		for (k = p * KEYS; k < (p + 1) * KEYS; k++) {
			if (put(f, k, 7, 100 + k * 8) != 0)
				_exit(1);
		}
		_exit(0);
	}
	for (p = 0; p < PROCESSES; p++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(stats(f).records, PROCESSES * KEYS);
	for (k = 0; k < PROCESSES * KEYS; k++)
		assert_true(get(f, k) && is(k, 7, 100 + k * 8));
	pul_file_close(f);
}

/* --- in memory, with a copy on the disk --- */

static char memory[112];

static struct pul_file *copied_open(void)
{
	struct pul_file *f = NULL;
	char err[256] = "";

	snprintf(memory, sizeof(memory), "%s.memory", path);
	if (pul_file_open_copied(&f, memory, path, 20000, 0, err, sizeof(err)) != 0)
		fail_msg("%s", err);
	pul_file_populate(f);
	return f;
}

static void copied_has(unsigned int n)
{
	struct pul_file *f = copied_open();
	unsigned int i;

	assert_int_equal(stats(f).records, n);
	assert_int_equal(stats(f).damaged + stats(f).replaced, 0);
	for (i = 0; i < n; i++)
		assert_true(get(f, i) && is(i, i % 3 + 1, 100 + i % 2000));
	pul_file_close(f);
}

static void test_copied(void **state)
{
	struct pul_file *f = copied_open();
	struct stat st;
	unsigned int i;

	(void)state;
	for (i = 0; i < 3000; i++)
		assert_ok(put(f, i, i % 3 + 1, 100 + i % 2000));
	pul_file_close(f); /* killed: nothing is on the disk yet */
	copied_has(3000);  /* and it is now, for the opening copies */
	assert_ok(unlink(memory));
	copied_has(3000); /* after a reboot */
	f = copied_open();
	for (i = 3000; i < 6000; i++)
		assert_ok(put(f, i, i % 3 + 1, 100 + i % 2000));
	for (i = 0; i < 3000; i++)
		assert_ok(put(f, i, 9, 50));
	for (i = 0; i < 3000; i++)
		assert_ok(put(f, i, i % 3 + 1, 100 + i % 2000));
	assert_ok(pul_file_sync(f));
	assert_int_equal(stats(f).synced, 1);
	assert_ok(pul_file_sync(f)); /* nothing new */
	assert_int_equal(stats(f).synced, 1);
	/* what comes after it is in memory only */
	assert_true(pul_file_drop(f, key_of(5999), KEY_LEN));
	pul_file_close(f);
	assert_ok(unlink(memory));
	copied_has(6000);
	assert_int_equal(stat(memory, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* who takes the file on the disk away wants to begin anew */
	assert_ok(unlink(path));
	copied_has(0);
	assert_ok(unlink(memory));
}

static void test_copied_of_another_file(void **state)
{
	struct pul_file *f = copied_open();
	char other[128], err[256];

	(void)state;
	assert_ok(put(f, 0, 1, 100));
	pul_file_close(f);
	snprintf(other, sizeof(other), "%s.other", path);
	assert_ok(rename(path, other));
	f = copied_open(); /* a new one */
	assert_ok(put(f, 0, 2, 100));
	assert_ok(put(f, 1, 2, 100));
	pul_file_close(f);
	/* the disk's is the one that somebody put there */
	assert_ok(rename(other, path));
	f = copied_open();
	assert_int_equal(stats(f).records, 0); /* of its last copy, at its start */
	/* one program only, whatever the other one's memory */
	f = (pul_file_close(f), copied_open());
	if (fork() == 0) {
		struct pul_file *g = NULL;

		_exit(pul_file_open_copied(&g, other, path, 100, 0, err, sizeof(err)) == EWOULDBLOCK
			      ? 0
			      : 1);
	}
	int status;

	assert_true(wait(&status) > 0);
	assert_int_equal(status, 0);
	pul_file_close(f);
	/* what is none of ours stays */
	poke(0, 'x');
	assert_int_equal(pul_file_open_copied(&f, memory, path, 100, 0, err, sizeof(err)), EINVAL);
	assert_non_null(strstr(err, "this is no file of contacts"));
	assert_ok(unlink(memory));
}

/* --- contacts as records --- */

static void test_record(void **state)
{
	static const char text[] = "0123456789";
	struct pul_record r = {.ruid = "ruid-1", .ruid_len = 6}, back;
	uint8_t buf[PUL_FILE_RECORD_MAX];
	unsigned int i;
	size_t len;

	(void)state;
	for (i = 0; i < PUL_RECORD_STRINGS; i++) {
		r.str[i].s = text;
		r.str[i].len = i % sizeof(text) + 1;
	}
	r.str[PUL_RECORD_PATH].len = 0;
	r.q = -1;
	r.flags = 5;
	r.cflags = 6;
	r.methods = UINT32_MAX;
	r.reg_id = 7;
	r.server_id = -8;
	r.marks = PUL_RECORD_STREAM;
	len = pul_record_write(&r, buf, sizeof(buf));
	assert_true(len > 0);
	assert_true(pul_record_read(&back, buf, len, 6));
	assert_int_equal(back.ruid_len, 6);
	assert_memory_equal(back.ruid, "ruid-1", 6);
	for (i = 0; i < PUL_RECORD_STRINGS; i++) {
		assert_int_equal(back.str[i].len, r.str[i].len);
		assert_memory_equal(back.str[i].s, text, back.str[i].len);
	}
	assert_int_equal(back.q, -1);
	assert_int_equal(back.server_id, -8);
	assert_int_equal(back.methods, UINT32_MAX);
	assert_int_equal(back.reg_id, 7);
	assert_int_equal(back.marks, PUL_RECORD_STREAM);
	assert_false(pul_record_read(&back, buf, len - 1, 6));
	buf[len] = 0;
	assert_false(pul_record_read(&back, buf, len + 1, 6));
	for (i = 0; i < len; i++) {
		/* it is no room for it */
		assert_int_equal(pul_record_write(&r, buf, i), 0);
	}
	r.str[PUL_RECORD_CONTACT].len = 0;
	len = pul_record_write(&r, buf, sizeof(buf));
	assert_false(pul_record_read(&back, buf, len, 6)); /* a contact has one */
	r.ruid_len = 0;
	assert_int_equal(pul_record_write(&r, buf, sizeof(buf)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_put_get_drop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_length, setup, teardown),
		cmocka_unit_test_setup_teardown(test_times_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_and_room_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_grows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_expire_and_mark, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_program_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_files_are_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn_first_record, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn_replacement, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn_times, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_at_random, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_at_random, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_processes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copied, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copied_of_another_file, setup, teardown),
		cmocka_unit_test(test_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
