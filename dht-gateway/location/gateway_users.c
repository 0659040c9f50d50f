/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A job, from p2p_published_next to p2p_published_done. Where there are holders (other members):
 *   sign -> ANNOUNCED -> a majority of the holders has it: OK
 *                     -> a holder has a later one of ours: sign again (STALE)
 *                     -> neither in time: FAILED, tried again after a while
 * and the engine is told in its own time. Where there are none, the engine is all there is:
 *   sign -> PUTTING -> put -> READING -> our record is there: OK
 *                                     -> a later one of ours is there: sign again (STALE)
 *                                     -> it is not there: FAILED, tried again after a while
 * A put's own answer proves nothing (a node that refuses says the same), so that it is read back.
 * here: the design reads before it publishes, to learn the order and the other serving peers. The
 * reading after it tells both, and a user is visible one search earlier; what a slow clock makes
 * too old is refused by the holders meanwhile, and signed again at once. */
#include "dht-gateway/location/gateway_users.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/location/gateway_announce.h"
#include "dht-gateway/enrol/gateway_auth.h"
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
#include "lib/model/userset.h"

/* A put that is not answered by then has failed. */
#define PUT_TIMEOUT_MS 5000
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
/* More users than this to be told of: those who watch are not told. */
#define RING_BACKLOG_MAX 2000
/* Addresses are not known yet: look again. */
#define NO_URIS_MS 200

struct job {
	struct gw_users *u;
	struct job *prev, *next;
	struct p2p_published_job p;
	struct p2p_key key;
	uint64_t order, expiry_ms;
	struct event *timer;
	struct dht_op *op; /* reading */
	bool put_pending;  /* the engine will call on_put */
	bool over;	   /* published was told: wait for on_put only */
	bool tombstone;	   /* wished, or for want of the authority's permission */
	bool announced;	   /* to the holders, not put */
	bool seen;
	uint64_t seen_order;	 /* highest of ours */
	struct reading *reading; /* NULL: announced */
};

/* Of a job whose record is put into the engine, and read back. */
struct reading {
	struct p2p_userset set;
	size_t len;
	uint8_t bytes[P2P_RECORD_MAX];
};

struct gw_users {
	struct gw *gw;
	struct gw_user_keys *keys;
	struct gw_map *kamailios;      /* connected instances: a bool, has it named its users */
	unsigned int kamailios_behind; /* of these, that have not */
	struct p2p_published *table;
	struct gw_confirms *confirms;
	struct event *due;
	struct job *jobs;
	unsigned int n_jobs; /* that are not over */
	uint64_t signed_ms;  /* mono: when jobs were last begun */
	uint64_t kicked_ms;
	unsigned int good; /* nodes when everything was last put */
	bool stopping;
	bool restoring;
	bool put_any;
	bool no_uris; /* said so */
	bool held;    /* there are holders, as when last looked */
};

static void arm(struct gw_users *u);

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

static void job_unlink(struct job *j)
{
	if (j->prev)
		j->prev->next = j->next;
	else
		j->u->jobs = j->next;
	if (j->next)
		j->next->prev = j->prev;
	event_free(j->timer);
	free(j->reading);
	free(j);
}

/* A user that is not in the table is not out there. */
static bool confirmed(const struct gw_users *u, const char *name, size_t len)
{
	struct p2p_published_info info;

	return p2p_published_get(u->table, name, len, &info) || info.confirmed;
}

void gw_users_confirm(struct gw_users *u, const char *name, size_t len, uint64_t deadline_ms,
		      gw_confirm_h *h, void *arg)
{
	if (confirmed(u, name, len)) {
		h(0, arg);
		return;
	}
	gw_confirms_wait(u->confirms, name, len, deadline_ms, h, arg);
	arm(u);
	if (u->held)
		gw_announces_hurry(u->gw->announces);
}

size_t gw_users_confirms(const struct gw_users *u)
{
	return gw_confirms_count(u->confirms);
}

