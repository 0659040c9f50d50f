/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bounds of a gateway, reached: who waits and who watches beyond them is told so and counted, what
 * has no room makes room, and the newest state is what is told afterwards. */
#include "tests/unit/test.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/gateway_load.h"
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/location/gateway_hold.h"
#include "dht-gateway/location/gateway_lookup.h"
#include "dht-gateway/location/gateway_query.h"
#include "dht-gateway/location/gateway_watch.h"
#include "lib/base/bytes.h"
#include "lib/model/lag.h"
#include "tests/unit/test_gw_fixture.h"

#define WATCHED_MAX 262144
#define WATCHERS_PER_KEY 256
#define WAITING_MAX 8192

static struct p2p_hit hit_of(uint32_t n)
{
	struct p2p_hit hit = {{0x20, 0x01, 0x00, 0x20}};

	p2p_put_be32(hit.b + 12, n);
	return hit;
}

static struct p2p_key key_of(uint32_t n)
{
	struct p2p_key key = {{1}};

	p2p_put_be32(key.b + 16, n);
	return key;
}

/* Is this member told of changes of the key from now on? */
static bool watches(struct gw_fixture *f, uint32_t member, uint32_t key)
{
	struct p2p_opp_query *in = calloc(1, sizeof(*in));
	struct p2p_opp_found *out = calloc(1, sizeof(*out));
	struct p2p_hit from = hit_of(member);
	bool watched;

	in->watch_s = 600;
	in->n = 1;
	in->key[0] = key_of(key);
	gw_holds_asked(f->gw->holds, &from, in, out);
	assert_int_equal(out->n, 1);
	watched = out->a[0].watched;
	free(in);
	free(out);
	return watched;
}

static void test_watchers_of_a_key(void **state)
{
	struct gw_fixture *f = *state;
	struct gw_holds_stats st;

	for (uint32_t i = 0; i < WATCHERS_PER_KEY; i++)
		assert_true(watches(f, i, 1));
	assert_false(watches(f, WATCHERS_PER_KEY, 1));
	assert_int_equal((int)f->gw->metrics.limit_watchers, 1);
	/* those that are there go on, and other keys are nobody's loss */
	assert_true(watches(f, 7, 1));
	assert_true(watches(f, WATCHERS_PER_KEY, 2));
	gw_holds_stats(f->gw->holds, &st);
	assert_int_equal((int)st.watchers, WATCHERS_PER_KEY + 1);
	/* who has not come again makes room */
	f->mono_shift_ms += 601000;
	assert_true(watches(f, WATCHERS_PER_KEY, 1));
	gw_holds_stats(f->gw->holds, &st);
	assert_int_equal((int)st.watchers, 2);
}

static void test_watched_keys(void **state)
{
	struct gw_fixture *f = *state;
	struct p2p_opp_query *in = calloc(1, sizeof(*in));
	struct p2p_opp_found *out = calloc(1, sizeof(*out));
	struct p2p_hit from = hit_of(1);
	struct gw_holds_stats st;

	in->watch_s = 600;
	in->n = P2P_OPP_KEYS_MAX;
	for (uint32_t at = 0; at < WATCHED_MAX; at += P2P_OPP_KEYS_MAX) {
		for (uint32_t i = 0; i < P2P_OPP_KEYS_MAX; i++)
			in->key[i] = key_of(at + i);
		gw_holds_asked(f->gw->holds, &from, in, out);
		for (uint32_t i = 0; i < out->n; i++)
			assert_true(out->a[i].watched);
	}
	assert_int_equal((int)f->gw->metrics.limit_watchers, 0);
	assert_false(watches(f, 1, WATCHED_MAX));
	assert_false(watches(f, 2, WATCHED_MAX + 1));
	assert_int_equal((int)f->gw->metrics.limit_watchers, 2);
	assert_true(watches(f, 2, 5));
	gw_holds_stats(f->gw->holds, &st);
	assert_int_equal((int)st.watchers, WATCHED_MAX + 1);
	/* those that are over are taken away by and by */
	f->mono_shift_ms += 601000;
	for (int i = 0; i < 100 && !watches(f, 1, WATCHED_MAX); i++)
		gw_fixture_run(f, 100);
	assert_true(watches(f, 1, WATCHED_MAX));
	free(in);
	free(out);
}

