/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/gossip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/model/gossip_impl.h"

/* No tick for this long beyond what is usual: we were stopped. What others would have refuted
 * meanwhile was not heard. */
#define STOPPED_MS 1500
#define DIGEST_ROUNDS 20
/* With so much to tell (many join at once), digests bring it about sooner. */
#define MUCH_NEWS 64
#define DIGEST_ROUNDS_SOON 2
#define SOON_MS 30000
#define DEAD_ROUNDS 2
/* So many members hear of a suspicion and try the suspect themselves. */
#define WATCHERS 8
/* Between two attempts at a suspect, and a look at what is in doubt. */
#define RETRY_MS 500
/* How many attempts at a suspect are under way at once. */
#define ATTEMPTS 3
/* Of 256 exchanges with members that are alive, so many fail of late. */
#define SICK 64
#define STEP_MS 50

/* --- the table ---------------------------------------------------------------------------------
 */

static struct p2p_key index_of(const struct p2p_hit *hit)
{
	struct p2p_key key = {{0}};

	memcpy(key.b, hit->b, sizeof(hit->b));
	return key;
}

struct member *gossip_find(const struct p2p_gossip *g, const struct p2p_hit *hit)
{
	struct p2p_key key = index_of(hit);
	size_t i = p2p_ring_at(&g->index, &key);

	return i < g->index.n && memcmp(&g->index.v[i].pos, &key, sizeof(key)) == 0
		       ? g->index.v[i].member
		       : NULL;
}

void gossip_tell(struct p2p_gossip *g, const struct member *m, enum p2p_gossip_event event)
{
	if (m != g->self)
		g->config.changed(&m->hit, event, g->config.arg);
}

static unsigned int log2_of(size_t n)
{
	unsigned int bits = 0;

	while (n >>= 1)
		bits++;
	return bits;
}

uint32_t p2p_gossip_patience(size_t members)
{
	unsigned int bits = log2_of(members);

	return 2000 + (bits > 3 ? 400 * (bits - 3) : 0);
}

static void news_unlink(struct p2p_gossip *g, struct member *m)
{
	if (m->tells == 0)
		return;
	TAILQ_REMOVE(&g->news, m, news);
	m->tells = 0;
	g->n_news--;
}

static void news_append(struct p2p_gossip *g, struct member *m, unsigned int tells)
{
	g->n_news++;
	m->tells = tells;
	TAILQ_INSERT_TAIL(&g->news, m, news);
}

/* Something about it is to be told: before all that was told already. A record that says nothing
 * new but that it goes on is told less: a digest brings it where it was missed. */
static void news_add(struct p2p_gossip *g, struct member *m, bool weighty)
{
	news_unlink(g, m);
	/* ln(n) = 0.69 log2(n) */
	if (g->n_news > MUCH_NEWS)
		m->tells = 2;
	else
		m->tells = (weighty ? 8 : 1) + log2_of(g->index.n) * 7 / 10;
	g->n_news++;
	TAILQ_INSERT_HEAD(&g->news, m, news);
}

void gossip_news_told(struct p2p_gossip *g, struct member *m)
{
	unsigned int left = m->tells - 1;

	g->stats.news_told++;
	news_unlink(g, m);
	if (left > 0)
		news_append(g, m, left);
}

static size_t *count_of(struct p2p_gossip *g, const struct member *m)
{
	switch (m->state) {
	case P2P_GOSSIP_ALIVE:
		return &g->stats.alive;
	case P2P_GOSSIP_SUSPECT:
		return &g->stats.suspect;
	case P2P_GOSSIP_DEAD:
		return m->seen ? &g->stats.dead : &g->unseen;
	case P2P_GOSSIP_LEFT:
		break;
	}
	return &g->unseen;
}

static void state_set(struct p2p_gossip *g, struct member *m, enum p2p_gossip_state state,
		      bool seen, uint64_t now)
{
	if (m->state != 0)
		--*count_of(g, m);
	if (m->state != state)
		m->since_ms = now;
	m->state = state;
	m->seen = seen;
	++*count_of(g, m);
}

