/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Membership machines, and what each of the peers that one plays for sees of the others. */
#include "tests/bench/sim/sim.h"
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include "lib/base/bytes.h"

#define PERIOD_MS 500 /* GOSSIP_PERIOD_MS */
#define POLL (50 * SIM_MS)
#define TRY_MAX 32     /* members that are asked first after a start */
#define RECORD_LEN 250 /* a peer record with two addresses of each kind */
#define RENEW_MS 50000

struct exchange {
	struct sim_ask ask;
	unsigned int by, at; /* machines */
	struct p2p_hit hit;
	struct p2p_opp_members *q, *a;
};

static unsigned int machine_of(const struct sim *s, unsigned int peer)
{
	return peer % s->p.machines;
}

static unsigned int index_of(const struct p2p_hit *hit)
{
	return p2p_be32(hit->b + P2P_HIT_LEN - 4);
}

static uint64_t now_ms(const struct sim *s)
{
	return s->now / SIM_MS + 1;
}

static uint32_t machine_random(void *arg)
{
	const struct sim_machine *m = arg;

	return sim_random(m->sim);
}

/* The peers that a machine plays for act upon it. */
static void changed(const struct p2p_hit *hit, enum p2p_gossip_event event, void *arg)
{
	struct sim_machine *m = arg;
	struct sim *s = m->sim;
	unsigned int i, who = index_of(hit);
	uint8_t *st = &m->state[who];

	switch (event) {
	case P2P_GOSSIP_E_JOINED:
	case P2P_GOSSIP_E_ALIVE:
		*st = SIM_SEEN | SIM_ALIVE;
		break;
	case P2P_GOSSIP_E_DEAD:
		*st &= (uint8_t)~SIM_ALIVE;
		if (s->counting && !s->peer[who].up && s->peer[m->self].began <= s->peer[who].died)
			sim_sample(&s->heard, (double)(s->now - s->peer[who].died) / SIM_MS);
		break;
	case P2P_GOSSIP_E_LEFT:
	case P2P_GOSSIP_E_UNSEEN:
		*st = 0;
		break;
	case P2P_GOSSIP_E_EPOCH:
		break;
	default:
		return;
	}
	for (i = (unsigned int)(m - s->machine); s->now > 0 && i < s->p.peers; i += s->p.machines) {
		if (s->peer[i].up && i != who)
			sim_records_changed(s, i, who,
					    event == P2P_GOSSIP_E_EPOCH ||
						    event == P2P_GOSSIP_E_ALIVE);
	}
}

static void record_of(const struct sim_peer *p, uint8_t bytes[RECORD_LEN])
{
	memset(bytes, 0, RECORD_LEN);
	p2p_put_be64(bytes, p->order);
	p2p_put_be64(bytes + 8, p->epoch);
	memcpy(bytes + 16, p->hit.b, P2P_HIT_LEN);
}

static void hear(struct sim_machine *m, const uint8_t *b, size_t len, bool fresh)
{
	struct p2p_gossip_record rec = {
		.order = p2p_be64(b), .epoch = p2p_be64(b + 8), .bytes = b, .len = len};

	memcpy(rec.hit.b, b + 16, P2P_HIT_LEN);
	p2p_gossip_record(m->g, &rec, fresh, now_ms(m->sim));
}

/* A peer makes its record anew, and its machine tells it. */
static void own_record(struct sim *s, unsigned int peer, uint64_t above)
{
	struct sim_peer *p = &s->peer[peer];
	uint64_t wall = SIM_WALL_MS + now_ms(s);
	uint8_t bytes[RECORD_LEN];
	uint64_t every = (uint64_t)s->p.peers * 1000;

	p->order = wall > p->order ? wall : p->order + 1;
	p->order = p->order > above ? p->order : above + 1;
	every = every > RENEW_MS ? every : RENEW_MS;
	p->renew = s->now + (every + sim_random(s) % 5000) * SIM_MS;
	record_of(p, bytes);
	hear(&s->machine[machine_of(s, peer)], bytes, sizeof(bytes), true);
}

static void refute(struct sim *s, unsigned int machine)
{
	struct sim_machine *m = &s->machine[machine];
	uint64_t above = p2p_gossip_refute(m->g);

	if (above != 0)
		own_record(s, m->self, above);
}

/* A doubt of one that a machine plays for, besides its own peer: that one refutes it. */
static void refute_played(struct sim *s, unsigned int machine, const struct p2p_opp_members *in)
{
	unsigned int i;

	for (i = 0; i < in->n_doubts; i++) {
		unsigned int who = index_of(&in->doubt[i].hit);

		if (machine_of(s, who) == machine && who != s->machine[machine].self &&
		    s->peer[who].up && s->peer[who].order <= in->doubt[i].order)
			own_record(s, who, in->doubt[i].order);
	}
}

