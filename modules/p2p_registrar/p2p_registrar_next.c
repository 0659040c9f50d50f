// SPDX-License-Identifier: GPL-2.0-or-later
/* p2p_next(): in a failure route, when all branches are final, or after a t_relay() that failed (a
 * connection refused: then all branches are final at once).
 *
 *   a peer said 404         its record was stale: forget it. Next candidate not tried yet; else ask
 *                           once past every cache; else 404 (480 when that search did not complete)
 *   a peer did not answer   not used for a while. Next candidate; else 503 with a Reason
 *   a peer did not know     the gateway is asked past every cache, and opens another one: the same
 *   the session             peer once more; else 503 with a Reason
 *   anything else           somebody answered: that reply passes; a peer's 503 as our own, with its
 *                           Reason and a Retry-After (tm would make a bare 500 of it, RFC
 * 3261 16.7)
 *
 * Bounded: a peer is tried once per request, the fresh question is asked once, and there are never
 * more than `attempts` rounds. All of it is read off the transaction's branches (their ruid names
 * the peer, their URI is the AoR), so nothing needs to be kept besides. */
#include "core/data_lump_rpl.h"
#include "core/dset.h"
#include "core/route.h"
#include "modules/tm/h_table.h"
#include "modules/tm/t_lookup.h"
#include "modules/tm/t_reply.h"
#include "p2p_registrar.h"

struct summary {
	struct reg_tried tried;
	int stale, dead, refused, others, rounds;
	int best;	 /* branch of the best reply of the others, or -1 */
	bool open;	 /* a branch is not final: nothing to decide yet */
	bool fresh_done; /* a suspension after a branch went out: the fresh question */
	const str *aor;	 /* Request-URI of a peer's branch */
	struct p2p_hit stale_hit[P2P_CANDIDATES_MAX], dead_hit[P2P_CANDIDATES_MAX];
};

/* Lower is better; tm's own order in short: 6xx, then 3xx, 4xx (challenges first), 5xx. */
static int reply_rank(int code)
{
	if (code >= 600)
		return 1000 + code % 100;
	if (code >= 300 && code < 400)
		return 2000 + code % 100;
	if (code == 401 || code == 407 || code == 415 || code == 420 || code == 484)
		return 3000;
	if (code < 500)
		return 4000 + code % 100;
	return 5000 + code % 100;
}

static void summarize(const struct cell *t, struct summary *s)
{
	struct p2p_hit hit;
	bool sent = false;
	int b;

	memset(s, 0, sizeof(*s));
	s->best = -1;
	for (b = 0; b < t->nr_of_outgoings; b++) {
		const struct ua_client *uac = &t->uac[b];
		enum p2p_branch_state state;

		if (uac->flags & TM_UAC_FLAG_BLIND) {
			s->fresh_done |= sent;
			continue;
		}
		if (uac->flags & TM_UAC_FLAG_FB)
			s->rounds++;
		sent = true;
		state = reg_route.branch_state(t, b, &hit);
		if (state != P2P_BRANCH_NONE)
			s->aor = &uac->uri;
		if (state != P2P_BRANCH_NONE && state != P2P_BRANCH_REFUSED) {
			if (s->tried.n < P2P_CANDIDATES_MAX)
				s->tried.hit[s->tried.n++] = hit;
		}
		if (state == P2P_BRANCH_STALE) {
			if (s->stale < P2P_CANDIDATES_MAX)
				s->stale_hit[s->stale++] = hit;
		} else if (state == P2P_BRANCH_DEAD) {
			if (s->dead < P2P_CANDIDATES_MAX)
				s->dead_hit[s->dead++] = hit;
		} else if (state == P2P_BRANCH_REFUSED) {
			s->refused++;
		} else if (uac->last_received < 200) {
			s->open = true;
		} else {
			s->others++;
			if (s->best < 0 || reply_rank(uac->last_received) <
						   reply_rank(t->uac[s->best].last_received))
				s->best = b;
		}
	}
}

