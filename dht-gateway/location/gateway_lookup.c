/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A lookup of a name, shared by all who ask at the same time:
 *   SEARCHING -> a good record -> GRACE (15 ms, or until the search ends) -> answered
 *   SEARCHING -> completed, nothing -> PAUSE -> SEARCHING again -> nothing again: ENOENT
 *   SEARCHING -> not completed -> PAUSE (doubled each time) -> SEARCHING
 * Where there are holders (gateway_sync.h), they are searched, all at once, and the engine with
 * them when they have not answered in 30 ms or too few of them live: a holder that has all records
 * of the name has some -> answered a majority of all holders, dead ones too, say that there is none
 * -> ENOENT else it is not known, and searched for again. A completed search that found nothing is
 * followed by one under the secret before, for a while after it has changed; both together are one.
 * Each who asks has a deadline of its own and is told ETIMEDOUT at that. A lookup that was answered
 * goes on until its search ends, for the cache's sake; one that nobody waits for any more ends with
 * its search. */
#include "dht-gateway/location/gateway_lookup.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/location/gateway_announce.h"
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/location/gateway_hold.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/location/gateway_query.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/location/gateway_watch.h"
#include "lib/model/quorum.h"
#include "lib/model/userset.h"

/* Between two searches: who has just got a 200 may be on the way. */
#define MISS_PAUSE_MS 60
#define RETRY_PAUSE_MS 25
#define RETRY_PAUSE_MAX_MS 400
/* Until the engine is asked, too. */
#define HOLDERS_MS 30
/* A majority has said no: for so long the others, and the engine, may still know better. */
#define NO_GRACE_MS 150
#define HOLDERS_MAX 9
/* So many of the holders are to tell of changes. */
#define WATCHED_AT 2

struct waiter {
	struct lookup *lookup;
	struct waiter *prev, *next;
	struct event *timer;
	gw_lookup_h *h;
	void *arg;
};

/* One of its holders. */
struct holder {
	struct lookup *lookup;
	struct gw_query *query; /* NULL: over */
	struct p2p_hit hit;
	bool seen; /* one of the holders among all, not only in place of a dead one */
};

struct lookup {
	struct gw_lookups *all;
	/* the holders: how many of all, dead ones too, there are; have told all; said no */
	bool held;
	unsigned int n_seen, n_told, n_no, n_left, n_holders;
	struct holder holder[HOLDERS_MAX];
	struct event *patience; /* until the engine is asked */
	bool no_grace, asked;	/* a majority said no; the engine was asked */
	struct p2p_key key;	/* that is searched for */
	unsigned int age; /* of the secret under which it is searched for; 0: the one in use */
	struct dht_op *op;
	struct event *timer;	/* the pause, or the grace */
	struct event *deadline; /* of a search */
	bool grace;
	bool answered;
	unsigned int misses;
	uint64_t pause_ms;
	struct waiter *waiters;
	struct p2p_userset set;
	bool replayed; /* a record came that is older than one that is known of this signer */
	struct p2p_hit replayed_by;
	size_t len;
	char name[P2P_NAME_MAX + 1];
};

struct gw_lookups {
	struct gw *gw;
	struct gw_map *map; /* by name */
	size_t n_waiters;
	bool closing;
};

static void search(struct lookup *l);

static void waiter_unlink(struct waiter *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		w->lookup->waiters = w->next;
	if (w->next)
		w->next->prev = w->prev;
	w->lookup->all->n_waiters--;
	event_free(w->timer);
}

static void count(struct gw *gw, int err)
{
	switch (err) {
	case 0:
		gw->metrics.route_found++;
		break;
	case ENOENT:
		gw->metrics.route_notfound++;
		break;
	case EBUSY:
		gw->metrics.route_busy++;
		break;
	default:
		gw->metrics.route_timeout++;
	}
}

/* The handlers may ask again, for this name too: they find the lookup as it is, and wait. */
static void tell(struct lookup *l, int err, const struct p2p_candidate_set *cands)
{
	struct waiter *w, *list = l->waiters;

	l->waiters = NULL;
	for (w = list; w; w = list) {
		list = w->next;
		l->all->n_waiters--;
		event_free(w->timer);
		count(l->all->gw, err);
		w->h(err, cands, w->arg);
		free(w);
	}
}

static void search_cancel(struct lookup *l)
{
	struct gw *gw = l->all->gw;

	if (l->op && gw->dht)
		gw->dht_ops->cancel(gw->dht, l->op);
	l->op = NULL;
	for (unsigned int i = 0; i < l->n_holders; i++)
		if (l->holder[i].query)
			gw_query_cancel(l->holder[i].query);
	l->n_holders = l->n_left = 0;
}

