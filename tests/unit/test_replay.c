/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Authenticators that were seen already. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>
#include "lib/base/bytes.h"
#include "lib/model/replay.h"

#define NOW 1795740000000u
#define WINDOW P2P_REPLAY_WINDOW_MS

static struct p2p_replay_set sets[64];

/* n sets, all empty */
static struct p2p_replay memory(uint32_t n)
{
	memset(sets, 0, sizeof(sets));
	return (struct p2p_replay){.mask = n - 1, .set = sets};
}

/* The i-th authenticator; those of the same `set` meet in one. */
static const uint8_t *mac(uint32_t set, uint64_t i)
{
	static uint8_t m[32];

	p2p_put_be64(m, i + 1);
	p2p_put_be32(m + 8, set);
	return m;
}

static void good_once(void **state)
{
	struct p2p_replay r = memory(4);

	(void)state;
	assert_int_equal(p2p_replay_check(&r, mac(1, 1), NOW, NOW), P2P_REPLAY_NEW);
	assert_int_equal(p2p_replay_check(&r, mac(1, 1), NOW, NOW), P2P_REPLAY_SEEN);
	assert_int_equal(p2p_replay_check(&r, mac(1, 2), NOW, NOW), P2P_REPLAY_NEW);
	assert_int_equal(p2p_replay_check(&r, mac(2, 1), NOW, NOW), P2P_REPLAY_NEW);
	assert_int_equal(p2p_replay_check(&r, mac(1, 1), NOW, NOW + WINDOW), P2P_REPLAY_SEEN);
	assert_int_equal(p2p_replay_check(&r, mac(1, 1), NOW, NOW + WINDOW + 1), P2P_REPLAY_OLD);
}

static void time_stamps(void **state)
{
	struct p2p_replay r = memory(1);

	(void)state;
	assert_int_equal(p2p_replay_check(&r, mac(0, 1), NOW - WINDOW - 1, NOW), P2P_REPLAY_OLD);
	assert_int_equal(p2p_replay_check(&r, mac(0, 1), NOW + WINDOW + 1, NOW), P2P_REPLAY_OLD);
	assert_int_equal(p2p_replay_check(&r, mac(0, 1), 0, NOW), P2P_REPLAY_OLD);
	assert_int_equal(p2p_replay_check(&r, mac(0, 1), UINT64_MAX, NOW), P2P_REPLAY_OLD);
	assert_int_equal(p2p_replay_check(&r, mac(0, 1), NOW - WINDOW, NOW), P2P_REPLAY_NEW);
	assert_int_equal(p2p_replay_check(&r, mac(0, 2), NOW + WINDOW, NOW), P2P_REPLAY_NEW);
	/* one from a clock that is ahead is remembered until its time stamp is too old */
	assert_int_equal(p2p_replay_check(&r, mac(0, 2), NOW + WINDOW, NOW + 2 * WINDOW),
			 P2P_REPLAY_SEEN);
}

/* More than there is room for: fewer are taken, and none twice. */
static void full(void **state)
{
	struct p2p_replay r = memory(1);
	unsigned int i;

	(void)state;
	for (i = 0; i < 100; i++)
		assert_int_equal(p2p_replay_check(&r, mac(0, i), NOW + i, NOW), P2P_REPLAY_NEW);
	for (i = 0; i < 100; i++)
		assert_int_not_equal(p2p_replay_check(&r, mac(0, i), NOW + i, NOW), P2P_REPLAY_NEW);
	/* not seen, but it cannot be told any more */
	assert_int_equal(p2p_replay_check(&r, mac(0, 1000), NOW + 5, NOW), P2P_REPLAY_OLD);
	assert_int_equal(p2p_replay_check(&r, mac(0, 1001), NOW + 100, NOW), P2P_REPLAY_NEW);
}

static void those_that_are_over_make_room(void **state)
{
	struct p2p_replay r = memory(1);
	uint64_t now = NOW;
	unsigned int i;

	(void)state;
	for (i = 0; i < 50; i++) {
		assert_int_equal(p2p_replay_check(&r, mac(0, i), now, now), P2P_REPLAY_NEW);
		now += WINDOW / P2P_REPLAY_WAYS + 1;
	}
	assert_int_equal(r.set[0].floor_ms, 0); /* there was room for all of them */
}

/* Against a memory without bounds: whatever order they come in, none is taken twice. */
static void never_twice(void **state)
{
	enum { N = 3000 };
	struct p2p_replay r = memory(64);
	static uint8_t taken[N];
	uint64_t now = NOW;
	unsigned int i, n, got = 0;

	(void)state;
	srandom(7);
	for (n = 0; n < 200000; n++) {
		i = (unsigned int)random() % N;
		now += (unsigned int)random() % 5;
		if (p2p_replay_check(&r, mac(i * 2654435761u, i), NOW + i * 100, now) !=
		    P2P_REPLAY_NEW)
			continue;
		assert_int_equal(taken[i], 0);
		taken[i] = 1;
		got++;
	}
	assert_true(got > 100);
}

static void sizes(void **state)
{
	(void)state;
	assert_int_equal(p2p_replay_sets(1), 1);
	assert_int_equal(p2p_replay_sets(8), 1);
	assert_int_equal(p2p_replay_sets(9), 2);
	assert_int_equal(p2p_replay_sets(131072), 16384);
	assert_int_equal(p2p_replay_sets(UINT32_MAX), 1u << 24);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_once),   cmocka_unit_test(time_stamps),
		cmocka_unit_test(full),	       cmocka_unit_test(those_that_are_over_make_room),
		cmocka_unit_test(never_twice), cmocka_unit_test(sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
