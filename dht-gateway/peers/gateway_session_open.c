/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The opening of a session by this peer: one request to the other gateway, whoever waits for it.
 *
 *   nothing -> ASKING -> the session is open: those who wait are told
 *                     -> no common ground: told, and so are those who come within UNCOMMON_MS
 *                     -> no answer: told; the circuit breaker tells those who come next */
#include <errno.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/peers/gateway_policy.h"
#include "dht-gateway/peers/gateway_session_impl.h"

/* Peers that have no common ground with us are not asked again for so long. */
#define UNCOMMON_MS 5000
#define SLACK_MS 50
/* Who waits for one opening. */
#define WAITS_MAX 4096

struct gw_session_wait {
	struct gw_session_link *link;
	TAILQ_ENTRY(gw_session_wait) entry;
	struct event *timer;
	bool first; /* whose user was asked about */
	gw_session_h *h;
	void *arg;
};

/* What is under way to, or known of, a peer that there is no session with. */
struct gw_session_link {
	struct gw_sessions *all;
	struct p2p_hit hit;
	TAILQ_HEAD(, gw_session_wait) waits; /* who has waited the longest first */
	unsigned int n_waits;
	/* ASKING */
	struct gw_ask *ask;
	struct p2p_session_id id;
	uint8_t nonce[P2P_OPP_NONCE_LEN];
	struct p2p_offer ours;
	bool asks;
	uint32_t lifetime_s; /* wanted */
	uint64_t began_ms;   /* mono */
	struct p2p_opp_opened got;
	/* no common ground, until then */
	uint64_t uncommon_ms;
	enum p2p_uncommon uncommon;
	char text[GW_SESSION_TEXT_MAX];
};

/* A question for one with a peer whose gateway's address is to be looked for. */
struct gw_session_look {
	struct gw_sessions *all;
	LIST_ENTRY(gw_session_look) entry;
	struct p2p_hit hit;
	uint64_t until_ms; /* mono */
	bool reading;	   /* gw_peers_get will call back */
	bool over;	   /* and then only memory is left */
	struct gw_session_wait *wait;
	gw_session_peer_h *h;
	void *arg;
};

