/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Another peer's record:
 *   asked for -> (FETCHING) -> known | absent (a completed search found none) | unknown
 * and asked for again when someone looks at it and the last answer is old. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/members/gateway_peers_impl.h"

/* A record that was read this long ago is read again when someone looks at it. */
#define REFRESH_MS 20000
/* After an answer that was none. */
#define RETRY_MS 2000
/* Absence is said by this many completed searches, with a pause between them: as for users. */
#define MISSES 2
#define MISS_PAUSE_MS 40
#define FETCHES_MAX 256
#define WAITERS_MAX 1024

struct waiter {
	struct waiter *next;
	struct peer *peer;
	struct event *timer;
	gw_peer_h *h;
	void *arg;
};

struct peer {
	struct gw_peers *all;
	struct p2p_hit hit;
	unsigned int age; /* of the secret under which it is searched for; 0: the one in use */
	bool known;
	struct p2p_record rec; /* when known */
	uint8_t bytes[P2P_RECORD_MAX];
	size_t len;
	uint64_t read_ms, next_ms; /* mono: last read; not asked again before */
	uint64_t checked_ms;	   /* mono: last search that found it, or that was complete */
	struct dht_op *op;
	struct event *timer; /* of the search, or of the pause before the next one */
	bool found;	     /* in this search */
	unsigned int misses; /* completed searches in a row that did not find it */
	struct waiter *waiters;
	bool insist; /* a later epoch of it was heard of: the engine may have its record */
};

static struct peer *peer_of(struct gw_peers *p, const struct p2p_hit *hit);
static void peer_told(struct peer *peer, const struct p2p_record *rec, const void *data,
		      size_t len);

void gw_peers_learn(struct gw_peers *p, const struct p2p_hit *hit, const struct p2p_record *rec,
		    const void *bytes, size_t len)
{
	struct peer *peer = p ? gw_map_peek(p->map, hit, sizeof(*hit)) : NULL;

	/* nobody's place is taken by one that was not asked for */
	if (p && !peer && gw_map_count(p->map) < (size_t)p->gw->settings->peers_max)
		peer_of(p, hit);
	else if (peer)
		peer_told(peer, rec, bytes, len);
}

static void waiters_tell(struct peer *peer, int err)
{
	struct waiter *w = peer->waiters, *next;

	peer->waiters = NULL;
	for (; w; w = next) {
		next = w->next;
		peer->all->n_waiters--;
		event_free(w->timer);
		w->h(err, err ? NULL : &peer->rec, w->arg);
		free(w);
	}
}

static void peer_drop(void *value, void *arg)
{
	struct peer *peer = value;

	(void)arg;
	if (peer->op && peer->all->gw->dht) {
		peer->all->gw->dht_ops->cancel(peer->all->gw->dht, peer->op);
		peer->all->fetches--;
	}
	waiters_tell(peer, ETIMEDOUT);
	event_free(peer->timer);
	free(peer);
}

static bool same_locators(const struct p2p_record *a, const struct p2p_record *b)
{
	return a->n_locators == b->n_locators &&
	       !memcmp(a->locator, b->locator, a->n_locators * sizeof(a->locator[0]));
}

/* A verified record. false: an equal or later one is known. */
static bool peer_take(struct peer *peer, const struct p2p_record *rec, const void *data, size_t len)
{
	bool news;

	if (peer->known && p2p_record_cmp(&peer->rec, peer->bytes, peer->len, rec, data, len) >= 0)
		return false;
	news = peer->known &&
	       (peer->rec.epoch != rec->epoch || peer->rec.tombstone != rec->tombstone ||
		!same_locators(&peer->rec, rec));
	peer->known = true;
	peer->rec = *rec;
	memcpy(peer->bytes, data, len);
	peer->len = len;
	if (news)
		gw_peers_event(peer->all->gw, &peer->hit);
	return true;
}

/* Likewise, by another member. */
static void peer_told(struct peer *peer, const struct p2p_record *rec, const void *data, size_t len)
{
	if (peer_take(peer, rec, data, len))
		peer->read_ms = peer->checked_ms = gw_mono(peer->all->gw);
}

