/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A gateway's table of sessions, walked through its states with a clock of the test's own. */
#include "tests/unit/test.h"

#include <string.h>
#include "lib/model/sessions.h"

#define T0 1000000ull
#define LIFE 600000u
#define LINGER 120000u
#define SEEN 240000u

/* For so long, with a gateway's process of that number. */
static const struct p2p_sessions_terms *terms(uint32_t lifetime_ms, uint64_t instance)
{
	static struct p2p_sessions_terms t;

	t = (struct p2p_sessions_terms){.lifetime_ms = lifetime_ms, .instance = instance};
	return &t;
}

static struct p2p_hit hit(uint8_t n)
{
	struct p2p_hit h = {{0x20, 0x01, 0x00, 0x22, [15] = n}};

	return h;
}

static struct p2p_session session(uint8_t id, uint8_t peer)
{
	struct p2p_session s = {.id = {{id, [15] = 1}},
				.hit = hit(peer),
				.signalling = P2P_SIGNALLING_UDP,
				.media = P2P_MEDIA_RTP,
				.family = 4};

	memset(s.key_out, id, sizeof(s.key_out));
	return s;
}

static struct p2p_sessions *table(size_t max, size_t seen_max)
{
	struct p2p_sessions_config config = {
		.max = max, .seen_max = seen_max, .linger_ms = LINGER, .seen_ms = SEEN};
	struct p2p_sessions *t;

	assert_ok(p2p_sessions_new(&t, &config));
	return t;
}

/* Opened by this side at `now`. */
static struct p2p_session opened(struct p2p_sessions *t, uint8_t id, uint8_t peer, uint64_t now)
{
	struct p2p_session s = session(id, peer);

	assert_ok(p2p_sessions_begin(t, &s.id, &s.hit, now));
	assert_ok(p2p_sessions_opened(t, &s, terms(LIFE, 7), now, now));
	return s;
}

static void due_is(struct p2p_sessions *t, uint64_t now, const struct p2p_session *s,
		   enum p2p_sessions_action action)
{
	enum p2p_sessions_action got;
	struct p2p_session_id id;

	assert_ok(p2p_sessions_next(t, now, &id, &got));
	assert_memory_equal(&id, &s->id, sizeof(id));
	assert_int_equal(got, action);
}

static void nothing_due(struct p2p_sessions *t, uint64_t now)
{
	enum p2p_sessions_action action;
	struct p2p_session_id id;

	assert_int_equal(p2p_sessions_next(t, now, &id, &action), ENOENT);
}

static void test_opening(void **state)
{
	struct p2p_sessions *t = table(4, 16);
	struct p2p_session s = session(1, 1), other = session(2, 1);
	const struct p2p_sessions_entry *e;

	(void)state;
	assert_ok(p2p_sessions_begin(t, &s.id, &s.hit, T0));
	assert_int_equal(p2p_sessions_begin(t, &s.id, &s.hit, T0), EEXIST);
	e = p2p_sessions_find(t, &s.id);
	assert_int_equal(e->state, P2P_SESSION_OPENING);
	assert_false(p2p_sessions_usable(e, T0));
	assert_null(p2p_sessions_best(t, &s.hit, T0));
	assert_int_equal(p2p_sessions_used(t, &s.id, 1, T0), ENOENT);
	nothing_due(t, T0 + 10 * LIFE); /* whoever asks for it has the deadline */
	assert_true(p2p_sessions_due(t) == UINT64_MAX);
	assert_int_equal(p2p_sessions_opened(t, &other, terms(LIFE, 7), T0, T0), ENOENT);
	assert_ok(p2p_sessions_opened(t, &s, terms(LIFE, 7), T0, T0 + 50));
	assert_int_equal(p2p_sessions_opened(t, &s, terms(LIFE, 7), T0, T0 + 60), ENOENT);
	assert_ptr_equal(p2p_sessions_best(t, &s.hit, T0 + 60), e);
	assert_true(e->s.initiator && e->expires_ms == T0 + LIFE);
	assert_memory_equal(e->s.key_out, s.key_out, sizeof(s.key_out));
	/* one that failed */
	assert_ok(p2p_sessions_begin(t, &other.id, &other.hit, T0));
	assert_ok(p2p_sessions_remove(t, &other.id));
	assert_int_equal(p2p_sessions_remove(t, &other.id), ENOENT);
	assert_int_equal(p2p_sessions_count(t), 1);
	p2p_sessions_free(t);
}

