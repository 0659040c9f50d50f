/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of published users: docs/states.md, row by row. */
#include "tests/unit/test.h"

#include "lib/model/moves.h"
#include "lib/model/published.h"
#include "tests/unit/alloc.h"

#define WALL 1767225600000ull
#define REPUT 1000000u
#define TOMB 60000u
#define LIFE 600000u /* of the records that are put */

static const struct p2p_published_config config = {
	.max = 100,
	.reput_ms = REPUT,
	.retry_min_ms = 1000,
	.retry_max_ms = 8000,
	.orphan_ms = 3600000,
	.tombstone_ms = TOMB,
	.hash_key = {{7}},
};

enum { K1 = 11, K2 = 22 };

static struct p2p_published *p;
static uint64_t now, seen;
static struct p2p_published_job job;

static int set_up(void **state)
{
	(void)state;
	now = 1000;
	return p2p_published_new(&p, &config);
}

static int tear_down(void **state)
{
	(void)state;
	p2p_published_free(p);
	p = NULL;
	return 0;
}

static int publish(const char *name, uint64_t kamailio, uint64_t seq, uint32_t instance)
{
	return p2p_published_publish(p, name, strlen(name), kamailio, seq, &instance, 1, now,
				     &seen);
}

static int withdraw(const char *name, uint64_t kamailio, uint64_t seq)
{
	return p2p_published_withdraw(p, name, strlen(name), kamailio, seq, now, &seen);
}

static void done(enum p2p_put_result result)
{
	p2p_published_done(p, job.id, result, WALL + now, WALL + now + LIFE, WALL + now, now);
}

static void next_is(const char *name, bool tombstone)
{
	assert_ok(p2p_published_next(p, now, &job));
	assert_string_equal(job.name, name);
	assert_int_equal(job.tombstone, tombstone);
}

static void nothing_due(void)
{
	assert_int_equal(p2p_published_next(p, now, &job), ENOENT);
}

static void is(const char *name, enum p2p_desired desired, enum p2p_put_state put, bool dirty)
{
	struct p2p_published_info info;

	assert_ok(p2p_published_get(p, name, strlen(name), &info));
	assert_string_equal(p2p_desired_text(info.desired), p2p_desired_text(desired));
	assert_string_equal(p2p_put_state_text(info.put), p2p_put_state_text(put));
	assert_int_equal(info.dirty, dirty);
}

static void unknown(const char *name)
{
	struct p2p_published_info info;

	assert_int_equal(p2p_published_get(p, name, strlen(name), &info), ENOENT);
}

static int serves(const char *name)
{
	return p2p_published_serves(p, name, strlen(name));
}

/* The first connection of an instance, or of its next life. */
static void connect_anew(uint64_t kamailio)
{
	assert_true(p2p_published_connected(p, kamailio));
	p2p_published_begin(p, kamailio);
}

static void published(const char *name, uint64_t kamailio, uint64_t seq)
{
	assert_ok(publish(name, kamailio, seq, 1));
	next_is(name, false);
	done(P2P_PUT_OK);
}

static void test_life(void **state)
{
	(void)state;
	assert_true(p2p_published_due(p) == UINT64_MAX);
	connect_anew(K1);
	assert_int_equal(serves("alice"), 0);
	assert_ok(publish("alice", K1, 1, 5));
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_NOTHING, true);
	assert_int_equal(serves("alice"), 1);
	assert_true(p2p_published_due(p) == now);
	next_is("alice", false);
	assert_true(job.first);
	assert_int_equal(job.n_instances, 1);
	assert_int_equal(job.instance[0], 5);
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_PUTTING, false);
	nothing_due();
	done(P2P_PUT_OK);
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_PUT, false);
	/* put again within reput_ms, up to a quarter before */
	assert_in_range(p2p_published_due(p), now + REPUT * 3 / 4, now + REPUT);
	/* a REGISTER that changes nothing publishes nothing */
	assert_int_equal(publish("alice", K1, 2, 5), EALREADY);
	nothing_due();
	now += REPUT;
	next_is("alice", false);
	assert_false(job.first);
	done(P2P_PUT_OK);
	/* another phone */
	assert_ok(publish("alice", K1, 3, 6));
	next_is("alice", false);
	assert_int_equal(job.instance[0], 6);
	done(P2P_PUT_OK);
	/* gone: a tombstone that lives as long as what it kills, told again until then */
	assert_ok(withdraw("alice", K1, 4));
	assert_int_equal(serves("alice"), 0);
	next_is("alice", true);
	assert_true(job.last_expiry_ms == WALL + now + LIFE);
	is("alice", P2P_DESIRED_GONE, P2P_PUT_KILLING, false);
	done(P2P_PUT_OK);
	is("alice", P2P_DESIRED_GONE, P2P_PUT_KILLED, false);
	nothing_due();
	assert_true(p2p_published_due(p) == now + TOMB);
	now += TOMB;
	next_is("alice", true);
	done(P2P_PUT_OK);
	now += LIFE - TOMB;
	nothing_due();
	unknown("alice");
	assert_true(p2p_published_due(p) == UINT64_MAX);
}

