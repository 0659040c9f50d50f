/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Users' enrolment over a scripted DHT: what the authority signs is believed, and nothing else. */
#include "tests/unit/test.h"
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dht-gateway/enrol/gateway_auth.h"
#include "dht-gateway/enrol/gateway_auth_rules.h"
#include "dht-gateway/enrol/gateway_auth_store.h"
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/keys/gateway_cert.h"
#include "dht-gateway/keys/gateway_identity.h"
#include "dht-gateway/keys/gateway_file.h"
#include "dht-gateway/location/gateway_lookup.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/gateway_settings.h"
#include "dht-gateway/enrol/gateway_user_enrolment.h"
#include "dht-gateway/location/gateway_users.h"
#include "tests/unit/test_gw_fixture.h"

#define REALM "overlay.example.org"
#define URI "sip:192.0.2.2:5060;transport=udp"

static void copy(const char *from, const char *to)
{
	char text[8192];
	size_t len;

	assert_ok(gw_file_read(from, text, sizeof(text), &len));
	assert_ok(gw_file_replace(to, text, len));
}

/* The peer's own certificate. */
static void certify(struct gw_fixture *f, const char *authority)
{
	int64_t now = (int64_t)time(NULL);
	char path[256], pem[4096], err[512];
	struct gw_authority *a;
	struct gw_identity *id;
	X509 *cert;
	size_t len;

	snprintf(path, sizeof(path), "%s/identity.pem", f->dir);
	assert_ok(gw_identity_load(&id, path, err, sizeof(err)));
	assert_ok(gw_authority_load(&a, authority, err, sizeof(err)));
	assert_ok(gw_authority_issue(a, gw_identity_key(id), now - 60, now + 86400, &cert));
	assert_ok(gw_cert_print(&cert, 1, pem, sizeof(pem), &len));
	snprintf(path, sizeof(path), "%s/state/peer.pem", f->dir);
	assert_ok(gw_file_replace(path, pem, len));
	X509_free(cert);
	gw_authority_free(a);
	gw_identity_free(id);
}

/* A gateway that has the authority, and knows another peer. */
static int setup(void **state)
{
	char dir[128], err[512], from[256], to[256];
	uint8_t buf[P2P_RECORD_MAX];
	struct gw_fixture *f;

	if (gw_fixture_setup(state))
		return -1;
	f = *state;
	snprintf(dir, sizeof(dir), "%s/authority", f->dir);
	assert_ok(gw_authority_create(dir, (int64_t)time(NULL), err, sizeof(err)));
	snprintf(from, sizeof(from), "%s/authority.pem", dir);
	snprintf(to, sizeof(to), "%s/state/authority.pem", f->dir);
	copy(from, to);
	certify(f, dir);
	free(f->settings.authority_dir);
	f->settings.authority_dir = strdup(dir);
	gw_fixture_restart(f);
	assert_true(f->gw->enrolled);
	fake_store_peer(f, gw_identity_hit(f->other),
			p2p_record_value_id(gw_identity_hit(f->other)), buf,
			gw_fixture_peer_record(f, f->other, 7, 60000, buf));
	return 0;
}

struct ordered {
	bool done;
	int err;
	char text[256];
};

static void on_ordered(int err, const char *text, void *arg)
{
	struct ordered *o = arg;

	o->done = true;
	o->err = err;
	snprintf(o->text, sizeof(o->text), "%s", text);
}

static int order(struct gw_fixture *f, const struct gw_enrol_order *what)
{
	struct ordered o = {0};

	gw_enrol_order(f->gw, what, on_ordered, &o);
	assert_true(gw_fixture_wait(f, &o.done, 8000));
	return o.err;
}

static void rules(struct gw_fixture *f, bool required)
{
	struct gw_enrol_order o = {.what = GW_ENROL_RULES};

	strcpy(o.rules.realm, REALM);
	o.rules.digests = P2P_DIGEST_MD5;
	o.rules.permission_required = required;
	assert_ok(order(f, &o));
	assert_non_null(gw_auth_rules_get(f->gw->rules));
}

