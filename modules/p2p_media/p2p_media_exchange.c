/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which SDP is in a message, whether it is an offer or an answer, whose, and what is put in its
 * place. RFC 3264, and RFC 6337 for where offers and answers travel:
 *   INVITE with an offer: the answer in 18x and 200
 *   INVITE without: the offer in a reliable 18x or the 200, the answer in PRACK or ACK
 *   PRACK or UPDATE with an offer: the answer in its 200 */
#include <errno.h>
#include <string.h>
#include "core/dprint.h"
#include "core/dset.h"
#include "core/mem/mem.h"
#include "core/parser/parse_cseq.h"
#include "core/parser/parse_from.h"
#include "core/parser/parse_to.h"
#include "core/route.h"
#include "modules/p2p_media/p2p_media.h"

static str from_tag(struct sip_msg *msg)
{
	str none = STR_NULL;

	return parse_from_header(msg) < 0 ? none : get_from(msg)->tag_value;
}

static str to_tag(struct sip_msg *msg)
{
	str none = STR_NULL;

	return parse_to_header(msg) < 0 || get_to(msg) == NULL ? none : get_to(msg)->tag_value;
}

static int failure(int err)
{
	switch (err) {
	case EHOSTUNREACH:
		p2p_media_count(P2P_MEDIA_FAILED_UNAVAIL);
		return P2P_MEDIA_UNAVAILABLE;
	case ETIMEDOUT:
		p2p_media_count(P2P_MEDIA_FAILED_TIMEOUT);
		return P2P_MEDIA_UNAVAILABLE;
	case EBUSY:
		p2p_media_count(P2P_MEDIA_FAILED_BUSY);
		return P2P_MEDIA_UNAVAILABLE;
	case ENOENT:
		p2p_media_count(P2P_MEDIA_FAILED_UNKNOWN);
		return P2P_MEDIA_UNAVAILABLE;
	case EINVAL:
		p2p_media_count(P2P_MEDIA_FAILED_REFUSED);
		return P2P_MEDIA_BAD_SDP;
	default:
		return P2P_MEDIA_ERROR;
	}
}

/* An SDP whose transport is not as it must be; ours: of what was to go to a peer. */
static int refused(struct sip_msg *msg, struct p2p_media_session *s, struct p2p_media_exchange *x,
		   uint8_t found, bool ours)
{
	uint8_t want = ours ? x->to.media : x->from.media;

	x->refused = true;
	p2p_media_transport_refused(msg, found, want, ours);
	if (s != NULL) {
		s->refused_found = found;
		s->refused_want = want;
	}
	return P2P_MEDIA_BAD_SDP;
}

/* Through the relay, and into the message. s: its transaction's; NULL: it has none (ACK). */
static int exchange(struct sip_msg *msg, struct p2p_media_session *s,
		    const struct p2p_media_body *b, struct p2p_media_exchange *x)
{
	struct p2p_media_sdp info;
	str fresh;
	int err;

	x->callid = msg->callid->body;
	x->sdp = b->sdp;
	if (x->offerer_tag.len == 0)
		return P2P_MEDIA_BAD_SDP;
	if (!p2p_media_transport_fits(b->info.media, x->from.media))
		return refused(msg, s, x, b->info.media, false);
	if (x->to.media != 0)
		x->transport = p2p_media_text(x->to.media);
	else if (x->from.media != 0 && !x->answer && s != NULL && !s->dialog)
		/* within a call rtpengine knows what the phone speaks */
		x->transport = p2p_media_transport_phone();
	if (x->answer || s == NULL || s->dialog)
		x->to.family = 0; /* that leg is there already */
	p2p_media_count(x->answer ? P2P_MEDIA_ANSWERS : P2P_MEDIA_OFFERS);
	err = p2p_media_relay_exchange(x, &fresh);
	if (err != 0)
		return failure(err);
	/* what rtpengine leaves as it came (T.38, say) must not go out beside what is encrypted */
	if (x->to.media != 0 && (p2p_media_sdp_inspect(fresh.s, (size_t)fresh.len, &info) != 0 ||
				 !p2p_media_transport_fits(info.media, x->to.media))) {
		pkg_free(fresh.s);
		return refused(msg, s, x, info.media, true);
	}
	return p2p_media_body_replace(msg, &b->sdp, &fresh);
}

/* The same for a message that cannot be refused. Where media must be encrypted, an SDP that did not
 * go through the relay is not passed on either: the receiver's media would go out in clear. */
