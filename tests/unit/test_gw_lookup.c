/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ROUTE over a scripted DHT: what is found, what is absent, what is unknown, and what is a lie. */
#include "tests/unit/test.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/location/gateway_lookup.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/location/gateway_records.h"
#include "tests/unit/test_gw_fixture.h"
#include "lib/model/search.h"

#define URI "sip:192.0.2.2:5060;transport=udp"
#define EPOCH 7

struct answer {
	bool done;
	unsigned int n;
	int err;
	struct p2p_candidate_set cands;
};

static void on_answer(int err, const struct p2p_candidate_set *cands, void *arg)
{
	struct answer *a = arg;

	a->done = true;
	a->n++;
	a->err = err;
	if (cands)
		a->cands = *cands;
}

/* Looks up and waits; returns how long it took, in ms. */
static unsigned int route(struct gw_fixture *f, const char *name, unsigned int deadline_ms,
			  bool fresh, struct answer *a)
{
	uint64_t begun = gw_mono(f->gw);

	memset(a, 0, sizeof(*a));
	gw_lookup(f->gw->lookups, name, strlen(name), deadline_ms, fresh, on_answer, a);
	assert_true(gw_fixture_wait(f, &a->done, deadline_ms + 1000));
	assert_int_equal(a->n, 1);
	return (unsigned int)(gw_mono(f->gw) - begun);
}

static void store(struct gw_fixture *f, const char *name, bool tombstone, int64_t shift_ms)
{
	uint8_t buf[P2P_RECORD_MAX];
	size_t len = gw_fixture_record(f, f->other, name, URI, tombstone, shift_ms, EPOCH, buf);

	fake_store_name(f, name, p2p_record_value_id(gw_identity_hit(f->other)), buf, len);
}

static void store_peer(struct gw_fixture *f, uint64_t epoch, int64_t lease_ms)
{
	uint8_t buf[P2P_RECORD_MAX];
	size_t len = gw_fixture_peer_record(f, f->other, epoch, lease_ms, buf);

	fake_store_peer(f, gw_identity_hit(f->other),
			p2p_record_value_id(gw_identity_hit(f->other)), buf, len);
}

static void test_found(void **state)
{
	struct gw_fixture *f = *state;
	struct answer a;

	store(f, "alice", false, 0);
	route(f, "alice", 1000, false, &a);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.cands.n, 1);
	assert_string_equal(a.cands.c[0].uri[0], URI);
	assert_int_equal(a.cands.c[0].flags, 0);
	assert_int_equal(p2p_hit_cmp(&a.cands.c[0].hit, gw_identity_hit(f->other)), 0);
}

/* The answer comes 15 ms after the first good record, whenever the search ends. */
static void test_found_before_the_search_ends(void **state)
{
	struct gw_fixture *f = *state;
	struct answer a;

	store(f, "alice", false, 0);
	fake.get_silent = true;
	assert_in_range(route(f, "alice", 1000, false, &a), P2P_SEARCH_GRACE_MS - 2, 300);
	assert_int_equal(a.err, 0);
}

static void test_cached(void **state)
{
	struct gw_fixture *f = *state;
	struct answer a;
	unsigned int gets;

	store(f, "alice", false, 0);
	store_peer(f, EPOCH, 30000);
	route(f, "alice", 1000, false, &a);
	gw_fixture_run(f, 20);
	gets = fake.gets;
	route(f, "alice", 1000, false, &a);
	assert_int_equal(a.err, 0);
	assert_int_equal(fake.gets, gets);
	route(f, "alice", 1000, true, &a);
	assert_int_equal(fake.gets, gets + 1);
	gw_fixture_run(f, 250);
	route(f, "alice", 1000, false, &a);
	assert_int_equal(fake.gets, gets + 2);
}

static void test_absent_after_two_searches(void **state)
{
	struct gw_fixture *f = *state;
	unsigned int gets;
	struct answer a;

	gw_fixture_run(f, 20); /* our own peer record's put is read back meanwhile */
	gets = fake.gets;
	route(f, "nobody", 1000, false, &a);
	assert_int_equal(a.err, ENOENT);
	assert_int_equal(fake.gets - gets, P2P_SEARCH_MISSES);
}

