/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A record's turn: due -> put -> read back -> another node has it: due again after
 * reput_interval_s; else after a while. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include "dht-gateway/enrol/gateway_auth_store_impl.h"
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/location/gateway_records.h"

#define WINDOW 16
#define PUT_TIMEOUT_MS 5000
#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 30000
#define IDLE_MS 60000

struct gw_auth_put {
	struct gw_auth_store *s;
	LIST_ENTRY(gw_auth_put) all;
	struct gw_auth_entry *held; /* NULL: over */
	uint64_t order;
	struct event *timer;
	struct dht_op *op;
	bool pending; /* the engine will call on_put */
	bool seen;
};

static void put_free(struct gw_auth_put *p)
{
	LIST_REMOVE(p, all);
	event_free(p->timer);
	free(p);
}

static void tell(struct gw_auth_entry *h, int err)
{
	gw_auth_put_h *told = h->h;
	void *arg = h->arg;

	h->h = NULL;
	if (told)
		told(err, arg);
}

/* p may be gone afterwards. */
static void put_end(struct gw_auth_put *p, int err)
{
	struct gw_auth_store *s = p->s;
	struct gw_auth_entry *h = p->held;

	if (!h)
		return;
	p->held = NULL;
	h->put = NULL;
	s->n_puts--;
	event_del(p->timer);
	if (p->op && s->gw->dht)
		s->gw->dht_ops->cancel(s->gw->dht, p->op);
	p->op = NULL;
	TAILQ_REMOVE(&s->due, h, due);
	if (h->pub.rec.order != p->order) {
		/* a later one came meanwhile */
		h->next_ms = 0;
		TAILQ_INSERT_HEAD(&s->due, h, due);
	} else {
		h->pub.confirmed = !err;
		h->retry_ms = !err			       ? 0
			      : !h->retry_ms		       ? RETRY_MIN_MS
			      : h->retry_ms * 2 < RETRY_MAX_MS ? h->retry_ms * 2
							       : RETRY_MAX_MS;
		h->next_ms =
			gw_mono(s->gw) +
			(err ? h->retry_ms : (uint64_t)s->gw->settings->reput_interval_s * 1000);
		if (err)
			TAILQ_INSERT_HEAD(&s->due, h, due);
		else
			TAILQ_INSERT_TAIL(&s->due, h, due);
		tell(h, err);
	}
	if (!p->pending)
		put_free(p);
	gw_auth_store_arm(s);
}

static void on_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len,
		     bool here, void *arg)
{
	struct gw_auth_put *p = arg;
	struct p2p_record rec;

	if (here || !p->held || id != p->held->pub.id ||
	    !gw_record_read(p->s->gw, P2P_RECORD_ENROLMENT, key, &p->s->gw->anchor->hit, data, len,
			    &rec, NULL))
		return;
	p->seen = p->seen || rec.order >= p->order;
}

static void on_got(enum dht_verdict verdict, unsigned int nodes, void *arg)
{
	struct gw_auth_put *p = arg;

	(void)verdict;
	(void)nodes;
	p->op = NULL;
	put_end(p, p->seen ? 0 : EAGAIN);
}

static void on_put(int err, unsigned int nodes, void *arg)
{
	struct gw_auth_put *p = arg;
	struct gw *gw = p->s->gw;
	struct gw_auth_entry *h = p->held;
	struct dht_stats st;

	(void)nodes;
	p->pending = false;
	if (!h || err == ECANCELED) {
		if (h) {
			h->put = NULL;
			p->s->n_puts--;
		}
		put_free(p);
		return;
	}
	if (err) {
		gw->dht_ops->stats(gw->dht, &st);
		put_end(p, st.alone ? 0 : err);
		return;
	}
	if (h->ring && h->pub.rec.order == p->order) {
		h->ring = false;
		gw->dht_ops->ring(gw->dht, h->pub.rec.key.b,
				  gw_record_bell_id(&gw->anchor->hit, p->order), h->pub.bytes,
				  h->pub.len);
	}
	if (gw->dht_ops->get(gw->dht, h->pub.rec.key.b, on_found, on_got, p, &p->op)) {
		p->op = NULL;
		put_end(p, EBUSY);
	}
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	put_end(arg, ETIMEDOUT);
}