/* j may be gone afterwards. */
static void job_end(struct job *j, enum p2p_put_result result, const char *why)
{
	struct gw_users *u = j->u;
	struct gw *gw = u->gw;

	if (j->over)
		return;
	j->over = true;
	u->n_jobs--;
	event_del(j->timer);
	if (j->op && gw->dht)
		gw->dht_ops->cancel(gw->dht, j->op);
	j->op = NULL;
	if (j->announced)
		gw_announces_cancel(gw->announces, &j->key);
	p2p_log(gw->log, P2P_LOG_DBG, "user '%s': %s %s%s%s", j->p.name,
		j->p.tombstone ? "withdrawal" : "record",
		result == P2P_PUT_OK	  ? (j->announced ? "is held" : "is on the DHT")
		: result == P2P_PUT_STALE ? "is signed again past a later one"
					  : "is to be put again",
		*why ? ": " : "", why);
	if (result == P2P_PUT_FAILED)
		gw->metrics.puts_failed++;
	else if (result == P2P_PUT_STALE)
		gw->metrics.puts_stale++;
	p2p_published_done(u->table, j->p.id, result, j->order, j->expiry_ms, gw_wall(gw),
			   gw_mono(gw));
	if (result == P2P_PUT_OK) {
		struct p2p_published_info info;

		if (j->p.tombstone && !u->stopping &&
		    (p2p_published_get(u->table, j->p.name, j->p.name_len, &info) ||
		     info.desired == P2P_DESIRED_GONE)) {
			gw_state_user(gw->state, GW_STATE_GONE, j->p.name, j->p.name_len, 0, NULL,
				      0);
			gw_watches_del(gw->watches, j->p.name, j->p.name_len);
		} else if (!j->p.tombstone) {
			gw_watches_add(gw->watches, j->p.name, j->p.name_len, false);
		}
		if (confirmed(u, j->p.name, j->p.name_len))
			gw_confirms_told(u->confirms, j->p.name, j->p.name_len);
	}
	if (!j->put_pending)
		job_unlink(j);
	arm(u);
}

static void on_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len,
		     bool here, void *arg)
{
	struct job *j = arg;
	struct gw *gw = j->u->gw;
	struct p2p_record rec;
	struct p2p_hit signer;

	(void)id;
	if (!gw_record_read(gw, P2P_RECORD_USER, key, NULL, data, len, &rec, &signer))
		return;
	p2p_hlc_see(&gw->hlc, rec.order, gw_wall(gw));
	p2p_userset_add(&j->reading->set, &rec, &signer, data, len);
	if (p2p_hit_cmp(&signer, &gw->hit))
		return;
	if (!here && rec.order == j->order && rec.tombstone == j->tombstone)
		j->seen = true;
	if (rec.order > j->seen_order)
		j->seen_order = rec.order;
}

static void on_got(enum dht_verdict verdict, unsigned int nodes, void *arg)
{
	struct p2p_candidate_set others;
	struct job *j = arg;
	struct gw *gw = j->u->gw;
	uint64_t told;

	(void)nodes;
	j->op = NULL;
	if (j->over)
		return;
	/* who else serves this user */
	told = gw->metrics.events_users;
	gw_cache_put(gw->cache, j->p.name, j->p.name_len, &j->reading->set, verdict == DHT_COMPLETE,
		     true);
	/* The cache tells of changes to what it has kept; Kamailio may know less, say because it
	 * did not serve the user meanwhile. */
	gw_peers_candidates(gw->peers, &j->reading->set, &others);
	if (!j->p.tombstone && others.n > 0 && told == gw->metrics.events_users)
		gw_users_event(gw, j->p.name, j->p.name_len);
	if (j->seen_order > j->order) {
		job_end(j, P2P_PUT_STALE, "");
	} else if (j->seen) {
		job_end(j, P2P_PUT_OK, "");
	} else {
		gw->metrics.puts_unconfirmed++;
		job_end(j, P2P_PUT_FAILED, "it could not be read back");
	}
}

/* Those who watch the name are told of what is new to them; not of a repeated put, and not while so
 * much is new that the telling would cost as much as the putting. */
