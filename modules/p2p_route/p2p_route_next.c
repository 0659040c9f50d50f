// SPDX-License-Identifier: GPL-2.0-or-later
/* Branches towards peers. The Request-URI stays the AoR as dialled, the peer's SIP address becomes
 * the destination, and the branch's ruid names the peer's HIT: tm keeps it (uac[].ruid), so that
 * branch routes, replies and failure routes know the branch again. */
#include "core/dset.h"
#include "core/parser/parse_uri.h"
#include "core/resolve.h"
#include "core/socket_info.h"
#include "core/timer_ticks.h"
#include "modules/tm/h_table.h"
#include "modules/tm/t_hooks.h"
#include "modules/tm/t_reply.h"
#include "p2p_route.h"

/* What Via, Record-Route and the peer's header add to a request on its way out. */
#define GROWTH 500

struct choice {
	char uri[P2P_CANDIDATE_URI_MAX];
	struct socket_info *si;
	bool stream;
};

/* One address of a peer: usable when it is numeric and we have a socket for it. */
static bool choice_make(const char *text, struct choice *c)
{
	struct sip_uri uri;
	struct ip_addr *a, ip;
	size_t len = strnlen(text, P2P_CANDIDATE_URI_MAX - 1);
	int proto;
	str host;

	memcpy(c->uri, text, len);
	c->uri[len] = '\0';
	if (parse_uri(c->uri, (int)len, &uri) < 0)
		return false;
	host = uri.host;
	a = str2ip(&host);
	if (a == NULL)
		a = str2ip6(&host);
	if (a == NULL)
		return false; /* a name: no SIP worker waits for DNS here */
	ip = *a;
	proto = uri.proto == PROTO_NONE ? PROTO_UDP : uri.proto;
	if (proto != PROTO_UDP && proto != PROTO_TCP && proto != PROTO_TLS)
		return false;
	c->si = route_socket_reaching(proto, &ip);
	c->stream = proto != PROTO_UDP;
	return c->si != NULL;
}

static bool is_big(const struct sip_msg *msg)
{
	return route_settings.tcp_threshold > 0 &&
	       msg->len + GROWTH > (unsigned int)route_settings.tcp_threshold;
}

/* Where the session says; a request too big for one datagram goes over a stream where the peer has
 * one (RFC 3261 section 18.1.1). */
static int choose_agreed(struct sip_msg *msg, const struct p2p_session *session,
			 struct choice *best)
{
	if (is_big(msg) && session->stream_uri[0] != '\0' &&
	    choice_make(session->stream_uri, best)) {
		route_count(ROUTE_CNT_TCP_SIZE);
		return 0;
	}
	if (session->signalling == P2P_SIGNALLING_TLS && route_tls_use(session) < 0)
		return -1;
	return choice_make(session->uri, best) ? 0 : -1;
}

struct socket_info *route_socket_for(const char *uri)
{
	struct choice c;

	return choice_make(uri, &c) ? c.si : NULL;
}

/* By the record: the peer's order of preference decides, and the size as above. TLS is for
 * sessions. */
static int choose(struct sip_msg *msg, const struct p2p_candidate *peer, struct choice *best)
{
	bool big = is_big(msg);
	struct choice c;
	bool found = false;
	int i;

	for (i = 0; i < peer->n_uris && i < P2P_CANDIDATE_URIS_MAX; i++) {
		if (!choice_make(peer->uri[i], &c) || c.si->proto == PROTO_TLS)
			continue;
		if (!found) {
			*best = c;
			found = true;
		}
		if (!big)
			break;
		if (c.stream) {
			if (!best->stream)
				route_count(ROUTE_CNT_TCP_SIZE);
			*best = c;
			break;
		}
	}
	return found ? 0 : -1;
}

/* --- transaction callbacks ------------------------------------------------------------------
 * One set per transaction that has a branch towards a peer. */

