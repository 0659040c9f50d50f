/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The value of the header that a request carries between peers: HIT;v=1;hops=n. Plain bytes, so
 * that it can be tested and fuzzed without Kamailio. */
#ifndef P2P_ROUTE_HEADER_H
#define P2P_ROUTE_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include "lib/proto/hit.h"

#define ROUTE_HEADER "P2P-Peer"
#define ROUTE_HEADER_LEN (sizeof(ROUTE_HEADER) - 1)
#define ROUTE_HOPS_MANY 99999u /* hops that are no number of at most five digits */

struct route_header {
	bool present;
	bool has_hit; /* a well-formed HIT, and a version that is known */
	struct p2p_hit hit;
	unsigned int hops;
};

/* Fills all but present. Unknown parameters are skipped; another version than 1, or text that is no
 * HIT, leaves has_hit false. */
void route_header_parse(struct route_header *h, const char *value, size_t len);

#endif
