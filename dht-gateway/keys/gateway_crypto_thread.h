/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What each thread keeps of OpenSSL, which fetches, parses and allocates anew with each call
 * otherwise, at more than the price of a signature. For gateway_crypto.c alone. */
#ifndef P2PSIP_GATEWAY_CRYPTO_THREAD_H
#define P2PSIP_GATEWAY_CRYPTO_THREAD_H

#include <openssl/evp.h>
#include "lib/proto/crypto.h"

struct gw_crypto_thread;

/* Of this thread, freed with it. NULL: no memory. */
struct gw_crypto_thread *gw_crypto_thread(void);

/* Digests of OpenSSL's, once for all; NULL: none there. */
const EVP_MD *gw_crypto_md_sha256(void);
const EVP_MD *gw_crypto_md_sha384(void);

/* What follows is the thread's: use it before the next call. NULL: it cannot be made. */

/* Signs with this key. */
EVP_PKEY_CTX *gw_crypto_thread_sign(struct gw_crypto_thread *t, EVP_PKEY *key);
/* HMAC-SHA-256 with this key, begun; the caller frees it. */
EVP_MAC_CTX *gw_crypto_thread_hmac(struct gw_crypto_thread *t, const void *key, size_t len);

/* Another peer's public key: few are seen again and again. */
struct gw_crypto_peer {
	uint8_t pubkey[P2P_PUBKEY_LEN]; /* compressed; all 0: nobody's */
	uint8_t xy[64];
	EVP_PKEY_CTX *verify;
};

/* 0; EBADMSG: no point of P-256; ENOMEM, EIO. */
int gw_crypto_thread_peer(struct gw_crypto_thread *t, const uint8_t pubkey[P2P_PUBKEY_LEN],
			  const struct gw_crypto_peer **peer);

#endif
