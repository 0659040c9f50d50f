/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One ROUTE:
 *   SEARCHING -> candidates -> ASKING all that can be asked, in parallel -> some are left: answered
 *     -> all said no, one named another peer -> READING its record -> ASKING it -> yes: answered
 *     -> all said no -> SEARCHING afresh (what was refuted no longer counts there) -> ...
 *   SEARCHING -> none: the search's own answer
 * ASKING a candidate is to have a session with it, and to know whether the user is there. With no
 * session open, one request does both. Where one is being opened for somebody else, that is waited
 * for, and the user asked about meanwhile.
 * A candidate that cannot be asked, or does not answer in time, is kept, and named with the reason
 * why there is no session. here: an orphan is kept as well, its peer answers the call with 480. */
#include "dht-gateway/location/gateway_route.h"
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/peers/gateway_presence.h"
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/location/gateway_records.h"

/* Fresh searches after one another; each finds only what nobody has refuted yet. */
#define ROUNDS_MAX 4
/* With less time left than this nobody is asked. */
#define LEFT_MIN_MS 5

enum verdict { KEEP, ASKING, REFUTED };

struct route;

struct slot {
	struct route *route;
	struct gw_presence *ask;
	struct gw_session_wait *wait;
	enum verdict verdict;
	bool strict; /* there is no record: only a yes counts */
	bool asked;  /* about the user, with the session */
	struct gw_session_answer session;
};

struct route {
	struct gw_routes *all;
	struct route *prev, *next;
	gw_route_h *h;
	void *arg;
	struct p2p_key key;
	uint64_t until_ms; /* mono */
	unsigned int rounds, asking;
	bool reading; /* gw_peers_get will call back */
	bool over;    /* and then only memory is left */
	bool moved, moved_tried;
	struct p2p_hit moved_to;
	struct p2p_candidate_set cands;
	struct slot slot[P2P_CANDIDATES_MAX];
	size_t len;
	char name[P2P_NAME_MAX + 1];
};

struct gw_routes {
	struct gw *gw;
	struct route *routes;
};

static void on_looked(int err, const struct p2p_candidate_set *cands, void *arg);
static void decide(struct route *r);

static uint64_t left_ms(const struct route *r)
{
	uint64_t now = gw_mono(r->all->gw);

	return r->until_ms > now ? r->until_ms - now : 0;
}

static void route_free(struct route *r)
{
	/* session keys */
	OPENSSL_cleanse(r->slot, sizeof(r->slot));
	free(r);
}

/* The only place that answers. */
static void finish(struct route *r, int err)
{
	struct gw_session_answer sessions[P2P_CANDIDATES_MAX];

	for (unsigned int i = 0; i < P2P_CANDIDATES_MAX; i++) {
		if (r->slot[i].ask)
			gw_presence_cancel(r->slot[i].ask);
		if (r->slot[i].wait)
			gw_session_cancel(r->slot[i].wait);
		sessions[i] = r->slot[i].session;
	}
	if (r->prev)
		r->prev->next = r->next;
	else
		r->all->routes = r->next;
	if (r->next)
		r->next->prev = r->prev;
	r->over = true;
	r->h(err, err ? NULL : &r->cands, err ? NULL : sessions, r->arg);
	OPENSSL_cleanse(sessions, sizeof(sessions));
	if (!r->reading)
		route_free(r);
}

/* What the peer says of the user; NULL: nothing. */
static void judge(struct slot *s, const struct p2p_opp_user *user)
{
	struct route *r = s->route;
	struct gw *gw = r->all->gw;
	const struct p2p_candidate *c = &r->cands.c[s - r->slot];

	s->verdict = !user && s->strict ? REFUTED : KEEP;
	if (!user)
		return;
	if (user->presence == P2P_OPP_NO || user->presence == P2P_OPP_MOVED) {
		s->verdict = REFUTED;
		gw->metrics.route_refuted++;
		gw_cache_refute(gw->cache, r->name, r->len, &c->hit, c->order);
		if (user->presence == P2P_OPP_MOVED && p2p_hit_cmp(&user->hit, &gw->hit)) {
			r->moved = true;
			r->moved_to = user->hit;
		}
	} else {
		gw_cache_confirm(gw->cache, r->name, r->len, &c->hit, c->order);
	}
}

static void on_said(int err, const struct p2p_opp_user *user, void *arg)
{
	struct slot *s = arg;
	struct route *r = s->route;

	s->ask = NULL;
	judge(s, err ? NULL : user);
	if (!--r->asking)
		decide(r);
}

static void on_session(const struct gw_session_answer *answer, void *arg)
{
	struct slot *s = arg;
	struct route *r = s->route;

	s->wait = NULL;
	s->session = *answer;
	if (s->asked)
		judge(s, answer->told ? &answer->user : NULL);
	if (!--r->asking)
		decide(r);
}

static uint64_t ask_ms(const struct route *r)
{
	uint64_t ms = (uint64_t)r->all->gw->settings->ask_ms, left = left_ms(r);

	return left < LEFT_MIN_MS ? 0 : ms < left ? ms : left;
}

