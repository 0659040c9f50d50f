/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The authority's permission to serve a user: what TLV 0x85 of a user record carries. It names the
 * user by the key of the user's records and the peer by its HIT, either of which may be "any", but
 * not both. docs/records.md describes it byte by byte. */
#ifndef P2PSIP_PROTO_PERMISSION_H
#define P2PSIP_PROTO_PERMISSION_H

#include "lib/proto/crypto.h"
#include "lib/proto/record.h"

/* scope, expiry, signature */
#define P2P_PERMISSION_LEN (1 + 8 + P2P_SIG_LEN)

/* Sign with the authority's key. user NULL: any user; peer NULL: any peer. EINVAL: both NULL, or no
 * expiry; else what sign returned. */
int p2p_permission_sign(uint8_t out[P2P_PERMISSION_LEN], const struct p2p_overlay_id *overlay,
			const struct p2p_key *user, const struct p2p_hit *peer, uint64_t expiry_ms,
			const struct p2p_crypto *crypto);

/* May `peer` serve `user`? len 0: P2P_RECORD_NO_PERMISSION; not the authority's, or for another
 * user or peer: P2P_RECORD_BAD_PERMISSION; P2P_RECORD_OLD_PERMISSION; P2P_RECORD_UNCHECKED. */
enum p2p_record_fault p2p_permission_check(const void *bytes, size_t len,
					   const struct p2p_overlay_id *overlay,
					   const struct p2p_key *user, const struct p2p_hit *peer,
					   const uint8_t authority[P2P_PUBKEY_LEN], uint64_t now_ms,
					   const struct p2p_crypto *crypto);

/* When it ends; 0: it is none. Nothing is verified. */
uint64_t p2p_permission_expiry(const void *bytes, size_t len);

#endif
