/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The homes of users, which tell the holders of their keys, and the holders, which ask each other
 * for what they have missed. As gateway_announce.c, gateway_hold.c and gateway_sync.c do it, for
 * the users of the sample; each key of it is an arc of its own. */
#include "tests/bench/sim/sim.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "lib/model/quorum.h"
#include "lib/proto/opp_records.h"

#define BATCH_MAX 64
#define RETRY (500 * SIM_MS)
#define RANGES_AFTER (250 * SIM_MS)
#define PULL_RETRY (1000 * SIM_MS)
#define SETTLED (10 * SIM_S)
#define LIFE_MS 86400000ull
/* A record in the base64 of JSON, and what is around it; an empty body. */
#define WIRE(len) ((len)*4 / 3 + 4)
#define BODY_BYTES 40
#define RESULT_BYTES 12
#define HELD_PER_KEY 256

struct told {
	struct p2p_key key;
	uint64_t order;
	uint16_t len;
	uint8_t bytes[P2P_RECORD_MAX];
};

struct telling {
	struct sim_ask ask;
	uint16_t slot;
	unsigned int n;
	struct told r[BATCH_MAX];
	bool kept[BATCH_MAX];
};

/* A question to one holder about several keys. */
struct pull {
	struct sim_ask ask;
	unsigned int n;
	unsigned int user[BATCH_MAX];
	bool synced[BATCH_MAX];
	unsigned int n_told;
	struct told *told;
};

static void tell(struct sim *s, unsigned int home, uint16_t slot);
static void pull(struct sim *s, void *arg);

static unsigned int user_of(const struct sim *s, const struct p2p_key *key)
{
	unsigned int i;

	memcpy(&i, key->b + P2P_KEY_LEN - sizeof(i),
	       sizeof(i)); /* as sim_records_new has made it */
	return i < s->p.users ? i : 0;
}

/* --- a home -------------------------------------------------------------------------------------
 */

static struct sim_target *target_of(struct sim *s, struct sim_peer *p, unsigned int peer)
{
	struct sim_target *t;
	size_t i;

	(void)s;
	for (i = 0; i < p->n_target; i++) {
		if (p->target[i].peer == peer)
			return &p->target[i];
	}
	t = realloc(p->target, (p->n_target + 1) * sizeof(*t));
	if (t == NULL)
		return NULL;
	p->target = t;
	t = &p->target[p->n_target];
	*t = (struct sim_target){.peer = peer};
	if (p2p_announce_target_new(p->announce, &t->slot) != 0)
		return NULL;
	p->n_target++;
	return t;
}

static struct sim_target *target_by_slot(struct sim_peer *p, uint16_t slot)
{
	size_t i;

	for (i = 0; i < p->n_target; i++) {
		if (p->target[i].slot == slot)
			return &p->target[i];
	}
	return NULL;
}

/* Is it safe by now? */
static void confirm(struct sim *s, unsigned int home, unsigned int user)
{
	struct sim_user *u = &s->user[user];
	struct sim_peer *p = &s->peer[home];
	unsigned int seen[SIM_HOLDERS_MAX], alive[SIM_HOLDERS_MAX], n, n_alive, i, k, kept,
		live = 0;
	uint16_t slot[P2P_ANNOUNCE_TARGETS_MAX];
	unsigned int n_slot, told = 0;
	struct p2p_announced e;
	bool partial;

	if (u->home != home || u->confirmed != 0 ||
	    p2p_announce_get(p->announce, &u->key, &e) != 0 || e.order != u->order)
		return;
	n_slot = p2p_announce_kept(p->announce, &u->key, u->order, slot);
	n = sim_nearest(s, home, &u->key, s->p.holders, false, seen);
	n_alive = sim_nearest(s, home, &u->key, s->p.holders, true, alive);
	for (i = 0, kept = 0; i < n; i++) {
		live += sim_sees_alive(s, home, seen[i]);
		kept += seen[i] == home;
		for (k = 0; k < n_slot; k++)
			kept += seen[i] != home && target_by_slot(p, slot[k])->peer == seen[i];
	}
	for (i = 0; i < n_alive; i++) {
		told += alive[i] == home;
		for (k = 0; k < n_slot; k++)
			told += alive[i] != home && target_by_slot(p, slot[k])->peer == alive[i];
	}
	if (!p2p_quorum_safe(n, live, kept, told == n_alive, &partial))
		return;
	u->confirmed = s->now;
	if (s->counting)
		sim_sample(&s->confirm, (double)(s->now - u->since) / SIM_MS);
}