static int exchange_or_decline(struct sip_msg *msg, struct p2p_media_session *s,
			       const struct p2p_media_body *b, struct p2p_media_exchange *x)
{
	int result = exchange(msg, s, b, x);
	str fresh;

	if (result == P2P_MEDIA_DONE ||
	    (!x->refused && ((x->from.media | x->to.media) & ~P2P_MEDIA_RTP) == 0))
		return result;
	fresh.s = pkg_malloc((size_t)b->sdp.len + P2P_MEDIA_SECTIONS_MAX);
	if (fresh.s == NULL) {
		PKG_MEM_ERROR;
		return P2P_MEDIA_ERROR;
	}
	fresh.len = (int)p2p_media_sdp_decline(b->sdp.s, (size_t)b->sdp.len, fresh.s);
	x->refused = true;
	return p2p_media_body_replace(msg, &b->sdp, &fresh) == P2P_MEDIA_DONE ? result
									      : P2P_MEDIA_ERROR;
}

/* An SDP in a request: its sender is the offerer, or with `answer` the other one is. */
static void request_tags(struct sip_msg *msg, struct p2p_media_exchange *x)
{
	if (x->answer) {
		x->offerer_tag = to_tag(msg);
		x->answerer_tag = from_tag(msg);
	} else {
		x->offerer_tag = from_tag(msg);
		x->answerer_tag = to_tag(msg);
	}
}

/* --- who sends, who receives ---------------------------------------------------------------- */

static bool sender_is_peer(struct sip_msg *msg)
{
	return p2p_media_route.peer_status != NULL &&
	       p2p_media_route.peer_status(msg, NULL) == P2P_PEER_VERIFIED;
}

/* The call's ticket, if this in-dialog request came with one. */
static int ticket_of(struct sip_msg *msg, struct p2p_media_ticket *t)
{
	str value;

	if (p2p_media_rr.get_route_param == NULL ||
	    p2p_media_rr.get_route_param(msg, &p2p_media_config.rr_param, &value) < 0)
		return ENOENT;
	return p2p_media_ticket_parse(t, value.s, (size_t)value.len);
}

/* Let in-dialog requests find the call, whoever restarts meanwhile. */
static int ticket_add(struct sip_msg *msg, const struct p2p_media_session *s,
		      const struct p2p_media_branch *b)
{
	struct p2p_media_ticket t = {
		.handle = b->handle,
		.caller = b->from,
		.callee = b->to,
		.caller_hash = s->caller_hash,
	};
	char text[P2P_MEDIA_TICKET_LEN + 1], param[64];
	str p;

	p2p_media_ticket_print(&t, text);
	p.s = param;
	p.len = snprintf(param, sizeof(param), ";%.*s=%s", p2p_media_config.rr_param.len,
			 p2p_media_config.rr_param.s, text);
	if (p2p_media_rr.add_rr_param(msg, &p) < 0) {
		LM_ERR("cannot add the Record-Route parameter\n");
		return -1;
	}
	return 0;
}

/* --- new calls ------------------------------------------------------------------------------ */

static int branch_index(void)
{
	tm_ctx_t *ctx;

	if (get_route_type() != BRANCH_ROUTE)
		return -1;
	ctx = p2p_media_tm.tm_ctx_get != NULL ? p2p_media_tm.tm_ctx_get() : NULL;
	return ctx != NULL && ctx->branch_index >= 0 ? ctx->branch_index : -1;
}

