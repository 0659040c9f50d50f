/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hybrid logical clock, instance hashes, the merging of a user's records. */
#include "tests/unit/test.h"

#include "lib/model/lag.h"
#include "lib/model/candidate.h"
#include "lib/model/hlc.h"
#include "lib/model/userset.h"

#define T0 1767225600000ull

static void test_hlc(void **state)
{
	struct p2p_hlc hlc = {0};
	uint64_t order = 0;

	(void)state;
	assert_ok(p2p_hlc_next(&hlc, T0, 0, &order));
	assert_true(order == T0);
	assert_ok(p2p_hlc_next(&hlc, T0, order, &order)); /* it replaces that one */
	assert_true(order == T0 + 1);
	assert_ok(p2p_hlc_next(&hlc, T0 - 5000, order, &order)); /* the clock went back: never we */
	assert_true(order == T0 + 2);
	/* however many records there are, they do not get ahead of the clock */
	for (int i = 0; i < 1000; i++) {
		assert_ok(p2p_hlc_next(&hlc, T0 + 2, 0, &order));
		assert_true(order == T0 + 2);
	}
	assert_ok(p2p_hlc_next(&hlc, T0 + 50, order, &order));
	assert_true(order == T0 + 50);
	/* another peer's clock is fast, as far as it may be: we go past it all the same */
	assert_ok(p2p_hlc_see(&hlc, T0 + 120050, T0 + 50));
	assert_int_equal(p2p_hlc_next(&hlc, T0 + 50, 0, &order), ERANGE);
	assert_true(order == T0 + 50);
	assert_ok(p2p_hlc_next(&hlc, T0 + 51, 0, &order));
	assert_true(order == T0 + 120051);
	/* too far: not believed, not remembered */
	assert_int_equal(p2p_hlc_see(&hlc, UINT64_MAX, T0), ERANGE);
	assert_ok(p2p_hlc_see(&hlc, 0, T0));
	assert_ok(p2p_hlc_next(&hlc, T0 + 200000, 0, &order));
	assert_true(order == T0 + 200000);
}

static void test_instance(void **state)
{
	static const char a[] = "\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"";
	static const char b[] = "<urn:uuid:F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6>";
	static const char c[] = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
	static const char d[] = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf7";
	uint32_t h = p2p_instance_hash(a, sizeof(a) - 1);

	(void)state;
	assert_int_equal(h, p2p_instance_hash(b, sizeof(b) - 1));
	assert_int_equal(h, p2p_instance_hash(c, sizeof(c) - 1));
	assert_int_not_equal(h, p2p_instance_hash(d, sizeof(d) - 1));
	assert_int_not_equal(p2p_instance_hash("", 0), 0);
	/* frozen: peers compare it */
	assert_int_equal(p2p_instance_hash("a", 1), 0xe40c292cu);
}

/* Peers 0..n with what is known of them. */
static struct p2p_peer_state peers[64];

static struct p2p_hit hit_of(unsigned int i)
{
	struct p2p_hit hit = {{0x20, 0x01, 0x00, 0x22}};

	hit.b[15] = (uint8_t)i;
	return hit;
}

static void state_of(const struct p2p_hit *hit, struct p2p_peer_state *out, void *arg)
{
	(void)arg;
	*out = peers[hit->b[15]];
}

static int add(struct p2p_userset *set, unsigned int peer, uint64_t order, uint64_t epoch,
	       uint64_t expiry, bool tombstone)
{
	struct p2p_record rec = {
		.kind = P2P_RECORD_USER,
		.tombstone = tombstone,
		.order = order,
		.epoch = epoch,
		.expiry_ms = expiry,
	};
	struct p2p_hit hit = hit_of(peer);
	uint8_t bytes[P2P_SIG_LEN] = {0};

	if (!tombstone) {
		assert_ok(p2p_record_add_uri(&rec, "sip:192.0.2.1:5060;transport=udp", 32));
		assert_ok(p2p_record_add_uri(&rec, "sip:192.0.2.1:5060;transport=tcp", 32));
		p2p_record_add_instance(&rec, 77);
	}
	memcpy(bytes, &expiry, 8); /* stands for the signature, which differs when anything does */
	memcpy(bytes + 8, &order, 8);
	memcpy(bytes + 16, &epoch, 8);
	return p2p_userset_add(set, &rec, &hit, bytes, sizeof(bytes));
}