/* Is this header of a reply of no use in another one with that code? Those that tm makes itself,
 * those of the body, which is left behind, and those between peers. */
static bool header_skip(const char *s, size_t len, int code)
{
	static const char *const names[] = {
		"via",
		"v",
		"from",
		"f",
		"to",
		"t",
		"call-id",
		"i",
		"cseq",
		"record-route",
		"content-length",
		"l",
		"content-type",
		"c",
		"content-encoding",
		"e",
		"content-disposition",
		"content-language",
		"mime-version",
		"server",
	};
	size_t i;

	if (len == 0 || (len >= 4 && strncasecmp(s, "p2p-", 4) == 0) ||
	    ((code == 480 || code == 503) && len == 11 && strncasecmp(s, "retry-after", len) == 0))
		return true;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == len && strncasecmp(s, names[i], len) == 0)
			return true;
	return false;
}

#define HEADERS_MAX 4096 /* bytes of a reply's headers that are taken over, whole headers only */

/* The challenge of a 401 or 407, the Contacts of a 3xx, Warning ... go along. True: and a Reason.
 */
static bool headers_copy(struct sip_msg *msg, const struct sip_msg *rpl, int code)
{
	const char *p = rpl->buf, *end = rpl->buf + rpl->len, *line, *colon;
	bool reason = false;
	size_t taken = 0;

	p = memchr(p, '\n', (size_t)(end - p)); /* the status line */
	while (p != NULL && ++p < end && *p != '\r' && *p != '\n') {
		line = p;
		do /* with the lines that continue it */
			p = memchr(p, '\n', (size_t)(end - p));
		while (p != NULL && p + 1 < end && (p[1] == ' ' || p[1] == '\t') && p++);
		if (p == NULL)
			break;
		colon = memchr(line, ':', (size_t)(p - line));
		if (colon == NULL)
			break;
		while (colon > line && (colon[-1] == ' ' || colon[-1] == '\t'))
			colon--;
		if (header_skip(line, (size_t)(colon - line), code))
			continue;
		taken += (size_t)(p + 1 - line);
		if (taken > HEADERS_MAX)
			break;
		if (add_lump_rpl(msg, (char *)line, (int)(p + 1 - line), LUMP_RPL_HDR) == NULL) {
			LM_ERR("cannot take a header over into the reply\n");
			break;
		}
		reason |= colon - line == 6 && strncasecmp(line, "reason", 6) == 0;
	}
	return reason;
}

/* A peer says that it, or what it needs, is out of service. Whose fault it is, is known here: the
 * caller is told so, and not that this server is broken. */
static bool peer_unavailable(const struct cell *t, int b)
{
	struct p2p_hit hit;

	return t->uac[b].last_received == 503 &&
	       reg_route.branch_state(t, b, &hit) == P2P_BRANCH_REPLIED;
}

/* Somebody else answered: that is the answer. tm passes its own choice on, unless that is a peer's
 * stale 404 or silence, or its 503: then a reply is made with the code and the headers of the
 * better one. */
static int pass(struct sip_msg *msg, const struct cell *t, const struct summary *s)
{
	int picked = is_route_type(FAILURE_ROUTE) ? reg_tm.t_get_picked_branch() : -1;
	int code = t->uac[s->best].last_received;
	struct sip_msg *rpl = t->uac[s->best].reply;
	char phrase[64] = "Request Failed";
	const char *why = code == 503 ? "overlay peer is out of service" : "";
	struct p2p_hit hit;

	if (picked >= 0 && picked < t->nr_of_outgoings) {
		enum p2p_branch_state st = reg_route.branch_state(t, picked, &hit);

		if (st != P2P_BRANCH_STALE && st != P2P_BRANCH_DEAD && st != P2P_BRANCH_REFUSED &&
		    !peer_unavailable(t, picked))
			return -1;
	}
	if (rpl != NULL && rpl != FAKED_REPLY) {
		const str *r = &rpl->first_line.u.reply.reason;
		size_t n = r->len < (int)sizeof(phrase) ? (size_t)r->len : sizeof(phrase) - 1;

		memcpy(phrase, r->s, n);
		phrase[n] = '\0';
		if (headers_copy(msg, rpl, code))
			why = "";
	} else if (code == 408) {
		strcpy(phrase, "Request Timeout");
	}
	reg_reply_code(msg, code, phrase, why);
	return 0;
}

