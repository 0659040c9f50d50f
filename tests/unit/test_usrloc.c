/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc's tables in shared memory, without Kamailio: tests/mock/kamailio stands in for it, and
 * watches that nothing is called with a lock held. */
#include "tests/unit/test.h"

#include <pthread.h>

#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_sync.h"
#include "tests/unit/alloc.h"

#define NAMES 40
#define CONTACTS 3

_Thread_local int mock_locks_held;
static struct pul_shared shared;
struct pul_shared *pul_shared = &shared;
struct p2p_hash_key pul_hash_key;
struct pul_settings pul_settings;
static atomic_int wakes;
static unsigned int counted[PUL_CNT_N];
static uint64_t now_ms;

void pul_count(enum pul_counter c)
{
	counted[c]++;
}

void pul_wake_soon(void)
{
	mock_lock_none_held();
	atomic_fetch_add(&wakes, 1);
}

uint64_t pul_now_ms(void)
{
	return now_ms;
}

static str location = str_init("location");

static struct p2p_name name_of(const char *text)
{
	struct p2p_name name;

	name.len = strlen(text);
	strcpy(name.s, text);
	return name;
}

static struct p2p_name name_nr(unsigned int i)
{
	struct p2p_name name;

	name.len = (size_t)snprintf(name.s, sizeof(name.s), "user%u", i);
	return name;
}

static int add(const struct p2p_name *name, const char *ruid, uint32_t instance)
{
	str aor = {(char *)(uintptr_t)name->s, (int)name->len};
	str r = {(char *)(uintptr_t)ruid, (int)strlen(ruid)};

	return pul_users_add(name, &location, &aor, &r, instance);
}

static void del(const struct p2p_name *name, const char *ruid)
{
	str r = {(char *)(uintptr_t)ruid, (int)strlen(ruid)};

	pul_users_remove(name, &r);
}

static int setup(void **state)
{
	(void)state;
	memset(&shared, 0, sizeof(shared));
	memset(counted, 0, sizeof(counted));
	now_ms = 1000000;
	pul_settings.cache_fresh_ms = 30000;
	pul_settings.cache_max_s = 3600;
	pul_settings.withdrawn_max = 1000;
	shared.gateway_up = 1;
	if (pul_users_init(6) != 0)
		return -1;
	pul_settings.auth_cache_s = 60;
	if (pul_cache_new(&pul_routes, 640) != 0 || pul_sessions_init(16) != 0 ||
	    pul_auth_init(64) != 0)
		return -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pul_users_destroy();
	pul_cache_free(pul_routes);
	pul_routes = NULL;
	pul_sessions_destroy();
	pul_auth_destroy();
	return 0;
}

/* --- users --- */

static struct pul_cursor cursor;

static struct pul_job take(void)
{
	struct pul_job job;

	assert_true(pul_users_take(&cursor, &job));
	return job;
}

static void nothing_to_do(void)
{
	struct pul_job job;

	assert_false(pul_users_take(&cursor, &job));
	assert_false(pul_users_work());
}

