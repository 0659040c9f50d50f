/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What members tell each other: news, answers to questions, and what a digest has shown. */
#include <string.h>

#include "lib/model/gossip_impl.h"

/* Records younger than this are on their way to everybody anyhow. */
#define DIGEST_AGE_MS 15000
#define PER_BUCKET 8
/* How much of the news is looked at for one message. */
#define NEWS_LOOK 64
/* One that was spoken with this lately needs no probe. */
#define CONTACT_FRESH_MS 1000
#define CONTACT_OLD_MS 60000

/* --- writing -----------------------------------------------------------------------------------
 */

static bool record_put(struct p2p_opp_members *out, const struct member *m)
{
	if (out->n_records == P2P_OPP_MEMBERS_RECORDS || m->len == 0)
		return false;
	out->record[out->n_records].len = m->len;
	memcpy(out->record[out->n_records].b, m->bytes, m->len);
	out->n_records++;
	return true;
}

static bool doubt_put(struct p2p_opp_members *out, const struct member *m, uint64_t now)
{
	uint64_t age = now - m->since_ms;

	if (out->n_doubts == P2P_OPP_MEMBERS_DOUBTS)
		return false;
	out->doubt[out->n_doubts++] = (struct p2p_opp_doubt){
		.hit = m->hit,
		.order = m->order,
		.dead = m->state == P2P_GOSSIP_DEAD,
		.age_ms = age < UINT32_MAX ? (uint32_t)age : UINT32_MAX,
	};
	return true;
}

static void news_put(struct p2p_gossip *g, const struct p2p_hit *to, bool own,
		     struct p2p_opp_members *out, uint64_t now)
{
	struct member *m = TAILQ_FIRST(&g->news), *next;
	const struct member *last = TAILQ_LAST(&g->news, members);
	unsigned int looked = 0;
	bool end = m == NULL;

	for (; !end && looked < NEWS_LOOK; m = next, looked++) {
		bool put;

		next = TAILQ_NEXT(m, news);
		end = m == last;
		if (p2p_hit_cmp(&m->hit, to) == 0 || (m == g->self && own))
			continue;
		if (m->state == P2P_GOSSIP_SUSPECT || m->state == P2P_GOSSIP_DEAD)
			put = doubt_put(out, m, now);
		else
			put = record_put(out, m);
		if (put)
			gossip_news_told(g, m);
	}
}

/* Our own record, if the other one does not have it, and what is said of the other one itself. */
static bool first_put(struct p2p_gossip *g, const struct member *m, struct p2p_opp_members *out,
		      uint64_t now)
{
	bool own = (m == NULL || m->told != g->self->order) && record_put(out, g->self);

	if (m != NULL && m->order != 0 &&
	    (m->state == P2P_GOSSIP_SUSPECT || m->state == P2P_GOSSIP_DEAD))
		doubt_put(out, m, now);
	/* it came back, and its clock is behind: it has to know what it said last */
	if (m != NULL && m->state == P2P_GOSSIP_LEFT)
		record_put(out, m);
	return own;
}

/* --- digests -----------------------------------------------------------------------------------
 */

static bool counts(const struct member *m)
{
	return m->state == P2P_GOSSIP_ALIVE || m->state == P2P_GOSSIP_SUSPECT;
}

static unsigned int bucket_of(const struct p2p_hit *hit, unsigned int buckets)
{
	return hit->b[P2P_HIT_LEN - 1] & (buckets - 1);
}

static uint64_t mix(uint64_t h)
{
	h ^= h >> 30;
	h *= 0xbf58476d1ce4e5b9ull;
	h ^= h >> 27;
	h *= 0x94d049bb133111ebull;
	return h ^ h >> 31;
}

static uint64_t sum_of(const struct p2p_hit *hit, uint64_t order)
{
	uint64_t h = 0;
	size_t i;

	for (i = P2P_HIT_LEN - 8; i < P2P_HIT_LEN; i++)
		h = h << 8 | hit->b[i];
	return mix(mix(h) + order);
}

static void digest_make(const struct p2p_gossip *g, uint64_t as_of, unsigned int buckets,
			uint64_t sums[P2P_OPP_MEMBERS_BUCKETS])
{
	size_t i;

	memset(sums, 0, P2P_OPP_MEMBERS_BUCKETS * sizeof(sums[0]));
	for (i = 0; i < g->index.n; i++) {
		const struct member *m = g->index.v[i].member;
		uint64_t order = m->order <= as_of || m->older == 0 ? m->order : m->older;

		if (counts(m) && order != 0)
			sums[bucket_of(&m->hit, buckets)] += sum_of(&m->hit, order);
	}
}

