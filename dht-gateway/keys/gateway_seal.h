/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The HA1 in an enrolment record, sealed: to one peer, by ECDH of a key made for this with the
 * peer's Host Identity (P-256), or to whoever holds the overlay secret, which is as much trust as
 * a closed overlay has. The key of ChaCha20-Poly1305 (RFC 8439) is an HMAC-SHA-256 over what the
 * record is; each is used once. docs/records.md has the bytes. */
#ifndef P2PSIP_GATEWAY_SEAL_H
#define P2PSIP_GATEWAY_SEAL_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/proto/crypto.h"
#include "lib/proto/record.h"

#define GW_SEAL_TAG 16
#define GW_SEAL_SALT 16
/* What a seal adds. */
#define GW_SEAL_PEER_EXTRA (P2P_PUBKEY_LEN + GW_SEAL_TAG)
#define GW_SEAL_ANY_EXTRA (GW_SEAL_SALT + GW_SEAL_TAG)

/* To a peer. out: len + GW_SEAL_PEER_EXTRA bytes. key: under which the record lies. EINVAL: no
 * public key; EIO, ENOMEM. */
int gw_seal_peer(uint8_t *out, const void *plain, size_t len, const struct p2p_overlay_id *overlay,
		 const struct p2p_key *key, const uint8_t peer[P2P_PUBKEY_LEN],
		 const struct p2p_crypto *crypto);
/* With the peer's own private key. out: len - GW_SEAL_PEER_EXTRA bytes. EBADMSG: not for us, or
 * damaged. */
int gw_seal_peer_open(uint8_t *out, const void *sealed, size_t len,
		      const struct p2p_overlay_id *overlay, const struct p2p_key *key,
		      EVP_PKEY *identity, const struct p2p_crypto *crypto);

/* The same for any peer, by the overlay secret. */
int gw_seal_any(uint8_t *out, const void *plain, size_t len, const struct p2p_overlay_id *overlay,
		const struct p2p_key *key, const void *secret, size_t secretlen,
		const struct p2p_crypto *crypto);
int gw_seal_any_open(uint8_t *out, const void *sealed, size_t len,
		     const struct p2p_overlay_id *overlay, const struct p2p_key *key,
		     const void *secret, size_t secretlen, const struct p2p_crypto *crypto);

#endif