struct asked {
	unsigned int n, failed;
	bool done;
};

static void on_asked(int err, const struct gw_queried *a, void *arg)
{
	struct asked *asked = arg;

	(void)a;
	asked->failed += err != 0;
	asked->done = ++asked->n == WAITING_MAX;
}

static void test_questions_to_a_holder(void **state)
{
	struct gw_fixture *f = *state;
	struct p2p_hit holder = hit_of(1), other = hit_of(2);
	struct p2p_key key;
	struct asked asked = {0}, more = {0};
	struct gw_query *q, *over;

	for (uint32_t i = 0; i < WAITING_MAX; i++) {
		key = key_of(i);
		assert_ok(gw_queries_ask(f->gw->queries, &holder, &key, 0, on_asked, &asked, &q));
	}
	key = key_of(WAITING_MAX);
	assert_int_equal(gw_queries_ask(f->gw->queries, &holder, &key, 0, on_asked, &more, &over),
			 EBUSY);
	assert_int_equal((int)f->gw->metrics.limit_queries, 1);
	/* other holders are asked all the same */
	assert_ok(gw_queries_ask(f->gw->queries, &other, &key, 0, on_asked, &more, &over));
	gw_query_cancel(over);
	/* each is answered, here: that the holder cannot be asked; and then there is room */
	assert_true(gw_fixture_wait(f, &asked.done, 20000));
	assert_int_equal(asked.failed, WAITING_MAX);
	assert_int_equal(more.n, 0);
	assert_ok(gw_queries_ask(f->gw->queries, &holder, &key, 0, on_asked, &more, &over));
	gw_query_cancel(over);
}

/* More holders than members that can be known at a time: they come and go. */
static void test_holders_come_and_go(void **state)
{
	struct gw_fixture *f = *state;
	struct asked asked = {0};
	struct p2p_hit hit = hit_of(0);
	struct p2p_key key = key_of(1);
	struct gw_query *q;

	f->settings.members_max = 16;
	gw_fixture_restart(f);
	assert_ok(gw_queries_ask(f->gw->queries, &hit, &key, 0, on_asked, &asked, &q));
	for (uint32_t i = 1; i < 100; i++) {
		/* who is still to be asked stays */
		hit = hit_of(0);
		gw_queries_heard(f->gw->queries, &hit, 77);
		hit = hit_of(i);
		gw_queries_heard(f->gw->queries, &hit, i);
		assert_int_equal((int)gw_queries_instance(f->gw->queries, &hit), (int)i);
	}
	hit = hit_of(1);
	assert_int_equal((int)gw_queries_instance(f->gw->queries, &hit), 0);
	hit = hit_of(0);
	assert_int_equal((int)gw_queries_instance(f->gw->queries, &hit), 77);
	gw_query_cancel(q);
}

struct answer {
	bool done;
	int err;
	struct p2p_candidate_set cands;
};

static void on_answer(int err, const struct p2p_candidate_set *cands, void *arg)
{
	struct answer *a = arg;

	a->done = true;
	a->err = err;
	if (cands)
		a->cands = *cands;
}

static void store(struct gw_fixture *f, unsigned int n, const char *uri, int64_t shift_ms)
{
	uint8_t buf[P2P_RECORD_MAX];
	char name[16];
	size_t len;

	snprintf(name, sizeof(name), "user%u", n);
	len = gw_fixture_record(f, f->other, name, uri, false, shift_ms, 7, buf);
	fake_store_name(f, name, p2p_record_value_id(gw_identity_hit(f->other)), buf, len);
}