static int call_begin(struct sip_msg *msg, const struct p2p_media_body *b)
{
	const struct p2p_media_sdp *info = b->there ? &b->info : NULL;
	struct p2p_media_exchange x = {.answer = false};
	int index = branch_index(), result;
	struct p2p_media_session *s;
	struct p2p_media_branch *br;

	x.from.overlay = sender_is_peer(msg);
	x.to.overlay = p2p_ruid_is_peer(&msg->ruid);
	/* from one peer to another goes no call but by the operator's own doing: then the branch's
	 * session is the one that is known */
	if (x.to.overlay)
		p2p_media_transport_of(msg, &x.to);
	else if (x.from.overlay)
		p2p_media_transport_of(msg, &x.from);
	/* each leg in its own family, where the peers' is agreed */
	if (!x.from.overlay && x.to.family != 0)
		x.from.family = p2p_media_family_from(msg);
	if (!x.to.overlay && x.from.family != 0)
		x.to.family = p2p_media_family_to(msg);
	if (!p2p_media_transport_needs(x.from.media | x.to.media, info) &&
	    !p2p_media_policy_wants(msg, info, x.from.overlay, x.to.overlay)) {
		p2p_media_count(P2P_MEDIA_BYPASSED);
		return P2P_MEDIA_DONE;
	}
	s = p2p_media_session_get(msg);
	if (s == NULL)
		return P2P_MEDIA_ERROR;
	if (s->whole)
		return P2P_MEDIA_DONE; /* the request route has done it for all branches */
	if (index < 0) {
		s->whole = true;
		index = 0;
	}
	if ((unsigned int)index >= s->n)
		return P2P_MEDIA_ERROR;
	br = &s->branch[index];
	if (br->state != P2P_MEDIA_FREE)
		return P2P_MEDIA_DONE; /* called twice */
	br->handle = p2p_media_handle(msg, s->whole ? -1 : index);
	br->from = x.from;
	br->to = x.to;
	s->has_sdp = b->there;
	__atomic_store_n(&br->state, P2P_MEDIA_RESERVED, __ATOMIC_RELEASE);
	result = P2P_MEDIA_DONE;
	if (b->there) {
		x.handle = br->handle;
		request_tags(msg, &x);
		result = exchange(msg, s, b, &x);
		/* also after a time-out: the relay may have done it all the same */
		if (!p2p_media_branch_move(br, P2P_MEDIA_RESERVED, P2P_MEDIA_OFFERED))
			p2p_media_relay_delete(br->handle, &s->callid); /* ended meanwhile */
		else if (result != P2P_MEDIA_DONE)
			p2p_media_branch_end(s, (unsigned int)index);
	}
	if (result == P2P_MEDIA_DONE && ticket_add(msg, s, br) < 0) {
		p2p_media_branch_end(s, (unsigned int)index);
		result = P2P_MEDIA_ERROR;
	}
	if (result == P2P_MEDIA_DONE)
		s->anchored = true;
	else
		s->failed = result;
	return result;
}

/* A new call that cannot be anchored whatever the relay says. */
static int call_refused(struct sip_msg *msg, int result)
{
	struct p2p_media_session *s = p2p_media_session_get(msg);

	if (s != NULL)
		s->failed = result;
	return result;
}

/* --- requests within a call ----------------------------------------------------------------- */

/* Does this PRACK answer an offer that came in a reliable 18x? It does if the INVITE it is about
 * (RAck: RSeq CSeq-number method, RFC 3262 section 7.2) had none itself. */
static bool prack_answers(struct sip_msg *msg)
{
	struct cell *saved = p2p_media_tm.t_gett(), *t = NULL;
	int saved_branch = p2p_media_tm.t_gett_branch();
	struct p2p_media_session *s;
	struct hdr_field *h;
	char *p, *end;
	str cseq;
	bool late;

	for (h = msg->headers; h != NULL; h = h->next)
		if (h->name.len == 4 && strncasecmp(h->name.s, "RAck", 4) == 0)
			break;
	if (h == NULL || msg->callid == NULL)
		return false;
	p = h->body.s;
	end = p + h->body.len;
	while (p < end && *p != ' ' && *p != '\t')
		p++;
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	cseq.s = p;
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	cseq.len = (int)(p - cseq.s);
	if (cseq.len == 0 || cseq.len > 10 ||
	    p2p_media_tm.t_lookup_callid(&t, msg->callid->body, cseq) < 0)
		return false;
	s = p2p_media_session_find(msg); /* t_lookup_callid has made it the current one */
	late = s != NULL && !s->has_sdp;
	p2p_media_tm.unref_cell(t);
	p2p_media_tm.t_sett(saved, saved_branch);
	return late;
}

/* A call keeps what it began with, unless the session now wants more: the ticket alone, which is
 * not signed, must not weaken it. */
static void side_strengthen(struct p2p_media_side *side, uint8_t media)
{
	if (side->overlay && media > side->media)
		side->media = media;
}

