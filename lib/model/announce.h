/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is to be told to whom: our own records, the newest of each key, and for each of them the
 * targets (members that are to hold it, the engine) with what they know of it. Each target has a
 * queue of entries; a key stands in it once, however often it changes, so that no queue is longer
 * than there are keys. No I/O, no clock. */
#ifndef P2PSIP_MODEL_ANNOUNCE_H
#define P2PSIP_MODEL_ANNOUNCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/base/hash.h"
#include "lib/base/shared.h"
#include "lib/proto/key.h"
#include "lib/proto/record.h"

/* Targets of one key. */
#define P2P_ANNOUNCE_TARGETS_MAX 10
/* A target's number, given by p2p_announce_target_new. */
#define P2P_ANNOUNCE_SLOTS_MAX 65535

struct p2p_announce;

/* An entry; valid until the next change of the table. */
struct p2p_announced {
	struct p2p_key key;
	uint64_t order, expiry_ms;
	bool tombstone;
	const uint8_t *bytes;
	size_t len;
	struct p2p_shared *record; /* bytes: whoever keeps them longer becomes an owner */
};

/* max: entries. 0 or ENOMEM, EINVAL. */
int p2p_announce_new(struct p2p_announce **ap, size_t max, const struct p2p_hash_key *key);
void p2p_announce_free(struct p2p_announce *a);

/* 0; ENOSPC: too many; ENOMEM. */
int p2p_announce_target_new(struct p2p_announce *a, uint16_t *slot);
/* Nothing is told to it any more. The number is given out again. */
void p2p_announce_target_free(struct p2p_announce *a, uint16_t slot);

/* The newest record of a key. All its targets are to be told. ENOSPC, ENOMEM, EBADMSG; ESTALE: a
 * later one is there. */
int p2p_announce_set(struct p2p_announce *a, const void *bytes, size_t len);
/* Its targets from now on; those that were so before know what they knew, the new ones are to be
 * told. ENOENT; ENOMEM (some are not told then until this is called again). */
int p2p_announce_targets(struct p2p_announce *a, const struct p2p_key *key, const uint16_t *slot,
			 unsigned int n);
/* ENOENT. */
int p2p_announce_get(const struct p2p_announce *a, const struct p2p_key *key,
		     struct p2p_announced *out);
void p2p_announce_del(struct p2p_announce *a, const struct p2p_key *key);

/* What is to be told to a target, the longest waiting first: fn is called for one after the other
 * until it says false (that one stays) or max were told; they are on their way then. How many. fn
 * must not change the table. */
unsigned int p2p_announce_next(struct p2p_announce *a, uint16_t slot, unsigned int max,
			       bool (*fn)(const struct p2p_announced *e, void *arg), void *arg);
/* It has it; or it is to be told again. Nothing when the key has a later record by now. */
void p2p_announce_told(struct p2p_announce *a, uint16_t slot, const struct p2p_key *key,
		       uint64_t order, bool kept);
/* It does not have it any more, whatever it said before. */
void p2p_announce_missing(struct p2p_announce *a, uint16_t slot, const struct p2p_key *key);
/* It has forgotten everything that it said it had. */
void p2p_announce_again(struct p2p_announce *a, uint16_t slot);
/* Which targets have the record of this order: how many; 0 if the key has another one. */
unsigned int p2p_announce_kept(const struct p2p_announce *a, const struct p2p_key *key,
			       uint64_t order, uint16_t slot[P2P_ANNOUNCE_TARGETS_MAX]);

/* A page of the table, in no order: fn is called for up to count entries from *cursor on (0 to
 * begin with); *cursor is 0 at the end. kept: of the targets that have it. fn may call
 * p2p_announce_targets and _missing for this key, and p2p_announce_del if it says so by returning
 * true. */
void p2p_announce_scan(struct p2p_announce *a, uint64_t *cursor, size_t count,
		       bool (*fn)(const struct p2p_announced *e, const uint16_t *kept,
				  unsigned int n, void *arg),
		       void *arg);

size_t p2p_announce_count(const struct p2p_announce *a);
/* Entries that wait for a target, or are on their way to it. */
size_t p2p_announce_waiting(const struct p2p_announce *a, uint16_t slot);
/* Of these, not on their way. */
size_t p2p_announce_ready(const struct p2p_announce *a, uint16_t slot);

#endif