/* Searches that were not completed prove nothing, however many. */
static void test_incomplete_is_no_absence(void **state)
{
	struct gw_fixture *f = *state;
	struct answer a;

	fake.incomplete = 1000;
	assert_in_range(route(f, "nobody", 300, false, &a), 290, 800);
	assert_int_equal(a.err, ETIMEDOUT);
	/* one that is completed in the end, and one more */
	fake.incomplete = 2;
	route(f, "nobody", 1000, false, &a);
	assert_int_equal(a.err, ENOENT);
}

static void test_no_answer(void **state)
{
	struct gw_fixture *f = *state;
	struct answer a;

	fake.get_mute = true;
	assert_in_range(route(f, "nobody", 100, false, &a), 95, 600);
	assert_int_equal(a.err, ETIMEDOUT);
}

static void test_engine_busy(void **state)
{
	struct gw_fixture *f = *state;
	struct answer a;

	fake.get_busy = true;
	route(f, "nobody", 100, false, &a);
	assert_int_equal(a.err, ETIMEDOUT);
	assert_in_range(fake.gets, 2, 10); /* tried again, at a pace */
}

static void test_late_record(void **state)
{
	struct gw_fixture *f = *state;
	struct answer a;

	fake.get_delay_ms = 50;
	store(f, "alice", false, 0);
	assert_in_range(route(f, "alice", 1000, false, &a), 49, 500);
	assert_int_equal(a.err, 0);
}

static void test_tombstone(void **state)
{
	struct gw_fixture *f = *state;
	struct answer a;

	store(f, "alice", true, 0);
	route(f, "alice", 1000, false, &a);
	assert_int_equal(a.err, ENOENT);
}

/* An old record that someone puts again does not undo the withdrawal. */
static void test_replay(void **state)
{
	struct gw_fixture *f = *state;
	uint8_t old[P2P_RECORD_MAX];
	struct answer a;
	size_t len;

	len = gw_fixture_record(f, f->other, "alice", URI, false, -5000, EPOCH, old);
	store(f, "alice", true, 0);
	fake_store_name(f, "alice", 4712, old, len);
	route(f, "alice", 1000, false, &a);
	assert_int_equal(a.err, ENOENT);
}

static void test_lies(void **state)
{
	struct gw_fixture *f = *state;
	uint8_t buf[P2P_RECORD_MAX];
	unsigned int warnings;
	struct answer a;
	uint64_t good, bad = 0;
	size_t len;

	/* no record at all; too long; empty */
	fake_store_name(f, "alice", 1, "garbage", 7);
	memset(buf, 0x5a, sizeof(buf));
	fake_store_name(f, "alice", 2, buf, sizeof(buf));
	fake_store_name(f, "alice", 3, "", 0);
	/* a signature that does not hold */
	len = gw_fixture_record(f, f->other, "alice", URI, false, 0, EPOCH, buf);
	buf[len - 1] ^= 1;
	fake_store_name(f, "alice", 4, buf, len);
	/* a body that was changed */
	len = gw_fixture_record(f, f->other, "alice", URI, false, 0, EPOCH, buf);
	buf[P2P_RECORD_HEADER + 6] ^= 1;
	fake_store_name(f, "alice", 5, buf, len);
	/* another user's record */
	len = gw_fixture_record(f, f->other, "bob", URI, false, 0, EPOCH, buf);
	fake_store_name(f, "alice", 6, buf, len);
	/* one from the future */
	len = gw_fixture_record(f, f->other, "alice", URI, false, 200000, EPOCH, buf);
	fake_store_name(f, "alice", 7, buf, len);
	/* a peer's record in a user's place */
	len = gw_fixture_peer_record(f, f->other, EPOCH, 30000, buf);
	fake_store_name(f, "alice", 8, buf, len);
	gw_fixture_run(f, 20);
	good = f->gw->metrics.values_good;
	warnings = f->log_lines[P2P_LOG_WARN];
	route(f, "alice", 1000, false, &a);
	assert_int_equal(a.err, ENOENT);
	assert_int_equal(f->gw->metrics.values_good, good);
	/* each counted for what it is */
	for (int i = 0; i < P2P_RECORD_FAULTS; i++)
		bad += f->gw->metrics.values_bad[i];
	assert_int_equal(bad, 8 * P2P_SEARCH_MISSES);
	assert_int_equal(f->gw->metrics.values_bad[P2P_RECORD_BAD_MAGIC], 3 * P2P_SEARCH_MISSES);
	assert_int_equal(f->gw->metrics.values_bad[P2P_RECORD_BAD_SIGNATURE],
			 2 * P2P_SEARCH_MISSES);
	assert_int_equal(f->gw->metrics.values_bad[P2P_RECORD_BAD_KEY], P2P_SEARCH_MISSES);
	assert_int_equal(f->gw->metrics.values_bad[P2P_RECORD_BAD_FUTURE], P2P_SEARCH_MISSES);
	assert_int_equal(f->gw->metrics.values_bad[P2P_RECORD_BAD_KIND], P2P_SEARCH_MISSES);
	/* said once, not sixteen times */
	assert_int_equal(f->log_lines[P2P_LOG_WARN], warnings + 1);
	/* and a good one among them is found */
	store(f, "alice", false, 0);
	route(f, "alice", 1000, false, &a);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.cands.n, 1);
}