/* A user whose HA1 is made of one byte; peer NULL: any. */
static int enrol(struct gw_fixture *f, enum gw_enrol_what what, const char *name, uint8_t ha1,
		 const struct p2p_hit *peer)
{
	struct gw_enrol_order o = {.what = what};

	o.user.len = strlen(name);
	strcpy(o.user.name, name);
	if (what == GW_ENROL_ADD || what == GW_ENROL_PASSWD) {
		o.user.digests = P2P_DIGEST_MD5;
		strcpy(o.user.realm, REALM);
		memset(o.user.ha1, ha1, P2P_HA1_MD5_LEN);
	}
	if (peer)
		o.user.peer[o.user.n_peers++].hit = *peer;
	else if (what != GW_ENROL_PASSWD && what != GW_ENROL_REMOVE)
		o.user.any = GW_ENROLLED_YES;
	return order(f, &o);
}

struct authed {
	bool done;
	int err;
	struct gw_auth_answer a;
};

static void on_authed(int err, const struct gw_auth_answer *a, void *arg)
{
	struct authed *got = arg;

	got->done = true;
	got->err = err;
	if (a)
		got->a = *a;
}

/* errno, or 0 and the HA1's byte in *ha1. */
static int auth(struct gw_fixture *f, const char *name, unsigned int ms, uint8_t *ha1)
{
	struct authed got = {0};

	gw_auth_user(f->gw->auth, name, strlen(name), ms, on_authed, &got);
	assert_true(gw_fixture_wait(f, &got.done, ms + 500));
	if (!got.err) {
		assert_string_equal(got.a.realm, REALM);
		assert_int_equal(got.a.digests, P2P_DIGEST_MD5);
		*ha1 = got.a.ha1[0];
	}
	return got.err;
}

static void test_orders(void **state)
{
	struct gw_fixture *f = *state;
	const struct p2p_hit *other = gw_identity_hit(f->other);
	uint8_t ha1 = 0;

	/* nothing goes without a realm, and nothing is kept of it */
	assert_int_equal(enrol(f, GW_ENROL_ADD, "alice", 1, NULL), ENOENT);
	rules(f, false);
	assert_int_equal(auth(f, "alice", 1000, &ha1), ENOENT);
	assert_ok(enrol(f, GW_ENROL_ADD, "alice", 1, NULL));
	assert_ok(auth(f, "alice", 1000, &ha1));
	assert_int_equal(ha1, 1);
	assert_int_equal(enrol(f, GW_ENROL_ADD, "alice", 1, NULL), EEXIST);
	assert_int_equal(enrol(f, GW_ENROL_PASSWD, "bob", 1, NULL), ENOENT);
	assert_ok(enrol(f, GW_ENROL_PASSWD, "alice", 2, NULL));
	assert_ok(auth(f, "alice", 1000, &ha1));
	assert_int_equal(ha1, 2);
	/* another peer's */
	assert_ok(enrol(f, GW_ENROL_ADD, "bob", 3, other));
	assert_int_equal(auth(f, "bob", 1000, &ha1), EACCES);
	assert_ok(enrol(f, GW_ENROL_ALLOW, "bob", 0, &f->gw->hit));
	assert_ok(auth(f, "bob", 1000, &ha1));
	assert_int_equal(ha1, 3);
	assert_ok(enrol(f, GW_ENROL_DENY, "bob", 0, other));
	assert_int_equal(enrol(f, GW_ENROL_DENY, "bob", 0, &f->gw->hit), EINVAL);
	assert_ok(auth(f, "bob", 1000, &ha1));
	assert_ok(enrol(f, GW_ENROL_REMOVE, "bob", 0, NULL));
	assert_int_equal(auth(f, "bob", 1000, &ha1), ENOENT);
	assert_int_equal(enrol(f, GW_ENROL_REMOVE, "bob", 0, NULL), ENOENT);
}

/* A restart, and nobody to ask: what was read before is as good as it was. */
static void test_kept(void **state)
{
	struct gw_fixture *f = *state;
	uint8_t ha1 = 0;

	rules(f, true);
	assert_ok(enrol(f, GW_ENROL_ADD, "alice", 1, NULL));
	fake.get_mute = true;
	gw_fixture_restart(f);
	assert_string_equal(gw_auth_rules_get(f->gw->rules)->realm, REALM);
	assert_true(atomic_load(&f->gw->permission_required));
	fake_clear();
	fake.get_mute = false;
	assert_ok(auth(f, "alice", 1000, &ha1));
	assert_int_equal(ha1, 1);
	/* nobody knows of bob, and nobody says so */
	fake.incomplete = 1000;
	assert_int_equal(auth(f, "bob", 300, &ha1), ETIMEDOUT);
	fake.incomplete = 0;
	assert_int_equal(auth(f, "bob", 1000, &ha1), ENOENT);
}

