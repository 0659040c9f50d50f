/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The membership's state machine over a simulated network and clock: who knows whom when, what it
 * costs, and what must never happen. Figures are printed with P2PSIP_GOSSIP_FIGURES=1. */
#include "tests/unit/test.h"

#include "lib/base/bytes.h"
#include "lib/model/gossip.h"
#include "tests/unit/alloc.h"

#define NODES_MAX 1024
#define RTT_MS 20
#define RECORD_LEN 250
#define WALL0 1767225600000ull
#define STEP 10
/* Beyond the bodies: both sides' HTTP headers, and TLS. */
#define HTTP_BYTES 420
#define KEEP_EACH_MS 60000
#define LONG (getenv("P2PSIP_GOSSIP_LONG") != NULL)

struct node {
	struct p2p_gossip *g;
	bool up, stopped;
	unsigned int side; /* of a split */
	int64_t clock_off;
	uint64_t order, epoch, renew_ms;
	uint64_t boot_ms;
	int boot; /* whom it knows by address; -1: nobody */
	unsigned int events[P2P_GOSSIP_E_UNSEEN + 1];
};

/* A question on its way, or an answer, or the failure of one. */
struct flight {
	struct flight *next;
	uint64_t at;
	unsigned int from, to;
	enum { QUESTION, ANSWER, FAILURE } what;
	struct p2p_opp_members *m;
};

static struct {
	struct node node[NODES_MAX];
	unsigned int n;
	uint64_t now, seed;
	unsigned int loss_percent;
	bool split;
	struct flight *slot[4096]; /* by time */
	uint64_t exchanges, bytes, measured;
	bool count;
} sim;

static uint32_t rnd(void *arg)
{
	(void)arg;
	sim.seed = sim.seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(sim.seed >> 33);
}

/* HITs are spread over the ring as hashes are. */
static struct p2p_hit hit_of(unsigned int i)
{
	struct p2p_hit hit = {{0x20, 0x01, 0x00, 0x22}};
	uint64_t h = (i + 1) * 0x9e3779b97f4a7c15ull;

	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9ull;
	p2p_put_be64(hit.b + 4, h);
	p2p_put_be16(hit.b + 14, (uint16_t)(h >> 7));
	p2p_put_be16(hit.b + 12, (uint16_t)i);
	return hit;
}

static unsigned int index_of(const struct p2p_hit *hit)
{
	return p2p_be16(hit->b + 12);
}

static void changed(const struct p2p_hit *hit, enum p2p_gossip_event event, void *arg)
{
	struct node *n = arg;

	(void)hit;
	n->events[event]++;
}

static uint32_t node_rnd(void *arg)
{
	(void)arg;
	return rnd(NULL);
}

static void own_record(struct node *n, uint64_t above, bool left)
{
	uint8_t bytes[RECORD_LEN] = {0};
	struct p2p_gossip_record rec = {.hit = hit_of((unsigned int)(n - sim.node)),
					.epoch = n->epoch,
					.left = left,
					.bytes = bytes,
					.len = sizeof(bytes)};
	uint64_t wall = WALL0 + sim.now + (uint64_t)n->clock_off;

	n->order = n->order + 1 > wall ? n->order + 1 : wall;
	if (n->order <= above)
		n->order = above + 1;
	rec.order = n->order;
	p2p_put_be64(bytes, n->order);
	p2p_put_be64(bytes + 8, n->epoch);
	memcpy(bytes + 16, rec.hit.b, P2P_HIT_LEN);
	bytes[32] = left;
	assert_ok(p2p_gossip_record(n->g, &rec, true, sim.now));
	/* renewed now and then, less often in a large overlay: one a second in all of it */
	n->renew_ms = sim.now + (KEEP_EACH_MS > sim.n * 1000 ? KEEP_EACH_MS : sim.n * 1000);
	n->renew_ms += rnd(NULL) % 5000;
}

