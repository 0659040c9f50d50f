/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options, and what happens in the overlay: peers die and come back, users register, move and
 * leave, and are looked for. One JSON object on stdout. Exit status 1: a user who was there was
 * called absent. */
#include "tests/bench/sim/sim.h"
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "lib/base/bytes.h"

static const char usage[] =
	"usage: sim [options]\n"
	"  --peers N       10 to 20000 (100)\n"
	"  --machines N    membership machines; fewer than peers: each plays for several (peers, "
	"at "
	"most 400)\n"
	"  --users N       the sample (500)\n"
	"  --holders N     of a key (5)\n"
	"  --rtt MS        mean round trip (40); --loss P of each datagram (0)\n"
	"  --engine MS     a search of the engine, in the mean (0: there is none)\n"
	"  --warm S        before anything counts (20); --run S (120)\n"
	"  --churn X       deaths of each peer an hour (1); --down S until it is back (30)\n"
	"  --changes X     registrations, moves and leaves of the sample a second (20)\n"
	"  --lookups X     a second (100), half of them of users that are not registered\n"
	"  --seed N        (1)\n";

static void on_change(struct sim *s, void *arg)
{
	unsigned int user = sim_random(s) % s->p.users, home = sim_random(s) % s->p.peers, what;
	struct sim_user *u = &s->user[user];

	(void)arg;
	sim_at(s, s->now + (uint64_t)(-log(1 - sim_uniform(s)) / s->p.changes * SIM_S), on_change,
	       NULL);
	if (u->registered && !s->peer[u->home].up)
		return;
	what = sim_random(s) % 4;
	if (u->registered && what == 0) { /* leaves */
		u->registered = false;
		u->confirmed = 0;
		u->since = u->changed = s->now;
		sim_user_publish(s, user, u->home, false);
		return;
	}
	if (!s->peer[home].up)
		return;
	if (u->registered && what < 3) { /* moves */
		sim_user_publish(s, user, u->home, false);
		u->home = home;
	} else if (!u->registered) {
		u->home = home;
	} else {
		home = u->home; /* changes its phones */
	}
	u->registered = true;
	u->confirmed = 0;
	u->since = u->changed = s->now;
	s->registrations += s->counting;
	sim_user_publish(s, user, home, true);
}

static void on_lookup(struct sim *s, void *arg)
{
	unsigned int user = sim_random(s) % s->p.users, asker = sim_random(s) % s->p.peers;
	bool registered = sim_random(s) % 2 == 0;
	unsigned int i;

	(void)arg;
	sim_at(s, s->now + (uint64_t)(-log(1 - sim_uniform(s)) / s->p.lookups * SIM_S), on_lookup,
	       NULL);
	for (i = 0; i < s->p.users && s->user[user].registered != registered; i++)
		user = (user + 1) % s->p.users;
	if (s->peer[asker].up && i < s->p.users)
		sim_lookup(s, asker, user);
}

static void on_up(struct sim *s, void *arg)
{
	struct sim_peer *p = arg;
	unsigned int peer = (unsigned int)(p - s->peer);

	sim_member_up(s, peer);
	sim_records_up(s, peer);
}

static void on_death(struct sim *s, void *arg)
{
	double each = s->p.churn * s->p.peers / 3600;
	unsigned int peer = sim_random(s) % s->p.peers;

	(void)arg;
	sim_at(s, s->now + (uint64_t)(-log(1 - sim_uniform(s)) / each * SIM_S), on_death, NULL);
	/* a machine that plays for others lives on */
	if (!s->peer[peer].up || (s->p.machines < s->p.peers && peer < s->p.machines))
		return;
	s->deaths += s->counting;
	s->peer[peer].silent = sim_random(s) % 2 == 0;
	sim_member_down(s, peer);
	sim_records_down(s, peer);
	sim_at(s, s->now + (uint64_t)(s->p.down_s * (0.5 + sim_uniform(s)) * SIM_S), on_up,
	       &s->peer[peer]);
}

static void peer_make(struct sim *s, unsigned int i)
{
	struct sim_peer *p = &s->peer[i];
	unsigned int k;

	/* HITs and places on the ring are spread as hashes are; the HIT ends with the number */
	p->hit = (struct p2p_hit){{0x20, 0x01, 0x00, 0x22}};
	for (k = 4; k < P2P_HIT_LEN - 4; k++)
		p->hit.b[k] = (uint8_t)(sim_random(s) >> 24);
	p2p_put_be32(p->hit.b + k, i);
	for (k = 0; k < P2P_KEY_LEN; k++)
		p->pos.b[k] = (uint8_t)(sim_random(s) >> 24);
	p->pubkey[0] = 2;
	for (k = 1; k < P2P_PUBKEY_LEN; k++)
		p->pubkey[k] = (uint8_t)(sim_random(s) >> 24);
	p->x = sim_uniform(s);
	p->y = sim_uniform(s);
	p->up = true;
}

static int sim_new(struct sim *s)
{
	unsigned int i;
	int err = 0;

	s->seed = s->p.seed * 0x9e3779b97f4a7c15ull + 1;
	/* two points of a square are 0.52 apart, in the mean */
	s->scale_us = (s->p.rtt_ms / 2 - 0.5) * 1000 / 0.5214;
	s->scale_us = s->scale_us > 0 ? s->scale_us : 0;
	s->peer = sim_alloc(s->p.peers, sizeof(s->peer[0]));
	s->user = sim_alloc(s->p.users, sizeof(s->user[0]));
	s->machine = sim_alloc(s->p.machines, sizeof(s->machine[0]));
	for (i = 0; i < s->p.peers && err == 0; i++) {
		peer_make(s, i);
		err = p2p_ring_add(&s->ring, &s->peer[i].pos, &s->peer[i]);
	}
	err = err ? err : sim_members_new(s);
	return err ? err : sim_records_new(s);
}

