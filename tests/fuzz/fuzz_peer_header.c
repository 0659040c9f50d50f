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
	must(!h.is_signed || h.has_hit);
	if (h.is_signed) {
		char line[ROUTE_HEADER_MAX];

		must(route_header_print(&h, line) == strlen(line));
		route_header_parse(&again, line + ROUTE_HEADER_LEN + 2,
				   strlen(line) - ROUTE_HEADER_LEN - 2);
		must(again.is_signed && again.t_ms == h.t_ms && again.hops == h.hops);
		must(memcmp(&again.session, &h.session, sizeof(h.session)) == 0);
		must(memcmp(again.mac, h.mac, sizeof(h.mac)) == 0);
	}
	if (h.has_hit) {
		p2p_hit_print(&h.hit, text);
		route_header_parse(&again, text, strlen(text));
		must(again.has_hit && p2p_hit_cmp(&h.hit, &again.hit) == 0 && again.hops == 0);
	}
	free(s);
	return 0;
}