void gossip_doubt_end(struct p2p_gossip *g, struct member *m)
{
	unsigned int i;

	m->doubt_ms = 0;
	for (i = 0; i < g->n_doubted; i++) {
		if (g->doubted[i].m == m) {
			g->doubted[i] = g->doubted[--g->n_doubted];
			return;
		}
	}
}

static void member_free(struct p2p_gossip *g, struct member *m)
{
	struct p2p_key key = index_of(&m->hit);

	gossip_doubt_end(g, m);
	news_unlink(g, m);
	if (m->state != 0)
		--*count_of(g, m);
	p2p_ring_del(&g->index, &key);
	free(m->bytes);
	free(m);
}

/* One whose place may be taken: the longest gone. */
static struct member *spare(const struct p2p_gossip *g)
{
	struct member *oldest = NULL;
	size_t i;

	for (i = 0; i < g->index.n; i++) {
		struct member *m = g->index.v[i].member;

		if (!m->seen && m != g->self && (oldest == NULL || m->since_ms < oldest->since_ms))
			oldest = m;
	}
	return oldest;
}

static int member_add(struct p2p_gossip *g, const struct p2p_hit *hit, struct member **out)
{
	struct p2p_key key = index_of(hit);
	struct member *m;
	int err;

	if (g->index.n >= g->config.members_max) {
		m = spare(g);
		if (m == NULL)
			return ENOSPC;
		member_free(g, m);
	}
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return ENOMEM;
	m->hit = *hit;
	err = p2p_ring_add(&g->index, &key, m);
	if (err != 0) {
		free(m);
		return err;
	}
	*out = m;
	return 0;
}

/* --- what becomes known ------------------------------------------------------------------------
 */

static int bytes_keep(struct member *m, const void *bytes, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	if (copy == NULL)
		return ENOMEM;
	memcpy(copy, bytes, len);
	free(m->bytes);
	m->bytes = copy;
	m->len = (uint16_t)len;
	return 0;
}

int p2p_gossip_record(struct p2p_gossip *g, const struct p2p_gossip_record *rec, bool fresh,
		      uint64_t now_ms)
{
	struct member *m = gossip_find(g, &rec->hit);
	bool known = m != NULL, seen = known && m->seen;
	enum p2p_gossip_state before = known ? m->state : 0;
	enum p2p_gossip_event event;
	uint64_t epoch = known ? m->epoch : 0;
	int err = 0;

	if (rec->len > P2P_RECORD_MAX)
		return EINVAL;
	if (known && rec->order <= m->order)
		return EALREADY;
	if (!known && rec->left)
		return EALREADY; /* who is not known needs not leave */
	if (!known)
		err = member_add(g, &rec->hit, &m);
	if (err == 0)
		err = bytes_keep(m, rec->bytes, rec->len);
	if (err != 0) {
		if (!known && err == ENOMEM && m != NULL)
			member_free(g, m);
		return err;
	}
	if (m->order != 0)
		m->older = m->order;
	m->order = rec->order;
	m->epoch = rec->epoch;
	if (m == g->self) {
		news_add(g, m, true);
		return 0;
	}
	if (!fresh && !rec->left) {
		/* an address, and no more */
		if (!known)
			state_set(g, m, P2P_GOSSIP_DEAD, false, now_ms);
		return 0;
	}
	g->stats.news_heard++;
	gossip_doubt_end(g, m);
	if (rec->left) {
		state_set(g, m, P2P_GOSSIP_LEFT, false, now_ms);
		news_add(g, m, true);
		if (seen)
			gossip_tell(g, m, P2P_GOSSIP_E_LEFT);
		return 0;
	}
	state_set(g, m, P2P_GOSSIP_ALIVE, true, now_ms);
	/* soon after the last one: it refutes something, whether that was heard here or not */
	news_add(g, m,
		 !seen || epoch != rec->epoch || before != P2P_GOSSIP_ALIVE ||
			 rec->order - m->older < SOON_MS);
	if (!seen)
		event = P2P_GOSSIP_E_JOINED;
	else if (epoch != rec->epoch)
		event = P2P_GOSSIP_E_EPOCH;
	else
		event = P2P_GOSSIP_E_CHANGED;
	gossip_tell(g, m, event);
	if (seen && before == P2P_GOSSIP_DEAD)
		gossip_tell(g, m, P2P_GOSSIP_E_ALIVE);
	if (before == P2P_GOSSIP_SUSPECT) {
		g->stats.refuted++;
		gossip_tell(g, m, P2P_GOSSIP_E_CLEARED);
	}
	return 0;
}

