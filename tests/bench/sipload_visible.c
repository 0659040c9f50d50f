/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long after the 200 OK to its REGISTER a user can be reached by way of other proxies, or, with
 * --expires 0, can still be.
 *
 * WAITING -> REGISTERING -> PROBING -> DONE
 *       REGISTER        200     arrived; --expires 0: --timeout is over; or given up
 *
 * Of --probe-every N only each N-th user is probed, by way of one proxy after the other: a probe
 * costs the peers more than a REGISTER does. The others are done with their 200.
 *
 * A user is probed --delay after its 200 and every --gap from then on. visible: the first probe
 * that arrived; gone: the last one that did, 0 when none. Either is when that probe was sent;
 * arrival: when the first one arrived. */
#include "sipload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BURST_MAX 32
#define PROBE_MS 8000 /* limit of one probe */

enum visible_state { WAITING, REGISTERING, PROBING, DONE };

struct visible_user {
	enum visible_state state;
	int probe_open;
	unsigned int probes;
	int64_t again_at, rto, give_up; /* of the REGISTER */
	int64_t ok_wall;
	int64_t probe_at, end; /* the next probe, and when there is no more */
	double last_ms;	       /* of the latest probe that arrived */
};

struct visible_load {
	const struct sl_opts *o;
	struct probes *ps;
	struct visible_user *users;
	unsigned int sent, open, low;
	unsigned long registered, probed, never, retransmitted, probes;
	struct sl_codes codes, first, all; /* of REGISTER, of first probes, of all probes */
	struct sl_stats when, arrival;	   /* arrival: of the first probe that did, after the 200 */
};

static void user_register(struct visible_load *l, unsigned int i)
{
	const struct sl_opts *o = l->o;
	struct sip_out m;

	m.len = 0;
	m.full = 0;
	register_put(&m, o, o->first + i, o->cseq);
	net_send(probes_fd(l->ps), &o->target, m.s, m.len, NULL);
}

static void user_end(struct visible_load *l, struct visible_user *u)
{
	u->state = DONE;
	l->open--;
	while (l->low < l->sent && l->users[l->low].state == DONE)
		l->low++;
}

static void registered(const struct sip_view *v, int64_t rx_wall, void *arg)
{
	struct visible_load *l = arg;
	const struct sl_opts *o = l->o;
	const struct sip_span *cid = sip_header(v, "Call-ID", 0);
	struct visible_user *u;
	int64_t now = net_mono_ns();
	unsigned int i;
	char seed[64];

	if (!sip_method_is(v, "REGISTER") || v->cseq != o->cseq || cid == NULL ||
	    sscanf(cid->s, "reg-%u-%63[^\r\n]", &i, seed) != 2 || strcmp(seed, o->seed) != 0 ||
	    i < o->first)
		return;
	i -= o->first;
	if (i >= l->sent || l->users[i].state != REGISTERING)
		return;
	u = &l->users[i];
	codes_add(&l->codes, v->status);
	if (v->status >= 300) {
		user_end(l, u);
		return;
	}
	l->registered++;
	if (i % o->probe_every != 0) {
		user_end(l, u);
		return;
	}
	l->probed++;
	u->state = PROBING;
	u->ok_wall = rx_wall;
	u->probe_at = now + o->delay_ms * SL_MS;
	u->end = now + o->timeout_ms * SL_MS;
	u->last_ms = o->expires == 0 ? 0 : -1;
}

static void probed(const struct probe_result *r, void *arg)
{
	struct visible_load *l = arg;
	const struct sl_opts *o = l->o;
	struct visible_user *u = &l->users[r->user - o->first];
	double ms = (double)(r->sent - u->ok_wall) / SL_MS;

	u->probe_open = 0;
	codes_add(&l->all, r->status);
	if (u->probes == 1)
		codes_add(&l->first, r->status);
	if (u->state != PROBING)
		return;
	if (r->arrived != 0)
		u->last_ms = ms;
	if (r->arrived != 0 && o->expires != 0) {
		stats_add(&l->when, ms);
		stats_add(&l->arrival, (double)(r->arrived - u->ok_wall) / SL_MS);
		user_end(l, u);
		return;
	}
	u->probe_at = net_mono_ns() + o->gap_ms * SL_MS;
}

