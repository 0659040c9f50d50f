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
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/location/gateway_announce.h"
#include "dht-gateway/enrol/gateway_auth.h"
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/location/gateway_confirm.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/gateway_state.h"
#include "dht-gateway/location/gateway_users_impl.h"
#include "dht-gateway/location/gateway_watch.h"
#include "lib/model/userset.h"

/* A put that is not answered by then has failed. */
#define PUT_TIMEOUT_MS 5000
/* More users than this to be told of: those who watch are not told. */
#define RING_BACKLOG_MAX 2000

struct job {
	struct gw_users *u;
	LIST_ENTRY(job) all;
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

static void job_unlink(struct job *j)
{
	LIST_REMOVE(j, all);
	event_free(j->timer);
	free(j->reading);
	free(j);
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
		if (gw_users_confirmed(u, j->p.name, j->p.name_len))
			gw_confirms_told(u->confirms, j->p.name, j->p.name_len);
	}
	if (!j->put_pending)
		job_unlink(j);
	gw_users_arm(u);
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
	gw_record_seen(gw, &rec, &signer);
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
	rec.order = j->order > j->p.last_order ? j->order : j->p.last_order;
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

/* Takes p, which is in flight, to its end. */
void gw_users_job_start(struct gw_users *u, const struct p2p_published_job *p)
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
	LIST_INSERT_HEAD(&u->jobs, j, all);
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

void gw_users_jobs_free(struct gw_users *u)
{
	while (!LIST_EMPTY(&u->jobs)) {
		struct job *j = LIST_FIRST(&u->jobs);

		if (j->op && u->gw->dht)
			u->gw->dht_ops->cancel(u->gw->dht, j->op);
		job_unlink(j);
	}
}
