/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file of known DHT nodes: a line that is taken can be printed, and reads as the same node. */
#include "tests/fuzz/fuzz.h"

#include <netinet/in.h>
#include <string.h>

#include "dht-gateway/engine/gateway_nodes.h"

#define MAX 16

struct seen {
	unsigned int n;
	uint8_t id[DHT_KEY_LEN];
	struct sockaddr_storage sa;
	socklen_t salen;
};

static void keep(const uint8_t id[DHT_KEY_LEN], const struct sockaddr *sa, socklen_t salen,
		 void *arg)
{
	struct seen *s = arg;

	s->n++;
	must(salen <= sizeof(s->sa));
	memcpy(s->id, id, DHT_KEY_LEN);
	memset(&s->sa, 0, sizeof(s->sa));
	memcpy(&s->sa, sa, salen);
	s->salen = salen;
}

static void one(const uint8_t id[DHT_KEY_LEN], const struct sockaddr *sa, socklen_t salen,
		void *arg)
{
	char line[GW_NODE_LINE_MAX];
	struct seen first = {0}, second = {0};
	unsigned int *n = arg;

	++*n;
	must(sa->sa_family == AF_INET || sa->sa_family == AF_INET6);
	keep(id, sa, salen, &first);
	must(gw_node_print(id, sa, salen, line) == 0);
	must(strlen(line) > 1 && strchr(line, '\n') == line + strlen(line) - 1);
	must(gw_nodes_read(line, MAX, keep, &second) == 1 && second.n == 1);
	must(memcmp(first.id, second.id, DHT_KEY_LEN) == 0 && first.salen == second.salen);
	must(memcmp(&first.sa, &second.sa, first.salen) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	unsigned int n = 0;

	must(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	must(gw_nodes_read(text, MAX, one, &n) == n && n <= MAX);
	free(text);
	return 0;
}
