/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is written for an enrolled overlay: the authority's members and invitations, a peer's state
 * folder, the generations of the secret, Kamailio's certificate. */
#include "tests/unit/test.h"
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/engine/gateway_bootstrap.h"
#include "dht-gateway/keys/gateway_cert.h"
#include "dht-gateway/keys/gateway_leaf.h"
#include "dht-gateway/enrol/gateway_roster.h"
#include "dht-gateway/keys/gateway_secret.h"
#include "dht-gateway/enrol/gateway_setup.h"

#define NOW 1800000000000ull
#define DAY 86400000ull

struct world {
	char dir[32];
	char err[512];
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	strcpy(w->dir, "/tmp/gwroster.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	*state = w;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct world *w = *state;

	nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(w);
	return 0;
}

static const char *in(const struct world *w, const char *name)
{
	static char path[4][128];
	static unsigned int n;

	n = (n + 1) % 4;
	snprintf(path[n], sizeof(path[n]), "%s/%s", w->dir, name);
	return path[n];
}

static void test_invitations(void **state)
{
	struct world *w = *state;
	uint8_t secret[P2P_TOKEN_SECRET_LEN] = {1}, other[P2P_TOKEN_SECRET_LEN] = {2};
	struct p2p_hit a, b;

	assert_ok(p2p_hit_parse(&a, "2001:22::1", 10));
	assert_ok(p2p_hit_parse(&b, "2001:22::2", 10));
	assert_int_equal(gw_roster_redeem(w->dir, secret, &a, NOW), ENOENT);
	assert_ok(gw_roster_invite(w->dir, secret, NOW + 1000, NOW));
	assert_int_equal(gw_roster_redeem(w->dir, other, &a, NOW), ENOENT);
	assert_ok(gw_roster_redeem(w->dir, secret, &a, NOW));
	/* the same peer again, as after a crash; nobody else */
	assert_ok(gw_roster_redeem(w->dir, secret, &a, NOW + 999));
	assert_int_equal(gw_roster_redeem(w->dir, secret, &b, NOW), EALREADY);
	assert_int_equal(gw_roster_redeem(w->dir, secret, &a, NOW + 1000), ESTALE);
	assert_ok(gw_roster_invite(w->dir, other, NOW + 1000, NOW));
	assert_int_equal(gw_roster_redeem(w->dir, other, &b, NOW + 1000), ESTALE);
	/* forgotten a day after */
	secret[1] = 1;
	assert_ok(gw_roster_invite(w->dir, secret, NOW + 3 * DAY, NOW + 2 * DAY));
	assert_int_equal(gw_roster_redeem(w->dir, other, &b, NOW), ENOENT);
}

static bool count(const struct gw_member *m, void *arg)
{
	(void)m;
	(*(unsigned int *)arg)++;
	return true;
}

static void test_members(void **state)
{
	struct world *w = *state;
	struct gw_member m = {.since_ms = NOW, .until_ms = NOW + DAY}, got;
	unsigned int n = 0;
	FILE *f;

	assert_ok(p2p_hit_parse(&m.hit, "2001:22::1", 10));
	memset(m.pubkey, 3, sizeof(m.pubkey));
	assert_int_equal(gw_roster_member(w->dir, &m.hit, &got), ENOENT);
	assert_int_equal(gw_roster_scan(w->dir, count, &n), ENOENT);
	assert_ok(gw_roster_put(w->dir, &m));
	assert_ok(gw_roster_member(w->dir, &m.hit, &got));
	assert_memory_equal(&m, &got, sizeof(m));
	m.revoked_ms = NOW + 5;
	assert_ok(gw_roster_put(w->dir, &m));
	assert_ok(gw_roster_member(w->dir, &m.hit, &got));
	assert_int_equal(got.revoked_ms, NOW + 5);
	m.hit.b[15] = 2;
	assert_ok(gw_roster_put(w->dir, &m));
	assert_ok(gw_roster_scan(w->dir, count, &n));
	assert_int_equal(n, 2);
	/* what a crash or a hand left behind */
	f = fopen(in(w, "members/20010022000000000000000000000003"), "w");
	fputs("key 00\n", f);
	fclose(f);
	f = fopen(in(w, "members/20010022000000000000000000000001.new"), "w");
	fclose(f);
	n = 0;
	assert_ok(gw_roster_scan(w->dir, count, &n));
	assert_int_equal(n, 2);
	m.hit.b[15] = 3;
	assert_int_equal(gw_roster_member(w->dir, &m.hit, &got), EINVAL);
}

static void test_secrets(void **state)
{
	struct world *w = *state;
	const char *path = in(w, "secret");
	struct gw_secrets s, again;
	struct gw_secret one;

	assert_ok(gw_secret_create(path, w->err, sizeof(w->err)));
	assert_ok(gw_secrets_load(&s, path, w->err, sizeof(w->err)));
	assert_int_equal(s.n, 1);
	assert_int_equal(s.e[0].generation, 0);
	assert_int_equal(gw_secrets_live(&s, NOW), 1);
	for (uint32_t g = 1; g <= GW_SECRETS_MAX + 2; g++) {
		assert_ok(gw_secret_random(&one));
		assert_ok(gw_secrets_push(&s, &one, g, NOW + g * GW_SECRET_OVERLAP_MS / 2));
		assert_int_equal(gw_secrets_push(&s, &one, g, NOW), EALREADY);
		assert_int_equal(s.n, g < GW_SECRETS_MAX ? g + 1 : GW_SECRETS_MAX);
		assert_memory_equal(&s.e[0].s, &one, sizeof(one));
	}
	/* two changes within the time: three are looked under, and later only the last */
	assert_int_equal(gw_secrets_live(&s, s.e[0].since_ms), 3);
	assert_int_equal(gw_secrets_live(&s, s.e[0].since_ms + GW_SECRET_OVERLAP_MS - 1), 2);
	assert_int_equal(gw_secrets_live(&s, s.e[0].since_ms + GW_SECRET_OVERLAP_MS), 1);
	s.has_next = true;
	assert_ok(gw_secret_random(&s.next));
	assert_ok(gw_secrets_save(&s, path));
	assert_ok(gw_secrets_load(&again, path, w->err, sizeof(w->err)));
	assert_int_equal(again.n, GW_SECRETS_MAX);
	assert_true(again.has_next);
	for (unsigned int i = 0; i < GW_SECRETS_MAX; i++) {
		assert_memory_equal(&s.e[i].s, &again.e[i].s, sizeof(one));
		assert_int_equal(s.e[i].generation, again.e[i].generation);
		assert_int_equal(s.e[i].since_ms, again.e[i].since_ms);
	}
	assert_memory_equal(&s.next, &again.next, sizeof(one));
	/* those that know no generations read the newest */
	assert_ok(gw_secret_load(&one, path, w->err, sizeof(w->err)));
	assert_memory_equal(&one, &s.e[0].s, sizeof(one));
}

static void answer_fill(struct world *w, const struct gw_identity *identity, const char *authority,
			struct p2p_token *token, struct p2p_opp_enrolled *out)
{
	struct gw_authority *a;
	X509 *cert;

