/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The search of a lookup. What follows from what holders and engine say is lib/model/search.h's;
 * here are the questions, the records and the timers. A complete search that found nothing is
 * followed by one under the secret before, for a while after it has changed; both together are
 * one. */
#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include "dht-gateway/gateway_load.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/location/gateway_announce.h"
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/location/gateway_hold.h"
#include "dht-gateway/location/gateway_lookup_impl.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/location/gateway_watch.h"
#include "dht-gateway/members/gateway_gossip.h"

/* Something could not be begun: again after that. */
#define RETRY_PAUSE_MS 25
/* So many of the holders are to tell of changes. */
#define WATCHED_AT 2
/* With so many lookups under way, only these are asked at first: each question costs the one who
 * asks and the one who answers more than a record does. */
#define BUSY_AT 4
#define FEW 2
#define VERY_BUSY_AT 8
#define VERY_FEW 1
/* Where there are holders, so many searches of the engine are under way at a time: each costs more
 * than all the rest of a lookup. */
#define ENGINE_MAX 16

static void engine_done(struct gw_lookup *l)
{
	if (l->op)
		l->all->n_engine--;
	l->op = NULL;
	event_del(l->deadline);
}

static void engine_cancel(struct gw_lookup *l)
{
	struct gw *gw = l->all->gw;

	if (l->op && gw->dht)
		gw->dht_ops->cancel(gw->dht, l->op);
	engine_done(l);
}

static void holders_cancel(struct gw_lookup *l)
{
	for (unsigned int i = 0; i < l->n_holders; i++)
		if (l->holder[i].query)
			gw_query_cancel(l->holder[i].query);
	l->n_holders = l->n_asked = 0;
}

static bool usable(const struct p2p_candidate_set *cands)
{
	for (unsigned int i = 0; i < cands->n; i++)
		if (!(cands->c[i].flags & P2P_CANDIDATE_LAPSED))
			return true;
	return false;
}

/* A node that was away may hold an older record, and somebody may want it believed again: it is
 * not, whoever holds it. */
static bool is_replayed(struct gw_lookup *l, const struct p2p_record *rec,
			const struct p2p_hit *signer)
{
	const struct p2p_userset_entry *known =
		gw_cache_known(l->all->gw->cache, l->name, l->len, signer);

	if (!known || rec->order >= known->order)
		return false;
	/* under an older secret of the overlay an earlier record is no wonder */
	if (!l->age) {
		l->replayed = true;
		l->replayed_by = *signer;
	}
	return true;
}

/* Nothing later was found: then the one that is known holds. */
static void replayed_end(struct gw_lookup *l)
{
	struct gw *gw = l->all->gw;
	const struct p2p_userset_entry *known =
		gw_cache_known(gw->cache, l->name, l->len, &l->replayed_by);

	l->replayed = false;
	for (unsigned int i = 0; i < l->set.n; i++)
		if (!p2p_hit_cmp(&l->set.e[i].hit, &l->replayed_by))
			return;
	gw_warn_fault(gw, P2P_RECORD_REPLAYED, l->name, l->len, "a user record of '%s' is ignored",
		      l->name);
	if (known && l->set.n < P2P_USERSET_MAX)
		l->set.e[l->set.n++] = *known;
}

static const struct gw_lookup_good *good_find(const struct gw_lookup *l, const void *data,
					      size_t len)
{
	for (unsigned int i = 0; i < l->n_good; i++)
		if (l->good[i].len == len && !memcmp(l->good[i].bytes, data, len))
			return &l->good[i];
	return NULL;
}

static void good_add(struct gw_lookup *l, const void *data, size_t len, bool live)
{
	struct gw_lookup_good *g = l->n_good < GW_LOOKUP_GOOD_MAX ? &l->good[l->n_good++] : NULL;

	if (!g)
		return;
	g->live = live;
	g->len = len;
	memcpy(g->bytes, data, len);
}

/* Into the set, if it is good. verified: its signature is. live: it is, and no tombstone. ENOENT:
 * it changes nothing. */
