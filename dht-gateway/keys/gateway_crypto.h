/* SPDX-License-Identifier: GPL-2.0-or-later */
/* OpenSSL as lib/proto/crypto.h wants it. */
#ifndef P2PSIP_GATEWAY_CRYPTO_H
#define P2PSIP_GATEWAY_CRYPTO_H

#include <openssl/evp.h>
#include "lib/proto/crypto.h"

/* Fill in all of crypto. key: an ECDSA P-256 key to sign with, or NULL (then sign is NULL); it must
 * outlive crypto. */
void gw_crypto_init(struct p2p_crypto *crypto, EVP_PKEY *key);

/* The compressed public key. 0, EINVAL (no P-256 key), ENOMEM. */
int gw_crypto_pubkey(EVP_PKEY *key, uint8_t pubkey[P2P_PUBKEY_LEN]);

/* A public key from its compressed form; the caller frees it. EBADMSG: no point of P-256. */
int gw_crypto_public(const uint8_t pubkey[P2P_PUBKEY_LEN], EVP_PKEY **pkey);

/* Random bytes. 0 or EIO. */
int gw_crypto_random(void *out, size_t len);

/* SHA-256. 0 or EIO. */
int gw_crypto_sha256(const void *s, size_t len, uint8_t out[32]);

#endif
