/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/location/gateway_moves.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/location/gateway_users.h"

#define MOVES_MAX 4096
#define ASK_MS 3000

/* A question to one peer about one user. */
struct move {
	struct gw_moves *all;
	struct gw_ask *ask;
	struct p2p_hit hit;
	size_t len; /* of the name */
	char key[sizeof(struct p2p_hit) + P2P_NAME_MAX + 1];
};

struct gw_moves {
	struct gw *gw;
	struct gw_map *map; /* struct move by its key: the HIT, then the name */
};

static void move_drop(void *value, void *arg)
{
	struct move *mv = value;

	(void)arg;
	if (mv->ask)
		gw_ask_cancel(mv->ask);
	free(mv);
}

int gw_moves_new(struct gw_moves **mp, struct gw *gw)
{
	struct gw_moves *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return ENOMEM;
	m->gw = gw;
	err = gw_map_new(&m->map, MOVES_MAX, false, move_drop, NULL);
	if (err) {
		free(m);
		return err;
	}
	*mp = m;
	return 0;
}

void gw_moves_free(struct gw_moves *m)
{
	if (!m)
		return;
	gw_map_free(m->map);
	free(m);
}

static const char *name_of(const struct move *mv)
{
	return mv->key + sizeof(mv->hit);
}

/* Those that came there later than here. */
static void tell(struct move *mv, const struct p2p_opp_user *user)
{
	struct gw *gw = mv->all->gw;
	const struct p2p_published *table = gw_users_table(gw->users);
	uint32_t moved[P2P_OPP_LIST_MAX];
	unsigned int n = 0;

	for (unsigned int i = 0; i < user->n_phones; i++) {
		uint32_t instance = user->phone[i].instance;
		uint64_t age;
		bool older;

		/* older than that, perhaps: it came there later all the same */
		if (p2p_published_age(table, name_of(mv), mv->len, instance, gw_mono(gw), &age,
				      &older) &&
		    age > user->phone[i].age_ms)
			moved[n++] = instance;
	}
	if (n)
		gw_moves_event(gw, &mv->hit, moved, n, name_of(mv), mv->len);
}

static void on_user(int err, const struct p2p_opp_user *user, void *arg)
{
	struct move *mv = arg;

	mv->ask = NULL;
	if (!err && user->presence == P2P_OPP_YES)
		tell(mv, user);
	gw_map_del(mv->all->map, mv->key, sizeof(mv->hit) + mv->len);
}

void gw_moves_other(struct gw_moves *m, const char *name, size_t len,
		    const struct p2p_userset_entry *e)
{
	struct gw *gw = m->gw;
	struct p2p_published_info info;
	struct p2p_key key;
	struct move *mv;
	bool common = false;

	if (e->tombstone || !e->n_gateways || len > P2P_NAME_MAX ||
	    !p2p_hit_cmp(&e->hit, &gw->hit) ||
	    p2p_published_get(gw_users_table(gw->users), name, len, &info) ||
	    info.desired != P2P_DESIRED_CLAIMED || gw_record_key_user(gw, name, len, &key))
		return;
	for (unsigned int i = 0; i < e->n_instances; i++)
		for (unsigned int k = 0; k < info.n_instances; k++)
			common = common || e->instance[i] == info.instance[k];
	if (!common)
		return;
	mv = calloc(1, sizeof(*mv));
	if (!mv)
		return;
	mv->all = m;
	mv->hit = e->hit;
	mv->len = len;
	memcpy(mv->key, &e->hit, sizeof(e->hit));
	memcpy(mv->key + sizeof(e->hit), name, len);
	/* asked already, or too much to ask: both peers are called meanwhile */
	if (gw_map_peek(m->map, mv->key, sizeof(mv->hit) + len) ||
	    gw_map_put(m->map, mv->key, sizeof(mv->hit) + len, mv)) {
		free(mv);
		return;
	}
	if (gw_asks_user(gw->asks, &e->hit, e->gateway, e->n_gateways, &key, ASK_MS, on_user, mv,
			 &mv->ask)) {
		mv->ask = NULL;
		gw_map_del(m->map, mv->key, sizeof(mv->hit) + len);
	}
}
