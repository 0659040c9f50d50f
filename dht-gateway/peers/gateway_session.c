/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of sessions on its clock: renewals, closes and expiry, and what the modules say. */
#include <errno.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/peers/gateway_policy.h"
#include "dht-gateway/peers/gateway_session_impl.h"

/* A renewal and a close may take longer than a call may wait. */
#define CALL_MS 2000
/* Ids are remembered for as long as a proof of membership may be off, either way. */
#define SEEN_MS (2 * P2P_OPP_MEMBER_SKEW_MS)
#define LINKS_SPARE 64

enum purpose { RENEW, CLOSE, FINAL };

/* A request about a session there is (RENEW, CLOSE), or was (FINAL). */
struct gw_session_call {
	struct gw_sessions *all;
	LIST_ENTRY(gw_session_call) entry;
	enum purpose purpose;
	struct p2p_session_id id;
	struct p2p_hit hit;
	struct gw_ask *ask;
	uint64_t began_ms; /* mono */
	bool reading;	   /* gw_peers_get will call back */
	bool over;	   /* and then only memory is left */
	struct p2p_opp_calls said;
};

static void names(const struct p2p_session_id *id, const struct p2p_hit *hit,
		  char id_text[P2P_SESSION_ID_TEXT_MAX], char hit_text[P2P_HIT_TEXT_MAX])
{
	p2p_session_id_print(id, id_text);
	p2p_hit_print(hit, hit_text);
}

/* --- asking about one --------------------------------------------------------------------------
 */

static void call_end(struct gw_session_call *c)
{
	if (c->ask)
		gw_ask_cancel(c->ask);
	c->ask = NULL;
	LIST_REMOVE(c, entry);
	c->over = true;
	if (!c->reading)
		free(c);
}

void gw_session_retired_there(struct gw_sessions *s, const struct p2p_session_id *id)
{
	char text[P2P_SESSION_ID_TEXT_MAX];

	if (p2p_sessions_retire(s->table, id, false, gw_mono(s->gw)))
		return;
	p2p_session_id_print(id, text);
	p2p_log(s->gw->log, P2P_LOG_INFO,
		"session %s is for the calls that run over it only: the other peer's settings "
		"have changed",
		text);
	gw_sessions_event(s->gw, "change", id);
}

/* Whatever came of it. */
static void call_done(struct gw_session_call *c, const struct gw_answer *a)
{
	struct gw_sessions *s = c->all;
	struct gw_metrics *m = &s->gw->metrics;
	uint64_t now = gw_mono(s->gw);
	bool unknown = a->error && a->error->code == P2P_OPP_E_NOTFOUND;

	if (c->purpose == RENEW) {
		if (!a->err && !c->said.lifetime_s) {
			m->renews_failed++;
			p2p_sessions_stays(s->table, &c->id, false, now);
		} else if (!a->err) {
			m->renews_ok++;
			p2p_sessions_their_calls(s->table, &c->id, c->said.calls);
			if (c->said.retiring)
				gw_session_retired_there(s, &c->id);
			if (!p2p_sessions_renewed(s->table, &c->id, c->said.lifetime_s * 1000,
						  c->began_ms, now))
				gw_sessions_event(s->gw, "change", &c->id);
		} else if (unknown) {
			m->closes_unknown++;
			gw_session_forget(s, &c->id, "the other peer does not know it any more");
		} else {
			m->renews_failed++;
			p2p_sessions_stays(s->table, &c->id, false, now);
		}
	} else if (c->purpose == CLOSE) {
		if (!a->err || unknown) {
			m->closes_idle++;
			gw_session_forget(s, &c->id, "nobody used it any more");
		} else {
			m->closes_inuse += a->error != NULL;
			p2p_sessions_stays(s->table, &c->id, a->error != NULL, now);
		}
	}
	call_end(c);
	gw_session_arm(s);
}

static int read_calls(const char *body, size_t len, void *arg)
{
	struct gw_session_call *c = arg;

	return p2p_opp_calls_decode(&c->said, body, len);
}