/* Those who ask at the same time share a search; each is answered once. */
static void test_shared(void **state)
{
	struct gw_fixture *f = *state;
	struct answer a[20];
	unsigned int gets;

	gw_fixture_run(f, 20);
	gets = fake.gets;
	fake.get_delay_ms = 20;
	store(f, "alice", false, 0);
	memset(a, 0, sizeof(a));
	for (int i = 0; i < 20; i++)
		gw_lookup(f->gw->lookups, "alice", 5, 1000, false, on_answer, &a[i]);
	assert_int_equal(gw_lookups_count(f->gw->lookups), 20);
	assert_true(gw_fixture_wait(f, &a[0].done, 1000));
	gw_fixture_run(f, 10);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(a[i].n, 1);
		assert_int_equal(a[i].err, 0);
	}
	/* one search, and one for the peer's record */
	assert_in_range(fake.gets - gets, 1, 2);
	assert_int_equal(gw_lookups_count(f->gw->lookups), 0);
}

/* One who can wait no longer does not end the search for the others. */
static void test_deadlines_of_their_own(void **state)
{
	struct gw_fixture *f = *state;
	struct answer a = {0}, b = {0};

	fake.get_delay_ms = 150;
	store(f, "alice", false, 0);
	gw_lookup(f->gw->lookups, "alice", 5, 50, false, on_answer, &a);
	gw_lookup(f->gw->lookups, "alice", 5, 1000, false, on_answer, &b);
	assert_true(gw_fixture_wait(f, &b.done, 2000));
	assert_int_equal(a.err, ETIMEDOUT);
	assert_int_equal(b.err, 0);
}

static void test_too_many(void **state)
{
	struct gw_fixture *f = *state;
	struct answer a[51];

	memset(a, 0, sizeof(a));
	fake.get_mute = true;
	for (int i = 0; i < 51; i++) {
		char name[16];

		snprintf(name, sizeof(name), "user%d", i);
		gw_lookup(f->gw->lookups, name, strlen(name), 100, false, on_answer, &a[i]);
	}
	assert_true(a[50].done);
	assert_int_equal(a[50].err, EBUSY);
	gw_fixture_run(f, 200);
	for (int i = 0; i < 50; i++)
		assert_int_equal(a[i].err, ETIMEDOUT);
}

static void test_bad_name(void **state)
{
	struct gw_fixture *f = *state;
	struct answer a;

	route(f, "", 100, false, &a);
	assert_int_equal(a.err, EINVAL);
}

/* What a peer's lease and epoch say of its users. */
static void test_peer_began_anew(void **state)
{
	struct gw_fixture *f = *state;
	struct answer a;

	store(f, "alice", false, 0);
	store_peer(f, EPOCH + 1, 30000);
	route(f, "alice", 1000, false, &a);
	gw_fixture_run(f, 20);
	/* it may not have put alice again yet: named, as one to be tried last */
	route(f, "alice", 1000, true, &a);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.cands.n, 1);
	assert_int_equal(a.cands.c[0].flags, P2P_CANDIDATE_LAPSED);
	/* and at the deadline of a search that does not end */
	fake.get_silent = true;
	route(f, "alice", 100, true, &a);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.cands.c[0].flags, P2P_CANDIDATE_LAPSED);
}

