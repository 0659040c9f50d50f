/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: pages of memory that processes share. */
#ifndef P2P_USRLOC_PAGES_H
#define P2P_USRLOC_PAGES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define PUL_PAGE 4096

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* an old kernel refuses it: the faults come when they come */
#endif

/* This process has all pages that p to p + len is in, from now on: no page fault comes when it
 * works on them first. */
static inline void pul_pages_populate(void *p, size_t len)
{
	uintptr_t from = (uintptr_t)p / PUL_PAGE * PUL_PAGE, to = (uintptr_t)p + len;

	madvise((void *)from, to - from, MADV_POPULATE_WRITE);
}

#endif
