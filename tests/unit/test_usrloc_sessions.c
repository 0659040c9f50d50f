/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc's sessions with other peers. */
#include "tests/unit/test_usrloc_fixture.h"

static struct p2p_session session_of(uint8_t id, uint8_t hit, uint32_t ttl_ms)
{
	struct p2p_session s;

	memset(&s, 0, sizeof(s));
	s.id.b[0] = id;
	s.hit.b[15] = hit;
	s.ttl_ms = ttl_ms;
	return s;
}

static const uint8_t *tail_of(const struct p2p_hit *hit)
{
	return hit->b + sizeof(hit->b) - P2P_HIT_TAIL_LEN;
}

static void test_sessions(void **state)
{
	struct p2p_session a = session_of(9, 1, 60000), b = session_of(3, 1, 90000), other, got;
	struct p2p_session_id id;
	unsigned int at = 0;
	uint32_t calls;

	(void)state;
	assert_int_equal(pul_sessions_by_hit(&a.hit, &got), -1);
	assert_int_equal(pul_sessions_by_id(&a.id, NULL), -1);
	assert_int_equal(pul_sessions_put(&a), 0);
	assert_int_equal(pul_sessions_by_hit(&a.hit, &got), 0);
	assert_int_equal(got.id.b[0], 9);
	fixture.now_ms += 1000;
	/* of two the lower id is sent with; both verify */
	assert_int_equal(pul_sessions_put(&b), 0);
	assert_int_equal(pul_sessions_by_hit(&a.hit, &got), 0);
	assert_int_equal(got.id.b[0], 3);
	assert_int_equal(pul_sessions_by_id(&a.id, &got), 0);
	assert_int_equal(got.ttl_ms, 59000);
	/* an id is one peer's */
	other = session_of(9, 2, 60000);
	assert_int_equal(pul_sessions_put(&other), EEXIST);
	assert_int_equal(pul_sessions_by_hit(&other.hit, NULL), -1);
	/* what is used is told once */
	pul_sessions_calls(&a.id, 7);
	assert_true(pul_sessions_take_report(&at, &id, &calls));
	assert_int_equal(id.b[0], 9);
	assert_int_equal(calls, 7);
	assert_false(pul_sessions_take_report(&at, &id, &calls));
	at = 0;
	assert_false(pul_sessions_take_report(&at, &id, &calls));
	/* closed: not sent with, verifies for 32 s */
	assert_true(pul_sessions_close(&b.id));
	assert_int_equal(pul_sessions_by_hit(&a.hit, &got), 0);
	assert_int_equal(got.id.b[0], 9);
	assert_int_equal(pul_sessions_by_tail(tail_of(&a.hit), &got), 0);
	assert_int_equal(got.id.b[0], 9);
	fixture.now_ms += 31999;
	assert_int_equal(pul_sessions_by_id(&b.id, NULL), 1);
	fixture.now_ms += 1;
	assert_int_equal(pul_sessions_by_id(&b.id, NULL), -1);
	assert_false(pul_sessions_close(&b.id));
	assert_int_equal(pul_sessions_count(), 1);
	/* its ttl is over; a renewal opens it again, its end is 32 s later otherwise */
	fixture.now_ms += 59000 - 32000;
	assert_int_equal(pul_sessions_by_hit(&a.hit, NULL), -1);
	assert_int_equal(pul_sessions_by_id(&a.id, NULL), 1);
	assert_int_equal(pul_sessions_put(&a), 0);
	assert_int_equal(pul_sessions_by_hit(&a.hit, NULL), 0);
	fixture.now_ms += 60000 + 32000;
	assert_int_equal(pul_sessions_by_id(&a.id, NULL), -1);
	assert_int_equal(pul_sessions_count(), 0);
}

