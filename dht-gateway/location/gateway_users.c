/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/location/gateway_users.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/location/gateway_announce.h"
#include "dht-gateway/enrol/gateway_auth_store.h"
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/location/gateway_confirm.h"
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/gateway_state.h"
#include "dht-gateway/location/gateway_watch.h"
#include "dht-gateway/location/gateway_user_keys.h"
#include "dht-gateway/location/gateway_users_impl.h"

#define RETRY_MIN_MS 250
#define RETRY_MAX_MS 15000
#define TOMBSTONE_MS 600000
/* Puts of a renewal are spread so that this many start a second at most: by the engine, and by
 * holders. */
#define RENEW_PER_S 400
#define RENEW_HELD_PER_S 5000
/* Announcements that are not confirmed yet; and how many are signed before others have a turn. */
#define ANNOUNCE_WINDOW 1024
#define SIGN_AT_ONCE 64
/* Where there are holders, what comes within so long after others is signed with what comes then,
 * and told in one round; while a phone waits for its 200 OK until others know of it. */
#define TOGETHER_MS 30
#define TOGETHER_HURRY_MS 5
/* Not more often than this is everything put again because nodes came. */
#define KICK_MS 5000
/* Addresses are not known yet: look again. */
#define NO_URIS_MS 200

/* Jobs at once. */
static unsigned int window(const struct gw_users *u)
{
	return u->held ? ANNOUNCE_WINDOW : (unsigned int)u->gw->settings->put_window;
}

static void drop_free(void *value, void *arg)
{
	(void)arg;
	free(value);
}

static bool served(const char *name, size_t len, void *arg)
{
	return gw_users_serves(arg, name, len) != 0;
}

int gw_users_find(const struct gw_users *u, const struct p2p_key *key, const char **name,
		  size_t *len)
{
	return gw_user_keys_find(u->keys, key, name, len);
}

bool gw_users_complete(const struct gw_users *u)
{
	return gw_map_count(u->kamailios) && !u->kamailios_behind;
}

static struct p2p_published_config config_of(const struct gw *gw)
{
	const struct gw_settings *s = gw->settings;
	/* what is put once in half of its life is there even if one put fails */
	int64_t reput = s->record_lifetime_s / 2;

	if (reput > s->reput_interval_s)
		reput = s->reput_interval_s;
	return (struct p2p_published_config){
		.max = (size_t)s->users_max,
		.reput_ms = (uint64_t)reput * 1000,
		.retry_min_ms = RETRY_MIN_MS,
		.retry_max_ms = RETRY_MAX_MS,
		.orphan_ms = (uint64_t)s->orphan_timeout_s * 1000,
		.tombstone_ms = TOMBSTONE_MS,
	};
}

bool gw_users_confirmed(const struct gw_users *u, const char *name, size_t len)
{
	struct p2p_published_info info;

	return p2p_published_get(u->table, name, len, &info) || info.confirmed;
}

void gw_users_confirm(struct gw_users *u, const char *name, size_t len, uint64_t deadline_ms,
		      gw_confirm_h *h, void *arg)
{
	if (gw_users_confirmed(u, name, len)) {
		h(0, arg);
		return;
	}
	gw_confirms_wait(u->confirms, name, len, deadline_ms, h, arg);
	gw_users_arm(u);
	if (u->held)
		gw_announces_hurry(u->gw->announces);
}

size_t gw_users_confirms(const struct gw_users *u)
{
	return gw_confirms_count(u->confirms);
}

/* Somebody else serves one of our users, a holder says. */
static void on_other(const struct p2p_hit *from, const void *bytes, size_t len, void *arg)
{
	struct gw_users *u = arg;
	struct gw *gw = u->gw;
	uint64_t told = gw->metrics.events_users;
	struct p2p_record rec;
	struct p2p_hit signer;
	const char *name;
	size_t namelen;

	if (gw_record_judge(gw, from, bytes, len, &rec, &signer) != P2P_RECORD_OK ||
	    !p2p_hit_cmp(&signer, &gw->hit) || gw_users_find(u, &rec.key, &name, &namelen) ||
	    !gw_users_serves(u, name, namelen))
		return;
	gw_cache_add(gw->cache, name, namelen, &rec, &signer, bytes, len);
	/* Kamailio may know less than the cache does */
	if (!rec.tombstone && told == gw->metrics.events_users)
		gw_users_event(gw, name, namelen);
}

/* Holders have come, or the last one has gone: what was published by the one way is published by
 * the other. */