static void test_linger(void **state)
{
	struct p2p_sessions *t = table(4, 16);
	struct p2p_session s = opened(t, 1, 1, T0);

	(void)state;
	assert_true(p2p_sessions_due(t) == T0 + LINGER);
	nothing_due(t, T0 + LINGER - 1);
	assert_ok(p2p_sessions_touch(t, &s.id, T0 + 100000));
	nothing_due(t, T0 + LINGER);
	due_is(t, T0 + 100000 + LINGER, &s, P2P_SESSIONS_CLOSE);
	/* nobody sends with it any more; what comes is still good */
	assert_null(p2p_sessions_best(t, &s.hit, T0 + 100000 + LINGER));
	assert_true(p2p_sessions_usable(p2p_sessions_find(t, &s.id), T0 + 100000 + LINGER));
	nothing_due(t, T0 + 100000 + LINGER + 1000);
	/* the other side counts calls: it stays, and lingers anew */
	assert_ok(p2p_sessions_stays(t, &s.id, true, T0 + 230000));
	assert_non_null(p2p_sessions_best(t, &s.hit, T0 + 230000));
	nothing_due(t, T0 + 230000 + P2P_SESSIONS_RETRY_MS);
	due_is(t, T0 + LIFE / 2, &s, P2P_SESSIONS_RENEW);
	p2p_sessions_free(t);
}

static void test_renewal(void **state)
{
	struct p2p_sessions *t = table(4, 16);
	struct p2p_session s = opened(t, 1, 1, T0);
	uint64_t half = T0 + LIFE / 2;

	(void)state;
	assert_ok(p2p_sessions_used(t, &s.id, 3, T0 + 10));
	nothing_due(t, half - 1); /* calls run: no lingering */
	due_is(t, half, &s, P2P_SESSIONS_RENEW);
	nothing_due(t, half + 1); /* it is being asked */
	assert_non_null(p2p_sessions_best(t, &s.hit, half));
	/* it failed: again, not at once, and not for ever */
	assert_ok(p2p_sessions_stays(t, &s.id, false, half + 300));
	nothing_due(t, half + 300 + P2P_SESSIONS_RETRY_MS - 1);
	assert_ok(p2p_sessions_touch(t, &s.id, half + 400)); /* does not shorten the pause */
	nothing_due(t, half + 300 + P2P_SESSIONS_RETRY_MS - 1);
	due_is(t, half + 300 + P2P_SESSIONS_RETRY_MS, &s, P2P_SESSIONS_RENEW);
	assert_ok(p2p_sessions_renewed(t, &s.id, LIFE, half + 6000, half + 6100));
	assert_true(p2p_sessions_find(t, &s.id)->expires_ms == half + 6000 + LIFE);
	due_is(t, half + 6000 + LIFE / 2, &s, P2P_SESSIONS_RENEW);
	/* the answer never comes: it ends by itself */
	nothing_due(t, half + 6000 + LIFE - 1);
	due_is(t, half + 6000 + LIFE, &s, P2P_SESSIONS_EXPIRED);
	assert_int_equal(p2p_sessions_renewed(t, &s.id, LIFE, half, half + 6000 + LIFE), ENOENT);
	assert_null(p2p_sessions_best(t, &s.hit, half + 6000 + LIFE));
	assert_ok(p2p_sessions_remove(t, &s.id));
	nothing_due(t, UINT64_MAX - 1);
	p2p_sessions_free(t);
}