static void set_up(void)
{
	unsigned int i;

	for (i = 0; i < 64; i++) {
		peers[i].known = true;
		peers[i].epoch = 5;
		peers[i].lease_ms = T0 + 100000;
	}
}

static void test_merge(void **state)
{
	static struct p2p_userset set;
	struct p2p_candidate_set out;

	(void)state;
	set_up();
	p2p_userset_init(&set);
	assert_false(p2p_userset_any(&set, T0));
	assert_ok(add(&set, 1, T0, 5, T0 + 50000, false));
	assert_ok(add(&set, 2, T0 + 1, 5, T0 + 500000, false));
	assert_int_equal(add(&set, 1, T0 - 1, 5, T0 + 60000, false), EALREADY);
	assert_int_equal(add(&set, 1, T0, 5, T0 + 50000, false), EALREADY);
	assert_true(p2p_userset_next_expiry(&set, T0) == T0 + 50000);
	p2p_userset_candidates(&set, T0, NULL, state_of, NULL, &out);
	assert_int_equal(out.n, 2);
	assert_int_equal(out.c[0].hit.b[15], 2);   /* the newest first */
	assert_int_equal(out.c[0].ttl_ms, 100000); /* the lease is shorter than the record's life */
	assert_int_equal(out.c[0].flags, 0);
	assert_true(out.c[0].order == T0 + 1);
	assert_int_equal(out.c[0].n_uris, 2);
	assert_string_equal(out.c[0].uri[1], "sip:192.0.2.1:5060;transport=tcp");
	assert_int_equal(out.c[0].n_instances, 1);
	assert_int_equal(out.c[0].instance[0], 77);
	assert_int_equal(out.c[1].hit.b[15], 1);
	assert_int_equal(out.c[1].ttl_ms, 50000);

	/* a tombstone takes away what is older, in either order of arrival */
	assert_ok(add(&set, 1, T0 + 10, 5, T0 + 50000, true));
	assert_int_equal(add(&set, 1, T0 + 9, 5, T0 + 50000, false), EALREADY);
	p2p_userset_candidates(&set, T0, NULL, state_of, NULL, &out);
	assert_int_equal(out.n, 1);
	assert_int_equal(out.c[0].hit.b[15], 2);
	/* and at the same order too */
	assert_int_equal(add(&set, 1, T0 + 10, 5, T0 + 50000, false), EALREADY);
	assert_ok(add(&set, 1, T0 + 11, 5, T0 + 50000, false)); /* registered again */
	p2p_userset_candidates(&set, T0, NULL, state_of, NULL, &out);
	assert_int_equal(out.n, 2);
	assert_true(p2p_userset_any(&set, T0));
	assert_false(p2p_userset_any(&set, T0 + 500000));
	assert_true(p2p_userset_next_expiry(&set, T0 + 500000) == UINT64_MAX);
	p2p_userset_candidates(&set, T0 + 500000, NULL, state_of, NULL, &out);
	assert_int_equal(out.n, 0);
}

static void test_own(void **state)
{
	static struct p2p_userset set;
	struct p2p_candidate_set out;
	struct p2p_hit self = hit_of(1);

	(void)state;
	set_up();
	p2p_userset_init(&set);
	assert_ok(add(&set, 1, T0, 5, T0 + 50000, false));
	p2p_userset_candidates(&set, T0, &self, state_of, NULL, &out);
	assert_int_equal(out.n, 0);
}