static void holders_look(struct gw_users *u)
{
	bool held = u->gw->announces && gw_announces_possible(u->gw->announces);

	if (held == u->held)
		return;
	u->held = held;
	gw_users_renew(u);
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	struct gw_users *u = arg;
	struct gw *gw = u->gw;
	char uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX];
	struct p2p_published_job p;
	struct dht_stats st;

	(void)fd;
	(void)what;
	if (u->stopping || !gw->dht)
		return;
	holders_look(u);
	gw->dht_ops->stats(gw->dht, &st);
	if (!st.connected && !u->held)
		return; /* gw_users_kick goes on from here */
	if (!gw_peers_uris(gw->peers, uri)) {
		if (!u->no_uris)
			p2p_log(gw->log, P2P_LOG_WARN,
				"users wait to be published until Kamailio says its SIP address "
				"(or [sip] uri is set)");
		u->no_uris = true;
		gw_timer_set(u->due, NO_URIS_MS);
		return;
	}
	u->no_uris = false;
	u->signed_ms = gw_mono(gw);
	for (unsigned int i = 0; i < SIGN_AT_ONCE && u->n_jobs < window(u) &&
				 !p2p_published_next(u->table, gw_mono(gw), &p);
	     i++)
		gw_users_job_start(u, &p);
	gw_users_arm(u);
}

/* Together with others; but not when there are enough for a whole turn. */
static uint64_t together(const struct gw_users *u, uint64_t due)
{
	struct p2p_published_stats st;
	uint64_t at =
		u->signed_ms + (gw_confirms_count(u->confirms) ? TOGETHER_HURRY_MS : TOGETHER_MS);

	p2p_published_stats(u->table, &st);
	return u->held && due < at && st.dirty < SIGN_AT_ONCE ? at : due;
}

void gw_users_arm(struct gw_users *u)
{
	uint64_t due, now = gw_mono(u->gw);

	if (u->stopping || u->restoring)
		return;
	if (u->n_jobs >= window(u)) {
		event_del(u->due);
		return;
	}
	due = p2p_published_due(u->table);
	if (due == UINT64_MAX)
		event_del(u->due);
	else
		gw_timer_set(u->due, (due = together(u, due)) > now ? due - now : 0);
}

int gw_users_publish(struct gw_users *u, const char *name, size_t len, uint64_t kamailio,
		     uint64_t seq, const uint32_t *instances, size_t n, uint64_t *seen)
{
	int err = p2p_published_publish(u->table, name, len, kamailio, seq, instances, n,
					gw_mono(u->gw), seen);

	if (!err) {
		u->gw->metrics.publishes++;
		gw_user_keys_learn(u->keys, name, len);
		gw_state_user(u->gw->state, GW_STATE_USER, name, len, kamailio, instances, n);
		gw_users_compact(u);
		gw_users_arm(u);
	} else if (err == ESTALE) {
		u->gw->metrics.stale++;
	} else if (err == ENOSPC) {
		u->gw->metrics.limit_users++;
	}
	return err;
}

int gw_users_withdraw(struct gw_users *u, const char *name, size_t len, uint64_t kamailio,
		      uint64_t seq, uint64_t *seen)
{
	int err = p2p_published_withdraw(u->table, name, len, kamailio, seq, gw_mono(u->gw), seen);

	if (!err) {
		u->gw->metrics.withdrawals++;
		gw_state_user(u->gw->state, GW_STATE_WITHDRAWN, name, len, kamailio, NULL, 0);
		if (gw_users_confirmed(u, name, len))
			gw_confirms_told(u->confirms, name, len);
		gw_users_compact(u);
		gw_users_arm(u);
	} else if (err == ESTALE) {
		u->gw->metrics.stale++;
	}
	return err;
}

int gw_users_connected(struct gw_users *u, uint64_t kamailio)
{
	bool *named = calloc(1, sizeof(*named));
	int err = named ? 0 : ENOMEM;

	if (!err && !p2p_published_connected(u->table, kamailio)) {
		u->gw->metrics.limit_kamailios++;
		err = EBUSY;
	}
	if (!err) {
		err = gw_map_put(u->kamailios, &kamailio, sizeof(kamailio), named);
		if (err)
			p2p_published_disconnected(u->table, kamailio);
	}
	if (err)
		free(named);
	else
		u->kamailios_behind++;
	return err;
}

/* It is behind until SYNCED. */
static void behind(struct gw_users *u, uint64_t kamailio)
{
	bool *named = gw_map_peek(u->kamailios, &kamailio, sizeof(kamailio));

	if (!named || !*named)
		return;
	*named = false;
	u->kamailios_behind++;
}

void gw_users_begin(struct gw_users *u, uint64_t kamailio)
{
	p2p_published_begin(u->table, kamailio);
	behind(u, kamailio);
}

int gw_users_resume(struct gw_users *u, uint64_t kamailio, uint64_t *seq)
{
	int err = p2p_published_resume(u->table, kamailio, seq);

	if (!err)
		behind(u, kamailio);
	return err;
}

void gw_users_disconnected(struct gw_users *u, uint64_t kamailio)
{
	const bool *named = gw_map_peek(u->kamailios, &kamailio, sizeof(kamailio));

	p2p_published_disconnected(u->table, kamailio);
	if (!named)
		return;
	if (!*named)
		u->kamailios_behind--;
	gw_map_del(u->kamailios, &kamailio, sizeof(kamailio));
}

