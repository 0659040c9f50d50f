/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/members/gateway_gossip.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/members/gateway_gossip_impl.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/peers/gateway_serve.h"

/* Members that nearest() may be asked for at once. */
#define NEAR_MAX 64
/* So many are told that we leave, and so long that may take. */
#define LEAVE_TELL 4
#define LEAVE_MS 500

static uint32_t random32(void *arg)
{
	uint32_t r = 0;

	(void)arg;
	gw_crypto_random(&r, sizeof(r));
	return r;
}

static void tell(struct gw_gossip *g, const struct p2p_hit *hit, enum gw_gossip_event event)
{
	g->generation++;
	g->dirty = true;
	if (g->change)
		g->change(hit, event, g->change_arg);
}

/* --- the ring ----------------------------------------------------------------------------------
 */

static void member_drop(void *value, void *arg)
{
	struct gw_gossip *g = arg;
	struct member *m = value;

	p2p_ring_del(&g->ring, &m->pos);
	free(m);
}

static struct member *member_add(struct gw_gossip *g, const struct p2p_hit *hit)
{
	struct member *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->hit = *hit;
	m->self = !p2p_hit_cmp(hit, &g->gw->hit);
	m->alive = true;
	if (gw_record_key_peer(g->gw, hit, &m->pos) || p2p_ring_add(&g->ring, &m->pos, m)) {
		free(m);
		return NULL;
	}
	if (gw_map_put(g->map, hit, sizeof(*hit), m)) {
		p2p_ring_del(&g->ring, &m->pos);
		free(m);
		return NULL;
	}
	return m;
}

static const struct member *member_of(const struct gw_gossip *g, const struct p2p_hit *hit)
{
	return gw_map_peek(g->map, hit, sizeof(*hit));
}

/* Where it is, from its record. */
static void member_read(struct gw_gossip *g, struct member *m)
{
	struct p2p_gossip_info info;
	struct p2p_record rec;
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];
	unsigned int n;

	if (p2p_gossip_info(g->model, &m->hit, &info) ||
	    p2p_record_decode(&rec, info.bytes, info.len))
		return;
	n = p2p_record_gateways(&rec, gateway);
	if (m->n_gateways != n || memcmp(m->gateway, gateway, n * sizeof(gateway[0])))
		g->generation++;
	m->n_gateways = n;
	memcpy(m->gateway, gateway, n * sizeof(gateway[0]));
	m->epoch = rec.epoch;
	gw_peers_learn(g->gw->peers, &m->hit, &rec, info.bytes, info.len);
}

static void on_changed(const struct p2p_hit *hit, enum p2p_gossip_event event, void *arg)
{
	struct gw_gossip *g = arg;
	struct member *m = gw_map_get(g->map, hit, sizeof(*hit));
	char text[P2P_HIT_TEXT_MAX];

	p2p_hit_print(hit, text);
	switch (event) {
	case P2P_GOSSIP_E_JOINED:
		if (!m)
			m = member_add(g, hit);
		if (!m)
			return;
		m->alive = true;
		member_read(g, m);
		p2p_log(g->gw->log, P2P_LOG_INFO, "%s is a member", text);
		tell(g, hit, GW_GOSSIP_JOINED);
		return;
	case P2P_GOSSIP_E_UNSEEN:
	case P2P_GOSSIP_E_LEFT:
		if (!m)
			return;
		p2p_log(g->gw->log, P2P_LOG_INFO, "%s is no member any more: %s", text,
			event == P2P_GOSSIP_E_LEFT ? "it left" : "not seen for ten minutes");
		gw_map_del(g->map, hit, sizeof(*hit));
		tell(g, hit, GW_GOSSIP_LEFT);
		return;
	default:
		break;
	}
	if (!m)
		return;
	switch (event) {
	case P2P_GOSSIP_E_CHANGED:
		member_read(g, m);
		gw_asks_sign(g->gw->asks, hit);
		break;
	case P2P_GOSSIP_E_EPOCH:
		member_read(g, m);
		p2p_log(g->gw->log, P2P_LOG_INFO, "%s began anew, without its state", text);
		tell(g, hit, GW_GOSSIP_NEW_EPOCH);
		break;
	case P2P_GOSSIP_E_SUSPECT:
		p2p_log(g->gw->log, P2P_LOG_DBG, "%s does not answer: suspect", text);
		break;
	case P2P_GOSSIP_E_CLEARED:
		p2p_log(g->gw->log, P2P_LOG_DBG, "%s is not suspect any more", text);
		break;
	case P2P_GOSSIP_E_DEAD:
		m->alive = false;
		p2p_log(g->gw->log, P2P_LOG_INFO, "%s is taken for dead: nobody reaches it", text);
		tell(g, hit, GW_GOSSIP_DEAD);
		break;
	case P2P_GOSSIP_E_ALIVE:
		m->alive = true;
		gw_asks_sign(g->gw->asks, hit);
		p2p_log(g->gw->log, P2P_LOG_INFO, "%s lives again", text);
		tell(g, hit, GW_GOSSIP_ALIVE);
		break;
	default:
		break;
	}
}