static void put_start(struct gw_auth_store *s, struct gw_auth_entry *h)
{
	struct gw *gw = s->gw;
	struct gw_auth_put *p = calloc(1, sizeof(*p));

	if (p)
		p->timer = event_new(gw->base, -1, 0, on_timeout, p);
	if (!p || !p->timer) {
		free(p);
		h->next_ms = gw_mono(gw) + RETRY_MAX_MS;
		return;
	}
	p->s = s;
	p->held = h;
	p->order = h->pub.rec.order;
	LIST_INSERT_HEAD(&s->puts, p, all);
	s->n_puts++;
	h->put = p;
	gw->metrics.enrolment_puts++;
	p->pending = true;
	gw_timer_set(p->timer, PUT_TIMEOUT_MS);
	if (gw->dht_ops->put(gw->dht, h->pub.rec.key.b, h->pub.id, h->pub.bytes, h->pub.len, on_put,
			     p)) {
		p->pending = false;
		put_end(p, EBUSY);
	}
}

/* What has expired, and whose expiry all peers see, is let go. */
static bool expired(const struct gw_auth_store *s, const struct gw_auth_entry *h)
{
	if (!h->put && h->old_ms && gw_mono(s->gw) - h->old_ms > GW_SECRET_OVERLAP_MS)
		return true;
	return !h->put && h->pub.rec.expiry_ms + P2P_RECORD_FUTURE_MS < gw_wall(s->gw);
}

static void forget(struct gw_auth_store *s, struct gw_auth_entry *h)
{
	tell(h, ENOENT);
	gw_auth_store_del(s, h);
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	struct gw_auth_store *s = arg;
	struct gw *gw = s->gw;
	uint64_t now = gw_mono(gw);
	struct gw_auth_entry *h, *next;
	struct dht_stats st;

	(void)fd;
	(void)what;
	if (gw->dht)
		gw->dht_ops->stats(gw->dht, &st);
	if (!gw->dht || !st.connected) {
		gw_timer_set(s->timer, RETRY_MIN_MS);
		return;
	}
	for (h = TAILQ_FIRST(&s->due); h && s->n_puts < WINDOW; h = next) {
		next = TAILQ_NEXT(h, due);
		if (expired(s, h))
			forget(s, h);
		/* what the authority has withdrawn or replaced since is not kept alive */
		else if (!h->put && h->next_ms <= now && !h->pub.suspect)
			put_start(s, h);
		/* those behind it come later, but for the few that are tried again */
		else if (!h->put && h->next_ms > now + RETRY_MAX_MS)
			break;
	}
	gw_auth_store_arm(s);
}

void gw_auth_store_arm(struct gw_auth_store *s)
{
	uint64_t now = gw_mono(s->gw), due = now + IDLE_MS;
	const struct gw_auth_entry *h;

	if (s->closing || !s->timer)
		return;
	if (s->n_puts >= WINDOW) {
		event_del(s->timer);
		return;
	}
	TAILQ_FOREACH(h, &s->due, due) {
		if (h->put || h->pub.suspect)
			continue;
		if (h->next_ms < due)
			due = h->next_ms;
		if (h->next_ms <= now || h->next_ms > now + RETRY_MAX_MS)
			break;
	}
	gw_timer_set(s->timer, due > now ? due - now : 0);
}

int gw_auth_store_put(struct gw_auth_store *s, const struct p2p_key *key, uint64_t id, bool ring,
		      gw_auth_put_h *handler, void *arg)
{
	struct gw_auth_entry *h = gw_auth_store_find(s, key, id);

	if (!h)
		return ENOENT;
	if (h->h)
		return EBUSY;
	h->h = handler;
	h->arg = arg;
	h->ring = ring;
	h->next_ms = 0;
	TAILQ_REMOVE(&s->due, h, due);
	TAILQ_INSERT_HEAD(&s->due, h, due);
	gw_auth_store_arm(s);
	return 0;
}

void gw_auth_store_renew(struct gw_auth_store *s)
{
	struct gw_auth_entry *h;

	if (!s)
		return;
	TAILQ_FOREACH(h, &s->due, due)
		h->next_ms = 0;
	gw_auth_store_arm(s);
}

int gw_auth_store_puts_begin(struct gw_auth_store *s)
{
	s->timer = event_new(s->gw->base, -1, 0, on_due, s);
	if (!s->timer)
		return ENOMEM;
	gw_auth_store_arm(s);
	return 0;
}

void gw_auth_store_puts_end(struct gw_auth_store *s)
{
	struct gw_auth_entry *h;

	s->closing = true;
	while (!LIST_EMPTY(&s->puts)) {
		struct gw_auth_put *p = LIST_FIRST(&s->puts);

		if (p->op && s->gw->dht)
			s->gw->dht_ops->cancel(s->gw->dht, p->op);
		put_free(p);
	}
	TAILQ_FOREACH(h, &s->due, due)
		tell(h, ECANCELED);
	if (s->timer)
		event_free(s->timer);
	s->timer = NULL;
}