static void retarget(struct sim *s, unsigned int home, unsigned int user)
{
	struct sim_peer *p = &s->peer[home];
	unsigned int alive[SIM_HOLDERS_MAX], i, n, k = 0;
	uint16_t slot[SIM_HOLDERS_MAX];

	n = sim_nearest(s, home, &s->user[user].key, s->p.holders, true, alive);
	for (i = 0; i < n; i++) {
		struct sim_target *t = alive[i] == home ? NULL : target_of(s, p, alive[i]);

		if (t != NULL)
			slot[k++] = t->slot;
	}
	if (p2p_announce_targets(p->announce, &s->user[user].key, slot, k) != 0)
		return;
	for (i = 0; i < k; i++)
		tell(s, home, slot[i]);
}

static int sign(void *arg, const void *msg, size_t len, uint8_t sig[P2P_SIG_LEN])
{
	uint64_t h = (uint64_t)(uintptr_t)arg | 1;
	size_t i;

	for (i = 0; i < len; i++)
		h = (h ^ ((const uint8_t *)msg)[i]) * 0x100000001b3ull;
	for (i = 0; i < P2P_SIG_LEN; i++) {
		h = h * 6364136223846793005ull + 1442695040888963407ull;
		sig[i] = (uint8_t)(h >> 56);
	}
	p2p_sig_make_low(sig);
	return 0;
}

void sim_user_publish(struct sim *s, unsigned int user, unsigned int home, bool registered)
{
	static const char uri[] = "sip:198.51.100.10:5060;transport=udp";
	struct p2p_crypto crypto = {.sign = sign};
	struct sim_peer *p = &s->peer[home];
	struct sim_user *u = &s->user[user];
	uint64_t wall = SIM_WALL_MS + s->now / SIM_MS;
	struct p2p_record rec = {.kind = P2P_RECORD_USER,
				 .tombstone = !registered,
				 .key = u->key,
				 .order = wall > u->order ? wall : u->order + 1,
				 .epoch = p->epoch,
				 .n_instances = registered,
				 .instance = {user + 1}};
	uint8_t bytes[P2P_RECORD_MAX];
	size_t len;
	int err;

	if (registered)
		p2p_record_add_uri(&rec, uri, sizeof(uri) - 1);
	else
		rec.instance[0] = 0;
	rec.expiry_ms = rec.order + LIFE_MS;
	memcpy(rec.pubkey, p->pubkey, P2P_PUBKEY_LEN);
	err = p2p_record_sign(&rec, &crypto, bytes, sizeof(bytes), &len);
	if (err == 0)
		err = p2p_announce_set(p->announce, bytes, len);
	if (err != 0) {
		fprintf(stderr, "sim: a record is not published: %s\n", strerror(err));
		exit(2);
	}
	u->order = rec.order;
	/* our own copy, where we are a holder */
	p2p_held_put(p->held, bytes, len, true, &rec.order);
	retarget(s, home, user);
	confirm(s, home, user);
}

static bool told_add(const struct p2p_announced *e, void *arg)
{
	struct telling *t = arg;
	struct told *r = &t->r[t->n];

	if (t->n == BATCH_MAX)
		return false;
	*r = (struct told){.key = e->key, .order = e->order, .len = (uint16_t)e->len};
	memcpy(r->bytes, e->bytes, e->len);
	t->n++;
	return true;
}

static void on_told(struct sim *s, struct sim_ask *a)
{
	struct telling *t = a->arg;
	struct sim_peer *p = &s->peer[a->to];
	uint64_t order;
	unsigned int i;
	int err;

	for (i = 0; i < t->n; i++) {
		err = p2p_held_put(p->held, t->r[i].bytes, t->r[i].len, true, &order);
		t->kept[i] = err == 0 || err == EALREADY || err == ESTALE;
	}
	a->answer = BODY_BYTES + RESULT_BYTES * t->n;
}

