/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ring of keys: who holds a key, and how little changes when somebody comes or goes. */
#include "tests/unit/test.h"

#include "lib/model/ring.h"
#include "tests/unit/alloc.h"

#define MEMBERS 200
#define KEYS 1000

static uint64_t seed = 1;

static uint32_t rnd(void)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33);
}

static struct p2p_key key_of(uint8_t first)
{
	struct p2p_key key = {{first}};

	return key;
}

static struct p2p_key random_key(void)
{
	struct p2p_key key;
	size_t i;

	for (i = 0; i < sizeof(key.b); i++)
		key.b[i] = (uint8_t)rnd();
	return key;
}

static bool not_that(const void *member, void *arg)
{
	return member != arg;
}

static void test_nearest(void **state)
{
	struct p2p_ring r = {0};
	int a, b, c;
	struct p2p_key ka = key_of(10), kb = key_of(20), kc = key_of(200), key;
	void *out[4];

	(void)state;
	key = key_of(1);
	assert_int_equal(p2p_ring_nearest(&r, &key, 4, NULL, NULL, out), 0);
	assert_int_equal(p2p_ring_at(&r, &key), 0);
	assert_ok(p2p_ring_add(&r, &kc, &c));
	assert_ok(p2p_ring_add(&r, &ka, &a));
	assert_ok(p2p_ring_add(&r, &kb, &b));
	assert_int_equal(p2p_ring_add(&r, &kb, &a), EEXIST);
	/* clockwise; at its own place; around the end; no more than there are */
	key = key_of(11);
	assert_int_equal(p2p_ring_nearest(&r, &key, 2, NULL, NULL, out), 2);
	assert_ptr_equal(out[0], &b);
	assert_ptr_equal(out[1], &c);
	assert_int_equal(p2p_ring_nearest(&r, &ka, 1, NULL, NULL, out), 1);
	assert_ptr_equal(out[0], &a);
	key = key_of(201);
	assert_int_equal(p2p_ring_nearest(&r, &key, 4, NULL, NULL, out), 3);
	assert_ptr_equal(out[0], &a);
	assert_ptr_equal(out[2], &c);
	/* those that do not fit are passed over */
	assert_int_equal(p2p_ring_nearest(&r, &key, 2, not_that, &a, out), 2);
	assert_ptr_equal(out[0], &b);
	assert_ptr_equal(out[1], &c);
	assert_ok(p2p_ring_del(&r, &kb));
	assert_int_equal(p2p_ring_del(&r, &kb), ENOENT);
	key = key_of(11);
	assert_int_equal(p2p_ring_nearest(&r, &key, 1, NULL, NULL, out), 1);
	assert_ptr_equal(out[0], &c);
	p2p_ring_free(&r);
	assert_int_equal(r.n, 0);
}

/* Whoever goes takes away from those who had it as a holder, and from nobody else. */
static void test_stable(void **state)
{
	static struct p2p_key pos[MEMBERS], key[KEYS];
	static int member[MEMBERS];
	static void *before[KEYS][5];
	struct p2p_ring r = {0};
	unsigned int i, j, changed = 0;
	void *out[5];

	(void)state;
	for (i = 0; i < MEMBERS; i++) {
		pos[i] = random_key();
		assert_ok(p2p_ring_add(&r, &pos[i], &member[i]));
	}
	for (i = 1; i < r.n; i++)
		assert_true(memcmp(r.v[i - 1].pos.b, r.v[i].pos.b, P2P_KEY_LEN) < 0);
	for (i = 0; i < KEYS; i++) {
		key[i] = random_key();
		assert_int_equal(p2p_ring_nearest(&r, &key[i], 5, NULL, NULL, before[i]), 5);
	}
	assert_ok(p2p_ring_del(&r, &pos[7]));
	for (i = 0; i < KEYS; i++) {
		bool had = false;

		for (j = 0; j < 5; j++)
			had = had || before[i][j] == &member[7];
		p2p_ring_nearest(&r, &key[i], 5, NULL, NULL, out);
		if (!had)
			assert_memory_equal(out, before[i], sizeof(out));
		changed += had;
	}
	/* 5 of 200 hold each key */
	assert_in_range(changed, 1, KEYS / 8);
	p2p_ring_free(&r);
}

static int step(void *arg)
{
	struct p2p_ring r = {0};
	int err = 0, member[64];
	unsigned int i;

	(void)arg;
	for (i = 0; i < 64 && err == 0; i++) {
		struct p2p_key pos = key_of((uint8_t)(i + 1));

		err = p2p_ring_add(&r, &pos, &member[i]);
		if (err != 0)
			assert_int_equal(r.n, i);
	}
	p2p_ring_free(&r);
	return err;
}

static void test_memory(void **state)
{
	(void)state;
	alloc_loop(step, NULL, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_stable),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