static void on_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len,
		     bool here, void *arg)
{
	struct peer *peer = arg;
	struct gw *gw = peer->all->gw;
	struct p2p_record rec;

	(void)id;
	(void)here;
	if (!gw_record_read(gw, P2P_RECORD_PEER, key, &peer->hit, data, len, &rec, NULL))
		return;
	gw_record_seen(gw, &rec, &peer->hit);
	peer->found = true;
	if (peer_take(peer, &rec, data, len))
		gw_gossip_record(gw->gossip, &peer->hit, &rec, data, len);
}

static void fetch(struct peer *peer);

static void fetch_end(struct peer *peer, bool complete)
{
	struct gw_peers *p = peer->all;
	uint64_t now = gw_mono(p->gw);

	peer->op = NULL;
	p->fetches--;
	event_del(peer->timer);
	if (peer->found || complete)
		peer->checked_ms = now;
	if (peer->found) {
		peer->age = 0;
		peer->misses = 0;
		peer->read_ms = now;
		peer->next_ms = now + REFRESH_MS;
		waiters_tell(peer, peer->rec.tombstone ? ENOENT : 0);
		return;
	}
	/* it may not have moved to the new secret yet */
	if (complete && peer->age + 1 < gw_record_ages(p->gw)) {
		peer->age++;
		peer->next_ms = 0;
		fetch(peer);
		return;
	}
	peer->age = 0;
	if (complete && peer->waiters && ++peer->misses < MISSES) {
		peer->next_ms = 0;
		gw_timer_set(peer->timer, MISS_PAUSE_MS);
		return;
	}
	peer->next_ms = now + RETRY_MS;
	if (complete) {
		peer->misses = 0;
		waiters_tell(peer, ENOENT);
	}
	/* else: those who wait have deadlines of their own */
}

static void on_got(enum dht_verdict verdict, unsigned int nodes, void *arg)
{
	(void)nodes;
	fetch_end(arg, verdict == DHT_COMPLETE);
}

static void on_fetch_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct peer *peer = arg;
	struct gw *gw = peer->all->gw;

	(void)fd;
	(void)what;
	if (!peer->op) {
		if (peer->waiters)
			fetch(peer);
		return;
	}
	gw->dht_ops->cancel(gw->dht, peer->op);
	fetch_end(peer, false);
}

static void fetch(struct peer *peer)
{
	struct gw_peers *p = peer->all;
	struct gw *gw = p->gw;
	struct p2p_key key;

	if (peer->known && !peer->rec.tombstone && gw_gossip_alive(gw->gossip, &peer->hit) &&
	    !peer->insist) {
		/* its records come by themselves */
		peer->read_ms = peer->checked_ms = gw_mono(gw);
		waiters_tell(peer, 0);
		return;
	}
	if (peer->op || p->fetches >= FETCHES_MAX || gw_mono(gw) < peer->next_ms || !gw->dht)
		return;
	peer->found = false;
	if (peer->age >= gw_record_ages(gw))
		peer->age = 0;
	if (gw_record_key_peer_at(gw, &peer->hit, peer->age, &key) ||
	    gw->dht_ops->get(gw->dht, key.b, on_found, on_got, peer, &peer->op)) {
		peer->op = NULL;
		peer->next_ms = gw_mono(gw) + RETRY_MS;
		return;
	}
	p->fetches++;
	gw_timer_set(peer->timer, (uint64_t)gw->settings->query_timeout_ms);
}

static struct peer *peer_of(struct gw_peers *p, const struct p2p_hit *hit)
{
	struct peer *peer = gw_map_get(p->map, hit, sizeof(*hit));
	struct p2p_record rec;
	const uint8_t *bytes;
	size_t len;