static int take(struct gw_lookup *l, const struct p2p_key *key, const void *data, size_t len,
		bool verified, bool *live)
{
	struct gw *gw = l->all->gw;
	const struct gw_lookup_good *same = good_find(l, data, len);
	struct p2p_record rec;
	struct p2p_hit signer;

	if (same) {
		*live = same->live;
		return ENOENT;
	}
	if (verified ? gw_record_judge_again(gw, data, len, &rec, &signer) != P2P_RECORD_OK
		     : !gw_record_read(gw, P2P_RECORD_USER, key->b, NULL, data, len, &rec, &signer))
		return ENOENT;
	good_add(l, data, len, !rec.tombstone);
	gw_record_seen(gw, &rec, &signer);
	*live = !rec.tombstone;
	if (is_replayed(l, &rec, &signer))
		return ENOENT;
	return p2p_userset_add(&l->set, &rec, &signer, data, len) ? ENOENT : 0;
}

static void on_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len,
		     bool here, void *arg)
{
	struct gw_lookup *l = arg;
	struct p2p_candidate_set cands;
	struct p2p_key k;
	bool live;

	(void)id;
	(void)here;
	memcpy(k.b, key, sizeof(k.b));
	if (take(l, &k, data, len, false, &live) || l->state.grace || l->state.answered)
		return;
	gw_lookup_candidates(l, &cands);
	/* one whose lease lapsed is no reason to stop looking for a better one */
	if (!usable(&cands))
		return;
	if (l->state.paused)
		gw_timer_set(l->timer, 0);
	else if (p2p_search_grace(&l->state))
		gw_timer_set(l->timer, P2P_SEARCH_GRACE_MS);
}

static void pause_for(struct gw_lookup *l, uint64_t ms)
{
	gw_timer_set(l->timer, ms);
}

/* The search is over. l may be gone afterwards. */
static void search_over(struct gw_lookup *l)
{
	struct gw *gw = l->all->gw;
	bool complete = p2p_search_complete(&l->state);
	bool enough = complete || l->state.answered || p2p_search_is_look(&l->state);
	bool older = l->age + 1 < gw_record_ages(gw);
	struct p2p_candidate_set cands;
	enum p2p_search_end end;
	uint64_t pause_ms = 0;

	holders_cancel(l);
	event_del(l->timer);
	event_del(l->patience);
	/* with an answer, or of a few holders, no more is to be had */
	if (l->state.held && !enough)
		gw->metrics.holders_unknown++;
	else if (l->state.held && p2p_search_no(&l->state))
		gw->metrics.holders_no++;
	if (!enough)
		gw->metrics.searches_incomplete++;
	if (l->replayed)
		replayed_end(l);
	gw_lookup_candidates(l, &cands);
	/* it is for the key under the secret before */
	if (l->age && l->op) {
		engine_cancel(l);
		p2p_search_engine_over(&l->state, false);
	}
	end = p2p_search_over(&l->state, l->waiters, usable(&cands), cands.n, older, &pause_ms);
	if (end != P2P_SEARCH_AGAIN || !l->state.carried)
		engine_cancel(l);
	if (end == P2P_SEARCH_OLDER) {
		l->age++;
		gw_lookup_search(l);
		return;
	}
	l->age = 0;
	gw_cache_put(gw->cache, l->name, l->len, &l->set, complete, l->state.answered);
	switch (end) {
	case P2P_SEARCH_FOUND:
		gw_lookup_candidates(l, &cands);
		gw_watches_add(gw->watches, l->name, l->len, true);
		gw_lookup_tell(l, 0, &cands);
		gw_lookup_end(l);
		break;
	case P2P_SEARCH_ABSENT:
		gw_lookup_tell(l, ENOENT, NULL);
		gw_lookup_end(l);
		break;
	case P2P_SEARCH_AGAIN:
		pause_for(l, pause_ms);
		break;
	default:
		gw_lookup_end(l);
	}
}