static void test_life(void **state)
{
	struct p2p_name alice = name_of("alice");
	struct pul_job job;
	int woken;

	(void)state;
	nothing_to_do();
	assert_ok(add(&alice, "r1", 7));
	job = take();
	assert_int_equal(job.kind, PUL_JOB_PUBLISH);
	assert_string_equal(job.name.s, "alice");
	assert_int_equal(job.n_instances, 1);
	assert_int_equal(job.instance[0], 7);
	nothing_to_do();
	pul_users_done(&alice, PUL_JOB_PUBLISH, true, false);
	nothing_to_do();

	/* confirmed, for as long as it is the same */
	assert_false(pul_users_confirmed(&alice));
	assert_true(pul_users_confirm(&alice));
	assert_true(pul_users_confirmed(&alice));
	assert_int_equal(pul_users_progress(&alice), PUL_USERS_TOLD);

	/* a refresh wakes nobody and changes nothing */
	woken = atomic_load(&wakes);
	assert_ok(add(&alice, "r1", 7));
	assert_int_equal(atomic_load(&wakes), woken);
	nothing_to_do();

	/* a contact without a new instance is no news */
	assert_ok(add(&alice, "r2", 7));
	assert_ok(add(&alice, "r3", 0));
	assert_true(pul_users_confirmed(&alice));
	nothing_to_do();
	assert_ok(add(&alice, "r4", 3));
	assert_false(pul_users_confirmed(&alice));
	assert_int_equal(pul_users_progress(&alice), PUL_USERS_PENDING);
	job = take();
	assert_int_equal(job.kind, PUL_JOB_PUBLISH);
	assert_int_equal(job.n_instances, 2);
	assert_int_equal(job.instance[0], 3); /* in ascending order */
	/* not before the gateway has said that it took it */
	assert_false(pul_users_confirm(&alice));
	/* what changes on the way is told afterwards */
	del(&alice, "r4");
	nothing_to_do();
	pul_users_done(&alice, PUL_JOB_PUBLISH, true, false);
	job = take();
	assert_int_equal(job.n_instances, 1);
	pul_users_done(&alice, PUL_JOB_PUBLISH, true, false);

	/* the embedded contact goes first, then the others, then the user */
	del(&alice, "r1");
	del(&alice, "none");
	del(&alice, "r3");
	nothing_to_do();
	del(&alice, "r2");
	assert_false(pul_users_serves(&alice, NULL));
	job = take();
	assert_int_equal(job.kind, PUL_JOB_WITHDRAW);
	assert_false(pul_users_confirmed(&alice));
	/* who comes back on the way out is published again */
	assert_ok(add(&alice, "r5", 7));
	assert_int_equal(pul_users_progress(&alice), PUL_USERS_PENDING);
	pul_users_done(&alice, PUL_JOB_WITHDRAW, true, false);
	job = take();
	assert_int_equal(job.kind, PUL_JOB_PUBLISH);
	pul_users_done(&alice, PUL_JOB_PUBLISH, true, false);
	del(&alice, "r5");
	take();
	pul_users_done(&alice, PUL_JOB_WITHDRAW, true, false);
	assert_int_equal(shared.users, 0);
	assert_int_equal(shared.withdrawn, 0);
	assert_int_equal(shared.contacts, 0);
	nothing_to_do();
}

static void test_retry_and_refusal(void **state)
{
	struct p2p_name alice = name_of("alice"), bob = name_of("bob");
	struct pul_job job;

	(void)state;
	assert_ok(add(&alice, "r", 0));
	take();
	pul_users_done(&alice, PUL_JOB_PUBLISH, false, true);
	job = take();
	assert_int_equal(job.kind, PUL_JOB_PUBLISH);
	pul_users_done(&alice, PUL_JOB_PUBLISH, false, false);
	nothing_to_do(); /* refused for good */
	/* all again, what is on its way too */
	assert_ok(add(&bob, "r", 0));
	take();
	pul_users_mark_all();
	job = take();
	assert_string_equal(job.name.s, "alice");
	pul_users_done(&alice, PUL_JOB_PUBLISH, true, false);
	nothing_to_do();
	pul_users_done(&bob, PUL_JOB_PUBLISH, true, false);
	job = take();
	assert_string_equal(job.name.s, "bob");
	pul_users_done(&bob, PUL_JOB_PUBLISH, true, false);
	pul_users_done(&bob, PUL_JOB_PUBLISH, true, false); /* a second report changes nothing */
	nothing_to_do();
	assert_true(pul_users_serves(&bob, NULL));
}

static void test_withdrawn_are_bounded(void **state)
{
	struct p2p_name name;
	unsigned int i;

	(void)state;
	pul_settings.withdrawn_max = 10;
	for (i = 0; i < 100; i++) {
		name = name_nr(i);
		assert_ok(add(&name, "r", i));
		del(&name, "r");
	}
	assert_int_equal(shared.withdrawn, 10);
	assert_int_equal(shared.withdrawals_left, 90);
	for (i = 0; i < 10; i++)
		assert_int_equal(take().kind, PUL_JOB_WITHDRAW);
	nothing_to_do();
}