static void lookup_drop(void *value, void *arg)
{
	struct lookup *l = value;

	(void)arg;
	search_cancel(l);
	tell(l, ETIMEDOUT, NULL);
	event_free(l->timer);
	event_free(l->patience);
	event_free(l->deadline);
	free(l);
}

/* What a peer has refuted of late is none. */
static void candidates(const struct lookup *l, struct p2p_candidate_set *cands)
{
	struct gw *gw = l->all->gw;

	gw_peers_candidates(gw->peers, &l->set, cands);
	gw_cache_filter(gw->cache, l->name, l->len, cands);
}

static bool usable(const struct p2p_candidate_set *cands)
{
	for (unsigned int i = 0; i < cands->n; i++)
		if (!(cands->c[i].flags & P2P_CANDIDATE_LAPSED))
			return true;
	return false;
}

/* l may be gone afterwards. */
static void lookup_end(struct lookup *l)
{
	if (l->waiters) {
		/* someone asked while others were told */
		l->answered = false;
		l->misses = 0;
		search(l);
		return;
	}
	gw_map_del(l->all->map, l->name, l->len);
}

/* A node that was away may hold an older record, and somebody may want it believed again: it is
 * not, whoever holds it. */
static bool is_replayed(struct lookup *l, const struct p2p_record *rec,
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
static void replayed_end(struct lookup *l)
{
	struct gw *gw = l->all->gw;
	const struct p2p_userset_entry *known =
		gw_cache_known(gw->cache, l->name, l->len, &l->replayed_by);

	l->replayed = false;
	for (unsigned int i = 0; i < l->set.n; i++)
		if (!p2p_hit_cmp(&l->set.e[i].hit, &l->replayed_by))
			return;
	gw->metrics.values_bad[P2P_RECORD_REPLAYED]++;
	gw_warn_source(gw, l->name, l->len, "a user record of '%s' is ignored: %s", l->name,
		       p2p_record_fault_text(P2P_RECORD_REPLAYED));
	if (known && l->set.n < P2P_USERSET_MAX)
		l->set.e[l->set.n++] = *known;
}

/* Into the set, if it is good. live: it is, and no tombstone. ENOENT: it changes nothing. */
static int take(struct lookup *l, const struct p2p_key *key, const void *data, size_t len,
		bool *live)
{
	struct gw *gw = l->all->gw;
	struct p2p_record rec;
	struct p2p_hit signer;

	if (!gw_record_read(gw, P2P_RECORD_USER, key->b, NULL, data, len, &rec, &signer))
		return ENOENT;
	p2p_hlc_see(&gw->hlc, rec.order, gw_wall(gw));
	*live = !rec.tombstone;
	if (is_replayed(l, &rec, &signer))
		return ENOENT;
	return p2p_userset_add(&l->set, &rec, &signer, data, len) ? ENOENT : 0;
}

static void on_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len,
		     bool here, void *arg)
{
	struct lookup *l = arg;
	struct p2p_candidate_set cands;
	struct p2p_key k;
	bool live;

	(void)id;
	(void)here;
	memcpy(k.b, key, sizeof(k.b));
	if (take(l, &k, data, len, &live) || l->grace || l->answered)
		return;
	candidates(l, &cands);
	/* one whose lease lapsed is no reason to stop looking for a better one */
	if (!usable(&cands))
		return;
	l->grace = true;
	gw_timer_set(l->timer, GW_LOOKUP_GRACE_MS);
}

static void pause_for(struct lookup *l, uint64_t ms)
{
	gw_timer_set(l->timer, ms);
}

static void search_end(struct lookup *l, bool complete)
{
	struct gw *gw = l->all->gw;
	struct p2p_candidate_set cands;

	l->op = NULL;
	event_del(l->deadline);
	event_del(l->timer);
	event_del(l->patience);
	l->grace = l->no_grace = false;
	if (!complete)
		gw->metrics.searches_incomplete++;
	if (l->replayed)
		replayed_end(l);
	if (complete && l->waiters && !l->answered && l->age + 1 < gw_record_ages(gw)) {
		candidates(l, &cands);
		if (!usable(&cands)) {
			l->age++;
			search(l);
			return;
		}
	}
	l->age = 0;
	gw_cache_put(gw->cache, l->name, l->len, &l->set, complete, l->answered);
	if (l->answered || !l->waiters) {
		lookup_end(l);
		return;
	}
	candidates(l, &cands);
	if (usable(&cands) || (cands.n && complete)) {
		gw_watches_add(gw->watches, l->name, l->len, true);
		tell(l, 0, &cands);
		lookup_end(l);
		return;
	}
	if (complete && ++l->misses >= GW_LOOKUP_MISSES) {
		tell(l, ENOENT, NULL);
		lookup_end(l);
		return;
	}
	if (complete) {
		pause_for(l, MISS_PAUSE_MS);
		return;
	}
	pause_for(l, l->pause_ms);
	l->pause_ms *= 2;
	if (l->pause_ms > RETRY_PAUSE_MAX_MS)
		l->pause_ms = RETRY_PAUSE_MAX_MS;
}

