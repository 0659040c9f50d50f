/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sessions with other peers: what the two gateways agreed for the traffic between their Kamailios,
 * and its keys. lib/model/sessions.h has their states, docs/peer-protocol.md what goes between the
 * gateways. Only in memory: a gateway that was restarted negotiates anew. */
#ifndef P2PSIP_GATEWAY_SESSION_H
#define P2PSIP_GATEWAY_SESSION_H

#include "dht-gateway/gateway.h"
#include "lib/model/negotiate.h"
#include "lib/model/session.h"
#include "lib/model/sessions.h"
#include "lib/proto/opp.h"

/* For people; with NUL. */
#define GW_SESSION_TEXT_MAX 160
struct gw_sessions;
struct gw_session_wait;

int gw_sessions_new(struct gw_sessions **sp, struct gw *gw);
/* Those who wait are told ETIMEDOUT; other peers are told nothing. */
void gw_sessions_free(struct gw_sessions *s);
/* The settings, or Kamailio's addresses, are others now: what was agreed on is looked at again. */
void gw_sessions_reconsider(struct gw_sessions *s);
/* An orderly end: no session is opened, renewed or closed any more. Other peers are told nothing:
 * both Kamailios go on with what they know until it expires, or this gateway is back. */
void gw_sessions_stop(struct gw_sessions *s);
/* All sessions with this peer end at once (it was revoked, say): ours is forgotten, it is told. */
void gw_sessions_close_peer(struct gw_sessions *s, const struct p2p_hit *hit, const char *reason);

/* --- sessions to send with ---------------------------------------------------------------------
 */

enum gw_session_outcome {
	GW_SESSION_OPEN = 1,
	GW_SESSION_NONE,	/* nobody was asked: [peers] is not enabled, or not at that peer */
	GW_SESSION_UNREACHABLE, /* its gateway does not answer */
	GW_SESSION_REFUSED,	/* it does not want to: membership, or rubbish */
	GW_SESSION_UNCOMMON,	/* no common ground: `uncommon` */
};

struct gw_session_answer {
	enum gw_session_outcome outcome;
	enum p2p_uncommon uncommon;
	struct p2p_session session;	/* OPEN */
	char text[GW_SESSION_TEXT_MAX]; /* else why, for people; printable */
	/* What was told of the user who was asked about. told false: nothing. */
	bool told;
	struct p2p_opp_user user;
};

/* The one to send to this peer with, if there is one: it counts as used. Also what is known of why
 * there is none (no common ground a moment ago). ENOENT: neither; then gw_session_open. */
int gw_session_get(struct gw_sessions *s, const struct p2p_hit *hit, struct gw_session_answer *out);

/* answer is valid during the call only. */
typedef void gw_session_h(const struct gw_session_answer *answer, void *arg);
/* Open one with a peer whose gateway is there; who comes while one is being opened waits for it.
 * user (NULL: none): whether this user is with it is asked in the same breath, unless somebody else
 * has asked already; *asked says whether. Returns 0, and h will be called once, never from inside
 * this call, unless it is cancelled; or the reason why not in *now: nothing was begun. */
int gw_session_open(struct gw_sessions *s, const struct p2p_hit *hit,
		    const struct p2p_locator *gateway, unsigned int n, const struct p2p_key *user,
		    uint64_t deadline_ms, bool *asked, struct gw_session_answer *now,
		    gw_session_h *h, void *arg, struct gw_session_wait **out);
void gw_session_cancel(struct gw_session_wait *wait);

/* The one with this peer, opened if there is none: where its gateway is, its own record tells. h is
 * called once, now or later, with err 0, or ENOENT (there is no such peer), ETIMEDOUT, EBUSY: then
 * answer is NULL. */
typedef void gw_session_peer_h(int err, const struct gw_session_answer *answer, void *arg);
void gw_session_peer(struct gw_sessions *s, const struct p2p_hit *hit, uint64_t deadline_ms,
		     gw_session_peer_h *h, void *arg);

/* --- what the modules say ----------------------------------------------------------------------
 */

/* One that can be used, its ttl_ms what is left; retiring: only for the calls that run over it.
 * ENOENT. */
int gw_session_find(struct gw_sessions *s, const struct p2p_session_id *id, struct p2p_session *out,
		    bool *retiring);
/* So many calls of this Kamailio run over it. ENOENT. */
int gw_session_used(struct gw_sessions *s, const struct p2p_session_id *id, uint64_t kamailio,
		    uint32_t calls);
/* The other peer's Kamailio does not know it (any more). ENOENT. */
int gw_session_refused(struct gw_sessions *s, const struct p2p_session_id *id);
/* That Kamailio is gone, and its calls are not counted any more. */
void gw_sessions_disconnected(struct gw_sessions *s, uint64_t kamailio);

/* --- what other gateways ask -------------------------------------------------------------------
 */

/* Opens one for a peer. 0: *out but for what is told of a user is filled in; else error is, and the
 * HTTP status is returned. */
int gw_session_accept(struct gw_sessions *s, const struct p2p_hit *hit,
		      const uint8_t id[P2P_OPP_SESSION_ID_LEN], const struct p2p_opp_open *open,
		      struct p2p_opp_opened *out, struct p2p_opp_error *error);
int gw_session_renew(struct gw_sessions *s, const struct p2p_hit *hit,
		     const uint8_t id[P2P_OPP_SESSION_ID_LEN], const struct p2p_opp_calls *said,
		     struct p2p_opp_calls *out, struct p2p_opp_error *error);
int gw_session_close(struct gw_sessions *s, const struct p2p_hit *hit,
		     const uint8_t id[P2P_OPP_SESSION_ID_LEN], bool final,
		     struct p2p_opp_calls *out, struct p2p_opp_error *error);

/* --- to be looked at ---------------------------------------------------------------------------
 */

void gw_sessions_scan(const struct gw_sessions *s, uint64_t *cursor, size_t count,
		      void (*fn)(const struct p2p_sessions_entry *e, void *arg), void *arg);
void gw_sessions_metrics(const struct gw_sessions *s, struct gw_metrics *m);

#endif