/* All that was signed is lost, or the last of it: the folder has what it takes. */
static void test_resumed(void **state)
{
	struct gw_fixture *f = *state;
	char path[256], err[512];
	struct gw_enrolled u = {.len = 5, .name = "alice"};
	struct gw_enrolled_rules r;
	uint8_t ha1 = 0;
	uint64_t order_was;

	rules(f, true);
	assert_ok(enrol(f, GW_ENROL_ADD, "alice", 1, NULL));
	order_was = gw_auth_rules_order(f->gw->rules);
	gw_fixture_restart(f);
	gw_fixture_run(f, 50);
	assert_int_equal(gw_auth_rules_order(f->gw->rules), order_was); /* nothing to do */
	snprintf(path, sizeof(path), "%s/state/enrolments", f->dir);
	assert_ok(unlink(path));
	fake_clear();
	gw_fixture_restart(f);
	gw_fixture_run(f, 100);
	assert_true(gw_auth_rules_order(f->gw->rules) > order_was);
	assert_ok(auth(f, "alice", 1000, &ha1));
	assert_int_equal(ha1, 1);
	/* a password that was written, and not signed yet */
	assert_ok(gw_enrolled_load(f->settings.authority_dir, &u, err, sizeof(err)));
	memset(u.ha1, 2, P2P_HA1_MD5_LEN);
	assert_ok(gw_enrolled_rules_load(f->settings.authority_dir, &r, err, sizeof(err)));
	r.order++;
	assert_ok(gw_enrolled_rules_save(f->settings.authority_dir, &r, err, sizeof(err)));
	assert_ok(gw_enrolled_save(f->settings.authority_dir, &u, err, sizeof(err)));
	gw_fixture_restart(f);
	gw_fixture_run(f, 100);
	assert_ok(auth(f, "alice", 1000, &ha1));
	assert_int_equal(ha1, 2);
}

/* What lies under a secret that is no more is let go of, and not before all have changed. */
static void test_rekeyed(void **state)
{
	struct gw_fixture *f = *state;
	size_t before;

	rules(f, true);
	assert_ok(enrol(f, GW_ENROL_ADD, "alice", 1, NULL));
	before = gw_auth_store_count(f->gw->enrolments);
	gw_auth_store_rekey(f->gw->enrolments);
	assert_ok(enrol(f, GW_ENROL_ADD, "bob", 1, NULL));
	gw_auth_store_renew(f->gw->enrolments);
	gw_fixture_run(f, 50);
	assert_int_equal(gw_auth_store_count(f->gw->enrolments), before + 1);
	/* over a restart, too */
	gw_fixture_restart(f);
	f->mono_shift_ms += GW_SECRET_OVERLAP_MS + 1000;
	gw_auth_store_renew(f->gw->enrolments);
	gw_fixture_run(f, 50);
	/* bob; the rules are the old ones with a later order, and old */
	assert_int_equal(gw_auth_store_count(f->gw->enrolments), 1);
}

static const struct gw_auth_held *held(struct gw_fixture *f, const char *name)
{
	struct p2p_key key;

	assert_ok(gw_auth_key(f->gw, name, strlen(name), &key));
	return gw_auth_store_get(f->gw->enrolments, &key, p2p_record_value_id(&f->gw->anchor->hit));
}

/* An earlier record, put in the later one's place by whoever holds it. */
static void test_replayed(void **state)
{
	struct gw_fixture *f = *state;
	struct gw_auth_held old;
	uint8_t ha1 = 0;

	rules(f, false);
	assert_ok(enrol(f, GW_ENROL_ADD, "alice", 1, NULL));
	assert_ok(auth(f, "alice", 1000, &ha1));
	old = *held(f, "alice");
	assert_ok(enrol(f, GW_ENROL_PASSWD, "alice", 2, NULL));
	gw_fixture_run(f, 100); /* it is read again */
	fake_store_key(old.rec.key.b, old.id, old.bytes, old.len);
	gw_auth_changed(f->gw->auth, NULL, 0, true, true);
	assert_ok(auth(f, "alice", 1000, &ha1));
	assert_int_equal(ha1, 2);
	assert_true(f->gw->metrics.values_bad[P2P_RECORD_REPLAYED] > 0);
	assert_non_null(strstr(f->last_warn, "older than one that is known"));
	/* and the rules likewise */
	assert_int_equal(
		gw_auth_store_add(f->gw->enrolments, &old.rec, &old.en, old.bytes, old.len),
		ESTALE);
	/* the same once more is not older, and nor is one of the same order, signed again */
	old = *held(f, "alice");
	assert_int_equal(
		gw_auth_store_add(f->gw->enrolments, &old.rec, &old.en, old.bytes, old.len),
		EALREADY);
	memset(old.bytes + old.len - P2P_SIG_LEN, 0, P2P_SIG_LEN);
	assert_int_equal(
		gw_auth_store_add(f->gw->enrolments, &old.rec, &old.en, old.bytes, old.len),
		EALREADY);
}

