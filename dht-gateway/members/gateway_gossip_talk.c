/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exchanges with other members: when the state machine wants one, and when they do. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/members/gateway_gossip_impl.h"
#include "dht-gateway/gateway_load.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/location/gateway_records.h"

#define TICK_MS 1000
/* A peer that does not know this resource is not asked for it again for so long. */
#define MUTE_MS 60000

struct gossip_talk {
	struct gw_gossip *g;
	LIST_ENTRY(gossip_talk) all;
	struct gw_ask *ask;
	struct p2p_hit hit;
};

struct mute {
	struct p2p_hit hit;
	uint64_t when_ms; /* mono */
};

static void talk_end(struct gossip_talk *t)
{
	LIST_REMOVE(t, all);
	free(t);
}

/* The records of a message, each by all rules. */
static void records_hear(struct gw_gossip *g, const struct p2p_hit *from)
{
	struct gw *gw = g->gw;
	char text[P2P_HIT_TEXT_MAX];

	for (unsigned int i = 0; i < g->in.n_records; i++) {
		const uint8_t *bytes = g->in.record[i].b;
		size_t len = g->in.record[i].len;
		enum p2p_record_fault fault;
		struct p2p_record rec;
		struct p2p_hit hit;

		if (gossip_read(g, bytes, len, &rec, &hit, &fault)) {
			gw_record_seen(gw, &rec, &hit);
			if (p2p_hit_cmp(&hit, &gw->hit))
				gossip_learn(g, &hit, &rec, bytes, len, true);
			else
				gw_peers_own_seen(gw->peers, &rec);
		} else if (fault && fault != P2P_RECORD_EXPIRED) {
			g->records_bad++;
			p2p_hit_print(from, text);
			gw_warn_source(gw, from, sizeof(*from),
				       "a bad peer record that %s told is ignored: %s", text,
				       p2p_record_fault_text(fault));
		}
	}
}

void gossip_refute(struct gw_gossip *g)
{
	if (p2p_gossip_refute(g->model))
		gw_peers_own_tell(g->gw->peers);
}

static int read_members(const char *body, size_t len, void *arg)
{
	struct gossip_talk *t = arg;

	return p2p_opp_members_decode(&t->g->in, body, len);
}

/* It speaks the protocol, but an earlier form. */
static void mute(struct gw_gossip *g, const struct p2p_hit *hit)
{
	struct mute *m = malloc(sizeof(*m));

	if (m)
		*m = (struct mute){*hit, gw_mono(g->gw)};
	if (m && gw_map_put(g->mute, hit, sizeof(*hit), m))
		free(m);
	p2p_gossip_forget(g->model, hit);
}

static void on_answer(const struct gw_answer *answer, void *arg)
{
	struct gossip_talk *t = arg;
	struct gw_gossip *g = t->g;
	struct p2p_hit hit = t->hit;
	uint64_t now = gw_mono(g->gw);

	talk_end(t);
	if (answer->err == EEXIST && answer->error->code == P2P_OPP_E_NOTFOUND) {
		p2p_gossip_failed(g->model, &hit, now);
		mute(g, &hit);
	} else if (!answer->err) {
		records_hear(g, &hit);
		p2p_gossip_answered(g->model, &hit, &g->in, now);
		gossip_refute(g);
	} else if (answer->err == EBUSY) {
		/* it has too much to do: so it lives */
		memset(&g->in, 0, sizeof(g->in));
		p2p_gossip_answered(g->model, &hit, &g->in, now);
	} else if (answer->ours) {
		p2p_gossip_void(g->model, &hit);
	} else {
		p2p_gossip_failed(g->model, &hit, now);
	}
	gossip_talk_kick(g);
}

static unsigned int gateways_of(struct gw_gossip *g, const struct p2p_hit *hit,
				struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX])
{
	struct p2p_gossip_info info;
	struct p2p_record rec;
	unsigned int n = gw_gossip_gateways(g, hit, gateway);

	/* one that was a member once */
	if (!n && !p2p_gossip_info(g->model, hit, &info) && info.len &&
	    !p2p_record_decode(&rec, info.bytes, info.len))
		n = p2p_record_gateways(&rec, gateway);
	for (unsigned int i = 0; !n && i < g->n_hints; i++) {
		if (p2p_hit_cmp(&g->hint[i].hit, hit))
			continue;
		gateway[0] = g->hint[i].gateway;
		n = 1;
	}
	return n;
}

