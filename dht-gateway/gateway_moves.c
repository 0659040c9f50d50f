/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/gateway_moves.h"
#include <string.h>
#include "dht-gateway/gateway_peers.h"
#include "dht-gateway/gateway_users.h"

static bool has(const uint32_t *instance, unsigned int n, uint32_t one)
{
	for (unsigned int i = 0; i < n; i++)
		if (instance[i] == one)
			return true;
	return false;
}

/* Was the phone in this peer's record before? */
static bool was_there(const struct p2p_userset_entry *old, unsigned int n_old,
		      const struct p2p_hit *hit, uint32_t instance)
{
	for (unsigned int i = 0; i < n_old; i++)
		if (!p2p_hit_cmp(&old[i].hit, hit))
			return !old[i].tombstone &&
			       has(old[i].instance, old[i].n_instances, instance);
	return false;
}

void gw_moves_look(struct gw *gw, const char *name, size_t len, const struct p2p_userset_entry *old,
		   unsigned int n_old, const struct p2p_userset *now)
{
	struct p2p_published_info own;
	struct p2p_candidate_set cands;

	if (!now->n || p2p_published_get(gw_users_table(gw->users), name, len, &own) ||
	    own.desired != P2P_DESIRED_CLAIMED || !own.n_instances || !own.since)
		return;
	/* without tombstones, what has expired, and what revoked peers have signed */
	gw_peers_candidates(gw->peers, now, &cands);
	for (unsigned int i = 0; i < cands.n; i++) {
		const struct p2p_candidate *c = &cands.c[i];
		uint32_t moved[P2P_CANDIDATE_INSTANCES_MAX];
		unsigned int n = 0;

		if (c->flags & P2P_CANDIDATE_LAPSED || c->order <= own.since)
			continue;
		for (unsigned int k = 0; k < c->n_instances; k++)
			if (has(own.instance, own.n_instances, c->instance[k]) &&
			    !was_there(old, n_old, &c->hit, c->instance[k]))
				moved[n++] = c->instance[k];
		if (n)
			gw_moves_event(gw, &c->hit, moved, n, name, len);
	}
}