static void digest_put(struct p2p_gossip *g, struct p2p_opp_members *out, uint64_t wall)
{
	size_t n = g->stats.alive + g->stats.suspect;
	unsigned int buckets = 1;

	while (buckets < P2P_OPP_MEMBERS_BUCKETS && buckets * PER_BUCKET < n)
		buckets *= 2;
	out->n_digest = (uint8_t)buckets;
	out->as_of = wall > DIGEST_AGE_MS ? wall - DIGEST_AGE_MS : 0;
	digest_make(g, out->as_of, buckets, out->digest);
	g->stats.digests++;
}

/* One bucket that differs and is larger than all the room: some of it, other ones each time. */
static void haves_put_some(struct p2p_gossip *g, unsigned int bucket, struct p2p_opp_members *out)
{
	size_t i, start = g->config.random(g->config.arg) % g->index.n;

	for (i = 0; i < g->index.n && out->n_haves < P2P_OPP_MEMBERS_HAVES; i++) {
		const struct member *m = g->index.v[(start + i) % g->index.n].member;

		if (m->seen && m->order != 0 && bucket_of(&m->hit, out->n_buckets) == bucket)
			out->have[out->n_haves++] = (struct p2p_opp_have){
				m->hit, m->order, m->state == P2P_GOSSIP_DEAD};
	}
}

/* Whole buckets that differ, as far as there is room; not always the same ones. */
static void haves_put(struct p2p_gossip *g, const struct p2p_opp_members *in,
		      struct p2p_opp_members *out)
{
	uint64_t sums[P2P_OPP_MEMBERS_BUCKETS];
	unsigned int size[P2P_OPP_MEMBERS_BUCKETS] = {0}, total = 0, b, n;
	unsigned int large = P2P_OPP_MEMBERS_BUCKETS;
	size_t i;

	digest_make(g, in->as_of, in->n_digest, sums);
	for (i = 0; i < g->index.n; i++) {
		const struct member *m = g->index.v[i].member;

		if (m->seen && m->order != 0)
			size[bucket_of(&m->hit, in->n_digest)]++;
	}
	out->n_buckets = in->n_digest;
	b = g->config.random(g->config.arg);
	for (n = 0; n < in->n_digest; n++) {
		b = (b + 1) % in->n_digest;
		if (sums[b] == in->digest[b])
			continue;
		large = size[b] > P2P_OPP_MEMBERS_HAVES ? b : large;
		if (total + size[b] > P2P_OPP_MEMBERS_HAVES)
			continue;
		total += size[b];
		out->buckets |= 1ull << b;
	}
	if (out->buckets == 0 && large < P2P_OPP_MEMBERS_BUCKETS) {
		haves_put_some(g, large, out);
		return;
	}
	for (i = 0; i < g->index.n; i++) {
		const struct member *m = g->index.v[i].member;

		if (m->seen && m->order != 0 &&
		    (out->buckets >> bucket_of(&m->hit, in->n_digest) & 1) != 0)
			out->have[out->n_haves++] = (struct p2p_opp_have){
				m->hit, m->order, m->state == P2P_GOSSIP_DEAD};
	}
}

static struct gossip_sync *sync_of(struct p2p_gossip *g, const struct p2p_hit *peer)
{
	unsigned int i;

	for (i = 0; i < SYNCS_MAX; i++) {
		if (g->sync[i].used && p2p_hit_cmp(&g->sync[i].peer, peer) == 0)
			return &g->sync[i];
	}
	return NULL;
}

void gossip_sync_end(struct p2p_gossip *g, const struct p2p_hit *peer)
{
	struct gossip_sync *s = sync_of(g, peer);

	if (s != NULL)
		s->used = false;
}

static bool listed(const struct p2p_opp_members *in, const struct p2p_hit *hit)
{
	unsigned int i;

	for (i = 0; i < in->n_haves; i++) {
		if (p2p_hit_cmp(&in->have[i].hit, hit) == 0)
			return true;
	}
	return false;
}

static void push_add(struct gossip_sync *s, const struct p2p_hit *hit)
{
	if (s->n_push < P2P_OPP_MEMBERS_HAVES)
		s->push[s->n_push++] = *hit;
}