/* 0, or nothing was sent. */
static int talk(struct gw_gossip *g, const struct p2p_hit *hit)
{
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];
	struct p2p_opp_path path = {
		.version = P2P_OPP_VERSION, .overlay = g->gw->overlay, .resource = P2P_OPP_MEMBERS};
	struct gw_question q = {
		.method = "POST", .path = &path, .body = g->body, .read = read_members};
	unsigned int n = gateways_of(g, hit, gateway);
	struct gossip_talk *t;
	int err;

	if (!n || gw_member_revoked(g->gw, hit))
		return ENOENT;
	p2p_gossip_ask(g->model, hit, &g->out, gw_mono(g->gw), gw_wall(g->gw));
	err = p2p_opp_members_encode(&g->out, g->body, sizeof(g->body), &q.len);
	if (err)
		return err;
	t = calloc(1, sizeof(*t));
	if (!t)
		return ENOMEM;
	t->g = g;
	t->hit = *hit;
	err = gw_asks_question(g->gw->asks, hit, gateway, n, &q, P2P_GOSSIP_EXCHANGE_MS, on_answer,
			       t, &t->ask);
	if (err) {
		free(t);
		return err;
	}
	LIST_INSERT_HEAD(&g->talks, t, all);
	return 0;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct gw_gossip *g = arg;
	uint64_t now = gw_mono(g->gw), due;
	struct p2p_hit hit;
	const struct mute *m;

	(void)fd;
	(void)what;
	if (!g->active)
		return;
	if (!g->left) {
		/* what the loop was late by, others have had no time to refute */
		p2p_gossip_late(g->model, gw_load_lost_ms(g->gw->load) - g->lost_ms, now);
		g->lost_ms = gw_load_lost_ms(g->gw->load);
		p2p_gossip_tick(g->model, now);
	}
	while (p2p_gossip_next(g->model, &hit, now))
		if (talk(g, &hit))
			p2p_gossip_failed(g->model, &hit, now);
	if (g->left) {
		void (*left)(void *arg) = g->left;

		gw_timer_set(g->timer, 50);
		if (!LIST_EMPTY(&g->talks) && now < g->leave_ms)
			return;
		g->left = NULL;
		g->active = false;
		left(g->left_arg);
		return;
	}
	while ((m = gw_map_oldest(g->mute)) && now - m->when_ms > MUTE_MS)
		gw_map_del(g->mute, &m->hit, sizeof(m->hit));
	gossip_seed_tick(g, now);
	gossip_file_tick(g, now);
	due = p2p_gossip_due(g->model);
	gw_timer_set(g->timer, due <= now ? 1 : due - now < TICK_MS ? due - now : TICK_MS);
}

void gossip_talk_kick(struct gw_gossip *g)
{
	if (g->active)
		gw_timer_set(g->timer, 0);
}

void gossip_talk_meet(struct gw_gossip *g, const struct p2p_hit *hit, const struct p2p_locator *at)
{
	struct gossip_hint *h = NULL;

	if (!p2p_hit_cmp(hit, &g->gw->hit) || gw_map_peek(g->map, hit, sizeof(*hit)))
		return;
	for (unsigned int i = 0; i < g->n_hints; i++)
		if (!p2p_hit_cmp(&g->hint[i].hit, hit))
			h = &g->hint[i];
	if (!h) {
		if (g->n_hints == HINTS_MAX) {
			memmove(&g->hint[0], &g->hint[1], (HINTS_MAX - 1) * sizeof(g->hint[0]));
			g->n_hints--;
		}
		h = &g->hint[g->n_hints++];
	}
	*h = (struct gossip_hint){*hit, *at};
	p2p_gossip_try(g->model, hit);
	gossip_talk_kick(g);
}

int gw_gossip_serve(struct gw_gossip *g, const struct p2p_hit *from, const char *body, size_t len,
		    const char **answer, size_t *answer_len)
{
	uint64_t now = gw_mono(g->gw);
	int err = p2p_opp_members_decode(&g->in, body, len);

	if (err)
		return err;
	records_hear(g, from);
	gw_asks_sign(g->gw->asks, from);
	p2p_gossip_asked(g->model, from, &g->in, now);
	gossip_refute(g);
	p2p_gossip_answer(g->model, from, &g->in, &g->out, now);
	err = p2p_opp_members_encode(&g->out, g->body, sizeof(g->body), answer_len);
	if (err)
		return err;
	*answer = g->body;
	gossip_talk_kick(g);
	return 0;
}

int gossip_talk_new(struct gw_gossip *g)
{
	g->timer = event_new(g->gw->base, -1, 0, on_timer, g);
	return g->timer ? 0 : ENOMEM;
}

void gossip_talk_free(struct gw_gossip *g)
{
	while (!LIST_EMPTY(&g->talks)) {
		struct gossip_talk *t = LIST_FIRST(&g->talks);

		gw_ask_cancel(t->ask);
		talk_end(t);
	}
	if (g->timer)
		event_free(g->timer);
	g->timer = NULL;
}