/* Somebody else's record, and one from the future. */
static void test_forged(void **state)
{
	struct gw_fixture *f = *state;
	char dir[128], err[512];
	struct gw_authority *a;
	struct gw_auth_held good;
	struct p2p_record rec;
	uint8_t bytes[P2P_RECORD_MAX], ha1 = 0;
	uint64_t bad;
	size_t len;

	rules(f, false);
	assert_ok(enrol(f, GW_ENROL_ADD, "alice", 1, NULL));
	good = *held(f, "alice");
	rec = good.rec;
	rec.order += 1000;
	memcpy(rec.pubkey, gw_identity_pubkey(f->other), sizeof(rec.pubkey));
	assert_ok(p2p_record_sign(&rec, gw_identity_crypto(f->other), bytes, sizeof(bytes), &len));
	assert_false(gw_record_policy_store(DHT_RECORD, rec.key.b, good.id, bytes, len, f->gw));
	assert_int_equal(f->gw->refused[P2P_RECORD_BAD_SIGNER], 1);
	fake_store_key(rec.key.b, good.id, bytes, len);
	assert_ok(auth(f, "alice", 1000, &ha1));
	assert_int_equal(ha1, 1);
	assert_true(f->gw->metrics.values_bad[P2P_RECORD_BAD_SIGNER] > 0);
	assert_non_null(strstr(f->last_warn, "wrong signer"));

	snprintf(dir, sizeof(dir), "%s/authority", f->dir);
	assert_ok(gw_authority_load(&a, dir, err, sizeof(err)));
	for (int64_t ahead = 119000; ahead <= 125000; ahead += 6000) {
		rec = good.rec;
		rec.order = gw_wall(f->gw) + (uint64_t)ahead;
		rec.expiry_ms = rec.order + 1000000;
		assert_ok(
			p2p_record_sign(&rec, gw_authority_crypto(a), bytes, sizeof(bytes), &len));
		bad = f->gw->refused[P2P_RECORD_BAD_FUTURE];
		assert_int_equal(
			gw_record_policy_store(DHT_RECORD, rec.key.b, good.id, bytes, len, f->gw),
			ahead < 120000);
		assert_int_equal(f->gw->refused[P2P_RECORD_BAD_FUTURE], bad + (ahead > 120000));
	}
	fake_store_key(rec.key.b, good.id, bytes, len);
	gw_auth_changed(f->gw->auth, NULL, 0, true, true);
	assert_ok(auth(f, "alice", 1000, &ha1));
	assert_true(f->gw->metrics.values_bad[P2P_RECORD_BAD_FUTURE] > 0);
	gw_authority_free(a);
}

struct routed {
	bool done;
	int err;
};

static void on_route(int err, const struct p2p_candidate_set *cands, void *arg)
{
	struct routed *r = arg;

	(void)cands;
	r->done = true;
	r->err = err;
}

static int route(struct gw_fixture *f, const char *name)
{
	struct routed r = {0};

	gw_lookup(f->gw->lookups, name, strlen(name), 1000, true, on_route, &r);
	assert_true(gw_fixture_wait(f, &r.done, 2000));
	return r.err;
}

/* The other peer's record of a user, with these bytes as permission. */
static bool publish(struct gw_fixture *f, const char *name, const uint8_t *permission, size_t n)
{
	struct p2p_record rec;
	uint8_t buf[P2P_RECORD_MAX];
	size_t len = gw_fixture_record(f, f->other, name, URI, false, 0, 7, buf);
	uint64_t id = p2p_record_value_id(gw_identity_hit(f->other));

	assert_int_equal(p2p_record_decode(&rec, buf, len), P2P_RECORD_OK);
	if (n)
		memcpy(rec.permission, permission, n);
	rec.permission_len = (uint8_t)n;
	assert_ok(p2p_record_sign(&rec, gw_identity_crypto(f->other), buf, sizeof(buf), &len));
	fake_store_name(f, name, id, buf, len);
	return gw_record_policy_store(DHT_RECORD, rec.key.b, id, buf, len, f->gw);
}

