// SPDX-License-Identifier: GPL-2.0-or-later
/* Requests within dialogs. Both peers of a call put a parameter into their Record-Route that says
 * who the other one is, and on which side:
 *
 *   p2p=<c|s><base64url: last 7 bytes of the HIT, 3 bytes of the hash of the caller's tag>
 *
 * c: that peer stands on the caller's side, s: on the side of the called. A request that comes from
 * its side must be signed by it; one that goes there is signed for it. The parameter comes back in
 * Route, so that it works after a restart too. Whoever makes one up gains nothing: it names whose
 * signature is demanded, or for whom one is made. It is short, since it is in each Record-Route,
 * and a datagram that has to be split gets lost more often. */
#include "core/data_lump.h"
#include "core/parser/parse_from.h"
#include "lib/base/bytes.h"
#include "modules/rr/api.h"
#include "p2p_route.h"

#define MARK_BYTES (P2P_HIT_TAIL_LEN + 3)
#define MARK_LEN (1 + P2P_BASE64URL_LEN(MARK_BYTES))

#define RECORD_ROUTES_MAX 2 /* rr writes two where it cannot know yet that one will do */
#define RECORD_ROUTE_MAX 512

static struct rr_binds rr;
static str mark_name = str_init("p2p");

struct mark {
	uint8_t tail[P2P_HIT_TAIL_LEN]; /* of the peer's HIT */
	bool peer_calls;
	uint32_t caller; /* hash of the caller's tag, 24 bits */
};

int route_dialog_init(void)
{
	if (load_rr_api(&rr) < 0) {
		LM_ERR("module rr must be loaded before this one\n");
		return -1;
	}
	return 0;
}

/* FNV-1a, folded to 24 bits: the same in every process and after every restart. It decides which
 * way a request goes, not who may send it. */
static uint32_t tag_hash(const str *tag)
{
	uint32_t h = 2166136261u;
	int i;

	for (i = 0; i < tag->len; i++)
		h = (h ^ (uint8_t)tag->s[i]) * 16777619u;
	return (h >> 24) ^ (h & 0xffffff);
}

static bool from_tag(struct sip_msg *msg, str *tag)
{
	if (parse_from_header(msg) < 0)
		return false;
	*tag = get_from(msg)->tag_value;
	return tag->len > 0;
}

/* The methods that make a dialog, where the script has put a Record-Route. */
bool route_dialog_begins(struct sip_msg *msg)
{
	return msg->REQ_METHOD == METHOD_INVITE || msg->REQ_METHOD == METHOD_SUBSCRIBE ||
	       msg->REQ_METHOD == METHOD_REFER;
}

/* The piece of a Record-Route that takes its parameters, as rr's own add_rr_param() finds it. */
static struct lump *parameters_of(const struct lump *anchor)
{
	struct lump *l, *last = NULL;

	for (l = anchor->before; l != NULL; l = l->before)
		if (l->type == HDR_RECORDROUTE_T && l->op == LUMP_ADD)
			last = l;
	return last;
}

/* What tm hands to a branch are copies of the request's pieces, which share its texts and go away
 * without them. There the parameter is put behind a text of this process's own, and nothing is
 * allocated; add_rr_param() takes four pieces of memory. False: they are no such copies. */
static bool add_to_copies(const struct sip_msg *msg, const str *param)
{
	static char text[RECORD_ROUTES_MAX][RECORD_ROUTE_MAX];
	struct lump *found[RECORD_ROUTES_MAX], *l, *last;
	unsigned int n = 0, i;

	for (l = msg->add_rm; l != NULL; l = l->next) {
		last = parameters_of(l);
		if (last == NULL)
			continue;
		if (n == RECORD_ROUTES_MAX || last->flags != LUMPFLAG_DUPED ||
		    last->len + param->len > RECORD_ROUTE_MAX)
			return false;
		found[n++] = last;
	}
	for (i = 0; i < n; i++) {
		memmove(text[i], found[i]->u.value, (size_t)found[i]->len);
		memcpy(text[i] + found[i]->len, param->s, (size_t)param->len);
		found[i]->u.value = text[i];
		found[i]->len += param->len;
	}
	return n > 0;
}

void route_dialog_mark(struct sip_msg *msg, const struct p2p_hit *hit, bool peer_calls)
{
	char text[8 + MARK_LEN + 1];
	uint8_t bytes[MARK_BYTES];
	str param = {text, 0}, tag;
	uint32_t hash;

	if (!route_dialog_begins(msg) || !from_tag(msg, &tag))
		return;
	hash = tag_hash(&tag);
	memcpy(bytes, hit->b + sizeof(hit->b) - P2P_HIT_TAIL_LEN, P2P_HIT_TAIL_LEN);
	bytes[P2P_HIT_TAIL_LEN] = (uint8_t)(hash >> 16);
	bytes[P2P_HIT_TAIL_LEN + 1] = (uint8_t)(hash >> 8);
	bytes[P2P_HIT_TAIL_LEN + 2] = (uint8_t)hash;
	param.len = snprintf(text, sizeof(text), ";%.*s=%c", mark_name.len, mark_name.s,
			     peer_calls ? 'c' : 's');
	p2p_base64url_print(text + param.len, bytes, sizeof(bytes));
	param.len += MARK_LEN - 1;
	if (!add_to_copies(msg, &param) && rr.add_rr_param(msg, &param) < 0)
		LM_ERR("cannot add the Record-Route parameter\n");
}