static void test_sequence(void **state)
{
	(void)state;
	connect_anew(K1);
	published("alice", K1, 5);
	assert_int_equal(publish("alice", K1, 4, 9), ESTALE);
	assert_true(seen == 5);
	seen = 0;
	assert_int_equal(withdraw("alice", K1, 4), ESTALE);
	assert_true(seen == 5);
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_PUT, false);
	assert_int_equal(publish("alice", K1, 5, 1), EALREADY); /* said twice: the same */
	/* another instance counts from its own start */
	assert_int_equal(publish("alice", K2, 1, 1), EALREADY);
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_PUT, false);
	connect_anew(K2);
	assert_int_equal(withdraw("alice", K1, 99), EBUSY); /* K2 has it now */
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_PUT, false);
	assert_ok(withdraw("alice", K2, 2));
	assert_ok(withdraw("alice", K2, 2));
	assert_int_equal(withdraw("bob", K2, 3), ENOENT);
	assert_int_equal(publish("", K1, 1, 1), EINVAL);
	assert_int_equal(publish("a\r\n", K1, 1, 1), EINVAL);
}

/* Whatever is asked while a put is in flight is done after it. */
static void test_in_flight(void **state)
{
	(void)state;
	assert_ok(publish("alice", K1, 1, 1));
	next_is("alice", false);
	assert_int_equal(publish("alice", K1, 2, 1), EALREADY);
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_PUTTING, false);
	assert_ok(publish("alice", K1, 3, 2));
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_PUTTING, true);
	nothing_due();
	done(P2P_PUT_OK);
	next_is("alice", false);
	assert_int_equal(job.instance[0], 2);
	assert_ok(withdraw("alice", K1, 4)); /* while it is put */
	nothing_due();
	done(P2P_PUT_OK);
	next_is("alice", true);
	assert_ok(publish("alice", K1, 5, 2)); /* while it is killed */
	done(P2P_PUT_OK);
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_KILLED, true);
	next_is("alice", false);
	assert_ok(withdraw("alice", K1, 6)); /* and changed its mind twice */
	assert_ok(publish("alice", K1, 7, 2));
	done(P2P_PUT_OK);
	next_is("alice", false); /* once too often does no harm */
	done(P2P_PUT_OK);
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_PUT, false);
	nothing_due();
}

static void test_withdrawn_before_put(void **state)
{
	(void)state;
	assert_ok(publish("alice", K1, 1, 1));
	assert_ok(withdraw("alice", K1, 2));
	unknown("alice"); /* nobody was told: nobody need be told */
	nothing_due();
	assert_ok(publish("alice", K1, 3, 1));
	next_is("alice", false);
	assert_ok(withdraw("alice", K1, 4));
	/* the put failed before anything was sent */
	p2p_published_done(p, job.id, P2P_PUT_FAILED, 0, 0, WALL, now);
	nothing_due();
	unknown("alice");
	/* it failed, but may have reached somebody */
	assert_ok(publish("alice", K1, 5, 1));
	next_is("alice", false);
	assert_ok(withdraw("alice", K1, 6));
	done(P2P_PUT_FAILED);
	next_is("alice", true);
	assert_false(job.first);
}