static void on_answer(const struct gw_answer *a, void *arg)
{
	struct gw_session_call *c = arg;

	c->ask = NULL;
	call_done(c, a);
}

static int call_ask(struct gw_session_call *c, const struct p2p_locator *gateway, unsigned int n)
{
	struct gw_sessions *s = c->all;
	const struct p2p_sessions_entry *e = p2p_sessions_find(s->table, &c->id);
	struct p2p_opp_path path = {
		.version = P2P_OPP_VERSION, .overlay = s->gw->overlay, .resource = P2P_OPP_SESSION};
	struct p2p_opp_calls ours = {.calls = e ? e->calls : 0, .retiring = e && e->retiring};
	struct gw_question q = {.method = c->purpose == RENEW ? "POST" : "DELETE",
				.path = &path,
				.final = c->purpose == FINAL,
				.read = read_calls};
	char body[128];

	memcpy(path.session, c->id.b, sizeof(path.session));
	if (c->purpose == RENEW) {
		if (ours.calls > P2P_OPP_CALLS_MAX)
			ours.calls = P2P_OPP_CALLS_MAX;
		if (p2p_opp_calls_encode(&ours, body, sizeof(body), &q.len))
			return EINVAL;
		q.body = body;
	}
	c->began_ms = gw_mono(s->gw);
	return gw_asks_question(s->gw->asks, &c->hit, gateway, n, &q, CALL_MS, on_answer, c,
				&c->ask);
}

static void on_peer(int err, const struct p2p_record *rec, void *arg)
{
	struct gw_session_call *c = arg;
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];
	unsigned int n;

	c->reading = false;
	if (c->over) {
		free(c);
		return;
	}
	n = err ? 0 : p2p_record_gateways(rec, gateway);
	if (!n || call_ask(c, gateway, n))
		call_done(c, &(struct gw_answer){.err = ETIMEDOUT, .text = "no way to it"});
}

/* Where the other gateway is: as it was when the session was opened; where it was asked last; else
 * its own record tells. */
static void call_begin(struct gw_sessions *s, enum purpose purpose, const struct p2p_session_id *id,
		       const struct p2p_hit *hit)
{
	const struct gw_session_side *side = gw_map_peek(s->sides, id, sizeof(*id));
	struct gw_session_call *c = calloc(1, sizeof(*c));
	int err;

	if (!c) {
		p2p_sessions_stays(s->table, id, false, gw_mono(s->gw));
		return;
	}
	c->all = s;
	c->purpose = purpose;
	c->id = *id;
	c->hit = *hit;
	LIST_INSERT_HEAD(&s->calls, c, entry);
	err = call_ask(c, side ? side->gateway : NULL, side ? side->n_gateways : 0);
	if (!err)
		return;
	if (err == ENOENT && s->gw->settings->peers_enabled) {
		c->reading = true;
		gw_peers_get(s->gw->peers, hit, CALL_MS, on_peer, c);
		return;
	}
	call_done(c, &(struct gw_answer){.err = err, .text = "not asked"});
}

void gw_session_tell_closed(struct gw_sessions *s, const struct p2p_session_id *id,
			    const struct p2p_hit *hit)
{
	call_begin(s, FINAL, id, hit);
}

/* --- the table ---------------------------------------------------------------------------------
 */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct gw_sessions *s = arg;
	enum p2p_sessions_action action;
	struct p2p_session_id id;

	(void)fd;
	(void)what;
	while (!s->stopping && !p2p_sessions_next(s->table, gw_mono(s->gw), &id, &action)) {
		struct p2p_hit hit = p2p_sessions_find(s->table, &id)->s.hit;

		if (action == P2P_SESSIONS_EXPIRED) {
			s->gw->metrics.closes_expired++;
			gw_session_forget(s, &id, "its time is over, and it was not renewed");
		} else {
			call_begin(s, action == P2P_SESSIONS_RENEW ? RENEW : CLOSE, &id, &hit);
		}
	}
	gw_session_arm(s);
}

void gw_session_arm(struct gw_sessions *s)
{
	uint64_t due = p2p_sessions_due(s->table), now = gw_mono(s->gw);

	if (due == UINT64_MAX || s->stopping)
		event_del(s->timer);
	else
		gw_timer_set(s->timer, due > now ? due - now : 0);
}

