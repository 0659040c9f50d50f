/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The body of a revocation record (kind 5), which the overlay's authority signs: the n-th peer that
 * was put out of the overlay, and by what the overlay secret that came with it is known.
 * docs/records.md describes it byte by byte. */
#ifndef P2PSIP_PROTO_REVOCATION_H
#define P2PSIP_PROTO_REVOCATION_H

#include "lib/proto/crypto.h"
#include "lib/proto/record.h"

/* Peers that one overlay can put out. */
#define P2P_REVOCATIONS_MAX 4096
#define P2P_SECRET_MARK_LEN 16

struct p2p_revocation {
	uint32_t number;    /* from 1 on, without gaps: the generation of the secret that follows */
	struct p2p_hit hit; /* who was put out; all 0: nobody, the secret alone is another */
	uint8_t mark[P2P_SECRET_MARK_LEN]; /* of that secret */
};

/* Fill in the body of a record of kind 5. EINVAL: number 0 or too high. */
int p2p_revocation_encode(const struct p2p_revocation *r, struct p2p_record *rec);
/* From a record of kind 5 that was decoded (and, to believe it, checked). */
enum p2p_record_fault p2p_revocation_decode(struct p2p_revocation *r, const struct p2p_record *rec);

/* Where the record of this number lies: under no secret, for it must be found by peers that have an
 * old one. Key = first 20 bytes of HMAC-SHA-256(overlay id, 5 | number, 32 bits). */
int p2p_revocation_key(struct p2p_key *key, const struct p2p_overlay_id *overlay, uint32_t number,
		       const struct p2p_crypto *crypto);

/* By what a secret is known: the first 16 bytes of HMAC-SHA-256(secret, "p2psip-secret" | 0 |
 * overlay id | generation, 32 bits). Whoever has the mark can tell the right one, not make it. */
int p2p_secret_mark(uint8_t mark[P2P_SECRET_MARK_LEN], const void *secret, size_t len,
		    const struct p2p_overlay_id *overlay, uint32_t generation,
		    const struct p2p_crypto *crypto);

#endif
