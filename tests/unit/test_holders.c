/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pure parts of holding and announcing users' records: the table, the queues, the majorities,
 * the bodies. */
#include "tests/unit/test.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "lib/base/bytes.h"
#include "lib/base/shared.h"
#include "lib/model/announce.h"
#include "lib/model/held.h"
#include "lib/model/quorum.h"
#include "lib/proto/opp_records.h"
#include "lib/proto/record_head.h"

#define NOW 1767225600000ull

static const struct p2p_hash_key hash_key = {{1, 2}};

/* A record in form only: nobody here looks at signatures. */
static size_t make(uint8_t buf[P2P_RECORD_MAX], uint8_t key, uint8_t signer, uint64_t order,
		   bool tombstone, size_t body)
{
	memset(buf, 0, P2P_RECORD_MAX);
	memcpy(buf, "p2p\1\1", 5);
	buf[5] = tombstone;
	memset(buf + 22, key, P2P_KEY_LEN);
	buf[42] = 2;
	buf[43] = signer;
	p2p_put_be64(buf + 75, order);
	p2p_put_be64(buf + 83, NOW + 86400000);
	p2p_put_be16(buf + 91, (uint16_t)body);
	buf[93 + body + 63] = signer;
	return 93 + body + 64;
}

static struct p2p_key key_of(uint8_t b)
{
	struct p2p_key key;

	memset(&key, b, sizeof(key));
	return key;
}

static struct p2p_held *held_new(size_t max, size_t signer_max)
{
	struct p2p_held *h;

	assert_ok(p2p_held_new(&h, &(struct p2p_held_config){max, signer_max, hash_key}));
	return h;
}

static int put(struct p2p_held *h, uint8_t key, uint8_t signer, uint64_t order, bool verified,
	       uint64_t *stale)
{
	uint8_t buf[P2P_RECORD_MAX];
	size_t len = make(buf, key, signer, order, false, 10);

	return p2p_held_put(h, buf, len, verified, stale);
}

static void test_held(void **state)
{
	struct p2p_held_record rec[P2P_HELD_SIGNERS_MAX];
	struct p2p_held *h = held_new(1000, 500);
	struct p2p_key key = key_of(7), next;
	uint64_t stale = 0;
	uint8_t pubkey[P2P_PUBKEY_LEN] = {2, 1};

	(void)state;
	assert_int_equal(p2p_held_get(h, &key, rec), 0);
	assert_false(p2p_held_next(h, NULL, &next));
	assert_ok(put(h, 7, 1, 100, true, &stale));
	assert_ok(put(h, 7, 2, 90, false, &stale));
	assert_ok(put(h, 9, 1, 100, true, &stale));
	assert_int_equal(p2p_held_get(h, &key, rec), 2);
	assert_true(rec[0].verified && !rec[1].verified);
	/* the later one counts, and nobody's word alone takes its place */
	assert_int_equal(put(h, 7, 1, 100, true, &stale), EALREADY);
	assert_int_equal(put(h, 7, 1, 99, true, &stale), ESTALE);
	assert_int_equal((int)stale, 100);
	assert_int_equal(put(h, 7, 1, 101, false, &stale), EPERM);
	assert_ok(put(h, 7, 1, 101, true, &stale));
	/* an earlier one takes the place of one that nobody has verified */
	assert_ok(put(h, 7, 2, 80, true, &stale));
	assert_ok(p2p_held_find(h, &key, pubkey, &rec[0]));
	assert_int_equal((int)rec[0].order, 101);
	assert_true(p2p_held_next(h, NULL, &next));
	assert_memory_equal(&next, &key, sizeof(key));
	assert_true(p2p_held_next(h, &next, &next));
	assert_int_equal(next.b[0], 9);
	assert_false(p2p_held_next(h, &next, &next));
	assert_ok(p2p_held_del(h, &key, pubkey));
	assert_int_equal(p2p_held_del(h, &key, pubkey), ENOENT);
	assert_int_equal(p2p_held_get(h, &key, rec), 1);
	assert_int_equal((int)p2p_held_count(h), 2);
	assert_int_equal(p2p_held_put(h, "rubbish", 7, true, &stale), EBADMSG);
	p2p_held_free(h);
}

