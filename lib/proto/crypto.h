/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cryptography that lib/ needs, given by the program: lib/ links no crypto library, so that
 * the Kamailio modules do not either. All functions: 0 or a positive errno. */
#ifndef P2PSIP_PROTO_CRYPTO_H
#define P2PSIP_PROTO_CRYPTO_H

#include <stddef.h>
#include <stdint.h>
#include "lib/proto/hit.h"

/* r and s, 32 bytes big-endian each */
#define P2P_SIG_LEN 64

struct p2p_crypto {
	void *arg;
	/* ECDSA P-256 over SHA-256(msg) with the program's own key (NULL where it has none). */
	int (*sign)(void *arg, const void *msg, size_t len, uint8_t sig[P2P_SIG_LEN]);
	/* 0: good. EBADMSG: bad signature, or the key is no point of P-256. Else: could not tell.
	 */
	int (*verify)(void *arg, const uint8_t pubkey[P2P_PUBKEY_LEN], const void *msg, size_t len,
		      const uint8_t sig[P2P_SIG_LEN]);
	/* X and Y of a compressed P-256 point. EINVAL when it is none. */
	int (*point)(void *arg, const uint8_t pubkey[P2P_PUBKEY_LEN], uint8_t xy[64]);
	int (*hmac_sha256)(void *arg, const void *key, size_t keylen, const void *msg, size_t len,
			   uint8_t out[32]);
	p2p_sha384_h *sha384;
};

/* The HIT of a compressed public key. */
int p2p_hit_from_pubkey(struct p2p_hit *hit, const uint8_t pubkey[P2P_PUBKEY_LEN],
			const struct p2p_crypto *crypto);

/* (r, s) and (r, n - s) verify alike; only the one with s <= n/2 is valid in a record, so that
 * nobody can make a second form of a record that another one signed. */
int p2p_sig_is_low(const uint8_t sig[P2P_SIG_LEN]);
void p2p_sig_make_low(uint8_t sig[P2P_SIG_LEN]);

#endif
