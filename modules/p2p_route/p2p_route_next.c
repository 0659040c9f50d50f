// SPDX-License-Identifier: GPL-2.0-or-later
/* Branches towards peers. The Request-URI stays the AoR as dialled, the peer's SIP address becomes
 * the destination, and the branch's ruid names the peer's HIT: tm keeps it (uac[].ruid), so that
 * branch routes, replies and failure routes know the branch again. */
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/dset.h"
#include "core/mem/shm_mem.h"
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

static struct socket_info *forced[ROUTE_SOCKETS_MAX];
static int n_forced;
static char own_uri[P2P_CANDIDATE_URI_MAX];
/* The addresses that our peer record will list, where a socket of ours has them. */
static struct ip_addr advertised[P2P_CANDIDATE_URIS_MAX];
static int n_advertised;

int route_sockets_init(void)
{
	int i;

	for (i = 0; i < route_settings.n_socket; i++) {
		forced[n_forced] = lookup_local_socket(&route_settings.socket[i]);
		if (forced[n_forced] == NULL) {
			LM_ERR("parameter socket: \"%.*s\" is none of Kamailio's listening sockets "
			       "(proto:address:port)\n",
			       route_settings.socket[i].len, route_settings.socket[i].s);
			return -1;
		}
		n_forced++;
	}
	return 0;
}

static bool loopback(const struct ip_addr *ip)
{
	static const uint8_t lo6[16] = {[15] = 1};

	return ip->af == AF_INET ? ip->u.addr[0] == 127 : memcmp(ip->u.addr, lo6, 16) == 0;
}

#define ROUTES_KEPT 64
#define ROUTE_KEPT_MS 10000

/* The address of ours that the kernel would send from. (The core's get_out_socket() is for UDP
 * sockets only.) 0 or -1. */
static int source_address(const struct ip_addr *to, struct ip_addr *from)
{
	union sockaddr_union su;
	socklen_t len = sizeof(su);
	int fd, rc = -1;

	init_su(&su, (struct ip_addr *)to, SIP_PORT);
	fd = socket(to->af == AF_INET ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, &su.s, sockaddru_len(su)) == 0 && getsockname(fd, &su.s, &len) == 0) {
		su2ip_addr(from, &su);
		rc = 0;
	}
	close(fd);
	return rc;
}

/* With several sockets to choose from, the kernel's routing table says which one. Asking it costs a
 * few system calls: each process keeps what it learnt for some seconds. */
static struct socket_info *routed(int proto, const struct ip_addr *to)
{
	static struct {
		struct ip_addr to;
		int proto;
		struct socket_info *si;
		uint64_t until_ms;
	} kept[ROUTES_KEPT];
	struct ip_addr from;
	struct timespec ts;
	unsigned int h = (unsigned int)proto, i;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	for (i = 0; i < to->len; i++)
		h = h * 31 + to->u.addr[i];
	h %= ROUTES_KEPT;
	if (kept[h].until_ms > now && kept[h].proto == proto && ip_addr_cmp(&kept[h].to, to))
		return kept[h].si;
	kept[h].si =
		source_address(to, &from) == 0 ? find_si(&from, 0, (unsigned short)proto) : NULL;
	kept[h].to = *to;
	kept[h].proto = proto;
	kept[h].until_ms = now + ROUTE_KEPT_MS;
	return kept[h].si;
}

/* Would a peer that gets a request from this socket find its source address in our record? Behind
 * an address of its own that the socket advertises, the answer is the same. */
static bool is_advertised(const struct socket_info *si)
{
	int i;

	for (i = 0; i < n_advertised; i++)
		if (ip_addr_cmp(&advertised[i], &si->address) ||
		    (si->useinfo.name.len > 0 && ip_addr_cmp(&advertised[i], &si->useinfo.address)))
			return true;
	return false;
}

/* The socket of ours that reaches an address of this family over this transport: a configured one,
 * the only one, the one the kernel would route from; else the first. One whose address the
 * parameter advertise names goes before others: a request from elsewhere is refused. */
