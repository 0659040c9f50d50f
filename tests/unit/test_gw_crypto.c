/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the gateway makes of OpenSSL: right whatever a thread has kept from calls before. */
#include "tests/unit/test.h"
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include "dht-gateway/keys/gateway_crypto.h"

/* More than a thread keeps. */
#define KEYS 200
#define SECRETS 9

struct own {
	EVP_PKEY *key;
	uint8_t pubkey[P2P_PUBKEY_LEN];
	struct p2p_crypto crypto;
};

static void own_new(struct own *o)
{
	o->key = EVP_EC_gen("P-256");
	assert_non_null(o->key);
	assert_int_equal(gw_crypto_pubkey(o->key, o->pubkey), 0);
	gw_crypto_init(&o->crypto, o->key);
}

/* By OpenSSL's own means, from one end to the other. */
static bool plainly_good(EVP_PKEY *key, const void *msg, size_t len, const uint8_t sig[P2P_SIG_LEN])
{
	ECDSA_SIG *es = ECDSA_SIG_new();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char *der = NULL;
	int n;
	bool good;

	ECDSA_SIG_set0(es, BN_bin2bn(sig, 32, NULL), BN_bin2bn(sig + 32, 32, NULL));
	n = i2d_ECDSA_SIG(es, &der);
	assert_true(n > 0);
	assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
	good = EVP_DigestVerify(ctx, der, (size_t)n, msg, len) == 1;
	OPENSSL_free(der);
	EVP_MD_CTX_free(ctx);
	ECDSA_SIG_free(es);
	return good;
}

/* Among so many are signatures whose numbers begin with zeros, or with a high bit. */
static void test_signatures(void **state)
{
	struct own a, b;
	uint8_t sig[P2P_SIG_LEN];
	unsigned int zero = 0, high = 0;

	(void)state;
	own_new(&a);
	own_new(&b);
	for (unsigned int i = 0; i < 2000; i++) {
		struct own *o = i % 3 ? &a : &b, *other = i % 3 ? &b : &a;

		assert_int_equal(o->crypto.sign(o->crypto.arg, &i, sizeof(i), sig), 0);
		zero += !sig[0] || !sig[32];
		high += sig[0] >> 7;
		if (i % 10 == 0)
			assert_true(plainly_good(o->key, &i, sizeof(i), sig));
		assert_int_equal(a.crypto.verify(NULL, o->pubkey, &i, sizeof(i), sig), 0);
		assert_int_equal(a.crypto.verify(NULL, other->pubkey, &i, sizeof(i), sig), EBADMSG);
		sig[i % P2P_SIG_LEN] ^= 1;
		assert_int_equal(a.crypto.verify(NULL, o->pubkey, &i, sizeof(i), sig), EBADMSG);
	}
	assert_true(zero && high);
	memset(sig, 0, sizeof(sig));
	assert_int_equal(a.crypto.verify(NULL, a.pubkey, "", 0, sig), EBADMSG);
	memset(sig, 0xff, sizeof(sig));
	assert_int_equal(a.crypto.verify(NULL, a.pubkey, "", 0, sig), EBADMSG);
	EVP_PKEY_free(a.key);
	EVP_PKEY_free(b.key);
}

/* Keys that push each other out, and one that is none between them. */
static void test_many_keys(void **state)
{
	static struct own o[KEYS];
	static uint8_t sig[KEYS][P2P_SIG_LEN];
	uint8_t none[P2P_PUBKEY_LEN], xy[64];

	(void)state;
	for (unsigned int i = 0; i < KEYS; i++) {
		own_new(&o[i]);
		assert_int_equal(o[i].crypto.sign(o[i].crypto.arg, &i, sizeof(i), sig[i]), 0);
	}
	for (unsigned int n = 0; n < 2 * KEYS; n++) {
		unsigned int i = n * 7 % KEYS;

		assert_int_equal(o[0].crypto.verify(NULL, o[i].pubkey, &i, sizeof(i), sig[i]), 0);
		assert_int_equal(o[0].crypto.point(NULL, o[i].pubkey, xy), 0);
		assert_memory_equal(xy, o[i].pubkey + 1, 32);
		/* the same x, and no point of the curve */
		memcpy(none, o[i].pubkey, sizeof(none));
		none[0] = 4;
		assert_int_not_equal(o[0].crypto.verify(NULL, none, &i, sizeof(i), sig[i]), 0);
		/* the other y */
		none[0] = o[i].pubkey[0] ^ 1;
		assert_int_equal(o[0].crypto.verify(NULL, none, &i, sizeof(i), sig[i]), EBADMSG);
	}
	for (unsigned int i = 0; i < KEYS; i++)
		EVP_PKEY_free(o[i].key);
}

static void test_hmac(void **state)
{
	struct p2p_crypto c;
	uint8_t secret[SECRETS][100], out[32], want[32];

	(void)state;
	gw_crypto_init(&c, NULL);
	for (unsigned int i = 0; i < SECRETS; i++)
		memset(secret[i], (int)(i + 1), sizeof(secret[i]));
	for (unsigned int n = 0; n < 500; n++) {
		const uint8_t *key = secret[n * 5 % SECRETS];
		size_t len = n % 4 == 0 ? 16 : n % 4 == 1 ? 64 : n % 4 == 2 ? 100 : 32;
		unsigned int wanted = sizeof(want);

		assert_non_null(HMAC(EVP_sha256(), key, (int)len, (const void *)&n, sizeof(n), want,
				     &wanted));
		assert_int_equal(c.hmac_sha256(c.arg, key, len, &n, sizeof(n), out), 0);
		assert_memory_equal(out, want, sizeof(want));
	}
}

static void *in_thread(void *arg)
{
	const struct own *o = arg;
	uint8_t sig[P2P_SIG_LEN];

	for (unsigned int i = 0; i < 100; i++)
		if (o->crypto.sign(o->crypto.arg, &i, sizeof(i), sig) ||
		    o->crypto.verify(NULL, o->pubkey, &i, sizeof(i), sig))
			return arg;
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t thread[4];
	struct own o;
	void *failed;

	(void)state;
	own_new(&o);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, in_thread, &o), 0);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(thread[i], &failed), 0);
		assert_null(failed);
	}
	EVP_PKEY_free(o.key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signatures),
		cmocka_unit_test(test_many_keys),
		cmocka_unit_test(test_hmac),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
