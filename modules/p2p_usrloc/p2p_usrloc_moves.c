/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: phones that have moved to another peer: their bindings here are over. A phone that
 * goes to and fro, or keeps registrations at two peers on purpose, loses its binding here
 * MOVES_MAX times at most within MOVES_MS: then it stays. Client process only. */
#include <string.h>

#include "core/dprint.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"

#define MOVES_MAX 2
#define MOVES_MS 600000
/* Phones that are remembered; of two that share a place the later one is. */
#define PLACES 4096

static struct place {
	uint64_t key, since_ms;
	unsigned int n;
} places[PLACES];

static bool may_go(const struct p2p_name *name, uint32_t instance)
{
	uint64_t key = p2p_hash(&pul_hash_key, name->s, name->len) ^
		       (uint64_t)instance * 0x9e3779b97f4a7c15u,
		 now = pul_now_ms();
	struct place *p = &places[key % PLACES];

	if (p->key != key || now - p->since_ms >= MOVES_MS) {
		p->key = key;
		p->since_ms = now;
		p->n = 0;
	}
	if (p->n >= MOVES_MAX)
		return false;
	p->n++;
	return true;
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