static bool branch_hit(const struct cell *t, int b, struct p2p_hit *hit)
{
	return b >= 0 && b < t->nr_of_outgoings && p2p_ruid_hit(&t->uac[b].ruid, hit) == 0;
}

/* tm starts a branch's timers right after this callback and takes their length from the
 * transaction. A branch towards a peer gets a short one: the peer says 100 to an INVITE at once,
 * and is probed where it may be silent (p2p_route_health.c). The branches towards phones in the
 * same fork keep theirs. The callback's parameter keeps the transaction's own value meanwhile. */
static void request_sent(struct cell *t, struct tmcb_params *ps)
{
	struct p2p_hit hit;

	/* local: the ACK to a branch's negative reply, after which nobody would put the value back
	 */
	if (ps->flags & (TMCB_RETR_F | TMCB_LOCAL_F) || ps->t_rbuf == NULL ||
	    ps->t_rbuf->rbtype != TYPE_REQUEST)
		return;
	if (branch_hit(t, ps->t_rbuf->branch, &hit)) {
		ticks_t limit = MS_TO_TICKS((ticks_t)route_settings.peer_timeout_ms);

		if (*ps->param == NULL && t->fr_timeout > limit) {
			*ps->param = (void *)(unsigned long)t->fr_timeout;
			t->fr_timeout = limit;
		}
	} else if (*ps->param != NULL) {
		t->fr_timeout = (ticks_t)(unsigned long)*ps->param;
		*ps->param = NULL;
	}
}

static void request_out(struct cell *t, struct tmcb_params *ps)
{
	struct p2p_hit hit;

	if (*ps->param != NULL) {
		t->fr_timeout = (ticks_t)(unsigned long)*ps->param;
		*ps->param = NULL;
	}
	if (ps->t_rbuf != NULL && branch_hit(t, ps->t_rbuf->branch, &hit)) {
		route_count(ROUTE_CNT_BRANCHES);
		route_watch(&hit, t, ps->t_rbuf->branch, is_invite(t));
	}
}

/* The session that a branch was made for; its id is kept as the branch's instance. */
static int session_of(const str *instance, struct p2p_session *session)
{
	struct p2p_session_id id;

	if (instance->s == NULL || instance->len <= 0 ||
	    p2p_session_id_parse(&id, instance->s, (size_t)instance->len) != 0)
		return -1;
	return route_ul.session_by_id(&id, session) >= 0 ? 0 : -1;
}

/* After the branch route, before the request is built: nothing of what is signed changes now. */
static void request_forwarded(struct sip_msg *req, const struct p2p_hit *hit)
{
	struct p2p_session session;
	bool has = session_of(&req->instance, &session) == 0;

	route_header_add(req, has ? &session : NULL);
	route_dialog_mark(req, hit, false);
	if (has)
		route_ul.session_calls(&session.id, 0);
	memset(&session, 0, sizeof(session));
}

static bool header_is(const struct sip_msg *msg, const char *name, const char *value)
{
	const struct hdr_field *hf;

	for (hf = msg->headers; hf != NULL; hf = hf->next)
		if (hf->name.len == (int)strlen(name) &&
		    strncasecmp(hf->name.s, name, (size_t)hf->name.len) == 0 &&
		    hf->body.len == (int)strlen(value) &&
		    strncasecmp(hf->body.s, value, (size_t)hf->body.len) == 0)
			return true;
	return false;
}

static void reply_in(struct cell *t, int b, const struct p2p_hit *hit, struct tmcb_params *ps)
{
	struct p2p_session session;

	if (ps->rpl == NULL || ps->rpl == FAKED_REPLY || ps->code < 200 ||
	    session_of(&t->uac[b].instance, &session) < 0)
		return;
	if (ps->code == 403 && parse_headers(ps->rpl, HDR_EOH_F, 0) == 0 &&
	    header_is(ps->rpl, "P2P-Refused", "session")) {
		t->uac[b].flags |= ROUTE_UAC_REFUSED;
		route_ul.session_refused(&session.id);
	} else if (ps->code < 300 && is_invite(t)) {
		route_calls_begin(ps->rpl, hit, &session.id);
	}
	memset(&session, 0, sizeof(session));
}

