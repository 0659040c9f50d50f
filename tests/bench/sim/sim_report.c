/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bench/sim/sim.h"
#include <stdlib.h>

void sim_sample(struct sim_samples *v, double x)
{
	if (v->n == v->cap) {
		size_t cap = v->cap ? 2 * v->cap : 1024;
		float *p = realloc(v->v, cap * sizeof(p[0]));

		if (p == NULL)
			return;
		v->v = p;
		v->cap = cap;
	}
	v->v[v->n++] = (float)x;
}

static int cmp(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void samples(FILE *f, const char *name, struct sim_samples *v)
{
	if (v->n > 0)
		qsort(v->v, v->n, sizeof(v->v[0]), cmp);
	fprintf(f, ", \"%s\": {\"n\": %zu", name, v->n);
	if (v->n > 0)
		fprintf(f, ", \"p50\": %.2f, \"p99\": %.2f, \"max\": %.2f", (double)v->v[v->n / 2],
			(double)v->v[v->n * 99 / 100], (double)v->v[v->n - 1]);
	fputc('}', f);
}

void sim_report(struct sim *s, FILE *f)
{
	static const char *const kinds[SIM_KINDS] = {"members", "announce", "query", "sync"};
	double seconds = s->p.run_s, n = s->p.peers;
	double played[SIM_KINDS] = {0};
	size_t held = 0, held_bytes = 0;
	unsigned int i;

	for (i = 0; i < SIM_KINDS; i++)
		played[i] = i == SIM_MEMBERS ? s->p.machines : n;
	fprintf(f,
		"{\"peers\": %u, \"machines\": %u, \"users\": %u, \"holders\": %u, \"rtt_ms\": "
		"%.0f, \"engine_ms\": %.0f, "
		"\"loss\": %.4f, \"seconds\": %u, \"churn_per_hour\": %.2f, \"seed\": %llu",
		s->p.peers, s->p.machines, s->p.users, s->p.holders, s->p.rtt_ms, s->p.engine_ms,
		s->p.loss, s->p.run_s, s->p.churn, (unsigned long long)s->p.seed);
	fprintf(f, ", \"per_peer\": {");
	for (i = 0; i < SIM_KINDS; i++)
		fprintf(f, "%s\"%s_per_s\": %.4f, \"%s_bytes_per_s\": %.1f", i ? ", " : "",
			kinds[i], (double)s->traffic[i].asks / seconds / played[i], kinds[i],
			(double)s->traffic[i].bytes / seconds / played[i]);
	for (i = 0; i < s->p.peers; i++) {
		if (s->peer[i].held != NULL) {
			held += p2p_held_count(s->peer[i].held);
			held_bytes += p2p_held_bytes(s->peer[i].held);
		}
	}
	fprintf(f, ", \"gossip_bytes\": %zu}, \"held_bytes_per_record\": %.0f", s->gossip_bytes,
		held ? (double)held_bytes / (double)held : 0);
	fprintf(f, ", \"failed\": {");
	for (i = 0; i < SIM_KINDS; i++)
		fprintf(f, "%s\"%s\": %llu", i ? ", " : "", kinds[i],
			(unsigned long long)s->traffic[i].failed);
	fprintf(f,
		"}, \"new_connections\": %llu, \"registrations\": %llu, \"records_told\": %llu, "
		"\"records_told_per_registration\": %.2f, \"bytes_per_registration\": %.0f, "
		"\"deaths\": %llu, \"keys_synchronised\": %llu",
		(unsigned long long)s->cold, (unsigned long long)s->registrations,
		(unsigned long long)s->announced,
		s->registrations ? (double)s->announced / (double)s->registrations : 0,
		s->registrations ? (double)s->traffic[SIM_ANNOUNCE].bytes / (double)s->registrations
				 : 0,
		(unsigned long long)s->deaths, (unsigned long long)s->synced_keys);
	fprintf(f,
		", \"lookups\": %llu, \"unknown\": %llu, \"unknown_of_living\": %llu, "
		"\"false_absent\": %llu, \"asks_per_lookup\": %.2f, \"bytes_per_lookup\": %.0f",
		(unsigned long long)s->lookups, (unsigned long long)s->unknown,
		(unsigned long long)s->unknown_alive, (unsigned long long)s->false_absent,
		s->lookups ? (double)s->traffic[SIM_QUERY].asks / (double)s->lookups : 0,
		s->lookups ? (double)s->traffic[SIM_QUERY].bytes / (double)s->lookups : 0);
	samples(f, "found_ms", &s->found);
	samples(f, "absent_ms", &s->missed);
	samples(f, "confirmed_ms", &s->confirm);
	samples(f, "death_known_ms", &s->heard);
	fputs("}\n", f);
}