/* What is kept here and there is kept once, and outlives either. */
static void test_shared(void **state)
{
	struct p2p_held *h = held_new(10, 10);
	struct p2p_held_record rec[P2P_HELD_SIGNERS_MAX];
	struct p2p_shared *record, *later;
	struct p2p_key key = key_of(7);
	struct p2p_announced e;
	struct p2p_announce *a;
	uint8_t buf[P2P_RECORD_MAX], pubkey[P2P_PUBKEY_LEN] = {2, 1};
	uint64_t order;

	(void)state;
	assert_null(p2p_shared_new(buf, UINT16_MAX + 1));
	p2p_shared_drop(NULL);
	assert_ok(p2p_announce_new(&a, 10, &hash_key));
	assert_ok(p2p_announce_set(a, buf, make(buf, 7, 1, 100, false, 10)));
	assert_ok(p2p_announce_get(a, &key, &e));
	assert_ok(p2p_held_share(h, e.record, true, &order));
	assert_int_equal(e.record->owners, 2);
	assert_int_equal(p2p_held_share(h, e.record, true, &order), EALREADY);
	assert_int_equal(e.record->owners, 2);
	assert_int_equal(p2p_held_get(h, &key, rec), 1);
	assert_ptr_equal(rec[0].bytes, e.bytes);
	/* a later one that is here only does not change what is there */
	assert_ok(put(h, 7, 1, 101, true, &order));
	assert_int_equal(e.record->owners, 1);
	assert_memory_equal(e.bytes, buf, e.len);
	/* an equal one that came from elsewhere first */
	assert_ok(p2p_announce_set(a, buf, make(buf, 7, 1, 102, false, 10)));
	assert_ok(p2p_held_put(h, buf, make(buf, 7, 1, 102, false, 10), true, &order));
	assert_ok(p2p_announce_get(a, &key, &e));
	assert_int_equal(e.record->owners, 1);
	assert_int_equal(p2p_held_share(h, e.record, true, &order), EALREADY);
	assert_int_equal(e.record->owners, 2);
	/* one that is no good has no new owner */
	record = p2p_shared_new("rubbish", 7);
	assert_int_equal(p2p_held_share(h, record, true, &order), EBADMSG);
	assert_int_equal(record->owners, 1);
	p2p_shared_drop(record);
	/* either goes first */
	later = p2p_shared_keep(e.record);
	p2p_announce_del(a, &key);
	assert_int_equal(later->owners, 2);
	assert_ok(p2p_held_del(h, &key, pubkey));
	assert_int_equal(later->owners, 1);
	assert_memory_equal(later->bytes, buf, later->len);
	p2p_shared_drop(later);
	p2p_announce_free(a);
	p2p_held_free(h);
}

static void test_held_bounds(void **state)
{
	struct p2p_held_record rec[P2P_HELD_SIGNERS_MAX];
	struct p2p_held *h = held_new(100, 40);
	struct p2p_key key = key_of(200);
	uint64_t stale;

	(void)state;
	/* one signer does not fill it */
	for (unsigned int i = 0; i < 40; i++)
		assert_ok(put(h, (uint8_t)i, 1, 1000 + i, true, &stale));
	assert_int_equal(put(h, 41, 1, 5000, true, &stale), ENOSPC);
	assert_ok(put(h, 3, 1, 5000, true, &stale));
	/* the newest signers of a key win */
	for (unsigned int i = 0; i < P2P_HELD_SIGNERS_MAX; i++)
		assert_ok(put(h, 200, (uint8_t)(10 + i), 2000 + i, true, &stale));
	assert_int_equal(put(h, 200, 99, 1999, true, &stale), ENOSPC);
	assert_ok(put(h, 200, 99, 3000, true, &stale));
	assert_int_equal(p2p_held_get(h, &key, rec), P2P_HELD_SIGNERS_MAX);
	for (unsigned int i = 0; i < P2P_HELD_SIGNERS_MAX; i++)
		assert_true(rec[i].order != 2000);
	/* full: something old goes, and it is said */
	for (unsigned int i = 0; i < 100; i++)
		assert_ok(put(h, (uint8_t)i, (uint8_t)(100 + i), 9000 + i, true, &stale));
	assert_int_equal((int)p2p_held_count(h), 100);
	assert_int_equal((int)p2p_held_lost(h), 72);
	p2p_held_free(h);
}

