/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An arc:
 *   new -> its other holders are asked, page by page -> enough told all they have: synced
 *   the ring changes: what of it lay in synced arcs stays so, the rest is asked for
 * Where all of them are new themselves (the overlay begins, or all were restarted), nobody can say
 * that he has all: then what they have has to do, after a time in which those who serve users have
 * told them anew. */
#include "dht-gateway/location/gateway_sync.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/location/gateway_hold.h"
#include "dht-gateway/location/gateway_records.h"
#include "lib/model/quorum.h"
#include "lib/proto/opp_records.h"

#define ARCS_MAX 48
#define SOURCES_MAX 18 /* holders of all seen, and of those alive */
#define HOLDERS_MAX 9
#define TICK_MS 250
#define RETRY_MS 1000
#define PAGE_MS 3000
/* Pages on their way at once. */
#define ASKS_MAX 6

enum progress { TO_ASK, ASKING, TOLD, TOLD_ALL };

struct source {
	struct arc *arc;
	struct p2p_hit hit;
	bool seen; /* one of the holders of all seen, not only of the living */
	enum progress progress;
	bool told; /* all it had, at some time */
	bool all;  /* every page so far came from one that has all */
	struct p2p_key next;
	uint64_t retry_ms; /* mono */
	struct gw_ask *ask;
	struct p2p_opp_page *page; /* while it is read */
};

struct arc {
	struct gw_sync *sync;
	struct p2p_key after, to;
	bool synced;
	uint64_t since_ms;
	unsigned int n_seen; /* holders, ourselves among them */
	unsigned int n;
	struct source source[SOURCES_MAX];
};

struct gw_sync {
	struct gw *gw;
	struct event *tick;
	struct arc *arc[ARCS_MAX];
	unsigned int n, asks;
	bool alone; /* there was nobody else: what we have then says nothing of others' users */
	bool stale; /* the ring has changed since */
	uint64_t changed_ms;
	struct gw_sync_stats st;
};

static unsigned int holders(const struct gw *gw)
{
	return (unsigned int)gw->settings->holders;
}

static bool within(const struct p2p_key *key, const struct p2p_key *after, const struct p2p_key *to)
{
	int a = memcmp(key, after, sizeof(*key)), t = memcmp(key, to, sizeof(*key));

	return memcmp(after, to, sizeof(*to)) < 0 ? a > 0 && t <= 0 : a > 0 || t <= 0;
}

static const struct arc *arc_of(const struct gw_sync *s, const struct p2p_key *key)
{
	for (unsigned int i = 0; i < s->n; i++)
		if (within(key, &s->arc[i]->after, &s->arc[i]->to))
			return s->arc[i];
	return NULL;
}

static void arc_free(struct arc *arc)
{
	for (unsigned int i = 0; i < arc->n; i++) {
		if (arc->source[i].ask) {
			gw_ask_cancel(arc->source[i].ask);
			arc->sync->asks--;
		}
		free(arc->source[i].page);
	}
	free(arc);
}

/* --- which arcs --------------------------------------------------------------------------------
 */

static void source_add(struct arc *arc, const struct gw_near *near, bool seen)
{
	struct source *src;

	if (near->self)
		return;
	for (unsigned int i = 0; i < arc->n; i++)
		if (!p2p_hit_cmp(&arc->source[i].hit, &near->hit))
			return;
	src = &arc->source[arc->n++];
	*src = (struct source){
		.arc = arc, .hit = near->hit, .seen = seen, .all = true, .next = arc->after};
}

static struct arc *arc_new(struct gw_sync *s, const struct p2p_key *after, const struct p2p_key *to)
{
	struct gw_near near[HOLDERS_MAX];
	struct arc *arc = calloc(1, sizeof(*arc));
	unsigned int n;

	if (!arc)
		return NULL;
	arc->sync = s;
	arc->after = *after;
	arc->to = *to;
	arc->since_ms = gw_mono(s->gw);
	arc->n_seen = n = gw_gossip_nearest(s->gw->gossip, to, holders(s->gw), false, near);
	for (unsigned int i = 0; i < n; i++)
		source_add(arc, &near[i], true);
	n = gw_gossip_nearest(s->gw->gossip, to, holders(s->gw), true, near);
	for (unsigned int i = 0; i < n; i++)
		source_add(arc, &near[i], false);
	return arc;
}