static void transaction_h(struct cell *t, int type, struct tmcb_params *ps)
{
	struct p2p_hit hit;

	switch (type) {
	case TMCB_REQUEST_FWDED:
		if (ps->req != NULL && p2p_ruid_hit(&ps->req->ruid, &hit) == 0)
			request_forwarded(ps->req, &hit);
		break;
	case TMCB_REQUEST_SENT:
		request_sent(t, ps);
		break;
	case TMCB_REQUEST_OUT:
		request_out(t, ps);
		break;
	case TMCB_RESPONSE_IN:
		if (branch_hit(t, route_tm.t_gett_branch(), &hit)) {
			route_peer_heard(&hit);
			reply_in(t, route_tm.t_gett_branch(), &hit, ps);
		}
		break;
	default:
		break;
	}
}

/* Once per transaction, or per request that has none yet (tm takes those over). */
static int callbacks_set(struct sip_msg *msg)
{
	static unsigned int last_id;
	static int last_pid;
	struct cell *t = route_tm.t_gett();
	volatile struct tm_callback *cb;

	if (t != NULL && t != T_UNDEFINED) {
		for (cb = t->tmcb_hl.first; cb != NULL; cb = cb->next)
			if (cb->callback == transaction_h)
				return 0;
	} else {
		if (last_pid == msg->pid && last_id == msg->id)
			return 0;
		last_pid = msg->pid;
		last_id = msg->id;
	}
	if (route_tm.register_tmcb(msg, NULL,
				   TMCB_REQUEST_FWDED | TMCB_REQUEST_SENT | TMCB_REQUEST_OUT |
					   TMCB_RESPONSE_IN,
				   transaction_h, NULL, NULL) <= 0) {
		LM_ERR("tm does not take the callbacks for a branch towards a peer\n");
		return -1;
	}
	return 0;
}

/* A peer with which there is no session takes nothing from us, unless its gateway does not speak of
 * sessions, and its operator has listed us as we have listed him. */
static bool may_go_unsigned(const struct p2p_candidate *peer)
{
	struct choice c;
	struct sip_uri uri;
	struct ip_addr *a;
	int i;

	if (peer->session == P2P_CANDIDATE_SESSION_NONE)
		return true;
	for (i = 0; i < peer->n_uris && i < P2P_CANDIDATE_URIS_MAX; i++) {
		if (!choice_make(peer->uri[i], &c) ||
		    parse_uri(c.uri, (int)strlen(c.uri), &uri) < 0)
			continue;
		a = str2ip(&uri.host);
		if (a == NULL)
			a = str2ip6(&uri.host);
		if (a != NULL && route_peer_configured(a))
			return true;
	}
	return false;
}