static void say(struct gw_session_answer *a, enum gw_session_outcome outcome, const char *text)
{
	a->outcome = outcome;
	snprintf(a->text, sizeof(a->text), "%s", text);
	for (char *c = a->text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

/* Whoever it is, its key is not the one that the record named, or it does not take us: not a matter
 * of reaching it. */
static enum gw_session_outcome outcome_of(int err)
{
	return err == EPERM || err == EACCES || err == EPROTO ? GW_SESSION_REFUSED
							      : GW_SESSION_UNREACHABLE;
}

/* --- who waits ---------------------------------------------------------------------------------
 */

static void wait_leave(struct gw_session_wait *w)
{
	struct gw_session_link *l = w->link;

	TAILQ_REMOVE(&l->waits, w, entry);
	l->n_waits--;
	event_free(w->timer);
}

void gw_session_cancel(struct gw_session_wait *w)
{
	wait_leave(w);
	free(w);
}

static void wait_end(struct gw_session_wait *w, const struct gw_session_answer *a)
{
	struct gw_session_answer mine = *a;

	wait_leave(w);
	mine.told = a->told && w->first;
	w->h(&mine, w->arg);
	OPENSSL_cleanse(&mine, sizeof(mine));
	free(w);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct gw_session_answer a = {0};

	(void)fd;
	(void)what;
	say(&a, GW_SESSION_UNREACHABLE, "its gateway has not answered in time");
	wait_end(arg, &a);
}

static int wait_new(struct gw_session_link *l, bool first, uint64_t deadline_ms, gw_session_h *h,
		    void *arg, struct gw_session_wait **out)
{
	struct gw_session_wait *w;

	if (l->n_waits >= WAITS_MAX)
		return EBUSY;
	w = calloc(1, sizeof(*w));
	if (w)
		w->timer = event_new(l->all->gw->base, -1, 0, on_late, w);
	if (!w || !w->timer) {
		free(w);
		return ENOMEM;
	}
	w->link = l;
	w->first = first;
	w->h = h;
	w->arg = arg;
	TAILQ_INSERT_TAIL(&l->waits, w, entry);
	l->n_waits++;
	/* where the question's own deadline comes as soon, that tells more */
	if (deadline_ms >= (uint64_t)l->all->gw->settings->ask_ms)
		deadline_ms += SLACK_MS;
	gw_timer_set(w->timer, deadline_ms);
	*out = w;
	return 0;
}

/* Those who wait now; who comes meanwhile is another matter. */
static void tell(struct gw_session_link *l, const struct gw_session_answer *a)
{
	unsigned int n = l->n_waits;

	while (n-- && !TAILQ_EMPTY(&l->waits))
		wait_end(TAILQ_FIRST(&l->waits), a);
}

static void link_drop(void *value, void *arg)
{
	struct gw_session_link *l = value;
	struct gw_session_answer a = {0};

	(void)arg;
	if (l->ask) {
		gw_ask_cancel(l->ask);
		gw_session_forget(l->all, &l->id, NULL);
	}
	l->ask = NULL;
	say(&a, GW_SESSION_UNREACHABLE, "not asked any more");
	tell(l, &a);
	OPENSSL_cleanse(l, sizeof(*l));
	free(l);
}

int gw_session_links_new(struct gw_sessions *s)
{
	return gw_map_new(&s->links, (size_t)s->gw->settings->peers_max + 64, true, link_drop,
			  NULL);
}

static void look_end(struct gw_session_look *l, int err, const struct gw_session_answer *a);

void gw_session_links_free(struct gw_sessions *s)
{
	while (!LIST_EMPTY(&s->looks))
		look_end(LIST_FIRST(&s->looks), ETIMEDOUT, NULL);
	if (s->links)
		gw_map_free(s->links);
	s->links = NULL;
}

static void link_clear(const void *key, size_t len, void *value, void *arg)
{
	struct gw_session_link *l = value;

	(void)key;
	(void)len;
	(void)arg;
	l->uncommon_ms = 0;
}

void gw_session_links_clear(struct gw_sessions *s)
{
	uint64_t cursor = 0;

	gw_map_scan(s->links, &cursor, SIZE_MAX, link_clear, NULL);
}

static struct gw_session_link *link_of(struct gw_sessions *s, const struct p2p_hit *hit)
{
	struct gw_session_link *l = gw_map_get(s->links, hit, sizeof(*hit));

	if (l)
		return l;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->all = s;
	l->hit = *hit;
	TAILQ_INIT(&l->waits);
	if (gw_map_put(s->links, hit, sizeof(*hit), l)) {
		free(l);
		return NULL;
	}
	return l;
}

/* --- the answer --------------------------------------------------------------------------------
 */

static int read_opened(const char *body, size_t len, void *arg)
{
	struct gw_session_link *l = arg;

	return p2p_opp_opened_decode(&l->got, body, len);
}

static bool is_word(const char *told, const char *ours)
{
	return !strcmp(told, ours);
}

/* Its answer must be what we make of both offers, too. */
static int agree(struct gw_session_link *l, struct gw_session_answer *a)
{
	struct gw_sessions *s = l->all;
	const struct p2p_opp_opened *got = &l->got;
	struct p2p_sessions_terms terms;
	struct p2p_agreed agreed;
	struct p2p_session session;
	struct p2p_offer theirs;
	int err;

	p2p_offer_read(&theirs, &got->offer);
	if (got->lifetime_s > l->lifetime_s || p2p_negotiate(&l->ours, &theirs, &agreed) ||
	    !is_word(got->signalling, p2p_signalling_text(agreed.signalling)) ||
	    !is_word(got->family, p2p_family_text(agreed.family)) ||
	    !is_word(got->media, p2p_media_text(agreed.media)))
		return EPROTO;
	err = gw_session_make(s->gw, &l->id, &l->hit, true, l->nonce, got->nonce, &agreed, &l->ours,
			      &theirs, got->instance, got->lifetime_s, &session, &terms);
	if (!err)
		err = p2p_sessions_opened(s->table, &session, &terms, l->began_ms, gw_mono(s->gw));
	OPENSSL_cleanse(&session, sizeof(session));
	if (err)
		return err;
	gw_session_opened(s, &l->id);
	return gw_session_get(s, &l->hit, a);
}

static void on_answer(const struct gw_answer *answer, void *arg)
{
	struct gw_session_link *l = arg;
	struct gw_sessions *s = l->all;
	struct gw *gw = s->gw;
	struct gw_session_answer a = {0};
	char hit[P2P_HIT_TEXT_MAX];
	int err = answer->err;

	l->ask = NULL;
	p2p_hit_print(&l->hit, hit);
	if (!err) {
		err = agree(l, &a);
		if (!err) {
			gw->metrics.opens_ok++;
		} else {
			/* to it, the session is open */
			gw_session_tell_closed(s, &l->id, &l->hit);
			gw->metrics.opens_refused++;
			say(&a, GW_SESSION_REFUSED,
			    "it makes another thing of both offers than this peer does");
			gw_warn_source(gw, &l->hit, sizeof(l->hit), "gateway of %s: no session: %s",
				       hit, a.text);
		}
		a.told = l->got.told;
		a.user = l->got.user;
	} else if (err == EEXIST && answer->error->code == P2P_OPP_E_NOCOMMON) {
		const struct p2p_opp_error *e = answer->error;

		gw->metrics.opens_uncommon++;
		l->uncommon = p2p_uncommon_parse(e->uncommon, strlen(e->uncommon));
		if (!l->uncommon)
			l->uncommon = P2P_UNCOMMON_SIGNALLING;
		l->uncommon_ms = gw_mono(gw) + UNCOMMON_MS;
		say(&a, GW_SESSION_UNCOMMON, e->reason);
		strcpy(l->text, a.text);
		a.uncommon = l->uncommon;
		a.told = e->told;
		a.user = e->user;
		gw_warn_source(gw, &l->hit, sizeof(l->hit), "gateway of %s: no session: %s", hit,
			       a.text);
	} else {
		if (err == EEXIST || outcome_of(err) == GW_SESSION_REFUSED)
			gw->metrics.opens_refused++;
		else
			gw->metrics.opens_failed++;
		say(&a, err == EEXIST ? GW_SESSION_REFUSED : outcome_of(err), answer->text);
	}
	if (l->asks)
		gw_asks_count(gw, a.told ? 0 : answer->err ? answer->err : EBUSY, &a.user);
	if (a.outcome != GW_SESSION_OPEN)
		gw_session_forget(s, &l->id, NULL);
	OPENSSL_cleanse(l->nonce, sizeof(l->nonce));
	tell(l, &a);
	OPENSSL_cleanse(&a, sizeof(a));
}

/* --- the question ------------------------------------------------------------------------------
 */

int gw_session_get(struct gw_sessions *s, const struct p2p_hit *hit, struct gw_session_answer *out)
{
	uint64_t now = gw_mono(s->gw);
	const struct p2p_sessions_entry *e = p2p_sessions_best(s->table, hit, now);
	const struct gw_session_link *l;

	if (gw_member_revoked(s->gw, hit)) {
		memset(out, 0, sizeof(*out));
		say(out, GW_SESSION_REFUSED, "it was revoked");
		return 0;
	}
	if (e) {
		struct p2p_session_id id = e->s.id;

		p2p_sessions_touch(s->table, &id, now);
		memset(out, 0, sizeof(*out));
		out->outcome = GW_SESSION_OPEN;
		gw_session_export(s, e, &out->session);
		return 0;
	}
	l = gw_map_peek(s->links, hit, sizeof(*hit));
	if (!l || l->uncommon_ms <= now)
		return ENOENT;
	memset(out, 0, sizeof(*out));
	say(out, GW_SESSION_UNCOMMON, l->text);
	out->uncommon = l->uncommon;
	return 0;
}

static int ask(struct gw_session_link *l, const struct p2p_locator *gateway, unsigned int n,
	       const struct p2p_key *user)
{
	struct gw_sessions *s = l->all;
	struct gw *gw = s->gw;
	struct p2p_opp_path path = {
		.version = P2P_OPP_VERSION, .overlay = gw->overlay, .resource = P2P_OPP_SESSION};
	struct p2p_opp_open open = {.instance = s->instance,
				    .lifetime_s = (uint32_t)gw->settings->session_lifetime_s};
	struct gw_question q = {.method = "PUT", .path = &path, .read = read_opened};
	char body[P2P_OPP_BODY_MAX];
	int err = gw_crypto_random(&l->id, sizeof(l->id));

	if (!err)
		err = gw_crypto_random(l->nonce, sizeof(l->nonce));
	if (err)
		return err;
	gw_policy_offer(gw, &l->hit, &l->ours);
	p2p_offer_write(&l->ours, &open.offer);
	memcpy(open.nonce, l->nonce, sizeof(open.nonce));
	memcpy(path.session, l->id.b, sizeof(path.session));
	l->lifetime_s = open.lifetime_s;
	l->asks = user != NULL;
	if (user) {
		open.asks = true;
		open.user = *user;
	}
	err = p2p_opp_open_encode(&open, body, sizeof(body), &q.len);
	OPENSSL_cleanse(open.nonce, sizeof(open.nonce));
	if (err)
		return err;
	l->began_ms = gw_mono(gw);
	err = p2p_sessions_begin(s->table, &l->id, &l->hit, l->began_ms);
	if (!err)
		err = gw_session_side_new(s, &l->id, gateway, n);
	q.body = body;
	if (!err)
		err = gw_asks_question(gw->asks, &l->hit, gateway, n, &q,
				       (uint64_t)gw->settings->ask_ms, on_answer, l, &l->ask);
	OPENSSL_cleanse(body, sizeof(body));
	if (err)
		gw_session_forget(s, &l->id, NULL);
	return err;
}

int gw_session_open(struct gw_sessions *s, const struct p2p_hit *hit,
		    const struct p2p_locator *gateway, unsigned int n, const struct p2p_key *user,
		    uint64_t deadline_ms, bool *asked, struct gw_session_answer *now,
		    gw_session_h *h, void *arg, struct gw_session_wait **out)
{
	struct gw_session_link *l;
	const char *why;
	int err, was;

	memset(now, 0, sizeof(*now));
	*asked = false;
	if (!s->gw->settings->peers_enabled || !n) {
		now->outcome = GW_SESSION_NONE;
		return ENOENT;
	}
	l = s->stopping ? NULL : link_of(s, hit);
	if (!l) {
		say(now, GW_SESSION_UNREACHABLE,
		    s->stopping ? "this gateway stops" : "no memory here");
		return EBUSY;
	}
	if (!l->ask) {
		err = ask(l, gateway, n, user);
		if (err) {
			why = gw_asks_why(s->gw->asks, hit, &was);
			say(now, err == EBUSY && *why ? outcome_of(was) : GW_SESSION_UNREACHABLE,
			    *why	    ? why
			    : err == ENOSPC ? "too many sessions here"
			    : err == EBUSY  ? "too many questions here"
					    : strerror(err));
			s->gw->metrics.opens_failed++;
			return err;
		}
		*asked = user != NULL;
	}
	err = wait_new(l, *asked, deadline_ms, h, arg, out);
	if (err)
		say(now, GW_SESSION_UNREACHABLE, "too many wait for it");
	return err;
}

/* --- with a peer that is known by its HIT only -------------------------------------------------
 */

static void look_end(struct gw_session_look *l, int err, const struct gw_session_answer *a)
{
	LIST_REMOVE(l, entry);
	if (l->wait)
		gw_session_cancel(l->wait);
	l->wait = NULL;
	l->over = true;
	l->h(err, a, l->arg);
	if (!l->reading)
		free(l);
}

static void on_looked(const struct gw_session_answer *a, void *arg)
{
	struct gw_session_look *l = arg;

	l->wait = NULL;
	look_end(l, 0, a);
}

static void on_peer(int err, const struct p2p_record *rec, void *arg)
{
	struct gw_session_look *l = arg;
	struct gw_sessions *s = l->all;
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];
	struct gw_session_answer a;
	uint64_t now, ms;
	unsigned int n;
	bool asked;

	l->reading = false;
	if (l->over) {
		free(l);
		return;
	}
	if (err) {
		look_end(l, err, NULL);
		return;
	}
	n = p2p_record_gateways(rec, gateway);
	now = gw_mono(s->gw);
	ms = l->until_ms > now ? l->until_ms - now : 1;
	if (ms > (uint64_t)s->gw->settings->ask_ms)
		ms = (uint64_t)s->gw->settings->ask_ms;
	/* somebody else may have opened one meanwhile */
	if (!gw_session_get(s, &l->hit, &a) ||
	    gw_session_open(s, &l->hit, gateway, n, NULL, ms, &asked, &a, on_looked, l, &l->wait)) {
		look_end(l, 0, &a);
		OPENSSL_cleanse(&a, sizeof(a));
	}
}

void gw_session_peer(struct gw_sessions *s, const struct p2p_hit *hit, uint64_t deadline_ms,
		     gw_session_peer_h *h, void *arg)
{
	struct gw_session_answer a;
	struct gw_session_look *l;

	if (!gw_session_get(s, hit, &a)) {
		h(0, &a, arg);
		OPENSSL_cleanse(&a, sizeof(a));
		return;
	}
	l = s->stopping ? NULL : calloc(1, sizeof(*l));
	if (!l) {
		h(EBUSY, NULL, arg);
		return;
	}
	l->all = s;
	l->hit = *hit;
	l->until_ms = gw_mono(s->gw) + deadline_ms;
	l->h = h;
	l->arg = arg;
	LIST_INSERT_HEAD(&s->looks, l, entry);
	l->reading = true;
	gw_peers_get(s->gw->peers, hit, deadline_ms, on_peer, l);
}
