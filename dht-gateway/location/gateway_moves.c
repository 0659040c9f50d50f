/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A question to one peer about one user:
 *   a record of it concerns a phone that is here -> WAITING -> its turn -> ASKING -> answered: gone
 *   another record of it while it is asked -> asked again after that
 *   no answer -> WAITING for a while, TRIES_MAX times -> left, until a member comes or lives again
 * When its turn comes it is asked only if it still concerns a phone that is here. */
#include "dht-gateway/location/gateway_moves.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/location/gateway_users.h"
#include "lib/model/moves.h"

#define MOVES_MAX 8192
/* Questions on their way. */
#define WINDOW 64
#define ASK_MS 3000
/* After no answer; then twice that, and so on. */
#define RETRY_MS 1000
#define TRIES_MAX 4
/* Somebody may be asked again. */
#define TICK_MS 250

struct move {
	TAILQ_ENTRY(move) queue; /* that wait */
	struct gw_moves *all;
	struct gw_ask *ask;
	struct p2p_userset_entry e; /* the record */
	bool again;		    /* there is another one since it was asked */
	unsigned int tries;
	uint64_t due_ms; /* mono; not before */
	size_t len;	 /* of the name */
	char key[sizeof(struct p2p_hit) + P2P_NAME_MAX + 1];
};

struct gw_moves {
	struct gw *gw;
	struct gw_map *map; /* struct move by its key: the HIT, then the name */
	TAILQ_HEAD(, move) waiting;
	unsigned int n_asking;
	bool missed; /* what was not compared is to be as soon as there is room */
	struct event *tick;
};

static void pump(struct gw_moves *m);

static void move_drop(void *value, void *arg)
{
	struct move *mv = value;

	(void)arg;
	if (mv->ask)
		gw_ask_cancel(mv->ask);
	else
		TAILQ_REMOVE(&mv->all->waiting, mv, queue);
	free(mv);
}

static void move_end(struct move *mv)
{
	gw_map_del(mv->all->map, mv->key, sizeof(mv->e.hit) + mv->len);
}

static const char *name_of(const struct move *mv)
{
	return mv->key + sizeof(mv->e.hit);
}

static void move_left(struct move *mv)
{
	gw_cache_uncompared(mv->all->gw->cache, name_of(mv), mv->len, &mv->e.hit, mv->e.order);
	move_end(mv);
}

static void move_wait(struct move *mv, uint64_t ms)
{
	struct gw_moves *m = mv->all;

	mv->due_ms = gw_mono(m->gw) + ms;
	TAILQ_INSERT_TAIL(&m->waiting, mv, queue);
	if (!event_pending(m->tick, EV_TIMEOUT, NULL))
		gw_timer_set(m->tick, ms < TICK_MS ? ms : TICK_MS);
}

static bool concerns(struct gw_moves *m, const char *name, size_t len,
		     const struct p2p_userset_entry *e)
{
	struct p2p_published_info info;

	return !e->tombstone && e->n_gateways && p2p_hit_cmp(&e->hit, &m->gw->hit) &&
	       !p2p_published_get(gw_users_table(m->gw->users), name, len, &info) &&
	       p2p_moves_concern(&info, e->instance, e->n_instances);
}

static void tell(struct move *mv, const struct p2p_opp_user *user)
{
	struct gw *gw = mv->all->gw;
	struct p2p_moves_phone there[P2P_OPP_LIST_MAX];
	uint32_t over[P2P_OPP_LIST_MAX];
	size_t n;

	for (unsigned int i = 0; i < user->n_phones; i++)
		there[i] = (struct p2p_moves_phone){.instance = user->phone[i].instance,
						    .age_ms = user->phone[i].age_ms};
	n = p2p_moves_over(gw_users_table(gw->users), name_of(mv), mv->len, there, user->n_phones,
			   gw_mono(gw), over);
	if (n)
		gw_moves_event(gw, &mv->e.hit, over, (unsigned int)n, name_of(mv), mv->len);
}

static void on_user(int err, const struct p2p_opp_user *user, void *arg)
{
	struct move *mv = arg;
	struct gw_moves *m = mv->all;

	mv->ask = NULL;
	m->n_asking--;
	if (!err && user->presence == P2P_OPP_YES)
		tell(mv, user);
	TAILQ_INSERT_TAIL(&m->waiting, mv, queue);
	if (mv->again) {
		mv->again = false;
		mv->tries = 0;
		mv->due_ms = 0;
	} else if (err && ++mv->tries < TRIES_MAX) {
		mv->due_ms = gw_mono(m->gw) + (RETRY_MS << (mv->tries - 1));
	} else if (err) {
		move_left(mv);
	} else {
		move_end(mv);
	}
	pump(m);
}

