/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/rtt.h"

void p2p_rtt_add(struct p2p_rtt *r, uint64_t ms)
{
	uint32_t now = ms > P2P_RTT_MAX_MS ? P2P_RTT_MAX_MS : ms < 1 ? 1 : (uint32_t)ms;
	uint32_t smoothed = r->smoothed8 / 8,
		 off = now > smoothed ? now - smoothed : smoothed - now;

	if (r->smoothed8 == 0) {
		r->smoothed8 = now * 8;
		r->var4 = now * 2;
		return;
	}
	/* alpha 1/8, beta 1/4 */
	r->var4 += off - r->var4 / 4;
	r->smoothed8 += now - smoothed;
}

uint64_t p2p_rtt_usual_ms(const struct p2p_rtt *r)
{
	return r->smoothed8 / 8 + r->var4;
}
