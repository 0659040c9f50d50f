/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What another member tells of all members: what was read can be written, and reads the same again;
 * and whatever it says, the state machine bears it. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "lib/model/gossip.h"
#include "lib/proto/opp_members.h"

static uint32_t rnd(void *arg)
{
	uint32_t *r = arg;

	*r = *r * 1664525 + 1013904223;
	return *r >> 8;
}

static void changed(const struct p2p_hit *hit, enum p2p_gossip_event event, void *arg)
{
	(void)hit;
	(void)event;
	(void)arg;
}

static void hear(const struct p2p_opp_members *in, struct p2p_opp_members *out)
{
	uint32_t seed = 1;
	struct p2p_gossip_config config = {.self = {{0x20, 0x01, 0, 0x22, 1}},
					   .members_max = 32,
					   .period_ms = 500,
					   .random = rnd,
					   .changed = changed,
					   .arg = &seed};
	struct p2p_hit other = {{0x20, 0x01, 0, 0x22, 2}}, hit;
	struct p2p_gossip_record rec = {
		.hit = config.self, .order = 7, .epoch = 1, .bytes = "x", .len = 1};
	struct p2p_gossip *g;
	unsigned int i;

	if (p2p_gossip_new(&g, &config, 0) != 0)
		return;
	p2p_gossip_record(g, &rec, true, 0);
	rec.hit = other;
	p2p_gossip_record(g, &rec, true, 0);
	for (i = 0; i < in->n_doubts && i < 8; i++) {
		rec.hit = in->doubt[i].hit;
		p2p_gossip_record(g, &rec, true, 0);
	}
	p2p_gossip_asked(g, &other, in, 1000);
	p2p_gossip_answer(g, &other, in, out, 1000);
	p2p_gossip_answered(g, &other, in, 1500);
	for (i = 0; i < 40; i++) {
		p2p_gossip_tick(g, 2000 + 250 * i);
		while (p2p_gossip_next(g, &hit, 2000 + 250 * i)) {
			p2p_gossip_ask(g, &hit, out, 2000 + 250 * i, 1767225600000ull);
			if (i % 2 == 0)
				p2p_gossip_failed(g, &hit, 2000 + 250 * i);
			else
				p2p_gossip_answered(g, &hit, in, 2000 + 250 * i);
		}
	}
	p2p_gossip_free(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct p2p_opp_members m, again;
	static char out[P2P_OPP_MEMBERS_BODY_MAX + 1];
	char *text = malloc(size > 0 ? size : 1);
	size_t n;

	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	if (p2p_opp_members_decode(&m, text, size) == 0) {
		must(p2p_opp_members_encode(&m, out, sizeof(out), &n) == 0);
		must(p2p_opp_members_decode(&again, out, n) == 0);
		must(memcmp(&m, &again, sizeof(m)) == 0);
		hear(&m, &again);
	}
	free(text);
	return 0;
}