static void test_round_ends(void **state)
{
	struct pul_job window[8], job;
	struct p2p_name name;
	unsigned int i, published = 0;

	(void)state;
	for (i = 0; i < NAMES; i++) {
		name = name_nr(i);
		assert_ok(add(&name, "r", 0));
	}
	cursor.bucket = 17; /* wherever it was */
	cursor.left = pul_users_buckets();
	while (cursor.left > 0 && pul_users_take(&cursor, &job)) {
		/* a gateway that takes nobody must not keep the round from ending */
		if (published >= 8)
			pul_users_done(&window[published % 8].name, PUL_JOB_PUBLISH, false, true);
		window[published++ % 8] = job;
		assert_true(published < 1000);
	}
	assert_true(published >= NAMES);
}

static void test_aors(void **state)
{
	struct p2p_name alice = name_of("alice");
	static str other = str_init("other");
	char table_buf[16], aor_buf[32];
	str table, aor, a1 = str_init("alice@one.example"), a2 = str_init("alice"),
			r1 = str_init("1"), r2 = str_init("2"), r3 = str_init("3");

	(void)state;
	assert_ok(pul_users_add(&alice, &location, &a1, &r1, 0));
	assert_ok(pul_users_add(&alice, &location, &a1, &r2, 0));
	assert_ok(pul_users_add(&alice, &other, &a2, &r3, 0));
	table = (str){table_buf, sizeof(table_buf)};
	aor = (str){aor_buf, sizeof(aor_buf)};
	assert_int_equal(pul_users_aor(&alice, 0, &table, &aor), 1);
	assert_memory_equal(table.s, "other", 5);
	assert_int_equal(aor.len, 5);
	table = (str){table_buf, sizeof(table_buf)};
	aor = (str){aor_buf, sizeof(aor_buf)};
	assert_int_equal(pul_users_aor(&alice, 1, &table, &aor), 1);
	assert_int_equal(aor.len, a1.len);
	assert_memory_equal(aor.s, a1.s, a1.len);
	table = (str){table_buf, sizeof(table_buf)};
	aor = (str){aor_buf, sizeof(aor_buf)};
	assert_int_equal(pul_users_aor(&alice, 2, &table, &aor), 0);
	aor.len = 3; /* too small for it */
	assert_int_equal(pul_users_aor(&alice, 0, &table, &aor), 0);
}

static void test_sweep(void **state)
{
	struct p2p_name name;
	unsigned int i;

	(void)state;
	for (i = 0; i < NAMES; i++) {
		name = name_nr(i);
		assert_ok(add(&name, "a", 1));
		assert_ok(add(&name, "b", 2));
	}
	atomic_store(&shared.scan_gen, 1);
	for (i = 0; i < NAMES; i++) {
		name = name_nr(i);
		if (i % 2 == 0)
			assert_ok(add(&name, "a", 1)); /* the scan saw it */
	}
	assert_int_equal(pul_users_sweep(1), NAMES + NAMES / 2);
	assert_int_equal(shared.users, NAMES / 2);
	assert_int_equal(shared.contacts, NAMES / 2);
	assert_int_equal(pul_users_sweep(1), 0);
}

static int step_add(void *arg)
{
	struct p2p_name name = name_of("alice");
	int err;

	(void)arg;
	err = add(&name, "r1", 1);
	if (err == 0)
		err = add(&name, "r2", 2);
	del(&name, "r1");
	del(&name, "r2");
	return err;
}

static void test_failing_allocations(void **state)
{
	struct p2p_name alice = name_of("alice");
	struct pul_job job;

	(void)state;
	alloc_loop(step_add, NULL, false);
	assert_false(pul_users_serves(&alice, NULL));
	while (pul_users_take(&cursor, &job))
		pul_users_done(&job.name, job.kind, true, false);
	assert_int_equal(shared.contacts, 0);
	assert_int_equal(shared.withdrawn, 0);
}