/* One that the other member has. */
static void have_hear(struct p2p_gossip *g, struct gossip_sync *s, const struct p2p_hit *peer,
		      const struct p2p_opp_have *h, uint64_t now)
{
	struct member *m = gossip_find(g, &h->hit);

	if (m == g->self) {
		if (h->order < m->order || h->dead)
			push_add(s, &h->hit);
		if (h->dead && h->order == m->order)
			g->refute = m->order;
		if (h->order > m->order) /* of a former life, whose clock was ahead */
			s->want[s->n_want++] = h->hit;
		return;
	}
	if (m == NULL || m->order < h->order) {
		if (!h->dead)
			s->want[s->n_want++] = h->hit;
		return;
	}
	if (m->order > h->order) {
		if (counts(m) || m->state == P2P_GOSSIP_LEFT)
			push_add(s, &h->hit);
	} else if (h->dead && m->state == P2P_GOSSIP_ALIVE) {
		struct p2p_opp_doubt d = {.hit = h->hit, .order = h->order, .dead = true};

		gossip_doubt(g, peer, &d, now);
	} else if (!h->dead && m->state == P2P_GOSSIP_DEAD) {
		p2p_gossip_try(g, &h->hit); /* it may well live: the network was split */
	}
}

static void haves_hear(struct p2p_gossip *g, const struct p2p_hit *peer,
		       const struct p2p_opp_members *in, uint64_t now)
{
	struct gossip_sync *s = sync_of(g, peer);
	unsigned int i;
	size_t j;

	for (i = 0; s == NULL && i < SYNCS_MAX; i++) {
		if (!g->sync[i].used)
			s = &g->sync[i];
	}
	if (s == NULL || (in->buckets == 0 && in->n_haves == 0))
		return;
	memset(s, 0, sizeof(*s));
	s->peer = *peer;
	for (i = 0; i < in->n_haves; i++)
		have_hear(g, s, peer, &in->have[i], now);
	for (j = 0; j < g->index.n; j++) {
		const struct member *m = g->index.v[j].member;

		if (counts(m) && m->len > 0 &&
		    (in->buckets >> bucket_of(&m->hit, in->n_buckets) & 1) != 0 &&
		    !listed(in, &m->hit))
			push_add(s, &m->hit);
	}
	s->used = s->n_want > 0 || s->n_push > 0;
	if (s->used)
		p2p_gossip_try(g, peer);
}

static void sync_put(struct p2p_gossip *g, struct gossip_sync *s, struct p2p_opp_members *out)
{
	s->pushed = 0;
	while (s->pushed < s->n_push) {
		const struct member *m = gossip_find(g, &s->push[s->pushed]);

		if (m != NULL && m->len > 0 && !record_put(out, m))
			break;
		s->pushed++;
	}
	s->asked = s->n_want < P2P_OPP_MEMBERS_WANTS ? s->n_want : P2P_OPP_MEMBERS_WANTS;
	memcpy(out->want, s->want, s->asked * sizeof(s->want[0]));
	out->n_wants = (uint8_t)s->asked;
}

/* What has come, and gone, goes from the lists. */
static void sync_goes_on(struct p2p_gossip *g, struct gossip_sync *s, struct member *peer)
{
	unsigned int i, n = 0, before = s->n_want;

	s->n_push -= s->pushed;
	memmove(s->push, s->push + s->pushed, s->n_push * sizeof(s->push[0]));
	for (i = 0; i < s->n_want; i++) {
		const struct member *m = gossip_find(g, &s->want[i]);

		/* a record of before it was sent on its way may be there */
		if (m == NULL || (m->order != 0 && !m->seen && m->state != P2P_GOSSIP_LEFT))
			s->want[n++] = s->want[i];
	}
	s->n_want = n;
	s->fetched = s->fetched || n < before;
	if (s->n_push > 0 || (n > 0 && n < before)) {
		p2p_gossip_try(g, &s->peer);
		return;
	}
	s->used = false;
	/* there may be more than one answer had room for */
	if (s->fetched && peer != NULL) {
		peer->sync = true;
		p2p_gossip_try(g, &s->peer);
	}
}

/* --- exchanges ---------------------------------------------------------------------------------
 */