static void start(unsigned int i, int boot)
{
	struct node *n = &sim.node[i];
	struct p2p_gossip_config config = {.self = hit_of(i),
					   .members_max = 20000,
					   .period_ms = 500,
					   .random = node_rnd,
					   .changed = changed,
					   .arg = n};

	memset(n->events, 0, sizeof(n->events));
	assert_ok(p2p_gossip_new(&n->g, &config, sim.now));
	n->up = true;
	n->stopped = false;
	n->epoch = n->epoch ? n->epoch : i + 1;
	n->boot = boot;
	n->boot_ms = sim.now;
	own_record(n, 0, false);
	/* they did not all start at the same time */
	n->renew_ms = sim.now + (rnd(NULL) % 1024) * (n->renew_ms - sim.now) / 1024;
}

static void kill_node(unsigned int i)
{
	p2p_gossip_free(sim.node[i].g);
	sim.node[i].g = NULL;
	sim.node[i].up = false;
}

static void fly(struct flight *f)
{
	struct flight **slot = &sim.slot[f->at / STEP % 4096];

	f->next = *slot;
	*slot = f;
}

static void send_to(unsigned int from, unsigned int to, int what, uint64_t delay,
		    struct p2p_opp_members *m)
{
	struct flight *f = malloc(sizeof(*f));

	*f = (struct flight){.at = sim.now + delay, .from = from, .to = to, .what = what, .m = m};
	fly(f);
}

static void sim_begin(unsigned int n, uint64_t seed)
{
	memset(&sim, 0, sizeof(sim));
	sim.n = n;
	sim.seed = seed * 7919 + 1;
	sim.now = 1000;
}

static void sim_end(void)
{
	unsigned int i;

	for (i = 0; i < 4096; i++) {
		while (sim.slot[i] != NULL) {
			struct flight *f = sim.slot[i];

			sim.slot[i] = f->next;
			free(f->m);
			free(f);
		}
	}
	for (i = 0; i < sim.n; i++) {
		if (sim.node[i].up)
			kill_node(i);
	}
}

static void records_hear(struct node *n, const struct p2p_opp_members *m)
{
	unsigned int i;

	for (i = 0; i < m->n_records; i++) {
		const uint8_t *b = m->record[i].b;
		struct p2p_gossip_record rec = {.order = p2p_be64(b),
						.epoch = p2p_be64(b + 8),
						.left = b[32] != 0,
						.bytes = b,
						.len = m->record[i].len};

		assert_int_equal(rec.len, RECORD_LEN);
		memcpy(rec.hit.b, b + 16, P2P_HIT_LEN);
		if (&sim.node[index_of(&rec.hit)] != n)
			p2p_gossip_record(n->g, &rec, true, sim.now);
		else if (rec.order > n->order)
			own_record(n, rec.order, false);
	}
}

static void refute(struct node *n)
{
	uint64_t above = p2p_gossip_refute(n->g);

	if (above != 0)
		own_record(n, above, false);
}

/* As it would be written: some of them, for that takes time. */
static void measure(const struct p2p_opp_members *m)
{
	static char buf[P2P_OPP_MEMBERS_BODY_MAX + 1];
	size_t len;

	if (!sim.count || (sim.n > 100 && rnd(NULL) % 20 != 0))
		return;
	assert_ok(p2p_opp_members_encode(m, buf, sizeof(buf), &len));
	sim.bytes += len;
	sim.measured++;
}

static void question(unsigned int from, unsigned int to)
{
	struct p2p_opp_members *m = malloc(sizeof(*m));
	struct p2p_hit hit = hit_of(to);

	p2p_gossip_ask(sim.node[from].g, &hit, m, sim.now,
		       WALL0 + sim.now + (uint64_t)sim.node[from].clock_off);
	if (sim.count)
		sim.exchanges++;
	measure(m);
	send_to(from, to, QUESTION, RTT_MS / 2, m);
}

static bool lost(void)
{
	return rnd(NULL) % 100 < sim.loss_percent;
}

static bool cut(unsigned int a, unsigned int b)
{
	return sim.split && sim.node[a].side != sim.node[b].side;
}