static void outcome_end(struct sip_msg *msg, bool dead, bool refused, const struct reg_left *left)
{
	if (left->n > 0)
		reg_outcome_left(msg, left);
	else if (dead)
		reg_outcome_set(msg, REG_UNAVAILABLE, "overlay peer cannot be reached");
	else if (refused)
		reg_outcome_set(msg, REG_UNAVAILABLE, "overlay peer does not know the session");
	else
		reg_outcome_set(msg, REG_ABSENT, "user not registered");
}

int reg_next(struct sip_msg *msg, const str *table, const struct reg_route_ref *ref)
{
	struct p2p_candidate_set set;
	struct cell *t = reg_tm.t_gett();
	struct reg_lookup lk;
	struct reg_left left = {0};
	struct summary s;
	int i;

	if (t == NULL || t == T_UNDEFINED || (t->flags & T_CANCELED))
		return -1;
	summarize(t, &s);
	if (s.open)
		return -1;
	if (s.stale == 0 && s.dead == 0 && s.refused == 0)
		return s.others > 0 && peer_unavailable(t, s.best) ? pass(msg, t, &s) : -1;
	if (s.aor == NULL || reg_lookup_prepare(msg, table, s.aor, &lk) < 0 || !lk.has_name)
		return -1;
	for (i = 0; i < s.stale; i++) {
		reg_count(REG_CNT_NEXT_STALE);
		reg_ul.cache_drop(&lk.name, &s.stale_hit[i]);
	}
	for (i = 0; i < s.dead; i++) {
		reg_count(REG_CNT_NEXT_DEAD);
		reg_route.peer_failed(&s.dead_hit[i], "no reply");
	}
	for (i = 0; i < s.refused; i++)
		reg_count(REG_CNT_NEXT_REFUSED);
	if (s.others > 0)
		return pass(msg, t, &s);

	if (s.rounds < reg_settings.attempts) {
		set.n = 0;
		if (reg_ul.cache_get(&lk.name, &set) != P2P_CACHE_MISS &&
		    reg_candidates_add(msg, &lk, &set, true, &s.tried, &left) > 0) {
			reg_count(REG_CNT_NEXT_TRIED);
			reg_outcome_set(msg, REG_FOUND, "next peer");
			reg_route_run(msg, ref);
			return 0;
		}
		/* A peer that does not answer has taken its time already: no second search then. */
		if (s.dead == 0 && !s.fresh_done && reg_ul.gateway_up()) {
			if (reg_suspend(msg, &lk, ref, P2P_QUESTION_ROUTE, P2P_QUESTION_FRESH,
					REG_STAGE_NEXT, &s.tried) >= 0) {
				reg_count(REG_CNT_NEXT_FRESH);
				return 0;
			}
		}
	}
	outcome_end(msg, s.dead > 0, s.refused > 0, &left);
	reg_route_run(msg, ref);
	return 0;
}

/* The fresh answer is there. Peers that were tried and said 404 are not tried again, whatever the
 * search says. */
void reg_next_apply(struct sip_msg *msg, struct reg_lookup *lk, const struct reg_answers *an,
		    const struct reg_tried *skip)
{
	struct reg_left left = {0};

	if (an->route == P2P_ANSWER_FOUND &&
	    reg_candidates_add(msg, lk, &an->set, true, skip, &left) > 0) {
		reg_count(REG_CNT_NEXT_TRIED);
		reg_outcome_set(msg, REG_FOUND, "next peer");
	} else if (left.n == 0 && an->route == P2P_ANSWER_UNKNOWN) {
		/* the user may have moved to a peer that this search did not get to name */
		reg_outcome_set(msg, REG_UNKNOWN, "search not completed in time");
	} else {
		outcome_end(msg, false, false, &left);
	}
}
