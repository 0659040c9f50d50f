/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file of known DHT nodes: one line a node, its id in hexadecimal, and its address and port as
 * numbers. */
#ifndef P2PSIP_GATEWAY_NODES_H
#define P2PSIP_GATEWAY_NODES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include "dht-gateway/engine/dht_backend.h"

/* The longest line, with its end. */
#define GW_NODE_LINE_MAX 160

/* fn for each line that is one of a node, at most max; the others are passed over. text is taken to
 * pieces. Returns how many there were. */
unsigned int gw_nodes_read(char *text, unsigned int max,
			   void (*fn)(const uint8_t id[DHT_KEY_LEN], const struct sockaddr *sa,
				      socklen_t salen, void *arg),
			   void *arg);

/* One line, with its end. 0, or EINVAL: no address of IPv4 or IPv6. */
int gw_node_print(const uint8_t id[DHT_KEY_LEN], const struct sockaddr *sa, socklen_t salen,
		  char line[GW_NODE_LINE_MAX]);

#endif
