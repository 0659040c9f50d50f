/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc's users, as the workers and the client process share them, and what the gateway knows
 * of them. */
#include "tests/unit/test_usrloc_fixture.h"

#include <pthread.h>

#include "modules/p2p_usrloc/p2p_usrloc_sync.h"
#include "tests/unit/alloc.h"

#define NAMES 40
#define CONTACTS 3

static void nothing_to_do(void)
{
	struct pul_job job;

	assert_false(pul_users_take(&fixture.cursor, &job));
	assert_false(pul_users_work());
}

static void test_life(void **state)
{
	struct p2p_name alice = usrloc_name("alice");
	struct pul_job job;
	int woken;

	(void)state;
	nothing_to_do();
	assert_ok(usrloc_add(&alice, "r1", 7));
	job = usrloc_take();
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
	woken = atomic_load(&fixture.wakes);
	assert_ok(usrloc_add(&alice, "r1", 7));
	assert_int_equal(atomic_load(&fixture.wakes), woken);
	nothing_to_do();

	/* a contact without a new instance is no news */
	assert_ok(usrloc_add(&alice, "r2", 7));
	assert_ok(usrloc_add(&alice, "r3", 0));
	assert_true(pul_users_confirmed(&alice));
	nothing_to_do();
	assert_ok(usrloc_add(&alice, "r4", 3));
	assert_false(pul_users_confirmed(&alice));
	assert_int_equal(pul_users_progress(&alice), PUL_USERS_PENDING);
	job = usrloc_take();
	assert_int_equal(job.kind, PUL_JOB_PUBLISH);
	assert_int_equal(job.n_instances, 2);
	assert_int_equal(job.instance[0], 3); /* in ascending order */
	/* not before the gateway has said that it took it */
	assert_false(pul_users_confirm(&alice));
	/* what changes on the way is told afterwards */
	usrloc_del(&alice, "r4");
	nothing_to_do();
	pul_users_done(&alice, PUL_JOB_PUBLISH, true, false);
	job = usrloc_take();
	assert_int_equal(job.n_instances, 1);
	pul_users_done(&alice, PUL_JOB_PUBLISH, true, false);

	/* the embedded contact goes first, then the others, then the user */
	usrloc_del(&alice, "r1");
	usrloc_del(&alice, "none");
	usrloc_del(&alice, "r3");
	nothing_to_do();
	usrloc_del(&alice, "r2");
	assert_false(pul_users_serves(&alice, NULL));
	job = usrloc_take();
	assert_int_equal(job.kind, PUL_JOB_WITHDRAW);
	assert_false(pul_users_confirmed(&alice));
	/* who comes back on the way out is published again */
	assert_ok(usrloc_add(&alice, "r5", 7));
	assert_int_equal(pul_users_progress(&alice), PUL_USERS_PENDING);
	pul_users_done(&alice, PUL_JOB_WITHDRAW, true, false);
	job = usrloc_take();
	assert_int_equal(job.kind, PUL_JOB_PUBLISH);
	pul_users_done(&alice, PUL_JOB_PUBLISH, true, false);
	usrloc_del(&alice, "r5");
	usrloc_take();
	pul_users_done(&alice, PUL_JOB_WITHDRAW, true, false);
	assert_int_equal(fixture.shared.users, 0);
	assert_int_equal(fixture.shared.withdrawn, 0);
	assert_int_equal(fixture.shared.contacts, 0);
	nothing_to_do();
}

static void test_retry_and_refusal(void **state)
{
	struct p2p_name alice = usrloc_name("alice"), bob = usrloc_name("bob");
	struct pul_job job;

	(void)state;
	assert_ok(usrloc_add(&alice, "r", 0));
	usrloc_take();
	pul_users_done(&alice, PUL_JOB_PUBLISH, false, true);
	job = usrloc_take();
	assert_int_equal(job.kind, PUL_JOB_PUBLISH);
	pul_users_done(&alice, PUL_JOB_PUBLISH, false, false);
	nothing_to_do(); /* refused for good */
	/* all again, what is on its way too */
	assert_ok(usrloc_add(&bob, "r", 0));
	usrloc_take();
	pul_users_mark_all();
	job = usrloc_take();
	assert_string_equal(job.name.s, "alice");
	pul_users_done(&alice, PUL_JOB_PUBLISH, true, false);
	nothing_to_do();
	pul_users_done(&bob, PUL_JOB_PUBLISH, true, false);
	job = usrloc_take();
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
		name = usrloc_name_nr(i);
		assert_ok(usrloc_add(&name, "r", i));
		usrloc_del(&name, "r");
	}
	assert_int_equal(fixture.shared.withdrawn, 10);
	assert_int_equal(fixture.shared.withdrawals_left, 90);
	for (i = 0; i < 10; i++)
		assert_int_equal(usrloc_take().kind, PUL_JOB_WITHDRAW);
	nothing_to_do();
}