static int dialog_request(struct sip_msg *msg, const struct p2p_media_body *b,
			  const struct p2p_media_ticket *t, uint8_t media, enum p2p_media_role role)
{
	/* an ACK has no transaction to remember it by */
	static unsigned int ack_id;
	static int ack_pid;
	struct p2p_media_exchange x = {.answer = role == P2P_MEDIA_ANSWER};
	struct p2p_media_session *s;
	str tag = from_tag(msg);
	bool from_caller = p2p_media_tag_hash(&tag) == t->caller_hash;
	int result;

	x.handle = t->handle;
	x.from = from_caller ? t->caller : t->callee;
	x.to = from_caller ? t->callee : t->caller;
	side_strengthen(&x.from, media);
	side_strengthen(&x.to, media);
	if (msg->REQ_METHOD == METHOD_ACK) {
		if (!b->there || (ack_id == msg->id && ack_pid == msg->pid))
			return P2P_MEDIA_DONE;
		ack_id = msg->id;
		ack_pid = msg->pid;
		if (role == P2P_MEDIA_AUTO)
			x.answer = true;
		request_tags(msg, &x);
		return exchange_or_decline(msg, NULL, b, &x);
	}
	if (role == P2P_MEDIA_AUTO && msg->REQ_METHOD == METHOD_PRACK && b->there)
		x.answer = prack_answers(msg);
	/* its replies: INVITE's in any case, since an offer may come in them */
	s = p2p_media_session_get(msg);
	if (s == NULL)
		return P2P_MEDIA_ERROR;
	if (s->dialog)
		return P2P_MEDIA_DONE; /* called twice */
	s->dialog = true;
	s->has_sdp = b->there;
	s->branch[0].handle = t->handle;
	s->branch[0].from = x.from;
	s->branch[0].to = x.to;
	if (!b->there)
		return P2P_MEDIA_DONE;
	request_tags(msg, &x);
	if (msg->REQ_METHOD == METHOD_PRACK)
		return exchange_or_decline(msg, s, b, &x);
	result = exchange(msg, s, b, &x);
	if (result != P2P_MEDIA_DONE)
		s->failed = result;
	return result;
}

/* A request within a call that is not anchored. The session with the peer may want media to be
 * encrypted, which it cannot be any more: the call began when that was not so, or somebody has
 * taken the ticket out on the way. */
static int dialog_unanchored(struct sip_msg *msg, const struct p2p_media_body *b, uint8_t media)
{
	struct p2p_media_session *s;

	if (!b->there || b->info.media == 0 || (media & ~P2P_MEDIA_RTP) == 0 ||
	    msg->REQ_METHOD == METHOD_ACK)
		return P2P_MEDIA_DONE;
	s = p2p_media_session_get(msg);
	if (s == NULL)
		return P2P_MEDIA_ERROR;
	s->dialog = true;
	s->failed = P2P_MEDIA_BAD_SDP;
	s->refused_found = b->info.media;
	s->refused_want = media;
	p2p_media_transport_refused(msg, b->info.media, media, false);
	return P2P_MEDIA_BAD_SDP;
}

/* --- replies -------------------------------------------------------------------------------- */

static int reply_branch(const struct p2p_media_session *s)
{
	tm_ctx_t *ctx = p2p_media_tm.tm_ctx_get != NULL ? p2p_media_tm.tm_ctx_get() : NULL;
	int i = ctx != NULL ? ctx->branch_index : -1;

	if (s->dialog || s->whole)
		return 0;
	if (i < 0)
		i = p2p_media_tm.t_gett_branch();
	return i >= 0 && (unsigned int)i < s->n ? i : -1;
}

static int reply(struct sip_msg *msg, enum p2p_media_role role)
{
	struct p2p_media_session *s = p2p_media_session_find(msg);
	int status = (int)msg->first_line.u.reply.statuscode, index, result, state;
	struct p2p_media_exchange x = {0};
	struct p2p_media_branch *b;
	struct p2p_media_body body;

	if (s == NULL || (index = reply_branch(s)) < 0)
		return P2P_MEDIA_DONE;
	b = &s->branch[index];
	state = __atomic_load_n(&b->state, __ATOMIC_ACQUIRE);
	if (!s->dialog && (state == P2P_MEDIA_FREE || state == P2P_MEDIA_DELETED))
		return P2P_MEDIA_DONE; /* not anchored, or lost against another branch */
	if (status >= 300) {
		if (!s->dialog && !s->whole)
			p2p_media_branch_end(s, (unsigned int)index);
		return P2P_MEDIA_DONE;
	}
	result = p2p_media_body_find(msg, &body);
	if (result != 0)
		return result;
	if (body.there) {
		x.answer = role == P2P_MEDIA_AUTO ? s->has_sdp : role == P2P_MEDIA_ANSWER;
		x.handle = b->handle;
		x.from = b->to;
		x.to = b->from;
		/* the request's sender has the From tag in replies too; each To tag is an early
		 * dialog of its own (the next proxy may have forked), and rtpengine goes by the
		 * one that spoke last */
		x.offerer_tag = x.answer ? from_tag(msg) : to_tag(msg);
		x.answerer_tag = x.answer ? to_tag(msg) : from_tag(msg);
		result = exchange_or_decline(msg, s, &body, &x);
		if (!x.answer && !s->dialog &&
		    !p2p_media_branch_move(b, P2P_MEDIA_RESERVED, P2P_MEDIA_OFFERED) &&
		    __atomic_load_n(&b->state, __ATOMIC_ACQUIRE) == P2P_MEDIA_DELETED)
			p2p_media_relay_delete(b->handle, &s->callid);
		if (result == P2P_MEDIA_UNAVAILABLE && status < 200 && !x.refused)
			p2p_media_body_drop(msg);
	} else {
		result = P2P_MEDIA_DONE;
	}
	if (status >= 200 && !s->dialog)
		p2p_media_dialog_answered(msg, b->handle);
	return result;
}