static void test_retry(void **state)
{
	static const uint64_t delay[] = {1000, 2000, 4000, 8000, 8000};
	struct p2p_published_info info;
	size_t i;

	(void)state;
	assert_ok(publish("alice", K1, 1, 1));
	for (i = 0; i < sizeof(delay) / sizeof(delay[0]); i++) {
		next_is("alice", false);
		done(P2P_PUT_FAILED);
		assert_in_range(p2p_published_due(p), now + delay[i] * 3 / 4, now + delay[i]);
		is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_NOTHING, true);
		assert_ok(p2p_published_get(p, "alice", 5, &info));
		assert_int_equal(info.failures, i + 1);
		nothing_due();
		now = p2p_published_due(p);
	}
	/* news do not wait for the retry of the old */
	next_is("alice", false);
	done(P2P_PUT_FAILED);
	assert_ok(publish("alice", K1, 2, 9));
	next_is("alice", false);
	done(P2P_PUT_OK);
	assert_ok(p2p_published_get(p, "alice", 5, &info));
	assert_int_equal(info.failures, 0);
	/* a tombstone that failed is tried again too */
	assert_ok(withdraw("alice", K1, 3));
	next_is("alice", true);
	done(P2P_PUT_FAILED);
	is("alice", P2P_DESIRED_GONE, P2P_PUT_PUT, true);
	now = p2p_published_due(p);
	next_is("alice", true);
	done(P2P_PUT_OK);
}

static void test_stale(void **state)
{
	struct p2p_published_info info;
	int i;

	(void)state;
	assert_ok(publish("alice", K1, 1, 1));
	for (i = 0; i < 3; i++) {
		next_is("alice", false);
		done(P2P_PUT_STALE); /* signed again at once */
	}
	next_is("alice", false);
	done(P2P_PUT_STALE); /* somebody is broken: not for ever */
	nothing_due();
	now = p2p_published_due(p);
	next_is("alice", false);
	done(P2P_PUT_OK);
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_PUT, false);
	/* a holder says so when the majority has it: after a while, and once */
	assert_ok(p2p_published_get(p, "alice", 5, &info));
	p2p_published_stale(p, "alice", 5, info.order - 1, now);
	p2p_published_stale(p, "bob", 3, info.order, now);
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_PUT, false);
	p2p_published_stale(p, "alice", 5, info.order, now);
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_PUT, true);
	nothing_due();
	now = p2p_published_due(p);
	next_is("alice", false);
	assert_int_equal(job.last_order, info.order);
	p2p_published_stale(p, "alice", 5, info.order, now); /* just being put */
	done(P2P_PUT_OK);
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_PUT, false);
}

static void test_late_answer(void **state)
{
	struct p2p_published_job old;

	(void)state;
	assert_ok(publish("alice", K1, 1, 1));
	next_is("alice", false);
	old = job;
	done(P2P_PUT_FAILED);
	now += 10000;
	next_is("alice", false);
	/* the first attempt's answer comes after all, and is not taken for the second's */
	p2p_published_done(p, old.id, P2P_PUT_OK, 1, WALL, WALL, now);
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_PUTTING, false);
	done(P2P_PUT_OK);
	done(P2P_PUT_FAILED); /* twice */
	p2p_published_done(p, 12345678, P2P_PUT_OK, 1, WALL, WALL, now);
	is("alice", P2P_DESIRED_CLAIMED, P2P_PUT_PUT, false);
}

/* Kamailio restarts: nothing is withdrawn but after orphan_ms. */
static void test_orphans(void **state)
{
	(void)state;
	connect_anew(K1);
	published("alice", K1, 1);
	published("bob", K1, 2);
	published("carol", K1, 3);
	assert_int_equal(p2p_published_synced(p, K1, now), 0);
	p2p_published_disconnected(p, K1);
	assert_int_equal(serves("alice"), 1);
	now += 5000;
	connect_anew(K2);
	assert_int_equal(publish("alice", K2, 1, 1), EALREADY);
	assert_int_equal(p2p_published_synced(p, K2, now), 2);
	assert_int_equal(serves("alice"), 1);
	assert_int_equal(serves("bob"), 2);
	nothing_due();					      /* still published */
	assert_int_equal(publish("bob", K2, 2, 1), EALREADY); /* his phone came back */
	assert_int_equal(serves("bob"), 1);
	/* a second synchronisation gives carol no new time */
	now += 100000;
	p2p_published_disconnected(p, K2);
	connect_anew(K2);
	assert_int_equal(publish("alice", K2, 3, 1), EALREADY);
	assert_int_equal(publish("bob", K2, 4, 1), EALREADY);
	assert_int_equal(p2p_published_synced(p, K2, now), 1);
	for (;;) { /* re-puts go on, hers too */
		now = p2p_published_due(p);
		if (now >= 6000 + 3600000)
			break;
		assert_ok(p2p_published_next(p, now, &job));
		assert_false(job.tombstone);
		done(P2P_PUT_OK);
	}
	assert_true(now == 6000 + 3600000);
	next_is("carol", true);
	assert_int_equal(serves("carol"), 0);
	done(P2P_PUT_OK);
	assert_int_equal(serves("alice"), 1);
}

