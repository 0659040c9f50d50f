/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Publishing over a scripted DHT: put, read back, tried again, signed again, withdrawn, restored.
 */
#include "tests/unit/test.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/gateway_state.h"
#include "dht-gateway/location/gateway_users.h"
#include "tests/unit/test_gw_fixture.h"

#define KAMAILIO 0x1111
#define URI2 "sip:192.0.2.2:5060;transport=udp"

static void publish(struct gw_fixture *f, const char *name, uint64_t seq)
{
	uint64_t seen;

	assert_ok(
		gw_users_publish(f->gw->users, name, strlen(name), KAMAILIO, seq, NULL, 0, &seen));
}

static void withdraw(struct gw_fixture *f, const char *name, uint64_t seq)
{
	uint64_t seen;

	assert_ok(gw_users_withdraw(f->gw->users, name, strlen(name), KAMAILIO, seq, &seen));
}

/* Our record of a name as the DHT has it. */
static bool ours(struct gw_fixture *f, const char *name, struct p2p_record *rec)
{
	size_t len;
	const uint8_t *p = fake_find_name(f, name, p2p_record_value_id(&f->gw->hit), &len);

	return p && p2p_record_decode(rec, p, len) == P2P_RECORD_OK;
}

/* Run until nothing is left to do (and a little longer), however slow the machine is. */
static void settle(struct gw_fixture *f)
{
	struct p2p_published_stats st;
	int i = 0;

	do {
		gw_fixture_run(f, 20);
		p2p_published_stats(gw_users_table(f->gw->users), &st);
	} while ((st.dirty || st.in_flight) && ++i < 300);
	assert_int_equal(st.dirty + st.in_flight, 0);
}

static enum p2p_put_state state_of(struct gw_fixture *f, const char *name)
{
	struct p2p_published_info info;

	assert_ok(p2p_published_get(gw_users_table(f->gw->users), name, strlen(name), &info));
	return info.put;
}

static void test_publish(void **state)
{
	struct gw_fixture *f = *state;
	struct p2p_record rec;
	char uri[P2P_LOCATOR_URI_MAX];

	gw_users_connected(f->gw->users, KAMAILIO);
	gw_users_begin(f->gw->users, KAMAILIO);
	publish(f, "alice", 1);
	settle(f);
	assert_true(ours(f, "alice", &rec));
	assert_false(rec.tombstone);
	assert_int_equal(rec.epoch, f->gw->epoch);
	assert_ok(p2p_record_uri(&rec, 0, uri));
	assert_string_equal(uri, "sip:192.0.2.1:5060;transport=udp");
	assert_int_equal(state_of(f, "alice"), P2P_PUT_PUT);
	assert_int_equal(gw_users_serves(f->gw->users, "alice", 5), 1);
	assert_int_equal(fake.bells, 1);
}

struct told {
	bool done;
	int err;
};

static void on_confirmed(int err, void *arg)
{
	struct told *t = arg;

	assert_false(t->done);
	t->done = true;
	t->err = err;
}

static struct told confirm(struct gw_fixture *f, const char *name, uint64_t ms)
{
	struct told t = {0};

	gw_users_confirm(f->gw->users, name, strlen(name), ms, on_confirmed, &t);
	assert_true(gw_fixture_wait(f, &t.done, (unsigned int)ms + 2000));
	return t;
}

/* Who waits is told when others find what is wished, and not before. */
static void test_confirm(void **state)
{
	struct gw_fixture *f = *state;
	struct told t = {0};

	assert_ok(confirm(f, "nobody", 10).err);
	fake.put_refuse = true;
	publish(f, "alice", 1);
	assert_int_equal(confirm(f, "alice", 50).err, ETIMEDOUT);
	fake.put_refuse = false;
	assert_ok(confirm(f, "alice", 5000).err);
	assert_int_equal(state_of(f, "alice"), P2P_PUT_PUT);
	gw_users_confirm(f->gw->users, "alice", 5, 1, on_confirmed, &t);
	assert_true(t.done && !t.err);
	withdraw(f, "alice", 2);
	t = (struct told){0};
	gw_users_confirm(f->gw->users, "alice", 5, 5000, on_confirmed, &t);
	assert_false(t.done);
	assert_true(gw_fixture_wait(f, &t.done, 5000));
	assert_ok(t.err);
	assert_int_equal(state_of(f, "alice"), P2P_PUT_KILLED);
	/* the end of the gateway is told to those who still wait */
	fake.put_silent = true;
	publish(f, "bob", 3);
	t = (struct told){0};
	gw_users_confirm(f->gw->users, "bob", 3, 60000, on_confirmed, &t);
	gw_fixture_restart(f);
	assert_int_equal(t.err, ETIMEDOUT);
	fake.put_silent = false;
}