static void test_peer_lapsed(void **state)
{
	struct gw_fixture *f = *state;
	struct answer a;

	store(f, "alice", false, 0);
	store_peer(f, EPOCH, -5000);
	route(f, "alice", 1000, false, &a);
	assert_int_equal(a.cands.c[0].flags, 0);
	gw_fixture_run(f, 20);
	/* its absence is unknown: it is named, as one to be tried last */
	route(f, "alice", 1000, true, &a);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.cands.c[0].flags, P2P_CANDIDATE_LAPSED);
}

static void test_ourselves_left_out(void **state)
{
	struct gw_fixture *f = *state;
	char path[128], err[256];
	struct gw_identity *own;
	uint8_t buf[P2P_RECORD_MAX];
	struct answer a;
	size_t len;

	snprintf(path, sizeof(path), "%s/identity.pem", f->dir);
	assert_int_equal(gw_identity_load(&own, path, err, sizeof(err)), 0);
	len = gw_fixture_record(f, own, "alice", URI, false, 0, EPOCH, buf);
	fake_store_name(f, "alice", 1, buf, len);
	route(f, "alice", 1000, false, &a);
	assert_int_equal(a.err, ENOENT);
	store(f, "alice", false, 0);
	route(f, "alice", 1000, false, &a);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.cands.n, 1);
	gw_identity_free(own);
}

static void count_event(const char *name, size_t len, void *arg)
{
	(void)name;
	(void)len;
	++*(unsigned int *)arg;
}

/* A name that was looked up is watched: what changes is told. */
static void test_events(void **state)
{
	struct gw_fixture *f = *state;
	uint8_t buf[P2P_RECORD_MAX];
	unsigned int events = 0;
	struct answer a;
	size_t len;

	f->gw->users_event = count_event;
	f->gw->event_arg = &events;
	store(f, "alice", false, -1000);
	store_peer(f, EPOCH, 30000);
	route(f, "alice", 1000, false, &a);
	gw_fixture_run(f, 20);
	assert_int_equal(events, 0);
	/* the same again, signed anew: no news */
	len = gw_fixture_record(f, f->other, "alice", URI, false, -500, EPOCH, buf);
	fake_ring_name(f, "alice", buf, len);
	assert_int_equal(events, 0);
	len = gw_fixture_record(f, f->other, "alice", "", true, 0, EPOCH, buf);
	fake_ring_name(f, "alice", buf, len);
	assert_int_equal(events, 1);
	/* an echo */
	fake_ring_name(f, "alice", buf, len);
	fake_ring_name(f, "alice", "garbage", 7);
	assert_int_equal(events, 1);
}

struct peer_answer {
	bool done;
	int err;
	uint64_t epoch;
};

static void on_peer(int err, const struct p2p_record *rec, void *arg)
{
	struct peer_answer *a = arg;

	a->done = true;
	a->err = err;
	if (rec)
		a->epoch = rec->epoch;
}

static void test_peer(void **state)
{
	struct gw_fixture *f = *state;
	const struct p2p_hit *hit = gw_identity_hit(f->other);
	struct peer_answer a = {0};

	gw_peers_get(f->gw->peers, hit, 500, on_peer, &a);
	assert_true(gw_fixture_wait(f, &a.done, 1000));
	assert_int_equal(a.err, ENOENT);
	store_peer(f, EPOCH, 30000);
	a.done = false;
	gw_peers_get(f->gw->peers, hit, 500, on_peer, &a);
	assert_true(gw_fixture_wait(f, &a.done, 1000));
	assert_int_equal(a.err, 0);
	assert_int_equal(a.epoch, EPOCH);
	/* known now: at once */
	a.done = false;
	gw_peers_get(f->gw->peers, hit, 500, on_peer, &a);
	assert_true(a.done);
}

/* As for users: one completed search is no absence. */
static void test_peer_absent_after_two_searches(void **state)
{
	struct gw_fixture *f = *state;
	const struct p2p_hit *hit = gw_identity_hit(f->other);
	struct peer_answer a = {0};
	unsigned int gets;

	gw_fixture_run(f, 20); /* our own peer record's put is read back meanwhile */
	gets = fake.gets;
	gw_peers_get(f->gw->peers, hit, 2000, on_peer, &a);
	assert_true(gw_fixture_wait(f, &a.done, 3000));
	assert_int_equal(a.err, ENOENT);
	assert_int_equal(fake.gets - gets, 2);
}