void gw_session_forget(struct gw_sessions *s, const struct p2p_session_id *which,
		       const char *reason)
{
	const struct p2p_sessions_entry *e = p2p_sessions_find(s->table, which);
	char id_text[P2P_SESSION_ID_TEXT_MAX], hit_text[P2P_HIT_TEXT_MAX];
	struct p2p_session_id id = *which; /* which may be in the entry */

	if (!e)
		return;
	names(&id, &e->s.hit, id_text, hit_text);
	p2p_sessions_remove(s->table, &id);
	gw_map_del(s->sides, &id, sizeof(id));
	if (!reason)
		return;
	p2p_log(s->gw->log, P2P_LOG_INFO, "session %s with %s is closed: %s", id_text, hit_text,
		reason);
	gw_sessions_event(s->gw, "close", &id);
}

void gw_session_opened(struct gw_sessions *s, const struct p2p_session_id *id)
{
	const struct p2p_sessions_entry *e = p2p_sessions_find(s->table, id), *o;
	char id_text[P2P_SESSION_ID_TEXT_MAX], hit_text[P2P_HIT_TEXT_MAX];
	struct p2p_hit hit = e->s.hit;
	uint64_t instance = e->terms.instance;
	unsigned int n = 0;

	names(&e->s.id, &hit, id_text, hit_text);
	p2p_log(s->gw->log, P2P_LOG_INFO,
		"session %s with %s is open: signalling %s over IPv%u, media %s, %u s, asked for "
		"by %s",
		id_text, hit_text, p2p_signalling_text(e->s.signalling), e->s.family,
		p2p_media_text(e->s.media), e->terms.lifetime_ms / 1000,
		e->s.initiator ? "this peer" : "the other one");
	gw_sessions_event(s->gw, "open", &e->s.id);
	/* another process of that gateway knows none that are older */
	while ((o = p2p_sessions_of(s->table, &hit, n))) {
		if (o->state == P2P_SESSION_OPENING || o->terms.instance == instance) {
			n++;
			continue;
		}
		s->gw->metrics.closes_restarted++;
		gw_session_forget(s, &o->s.id, "the other peer's gateway was restarted");
	}
	gw_session_arm(s);
}

int gw_session_side_new(struct gw_sessions *s, const struct p2p_session_id *id,
			const struct p2p_locator *gateway, unsigned int n)
{
	struct gw_session_side *side = calloc(1, sizeof(*side));
	int err;

	if (!side)
		return ENOMEM;
	if (n > P2P_USERSET_GATEWAYS_MAX)
		n = P2P_USERSET_GATEWAYS_MAX;
	if (n)
		memcpy(side->gateway, gateway, n * sizeof(*gateway));
	side->n_gateways = n;
	err = gw_map_put(s->sides, id, sizeof(*id), side);
	if (err)
		free(side);
	return err;
}

static void uri_copy(char to[P2P_CANDIDATE_URI_MAX], const struct p2p_offer *offer,
		     uint8_t signalling, uint8_t family)
{
	const char *uri = family ? p2p_offer_uri(offer, signalling, family) : NULL;

	memset(to, 0, P2P_CANDIDATE_URI_MAX);
	if (uri)
		strcpy(to, uri);
}

int gw_session_make(const struct gw *gw, const struct p2p_session_id *id, const struct p2p_hit *hit,
		    bool initiator, const uint8_t initiator_nonce[P2P_OPP_NONCE_LEN],
		    const uint8_t responder_nonce[P2P_OPP_NONCE_LEN],
		    const struct p2p_agreed *agreed, const struct p2p_offer *ours,
		    const struct p2p_offer *theirs, uint64_t instance, uint32_t lifetime_s,
		    struct p2p_session *session, struct p2p_sessions_terms *terms)
{
	struct p2p_session s = {.id = *id,
				.hit = *hit,
				.initiator = initiator,
				.signalling = agreed->signalling,
				.media = agreed->media,
				.family = agreed->family};
	struct p2p_opp_secrets secrets = {.overlay = gw->overlay,
					  .initiator = initiator ? gw->hit : *hit,
					  .responder = initiator ? *hit : gw->hit};
	struct p2p_sessions_terms t = {
		.offer = *theirs, .instance = instance, .lifetime_ms = lifetime_s * 1000};
	int err;