/* A put that says it was stored, and was not, is found out and tried again. */
static void test_put_proves_nothing(void **state)
{
	struct gw_fixture *f = *state;
	struct p2p_record rec;

	gw_fixture_run(f, 20);
	fake.put_refuse = true;
	publish(f, "alice", 1);
	for (int i = 0; i < 600 && !f->gw->metrics.puts_unconfirmed; i++)
		gw_fixture_run(f, 5);
	assert_int_equal(f->gw->metrics.puts_unconfirmed, 1);
	assert_int_not_equal(state_of(f, "alice"), P2P_PUT_PUT);
	fake.put_refuse = false;
	settle(f);
	assert_true(ours(f, "alice", &rec));
	assert_int_equal(state_of(f, "alice"), P2P_PUT_PUT);
}

static void test_put_fails(void **state)
{
	struct gw_fixture *f = *state;

	gw_fixture_run(f, 20);
	fake.put_err = ENETUNREACH;
	publish(f, "alice", 1);
	for (int i = 0; i < 600 && !f->gw->metrics.puts_failed; i++)
		gw_fixture_run(f, 5);
	assert_int_equal(f->gw->metrics.puts_failed, 1);
	fake.put_err = 0;
	settle(f);
	assert_int_equal(state_of(f, "alice"), P2P_PUT_PUT);
}

/* A record of a former life with a later order: seen, and signed again past it. */
static void test_stale(void **state)
{
	struct gw_fixture *f = *state;
	char path[128], err[256];
	struct gw_identity *own;
	uint8_t buf[P2P_RECORD_MAX];
	struct p2p_record rec;
	uint64_t order;
	size_t len;

	settle(f);
	snprintf(path, sizeof(path), "%s/identity.pem", f->dir);
	assert_ok(gw_identity_load(&own, path, err, sizeof(err)));
	len = gw_fixture_record(f, own, "alice", URI2, false, 60000, f->gw->epoch, buf);
	assert_int_equal(p2p_record_decode(&rec, buf, len), P2P_RECORD_OK);
	order = rec.order;
	fake_store_name(f, "alice", p2p_record_value_id(&f->gw->hit), buf, len);
	publish(f, "alice", 1);
	settle(f);
	assert_int_equal(f->gw->metrics.puts_stale, 1);
	assert_true(ours(f, "alice", &rec));
	assert_true(rec.order > order);
	assert_int_equal(state_of(f, "alice"), P2P_PUT_PUT);
	gw_identity_free(own);
}

static void test_withdraw(void **state)
{
	struct gw_fixture *f = *state;
	struct p2p_record rec;
	uint64_t expiry;

	publish(f, "alice", 1);
	settle(f);
	assert_true(ours(f, "alice", &rec));
	expiry = rec.expiry_ms;
	withdraw(f, "alice", 2);
	assert_int_equal(gw_users_serves(f->gw->users, "alice", 5), 0);
	settle(f);
	assert_true(ours(f, "alice", &rec));
	assert_true(rec.tombstone);
	/* a holder that missed it forgets the record before the tombstone is forgotten */
	assert_true(rec.expiry_ms >= expiry);
	assert_int_equal(state_of(f, "alice"), P2P_PUT_KILLED);
	/* and back */
	publish(f, "alice", 3);
	settle(f);
	assert_true(ours(f, "alice", &rec));
	assert_false(rec.tombstone);
}

static void test_stale_seq(void **state)
{
	struct gw_fixture *f = *state;
	uint64_t seen = 0;

	publish(f, "alice", 10);
	assert_int_equal(gw_users_publish(f->gw->users, "alice", 5, KAMAILIO, 9, NULL, 0, &seen),
			 ESTALE);
	assert_int_equal(seen, 10);
	assert_int_equal(gw_users_withdraw(f->gw->users, "alice", 5, KAMAILIO, 9, &seen), ESTALE);
	assert_int_equal(f->gw->metrics.stale, 2);
}

