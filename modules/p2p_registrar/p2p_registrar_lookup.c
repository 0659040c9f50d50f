// SPDX-License-Identifier: GPL-2.0-or-later
/* The decision: local contacts, cached remote candidates, or a question to the gateway.
 *
 *   request from        local contact          no local contact
 *   a peer, verified    to the phone           absent; shortly after a start SERVES is asked first
 *   a peer, unverified  SESSION is asked, then as above, or denied
 *   anyone else         to the phone, and to   cached: to them
 *                       what the cache knows;  else ROUTE is asked
 *                       others known, but not
 *                       cached: ROUTE, briefly
 *
 * A request from a peer is never sent on to another peer: no loops. */
#include "core/dset.h"
#include "core/parser/parse_to.h"
#include "core/parser/parse_uri.h"
#include "p2p_registrar.h"

/* --- what is looked up ---------------------------------------------------------------------- */

int reg_lookup_prepare(struct sip_msg *msg, const str *table, const str *uri, struct reg_lookup *lk)
{
	struct sip_uri parsed;

	lk->has_name = lk->gruu = false;
	lk->instance = 0;
	lk->peer = P2P_PEER_NO;
	if (uri == NULL || uri->len == 0)
		uri = GET_RURI(msg);
	if (uri->len >= (int)sizeof(lk->aor_buf) || table->len >= (int)sizeof(lk->table_buf)) {
		LM_DBG("too long to be looked up: %.*s\n", uri->len, uri->s);
		return -1;
	}
	memcpy(lk->aor_buf, uri->s, (size_t)uri->len);
	lk->aor_buf[uri->len] = '\0';
	lk->aor.s = lk->aor_buf;
	lk->aor.len = uri->len;
	memcpy(lk->table_buf, table->s, (size_t)table->len);
	lk->table_buf[table->len] = '\0';
	lk->table.s = lk->table_buf;
	lk->table.len = table->len;
	if (parse_uri(lk->aor.s, lk->aor.len, &parsed) < 0)
		return -1;
	if (parsed.gr.s != NULL) {
		/* RFC 5627. A temporary GRUU's user part is no name: only its server knows it. */
		if (parsed.gr_val.len == 0)
			return 0;
		lk->gruu = true;
		lk->instance = p2p_instance_hash(parsed.gr_val.s, (size_t)parsed.gr_val.len);
	}
	lk->has_name = reg_ul.name_from_uri(&lk->aor, &lk->name) == 0;
	return 0;
}

bool reg_in_orphan_window(void)
{
	return reg_ul.uptime() < (unsigned int)reg_settings.orphan_window_s;
}

/* Local contacts as the stock registrar finds them: 1, -1, -2, -3. The Request-URI becomes the
 * first contact, the others branches. */
static int local_lookup(struct sip_msg *msg, struct reg_lookup *lk)
{
	int ret = reg_stock.lookup_uri(msg, &lk->table, &lk->aor);

	if (ret > 0)
		reg_count(REG_CNT_LOCAL);
	return ret;
}

static enum p2p_cache_state cached(const struct reg_lookup *lk, struct p2p_candidate_set *set)
{
	set->n = 0;
	return lk->has_name ? reg_ul.cache_get(&lk->name, set) : P2P_CACHE_MISS;
}

/* Outcome when a contact was found here, or when candidates were added or left out. */
static void outcome_found(struct sip_msg *msg, int local, int remote, const struct reg_left *left)
{
	if (local > 0 || remote > 0)
		reg_outcome_set(msg, REG_FOUND, local > 0 ? "local" : "remote");
	else if (left->n > 0)
		reg_outcome_left(msg, left);
	else if (local == -2)
		reg_outcome_set_code(msg, REG_DENIED, 405, "Method Not Allowed",
				     "no contact supports the method");
	else
		reg_outcome_set(msg, REG_ABSENT, "user not registered");
}

static void outcome_refused(struct sip_msg *msg, enum p2p_peer_status status)
{
	switch (status) {
	case P2P_PEER_LOOP:
		reg_outcome_set_code(msg, REG_DENIED, 482, "Loop Detected",
				     "the request came back to this peer");
		break;
	case P2P_PEER_TOOMANY:
		reg_outcome_set_code(msg, REG_DENIED, 483, "Too Many Hops",
				     "the request went through too many peers");
		break;
	case P2P_PEER_NOSESSION:
		reg_outcome_header("P2P-Refused: session\r\n");
		reg_outcome_set(msg, REG_DENIED, "the session of the request is not known");
		break;
	default:
		reg_outcome_set(msg, REG_DENIED, "the request names a peer it is not from");
		break;
	}
}