/* Many keys in no order, as a tree: all are found, in order, with a bounded depth. */
static void test_held_many(void **state)
{
	struct p2p_held *h = held_new(50000, 50000);
	uint8_t buf[P2P_RECORD_MAX];
	struct p2p_key key, last;
	uint64_t stale, r = 1;
	unsigned int n = 0;

	(void)state;
	for (unsigned int i = 0; i < 20000; i++) {
		size_t len = make(buf, 0, 1, 10, false, 0);

		r = r * 6364136223846793005ull + 1442695040888963407ull;
		p2p_put_be64(buf + 22, r);
		assert_ok(p2p_held_put(h, buf, len, true, &stale));
	}
	for (bool more = p2p_held_next(h, NULL, &key); more; more = p2p_held_next(h, &last, &key)) {
		if (n++)
			assert_true(memcmp(&last, &key, sizeof(key)) < 0);
		last = key;
	}
	assert_int_equal(n, 20000);
	while (p2p_held_next(h, NULL, &key)) {
		uint8_t pubkey[P2P_PUBKEY_LEN] = {2, 1};

		assert_ok(p2p_held_del(h, &key, pubkey));
	}
	assert_int_equal((int)(p2p_held_count(h) + p2p_held_bytes(h)), 0);
	p2p_held_free(h);
}

struct told {
	unsigned int n, max;
	uint8_t key[64];
	uint64_t order[64];
};

static bool tell(const struct p2p_announced *e, void *arg)
{
	struct told *t = arg;

	if (t->n == t->max)
		return false;
	t->key[t->n] = e->key.b[0];
	t->order[t->n++] = e->order;
	return true;
}

static struct told next(struct p2p_announce *a, uint16_t slot, unsigned int max)
{
	struct told t = {.max = max};
	unsigned int n = p2p_announce_next(a, slot, 64, tell, &t);

	assert_int_equal(n, t.n);
	return t;
}

static void set(struct p2p_announce *a, uint8_t key, uint64_t order, size_t body)
{
	uint8_t buf[P2P_RECORD_MAX];

	assert_ok(p2p_announce_set(a, buf, make(buf, key, 1, order, false, body)));
}

static void test_announce(void **state)
{
	struct p2p_announce *a;
	uint16_t one, two, three, kept[P2P_ANNOUNCE_TARGETS_MAX];
	struct p2p_key k1 = key_of(1), k2 = key_of(2);
	uint8_t buf[P2P_RECORD_MAX];
	struct told t;

	(void)state;
	assert_ok(p2p_announce_new(&a, 3, &hash_key));
	assert_ok(p2p_announce_target_new(a, &one));
	assert_ok(p2p_announce_target_new(a, &two));
	assert_ok(p2p_announce_target_new(a, &three));
	set(a, 1, 10, 5);
	set(a, 2, 10, 5);
	assert_ok(p2p_announce_targets(a, &k1, (uint16_t[]){one, two}, 2));
	assert_ok(p2p_announce_targets(a, &k2, (uint16_t[]){one}, 1));
	assert_int_equal((int)p2p_announce_waiting(a, one), 2);
	/* it changes while it waits: told once, the newest */
	set(a, 1, 11, 50);
	set(a, 1, 12, 5);
	t = next(a, one, 64);
	assert_int_equal(t.n, 2);
	assert_int_equal(t.key[0], 1);
	assert_int_equal((int)t.order[0], 12);
	assert_int_equal((int)p2p_announce_waiting(a, one), 2); /* on their way */
	assert_int_equal((int)p2p_announce_ready(a, one), 0);
	assert_int_equal(next(a, one, 64).n, 0);
	/* and while it is on its way: told again, and the earlier answer says nothing */
	set(a, 1, 13, 5);
	p2p_announce_told(a, one, &k1, 12, true);
	assert_int_equal(p2p_announce_kept(a, &k1, 13, kept), 0);
	t = next(a, one, 64);
	assert_int_equal(t.n, 1);
	assert_int_equal((int)t.order[0], 13);
	p2p_announce_told(a, one, &k1, 13, true);
	assert_int_equal(p2p_announce_kept(a, &k1, 13, kept), 1);
	assert_int_equal(kept[0], one);
	assert_int_equal(p2p_announce_kept(a, &k1, 12, kept), 0);
	/* a failure is told again */
	p2p_announce_told(a, one, &k2, 10, false);
	assert_int_equal((int)p2p_announce_ready(a, one), 1);
	t = next(a, one, 0);
	assert_int_equal(t.n, 0);
	t = next(a, one, 64);
	assert_int_equal(t.key[0], 2);
	p2p_announce_told(a, one, &k2, 10, true);
	assert_int_equal((int)p2p_announce_waiting(a, one), 0);
	/* other targets: who knew it knows it still */
	assert_ok(p2p_announce_targets(a, &k1, (uint16_t[]){three, one}, 2));
	assert_int_equal((int)p2p_announce_waiting(a, two), 0);
	assert_int_equal(next(a, two, 64).n, 0);
	assert_int_equal((int)p2p_announce_waiting(a, three), 1);
	assert_int_equal(p2p_announce_kept(a, &k1, 13, kept), 1);
	/* one loses a record, and everything */
	p2p_announce_missing(a, one, &k1);
	assert_int_equal(next(a, one, 64).n, 1);
	p2p_announce_told(a, one, &k1, 13, true);
	p2p_announce_again(a, one);
	assert_int_equal(next(a, one, 64).n, 2);
	/* bounds */
	set(a, 3, 1, 5);
	assert_int_equal(p2p_announce_set(a, buf, make(buf, 4, 1, 1, false, 0)), ENOSPC);
	assert_int_equal(p2p_announce_set(a, buf, make(buf, 1, 1, 1, false, 0)), ESTALE);
	p2p_announce_del(a, &k2);
	assert_int_equal((int)p2p_announce_count(a), 2);
	p2p_announce_target_free(a, three);
	assert_int_equal((int)p2p_announce_waiting(a, three), 0);
	p2p_announce_free(a);
}