/* The side that accepted neither renews nor closes; a dead initiator's sessions end in time. */
static void test_responder(void **state)
{
	struct p2p_sessions *t = table(4, 16);
	struct p2p_session s = session(1, 1);

	(void)state;
	assert_ok(p2p_sessions_accept(t, &s, terms(LIFE, 7), T0));
	assert_false(p2p_sessions_find(t, &s.id)->s.initiator);
	assert_ok(p2p_sessions_used(t, &s.id, 1, T0 + 10));
	nothing_due(t, T0 + LIFE - 1);
	assert_ok(p2p_sessions_renewed(t, &s.id, LIFE, T0 + 300000, T0 + 300000));
	nothing_due(t, T0 + LIFE);
	due_is(t, T0 + 300000 + LIFE, &s, P2P_SESSIONS_EXPIRED);
	p2p_sessions_free(t);
}

static void test_replay(void **state)
{
	struct p2p_sessions *t = table(8, 16);
	struct p2p_session s = session(1, 1), thief = session(1, 2);

	(void)state;
	assert_ok(p2p_sessions_accept(t, &s, terms(LIFE, 7), T0));
	assert_int_equal(p2p_sessions_accept(t, &s, terms(LIFE, 7), T0 + 1), EALREADY);
	assert_int_equal(p2p_sessions_accept(t, &thief, terms(LIFE, 7), T0 + 1), EALREADY);
	/* also when it was closed meanwhile */
	assert_ok(p2p_sessions_remove(t, &s.id));
	assert_int_equal(p2p_sessions_accept(t, &s, terms(LIFE, 7), T0 + SEEN - 1), EALREADY);
	assert_int_equal(p2p_sessions_begin(t, &s.id, &s.hit, T0 + SEEN - 1), EEXIST);
	assert_int_equal(p2p_sessions_count(t), 0);
	assert_ok(p2p_sessions_accept(t, &s, terms(LIFE, 7), T0 + SEEN));
	p2p_sessions_free(t);
}

static void test_bounds(void **state)
{
	struct p2p_sessions *t = table(10, 80);
	struct p2p_session s;

	(void)state;
	for (uint8_t i = 1; i <= P2P_SESSIONS_PER_PEER; i++) {
		s = session(i, 1);
		assert_ok(p2p_sessions_accept(t, &s, terms(LIFE, 7), T0));
	}
	s = session(50, 1);
	assert_int_equal(p2p_sessions_accept(t, &s, terms(LIFE, 7), T0), ENOSPC);
	assert_int_equal(p2p_sessions_begin(t, &s.id, &s.hit, T0), ENOSPC);
	/* others have room as long as the table has */
	opened(t, 60, 2, T0);
	opened(t, 61, 3, T0);
	s = session(62, 4);
	assert_int_equal(p2p_sessions_begin(t, &s.id, &s.hit, T0), ENOSPC);
	for (uint8_t i = 1; i <= P2P_SESSIONS_PER_PEER; i++) {
		s = session(i, 1);
		assert_ok(p2p_sessions_remove(t, &s.id));
	}
	/* one that opens and closes all the time is held up, and nobody else with it */
	for (uint8_t i = P2P_SESSIONS_PER_PEER + 1; i <= P2P_SESSIONS_OPENED_MAX; i++) {
		s = session(i + 100, 1);
		assert_ok(p2p_sessions_accept(t, &s, terms(LIFE, 7), T0));
		assert_ok(p2p_sessions_remove(t, &s.id));
	}
	s = session(250, 1);
	assert_int_equal(p2p_sessions_accept(t, &s, terms(LIFE, 7), T0), ENOSPC);
	s = session(251, 5);
	assert_ok(p2p_sessions_accept(t, &s, terms(LIFE, 7), T0));
	s = session(250, 1);
	assert_ok(p2p_sessions_accept(t, &s, terms(LIFE, 7), T0 + SEEN));
	p2p_sessions_free(t);
}

