/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Switches packets by their destination address. */
#include "tests/tools/emu_hub.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct node {
	char name[EMU_NAME_MAX + 1]; /* "": none */
	uint8_t addr4[4], addr6[16];
	bool has4, has6;
};

struct emu_hub {
	struct emu_queue *queue;
	struct node nodes[EMU_NODES_MAX];
	struct emu_link links[EMU_NODES_MAX][EMU_NODES_MAX];
	uint64_t seed, strays;
};

int emu_hub_new(struct emu_hub **hp, uint64_t seed, unsigned int queue)
{
	struct emu_hub *hub = calloc(1, sizeof(*hub));
	int err;

	if (!hub)
		return ENOMEM;
	hub->seed = seed;
	err = emu_queue_new(&hub->queue, queue);
	if (err) {
		free(hub);
		return err;
	}
	*hp = hub;
	return 0;
}

void emu_hub_free(struct emu_hub *hub)
{
	if (!hub)
		return;
	emu_queue_free(hub->queue);
	free(hub);
}

static bool name_ok(const char *name)
{
	size_t i;

	for (i = 0; name[i] != '\0'; i++) {
		if (i == EMU_NAME_MAX ||
		    (!isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_'))
			return false;
	}
	return i > 0;
}

static bool taken(const struct node *n, const char *name, const uint8_t *addr4,
		  const uint8_t *addr6)
{
	return strcmp(n->name, name) == 0 || (addr4 && n->has4 && !memcmp(n->addr4, addr4, 4)) ||
	       (addr6 && n->has6 && !memcmp(n->addr6, addr6, 16));
}

int emu_hub_node_add(struct emu_hub *hub, const char *name, const uint8_t *addr4,
		     const uint8_t *addr6, unsigned int *id)
{
	unsigned int i, at = EMU_NODES_MAX;
	struct node *n;

	if (!name_ok(name))
		return EINVAL;
	for (i = 0; i < EMU_NODES_MAX; i++) {
		if (hub->nodes[i].name[0] == '\0') {
			if (at == EMU_NODES_MAX)
				at = i;
		} else if (taken(&hub->nodes[i], name, addr4, addr6)) {
			return EEXIST;
		}
	}
	if (at == EMU_NODES_MAX)
		return ENOSPC;
	n = &hub->nodes[at];
	memset(n, 0, sizeof(*n));
	strcpy(n->name, name);
	if (addr4) {
		memcpy(n->addr4, addr4, 4);
		n->has4 = true;
	}
	if (addr6) {
		memcpy(n->addr6, addr6, 16);
		n->has6 = true;
	}
	for (i = 0; i < EMU_NODES_MAX; i++) {
		emu_link_init(&hub->links[at][i], hub->seed * 8191 + at * EMU_NODES_MAX + i);
		emu_link_init(&hub->links[i][at], hub->seed * 8191 + i * EMU_NODES_MAX + at);
	}
	*id = at;
	return 0;
}

int emu_hub_node_find(const struct emu_hub *hub, const char *name, unsigned int *id)
{
	unsigned int i;

	for (i = 0; name[0] != '\0' && i < EMU_NODES_MAX; i++) {
		if (strcmp(hub->nodes[i].name, name) == 0) {
			*id = i;
			return 0;
		}
	}
	return ENOENT;
}

int emu_hub_node_remove(struct emu_hub *hub, const char *name, unsigned int *id)
{
	int err = emu_hub_node_find(hub, name, id);

	if (!err)
		memset(&hub->nodes[*id], 0, sizeof(hub->nodes[*id]));
	return err;
}

bool emu_hub_node_exists(const struct emu_hub *hub, unsigned int id)
{
	return id < EMU_NODES_MAX && hub->nodes[id].name[0] != '\0';
}

struct emu_link *emu_hub_link(struct emu_hub *hub, unsigned int from, unsigned int to)
{
	return &hub->links[from][to];
}

/* EMU_NODES_MAX: nobody's */
static unsigned int destination(const struct emu_hub *hub, const uint8_t *data, size_t len)
{
	unsigned int i;

	if (len >= 20 && data[0] >> 4 == 4) {
		for (i = 0; i < EMU_NODES_MAX; i++) {
			if (hub->nodes[i].has4 && !memcmp(hub->nodes[i].addr4, data + 16, 4))
				return i;
		}
	} else if (len >= 40 && data[0] >> 4 == 6) {
		for (i = 0; i < EMU_NODES_MAX; i++) {
			if (hub->nodes[i].has6 && !memcmp(hub->nodes[i].addr6, data + 24, 16))
				return i;
		}
	}
	return EMU_NODES_MAX;
}

void emu_hub_send(struct emu_hub *hub, unsigned int from, uint64_t now, const uint8_t *data,
		  size_t len)
{
	unsigned int to = destination(hub, data, len);
	struct emu_link *link;
	uint64_t due;

	if (to == EMU_NODES_MAX) {
		hub->strays++;
		return;
	}
	link = &hub->links[from][to];
	if (emu_link_send(link, now, len, &due) && emu_queue_put(hub->queue, due, to, data, len))
		link->stats.queue_lost++;
}

struct emu_queue *emu_hub_queue(struct emu_hub *hub)
{
	return hub->queue;
}

uint64_t emu_hub_strays(const struct emu_hub *hub)
{
	return hub->strays;
}