void p2p_gossip_forget(struct p2p_gossip *g, const struct p2p_hit *hit)
{
	struct member *m = gossip_find(g, hit);
	bool seen = m != NULL && m->seen;

	if (m == NULL || m == g->self)
		return;
	member_free(g, m);
	if (seen)
		g->config.changed(hit, P2P_GOSSIP_E_LEFT, g->config.arg);
}

void p2p_gossip_try(struct p2p_gossip *g, const struct p2p_hit *hit)
{
	unsigned int i;

	for (i = 0; i < g->n_urgent; i++) {
		if (p2p_hit_cmp(&g->urgent[i], hit) == 0)
			return;
	}
	if (g->n_urgent < URGENT_MAX)
		g->urgent[g->n_urgent++] = *hit;
}

static void suspect(struct p2p_gossip *g, struct member *m, uint32_t age, uint64_t now)
{
	uint32_t patience = p2p_gossip_patience(g->stats.alive + g->stats.suspect);

	gossip_doubt_end(g, m);
	/* nobody's word makes it much shorter */
	if (age > patience / 2)
		age = patience / 2;
	state_set(g, m, P2P_GOSSIP_SUSPECT, true, now);
	m->since_ms = now - age < now ? now - age : now;
	m->until_ms = now - age + patience;
	m->retry_ms = g->age_ms = now;
	m->longer = false;
	news_add(g, m, true);
	g->stats.suspicions++;
	gossip_tell(g, m, P2P_GOSSIP_E_SUSPECT);
}

static void dead(struct p2p_gossip *g, struct member *m, uint64_t now)
{
	state_set(g, m, P2P_GOSSIP_DEAD, true, now);
	news_add(g, m, true);
	g->stats.deaths++;
	gossip_tell(g, m, P2P_GOSSIP_E_DEAD);
}

/* Somebody else says that it does not answer. */
void gossip_doubt(struct p2p_gossip *g, const struct p2p_hit *from, const struct p2p_opp_doubt *d,
		  uint64_t now)
{
	struct member *m = gossip_find(g, &d->hit);

	(void)from;
	if (m == NULL || d->order < m->order)
		return; /* refuted already */
	if (m == g->self) {
		if (d->order == m->order)
			g->refute = m->order;
		return;
	}
	switch (m->state) {
	case P2P_GOSSIP_ALIVE:
		g->stats.news_heard++;
		suspect(g, m, d->age_ms, now);
		m->watch = g->config.random(g->config.arg) % (g->stats.alive + g->stats.suspect) <
			   WATCHERS;
		break;
	case P2P_GOSSIP_SUSPECT:
		if (d->dead && m->until_ms > now + RETRY_MS &&
		    now - m->since_ms >= p2p_gossip_patience(g->stats.alive) / 2)
			m->until_ms = now + RETRY_MS;
		break;
	case P2P_GOSSIP_DEAD:
	case P2P_GOSSIP_LEFT:
		break;
	}
}

