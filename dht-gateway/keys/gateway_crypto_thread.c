/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/keys/gateway_crypto_thread.h"
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/keys/gateway_crypto.h"

/* Other peers' keys, each at one place only. */
#define PEERS 64
/* The overlay's secrets: the one in use, and those before. */
#define SECRETS 4
#define SECRET_MAX 64

struct secret {
	EVP_MAC_CTX *mac; /* NULL: free */
	size_t len;
	uint8_t b[SECRET_MAX];
};

struct gw_crypto_thread {
	EVP_PKEY *key;
	EVP_PKEY_CTX *sign;
	struct secret secret[SECRETS];
	unsigned int next_secret;
	struct gw_crypto_peer peer[PEERS];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t cleanup;
static bool cleanup_made;
static EVP_MD *sha256, *sha384;
static EVP_MAC *hmac;
static _Thread_local struct gw_crypto_thread *own;

static void secret_clear(struct secret *s)
{
	EVP_MAC_CTX_free(s->mac);
	OPENSSL_cleanse(s, sizeof(*s));
}

static void thread_free(void *arg)
{
	struct gw_crypto_thread *t = arg;

	for (unsigned int i = 0; i < PEERS; i++)
		EVP_PKEY_CTX_free(t->peer[i].verify);
	for (unsigned int i = 0; i < SECRETS; i++)
		secret_clear(&t->secret[i]);
	EVP_PKEY_CTX_free(t->sign);
	EVP_PKEY_free(t->key);
	free(t);
	own = NULL;
}

static void fetch(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	sha384 = EVP_MD_fetch(NULL, "SHA384", NULL);
	hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	cleanup_made = !pthread_key_create(&cleanup, thread_free);
	ERR_clear_error();
}

const EVP_MD *gw_crypto_md_sha256(void)
{
	pthread_once(&once, fetch);
	return sha256;
}

const EVP_MD *gw_crypto_md_sha384(void)
{
	pthread_once(&once, fetch);
	return sha384;
}

struct gw_crypto_thread *gw_crypto_thread(void)
{
	struct gw_crypto_thread *t = own;

	if (t)
		return t;
	pthread_once(&once, fetch);
	t = cleanup_made ? calloc(1, sizeof(*t)) : NULL;
	if (t && pthread_setspecific(cleanup, t)) {
		free(t);
		t = NULL;
	}
	own = t;
	return t;
}

EVP_PKEY_CTX *gw_crypto_thread_sign(struct gw_crypto_thread *t, EVP_PKEY *key)
{
	if (t->sign && t->key == key)
		return t->sign;
	EVP_PKEY_CTX_free(t->sign);
	EVP_PKEY_free(t->key);
	t->key = NULL;
	t->sign = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	if (!t->sign || EVP_PKEY_sign_init(t->sign) != 1 || EVP_PKEY_up_ref(key) != 1) {
		EVP_PKEY_CTX_free(t->sign);
		t->sign = NULL;
		return NULL;
	}
	/* it is this key, and not another one that took its place in memory */
	t->key = key;
	return t->sign;
}

static EVP_MAC_CTX *hmac_new(const void *key, size_t len)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC_CTX *ctx = hmac ? EVP_MAC_CTX_new(hmac) : NULL;

	if (ctx && EVP_MAC_init(ctx, key, len, params) == 1)
		return ctx;
	EVP_MAC_CTX_free(ctx);
	return NULL;
}

EVP_MAC_CTX *gw_crypto_thread_hmac(struct gw_crypto_thread *t, const void *key, size_t len)
{
	struct secret *s;

	for (unsigned int i = 0; i < SECRETS; i++) {
		s = &t->secret[i];
		if (s->mac && s->len == len && !memcmp(s->b, key, len))
			return EVP_MAC_CTX_dup(s->mac);
	}
	if (!len || len > SECRET_MAX)
		return hmac_new(key, len);
	s = &t->secret[t->next_secret++ % SECRETS];
	secret_clear(s);
	s->mac = hmac_new(key, len);
	if (!s->mac)
		return NULL;
	s->len = len;
	memcpy(s->b, key, len);
	return EVP_MAC_CTX_dup(s->mac);
}

/* X and Y of a key. */
static int coordinates(const EVP_PKEY *key, uint8_t xy[64])
{
	static const char *const name[] = {OSSL_PKEY_PARAM_EC_PUB_X, OSSL_PKEY_PARAM_EC_PUB_Y};
	int err = 0;

	for (unsigned int i = 0; i < 2 && !err; i++) {
		BIGNUM *n = NULL;

		if (EVP_PKEY_get_bn_param(key, name[i], &n) != 1 ||
		    BN_bn2binpad(n, xy + 32 * (size_t)i, 32) != 32)
			err = EIO;
		BN_free(n);
	}
	return err;
}

int gw_crypto_thread_peer(struct gw_crypto_thread *t, const uint8_t pubkey[P2P_PUBKEY_LEN],
			  const struct gw_crypto_peer **peer)
{
	/* a coordinate's last bits are as good as random; who chooses them only slows down others'
	 * records that happen to meet the same place */
	struct gw_crypto_peer *p = &t->peer[pubkey[P2P_PUBKEY_LEN - 1] % PEERS], made = {0};
	EVP_PKEY *key;
	int err;

	*peer = p;
	if (p->verify && !memcmp(p->pubkey, pubkey, sizeof(p->pubkey)))
		return 0;
	err = gw_crypto_public(pubkey, &key);
	if (err)
		return err;
	memcpy(made.pubkey, pubkey, sizeof(made.pubkey));
	err = coordinates(key, made.xy);
	if (!err)
		made.verify = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	EVP_PKEY_free(key);
	if (!err && (!made.verify || EVP_PKEY_verify_init(made.verify) != 1))
		err = made.verify ? EIO : ENOMEM;
	if (err) {
		EVP_PKEY_CTX_free(made.verify);
		ERR_clear_error();
		return err;
	}
	EVP_PKEY_CTX_free(p->verify);
	*p = made;
	return 0;
}
