/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The enrolment authority, and the certificates of peers and of their Kamailios: what is good, and
 * what each of the others is refused for. */
#include "tests/unit/test.h"
#include <limits.h>
#include <openssl/ec.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/keys/gateway_cert.h"
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/keys/gateway_identity.h"
#include "lib/proto/key.h"

#define NOW 1800000000ll
#define DAY 86400ll

struct peer {
	EVP_PKEY *key;
	struct p2p_hit hit;
	X509 *cert;
};

struct world {
	char dir[32], other_dir[32];
	struct gw_authority *authority, *other;
	struct p2p_crypto crypto;
	struct peer x, y;
};

static void peer_make(struct world *w, struct peer *p)
{
	uint8_t pubkey[P2P_PUBKEY_LEN];

	p->key = EVP_EC_gen("P-256");
	assert_non_null(p->key);
	assert_ok(gw_crypto_pubkey(p->key, pubkey));
	assert_ok(p2p_hit_from_pubkey(&p->hit, pubkey, &w->crypto));
	assert_ok(gw_authority_issue(w->authority, p->key, NOW - DAY, NOW + 90 * DAY, &p->cert));
}

static void peer_free(struct peer *p)
{
	X509_free(p->cert);
	EVP_PKEY_free(p->key);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char err[256];

	gw_crypto_init(&w->crypto, NULL);
	strcpy(w->dir, "/tmp/gwcert.XXXXXX");
	strcpy(w->other_dir, "/tmp/gwcert.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	assert_non_null(mkdtemp(w->other_dir));
	assert_ok(gw_authority_create(w->dir, NOW, err, sizeof(err)));
	assert_ok(gw_authority_create(w->other_dir, NOW, err, sizeof(err)));
	assert_ok(gw_authority_load(&w->authority, w->dir, err, sizeof(err)));
	assert_ok(gw_authority_load(&w->other, w->other_dir, err, sizeof(err)));
	peer_make(w, &w->x);
	peer_make(w, &w->y);
	*state = w;
	return 0;
}

static void remove_in(const char *dir)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, GW_AUTHORITY_KEY);
	unlink(path);
	snprintf(path, sizeof(path), "%s/%s", dir, GW_AUTHORITY_CERT);
	unlink(path);
	rmdir(dir);
}

static int teardown(void **state)
{
	struct world *w = *state;

	peer_free(&w->x);
	peer_free(&w->y);
	gw_authority_free(w->authority);
	gw_authority_free(w->other);
	remove_in(w->dir);
	remove_in(w->other_dir);
	free(w);
	return 0;
}

static enum gw_cert_fault check(struct world *w, X509 *cert, int64_t now)
{
	const struct gw_anchor *a = gw_authority_anchor(w->authority);
	struct p2p_hit hit;

	return gw_cert_check_peer(cert, a->cert, &a->overlay, now, &w->crypto, &hit);
}

static void test_authority(void **state)
{
	struct world *w = *state;
	const struct gw_anchor *a = gw_authority_anchor(w->authority);
	const struct p2p_crypto *c = gw_authority_crypto(w->authority);
	char path[PATH_MAX], err[256] = "";
	struct gw_authority *none = NULL;
	struct gw_anchor anchor;
	struct p2p_overlay_id id;
	uint8_t sig[P2P_SIG_LEN];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", w->dir, GW_AUTHORITY_KEY);
	assert_ok(stat(path, &st));
	assert_int_equal(st.st_mode & 07777, 0600);
	/* never over one that is there: it is the overlay */
	assert_int_equal(gw_authority_create(w->dir, NOW, err, sizeof(err)), EEXIST);
	assert_non_null(strstr(err, w->dir));

	assert_ok(p2p_overlay_id_enrolled(&id, a->pubkey, c));
	assert_memory_equal(&id, &a->overlay, sizeof(id));
	assert_memory_not_equal(&id, &gw_authority_anchor(w->other)->overlay, sizeof(id));
	assert_ok(c->sign(c->arg, "record", 6, sig));
	assert_ok(c->verify(c->arg, a->pubkey, "record", 6, sig));

	/* what everybody else has of it */
	snprintf(path, sizeof(path), "%s/%s", w->dir, GW_AUTHORITY_CERT);
	assert_ok(gw_anchor_load(&anchor, path, err, sizeof(err)));
	assert_memory_equal(&anchor.overlay, &a->overlay, sizeof(id));
	assert_memory_equal(&anchor.hit, &a->hit, sizeof(a->hit));
	gw_anchor_clear(&anchor);
	assert_int_equal(gw_anchor_load(&anchor, "/nonexistent/a.pem", err, sizeof(err)), ENOENT);
	assert_int_equal(gw_authority_load(&none, "/nonexistent", err, sizeof(err)), ENOENT);
	assert_null(none);
}

