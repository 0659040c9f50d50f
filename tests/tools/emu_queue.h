/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef EMU_QUEUE_H
#define EMU_QUEUE_H

/* Packets on their way, by the time of their arrival; those of one time in the order they came.
 * Bounded; all memory is taken at the start. */
#include <stddef.h>
#include <stdint.h>

#define EMU_PACKET_MAX 2048

struct emu_queue;

/* ENOMEM. Freed by emu_queue_free(). */
int emu_queue_new(struct emu_queue **qp, unsigned int capacity);
void emu_queue_free(struct emu_queue *q);

/* Copies the packet. ENOBUFS when full, EMSGSIZE. */
int emu_queue_put(struct emu_queue *q, uint64_t due, unsigned int to, const void *data, size_t len);

/* UINT64_MAX when empty. */
uint64_t emu_queue_due(const struct emu_queue *q);

/* The first one: NULL when none is due. Valid until the next emu_queue_put(). */
const void *emu_queue_take(struct emu_queue *q, uint64_t now, unsigned int *to, size_t *len);

unsigned int emu_queue_len(const struct emu_queue *q);

#endif