static struct socket_info *socket_for(int proto, const struct ip_addr *to)
{
	struct socket_info **list = get_sock_info_list((unsigned short)proto);
	struct socket_info *si, *first = NULL, *listed = NULL;
	int i, n = 0;

	for (i = 0; i < n_forced; i++)
		if (forced[i]->proto == proto && forced[i]->address.af == to->af)
			return forced[i];
	for (si = list != NULL ? *list : NULL; si != NULL; si = si->next) {
		if (si->address.af != to->af || (si->flags & SI_IS_MCAST) ||
		    loopback(&si->address) != loopback(to))
			continue;
		if (first == NULL)
			first = si;
		if (listed == NULL && is_advertised(si))
			listed = si;
		n++;
	}
	if (n < 2)
		return first;
	si = routed(proto, to);
	/* what is advertised by default is a guess, which the gateway's sip_uri may have put right:
	 * the kernel knows better */
	if (listed != NULL &&
	    (si == NULL || (route_settings.n_advertise > 0 && !is_advertised(si))))
		return listed;
	return si != NULL ? si : first;
}

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
	c->si = socket_for(proto, &ip);
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

/* --- requests of peers ----------------------------------------------------------------------
 * One callback per transaction, with what is to be remembered of the peer (shm). */

struct from_peer {
	struct p2p_hit hit;
	bool has_session;
	struct p2p_session_id session;
};

static void from_peer_h(struct cell *t, int type, struct tmcb_params *ps)
{
	const struct from_peer *p = *ps->param;

	if (type == TMCB_REQUEST_FWDED && ps->req != NULL)
		route_dialog_mark(ps->req, &p->hit, true);
	else if (type == TMCB_RESPONSE_IN && p->has_session && is_invite(t) && ps->rpl != NULL &&
		 ps->rpl != FAKED_REPLY && ps->code >= 200 && ps->code < 300)
		route_calls_begin(ps->rpl, &p->hit, &p->session);
}

static void from_peer_free(void *p)
{
	shm_free(p);
}