static void engine_start(struct gw_lookup *l);
static unsigned int holders_ask_until(struct gw_lookup *l, unsigned int n);
static void patience_begin(struct gw_lookup *l);

/* To those who wait; the search goes on. */
static void answer(struct gw_lookup *l, const struct p2p_candidate_set *cands)
{
	struct gw *gw = l->all->gw;

	event_del(l->timer);
	event_del(l->patience);
	gw_cache_put(gw->cache, l->name, l->len, &l->set, false, false);
	gw_lookup_tell(l, 0, cands);
}

/* Something was said: what follows? l may be gone afterwards. */
static void judge(struct gw_lookup *l)
{
	struct p2p_candidate_set cands;

	for (;;) {
		gw_lookup_candidates(l, &cands);
		switch (p2p_search_next(&l->state, usable(&cands))) {
		case P2P_SEARCH_WAIT:
			return;
		case P2P_SEARCH_MORE:
			p2p_search_asked(&l->state, holders_ask_until(l, l->n_holders));
			patience_begin(l);
			break;
		case P2P_SEARCH_ENGINE:
			engine_start(l);
			break;
		case P2P_SEARCH_NO_GRACE:
			gw_timer_set(l->timer, p2p_search_no_grace_ms(&l->state));
			break;
		case P2P_SEARCH_ANSWER:
			l->all->gw->metrics.holders_yes++;
			answer(l, &cands);
			break;
		case P2P_SEARCH_OVER:
			search_over(l);
			return;
		}
	}
}

/* --- holders -----------------------------------------------------------------------------------
 */

static void on_queried(int err, const struct gw_queried *a, void *arg)
{
	struct gw_lookup_holder *h = arg;
	struct gw_lookup *l = h->lookup;
	struct gw *gw = l->all->gw;
	bool any = false;

	h->query = NULL;
	for (unsigned int i = 0; !err && i < a->n; i++) {
		unsigned int at = a->batch->r[a->first + i].at;
		bool live = false;

		take(l, &l->key, a->batch->b + at, a->batch->r[a->first + i].len, false, &live);
		any = any || live;
	}
	if (!err && a->watched && !l->age)
		gw_watches_held(gw->watches, l->name, l->len, &l->key, &h->hit, a->instance);
	else if (!err)
		p2p_search_unwatched(&l->state);
	p2p_search_told(&l->state, !err, h->seen, !err && a->synced, any);
	judge(l);
}

/* What we hold of it ourselves. */
static void own_holding(struct gw_lookup *l, bool seen)
{
	struct gw *gw = l->all->gw;
	struct p2p_held_record rec[P2P_HELD_SIGNERS_MAX];
	unsigned int n = gw_holds_get(gw->holds, &l->key, rec);
	bool any = false;

	for (unsigned int i = 0; i < n; i++) {
		bool live = false;

		take(l, &l->key, rec[i].bytes, rec[i].len, rec[i].verified, &live);
		any = any || live;
	}
	p2p_search_own(&l->state, seen, gw_holds_synced(gw->holds, &l->key, n), any);
}

static bool among(const struct gw_near *near, unsigned int n, const struct p2p_hit *hit)
{
	for (unsigned int i = 0; i < n; i++)
		if (!p2p_hit_cmp(&near[i].hit, hit))
			return true;
	return false;
}

/* The first n of them, those that were not asked yet: how many of these are being asked now. */
static unsigned int holders_ask_until(struct gw_lookup *l, unsigned int n)
{
	struct gw *gw = l->all->gw;
	unsigned int asked = 0;

	for (; l->n_asked < n; l->n_asked++) {
		struct gw_lookup_holder *h = &l->holder[l->n_asked];

		if (gw_queries_ask(gw->queries, &h->hit, &l->key,
				   l->n_asked < WATCHED_AT && !l->age ? GW_WATCH_S : 0, on_queried,
				   h, &h->query))
			h->query = NULL;
		else
			asked++;
	}
	return asked;
}