/* The same instance came back and did not name a user again: orphan, not withdrawn. Its second
 * connection (SUBSCRIBE) begins no synchronisation of its own. */
static void test_same_instance(void **state)
{
	(void)state;
	connect_anew(K1);
	published("alice", K1, 1);
	published("bob", K1, 2);
	assert_true(p2p_published_connected(p, K1));
	assert_int_equal(p2p_published_synced(p, K1, now), 0);
	p2p_published_disconnected(p, K1);
	p2p_published_disconnected(p, K1);
	p2p_published_disconnected(p, K1); /* once too often */
	connect_anew(K1);
	assert_int_equal(publish("alice", K1, 3, 1), EALREADY);
	assert_int_equal(p2p_published_synced(p, K1, now), 1);
	assert_int_equal(serves("bob"), 2);
	assert_ok(withdraw("bob", K1, 4)); /* orphans can be withdrawn */
	assert_int_equal(serves("bob"), 0);
}

static void test_empty_sync(void **state)
{
	struct p2p_published_stats st;

	(void)state;
	connect_anew(K1);
	published("alice", K1, 1);
	published("bob", K1, 2);
	p2p_published_disconnected(p, K1);
	connect_anew(K2);
	assert_int_equal(p2p_published_synced(p, K2, now), 2);
	nothing_due();
	p2p_published_stats(p, &st);
	assert_int_equal(st.orphans, 2);
	assert_int_equal(st.claimed + st.gone + st.in_flight + st.dirty, 0);
	assert_int_equal(st.entries, 2);
}

static void test_renew(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 20; i++) {
		char name[8];

		snprintf(name, sizeof(name), "u%u", i);
		published(name, K1, i + 1);
	}
	assert_ok(withdraw("u19", K1, 30));
	next_is("u19", true);
	done(P2P_PUT_OK);
	p2p_published_renew(p, now, 10000);
	assert_in_range(p2p_published_due(p), now, now + 5000);
	now += 10000;
	for (i = 0; i < 19; i++) {
		assert_ok(p2p_published_next(p, now, &job));
		assert_false(job.tombstone);
		if (i == 18) {
			/* a new epoch while it is in flight: again after it */
			p2p_published_renew(p, now, 0);
		}
		done(P2P_PUT_OK);
	}
	for (i = 0; i < 19; i++) {
		assert_ok(p2p_published_next(p, now, &job));
		done(P2P_PUT_OK);
	}
	nothing_due();
}

static void test_withdraw_all(void **state)
{
	(void)state;
	published("alice", K1, 1);
	assert_ok(publish("bob", K1, 2, 1)); /* never put */
	assert_ok(publish("carol", K1, 3, 1));
	now++;
	assert_ok(p2p_published_next(p, now, &job));
	p2p_published_withdraw_all(p, now);
	done(P2P_PUT_OK);
	assert_ok(p2p_published_next(p, now, &job));
	assert_true(job.tombstone);
	done(P2P_PUT_OK);
	assert_ok(p2p_published_next(p, now, &job));
	assert_true(job.tombstone);
	done(P2P_PUT_OK);
	nothing_due();
	assert_int_equal(serves("alice") + serves("bob") + serves("carol"), 0);
}

static void count(const struct p2p_published_info *info, void *arg)
{
	unsigned int i = (unsigned int)atoi(info->name + 1);

	assert_true(i < 100);
	((unsigned int *)arg)[i]++;
}

