/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The value of P2P-Peer, which anybody can send. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "modules/p2p_route/p2p_route_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s = malloc(size + 1), text[P2P_HIT_TEXT_MAX]; /* no byte behind it to lean on */
	struct route_header h, again;

	must(s != NULL);
	s = realloc(s, size > 0 ? size : 1);
	must(s != NULL);
	memcpy(s, data, size);
	memset(&h, 0, sizeof(h));
	route_header_parse(&h, s, size);
	must(h.hops <= ROUTE_HOPS_MANY);
	if (h.has_hit) {
		p2p_hit_print(&h.hit, text);
		route_header_parse(&again, text, strlen(text));
		must(again.has_hit && p2p_hit_cmp(&h.hit, &again.hit) == 0 && again.hops == 0);
	}
	free(s);
	return 0;
}