static void test_round_ends(void **state)
{
	struct pul_job window[8], job;
	struct p2p_name name;
	unsigned int i, published = 0;

	(void)state;
	for (i = 0; i < NAMES; i++) {
		name = usrloc_name_nr(i);
		assert_ok(usrloc_add(&name, "r", 0));
	}
	fixture.cursor.bucket = 17; /* wherever it was */
	fixture.cursor.left = pul_users_buckets();
	while (fixture.cursor.left > 0 && pul_users_take(&fixture.cursor, &job)) {
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
	struct p2p_name alice = usrloc_name("alice");
	static str other = str_init("other");
	char table_buf[16], aor_buf[32];
	str table, aor, a1 = str_init("alice@one.example"), a2 = str_init("alice"),
			r1 = str_init("1"), r2 = str_init("2"), r3 = str_init("3");

	(void)state;
	assert_ok(pul_users_add(&alice, &fixture.location, &a1, &r1, 0));
	assert_ok(pul_users_add(&alice, &fixture.location, &a1, &r2, 0));
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
		name = usrloc_name_nr(i);
		assert_ok(usrloc_add(&name, "a", 1));
		assert_ok(usrloc_add(&name, "b", 2));
	}
	atomic_store(&fixture.shared.scan_gen, 1);
	for (i = 0; i < NAMES; i++) {
		name = usrloc_name_nr(i);
		if (i % 2 == 0)
			assert_ok(usrloc_add(&name, "a", 1)); /* the scan saw it */
	}
	assert_int_equal(pul_users_sweep(1), NAMES + NAMES / 2);
	assert_int_equal(fixture.shared.users, NAMES / 2);
	assert_int_equal(fixture.shared.contacts, NAMES / 2);
	assert_int_equal(pul_users_sweep(1), 0);
}

static int step_add(void *arg)
{
	struct p2p_name name = usrloc_name("alice");
	int err;

	(void)arg;
	err = usrloc_add(&name, "r1", 1);
	if (err == 0)
		err = usrloc_add(&name, "r2", 2);
	usrloc_del(&name, "r1");
	usrloc_del(&name, "r2");
	return err;
}