static void test_pages(void **state)
{
	struct pul_user_view view[7];
	bool seen[NAMES] = {false};
	struct p2p_name name;
	uint64_t position = 0;
	unsigned int i, n, nr, total = 0;

	(void)state;
	for (i = 0; i < NAMES; i++) {
		name = name_nr(i);
		assert_ok(add(&name, "r", 0));
	}
	do {
		n = pul_users_page(&position, view, 7);
		for (i = 0; i < n; i++) {
			assert_int_equal(sscanf(view[i].name.s, "user%u", &nr), 1);
			assert_false(seen[nr]);
			seen[nr] = true;
			total++;
		}
	} while (position != 0);
	assert_int_equal(total, NAMES);
}

/* Random changes, and a gateway that takes, refuses, or is lost: in the end it knows what is. */
static void test_random_against_a_model(void **state)
{
	bool has[NAMES][CONTACTS] = {{false}}, gateway[NAMES] = {false};
	static const char *const ruid[CONTACTS] = {"r0", "r1", "r2"};
	struct pul_job job, flying[8];
	unsigned int n_flying = 0, i, k, nr;
	struct p2p_name name;
	int step;

	(void)state;
	srandom(4711);
	for (step = 0; step < 200000; step++) {
		i = (unsigned int)random() % NAMES;
		k = (unsigned int)random() % CONTACTS;
		name = name_nr(i);
		switch (random() % 6) {
		case 0:
		case 1:
			assert_ok(add(&name, ruid[k], (uint32_t)random() % 3));
			has[i][k] = true;
			break;
		case 2:
			del(&name, ruid[k]);
			has[i][k] = false;
			break;
		case 3:
			if (n_flying < 8 && pul_users_take(&cursor, &job) && job.kind)
				flying[n_flying++] = job;
			break;
		case 4:
			if (n_flying == 0)
				break;
			job = flying[0];
			memmove(flying, flying + 1, --n_flying * sizeof(flying[0]));
			if (random() % 4 == 0) {
				pul_users_done(&job.name, job.kind, false, true);
				break;
			}
			assert_int_equal(sscanf(job.name.s, "user%u", &nr), 1);
			gateway[nr] = job.kind == PUL_JOB_PUBLISH;
			pul_users_done(&job.name, job.kind, true, false);
			break;
		default:
			if (random() % 1000 == 0) {
				while (n_flying > 0) { /* lost with their connection */
					job = flying[--n_flying];
					pul_users_done(&job.name, job.kind, false, false);
				}
				pul_users_mark_all();
			} else if (random() % 10 == 0) {
				pul_users_ask(&name);
			}
			break;
		}
	}
	while (n_flying > 0) {
		job = flying[--n_flying];
		pul_users_done(&job.name, job.kind, false, true);
	}
	while (pul_users_take(&cursor, &job)) {
		assert_int_equal(sscanf(job.name.s, "user%u", &nr), 1);
		if (job.kind)
			gateway[nr] = job.kind == PUL_JOB_PUBLISH;
		pul_users_done(&job.name, job.kind, true, false);
	}
	for (i = 0; i < NAMES; i++) {
		bool any = has[i][0] || has[i][1] || has[i][2];

		name = name_nr(i);
		assert_int_equal(pul_users_serves(&name, NULL), any);
		assert_int_equal(gateway[i], any);
	}
	assert_int_equal(shared.withdrawn, 0);
}

/* --- the cache --- */

static void candidate_fill(struct p2p_candidate *c, unsigned int nr, uint32_t ttl_ms,
			   unsigned int uris)
{
	unsigned int i;

	memset(c, 0, sizeof(*c));
	c->hit.b[0] = 0x20;
	c->hit.b[15] = (uint8_t)nr;
	c->order = nr;
	c->ttl_ms = ttl_ms;
	c->n_uris = (uint8_t)uris;
	for (i = 0; i < uris; i++)
		snprintf(c->uri[i], sizeof(c->uri[i]), "sip:192.0.2.%u:506%u", nr, i);
	c->n_instances = (uint8_t)(nr % (P2P_CANDIDATE_INSTANCES_MAX + 1));
	for (i = 0; i < c->n_instances; i++)
		c->instance[i] = nr * 100 + i;
}

