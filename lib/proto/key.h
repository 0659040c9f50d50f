/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a record lies in the DHT: HMAC-SHA-256(overlay secret, kind byte | name), first 160 bits.
 * Strangers to the overlay can read no names off the DHT, and cannot find a name's records. */
#ifndef P2PSIP_PROTO_KEY_H
#define P2PSIP_PROTO_KEY_H

#include "lib/proto/crypto.h"
#include "lib/proto/record.h"

/* Shortest and longest overlay secret, in bytes. */
#define P2P_SECRET_MIN 16
#define P2P_SECRET_MAX 64

/* Key of a name's records. kind: USER (name: canonical user name) or another kind named by text.
 * EINVAL: secret or name too short or too long. */
int p2p_key_make(struct p2p_key *key, const void *secret, size_t secretlen,
		 enum p2p_record_kind kind, const void *name, size_t len,
		 const struct p2p_crypto *crypto);

/* Key of a peer's records (kinds PEER and RELAY): the name is the HIT's 16 bytes. */
int p2p_key_make_hit(struct p2p_key *key, const void *secret, size_t secretlen,
		     enum p2p_record_kind kind, const struct p2p_hit *hit,
		     const struct p2p_crypto *crypto);

/* Id of a closed overlay (one without an enrolment authority): the first 16 bytes of
 * HMAC-SHA-256(overlay secret, 0 | "overlay-id"). */
int p2p_overlay_id_make(struct p2p_overlay_id *id, const void *secret, size_t secretlen,
			const struct p2p_crypto *crypto);

/* Id of an enrolled overlay: the first 16 bytes of HMAC-SHA-256("p2psip-overlay", 0 | the
 * authority's compressed public key). It stays when the secret changes, and proves whose overlay it
 * is. */
int p2p_overlay_id_enrolled(struct p2p_overlay_id *id, const uint8_t authority[P2P_PUBKEY_LEN],
			    const struct p2p_crypto *crypto);

/* 32 hexadecimal digits. */
int p2p_overlay_id_parse(struct p2p_overlay_id *id, const char *text, size_t len);
void p2p_overlay_id_print(const struct p2p_overlay_id *id, char text[2 * P2P_OVERLAY_ID_LEN + 1]);

#endif
