/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our own peer record: where Kamailio is reached, and the lease. It is signed anew each third of
 * the lease, put into the engine, read back, and told to the members: timer -> PUTTING -> put, read
 * back -> timer: a third of the lease
 *                    -> not there       -> timer: soon again */
#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include "dht-gateway/gateway_state.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/location/gateway_users.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/members/gateway_peers_impl.h"
#include "dht-gateway/peers/gateway_serve.h"
#include "dht-gateway/peers/gateway_session.h"

#define OWN_RETRY_MS 1000
#define SOFTWARE "kamailio-p2psip"

static void own_start(struct gw_peers *p);

unsigned int gw_peers_uris(const struct gw_peers *p,
			   char uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX])
{
	const struct setting_list *set = &p->gw->settings->uri;
	unsigned int n = 0;

	if (!set->n) {
		memcpy(uri, p->uri, sizeof(p->uri));
		return p->n_uris;
	}
	for (size_t i = 0; i < set->n && n < P2P_CANDIDATE_URIS_MAX; i++)
		if (strlen(set->v[i]) < P2P_CANDIDATE_URI_MAX)
			strcpy(uri[n++], set->v[i]);
	return n;
}

int gw_peers_locators(const struct gw_peers *p, struct p2p_record *rec)
{
	char uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX];
	unsigned int n = gw_peers_uris(p, uri);

	if (!n)
		return ENOENT;
	for (unsigned int i = 0; i < n; i++) {
		int err = p2p_record_add_uri(rec, uri[i], strlen(uri[i]));

		if (err)
			return err;
	}
	gw_serve_locators(p->gw->serve, rec);
	return 0;
}

int gw_peers_uris_set(struct gw_peers *p, const char *const *uri, const size_t *len, unsigned int n)
{
	char next[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX];
	struct p2p_record rec;

	if (!n)
		return 0;
	if (n > P2P_CANDIDATE_URIS_MAX)
		return EINVAL;
	memset(next, 0, sizeof(next));
	memset(&rec, 0, sizeof(rec));
	for (unsigned int i = 0; i < n; i++) {
		if (len[i] >= P2P_CANDIDATE_URI_MAX || p2p_record_add_uri(&rec, uri[i], len[i]))
			return EINVAL;
		memcpy(next[i], uri[i], len[i]);
	}
	if (n == p->n_uris && !memcmp(next, p->uri, sizeof(next)))
		return 0;
	memcpy(p->uri, next, sizeof(next));
	p->n_uris = n;
	gw_state_uris_save(p->gw->state, p->uri, n);
	p2p_log(p->gw->log, P2P_LOG_INFO, "Kamailio is reached at %s%s", p->uri[0],
		n > 1 ? " and others" : "");
	if (p->gw->settings->uri.n)
		return 0;
	gw_users_renew(p->gw->users);
	gw_peers_announce(p);
	gw_sessions_reconsider(p->gw->sessions);
	return 0;
}

static void own_end(struct gw_peers *p, bool ok)
{
	uint64_t lease = (uint64_t)p->gw->settings->lease_s * 1000;

	event_del(p->own_deadline);
	p->putting = false;
	if (ok)
		p->lease_ms = p->lease_next;
	if (p->again) {
		p->again = false;
		own_start(p);
		return;
	}
	gw_timer_set(p->own_timer, ok ? lease / 3 : OWN_RETRY_MS);
}

void gw_peers_own_seen(struct gw_peers *p, const struct p2p_record *rec)
{
	struct gw *gw = p->gw;

	if (rec->epoch > gw->epoch && !rec->tombstone) {
		p2p_log(gw->log, P2P_LOG_WARN,
			"this peer had a later epoch before (the clock was set back?): a new one "
			"begins");
		if (gw_state_epoch_new(gw->state, rec->epoch + 1))
			return;
		gw_users_renew(gw->users);
		gw_peers_announce(p);
	}
	/* of a former life, or one of this life that went before */
	if (rec->order > p->told_order)
		gw_peers_own_tell(p);
}