static void assert_routed(struct gw_fixture *f, unsigned int n, const char *uri)
{
	struct answer a = {0};
	char name[16];

	snprintf(name, sizeof(name), "user%u", n);
	gw_lookup(f->gw->lookups, name, strlen(name), 2000, false, on_answer, &a);
	assert_true(gw_fixture_wait(f, &a.done, 5000));
	assert_int_equal(a.err, 0);
	assert_int_equal(a.cands.n, 1);
	assert_string_equal(a.cands.c[0].uri[0], uri);
}

#define OLD_URI "sip:192.0.2.2:5060;transport=udp"
#define NEW_URI "sip:192.0.2.3:5060;transport=udp"

/* Names go for others, and their watches: they are read anew, as they are by then. */
static void test_cache_and_watches(void **state)
{
	struct gw_fixture *f = *state;

	f->settings.cache_max = 20;
	f->settings.watches_max = 10;
	gw_fixture_restart(f);
	for (unsigned int i = 0; i < 60; i++) {
		store(f, i, OLD_URI, -10000);
		assert_routed(f, i, OLD_URI);
	}
	assert_int_equal((int)gw_cache_count(f->gw->cache), 20);
	assert_int_equal((int)gw_cache_evicted(f->gw->cache), 40);
	assert_int_equal((int)gw_watches_count(f->gw->watches), 10);
	assert_int_equal((int)gw_watches_evicted(f->gw->watches), 50);
	for (unsigned int i = 0; i < 60; i++)
		store(f, i, NEW_URI, 0);
	gw_fixture_run(f, 250); /* cache_fresh_ms */
	for (unsigned int i = 0; i < 50; i++)
		assert_routed(f, i, NEW_URI);
	assert_int_equal((int)gw_cache_count(f->gw->cache), 20);
	assert_int_equal((int)gw_watches_count(f->gw->watches), 10);
}

static int lookup_begin(struct gw_fixture *f, unsigned int n, struct answer *a)
{
	char name[16];

	memset(a, 0, sizeof(*a));
	snprintf(name, sizeof(name), "user%u", n);
	gw_lookup(f->gw->lookups, name, strlen(name), 2000, false, on_answer, a);
	return a->done ? a->err : EINPROGRESS;
}

/* No more than may be under way at once: that bound is another one. */
#define LATE_LOOKUPS 40

/* The loop is late for long: some new lookups are turned down at once; when it is not any more,
 * none are. */
static void test_behind(void **state)
{
	struct gw_fixture *f = *state;
	struct answer *a = calloc(LATE_LOOKUPS, sizeof(*a));
	unsigned int refused = 0;

	assert_non_null(a);
	store(f, 1, OLD_URI, -10000);
	assert_false(gw_load_behind(f->gw->load));
	for (int i = 0; i < 12; i++) {
		f->mono_shift_ms += 280;
		gw_fixture_run(f, 60);
	}
	assert_true(gw_load_behind(f->gw->load));
	assert_in_range(gw_load_late_ms(f->gw->load), P2P_LAG_SOME_MS + 1, P2P_LAG_TURN_MAX_MS);
	for (unsigned int i = 0; i < LATE_LOOKUPS; i++)
		refused += lookup_begin(f, 100 + i, &a[i]) == EBUSY;
	assert_in_range(refused, 1, LATE_LOOKUPS);
	assert_int_equal(f->gw->metrics.limit_load, refused);
	assert_int_equal(f->gw->metrics.overloads, 1);
	gw_fixture_run(f, 600);
	assert_false(gw_load_behind(f->gw->load));
	assert_routed(f, 1, OLD_URI);
	for (unsigned int i = 0; i < LATE_LOOKUPS; i++)
		assert_true(gw_fixture_wait(f, &a[i].done, 5000));
	free(a);
}

#define limit_test(f) cmocka_unit_test_setup_teardown(f, gw_fixture_setup, gw_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		limit_test(test_watchers_of_a_key),	limit_test(test_watched_keys),
		limit_test(test_questions_to_a_holder), limit_test(test_holders_come_and_go),
		limit_test(test_cache_and_watches),	limit_test(test_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
