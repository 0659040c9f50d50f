/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/engine/gateway_nodes.h"
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include "lib/base/bytes.h"

#define ID_TEXT_MAX 63
#define HOST_TEXT_MAX 63
#define PORT_TEXT_MAX 15

unsigned int gw_nodes_read(char *text, unsigned int max,
			   void (*fn)(const uint8_t id[DHT_KEY_LEN], const struct sockaddr *sa,
				      socklen_t salen, void *arg),
			   void *arg)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				       .ai_socktype = SOCK_DGRAM};
	char *line, *save = NULL;
	unsigned int n = 0;

	for (line = strtok_r(text, "\n", &save); line && n < max;
	     line = strtok_r(NULL, "\n", &save)) {
		char hex[ID_TEXT_MAX + 1], host[HOST_TEXT_MAX + 1], port[PORT_TEXT_MAX + 1];
		struct addrinfo *ai = NULL;
		uint8_t id[DHT_KEY_LEN];

		if (sscanf(line, "%63s %63s %15s", hex, host, port) != 3 ||
		    p2p_hex_parse(id, sizeof(id), hex, strlen(hex)) ||
		    getaddrinfo(host, port, &hints, &ai))
			continue;
		fn(id, ai->ai_addr, ai->ai_addrlen, arg);
		n++;
		freeaddrinfo(ai);
	}
	return n;
}

int gw_node_print(const uint8_t id[DHT_KEY_LEN], const struct sockaddr *sa, socklen_t salen,
		  char line[GW_NODE_LINE_MAX])
{
	char hex[2 * DHT_KEY_LEN + 1], host[HOST_TEXT_MAX + 1], port[PORT_TEXT_MAX + 1];

	if ((sa->sa_family != AF_INET && sa->sa_family != AF_INET6) ||
	    getnameinfo(sa, salen, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return EINVAL;
	p2p_hex_print(hex, id, DHT_KEY_LEN);
	snprintf(line, GW_NODE_LINE_MAX, "%s %s %s\n", hex, host, port);
	return 0;
}