	if (peer)
		return peer;
	peer = calloc(1, sizeof(*peer));
	if (!peer)
		return NULL;
	peer->all = p;
	peer->hit = *hit;
	peer->timer = event_new(p->gw->base, -1, 0, on_fetch_timeout, peer);
	if (!peer->timer)
		goto fail;
	if (gw_map_put(p->map, hit, sizeof(*hit), peer))
		goto fail;
	bytes = gw_gossip_bytes(p->gw->gossip, hit, &len);
	if (bytes && !p2p_record_decode(&rec, bytes, len))
		peer_told(peer, &rec, bytes, len);
	return peer;
fail:
	if (peer->timer)
		event_free(peer->timer);
	free(peer);
	return NULL;
}

struct look {
	struct gw_peers *p;
	const struct p2p_userset *set;
};

static const struct p2p_userset_entry *entry_of(const struct p2p_userset *set,
						const struct p2p_hit *hit)
{
	for (unsigned int i = 0; i < set->n; i++)
		if (!p2p_hit_cmp(&set->e[i].hit, hit))
			return &set->e[i];
	return NULL;
}

static void look_state(const struct p2p_hit *hit, struct p2p_peer_state *out, void *arg)
{
	struct look *look = arg;
	struct gw_peers *p = look->p;
	const struct p2p_userset_entry *e = entry_of(look->set, hit);
	struct peer *peer = peer_of(p, hit);
	uint64_t now = gw_mono(p->gw), wall = gw_wall(p->gw);
	bool old, checked, alive;

	memset(out, 0, sizeof(*out));
	if (!peer || !e)
		return;
	/* what is known may be older than what is out there: the lease ran out since, or the user
	 * record names a later epoch */
	alive = gw_gossip_alive(p->gw->gossip, hit);
	peer->insist = peer->known && peer->rec.epoch < e->epoch;
	old = !peer->known || (!alive && peer->rec.lease_ms <= wall) || peer->insist;
	checked = peer->checked_ms && now - peer->checked_ms < REFRESH_MS;
	fetch(peer);
	if (old && !checked) {
		/* Not heard of lately: the call itself will tell whether it lives. */
		out->known = true;
		out->epoch = peer->known && peer->rec.epoch > e->epoch ? peer->rec.epoch : e->epoch;
		out->lease_ms = wall + REFRESH_MS;
	} else if (peer->known && peer->rec.epoch < e->epoch) {
		/* The peer began anew since its record was read, and vouched for this user then. */
		out->known = true;
		out->epoch = e->epoch;
		out->lease_ms = e->order + (uint64_t)p->gw->settings->lease_s * 1000;
	} else if (peer->known) {
		out->known = true;
		out->epoch = peer->rec.epoch;
		out->lease_ms = peer->rec.tombstone ? 0 : peer->rec.lease_ms;
		if (alive && out->lease_ms)
			out->lease_ms = wall + REFRESH_MS;
	}
	/* what nobody reaches is tried last */
	if (gw_gossip_dead(p->gw->gossip, hit))
		out->lease_ms = 0;
}

void gw_peers_candidates(struct gw_peers *p, const struct p2p_userset *set,
			 struct p2p_candidate_set *out)
{
	struct look look = {.p = p, .set = set};

	memset(out, 0, sizeof(*out));
	p2p_userset_candidates(set, gw_wall(p->gw), &p->gw->hit, look_state, &look, out);
	/* records that were read before the peer was revoked */
	for (unsigned int i = 0; i < out->n;) {
		if (!gw_member_revoked(p->gw, &out->c[i].hit)) {
			i++;
			continue;
		}
		out->n--;
		memmove(&out->c[i], &out->c[i + 1], (out->n - i) * sizeof(out->c[0]));
	}
}

static void on_waiter_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct waiter *w = arg, **wp = &w->peer->waiters;
	struct peer *peer = w->peer;
	int err = peer->known && !peer->rec.tombstone ? 0 : ETIMEDOUT;

	(void)fd;
	(void)what;
	while (*wp != w)
		wp = &(*wp)->next;
	*wp = w->next;
	peer->all->n_waiters--;
	event_free(w->timer);
	/* what was read before is better than nothing: it is signed, and says until when it holds
	 */
	w->h(err, err ? NULL : &peer->rec, w->arg);
	free(w);
}

