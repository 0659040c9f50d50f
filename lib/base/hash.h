/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SipHash-2-4: a keyed hash for tables whose keys strangers choose. Not for signatures. */
#ifndef P2PSIP_BASE_HASH_H
#define P2PSIP_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct p2p_hash_key {
	uint8_t b[16];
};

uint64_t p2p_hash(const struct p2p_hash_key *key, const void *s, size_t len);

#endif