size_t gw_users_synced(struct gw_users *u, uint64_t kamailio)
{
	size_t orphans = p2p_published_synced(u->table, kamailio, gw_mono(u->gw));
	bool *named = gw_map_peek(u->kamailios, &kamailio, sizeof(kamailio));

	if (named && !*named) {
		*named = true;
		u->kamailios_behind--;
	}
	gw_users_arm(u);
	return orphans;
}

int gw_users_serves(const struct gw_users *u, const char *name, size_t len)
{
	return p2p_published_serves(u->table, name, len);
}

void gw_users_renew(struct gw_users *u)
{
	struct p2p_published_stats st;

	p2p_published_stats(u->table, &st);
	p2p_published_renew(u->table, gw_mono(u->gw),
			    st.entries * 1000 / (u->held ? RENEW_HELD_PER_S : RENEW_PER_S));
	gw_users_arm(u);
}

static void rekey_one(const struct p2p_published_info *info, void *arg)
{
	struct gw_users *u = arg;

	gw_user_keys_learn(u->keys, info->name, info->name_len);
}

void gw_users_rekey(struct gw_users *u)
{
	uint64_t cursor = 0;

	p2p_published_scan(u->table, &cursor, SIZE_MAX, rekey_one, u);
	gw_users_renew(u);
}

void gw_users_configure(struct gw_users *u)
{
	struct p2p_published_config c = config_of(u->gw);

	p2p_published_configure(u->table, &c);
	gw_users_arm(u);
}

/* Others that have come know nothing yet; in an overlay of a few nodes they may be the only ones
 * left tomorrow. Beyond that, what each node keeps is looked after by OpenDHT and by the repeated
 * puts. */
void gw_users_kick(struct gw_users *u)
{
	struct gw *gw = u->gw;
	uint64_t now = gw_mono(gw);
	struct dht_stats st;
	unsigned int good;

	if (!gw->dht)
		return;
	holders_look(u);
	gw->dht_ops->stats(gw->dht, &st);
	good = st.good4 + st.good6;
	if (st.connected && !event_pending(u->due, EV_TIMEOUT, NULL))
		gw_users_arm(u);
	if (!u->put_any)
		u->good = good; /* whoever is there will be told */
	if (good < u->good)
		u->good = good;
	if (!good || 2 * good < 3 * u->good || good == u->good)
		return;
	if (u->kicked_ms && now - u->kicked_ms < KICK_MS)
		return; /* the next tick will see it */
	u->kicked_ms = now;
	u->good = good;
	gw->metrics.reputs_kicked++;
	p2p_log(gw->log, P2P_LOG_INFO, "DHT: %u nodes; all records are put again", good);
	if (u->held)
		gw_announces_engine(gw->announces);
	else
		gw_users_renew(u);
	gw_auth_store_renew(gw->enrolments);
	gw_peers_announce(gw->peers);
}

static void on_stale(const struct p2p_key *key, uint64_t order, uint64_t later, void *arg)
{
	struct gw_users *u = arg;
	struct gw *gw = u->gw;
	const char *name;
	size_t len;

	if (p2p_hlc_see(&gw->hlc, later, gw_wall(gw)) || gw_users_find(u, key, &name, &len))
		return;
	p2p_published_stale(u->table, name, len, order, gw_mono(gw));
	gw_users_arm(u);
}

void gw_users_announced(struct gw_users *u)
{
	gw_announces_on_stale(u->gw->announces, on_stale, u);
	gw_announces_on_other(u->gw->announces, on_other, u);
}

int gw_users_new(struct gw_users **up, struct gw *gw)
{
	struct p2p_published_config c = config_of(gw);
	struct gw_users *u = calloc(1, sizeof(*u));
	int err = ENOMEM;

	if (!u)
		return ENOMEM;
	u->gw = gw;
	err = gw_user_keys_new(&u->keys, gw, (size_t)gw->settings->users_max * 4, served, u);
	if (!err)
		err = gw_map_new(&u->kamailios, P2P_PUBLISHED_KAMAILIOS_MAX, false, drop_free,
				 NULL);
	if (!err)
		err = gw_confirms_new(&u->confirms, gw);
	if (err)
		goto fail;
	err = ENOMEM;
	u->due = event_new(gw->base, -1, 0, on_due, u);
	if (!u->due)
		goto fail;
	err = gw_crypto_random(&c.hash_key, sizeof(c.hash_key));
	if (err)
		goto fail;
	err = p2p_published_new(&u->table, &c);
	if (err)
		goto fail;
	*up = u;
	return 0;
fail:
	gw_users_free(u);
	return err;
}

void gw_users_free(struct gw_users *u)
{
	if (!u)
		return;
	u->stopping = true;
	gw_confirms_free(u->confirms);
	gw_users_jobs_free(u);
	p2p_published_free(u->table);
	gw_user_keys_free(u->keys);
	if (u->kamailios)
		gw_map_free(u->kamailios);
	if (u->due)
		event_free(u->due);
	free(u);
}

const struct p2p_published *gw_users_table(const struct gw_users *u)
{
	return u->table;
}