/* One proxy after the other, from one probed user to the next and from one probe to the next. */
static int user_probe(struct visible_load *l, unsigned int i)
{
	const struct sl_opts *o = l->o;
	struct visible_user *u = &l->users[i];

	return probe_send(l->ps, o->first + i, (i / o->probe_every + u->probes) % o->vias);
}

static void user_tick(struct visible_load *l, unsigned int i, int64_t now)
{
	const struct sl_opts *o = l->o;
	struct visible_user *u = &l->users[i];

	if (u->state == REGISTERING) {
		if (now >= u->give_up) {
			codes_add(&l->codes, 0);
			user_end(l, u);
		} else if (now >= u->again_at) {
			user_register(l, i);
			l->retransmitted++;
			u->rto = u->rto * 2 > SL_T2 ? SL_T2 : u->rto * 2;
			u->again_at = now + u->rto;
		}
	} else if (u->state == PROBING && !u->probe_open) {
		if (now >= u->end) {
			if (o->expires == 0)
				stats_add(&l->when, u->last_ms);
			else
				l->never++;
			user_end(l, u);
		} else if (now >= u->probe_at && user_probe(l, i) == 0) {
			u->probes++;
			u->probe_open = 1;
			l->probes++;
		}
	}
}

static void visible_loop(struct visible_load *l)
{
	const struct sl_opts *o = l->o;
	int64_t start = net_mono_ns(), now = start, stop = start + o->max_ms * SL_MS;
	int64_t tick_at = start;
	unsigned int i;

	while ((l->sent < o->users || l->open > 0) && now < stop) {
		unsigned int burst = 0;

		while (l->sent < o->users && burst++ < BURST_MAX &&
		       (double)(now - start) * o->rate / 1e9 >= (double)l->sent) {
			struct visible_user *u = &l->users[l->sent];

			u->state = REGISTERING;
			u->rto = SL_T1;
			u->again_at = now + SL_T1;
			u->give_up = now + o->timeout_ms * SL_MS;
			user_register(l, l->sent);
			l->sent++;
			l->open++;
		}
		probes_wait(l->ps, now + SL_MS);
		now = net_mono_ns();
		if (now < tick_at)
			continue;
		tick_at = now + 2 * SL_MS;
		for (i = l->low; i < l->sent; i++)
			user_tick(l, i, now);
	}
}

int visible_run(const struct sl_opts *o)
{
	struct visible_load l = {.o = o};
	int64_t start, took;
	int err, rc = 2;

	l.users = calloc(o->users, sizeof(l.users[0]));
	err = l.users == NULL ? ENOMEM : stats_init(&l.when, o->users);
	if (err == 0)
		err = stats_init(&l.arrival, o->users);
	if (err == 0)
		err = probes_new(&l.ps, o, probed, registered, PROBE_MS, &l);
	if (err) {
		fprintf(stderr, "sipload: visible: %s\n", strerror(err));
		goto out;
	}
	start = net_mono_ns();
	visible_loop(&l);
	took = net_mono_ns() - start;
	printf("{\"mode\": \"visible\", \"users\": %u, \"registered\": %lu, \"probed\": %lu, "
	       "\"never\": %lu, \"open\": %u, \"retransmitted\": %lu, \"probes\": %lu, "
	       "\"seconds\": %.3f, ",
	       o->users, l.registered, l.probed, l.never, l.open, l.retransmitted, l.probes,
	       (double)took / 1e9);
	codes_print(stdout, "responses", &l.codes);
	fputs(", ", stdout);
	codes_print(stdout, "first_probes", &l.first);
	fputs(", ", stdout);
	codes_print(stdout, "all_probes", &l.all);
	fputs(", ", stdout);
	stats_print(stdout, o->expires == 0 ? "gone_ms" : "visible_ms", &l.when, o->samples);
	if (o->expires != 0) {
		fputs(", ", stdout);
		stats_print(stdout, "arrival_ms", &l.arrival, o->samples);
	}
	fputs("}\n", stdout);
	rc = l.registered == o->users && l.never == 0 && l.open == 0 ? 0 : 1;
out:
	probes_destroy(l.ps);
	stats_destroy(&l.when);
	stats_destroy(&l.arrival);
	free(l.users);
	return rc;
}