static void test_permission(void **state)
{
	struct gw_fixture *f = *state;
	const struct p2p_hit *other = gw_identity_hit(f->other);
	uint8_t permission[P2P_PERMISSION_LEN];
	struct gw_authority *a;
	struct p2p_key alice, bob;
	char dir[128], err[512];
	uint64_t now = gw_wall(f->gw);

	rules(f, false);
	assert_true(publish(f, "alice", NULL, 0));
	assert_ok(route(f, "alice"));
	rules(f, true);
	assert_false(publish(f, "alice", NULL, 0));
	assert_int_equal(f->gw->refused[P2P_RECORD_NO_PERMISSION], 1);
	assert_int_equal(route(f, "alice"), ENOENT);
	assert_true(f->gw->metrics.values_bad[P2P_RECORD_NO_PERMISSION] > 0);
	assert_non_null(strstr(f->last_warn, "no permission of the authority"));

	snprintf(dir, sizeof(dir), "%s/authority", f->dir);
	assert_ok(gw_authority_load(&a, dir, err, sizeof(err)));
	assert_ok(gw_record_key_user(f->gw, "alice", 5, &alice));
	assert_ok(gw_record_key_user(f->gw, "bob", 3, &bob));
#define PERMIT(user, peer, until)                                                                  \
	assert_ok(p2p_permission_sign(permission, &f->gw->overlay, user, peer, until,              \
				      gw_authority_crypto(a)))
	PERMIT(&alice, other, now + 100000);
	assert_true(publish(f, "alice", permission, sizeof(permission)));
	assert_ok(route(f, "alice"));
	/* another user's, another peer's, one that is over */
	assert_false(publish(f, "bob", permission, sizeof(permission)));
	PERMIT(&alice, &f->gw->hit, now + 100000);
	assert_false(publish(f, "alice", permission, sizeof(permission)));
	assert_int_equal(f->gw->refused[P2P_RECORD_BAD_PERMISSION], 2);
	PERMIT(&alice, other, now - 1);
	assert_false(publish(f, "alice", permission, sizeof(permission)));
	assert_int_equal(f->gw->refused[P2P_RECORD_OLD_PERMISSION], 1);
	assert_int_equal(route(f, "alice"), ENOENT);
	/* any peer; any user */
	PERMIT(&bob, NULL, now + 100000);
	assert_true(publish(f, "bob", permission, sizeof(permission)));
	PERMIT(NULL, other, now + 100000);
	assert_true(publish(f, "alice", permission, sizeof(permission)));
	gw_authority_free(a);
	/* as this peer's settings say */
	f->settings.permission = GW_PERMISSION_OFF;
	gw_core_reloaded(f->core, false);
	assert_true(publish(f, "alice", NULL, 0));
	assert_ok(route(f, "alice"));
	rules(f, false);
	f->settings.permission = GW_PERMISSION_REQUIRED;
	gw_core_reloaded(f->core, false);
	assert_false(publish(f, "alice", NULL, 0));
}

/* What this peer publishes carries its permission, and is withdrawn with it. */
static void test_published(void **state)
{
	struct gw_fixture *f = *state;
	uint64_t seen, id = p2p_record_value_id(&f->gw->hit);
	const uint8_t *bytes;
	struct p2p_record rec;
	size_t len;

	rules(f, true);
	assert_ok(gw_users_publish(f->gw->users, "alice", 5, 1, 1, NULL, 0, &seen));
	gw_fixture_run(f, 600);
	assert_null(fake_find_name(f, "alice", id, &len));
	assert_ok(enrol(f, GW_ENROL_ADD, "alice", 1, NULL));
	for (int i = 0; i < 50 && !fake_find_name(f, "alice", id, &len); i++)
		gw_fixture_run(f, 100);
	bytes = fake_find_name(f, "alice", id, &len);
	assert_non_null(bytes);
	assert_int_equal(p2p_record_decode(&rec, bytes, len), P2P_RECORD_OK);
	assert_int_equal(rec.permission_len, P2P_PERMISSION_LEN);
	assert_int_equal(p2p_permission_check(rec.permission, rec.permission_len, &f->gw->overlay,
					      &rec.key, &f->gw->hit, f->gw->anchor->pubkey,
					      gw_wall(f->gw), f->gw->crypto),
			 P2P_RECORD_OK);
	gw_fixture_run(f, 200);
	assert_ok(enrol(f, GW_ENROL_REMOVE, "alice", 0, NULL));
	gw_fixture_run(f, 300);
	gw_users_renew(f->gw->users);
	for (int i = 0; i < 50 && !rec.tombstone; i++) {
		gw_fixture_run(f, 100);
		bytes = fake_find_name(f, "alice", id, &len);
		assert_int_equal(p2p_record_decode(&rec, bytes, len), P2P_RECORD_OK);
	}
	assert_true(rec.tombstone);
}