/* Was all of it synced? The old ones lie one behind the other. */
static bool was_synced(const struct gw_sync *s, const struct p2p_key *after,
		       const struct p2p_key *to)
{
	struct p2p_key at = *to;

	for (unsigned int i = 0; i <= s->n; i++) {
		const struct arc *arc = arc_of(s, &at);

		if (!arc || !arc->synced)
			return false;
		/* `after` lies in it, or is where it begins */
		if (!memcmp(&arc->after, after, sizeof(*after)) ||
		    (within(after, &arc->after, &arc->to) && within(after, &arc->after, &at) &&
		     memcmp(after, &at, sizeof(at))))
			return true;
		at = arc->after;
	}
	return false;
}

/* The same question to the same holders goes on. */
static struct arc *arc_keep(struct gw_sync *s, const struct arc *next)
{
	for (unsigned int i = 0; i < s->n; i++) {
		struct arc *arc = s->arc[i];

		if (!arc || memcmp(&arc->after, &next->after, sizeof(arc->after)) ||
		    memcmp(&arc->to, &next->to, sizeof(arc->to)) || arc->n != next->n ||
		    arc->n_seen != next->n_seen)
			continue;
		for (unsigned int j = 0; j < arc->n; j++)
			if (p2p_hit_cmp(&arc->source[j].hit, &next->source[j].hit) ||
			    arc->source[j].seen != next->source[j].seen)
				return NULL;
		return arc;
	}
	return NULL;
}

static void arcs_replace(struct gw_sync *s, struct arc *next[ARCS_MAX], unsigned int n, bool alone)
{
	bool forget = s->alone && !alone;

	for (unsigned int i = 0; i < n; i++)
		next[i]->synced = !forget && was_synced(s, &next[i]->after, &next[i]->to);
	for (unsigned int i = 0; i < n; i++) {
		struct arc *arc = forget ? NULL : arc_keep(s, next[i]);

		if (!arc)
			continue;
		for (unsigned int j = 0; j < s->n; j++)
			if (s->arc[j] == arc)
				s->arc[j] = s->arc[--s->n];
		arc->synced = arc->synced || next[i]->synced;
		arc_free(next[i]);
		next[i] = arc;
	}
	while (s->n)
		arc_free(s->arc[--s->n]);
	memcpy(s->arc, next, n * sizeof(next[0]));
	s->n = n;
	s->alone = alone;
}

/* From our place back, until as many that live have been passed as there are holders. */
static void arcs_make(struct gw_sync *s)
{
	struct gw *gw = s->gw;
	struct arc *next[ARCS_MAX];
	struct gw_near before[ARCS_MAX];
	struct p2p_key pos[ARCS_MAX], self;
	unsigned int n, i = 0, k = 0, alive = 0;

	s->stale = false;
	if (gw_record_key_peer(gw, &gw->hit, &self))
		return;
	n = gw_gossip_before(gw->gossip, &self, ARCS_MAX, before, pos);
	for (const struct p2p_key *to = &self; i < n && alive < holders(gw); i++) {
		next[k] = arc_new(s, &pos[i], to);
		if (!next[k]) {
			s->stale = true; /* again, later */
			break;
		}
		k++;
		if (before[i].self)
			break; /* all around */
		alive += before[i].alive;
		to = &pos[i];
	}
	arcs_replace(s, next, k, n < 2);
	s->changed_ms = gw_mono(gw);
}

/* --- asking ------------------------------------------------------------------------------------
 */

static void arc_judge(struct arc *arc)
{
	struct gw *gw = arc->sync->gw;
	unsigned int full = 0, told = 0;

	for (unsigned int i = 0; i < arc->n; i++) {
		if (!arc->source[i].seen)
			continue;
		full += arc->source[i].progress == TOLD_ALL;
		told += arc->source[i].told;
	}
	if (!arc->synced &&
	    p2p_quorum_synced(arc->n_seen, full, told,
			      arc->n_seen == 1 || gw_mono(gw) - arc->since_ms >=
							  (uint64_t)gw->settings->settle_ms))
		arc->synced = true;
}

static int read_page(const char *body, size_t len, void *arg)
{
	struct source *src = arg;

	src->page = malloc(sizeof(*src->page));
	return src->page ? p2p_opp_page_decode(src->page, body, len) : ENOMEM;
}

static void page_keep(struct source *src)
{
	struct gw_sync *s = src->arc->sync;
	const struct p2p_opp_page *page = src->page;

	s->st.pages++;
	s->st.records += page->records.n;
	for (unsigned int i = 0; i < page->records.n; i++)
		gw_holds_pulled(s->gw->holds, page->records.b + page->records.r[i].at,
				page->records.r[i].len);
	src->all = src->all && page->synced;
	/* one that does not get on has told all */
	if (page->more && within(&page->next, &src->next, &src->arc->to) &&
	    memcmp(&page->next, &src->next, sizeof(src->next))) {
		src->progress = TO_ASK;
		src->next = page->next;
		return;
	}
	src->told = true;
	src->progress = src->all ? TOLD_ALL : TOLD;
}