/* --- entry points --------------------------------------------------------------------------- */

static bool in_failure_route(void)
{
	int type = get_route_type();

	return type == FAILURE_ROUTE || type == BRANCH_FAILURE_ROUTE;
}

int p2p_media_handle_message(struct sip_msg *msg, enum p2p_media_role role)
{
	struct p2p_media_ticket ticket;
	struct p2p_media_body b;
	struct p2p_media_side peer;
	bool anchored;
	int result;

	if (msg->first_line.type == SIP_REPLY) {
		if (msg->cseq == NULL && parse_headers(msg, HDR_CSEQ_F, 0) < 0)
			return P2P_MEDIA_BAD_SDP;
		if (msg->cseq == NULL || get_cseq(msg) == NULL)
			return P2P_MEDIA_BAD_SDP;
		switch (get_cseq(msg)->method_id) {
		case METHOD_INVITE:
		case METHOD_UPDATE:
		case METHOD_PRACK:
			return reply(msg, role);
		default:
			return P2P_MEDIA_DONE;
		}
	}
	switch (msg->REQ_METHOD) {
	case METHOD_BYE:
		return p2p_media_release(msg);
	case METHOD_INVITE:
	case METHOD_UPDATE:
	case METHOD_PRACK:
	case METHOD_ACK:
		break;
	default:
		/* CANCEL: its INVITE's 487 releases the media */
		return P2P_MEDIA_DONE;
	}
	if (in_failure_route())
		return P2P_MEDIA_DONE; /* new branches pass their branch route */
	if (parse_headers(msg, HDR_EOH_F, 0) < 0 || msg->callid == NULL)
		return P2P_MEDIA_BAD_SDP;
	if (to_tag(msg).len > 0) {
		p2p_media_transport_of(msg, &peer);
		anchored = ticket_of(msg, &ticket) == 0;
		if (!anchored && (peer.media & ~P2P_MEDIA_RTP) == 0)
			return P2P_MEDIA_DONE; /* whatever its body is */
		result = p2p_media_body_find(msg, &b);
		if (result != 0)
			return result;
		return anchored ? dialog_request(msg, &b, &ticket, peer.media, role)
				: dialog_unanchored(msg, &b, peer.media);
	}
	if (msg->REQ_METHOD != METHOD_INVITE)
		return P2P_MEDIA_DONE;
	result = p2p_media_body_find(msg, &b);
	return result != 0 ? call_refused(msg, result) : call_begin(msg, &b);
}

int p2p_media_release(struct sip_msg *msg)
{
	struct p2p_media_session *s;
	struct p2p_media_ticket t;

	if (msg->first_line.type == SIP_REPLY) {
		s = p2p_media_session_find(msg);
		if (s != NULL && !s->dialog && reply_branch(s) >= 0)
			p2p_media_branch_end(s, (unsigned int)reply_branch(s));
		return P2P_MEDIA_DONE;
	}
	if (parse_headers(msg, HDR_EOH_F, 0) < 0 || msg->callid == NULL)
		return P2P_MEDIA_BAD_SDP;
	if (to_tag(msg).len > 0 && ticket_of(msg, &t) == 0) {
		/* a BYE passes the request route and perhaps a branch route: deleting twice does
		 * no harm, but costs a message */
		if (get_route_type() == REQUEST_ROUTE || msg->REQ_METHOD != METHOD_BYE)
			p2p_media_relay_delete(t.handle, &msg->callid->body);
		return P2P_MEDIA_DONE;
	}
	s = p2p_media_session_find(msg);
	if (s != NULL)
		p2p_media_session_end(s, -1);
	return P2P_MEDIA_DONE;
}

int p2p_media_failed(struct sip_msg *msg)
{
	struct p2p_media_session *s = p2p_media_session_find(msg);

	if (s == NULL || s->failed == 0 || s->anchored)
		return -1;
	return s->failed == P2P_MEDIA_BAD_SDP ? 2 : 1;
}
