/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hybrid logical clock: the order of records. It follows the wall clock, but never goes back and is
 * always past everything seen, so that a peer whose clock is slow can still replace its records. */
#ifndef P2PSIP_MODEL_HLC_H
#define P2PSIP_MODEL_HLC_H

#include <stdint.h>

struct p2p_hlc {
	uint64_t last; /* highest order seen or given; 0 to begin with */
};

/* A new order: max(now_ms, highest seen + 1). ERANGE, and no order, when that lies more than 120 s
 * ahead of now_ms (the clock was set back): nobody with a true clock would take it. */
int p2p_hlc_next(struct p2p_hlc *hlc, uint64_t now_ms, uint64_t *order);

/* An order was seen (in a verified record, or in an answer STALE n). ERANGE, and nothing is
 * remembered, when it lies more than 120 s ahead: a skewed clock must not win. */
int p2p_hlc_see(struct p2p_hlc *hlc, uint64_t order, uint64_t now_ms);

#endif