	memcpy(secrets.initiator_nonce, initiator_nonce, sizeof(secrets.initiator_nonce));
	memcpy(secrets.responder_nonce, responder_nonce, sizeof(secrets.responder_nonce));
	memcpy(secrets.id, id->b, sizeof(secrets.id));
	err = p2p_opp_session_keys(&secrets, initiator ? s.key_out : s.key_in,
				   initiator ? s.key_in : s.key_out, gw->crypto);
	OPENSSL_cleanse(&secrets, sizeof(secrets));
	if (err)
		return err;
	uri_copy(s.uri, theirs, agreed->signalling, agreed->family);
	uri_copy(s.stream_uri, theirs, P2P_SIGNALLING_TCP, agreed->stream_family);
	uri_copy(t.own_uri, ours, agreed->signalling, agreed->family);
	uri_copy(t.own_stream_uri, ours, P2P_SIGNALLING_TCP, agreed->stream_family);
	*session = s;
	*terms = t;
	return 0;
}

void gw_session_export(const struct gw_sessions *s, const struct p2p_sessions_entry *e,
		       struct p2p_session *out)
{
	uint64_t now = gw_mono(s->gw), left = e->expires_ms > now ? e->expires_ms - now : 0;

	*out = e->s;
	out->ttl_ms = left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
}

/* --- what the modules say ----------------------------------------------------------------------
 */

int gw_session_find(struct gw_sessions *s, const struct p2p_session_id *id, struct p2p_session *out,
		    bool *retiring)
{
	const struct p2p_sessions_entry *e = p2p_sessions_find(s->table, id);

	if (!e || !p2p_sessions_usable(e, gw_mono(s->gw)))
		return ENOENT;
	p2p_sessions_touch(s->table, id, gw_mono(s->gw));
	gw_session_export(s, e, out);
	*retiring = e->retiring;
	return 0;
}

static uint32_t calls_of(const struct gw_session_side *side)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < side->n_kamailios; i++)
		sum += side->kamailio[i].calls;
	return sum > P2P_OPP_CALLS_MAX ? P2P_OPP_CALLS_MAX : (uint32_t)sum;
}

int gw_session_used(struct gw_sessions *s, const struct p2p_session_id *id, uint64_t kamailio,
		    uint32_t calls)
{
	struct gw_session_side *side = gw_map_get(s->sides, id, sizeof(*id));
	unsigned int i = 0;
	int err;

	if (!side)
		return ENOENT;
	while (i < side->n_kamailios && side->kamailio[i].id != kamailio)
		i++;
	if (i == GW_SESSION_KAMAILIOS_MAX)
		i--; /* more Kamailios at one gateway than anybody has: the last one counts */
	if (i == side->n_kamailios)
		side->n_kamailios++;
	side->kamailio[i].id = kamailio;
	side->kamailio[i].calls = calls;
	err = p2p_sessions_used(s->table, id, calls_of(side), gw_mono(s->gw));
	gw_session_arm(s);
	return err;
}

int gw_session_refused(struct gw_sessions *s, const struct p2p_session_id *which)
{
	const struct p2p_sessions_entry *e = p2p_sessions_find(s->table, which);
	struct p2p_session_id id = *which;
	struct p2p_hit hit;

	if (!e || e->state == P2P_SESSION_OPENING)
		return ENOENT;
	hit = e->s.hit;
	gw_asks_sign(s->gw->asks, &hit);
	s->gw->metrics.closes_unknown++;
	gw_session_tell_closed(s, &id, &hit);
	gw_session_forget(s, &id, "the other peer's Kamailio refuses it");
	gw_session_arm(s);
	return 0;
}

struct gone {
	struct gw_sessions *s;
	uint64_t kamailio;
};

