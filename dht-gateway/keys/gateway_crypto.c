/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/keys/gateway_crypto.h"
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/objects.h>
#include <openssl/param_build.h>
#include <openssl/rand.h>
#include <string.h>

/* A DER signature of P-256: two integers of at most 33 bytes with their headers. */
#define DER_MAX 80

static int sig_from_der(const uint8_t *der, size_t len, uint8_t sig[P2P_SIG_LEN])
{
	ECDSA_SIG *es = d2i_ECDSA_SIG(NULL, &der, (long)len);
	int err = EIO;

	if (!es)
		return ENOMEM;
	if (BN_bn2binpad(ECDSA_SIG_get0_r(es), sig, 32) == 32 &&
	    BN_bn2binpad(ECDSA_SIG_get0_s(es), sig + 32, 32) == 32)
		err = 0;
	ECDSA_SIG_free(es);
	return err;
}

static int sig_to_der(const uint8_t sig[P2P_SIG_LEN], uint8_t der[DER_MAX], size_t *len)
{
	ECDSA_SIG *es = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(sig, 32, NULL), *s = BN_bin2bn(sig + 32, 32, NULL);
	uint8_t *p = der;
	int n, err = ENOMEM;

	if (!es || !r || !s || !ECDSA_SIG_set0(es, r, s))
		goto out;
	r = s = NULL; /* es owns them */
	n = i2d_ECDSA_SIG(es, NULL);
	if (n <= 0 || n > DER_MAX)
		goto out;
	*len = (size_t)i2d_ECDSA_SIG(es, &p);
	err = 0;
out:
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(es);
	return err;
}

static int sign(void *arg, const void *msg, size_t len, uint8_t sig[P2P_SIG_LEN])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[DER_MAX];
	size_t derlen = sizeof(der);
	int err = ENOMEM;

	if (!ctx)
		return ENOMEM;
	if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, arg) == 1 &&
	    EVP_DigestSign(ctx, der, &derlen, msg, len) == 1)
		err = sig_from_der(der, derlen, sig);
	else
		err = EIO;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

int gw_crypto_public(const uint8_t pubkey[P2P_PUBKEY_LEN], EVP_PKEY **pkey)
{
	char group[] = "prime256v1";
	uint8_t copy[P2P_PUBKEY_LEN];
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy, sizeof(copy)),
		OSSL_PARAM_construct_end(),
	};
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	int err = 0;

	if (!ctx)
		return ENOMEM;
	memcpy(copy, pubkey, sizeof(copy));
	*pkey = NULL;
	if (EVP_PKEY_fromdata_init(ctx) != 1)
		err = EIO;
	else if (EVP_PKEY_fromdata(ctx, pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		err = EBADMSG;
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

static int verify(void *arg, const uint8_t pubkey[P2P_PUBKEY_LEN], const void *msg, size_t len,
		  const uint8_t sig[P2P_SIG_LEN])
{
	EVP_MD_CTX *ctx = NULL;
	EVP_PKEY *pkey = NULL;
	uint8_t der[DER_MAX];
	size_t derlen;
	int err;

	(void)arg;
	err = gw_crypto_public(pubkey, &pkey);
	if (err)
		return err;
	err = sig_to_der(sig, der, &derlen);
	if (err)
		goto out;
	ctx = EVP_MD_CTX_new();
	if (!ctx) {
		err = ENOMEM;
		goto out;
	}
	if (EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey) != 1)
		err = EIO;
	else if (EVP_DigestVerify(ctx, der, derlen, msg, len) != 1)
		err = EBADMSG;
out:
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(pkey);
	ERR_clear_error();
	return err;
}

static int point(void *arg, const uint8_t pubkey[P2P_PUBKEY_LEN], uint8_t xy[64])
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *p = group ? EC_POINT_new(group) : NULL;
	uint8_t full[65];
	int err = EINVAL;

	(void)arg;
	if (!p)
		err = ENOMEM;
	else if (EC_POINT_oct2point(group, p, pubkey, P2P_PUBKEY_LEN, NULL) == 1 &&
		 EC_POINT_point2oct(group, p, POINT_CONVERSION_UNCOMPRESSED, full, sizeof(full),
				    NULL) == sizeof(full)) {
		memcpy(xy, full + 1, 64);
		err = 0;
	}
	EC_POINT_free(p);
	EC_GROUP_free(group);
	ERR_clear_error();
	return err;
}

static int hmac_sha256(void *arg, const void *key, size_t keylen, const void *msg, size_t len,
		       uint8_t out[32])
{
	unsigned int n = 32;

	(void)arg;
	if (keylen > INT32_MAX || !HMAC(EVP_sha256(), key, (int)keylen, msg, len, out, &n) ||
	    n != 32)
		return EIO;
	return 0;
}

static int sha384(const void *a, size_t alen, const void *b, size_t blen, uint8_t out[48])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int err = EIO;

	if (!ctx)
		return ENOMEM;
	if (EVP_DigestInit_ex(ctx, EVP_sha384(), NULL) == 1 &&
	    EVP_DigestUpdate(ctx, a, alen) == 1 && EVP_DigestUpdate(ctx, b, blen) == 1 &&
	    EVP_DigestFinal_ex(ctx, out, NULL) == 1)
		err = 0;
	EVP_MD_CTX_free(ctx);
	return err;
}

void gw_crypto_init(struct p2p_crypto *crypto, EVP_PKEY *key)
{
	*crypto = (struct p2p_crypto){
		.arg = key,
		.sign = key ? sign : NULL,
		.verify = verify,
		.point = point,
		.hmac_sha256 = hmac_sha256,
		.sha384 = sha384,
	};
}

int gw_crypto_pubkey(EVP_PKEY *key, uint8_t pubkey[P2P_PUBKEY_LEN])
{
	uint8_t full[65];
	size_t len = 0;
	char group[32] = "";

	if (!EVP_PKEY_is_a(key, "EC") ||
	    EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
					   NULL) != 1 ||
	    strcmp(group, "prime256v1") ||
	    EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, full, sizeof(full),
					    &len) != 1) {
		ERR_clear_error();
		return EINVAL;
	}
	if (len == P2P_PUBKEY_LEN) {
		memcpy(pubkey, full, P2P_PUBKEY_LEN);
		return 0;
	}
	if (len != sizeof(full) || full[0] != POINT_CONVERSION_UNCOMPRESSED)
		return EINVAL;
	pubkey[0] = (uint8_t)(POINT_CONVERSION_COMPRESSED | (full[64] & 1));
	memcpy(pubkey + 1, full + 1, 32);
	return 0;
}

int gw_crypto_random(void *out, size_t len)
{
	return RAND_priv_bytes(out, (int)len) == 1 ? 0 : EIO;
}

int gw_crypto_sha256(const void *s, size_t len, uint8_t out[32])
{
	unsigned int n = 32;

	return EVP_Digest(s, len, out, &n, EVP_sha256(), NULL) == 1 ? 0 : EIO;
}
