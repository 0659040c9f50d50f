/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/gateway_gossip.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/gateway_records.h"
#include "lib/model/ring.h"

/* A member that was not heard of for this long is none any more. */
#define SEEN_MS 600000
#define TICK_MS 1000
/* Members that nearest() may be asked for at once. */
#define NEAR_MAX 64

struct member {
	struct p2p_hit hit;
	struct p2p_key pos;
	bool self, alive;
	uint64_t epoch, order;
	uint64_t lease_ms; /* wall */
	uint64_t seen_ms;  /* mono */
	unsigned int n_gateways;
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];
};

struct gw_gossip {
	struct gw *gw;
	struct gw_map *map;
	struct p2p_ring ring;
	struct event *tick;
	uint64_t generation;
	gw_gossip_change_h *change;
	void *change_arg;
};

static void tell(struct gw_gossip *g, const struct member *m, enum gw_gossip_event event)
{
	g->generation++;
	if (g->change)
		g->change(&m->hit, event, g->change_arg);
}

static void member_drop(void *value, void *arg)
{
	struct gw_gossip *g = arg;
	struct member *m = value;

	p2p_ring_del(&g->ring, &m->pos);
	free(m);
}

static struct member *member_add(struct gw_gossip *g, const struct p2p_hit *hit)
{
	struct member *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->hit = *hit;
	m->self = !p2p_hit_cmp(hit, &g->gw->hit);
	if (gw_record_key_peer(g->gw, hit, &m->pos) || p2p_ring_add(&g->ring, &m->pos, m)) {
		free(m);
		return NULL;
	}
	if (gw_map_put(g->map, hit, sizeof(*hit), m)) {
		p2p_ring_del(&g->ring, &m->pos);
		free(m);
		return NULL;
	}
	return m;
}

static const struct member *member_of(const struct gw_gossip *g, const struct p2p_hit *hit)
{
	return gw_map_peek(g->map, hit, sizeof(*hit));
}

static bool is_alive(const void *member, void *arg)
{
	(void)arg;
	return ((const struct member *)member)->alive;
}

unsigned int gw_gossip_nearest(const struct gw_gossip *g, const struct p2p_key *key,
			       unsigned int max, bool alive_only, struct gw_near *out)
{
	void *near[NEAR_MAX];
	unsigned int n;

	n = p2p_ring_nearest(&g->ring, key, max < NEAR_MAX ? max : NEAR_MAX,
			     alive_only ? is_alive : NULL, NULL, near);
	for (unsigned int i = 0; i < n; i++) {
		const struct member *m = near[i];

		out[i] = (struct gw_near){.hit = m->hit,
					  .self = m->self,
					  .alive = m->alive,
					  .epoch = m->self ? g->gw->epoch : m->epoch};
	}
	return n;
}

unsigned int gw_gossip_before(const struct gw_gossip *g, const struct p2p_key *key,
			      unsigned int max, struct gw_near *out, struct p2p_key *pos)
{
	size_t n = g->ring.n, at = p2p_ring_at(&g->ring, key);
	unsigned int i;

	for (i = 0; i < max && i < n; i++) {
		const struct p2p_ring_spot *spot = &g->ring.v[(at + n - 1 - i) % n];
		const struct member *m = spot->member;

		out[i] = (struct gw_near){.hit = m->hit,
					  .self = m->self,
					  .alive = m->alive,
					  .epoch = m->self ? g->gw->epoch : m->epoch};
		pos[i] = spot->pos;
	}
	return i;
}

unsigned int gw_gossip_gateways(const struct gw_gossip *g, const struct p2p_hit *hit,
				struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX])
{
	const struct member *m = member_of(g, hit);

	if (!m)
		return 0;
	memcpy(gateway, m->gateway, m->n_gateways * sizeof(m->gateway[0]));
	return m->n_gateways;
}

bool gw_gossip_alive(const struct gw_gossip *g, const struct p2p_hit *hit)
{
	const struct member *m = member_of(g, hit);

	return m && m->alive;
}

void gw_gossip_doubt(struct gw_gossip *g, const struct p2p_hit *hit)
{
	(void)g;
	(void)hit;
}

size_t gw_gossip_members(const struct gw_gossip *g)
{
	return g->ring.n;
}

uint64_t gw_gossip_generation(const struct gw_gossip *g)
{
	return g->generation;
}

