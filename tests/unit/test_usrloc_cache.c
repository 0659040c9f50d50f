/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc's caches in shared memory: remote records, and what digests are checked by. */
#include "tests/unit/test_usrloc_fixture.h"

#include "tests/unit/alloc.h"

static void put(const char *key, unsigned int n, uint32_t ttl_ms)
{
	struct p2p_candidate_set set;
	unsigned int i;

	set.n = (uint8_t)n;
	for (i = 0; i < n; i++)
		usrloc_candidate(&set.c[i], i + 1, ttl_ms * (i + 1),
				 i % P2P_CANDIDATE_URIS_MAX + 1);
	assert_ok(pul_cache_put(pul_routes, key, strlen(key), &set));
}

static enum p2p_cache_state get(const char *key, struct p2p_candidate_set *set)
{
	return pul_cache_get(pul_routes, key, strlen(key), set);
}

static void test_cache_copies_all(void **state)
{
	struct p2p_candidate_set set;
	struct p2p_candidate want;
	unsigned int i, k;

	(void)state;
	assert_int_equal(get("a", &set), P2P_CACHE_MISS);
	put("a", P2P_CANDIDATES_MAX, 60000);
	assert_int_equal(get("a", &set), P2P_CACHE_FRESH);
	assert_int_equal(set.n, P2P_CANDIDATES_MAX);
	for (i = 0; i < set.n; i++) {
		usrloc_candidate(&want, i + 1, 60000 * (i + 1), i % P2P_CANDIDATE_URIS_MAX + 1);
		assert_int_equal(p2p_hit_cmp(&set.c[i].hit, &want.hit), 0);
		assert_int_equal(set.c[i].order, want.order);
		assert_int_equal(set.c[i].ttl_ms, want.ttl_ms);
		assert_int_equal(set.c[i].n_uris, want.n_uris);
		for (k = 0; k < want.n_uris; k++)
			assert_string_equal(set.c[i].uri[k], want.uri[k]);
		assert_int_equal(set.c[i].n_instances, want.n_instances);
		assert_memory_equal(set.c[i].instance, want.instance,
				    want.n_instances * sizeof(want.instance[0]));
	}
	/* one peer goes, in the middle */
	usrloc_candidate(&want, 3, 0, 1);
	assert_true(pul_cache_drop(pul_routes, "a", 1, &want.hit));
	assert_false(pul_cache_drop(pul_routes, "a", 1, &want.hit));
	assert_int_equal(get("a", &set), P2P_CACHE_FRESH);
	assert_int_equal(set.n, P2P_CANDIDATES_MAX - 1);
	assert_int_equal(set.c[2].order, 4);
	assert_string_equal(set.c[6].uri[3], "sip:192.0.2.8:5063");
	assert_true(pul_cache_drop(pul_routes, "a", 1, NULL));
	assert_int_equal(get("a", &set), P2P_CACHE_MISS);
}

static void test_cache_ages(void **state)
{
	struct p2p_candidate_set set;
	char key[P2P_NAME_MAX + 1];
	size_t len;

	(void)state;
	put("a", 2, 60000); /* one for 60 s, one for 120 s */
	fixture.now_ms += 29999;
	assert_int_equal(get("a", &set), P2P_CACHE_FRESH);
	assert_false(pul_cache_take_wanted(pul_routes, key, &len));
	fixture.now_ms += 1;
	assert_int_equal(get("a", &set), P2P_CACHE_STALE);
	assert_int_equal(set.n, 2);
	/* wanted once, and not again at once */
	assert_int_equal(get("a", &set), P2P_CACHE_STALE);
	assert_true(pul_cache_take_wanted(pul_routes, key, &len));
	assert_string_equal(key, "a");
	assert_int_equal(get("a", &set), P2P_CACHE_STALE);
	assert_false(pul_cache_take_wanted(pul_routes, key, &len));
	fixture.now_ms += 30000;
	assert_int_equal(get("a", &set), P2P_CACHE_STALE);
	assert_int_equal(set.n, 1);
	assert_int_equal(set.c[0].order, 2);
	assert_int_equal(set.c[0].ttl_ms, 60000);
	/* wanted and then gone: nothing is left on the list */
	pul_cache_drop(pul_routes, "a", 1, NULL);
	assert_false(pul_cache_take_wanted(pul_routes, key, &len));
	put("a", 1, 1000);
	fixture.now_ms += 1000;
	assert_int_equal(get("a", &set), P2P_CACHE_MISS);
	assert_int_equal(pul_cache_sweep(pul_routes), 1);
	/* what is put while nobody tells of changes is not fresh */
	put("b", 1, 60000);
	atomic_fetch_add(&fixture.shared.cache_gen, 1);
	assert_int_equal(get("b", &set), P2P_CACHE_STALE);
}

