/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/location/gateway_hold.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/location/gateway_sync.h"
#include "dht-gateway/location/gateway_tell.h"
#include "dht-gateway/location/gateway_users.h"
#include "lib/proto/record_head.h"

#define TICK_MS 1000
/* The whole table is gone through in this many ticks; of what nobody has verified yet some are each
 * time. */
#define SWEEP_TICKS 60
#define SWEEP_MIN 500
#define VERIFY_PER_TICK 100
/* What is not ours to hold any more stays for a while: others may not know yet. */
#define OUTSIDE_MS 60000
/* After a record had to go for want of room. */
#define LOSSY_MS 3600000
/* Keys that are watched, and by how many each. */
#define WATCHED_MAX 262144
#define WATCHERS_PER_KEY 256
/* The first holders of a key tell those who watch it and those who serve its user. */
#define TELLERS 2

struct watcher {
	struct p2p_hit hit;
	uint64_t until_ms; /* mono */
};

struct watched {
	unsigned int n, cap;
	struct watcher *v;
};

struct gw_holds {
	struct gw *gw;
	struct p2p_held *held;
	struct gw_tells *tells;
	struct gw_map *watched; /* by key */
	size_t watchers;
	struct event *tick;
	uint64_t instance;
	bool sweeping; /* at: from where on */
	struct p2p_key at;
	uint64_t lost, lost_ms;
};

static void watched_drop(void *value, void *arg)
{
	struct watched *w = value;
	struct gw_holds *h = arg;

	h->watchers -= w->n;
	free(w->v);
	free(w);
}

/* --- who watches -------------------------------------------------------------------------------
 */

static void watcher_del(struct gw_holds *h, struct watched *w, unsigned int i)
{
	w->v[i] = w->v[--w->n];
	h->watchers--;
}

static void watchers_expire(struct gw_holds *h, struct watched *w)
{
	uint64_t now = gw_mono(h->gw);

	for (unsigned int i = w->n; i-- > 0;)
		if (w->v[i].until_ms <= now)
			watcher_del(h, w, i);
}

/* The map knows them in the order in which they were watched last. */
static void watched_expire(struct gw_holds *h, const struct p2p_key *key)
{
	struct watched *w = gw_map_peek(h->watched, key, sizeof(*key));

	if (!w)
		return;
	watchers_expire(h, w);
	if (!w->n)
		gw_map_del(h->watched, key, sizeof(*key));
}

static struct watched *watched_of(struct gw_holds *h, const struct p2p_key *key)
{
	struct watched *w = gw_map_get(h->watched, key, sizeof(*key));

	if (w)
		return w;
	w = calloc(1, sizeof(*w));
	if (w && gw_map_put(h->watched, key, sizeof(*key), w)) {
		free(w);
		w = NULL;
	}
	return w;
}

static bool watch(struct gw_holds *h, const struct p2p_hit *from, const struct p2p_key *key,
		  uint32_t watch_s)
{
	struct watched *w = watched_of(h, key);
	struct watcher *v;
	unsigned int i;

	if (!w)
		return false;
	for (i = 0; i < w->n && p2p_hit_cmp(&w->v[i].hit, from); i++)
		;
	if (i == w->n && i == w->cap)
		watchers_expire(h, w);
	if (i > w->n)
		i = w->n;
	if (i == w->cap) {
		unsigned int cap = w->cap ? 2 * w->cap : 1;

		v = i < WATCHERS_PER_KEY ? realloc(w->v, cap * sizeof(*v)) : NULL;
		if (!v) {
			watched_expire(h, key);
			return false;
		}
		w->v = v;
		w->cap = cap;
	}
	if (i == w->n) {
		w->n++;
		h->watchers++;
		w->v[i].hit = *from;
	}
	w->v[i].until_ms = gw_mono(h->gw) + watch_s * 1000ull;
	return true;
}

static void on_unwanted(const struct p2p_hit *hit, const struct p2p_key *key, void *arg)
{
	struct gw_holds *h = arg;
	struct watched *w = gw_map_peek(h->watched, key, sizeof(*key));

	for (unsigned int i = 0; w && i < w->n; i++)
		if (!p2p_hit_cmp(&w->v[i].hit, hit)) {
			watcher_del(h, w, i);
			break;
		}
	if (w && !w->n)
		gw_map_del(h->watched, key, sizeof(*key));
}