static void arrive(struct flight *f)
{
	struct node *from = &sim.node[f->from], *to = &sim.node[f->to];
	struct p2p_hit fh = hit_of(f->from), th = hit_of(f->to);
	struct p2p_opp_members *out;

	if (f->what == QUESTION) {
		if (!from->up) {
			free(f->m);
		} else if (cut(f->from, f->to) || to->stopped || lost()) {
			free(f->m);
			send_to(f->from, f->to, FAILURE, P2P_GOSSIP_EXCHANGE_MS, NULL);
		} else if (!to->up) {
			free(f->m);
			send_to(f->from, f->to, FAILURE, RTT_MS / 2, NULL);
		} else {
			records_hear(to, f->m);
			p2p_gossip_asked(to->g, &fh, f->m, sim.now);
			refute(to);
			out = malloc(sizeof(*out));
			p2p_gossip_answer(to->g, &fh, f->m, out, sim.now);
			measure(out);
			free(f->m);
			if (lost()) {
				free(out);
				send_to(f->from, f->to, FAILURE, P2P_GOSSIP_EXCHANGE_MS, NULL);
			} else {
				send_to(f->from, f->to, ANSWER, RTT_MS / 2, out);
			}
		}
	} else if (!from->up) {
		free(f->m);
	} else if (from->stopped) { /* it sees it when it goes on */
		send_to(f->from, f->to, f->what, 100, f->m);
	} else if (f->what == ANSWER) {
		records_hear(from, f->m);
		p2p_gossip_answered(from->g, &th, f->m, sim.now);
		refute(from);
		free(f->m);
	} else {
		p2p_gossip_failed(from->g, &th, sim.now);
	}
	free(f);
}

static void node_run(struct node *n)
{
	struct p2p_gossip_stats st;
	struct p2p_hit hit;

	if (!n->up || n->stopped)
		return;
	if (n->boot >= 0 && sim.now >= n->boot_ms) {
		p2p_gossip_stats(n->g, &st);
		hit = hit_of((unsigned int)n->boot);
		if (st.alive == 1)
			p2p_gossip_try(n->g, &hit);
		n->boot_ms = sim.now + 1000;
	}
	if (sim.now >= n->renew_ms)
		own_record(n, 0, false);
	if (sim.now >= p2p_gossip_due(n->g) || n->boot >= 0)
		p2p_gossip_tick(n->g, sim.now);
	while (p2p_gossip_next(n->g, &hit, sim.now))
		question((unsigned int)(n - sim.node), index_of(&hit));
}

static void sim_run(uint64_t ms)
{
	uint64_t end = sim.now + ms;
	unsigned int i;

	for (; sim.now < end; sim.now += STEP) {
		struct flight **slot = &sim.slot[sim.now / STEP % 4096], *f = *slot, *next;

		*slot = NULL;
		for (; f != NULL; f = next) {
			next = f->next;
			arrive(f);
		}
		for (i = 0; i < sim.n; i++)
			node_run(&sim.node[i]);
	}
}

static enum p2p_gossip_state state_at(unsigned int who, unsigned int of)
{
	struct p2p_hit hit = hit_of(of);
	struct p2p_gossip_info info;

	return p2p_gossip_info(sim.node[who].g, &hit, &info) == 0 ? info.state : 0;
}

/* How many of those that are up see it so. */
static unsigned int see(unsigned int of, enum p2p_gossip_state state)
{
	unsigned int i, n = 0;

	for (i = 0; i < sim.n; i++)
		n += i != of && sim.node[i].up && !sim.node[i].stopped && state_at(i, of) == state;
	return n;
}

static unsigned int ups(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < sim.n; i++)
		n += sim.node[i].up && !sim.node[i].stopped;
	return n;
}

static bool whole(void)
{
	struct p2p_gossip_stats st;
	unsigned int i, n = ups();

	for (i = 0; i < sim.n; i++) {
		if (!sim.node[i].up || sim.node[i].stopped)
			continue;
		p2p_gossip_stats(sim.node[i].g, &st);
		if (st.alive != n)
			return false;
	}
	return true;
}

/* ms until everybody sees everybody; or max. */
static uint64_t until_whole(uint64_t max)
{
	uint64_t began = sim.now;

	while (!whole() && sim.now - began < max)
		sim_run(100);
	return sim.now - began;
}

static uint64_t until_seen(unsigned int of, enum p2p_gossip_state state, uint64_t max)
{
	uint64_t began = sim.now;

	while (see(of, state) < ups() - sim.node[of].up && sim.now - began < max)
		sim_run(50);
	return sim.now - began;
}

