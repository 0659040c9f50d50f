/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef EMU_HUB_H
#define EMU_HUB_H

/* Nodes by their addresses, and a link for each ordered pair of them. Pure, as emu_link. */
#include "tests/tools/emu_link.h"
#include "tests/tools/emu_queue.h"

#define EMU_NODES_MAX 64
#define EMU_NAME_MAX 15

struct emu_hub;

/* ENOMEM. queue: how many packets may be on their way at a time. */
int emu_hub_new(struct emu_hub **hp, uint64_t seed, unsigned int queue);
void emu_hub_free(struct emu_hub *hub);

/* addr4, addr6: in network order, or NULL. The number of a removed node is used again.
 * EEXIST (name or address), ENOSPC, EINVAL (a name of letters, digits, - and _). */
int emu_hub_node_add(struct emu_hub *hub, const char *name, const uint8_t *addr4,
		     const uint8_t *addr6, unsigned int *id);
int emu_hub_node_remove(struct emu_hub *hub, const char *name, unsigned int *id);

/* ENOENT */
int emu_hub_node_find(const struct emu_hub *hub, const char *name, unsigned int *id);
bool emu_hub_node_exists(const struct emu_hub *hub, unsigned int id);

struct emu_link *emu_hub_link(struct emu_hub *hub, unsigned int from, unsigned int to);

/* An IP packet that node `from` sent: put on its way, or lost. */
void emu_hub_send(struct emu_hub *hub, unsigned int from, uint64_t now, const uint8_t *data,
		  size_t len);

struct emu_queue *emu_hub_queue(struct emu_hub *hub);

/* Packets for no node's address: multicast, mostly. */
uint64_t emu_hub_strays(const struct emu_hub *hub);

#endif