static void sim_free(struct sim *s)
{
	sim_events_end(s);
	sim_members_free(s);
	sim_records_free(s);
	p2p_ring_free(&s->ring);
	free(s->peer);
	free(s->user);
	free(s->machine);
	free(s->confirm.v);
	free(s->found.v);
	free(s->missed.v);
	free(s->heard.v);
}

static void sim_play(struct sim *s)
{
	unsigned int i;

	for (i = 0; i < s->p.users; i += 2) {
		s->user[i].registered = true;
		sim_user_publish(s, i, s->user[i].home, true);
	}
	sim_at(s, 2 * SIM_S, on_change, NULL);
	sim_at(s, 5 * SIM_S, on_lookup, NULL);
	if (s->p.churn > 0)
		sim_at(s, 5 * SIM_S, on_death, NULL);
	sim_run_until(s, s->p.warm_s * SIM_S);
	s->counting = true;
	sim_run_until(s, (s->p.warm_s + s->p.run_s) * SIM_S);
}

enum {
	OPT_PEERS = 1,
	OPT_MACHINES,
	OPT_USERS,
	OPT_HOLDERS,
	OPT_RTT,
	OPT_LOSS,
	OPT_WARM,
	OPT_RUN,
	OPT_CHURN,
	OPT_DOWN,
	OPT_CHANGES,
	OPT_LOOKUPS,
	OPT_SEED,
	OPT_ENGINE
};

static const struct option options[] = {
	{"peers", 1, NULL, OPT_PEERS},
	{"machines", 1, NULL, OPT_MACHINES},
	{"users", 1, NULL, OPT_USERS},
	{"holders", 1, NULL, OPT_HOLDERS},
	{"rtt", 1, NULL, OPT_RTT},
	{"loss", 1, NULL, OPT_LOSS},
	{"warm", 1, NULL, OPT_WARM},
	{"run", 1, NULL, OPT_RUN},
	{"churn", 1, NULL, OPT_CHURN},
	{"down", 1, NULL, OPT_DOWN},
	{"changes", 1, NULL, OPT_CHANGES},
	{"lookups", 1, NULL, OPT_LOOKUPS},
	{"seed", 1, NULL, OPT_SEED},
	{"engine", 1, NULL, OPT_ENGINE},
	{NULL, 0, NULL, 0},
};

static int options_read(int argc, char **argv, struct sim_params *p)
{
	/* by option: least, most */
	static const double range[][2] = {{0, 0},      {10, 20000},	  {2, 20000}, {10, 100000},
					  {1, 9},      {1, 1000},	  {0, 0.5},   {1, 3600},
					  {1, 86400},  {0, 1000},	  {1, 3600},  {0.01, 1e5},
					  {0.01, 1e5}, {0, 4294967295.0}, {0, 10000}};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		char *end = NULL;
		double x = optarg ? strtod(optarg, &end) : 0;

		if (opt == '?' || end == optarg || *end != '\0' ||
		    !(x >= range[opt][0] && x <= range[opt][1]))
			return -1;
		switch (opt) {
		case OPT_PEERS:
			p->peers = (unsigned int)x;
			break;
		case OPT_MACHINES:
			p->machines = (unsigned int)x;
			break;
		case OPT_USERS:
			p->users = (unsigned int)x;
			break;
		case OPT_HOLDERS:
			p->holders = (unsigned int)x;
			break;
		case OPT_RTT:
			p->rtt_ms = x;
			break;
		case OPT_LOSS:
			p->loss = x;
			break;
		case OPT_WARM:
			p->warm_s = (unsigned int)x;
			break;
		case OPT_RUN:
			p->run_s = (unsigned int)x;
			break;
		case OPT_CHURN:
			p->churn = x;
			break;
		case OPT_DOWN:
			p->down_s = (unsigned int)x;
			break;
		case OPT_CHANGES:
			p->changes = x;
			break;
		case OPT_LOOKUPS:
			p->lookups = x;
			break;
		case OPT_SEED:
			p->seed = (uint64_t)x;
			break;
		case OPT_ENGINE:
			p->engine_ms = x;
			break;
		}
	}
	if (p->machines == 0)
		p->machines = p->peers < 400 ? p->peers : 400;
	return optind == argc && p->machines <= p->peers ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct sim s = {.p = {.peers = 100,
			      .users = 500,
			      .holders = 5,
			      .rtt_ms = 40,
			      .warm_s = 20,
			      .run_s = 120,
			      .down_s = 30,
			      .churn = 1,
			      .changes = 20,
			      .lookups = 100,
			      .seed = 1}};
	int err;

	if (options_read(argc, argv, &s.p) != 0) {
		fputs(usage, stderr);
		return 2;
	}
	err = sim_new(&s);
	if (err != 0) {
		fprintf(stderr, "sim: %s\n", strerror(err));
		return 2;
	}
	sim_play(&s);
	sim_report(&s, stdout);
	sim_free(&s);
	return s.false_absent != 0;
}