static void side_gone(const void *key, size_t len, void *value, void *arg)
{
	struct gone *g = arg;
	struct gw_session_side *side = value;
	struct p2p_session_id id;

	(void)len;
	memcpy(&id, key, sizeof(id));
	for (unsigned int i = 0; i < side->n_kamailios; i++) {
		if (side->kamailio[i].id != g->kamailio)
			continue;
		side->kamailio[i] = side->kamailio[--side->n_kamailios];
		p2p_sessions_used(g->s->table, &id, calls_of(side), gw_mono(g->s->gw));
		return;
	}
}

void gw_sessions_disconnected(struct gw_sessions *s, uint64_t kamailio)
{
	struct gone g = {.s = s, .kamailio = kamailio};
	uint64_t cursor = 0;

	if (!s)
		return;
	gw_map_scan(s->sides, &cursor, SIZE_MAX, side_gone, &g);
	gw_session_arm(s);
}

/* --- ends --------------------------------------------------------------------------------------
 */

struct ids {
	size_t n, max;
	struct {
		struct p2p_session_id id;
		struct p2p_hit hit;
	} * v;
};

static void gather(const struct p2p_sessions_entry *e, void *arg)
{
	struct ids *ids = arg;

	if (ids->n == ids->max || e->state == P2P_SESSION_OPENING)
		return;
	ids->v[ids->n].id = e->s.id;
	ids->v[ids->n++].hit = e->s.hit;
}

/* All that are open now: the table may change while they are gone through. */
static struct ids all_of(const struct gw_sessions *s)
{
	struct ids ids = {.max = p2p_sessions_count(s->table)};
	uint64_t cursor = 0;

	ids.v = ids.max ? calloc(ids.max, sizeof(*ids.v)) : NULL;
	if (!ids.v)
		ids.max = 0;
	p2p_sessions_scan(s->table, &cursor, ids.max, gather, &ids);
	return ids;
}

/* Is it what would be agreed on now? 0; EAGAIN: not, the policy has changed; EADDRNOTAVAIL: the
 * other side sends to an address of ours that is none any more. */
static int still_good(const struct gw_sessions *s, const struct p2p_sessions_entry *e)
{
	struct p2p_sessions_terms now;
	struct p2p_agreed agreed;
	struct p2p_offer ours;
	bool there = false, stream = !*e->terms.own_stream_uri;

	gw_policy_offer(s->gw, &e->s.hit, &ours);
	for (unsigned int i = 0; i < ours.n_addresses; i++) {
		there = there || !strcmp(ours.address[i].uri, e->terms.own_uri);
		stream = stream || !strcmp(ours.address[i].uri, e->terms.own_stream_uri);
	}
	if (!there || !stream)
		return EADDRNOTAVAIL;
	if (p2p_negotiate(&ours, &e->terms.offer, &agreed))
		return EAGAIN;
	uri_copy(now.own_uri, &ours, agreed.signalling, agreed.family);
	uri_copy(now.own_stream_uri, &ours, P2P_SIGNALLING_TCP, agreed.stream_family);
	return agreed.signalling == e->s.signalling && agreed.family == e->s.family &&
			       agreed.media == e->s.media &&
			       !strcmp(now.own_uri, e->terms.own_uri) &&
			       !strcmp(now.own_stream_uri, e->terms.own_stream_uri)
		       ? 0
		       : EAGAIN;
}

void gw_sessions_reconsider(struct gw_sessions *s)
{
	const struct gw_settings *set = s->gw->settings;
	struct ids ids = all_of(s);

	p2p_sessions_linger(s->table, (uint32_t)set->session_linger_s * 1000);
	gw_session_links_clear(s);
	for (size_t i = 0; i < ids.n; i++) {
		const struct p2p_sessions_entry *e = p2p_sessions_find(s->table, &ids.v[i].id);
		int err = e ? still_good(s, e) : 0;
		char id_text[P2P_SESSION_ID_TEXT_MAX];

		if (!err || e->retiring)
			continue;
		p2p_session_id_print(&ids.v[i].id, id_text);
		s->gw->metrics.closes_changed++;
		if (err == EADDRNOTAVAIL) {
			gw_session_tell_closed(s, &ids.v[i].id, &ids.v[i].hit);
			gw_session_forget(s, &ids.v[i].id, "Kamailio's addresses have changed");
		} else if (!p2p_sessions_retire(s->table, &ids.v[i].id, true, gw_mono(s->gw))) {
			p2p_log(s->gw->log, P2P_LOG_INFO,
				"session %s is for the calls that run over it only: the settings "
				"have changed",
				id_text);
			/* not to be sent with any more */
			gw_sessions_event(s->gw, "change", &ids.v[i].id);
		}
	}
	free(ids.v);
	gw_session_arm(s);
}