void route_from_peer(struct sip_msg *msg)
{
	struct cell *t = route_tm.t_gett();
	volatile struct tm_callback *cb;
	static unsigned int last_id;
	static int last_pid;
	struct route_header h;
	struct from_peer *p;

	if (msg->REQ_METHOD == METHOD_ACK || msg->REQ_METHOD == METHOD_CANCEL)
		return;
	route_header_read(msg, &h);
	if (!h.has_hit)
		return; /* one of the operator's list, that does not say who it is */
	if (!route_dialog_begins(msg)) {
		if (h.is_signed)
			route_ul.session_calls(&h.session, 0);
		return;
	}
	if (t != NULL && t != T_UNDEFINED) {
		for (cb = t->tmcb_hl.first; cb != NULL; cb = cb->next)
			if (cb->callback == from_peer_h)
				return;
	} else {
		if (last_pid == msg->pid && last_id == msg->id)
			return;
		last_pid = msg->pid;
		last_id = msg->id;
	}
	p = shm_malloc(sizeof(*p));
	if (p == NULL) {
		SHM_MEM_ERROR;
		return;
	}
	p->hit = h.hit;
	p->has_session = h.is_signed;
	p->session = h.session;
	if (h.is_signed)
		route_ul.session_calls(&h.session, 0);
	if (route_tm.register_tmcb(msg, NULL, TMCB_REQUEST_FWDED | TMCB_RESPONSE_IN, from_peer_h, p,
				   from_peer_free) <= 0) {
		LM_ERR("tm does not take the callbacks for a peer's request\n");
		shm_free(p);
	}
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

/* --- our own addresses ---------------------------------------------------------------------- */

static int uri_print(char *out, size_t size, const struct socket_info *si)
{
	const char *proto = si->proto == PROTO_TCP   ? ";transport=tcp"
			    : si->proto == PROTO_TLS ? ";transport=tls"
						     : ";transport=udp";
	const str *addr = si->useinfo.name.len > 0 ? &si->useinfo.name : &si->address_str;
	unsigned short port = si->useinfo.name.len > 0 ? si->useinfo.port_no : si->port_no;
	bool v6 = memchr(addr->s, ':', (size_t)addr->len) != NULL && addr->s[0] != '[';
	int n = snprintf(out, size, "sip:%s%.*s%s:%u%s", v6 ? "[" : "", addr->len, addr->s,
			 v6 ? "]" : "", port, proto);

	return n > 0 && (size_t)n < size ? 0 : -1;
}

static int advertise_one(const str *uri)
{
	char text[P2P_CANDIDATE_URI_MAX];
	struct ip_addr *ip;
	struct sip_uri parsed;
	str host;

	if (uri->len < (int)sizeof(text) && n_advertised < P2P_CANDIDATE_URIS_MAX) {
		memcpy(text, uri->s, (size_t)uri->len);
		if (parse_uri(text, uri->len, &parsed) == 0) {
			host = parsed.host;
			ip = str2ip(&host);
			if (ip == NULL)
				ip = str2ip6(&host);
			if (ip != NULL)
				advertised[n_advertised++] = *ip;
		}
	}
	if (own_uri[0] == '\0' && uri->len < (int)sizeof(own_uri))
		memcpy(own_uri, uri->s, (size_t)uri->len);
	return route_ul.advertise(uri);
}

/* The first socket of this transport and family that peers may reach. */
static struct socket_info *socket_reachable(int proto, unsigned int family)
{
	struct socket_info **list = get_sock_info_list((unsigned short)proto), *si;

	for (si = list != NULL ? *list : NULL; si != NULL; si = si->next)
		if (si->address.af == family &&
		    !(si->flags & (SI_IS_LO | SI_IS_MCAST | SI_IS_ANY)) &&
		    !loopback(&si->address) &&
		    !(family == AF_INET6 && si->address.u.addr[0] == 0xfe &&
		      (si->address.u.addr[1] & 0xc0) == 0x80))
			return si;
	return NULL;
}

/* Tell the gateway where peers reach us: what the parameter says, or else the first socket of
 * each transport and family that is neither loopback nor multicast. TLS only where the operator has
 * set it up for peers, and then before TCP, if not all have room. */
int route_advertise_init(void)
{
	static const struct {
		int proto;
		unsigned int family;
	} plain[] = {{PROTO_UDP, AF_INET},
		     {PROTO_TCP, AF_INET},
		     {PROTO_UDP, AF_INET6},
		     {PROTO_TCP, AF_INET6}},
	  tls[] = {{PROTO_UDP, AF_INET},  {PROTO_TLS, AF_INET}, {PROTO_UDP, AF_INET6},
		   {PROTO_TLS, AF_INET6}, {PROTO_TCP, AF_INET}, {PROTO_TCP, AF_INET6}};
	bool with_tls = route_settings.tls_certificate.len > 0;
	size_t i, n_kinds = with_tls ? sizeof(tls) / sizeof(tls[0])
				     : sizeof(plain) / sizeof(plain[0]);
	char text[P2P_CANDIDATE_URI_MAX];
	struct socket_info *si;
	str uri;
	int n = 0;

	for (i = 0; i < (size_t)route_settings.n_advertise; i++)
		if (advertise_one(&route_settings.advertise[i]) < 0)
			return -1;
	if (route_settings.n_advertise > 0)
		return 0;
	for (i = 0; i < n_kinds && n < P2P_CANDIDATE_URIS_MAX; i++) {
		si = with_tls ? socket_reachable(tls[i].proto, tls[i].family)
			      : socket_reachable(plain[i].proto, plain[i].family);
		if (si == NULL || uri_print(text, sizeof(text), si) < 0)
			continue;
		uri.s = text;
		uri.len = (int)strlen(text);
		if (advertise_one(&uri) < 0)
			return -1;
		n++;
	}
	if (n == 0)
		LM_WARN("no listening socket that other peers could reach: set the parameter "
			"advertise, or the gateway's sip_uri\n");
	return 0;
}

int route_own_uri(str *uri)
{
	uri->s = own_uri;
	uri->len = (int)strlen(own_uri);
	return uri->len > 0 ? 0 : -1;
}