static void again(struct sim *s, void *arg)
{
	struct telling *t = arg;

	struct sim_peer *p = &s->peer[t->ask.from];

	if (!s->ended && p->up && p->life == t->ask.life) {
		target_by_slot(p, t->slot)->asking = false;
		tell(s, t->ask.from, t->slot);
	}
	free(t);
}

static void on_tell_done(struct sim *s, struct sim_ask *a)
{
	struct telling *t = a->arg;
	struct sim_peer *p = &s->peer[a->from];
	struct sim_target *target;
	unsigned int i, home = a->from;
	uint16_t slot = t->slot;

	if (a->gone) {
		free(t);
		return;
	}
	target = target_by_slot(p, t->slot);
	target->asking = false;
	for (i = 0; i < t->n; i++) {
		p2p_announce_told(p->announce, t->slot, &t->r[i].key, t->r[i].order,
				  a->ok && t->kept[i]);
		if (a->ok)
			confirm(s, a->from, user_of(s, &t->r[i].key));
	}
	if (!a->ok) {
		target->asking = true; /* until then nothing is told to it */
		sim_at_last(s, s->now + RETRY, again, t);
		return;
	}
	free(t);
	tell(s, home, slot);
}

static void tell(struct sim *s, unsigned int home, uint16_t slot)
{
	struct sim_peer *p = &s->peer[home];
	struct sim_target *target = target_by_slot(p, slot);
	struct telling *t;
	unsigned int i;

	if (target->asking || p2p_announce_waiting(p->announce, slot) == 0)
		return;
	t = sim_alloc(1, sizeof(*t));
	t->slot = slot;
	p2p_announce_next(p->announce, slot, BATCH_MAX, told_add, t);
	if (t->n == 0) {
		free(t);
		return;
	}
	target->asking = true;
	t->ask = (struct sim_ask){.from = home,
				  .to = target->peer,
				  .kind = SIM_ANNOUNCE,
				  .question = BODY_BYTES,
				  .asked = on_told,
				  .done = on_tell_done,
				  .arg = t};
	for (i = 0; i < t->n; i++)
		t->ask.question += WIRE(t->r[i].len);
	s->announced += s->counting ? t->n : 0;
	sim_ask(s, &t->ask);
}

/* --- a holder -----------------------------------------------------------------------------------
 */

static struct sim_arc *arc_of(struct sim_peer *p, unsigned int user)
{
	size_t i;

	for (i = 0; i < p->n_arc; i++) {
		if (p->arc[i].user == user)
			return &p->arc[i];
	}
	return NULL;
}

bool sim_holder_asked(struct sim *s, unsigned int peer, unsigned int user, bool *synced)
{
	struct p2p_held_record r[P2P_HELD_SIGNERS_MAX];
	struct sim_peer *p = &s->peer[peer];
	struct sim_arc *arc = arc_of(p, user);
	unsigned int i, n = p2p_held_get(p->held, &s->user[user].key, r);

	*synced = arc != NULL && arc->synced;
	for (i = 0; i < n; i++) {
		if (!r[i].tombstone)
			return true;
	}
	return false;
}

static void source_add(struct sim_arc *a, unsigned int self, unsigned int peer)
{
	unsigned int i;

	for (i = 0; i < a->n_source && a->source[i] != peer; i++)
		;
	if (peer != self && i == a->n_source)
		a->source[a->n_source++] = peer;
}