/* --- holders -----------------------------------------------------------------------------------
 */

/* Everything that could be asked has answered, or a majority has said no. */
static void held_end(struct lookup *l)
{
	struct gw *gw = l->all->gw;
	bool complete = l->n_told >= p2p_quorum(l->n_seen);

	if (complete && p2p_quorum_absent(l->n_seen, l->n_no))
		gw->metrics.holders_no++;
	else if (!complete)
		gw->metrics.holders_unknown++;
	search_cancel(l);
	search_end(l, complete);
}

static void engine_start(struct lookup *l);

/* Holders say that there is none. Who does not tell them of its users, or has only just begun and
 * does not know them yet, has put its users into the engine: that has a moment to say so. */
static bool engine_waits(struct lookup *l)
{
	if (l->answered || !p2p_quorum_absent(l->n_seen, l->n_no))
		return false;
	if (!l->asked)
		engine_start(l);
	if (!l->n_left && !l->op)
		return false;
	if (!l->no_grace && !l->grace) {
		l->no_grace = true;
		gw_timer_set(l->timer, NO_GRACE_MS);
	}
	return true;
}

/* quick: what is known was told by one who knows all. l may be gone afterwards. */
static void held_judge(struct lookup *l, bool quick)
{
	struct gw *gw = l->all->gw;
	struct p2p_candidate_set cands;

	if (!l->answered && (quick || !l->n_left)) {
		candidates(l, &cands);
		if (usable(&cands)) {
			event_del(l->timer);
			event_del(l->patience);
			l->grace = false;
			gw->metrics.holders_yes++;
			gw_cache_put(gw->cache, l->name, l->len, &l->set, false, false);
			l->answered = true;
			tell(l, 0, &cands);
		}
	}
	if (engine_waits(l))
		return;
	if (!l->n_left) {
		if (l->answered || l->n_told >= p2p_quorum(l->n_seen) || (l->asked && !l->op))
			held_end(l);
		else if (!l->asked)
			engine_start(l);
	}
}

/* An answer, or what we hold ourselves: has it any? */
static void counted(struct lookup *l, bool seen, bool synced, bool any)
{
	if (!seen || !synced)
		return;
	l->n_told++;
	l->n_no += !any;
}

static void on_queried(int err, const struct gw_queried *a, void *arg)
{
	struct holder *h = arg;
	struct lookup *l = h->lookup;
	struct gw *gw = l->all->gw;
	bool any = false;

	h->query = NULL;
	l->n_left--;
	for (unsigned int i = 0; !err && i < a->n; i++) {
		unsigned int at = a->batch->r[a->first + i].at;
		bool live = false;

		take(l, &l->key, a->batch->b + at, a->batch->r[a->first + i].len, &live);
		any = any || live;
	}
	if (!err) {
		counted(l, h->seen, a->synced, any);
		if (a->watched && !l->age)
			gw_watches_held(gw->watches, l->name, l->len, &l->key, &h->hit,
					a->instance);
	}
	held_judge(l, !err && a->synced && any);
}

/* What we hold of it ourselves. */
static bool own_holding(struct lookup *l, bool seen)
{
	struct gw *gw = l->all->gw;
	struct p2p_held_record rec[P2P_HELD_SIGNERS_MAX];
	unsigned int n = gw_holds_get(gw->holds, &l->key, rec);
	bool any = false;

	for (unsigned int i = 0; i < n; i++) {
		bool live = false;

		take(l, &l->key, rec[i].bytes, rec[i].len, &live);
		any = any || live;
	}
	counted(l, seen, gw_holds_synced(gw->holds, &l->key, n), any);
	return any && gw_holds_synced(gw->holds, &l->key, n);
}

static bool among(const struct gw_near *near, unsigned int n, const struct p2p_hit *hit)
{
	for (unsigned int i = 0; i < n; i++)
		if (!p2p_hit_cmp(&near[i].hit, hit))
			return true;
	return false;
}