/* --- without a route: never suspends -------------------------------------------------------- */

/* Nothing here and nothing cached is not absence: nobody has searched. Ask, for the next time. */
static void outcome_now(struct sip_msg *msg, const struct reg_lookup *lk,
			enum p2p_cache_state state, int local, int remote,
			const struct reg_left *left)
{
	if (lk->peer == P2P_PEER_NO && lk->has_name && remote == 0 && left->n == 0 &&
	    (local <= 0 || state == P2P_CACHE_MISS))
		reg_refresh(&lk->name);
	if (local > 0 || local == -2 || remote > 0 || left->n > 0) {
		outcome_found(msg, local, remote, left);
		return;
	}
	switch (lk->peer) {
	case P2P_PEER_NO:
		if (!lk->has_name)
			reg_outcome_set(msg, REG_ABSENT, "user not registered");
		else if (!reg_ul.gateway_up())
			reg_outcome_set(msg, REG_UNAVAILABLE, "overlay gateway unavailable");
		else
			reg_outcome_set(msg, REG_UNKNOWN, "nothing cached, and not waited for");
		break;
	case P2P_PEER_VERIFIED:
		if (lk->has_name && reg_in_orphan_window())
			reg_outcome_set(msg, REG_UNKNOWN,
					"registrations not complete after a start");
		else
			reg_outcome_set(msg, REG_ABSENT, "user not registered");
		break;
	case P2P_PEER_UNVERIFIED:
		reg_outcome_set(msg, REG_UNKNOWN, "the sending peer could not be verified");
		break;
	default:
		outcome_refused(msg, lk->peer);
		break;
	}
}

int reg_lookup_now(struct sip_msg *msg, str *table, str *uri)
{
	enum p2p_cache_state state = P2P_CACHE_MISS;
	struct p2p_candidate_set set;
	struct reg_lookup lk;
	struct reg_left left = {0};
	int local, remote = 0;

	if (reg_lookup_prepare(msg, table, uri, &lk) < 0)
		return -3;
	reg_count(REG_CNT_LOOKUPS);
	lk.peer = reg_route.peer_judge(msg, &lk.hit);
	reg_route.headers_strip(msg);
	local = local_lookup(msg, &lk);
	if (lk.peer == P2P_PEER_NO && (state = cached(&lk, &set)) != P2P_CACHE_MISS) {
		remote = reg_candidates_add(msg, &lk, &set, local <= 0, NULL, &left);
		if (remote > 0)
			reg_count(REG_CNT_CACHED);
	}
	outcome_now(msg, &lk, state, local, remote, &left);
	return remote > 0 ? 1 : local;
}

int reg_lookup_to_dset(struct sip_msg *msg, str *table, str *uri)
{
	enum p2p_cache_state state = P2P_CACHE_MISS;
	struct p2p_candidate_set set;
	struct reg_lookup lk;
	struct reg_left left = {0};
	int local, remote = 0;

	if (reg_lookup_prepare(msg, table, uri, &lk) < 0)
		return -3;
	reg_count(REG_CNT_LOOKUPS);
	lk.peer = reg_route.peer_judge(msg, &lk.hit);
	local = reg_stock.lookup_to_dset(msg, &lk.table, &lk.aor);
	if (lk.peer == P2P_PEER_NO && (state = cached(&lk, &set)) != P2P_CACHE_MISS)
		remote = reg_candidates_add(msg, &lk, &set, false, NULL, &left);
	outcome_now(msg, &lk, state, local, remote, &left);
	return remote > 0 ? 1 : local;
}

