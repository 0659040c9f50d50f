/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: phones that have moved to another peer: their bindings here are over. A phone that
 * goes to and fro stays after a while (lib/model/moves.h). Client process only. */
#include <string.h>

#include "core/dprint.h"
#include "lib/model/moves.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"

static struct p2p_moves_limit limit;

static bool may_go(const struct p2p_name *name, uint32_t instance)
{
	return p2p_moves_may(&limit,
			     p2p_hash(&pul_hash_key, name->s, name->len) ^
				     (uint64_t)instance * 0x9e3779b97f4a7c15u,
			     pul_now_ms());
}

void pul_moves_push(const char *s, size_t len)
{
	char hit[P2P_HIT_TEXT_MAX];
	struct p2p_name name;
	struct pul_move m;
	unsigned int i, n;

	if (!pul_answer_move(&m, s, len)) {
		pul_count(PUL_CNT_PROTOCOL_ERRORS);
		return;
	}
	if (!pul_settings.moves)
		return;
	name.len = m.name_len;
	memcpy(name.s, m.name, m.name_len);
	name.s[name.len] = '\0';
	p2p_hit_print(&m.hit, hit);
	for (i = 0; i < m.n_instances; i++) {
		if (!may_go(&name, m.instance[i])) {
			pul_count(PUL_CNT_MOVES_KEPT);
			if (pul_log_ok("moves", 5))
				LM_INFO("a phone of [%s] goes to and fro between here and %s: it "
					"stays registered here, too\n",
					name.s, hit);
			continue;
		}
		n = pul_ul_replace(&name, m.instance[i]);
		if (n == 0)
			continue;
		pul_count(PUL_CNT_MOVED);
		LM_INFO("a phone of [%s] has registered at %s: its %u contacts here are over\n",
			name.s, hit, n);
	}
}
