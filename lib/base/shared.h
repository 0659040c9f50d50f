/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes that do not change, and have several owners: kept once. For one thread. */
#ifndef P2PSIP_BASE_SHARED_H
#define P2PSIP_BASE_SHARED_H

#include <stddef.h>
#include <stdint.h>

struct p2p_shared {
	uint32_t owners;
	uint16_t len;
	uint8_t bytes[];
};

/* A copy, with one owner; NULL: no memory, or more than UINT16_MAX bytes. */
struct p2p_shared *p2p_shared_new(const void *bytes, size_t len);
/* One owner more: s itself. */
struct p2p_shared *p2p_shared_keep(struct p2p_shared *s);
/* One owner less; the last one frees them. NULL: nothing. */
void p2p_shared_drop(struct p2p_shared *s);

#endif
