/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/lag.h"

/* A deadline of which the loop lost so large a part was not the other side's to keep. */
#define OURS 4

bool p2p_lag_tick(struct p2p_lag *l, uint64_t now_ms)
{
	uint64_t late = l->due_ms != 0 && now_ms > l->due_ms ? now_ms - l->due_ms : 0;
	uint32_t counted = late < P2P_LAG_TURN_MAX_MS ? (uint32_t)late : P2P_LAG_TURN_MAX_MS;
	bool was = l->behind;

	l->lost_ms += late;
	/* alpha 1/4 */
	l->mean8 += counted * 2 - l->mean8 / 4;
	l->due_ms = now_ms + P2P_LAG_TICK_MS;
	l->behind = p2p_lag_mean_ms(l) > P2P_LAG_SOME_MS;
	return l->behind != was;
}

uint32_t p2p_lag_mean_ms(const struct p2p_lag *l)
{
	return l->mean8 / 8;
}

uint64_t p2p_lag_lost_ms(const struct p2p_lag *l, uint64_t now_ms)
{
	return l->lost_ms + (l->due_ms != 0 && now_ms > l->due_ms ? now_ms - l->due_ms : 0);
}

bool p2p_lag_is_ours(uint64_t lost_ms, uint64_t waited_ms)
{
	return lost_ms > 0 && lost_ms * OURS >= waited_ms;
}

bool p2p_lag_refuses(const struct p2p_lag *l, uint32_t random)
{
	uint32_t mean = p2p_lag_mean_ms(l), span = P2P_LAG_ALL_MS - P2P_LAG_SOME_MS;

	return l->behind && random % span < mean - P2P_LAG_SOME_MS;
}