static void test_cache_while_the_gateway_is_away(void **state)
{
	struct p2p_candidate_set set;

	(void)state;
	put("early", 1, 1000);
	fixture.now_ms += 5000;
	put("late", 1, 60000);
	fixture.shared.gateway_up = 0;
	fixture.shared.gateway_changed_ms = fixture.now_ms;
	fixture.now_ms += 3599000;
	assert_int_equal(get("early", &set), P2P_CACHE_MISS); /* it was over before */
	assert_int_equal(get("late", &set), P2P_CACHE_STALE);
	assert_int_equal(set.n, 1);
	assert_int_equal(set.c[0].ttl_ms, 0);
	fixture.now_ms += 1000;
	assert_int_equal(get("late", &set), P2P_CACHE_MISS);
	fixture.now_ms -= 1000;
	fixture.shared.gateway_up = 1;
	assert_int_equal(get("late", &set), P2P_CACHE_MISS);
}

static void test_cache_is_bounded_and_forgets_the_unused(void **state)
{
	struct pul_cache_stats st;
	struct p2p_candidate_set set;
	char key[16];
	unsigned int i;

	(void)state;
	put("used", 1, 60000);
	for (i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		put(key, i % 3, 60000);
		assert_int_equal(get("used", &set), P2P_CACHE_FRESH);
	}
	pul_cache_stats(pul_routes, &st);
	assert_true(st.entries <= 640);
	assert_int_equal(st.evictions + st.entries, 5001);
	assert_int_equal(pul_cache_flush(pul_routes), st.entries);
	pul_cache_stats(pul_routes, &st);
	assert_int_equal(st.entries, 0);
	assert_int_equal(st.bytes, 0);
}

static int step_put(void *arg)
{
	struct p2p_candidate_set set;

	(void)arg;
	set.n = 1;
	usrloc_candidate(&set.c[0], 1, 60000, 2);
	return pul_cache_put(pul_routes, "x", 1, &set);
}

static void test_cache_failing_allocations(void **state)
{
	struct p2p_candidate_set set;

	(void)state;
	put("x", 2, 60000);
	alloc_fail_at(0);
	assert_int_equal(step_put(NULL), ENOMEM);
	alloc_fail_end();
	/* an old answer must not outlive a new one */
	assert_int_equal(get("x", &set), P2P_CACHE_MISS);
	alloc_loop(step_put, NULL, false);
	assert_int_equal(get("x", &set), P2P_CACHE_FRESH);
}