static bool is_alive(const void *member, void *arg)
{
	(void)arg;
	return ((const struct member *)member)->alive;
}

unsigned int gw_gossip_nearest(const struct gw_gossip *g, const struct p2p_key *key,
			       unsigned int max, bool alive_only, struct gw_near *out)
{
	void *near[NEAR_MAX];
	unsigned int n;

	n = p2p_ring_nearest(&g->ring, key, max < NEAR_MAX ? max : NEAR_MAX,
			     alive_only ? is_alive : NULL, NULL, near);
	for (unsigned int i = 0; i < n; i++) {
		const struct member *m = near[i];

		out[i] = (struct gw_near){.hit = m->hit,
					  .self = m->self,
					  .alive = m->alive,
					  .epoch = m->self ? g->gw->epoch : m->epoch};
	}
	return n;
}

unsigned int gw_gossip_before(const struct gw_gossip *g, const struct p2p_key *key,
			      unsigned int max, struct gw_near *out, struct p2p_key *pos)
{
	size_t n = g->ring.n, at = p2p_ring_at(&g->ring, key);
	unsigned int i;

	for (i = 0; i < max && i < n; i++) {
		const struct p2p_ring_spot *spot = &g->ring.v[(at + n - 1 - i) % n];
		const struct member *m = spot->member;

		out[i] = (struct gw_near){.hit = m->hit,
					  .self = m->self,
					  .alive = m->alive,
					  .epoch = m->self ? g->gw->epoch : m->epoch};
		pos[i] = spot->pos;
	}
	return i;
}

unsigned int gw_gossip_gateways(const struct gw_gossip *g, const struct p2p_hit *hit,
				struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX])
{
	const struct member *m = member_of(g, hit);

	if (!m)
		return 0;
	memcpy(gateway, m->gateway, m->n_gateways * sizeof(m->gateway[0]));
	return m->n_gateways;
}

bool gw_gossip_alive(const struct gw_gossip *g, const struct p2p_hit *hit)
{
	const struct member *m = member_of(g, hit);

	return m && m->alive;
}

bool gw_gossip_dead(const struct gw_gossip *g, const struct p2p_hit *hit)
{
	const struct member *m = member_of(g, hit);

	return m && !m->alive;
}

void gw_gossip_doubt(struct gw_gossip *g, const struct p2p_hit *hit)
{
	if (!member_of(g, hit))
		return;
	p2p_gossip_try(g->model, hit);
	gossip_talk_kick(g);
}

size_t gw_gossip_members(const struct gw_gossip *g)
{
	return g->ring.n;
}

uint64_t gw_gossip_generation(const struct gw_gossip *g)
{
	return g->generation;
}

void gw_gossip_on_change(struct gw_gossip *g, gw_gossip_change_h *h, void *arg)
{
	g->change = h;
	g->change_arg = arg;
}

const uint8_t *gw_gossip_bytes(const struct gw_gossip *g, const struct p2p_hit *hit, size_t *len)
{
	struct p2p_gossip_info info;

	if (p2p_gossip_info(g->model, hit, &info) || !info.seen || !info.len)
		return NULL;
	*len = info.len;
	return info.bytes;
}

bool gw_gossip_info(const struct gw_gossip *g, const struct p2p_hit *hit,
		    struct gw_gossip_info *out)
{
	static const char *const states[] = {[P2P_GOSSIP_ALIVE] = "alive",
					     [P2P_GOSSIP_SUSPECT] = "suspect",
					     [P2P_GOSSIP_DEAD] = "dead",
					     [P2P_GOSSIP_LEFT] = "left"};
	struct p2p_gossip_info info;
	uint64_t now = gw_mono(g->gw);

