/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Phones that have gone from one peer to another: which of those that are registered at both are
 * over here, and how often one may be. Phones are known by the hashes of their +sip.instance.
 * Decisions only: no I/O, no clock of its own. */
#ifndef P2PSIP_MODEL_MOVES_H
#define P2PSIP_MODEL_MOVES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/model/published.h"

/* Does a record that names these phones concern one that is registered here? */
bool p2p_moves_concern(const struct p2p_published_info *here, const uint32_t *there, size_t n);

/* For how long the other peer has had a phone. */
struct p2p_moves_phone {
	uint32_t instance;
	uint64_t age_ms;
};

/* Those of the other peer's phones that came there later than here, and are over here: how many, in
 * out, which has room for n. Ages are compared, so that clocks need not agree; the same age moves
 * nothing, and so does a phone that is not here. */
size_t p2p_moves_over(const struct p2p_published *here, const char *name, size_t len,
		      const struct p2p_moves_phone *there, size_t n, uint64_t now_ms,
		      uint32_t *out);

/* A phone that goes to and fro, or keeps registrations at two peers on purpose, is over here
 * P2P_MOVES_MAX times within P2P_MOVES_MS; then it stays. */
#define P2P_MOVES_MAX 2
#define P2P_MOVES_MS 600000
/* Phones that are remembered; of two that share a place the later one is. */
#define P2P_MOVES_PLACES 4096

struct p2p_moves_limit {
	struct {
		uint64_t key, since_ms;
		unsigned int n;
	} place[P2P_MOVES_PLACES];
};

/* key: of user and phone, hashed; limit: zeroed at the start. True: it is over here, once more. */
bool p2p_moves_may(struct p2p_moves_limit *limit, uint64_t key, uint64_t now_ms);

#endif