/* What the first search missed the second one finds. */
static void test_peer_missed_once(void **state)
{
	struct gw_fixture *f = *state;
	struct peer_answer a = {0};
	unsigned int gets;

	gw_fixture_run(f, 20);
	gets = fake.gets;
	fake.get_delay_ms = 50;
	gw_peers_get(f->gw->peers, gw_identity_hit(f->other), 3000, on_peer, &a);
	for (int i = 0; i < 1000 && fake.gets < gets + 2 && !a.done; i++)
		gw_fixture_run(f, 2);
	assert_false(a.done);
	store_peer(f, EPOCH, 30000);
	assert_true(gw_fixture_wait(f, &a.done, 4000));
	assert_int_equal(a.err, 0);
	assert_int_equal(a.epoch, EPOCH);
	assert_int_equal(fake.gets - gets, 2);
}

static void test_peer_no_answer(void **state)
{
	struct gw_fixture *f = *state;
	struct peer_answer a = {0};

	fake.get_mute = true;
	gw_peers_get(f->gw->peers, gw_identity_hit(f->other), 50, on_peer, &a);
	assert_true(gw_fixture_wait(f, &a.done, 1000));
	assert_int_equal(a.err, ETIMEDOUT);
}

/* The gateway stops while lookups wait. */
static void test_stop(void **state)
{
	struct gw_fixture *f = *state;
	struct answer a = {0};

	fake.get_mute = true;
	gw_lookup(f->gw->lookups, "alice", 5, 10000, false, on_answer, &a);
	gw_fixture_restart(f);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.err, ETIMEDOUT);
}

#define T(name) cmocka_unit_test_setup_teardown(name, gw_fixture_setup, gw_fixture_teardown)

/* An earlier record in the place of a later one that was read already: not believed. */
static void test_replayed(void **state)
{
	struct gw_fixture *f = *state;
	uint64_t *bad = &f->gw->metrics.values_bad[P2P_RECORD_REPLAYED];
	struct answer a;
	uint64_t order;

	store_peer(f, EPOCH, 30000);
	store(f, "alice", false, 0);
	route(f, "alice", 1000, true, &a);
	assert_int_equal(a.err, 0);
	order = a.cands.c[0].order;
	store(f, "alice", false, -60000);
	route(f, "alice", 1000, true, &a);
	assert_int_equal(a.err, 0);
	assert_int_equal(a.cands.c[0].order, order);
	assert_int_equal(*bad, 1);
	assert_non_null(strstr(f->last_warn, "'alice' is ignored: older than one that is known"));
	/* one that was withdrawn since does not come back */
	store(f, "alice", true, 10);
	route(f, "alice", 1000, true, &a);
	assert_int_equal(a.err, ENOENT);
	store(f, "alice", false, -50000);
	route(f, "alice", 1000, true, &a);
	assert_int_equal(a.err, ENOENT);
	assert_true(*bad > 1);
	/* a later one is news */
	store(f, "alice", false, 20);
	route(f, "alice", 1000, true, &a);
	assert_int_equal(a.err, 0);
	/* what is dated ahead is neither believed nor remembered */
	store(f, "alice", false, 121000);
	route(f, "alice", 300, true, &a);
	assert_int_equal(a.err, ENOENT);
	assert_true(f->gw->metrics.values_bad[P2P_RECORD_BAD_FUTURE] > 0);
	store(f, "alice", false, 30);
	route(f, "alice", 1000, true, &a);
	assert_int_equal(a.err, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_found),
		T(test_found_before_the_search_ends),
		T(test_cached),
		T(test_absent_after_two_searches),
		T(test_incomplete_is_no_absence),
		T(test_no_answer),
		T(test_engine_busy),
		T(test_late_record),
		T(test_tombstone),
		T(test_replay),
		T(test_replayed),
		T(test_lies),
		T(test_shared),
		T(test_deadlines_of_their_own),
		T(test_too_many),
		T(test_bad_name),
		T(test_peer_began_anew),
		T(test_peer_lapsed),
		T(test_ourselves_left_out),
		T(test_events),
		T(test_peer),
		T(test_peer_absent_after_two_searches),
		T(test_peer_missed_once),
		T(test_peer_no_answer),
		T(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