/* We spoke with it: whatever others say, it lives. It is told what they say, and refutes it. */
void gossip_contact(struct p2p_gossip *g, struct member *m, uint64_t now)
{
	m->contact_ms = now;
	gossip_doubt_end(g, m);
	if (m->state == P2P_GOSSIP_SUSPECT)
		m->until_ms = now + p2p_gossip_patience(g->stats.alive + g->stats.suspect);
}

/* --- time --------------------------------------------------------------------------------------
 */

static struct member *other_alive(const struct p2p_gossip *g)
{
	unsigned int tries;

	for (tries = 0; tries < 16 && g->index.n > 1; tries++) {
		struct member *m = g->index.v[g->config.random(g->config.arg) % g->index.n].member;

		if (m != g->self && m->state == P2P_GOSSIP_ALIVE)
			return m;
	}
	return NULL;
}

/* One of the next few clockwise; each in its turn. */
static struct member *neighbour(struct p2p_gossip *g)
{
	struct p2p_key key = index_of(&g->config.self);
	size_t at = p2p_ring_at(&g->index, &key), i;
	unsigned int n = 0, turn = g->turn++ % NEIGHBOURS;
	struct member *first = NULL;

	for (i = 1; i < g->index.n; i++) {
		struct member *m = g->index.v[(at + i) % g->index.n].member;

		if (m->state != P2P_GOSSIP_ALIVE && m->state != P2P_GOSSIP_SUSPECT)
			continue;
		if (first == NULL)
			first = m;
		if (n++ == turn)
			return m;
	}
	g->turn = 1;
	return first;
}

static struct member *gone(const struct p2p_gossip *g)
{
	size_t i, start = g->config.random(g->config.arg) % g->index.n;

	for (i = 0; i < g->index.n; i++) {
		struct member *m = g->index.v[(start + i) % g->index.n].member;

		/* who is unseen for long is tried less often */
		if (m->state == P2P_GOSSIP_DEAD &&
		    (m->seen || g->config.random(g->config.arg) % 8 == 0))
			return m;
	}
	return NULL;
}

/* A split that heals: many dead are tried often, a few by few. */
static void round_gone(struct p2p_gossip *g)
{
	size_t n = g->stats.dead + g->unseen, alive = g->stats.alive + g->stats.suspect;
	struct member *m;

	if (n == 0 || g->rounds % DEAD_ROUNDS != 0)
		return;
	if (g->config.random(g->config.arg) % alive >= WATCHERS * n)
		return;
	m = gone(g);
	if (m != NULL)
		p2p_gossip_try(g, &m->hit);
}

static void round_new(struct p2p_gossip *g)
{
	struct member *m = g->rounds % 2 == 0 ? other_alive(g) : neighbour(g);

	g->rounds++;
	if (m == NULL)
		m = neighbour(g);
	if (m != NULL) {
		if (g->rounds % (g->n_news > MUCH_NEWS ? DIGEST_ROUNDS_SOON : DIGEST_ROUNDS) == 1)
			m->sync = true;
		p2p_gossip_try(g, &m->hit);
	}
	round_gone(g);
}

static void age_all(struct p2p_gossip *g, uint64_t now)
{
	size_t i;

	for (i = g->index.n; i-- > 0;) {
		struct member *m = g->index.v[i].member;

		if (m == g->self)
			continue;
		if (m->state == P2P_GOSSIP_SUSPECT && now >= m->until_ms) {
			if (g->sick > SICK && !m->longer) {
				/* it is our own network that loses much */
				m->longer = true;
				m->until_ms = now + p2p_gossip_patience(g->stats.alive);
				continue;
			}
			dead(g, m, now);
		} else if (m->state == P2P_GOSSIP_SUSPECT && m->watch && now >= m->retry_ms) {
			m->retry_ms = now + RETRY_MS;
			p2p_gossip_try(g, &m->hit);
		} else if (m->state == P2P_GOSSIP_DEAD && m->seen &&
			   now - m->since_ms > P2P_GOSSIP_SEEN_MS) {
			state_set(g, m, P2P_GOSSIP_DEAD, false, now);
			gossip_tell(g, m, P2P_GOSSIP_E_UNSEEN);
		} else if (!m->seen &&
			   now - m->since_ms > (m->state == P2P_GOSSIP_LEFT ? P2P_GOSSIP_SEEN_MS
									    : P2P_GOSSIP_KEEP_MS)) {
			member_free(g, m);
		}
	}
}