static void records_hear(struct sim_machine *m, const struct p2p_opp_members *in)
{
	unsigned int i;

	for (i = 0; i < in->n_records; i++)
		hear(m, in->record[i].b, in->record[i].len, true);
}

/* As it would be written: some of them, for that takes time. */
static size_t measure(struct sim *s, const struct p2p_opp_members *m)
{
	static char buf[P2P_OPP_MEMBERS_BODY_MAX + 1];
	static size_t last = 600;

	if (s->counting && sim_random(s) % 16 == 0)
		p2p_opp_members_encode(m, buf, sizeof(buf), &last);
	return last;
}

static void on_asked(struct sim *s, struct sim_ask *a)
{
	struct exchange *x = a->arg;
	struct sim_machine *by = &s->machine[x->by], *at = &s->machine[x->at];
	const struct p2p_hit *from = &s->peer[by->self].hit;

	records_hear(at, x->q);
	p2p_gossip_asked(at->g, from, x->q, now_ms(s));
	refute(s, x->at);
	refute_played(s, x->at, x->q);
	p2p_gossip_answer(at->g, from, x->q, x->a, now_ms(s));
	a->answer = measure(s, x->a);
}

static void on_done(struct sim *s, struct sim_ask *a)
{
	struct exchange *x = a->arg;
	struct sim_machine *by = &s->machine[x->by];

	if (!a->gone && a->ok) {
		records_hear(by, x->a);
		p2p_gossip_answered(by->g, &x->hit, x->a, now_ms(s));
		refute(s, x->by);
		refute_played(s, x->by, x->a);
	} else if (!a->gone) {
		p2p_gossip_failed(by->g, &x->hit, now_ms(s));
	}
	free(x->q);
	free(x->a);
	free(x);
}

static void exchange(struct sim *s, unsigned int machine, const struct p2p_hit *hit)
{
	struct exchange *x = sim_alloc(1, sizeof(*x));

	x->by = machine;
	x->hit = *hit;
	x->q = sim_alloc(1, sizeof(*x->q));
	x->a = sim_alloc(1, sizeof(*x->a));
	p2p_gossip_ask(s->machine[machine].g, hit, x->q, now_ms(s), SIM_WALL_MS + now_ms(s));
	x->ask = (struct sim_ask){.from = s->machine[machine].self,
				  .to = index_of(hit),
				  .kind = SIM_MEMBERS,
				  .question = measure(s, x->q),
				  .asked = on_asked,
				  .done = on_done,
				  .arg = x};
	x->at = machine_of(s, x->ask.to);
	if (x->at == machine) /* one of its own: another machine speaks for it */
		x->at = (machine + 1 + sim_random(s) % (s->p.machines - 1)) % s->p.machines;
	sim_ask(s, &x->ask);
}

static void poll(struct sim *s, void *arg)
{
	struct sim_machine *m = arg;
	unsigned int i, machine = (unsigned int)(m - s->machine);
	struct p2p_hit hit;

	sim_at(s, s->now + POLL, poll, m);
	if (!s->peer[m->self].up)
		return;
	for (i = machine; i < s->p.peers; i += s->p.machines) {
		if (s->peer[i].up && s->now >= s->peer[i].renew)
			own_record(s, i, 0);
	}
	if (now_ms(s) >= p2p_gossip_due(m->g))
		p2p_gossip_tick(m->g, now_ms(s));
	while (p2p_gossip_next(m->g, &hit, now_ms(s)))
		exchange(s, machine, &hit);
}

/* --- a machine begins and ends ------------------------------------------------------------------
 */

static int machine_start(struct sim *s, unsigned int machine)
{
	struct sim_machine *m = &s->machine[machine];
	struct p2p_gossip_config config = {.self = s->peer[m->self].hit,
					   .members_max = 20000,
					   .period_ms = PERIOD_MS,
					   .random = machine_random,
					   .changed = changed,
					   .arg = m};

	m->state[m->self] = SIM_SEEN | SIM_ALIVE;
	return p2p_gossip_new(&m->g, &config, now_ms(s));
}

static int hit_cmp(const void *a, const void *b)
{
	const struct sim_peer *const *x = a, *const *y = b;

	return p2p_hit_cmp(&(*x)->hit, &(*y)->hit);
}