static void test_full_and_scan(void **state)
{
	unsigned int told[100] = {0}, i, pages = 0;
	uint64_t cursor = 0;
	char name[16];

	(void)state;
	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "u%u", i);
		assert_ok(publish(name, K1, i, 1));
	}
	assert_int_equal(publish("onemore", K1, 100, 1), ENOSPC);
	do {
		p2p_published_scan(p, &cursor, 7, count, told);
		assert_true(pages++ < 100);
	} while (cursor != 0);
	assert_true(pages >= 100 / 7);
	for (i = 0; i < 100; i++)
		assert_int_equal(told[i], 1);
	/* a tombstone that was told makes room */
	next_is("u0", false);
	done(P2P_PUT_OK);
	assert_ok(withdraw("u0", K1, 200));
	assert_int_equal(publish("onemore", K1, 201, 1), ENOSPC);
	for (i = 1; i < 100; i++) {
		assert_ok(p2p_published_next(p, now, &job));
		done(P2P_PUT_OK);
	}
	assert_ok(p2p_published_next(p, now, &job));
	assert_true(job.tombstone);
	assert_int_equal(publish("onemore", K1, 202, 1), ENOSPC); /* not while it is in flight */
	done(P2P_PUT_OK);
	assert_ok(publish("onemore", K1, 203, 1));
	unknown("u0");
}

/* Taken back while its tombstone was told: no longer one that makes room. */
static void test_taken_back(void **state)
{
	unsigned int i;
	char name[16];

	(void)state;
	published("alice", K1, 1);
	assert_ok(withdraw("alice", K1, 2));
	next_is("alice", true);
	done(P2P_PUT_OK);
	assert_ok(publish("alice", K1, 3, 1));
	for (i = 0; i < 99; i++) {
		snprintf(name, sizeof(name), "u%u", i);
		assert_ok(publish(name, K1, i + 4, 1));
	}
	assert_int_equal(publish("onemore", K1, 200, 1), ENOSPC);
	assert_int_equal(serves("alice"), 1);
}

static void test_instances(void **state)
{
	static const uint32_t in[] = {9, 3, 0, 9, 7, 1, 2, 8, 6, 5, 4, 11, 10};
	static const uint32_t same[] = {1, 2, 3, 4, 5, 6, 7, 8};
	struct p2p_published_info info;
	unsigned int i;

	(void)state;
	assert_ok(p2p_published_publish(p, "alice", 5, K1, 1, in, 13, now, &seen));
	assert_ok(p2p_published_get(p, "alice", 5, &info));
	assert_int_equal(info.n_instances, 8);
	for (i = 0; i < 8; i++)
		assert_int_equal(info.instance[i], i + 1);
	assert_int_equal(p2p_published_publish(p, "alice", 5, K1, 2, same, 8, now, &seen),
			 EALREADY);
	assert_ok(p2p_published_publish(p, "alice", 5, K1, 3, NULL, 0, now, &seen));
}

static void test_configure(void **state)
{
	struct p2p_published_config other = config;

	(void)state;
	published("alice", K1, 1);
	other.reput_ms = 100;
	other.max = 1;
	other.hash_key.b[0] = 99;
	p2p_published_configure(p, &other);
	assert_int_equal(serves("alice"), 1);
	assert_ok(publish("bob", K1, 2, 1));
	next_is("bob", false);
	done(P2P_PUT_OK);
	assert_in_range(p2p_published_due(p), now + 75, now + 100);
	other.reput_ms = 0;
	assert_int_equal(p2p_published_new(&p, &other), EINVAL);
}

