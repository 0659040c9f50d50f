/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole gateways of an overlay with an authority, over the memory engine: certificates are renewed,
 * also expired ones; a revocation reaches all, and only the authority's counts. */
#include "tests/unit/test.h"
#include <signal.h>
#include <event2/event.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/keys/gateway_cert.h"
#include "dht-gateway/gateway_core.h"
#include "dht-gateway/enrol/gateway_enrol.h"
#include "dht-gateway/keys/gateway_leaf.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/enrol/gateway_renew.h"
#include "dht-gateway/enrol/gateway_rotate.h"
#include "dht-gateway/enrol/gateway_setup.h"
#include "tests/unit/test_gw_world.h"

#define DAY_MS 86400000ll

struct member {
	struct peer p;
	char dir[96];
};

struct overlay {
	struct world w; /* its loop, log and folder */
	struct member m[PEERS];
	int64_t shift_ms; /* of all clocks */
	char err[512];
};

static uint64_t wall(void *arg)
{
	const struct overlay *o = arg;

	return p2p_clock_wall(&p2p_clock_system) + (uint64_t)o->shift_ms;
}

static uint64_t mono(void *arg)
{
	(void)arg;
	return p2p_clock_mono(&p2p_clock_system);
}

static void log_sink(enum p2p_log_level level, const char *msg, void *arg)
{
	(void)arg;
	if (getenv("GW_TEST_LOG"))
		fprintf(stderr, "# %s: %s\n", p2p_log_level_name(level), msg);
}

static void start(struct overlay *o, unsigned int i)
{
	struct member *m = &o->m[i];
	struct gw_core_config config = {
		.base = o->w.base,
		.settings = &m->p.settings,
		.log = &o->w.log,
		.clock = &m->p.clock,
	};
	char path[128];
	FILE *f;

	m->p.port = m->p.port ? m->p.port : free_port();
	m->p.clock = (struct p2p_clock){.wall_ms = wall, .mono_ms = mono, .arg = o};
	snprintf(path, sizeof(path), "%s.conf", m->dir);
	f = fopen(path, "w");
	fprintf(f,
		"[overlay]\nsecret_file = %s/overlay.secret\nauthority_dir = %s/authority\n"
		"[identity]\nfile = %s/identity.pem\nstate_dir = %s\n[tls]\ndir = %s/tls\n"
		"[dht]\nbackend = memory\nmemory_dir = %s/dht\n"
		"[peers]\nlisten = 127.0.0.1:%u\n[sip]\nuri = sip:127.0.0.1:%u;transport=udp\n",
		m->dir, m->dir, m->dir, m->dir, m->dir, o->w.dir, m->p.port, 5060 + i);
	fclose(f);
	if (gw_settings_load(&m->p.settings, path, o->err, sizeof(o->err)) ||
	    gw_core_new(&m->p.core, &config, o->err, sizeof(o->err)))
		fail_msg("%s", o->err);
	m->p.gw = gw_core_gw(m->p.core);
}

/* By an invitation of the first one's. */
static void join(struct overlay *o, unsigned int i)
{
	struct gw *gw = o->m[0].p.gw;
	struct p2p_opp_enrol ask = {.invited = true};
	char text[P2P_TOKEN_MAX], hit[P2P_HIT_TEXT_MAX];
	struct p2p_opp_enrolled answer;
	struct p2p_opp_error error;
	struct gw_identity *id;
	struct p2p_token token;
	X509 *cert;

	assert_ok(gw_setup_identity(o->m[i].dir, &id, o->err, sizeof(o->err)));
	assert_ok(gw_enrol_invite(gw, 60, NULL, text, o->err, sizeof(o->err)));
	assert_ok(p2p_token_parse(&token, text, strlen(text)));
	memcpy(ask.token, token.secret, sizeof(ask.token));
	p2p_hit_print(gw_identity_hit(id), hit);
	assert_ok(gw_cert_make(&cert, gw_identity_key(id), hit));
	assert_ok(gw_enrol_answer(gw, cert, gw_identity_hit(id), &ask, &answer, &error));
	assert_ok(gw_setup_join(o->m[i].dir, id, &token, &answer, "127.0.0.1", o->m[0].p.port,
				wall(o), o->err, sizeof(o->err)));
	X509_free(cert);
	gw_identity_free(id);
}