/* A peer's certificate is no authority's, nor is one that names the overlay of another key. */
static void test_authority_refused(void **state)
{
	struct world *w = *state;
	const struct gw_anchor *a = gw_authority_anchor(w->authority);
	struct gw_anchor anchor;
	X509 *cert;

	assert_int_equal(gw_anchor_init(&anchor, w->x.cert), EINVAL);
	assert_ok(gw_cert_make_authority(&cert, w->x.key, &a->overlay, NOW, 10));
	assert_int_equal(gw_anchor_init(&anchor, cert), EINVAL);
	X509_free(cert);
	assert_ok(gw_cert_make(&cert, w->x.key, "2001:22::1"));
	assert_int_equal(gw_anchor_init(&anchor, cert), EINVAL);
	X509_free(cert);
}

static void test_key_without_certificate(void **state)
{
	struct world *w = *state;
	char dir[] = "/tmp/gwcert.XXXXXX", from[PATH_MAX], to[PATH_MAX], err[256] = "";
	struct gw_authority *a = NULL;

	assert_non_null(mkdtemp(dir));
	assert_ok(gw_authority_create(dir, NOW, err, sizeof(err)));
	snprintf(to, sizeof(to), "%s/%s", dir, GW_AUTHORITY_CERT);
	assert_ok(unlink(to));
	assert_int_equal(gw_authority_load(&a, dir, err, sizeof(err)), EINVAL);
	/* another authority's certificate is none for this key */
	snprintf(from, sizeof(from), "%s/%s", w->dir, GW_AUTHORITY_CERT);
	assert_ok(link(from, to));
	assert_int_equal(gw_authority_load(&a, dir, err, sizeof(err)), EINVAL);
	assert_non_null(strstr(err, "another key"));
	assert_null(a);
	remove_in(dir);
}

static void test_peer_good(void **state)
{
	struct world *w = *state;
	const struct gw_anchor *a = gw_authority_anchor(w->authority);
	struct p2p_hit hit;

	assert_int_equal(check(w, w->x.cert, NOW), GW_CERT_OK);
	assert_ok(gw_cert_hit(w->x.cert, &w->crypto, &hit));
	assert_int_equal(p2p_hit_cmp(&hit, &w->x.hit), 0);
	assert_int_equal(gw_cert_until(w->x.cert), NOW + 90 * DAY);
	assert_int_equal(gw_cert_from(w->x.cert), NOW - DAY);
	/* with a clock a minute off, at both ends */
	assert_int_equal(check(w, w->x.cert, NOW - 60), GW_CERT_OK);
	assert_int_equal(check(w, w->x.cert, NOW + 60), GW_CERT_OK);
	memset(&hit, 0, sizeof(hit));
	assert_int_equal(gw_cert_check_peer(w->x.cert, a->cert, &a->overlay, NOW, &w->crypto, &hit),
			 GW_CERT_OK);
	assert_int_equal(p2p_hit_cmp(&hit, &w->x.hit), 0);
}

static void test_peer_dates(void **state)
{
	struct world *w = *state;

	assert_int_equal(check(w, w->x.cert, NOW + 90 * DAY + 1), GW_CERT_EXPIRED);
	assert_int_equal(check(w, w->x.cert, NOW - DAY - 1), GW_CERT_EARLY);
}