/* --- changes -----------------------------------------------------------------------------------
 */

/* Are we among the first of its living holders? Then it is for us to tell. */
static bool teller(const struct gw_holds *h, const struct p2p_key *key)
{
	struct gw_near near[TELLERS];
	unsigned int n = gw_gossip_nearest(h->gw->gossip, key, TELLERS, true, near);

	for (unsigned int i = 0; i < n; i++)
		if (near[i].self)
			return true;
	return false;
}

/* A record of this key has changed: those who watch are told, and those who serve the user, but for
 * who said so. */
static void changed(struct gw_holds *h, const struct p2p_key *key, const struct p2p_hit *from)
{
	struct watched *w = gw_map_peek(h->watched, key, sizeof(*key));
	struct p2p_held_record rec[P2P_HELD_SIGNERS_MAX];
	uint64_t now = gw_mono(h->gw), wall = gw_wall(h->gw);
	struct p2p_record_head head;
	struct p2p_hit hit;
	unsigned int n;

	for (unsigned int i = 0; w && i < w->n; i++)
		if (w->v[i].until_ms > now && p2p_hit_cmp(&w->v[i].hit, from))
			gw_tells_add(h->tells, &w->v[i].hit, key);
	n = p2p_held_get(h->held, key, rec);
	if (n < 2 || !teller(h, key))
		return;
	for (unsigned int i = 0; i < n; i++)
		if (!rec[i].tombstone && rec[i].expiry_ms > wall &&
		    !p2p_record_head(&head, rec[i].bytes, rec[i].len) &&
		    !p2p_hit_from_pubkey(&hit, head.pubkey, h->gw->crypto) &&
		    p2p_hit_cmp(&hit, from))
			gw_tells_add(h->tells, &hit, key);
}

static void others_add(struct gw_holds *h, const struct p2p_record *rec, struct p2p_opp_batch *out)
{
	struct p2p_held_record other[P2P_HELD_SIGNERS_MAX];
	unsigned int n = p2p_held_get(h->held, &rec->key, other);
	struct p2p_record_head head;

	for (unsigned int i = 0; i < n; i++)
		if (!p2p_record_head(&head, other[i].bytes, other[i].len) &&
		    memcmp(head.pubkey, rec->pubkey, sizeof(rec->pubkey)) &&
		    other[i].expiry_ms > gw_wall(h->gw))
			p2p_opp_batch_add(out, other[i].bytes, other[i].len);
}

static enum p2p_opp_result announced(struct gw_holds *h, const struct p2p_hit *from,
				     const uint8_t *bytes, size_t len, uint64_t *order,
				     struct p2p_opp_batch *others, enum p2p_record_fault *fault)
{
	struct p2p_record rec;
	struct p2p_hit signer;
	int err;

	*fault = gw_record_judge(h->gw, from, bytes, len, &rec, &signer);
	if (*fault != P2P_RECORD_OK)
		return *fault == P2P_RECORD_UNCHECKED ? P2P_OPP_FULL : P2P_OPP_REFUSED;
	gw_record_seen(h->gw, &rec, &signer);
	err = p2p_held_put(h->held, bytes, len, true, order);
	if (!err)
		changed(h, &rec.key, from);
	if ((!err || err == EALREADY) && others && !rec.tombstone)
		others_add(h, &rec, others);
	switch (err) {
	case 0:
	case EALREADY:
		return P2P_OPP_KEPT;
	case ESTALE:
		return P2P_OPP_STALE;
	case ENOSPC:
		h->gw->metrics.limit_held_peer++;
		return P2P_OPP_FULL;
	case ENOMEM:
		return P2P_OPP_FULL;
	default:
		return P2P_OPP_REFUSED;
	}
}

