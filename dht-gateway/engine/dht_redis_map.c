/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/engine/dht_redis_map.h"
#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>
#include "lib/base/bytes.h"

#define PORT 6379

void redis_map_init(struct redis_map *m)
{
	memset(m, 0, sizeof(*m));
}

static bool in_use(const struct redis_map *m, unsigned int i)
{
	for (unsigned int j = 0; j < m->n_sets; j++)
		for (unsigned int k = 0; k < m->set[j].n; k++)
			if (m->set[j].node[k] == i)
				return true;
	return false;
}

/* A place for another node; NULL: all are needed. */
static struct redis_map_node *place(struct redis_map *m)
{
	struct redis_map_node *oldest = NULL;

	if (m->n_nodes < REDIS_NODES_MAX)
		return &m->node[m->n_nodes++];
	for (unsigned int i = m->n_fixed; i < m->n_nodes; i++) {
		struct redis_map_node *n = &m->node[i];

		if (i != m->asked && n->seen != m->readings && !in_use(m, i) &&
		    (!oldest || m->readings - n->seen > m->readings - oldest->seen))
			oldest = n;
	}
	return oldest;
}

int redis_map_node(struct redis_map *m, const char *host, size_t len, uint16_t port)
{
	struct redis_map_node *n;

	if (!len || len >= sizeof(n->host) || memchr(host, 0, len))
		return -1;
	for (unsigned int i = 0; i < m->n_nodes; i++)
		if (m->node[i].port == port && strlen(m->node[i].host) == len &&
		    !memcmp(m->node[i].host, host, len)) {
			m->node[i].seen = m->readings;
			return (int)i;
		}
	n = place(m);
	if (!n)
		return -1;
	memcpy(n->host, host, len);
	n->host[len] = 0;
	n->port = port;
	n->seen = m->readings;
	return (int)(n - m->node);
}

void redis_map_single(struct redis_map *m, unsigned int node)
{
	m->known = true;
	m->cluster = false;
	m->n_sets = 1;
	m->set[0].n = 1;
	m->set[0].node[0] = (uint8_t)node;
	memset(m->owners, 0, sizeof(m->owners));
}

static bool integer(const redisReply *r, long long max, long long *v)
{
	*v = r->integer;
	return r->type == REDIS_REPLY_INTEGER && r->integer >= 0 && r->integer <= max;
}

/* [host, port, id, ...]: the node; -1: not that. */
static int entry_node(struct redis_map *m, const redisReply *e, unsigned int from)
{
	const char *host;
	long long port;
	size_t len;

	if (e->type != REDIS_REPLY_ARRAY || e->elements < 2 ||
	    !integer(e->element[1], 65535, &port) || !port)
		return -1;
	host = m->node[from].host;
	len = strlen(host);
	/* a server that does not know its own address says "" or nil: the one we have asked */
	if (e->element[0]->type == REDIS_REPLY_STRING && e->element[0]->len > 0 &&
	    strcmp(e->element[0]->str, "?")) {
		host = e->element[0]->str;
		len = e->element[0]->len;
	}
	return redis_map_node(m, host, len, (uint16_t)port);
}

static int set_add(struct redis_map_set *set, unsigned int *n, const struct redis_map_set *s)
{
	for (unsigned int i = 1; i < *n; i++)
		if (!memcmp(&set[i], s, sizeof(*s)))
			return (int)i;
	if (*n == 256)
		return -1;
	set[*n] = *s;
	return (int)(*n)++;
}

