/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records that are kept for others: by key, of several signers each, in the order of the keys.
 * Bounded in all, by key and by signer. No I/O, no clock of its own. What is kept here was judged
 * by the caller; only which of two records counts is decided here. */
#ifndef P2PSIP_MODEL_HELD_H
#define P2PSIP_MODEL_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/base/hash.h"
#include "lib/base/shared.h"
#include "lib/proto/key.h"
#include "lib/proto/record.h"

/* Signers kept under one key; the newest win when there are more. */
#define P2P_HELD_SIGNERS_MAX 32

struct p2p_held;

struct p2p_held_config {
	size_t max;		      /* records */
	size_t signer_max;	      /* of these, of one signer */
	struct p2p_hash_key hash_key; /* random */
};

/* A kept record; valid until the next change of the table. */
struct p2p_held_record {
	const uint8_t *bytes;
	size_t len;
	uint64_t order, expiry_ms;
	bool tombstone;
	bool verified; /* its signature was seen to be good, or who told it proved to be its signer
			*/
};

/* 0 or ENOMEM, EINVAL. */
int p2p_held_new(struct p2p_held **hp, const struct p2p_held_config *config);
void p2p_held_free(struct p2p_held *h);

/* Keep a record. 0: it is new, or takes the place of an earlier one of its signer. EALREADY: it is
 * here already (verified, now, if this one was). ESTALE: a later one is, its order in *order.
 * EPERM: it would take the place of another one and is not verified. ENOSPC: its signer has as many
 * as it may. EBADMSG: no record. ENOMEM. When the table is full, an old one of any signer goes:
 * p2p_held_lost counts them. */
int p2p_held_put(struct p2p_held *h, const void *bytes, size_t len, bool verified, uint64_t *order);
/* The same of one that is kept elsewhere too: no copy is made, h becomes one of its owners where
 * this is 0. */
int p2p_held_share(struct p2p_held *h, struct p2p_shared *record, bool verified, uint64_t *order);

/* The records of a key: how many. */
unsigned int p2p_held_get(const struct p2p_held *h, const struct p2p_key *key,
			  struct p2p_held_record out[P2P_HELD_SIGNERS_MAX]);
/* One signer's. 0 or ENOENT. */
int p2p_held_find(const struct p2p_held *h, const struct p2p_key *key,
		  const uint8_t pubkey[P2P_PUBKEY_LEN], struct p2p_held_record *out);
/* Its signature was verified since. */
void p2p_held_verified(struct p2p_held *h, const struct p2p_key *key,
		       const uint8_t pubkey[P2P_PUBKEY_LEN]);
/* 0 or ENOENT. */
int p2p_held_del(struct p2p_held *h, const struct p2p_key *key,
		 const uint8_t pubkey[P2P_PUBKEY_LEN]);
/* The lowest key behind this one (NULL: of all). false: there is none. */
bool p2p_held_next(const struct p2p_held *h, const struct p2p_key *after, struct p2p_key *next);

size_t p2p_held_count(const struct p2p_held *h);
/* What it takes, in bytes, those that are shared too, without malloc's own share. */
size_t p2p_held_bytes(const struct p2p_held *h);
/* Records that had to go for want of room, so far. */
uint64_t p2p_held_lost(const struct p2p_held *h);

#endif