static void test_failing_allocations(void **state)
{
	struct p2p_name alice = usrloc_name("alice");
	struct pul_job job;

	(void)state;
	alloc_loop(step_add, NULL, false);
	assert_false(pul_users_serves(&alice, NULL));
	while (pul_users_take(&fixture.cursor, &job))
		pul_users_done(&job.name, job.kind, true, false);
	assert_int_equal(fixture.shared.contacts, 0);
	assert_int_equal(fixture.shared.withdrawn, 0);
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
		name = usrloc_name_nr(i);
		assert_ok(usrloc_add(&name, "r", 0));
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
		name = usrloc_name_nr(i);
		switch (random() % 6) {
		case 0:
		case 1:
			assert_ok(usrloc_add(&name, ruid[k], (uint32_t)random() % 3));
			has[i][k] = true;
			break;
		case 2:
			usrloc_del(&name, ruid[k]);
			has[i][k] = false;
			break;
		case 3:
			if (n_flying < 8 && pul_users_take(&fixture.cursor, &job) && job.kind)
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
	while (pul_users_take(&fixture.cursor, &job)) {
		assert_int_equal(sscanf(job.name.s, "user%u", &nr), 1);
		if (job.kind)
			gateway[nr] = job.kind == PUL_JOB_PUBLISH;
		pul_users_done(&job.name, job.kind, true, false);
	}
	for (i = 0; i < NAMES; i++) {
		bool any = has[i][0] || has[i][1] || has[i][2];

		name = usrloc_name_nr(i);
		assert_int_equal(pul_users_serves(&name, NULL), any);
		assert_int_equal(gateway[i], any);
	}
	assert_int_equal(fixture.shared.withdrawn, 0);
}

/* --- all at once, with the cache --- */

static atomic_int running;

static void *worker(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg, i, n;
	struct p2p_candidate_set set;
	struct p2p_name name;
	char ruid[16];

	for (n = 0; n < 20000; n++) {
		i = (unsigned int)rand_r(&seed) % NAMES;
		name = usrloc_name_nr(i);
		snprintf(ruid, sizeof(ruid), "%u-%u", (unsigned int)(uintptr_t)arg, i);
		if (rand_r(&seed) % 2)
			usrloc_add(&name, ruid, (uint32_t)rand_r(&seed) % 4);
		else
			usrloc_del(&name, ruid);
		pul_routes_get(&name, &set);
	}
	for (i = 0; i < NAMES; i++) {
		name = usrloc_name_nr(i);
		snprintf(ruid, sizeof(ruid), "%u-%u", (unsigned int)(uintptr_t)arg, i);
		usrloc_del(&name, ruid);
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
		while (pul_users_take(&fixture.cursor, &job)) {
			set.n = n % 3;
			for (i = 0; i < set.n; i++)
				usrloc_candidate(&set.c[i], n % 9 + i, 60000, 1);
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
	assert_int_equal(fixture.shared.contacts, 0);
	assert_int_equal(fixture.shared.users, 0);
	assert_int_equal(fixture.shared.withdrawn, 0);
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
	assert_int_equal(pul_sync_shaken(&old, 0, fixture.now_ms), PUL_SYNC_ALL);
	assert_null(pul_sync_offer(0));
	/* the first time, and after that */
	assert_int_equal(pul_sync_shaken(&a, 0, fixture.now_ms), PUL_SYNC_ALL);
	assert_string_equal(pul_sync_offer(0), "aa");
	pul_sync_taken(7);
	pul_sync_taken(3);
	assert_int_equal(pul_sync_shaken(&go_on, 0, fixture.now_ms), PUL_SYNC_REST);
	/* it has less than it took: all, and it is told that all come */
	assert_int_equal(pul_sync_shaken(&less, 0, fixture.now_ms), PUL_SYNC_AGAIN);
	assert_string_equal(pul_sync_offer(0), "0");
	assert_int_equal(pul_sync_shaken(&a, 0, fixture.now_ms), PUL_SYNC_ALL);
	assert_int_equal(pul_sync_shaken(&less, 0, fixture.now_ms),
			 PUL_SYNC_REST); /* none was taken since */
	/* another process */
	assert_int_equal(pul_sync_shaken(&b, 0, fixture.now_ms), PUL_SYNC_ALL);
	assert_string_equal(pul_sync_offer(0), "bb");
	/* resumed without having been asked to */
	pul_sync_forget();
	assert_string_equal(pul_sync_offer(0), "0");
	assert_int_equal(pul_sync_shaken(&go_on, 0, fixture.now_ms), PUL_SYNC_AGAIN);
	assert_int_equal(pul_sync_shaken(&a, 0, fixture.now_ms), PUL_SYNC_ALL);
	/* users left of whom it was not told: all are named, when half of those who wait are told,
	 * and not again and again */
	assert_false(pul_sync_rename_due(0, 0, fixture.now_ms + 100000));
	assert_true(pul_sync_due(0, fixture.now_ms) == UINT64_MAX);
	assert_string_equal(pul_sync_offer(3), "0");
	assert_true(pul_sync_due(3, fixture.now_ms) < fixture.now_ms + 1000);
	assert_false(pul_sync_rename_due(3, 5, fixture.now_ms));
	fixture.now_ms += 10000;
	assert_false(pul_sync_rename_due(3, 6, fixture.now_ms));
	assert_true(pul_sync_rename_due(3, 5, fixture.now_ms));
	assert_int_equal(pul_sync_shaken(&a, 3, fixture.now_ms), PUL_SYNC_ALL);
	assert_false(pul_sync_rename_due(3, 0, fixture.now_ms + 100000));
	assert_string_equal(pul_sync_offer(3), "aa");
	/* one of before refuses the word */
	pul_sync_refused();
	assert_null(pul_sync_offer(3));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, usrloc_setup, usrloc_teardown)
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
		T(test_threads),
		T(test_sync),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