/* As long as the slowest of those who are asked usually takes. */
static void patience_begin(struct gw_lookup *l)
{
	struct gw_queries *queries = l->all->gw->queries;
	uint64_t usual = 0;

	for (unsigned int i = 0; i < l->n_asked; i++) {
		uint64_t one = gw_queries_usual_ms(queries, &l->holder[i].hit);

		usual = one > usual ? one : usual;
	}
	gw_timer_set(l->patience, p2p_search_patience_ms(usual));
}

/* So many holders are asked at first; 0: all. */
static unsigned int few_at_first(const struct gw_lookup *l)
{
	size_t n = gw_map_count(l->all->map);

	if (n < BUSY_AT || l->state.misses)
		return 0;
	return n < VERY_BUSY_AT ? FEW : VERY_FEW;
}

/* l may be gone afterwards. */
static void holders_ask(struct gw_lookup *l, bool kept)
{
	struct gw *gw = l->all->gw;
	unsigned int max = (unsigned int)gw->settings->holders, n, n_seen, alive = 0, asked,
		     own = GW_LOOKUP_HOLDERS_MAX;
	unsigned int few = few_at_first(l);
	struct gw_near all[GW_LOOKUP_HOLDERS_MAX], near[GW_LOOKUP_HOLDERS_MAX];
	struct p2p_candidate_set cands;

	n_seen = gw_gossip_nearest(gw->gossip, &l->key, max, false, all);
	n = gw_gossip_nearest(gw->gossip, &l->key, max, true, near);
	l->n_holders = l->n_asked = 0;
	for (unsigned int i = 0; i < n; i++) {
		bool seen = among(all, n_seen, &near[i].hit);

		alive += seen;
		if (near[i].self)
			own = i;
		else
			l->holder[l->n_holders++] = (struct gw_lookup_holder){
				.lookup = l, .hit = near[i].hit, .seen = seen};
	}
	asked = holders_ask_until(l, few && l->n_holders > few ? few : l->n_holders);
	p2p_search_begin(&l->state, true, n_seen, alive, asked);
	p2p_search_few(&l->state, l->n_holders - l->n_asked);
	if (few && asked == few && !l->age)
		p2p_search_look(&l->state);
	if (own < n)
		own_holding(l, among(all, n_seen, &near[own].hit));
	patience_begin(l);
	gw_lookup_candidates(l, &cands);
	if (kept && usable(&cands) && p2p_search_grace(&l->state))
		gw_timer_set(l->timer, P2P_SEARCH_GRACE_MS);
	judge(l);
}

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
	struct gw_lookup *l = arg;

	(void)fd;
	(void)what;
	/* they may have answered: more questions would only keep us from reading that */
	if (gw_load_behind(l->all->gw->load)) {
		patience_begin(l);
		return;
	}
	p2p_search_patience_over(&l->state);
	judge(l);
}

/* --- the engine --------------------------------------------------------------------------------
 */

static void engine_end(struct gw_lookup *l, bool all)
{
	engine_done(l);
	p2p_search_engine_over(&l->state, all);
	judge(l);
}

static void on_got(enum dht_verdict verdict, unsigned int nodes, void *arg)
{
	(void)nodes;
	engine_end(arg, verdict == DHT_COMPLETE);
}

/* A search that takes longer than anybody may wait is none. */
static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct gw_lookup *l = arg;
	struct gw *gw = l->all->gw;

	(void)fd;
	(void)what;
	if (!l->op)
		return;
	gw->dht_ops->cancel(gw->dht, l->op);
	engine_end(l, false);
}

/* One that cannot be begun (too many are under way) has ended without an answer. */
static void engine_start(struct gw_lookup *l)
{
	struct gw *gw = l->all->gw;
	int err = ECANCELED;

	if (l->state.held && l->all->n_engine >= ENGINE_MAX) {
		gw->metrics.limit_searches++;
		p2p_search_engine(&l->state, false);
		return;
	}
	if (gw->dht && !l->all->closing)
		err = gw->dht_ops->get(gw->dht, l->key.b, on_found, on_got, l, &l->op);
	gw->metrics.searches++;
	if (err) {
		l->op = NULL;
	} else {
		l->all->n_engine++;
		gw_timer_set(l->deadline, GW_LOOKUP_DEADLINE_MAX_MS);
	}
	p2p_search_engine(&l->state, !err);
}