static int overlay_setup(void **state)
{
	struct overlay *o = calloc(1, sizeof(*o));
	struct p2p_overlay_id overlay;
	struct gw_identity *id;
	char authority[128];

	snprintf(o->w.dir, sizeof(o->w.dir), "/tmp/gwmembers.XXXXXX");
	assert_non_null(mkdtemp(o->w.dir));
	o->w.log = (struct p2p_log){.sink = log_sink, .level = P2P_LOG_DBG};
	o->w.base = event_base_new();
	for (unsigned int i = 0; i < PEERS; i++)
		snprintf(o->m[i].dir, sizeof(o->m[i].dir), "%s/p%u", o->w.dir, i);
	snprintf(authority, sizeof(authority), "%s/authority", o->m[0].dir);
	assert_ok(gw_setup_identity(o->m[0].dir, &id, o->err, sizeof(o->err)));
	assert_ok(gw_setup_create(o->m[0].dir, authority, 90, wall(o), id, &overlay, o->err,
				  sizeof(o->err)));
	gw_identity_free(id);
	start(o, 0);
	for (unsigned int i = 1; i < PEERS; i++) {
		join(o, i);
		start(o, i);
	}
	run_for(&o->w, 100);
	*state = o;
	return 0;
}

static int overlay_teardown(void **state)
{
	struct overlay *o = *state;

	for (unsigned int i = 0; i < PEERS; i++)
		if (o->m[i].p.core)
			peer_stop(&o->m[i].p);
	event_base_free(o->w.base);
	nftw(o->w.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(o);
	return 0;
}

static int64_t until(const struct gw *gw)
{
	return gw_cert_until(gw_members_cert(gw->members));
}

static int64_t leaf_until(struct overlay *o, unsigned int i)
{
	char path[160];
	X509 *cert;
	int64_t s;

	snprintf(path, sizeof(path), "%s/tls/" GW_LEAF_CERT, o->m[i].dir);
	assert_ok(gw_cert_load(&cert, path, o->err, sizeof(o->err)));
	s = gw_cert_until(cert);
	X509_free(cert);
	return s;
}

/* So many days pass; all say who they are again, and look after their certificates. */
static void days_pass(struct overlay *o, int64_t days)
{
	o->shift_ms += days * DAY_MS;
	for (unsigned int i = 0; i < PEERS; i++)
		gw_peers_announce(o->m[i].p.gw->peers);
	run_for(&o->w, 150);
	for (unsigned int i = 0; i < PEERS; i++)
		gw_renewal_check(o->m[i].p.gw->renewal);
	run_for(&o->w, 400);
}

static void test_renewal(void **state)
{
	struct overlay *o = *state;
	const struct gw *gw = o->m[1].p.gw;
	int64_t first = until(gw), leaf = leaf_until(o, 1), second;

	assert_string_equal(gw_renewal_state(gw), "good");
	days_pass(o, 59);
	assert_int_equal(until(gw), first);
	assert_true(leaf_until(o, 1) > leaf);
	/* a third is left: the one who invited it has the authority */
	days_pass(o, 2);
	second = until(gw);
	assert_true(second > first + 60 * 86400);
	assert_string_equal(gw_renewal_state(gw), "good");
	for (unsigned int i = 0; i < PEERS; i++)
		assert_true(until(o->m[i].p.gw) > first + 60 * 86400);
	/* the authority is away until it has ended; then a member gets one all the same */
	peer_stop(&o->m[0].p);
	o->shift_ms += 80 * DAY_MS;
	gw_renewal_check(o->m[1].p.gw->renewal);
	run_for(&o->w, 100);
	assert_string_equal(gw_renewal_state(gw), "ends soon");
	o->shift_ms += 15 * DAY_MS;
	assert_string_equal(gw_renewal_state(gw), "expired");
	assert_int_equal(gw_member_check(o->m[2].p.gw, gw_members_cert(gw->members), &gw->hit),
			 GW_CERT_EXPIRED);
	start(o, 0);
	for (unsigned int n = 0; n < 20 && until(gw) == second; n++)
		days_pass(o, 0);
	assert_true(until(gw) > second);
	assert_int_equal(gw_member_check(o->m[2].p.gw, gw_members_cert(gw->members), &gw->hit),
			 GW_CERT_OK);
}

static void test_revocation(void **state)
{
	struct overlay *o = *state;
	struct gw *a = o->m[0].p.gw, *b = o->m[1].p.gw, *c = o->m[2].p.gw;
	uint8_t old[64];
	const uint8_t *bytes;
	enum p2p_record_fault fault;
	size_t len;

	memcpy(old, c->secret.b, sizeof(old));
	assert_int_equal(gw_rotation_revoke(a->rotation, &a->hit, o->err, sizeof(o->err)), EINVAL);
	assert_int_equal(gw_rotation_revoke(b->rotation, &c->hit, o->err, sizeof(o->err)), ENOENT);
	assert_ok(gw_rotation_revoke(a->rotation, &b->hit, o->err, sizeof(o->err)));
	assert_int_equal(gw_rotation_revoke(a->rotation, &b->hit, o->err, sizeof(o->err)),
			 EALREADY);
	for (unsigned int n = 0; n < 100 && c->secrets.e[0].generation != 1; n++)
		run_for(&o->w, 20);
	assert_int_equal(gw_revocations_count(c->members), 1);
	assert_int_equal(c->secrets.e[0].generation, 1);
	assert_memory_equal(&c->secret, &a->secret, sizeof(a->secret));
	assert_memory_not_equal(c->secret.b, old, 32);
	assert_false(gw_rotation_behind(c->rotation));
	/* whom it is about hears of it, and gets no secret */
	run_for(&o->w, 300);
	assert_int_equal(b->secrets.e[0].generation, 0);
	assert_int_equal(gw_member_check(c, gw_members_cert(b->members), &b->hit), GW_CERT_REVOKED);
	assert_int_equal(gw_member_check(c, gw_members_cert(a->members), &a->hit), GW_CERT_OK);
	/* told again, or by a record that is not whole */
	assert_ok(gw_revocation_bytes(c->members, 1, &bytes, &len));
	assert_int_equal(gw_revocation_add(a->members, bytes, len, &fault), EALREADY);
	assert_int_equal(gw_revocation_add(a->members, bytes, len - 1, &fault), EBADMSG);
	/* over a restart */
	peer_stop(&o->m[2].p);
	start(o, 2);
	c = o->m[2].p.gw;
	assert_int_equal(gw_revocations_count(c->members), 1);
	assert_int_equal(c->secrets.e[0].generation, 1);
	assert_true(gw_member_revoked(c, &b->hit));
}

/* What does not come from the authority, or not in its order. */
static void test_revocations_of_others(void **state)
{
	struct overlay *o = *state;
	struct gw *c = o->m[2].p.gw;
	struct p2p_revocation rev = {.number = 1, .hit = o->m[1].p.gw->hit};
	struct gw_authority *a, *other;
	uint8_t buf[P2P_RECORD_MAX];
	enum p2p_record_fault fault;
	struct p2p_record rec;
	char dir[128];
	size_t len;

	snprintf(dir, sizeof(dir), "%s/authority", o->m[0].dir);
	assert_ok(gw_authority_load(&a, dir, o->err, sizeof(o->err)));
	snprintf(dir, sizeof(dir), "%s/other", o->w.dir);
	assert_ok(gw_authority_create(dir, 1000, o->err, sizeof(o->err)));
	assert_ok(gw_authority_load(&other, dir, o->err, sizeof(o->err)));
	for (unsigned int i = 0; i < 4; i++) {
		const struct gw_authority *by = i == 0 ? other : a;

		rev.number = i == 1 ? 2 : 1;
		memset(&rec, 0, sizeof(rec));
		assert_ok(p2p_revocation_encode(&rev, &rec));
		rec.overlay = c->overlay;
		rec.order = wall(o) + (i == 2 ? 200000 : 0);
		rec.expiry_ms = rec.order + 86400000;
		memcpy(rec.pubkey, gw_authority_anchor(by)->pubkey, sizeof(rec.pubkey));
		/* 3: under the key of another number */
		assert_ok(p2p_revocation_key(&rec.key, &c->overlay, i == 3 ? 7 : rev.number,
					     c->crypto));
		assert_ok(p2p_record_sign(&rec, gw_authority_crypto(by), buf, sizeof(buf), &len));
		assert_int_equal(gw_revocation_add(c->members, buf, len, &fault),
				 i == 1 ? ERANGE : EBADMSG);
		assert_int_equal(fault, i == 0	 ? P2P_RECORD_BAD_SIGNER
					: i == 1 ? P2P_RECORD_OK
					: i == 2 ? P2P_RECORD_BAD_FUTURE
						 : P2P_RECORD_BAD_KEY);
	}
	assert_int_equal(gw_revocations_count(c->members), 0);
	gw_authority_free(other);
	gw_authority_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_renewal, overlay_setup, overlay_teardown),
		cmocka_unit_test_setup_teardown(test_revocation, overlay_setup, overlay_teardown),
		cmocka_unit_test_setup_teardown(test_revocations_of_others, overlay_setup,
						overlay_teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