/* Against a model: random wishes and results, and in the end the DHT holds what is wanted. */
static void test_random(void **state)
{
	enum { USERS = 30, STEPS = 20000 };
	static struct {
		bool want, out;
		uint32_t want_instance, out_instance;
	} user[USERS];
	static struct p2p_published_job flight[8];
	unsigned int n_flight = 0, i, step;
	uint64_t seq = 1, r = 88172645463325252ull;
	char name[16];

	(void)state;
	memset(user, 0, sizeof(user));
	connect_anew(K1);
	for (step = 0; step < STEPS + 1000; step++) {
		bool calm = step >= STEPS;

		r ^= r << 13;
		r ^= r >> 7;
		r ^= r << 17;
		i = (unsigned int)(r >> 8) % USERS;
		snprintf(name, sizeof(name), "u%u", i);
		switch (calm ? 4 + r % 4 : r % 8) {
		case 0:
		case 1:
			user[i].want_instance = 1 + (uint32_t)(r >> 40) % 3;
			user[i].want = true;
			(void)publish(name, K1, seq++, user[i].want_instance);
			break;
		case 2:
		case 3:
			user[i].want = false;
			(void)withdraw(name, K1, seq++);
			break;
		case 4:
		case 5:
			if (n_flight < 8 && p2p_published_next(p, now, &flight[n_flight]) == 0)
				n_flight++;
			break;
		case 6:
			if (n_flight > 0) {
				unsigned int k = (unsigned int)(r >> 20) % n_flight;
				enum p2p_put_result res =
					calm ? P2P_PUT_OK : (enum p2p_put_result)((r >> 30) % 3);

				job = flight[k];
				flight[k] = flight[--n_flight];
				i = (unsigned int)atoi(job.name + 1);
				/* a failed one may have got through */
				if (res == P2P_PUT_OK || (r >> 35) % 2 == 0) {
					user[i].out = !job.tombstone;
					user[i].out_instance = job.instance[0];
				}
				done(res);
			}
			break;
		default:
			now += r >> 50 & 1023;
		}
	}
	for (i = 0; i < USERS; i++) {
		assert_int_equal(user[i].out, user[i].want);
		if (user[i].out)
			assert_int_equal(user[i].out_instance, user[i].want_instance);
		snprintf(name, sizeof(name), "u%u", i);
		assert_int_equal(serves(name), user[i].want);
	}
}

static int allocate(void *arg)
{
	struct p2p_published *q = NULL;
	unsigned int i;
	int err = p2p_published_new(&q, &config);

	(void)arg;
	for (i = 0; err == 0 && i < 70; i++) {
		char name[16];

		snprintf(name, sizeof(name), "u%u", i);
		err = p2p_published_publish(q, name, strlen(name), K1, 1, NULL, 0, now, &seen);
	}
	p2p_published_free(q);
	return err;
}

