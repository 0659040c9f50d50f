/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lookups, as gateway_lookup_search.c makes them: what follows from what was said is
 * lib/model/search.h's. Of the engine only the time that it takes is simulated: it finds nobody. */
#include "tests/bench/sim/sim.h"
#include <stdlib.h>
#include "lib/model/search.h"

#define DEADLINE (1500 * SIM_MS)
#define QUESTION_BYTES 90
#define ANSWER_BYTES 60
#define FOUND_BYTES 290

struct lookup {
	struct p2p_search state;
	unsigned int user, asker, uses, life;
	unsigned int round; /* of its searches; what belongs to an earlier one is too late */
	unsigned int asked; /* how often the engine was */
	uint64_t began;
	bool ended, registered; /* registered: it was safe when this began */
	bool found;		/* in this search */
	uint64_t changed;	/* of the user, then */
};

/* Of a search. */
struct timer {
	struct lookup *l;
	unsigned int round;
	enum { PATIENCE, NO_GRACE, PAUSE, ENGINE } what;
};

struct question {
	struct sim_ask ask;
	struct lookup *l;
	unsigned int round;
	bool seen, found, synced;
};

static void search(struct sim *s, struct lookup *l);

static void let_go(struct lookup *l)
{
	if (--l->uses == 0)
		free(l);
}

static bool lives(const struct sim *s, const struct lookup *l)
{
	return !s->ended && !l->ended && s->peer[l->asker].up && s->peer[l->asker].life == l->life;
}

/* found, absent, or neither */
static void ended(struct sim *s, struct lookup *l, bool found, bool absent)
{
	const struct sim_user *u = &s->user[l->user];
	double ms = (double)(s->now - l->began) / SIM_MS;

	l->ended = true;
	if (!s->counting)
		return;
	s->lookups++;
	if (found) {
		sim_sample(&s->found, ms);
		return;
	}
	if (absent && !l->registered)
		sim_sample(&s->missed, ms);
	if (u->changed != l->changed) /* what would be right is not known */
		return;
	if (absent && l->registered)
		s->false_absent++;
	if (!absent) {
		s->unknown++;
		s->unknown_alive += l->registered && s->peer[u->home].up;
	}
}

static void on_timer(struct sim *s, void *arg);

static void after(struct sim *s, struct lookup *l, int what, uint64_t us)
{
	struct timer *t = sim_alloc(1, sizeof(*t));

	t->l = l;
	t->round = what == ENGINE ? l->asked : l->round;
	t->what = what;
	l->uses++;
	sim_at_last(s, s->now + us, on_timer, t);
}

static void over(struct sim *s, struct lookup *l)
{
	uint64_t pause_ms = 0;

	switch (p2p_search_over(&l->state, true, l->found, l->found, false, &pause_ms)) {
	case P2P_SEARCH_FOUND:
		ended(s, l, true, false);
		break;
	case P2P_SEARCH_ABSENT:
		ended(s, l, false, true);
		break;
	case P2P_SEARCH_AGAIN:
		l->round++;
		after(s, l, PAUSE, pause_ms * SIM_MS);
		break;
	default: /* was answered */
		break;
	}
}

static void judge(struct sim *s, struct lookup *l)
{
	while (!l->ended) {
		switch (p2p_search_next(&l->state, l->found)) {
		case P2P_SEARCH_WAIT:
			return;
		case P2P_SEARCH_MORE: /* nobody here has so much to look for that few are asked */
			break;
		case P2P_SEARCH_ENGINE:
			p2p_search_engine(&l->state, s->p.engine_ms > 0);
			l->asked++;
			if (s->p.engine_ms > 0)
				after(s, l, ENGINE,
				      (uint64_t)(s->p.engine_ms * (0.5 + sim_uniform(s)) * SIM_MS));
			break;
		case P2P_SEARCH_NO_GRACE:
			after(s, l, NO_GRACE, P2P_SEARCH_NO_GRACE_MS * SIM_MS);
			break;
		case P2P_SEARCH_ANSWER:
			ended(s, l, true, false);
			break;
		case P2P_SEARCH_OVER:
			over(s, l);
			return;
		}
	}
}

