// SPDX-License-Identifier: GPL-2.0-or-later
/* Requests of peers: one callback per transaction, with what is to be remembered of the peer (shm).
 */
#include "core/mem/shm_mem.h"
#include "modules/tm/h_table.h"
#include "modules/tm/t_hooks.h"
#include "modules/tm/t_reply.h"
#include "p2p_route.h"

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
