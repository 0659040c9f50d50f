/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kamailio's MD5 and SHA-256, by OpenSSL. */
#ifndef MOCK_MD5_H
#define MOCK_MD5_H

#include <openssl/evp.h>
#include <stddef.h>

typedef struct {
	EVP_MD_CTX *ctx;
} MD5_CTX;
typedef MD5_CTX SHA256_CTX;

static inline void MD5Init(MD5_CTX *c)
{
	c->ctx = EVP_MD_CTX_new();
	EVP_DigestInit_ex(c->ctx, EVP_md5(), NULL);
}

static inline void sr_SHA256_Init(SHA256_CTX *c)
{
	c->ctx = EVP_MD_CTX_new();
	EVP_DigestInit_ex(c->ctx, EVP_sha256(), NULL);
}

static inline void U_MD5Update(MD5_CTX *c, const unsigned char *s, size_t len)
{
	EVP_DigestUpdate(c->ctx, s, len);
}

static inline void U_MD5Final(unsigned char *out, MD5_CTX *c)
{
	EVP_DigestFinal_ex(c->ctx, out, NULL);
	EVP_MD_CTX_free(c->ctx);
}

#define sr_SHA256_Update U_MD5Update
#define sr_SHA256_Final U_MD5Final

#endif
