/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bench/sim/sim.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TCP_RTO (200 * SIM_MS)
#define ASK_TIMEOUT (P2P_GOSSIP_EXCHANGE_MS * SIM_MS)
#define CONNECT_TRIPS 2 /* TCP and TLS 1.3, before the question */

struct sim_event {
	uint64_t at, seq;
	sim_event_h *fn;
	void *arg;
	bool last; /* fn is called at the end of it all, too: arg is its own */
};

void *sim_alloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (p == NULL) {
		fputs("sim: no memory\n", stderr);
		exit(2);
	}
	return p;
}

/* --- events -------------------------------------------------------------------------------------
 */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at < b->at || (a->at == b->at && a->seq < b->seq);
}

static void event_add(struct sim *s, uint64_t at, sim_event_h *fn, void *arg, bool last)
{
	struct sim_event e = {.at = at, .seq = s->heap.seq++, .fn = fn, .arg = arg, .last = last};
	size_t i, up;

	if (s->ended)
		return;

	if (s->heap.n == s->heap.cap) {
		s->heap.cap = s->heap.cap ? 2 * s->heap.cap : 1024;
		s->heap.v = realloc(s->heap.v, s->heap.cap * sizeof(e));
		if (s->heap.v == NULL) {
			fputs("sim: no memory\n", stderr);
			exit(2);
		}
	}
	for (i = s->heap.n++; i > 0 && before(&e, &s->heap.v[up = (i - 1) / 2]); i = up)
		s->heap.v[i] = s->heap.v[up];
	s->heap.v[i] = e;
}

void sim_at(struct sim *s, uint64_t at, sim_event_h *fn, void *arg)
{
	event_add(s, at, fn, arg, false);
}

void sim_at_last(struct sim *s, uint64_t at, sim_event_h *fn, void *arg)
{
	event_add(s, at, fn, arg, true);
}

static struct sim_event take(struct sim *s)
{
	struct sim_event top = s->heap.v[0], last = s->heap.v[--s->heap.n];
	size_t i = 0, down;

	while ((down = 2 * i + 1) < s->heap.n) {
		if (down + 1 < s->heap.n && before(&s->heap.v[down + 1], &s->heap.v[down]))
			down++;
		if (!before(&s->heap.v[down], &last))
			break;
		s->heap.v[i] = s->heap.v[down];
		i = down;
	}
	s->heap.v[i] = last;
	return top;
}

void sim_run_until(struct sim *s, uint64_t at)
{
	while (s->heap.n > 0 && s->heap.v[0].at <= at) {
		struct sim_event e = take(s);

		s->now = e.at;
		e.fn(s, e.arg);
	}
	s->now = at;
}

/* --- random numbers -----------------------------------------------------------------------------
 */

uint32_t sim_random(struct sim *s)
{
	s->seed = s->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(s->seed >> 32);
}

double sim_uniform(struct sim *s)
{
	return (double)sim_random(s) / 4294967296.0;
}

/* --- the network --------------------------------------------------------------------------------
 */

uint64_t sim_one_way(const struct sim *s, unsigned int a, unsigned int b)
{
	double dx = s->peer[a].x - s->peer[b].x, dy = s->peer[a].y - s->peer[b].y;

	return a == b ? 0 : 500 + (uint64_t)(s->scale_us * sqrt(dx * dx + dy * dy));
}

/* TCP brings what was lost again. */
static uint64_t trip(struct sim *s, unsigned int a, unsigned int b)
{
	uint64_t t = sim_one_way(s, a, b), rto = TCP_RTO;

	while (sim_uniform(s) < s->p.loss && rto < 16 * TCP_RTO) {
		t += rto;
		rto *= 2;
	}
	return t;
}

/* Is there a connection that is kept? It is, now. */
static bool connected(struct sim *s, unsigned int from, unsigned int to)
{
	struct sim_peer *p = &s->peer[from];
	unsigned int i, oldest = 0;
	bool warm;

	for (i = 0; i < p->n_conn && p->conn[i].to != to; i++)
		oldest = p->conn[i].used < p->conn[oldest].used ? i : oldest;
	warm = i < p->n_conn && s->now - p->conn[i].used < SIM_IDLE_MS * SIM_MS;
	if (i == p->n_conn) {
		if (p->n_conn < SIM_CONNECTIONS)
			p->n_conn++;
		else
			i = oldest;
	}
	p->conn[i] = (struct sim_connection){.to = to, .used = s->now};
	return warm;
}

static void disconnected(struct sim *s, unsigned int from, unsigned int to)
{
	struct sim_peer *p = &s->peer[from];
	unsigned int i;

	for (i = 0; i < p->n_conn; i++) {
		if (p->conn[i].to == to) {
			p->conn[i] = p->conn[--p->n_conn];
			return;
		}
	}
}

static void on_answer(struct sim *s, void *arg)
{
	struct sim_ask *a = arg;

	a->gone = s->ended || !s->peer[a->from].up || s->peer[a->from].life != a->life;
	if (s->counting && !a->ok)
		s->traffic[a->kind].failed++;
	if (!a->ok)
		disconnected(s, a->from, a->to);
	a->done(s, a);
}

static void on_question(struct sim *s, void *arg)
{
	struct sim_ask *a = arg;
	const struct sim_peer *to = &s->peer[a->to];

	a->ok = to->up;
	if (s->ended) {
		on_answer(s, a);
		return;
	}
	if (!to->up) { /* refused at once, or nobody says anything */
		sim_at_last(s, s->now + (to->silent ? ASK_TIMEOUT : sim_one_way(s, a->to, a->from)),
			    on_answer, a);
		return;
	}
	a->asked(s, a);
	if (s->counting) {
		s->traffic[a->kind].asks++;
		s->traffic[a->kind].bytes += a->question + a->answer + SIM_HTTP_BYTES;
	}
	sim_at_last(s, s->now + trip(s, a->to, a->from), on_answer, a);
}

void sim_ask(struct sim *s, struct sim_ask *a)
{
	uint64_t t = trip(s, a->from, a->to);

	a->life = s->peer[a->from].life;
	if (!connected(s, a->from, a->to)) {
		t += CONNECT_TRIPS * 2 * sim_one_way(s, a->from, a->to);
		s->cold += s->counting;
	}
	sim_at_last(s, s->now + t, on_question, a);
}

void sim_events_end(struct sim *s)
{
	s->ended = true;
	while (s->heap.n > 0) {
		struct sim_event e = take(s);

		if (e.last)
			e.fn(s, e.arg);
	}
	free(s->heap.v);
}