/* Requests within dialogs take what there is; what is over goes without being asked for. */
static void test_sessions_in_dialogs(void **state)
{
	struct p2p_session a = session_of(9, 1, 60000), b = session_of(3, 1, 60000), got;

	(void)state;
	b.retiring = true;
	assert_int_equal(pul_sessions_put(&a), 0);
	assert_int_equal(pul_sessions_put(&b), 0);
	assert_int_equal(pul_sessions_by_tail(tail_of(&a.hit), &got), 0);
	assert_int_equal(got.id.b[0], 9);
	assert_true(pul_sessions_close(&a.id));
	assert_int_equal(pul_sessions_by_hit(&a.hit, &got), -1);
	assert_int_equal(pul_sessions_by_tail(tail_of(&a.hit), &got), 0);
	assert_int_equal(got.id.b[0], 3);
	assert_true(pul_sessions_close(&b.id));
	assert_int_equal(pul_sessions_by_tail(tail_of(&a.hit), &got), 0);
	assert_int_equal(got.id.b[0], 3);
	fixture.now_ms += 31999;
	pul_sessions_sweep();
	assert_int_equal(pul_sessions_count(), 2);
	fixture.now_ms += 1;
	assert_int_equal(pul_sessions_by_tail(tail_of(&a.hit), &got), -1);
	pul_sessions_sweep();
	assert_int_equal(pul_sessions_count(), 0);
}

static void test_sessions_are_bounded(void **state)
{
	struct p2p_session s;
	uint8_t i;

	(void)state;
	for (i = 1; i <= 200; i++) {
		s = session_of(i, i, 60000u + i);
		assert_int_equal(pul_sessions_put(&s), 0);
		if (i == 20) {
			s.id.b[0] = 20;
			assert_true(pul_sessions_close(&s.id));
		}
	}
	assert_int_equal(pul_sessions_count(), 16);
	assert_int_equal(fixture.counted[PUL_CNT_SESSIONS_EVICTED], 200 - 16 - 1);
	for (i = 185; i <= 200; i++) { /* those that end last are there */
		s = session_of(i, i, 0);
		assert_int_equal(pul_sessions_by_hit(&s.hit, NULL), 0);
	}
}

/* What the gateway is to be told and asked, once each. */
static void test_sessions_refused_and_rechecked(void **state)
{
	struct p2p_session a = session_of(9, 1, 60000), b = session_of(3, 1, 90000),
			   old = session_of(1, 1, 90000), got;
	struct pul_session_view view[2];
	struct p2p_session_id id;
	unsigned int at = 0;
	uint32_t calls;

	(void)state;
	assert_false(pul_sessions_waiting());
	assert_false(pul_sessions_refused(&a.id));
	old.retiring = true;
	assert_ok(pul_sessions_put(&a));
	assert_ok(pul_sessions_put(&b));
	assert_ok(pul_sessions_put(&old)); /* the lowest id, but for running calls only */
	assert_ok(pul_sessions_by_hit(&a.hit, &got));
	assert_memory_equal(&got.id, &b.id, sizeof(b.id));
	assert_ok(pul_sessions_by_id(&old.id, &got));

	assert_true(pul_sessions_refused(&b.id));
	assert_false(pul_sessions_refused(&b.id));
	assert_ok(pul_sessions_by_hit(&a.hit, &got));
	assert_memory_equal(&got.id, &a.id, sizeof(a.id));
	assert_ok(pul_sessions_put(&b)); /* an answer from before: it stays closed */
	assert_int_equal(pul_sessions_by_id(&b.id, NULL), 1);
	assert_true(pul_sessions_waiting());
	assert_true(pul_sessions_take_refused(&id));
	assert_memory_equal(&id, &b.id, sizeof(id));
	assert_false(pul_sessions_take_refused(&id));
	assert_false(pul_sessions_waiting());

	pul_sessions_calls(&a.id, 3);
	pul_sessions_calls(&a.id, -1);
	pul_sessions_calls(&a.id, 0);
	assert_true(pul_sessions_take_report(&at, &id, &calls));
	pul_sessions_recheck_all(); /* the gateway may have forgotten the calls too */
	at = 0;
	assert_true(pul_sessions_take_report(&at, &id, &calls));
	assert_int_equal(calls, 2);
	assert_false(pul_sessions_take_report(&at, &id, &calls));
	assert_true(pul_sessions_take_recheck(&id));
	assert_ok(pul_sessions_put(&a)); /* answered, or told anew: not asked again */
	assert_ok(pul_sessions_put(&old));
	assert_false(pul_sessions_take_recheck(&id));

	at = 0;
	assert_int_equal(pul_sessions_page(&at, view, 2), 2);
	assert_int_not_equal(at, 0);
	assert_memory_equal(view[0].s.key_in, "\0\0\0\0\0\0\0\0", 8);
	assert_int_equal(pul_sessions_page(&at, view, 2), 1);
	assert_int_equal(at, 0);

	pul_sessions_calls(&a.id, -9); /* never below none */
	at = 0;
	assert_true(pul_sessions_take_report(&at, &id, &calls));
	assert_int_equal(calls, 0);
	pul_sessions_heard(&a.id); /* known here */
	id = a.id;
	id.b[0] = 0x77;
	pul_sessions_heard(&id);
	id.b[0] = 0;
	assert_true(pul_sessions_take_recheck(&id));
	assert_int_equal(id.b[0], 0x77);
	assert_false(pul_sessions_take_recheck(&id));
	pul_sessions_want(&a.hit);
	pul_sessions_want(&a.hit);
	assert_true(pul_sessions_take_want(&got.hit));
	assert_memory_equal(&got.hit, &a.hit, sizeof(a.hit));
	assert_false(pul_sessions_take_want(&got.hit));

	pul_sessions_recheck_all();
	assert_true(pul_sessions_waiting());
	fixture.now_ms += 200000; /* all are over: nothing is left to be asked */
	assert_int_equal(pul_sessions_by_id(&a.id, NULL), -1);
	assert_int_equal(pul_sessions_by_id(&b.id, NULL), -1);
	assert_int_equal(pul_sessions_by_id(&old.id, NULL), -1);
	assert_false(pul_sessions_waiting());
}