static void test_peer_of_another_overlay(void **state)
{
	struct world *w = *state;
	const struct gw_anchor *a = gw_authority_anchor(w->authority);
	X509 *cert;

	assert_ok(gw_authority_issue(w->other, w->x.key, NOW - DAY, NOW + DAY, &cert));
	assert_int_equal(check(w, cert, NOW), GW_CERT_OVERLAY);
	X509_free(cert);
	/* and one that another overlay's authority made out in our overlay's name */
	assert_ok(gw_cert_make_authority(&cert, w->y.key, &a->overlay, NOW, 10));
	X509 *forged;

	assert_ok(gw_cert_make_peer(&forged, w->x.key, &w->x.hit, cert, w->y.key, &a->overlay,
				    NOW - DAY, NOW + DAY));
	assert_int_equal(check(w, forged, NOW), GW_CERT_ISSUER);
	X509_free(forged);
	X509_free(cert);
}

static void test_peer_without_enrolment(void **state)
{
	struct world *w = *state;
	X509 *cert;

	assert_ok(gw_cert_make(&cert, w->x.key, "2001:22::1"));
	assert_int_equal(check(w, cert, NOW), GW_CERT_NONE);
	X509_free(cert);
}

/* The authority's signature over a HIT that is not that of the key: no authority makes one, but
 * whoever reads it must not rely on that. */
static void test_peer_wrong_key(void **state)
{
	struct world *w = *state;
	const struct gw_anchor *a = gw_authority_anchor(w->authority);
	EVP_PKEY *p384 = EVP_EC_gen("P-384");
	struct gw_identity *key;
	char path[PATH_MAX], err[256];
	X509 *cert;

	snprintf(path, sizeof(path), "%s/%s", w->dir, GW_AUTHORITY_KEY);
	assert_ok(gw_identity_load(&key, path, err, sizeof(err)));
	assert_ok(gw_cert_make_peer(&cert, w->x.key, &w->y.hit, a->cert, gw_identity_key(key),
				    &a->overlay, NOW - DAY, NOW + DAY));
	gw_identity_free(key);
	assert_int_equal(check(w, cert, NOW), GW_CERT_KEY);
	X509_free(cert);
	assert_ok(gw_cert_make_peer(&cert, w->x.key, &w->x.hit, w->y.cert, w->y.key, &a->overlay,
				    NOW - DAY, NOW + DAY));
	/* issued by a peer, which may not issue peers */
	assert_int_equal(check(w, cert, NOW), GW_CERT_ISSUER);
	X509_free(cert);
	assert_ok(gw_cert_make(&cert, p384, "2001:22::1"));
	assert_int_equal(check(w, cert, NOW), GW_CERT_KEY);
	X509_free(cert);
	EVP_PKEY_free(p384);
}

/* What OpenSSL, and so Kamailio's tls module, says of a leaf. */
static int chain_verify(struct world *w, X509 *leaf, X509 *peer, X509 *more, int64_t now)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *chain = sk_X509_new_null();
	int ret;

	assert_true(sk_X509_push(chain, peer));
	if (more)
		assert_true(sk_X509_push(chain, more));
	assert_int_equal(X509_STORE_add_cert(store, gw_authority_anchor(w->authority)->cert), 1);
	assert_int_equal(X509_STORE_CTX_init(ctx, store, leaf, chain), 1);
	X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), (time_t)now);
	X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
	ret = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
	if (!ret) {
		X509_STORE_CTX_cleanup(ctx);
		assert_int_equal(X509_STORE_CTX_init(ctx, store, leaf, chain), 1);
		X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), (time_t)now);
		X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT);
		assert_int_equal(X509_verify_cert(ctx), 1);
	}
	sk_X509_free(chain);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return ret;
}

static int leaf_verify(struct world *w, X509 *leaf, X509 *peer, int64_t now)
{
	return chain_verify(w, leaf, peer, NULL, now);
}

static void test_leaf(void **state)
{
	struct world *w = *state;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	char text[P2P_HIT_TEXT_MAX];
	X509 *leaf;

	assert_ok(gw_cert_make_leaf(&leaf, key, &w->x.hit, w->x.cert, w->x.key, NOW - DAY,
				    NOW + 7 * DAY));
	assert_int_equal(leaf_verify(w, leaf, w->x.cert, NOW), X509_V_OK);
	p2p_hit_print(&w->x.hit, text);
	assert_int_equal(X509_check_ip_asc(leaf, text, 0), 1);
	p2p_hit_print(&w->y.hit, text);
	assert_int_equal(X509_check_ip_asc(leaf, text, 0), 0);
	assert_int_equal(leaf_verify(w, leaf, w->x.cert, NOW + 8 * DAY),
			 X509_V_ERR_CERT_HAS_EXPIRED);
	/* no gateway takes a Kamailio's certificate for a peer's */
	assert_int_not_equal(check(w, leaf, NOW), GW_CERT_OK);
	X509_free(leaf);
	/* never longer than the peer's own */
	assert_ok(gw_cert_make_leaf(&leaf, key, &w->x.hit, w->x.cert, w->x.key, NOW - DAY,
				    NOW + 700 * DAY));
	assert_int_equal(gw_cert_until(leaf), gw_cert_until(w->x.cert));
	X509_free(leaf);
	EVP_PKEY_free(key);
}