static void ring(struct job *j)
{
	struct gw *gw = j->u->gw;
	struct p2p_published_stats st;

	if (!j->p.first && !j->p.changed && j->tombstone == j->p.tombstone)
		return;
	p2p_published_stats(j->u->table, &st);
	if (st.dirty > RING_BACKLOG_MAX)
		return;
	gw->dht_ops->ring(gw->dht, j->key.b, gw_record_bell_id(&gw->hit, j->order),
			  j->reading->bytes, j->reading->len);
}

static void on_put(int err, unsigned int nodes, void *arg)
{
	struct job *j = arg;
	struct gw_users *u = j->u;
	struct gw *gw = u->gw;
	struct dht_stats st;

	(void)nodes;
	j->put_pending = false;
	if (j->over || err == ECANCELED) {
		if (!j->over) {
			j->over = true;
			u->n_jobs--;
		}
		job_unlink(j);
		return;
	}
	if (err) {
		gw->dht_ops->stats(gw->dht, &st);
		/* Alone, there is nobody to tell: whoever comes is told by gw_users_kick. */
		job_end(j, st.alone ? P2P_PUT_OK : P2P_PUT_FAILED,
			st.alone ? "and nobody else is there to keep it" : strerror(err));
		return;
	}
	ring(j);
	if (gw->dht_ops->get(gw->dht, j->key.b, on_found, on_got, j, &j->op)) {
		j->op = NULL;
		job_end(j, P2P_PUT_FAILED, "too many reads under way");
	}
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	job_end(arg, P2P_PUT_FAILED, "no answer in time");
}

/* The authority's word that this peer may serve the user. Where there is none, and it is wanted:
 * nobody would believe the record, and what was put before is withdrawn. */
static int job_permission(struct job *j, struct p2p_record *rec)
{
	struct gw *gw = j->u->gw;
	int err = gw_auth_permission(gw->auth, j->p.name, j->p.name_len, rec->permission,
				     &rec->permission_len);

	if (err)
		rec->permission_len = 0;
	if (!err || !atomic_load(&gw->permission_required))
		return 0;
	if (err == EACCES && j->p.last_expiry_ms > gw_wall(gw)) {
		j->tombstone = rec->tombstone = true;
		return 0;
	}
	return err;
}

static int job_record(struct job *j, uint8_t *buf, size_t *len)
{
	struct gw *gw = j->u->gw;
	struct p2p_record rec;
	int err;

	memset(&rec, 0, sizeof(rec));
	rec.kind = P2P_RECORD_USER;
	rec.tombstone = j->tombstone;
	rec.key = j->key;
	rec.epoch = gw->epoch;
	if (!rec.tombstone) {
		err = job_permission(j, &rec);
		if (err)
			return err;
	}
	if (!rec.tombstone) {
		err = gw_peers_locators(gw->peers, &rec);
		if (err)
			return err;
		for (unsigned int i = 0; i < j->p.n_instances; i++)
			p2p_record_add_instance(&rec, j->p.instance[i]);
	}
	err = gw_record_make(gw, &rec, (uint64_t)gw->settings->record_lifetime_s * 1000,
			     rec.tombstone ? j->p.last_expiry_ms : 0, buf, len);
	if (err)
		return err;
	j->order = rec.order;
	j->expiry_ms = rec.expiry_ms;
	return 0;
}

static void on_older_put(int err, unsigned int nodes, void *arg)
{
	(void)err;
	(void)nodes;
	(void)arg;
}

/* For those who do not have the new secret yet: what is new. The rest lies there from before, and a
 * permission is for one secret only. */