/* However often targets come and go, a queue does not grow beyond what waits. */
static void test_announce_flapping(void **state)
{
	struct p2p_announce *a;
	uint16_t one, two;
	struct told t;

	(void)state;
	assert_ok(p2p_announce_new(&a, 100, &hash_key));
	assert_ok(p2p_announce_target_new(a, &one));
	assert_ok(p2p_announce_target_new(a, &two));
	for (unsigned int i = 0; i < 50; i++)
		set(a, (uint8_t)i, 1, 5);
	for (unsigned int round = 0; round < 1000; round++)
		for (unsigned int i = 0; i < 50; i++) {
			struct p2p_key key = key_of((uint8_t)i);

			assert_ok(p2p_announce_targets(a, &key, (uint16_t[]){round % 2 ? one : two},
						       1));
			set(a, (uint8_t)i, 2 + round, round % 40);
		}
	assert_int_equal((int)p2p_announce_waiting(a, one), 50);
	assert_int_equal((int)p2p_announce_waiting(a, two), 0);
	t = next(a, one, 64);
	assert_int_equal(t.n, 50);
	assert_int_equal(next(a, two, 64).n, 0);
	p2p_announce_free(a);
}

static bool walk(const struct p2p_announced *e, const uint16_t *kept, unsigned int n, void *arg)
{
	unsigned int *seen = arg;

	(void)kept;
	assert_int_equal(n, 0);
	seen[e->key.b[0]]++;
	return e->key.b[0] % 2;
}