/* False: too many questions are under way. mv may be gone otherwise. */
static bool ask(struct move *mv)
{
	struct gw_moves *m = mv->all;
	struct gw *gw = m->gw;
	struct p2p_key key;
	int err;

	if (!concerns(m, name_of(mv), mv->len, &mv->e) ||
	    gw_record_key_user(gw, name_of(mv), mv->len, &key)) {
		move_end(mv);
		return true;
	}
	err = gw_asks_user(gw->asks, &mv->e.hit, mv->e.gateway, mv->e.n_gateways, &key, ASK_MS,
			   on_user, mv, &mv->ask);
	if (!err) {
		TAILQ_REMOVE(&m->waiting, mv, queue);
		m->n_asking++;
		return true;
	}
	mv->ask = NULL;
	mv->due_ms = gw_mono(gw) + RETRY_MS;
	/* its gateway is left alone, or has enough to answer */
	if (err != EBUSY && ++mv->tries >= TRIES_MAX)
		move_left(mv);
	return false;
}

/* Each in turn, but for those who wait for longer. */
static void pump(struct gw_moves *m)
{
	uint64_t now = gw_mono(m->gw);
	struct move *mv, *next;

	for (mv = TAILQ_FIRST(&m->waiting); mv && m->n_asking < WINDOW; mv = next) {
		next = TAILQ_NEXT(mv, queue);
		if (mv->due_ms <= now)
			ask(mv);
	}
	if ((!TAILQ_EMPTY(&m->waiting) && m->n_asking < WINDOW) || m->missed)
		gw_timer_set(m->tick, TICK_MS);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct gw_moves *m = arg;

	(void)fd;
	(void)what;
	if (m->missed && gw_map_count(m->map) < MOVES_MAX / 2) {
		m->missed = false;
		gw_cache_compare(m->gw->cache);
	}
	pump(m);
}

int gw_moves_new(struct gw_moves **mp, struct gw *gw)
{
	struct gw_moves *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return ENOMEM;
	m->gw = gw;
	TAILQ_INIT(&m->waiting);
	err = gw_map_new(&m->map, MOVES_MAX, false, move_drop, NULL);
	m->tick = err ? NULL : event_new(gw->base, -1, 0, on_tick, m);
	if (!m->tick) {
		gw_moves_free(m);
		return err ? err : ENOMEM;
	}
	*mp = m;
	return 0;
}

void gw_moves_free(struct gw_moves *m)
{
	if (!m)
		return;
	gw_map_free(m->map);
	if (m->tick)
		event_free(m->tick);
	free(m);
}

bool gw_moves_other(struct gw_moves *m, const char *name, size_t len,
		    const struct p2p_userset_entry *e)
{
	char key[sizeof(e->hit) + P2P_NAME_MAX];
	struct move *mv;

	if (len > P2P_NAME_MAX || !concerns(m, name, len, e))
		return true;
	memcpy(key, &e->hit, sizeof(e->hit));
	memcpy(key + sizeof(e->hit), name, len);
	mv = gw_map_peek(m->map, key, sizeof(e->hit) + len);
	if (mv) {
		mv->e = *e;
		mv->again = mv->ask != NULL;
		return true;
	}
	mv = calloc(1, sizeof(*mv));
	if (!mv)
		return false;
	mv->all = m;
	mv->e = *e;
	mv->len = len;
	memcpy(mv->key, key, sizeof(e->hit) + len);
	if (gw_map_put(m->map, key, sizeof(e->hit) + len, mv)) {
		m->gw->metrics.limit_moves++;
		m->missed = true;
		free(mv);
		return false;
	}
	/* not from within whoever tells of it */
	move_wait(mv, 0);
	return true;
}

void gw_moves_alive(struct gw_moves *m)
{
	m->missed = true;
	if (!event_pending(m->tick, EV_TIMEOUT, NULL))
		gw_timer_set(m->tick, TICK_MS);
}

size_t gw_moves_count(const struct gw_moves *m)
{
	return gw_map_count(m->map);
}
