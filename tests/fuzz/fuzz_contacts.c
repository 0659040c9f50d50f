/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file of contacts as a crash, a bad disk or somebody's hand left it. The input is what its first
 * slots and their times hold; records are made whole by their sums first when the input's first
 * byte is odd, so that what is behind the sums is read too. What comes out of it is well formed,
 * and the file can be used. */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "modules/p2p_usrloc/p2p_usrloc_file_priv.h"
#include "modules/p2p_usrloc/p2p_usrloc_record.h"

#define SLOTS 32

static char dir[64], path[96];
static struct pul_file raw; /* the file as bytes: its map and its key only */
static unsigned long runs;
static struct pul_file_record rec;

static void dir_remove(void)
{
	unlink(path);
	rmdir(dir);
}

static struct pul_file *file_open(void)
{
	struct pul_file *f = NULL;
	char err[256] = "";
	int code = pul_file_open(&f, path, SLOTS + 16, 0, err, sizeof(err));

	if (code != 0)
		fprintf(stderr, "%s\n", err);
	must(code == 0);
	return f;
}

static void dir_make(void)
{
	int fd;

	strcpy(dir, "/dev/shm/fuzz_contacts.XXXXXX");
	if (mkdtemp(dir) == NULL) {
		strcpy(dir, "/tmp/fuzz_contacts.XXXXXX");
		must(mkdtemp(dir) != NULL);
	}
	snprintf(path, sizeof(path), "%s/contacts", dir);
	must(atexit(dir_remove) == 0);
	pul_file_close(file_open());
	fd = open(path, O_RDWR | O_CLOEXEC);
	must(fd >= 0);
	raw.map = mmap(NULL, PUL_FILE_HEADER + PUL_FILE_CHUNK, PROT_READ | PROT_WRITE, MAP_SHARED,
		       fd, 0);
	must(raw.map != MAP_FAILED);
	close(fd);
	raw.key = ((const struct header *)raw.map)->key;
}

/* Gives each record whose chain can be walked the sum that it has to have. */
static void make_whole(struct pul_file *f)
{
	uint32_t i, next, n;
	struct head *h;

	for (i = 0; i < SLOTS; i++) {
		h = &slot_at(f, i)->head;
		if (atomic_load(&h->order) == 0 || h->len > PUL_FILE_RECORD_MAX)
			continue;
		for (next = h->next, n = 1; next != 0 && next <= SLOTS && n < PUL_FILE_CHAIN_MAX;
		     n++)
			next = slot_at(f, next - 1)->tail.next;
		if (next != 0 || h->len > sizeof(h->data) + (n - 1) * (PUL_FILE_SLOT - 16))
			continue;
		h->sum = pul_file_record_sum(f, i, atomic_load(&h->order));
		pair_at(f, i)->t[0].sum =
			pul_file_times_sum(f, &pair_at(f, i)->t[0], atomic_load(&h->order));
	}
}

static void record_check(const struct pul_file_record *r)
{
	struct pul_record c;
	unsigned int i;

	must(r->len >= r->key_len && r->len <= PUL_FILE_RECORD_MAX && r->key_len > 0);
	if (!pul_record_read(&c, r->data, r->len, r->key_len))
		return;
	must(c.ruid_len == r->key_len && c.str[PUL_RECORD_CONTACT].len > 0);
	for (i = 0; i < PUL_RECORD_STRINGS; i++) {
		must((const uint8_t *)c.str[i].s >= r->data &&
		     (const uint8_t *)c.str[i].s + c.str[i].len <= r->data + r->len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t times = SLOTS * sizeof(struct pair), slots = SLOTS * PUL_FILE_SLOT;
	static const uint8_t zero[SLOTS * PUL_FILE_SLOT];
	const struct pul_times t = {1, 2, 3};
	struct pul_file_stats before, after;
	struct pul_file *f;
	uint32_t i, n = 0;
	bool whole;

	if (dir[0] == '\0')
		dir_make();
	if (size < 1 || size > 1 + times + slots)
		return 0;
	whole = data[0] & 1;
	data++;
	size--;
	memcpy(pair_at(&raw, 0), zero, times);
	memcpy(slot_at(&raw, 0), zero, slots);
	/* the slots first: these are what is worth the most */
	memcpy(slot_at(&raw, 0), data, size < slots ? size : slots);
	if (size > slots)
		memcpy(pair_at(&raw, 0), data + slots, size - slots);
	if (whole)
		make_whole(&raw);

	f = file_open();
	pul_file_stats(f, &before);
	for (i = 0; i < SLOTS; i++) {
		if (!pul_file_read(f, i, &rec))
			continue;
		n++;
		must(rec.slot == i);
		record_check(&rec);
	}
	must(n == before.records);
	must(pul_file_put(f, "a record of ours", 16, 4, &t, NULL) == 0);
	must(pul_file_get(f, "a re", 4, &rec) && rec.len == 16 && rec.times.cseq == 3);
	pul_file_close(f);

	/* what was read once is read again, and nothing else */
	if (runs++ % 16 != 0)
		return 0;
	f = file_open();
	pul_file_stats(f, &after);
	must(after.damaged == 0 && after.replaced == 0);
	must(after.records == before.records || after.records == before.records + 1);
	pul_file_drop(f, "a re", 4);
	pul_file_close(f);
	return 0;
}