/* What is in doubt here, before anybody is told. */
static void doubts_go_on(struct p2p_gossip *g, uint64_t now)
{
	unsigned int i;

	for (i = g->n_doubted; i-- > 0;) {
		struct gossip_doubted *d = &g->doubted[i];
		struct member *m = d->m;
		uint64_t age = now - m->doubt_ms;
		unsigned int h;

		for (h = 0; h < HELPERS; h++) {
			if (d->asked[h] == 0 || (d->asked[h] == 1 && age >= HELP_MS)) {
				d->asked[h]++;
				p2p_gossip_try(g, &d->helper[h]);
			}
		}
		if (!d->retried && age >= HELP_MS / 2) {
			d->retried = true;
			p2p_gossip_try(g, &m->hit);
		}
		if (age >= DOUBT_MS && (!m->busy || age >= 2 * DOUBT_MS)) {
			m->watch = true;
			suspect(g, m, 0, now);
		}
	}
}

void p2p_gossip_late(struct p2p_gossip *g, uint64_t ms, uint64_t now)
{
	size_t i;

	if (ms == 0 || (g->stats.suspect == 0 && g->n_doubted == 0))
		return;
	for (i = 0; i < g->index.n; i++) {
		struct member *m = g->index.v[i].member;

		if (m->state == P2P_GOSSIP_SUSPECT)
			m->until_ms += ms;
		if (m->doubt_ms != 0)
			m->doubt_ms = m->doubt_ms + ms < now ? m->doubt_ms + ms : now;
	}
}

void p2p_gossip_tick(struct p2p_gossip *g, uint64_t now)
{
	uint64_t gap = now - g->now_ms;

	g->now_ms = now;
	if (gap > g->config.period_ms + STOPPED_MS)
		p2p_gossip_late(g, gap, now);
	doubts_go_on(g, now);
	if (now >= g->age_ms) {
		age_all(g, now);
		g->age_ms = now + (g->stats.suspect > 0 ? 2 * STEP_MS : 1000);
	}
	if (now >= g->round_ms) {
		uint32_t p = g->config.period_ms;

		round_new(g);
		g->round_ms = now + p - p / 8 + g->config.random(g->config.arg) % (p / 4 + 1);
	}
}

uint64_t p2p_gossip_due(const struct p2p_gossip *g)
{
	if (g->n_doubted > 0 || g->stats.suspect > 0 || g->n_urgent > 0)
		return g->now_ms + STEP_MS < g->round_ms ? g->now_ms + STEP_MS : g->round_ms;
	return g->round_ms;
}

/* --- exchanges ---------------------------------------------------------------------------------
 */

bool p2p_gossip_next(struct p2p_gossip *g, struct p2p_hit *hit, uint64_t now)
{
	unsigned int i = 0;

	(void)now;
	while (i < g->n_urgent && g->under_way < EXCHANGES_MAX) {
		struct p2p_hit next = g->urgent[i];
		struct member *m = gossip_find(g, &next);

		if (m != NULL && m->busy >= (m->state == P2P_GOSSIP_SUSPECT ? ATTEMPTS : 1)) {
			i++; /* after that */
			continue;
		}
		g->n_urgent--;
		memmove(&g->urgent[i], &g->urgent[i + 1], (g->n_urgent - i) * sizeof(g->urgent[0]));
		if (m == g->self || (m != NULL && m->state == P2P_GOSSIP_LEFT))
			continue;
		if (m != NULL)
			m->busy++;
		g->under_way++;
		g->stats.exchanges++;
		*hit = next;
		return true;
	}
	return false;
}