/* A member may not pass for another one: peer x issues a leaf that names y. */
static void test_leaf_of_another_name(void **state)
{
	struct world *w = *state;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *leaf, *chained;

	assert_ok(gw_cert_make_leaf(&leaf, key, &w->y.hit, w->x.cert, w->x.key, NOW - DAY,
				    NOW + 7 * DAY));
	assert_int_equal(leaf_verify(w, leaf, w->x.cert, NOW), X509_V_ERR_PERMITTED_VIOLATION);
	/* nor with the other's certificate in the chain */
	assert_int_not_equal(leaf_verify(w, leaf, w->y.cert, NOW), X509_V_OK);
	X509_free(leaf);
	/* nor over an issuer of its own: that one is no peer, and bound to the same name */
	assert_ok(gw_cert_make_peer(&chained, key, &w->x.hit, w->x.cert, w->x.key,
				    &gw_authority_anchor(w->authority)->overlay, NOW - DAY,
				    NOW + DAY));
	assert_int_equal(check(w, chained, NOW), GW_CERT_ISSUER);
	assert_ok(
		gw_cert_make_leaf(&leaf, w->y.key, &w->y.hit, chained, key, NOW - DAY, NOW + DAY));
	assert_int_equal(chain_verify(w, leaf, chained, w->x.cert, NOW),
			 X509_V_ERR_PERMITTED_VIOLATION);
	X509_free(leaf);
	X509_free(chained);
	EVP_PKEY_free(key);
}

static void test_text(void **state)
{
	struct world *w = *state;
	X509 *both[] = {w->x.cert, w->y.cert}, *cert;
	char pem[4096], base64[2 * GW_CERT_DER_MAX];
	size_t len;

	assert_ok(gw_cert_print(both, 2, pem, sizeof(pem), &len));
	assert_int_equal(len, strlen(pem));
	assert_ok(gw_cert_parse(&cert, pem, len));
	assert_int_equal(X509_cmp(cert, w->x.cert), 0);
	X509_free(cert);
	assert_int_equal(gw_cert_print(both, 2, pem, 100, &len), EMSGSIZE);
	assert_int_equal(gw_cert_parse(&cert, "rubbish", 7), EINVAL);

	assert_ok(gw_cert_base64(w->x.cert, base64, sizeof(base64)));
	assert_ok(gw_cert_parse_base64(&cert, base64, strlen(base64)));
	assert_int_equal(X509_cmp(cert, w->x.cert), 0);
	X509_free(cert);
	assert_int_equal(gw_cert_base64(w->x.cert, base64, 100), EMSGSIZE);
	assert_int_equal(gw_cert_parse_base64(&cert, base64, strlen(base64) - 4), EINVAL);
	assert_int_equal(gw_cert_parse_base64(&cert, base64, 0), EINVAL);
	base64[10] = '!';
	assert_int_equal(gw_cert_parse_base64(&cert, base64, strlen(base64)), EINVAL);
	memset(base64, 'A', sizeof(base64));
	assert_int_equal(gw_cert_parse_base64(&cert, base64, sizeof(base64)), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_authority),
		cmocka_unit_test(test_authority_refused),
		cmocka_unit_test(test_key_without_certificate),
		cmocka_unit_test(test_peer_good),
		cmocka_unit_test(test_peer_dates),
		cmocka_unit_test(test_peer_of_another_overlay),
		cmocka_unit_test(test_peer_without_enrolment),
		cmocka_unit_test(test_peer_wrong_key),
		cmocka_unit_test(test_leaf),
		cmocka_unit_test(test_leaf_of_another_name),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