void gw_peers_get(struct gw_peers *p, const struct p2p_hit *hit, uint64_t deadline_ms, gw_peer_h *h,
		  void *arg)
{
	struct peer *peer = gw_member_revoked(p->gw, hit) ? NULL : peer_of(p, hit);
	struct waiter *w;

	if (gw_member_revoked(p->gw, hit)) {
		h(ENOENT, NULL, arg);
		return;
	}
	if (peer && peer->known && !peer->rec.tombstone &&
	    (gw_gossip_alive(p->gw->gossip, hit) || (gw_mono(p->gw) - peer->read_ms < REFRESH_MS &&
						     peer->rec.lease_ms > gw_wall(p->gw)))) {
		h(0, &peer->rec, arg);
		return;
	}
	if (!peer || p->n_waiters >= WAITERS_MAX) {
		h(EBUSY, NULL, arg);
		return;
	}
	w = calloc(1, sizeof(*w));
	if (w)
		w->timer = event_new(p->gw->base, -1, 0, on_waiter_timeout, w);
	if (!w || !w->timer) {
		free(w);
		h(EBUSY, NULL, arg);
		return;
	}
	w->peer = peer;
	w->h = h;
	w->arg = arg;
	w->next = peer->waiters;
	peer->waiters = w;
	p->n_waiters++;
	gw_timer_set(w->timer, deadline_ms);
	peer->next_ms = 0;
	fetch(peer);
}

static void peer_rekey(const void *key, size_t len, void *value, void *arg)
{
	struct peer *peer = value;

	(void)key;
	(void)len;
	(void)arg;
	peer->age = 0;
	peer->next_ms = 0;
}

void gw_peers_rekey(struct gw_peers *p)
{
	uint64_t cursor = 0;

	gw_record_key_peer(p->gw, &p->gw->hit, &p->key);
	gw_map_scan(p->map, &cursor, SIZE_MAX, peer_rekey, NULL);
	gw_gossip_rekey(p->gw->gossip);
	gw_peers_announce(p);
}

void gw_peers_forget(struct gw_peers *p, const struct p2p_hit *hit)
{
	gw_map_del(p->map, hit, sizeof(*hit));
	gw_gossip_forget(p->gw->gossip, hit);
}

int gw_peers_new(struct gw_peers **pp, struct gw *gw)
{
	struct gw_peers *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return ENOMEM;
	p->gw = gw;
	err = gw_map_new(&p->map, (size_t)gw->settings->peers_max, true, peer_drop, p);
	if (!err)
		err = gw_peers_own_new(p);
	if (err) {
		gw_peers_free(p);
		return err;
	}
	*pp = p;
	return 0;
}

void gw_peers_free(struct gw_peers *p)
{
	if (!p)
		return;
	gw_map_free(p->map);
	gw_peers_own_free(p);
	free(p);
}

struct scan {
	const struct gw_peers *p;
	void (*fn)(const struct gw_peer_info *info, void *arg);
	void *arg;
};

static void scan_peer(const void *key, size_t len, void *value, void *arg)
{
	const struct peer *peer = value;
	struct scan *s = arg;
	struct gw_peer_info info = {
		.hit = peer->hit,
		.known = peer->known,
		.fetching = peer->op != NULL,
		.epoch = peer->known ? peer->rec.epoch : 0,
		.lease_ms = peer->known ? peer->rec.lease_ms : 0,
		.order = peer->known ? peer->rec.order : 0,
		.age_ms = peer->known ? gw_mono(s->p->gw) - peer->read_ms : 0,
		.rec = peer->known ? &peer->rec : NULL,
	};

	(void)key;
	(void)len;
	s->fn(&info, s->arg);
}

void gw_peers_scan(const struct gw_peers *p, uint64_t *cursor, size_t count,
		   void (*fn)(const struct gw_peer_info *info, void *arg), void *arg)
{
	struct scan s = {.p = p, .fn = fn, .arg = arg};

	gw_map_scan(p->map, cursor, count, scan_peer, &s);
}

uint64_t gw_peers_evicted(const struct gw_peers *p)
{
	return gw_map_evicted(p->map);
}

size_t gw_peers_count(const struct gw_peers *p)
{
	return gw_map_count(p->map);
}