void gw_gossip_on_change(struct gw_gossip *g, gw_gossip_change_h *h, void *arg)
{
	g->change = h;
	g->change_arg = arg;
}

void gw_gossip_forget(struct gw_gossip *g, const struct p2p_hit *hit)
{
	struct member *m = gw_map_take(g->map, hit, sizeof(*hit));

	if (!m)
		return;
	p2p_ring_del(&g->ring, &m->pos);
	tell(g, m, GW_GOSSIP_LEFT);
	free(m);
}

void gw_gossip_record(struct gw_gossip *g, const struct p2p_hit *hit, const struct p2p_record *rec,
		      const void *bytes, size_t len)
{
	struct member *m = gw_map_get(g->map, hit, sizeof(*hit));
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];
	unsigned int n = rec->tombstone ? 0 : p2p_record_gateways(rec, gateway);
	bool fresh = !m, anew, revived;

	(void)bytes;
	(void)len;
	if (m && (m->self || rec->order < m->order))
		return;
	/* it left, or does not speak the protocol */
	if (!n) {
		gw_gossip_forget(g, hit);
		return;
	}
	if (!m && rec->lease_ms <= gw_wall(g->gw))
		return;
	if (!m)
		m = member_add(g, hit);
	if (!m)
		return;
	anew = !fresh && m->epoch != rec->epoch;
	revived = !fresh && !m->alive && rec->lease_ms > gw_wall(g->gw);
	m->order = rec->order;
	m->epoch = rec->epoch;
	m->lease_ms = rec->lease_ms;
	m->alive = rec->lease_ms > gw_wall(g->gw);
	m->seen_ms = gw_mono(g->gw);
	if (m->n_gateways != n || memcmp(m->gateway, gateway, n * sizeof(gateway[0])))
		g->generation++;
	m->n_gateways = n;
	memcpy(m->gateway, gateway, n * sizeof(gateway[0]));
	if (fresh)
		tell(g, m, GW_GOSSIP_JOINED);
	else if (anew)
		tell(g, m, GW_GOSSIP_NEW_EPOCH);
	if (revived)
		tell(g, m, GW_GOSSIP_ALIVE);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct gw_gossip *g = arg;
	uint64_t now = gw_mono(g->gw), wall = gw_wall(g->gw);

	(void)fd;
	(void)what;
	for (size_t i = g->ring.n; i-- > 0;) {
		struct member *m = g->ring.v[i].member;

		if (m->self)
			continue;
		if (m->alive && m->lease_ms <= wall) {
			m->alive = false;
			tell(g, m, GW_GOSSIP_DEAD);
		}
		if (!m->alive && now - m->seen_ms > SEEN_MS)
			gw_gossip_forget(g, &m->hit);
	}
	gw_timer_set(g->tick, TICK_MS);
}

void gw_gossip_rekey(struct gw_gossip *g)
{
	size_t n = g->ring.n;
	struct p2p_ring ring = g->ring;

	memset(&g->ring, 0, sizeof(g->ring));
	g->generation++;
	for (size_t i = 0; i < n; i++) {
		struct member *m = ring.v[i].member;

		if (gw_record_key_peer(g->gw, &m->hit, &m->pos) ||
		    p2p_ring_add(&g->ring, &m->pos, m))
			gw_map_del(g->map, &m->hit, sizeof(m->hit));
	}
	p2p_ring_free(&ring);
}

int gw_gossip_new(struct gw_gossip **gp, struct gw *gw)
{
	struct gw_gossip *g = calloc(1, sizeof(*g));
	struct member *self;
	int err;

	if (!g)
		return ENOMEM;
	g->gw = gw;
	g->tick = event_new(gw->base, -1, 0, on_tick, g);
	err = g->tick ? gw_map_new(&g->map, (size_t)gw->settings->peers_max, false, member_drop, g)
		      : ENOMEM;
	self = err ? NULL : member_add(g, &gw->hit);
	if (!self) {
		gw_gossip_free(g);
		return err ? err : ENOMEM;
	}
	self->alive = true;
	gw_timer_set(g->tick, TICK_MS);
	*gp = g;
	return 0;
}

void gw_gossip_free(struct gw_gossip *g)
{
	if (!g)
		return;
	if (g->map)
		gw_map_free(g->map);
	p2p_ring_free(&g->ring);
	if (g->tick)
		event_free(g->tick);
	free(g);
}