	assert_ok(gw_authority_load(&a, authority, w->err, sizeof(w->err)));
	memset(token, 0, sizeof(*token));
	token->overlay = gw_authority_anchor(a)->overlay;
	assert_ok(gw_authority_issue(a, gw_identity_key(identity), NOW / 1000 - 10,
				     NOW / 1000 + 86400, &cert));
	memset(out, 0, sizeof(*out));
	assert_ok(gw_cert_base64(cert, out->certificate, sizeof(out->certificate)));
	assert_ok(gw_cert_base64(gw_authority_anchor(a)->cert, out->authority,
				 sizeof(out->authority)));
	out->secret.len = 32;
	out->secret.generation = 3;
	out->n_bootstrap = 2;
	strcpy(out->bootstrap[0], ":4222");
	strcpy(out->bootstrap[1], "192.0.2.9:4222");
	X509_free(cert);
	gw_authority_free(a);
}

static void test_create(void **state)
{
	struct world *w = *state;
	struct gw_identity *id;
	struct p2p_overlay_id overlay, again;
	struct stat st;

	assert_ok(gw_setup_identity(in(w, "a"), &id, w->err, sizeof(w->err)));
	assert_ok(gw_setup_create(in(w, "a"), in(w, "auth"), 90, NOW, id, &overlay, w->err,
				  sizeof(w->err)));
	assert_ok(stat(in(w, "a/overlay.secret"), &st));
	assert_int_equal(st.st_mode & 0777, 0600);
	gw_identity_free(id);
	assert_int_equal(gw_setup_identity(in(w, "a"), &id, w->err, sizeof(w->err)), EEXIST);
	/* a crash before the last step: it is gone on with, and is the same overlay */
	assert_ok(unlink(in(w, "a/overlay.secret")));
	assert_ok(unlink(in(w, "auth/authority.pem")));
	assert_ok(gw_setup_identity(in(w, "a"), &id, w->err, sizeof(w->err)));
	assert_ok(gw_setup_create(in(w, "a"), in(w, "auth"), 90, NOW, id, &again, w->err,
				  sizeof(w->err)));
	assert_memory_equal(&overlay, &again, sizeof(overlay));
	gw_identity_free(id);
	/* another peer with the authority's folder begins no overlay of its own with it */
	assert_ok(gw_setup_identity(in(w, "b"), &id, w->err, sizeof(w->err)));
	assert_int_equal(gw_setup_create(in(w, "b"), in(w, "auth"), 90, NOW, id, &again, w->err,
					 sizeof(w->err)),
			 EEXIST);
	gw_identity_free(id);
}

static void test_join(void **state)
{
	struct world *w = *state;
	struct gw_identity *id, *other;
	struct p2p_opp_enrolled e, wrong;
	struct p2p_overlay_id overlay;
	struct gw_bootstrap boot = {0};
	struct p2p_token token;
	struct gw_secrets s;

	assert_ok(gw_setup_identity(in(w, "a"), &id, w->err, sizeof(w->err)));
	assert_ok(gw_setup_create(in(w, "a"), in(w, "auth"), 90, NOW, id, &overlay, w->err,
				  sizeof(w->err)));
	gw_identity_free(id);
	assert_ok(gw_authority_create(in(w, "auth2"), NOW / 1000, w->err, sizeof(w->err)));
	assert_ok(gw_setup_identity(in(w, "b"), &id, w->err, sizeof(w->err)));
	assert_ok(gw_setup_identity(in(w, "c"), &other, w->err, sizeof(w->err)));
	/* of another overlay's authority; for another peer; not whole: nothing comes of it */
	answer_fill(w, id, in(w, "auth2"), &token, &wrong);
	answer_fill(w, id, in(w, "auth"), &token, &e);
	assert_int_equal(gw_setup_join(in(w, "b"), id, &token, &wrong, "192.0.2.1", 7443, NOW,
				       w->err, sizeof(w->err)),
			 EBADMSG);
	strcpy(wrong.authority, e.authority);
	assert_int_equal(gw_setup_join(in(w, "b"), id, &token, &wrong, "192.0.2.1", 7443, NOW,
				       w->err, sizeof(w->err)),
			 EBADMSG);
	answer_fill(w, other, in(w, "auth"), &token, &wrong);
	assert_int_equal(gw_setup_join(in(w, "b"), id, &token, &wrong, "192.0.2.1", 7443, NOW,
				       w->err, sizeof(w->err)),
			 EBADMSG);
	wrong = e;
	wrong.secret.len = 0;
	assert_int_equal(gw_setup_join(in(w, "b"), id, &token, &wrong, "192.0.2.1", 7443, NOW,
				       w->err, sizeof(w->err)),
			 EBADMSG);
	assert_int_not_equal(access(in(w, "b/overlay.secret"), F_OK), 0);
	assert_ok(gw_setup_join(in(w, "b"), id, &token, &e, "192.0.2.1", 7443, NOW, w->err,
				sizeof(w->err)));
	assert_ok(gw_secrets_load(&s, in(w, "b/overlay.secret"), w->err, sizeof(w->err)));
	assert_int_equal(s.e[0].generation, 3);
	assert_ok(gw_bootstrap_load(&boot, in(w, "b/bootstrap")));
	assert_int_equal(boot.n, 2);
	assert_string_equal(boot.entry[0], "192.0.2.1:4222");
	gw_identity_free(id);
	gw_identity_free(other);
}

static int64_t until_of(struct world *w)
{
	X509 *cert;
	int64_t s;

	assert_ok(gw_cert_load(&cert, in(w, "tls/sip-cert.pem"), w->err, sizeof(w->err)));
	s = gw_cert_until(cert);
	X509_free(cert);
	return s;
}

static void test_leaf(void **state)
{
	struct world *w = *state;
	struct gw_leaf_config c = {.group = (gid_t)-1, .now_s = NOW / 1000, .days = 30};
	struct gw_authority *a;
	struct gw_identity *id;
	struct stat before, after;
	bool changed;

	assert_ok(gw_authority_create(in(w, "auth"), NOW / 1000, w->err, sizeof(w->err)));
	assert_ok(gw_authority_load(&a, in(w, "auth"), w->err, sizeof(w->err)));
	assert_ok(gw_setup_identity(in(w, "a"), &id, w->err, sizeof(w->err)));
	assert_ok(gw_authority_issue(a, gw_identity_key(id), NOW / 1000 - 10,
				     NOW / 1000 + 90 * 86400, &c.peer));
	c.dir = strdup(in(w, "tls"));
	c.authority = gw_authority_anchor(a)->cert;
	c.hit = gw_identity_hit(id);
	c.peer_key = gw_identity_key(id);
	assert_ok(gw_leaf_update(&c, &changed, w->err, sizeof(w->err)));
	assert_true(changed);
	assert_int_equal(until_of(w), NOW / 1000 + 30 * 86400);
	assert_ok(stat(in(w, "tls/sip-key.pem"), &before));
	assert_int_equal(before.st_mode & 0777, 0640);
	/* good as it is */
	c.now_s += 19 * 86400;
	assert_ok(gw_leaf_update(&c, &changed, w->err, sizeof(w->err)));
	assert_false(changed);
	/* a third is left: another one, with the same key */
	c.now_s += 2 * 86400;
	assert_ok(gw_leaf_update(&c, &changed, w->err, sizeof(w->err)));
	assert_true(changed);
	assert_int_equal(until_of(w), c.now_s + 30 * 86400);
	assert_ok(stat(in(w, "tls/sip-key.pem"), &after));
	assert_int_equal(before.st_ino, after.st_ino);
	/* not beyond the peer's own; then there is no better one to be made */
	c.now_s += 65 * 86400;
	assert_ok(gw_leaf_update(&c, &changed, w->err, sizeof(w->err)));
	assert_true(changed);
	assert_int_equal(until_of(w), NOW / 1000 + 90 * 86400);
	assert_ok(gw_leaf_update(&c, &changed, w->err, sizeof(w->err)));
	assert_false(changed);
	/* the peer's was renewed; and a key that was lost */
	X509_free(c.peer);
	assert_ok(gw_authority_issue(a, gw_identity_key(id), c.now_s - 10, c.now_s + 90 * 86400,
				     &c.peer));
	assert_ok(gw_leaf_update(&c, &changed, w->err, sizeof(w->err)));
	assert_true(changed);
	assert_ok(truncate(in(w, "tls/sip-key.pem"), 10));
	assert_ok(gw_leaf_update(&c, &changed, w->err, sizeof(w->err)));
	assert_true(changed);
	free((char *)c.dir);
	X509_free(c.peer);
	gw_identity_free(id);
	gw_authority_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_invitations, setup, teardown),
		cmocka_unit_test_setup_teardown(test_members, setup, teardown),
		cmocka_unit_test_setup_teardown(test_secrets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_create, setup, teardown),
		cmocka_unit_test_setup_teardown(test_join, setup, teardown),
		cmocka_unit_test_setup_teardown(test_leaf, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
