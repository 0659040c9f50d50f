/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Puts into an engine that fails: for one record, for all, or takes none for a moment. */
#include "tests/unit/test.h"
#include <errno.h>
#include "dht-gateway/location/gateway_announce_impl.h"
#include "dht-gateway/location/gateway_records.h"
#include "tests/unit/test_gw_fixture.h"

static struct p2p_key key_of(struct gw_fixture *f, const char *name)
{
	struct p2p_key key;

	assert_ok(gw_record_key_user(f->gw, name, strlen(name), &key));
	return key;
}

/* A record of our own. */
static void announce(struct gw_fixture *f, const char *name)
{
	static const char uri[] = "sip:192.0.2.1:5060;transport=udp";
	struct p2p_record rec = {
		.kind = P2P_RECORD_USER, .epoch = f->gw->epoch, .key = key_of(f, name)};
	uint8_t buf[P2P_RECORD_MAX];
	size_t len;

	assert_ok(p2p_record_add_uri(&rec, uri, strlen(uri)));
	assert_ok(gw_record_make(f->gw, &rec, 3600000, 0, buf, &len));
	assert_ok(gw_announces_put(f->gw->announces, buf, len, NULL, NULL));
}

static void announce_many(struct gw_fixture *f, char c, unsigned int n)
{
	char name[16];

	for (unsigned int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%c%u", c, i);
		announce(f, name);
	}
}

static size_t waiting(const struct gw_fixture *f)
{
	struct gw_announces_stats st;

	gw_announces_stats(f->gw->announces, &st);
	return st.engine_waiting;
}

static bool settled(struct gw_fixture *f, size_t want)
{
	for (unsigned int i = 0; i < 500 && waiting(f) != want; i++)
		gw_fixture_run(f, 10);
	return waiting(f) == want;
}

/* What was put is answered, however long the machine takes for that. */
static void answered(struct gw_fixture *f)
{
	gw_fixture_run(f, 20);
	for (unsigned int i = 0; i < 500 && fake.puts_open > 0; i++)
		gw_fixture_run(f, 10);
	assert_int_equal(fake.puts_open, 0);
}

/* So much later: what is due is put, and answered. */
static void later(struct gw_fixture *f, unsigned int ms)
{
	f->mono_shift_ms += ms;
	gw_announce_engine_pump(f->gw->announces);
	answered(f);
}

/* Our own peer record is put by other means. */
static unsigned int puts_begin(struct gw_fixture *f)
{
	gw_fixture_run(f, 50);
	return fake.puts;
}

static void test_one_fails(void **state)
{
	struct gw_fixture *f = *state;
	struct p2p_key bad = key_of(f, "a3");
	unsigned int puts = puts_begin(f);

	fake.put_bad = bad.b;
	announce_many(f, 'a', 100);
	assert_true(settled(f, 1));
	assert_int_equal(fake.puts - puts, 100);
	assert_int_equal(fake.puts_bad, 1);
	assert_int_equal(f->gw->metrics.puts_failed, 1);
	/* it waits by itself, longer each time; what others want is put at once */
	later(f, 5000);
	assert_int_equal(fake.puts_bad, 2);
	later(f, 6000);
	announce_many(f, 'b', 20);
	assert_true(settled(f, 1));
	assert_int_equal(fake.puts_bad, 2);
	later(f, 4000);
	assert_int_equal(fake.puts_bad, 3);
	/* a later record of its own does not wait */
	announce(f, "a3");
	for (unsigned int i = 0; i < 100 && fake.puts_bad < 4; i++)
		gw_fixture_run(f, 10);
	assert_int_equal(fake.puts_bad, 4);
	answered(f);
	fake.put_bad = NULL;
	later(f, 40000);
	assert_true(settled(f, 0));
}

static void test_all_fail(void **state)
{
	struct gw_fixture *f = *state;
	unsigned int puts = puts_begin(f);

	fake.put_err = EIO;
	announce_many(f, 'a', 100);
	for (unsigned int i = 0; i < 100 && fake.puts == puts; i++)
		gw_fixture_run(f, 10);
	answered(f);
	/* no more than were under way */
	assert_in_range(fake.puts - puts, 4, 64);
	puts = fake.puts;
	gw_fixture_run(f, 100);
	assert_int_equal(fake.puts, puts);
	/* then one at a time */
	for (unsigned int i = 1; i <= 3; i++) {
		later(f, 5100);
		assert_int_equal(fake.puts, puts + i);
		assert_int_equal(waiting(f), 100);
	}
	/* it is back: all at once, what failed meanwhile included */
	fake.put_err = 0;
	later(f, 5100);
	assert_true(settled(f, 0));
}

/* The call itself fails: for a record, or for want of room. */
static void test_refused(void **state)
{
	struct gw_fixture *f = *state;

	puts_begin(f);
	fake.put_err_now = EBUSY;
	announce_many(f, 'a', 10);
	gw_fixture_run(f, 300);
	assert_int_equal(waiting(f), 10);
	assert_int_equal(f->gw->metrics.puts_failed, 0);
	fake.put_err_now = 0;
	assert_true(settled(f, 0));
	fake.put_err_now = EINVAL;
	announce(f, "b");
	for (unsigned int i = 0; i < 100 && !f->gw->metrics.puts_failed; i++)
		gw_fixture_run(f, 10);
	fake.put_err_now = 0;
	announce(f, "c");
	assert_true(settled(f, 1));
	later(f, 5000);
	assert_true(settled(f, 0));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, gw_fixture_setup, gw_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_fails),
		TEST(test_all_fail),
		TEST(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