/* --- the whole ---------------------------------------------------------------------------------
 */

/* What holders told while it was searched: true when that is the answer. Then l may be gone. */
static bool told_end(struct gw_lookup *l)
{
	struct gw *gw = l->all->gw;
	struct p2p_candidate_set cands;

	l->told = false;
	gw_lookup_candidates(l, &cands);
	if (l->state.answered || !usable(&cands))
		return false;
	holders_cancel(l);
	engine_cancel(l);
	event_del(l->patience);
	l->state = (struct p2p_search){0};
	gw->metrics.lookups_told++;
	gw_cache_put(gw->cache, l->name, l->len, &l->set, false, true);
	gw_lookup_tell(l, 0, &cands);
	gw_lookup_end(l);
	return true;
}

void gw_lookup_told(struct gw_lookups *all, const char *name, size_t len, const struct p2p_key *key,
		    const void *bytes, size_t blen)
{
	struct gw_lookup *l = gw_map_get(all->map, name, len);
	bool live;

	if (!l || l->age || !l->waiters || l->state.answered || memcmp(key, &l->key, sizeof(*key)))
		return;
	if (take(l, key, bytes, blen, true, &live) || !live)
		return;
	l->told = true;
	gw_timer_set(l->timer, 0);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct gw_lookup *l = arg;
	struct gw *gw = l->all->gw;
	struct p2p_candidate_set cands;

	(void)fd;
	(void)what;
	if (l->told && told_end(l))
		return;
	if (l->state.no_grace) {
		p2p_search_no_grace_over(&l->state);
		judge(l);
		return;
	}
	if (!l->state.grace) {
		gw_lookup_search(l);
		return;
	}
	gw_lookup_candidates(l, &cands);
	/* withdrawn within the grace: the search goes on */
	if (!p2p_search_grace_over(&l->state, usable(&cands))) {
		judge(l);
		return;
	}
	gw_watches_add(gw->watches, l->name, l->len, true);
	answer(l, &cands);
}

void gw_lookup_search(struct gw_lookup *l)
{
	struct gw *gw = l->all->gw;
	struct p2p_key key;
	bool kept;

	if (!l->waiters) {
		gw_lookup_end(l);
		return;
	}
	holders_cancel(l);
	if (l->age >= gw_record_ages(gw))
		l->age = 0;
	if (gw_record_key_user_at(gw, l->name, l->len, l->age, &key)) {
		pause_for(l, RETRY_PAUSE_MS);
		return;
	}
	/* what the engine has found since, or still does */
	kept = l->state.paused && l->state.carried && !memcmp(&key, &l->key, sizeof(key));
	if (!kept) {
		engine_cancel(l);
		p2p_search_engine_over(&l->state, false);
	}
	if (!l->age && !kept) {
		p2p_userset_init(&l->set);
		l->n_good = 0;
	}
	l->key = key;
	if (gw_announces_possible(gw->announces) && !l->all->closing) {
		holders_ask(l, kept);
	} else {
		p2p_search_begin(&l->state, false, 0, 0, 0);
		judge(l);
	}
}

int gw_lookup_search_new(struct gw_lookup *l)
{
	struct event_base *base = l->all->gw->base;

	l->timer = event_new(base, -1, 0, on_timer, l);
	l->deadline = event_new(base, -1, 0, on_deadline, l);
	l->patience = event_new(base, -1, 0, on_patience, l);
	return l->timer && l->deadline && l->patience ? 0 : ENOMEM;
}

void gw_lookup_search_free(struct gw_lookup *l)
{
	if (l->deadline)
		engine_cancel(l);
	holders_cancel(l);
	if (l->timer)
		event_free(l->timer);
	if (l->deadline)
		event_free(l->deadline);
	if (l->patience)
		event_free(l->patience);
}