void p2p_gossip_ask(struct p2p_gossip *g, const struct p2p_hit *hit, struct p2p_opp_members *out,
		    uint64_t now_ms, uint64_t wall_ms)
{
	struct member *m = gossip_find(g, hit);
	struct gossip_sync *s = sync_of(g, hit);
	unsigned int i, h;
	bool own;

	memset(out, 0, sizeof(*out));
	own = first_put(g, m, out, now_ms);
	if (m != NULL && own)
		m->telling = g->self->order;
	for (i = 0; i < g->n_doubted && out->n_probes < P2P_OPP_MEMBERS_PROBES; i++) {
		for (h = 0; h < HELPERS; h++) {
			if (g->doubted[i].asked[h] != UINT8_MAX &&
			    p2p_hit_cmp(&g->doubted[i].helper[h], hit) == 0) {
				out->probe[out->n_probes++] = g->doubted[i].m->hit;
				break;
			}
		}
	}
	if (s != NULL) {
		sync_put(g, s, out);
	} else if (m == NULL || m->sync) {
		digest_put(g, out, wall_ms);
		if (m != NULL)
			m->sync = false;
	}
	news_put(g, hit, own, out, now_ms);
}

void p2p_gossip_answered(struct p2p_gossip *g, const struct p2p_hit *hit,
			 const struct p2p_opp_members *in, uint64_t now_ms)
{
	struct member *m = gossip_find(g, hit);
	struct gossip_sync *s = sync_of(g, hit);
	unsigned int i;

	g->stats.answered++;
	g->sick -= g->sick / 8;
	if (g->under_way > 0)
		g->under_way--;
	if (m != NULL) {
		if (m->busy > 0)
			m->busy--;
		if (m->telling != 0)
			m->told = m->telling;
		m->telling = 0;
		gossip_contact(g, m, now_ms);
	}
	for (i = 0; i < in->n_doubts; i++)
		gossip_doubt(g, hit, &in->doubt[i], now_ms);
	for (i = 0; i < in->n_seen; i++) {
		struct member *p = gossip_find(g, &in->seen[i].hit);

		if (p != NULL && p->doubt_ms != 0 && in->seen[i].age_ms <= now_ms - p->doubt_ms)
			gossip_doubt_end(g, p);
	}
	if (s != NULL)
		sync_goes_on(g, s, m);
	else if (in->n_buckets > 0)
		haves_hear(g, hit, in, now_ms);
}

void p2p_gossip_asked(struct p2p_gossip *g, const struct p2p_hit *from,
		      const struct p2p_opp_members *in, uint64_t now_ms)
{
	struct member *m = gossip_find(g, from);
	unsigned int i;

	if (m != NULL)
		gossip_contact(g, m, now_ms);
	for (i = 0; i < in->n_doubts; i++)
		gossip_doubt(g, from, &in->doubt[i], now_ms);
	for (i = 0; i < in->n_probes; i++) {
		m = gossip_find(g, &in->probe[i]);
		if (m != NULL && m != g->self && counts(m) &&
		    (m->contact_ms == 0 || now_ms - m->contact_ms > CONTACT_FRESH_MS))
			p2p_gossip_try(g, &m->hit);
	}
}

void p2p_gossip_answer(struct p2p_gossip *g, const struct p2p_hit *from,
		       const struct p2p_opp_members *in, struct p2p_opp_members *out,
		       uint64_t now_ms)
{
	struct member *m = gossip_find(g, from);
	unsigned int i;
	bool own;

	memset(out, 0, sizeof(*out));
	own = first_put(g, m, out, now_ms);
	if (m != NULL && own)
		m->told = g->self->order;
	for (i = 0; i < in->n_doubts; i++) {
		const struct member *d = gossip_find(g, &in->doubt[i].hit);

		/* it was refuted since */
		if (d != NULL && d != g->self && counts(d) && d->order > in->doubt[i].order)
			record_put(out, d);
	}
	for (i = 0; i < in->n_probes; i++) {
		const struct member *p = gossip_find(g, &in->probe[i]);

		if (p != NULL && p->contact_ms != 0 && now_ms - p->contact_ms < CONTACT_OLD_MS)
			out->seen[out->n_seen++] =
				(struct p2p_opp_seen){p->hit, (uint32_t)(now_ms - p->contact_ms)};
	}
	for (i = 0; i < in->n_wants; i++) {
		const struct member *w = gossip_find(g, &in->want[i]);

		if (w != NULL && (counts(w) || w->state == P2P_GOSSIP_LEFT))
			record_put(out, w);
	}
	if (in->n_digest > 0)
		haves_put(g, in, out);
	news_put(g, from, own, out, now_ms);
}
