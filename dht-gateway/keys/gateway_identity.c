/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/keys/gateway_identity.h"
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/keys/gateway_file.h"

#define PEM_MAX 4096

struct gw_identity {
	EVP_PKEY *key;
	struct p2p_crypto crypto;
	struct p2p_hit hit;
	uint8_t pubkey[P2P_PUBKEY_LEN];
};

int gw_identity_create(const char *path, char *err, size_t errlen)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_secmem());
	char *pem;
	long len;
	int ret = ENOMEM;

	if (!key || !bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
		goto out;
	len = BIO_get_mem_data(bio, &pem);
	if (len <= 0)
		goto out;
	ret = gw_file_create(path, pem, (size_t)len);
out:
	if (ret)
		snprintf(err, errlen, "%s: cannot make a Host Identity: %s", path, strerror(ret));
	BIO_free(bio);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return ret;
}

/* No pass phrase is asked for: a daemon has nobody to ask. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

int gw_identity_load(struct gw_identity **ip, const char *path, char *err, size_t errlen)
{
	struct gw_identity *id = NULL;
	char pem[PEM_MAX];
	size_t len;
	BIO *bio = NULL;
	int ret;

	ret = gw_file_read_secret(path, pem, sizeof(pem), &len, err, errlen);
	if (ret)
		return ret;
	id = calloc(1, sizeof(*id));
	bio = BIO_new_mem_buf(pem, (int)len);
	if (!id || !bio) {
		ret = ENOMEM;
		snprintf(err, errlen, "%s: %s", path, strerror(ret));
		goto out;
	}
	id->key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	if (!id->key || gw_crypto_pubkey(id->key, id->pubkey)) {
		ret = EINVAL;
		snprintf(err, errlen, "%s: no unencrypted ECDSA P-256 private key in PEM", path);
		goto out;
	}
	gw_crypto_init(&id->crypto, id->key);
	ret = p2p_hit_from_pubkey(&id->hit, id->pubkey, &id->crypto);
	if (ret) {
		snprintf(err, errlen, "%s: cannot make its HIT: %s", path, strerror(ret));
		goto out;
	}
	*ip = id;
	id = NULL;
out:
	OPENSSL_cleanse(pem, sizeof(pem));
	BIO_free(bio);
	gw_identity_free(id);
	ERR_clear_error();
	return ret;
}

void gw_identity_free(struct gw_identity *identity)
{
	if (!identity)
		return;
	EVP_PKEY_free(identity->key);
	free(identity);
}

const struct p2p_hit *gw_identity_hit(const struct gw_identity *identity)
{
	return &identity->hit;
}

const uint8_t *gw_identity_pubkey(const struct gw_identity *identity)
{
	return identity->pubkey;
}

const struct p2p_crypto *gw_identity_crypto(const struct gw_identity *identity)
{
	return &identity->crypto;
}

EVP_PKEY *gw_identity_key(const struct gw_identity *identity)
{
	return identity->key;
}
