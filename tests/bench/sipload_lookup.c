/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lookup load: probes of users at random, by way of proxies at random, at a rate. What did not
 * arrive is told one by one, with the time, so that who knows when what was killed can judge it. */
#include "sipload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BURST_MAX 32
#define TOLD_MAX 20000 /* failures told one by one */

struct told {
	int64_t at;
	unsigned int user, way;
	int status;
	double ms;
};

struct lookup_load {
	const struct sl_opts *o;
	unsigned int sent, ended;
	unsigned long arrived, refused; /* refused: too many were open */
	struct sl_codes codes;
	struct sl_stats arrival, refusal; /* refusal: time to an answer that is no 2xx */
	struct told *told;
	size_t told_n;
	uint64_t random;
};

/* xorshift64: the same users in the same order for the same seed */
static uint64_t random_next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void lookup_ended(const struct probe_result *r, void *arg)
{
	struct lookup_load *l = arg;
	double ms = (double)(r->answered - r->sent) / SL_MS;

	l->ended++;
	codes_add(&l->codes, r->status);
	if (r->arrived != 0) {
		l->arrived++;
		stats_add(&l->arrival, (double)(r->arrived - r->sent) / SL_MS);
	}
	if (r->status >= 200 && r->status < 300)
		return;
	if (r->status != 0)
		stats_add(&l->refusal, ms);
	if (l->told_n < TOLD_MAX) {
		l->told[l->told_n++] = (struct told){.at = r->sent,
						     .user = r->user,
						     .way = r->way,
						     .status = r->status,
						     .ms = ms};
	}
}

static void lookup_loop(struct lookup_load *l, struct probes *ps)
{
	const struct sl_opts *o = l->o;
	int64_t start = net_mono_ns(), now = start, stop = start + o->max_ms * SL_MS;

	while ((l->sent < o->count || probes_open(ps) > 0) && now < stop) {
		unsigned int burst = 0;
		int64_t due = stop;

		while (l->sent < o->count && burst++ < BURST_MAX &&
		       (double)(now - start) * o->rate / 1e9 >= (double)l->sent) {
			uint64_t r = random_next(&l->random);
			unsigned int user =
				o->random ? (unsigned int)(r % o->users) : l->sent % o->users;

			if (probes_open(ps) >= o->active ||
			    probe_send(ps, o->first + user, (unsigned int)(r >> 40) % o->vias) != 0)
				l->refused++;
			l->sent++;
		}
		if (l->sent < o->count)
			due = start + (int64_t)((double)l->sent / o->rate * 1e9);
		probes_wait(ps, due);
		now = net_mono_ns();
	}
}

static void told_print(const struct lookup_load *l)
{
	size_t i;

	fputs(", \"failures\": [", stdout);
	for (i = 0; i < l->told_n; i++) {
		const struct told *t = &l->told[i];

		printf("%s[%.3f, %u, %u, %d, %.1f]", i ? ", " : "", (double)t->at / 1e9, t->user,
		       t->way, t->status, t->ms);
	}
	fputc(']', stdout);
}

int lookup_run(const struct sl_opts *o)
{
	struct lookup_load l = {.o = o, .random = 0x9e3779b97f4a7c15ULL};
	struct probes *ps = NULL;
	int64_t start, took;
	const char *s;
	int err, rc = 2;

	for (s = o->seed; *s != '\0'; s++)
		l.random = (l.random ^ (unsigned char)*s) * 0x100000001b3ULL;
	l.told = calloc(TOLD_MAX, sizeof(l.told[0]));
	err = l.told == NULL ? ENOMEM : stats_init(&l.arrival, o->count);
	if (err == 0)
		err = stats_init(&l.refusal, o->count);
	if (err == 0)
		err = probes_new(&ps, o, lookup_ended, NULL, o->timeout_ms, &l);
	if (err) {
		fprintf(stderr, "sipload: lookup: %s\n", strerror(err));
		goto out;
	}
	start = net_mono_ns();
	lookup_loop(&l, ps);
	took = net_mono_ns() - start;
	printf("{\"mode\": \"lookup\", \"count\": %u, \"sent\": %u, \"ended\": %u, \"arrived\": "
	       "%lu, "
	       "\"refused\": %lu, \"seconds\": %.3f, ",
	       o->count, l.sent, l.ended, l.arrived, l.refused, (double)took / 1e9);
	codes_print(stdout, "responses", &l.codes);
	fputs(", ", stdout);
	stats_print(stdout, "arrival_ms", &l.arrival, o->samples);
	fputs(", ", stdout);
	stats_print(stdout, "refusal_ms", &l.refusal, o->samples);
	told_print(&l);
	fputs("}\n", stdout);
	rc = l.arrived == o->count ? 0 : 1;
out:
	probes_destroy(ps);
	stats_destroy(&l.arrival);
	stats_destroy(&l.refusal);
	free(l.told);
	return rc;
}