static void test_leases(void **state)
{
	static struct p2p_userset set;
	struct p2p_candidate_set out;

	(void)state;
	set_up();
	p2p_userset_init(&set);
	assert_ok(add(&set, 1, T0 + 4, 5, T0 + 900000, false)); /* lapsed */
	assert_ok(add(&set, 2, T0 + 3, 5, T0 + 900000, false)); /* nothing known */
	assert_ok(add(&set, 3, T0 + 2, 5, T0 + 900000, false)); /* older epoch */
	assert_ok(add(&set, 4, T0 + 1, 5, T0 + 900000, false)); /* newer epoch than we know of */
	assert_ok(add(&set, 5, T0, 5, T0 + 900000, false));	/* usable */
	peers[1].lease_ms = T0;
	peers[2].known = false;
	peers[3].epoch = 6;
	peers[4].epoch = 4;
	p2p_userset_candidates(&set, T0, NULL, state_of, NULL, &out);
	assert_int_equal(out.n, 5);
	assert_int_equal(out.c[0].hit.b[15], 5);
	assert_int_equal(out.c[0].flags, 0);
	assert_int_equal(out.c[1].hit.b[15], 1);
	assert_int_equal(out.c[1].flags, P2P_CANDIDATE_LAPSED);
	assert_int_equal(out.c[1].ttl_ms, 900000);
	assert_int_equal(out.c[2].hit.b[15], 2);
	assert_int_equal(out.c[2].flags, P2P_CANDIDATE_LAPSED);
	/* it began anew and may not have come to this user yet: not absent for that */
	assert_int_equal(out.c[3].hit.b[15], 3);
	assert_int_equal(out.c[3].flags, P2P_CANDIDATE_LAPSED);
	assert_int_equal(out.c[3].ttl_ms, 900000);
	assert_int_equal(out.c[4].hit.b[15], 4);
	assert_int_equal(out.c[4].flags, P2P_CANDIDATE_LAPSED);
}

/* Every order of arrival gives the same answer. */
static void test_order_of_arrival(void **state)
{
	static struct p2p_userset set;
	struct p2p_candidate_set first, out;
	unsigned int perm, i;

	(void)state;
	set_up();
	for (perm = 0; perm < 720; perm++) {
		unsigned int left[6] = {0, 1, 2, 3, 4, 5}, n = 6, p = perm;

		p2p_userset_init(&set);
		for (i = 0; i < 6; i++, n--) {
			unsigned int k = p % n, which = left[k];

			p /= n;
			left[k] = left[n - 1];
			switch (which) {
			case 0:
				(void)add(&set, 1, T0, 5, T0 + 1000, false);
				break;
			case 1:
				(void)add(&set, 1, T0, 5, T0 + 2000, false); /* same order */
				break;
			case 2:
				(void)add(&set, 2, T0, 5, T0 + 1000, false);
				break;
			case 3:
				(void)add(&set, 2, T0, 5, T0 + 1000, true);
				break;
			case 4:
				(void)add(&set, 3, T0 - 1, 5, T0 + 1000, true);
				break;
			default:
				(void)add(&set, 3, T0, 5, T0 + 1000, false);
			}
		}
		p2p_userset_candidates(&set, T0, NULL, state_of, NULL, &out);
		assert_int_equal(out.n, 2);
		if (perm == 0)
			first = out;
		else
			assert_memory_equal(&first, &out, sizeof(out));
	}
}

/* A crowd (of liars, say) fills neither set; the newest count, and the usable ones first. */
static void test_crowd(void **state)
{
	static struct p2p_userset set;
	struct p2p_candidate_set out;
	unsigned int i;

	(void)state;
	set_up();
	p2p_userset_init(&set);
	for (i = 0; i < 64; i++)
		assert_ok(add(&set, i, T0 + i, 5, T0 + 900000, false));
	assert_int_equal(set.n, P2P_USERSET_MAX);
	assert_int_equal(add(&set, 1, T0 + 1, 5, T0 + 900000, false), ENOSPC);
	for (i = 40; i < 64; i++)
		peers[i].lease_ms = 0;
	p2p_userset_candidates(&set, T0, NULL, state_of, NULL, &out);
	assert_int_equal(out.n, P2P_CANDIDATES_MAX);
	for (i = 0; i < P2P_CANDIDATES_MAX; i++)
		assert_int_equal(out.c[i].hit.b[15], 39 - i);
}

