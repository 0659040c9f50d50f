/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The users of the last life, and the journal that has them. */
#include <string.h>
#include "dht-gateway/gateway_state.h"
#include "dht-gateway/location/gateway_user_keys.h"
#include "dht-gateway/location/gateway_users_impl.h"

static void compact_user(const struct p2p_published_info *info, void *arg)
{
	struct gw_users *u = arg;
	enum gw_state_mark mark = GW_STATE_USER;

	if (info->desired == P2P_DESIRED_GONE) {
		if (info->put == P2P_PUT_KILLED || info->put == P2P_PUT_NOTHING)
			return;
		mark = GW_STATE_WITHDRAWN;
	}
	gw_state_user(u->gw->state, mark, info->name, info->name_len, info->kamailio,
		      info->instance, info->n_instances);
}

void gw_users_compact(struct gw_users *u)
{
	struct p2p_published_stats st;
	uint64_t cursor = 0;
	int err;

	p2p_published_stats(u->table, &st);
	if (!gw_state_compact_due(u->gw->state, st.entries))
		return;
	err = gw_state_compact_begin(u->gw->state);
	if (!err) {
		do
			p2p_published_scan(u->table, &cursor, 4096, compact_user, u);
		while (cursor);
		err = gw_state_compact_end(u->gw->state);
	}
	if (err)
		p2p_log(u->gw->log, P2P_LOG_ERR, "the journal of users cannot be written anew: %s",
			strerror(err));
}

struct restore {
	struct gw_users *u;
	enum gw_state_mark mark; /* only these */
	bool withdraw;
	unsigned int n;
};

static void restore_one(enum gw_state_mark mark, const char *name, size_t len, uint64_t kamailio,
			const uint32_t *instances, size_t n, void *arg)
{
	struct restore *r = arg;
	uint64_t seen, now = gw_mono(r->u->gw);

	if (mark != r->mark)
		return;
	r->n++;
	gw_user_keys_learn(r->u->keys, name, len);
	if (r->withdraw)
		p2p_published_withdraw(r->u->table, name, len, kamailio, 0, now, &seen);
	else
		p2p_published_publish(r->u->table, name, len, kamailio, 0, instances, n, now,
				      &seen);
}

/* Users whose withdrawal may not have reached the DHT: their records may be out there, until when
 * at most is known. */
static int restore_withdrawn(struct gw_users *u, unsigned int *n)
{
	struct restore r = {.u = u, .mark = GW_STATE_WITHDRAWN};
	struct gw *gw = u->gw;
	struct p2p_published_job p;
	int err = gw_state_users_load(gw->state, restore_one, &r);

	if (err || !r.n)
		return err;
	while (!p2p_published_next(u->table, gw_mono(gw), &p))
		p2p_published_done(u->table, p.id, P2P_PUT_OK, 0,
				   gw_wall(gw) + (uint64_t)gw->settings->record_lifetime_s * 1000,
				   gw_wall(gw), gw_mono(gw));
	*n = r.n;
	r.withdraw = true;
	return gw_state_users_load(gw->state, restore_one, &r);
}

int gw_users_restore(struct gw_users *u)
{
	struct restore users = {.u = u, .mark = GW_STATE_USER};
	unsigned int gone = 0;
	int err;

	u->restoring = true;
	err = restore_withdrawn(u, &gone);
	if (!err)
		err = gw_state_users_load(u->gw->state, restore_one, &users);
	u->restoring = false;
	if (users.n || gone)
		p2p_log(u->gw->log, P2P_LOG_INFO,
			"%u users of the last run are published again, %u are withdrawn", users.n,
			gone);
	gw_users_compact(u);
	gw_users_arm(u);
	return err;
}
