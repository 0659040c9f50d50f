/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hybrid logical clock: the order of records. It follows the wall clock, but never goes back and is
 * always past everything seen, so that a peer whose clock is slow can still replace its records.
 * Only records of one key and signer are compared, so that those of different keys may have the
 * same order: however many are signed in a millisecond, the clock does not run ahead for it. */
#ifndef P2PSIP_MODEL_HLC_H
#define P2PSIP_MODEL_HLC_H

#include <stdint.h>

struct p2p_hlc {
	uint64_t seen; /* the highest of others, and of our own of a former life; 0 to begin with */
	uint64_t given; /* the highest given */
};

/* A new order: max(now_ms, highest given, highest seen + 1, before + 1). before: of the record that
 * it replaces; 0: none. ERANGE, and no order, when that lies more than 120 s ahead of now_ms (the
 * clock was set back): nobody with a true clock would take it. */
int p2p_hlc_next(struct p2p_hlc *hlc, uint64_t now_ms, uint64_t before, uint64_t *order);

/* An order was seen (in a verified record of somebody else, or in an answer STALE n). ERANGE, and
 * nothing is remembered, when it lies more than 120 s ahead: a skewed clock must not win. */
int p2p_hlc_see(struct p2p_hlc *hlc, uint64_t order, uint64_t now_ms);

#endif
