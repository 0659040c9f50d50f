/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: what the gateway is asked in a lookup; see docs/resp.md. */
#include "lib/proto/resp.h"
#include "modules/p2p_usrloc/p2p_usrloc_lookup_priv.h"

void pul_lookup_command(const struct pul_lookup *l, uint64_t left_ms, struct p2p_writer *w)
{
	char hit[P2P_HIT_TEXT_MAX], id[P2P_SESSION_ID_TEXT_MAX];

	switch (l->kind) {
	case P2P_QUESTION_SERVES:
		p2p_resp_array(w, 2);
		p2p_resp_str(w, "SERVES");
		p2p_resp_bulk(w, l->name.s, l->name.len);
		break;
	case P2P_QUESTION_PEER:
	case P2P_QUESTION_PEERSESSION:
		p2p_hit_print(&l->hit, hit);
		p2p_resp_array(w, 3);
		p2p_resp_str(w, l->kind == P2P_QUESTION_PEER ? "PEER" : "PEERSESSION");
		p2p_resp_str(w, hit);
		p2p_resp_u64(w, left_ms);
		break;
	case P2P_QUESTION_SESSION:
		p2p_hex_print(id, l->hit.b, sizeof(l->hit.b));
		p2p_resp_array(w, 2);
		p2p_resp_str(w, "SESSION");
		p2p_resp_str(w, id);
		break;
	case P2P_QUESTION_AUTH:
		p2p_resp_array(w, 3);
		p2p_resp_str(w, "AUTH");
		p2p_resp_bulk(w, l->name.s, l->name.len);
		p2p_resp_u64(w, left_ms);
		break;
	default:
		p2p_resp_array(w, l->fresh ? 4 : 3);
		p2p_resp_str(w, "ROUTE");
		p2p_resp_bulk(w, l->name.s, l->name.len);
		p2p_resp_u64(w, left_ms);
		if (l->fresh)
			p2p_resp_str(w, "FRESH");
		break;
	}
}