static void on_timer(struct sim *s, void *arg)
{
	struct timer *t = arg;
	struct lookup *l = t->l;

	if (lives(s, l) && (t->what == ENGINE ? l->asked : l->round) == t->round) {
		if (t->what == PATIENCE)
			p2p_search_patience_over(&l->state);
		else if (t->what == NO_GRACE && l->state.no_grace)
			p2p_search_no_grace_over(&l->state);
		else if (t->what == ENGINE && l->state.runs)
			p2p_search_engine_over(&l->state, true);
		if (t->what == PAUSE)
			search(s, l);
		else
			judge(s, l);
	}
	let_go(l);
	free(t);
}

static void on_asked(struct sim *s, struct sim_ask *a)
{
	struct question *q = a->arg;

	q->found = sim_holder_asked(s, a->to, q->l->user, &q->synced);
	a->answer = q->found ? FOUND_BYTES : ANSWER_BYTES;
}

static void on_done(struct sim *s, struct sim_ask *a)
{
	struct question *q = a->arg;
	struct lookup *l = q->l;

	if (a->gone)
		l->ended = true;
	if (!l->ended && l->round == q->round && l->state.n_left > 0) {
		l->found = l->found || (a->ok && q->found);
		p2p_search_told(&l->state, a->ok, q->seen, a->ok && q->synced, a->ok && q->found);
		judge(s, l);
	}
	let_go(l);
	free(q);
}

static void on_deadline(struct sim *s, void *arg)
{
	struct lookup *l = arg;

	if (lives(s, l))
		ended(s, l, false, false);
	let_go(l);
}

static bool among(const unsigned int *list, unsigned int n, unsigned int peer)
{
	while (n > 0 && list[n - 1] != peer)
		n--;
	return n > 0;
}

static void search(struct sim *s, struct lookup *l)
{
	unsigned int seen[SIM_HOLDERS_MAX], alive[SIM_HOLDERS_MAX], n_seen, n, i, n_alive = 0;
	const struct sim_user *u = &s->user[l->user];
	bool here = false, found = false, synced = false;

	n_seen = sim_nearest(s, l->asker, &u->key, s->p.holders, false, seen);
	n = sim_nearest(s, l->asker, &u->key, s->p.holders, true, alive);
	for (i = 0; i < n; i++) {
		n_alive += among(seen, n_seen, alive[i]);
		here = here || alive[i] == l->asker;
	}
	l->found = false;
	p2p_search_begin(&l->state, true, n_seen, n_alive, n - here);
	for (i = 0; i < n; i++) {
		struct question *q;

		if (alive[i] == l->asker)
			continue;
		q = sim_alloc(1, sizeof(*q));
		q->l = l;
		q->round = l->round;
		q->seen = among(seen, n_seen, alive[i]);
		q->ask = (struct sim_ask){.from = l->asker,
					  .to = alive[i],
					  .kind = SIM_QUERY,
					  .question = QUESTION_BYTES,
					  .asked = on_asked,
					  .done = on_done,
					  .arg = q};
		l->uses++;
		sim_ask(s, &q->ask);
	}
	/* the asker's own table, and its own users */
	if (here || u->home == l->asker)
		found = sim_holder_asked(s, l->asker, l->user, &synced);
	l->found = found;
	if (here || found)
		p2p_search_own(&l->state, here && among(seen, n_seen, l->asker), synced || found,
			       found);
	after(s, l, PATIENCE, P2P_SEARCH_PATIENCE_MS * SIM_MS);
	judge(s, l);
}

void sim_lookup(struct sim *s, unsigned int asker, unsigned int user)
{
	struct lookup *l = sim_alloc(1, sizeof(*l));
	const struct sim_user *u = &s->user[user];

	l->user = user;
	l->asker = asker;
	l->life = s->peer[asker].life;
	l->began = s->now;
	l->changed = u->changed;
	l->registered = u->registered && u->confirmed != 0;
	l->uses = 1;
	sim_at_last(s, s->now + DEADLINE, on_deadline, l);
	search(s, l);
}