/* Rules and users of an authority whose clock is a minute ahead, or behind. */
static void test_clock(void **state)
{
	struct gw_fixture *f = *state;
	uint8_t ha1 = 0;

	for (int64_t shift = -60000; shift <= 60000; shift += 120000) {
		char name[16];

		snprintf(name, sizeof(name), "user%d", shift > 0);
		f->wall_shift_ms = shift;
		rules(f, true);
		assert_ok(enrol(f, GW_ENROL_ADD, name, 1, NULL));
		f->wall_shift_ms = 0;
		assert_ok(auth(f, name, 1000, &ha1));
		f->wall_shift_ms = -shift;
		assert_ok(enrol(f, GW_ENROL_PASSWD, name, 2, NULL));
		f->wall_shift_ms = 0;
		gw_fixture_run(f, 100);
		assert_ok(auth(f, name, 1000, &ha1));
		assert_int_equal(ha1, 2);
	}
}

static void test_files(void **state)
{
	static const char *const bad[] = {
		"",
		"p2psip-user 2\nname a\n",
		"p2psip-user 1\n",
		"p2psip-user 1\nname alice\n",
		"p2psip-user 1\nname alice\nrealm r\ndigests MD5\nha1 00\n",
		"p2psip-user 1\nname alice\nrealm \"\ndigests MD5\n",
		"p2psip-user 1\nname alice\nrealm r\ndigests MD5\nfoo bar\n",
		"p2psip-user 1\nname alice\nrealm r\ndigests MD5\nany maybe\n",
		"p2psip-user 1\nname alice\nrealm r\ndigests MD5\npeer 2001:22::1 00 yes\n",
		"p2psip-user 1\nname alice\nrealm r\ndigests MD5"};
	struct gw_enrolled u = {.len = 5,
				.name = "alice",
				.order = 17,
				.digests = P2P_DIGEST_MD5,
				.realm = REALM,
				.n_peers = 1,
				.any = GW_ENROLLED_NO},
			   back = {0};
	char text[GW_ENROLLED_TEXT_MAX];
	size_t len;

	(void)state;
	assert_ok(p2p_hit_parse(&u.peer[0].hit, "2001:22::1", 10));
	u.peer[0].state = GW_ENROLLED_YES;
	memset(u.ha1, 0xab, P2P_HA1_MD5_LEN);
	assert_ok(gw_enrolled_print(&u, text, sizeof(text), &len));
	assert_ok(gw_enrolled_parse(&back, text, len));
	assert_memory_equal(&u, &back, sizeof(u));
	assert_int_equal(gw_enrolled_print(&u, text, 40, &len), EMSGSIZE);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(gw_enrolled_parse(&back, bad[i], strlen(bad[i])), EINVAL);
	/* the largest */
	memset(u.name, 'x', P2P_NAME_MAX);
	u.len = P2P_NAME_MAX;
	u.digests = P2P_DIGEST_MD5 | P2P_DIGEST_SHA256;
	for (u.n_peers = 0; u.n_peers < GW_ENROLLED_PEERS_MAX; u.n_peers++) {
		memset(&u.peer[u.n_peers], 0xff, sizeof(u.peer[0]));
		u.peer[u.n_peers].hit.b[0] = 0x20;
		u.peer[u.n_peers].state = GW_ENROLLED_YES;
	}
	assert_ok(gw_enrolled_print(&u, text, sizeof(text), &len));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, gw_fixture_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		TEST(test_orders),
		TEST(test_kept),
		TEST(test_resumed),
		TEST(test_rekeyed),
		TEST(test_replayed),
		TEST(test_forged),
		TEST(test_permission),
		TEST(test_published),
		TEST(test_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