static void put_older(struct job *j)
{
	struct gw *gw = j->u->gw;
	uint8_t buf[P2P_RECORD_MAX];
	struct job old = *j;
	size_t len;

	if (!j->p.first && !j->p.changed && !j->tombstone)
		return;
	for (unsigned int age = 1; age < gw_record_ages(gw); age++)
		if (!(atomic_load(&gw->permission_required) && !j->tombstone) &&
		    !gw_record_key_user_at(gw, j->p.name, j->p.name_len, age, &old.key) &&
		    !job_record(&old, buf, &len)) {
			if (j->announced)
				gw_announces_put(gw->announces, buf, len, NULL, NULL);
			else
				gw->dht_ops->put(gw->dht, old.key.b, p2p_record_value_id(&gw->hit),
						 buf, len, on_older_put, gw);
		}
}

static void on_announced(int err, uint64_t order, void *arg)
{
	struct job *j = arg;
	struct gw *gw = j->u->gw;

	if (err == ESTALE) {
		p2p_hlc_see(&gw->hlc, order, gw_wall(gw));
		job_end(j, P2P_PUT_STALE, "");
	} else {
		job_end(j, P2P_PUT_OK, "");
	}
}

static void job_announce(struct job *j, const uint8_t *buf, size_t len)
{
	struct gw *gw = j->u->gw;
	int err;

	j->announced = true;
	err = gw_announces_put(gw->announces, buf, len, on_announced, j);
	if (!err || err == EALREADY)
		put_older(j);
	if (!err)
		gw_timer_set(j->timer, PUT_TIMEOUT_MS);
	else
		job_end(j, err == EALREADY ? P2P_PUT_OK : P2P_PUT_FAILED,
			err == EALREADY ? "" : strerror(err));
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

/* Takes p, which is in flight, to its end. */
static void job_start(struct gw_users *u, const struct p2p_published_job *p)
{
	struct gw *gw = u->gw;
	struct job *j = calloc(1, sizeof(*j));
	uint8_t buf[P2P_RECORD_MAX];
	size_t len;
	int err;

	if (j)
		j->timer = event_new(gw->base, -1, 0, on_timeout, j);
	if (!j || !j->timer) {
		free(j);
		p2p_published_done(u->table, p->id, P2P_PUT_FAILED, 0, 0, gw_wall(gw), gw_mono(gw));
		return;
	}
	j->u = u;
	j->p = *p;
	j->tombstone = p->tombstone;
	j->next = u->jobs;
	if (j->next)
		j->next->prev = j;
	u->jobs = j;
	u->n_jobs++;
	err = gw_record_key_user(gw, p->name, p->name_len, &j->key);
	if (!err)
		err = job_record(j, buf, &len);
	if (err == EAGAIN || err == EACCES || err == EPERM) {
		if (err != EAGAIN)
			gw_warn_source(gw, p->name, p->name_len, "user '%s' is not published: %s",
				       p->name, p2p_record_fault_text(P2P_RECORD_NO_PERMISSION));
		job_end(j, P2P_PUT_FAILED, "the authority's permission for it is not here");
		return;
	}
	if (err) {
		gw_warn_source(gw, "sign", 4, "cannot sign the record of user '%s': %s", p->name,
			       err == ERANGE ? "the clock was set back" : strerror(err));
		job_end(j, P2P_PUT_FAILED, "it could not be signed");
		return;
	}
	if (u->held) {
		job_announce(j, buf, len);
		return;
	}
	j->reading = malloc(sizeof(*j->reading));
	if (!j->reading) {
		job_end(j, P2P_PUT_FAILED, strerror(ENOMEM));
		return;
	}
	p2p_userset_init(&j->reading->set);
	j->put_pending = true;
	u->put_any = true;
	gw->metrics.puts++;
	memcpy(j->reading->bytes, buf, len);
	j->reading->len = len;
	err = gw->dht_ops->put(gw->dht, j->key.b, p2p_record_value_id(&gw->hit), buf, len, on_put,
			       j);
	if (err) {
		j->put_pending = false;
		job_end(j, P2P_PUT_FAILED, strerror(err));
		return;
	}
	gw_timer_set(j->timer, PUT_TIMEOUT_MS);
	put_older(j);
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
		job_start(u, &p);
	arm(u);
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

/* The next thing to do, by timer: never from inside a caller. */
static void arm(struct gw_users *u)
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

static void compact_user(const struct p2p_published_info *info, void *arg)
{
	struct gw_users *u = arg;
	enum gw_state_mark mark = GW_STATE_USER;

	if (info->desired == P2P_DESIRED_GONE) {
		if (info->put == P2P_PUT_KILLED || info->put == P2P_PUT_NOTHING)
			return;
		mark = GW_STATE_WITHDRAWN;
	}
	gw_state_user(u->gw->state, mark, info->name, info->name_len, info->kamailio,
		      info->instance, info->n_instances);
}

static void compact(struct gw_users *u)
{
	struct p2p_published_stats st;
	uint64_t cursor = 0;
	int err;

	p2p_published_stats(u->table, &st);
	if (!gw_state_compact_due(u->gw->state, st.entries))
		return;
	err = gw_state_compact_begin(u->gw->state);
	if (!err) {
		do
			p2p_published_scan(u->table, &cursor, 4096, compact_user, u);
		while (cursor);
		err = gw_state_compact_end(u->gw->state);
	}
	if (err)
		p2p_log(u->gw->log, P2P_LOG_ERR, "the journal of users cannot be written anew: %s",
			strerror(err));
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
		compact(u);
		arm(u);
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
		if (confirmed(u, name, len))
			gw_confirms_told(u->confirms, name, len);
		compact(u);
		arm(u);
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
	arm(u);
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
	arm(u);
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
	arm(u);
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
		arm(u);
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

struct restore {
	struct gw_users *u;
	enum gw_state_mark mark; /* only these */
	bool withdraw;
	unsigned int n;
};

static void restore_one(enum gw_state_mark mark, const char *name, size_t len, uint64_t kamailio,
			const uint32_t *instances, size_t n, void *arg)
{
	struct restore *r = arg;
	uint64_t seen, now = gw_mono(r->u->gw);

	if (mark != r->mark)
		return;
	r->n++;
	gw_user_keys_learn(r->u->keys, name, len);
	if (r->withdraw)
		p2p_published_withdraw(r->u->table, name, len, kamailio, 0, now, &seen);
	else
		p2p_published_publish(r->u->table, name, len, kamailio, 0, instances, n, now,
				      &seen);
}

/* Users whose withdrawal may not have reached the DHT: their records may be out there, until when
 * at most is known. */
static int restore_withdrawn(struct gw_users *u, unsigned int *n)
{
	struct restore r = {.u = u, .mark = GW_STATE_WITHDRAWN};
	struct gw *gw = u->gw;
	struct p2p_published_job p;
	int err = gw_state_users_load(gw->state, restore_one, &r);

	if (err || !r.n)
		return err;
	while (!p2p_published_next(u->table, gw_mono(gw), &p))
		p2p_published_done(u->table, p.id, P2P_PUT_OK, 0,
				   gw_wall(gw) + (uint64_t)gw->settings->record_lifetime_s * 1000,
				   gw_wall(gw), gw_mono(gw));
	*n = r.n;
	r.withdraw = true;
	return gw_state_users_load(gw->state, restore_one, &r);
}

void gw_users_announced(struct gw_users *u)
{
	gw_announces_on_other(u->gw->announces, on_other, u);
}

int gw_users_restore(struct gw_users *u)
{
	struct restore users = {.u = u, .mark = GW_STATE_USER};
	unsigned int gone = 0;
	int err;

	u->restoring = true;
	err = restore_withdrawn(u, &gone);
	if (!err)
		err = gw_state_users_load(u->gw->state, restore_one, &users);
	u->restoring = false;
	if (users.n || gone)
		p2p_log(u->gw->log, P2P_LOG_INFO,
			"%u users of the last run are published again, %u are withdrawn", users.n,
			gone);
	compact(u);
	arm(u);
	return err;
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
	while (u->jobs) {
		struct job *j = u->jobs;

		if (j->op && u->gw->dht)
			u->gw->dht_ops->cancel(u->gw->dht, j->op);
		job_unlink(j);
	}
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
