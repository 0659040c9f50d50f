/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/replay.h"

#include "lib/base/bytes.h"

uint32_t p2p_replay_sets(uint32_t entries)
{
	uint32_t n = 1;

	while (n < (1u << 24) && (uint64_t)n * P2P_REPLAY_WAYS < entries)
		n *= 2;
	return n;
}

uint32_t p2p_replay_set_of(const struct p2p_replay *r, const uint8_t *mac)
{
	return p2p_be32(mac + 8) & r->mask;
}

enum p2p_replay_verdict p2p_replay_check(struct p2p_replay *r, const uint8_t *mac, uint64_t t_ms,
					 uint64_t now_ms)
{
	struct p2p_replay_set *s = &r->set[p2p_replay_set_of(r, mac)];
	uint64_t tag = p2p_be64(mac);
	unsigned int i, use = 0;

	if (t_ms == 0 || t_ms + P2P_REPLAY_WINDOW_MS < now_ms ||
	    t_ms > now_ms + P2P_REPLAY_WINDOW_MS)
		return P2P_REPLAY_OLD;
	for (i = 0; i < P2P_REPLAY_WAYS; i++)
		if (s->t_ms[i] != 0 && s->tag[i] == tag)
			return P2P_REPLAY_SEEN;
	if (t_ms <= s->floor_ms)
		return P2P_REPLAY_OLD;
	for (i = 1; i < P2P_REPLAY_WAYS; i++)
		if (s->t_ms[i] < s->t_ms[use])
			use = i;
	/* The oldest one is free, or no longer needed, or makes room. A clock that was set back
	 * leaves the floor where it is: that errs on the safe side, for as long as it was set back.
	 */
	if (s->t_ms[use] != 0 && s->t_ms[use] + P2P_REPLAY_WINDOW_MS >= now_ms) {
		if (t_ms <= s->t_ms[use])
			return P2P_REPLAY_OLD; /* older than all that are remembered */
		if (s->t_ms[use] > s->floor_ms)
			s->floor_ms = s->t_ms[use];
	}
	s->tag[use] = tag;
	s->t_ms[use] = t_ms;
	return P2P_REPLAY_NEW;
}