static unsigned int deaths(void)
{
	struct p2p_gossip_stats st;
	unsigned int i, n = 0;

	for (i = 0; i < sim.n; i++) {
		if (!sim.node[i].up)
			continue;
		p2p_gossip_stats(sim.node[i].g, &st);
		n += (unsigned int)st.deaths;
	}
	return n;
}

static void figure(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void figure(const char *fmt, ...)
{
	va_list ap;

	if (getenv("P2PSIP_GOSSIP_FIGURES") == NULL)
		return;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
}

static void form(unsigned int n, uint64_t seed)
{
	unsigned int i;

	sim_begin(n, seed);
	start(0, -1);
	for (i = 1; i < n; i++)
		start(i, 0);
	assert_in_range(until_whole(30000), 0, 29999);
}

/* --- tests -------------------------------------------------------------------------------------
 */

static void test_form(void **state)
{
	uint64_t seed, ms, worst = 0;

	(void)state;
	for (seed = 1; seed <= 20; seed++) {
		unsigned int i;

		sim_begin(8, seed);
		start(0, -1);
		for (i = 1; i < 8; i++)
			start(i, 0);
		ms = until_whole(30000);
		worst = ms > worst ? ms : worst;
		assert_int_equal(deaths(), 0);
		sim_end();
	}
	figure("8 members of one address: whole after at most %d ms\n", (int)worst);
	assert_in_range(worst, 0, 5000);
}

static void test_kill(void **state)
{
	uint64_t seed, ms, worst = 0, sum = 0, runs = LONG ? 200 : 40;

	(void)state;
	for (seed = 1; seed <= runs; seed++) {
		form(8, seed);
		sim_run(5000 + seed * 37);
		kill_node(3);
		ms = until_seen(3, P2P_GOSSIP_DEAD, 20000);
		sum += ms;
		worst = ms > worst ? ms : worst;
		assert_int_equal(deaths(), 7);
		sim_end();
	}
	figure("one of 8 killed: dead for all after %d ms on average, %d ms at most (%d runs)\n",
	       (int)(sum / runs), (int)worst, (int)runs);
	assert_in_range(worst, 1000, 5500);
}

/* Several at once: a third of them. */
static void test_kill_third(void **state)
{
	uint64_t seed, worst = 0;

	(void)state;
	for (seed = 1; seed <= 20; seed++) {
		uint64_t began;

		form(24, seed);
		sim_run(5000);
		for (unsigned int i = 0; i < 8; i++)
			kill_node(3 * i);
		began = sim.now;
		for (unsigned int i = 0; i < 8; i++)
			until_seen(3 * i, P2P_GOSSIP_DEAD, 20000);
		worst = sim.now - began > worst ? sim.now - began : worst;
		assert_int_equal(deaths(), 8 * 16);
		sim_end();
	}
	figure("8 of 24 killed at once: dead for all after at most %d ms (20 runs)\n", (int)worst);
	assert_in_range(worst, 1000, 8000);
}

static void test_loss(void **state)
{
	/* the long form: two thousand minutes */
	uint64_t seed, runs = LONG ? 200 : 4;
	unsigned int suspicions = 0;

	(void)state;
	for (seed = 1; seed <= runs; seed++) {
		form(8, seed);
		sim.loss_percent = 18; /* each way: a third of the exchanges */
		sim_run(600000);
		assert_int_equal(deaths(), 0);
		for (unsigned int i = 0; i < 8; i++)
			suspicions += sim.node[i].events[P2P_GOSSIP_E_SUSPECT];
		sim.loss_percent = 0;
		until_whole(10000);
		assert_true(whole());
		sim_end();
	}
	figure("a third of the exchanges lost, 8 members, %d minutes: no death, %u suspicions "
	       "heard\n",
	       (int)runs * 10, suspicions);
}

static void test_clock_off(void **state)
{
	unsigned int i;

	(void)state;
	sim_begin(8, 3);
	sim.node[2].clock_off = 60000;
	sim.node[5].clock_off = -60000;
	start(0, -1);
	for (i = 1; i < 8; i++)
		start(i, 0);
	until_whole(10000);
	sim_run(300000);
	assert_int_equal(deaths(), 0);
	assert_true(whole());
	/* and one whose clock is behind refutes all the same */
	sim.node[5].stopped = true;
	sim_run(20000);
	assert_int_equal(see(5, P2P_GOSSIP_DEAD), 7);
	sim.node[5].stopped = false;
	assert_in_range(until_seen(5, P2P_GOSSIP_ALIVE, 10000), 0, 5000);
	sim_end();
}

static void test_stopped(void **state)
{
	uint64_t worst = 0, seed, ms;

	(void)state;
	for (seed = 1; seed <= 20; seed++) {
		form(8, seed);
		sim_run(5000);
		sim.node[4].stopped = true;
		ms = until_seen(4, P2P_GOSSIP_DEAD, 20000);
		assert_in_range(ms, 1000, 10000);
		sim_run(15000);
		assert_true(sim.node[0].events[P2P_GOSSIP_E_SUSPECT] >= 1);
		sim.node[4].stopped = false;
		ms = until_whole(20000);
		worst = ms > worst ? ms : worst;
		/* it does not take the others for dead, for it was away itself */
		assert_int_equal(deaths(), 7);
		assert_true(whole());
		assert_int_equal(sim.node[0].events[P2P_GOSSIP_E_ALIVE], 1);
		sim_end();
	}
	figure("one of 8 stopped and continued: alive for all after at most %d ms\n", (int)worst);
	assert_in_range(worst, 0, 5000);
}

static void test_split(void **state)
{
	uint64_t worst = 0, seed, ms;

	(void)state;
	for (seed = 1; seed <= 20; seed++) {
		form(8, seed);
		for (unsigned int i = 0; i < 8; i++)
			sim.node[i].side = i % 2;
		sim.split = true;
		sim_run(60000);
		for (unsigned int i = 0; i < 8; i++)
			for (unsigned int j = 0; j < 8; j++)
				if (i != j)
					assert_int_equal(state_at(i, j), i % 2 == j % 2
										 ? P2P_GOSSIP_ALIVE
										 : P2P_GOSSIP_DEAD);
		sim.split = false;
		ms = until_whole(20000);
		worst = ms > worst ? ms : worst;
		sim_end();
	}
	figure("a split of 8 heals: whole after at most %d ms\n", (int)worst);
	assert_in_range(worst, 0, 5000);
}

/* Longer than the dead count as members: they are tried all the same. */
static void test_long_split(void **state)
{
	struct p2p_gossip_stats st;

	(void)state;
	form(8, 5);
	for (unsigned int i = 0; i < 8; i++)
		sim.node[i].side = i % 2;
	sim.split = true;
	sim_run(P2P_GOSSIP_SEEN_MS + 60000);
	p2p_gossip_stats(sim.node[0].g, &st);
	assert_int_equal(st.dead, 0);
	assert_int_equal(sim.node[0].events[P2P_GOSSIP_E_UNSEEN], 4);
	sim.split = false;
	assert_in_range(until_whole(60000), 0, 30000);
	sim_end();
}

static void test_leave(void **state)
{
	(void)state;
	form(8, 1);
	own_record(&sim.node[6], 0, true);
	sim_run(1500);
	kill_node(6);
	assert_in_range(until_seen(6, P2P_GOSSIP_LEFT, 10000), 0, 3000);
	assert_int_equal(deaths(), 0);
	/* and comes back */
	sim_run(2000);
	start(6, 0);
	assert_in_range(until_whole(10000), 0, 5000);
	assert_int_equal(sim.node[0].events[P2P_GOSSIP_E_LEFT], 1);
	assert_int_equal(sim.node[0].events[P2P_GOSSIP_E_JOINED], 8);
	/* with a clock that is behind what it said last */
	own_record(&sim.node[6], 0, true);
	sim_run(1500);
	kill_node(6);
	sim.node[6].order = 0;
	sim.node[6].clock_off = -60000;
	start(6, 0);
	assert_in_range(until_whole(10000), 0, 5000);
	sim_end();
}

static void test_restart(void **state)
{
	(void)state;
	form(8, 1);
	kill_node(2);
	sim_run(300);
	sim.node[2].epoch = 77;
	start(2, 0);
	assert_in_range(until_whole(10000), 0, 5000);
	sim_run(5000);
	assert_int_equal(sim.node[0].events[P2P_GOSSIP_E_EPOCH], 1);
	assert_int_equal(deaths(), 0);
	sim_end();
}

/* What a member may say of another one without proof, and what comes of it. */
static void test_lies(void **state)
{
	struct p2p_opp_members *m = calloc(1, sizeof(*m)), *out = calloc(1, sizeof(*out));
	struct p2p_hit liar = hit_of(1);
	unsigned int i;

	(void)state;
	form(8, 1);
	/* of an order that nobody has: any later record refutes that */
	m->n_doubts = 1;
	m->doubt[0] = (struct p2p_opp_doubt){hit_of(3), UINT64_MAX, true, 100000};
	p2p_gossip_asked(sim.node[0].g, &liar, m, sim.now);
	assert_int_equal(state_at(0, 3), P2P_GOSSIP_SUSPECT);
	sim_run(5000);
	assert_int_equal(see(3, P2P_GOSSIP_ALIVE), 7);
	/* "dead for long": suspect, and it refutes that */
	m->doubt[0].order = sim.node[3].order;
	p2p_gossip_asked(sim.node[0].g, &liar, m, sim.now);
	assert_int_equal(state_at(0, 3), P2P_GOSSIP_SUSPECT);
	sim_run(5000);
	assert_int_equal(see(3, P2P_GOSSIP_ALIVE), 7);
	assert_int_equal(deaths(), 0);
	/* members that do not exist: asked for once */
	memset(m, 0, sizeof(*m));
	m->n_buckets = 1;
	m->buckets = 1;
	m->n_haves = P2P_OPP_MEMBERS_HAVES;
	for (i = 0; i < m->n_haves; i++)
		m->have[i] = (struct p2p_opp_have){hit_of(200 + i), 1, false};
	p2p_gossip_answered(sim.node[0].g, &liar, m, sim.now);
	sim_run(5000);
	assert_true(whole());
	/* about us: refuted by the next answer */
	memset(m, 0, sizeof(*m));
	m->n_doubts = 1;
	m->doubt[0] = (struct p2p_opp_doubt){hit_of(0), sim.node[0].order, false, 0};
	p2p_gossip_asked(sim.node[0].g, &liar, m, sim.now);
	assert_true(p2p_gossip_refute(sim.node[0].g) == sim.node[0].order);
	refute(&sim.node[0]);
	assert_true(p2p_gossip_refute(sim.node[0].g) == 0);
	p2p_gossip_answer(sim.node[0].g, &liar, m, out, sim.now);
	assert_int_equal(out->n_records, 1);
	assert_true(p2p_be64(out->record[0].b) == sim.node[0].order);
	sim_end();
	free(m);
	free(out);
}

static void test_bounds(void **state)
{
	struct p2p_gossip_config config = {.self = hit_of(0),
					   .members_max = 16,
					   .period_ms = 500,
					   .random = node_rnd,
					   .changed = changed,
					   .arg = &sim.node[0]};
	struct p2p_gossip_record rec = {.order = 5, .epoch = 1, .bytes = "x", .len = 1};
	struct p2p_gossip_stats st;
	struct p2p_gossip *g;
	unsigned int i;

	(void)state;
	sim_begin(1, 1);
	assert_ok(p2p_gossip_new(&g, &config, 0));
	/* addresses make place for members, members for nobody */
	for (i = 1; i < 16; i++) {
		rec.hit = hit_of(i);
		assert_ok(p2p_gossip_record(g, &rec, false, 0));
	}
	p2p_gossip_stats(g, &st);
	assert_int_equal(st.alive, 1);
	for (i = 16; i < 31; i++) {
		rec.hit = hit_of(i);
		assert_ok(p2p_gossip_record(g, &rec, true, 0));
	}
	p2p_gossip_stats(g, &st);
	assert_int_equal(st.alive, 16);
	rec.hit = hit_of(31);
	assert_int_equal(p2p_gossip_record(g, &rec, true, 0), ENOSPC);
	rec.hit = hit_of(17);
	assert_int_equal(p2p_gossip_record(g, &rec, true, 0), EALREADY);
	p2p_gossip_forget(g, &rec.hit);
	p2p_gossip_stats(g, &st);
	assert_int_equal(st.alive, 15);
	p2p_gossip_free(g);
}

/* Who was late itself doubts nobody, and the time that it did not listen is nobody's patience. */
static void test_late(void **state)
{
	struct p2p_gossip_config config = {.self = hit_of(0),
					   .members_max = 16,
					   .period_ms = 500,
					   .random = node_rnd,
					   .changed = changed,
					   .arg = &sim.node[0]};
	struct p2p_gossip_record rec = {
		.hit = hit_of(1), .order = 5, .epoch = 1, .bytes = "x", .len = 1};
	struct p2p_gossip_stats st;
	struct p2p_gossip *g;
	struct p2p_hit hit;
	uint64_t now = 0;

	(void)state;
	sim_begin(1, 1);
	assert_ok(p2p_gossip_new(&g, &config, 0));
	assert_ok(p2p_gossip_record(g, &rec, true, 0));
	for (; now < 20000; now += 50) {
		p2p_gossip_tick(g, now);
		while (p2p_gossip_next(g, &hit, now))
			p2p_gossip_void(g, &hit);
	}
	p2p_gossip_stats(g, &st);
	assert_int_equal(st.suspicions, 0);
	assert_in_range(st.exchanges, 20, 80);
	/* now it really does not answer, but nine tenths of the time nobody listens */
	for (uint64_t from = now; now < from + 10000; now += 50) {
		p2p_gossip_late(g, 45, now);
		p2p_gossip_tick(g, now);
		while (p2p_gossip_next(g, &hit, now))
			p2p_gossip_failed(g, &hit, now);
	}
	p2p_gossip_stats(g, &st);
	assert_int_equal(st.deaths, 0);
	for (uint64_t from = now; now < from + 10000; now += 50) {
		p2p_gossip_tick(g, now);
		while (p2p_gossip_next(g, &hit, now))
			p2p_gossip_failed(g, &hit, now);
	}
	p2p_gossip_stats(g, &st);
	assert_int_equal(st.deaths, 1);
	p2p_gossip_free(g);
}

/* So many that a bucket has no place in an answer: they find together all the same. */
static void test_large(void **state)
{
	enum { MANY = 13000 };
	struct p2p_gossip_config config = {.self = hit_of(0),
					   .members_max = 20000,
					   .period_ms = 500,
					   .random = node_rnd,
					   .changed = changed,
					   .arg = &sim.node[0]};
	struct p2p_opp_members *ask = malloc(sizeof(*ask)), *answer = malloc(sizeof(*answer));
	struct p2p_gossip_record rec = {.order = WALL0, .epoch = 1, .bytes = "x", .len = 1};
	struct p2p_hit one = hit_of(0), two = hit_of(1);
	struct p2p_gossip_stats st;
	struct p2p_gossip *a, *b;
	unsigned int i;

	(void)state;
	sim_begin(1, 1);
	assert_ok(p2p_gossip_new(&a, &config, 0));
	config.self = two;
	assert_ok(p2p_gossip_new(&b, &config, 0));
	for (i = 0; i < MANY; i++) {
		rec.hit = hit_of(i);
		/* where hit_of() counts to 1,024 only */
		p2p_put_be16(rec.hit.b + 10, (uint16_t)i);
		if (i < 2)
			rec.hit = hit_of(i);
		assert_ok(p2p_gossip_record(a, &rec, true, 0));
		if (i != 5)
			p2p_gossip_record(b, &rec, true, 0);
	}
	/* b lacks one; where its bucket is listed, it asks for it */
	for (i = 0; i < 50; i++) {
		p2p_gossip_ask(b, &one, ask, 1000, WALL0 + 100000);
		if (ask->n_wants > 0)
			break;
		ask->n_digest = 64;
		p2p_gossip_answer(a, &two, ask, answer, 1000);
		assert_int_equal(answer->n_buckets, 64);
		assert_true(answer->n_haves > 0);
		p2p_gossip_answered(b, &one, answer, 1000);
	}
	assert_int_equal(ask->n_wants, 1);
	p2p_gossip_stats(b, &st);
	assert_int_equal(st.alive, MANY - 1);
	p2p_gossip_free(a);
	p2p_gossip_free(b);
	free(ask);
	free(answer);
}

static int step(void *arg)
{
	struct p2p_gossip_config config = {.self = hit_of(0),
					   .members_max = 64,
					   .period_ms = 500,
					   .random = node_rnd,
					   .changed = changed,
					   .arg = &sim.node[0]};
	struct p2p_gossip_record rec = {.order = 5, .epoch = 1, .bytes = "x", .len = 1};
	struct p2p_gossip *g;
	int err = p2p_gossip_new(&g, &config, 0);
	unsigned int i;

	(void)arg;
	for (i = 0; err == 0 && i < 20; i++) {
		rec.hit = hit_of(i);
		err = p2p_gossip_record(g, &rec, true, 0);
		if (err != 0)
			p2p_gossip_free(g);
	}
	if (err == 0)
		p2p_gossip_free(g);
	return err;
}

static void test_memory(void **state)
{
	(void)state;
	alloc_loop(step, NULL, false);
}

/* What it costs each member, all quiet. */
static void cost(unsigned int n, uint64_t seconds)
{
	uint64_t each;

	sim.exchanges = sim.bytes = sim.measured = 0;
	sim.count = true;
	sim_run(seconds * 1000);
	sim.count = false;
	/* an exchange is two bodies; each member takes part in two exchanges for one it begins */
	each = sim.exchanges * (2 * sim.bytes / sim.measured + HTTP_BYTES) / n / seconds;
	figure("%u members: each begins %.2f exchanges a second; %d bytes a body; %d bytes a "
	       "second each way\n",
	       n, (double)sim.exchanges / n / (double)seconds, (int)(sim.bytes / sim.measured),
	       (int)each);
	assert_in_range(each, 1, 16000);
}

static void test_cost(void **state)
{
	(void)state;
	form(8, 1);
	sim_run(60000);
	cost(8, 120);
	assert_int_equal(deaths(), 0);
	sim_end();
	form(100, 1);
	sim_run(60000);
	cost(100, 60);
	assert_int_equal(deaths(), 0);
	sim_end();
}

static void test_many(void **state)
{
	/* the long form: a thousand */
	unsigned int i, n = LONG ? 1000 : 250;
	uint64_t ms;

	(void)state;
	sim_begin(n, 1);
	start(0, -1);
	for (i = 1; i < n - 1; i++)
		start(i, (int)(i - 1) / 8);
	ms = until_whole(60000);
	figure("%u members start at once: whole after %d ms\n", n - 1, (int)ms);
	assert_in_range(ms, 0, 30000);
	sim_run(25000);
	cost(n, 10);
	start(n - 1, (int)n / 2);
	ms = until_seen(n - 1, P2P_GOSSIP_ALIVE, 60000);
	figure("one more joins: known to all after %d ms (%d periods)\n", (int)ms, (int)(ms / 500));
	assert_in_range(ms, 0, 15000);
	ms = until_whole(30000);
	figure("... and knows all others after another %d ms\n", (int)ms);
	assert_in_range(ms, 0, 20000);
	kill_node(n / 2 + 7);
	ms = until_seen(n / 2 + 7, P2P_GOSSIP_DEAD, 60000);
	figure("one of them killed: dead for all after %d ms\n", (int)ms);
	assert_in_range(ms, 0, 20000);
	assert_int_equal(deaths(), n - 1);
	sim_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form),	   cmocka_unit_test(test_kill),
		cmocka_unit_test(test_kill_third), cmocka_unit_test(test_loss),
		cmocka_unit_test(test_clock_off),  cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_split),	   cmocka_unit_test(test_long_split),
		cmocka_unit_test(test_leave),	   cmocka_unit_test(test_restart),
		cmocka_unit_test(test_lies),	   cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_large),	   cmocka_unit_test(test_memory),
		cmocka_unit_test(test_cost),	   cmocka_unit_test(test_many),
		cmocka_unit_test(test_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