static bool mark_read(struct sip_msg *msg, struct mark *m)
{
	uint8_t bytes[MARK_BYTES];
	str value;

	if (rr.get_route_param(msg, &mark_name, &value) < 0 || value.len != MARK_LEN ||
	    (value.s[0] != 'c' && value.s[0] != 's') ||
	    p2p_base64url_parse(bytes, sizeof(bytes), value.s + 1, MARK_LEN - 1) != 0)
		return false;
	memcpy(m->tail, bytes, sizeof(m->tail));
	m->peer_calls = value.s[0] == 'c';
	m->caller = (uint32_t)bytes[P2P_HIT_TAIL_LEN] << 16 |
		    (uint32_t)bytes[P2P_HIT_TAIL_LEN + 1] << 8 | bytes[P2P_HIT_TAIL_LEN + 2];
	return true;
}

static bool is_tail(const struct p2p_hit *hit, const uint8_t *tail)
{
	return memcmp(hit->b + sizeof(hit->b) - P2P_HIT_TAIL_LEN, tail, P2P_HIT_TAIL_LEN) == 0;
}

static bool comes_from(struct sip_msg *msg, const struct mark *m)
{
	struct p2p_hit sender;
	enum p2p_peer_status status;

	if (route_peer_configured(&msg->rcv.src_ip))
		return true;
	memset(&sender, 0, sizeof(sender));
	status = route_peer_judge(msg, &sender);
	if (status == P2P_PEER_VERIFIED && is_tail(&sender, m->tail))
		return true;
	if (status == P2P_PEER_UNVERIFIED || status == P2P_PEER_NOSESSION) {
		/* nobody waits here for the gateway: with the next one it will be known */
		route_ul.session_want(&sender);
		route_count(ROUTE_CNT_NOSESSION);
		route_peer_log_refused(msg, &sender, route_auth_text(ROUTE_AUTH_UNKNOWN));
	} else if (status == P2P_PEER_NO) {
		route_count(ROUTE_CNT_FORGED);
		route_peer_log_refused(msg, NULL, "belongs to a peer's call, and is not signed");
	} else if (status == P2P_PEER_VERIFIED) {
		route_count(ROUTE_CNT_FORGED);
		route_peer_log_refused(msg, &sender, "belongs to a call with another peer");
	}
	return false;
}

int route_dialog_session(struct sip_msg *msg, struct p2p_session *session)
{
	struct mark m;
	str tag;

	if (!mark_read(msg, &m) || !from_tag(msg, &tag) ||
	    m.peer_calls == (tag_hash(&tag) == m.caller))
		return -1;
	return route_ul.session_by_tail(m.tail, session) == 0 ? 0 : -1;
}

/* A request to a peer with which TLS was agreed goes to the address that was agreed, whatever the
 * dialog's route set says, which may be from before. -1: it cannot go there. */
static int way_agreed(struct sip_msg *msg, const struct p2p_session *session)
{
	str dst = {(char *)session->uri, (int)strlen(session->uri)};
	struct socket_info *si = route_socket_for(session->uri);

	/* one that is refused for a while is known, and what goes to its address is not sent */
	if (si == NULL || route_tls_use(session) == -2 || set_dst_uri(msg, &dst) < 0)
		return -1;
	set_force_socket(msg, si);
	return 0;
}

int route_dialog(struct sip_msg *msg)
{
	struct p2p_session session;
	struct mark m;
	int ret = 1;
	str tag;
	bool has;

	if (!mark_read(msg, &m) || !from_tag(msg, &tag)) {
		route_header_strip(msg);
		return 1;
	}
	if (m.peer_calls == (tag_hash(&tag) == m.caller)) {
		if (!comes_from(msg, &m)) {
			route_header_strip(msg);
			return -1;
		}
		route_header_strip(msg);
	} else {
		route_header_strip(msg);
		has = route_ul.session_by_tail(m.tail, &session) == 0;
		route_header_add(msg, has ? &session : NULL);
		if (has && session.signalling == P2P_SIGNALLING_TLS)
			ret = way_agreed(msg, &session) < 0 ? -1 : 1;
		memset(&session, 0, sizeof(session));
	}
	route_calls_seen(msg);
	return ret;
}
