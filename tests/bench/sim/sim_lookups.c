/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lookups: all living holders are asked at once. The first record is the answer; a majority of the
 * holders of all seen says that there is none; else it is not known. */
#include "tests/bench/sim/sim.h"
#include <stdlib.h>
#include "lib/model/quorum.h"

#define DEADLINE (1500 * SIM_MS)
/* A majority has said no: for so long the others may still know better (gateway_lookup.c). */
#define NO_GRACE (100 * SIM_MS)
#define QUESTION_BYTES 90
#define ANSWER_BYTES 60
#define FOUND_BYTES 290

struct lookup {
	unsigned int user, asker, open, uses, life;
	uint64_t began;
	unsigned int n_seen, no, seen[SIM_HOLDERS_MAX];
	bool ended, registered; /* registered: it was safe when this began */
	bool grace;
	uint64_t changed; /* of the user, then */
};

struct question {
	struct sim_ask ask;
	struct lookup *l;
	bool found, synced;
};

static void let_go(struct lookup *l)
{
	if (--l->uses == 0)
		free(l);
}

/* found, absent (a majority said so), or neither */
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

static void on_grace(struct sim *s, void *arg)
{
	struct lookup *l = arg;

	if (!s->ended && !l->ended && s->peer[l->asker].up && s->peer[l->asker].life == l->life)
		ended(s, l, false, true);
	let_go(l);
}

static void take(struct sim *s, struct lookup *l, unsigned int from, bool found, bool synced)
{
	unsigned int i;

	if (l->ended)
		return;
	if (found) {
		ended(s, l, true, false);
		return;
	}
	for (i = 0; i < l->n_seen && synced; i++)
		l->no += l->seen[i] == from;
	if (l->open == 0) {
		ended(s, l, false, p2p_quorum_absent(l->n_seen, l->no));
	} else if (!l->grace && p2p_quorum_absent(l->n_seen, l->no)) {
		l->grace = true;
		l->uses++;
		sim_at_last(s, s->now + NO_GRACE, on_grace, l);
	}
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

	q->l->open--;
	if (a->gone)
		q->l->ended = true;
	else
		take(s, q->l, a->to, a->ok && q->found, a->ok && q->synced);
	let_go(q->l);
	free(q);
}

static void on_deadline(struct sim *s, void *arg)
{
	struct lookup *l = arg;

	if (!s->ended && !l->ended && s->peer[l->asker].up && s->peer[l->asker].life == l->life)
		ended(s, l, false, false);
	let_go(l);
}

void sim_lookup(struct sim *s, unsigned int asker, unsigned int user)
{
	unsigned int alive[SIM_HOLDERS_MAX], i, n;
	struct lookup *l = sim_alloc(1, sizeof(*l));
	const struct sim_user *u = &s->user[user];
	bool here = false, found = false, synced = false;

	l->user = user;
	l->asker = asker;
	l->life = s->peer[asker].life;
	l->began = s->now;
	l->changed = u->changed;
	l->registered = u->registered && u->confirmed != 0;
	l->uses = 1;
	sim_at_last(s, s->now + DEADLINE, on_deadline, l);
	l->n_seen = sim_nearest(s, asker, &u->key, s->p.holders, false, l->seen);
	n = sim_nearest(s, asker, &u->key, s->p.holders, true, alive);
	for (i = 0; i < n; i++) {
		struct question *q;

		if (alive[i] == asker) {
			here = true;
			continue;
		}
		q = sim_alloc(1, sizeof(*q));
		q->l = l;
		q->ask = (struct sim_ask){.from = asker,
					  .to = alive[i],
					  .kind = SIM_QUERY,
					  .question = QUESTION_BYTES,
					  .asked = on_asked,
					  .done = on_done,
					  .arg = q};
		l->open++;
		l->uses++;
		sim_ask(s, &q->ask);
	}
	/* the asker's own table, and its own users */
	if (here || u->home == asker)
		found = sim_holder_asked(s, asker, user, &synced);
	take(s, l, asker, found, here && synced);
}