void gw_holds_announced(struct gw_holds *h, const struct p2p_hit *from,
			const struct p2p_opp_batch *in, struct p2p_opp_results *out)
{
	struct gw *gw = h->gw;
	enum p2p_record_fault fault, last = P2P_RECORD_OK;
	char text[P2P_HIT_TEXT_MAX];
	unsigned int bad = 0;

	out->instance = h->instance;
	out->n = in->n;
	p2p_opp_batch_init(&out->others);
	for (unsigned int i = 0; i < in->n; i++) {
		out->r[i].order = 0;
		out->r[i].result = announced(h, from, in->b + in->r[i].at, in->r[i].len,
					     &out->r[i].order, &out->others, &fault);
		if (fault == P2P_RECORD_OK || fault == P2P_RECORD_UNCHECKED)
			continue;
		gw->metrics.announced_bad++;
		/* what has expired on its way is nobody's fault */
		if (fault == P2P_RECORD_EXPIRED)
			continue;
		last = fault;
		bad++;
	}
	gw->metrics.announced_here += in->n;
	if (!bad)
		return;
	p2p_hit_print(from, text);
	gw_warn_source(gw, from, sizeof(*from),
		       "gateway of %s announces user records that are refused, %u of %u: %s", text,
		       bad, in->n, p2p_record_fault_text(last));
}

/* --- questions ---------------------------------------------------------------------------------
 */

unsigned int gw_holds_get(const struct gw_holds *h, const struct p2p_key *key,
			  struct p2p_held_record out[P2P_HELD_SIGNERS_MAX])
{
	unsigned int n = p2p_held_get(h->held, key, out), k = 0;

	for (unsigned int i = 0; i < n; i++)
		if (out[i].expiry_ms > gw_wall(h->gw))
			out[k++] = out[i];
	return k;
}

static bool synced(const struct gw_holds *h, const struct p2p_key *key)
{
	return gw_sync_synced(h->gw->sync, key) && !gw_holds_lossy(h);
}

/* Ours may be published, and not announced yet. */
static bool served(const struct gw_holds *h, const struct p2p_key *key)
{
	const char *name;
	size_t len;
	int err = gw_users_find(h->gw->users, key, &name, &len);

	return err == EAGAIN || (!err && gw_users_serves(h->gw->users, name, len));
}

bool gw_holds_synced(const struct gw_holds *h, const struct p2p_key *key, unsigned int n)
{
	return synced(h, key) && (n || !served(h, key));
}

void gw_holds_asked(struct gw_holds *h, const struct p2p_hit *from, const struct p2p_opp_query *in,
		    struct p2p_opp_found *out)
{
	struct p2p_held_record rec[P2P_HELD_SIGNERS_MAX];

	out->instance = h->instance;
	p2p_opp_batch_init(&out->records);
	for (out->n = 0; out->n < in->n; out->n++) {
		const struct p2p_key *key = &in->key[out->n];
		unsigned int n = gw_holds_get(h, key, rec), first = out->records.n;

		for (unsigned int i = 0; i < n; i++) {
			if (p2p_opp_batch_add(&out->records, rec[i].bytes, rec[i].len))
				continue;
			out->records.n = (uint16_t)first;
			return;
		}
		out->a[out->n].first = (uint16_t)first;
		out->a[out->n].n = (uint16_t)n;
		out->a[out->n].synced = gw_holds_synced(h, key, n);
		out->a[out->n].watched = in->watch_s && watch(h, from, key, in->watch_s);
		h->gw->metrics.limit_watchers += in->watch_s && !out->a[out->n].watched;
	}
	h->gw->metrics.asked_here += in->n;
}

/* Does key lie behind `after` and up to `to`, clockwise? Where both are the same: yes. */
static bool within(const struct p2p_key *key, const struct p2p_key *after, const struct p2p_key *to)
{
	int a = memcmp(key, after, sizeof(*key)), t = memcmp(key, to, sizeof(*key));

	return memcmp(after, to, sizeof(*to)) < 0 ? a > 0 && t <= 0 : a > 0 || t <= 0;
}