/* Both open one at once: both sides send with the same. */
static void test_both_open(void **state)
{
	struct p2p_sessions *here = table(4, 16), *there = table(4, 16);
	struct p2p_hit a = hit(1), b = hit(2);
	struct p2p_session s;

	(void)state;
	opened(here, 9, 2, T0);
	s = session(9, 1);
	assert_ok(p2p_sessions_accept(there, &s, terms(LIFE, 7), T0));
	opened(there, 5, 1, T0);
	s = session(5, 2);
	assert_ok(p2p_sessions_accept(here, &s, terms(LIFE, 7), T0));
	assert_int_equal(p2p_sessions_best(here, &b, T0)->s.id.b[0], 5);
	assert_int_equal(p2p_sessions_best(there, &a, T0)->s.id.b[0], 5);
	assert_non_null(p2p_sessions_of(here, &b, 1));
	assert_null(p2p_sessions_of(here, &b, 2));
	/* one of changed policy is not used for anything new, and closed when it is idle */
	assert_ok(p2p_sessions_retire(here, &s.id, true, T0));
	assert_int_equal(p2p_sessions_retire(here, &s.id, true, T0), EALREADY);
	assert_int_equal(p2p_sessions_best(here, &b, T0)->s.id.b[0], 9);
	p2p_sessions_free(here);
	p2p_sessions_free(there);
}

static void test_retired(void **state)
{
	struct p2p_sessions *t = table(4, 16);
	struct p2p_session s = session(1, 1);

	(void)state;
	assert_ok(p2p_sessions_accept(t, &s, terms(LIFE, 7), T0));
	assert_ok(p2p_sessions_used(t, &s.id, 1, T0));
	assert_ok(p2p_sessions_retire(t, &s.id, true, T0));
	nothing_due(t, T0 + LINGER); /* a call runs */
	assert_null(p2p_sessions_best(t, &s.hit, T0));
	assert_int_equal(p2p_sessions_retire(t, &s.id, true, T0), EALREADY);
	/* the last one ends: at once, without lingering */
	assert_ok(p2p_sessions_used(t, &s.id, 0, T0 + 200000));
	due_is(t, T0 + 200000, &s, P2P_SESSIONS_CLOSE);
	/* the other side counts some: asked again, until it counts none */
	assert_ok(p2p_sessions_stays(t, &s.id, true, T0 + 200050));
	assert_ok(p2p_sessions_their_calls(t, &s.id, 1));
	nothing_due(t, T0 + 500000);
	assert_ok(p2p_sessions_their_calls(t, &s.id, 0));
	due_is(t, T0 + 500000, &s, P2P_SESSIONS_CLOSE);
	assert_ok(p2p_sessions_remove(t, &s.id));
	/* with no call over it, it has no use left */
	s = opened(t, 2, 1, T0);
	assert_ok(p2p_sessions_retire(t, &s.id, true, T0 + 1));
	due_is(t, T0 + 1, &s, P2P_SESSIONS_CLOSE);
	assert_ok(p2p_sessions_remove(t, &s.id));
	/* with one, who opened it says so at once, unless it was told so */
	s = opened(t, 3, 1, T0);
	assert_ok(p2p_sessions_used(t, &s.id, 1, T0));
	assert_ok(p2p_sessions_retire(t, &s.id, true, T0 + 1));
	due_is(t, T0 + 1, &s, P2P_SESSIONS_RENEW);
	assert_ok(p2p_sessions_remove(t, &s.id));
	s = opened(t, 4, 1, T0);
	assert_ok(p2p_sessions_used(t, &s.id, 1, T0));
	assert_ok(p2p_sessions_retire(t, &s.id, false, T0 + 1));
	nothing_due(t, T0 + 1);
	p2p_sessions_free(t);
}

static void count_h(const struct p2p_sessions_entry *e, void *arg)
{
	unsigned int *seen = arg;

	seen[e->s.id.b[0]]++;
}

static void test_scan(void **state)
{
	struct p2p_sessions *t = table(40, 64);
	unsigned int seen[256] = {0};
	uint64_t cursor = 0;

	(void)state;
	for (uint8_t i = 1; i <= 33; i++)
		opened(t, i, i, T0);
	do {
		p2p_sessions_scan(t, &cursor, 10, count_h, seen);
	} while (cursor);
	for (uint8_t i = 1; i <= 33; i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(p2p_sessions_count(t), 33);
	p2p_sessions_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opening),	  cmocka_unit_test(test_linger),
		cmocka_unit_test(test_renewal),	  cmocka_unit_test(test_responder),
		cmocka_unit_test(test_replay),	  cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_both_open), cmocka_unit_test(test_retired),
		cmocka_unit_test(test_scan),
	};

	return cmocka_run_group_tests_name("sessions", tests, NULL, NULL);
}