/* Which keys it is to hold, by what it sees now; what is new is asked for. */
static void ranges(struct sim *s, void *arg)
{
	struct sim_peer *p = arg;
	unsigned int self = (unsigned int)(p - s->peer), u, i;
	struct sim_arc *had = p->arc;
	size_t n_had = p->n_arc, k = 0;

	p->ranges_due = false;
	if (!p->up)
		return;
	p->arc = sim_alloc(s->p.users, sizeof(p->arc[0]));
	p->n_arc = 0;
	for (u = 0; u < s->p.users; u++) {
		unsigned int seen[SIM_HOLDERS_MAX], alive[SIM_HOLDERS_MAX], n, m;
		struct sim_arc *a = &p->arc[p->n_arc];
		bool mine = false;

		while (k < n_had && had[k].user < u)
			k++;
		n = sim_nearest(s, self, &s->user[u].key, s->p.holders, false, seen);
		m = sim_nearest(s, self, &s->user[u].key, s->p.holders, true, alive);
		*a = (struct sim_arc){.user = u, .since = s->now, .n_seen = n};
		for (i = 0; i < n; i++) {
			mine |= seen[i] == self;
			source_add(a, self, seen[i]);
		}
		a->n_others = a->n_source;
		for (i = 0; i < m; i++) {
			mine |= alive[i] == self;
			source_add(a, self, alive[i]);
		}
		if (!mine)
			continue;
		a->synced = (k < n_had && had[k].user == u && had[k].synced) || a->n_source == 0;
		p->n_arc++;
	}
	free(had);
	p->arc = realloc(p->arc, (p->n_arc ? p->n_arc : 1) * sizeof(p->arc[0]));
	if (!p->pulling) {
		p->pulling = true;
		pull(s, p);
	}
}

static void on_pulled(struct sim *s, struct sim_ask *a)
{
	struct p2p_held_record r[P2P_HELD_SIGNERS_MAX];
	struct pull *q = a->arg;
	unsigned int i, k, n;

	a->answer = BODY_BYTES;
	q->told = sim_alloc(q->n * 4, sizeof(q->told[0]));
	for (i = 0; i < q->n; i++) {
		n = p2p_held_get(s->peer[a->to].held, &s->user[q->user[i]].key, r);
		sim_holder_asked(s, a->to, q->user[i], &q->synced[i]);
		for (k = 0; k < n && q->n_told < q->n * 4; k++) {
			struct told *t = &q->told[q->n_told++];

			t->len = (uint16_t)r[k].len;
			memcpy(t->bytes, r[k].bytes, r[k].len);
			a->answer += WIRE(t->len);
		}
	}
	s->synced_keys += s->counting ? q->n : 0;
}

static void on_pull_done(struct sim *s, struct sim_ask *a)
{
	struct pull *q = a->arg;
	struct sim_peer *p = &s->peer[a->from];
	unsigned int i, k;
	uint64_t order;

	for (i = 0; a->ok && !a->gone && i < q->n_told; i++)
		p2p_held_put(p->held, q->told[i].bytes, q->told[i].len, true, &order);
	for (i = 0; a->ok && !a->gone && i < q->n; i++) {
		struct sim_arc *arc = arc_of(p, q->user[i]);

		if (arc == NULL || arc->synced)
			continue;
		for (k = 0; k < arc->n_source && arc->source[k] != a->to; k++)
			;
		if (k == arc->n_source)
			continue;
		if ((arc->told_by >> k & 1) == 0)
			arc->told += k < arc->n_others;
		arc->told_by |= 1u << k;
		if (q->synced[i] && (arc->full_by >> k & 1) == 0)
			arc->full += k < arc->n_others;
		arc->full_by |= q->synced[i] ? 1u << k : 0;
		arc->synced = p2p_quorum_synced(arc->n_seen, arc->full, arc->told,
						s->now - arc->since > SETTLED);
	}
	free(q->told);
	free(q);
}

/* Asks for what is missing, a question to each source; and again, while something is. */
static void pull(struct sim *s, void *arg)
{
	struct sim_peer *p = arg;
	unsigned int self = (unsigned int)(p - s->peer), i, k;
	struct pull **by = NULL;
	size_t n_by = 0, b;
	bool open = false;

	if (!p->up) {
		p->pulling = false;
		return;
	}
	for (i = 0; i < p->n_arc; i++) {
		struct sim_arc *a = &p->arc[i];

		if (a->synced)
			continue;
		open = true;
		for (k = 0; k < a->n_source; k++) {
			if ((a->full_by >> k & 1) != 0)
				continue;
			for (b = 0;
			     b < n_by && (by[b]->ask.to != a->source[k] || by[b]->n == BATCH_MAX);
			     b++)
				;
			if (b == n_by) {
				by = realloc(by, ++n_by * sizeof(by[0]));
				by[b] = sim_alloc(1, sizeof(*by[b]));
				by[b]->ask = (struct sim_ask){.from = self,
							      .to = a->source[k],
							      .kind = SIM_SYNC,
							      .question = 2 * BODY_BYTES,
							      .asked = on_pulled,
							      .done = on_pull_done,
							      .arg = by[b]};
			}
			by[b]->user[by[b]->n++] = a->user;
		}
	}
	for (b = 0; b < n_by; b++)
		sim_ask(s, &by[b]->ask);
	free(by);
	p->pulling = open;
	if (open)
		sim_at(s, s->now + PULL_RETRY, pull, p);
}