static void test_absence_is_not_cached_but_of_others(void **state)
{
	struct p2p_name alice = usrloc_name("alice");
	struct p2p_candidate_set set;
	struct pul_job job;

	(void)state;
	/* not ours: nothing known, whatever was put */
	assert_int_equal(pul_routes_get(&alice, &set), P2P_CACHE_MISS);
	put("alice", 0, 0);
	assert_int_equal(pul_routes_get(&alice, &set), P2P_CACHE_MISS);
	assert_int_equal(get("alice", &set), P2P_CACHE_MISS);

	/* ours, never asked: no other is assumed, and asked for */
	assert_ok(usrloc_add(&alice, "r", 0));
	job = usrloc_take();
	assert_false(job.ask);
	pul_users_done(&alice, PUL_JOB_PUBLISH, true, false);
	assert_int_equal(pul_routes_get(&alice, &set), P2P_CACHE_STALE);
	assert_int_equal(set.n, 0);
	job = usrloc_take();
	assert_true(job.ask);
	assert_int_equal(job.kind, PUL_JOB_NONE);
	put("alice", 0, 0);
	assert_int_equal(pul_routes_get(&alice, &set), P2P_CACHE_FRESH);
	assert_int_equal(set.n, 0);
	/* others are known, but their entry was evicted: ask */
	pul_users_set_others(&alice, true);
	pul_cache_drop(pul_routes, "alice", 5, NULL);
	assert_int_equal(pul_routes_get(&alice, &set), P2P_CACHE_MISS);
	/* gone: what was "no other" would be absence now */
	put("alice", 0, 0);
	usrloc_del(&alice, "r");
	assert_int_equal(pul_routes_get(&alice, &set), P2P_CACHE_MISS);
}

/* --- what digests are checked by --- */

static struct p2p_name auth_name(unsigned int i)
{
	struct p2p_name n;

	n.len = (size_t)snprintf(n.s, sizeof(n.s), "user%u", i);
	return n;
}

static void test_auth(void **state)
{
	struct p2p_auth in = {.enrolled = true, .digests = P2P_DIGEST_MD5, .realm = "r"}, out;
	struct p2p_name a = auth_name(1), b = auth_name(2), n;
	unsigned int i, found = 0;

	(void)state;
	in.ha1[0] = 7;
	assert_false(pul_auth_get(&a, &out));
	pul_auth_put(&a, &in, 10000);
	in.enrolled = false;
	pul_auth_put(&b, &in, UINT64_MAX); /* auth_cache_s at most */
	assert_true(pul_auth_get(&a, &out) && out.enrolled && out.ha1[0] == 7);
	assert_true(pul_auth_get(&b, &out) && !out.enrolled);
	assert_int_equal(pul_auth_count(), 2);
	fixture.now_ms += 10000;
	assert_false(pul_auth_get(&a, &out));
	assert_true(pul_auth_get(&b, &out));
	fixture.now_ms += 50000;
	assert_false(pul_auth_get(&b, &out));
	/* replaced, not doubled */
	pul_auth_put(&a, &in, 10000);
	in.ha1[0] = 8;
	pul_auth_put(&a, &in, 10000);
	assert_int_equal(pul_auth_count(), 1);
	assert_true(pul_auth_get(&a, &out) && out.ha1[0] == 8);
	pul_auth_drop(&a);
	assert_false(pul_auth_get(&a, &out));
	/* bounded, and those that last longest stay */
	for (i = 0; i < 1000; i++) {
		n = auth_name(i);
		pul_auth_put(&n, &in, 1000 + i);
		assert_true(pul_auth_get(&n, &out));
	}
	assert_true(pul_auth_count() <= 64);
	for (i = 0; i < 900; i++) {
		n = auth_name(i);
		found += pul_auth_get(&n, &out);
	}
	assert_true(found < 16);
	assert_true(pul_auth_flush() > 48);
	assert_int_equal(pul_auth_count(), 0);
	pul_settings.auth_cache_s = 0;
	pul_auth_put(&a, &in, 10000);
	assert_false(pul_auth_get(&a, &out));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, usrloc_setup, usrloc_teardown)
	const struct CMUnitTest tests[] = {
		T(test_cache_copies_all),
		T(test_cache_ages),
		T(test_cache_while_the_gateway_is_away),
		T(test_cache_is_bounded_and_forgets_the_unused),
		T(test_cache_failing_allocations),
		T(test_absence_is_not_cached_but_of_others),
		T(test_auth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
