/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which SDP is in a message, whether it is an offer or an answer, whose, and what is put in its
 * place. RFC 3264, and RFC 6337 for where offers and answers travel:
 *   INVITE with an offer: the answer in 18x and 200
 *   INVITE without: the offer in a reliable 18x or the 200, the answer in PRACK or ACK
 *   PRACK or UPDATE with an offer: the answer in its 200 */
#include <errno.h>
#include <string.h>
#include "core/data_lump.h"
#include "core/dprint.h"
#include "core/dset.h"
#include "core/mem/mem.h"
#include "core/parser/parse_content.h"
#include "core/parser/parse_cseq.h"
#include "core/parser/parse_from.h"
#include "core/parser/parse_to.h"
#include "core/route.h"
#include "modules/p2p_media/p2p_media.h"

/* A message's SDP, in its own buffer. */
struct body {
	bool there;
	str sdp;
	struct p2p_media_sdp info;
};

/* Has another module (rtpengine, say, in the script's NAT handling) put its own body in place of
 * this one? It reads the message as it came in, so there can be one such module for a message. */
static bool replaced(const struct sip_msg *msg, const char *sdp)
{
	const struct lump *l;

	for (l = msg->body_lumps; l != NULL; l = l->next)
		if (l->op == LUMP_DEL && l->u.offset <= (int)(sdp - msg->buf) &&
		    l->u.offset + l->len > (int)(sdp - msg->buf) && l->after != NULL)
			return true;
	return false;
}

/* 0 (there or not), or a p2p_media_result. */
static int body_find(struct sip_msg *msg, struct body *b)
{
	size_t off, len, total;
	char *body;
	int err;

	memset(b, 0, sizeof(*b));
	if (parse_headers(msg, HDR_EOH_F, 0) < 0)
		return P2P_MEDIA_BAD_SDP;
	if (msg->content_type == NULL)
		return 0;
	body = get_body(msg);
	if (body == NULL)
		return 0;
	total = (size_t)(msg->buf + msg->len - body);
	if (msg->content_length != NULL && get_content_length(msg) >= 0 &&
	    (size_t)get_content_length(msg) < total)
		total = (size_t)get_content_length(msg);
	err = p2p_media_sdp_find(msg->content_type->body.s, (size_t)msg->content_type->body.len,
				 body, total, &off, &len);
	if (err == ENOENT)
		return 0;
	b->sdp.s = body + off;
	b->sdp.len = (int)len;
	if (err == 0 && replaced(msg, b->sdp.s)) {
		LM_DBG("another module takes care of the media of %.*s\n",
		       msg->callid ? msg->callid->body.len : 0,
		       msg->callid ? msg->callid->body.s : "");
		return 0;
	}
	if (err != 0 || p2p_media_sdp_inspect(b->sdp.s, len, &b->info) != 0) {
		p2p_media_count(P2P_MEDIA_BAD_BODIES);
		LM_DBG("body of %.*s cannot be understood\n",
		       msg->callid ? msg->callid->body.len : 0,
		       msg->callid ? msg->callid->body.s : "");
		return P2P_MEDIA_BAD_SDP;
	}
	/* a session without any media has nothing to anchor */
	b->there = b->info.sections > 0;
	return 0;
}

static int body_replace(struct sip_msg *msg, const str *old, str *fresh)
{
	struct lump *l;

	/* Content-Length is set by the core, which counts body lumps */
	l = del_lump(msg, (unsigned int)(old->s - msg->buf), (unsigned int)old->len, 0);
	if (l == NULL || insert_new_lump_after(l, fresh->s, (unsigned int)fresh->len, 0) == NULL) {
		LM_ERR("cannot replace the body\n");
		pkg_free(fresh->s);
		return P2P_MEDIA_ERROR;
	}
	return P2P_MEDIA_DONE;
}

/* A provisional reply goes on without an SDP that would lead the caller past the relay: an
 * unreliable one may do so (RFC 6337 section 3.1.1: the answer comes in the 2xx), a reliable one
 * may not. */
static void body_drop(struct sip_msg *msg)
{
	struct hdr_field *h;
	char *body = get_body(msg);

	for (h = msg->headers; h != NULL; h = h->next)
		if (h->name.len == 4 && strncasecmp(h->name.s, "RSeq", 4) == 0)
			return;
	h = msg->content_type;
	if (body == NULL || h == NULL ||
	    del_lump(msg, (unsigned int)(body - msg->buf),
		     (unsigned int)(msg->buf + msg->len - body), 0) == NULL ||
	    del_lump(msg, (unsigned int)(h->name.s - msg->buf), (unsigned int)h->len,
		     HDR_CONTENTTYPE_T) == NULL)
		LM_ERR("cannot drop the body\n");
}

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