/* --- changes ------------------------------------------------------------------------------------
 */

static void ranges_soon(struct sim *s, struct sim_peer *p, uint64_t after)
{
	if (!p->ranges_due) {
		p->ranges_due = true;
		sim_at(s, s->now + after, ranges, p);
	}
}

/* Does it matter to a key of the viewer's, or to the viewer as a holder? Only near on the ring. */
static bool near(const struct sim *s, unsigned int a, unsigned int b)
{
	size_t n = s->ring.n, x = p2p_ring_at(&s->ring, &s->peer[a].pos),
	       y = p2p_ring_at(&s->ring, &s->peer[b].pos), d = x > y ? x - y : y - x;

	return (d < n - d ? d : n - d) <= 3ul * s->p.holders;
}

void sim_records_changed(struct sim *s, unsigned int viewer, unsigned int changed, bool forgot)
{
	struct sim_peer *p = &s->peer[viewer];
	unsigned int u, i;
	size_t t;

	if (near(s, viewer, changed))
		ranges_soon(s, p, RANGES_AFTER);
	for (t = 0; forgot && t < p->n_target; t++) {
		if (p->target[t].peer == changed)
			p2p_announce_again(p->announce, p->target[t].slot);
	}
	for (u = 0; u < s->p.users; u++) {
		unsigned int seen[SIM_HOLDERS_MAX], n;

		if (s->user[u].home != viewer)
			continue;
		n = sim_nearest(s, viewer, &s->user[u].key, s->p.holders, false, seen);
		for (i = 0; i < n && seen[i] != changed; i++)
			;
		if (i < n || forgot)
			retarget(s, viewer, u);
		confirm(s, viewer, u);
	}
}

static int tables_new(struct sim *s, struct sim_peer *p)
{
	struct p2p_held_config config = {.max = (size_t)HELD_PER_KEY * s->p.users,
					 .signer_max = s->p.users};
	int err = p2p_held_new(&p->held, &config);

	return err ? err : p2p_announce_new(&p->announce, s->p.users, &config.hash_key);
}

void sim_records_down(struct sim *s, unsigned int peer)
{
	struct sim_peer *p = &s->peer[peer];

	(void)s;
	p2p_held_free(p->held);
	p2p_announce_free(p->announce);
	free(p->target);
	free(p->arc);
	p->held = NULL;
	p->announce = NULL;
	p->target = NULL;
	p->arc = NULL;
	p->n_target = p->n_arc = 0;
}

/* Its users' contacts are kept over restarts: all are told anew. */
void sim_records_up(struct sim *s, unsigned int peer)
{
	unsigned int u;

	if (tables_new(s, &s->peer[peer]) != 0)
		exit(2);
	ranges_soon(s, &s->peer[peer], RANGES_AFTER);
	for (u = 0; u < s->p.users; u++) {
		if (s->user[u].home == peer && s->user[u].registered)
			sim_user_publish(s, u, peer, true);
	}
}

int sim_records_new(struct sim *s)
{
	unsigned int i, k;
	int err = 0;

	for (i = 0; i < s->p.users; i++) {
		for (k = 0; k < P2P_KEY_LEN - sizeof(i); k++)
			s->user[i].key.b[k] = (uint8_t)(sim_random(s) >> 24);
		memcpy(s->user[i].key.b + k, &i, sizeof(i));
		s->user[i].home = sim_random(s) % s->p.peers;
	}
	for (i = 0; i < s->p.peers && err == 0; i++) {
		struct sim_peer *p = &s->peer[i];

		err = tables_new(s, p);
		ranges(s, p);
		for (k = 0; k < p->n_arc; k++)
			p->arc[k].synced = true;
	}
	return err;
}

void sim_records_free(struct sim *s)
{
	unsigned int i;

	for (i = 0; i < s->p.peers; i++)
		sim_records_down(s, i);
}