static void test_too_many(void **state)
{
	struct gw_fixture *f = *state;
	uint64_t seen;

	for (int i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "user%d", i);
		publish(f, name, 1);
	}
	assert_int_equal(gw_users_publish(f->gw->users, "late", 4, KAMAILIO, 1, NULL, 0, &seen),
			 ENOSPC);
	settle(f);
	for (int i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "user%d", i);
		assert_int_equal(state_of(f, name), P2P_PUT_PUT);
	}
}

/* Nothing is put before there is a connection; then at once. */
static void test_connection(void **state)
{
	struct gw_fixture *f = *state;
	struct p2p_record rec;

	fake.disconnected = true;
	gw_fixture_restart(f);
	publish(f, "alice", 1);
	gw_fixture_run(f, 50);
	assert_false(ours(f, "alice", &rec));
	fake.disconnected = false;
	fake_status();
	settle(f);
	assert_true(ours(f, "alice", &rec));
	assert_int_equal(f->gw->metrics.reputs_kicked, 0);
}

/* The first peer of an overlay has nobody to tell; whoever comes is told. */
static void test_alone(void **state)
{
	struct gw_fixture *f = *state;
	struct p2p_record rec;

	fake.alone = true;
	publish(f, "alice", 1);
	settle(f);
	assert_int_equal(state_of(f, "alice"), P2P_PUT_PUT);
	assert_false(ours(f, "alice", &rec));
	fake.alone = false;
	fake_status();
	settle(f);
	assert_true(ours(f, "alice", &rec));
	assert_int_equal(f->gw->metrics.reputs_kicked, 1);
}

static void test_other_serving_peer(void **state)
{
	struct gw_fixture *f = *state;
	uint8_t buf[P2P_RECORD_MAX];
	size_t len;

	/* read back with our own: told to the modules */
	len = gw_fixture_record(f, f->other, "alice", URI2, false, 0, 1, buf);
	fake_store_name(f, "alice", p2p_record_value_id(gw_identity_hit(f->other)), buf, len);
	publish(f, "alice", 1);
	settle(f);
	assert_int_equal(f->gw->metrics.events_users, 1);
	/* and one that comes later, by its bell */
	publish(f, "bob", 2);
	settle(f);
	len = gw_fixture_record(f, f->other, "bob", URI2, false, 0, 1, buf);
	fake_ring_name(f, "bob", buf, len);
	assert_int_equal(f->gw->metrics.events_users, 2);
}

static void test_restart(void **state)
{
	struct gw_fixture *f = *state;
	uint64_t epoch = f->gw->epoch;
	struct p2p_record rec;

	publish(f, "alice", 1);
	publish(f, "bob", 2);
	publish(f, "carol", 3);
	settle(f);
	withdraw(f, "bob", 4);
	settle(f);
	/* this one is withdrawn, but the DHT is never told */
	fake.put_refuse = true;
	withdraw(f, "carol", 5);
	gw_fixture_run(f, 30);
	fake.put_refuse = false;
	fake_clear();
	gw_fixture_restart(f);
	assert_int_equal(f->gw->epoch, epoch);
	settle(f);
	assert_true(ours(f, "alice", &rec));
	assert_false(rec.tombstone);
	assert_false(ours(f, "bob", &rec));
	assert_true(ours(f, "carol", &rec));
	assert_true(rec.tombstone);
	assert_int_equal(gw_users_serves(f->gw->users, "alice", 5), 1);
	/* the Kamailio that had them is gone, another names what it has */
	gw_users_connected(f->gw->users, 0x2222);
	gw_users_begin(f->gw->users, 0x2222);
	assert_int_equal(gw_users_synced(f->gw->users, 0x2222), 1);
	assert_int_equal(gw_users_serves(f->gw->users, "alice", 5), 2);
}

/* State that is lost, or damaged, begins a new epoch; a torn line loses only itself. */
static void test_lost_state(void **state)
{
	struct gw_fixture *f = *state;
	uint64_t epoch = f->gw->epoch;
	char path[128];
	int fd;

	publish(f, "alice", 1);
	publish(f, "bob", 2);
	gw_fixture_run(f, 30);
	snprintf(path, sizeof(path), "%s/state/users.journal", f->dir);
	fd = open(path, O_WRONLY | O_APPEND);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "+ 0123 61", 9), 9);
	close(fd);
	gw_fixture_restart(f);
	assert_int_equal(f->gw->epoch, epoch);
	assert_int_equal(gw_users_serves(f->gw->users, "alice", 5), 1);
	assert_int_equal(gw_users_serves(f->gw->users, "bob", 3), 1);
	assert_non_null(strstr(f->last_warn, "damaged"));
	unlink(path);
	gw_fixture_restart(f);
	assert_true(f->gw->epoch > epoch);
	assert_int_equal(gw_users_serves(f->gw->users, "alice", 5), 0);
}