void gw_holds_ranged(struct gw_holds *h, const struct p2p_opp_range *in, struct p2p_opp_page *out)
{
	struct p2p_held_record rec[P2P_HELD_SIGNERS_MAX];
	struct p2p_key at = in->after, key;
	bool wrapped = false;

	out->instance = h->instance;
	out->more = false;
	memset(&out->next, 0, sizeof(out->next));
	out->synced = gw_sync_holds(h->gw->sync, &in->to) && synced(h, &in->to);
	p2p_opp_batch_init(&out->records);
	for (;;) {
		unsigned int n, first = out->records.n;
		bool fits = true;

		if (!p2p_held_next(h->held, &at, &key)) {
			if (wrapped || memcmp(&in->after, &in->to, sizeof(in->to)) < 0 ||
			    !p2p_held_next(h->held, NULL, &key))
				return;
			wrapped = true;
		}
		/* all the way round, or behind the end */
		if (!within(&key, &in->after, &in->to) ||
		    (wrapped && memcmp(&key, &in->after, sizeof(key)) > 0))
			return;
		n = gw_holds_get(h, &key, rec);
		for (unsigned int i = 0; fits && i < n; i++)
			fits = p2p_opp_batch_add(&out->records, rec[i].bytes, rec[i].len);
		if (!fits) {
			out->records.n = (uint16_t)first;
			out->next = at;
			out->more = true;
			return;
		}
		at = key;
	}
}

void gw_holds_checked(struct gw_holds *h, const struct p2p_hit *from,
		      const struct p2p_opp_check *in, struct p2p_opp_missing *out)
{
	struct p2p_held_record rec[P2P_HELD_SIGNERS_MAX];
	struct p2p_record_head head;
	struct p2p_hit hit;

	out->instance = h->instance;
	out->n = 0;
	for (unsigned int i = 0; i < in->n; i++) {
		unsigned int n = p2p_held_get(h->held, &in->r[i].key, rec);
		bool here = false;

		for (unsigned int j = 0; j < n && !here; j++)
			here = rec[j].order >= in->r[i].order &&
			       !p2p_record_head(&head, rec[j].bytes, rec[j].len) &&
			       (n == 1 || (!p2p_hit_from_pubkey(&hit, head.pubkey, h->gw->crypto) &&
					   !p2p_hit_cmp(&hit, from)));
		if (!here)
			out->at[out->n++] = (uint16_t)i;
	}
}

/* --- our own, and what other holders have ------------------------------------------------------
 */

void gw_holds_own(struct gw_holds *h, struct p2p_shared *record)
{
	struct p2p_record_head head;
	struct p2p_key key;
	uint64_t order;

	if (p2p_record_head(&head, record->bytes, record->len))
		return;
	memcpy(key.b, head.key, sizeof(key.b));
	if (!p2p_held_share(h->held, record, true, &order))
		changed(h, &key, &h->gw->hit);
}

void gw_holds_pulled(struct gw_holds *h, const void *bytes, size_t len)
{
	enum p2p_record_fault fault;
	struct p2p_record_head head;
	struct p2p_record rec;
	struct p2p_hit signer;
	uint64_t order;
	int err;

	if (p2p_record_head(&head, bytes, len) || head.kind != P2P_RECORD_USER ||
	    memcmp(head.overlay, &h->gw->overlay, sizeof(h->gw->overlay)) ||
	    head.expiry_ms <= gw_wall(h->gw) || head.order > gw_wall(h->gw) + P2P_RECORD_FUTURE_MS)
		return;
	/* most of them are verified later, a few at a time */
	err = p2p_held_put(h->held, bytes, len, false, &order);
	if (err != EPERM)
		return;
	fault = gw_record_judge(h->gw, NULL, bytes, len, &rec, &signer);
	if (fault == P2P_RECORD_OK && !p2p_held_put(h->held, bytes, len, true, &order))
		changed(h, &rec.key, &signer);
	else if (fault != P2P_RECORD_OK)
		h->gw->metrics.announced_bad++;
}

bool gw_holds_lossy(const struct gw_holds *h)
{
	return h->lost_ms && gw_mono(h->gw) - h->lost_ms < LOSSY_MS;
}

/* --- housekeeping ------------------------------------------------------------------------------
 */

static void verify(struct gw_holds *h, const struct p2p_key *key, const struct p2p_held_record *r)
{
	enum p2p_record_fault fault;
	struct p2p_record rec;
	struct p2p_hit signer;

	fault = gw_record_judge(h->gw, NULL, r->bytes, r->len, &rec, &signer);
	if (fault == P2P_RECORD_OK) {
		p2p_held_verified(h->held, key, rec.pubkey);
	} else if (fault != P2P_RECORD_UNCHECKED) {
		struct p2p_record_head head;

		h->gw->metrics.announced_bad++;
		if (!p2p_record_head(&head, r->bytes, r->len)) {
			uint8_t pubkey[P2P_PUBKEY_LEN];

			memcpy(pubkey, head.pubkey, sizeof(pubkey));
			p2p_held_del(h->held, key, pubkey);
		}
	}
}