/* l may be gone afterwards. */
static void holders_ask(struct lookup *l)
{
	struct gw *gw = l->all->gw;
	unsigned int max = (unsigned int)gw->settings->holders, n, alive = 0;
	struct gw_near all[HOLDERS_MAX], near[HOLDERS_MAX];
	bool quick = false;

	l->n_seen = gw_gossip_nearest(gw->gossip, &l->key, max, false, all);
	l->n_told = l->n_no = l->n_left = l->n_holders = 0;
	l->no_grace = l->asked = false;
	n = gw_gossip_nearest(gw->gossip, &l->key, max, true, near);
	for (unsigned int i = 0; i < n; i++) {
		bool seen = among(all, l->n_seen, &near[i].hit);
		struct holder *h = &l->holder[l->n_holders];

		alive += seen;
		if (near[i].self) {
			quick = own_holding(l, seen);
			continue;
		}
		*h = (struct holder){.lookup = l, .hit = near[i].hit, .seen = seen};
		if (gw_queries_ask(gw->queries, &h->hit, &l->key,
				   l->n_holders < WATCHED_AT && !l->age ? GW_WATCH_S : 0,
				   on_queried, h, &h->query))
			continue;
		l->n_holders++;
		l->n_left++;
	}
	if (alive < p2p_quorum(l->n_seen))
		engine_start(l);
	else
		gw_timer_set(l->patience, HOLDERS_MS);
	held_judge(l, quick);
}

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
	struct lookup *l = arg;

	(void)fd;
	(void)what;
	if (l->held && !l->answered && !l->asked && l->n_left)
		engine_start(l);
}

/* --- the engine --------------------------------------------------------------------------------
 */

/* An engine's word alone does not say that there is none, where holders could. */
static void engine_end(struct lookup *l, bool complete)
{
	l->op = NULL;
	event_del(l->deadline);
	if (!l->held)
		search_end(l, complete);
	else if (!l->n_left)
		held_end(l);
}

static void on_got(enum dht_verdict verdict, unsigned int nodes, void *arg)
{
	(void)nodes;
	engine_end(arg, verdict == DHT_COMPLETE);
}

/* A search that takes longer than anybody may wait is none. */
static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct lookup *l = arg;
	struct gw *gw = l->all->gw;

	(void)fd;
	(void)what;
	if (!l->op)
		return;
	gw->dht_ops->cancel(gw->dht, l->op);
	engine_end(l, false);
}

static void engine_start(struct lookup *l)
{
	struct gw *gw = l->all->gw;
	int err = gw->dht && !l->all->closing
			  ? gw->dht_ops->get(gw->dht, l->key.b, on_found, on_got, l, &l->op)
			  : ECANCELED;

	l->asked = true;
	gw->metrics.searches++;
	if (!err) {
		gw_timer_set(l->deadline, GW_LOOKUP_DEADLINE_MAX_MS);
		return;
	}
	l->op = NULL;
	/* too many under way: a moment later, perhaps */
	if (!l->held || !l->n_left)
		gw_timer_set(l->timer, RETRY_PAUSE_MS);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct lookup *l = arg;
	struct gw *gw = l->all->gw;
	struct p2p_candidate_set cands;

	(void)fd;
	(void)what;
	if (l->no_grace) {
		l->no_grace = false;
		held_end(l);
		return;
	}
	if (!l->grace) {
		search(l);
		return;
	}
	l->grace = false;
	candidates(l, &cands);
	if (!usable(&cands))
		return; /* withdrawn within the grace: the search goes on */
	gw_cache_put(gw->cache, l->name, l->len, &l->set, false, false);
	gw_watches_add(gw->watches, l->name, l->len, true);
	l->answered = true;
	tell(l, 0, &cands);
}

static void search(struct lookup *l)
{
	struct gw *gw = l->all->gw;

	if (!l->waiters) {
		lookup_end(l);
		return;
	}
	search_cancel(l);
	if (l->age >= gw_record_ages(gw))
		l->age = 0;
	if (!l->age)
		p2p_userset_init(&l->set);
	l->grace = l->no_grace = l->asked = false;
	l->held = gw_announces_possible(gw->announces) && !l->all->closing;
	if (gw_record_key_user_at(gw, l->name, l->len, l->age, &l->key))
		pause_for(l, RETRY_PAUSE_MS);
	else if (l->held)
		holders_ask(l);
	else
		engine_start(l);
}