/* Is the user there (sure: that is known), and with what session? */
static void ask(struct route *r, unsigned int i, const struct p2p_locator *gateway, unsigned int n,
		bool sure)
{
	struct gw *gw = r->all->gw;
	struct slot *s = &r->slot[i];
	const struct p2p_hit *hit = &r->cands.c[i].hit;
	uint64_t ms = ask_ms(r);
	int err = 0;

	s->route = r;
	s->verdict = !sure && s->strict ? REFUTED : KEEP;
	if (gw_session_get(gw->sessions, hit, &s->session)) {
		if (!ms) {
			s->session.outcome = GW_SESSION_UNREACHABLE;
			strcpy(s->session.text, "no time was left to ask");
			return;
		}
		err = gw_session_open(gw->sessions, hit, gateway, n, sure ? NULL : &r->key, ms,
				      &s->asked, &s->session, on_session, s, &s->wait);
		if (err)
			s->wait = NULL;
		else
			r->asking++;
	}
	/* With a reason not to talk to it, the user is asked about all the same: a stale record
	 * must not end in that reason. EBUSY: it is not to be asked anything. */
	if (!sure && !s->asked && ms && n && err != EBUSY &&
	    !gw_presence_ask(gw->presences, hit, gateway, n, &r->key, ms, on_said, s, &s->ask))
		r->asking++;
	else
		s->ask = NULL;
	if (s->ask || s->asked)
		s->verdict = ASKING;
}

static void ask_all(struct route *r)
{
	struct gw *gw = r->all->gw;

	/* one more, so that what is answered at once decides nothing before all were asked */
	r->asking = 1;
	for (unsigned int i = 0; i < r->cands.n; i++) {
		struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];
		struct p2p_candidate *c = &r->cands.c[i];
		uint64_t confirmed_ms;
		unsigned int n = gw_cache_gateways(gw->cache, r->name, r->len, &c->hit, c->order,
						   gateway, &confirmed_ms);

		r->slot[i] = (struct slot){.route = r, .verdict = KEEP};
		ask(r, i, gateway, n,
		    confirmed_ms &&
			    gw_mono(gw) - confirmed_ms < (uint64_t)gw->settings->ask_fresh_ms);
	}
	if (!--r->asking)
		decide(r);
}

/* The record of the peer that a user is said to have gone to. */
static void on_moved_peer(int err, const struct p2p_record *rec, void *arg)
{
	struct route *r = arg;
	struct gw *gw = r->all->gw;
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];
	unsigned int n;

	r->reading = false;
	if (r->over) {
		route_free(r);
		return;
	}
	if (!err) {
		memset(&r->cands, 0, sizeof(r->cands));
		p2p_candidate_from_peer(&r->cands.c[0], rec, &r->moved_to, gw_wall(gw));
		n = p2p_record_gateways(rec, gateway);
		r->cands.n = 1;
		r->slot[0] = (struct slot){.strict = true, .verdict = REFUTED};
		r->asking = 1;
		if (r->cands.c[0].n_uris && n)
			ask(r, 0, gateway, n, false);
		if (--r->asking)
			return;
	}
	decide(r);
}

static void search(struct route *r)
{
	struct gw *gw = r->all->gw;

	if (!left_ms(r) || r->rounds >= ROUNDS_MAX) {
		finish(r, ETIMEDOUT);
		return;
	}
	r->rounds++;
	gw_lookup(gw->lookups, r->name, r->len, left_ms(r), true, on_looked, r);
}

/* All who were asked have answered, or will not. */
static void decide(struct route *r)
{
	struct p2p_candidate_set kept = {0};

	for (unsigned int i = 0; i < r->cands.n; i++) {
		if (r->slot[i].verdict == REFUTED)
			continue;
		r->slot[kept.n].session = r->slot[i].session;
		kept.c[kept.n++] = r->cands.c[i];
	}
	if (kept.n && r->slot[0].strict)
		r->all->gw->metrics.route_moved++;
	r->cands = kept;
	if (kept.n) {
		finish(r, 0);
		return;
	}
	if (r->moved && !r->moved_tried && left_ms(r)) {
		r->moved_tried = true;
		r->reading = true;
		gw_peers_get(r->all->gw->peers, &r->moved_to, ask_ms(r) ? ask_ms(r) : 1,
			     on_moved_peer, r);
		return;
	}
	search(r);
}

static void on_looked(int err, const struct p2p_candidate_set *cands, void *arg)
{
	struct route *r = arg;

	if (err) {
		finish(r, err);
		return;
	}
	r->cands = *cands;
	ask_all(r);
}

void gw_route(struct gw_routes *all, const char *name, size_t len, uint64_t deadline_ms, bool fresh,
	      gw_route_h *h, void *arg)
{
	struct gw *gw = all->gw;
	struct route *r;

	if (!p2p_name_valid(name, len)) {
		h(EINVAL, NULL, NULL, arg);
		return;
	}
	r = calloc(1, sizeof(*r));
	if (!r || gw_record_key_user(gw, name, len, &r->key)) {
		free(r);
		h(EBUSY, NULL, NULL, arg);
		return;
	}
	r->all = all;
	r->h = h;
	r->arg = arg;
	r->until_ms = gw_mono(gw) + deadline_ms;
	r->len = len;
	memcpy(r->name, name, len);
	r->next = all->routes;
	if (r->next)
		r->next->prev = r;
	all->routes = r;
	gw_lookup(gw->lookups, name, len, deadline_ms, fresh, on_looked, r);
}

int gw_routes_new(struct gw_routes **rp, struct gw *gw)
{
	struct gw_routes *r = calloc(1, sizeof(*r));

	if (!r)
		return ENOMEM;
	r->gw = gw;
	*rp = r;
	return 0;
}

/* After the lookups, which have told those that wait for them. */
void gw_routes_free(struct gw_routes *all)
{
	if (!all)
		return;
	while (all->routes)
		finish(all->routes, ETIMEDOUT);
	free(all);
}