static void journal_path(struct gw_fixture *f, char path[128], const char *suffix)
{
	snprintf(path, 128, "%s/state/users.journal%s", f->dir, suffix);
}

/* What is appended to a journal whose last line is torn is a line of its own. */
static void test_torn_journal(void **state)
{
	struct gw_fixture *f = *state;
	char path[128];
	int fd;

	publish(f, "alice", 1);
	gw_fixture_run(f, 30);
	journal_path(f, path, "");
	fd = open(path, O_WRONLY | O_APPEND);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "+ 0123 61", 9), 9);
	close(fd);
	gw_fixture_restart(f);
	publish(f, "bob", 2);
	publish(f, "carol", 3);
	gw_fixture_run(f, 30);
	gw_fixture_restart(f);
	assert_int_equal(gw_users_serves(f->gw->users, "alice", 5), 1);
	assert_int_equal(gw_users_serves(f->gw->users, "bob", 3), 1);
	assert_int_equal(gw_users_serves(f->gw->users, "carol", 5), 1);
}

/* A journal that cannot be written anew is said once a minute, and goes on as it is. */
static void test_journal_not_compacted(void **state)
{
	struct gw_fixture *f = *state;
	char path[128], next[128];
	unsigned int errs;
	struct stat st;
	off_t size;

	publish(f, "keeper", 1);
	journal_path(f, path, "");
	journal_path(f, next, ".new");
	assert_ok(mkdir(next, 0700)); /* no file can be made there */
	errs = f->log_lines[P2P_LOG_ERR];
	for (uint64_t i = 0; i < 2500; i++) {
		publish(f, "alice", 2 * i + 1);
		withdraw(f, "alice", 2 * i + 2);
	}
	assert_int_equal(f->log_lines[P2P_LOG_ERR], errs + 1);
	f->mono_shift_ms = 61000;
	publish(f, "alice", 10001);
	withdraw(f, "alice", 10002);
	assert_int_equal(f->log_lines[P2P_LOG_ERR], errs + 2);
	assert_ok(stat(path, &st));
	size = st.st_size;
	assert_ok(rmdir(next));
	publish(f, "alice", 10003);
	assert_ok(stat(path, &st));
	assert_true(st.st_size > size);
	f->mono_shift_ms = 2 * 61000;
	withdraw(f, "alice", 10004);
	publish(f, "alice", 10005);
	assert_ok(stat(path, &st));
	assert_true(st.st_size < size / 100);
	assert_int_equal(f->log_lines[P2P_LOG_ERR], errs + 2);
	gw_fixture_restart(f);
	assert_int_equal(gw_users_serves(f->gw->users, "keeper", 6), 1);
	assert_int_equal(gw_users_serves(f->gw->users, "alice", 5), 1);
}

/* A disk that fills up while the journal is written anew, or appended to, costs no line but those
 * that did not fit. */
