/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long somebody usually takes to answer, as RFC 6298 (2.2, 2.3) has it for TCP: a smoothed time
 * and its variation. No I/O, no clock, no allocation. */
#ifndef P2PSIP_MODEL_RTT_H
#define P2PSIP_MODEL_RTT_H

#include <stdint.h>

/* Longer answers count as this. */
#define P2P_RTT_MAX_MS 60000

/* Zeroed: nothing is known yet. Not to be read but by the functions below. */
struct p2p_rtt {
	uint32_t smoothed8; /* eighths of ms; 0: none yet */
	uint32_t var4;	    /* quarters of ms */
};

/* An answer took so long. */
void p2p_rtt_add(struct p2p_rtt *r, uint64_t ms);
/* After this most answers are there, in ms: the smoothed time and four times its variation. 0:
 * nothing is known. */
uint64_t p2p_rtt_usual_ms(const struct p2p_rtt *r);

#endif
