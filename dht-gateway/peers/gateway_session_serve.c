/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What other gateways ask about sessions: open, renew, close. Whoever asks has shown its key, and
 * proved that it is a member. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/peers/gateway_policy.h"
#include "dht-gateway/peers/gateway_session_impl.h"

static int refuse(struct p2p_opp_error *error, int status, enum p2p_opp_error_code code,
		  const char *reason)
{
	memset(error, 0, sizeof(*error));
	error->code = code;
	snprintf(error->reason, sizeof(error->reason), "%s", reason);
	return status;
}

static uint32_t lower(uint32_t a, int64_t b)
{
	return a < (uint32_t)b ? a : (uint32_t)b;
}

int gw_session_accept(struct gw_sessions *s, const struct p2p_hit *hit,
		      const uint8_t raw[P2P_OPP_SESSION_ID_LEN], const struct p2p_opp_open *open,
		      struct p2p_opp_opened *out, struct p2p_opp_error *error)
{
	struct gw *gw = s->gw;
	struct gw_metrics *m = &gw->metrics;
	struct p2p_opp_opened opened = {
		.instance = s->instance,
		.lifetime_s = lower(open->lifetime_s, gw->settings->session_lifetime_s)};
	struct p2p_sessions_terms terms;
	struct p2p_offer ours, theirs;
	struct p2p_agreed agreed;
	struct p2p_session session;
	struct p2p_session_id id;
	enum p2p_uncommon what;
	char text[P2P_HIT_TEXT_MAX], id_text[P2P_SESSION_ID_TEXT_MAX];
	int err;

	memcpy(id.b, raw, sizeof(id.b));
	p2p_hit_print(hit, text);
	if (s->stopping)
		return refuse(error, 503, P2P_OPP_E_BUSY, "this gateway stops");
	if (!p2p_hit_cmp(hit, &gw->hit))
		return refuse(error, 400, P2P_OPP_E_BADREQUEST, "this is yourself");
	err = p2p_sessions_acceptable(s->table, &id, hit, gw_mono(gw));
	if (err == EALREADY) {
		m->accepts_replay++;
		p2p_session_id_print(&id, id_text);
		gw_warn_source(gw, hit, sizeof(*hit),
			       "gateway of %s is refused a session: the id %s was seen before (a "
			       "replay?)",
			       text, id_text);
		return refuse(error, 409, P2P_OPP_E_REPLAY,
			      "a session of this id was opened before");
	}
	if (err) {
		m->accepts_busy++;
		return refuse(error, 503, P2P_OPP_E_BUSY, "too many sessions");
	}
	gw_policy_offer(gw, hit, &ours);
	if (!ours.n_addresses) {
		m->accepts_busy++;
		return refuse(error, 503, P2P_OPP_E_BUSY,
			      "Kamailio has not said yet where it is reached");
	}
	p2p_offer_read(&theirs, &open->offer);
	what = p2p_negotiate(&ours, &theirs, &agreed);
	if (what) {
		m->accepts_uncommon++;
		refuse(error, 406, P2P_OPP_E_NOCOMMON, "");
		strcpy(error->uncommon, p2p_uncommon_text(what));
		/* "here" is where the reason is read */
		p2p_uncommon_reason(what, &theirs, &ours, error->reason, sizeof(error->reason));
		gw_warn_source(gw, hit, sizeof(*hit), "gateway of %s is refused a session: %s",
			       text, error->reason);
		return 406;
	}
	err = gw_crypto_random(opened.nonce, sizeof(opened.nonce));
	if (!err)
		err = gw_session_make(gw, &id, hit, false, open->nonce, opened.nonce, &agreed,
				      &ours, &theirs, open->instance, opened.lifetime_s, &session,
				      &terms);
	if (!err)
		err = gw_session_side_new(s, &id, NULL, 0);
	if (!err) {
		err = p2p_sessions_accept(s->table, &session, &terms, gw_mono(gw));
		if (err)
			gw_map_del(s->sides, &id, sizeof(id));
	}
	OPENSSL_cleanse(&session, sizeof(session));
	if (err) {
		m->accepts_busy++;
		return refuse(error, 503, P2P_OPP_E_BUSY, strerror(err));
	}
	m->accepts_ok++;
	p2p_offer_write(&ours, &opened.offer);
	strcpy(opened.signalling, p2p_signalling_text(agreed.signalling));
	strcpy(opened.family, p2p_family_text(agreed.family));
	strcpy(opened.media, p2p_media_text(agreed.media));
	gw_session_opened(s, &id);
	*out = opened;
	return 0;
}

/* The session of this peer, that is open. */
static const struct p2p_sessions_entry *of(const struct gw_sessions *s, const struct p2p_hit *hit,
					   const uint8_t raw[P2P_OPP_SESSION_ID_LEN],
					   struct p2p_session_id *id)
{
	const struct p2p_sessions_entry *e;

	memcpy(id->b, raw, sizeof(id->b));
	e = p2p_sessions_find(s->table, id);
	return e && !p2p_hit_cmp(&e->s.hit, hit) && p2p_sessions_usable(e, gw_mono(s->gw)) ? e
											   : NULL;
}

static uint32_t calls_said(const struct p2p_sessions_entry *e)
{
	return e->calls < P2P_OPP_CALLS_MAX ? e->calls : P2P_OPP_CALLS_MAX;
}

int gw_session_renew(struct gw_sessions *s, const struct p2p_hit *hit,
		     const uint8_t raw[P2P_OPP_SESSION_ID_LEN], const struct p2p_opp_calls *said,
		     struct p2p_opp_calls *out, struct p2p_opp_error *error)
{
	struct p2p_session_id id;
	const struct p2p_sessions_entry *e = of(s, hit, raw, &id);
	uint64_t now = gw_mono(s->gw);
	uint32_t lifetime_s;

	if (!e)
		return refuse(error, 404, P2P_OPP_E_NOTFOUND, "no such session");
	if (e->s.initiator)
		return refuse(error, 400, P2P_OPP_E_BADREQUEST, "who opened it renews it");
	lifetime_s = lower(e->terms.lifetime_ms / 1000, s->gw->settings->session_lifetime_s);
	*out = (struct p2p_opp_calls){
		.lifetime_s = lifetime_s, .calls = calls_said(e), .retiring = e->retiring};
	if (said->retiring)
		gw_session_retired_there(s, &id);
	p2p_sessions_their_calls(s->table, &id, said->calls);
	p2p_sessions_renewed(s->table, &id, lifetime_s * 1000, now, now);
	s->gw->metrics.renewed_by_peer++;
	gw_sessions_event(s->gw, "change", &id);
	gw_session_arm(s);
	return 0;
}

int gw_session_close(struct gw_sessions *s, const struct p2p_hit *hit,
		     const uint8_t raw[P2P_OPP_SESSION_ID_LEN], bool final,
		     struct p2p_opp_calls *out, struct p2p_opp_error *error)
{
	struct p2p_session_id id;
	const struct p2p_sessions_entry *e = of(s, hit, raw, &id);

	if (!e)
		return refuse(error, 404, P2P_OPP_E_NOTFOUND, "no such session");
	if (e->calls && !final)
		return refuse(error, 409, P2P_OPP_E_INUSE, "calls run over it");
	*out = (struct p2p_opp_calls){.calls = calls_said(e)};
	s->gw->metrics.closes_peer++;
	gw_session_forget(s, &id,
			  final ? "the other peer has dropped it"
				: "the other peer does not use it any more");
	gw_session_arm(s);
	return 0;
}