static void test_peer(void **state)
{
	struct p2p_record rec = {.kind = P2P_RECORD_PEER, .order = T0, .expiry_ms = T0 + 1000000};
	struct p2p_hit hit = hit_of(9);
	struct p2p_candidate c;

	(void)state;
	rec.lease_ms = T0 + 180000;
	assert_ok(p2p_record_add_uri(&rec, "sip:[2001:db8::1]:5060;transport=tcp", 36));
	rec.locator[1] = rec.locator[0];
	rec.locator[1].service = P2P_SERVICE_GATEWAY; /* not a place for SIP */
	rec.n_locators = 2;
	p2p_candidate_from_peer(&c, &rec, &hit, T0);
	assert_int_equal(c.ttl_ms, 180000);
	assert_int_equal(c.flags, 0);
	assert_int_equal(c.n_uris, 1);
	assert_string_equal(c.uri[0], "sip:[2001:db8::1]:5060;transport=tcp");
	p2p_candidate_from_peer(&c, &rec, &hit, T0 + 180000);
	assert_int_equal(c.flags, P2P_CANDIDATE_LAPSED);
	assert_int_equal(c.ttl_ms, 0);
	assert_int_equal(p2p_userset_add(&(struct p2p_userset){0}, &rec, &hit, "", 0), EINVAL);
}

/* One long turn is none that lasts; turns that are late for long turn some away, then all. */
static void test_lag(void **state)
{
	struct p2p_lag l = {0};
	uint64_t now = 1000;
	uint32_t refused = 0;

	(void)state;
	p2p_lag_tick(&l, now);
	for (int i = 0; i < 20; i++)
		p2p_lag_tick(&l, now += P2P_LAG_TICK_MS);
	assert_int_equal(p2p_lag_lost_ms(&l, now), 0);
	assert_false(p2p_lag_refuses(&l, 0));
	/* up to now, whether the timer has run or not */
	assert_int_equal(p2p_lag_lost_ms(&l, now + P2P_LAG_TICK_MS + 5000), 5000);
	assert_false(p2p_lag_tick(&l, now += P2P_LAG_TICK_MS + 5000));
	assert_int_equal(p2p_lag_lost_ms(&l, now), 5000);
	assert_in_range(p2p_lag_mean_ms(&l), 1, P2P_LAG_SOME_MS);
	assert_false(p2p_lag_refuses(&l, 0));
	/* half of the way between some and all */
	for (int i = 0; i < 40; i++)
		p2p_lag_tick(&l, now += P2P_LAG_TICK_MS + (P2P_LAG_SOME_MS + P2P_LAG_ALL_MS) / 2);
	assert_true(l.behind);
	for (uint32_t i = 0; i < 16000; i++)
		refused += p2p_lag_refuses(&l, i);
	assert_in_range(refused, 7500, 8500);
	for (int i = 0; i < 40; i++)
		p2p_lag_tick(&l, now += P2P_LAG_TICK_MS + 2 * P2P_LAG_TURN_MAX_MS);
	for (uint32_t i = 0; i < 1000; i++)
		assert_true(p2p_lag_refuses(&l, i));
	/* and it is over within a few */
	for (int i = 0; i < 6; i++)
		p2p_lag_tick(&l, now += P2P_LAG_TICK_MS);
	assert_false(l.behind);
	assert_false(p2p_lag_refuses(&l, 0));
	assert_true(p2p_lag_is_ours(100, 400));
	assert_false(p2p_lag_is_ours(99, 400));
	assert_false(p2p_lag_is_ours(0, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hlc),    cmocka_unit_test(test_instance),
		cmocka_unit_test(test_merge),  cmocka_unit_test(test_own),
		cmocka_unit_test(test_leases), cmocka_unit_test(test_order_of_arrival),
		cmocka_unit_test(test_crowd),  cmocka_unit_test(test_peer),
		cmocka_unit_test(test_lag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