static void sweep_key(struct gw_holds *h, const struct p2p_key *key, unsigned int *verified)
{
	struct p2p_held_record rec[P2P_HELD_SIGNERS_MAX];
	unsigned int n = p2p_held_get(h->held, key, rec);
	bool outside =
		gw_sync_settled(h->gw->sync) > OUTSIDE_MS && !gw_sync_holds(h->gw->sync, key);
	struct p2p_record_head head;

	for (unsigned int i = 0; i < n; i++) {
		uint8_t pubkey[P2P_PUBKEY_LEN];

		if (!outside && rec[i].expiry_ms > gw_wall(h->gw)) {
			if (!rec[i].verified && *verified < VERIFY_PER_TICK) {
				++*verified;
				verify(h, key, &rec[i]);
			}
			continue;
		}
		if (p2p_record_head(&head, rec[i].bytes, rec[i].len))
			continue;
		memcpy(pubkey, head.pubkey, sizeof(pubkey));
		p2p_held_del(h->held, key, pubkey);
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct gw_holds *h = arg;
	size_t n = p2p_held_count(h->held) / SWEEP_TICKS + SWEEP_MIN;
	unsigned int verified = 0;
	struct watched *w;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < n; i++) {
		if (!p2p_held_next(h->held, h->sweeping ? &h->at : NULL, &h->at)) {
			h->sweeping = false;
			break;
		}
		h->sweeping = true;
		sweep_key(h, &h->at, &verified);
	}
	for (size_t i = 0; i < n && (w = gw_map_oldest(h->watched)); i++) {
		struct p2p_key key;

		watchers_expire(h, w);
		if (w->n || gw_map_oldest_key(h->watched, &key, sizeof(key)))
			break;
		gw_map_del(h->watched, &key, sizeof(key));
	}
	if (p2p_held_lost(h->held) != h->lost) {
		h->lost = p2p_held_lost(h->held);
		if (!gw_holds_lossy(h))
			p2p_log(h->gw->log, P2P_LOG_WARN,
				"there is no room for all user records of others ([limits] "
				"held_max): the oldest go");
		h->lost_ms = gw_mono(h->gw);
	}
	gw_timer_set(h->tick, TICK_MS);
}

int gw_holds_new(struct gw_holds **hp, struct gw *gw)
{
	struct p2p_held_config config = {.max = (size_t)gw->settings->held_max,
					 .signer_max = (size_t)gw->settings->held_per_peer_max};
	struct gw_holds *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return ENOMEM;
	h->gw = gw;
	err = gw_crypto_random(&config.hash_key, sizeof(config.hash_key));
	if (!err)
		err = gw_crypto_random(&h->instance, sizeof(h->instance));
	if (!err)
		err = p2p_held_new(&h->held, &config);
	if (!err)
		err = gw_map_new(&h->watched, WATCHED_MAX, false, watched_drop, h);
	if (!err)
		err = gw_tells_new(&h->tells, gw, on_unwanted, h);
	h->tick = err ? NULL : event_new(gw->base, -1, 0, on_tick, h);
	if (!h->tick) {
		gw_holds_free(h);
		return err ? err : ENOMEM;
	}
	gw_timer_set(h->tick, TICK_MS);
	*hp = h;
	return 0;
}

void gw_holds_stop(struct gw_holds *h)
{
	if (!h)
		return;
	gw_tells_free(h->tells);
	h->tells = NULL;
}

void gw_holds_free(struct gw_holds *h)
{
	if (!h)
		return;
	gw_holds_stop(h);
	if (h->tick)
		event_free(h->tick);
	gw_map_free(h->watched);
	p2p_held_free(h->held);
	free(h);
}

uint64_t gw_holds_instance(const struct gw_holds *h)
{
	return h->instance;
}

void gw_holds_stats(const struct gw_holds *h, struct gw_holds_stats *st)
{
	*st = (struct gw_holds_stats){
		.records = p2p_held_count(h->held),
		.bytes = p2p_held_bytes(h->held),
		.lost = p2p_held_lost(h->held),
		.watchers = h->watchers,
		.telling = gw_tells_waiting(h->tells),
	};
}