int sim_members_new(struct sim *s)
{
	struct sim_peer **sorted = sim_alloc(s->p.peers, sizeof(sorted[0]));
	struct mallinfo2 was;
	unsigned int i, k;
	int err = 0;

	for (i = 0; i < s->p.peers; i++) {
		s->peer[i].order = SIM_WALL_MS;
		s->peer[i].epoch = i + 1;
		s->peer[i].renew = (uint64_t)(sim_uniform(s) * RENEW_MS * SIM_MS) *
				   (s->p.peers > 60 ? s->p.peers / 60 : 1);
		sorted[i] = &s->peer[i];
	}
	qsort(sorted, s->p.peers, sizeof(sorted[0]), hit_cmp);
	was = mallinfo2();
	for (k = 0; k < s->p.machines && err == 0; k++) {
		struct sim_machine *m = &s->machine[k];

		m->sim = s;
		m->self = k;
		m->state = sim_alloc(s->p.peers, 1);
		err = machine_start(s, k);
		for (i = 0; i < s->p.peers && err == 0; i++) {
			uint8_t bytes[RECORD_LEN];

			record_of(sorted[i], bytes);
			hear(m, bytes, sizeof(bytes), true);
			m->state[sorted[i] - s->peer] = SIM_SEEN | SIM_ALIVE;
		}
		sim_at(s, sim_random(s) % (PERIOD_MS * SIM_MS), poll, m);
	}
	s->gossip_bytes = (mallinfo2().uordblks + mallinfo2().hblkhd - was.uordblks - was.hblkhd) /
			  s->p.machines;
	free(sorted);
	return err;
}

void sim_members_free(struct sim *s)
{
	unsigned int k;

	for (k = 0; k < s->p.machines; k++) {
		p2p_gossip_free(s->machine[k].g);
		free(s->machine[k].state);
	}
}

void sim_member_down(struct sim *s, unsigned int peer)
{
	s->peer[peer].up = false;
	s->peer[peer].died = s->now;
	s->peer[peer].life++;
	s->peer[peer].n_conn = 0;
}

/* It knows the members from before it died: those that lived then count as alive until they are
 * found not to, as gateway_gossip_file.c has it. */
void sim_member_up(struct sim *s, unsigned int peer)
{
	struct sim_machine *m = &s->machine[machine_of(s, peer)];
	struct p2p_gossip *old = m->g;
	struct p2p_gossip_info info;
	size_t i;

	s->peer[peer].epoch += s->p.peers;
	if (m->self == peer) {
		m->g = NULL;
		memset(m->state, 0, s->p.peers);
		if (machine_start(s, machine_of(s, peer)) != 0)
			exit(2);
		for (i = 0; p2p_gossip_at(old, i, &info) == 0; i++) {
			if (info.seen && index_of(&info.hit) != peer && info.len > 0)
				hear(m, info.bytes, info.len, info.state != P2P_GOSSIP_DEAD);
		}
		p2p_gossip_free(old);
		for (i = 0; i < TRY_MAX && p2p_gossip_at(m->g, i, &info) == 0; i++)
			p2p_gossip_try(m->g, &info.hit);
	}
	own_record(s, peer, 0);
	s->peer[peer].up = true;
	s->peer[peer].began = s->now;
}

/* --- what a peer sees ---------------------------------------------------------------------------
 */

struct fits {
	const struct sim *s;
	const uint8_t *state;
	unsigned int viewer;
	uint8_t want;
};

static bool fits(const void *member, void *arg)
{
	const struct fits *f = arg;
	unsigned int i = (unsigned int)((const struct sim_peer *)member - f->s->peer);

	return i == f->viewer || (f->state[i] & f->want) == f->want;
}

unsigned int sim_nearest(struct sim *s, unsigned int viewer, const struct p2p_key *key,
			 unsigned int max, bool alive_only, unsigned int *out)
{
	struct fits f = {.s = s,
			 .state = s->machine[machine_of(s, viewer)].state,
			 .viewer = viewer,
			 .want = alive_only ? SIM_SEEN | SIM_ALIVE : SIM_SEEN};
	void *found[SIM_HOLDERS_MAX];
	unsigned int i, n = p2p_ring_nearest(&s->ring, key, max, fits, &f, found);

	for (i = 0; i < n; i++)
		out[i] = (unsigned int)((struct sim_peer *)found[i] - s->peer);
	return n;
}

bool sim_sees_alive(const struct sim *s, unsigned int viewer, unsigned int peer)
{
	return viewer == peer || (s->machine[machine_of(s, viewer)].state[peer] & SIM_ALIVE) != 0;
}