static void put(const char *key, unsigned int n, uint32_t ttl_ms)
{
	struct p2p_candidate_set set;
	unsigned int i;

	set.n = (uint8_t)n;
	for (i = 0; i < n; i++)
		candidate_fill(&set.c[i], i + 1, ttl_ms * (i + 1), i % P2P_CANDIDATE_URIS_MAX + 1);
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
		candidate_fill(&want, i + 1, 60000 * (i + 1), i % P2P_CANDIDATE_URIS_MAX + 1);
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
	candidate_fill(&want, 3, 0, 1);
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
	now_ms += 29999;
	assert_int_equal(get("a", &set), P2P_CACHE_FRESH);
	assert_false(pul_cache_take_wanted(pul_routes, key, &len));
	now_ms += 1;
	assert_int_equal(get("a", &set), P2P_CACHE_STALE);
	assert_int_equal(set.n, 2);
	/* wanted once, and not again at once */
	assert_int_equal(get("a", &set), P2P_CACHE_STALE);
	assert_true(pul_cache_take_wanted(pul_routes, key, &len));
	assert_string_equal(key, "a");
	assert_int_equal(get("a", &set), P2P_CACHE_STALE);
	assert_false(pul_cache_take_wanted(pul_routes, key, &len));
	now_ms += 30000;
	assert_int_equal(get("a", &set), P2P_CACHE_STALE);
	assert_int_equal(set.n, 1);
	assert_int_equal(set.c[0].order, 2);
	assert_int_equal(set.c[0].ttl_ms, 60000);
	/* wanted and then gone: nothing is left on the list */
	pul_cache_drop(pul_routes, "a", 1, NULL);
	assert_false(pul_cache_take_wanted(pul_routes, key, &len));
	put("a", 1, 1000);
	now_ms += 1000;
	assert_int_equal(get("a", &set), P2P_CACHE_MISS);
	assert_int_equal(pul_cache_sweep(pul_routes), 1);
	/* what is put while nobody tells of changes is not fresh */
	put("b", 1, 60000);
	atomic_fetch_add(&shared.cache_gen, 1);
	assert_int_equal(get("b", &set), P2P_CACHE_STALE);
}

static void test_cache_while_the_gateway_is_away(void **state)
{
	struct p2p_candidate_set set;

	(void)state;
	put("early", 1, 1000);
	now_ms += 5000;
	put("late", 1, 60000);
	shared.gateway_up = 0;
	shared.gateway_changed_ms = now_ms;
	now_ms += 3599000;
	assert_int_equal(get("early", &set), P2P_CACHE_MISS); /* it was over before */
	assert_int_equal(get("late", &set), P2P_CACHE_STALE);
	assert_int_equal(set.n, 1);
	assert_int_equal(set.c[0].ttl_ms, 0);
	now_ms += 1000;
	assert_int_equal(get("late", &set), P2P_CACHE_MISS);
	now_ms -= 1000;
	shared.gateway_up = 1;
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
	candidate_fill(&set.c[0], 1, 60000, 2);
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
	struct p2p_name alice = name_of("alice");
	struct p2p_candidate_set set;
	struct pul_job job;

	(void)state;
	/* not ours: nothing known, whatever was put */
	assert_int_equal(pul_routes_get(&alice, &set), P2P_CACHE_MISS);
	put("alice", 0, 0);
	assert_int_equal(pul_routes_get(&alice, &set), P2P_CACHE_MISS);
	assert_int_equal(get("alice", &set), P2P_CACHE_MISS);

	/* ours, never asked: no other is assumed, and asked for */
	assert_ok(add(&alice, "r", 0));
	job = take();
	assert_false(job.ask);
	pul_users_done(&alice, PUL_JOB_PUBLISH, true, false);
	assert_int_equal(pul_routes_get(&alice, &set), P2P_CACHE_STALE);
	assert_int_equal(set.n, 0);
	job = take();
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
	del(&alice, "r");
	assert_int_equal(pul_routes_get(&alice, &set), P2P_CACHE_MISS);
}