static struct member *exchange_end(struct p2p_gossip *g, const struct p2p_hit *hit)
{
	struct member *m = gossip_find(g, hit);

	g->stats.failed++;
	if (g->under_way > 0)
		g->under_way--;
	gossip_sync_end(g, hit);
	if (m != NULL && m->busy > 0)
		m->busy--;
	return m;
}

void p2p_gossip_void(struct p2p_gossip *g, const struct p2p_hit *hit)
{
	exchange_end(g, hit);
}

void p2p_gossip_failed(struct p2p_gossip *g, const struct p2p_hit *hit, uint64_t now)
{
	struct member *m = exchange_end(g, hit);
	struct gossip_doubted *d;
	unsigned int i;

	if (m == NULL)
		return;
	if (m->state != P2P_GOSSIP_ALIVE || m->doubt_ms != 0)
		return;
	g->sick += (256 - g->sick) / 8;
	if (g->n_doubted == DOUBTED_MAX) {
		m->watch = true;
		suspect(g, m, 0, now);
		return;
	}
	m->doubt_ms = now;
	d = &g->doubted[g->n_doubted++];
	memset(d, 0, sizeof(*d));
	d->m = m;
	for (i = 0; i < HELPERS; i++) {
		struct member *other = other_alive(g);

		if (other == NULL || other == m ||
		    (i > 0 && p2p_hit_cmp(&other->hit, &d->helper[0]) == 0)) {
			d->asked[i] = UINT8_MAX; /* nobody */
			continue;
		}
		d->helper[i] = other->hit;
	}
}

uint64_t p2p_gossip_refute(const struct p2p_gossip *g)
{
	return g->refute != 0 && g->self != NULL && g->refute >= g->self->order ? g->refute : 0;
}

/* --- what is known -----------------------------------------------------------------------------
 */

static void info_of(const struct member *m, struct p2p_gossip_info *info)
{
	*info = (struct p2p_gossip_info){
		.hit = m->hit,
		.state = m->state,
		.seen = m->seen,
		.order = m->order,
		.epoch = m->epoch,
		.since_ms = m->since_ms,
		.contact_ms = m->contact_ms,
		.bytes = m->bytes,
		.len = m->len,
	};
}

int p2p_gossip_info(const struct p2p_gossip *g, const struct p2p_hit *hit,
		    struct p2p_gossip_info *info)
{
	const struct member *m = gossip_find(g, hit);

	if (m == NULL)
		return ENOENT;
	info_of(m, info);
	return 0;
}

int p2p_gossip_at(const struct p2p_gossip *g, size_t i, struct p2p_gossip_info *info)
{
	if (i >= g->index.n)
		return ENOENT;
	info_of(g->index.v[i].member, info);
	return 0;
}

void p2p_gossip_stats(const struct p2p_gossip *g, struct p2p_gossip_stats *st)
{
	*st = g->stats;
}

int p2p_gossip_new(struct p2p_gossip **gp, const struct p2p_gossip_config *config, uint64_t now_ms)
{
	struct p2p_gossip *g = calloc(1, sizeof(*g));
	int err;

	if (g == NULL)
		return ENOMEM;
	g->config = *config;
	TAILQ_INIT(&g->news);
	g->now_ms = now_ms;
	g->round_ms = now_ms + config->random(config->arg) % (config->period_ms + 1);
	err = member_add(g, &config->self, &g->self);
	if (err != 0) {
		p2p_gossip_free(g);
		return err;
	}
	state_set(g, g->self, P2P_GOSSIP_ALIVE, true, now_ms);
	*gp = g;
	return 0;
}

void p2p_gossip_free(struct p2p_gossip *g)
{
	size_t i;

	for (i = 0; i < g->index.n; i++) {
		struct member *m = g->index.v[i].member;

		free(m->bytes);
		free(m);
	}
	p2p_ring_free(&g->index);
	free(g);
}