static void test_disk_full(void **state)
{
	struct gw_fixture *f = *state;
	struct rlimit old, small;
	char path[128], name[16];
	struct stat st;

	journal_path(f, path, "");
	for (uint64_t i = 0; i < 90; i++) {
		snprintf(name, sizeof(name), "user%u", (unsigned int)i);
		publish(f, name, i + 1);
	}
	assert_ok(stat(path, &st));
	assert_ok(getrlimit(RLIMIT_FSIZE, &old));
	signal(SIGXFSZ, SIG_IGN);
	small = old;
	small.rlim_cur = (rlim_t)st.st_size + 20; /* not a whole line more */
	assert_ok(setrlimit(RLIMIT_FSIZE, &small));
	publish(f, "lost", 1000);
	publish(f, "too", 1001);
	assert_ok(setrlimit(RLIMIT_FSIZE, &old));
	publish(f, "alice", 1002);
	gw_fixture_restart(f);
	assert_int_equal(gw_users_serves(f->gw->users, "user89", 6), 1);
	assert_int_equal(gw_users_serves(f->gw->users, "lost", 4), 0);
	assert_int_equal(gw_users_serves(f->gw->users, "alice", 5), 1);
	/* now the new journal does not fit */
	small.rlim_cur = 4096;
	assert_ok(setrlimit(RLIMIT_FSIZE, &small));
	assert_ok(gw_state_compact_begin(f->gw->state));
	for (unsigned int i = 0; i < 200; i++)
		gw_state_user(f->gw->state, GW_STATE_USER, "x", 1, 1, NULL, 0);
	assert_ok(setrlimit(RLIMIT_FSIZE, &old));
	assert_int_equal(gw_state_compact_end(f->gw->state), EFBIG);
	publish(f, "bob", 9000);
	gw_fixture_restart(f);
	assert_int_equal(gw_users_serves(f->gw->users, "user89", 6), 1);
	assert_int_equal(gw_users_serves(f->gw->users, "alice", 5), 1);
	assert_int_equal(gw_users_serves(f->gw->users, "bob", 3), 1);
	assert_int_equal(gw_users_serves(f->gw->users, "x", 1), 0);
}

/* The journal is written anew when most of it is history. */
static void test_journal_compacted(void **state)
{
	struct gw_fixture *f = *state;
	char path[128];
	off_t size;
	int fd;

	publish(f, "keeper", 1);
	for (uint64_t i = 0; i < 4000; i++) {
		publish(f, "alice", 2 * i + 1);
		withdraw(f, "alice", 2 * i + 2);
		if (i % 500 == 0)
			gw_fixture_run(f, 5);
	}
	gw_fixture_run(f, 20);
	snprintf(path, sizeof(path), "%s/state/users.journal", f->dir);
	fd = open(path, O_RDONLY);
	size = lseek(fd, 0, SEEK_END);
	close(fd);
	assert_in_range(size, 1, 5000 * 64);
	gw_fixture_restart(f);
	assert_int_equal(gw_users_serves(f->gw->users, "keeper", 6), 1);
	assert_int_equal(gw_users_serves(f->gw->users, "alice", 5), 0);
}

/* The clock jumps back while we run: records are still made, past those before. */
static void test_clock_back(void **state)
{
	struct gw_fixture *f = *state;
	struct p2p_record a, b;

	publish(f, "alice", 1);
	settle(f);
	assert_true(ours(f, "alice", &a));
	f->wall_shift_ms = -60000;
	withdraw(f, "alice", 2);
	settle(f);
	assert_true(ours(f, "alice", &b));
	assert_true(b.order > a.order);
	assert_true(b.tombstone);
}

static void test_own_lease(void **state)
{
	struct gw_fixture *f = *state;
	uint64_t lease;

	for (int i = 0; i < 600 && !gw_peers_lease(f->gw->peers); i++)
		gw_fixture_run(f, 5);
	lease = gw_peers_lease(f->gw->peers);
	assert_in_range(lease - gw_wall(f->gw), 29000, 30000);
}

/* Kamailio names other addresses than the settings do: those win. */
static void test_uris(void **state)
{
	struct gw_fixture *f = *state;
	char uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX];
	const char *bad[] = {"sip:alice@example.org"}, *good[] = {URI2};
	size_t badlen = strlen(bad[0]), goodlen = strlen(good[0]);

	assert_int_equal(gw_peers_uris_set(f->gw->peers, bad, &badlen, 1), EINVAL);
	assert_ok(gw_peers_uris_set(f->gw->peers, good, &goodlen, 1));
	assert_int_equal(gw_peers_uris(f->gw->peers, uri), 1);
	assert_string_equal(uri[0], "sip:192.0.2.1:5060;transport=udp");
}

#define T(name) cmocka_unit_test_setup_teardown(name, gw_fixture_setup, gw_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_publish),
		T(test_confirm),
		T(test_put_proves_nothing),
		T(test_put_fails),
		T(test_stale),
		T(test_withdraw),
		T(test_stale_seq),
		T(test_too_many),
		T(test_connection),
		T(test_alone),
		T(test_other_serving_peer),
		T(test_restart),
		T(test_lost_state),
		T(test_torn_journal),
		T(test_journal_compacted),
		T(test_journal_not_compacted),
		T(test_disk_full),
		T(test_clock_back),
		T(test_own_lease),
		T(test_uris),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