int reg_lookup_branches(struct sip_msg *msg, str *table)
{
	struct {
		char uri[REG_URI_MAX];
		int len;
	} *more = NULL;
	enum p2p_cache_state state;
	struct p2p_candidate_set set;
	unsigned int i, n = nr_branches;
	struct reg_lookup lk;
	struct reg_left left = {0}, more_left;
	int local, remote;
	str uri;

	if (reg_lookup_prepare(msg, table, NULL, &lk) < 0)
		return -3;
	reg_count(REG_CNT_LOOKUPS);
	lk.peer = reg_route.peer_judge(msg, &lk.hit);
	if (lk.peer != P2P_PEER_NO) {
		local = reg_stock_lookup_branches(msg, &lk.table);
		outcome_now(msg, &lk, P2P_CACHE_MISS, local, 0, &left);
		return local;
	}
	/* the AoRs of the branches, before the registrar puts contacts in their place */
	if (n > 0) {
		more = pkg_malloc(n * sizeof(*more));
		if (more == NULL) {
			PKG_MEM_ERROR;
			return -3;
		}
		for (i = 0; i < n; i++) {
			branch_t *b = get_sip_branch((int)i);

			more[i].len = 0;
			if (b == NULL || b->dst_uri_len > 0 || b->path_len > 0 ||
			    b->len >= sizeof(more[i].uri))
				continue;
			memcpy(more[i].uri, b->uri, b->len);
			more[i].len = (int)b->len;
		}
	}
	local = reg_stock_lookup_branches(msg, &lk.table);
	state = cached(&lk, &set);
	remote = state != P2P_CACHE_MISS
			 ? reg_candidates_add(msg, &lk, &set, local <= 0, NULL, &left)
			 : 0;
	for (i = 0; i < n; i++) {
		struct reg_lookup branch;

		uri.s = more[i].uri;
		uri.len = more[i].len;
		if (uri.len == 0 || reg_lookup_prepare(msg, &lk.table, &uri, &branch) < 0)
			continue;
		if (!branch.has_name)
			continue;
		if (cached(&branch, &set) != P2P_CACHE_MISS)
			remote += reg_candidates_add(msg, &branch, &set, false, NULL, &more_left);
		else
			reg_refresh(&branch.name);
	}
	if (more != NULL)
		pkg_free(more);
	outcome_now(msg, &lk, state, local, remote, &left);
	return remote > 0 ? 1 : local;
}

/* --- with a route --------------------------------------------------------------------------- */

/* An ACK has no transaction to suspend, and a request within a dialog has its route set. */
static bool may_suspend(struct sip_msg *msg)
{
	if (msg->REQ_METHOD == METHOD_ACK || msg->REQ_METHOD == METHOD_CANCEL)
		return false;
	return parse_to_header(msg) == 0 && get_to(msg)->tag_value.len == 0;
}

/* Suspend, or say why not. Returns true when the script is done with this request. */
static bool ask(struct sip_msg *msg, struct reg_lookup *lk, const struct reg_route_ref *ref,
		enum p2p_question_kind kind)
{
	if (!may_suspend(msg)) {
		reg_outcome_set(msg, REG_UNKNOWN, "not asked for a request of this kind");
		return false;
	}
	if (!reg_ul.gateway_soon(kind)) {
		reg_outcome_set(msg, REG_UNAVAILABLE, "overlay gateway unavailable");
		return false;
	}
	if (reg_suspend(msg, lk, ref, kind, 0, REG_STAGE_LOOKUP, NULL) >= 0)
		return true;
	reg_outcome_set(msg, REG_UNAVAILABLE, "too many lookups");
	return false;
}

static const char not_back[] = "the phone's connection was lost, and it is not back yet";

/* From a peer that is one: local contacts only. True: suspended. */
static bool lookup_for_peer(struct sip_msg *msg, struct reg_lookup *lk,
			    const struct reg_route_ref *ref)
{
	const struct reg_left none = {0};
	int local = local_lookup(msg, lk);

	if (local == -1 && lk->has_name && reg_ul.user_stale(&lk->name)) {
		reg_outcome_set(msg, REG_UNKNOWN, not_back);
		return false;
	}
	if (local == -1 && lk->has_name && reg_in_orphan_window()) {
		/* shortly after a start: does the gateway still hold a registration that the phone
		 * has not refreshed here yet? */
		if (may_suspend(msg) && reg_ul.gateway_soon(P2P_QUESTION_SERVES))
			return ask(msg, lk, ref, P2P_QUESTION_SERVES);
		reg_outcome_set(msg, REG_UNKNOWN, "registrations not complete after a start");
		return false;
	}
	outcome_found(msg, local, 0, &none);
	return false;
}

/* The user is registered here, others are known to serve him too, and nothing is cached: wait for
 * them, but not long. True: suspended. */
static bool others_wait(struct sip_msg *msg, struct reg_lookup *lk, const struct reg_route_ref *ref)
{
	if (!lk->has_name || reg_settings.local_wait_ms == 0 || !may_suspend(msg) ||
	    !reg_ul.gateway_up() ||
	    reg_registered(msg, &lk->table, &lk->aor, 0, 2 /* set no xavp */) <= 0)
		return false;
	return reg_suspend(msg, lk, ref, P2P_QUESTION_ROUTE, 0, REG_STAGE_OTHERS, NULL) >= 0;
}

