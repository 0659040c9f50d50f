/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The asking side of the overlay peer protocol: questions to other peers' gateways, over kept
 * connections, with a circuit breaker for each peer. A peer that is down, silent or answers rubbish
 * costs one question its deadline; then it is left alone until a probe of ours was answered. */
#ifndef P2PSIP_GATEWAY_ASK_H
#define P2PSIP_GATEWAY_ASK_H

#include "dht-gateway/gateway.h"
#include "lib/model/breaker.h"
#include "lib/proto/opp.h"

struct gw_asks;
struct gw_ask;
struct https_client_stats;

int gw_asks_new(struct gw_asks **ap, struct gw *gw);
/* Questions under way are told nothing more. */
void gw_asks_free(struct gw_asks *a);

/* --- any question ------------------------------------------------------------------------------
 */

struct gw_question {
	const char *method; /* "GET", "PUT", "POST", "DELETE" */
	const struct p2p_opp_path *path;
	const char *body; /* NULL: none */
	size_t len;
	bool final; /* DELETE: whatever runs over the session */
	/* Reads the body of a 200, into what arg is; 0, or it is rubbish. */
	int (*read)(const char *body, size_t len, void *arg);
};

struct gw_answer {
	/* 0: read() liked it. EEXIST: error says why not, and that is an answer (replay, in-use,
	 * no-common; for a session that is renewed or closed, and for many users, also not-found;
	 * about enrolment, revocations and the secret whatever it is). Else nothing is known:
	 * ETIMEDOUT, ECONNREFUSED, EPERM (whoever is there is not that peer), EACCES (it does not
	 * take us for a member), EPROTO (rubbish, or refused), EBUSY (it has too much to do). */
	int err;
	const struct p2p_opp_error *error; /* NULL unless EEXIST */
	const char *text;		   /* why, for people; "" when err is 0 */
	bool ours; /* ETIMEDOUT, and it is we who were late: it says nothing of the other side */
};
typedef void gw_answer_h(const struct gw_answer *answer, void *arg);

/* Where the peer's gateway is; none (n 0): where it was asked last. 0: h will be called once, never
 * from inside this call, unless it is cancelled. EBUSY: not asked (the breaker is open, unless
 * it is about enrolment, revocations or the secret; the peer wants to be left alone for a moment,
 * too many questions); ENOENT: no address that we could reach,
 * or [peers] is not enabled; ENOMEM. */
int gw_asks_question(struct gw_asks *a, const struct p2p_hit *hit,
		     const struct p2p_locator *gateway, unsigned int n,
		     const struct gw_question *question, uint64_t deadline_ms, gw_answer_h *h,
		     void *arg, struct gw_ask **out);
void gw_ask_cancel(struct gw_ask *ask);

/* That peer's gateway has asked us, or its Kamailio speaks, or members say that it began anew: if
 * it is left alone, for it did not answer, it need not be any more. */
void gw_asks_sign(struct gw_asks *a, const struct p2p_hit *hit);

/* That peer's gateway is asking us something: if it answers late, over a connection that stands, it
 * is late, and not dead. */
void gw_asks_heard(struct gw_asks *a, const struct p2p_hit *hit);

/* Why that peer is not asked now, for people; err: as of gw_answer. "" and 0: it is. */
const char *gw_asks_why(const struct gw_asks *a, const struct p2p_hit *hit, int *err);

/* --- is this user with you? --------------------------------------------------------------------
 */

/* err 0: user is the answer; else as gw_answer's. */
typedef void gw_ask_h(int err, const struct p2p_opp_user *user, void *arg);

/* As gw_asks_question, of the user whose records have this key. */
int gw_asks_user(struct gw_asks *a, const struct p2p_hit *hit, const struct p2p_locator *gateway,
		 unsigned int n, const struct p2p_key *key, uint64_t deadline_ms, gw_ask_h *h,
		 void *arg, struct gw_ask **out);
/* A user's presence was told in an answer to another question, or not (NULL, err): counted. */
void gw_asks_count(struct gw *gw, int err, const struct p2p_opp_user *user);

/* --- who is there? -----------------------------------------------------------------------------
 */

struct gw_identify;
/* err 0: this HIT's certificate is shown there (that its key is had is not proven); else text says
 * why not. */
typedef void gw_identify_h(int err, const struct p2p_hit *hit, const char *text, void *arg);
/* 0: h will be called once, never from inside this call. */
int gw_asks_identify(struct gw_asks *a, const struct p2p_locator *at, uint64_t deadline_ms,
		     gw_identify_h *h, void *arg, struct gw_identify **out);
void gw_asks_identify_cancel(struct gw_identify *i);

struct gw_ask_info {
	bool known; /* it was asked since we started */
	enum p2p_breaker_state breaker;
	uint32_t failures; /* since its last answer */
	bool answered;
	uint64_t answer_age_ms;
	uint32_t took_us;    /* its last answer */
	unsigned int asking; /* questions under way */
};
void gw_asks_info(const struct gw_asks *a, const struct p2p_hit *hit, struct gw_ask_info *info);
/* gw->tls has another certificate. */
void gw_asks_identity(struct gw_asks *a);
void gw_asks_stats(const struct gw_asks *a, struct https_client_stats *stats);
/* Peers whose breaker is not closed. */
unsigned int gw_asks_broken(const struct gw_asks *a);

#endif
