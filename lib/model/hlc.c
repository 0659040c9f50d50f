/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/hlc.h"

#include <errno.h>

#include "lib/proto/record.h"

static int too_far(uint64_t order, uint64_t now_ms)
{
	return order > now_ms && order - now_ms > P2P_RECORD_FUTURE_MS;
}

static void at_least(uint64_t *order, uint64_t least)
{
	if (*order < least)
		*order = least;
}

int p2p_hlc_next(struct p2p_hlc *hlc, uint64_t now_ms, uint64_t before, uint64_t *order)
{
	uint64_t next = now_ms;

	at_least(&next, hlc->given);
	if (hlc->seen)
		at_least(&next, hlc->seen + 1);
	if (before)
		at_least(&next, before + 1);
	if (too_far(next, now_ms))
		return ERANGE;
	hlc->given = next;
	*order = next;
	return 0;
}

int p2p_hlc_see(struct p2p_hlc *hlc, uint64_t order, uint64_t now_ms)
{
	if (too_far(order, now_ms))
		return ERANGE;
	at_least(&hlc->seen, order);
	return 0;
}