int redis_map_slots(struct redis_map *m, const redisReply *reply, unsigned int from)
{
	struct redis_map *fresh;
	long long first, last;
	int ret = EINVAL, k;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements > REDIS_SLOTS)
		return EINVAL;
	fresh = calloc(1, sizeof(*fresh));
	if (!fresh)
		return ENOMEM;
	fresh->n_sets = 1; /* set 0: nobody */
	m->readings++;
	m->asked = from;
	for (size_t i = 0; i < reply->elements; i++) {
		const redisReply *e = reply->element[i];
		struct redis_map_set s = {0};

		if (e->type != REDIS_REPLY_ARRAY || e->elements < 3 ||
		    !integer(e->element[0], REDIS_SLOTS - 1, &first) ||
		    !integer(e->element[1], REDIS_SLOTS - 1, &last) || first > last)
			goto out;
		for (size_t j = 2; j < e->elements && s.n < REDIS_COPIES_MAX; j++) {
			k = entry_node(m, e->element[j], from);
			if (k >= 0)
				s.node[s.n++] = (uint8_t)k;
			else if (j == 2)
				goto out;
		}
		k = set_add(fresh->set, &fresh->n_sets, &s);
		if (k < 0)
			goto out;
		memset(fresh->owners + first, k, (size_t)(last - first + 1));
	}
	memcpy(m->owners, fresh->owners, sizeof(m->owners));
	memcpy(m->set, fresh->set, sizeof(m->set));
	m->n_sets = fresh->n_sets;
	m->known = m->cluster = true;
	ret = 0;
out:
	free(fresh);
	return ret;
}

int redis_map_redirect(struct redis_map *m, const char *error, unsigned int from, bool *ask)
{
	const char *host, *colon, *space;
	struct redis_map_set s = {.n = 1};
	uint64_t slot, port;
	size_t len;
	int node, k;

	*ask = !strncmp(error, "ASK ", 4);
	m->asked = from;
	if (!*ask && strncmp(error, "MOVED ", 6))
		return -1;
	error += *ask ? 4 : 6;
	space = strchr(error, ' ');
	if (!space || p2p_u64_parse(&slot, error, (size_t)(space - error)) || slot >= REDIS_SLOTS)
		return -1;
	host = space + 1;
	colon = strrchr(host, ':');
	if (!colon || p2p_u64_parse(&port, colon + 1, strlen(colon + 1)) || !port || port > 65535)
		return -1;
	len = (size_t)(colon - host);
	if (!len) {
		host = m->node[from].host;
		len = strlen(host);
	}
	node = redis_map_node(m, host, len, (uint16_t)port);
	if (node < 0 || *ask)
		return node;
	/* until the map is read again, which this is the sign for; no replica is known */
	if (!m->known || !m->cluster) {
		m->n_sets = 1;
		memset(m->set, 0, sizeof(m->set));
		memset(m->owners, 0, sizeof(m->owners));
		m->known = m->cluster = true;
	}
	s.node[0] = (uint8_t)node;
	k = set_add(m->set, &m->n_sets, &s);
	if (k >= 0)
		m->owners[slot] = (uint8_t)k;
	return node;
}

const struct redis_map_set *redis_map_find(const struct redis_map *m, uint16_t slot)
{
	const struct redis_map_set *s = &m->set[m->owners[slot % REDIS_SLOTS]];

	return m->known && s->n ? s : NULL;
}

uint16_t redis_slot(const void *tag, size_t len)
{
	const uint8_t *p = tag;
	uint16_t crc = 0;

	while (len--) {
		crc = (uint16_t)(crc ^ *p++ << 8);
		for (int i = 0; i < 8; i++)
			crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
	}
	return crc % REDIS_SLOTS;
}

int redis_address(const char *text, struct redis_map_node *node)
{
	struct in6_addr addr;
	uint64_t port = PORT;
	const char *end;
	size_t n;

	memset(node, 0, sizeof(*node));
	if (*text == '/') {
		if (strlen(text) >= sizeof(node->host))
			return EINVAL;
		strcpy(node->host, text);
		return 0;
	}
	end = *text == '[' ? strchr(text, ']') : strchr(text, ':');
	if (*text == '[' && !end)
		return EINVAL;
	n = end ? (size_t)(end - text) : strlen(text);
	if (*text == '[') {
		text++;
		n--;
		end++;
	}
	if (!n || n >= sizeof(node->host))
		return EINVAL;
	memcpy(node->host, text, n);
	if (end && *end == ':' && p2p_u64_parse(&port, end + 1, strlen(end + 1)))
		return EINVAL;
	if ((end && *end && *end != ':') || !port || port > 65535)
		return EINVAL;
	node->port = (uint16_t)port;
	return inet_pton(strchr(node->host, ':') ? AF_INET6 : AF_INET, node->host, &addr) == 1
		       ? 0
		       : EINVAL;
}