static void on_own_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len,
			 bool here, void *arg)
{
	struct gw_peers *p = arg;
	struct gw *gw = p->gw;
	struct p2p_record rec;

	(void)id;
	if (!gw_record_read(gw, P2P_RECORD_PEER, key, &gw->hit, data, len, &rec, NULL))
		return;
	if (rec.order >= p->order && !here)
		p->seen = true;
	if (rec.order > p->order) {
		/* of a former life, whose clock was ahead */
		p2p_hlc_see(&gw->hlc, rec.order, gw_wall(gw));
		p->again = true;
	}
	if (rec.epoch > gw->epoch && !rec.tombstone)
		gw_peers_own_seen(p, &rec);
}

static void on_own_got(enum dht_verdict verdict, unsigned int nodes, void *arg)
{
	struct gw_peers *p = arg;

	(void)verdict;
	(void)nodes;
	p->own_op = NULL;
	if (!p->seen)
		p->gw->metrics.puts_unconfirmed++;
	own_end(p, p->seen);
}

static void on_own_put(int err, unsigned int nodes, void *arg)
{
	struct gw_peers *p = arg;
	struct gw *gw = p->gw;
	struct dht_stats st;

	(void)nodes;
	if (err == ECANCELED)
		return;
	if (!p->putting || p->own_op)
		return; /* its deadline came first */
	gw->dht_ops->stats(gw->dht, &st);
	if (err) {
		/* alone: there is nobody to tell, and whoever comes is told then */
		own_end(p, st.alone);
		return;
	}
	p->seen = false;
	if (gw->dht_ops->get(gw->dht, p->key.b, on_own_found, on_own_got, p, &p->own_op)) {
		p->own_op = NULL;
		own_end(p, false);
	}
}

static void on_own_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct gw_peers *p = arg;

	(void)fd;
	(void)what;
	if (!p->putting)
		return;
	if (p->own_op) {
		p->gw->dht_ops->cancel(p->gw->dht, p->own_op);
		p->own_op = NULL;
	}
	own_end(p, false);
}

static void on_older_put(int err, unsigned int nodes, void *arg)
{
	(void)err;
	(void)nodes;
	(void)arg;
}

/* For those who do not have the new secret yet. */
static void own_put_older(struct gw_peers *p, const struct p2p_record *own)
{
	struct gw *gw = p->gw;
	uint8_t buf[P2P_RECORD_MAX];
	size_t len;

	for (unsigned int age = 1; age < gw_record_ages(gw); age++) {
		struct p2p_record rec = *own;

		if (!gw_record_key_peer_at(gw, &gw->hit, age, &rec.key) &&
		    !gw_record_make(gw, &rec, (uint64_t)gw->settings->record_lifetime_s * 1000, 0,
				    buf, &len))
			gw->dht_ops->put(gw->dht, rec.key.b, p2p_record_value_id(&gw->hit), buf,
					 len, on_older_put, p);
	}
}

/* The latest of ours. */
static uint64_t own_order(const struct gw_peers *p)
{
	return p->order > p->told_order ? p->order : p->told_order;
}

int gw_peers_own_record(const struct gw_peers *p, struct p2p_record *rec)
{
	struct gw *gw = p->gw;

	memset(rec, 0, sizeof(*rec));
	rec->kind = P2P_RECORD_PEER;
	rec->key = p->key;
	rec->order = own_order(p);
	rec->epoch = gw->epoch;
	rec->lease_ms = gw_wall(gw) + (uint64_t)gw->settings->lease_s * 1000;
	strcpy(rec->software, SOFTWARE);
	return gw_peers_locators(p, rec);
}

static void own_sign_and_tell(struct gw_peers *p, struct p2p_record *rec)
{
	struct gw *gw = p->gw;
	uint8_t buf[P2P_RECORD_MAX];
	size_t len;

	if (gw_record_make(gw, rec, (uint64_t)gw->settings->record_lifetime_s * 1000, 0, buf, &len))
		return;
	p->told_order = rec->order;
	gw_gossip_own(gw->gossip, rec, buf, len, true);
}