	if (p2p_gossip_info(g->model, hit, &info))
		return false;
	out->state = states[info.state];
	out->since_ms = now - info.since_ms;
	out->contact = info.contact_ms != 0;
	out->contact_age_ms = info.contact_ms ? now - info.contact_ms : 0;
	return true;
}

void gw_gossip_metrics(const struct gw_gossip *g, struct gw_metrics *m)
{
	struct p2p_gossip_stats st;

	p2p_gossip_stats(g->model, &st);
	m->members_alive = st.alive;
	m->members_suspect = st.suspect;
	m->members_dead = st.dead;
	m->exchanges_ok = st.answered;
	m->exchanges_failed = st.failed;
	m->news_told = st.news_told;
	m->news_heard = st.news_heard;
	m->member_suspicions = st.suspicions;
	m->member_deaths = st.deaths;
	m->member_refuted = st.refuted;
	m->member_records_bad = g->records_bad;
}

/* --- what is told to it ------------------------------------------------------------------------
 */

void gossip_learn(struct gw_gossip *g, const struct p2p_hit *hit, const struct p2p_record *rec,
		  const void *bytes, size_t len, bool fresh)
{
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];

	/* one that does not speak the protocol is no member */
	if (!rec->tombstone && !p2p_record_gateways(rec, gateway)) {
		p2p_gossip_forget(g->model, hit);
		return;
	}
	if (gw_map_peek(g->mute, hit, sizeof(*hit)))
		return;
	if (!p2p_gossip_record(g->model,
			       &(struct p2p_gossip_record){.hit = *hit,
							   .order = rec->order,
							   .epoch = rec->epoch,
							   .left = rec->tombstone,
							   .bytes = bytes,
							   .len = len},
			       fresh, gw_mono(g->gw)))
		gossip_talk_kick(g);
}

void gw_gossip_record(struct gw_gossip *g, const struct p2p_hit *hit, const struct p2p_record *rec,
		      const void *bytes, size_t len)
{
	uint64_t wall = gw_wall(g->gw);

	if (!p2p_hit_cmp(hit, &g->gw->hit))
		return;
	gossip_learn(g, hit, rec, bytes, len, rec->lease_ms + P2P_GOSSIP_SEEN_MS > wall);
}

bool gossip_read(struct gw_gossip *g, const void *bytes, size_t len, struct p2p_record *rec,
		 struct p2p_hit *hit, enum p2p_record_fault *fault)
{
	struct gw *gw = g->gw;
	struct p2p_record_expect expect = {
		.overlay = &gw->overlay, .kind = P2P_RECORD_PEER, .now_ms = gw_wall(gw)};
	const uint8_t *end = (const uint8_t *)bytes + len;
	struct p2p_key key;
	uint64_t mark;

	*fault = P2P_RECORD_BAD_SIZE;
	if (len < P2P_RECORD_HEADER + P2P_SIG_LEN)
		return false;
	/* known: all of it is behind the signature, and s is as good as random */
	memcpy(&mark, end - sizeof(mark), sizeof(mark));
	*fault = P2P_RECORD_OK;
	if (g->good[mark % GOOD_MAX] == mark)
		return false;
	*fault = p2p_record_check(rec, hit, bytes, len, &expect, gw->crypto);
	if (*fault)
		return false;
	*fault = P2P_RECORD_BAD_KEY;
	for (unsigned int age = 0; *fault && age < gw_record_ages(gw); age++)
		if (!gw_record_key_peer_at(gw, hit, age, &key) &&
		    !memcmp(&key, &rec->key, sizeof(key)))
			*fault = P2P_RECORD_OK;
	if (*fault || gw_member_revoked(gw, hit))
		return false;
	g->good[mark % GOOD_MAX] = mark;
	return true;
}

static uint64_t hash_of(const struct p2p_record *rec)
{
	uint64_t h = rec->epoch * 0x9e3779b97f4a7c15ull + rec->n_locators;
	const uint8_t *p = (const uint8_t *)rec->locator;

	for (size_t i = 0; i < rec->n_locators * sizeof(rec->locator[0]); i++)
		h = (h ^ p[i]) * 0x100000001b3ull;
	/* of another secret: those who have it take no other any more */
	for (size_t i = 0; i < sizeof(rec->key.b); i++)
		h = (h ^ rec->key.b[i]) * 0x100000001b3ull;
	return h;
}