void gw_sessions_close_peer(struct gw_sessions *s, const struct p2p_hit *hit, const char *reason)
{
	struct ids ids = all_of(s);

	for (size_t i = 0; i < ids.n; i++) {
		if (p2p_hit_cmp(&ids.v[i].hit, hit))
			continue;
		s->gw->metrics.closes_revoked++;
		gw_session_tell_closed(s, &ids.v[i].id, hit);
		gw_session_forget(s, &ids.v[i].id, reason);
	}
	free(ids.v);
	gw_session_arm(s);
}

void gw_sessions_stop(struct gw_sessions *s)
{
	s->stopping = true;
	event_del(s->timer);
	while (!LIST_EMPTY(&s->calls))
		call_end(LIST_FIRST(&s->calls));
}

/* --- its life ----------------------------------------------------------------------------------
 */

static void side_drop(void *value, void *arg)
{
	(void)arg;
	free(value);
}

int gw_sessions_new(struct gw_sessions **sp, struct gw *gw)
{
	const struct gw_settings *set = gw->settings;
	struct p2p_sessions_config config = {
		.max = (size_t)set->sessions_max,
		.seen_max = 2 * (size_t)set->sessions_max + P2P_SESSIONS_OPENED_MAX,
		.linger_ms = (uint32_t)set->session_linger_s * 1000,
		.seen_ms = SEEN_MS,
	};
	struct gw_sessions *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return ENOMEM;
	s->gw = gw;
	err = gw_crypto_random(&config.key, sizeof(config.key));
	if (!err)
		err = gw_crypto_random(&s->instance, sizeof(s->instance));
	if (!err)
		err = p2p_sessions_new(&s->table, &config);
	if (!err)
		err = gw_map_new(&s->sides, config.max, false, side_drop, NULL);
	if (!err)
		err = gw_session_links_new(s);
	if (err)
		goto fail;
	err = ENOMEM;
	s->timer = event_new(gw->base, -1, 0, on_timer, s);
	if (!s->timer)
		goto fail;
	*sp = s;
	return 0;
fail:
	gw_sessions_free(s);
	return err;
}

void gw_sessions_free(struct gw_sessions *s)
{
	if (!s)
		return;
	s->stopping = true;
	while (!LIST_EMPTY(&s->calls))
		call_end(LIST_FIRST(&s->calls));
	gw_session_links_free(s);
	if (s->sides)
		gw_map_free(s->sides);
	p2p_sessions_free(s->table);
	if (s->timer)
		event_free(s->timer);
	free(s);
}

/* --- to be looked at ---------------------------------------------------------------------------
 */

void gw_sessions_scan(const struct gw_sessions *s, uint64_t *cursor, size_t count,
		      void (*fn)(const struct p2p_sessions_entry *e, void *arg), void *arg)
{
	p2p_sessions_scan(s->table, cursor, count, fn, arg);
}

static void count(const struct p2p_sessions_entry *e, void *arg)
{
	struct gw_metrics *m = arg;

	if (e->state == P2P_SESSION_OPENING)
		return;
	if (e->s.initiator)
		m->sessions_initiator++;
	else
		m->sessions_responder++;
	m->session_calls += e->calls;
}

void gw_sessions_metrics(const struct gw_sessions *s, struct gw_metrics *m)
{
	uint64_t cursor = 0;

	m->sessions_initiator = m->sessions_responder = m->session_calls = 0;
	p2p_sessions_scan(s->table, &cursor, SIZE_MAX, count, m);
}
