/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/moves.h"

bool p2p_moves_concern(const struct p2p_published_info *here, const uint32_t *there, size_t n)
{
	size_t i, k;

	if (here->desired != P2P_DESIRED_CLAIMED)
		return false;
	for (i = 0; i < n; i++) {
		for (k = 0; k < here->n_instances; k++) {
			if (there[i] == here->instance[k])
				return true;
		}
	}
	return false;
}

size_t p2p_moves_over(const struct p2p_published *here, const char *name, size_t len,
		      const struct p2p_moves_phone *there, size_t n, uint64_t now_ms, uint32_t *out)
{
	size_t i, found = 0;
	uint64_t age_ms;
	bool older;

	for (i = 0; i < n; i++) {
		/* older than that, perhaps: it came there later all the same */
		if (p2p_published_age(here, name, len, there[i].instance, now_ms, &age_ms,
				      &older) &&
		    age_ms > there[i].age_ms)
			out[found++] = there[i].instance;
	}
	return found;
}

bool p2p_moves_may(struct p2p_moves_limit *limit, uint64_t key, uint64_t now_ms)
{
	unsigned int at = (unsigned int)(key % P2P_MOVES_PLACES);

	if (limit->place[at].key != key || limit->place[at].n == 0 ||
	    now_ms - limit->place[at].since_ms >= P2P_MOVES_MS) {
		limit->place[at].key = key;
		limit->place[at].since_ms = now_ms;
		limit->place[at].n = 0;
	}
	if (limit->place[at].n >= P2P_MOVES_MAX)
		return false;
	limit->place[at].n++;
	return true;
}