static void test_announce_scan(void **state)
{
	struct p2p_announce *a;
	unsigned int seen[200] = {0};
	uint64_t cursor = 0;

	(void)state;
	assert_ok(p2p_announce_new(&a, 200, &hash_key));
	for (unsigned int i = 0; i < 200; i++)
		set(a, (uint8_t)i, 1, 5);
	do
		p2p_announce_scan(a, &cursor, 7, walk, seen);
	while (cursor);
	for (unsigned int i = 0; i < 200; i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal((int)p2p_announce_count(a), 100);
	p2p_announce_free(a);
}

static void test_quorum(void **state)
{
	bool partial;

	(void)state;
	for (unsigned int n = 1; n <= 9; n++) {
		unsigned int w = p2p_quorum(n);

		/* two majorities meet, and so do one and all but so few of the others */
		assert_true(2 * w > n);
		assert_true((w - 1) + (n - w + 1) > n - 1);
		assert_true(p2p_quorum_safe(n, n, w, false, &partial) && !partial);
		assert_false(p2p_quorum_safe(n, n, w - 1, true, &partial));
		assert_true(p2p_quorum_absent(n, w));
		assert_false(p2p_quorum_absent(n, w - 1));
		if (n > 1) {
			assert_true(p2p_quorum_safe(n, w - 1, w - 1, true, &partial) && partial);
			assert_false(p2p_quorum_safe(n, w - 1, w - 1, false, &partial));
			assert_true(p2p_quorum_synced(n, n - w + 1, 0, false));
			assert_false(p2p_quorum_synced(n, n - w, n - 2, true));
			assert_false(p2p_quorum_synced(n, 0, n - 1, false));
		}
		assert_true(p2p_quorum_synced(n, 0, n - 1, true));
	}
	assert_false(p2p_quorum_absent(0, 0));
}

static void test_bodies(void **state)
{
	struct p2p_opp_batch *batch = malloc(sizeof(*batch)), *again = malloc(sizeof(*again));
	struct p2p_opp_results *results = malloc(sizeof(*results));
	struct p2p_opp_found *found = malloc(sizeof(*found));
	struct p2p_opp_check *check = malloc(sizeof(*check)), *checked = malloc(sizeof(*checked));
	char *text = malloc(P2P_OPP_BULK_MAX);
	uint8_t buf[P2P_RECORD_MAX];
	size_t len, rlen = make(buf, 1, 1, 5, false, P2P_RECORD_MAX - 157);
	unsigned int n = 0;

	(void)state;
	/* as many as fit are few enough for a body */
	p2p_opp_batch_init(batch);
	while (p2p_opp_batch_add(batch, buf, rlen))
		n++;
	assert_in_range(n, 80, P2P_OPP_BATCH_MAX);
	assert_ok(p2p_opp_batch_encode(batch, text, P2P_OPP_BULK_MAX, &len));
	assert_ok(p2p_opp_batch_decode(again, text, len));
	assert_int_equal(again->n, n);
	assert_memory_equal(again->b, batch->b, batch->used);
	/* with the longest results, too */
	results->instance = UINT64_MAX;
	results->n = P2P_OPP_BATCH_MAX;
	for (unsigned int i = 0; i < P2P_OPP_BATCH_MAX; i++) {
		results->r[i].result = P2P_OPP_STALE;
		results->r[i].order = UINT64_MAX;
	}
	results->others = *batch;
	assert_ok(p2p_opp_results_encode(results, text, P2P_OPP_BULK_MAX, &len));
	assert_ok(p2p_opp_results_decode(results, text, len));
	assert_true(results->r[255].order == UINT64_MAX && results->others.n == n);
	found->instance = 1;
	found->n = P2P_OPP_KEYS_MAX;
	found->records = *batch;
	for (unsigned int i = 0; i < P2P_OPP_KEYS_MAX; i++) {
		found->a[i].synced = found->a[i].watched = i % 2;
		found->a[i].first = (uint16_t)(i < n ? i : n);
		found->a[i].n = i < n;
	}
	assert_ok(p2p_opp_found_encode(found, text, P2P_OPP_BULK_MAX, &len));
	assert_ok(p2p_opp_found_decode(found, text, len));
	assert_int_equal(found->records.n, n);
	assert_true(found->a[1].synced && !found->a[2].synced && found->a[n].n == 0);
	memset(check, 0xa5, sizeof(*check));
	check->n = P2P_OPP_CHECKS_MAX;
	assert_ok(p2p_opp_check_encode(check, text, P2P_OPP_BULK_MAX, &len));
	assert_ok(p2p_opp_check_decode(checked, text, len));
	assert_int_equal(checked->n, P2P_OPP_CHECKS_MAX);
	assert_memory_equal(&checked->r[7].key, &check->r[7].key, sizeof(check->r[7].key));
	assert_int_equal(p2p_opp_batch_decode(again, "{\"records\":[\"AA\",7]}", 20), EBADMSG);
	assert_int_equal(p2p_opp_batch_decode(again, "{}", 2), EBADMSG);
	assert_int_equal(p2p_opp_batch_decode(again, text, P2P_OPP_BULK_MAX + 1), EMSGSIZE);
	free(batch);
	free(again);
	free(results);
	free(found);
	free(check);
	free(checked);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_held),	      cmocka_unit_test(test_shared),
		cmocka_unit_test(test_held_bounds),   cmocka_unit_test(test_held_many),
		cmocka_unit_test(test_announce),      cmocka_unit_test(test_announce_flapping),
		cmocka_unit_test(test_announce_scan), cmocka_unit_test(test_quorum),
		cmocka_unit_test(test_bodies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