/* Through the relay, and into the message. */
static int exchange(struct sip_msg *msg, const struct body *b, struct p2p_media_exchange *x)
{
	str fresh;
	int err;

	x->callid = msg->callid->body;
	x->sdp = b->sdp;
	if (x->offerer_tag.len == 0)
		return P2P_MEDIA_BAD_SDP;
	p2p_media_count(x->answer ? P2P_MEDIA_ANSWERS : P2P_MEDIA_OFFERS);
	err = p2p_media_relay_exchange(x, &fresh);
	if (err != 0)
		return failure(err);
	return body_replace(msg, &b->sdp, &fresh);
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
		.caller_overlay = b->from_overlay,
		.callee_overlay = b->to_overlay,
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

static int call_begin(struct sip_msg *msg, const struct body *b)
{
	struct p2p_media_exchange x = {.answer = false};
	int index = branch_index(), result;
	struct p2p_media_session *s;
	struct p2p_media_branch *br;

	x.from_overlay = sender_is_peer(msg);
	x.to_overlay = p2p_ruid_is_peer(&msg->ruid);
	if (!p2p_media_policy_wants(msg, b->there ? &b->info : NULL, x.from_overlay,
				    x.to_overlay)) {
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
	br->from_overlay = x.from_overlay;
	br->to_overlay = x.to_overlay;
	s->has_sdp = b->there;
	__atomic_store_n(&br->state, P2P_MEDIA_RESERVED, __ATOMIC_RELEASE);
	result = P2P_MEDIA_DONE;
	if (b->there) {
		x.handle = br->handle;
		request_tags(msg, &x);
		result = exchange(msg, b, &x);
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

static int dialog_request(struct sip_msg *msg, const struct body *b,
			  const struct p2p_media_ticket *t, enum p2p_media_role role)
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
	x.from_overlay = from_caller ? t->caller_overlay : t->callee_overlay;
	x.to_overlay = from_caller ? t->callee_overlay : t->caller_overlay;
	if (msg->REQ_METHOD == METHOD_ACK) {
		if (!b->there || (ack_id == msg->id && ack_pid == msg->pid))
			return P2P_MEDIA_DONE;
		ack_id = msg->id;
		ack_pid = msg->pid;
		if (role == P2P_MEDIA_AUTO)
			x.answer = true;
		request_tags(msg, &x);
		return exchange(msg, b, &x);
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
	s->branch[0].from_overlay = x.from_overlay;
	s->branch[0].to_overlay = x.to_overlay;
	if (!b->there)
		return P2P_MEDIA_DONE;
	request_tags(msg, &x);
	result = exchange(msg, b, &x);
	if (result != P2P_MEDIA_DONE)
		s->failed = result;
	return result;
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
	struct body body;

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
	result = body_find(msg, &body);
	if (result != 0)
		return result;
	if (body.there) {
		x.answer = role == P2P_MEDIA_AUTO ? s->has_sdp : role == P2P_MEDIA_ANSWER;
		x.handle = b->handle;
		x.from_overlay = b->to_overlay;
		x.to_overlay = b->from_overlay;
		/* the request's sender has the From tag in replies too; each To tag is an early
		 * dialog of its own (the next proxy may have forked), and rtpengine goes by the
		 * one that spoke last */
		x.offerer_tag = x.answer ? from_tag(msg) : to_tag(msg);
		x.answerer_tag = x.answer ? to_tag(msg) : from_tag(msg);
		result = exchange(msg, &body, &x);
		if (!x.answer && !s->dialog &&
		    !p2p_media_branch_move(b, P2P_MEDIA_RESERVED, P2P_MEDIA_OFFERED) &&
		    __atomic_load_n(&b->state, __ATOMIC_ACQUIRE) == P2P_MEDIA_DELETED)
			p2p_media_relay_delete(b->handle, &s->callid);
		if (result == P2P_MEDIA_UNAVAILABLE && status < 200)
			body_drop(msg);
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
	struct body b;
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
		if (ticket_of(msg, &ticket) != 0)
			return P2P_MEDIA_DONE; /* not anchored: whatever its body is */
		result = body_find(msg, &b);
		return result != 0 ? result : dialog_request(msg, &b, &ticket, role);
	}
	if (msg->REQ_METHOD != METHOD_INVITE)
		return P2P_MEDIA_DONE;
	if (p2p_media_config.anchor == P2P_MEDIA_NEVER) {
		p2p_media_count(P2P_MEDIA_BYPASSED);
		return P2P_MEDIA_DONE;
	}
	result = body_find(msg, &b);
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