static void test_alloc(void **state)
{
	(void)state;
	alloc_loop(allocate, NULL, false);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static const uint64_t none = UINT64_MAX;

/* UINT64_MAX: it is not here. */
static uint64_t age_of(const struct p2p_published *t, const char *name, uint32_t instance,
		       uint64_t now_ms, bool *older)
{
	uint64_t age;

	return p2p_published_age(t, name, 1, instance, now_ms, &age, older) ? age : none;
}

/* For how long a phone has been here: from when it was first named, whatever is told after that. */
static void test_ages(void **state)
{
	struct p2p_published *t;
	struct p2p_published_config cfg = {.max = 8,
					   .reput_ms = 1000,
					   .retry_min_ms = 100,
					   .retry_max_ms = 1000,
					   .orphan_ms = 1000,
					   .tombstone_ms = 1000};
	const uint32_t one[] = {1}, two[] = {1, 2}, other[] = {2};
	uint64_t last;
	bool older;

	(void)state;
	assert_int_equal(p2p_published_new(&t, &cfg), 0);
	assert_int_equal(p2p_published_publish(t, "a", 1, 7, 1, one, 1, 10000, &last), 0);
	assert_true(age_of(t, "a", 1, 20000, &older) <= 10000);
	assert_true(age_of(t, "a", 1, 20000, &older) >= 9800);
	assert_int_equal(age_of(t, "a", 2, 20000, &older), UINT64_MAX);
	assert_int_equal(age_of(t, "b", 1, 20000, &older), UINT64_MAX);
	/* a second one comes: it is younger */
	assert_int_equal(p2p_published_publish(t, "a", 1, 7, 2, two, 2, 15000, &last), 0);
	assert_true(age_of(t, "a", 1, 20000, &older) >= 9800);
	assert_true(age_of(t, "a", 2, 20000, &older) <= 5000);
	/* it was gone meanwhile: it begins anew */
	assert_int_equal(p2p_published_publish(t, "a", 1, 7, 3, other, 1, 16000, &last), 0);
	assert_int_equal(age_of(t, "a", 1, 20000, &older), UINT64_MAX);
	assert_int_equal(p2p_published_publish(t, "a", 1, 7, 4, two, 2, 18000, &last), 0);
	assert_true(age_of(t, "a", 1, 20000, &older) <= 2000);
	assert_true(age_of(t, "a", 2, 20000, &older) >= 4800);
	/* withdrawn: all are gone */
	assert_int_equal(p2p_published_withdraw(t, "a", 1, 7, 5, 18500, &last), 0);
	assert_int_equal(age_of(t, "a", 2, 20000, &older), UINT64_MAX);
	p2p_published_publish(t, "a", 1, 7, 6, two, 2, 19000, &last);
	assert_true(age_of(t, "a", 2, 20000, &older) <= 1000);
	assert_false(older);
	/* of a former life: at least since then */
	assert_int_equal(p2p_published_publish(t, "c", 1, 7, 0, one, 1, 10000, &last), 0);
	p2p_published_publish(t, "c", 1, 7, 1, two, 2, 11000, &last);
	assert_int_equal(age_of(t, "c", 1, 20000, &older), 10000);
	assert_true(older);
	assert_int_equal(age_of(t, "c", 2, 20000, &older), 9000);
	assert_false(older);
	p2p_published_free(t);
}

/* --- phones that have gone to another peer (moves.h) --- */

static void test_moves_concern(void **state)
{
	struct p2p_published_info here = {.n_instances = 2, .instance = {5, 9}};
	const uint32_t other[] = {4, 6}, same[] = {4, 9};

	(void)state;
	assert_true(p2p_moves_concern(&here, same, 2));
	assert_false(p2p_moves_concern(&here, same, 1));
	assert_false(p2p_moves_concern(&here, other, 2));
	assert_false(p2p_moves_concern(&here, NULL, 0));
	here.desired = P2P_DESIRED_ORPHAN; /* nobody here to be told */
	assert_false(p2p_moves_concern(&here, same, 2));
	here.desired = P2P_DESIRED_GONE;
	assert_false(p2p_moves_concern(&here, same, 2));
	here.desired = P2P_DESIRED_CLAIMED;
	here.n_instances = 0;
	assert_false(p2p_moves_concern(&here, same, 2));
}

static size_t over(uint32_t instance, uint64_t age_ms, uint32_t out[2])
{
	/* one more, that is not here */
	const struct p2p_moves_phone there[] = {{77, 0}, {instance, age_ms}};

	return p2p_moves_over(p, "alice", 5, there, 2, now, out);
}

static void test_moves_over(void **state)
{
	uint32_t both[] = {5, 9}, out[2];

	(void)state;
	assert_ok(publish("alice", K1, 1, 5));
	now += 1000;
	/* it came there later, at the same time, earlier */
	assert_int_equal(over(5, 999, out), 1);
	assert_int_equal(out[0], 5);
	assert_int_equal(over(5, 1000, out), 0);
	assert_int_equal(over(5, 1001, out), 0);
	/* another one of the same user is not touched, and neither is one that is gone */
	assert_int_equal(over(9, 0, out), 0);
	assert_int_equal(p2p_published_publish(p, "alice", 5, K1, 2, both, 2, now, &seen), 0);
	now += 10;
	assert_int_equal(over(9, 500, out), 0);
	assert_int_equal(over(9, 5, out), 1);
	assert_ok(withdraw("alice", K1, 3));
	assert_int_equal(over(5, 0, out), 0);
	/* of a former life: at least since then */
	assert_ok(p2p_published_publish(p, "bob", 3, K1, 0, both, 2, now, &seen));
	now += 100;
	assert_int_equal(p2p_moves_over(p, "bob", 3, &(struct p2p_moves_phone){5, 50}, 1, now, out),
			 1);
	assert_int_equal(
		p2p_moves_over(p, "bob", 3, &(struct p2p_moves_phone){5, 150}, 1, now, out), 0);
}

static void test_moves_limit(void **state)
{
	struct p2p_moves_limit *l = calloc(1, sizeof(*l));

	(void)state;
	assert_true(p2p_moves_may(l, 42, 1000));
	assert_true(p2p_moves_may(l, 42, 2000));
	assert_false(p2p_moves_may(l, 42, 3000));
	assert_false(p2p_moves_may(l, 42, 1000 + P2P_MOVES_MS - 1));
	assert_true(p2p_moves_may(l, 43, 3000)); /* another phone */
	assert_true(p2p_moves_may(l, 42, 1000 + P2P_MOVES_MS));
	/* of two that share a place the later one is known */
	assert_true(p2p_moves_may(l, 42 + P2P_MOVES_PLACES, 2000 + P2P_MOVES_MS));
	assert_true(p2p_moves_may(l, 42, 3000 + P2P_MOVES_MS));
	assert_true(p2p_moves_may(l, 0, 0)); /* the place of a key of 0 is empty, too */
	assert_true(p2p_moves_may(l, 0, 0));
	assert_false(p2p_moves_may(l, 0, 0));
	free(l);
}

/* A connection is lost, and the same instance goes on: what it named is still named. */
static void test_resume(void **state)
{
	uint64_t seq = 0;

	(void)state;
	assert_int_equal(p2p_published_resume(p, K1, &seq), ENOENT);
	assert_true(p2p_published_connected(p, K1));
	assert_int_equal(p2p_published_resume(p, K1, &seq), ENOENT); /* it has named nobody */
	p2p_published_begin(p, K1);
	published("alice", K1, 1);
	published("bob", K1, 2);
	/* in the middle, before SYNCED */
	p2p_published_disconnected(p, K1);
	assert_true(p2p_published_connected(p, K1));
	assert_ok(p2p_published_resume(p, K1, &seq));
	assert_int_equal(seq, 2);
	published("carol", K1, 3);
	assert_int_equal(p2p_published_synced(p, K1, now), 0);
	/* a wish that changes nothing counts as taken, one that is stale does not */
	assert_int_equal(publish("alice", K1, 9, 1), EALREADY);
	assert_int_equal(publish("alice", K1, 8, 1), ESTALE);
	assert_int_equal(withdraw("nobody", K1, 10), ENOENT);
	p2p_published_disconnected(p, K1);
	assert_true(p2p_published_connected(p, K1));
	assert_ok(p2p_published_resume(p, K1, &seq));
	assert_int_equal(seq, 10);
	/* anew, and one is not named again */
	p2p_published_begin(p, K1);
	assert_int_equal(publish("alice", K1, 11, 1), EALREADY);
	assert_int_equal(publish("bob", K1, 12, 1), EALREADY);
	assert_int_equal(p2p_published_synced(p, K1, now), 1);
	assert_int_equal(serves("carol"), 2);
	/* its own orphans are no reason, but those that another one made are */
	assert_ok(p2p_published_resume(p, K1, &seq));
	p2p_published_disconnected(p, K1);
	connect_anew(K2);
	assert_int_equal(p2p_published_synced(p, K2, now), 3);
	assert_true(p2p_published_connected(p, K1));
	assert_int_equal(p2p_published_resume(p, K1, &seq), ENOENT);
	p2p_published_begin(p, K1);
	assert_int_equal(publish("alice", K1, 13, 1), EALREADY);
	assert_int_equal(publish("bob", K1, 14, 1), EALREADY);
	assert_int_equal(p2p_published_synced(p, K1, now), 1);
	assert_ok(p2p_published_resume(p, K1, &seq));
	/* so is a user that is another's now */
	p2p_published_disconnected(p, K1);
	assert_int_equal(publish("bob", K2, 1, 1), EALREADY);
	assert_true(p2p_published_connected(p, K1));
	assert_int_equal(p2p_published_resume(p, K1, &seq), ENOENT);
}

/* More Kamailios than there is room for are refused; one that has gone makes room. */
static void test_kamailios_are_bounded(void **state)
{
	uint64_t i;

	(void)state;
	for (i = 1; i <= P2P_PUBLISHED_KAMAILIOS_MAX; i++)
		assert_true(p2p_published_connected(p, i));
	assert_false(p2p_published_connected(p, i));
	assert_true(p2p_published_connected(p, 5));
	p2p_published_disconnected(p, 5);
	assert_false(p2p_published_connected(p, i));
	p2p_published_disconnected(p, 5);
	assert_true(p2p_published_connected(p, i));
	assert_false(p2p_published_connected(p, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_life),	       T(test_sequence),
		T(test_in_flight),     T(test_withdrawn_before_put),
		T(test_retry),	       T(test_stale),
		T(test_late_answer),   T(test_orphans),
		T(test_same_instance), T(test_empty_sync),
		T(test_renew),	       T(test_withdraw_all),
		T(test_full_and_scan), T(test_taken_back),
		T(test_instances),     T(test_configure),
		T(test_random),	       T(test_alloc),
		T(test_ages),	       T(test_kamailios_are_bounded),
		T(test_resume),	       T(test_moves_concern),
		T(test_moves_over),    T(test_moves_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