bool gw_gossip_own(struct gw_gossip *g, const struct p2p_record *rec, const void *bytes, size_t len,
		   bool now)
{
	uint64_t hash = hash_of(rec), mono = gw_mono(g->gw), each = 1000 * g->ring.n;

	/* it need not go round each time that the lease is renewed: who is alive is known */
	if (!now && g->own_told_ms && hash == g->own_hash &&
	    mono - g->own_told_ms < (each > 50000 ? each : 50000))
		return false;
	g->own_hash = hash;
	g->own_told_ms = mono ? mono : 1;
	p2p_gossip_record(g->model,
			  &(struct p2p_gossip_record){.hit = g->gw->hit,
						      .order = rec->order,
						      .epoch = rec->epoch,
						      .left = rec->tombstone,
						      .bytes = bytes,
						      .len = len},
			  true, mono);
	gossip_talk_kick(g);
	return true;
}

void gw_gossip_forget(struct gw_gossip *g, const struct p2p_hit *hit)
{
	p2p_gossip_forget(g->model, hit);
}

void gw_gossip_rekey(struct gw_gossip *g)
{
	size_t n = g->ring.n;
	struct p2p_ring ring = g->ring;

	memset(&g->ring, 0, sizeof(g->ring));
	g->generation++;
	for (size_t i = 0; i < n; i++) {
		struct member *m = ring.v[i].member;

		if (gw_record_key_peer(g->gw, &m->hit, &m->pos) ||
		    p2p_ring_add(&g->ring, &m->pos, m))
			gw_map_del(g->map, &m->hit, sizeof(m->hit));
	}
	p2p_ring_free(&ring);
	gossip_seed_rekey(g);
}

void gw_gossip_leave(struct gw_gossip *g, void (*left)(void *arg), void *arg)
{
	unsigned int n = 0;

	if (!g->active || g->ring.n == 1) {
		left(arg);
		return;
	}
	gossip_file_save(g);
	gw_peers_own_leave(g->gw->peers);
	for (size_t i = random32(NULL) % g->ring.n, k = 0; k < g->ring.n && n < LEAVE_TELL; k++) {
		const struct member *m = g->ring.v[(i + k) % g->ring.n].member;

		if (m->self || !m->alive)
			continue;
		p2p_gossip_try(g->model, &m->hit);
		n++;
	}
	g->left = left;
	g->left_arg = arg;
	g->leave_ms = gw_mono(g->gw) + LEAVE_MS;
	gossip_talk_kick(g);
}

static void value_free(void *value, void *arg)
{
	(void)arg;
	free(value);
}

int gw_gossip_new(struct gw_gossip **gp, struct gw *gw)
{
	struct gw_gossip *g = calloc(1, sizeof(*g));
	struct p2p_gossip_config config = {.self = gw->hit,
					   .members_max = (size_t)gw->settings->members_max,
					   .period_ms = GOSSIP_PERIOD_MS,
					   .random = random32,
					   .changed = on_changed,
					   .arg = g};
	int err;

	if (!g)
		return ENOMEM;
	g->gw = gw;
	err = gw_map_new(&g->map, config.members_max, false, member_drop, g);
	if (!err)
		err = gw_map_new(&g->mute, 256, true, value_free, NULL);
	if (!err)
		err = p2p_gossip_new(&g->model, &config, gw_mono(gw));
	if (!err && !member_add(g, &gw->hit))
		err = ENOMEM;
	if (!err)
		err = gossip_talk_new(g);
	if (!err)
		err = gossip_seed_new(g);
	if (err) {
		gw_gossip_free(g);
		return err;
	}
	*gp = g;
	return 0;
}

void gw_gossip_start(struct gw_gossip *g)
{
	g->active = gw_serve_listens(g->gw->serve);
	if (!g->active)
		return;
	gossip_file_load(g);
	gossip_talk_kick(g);
}

void gw_gossip_stop(struct gw_gossip *g)
{
	if (!g)
		return;
	if (g->active && g->dirty)
		gossip_file_save(g);
	g->active = false;
	gossip_seed_free(g);
	gossip_talk_free(g);
}

void gw_gossip_free(struct gw_gossip *g)
{
	if (!g)
		return;
	gw_gossip_stop(g);
	if (g->map)
		gw_map_free(g->map);
	if (g->mute)
		gw_map_free(g->mute);
	p2p_ring_free(&g->ring);
	if (g->model)
		p2p_gossip_free(g->model);
	free(g);
}
