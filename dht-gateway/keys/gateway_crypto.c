/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/keys/gateway_crypto.h"
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>
#include "dht-gateway/keys/gateway_crypto_thread.h"

/* A DER signature of P-256: a sequence of two integers of at most 33 bytes, each with tag and
 * length. */
#define DER_MAX 72
#define DER_SEQUENCE 0x30
#define DER_INTEGER 0x02

/* The integer at p as 32 bytes; what follows it, or NULL. */
static const uint8_t *der_number(const uint8_t *p, const uint8_t *end, uint8_t out[32])
{
	size_t len;

	if (end - p < 2 || p[0] != DER_INTEGER || p[1] > end - p - 2)
		return NULL;
	len = p[1];
	p += 2;
	for (; len > 32 && !*p; len--)
		p++;
	if (len > 32)
		return NULL;
	memset(out, 0, 32 - len);
	memcpy(out + 32 - len, p, len);
	return p + len;
}

static int sig_from_der(const uint8_t *der, size_t len, uint8_t sig[P2P_SIG_LEN])
{
	const uint8_t *p = der + 2, *end = der + len;

	if (len < 2 || der[0] != DER_SEQUENCE || der[1] != len - 2)
		return EIO;
	p = der_number(p, end, sig);
	p = p ? der_number(p, end, sig + 32) : NULL;
	return p == end ? 0 : EIO;
}

/* No zeros at its beginning but one that keeps it from being negative. */
static uint8_t *der_number_put(uint8_t *p, const uint8_t number[32])
{
	size_t skip = 0, zero;

	while (skip < 31 && !number[skip])
		skip++;
	zero = number[skip] >> 7;
	*p++ = DER_INTEGER;
	*p++ = (uint8_t)(32 - skip + zero);
	if (zero)
		*p++ = 0;
	memcpy(p, number + skip, 32 - skip);
	return p + 32 - skip;
}

static size_t sig_to_der(const uint8_t sig[P2P_SIG_LEN], uint8_t der[DER_MAX])
{
	uint8_t *p = der_number_put(der + 2, sig);

	p = der_number_put(p, sig + 32);
	der[0] = DER_SEQUENCE;
	der[1] = (uint8_t)(p - der - 2);
	return (size_t)(p - der);
}

int gw_crypto_sha256(const void *s, size_t len, uint8_t out[32])
{
	const EVP_MD *md = gw_crypto_md_sha256();
	unsigned int n = 32;

	return md && EVP_Digest(s, len, out, &n, md, NULL) == 1 ? 0 : EIO;
}

static int sign(void *arg, const void *msg, size_t len, uint8_t sig[P2P_SIG_LEN])
{
	struct gw_crypto_thread *t = gw_crypto_thread();
	EVP_PKEY_CTX *ctx = t ? gw_crypto_thread_sign(t, arg) : NULL;
	uint8_t hash[32], der[DER_MAX];
	size_t derlen = sizeof(der);
	int err = ctx ? gw_crypto_sha256(msg, len, hash) : ENOMEM;

	if (!err && EVP_PKEY_sign(ctx, der, &derlen, hash, sizeof(hash)) != 1)
		err = EIO;
	if (!err)
		err = sig_from_der(der, derlen, sig);
	else
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
	struct gw_crypto_thread *t = gw_crypto_thread();
	const struct gw_crypto_peer *peer;
	uint8_t hash[32], der[DER_MAX];
	int err = t ? gw_crypto_thread_peer(t, pubkey, &peer) : ENOMEM;

	(void)arg;
	if (!err)
		err = gw_crypto_sha256(msg, len, hash);
	if (err)
		return err;
	if (EVP_PKEY_verify(peer->verify, der, sig_to_der(sig, der), hash, sizeof(hash)) == 1)
		return 0;
	ERR_clear_error();
	return EBADMSG;
}

static int point(void *arg, const uint8_t pubkey[P2P_PUBKEY_LEN], uint8_t xy[64])
{
	struct gw_crypto_thread *t = gw_crypto_thread();
	const struct gw_crypto_peer *peer;
	int err = t ? gw_crypto_thread_peer(t, pubkey, &peer) : ENOMEM;

	(void)arg;
	if (!err)
		memcpy(xy, peer->xy, 64);
	return err == EBADMSG ? EINVAL : err;
}

static int hmac_sha256(void *arg, const void *key, size_t keylen, const void *msg, size_t len,
		       uint8_t out[32])
{
	struct gw_crypto_thread *t = gw_crypto_thread();
	EVP_MAC_CTX *ctx = t ? gw_crypto_thread_hmac(t, key, keylen) : NULL;
	size_t n = 0;
	int err = ENOMEM;

	(void)arg;
	if (ctx)
		err = EVP_MAC_update(ctx, msg, len) == 1 && EVP_MAC_final(ctx, out, &n, 32) == 1 &&
				      n == 32
			      ? 0
			      : EIO;
	EVP_MAC_CTX_free(ctx);
	return err;
}

static int sha384(const void *a, size_t alen, const void *b, size_t blen, uint8_t out[48])
{
	const EVP_MD *md = gw_crypto_md_sha384();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int err = EIO;

	if (!ctx)
		return ENOMEM;
	if (md && EVP_DigestInit_ex(ctx, md, NULL) == 1 && EVP_DigestUpdate(ctx, a, alen) == 1 &&
	    EVP_DigestUpdate(ctx, b, blen) == 1 && EVP_DigestFinal_ex(ctx, out, NULL) == 1)
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