static void pump(struct gw_sync *s);

static void on_page(const struct gw_answer *a, void *arg)
{
	struct source *src = arg;
	struct gw_sync *s = src->arc->sync;

	src->ask = NULL;
	s->asks--;
	if (!a->err) {
		page_keep(src);
		arc_judge(src->arc);
	} else {
		src->progress = TO_ASK;
		src->retry_ms = gw_mono(s->gw) + RETRY_MS;
		s->st.failures++;
		if ((a->err == ETIMEDOUT && !a->ours) || a->err == ECONNREFUSED)
			gw_gossip_doubt(s->gw->gossip, &src->hit);
	}
	free(src->page);
	src->page = NULL;
	pump(s);
}

static void ask(struct source *src)
{
	struct gw_sync *s = src->arc->sync;
	struct gw *gw = s->gw;
	struct p2p_opp_path path = {
		.version = P2P_OPP_VERSION, .overlay = gw->overlay, .resource = P2P_OPP_RANGE};
	struct p2p_opp_range range = {.after = src->next, .to = src->arc->to};
	struct p2p_locator at[P2P_USERSET_GATEWAYS_MAX];
	char body[256];
	size_t len;

	src->retry_ms = gw_mono(gw) + RETRY_MS;
	if (p2p_opp_range_encode(&range, body, sizeof(body), &len) ||
	    gw_asks_question(gw->asks, &src->hit, at, gw_gossip_gateways(gw->gossip, &src->hit, at),
			     &(struct gw_question){.method = "POST",
						   .path = &path,
						   .body = body,
						   .len = len,
						   .read = read_page},
			     PAGE_MS, on_page, src, &src->ask)) {
		src->ask = NULL;
		return;
	}
	src->progress = ASKING;
	s->asks++;
}

static void pump(struct gw_sync *s)
{
	uint64_t now = gw_mono(s->gw);

	for (unsigned int i = 0; i < s->n; i++) {
		struct arc *arc = s->arc[i];

		for (unsigned int j = 0; !arc->synced && j < arc->n && s->asks < ASKS_MAX; j++) {
			struct source *src = &arc->source[j];

			/* once all have told what they had: from those that have all by now */
			if (src->progress == TOLD && now >= src->retry_ms) {
				src->progress = TO_ASK;
				src->next = arc->after;
				src->all = true;
				src->retry_ms = now + RETRY_MS;
				continue;
			}
			if (src->progress == TO_ASK && now >= src->retry_ms &&
			    gw_gossip_alive(s->gw->gossip, &src->hit))
				ask(src);
		}
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct gw_sync *s = arg;

	(void)fd;
	(void)what;
	if (s->stale)
		arcs_make(s);
	for (unsigned int i = 0; i < s->n; i++)
		arc_judge(s->arc[i]);
	pump(s);
	gw_timer_set(s->tick, TICK_MS);
}

/* Not at once: from within whatever it was that changed it. */
void gw_sync_changed(struct gw_sync *s)
{
	s->stale = true;
	gw_timer_set(s->tick, 0);
}

bool gw_sync_holds(const struct gw_sync *s, const struct p2p_key *key)
{
	return arc_of(s, key) != NULL;
}

bool gw_sync_synced(const struct gw_sync *s, const struct p2p_key *key)
{
	const struct arc *arc = arc_of(s, key);

	/* who believes to be alone knows of nobody else's users */
	return arc && arc->synced && !s->stale && !s->alone;
}

uint64_t gw_sync_settled(const struct gw_sync *s)
{
	return s->stale ? 0 : gw_mono(s->gw) - s->changed_ms;
}

int gw_sync_new(struct gw_sync **sp, struct gw *gw)
{
	struct gw_sync *s = calloc(1, sizeof(*s));

	if (!s)
		return ENOMEM;
	s->gw = gw;
	s->stale = true;
	s->alone = true;
	s->tick = event_new(gw->base, -1, 0, on_tick, s);
	if (!s->tick) {
		free(s);
		return ENOMEM;
	}
	gw_timer_set(s->tick, 0);
	*sp = s;
	return 0;
}

void gw_sync_free(struct gw_sync *s)
{
	if (!s)
		return;
	while (s->n)
		arc_free(s->arc[--s->n]);
	event_free(s->tick);
	free(s);
}

void gw_sync_stats(const struct gw_sync *s, struct gw_sync_stats *st)
{
	*st = s->st;
	st->arcs = s->n;
	for (unsigned int i = 0; i < s->n; i++)
		st->unsynced += !s->arc[i]->synced;
}