static void on_waiter(evutil_socket_t fd, short what, void *arg)
{
	struct waiter *w = arg;
	struct lookup *l = w->lookup;
	struct gw *gw = l->all->gw;
	struct p2p_candidate_set cands;
	int err = ETIMEDOUT;

	(void)fd;
	(void)what;
	waiter_unlink(w);
	/* what was found so far, lapsed peers too, is better than nothing */
	candidates(l, &cands);
	if (cands.n)
		err = 0;
	count(gw, err);
	w->h(err, err ? NULL : &cands, w->arg);
	free(w);
	if (!l->waiters && !l->op && !l->n_left)
		lookup_end(l);
}

static struct lookup *lookup_new(struct gw_lookups *all, const char *name, size_t len, int *err)
{
	struct lookup *l = calloc(1, sizeof(*l));

	*err = ENOMEM;
	if (!l)
		return NULL;
	l->all = all;
	l->pause_ms = RETRY_PAUSE_MS;
	l->len = len;
	memcpy(l->name, name, len);
	p2p_userset_init(&l->set);
	l->timer = event_new(all->gw->base, -1, 0, on_timer, l);
	l->deadline = event_new(all->gw->base, -1, 0, on_deadline, l);
	l->patience = event_new(all->gw->base, -1, 0, on_patience, l);
	if (!l->timer || !l->deadline || !l->patience)
		goto fail;
	*err = gw_map_put(all->map, name, len, l);
	if (*err)
		goto fail;
	return l;
fail:
	if (l->timer)
		event_free(l->timer);
	if (l->deadline)
		event_free(l->deadline);
	if (l->patience)
		event_free(l->patience);
	free(l);
	return NULL;
}

void gw_lookup(struct gw_lookups *all, const char *name, size_t len, uint64_t deadline_ms,
	       bool fresh, gw_lookup_h *h, void *arg)
{
	struct gw *gw = all->gw;
	struct p2p_candidate_set cands;
	struct waiter *w = NULL;
	struct lookup *l;
	bool begun = false;
	uint64_t age = (uint64_t)gw->settings->cache_fresh_ms;
	int err;

	gw->metrics.lookups++;
	if (!p2p_name_valid(name, len)) {
		h(EINVAL, NULL, arg);
		return;
	}
	/* what is watched need not be read again */
	if (!fresh && gw_watches_holds(gw->watches, name, len))
		age = UINT64_MAX;
	if (!fresh && !gw_cache_get(gw->cache, name, len, age, &cands)) {
		gw->metrics.route_cached++;
		gw_watches_add(gw->watches, name, len, true);
		count(gw, 0);
		h(0, &cands, arg);
		return;
	}
	err = all->closing ? ETIMEDOUT : EBUSY;
	if (all->closing || all->n_waiters >= (size_t)gw->settings->lookups_max)
		goto fail;
	l = gw_map_get(all->map, name, len);
	if (l) {
		gw->metrics.lookups_joined++;
	} else {
		l = lookup_new(all, name, len, &err);
		if (!l) {
			err = EBUSY;
			goto fail;
		}
		begun = true;
	}
	w = calloc(1, sizeof(*w));
	if (w)
		w->timer = event_new(gw->base, -1, 0, on_waiter, w);
	if (!w || !w->timer) {
		free(w);
		if (begun)
			gw_map_del(all->map, name, len);
		err = EBUSY;
		goto fail;
	}
	w->lookup = l;
	w->h = h;
	w->arg = arg;
	w->next = l->waiters;
	if (w->next)
		w->next->prev = w;
	l->waiters = w;
	all->n_waiters++;
	gw_timer_set(w->timer, deadline_ms < GW_LOOKUP_DEADLINE_MAX_MS ? deadline_ms
								       : GW_LOOKUP_DEADLINE_MAX_MS);
	if (!begun && l->answered && l->held) {
		/* what is still awaited there is for the cache only */
		l->answered = false;
		l->misses = 0;
		begun = true;
	}
	if (begun)
		search(l);
	return;
fail:
	count(gw, err);
	h(err, NULL, arg);
}

int gw_lookups_new(struct gw_lookups **lp, struct gw *gw)
{
	struct gw_lookups *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return ENOMEM;
	l->gw = gw;
	err = gw_map_new(&l->map, (size_t)gw->settings->lookups_max, false, lookup_drop, NULL);
	if (err) {
		free(l);
		return err;
	}
	*lp = l;
	return 0;
}

void gw_lookups_free(struct gw_lookups *l)
{
	if (!l)
		return;
	l->closing = true;
	gw_map_free(l->map);
	free(l);
}

size_t gw_lookups_count(const struct gw_lookups *l)
{
	return l->n_waiters;
}