static void test_a_cached_user_needs_the_session(void **state)
{
	struct p2p_session s = session_of(7, 4, 60000);
	struct p2p_candidate_set set = {.n = 1};
	struct p2p_name bob = {.len = 3, .s = "bob"};

	(void)state;
	set.c[0].hit = s.hit;
	set.c[0].ttl_ms = 600000;
	set.c[0].session = P2P_CANDIDATE_SESSION_OPEN;
	strcpy(set.c[0].why, "no answer");
	assert_ok(pul_sessions_put(&s));
	assert_ok(pul_cache_put(pul_routes, bob.s, bob.len, &set));
	assert_int_equal(pul_routes_get(&bob, &set), P2P_CACHE_FRESH);
	assert_int_equal(set.c[0].session, P2P_CANDIDATE_SESSION_OPEN);
	assert_true(pul_sessions_close(&s.id));
	assert_int_equal(pul_routes_get(&bob, &set), P2P_CACHE_MISS);
	set.n = 1;
	set.c[0].session = P2P_CANDIDATE_SESSION_UNREACHABLE;
	assert_ok(pul_cache_put(pul_routes, bob.s, bob.len, &set));
	assert_int_equal(pul_routes_get(&bob, &set), P2P_CACHE_MISS);
	assert_int_equal(pul_cache_get(pul_routes, bob.s, bob.len, &set), P2P_CACHE_FRESH);
	assert_string_equal(set.c[0].why, "no answer");
	set.c[0].session = P2P_CANDIDATE_SESSION_NONE; /* its gateway never had one */
	assert_ok(pul_cache_put(pul_routes, bob.s, bob.len, &set));
	assert_int_equal(pul_routes_get(&bob, &set), P2P_CACHE_FRESH);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, usrloc_setup, usrloc_teardown)
	const struct CMUnitTest tests[] = {
		T(test_sessions),
		T(test_sessions_in_dialogs),
		T(test_sessions_are_bounded),
		T(test_sessions_refused_and_rechecked),
		T(test_a_cached_user_needs_the_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