static int branch_add(struct sip_msg *msg, const str *aor, const struct p2p_candidate *peer,
		      int first)
{
	char ruid_text[P2P_RUID_PREFIX_LEN + P2P_HIT_TEXT_MAX];
	char session_text[P2P_SESSION_ID_TEXT_MAX] = "";
	struct p2p_session session;
	str dst, ruid, instance, uri = *aor;
	bool has = route_ul.session_by_hit(&peer->hit, &session) == 0;
	struct choice c;

	if (has)
		p2p_session_id_print(&session.id, session_text);
	memset(session.key_in, 0, sizeof(session.key_in));
	memset(session.key_out, 0, sizeof(session.key_out));
	instance.s = session_text;
	instance.len = (int)strlen(session_text);
	memcpy(ruid_text, P2P_RUID_PREFIX, P2P_RUID_PREFIX_LEN);
	p2p_hit_print(&peer->hit, ruid_text + P2P_RUID_PREFIX_LEN);
	ruid.s = ruid_text;
	ruid.len = (int)strlen(ruid_text);
	if (!has && !may_go_unsigned(peer)) {
		route_count(ROUTE_CNT_NOT_SENT);
		return -1;
	}
	if ((has ? choose_agreed(msg, &session, &c) : choose(msg, peer, &c)) < 0) {
		route_count(ROUTE_CNT_NO_ADDRESS);
		LM_DBG("peer %s has no address that this server can send to\n",
		       ruid_text + P2P_RUID_PREFIX_LEN);
		return -1;
	}
	if (callbacks_set(msg) < 0)
		return -1;
	dst.s = c.uri;
	dst.len = (int)strlen(c.uri);
	if (first) {
		str *now = GET_RURI(msg);

		if ((now->len != uri.len || memcmp(now->s, uri.s, (size_t)uri.len) != 0) &&
		    rewrite_uri(msg, &uri) < 0)
			return -1;
		reset_path_vector(msg);
		reset_instance(msg);
		reset_ua(msg);
		msg->reg_id = 0;
		msg->otcpid = 0;
		if (set_dst_uri(msg, &dst) < 0 || set_ruid(msg, &ruid) < 0 ||
		    (has && set_instance(msg, &instance) < 0))
			return -1;
		set_force_socket(msg, c.si);
		ruri_mark_new();
	} else if (append_branch(msg, &uri, &dst, NULL, get_ruri_q(), 0, c.si,
				 has ? &instance : NULL, 0, &ruid, NULL) < 0) {
		return -1;
	}
	route_health_seen(&peer->hit, c.uri, &c.si->sock_str);
	return 0;
}

int route_branch_add(struct sip_msg *msg, const str *aor, const struct p2p_candidate *peer,
		     int first)
{
	int ret = branch_add(msg, aor, peer, first);

	if (ret < 0)
		route_health_unused(&peer->hit);
	return ret;
}

enum p2p_branch_state route_branch_state(const struct cell *t, int b, struct p2p_hit *hit)
{
	const struct ua_client *uac;
	bool answered;

	if (!branch_hit(t, b, hit))
		return P2P_BRANCH_NONE;
	uac = &t->uac[b];
	if (uac->last_received < 200)
		return P2P_BRANCH_OPEN;
	answered = (uac->reply != NULL && uac->reply != FAKED_REPLY) ||
		   (uac->request.flags & F_RB_REPLIED) || (uac->flags & ROUTE_UAC_ALIVE);
	if (!answered && (uac->last_received == 408 || uac->last_received == 503))
		return P2P_BRANCH_DEAD;
	if (uac->flags & ROUTE_UAC_REFUSED)
		return P2P_BRANCH_REFUSED;
	if (answered && uac->last_received == 404)
		return P2P_BRANCH_STALE;
	return P2P_BRANCH_REPLIED;
}

int route_branch_session(struct sip_msg *msg, struct p2p_session *session)
{
	struct cell *t = route_tm.t_gett();
	struct route_header h;
	struct p2p_hit hit;
	int b, ret = -1;

	if (msg->first_line.type == SIP_REQUEST) {
		if (p2p_ruid_hit(&msg->ruid, &hit) == 0)
			ret = session_of(&msg->instance, session);
		if (ret < 0 && p2p_ruid_hit(&msg->ruid, &hit) < 0) {
			route_header_read(msg, &h);
			if (h.is_signed && route_peer_status(msg, NULL) == P2P_PEER_VERIFIED)
				ret = route_ul.session_by_id(&h.session, session) >= 0 ? 0 : -1;
			else
				ret = route_dialog_session(msg, session);
		}
	} else if (t != NULL && t != T_UNDEFINED) {
		b = route_tm.t_gett_branch();
		if (branch_hit(t, b, &hit))
			ret = session_of(&t->uac[b].instance, session);
	}
	if (ret == 0) {
		memset(session->key_in, 0, sizeof(session->key_in));
		memset(session->key_out, 0, sizeof(session->key_out));
	}
	return ret;
}