void gw_peers_own_tell(struct gw_peers *p)
{
	struct p2p_record rec;

	if (!p->left && !gw_peers_own_record(p, &rec))
		own_sign_and_tell(p, &rec);
}

void gw_peers_own_leave(struct gw_peers *p)
{
	struct p2p_record rec = {
		.kind = P2P_RECORD_PEER, .key = p->key, .tombstone = true, .order = own_order(p)};

	p->left = true;
	own_sign_and_tell(p, &rec);
}

static void own_start(struct gw_peers *p)
{
	struct gw *gw = p->gw;
	struct p2p_record rec;
	uint8_t buf[P2P_RECORD_MAX];
	size_t len;
	int err;

	err = gw_peers_own_record(p, &rec);
	if (err) {
		/* no Kamailio has told us its address yet */
		gw_timer_set(p->own_timer, OWN_RETRY_MS);
		return;
	}
	/* it outlives the lease: a lapsed peer is unknown, not absent */
	err = gw_record_make(gw, &rec, (uint64_t)gw->settings->record_lifetime_s * 1000, 0, buf,
			     &len);
	if (err) {
		gw_warn_source(gw, "own peer record", 15, "cannot sign our peer record: %s",
			       strerror(err));
		gw_timer_set(p->own_timer, OWN_RETRY_MS);
		return;
	}
	p->order = rec.order;
	if (!p->left && gw_gossip_own(gw->gossip, &rec, buf, len, false))
		p->told_order = rec.order;
	p->lease_next = rec.lease_ms;
	p->putting = true;
	gw_timer_set(p->own_deadline, (uint64_t)gw->settings->query_timeout_ms * 2);
	err = gw->dht_ops->put(gw->dht, p->key.b, p2p_record_value_id(&gw->hit), buf, len,
			       on_own_put, p);
	if (err)
		own_end(p, false);
	own_put_older(p, &rec);
}

static void on_own_timer(evutil_socket_t fd, short what, void *arg)
{
	struct gw_peers *p = arg;

	(void)fd;
	(void)what;
	if (!p->putting && p->gw->dht)
		own_start(p);
}

void gw_peers_announce(struct gw_peers *p)
{
	if (p->putting)
		p->again = true;
	else
		gw_timer_set(p->own_timer, 0);
}

static void on_probe_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data,
			   size_t len, bool here, void *arg)
{
	(void)key;
	(void)id;
	(void)data;
	(void)len;
	(void)here;
	(void)arg;
}

static void on_probe_got(enum dht_verdict verdict, unsigned int nodes, void *arg)
{
	struct gw_peers *p = arg;

	(void)verdict;
	(void)nodes;
	p->probe = NULL;
}

void gw_peers_probe(struct gw_peers *p)
{
	struct gw *gw = p->gw;

	if (p->probe)
		return;
	if (gw->dht_ops->get(gw->dht, p->key.b, on_probe_found, on_probe_got, p, &p->probe))
		p->probe = NULL;
}

uint64_t gw_peers_lease(const struct gw_peers *p)
{
	return p->lease_ms;
}

int gw_peers_own_new(struct gw_peers *p)
{
	struct gw *gw = p->gw;
	int err;

	p->own_timer = event_new(gw->base, -1, 0, on_own_timer, p);
	p->own_deadline = event_new(gw->base, -1, 0, on_own_deadline, p);
	if (!p->own_timer || !p->own_deadline)
		return ENOMEM;
	err = gw_record_key_peer(gw, &gw->hit, &p->key);
	if (err)
		return err;
	p->n_uris = gw_state_uris_load(gw->state, p->uri);
	gw_timer_set(p->own_timer, 0);
	return 0;
}

void gw_peers_own_free(struct gw_peers *p)
{
	if (p->own_op && p->gw->dht)
		p->gw->dht_ops->cancel(p->gw->dht, p->own_op);
	if (p->probe && p->gw->dht)
		p->gw->dht_ops->cancel(p->gw->dht, p->probe);
	if (p->own_timer)
		event_free(p->own_timer);
	if (p->own_deadline)
		event_free(p->own_deadline);
}