static bool lookup_for_user(struct sip_msg *msg, struct reg_lookup *lk,
			    const struct reg_route_ref *ref)
{
	struct p2p_candidate_set set;
	enum p2p_cache_state state = cached(lk, &set);
	struct reg_left left = {0};
	int local, remote = 0;

	if (state == P2P_CACHE_MISS && others_wait(msg, lk, ref))
		return true;
	local = local_lookup(msg, lk);
	if (state != P2P_CACHE_MISS && set.n > 0) {
		remote = reg_candidates_add(msg, lk, &set, local <= 0, NULL, &left);
		if (remote > 0)
			reg_count(REG_CNT_CACHED);
		else if (left.n > 0) /* has he gone elsewhere? for the next call */
			reg_refresh(&lk->name);
	} else if (local > 0 && state == P2P_CACHE_MISS && lk->has_name) {
		reg_refresh(&lk->name); /* who else serves this user: known the next time */
	}
	if (local > 0 || remote > 0 || left.n > 0 || !lk->has_name) {
		outcome_found(msg, local, remote, &left);
		return false;
	}
	return ask(msg, lk, ref, P2P_QUESTION_ROUTE);
}

int reg_lookup_route(struct sip_msg *msg, str *table, str *uri, const struct reg_route_ref *ref)
{
	struct reg_lookup lk;
	bool suspended = false;

	if (reg_lookup_prepare(msg, table, uri, &lk) < 0) {
		reg_outcome_set(msg, REG_ABSENT, "no address of record");
		reg_route_run(msg, ref);
		return 0;
	}
	reg_count(REG_CNT_LOOKUPS);
	lk.peer = reg_route.peer_judge(msg, &lk.hit);
	reg_route.headers_strip(msg);
	switch (lk.peer) {
	case P2P_PEER_NO:
		suspended = lookup_for_user(msg, &lk, ref);
		break;
	case P2P_PEER_VERIFIED:
		suspended = lookup_for_peer(msg, &lk, ref);
		break;
	case P2P_PEER_UNVERIFIED:
		if (may_suspend(msg) && reg_route.peer_session(msg, &lk.session) == 0)
			suspended = ask(msg, &lk, ref, P2P_QUESTION_SESSION);
		else
			outcome_refused(msg, lk.peer);
		break;
	default:
		outcome_refused(msg, lk.peer);
		break;
	}
	if (!suspended)
		reg_route_run(msg, ref);
	return 0;
}

/* --- in the continuation -------------------------------------------------------------------- */

static bool orphan(const struct reg_answers *an)
{
	return an->asked_serves && (an->serves_code != P2P_ANSWER_FOUND || an->serves == 2);
}

static void outcome_not_found(struct sip_msg *msg, const struct reg_lookup *lk,
			      const struct reg_answers *an)
{
	if (lk->has_name && reg_ul.user_stale(&lk->name)) {
		reg_outcome_set(msg, REG_UNKNOWN, not_back);
		return;
	}
	if (orphan(an)) {
		reg_outcome_set(msg, REG_UNKNOWN, "registrations not complete after a start");
		return;
	}
	switch (an->asked_route ? an->route : P2P_ANSWER_ABSENT) {
	case P2P_ANSWER_UNKNOWN:
		reg_outcome_set(msg, REG_UNKNOWN, "search not completed in time");
		break;
	case P2P_ANSWER_BADARG: /* nobody has searched */
		reg_outcome_set(msg, REG_UNKNOWN, "the gateway did not accept the question");
		break;
	case P2P_ANSWER_UNAVAILABLE:
		reg_outcome_set(msg, REG_UNAVAILABLE, "overlay gateway unavailable");
		break;
	case P2P_ANSWER_BUSY:
		reg_outcome_set(msg, REG_UNAVAILABLE, "overlay gateway busy");
		break;
	default:
		reg_outcome_set(msg, REG_ABSENT, "user not registered");
		break;
	}
}

void reg_lookup_apply(struct sip_msg *msg, struct reg_lookup *lk, const struct reg_answers *an)
{
	struct reg_left left = {0};
	int local, remote = 0;

	if (an->asked_session) {
		if (an->session != P2P_ANSWER_FOUND && an->session != P2P_ANSWER_ABSENT) {
			reg_outcome_set(msg, REG_UNKNOWN, "the sending peer could not be verified");
			return;
		}
		lk->peer = reg_route.peer_verified(msg);
		if (lk->peer != P2P_PEER_VERIFIED) {
			outcome_refused(msg, lk->peer);
			return;
		}
	}
	local = local_lookup(msg, lk); /* the phone may have come meanwhile */
	if (lk->peer == P2P_PEER_NO && an->asked_route && an->route == P2P_ANSWER_FOUND)
		remote = reg_candidates_add(msg, lk, &an->set, local <= 0, NULL, &left);
	if (local > 0 || remote > 0 || left.n > 0 || local == -2)
		outcome_found(msg, local, remote, &left);
	else
		outcome_not_found(msg, lk, an);
}