/* --- all at once --- */

static atomic_int running;

static void *worker(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg, i, n;
	struct p2p_candidate_set set;
	struct p2p_name name;
	char ruid[16];

	for (n = 0; n < 20000; n++) {
		i = (unsigned int)rand_r(&seed) % NAMES;
		name = name_nr(i);
		snprintf(ruid, sizeof(ruid), "%u-%u", (unsigned int)(uintptr_t)arg, i);
		if (rand_r(&seed) % 2)
			add(&name, ruid, (uint32_t)rand_r(&seed) % 4);
		else
			del(&name, ruid);
		pul_routes_get(&name, &set);
	}
	for (i = 0; i < NAMES; i++) {
		name = name_nr(i);
		snprintf(ruid, sizeof(ruid), "%u-%u", (unsigned int)(uintptr_t)arg, i);
		del(&name, ruid);
	}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static void test_threads(void **state)
{
	struct p2p_candidate_set set;
	char key[P2P_NAME_MAX + 1];
	pthread_t thread[3];
	struct pul_job job;
	unsigned int i, n = 0;
	size_t len;

	(void)state;
	pul_settings.cache_fresh_ms = 0;
	atomic_store(&running, 3);
	for (i = 0; i < 3; i++)
		assert_ok(pthread_create(&thread[i], NULL, worker, (void *)(uintptr_t)(i + 1)));
	while (atomic_load(&running) > 0 || pul_users_work()) {
		while (pul_users_take(&cursor, &job)) {
			set.n = n % 3;
			for (i = 0; i < set.n; i++)
				candidate_fill(&set.c[i], n % 9 + i, 60000, 1);
			if (job.ask)
				pul_cache_put(pul_routes, job.name.s, job.name.len, &set);
			pul_users_done(&job.name, job.kind, n % 7 != 0, true);
			n++;
		}
		while (pul_cache_take_wanted(pul_routes, key, &len))
			pul_cache_drop(pul_routes, key, len, NULL);
		if (n % 50 == 0)
			pul_users_mark_all();
	}
	for (i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(shared.contacts, 0);
	assert_int_equal(shared.users, 0);
	assert_int_equal(shared.withdrawn, 0);
}

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
	now_ms += 1000;
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
	now_ms += 31999;
	assert_int_equal(pul_sessions_by_id(&b.id, NULL), 1);
	now_ms += 1;
	assert_int_equal(pul_sessions_by_id(&b.id, NULL), -1);
	assert_false(pul_sessions_close(&b.id));
	assert_int_equal(pul_sessions_count(), 1);
	/* its ttl is over; a renewal opens it again, its end is 32 s later otherwise */
	now_ms += 59000 - 32000;
	assert_int_equal(pul_sessions_by_hit(&a.hit, NULL), -1);
	assert_int_equal(pul_sessions_by_id(&a.id, NULL), 1);
	assert_int_equal(pul_sessions_put(&a), 0);
	assert_int_equal(pul_sessions_by_hit(&a.hit, NULL), 0);
	now_ms += 60000 + 32000;
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
	now_ms += 31999;
	pul_sessions_sweep();
	assert_int_equal(pul_sessions_count(), 2);
	now_ms += 1;
	assert_int_equal(pul_sessions_by_tail(tail_of(&a.hit), &got), -1);
	pul_sessions_sweep();
	assert_int_equal(pul_sessions_count(), 0);
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
	now_ms += 200000; /* all are over: nothing is left to be asked */
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
	assert_int_equal(counted[PUL_CNT_SESSIONS_EVICTED], 200 - 16 - 1);
	for (i = 185; i <= 200; i++) { /* those that end last are there */
		s = session_of(i, i, 0);
		assert_int_equal(pul_sessions_by_hit(&s.hit, NULL), 0);
	}
}

/* --- what the gateway knows after a lost connection --- */

static struct pul_gateway_info gateway(const char *run, bool resumed, uint64_t seq)
{
	struct pul_gateway_info info = {.known = true, .resumed = resumed, .resumed_seq = seq};

	strcpy(info.run, run);
	return info;
}

static void test_sync(void **state)
{
	struct pul_gateway_info old = gateway("", false, 0), a = gateway("aa", false, 0),
				go_on = gateway("aa", true, 7), less = gateway("aa", true, 6),
				b = gateway("bb", false, 0);

	(void)state;
	pul_settings.withdrawn_max = 10;
	/* one that knows nothing of it is not told a word of it */
	pul_sync_refused();
	assert_null(pul_sync_offer(0));
	assert_int_equal(pul_sync_shaken(&old, 0, now_ms), PUL_SYNC_ALL);
	assert_null(pul_sync_offer(0));
	/* the first time, and after that */
	assert_int_equal(pul_sync_shaken(&a, 0, now_ms), PUL_SYNC_ALL);
	assert_string_equal(pul_sync_offer(0), "aa");
	pul_sync_taken(7);
	pul_sync_taken(3);
	assert_int_equal(pul_sync_shaken(&go_on, 0, now_ms), PUL_SYNC_REST);
	/* it has less than it took: all, and it is told that all come */
	assert_int_equal(pul_sync_shaken(&less, 0, now_ms), PUL_SYNC_AGAIN);
	assert_string_equal(pul_sync_offer(0), "0");
	assert_int_equal(pul_sync_shaken(&a, 0, now_ms), PUL_SYNC_ALL);
	assert_int_equal(pul_sync_shaken(&less, 0, now_ms),
			 PUL_SYNC_REST); /* none was taken since */
	/* another process */
	assert_int_equal(pul_sync_shaken(&b, 0, now_ms), PUL_SYNC_ALL);
	assert_string_equal(pul_sync_offer(0), "bb");
	/* resumed without having been asked to */
	pul_sync_forget();
	assert_string_equal(pul_sync_offer(0), "0");
	assert_int_equal(pul_sync_shaken(&go_on, 0, now_ms), PUL_SYNC_AGAIN);
	assert_int_equal(pul_sync_shaken(&a, 0, now_ms), PUL_SYNC_ALL);
	/* users left of whom it was not told: all are named, when half of those who wait are told,
	 * and not again and again */
	assert_false(pul_sync_rename_due(0, 0, now_ms + 100000));
	assert_true(pul_sync_due(0, now_ms) == UINT64_MAX);
	assert_string_equal(pul_sync_offer(3), "0");
	assert_true(pul_sync_due(3, now_ms) < now_ms + 1000);
	assert_false(pul_sync_rename_due(3, 5, now_ms));
	now_ms += 10000;
	assert_false(pul_sync_rename_due(3, 6, now_ms));
	assert_true(pul_sync_rename_due(3, 5, now_ms));
	assert_int_equal(pul_sync_shaken(&a, 3, now_ms), PUL_SYNC_ALL);
	assert_false(pul_sync_rename_due(3, 0, now_ms + 100000));
	assert_string_equal(pul_sync_offer(3), "aa");
	/* one of before refuses the word */
	pul_sync_refused();
	assert_null(pul_sync_offer(3));
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
	now_ms += 10000;
	assert_false(pul_auth_get(&a, &out));
	assert_true(pul_auth_get(&b, &out));
	now_ms += 50000;
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
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_life),
		T(test_retry_and_refusal),
		T(test_withdrawn_are_bounded),
		T(test_round_ends),
		T(test_aors),
		T(test_sweep),
		T(test_failing_allocations),
		T(test_pages),
		T(test_random_against_a_model),
		T(test_cache_copies_all),
		T(test_cache_ages),
		T(test_cache_while_the_gateway_is_away),
		T(test_cache_is_bounded_and_forgets_the_unused),
		T(test_cache_failing_allocations),
		T(test_absence_is_not_cached_but_of_others),
		T(test_threads),
		T(test_sessions),
		T(test_sessions_in_dialogs),
		T(test_sessions_are_bounded),
		T(test_sync),
		T(test_sessions_refused_and_rechecked),
		T(test_a_cached_user_needs_the_session),
		T(test_auth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
