/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When what failed is tried again: one key by itself, all when several fail in a row. */
#include "tests/unit/test.h"
#include <limits.h>
#include "lib/model/retry.h"

static const struct p2p_retry_config config = {
	.max = 8, .first_ms = 100, .most_ms = 500, .in_a_row = 3, .all_ms = 50};

static struct p2p_key key_of(uint8_t n)
{
	return (struct p2p_key){.b = {n}};
}

static bool failed(struct p2p_retry *r, uint8_t n, uint64_t order, uint64_t now)
{
	struct p2p_key key = key_of(n);

	return p2p_retry_failed(r, &key, order, now);
}

static void succeeded(struct p2p_retry *r, uint8_t n, uint64_t order, uint64_t now)
{
	struct p2p_key key = key_of(n);

	p2p_retry_succeeded(r, &key, order, now);
}

/* The key's number, 0: none. */
static unsigned int take(struct p2p_retry *r, uint64_t now, uint64_t order)
{
	struct p2p_key key;
	uint64_t got;

	if (!p2p_retry_take(r, now, &key, &got))
		return 0;
	assert_int_equal(got, order);
	return key.b[0];
}

static struct p2p_retry *retry_new(void)
{
	struct p2p_retry *r;

	assert_ok(p2p_retry_new(&r, &config));
	return r;
}

static void test_one(void **state)
{
	static const unsigned int wait[] = {100, 200, 400, 500, 500, 500};
	struct p2p_retry_config none = config;
	struct p2p_retry *r = retry_new();
	uint64_t now = 1000;

	(void)state;
	none.max = 0;
	assert_int_equal(p2p_retry_new(&(struct p2p_retry *){NULL}, &none), EINVAL);
	/* however often: nobody else waits for it */
	for (size_t i = 0; i < sizeof(wait) / sizeof(wait[0]); i++) {
		assert_true(failed(r, 1, 7, now));
		assert_int_equal(p2p_retry_at_once(r, now), UINT_MAX);
		assert_int_equal(p2p_retry_waiting(r), 1);
		assert_int_equal(take(r, now + wait[i] - 1, 7), 0);
		now += wait[i];
		assert_int_equal(take(r, now, 7), 1);
		assert_int_equal(take(r, now, 7), 0);
	}
	succeeded(r, 1, 7, now);
	assert_true(failed(r, 1, 8, now));
	assert_int_equal(take(r, now + 100, 8), 1);
	p2p_retry_free(r);
}

/* Two of its records under way at a time: the later one is not lost. */
static void test_orders(void **state)
{
	struct p2p_retry *r = retry_new();

	(void)state;
	assert_true(failed(r, 1, 8, 1000));
	assert_true(failed(r, 1, 7, 1000));
	succeeded(r, 1, 7, 1000);
	assert_int_equal(p2p_retry_waiting(r), 1);
	assert_int_equal(take(r, 2000, 8), 1);
	assert_true(failed(r, 1, 8, 2000));
	succeeded(r, 1, 9, 2000);
	assert_int_equal(p2p_retry_waiting(r), 0);
	assert_int_equal(take(r, 9999, 0), 0);
	p2p_retry_free(r);
}

static void test_all(void **state)
{
	struct p2p_retry *r = retry_new();

	(void)state;
	/* with one that succeeds in between they are single ones */
	failed(r, 1, 1, 1000);
	failed(r, 2, 1, 1000);
	succeeded(r, 9, 1, 1000);
	failed(r, 3, 1, 1010);
	failed(r, 4, 1, 1010);
	assert_int_equal(p2p_retry_at_once(r, 1010), UINT_MAX);
	failed(r, 5, 1, 1010);
	assert_int_equal(p2p_retry_at_once(r, 1010), 0);
	assert_int_equal(p2p_retry_at_once(r, 1059), 0);
	/* then one at a time, and each that fails is a pause again */
	assert_int_equal(p2p_retry_at_once(r, 1060), 1);
	failed(r, 6, 1, 1060);
	assert_int_equal(p2p_retry_at_once(r, 1109), 0);
	assert_int_equal(p2p_retry_at_once(r, 1110), 1);
	assert_int_equal(p2p_retry_waiting(r), 6);
	assert_int_equal(take(r, 1050, 1), 0);
	/* what failed in that row did not do so by itself; what did before waits on */
	succeeded(r, 7, 1, 1070);
	assert_int_equal(p2p_retry_at_once(r, 1070), UINT_MAX);
	for (unsigned int n = 3; n <= 6; n++)
		assert_int_equal(take(r, 1070, 1), n);
	assert_int_equal(take(r, 1070, 1), 0);
	assert_int_equal(take(r, 1100, 1), 1);
	p2p_retry_free(r);
}

static void test_full(void **state)
{
	struct p2p_retry *r = retry_new();

	(void)state;
	for (uint8_t n = 1; n <= 8; n++) {
		assert_true(failed(r, n, 1, 1000));
		succeeded(r, 99, 1, 1000);
	}
	assert_int_equal(p2p_retry_at_once(r, 1000), UINT_MAX);
	assert_false(failed(r, 9, 1, 1000));
	assert_int_equal(p2p_retry_at_once(r, 1000), 0);
	assert_int_equal(p2p_retry_at_once(r, 1050), 1);
	/* one that is being tried gives its place away, and begins anew */
	assert_int_equal(take(r, 1100, 1), 1);
	assert_true(failed(r, 9, 1, 1100));
	assert_false(failed(r, 1, 1, 1100));
	assert_int_equal(p2p_retry_waiting(r), 8);
	p2p_retry_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_orders),
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
