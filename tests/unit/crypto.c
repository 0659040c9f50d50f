/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/crypto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/objects.h>
#include <openssl/param_build.h>
#include <openssl/sha.h>

struct test_key {
	EVP_PKEY *pkey;
};

static void need(int ok)
{
	if (!ok)
		abort();
}

static EVP_PKEY *pkey_from(const uint8_t *scalar, const uint8_t *point, size_t len)
{
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	BIGNUM *d = NULL;
	OSSL_PARAM *params;
	EVP_PKEY *pkey = NULL;

	need(bld != NULL && ctx != NULL);
	need(OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0));
	need(OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, len));
	if (scalar != NULL) {
		d = BN_bin2bn(scalar, 32, NULL);
		need(d != NULL && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PRIV_KEY, d));
	}
	params = OSSL_PARAM_BLD_to_param(bld);
	need(params != NULL && EVP_PKEY_fromdata_init(ctx) == 1);
	if (EVP_PKEY_fromdata(ctx, &pkey, scalar != NULL ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY,
			      params) != 1)
		pkey = NULL;
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	EVP_PKEY_CTX_free(ctx);
	BN_free(d);
	return pkey;
}

struct test_key *test_key_new(const uint8_t scalar[32], uint8_t pubkey[P2P_PUBKEY_LEN])
{
	struct test_key *key = calloc(1, sizeof(*key));
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *point = EC_POINT_new(group);
	BIGNUM *d = BN_bin2bn(scalar, 32, NULL);
	uint8_t full[65];

	need(key != NULL && EC_POINT_mul(group, point, d, NULL, NULL, NULL) == 1);
	need(EC_POINT_point2oct(group, point, POINT_CONVERSION_COMPRESSED, pubkey, P2P_PUBKEY_LEN,
				NULL) == P2P_PUBKEY_LEN);
	need(EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, full, sizeof(full),
				NULL) == sizeof(full));
	key->pkey = pkey_from(scalar, full, sizeof(full));
	need(key->pkey != NULL);
	BN_free(d);
	EC_POINT_free(point);
	EC_GROUP_free(group);
	return key;
}

struct test_key *test_key_seed(uint32_t seed, uint8_t pubkey[P2P_PUBKEY_LEN])
{
	uint8_t scalar[32];

	SHA256((const uint8_t *)&seed, sizeof(seed), scalar);
	scalar[0] &= 0x7f; /* below the curve's order */
	return test_key_new(scalar, pubkey);
}

void test_key_free(struct test_key *key)
{
	EVP_PKEY_free(key->pkey);
	free(key);
}

static int sign(void *arg, const void *msg, size_t len, uint8_t sig[P2P_SIG_LEN])
{
	struct test_key *key = arg;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[80];
	const uint8_t *p = der;
	size_t n = sizeof(der);
	ECDSA_SIG *es;

	need(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) == 1);
	need(EVP_DigestSign(ctx, der, &n, msg, len) == 1);
	es = d2i_ECDSA_SIG(NULL, &p, (long)n);
	need(es != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(es), sig, 32) == 32 &&
	     BN_bn2binpad(ECDSA_SIG_get0_s(es), sig + 32, 32) == 32);
	ECDSA_SIG_free(es);
	EVP_MD_CTX_free(ctx);
	return 0;
}

static int verify(void *arg, const uint8_t pubkey[P2P_PUBKEY_LEN], const void *msg, size_t len,
		  const uint8_t sig[P2P_SIG_LEN])
{
	EVP_PKEY *pkey = pkey_from(NULL, pubkey, P2P_PUBKEY_LEN);
	ECDSA_SIG *es = ECDSA_SIG_new();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t *der = NULL;
	int n, ok = 0;

	(void)arg;
	need(ECDSA_SIG_set0(es, BN_bin2bn(sig, 32, NULL), BN_bin2bn(sig + 32, 32, NULL)));
	n = i2d_ECDSA_SIG(es, &der);
	if (pkey != NULL) {
		need(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey) == 1);
		ok = EVP_DigestVerify(ctx, der, (size_t)n, msg, len) == 1;
	}
	OPENSSL_free(der);
	EVP_MD_CTX_free(ctx);
	ECDSA_SIG_free(es);
	EVP_PKEY_free(pkey);
	return ok ? 0 : EBADMSG;
}

static int point(void *arg, const uint8_t pubkey[P2P_PUBKEY_LEN], uint8_t xy[64])
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *p = EC_POINT_new(group);
	uint8_t full[65];
	int ok;

	(void)arg;
	ok = EC_POINT_oct2point(group, p, pubkey, P2P_PUBKEY_LEN, NULL) == 1 &&
	     EC_POINT_point2oct(group, p, POINT_CONVERSION_UNCOMPRESSED, full, sizeof(full),
				NULL) == sizeof(full);
	if (ok)
		memcpy(xy, full + 1, 64);
	EC_POINT_free(p);
	EC_GROUP_free(group);
	return ok ? 0 : EINVAL;
}

static int hmac_sha256(void *arg, const void *key, size_t keylen, const void *msg, size_t len,
		       uint8_t out[32])
{
	unsigned int n = 32;

	(void)arg;
	return HMAC(EVP_sha256(), key, (int)keylen, msg, len, out, &n) != NULL ? 0 : EIO;
}

static int sha384(const void *a, size_t alen, const void *b, size_t blen, uint8_t out[48])
{
	uint8_t all[256];

	need(alen + blen <= sizeof(all));
	memcpy(all, a, alen);
	memcpy(all + alen, b, blen);
	SHA384(all, alen + blen, out);
	return 0;
}

void test_crypto(struct p2p_crypto *crypto, struct test_key *key)
{
	memset(crypto, 0, sizeof(*crypto));
	crypto->arg = key;
	crypto->sign = key != NULL ? sign : NULL;
	crypto->verify = verify;
	crypto->point = point;
	crypto->hmac_sha256 = hmac_sha256;
	crypto->sha384 = sha384;
}
