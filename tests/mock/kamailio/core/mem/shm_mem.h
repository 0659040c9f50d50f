/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stands in for Kamailio's core/mem/shm_mem.h in unit tests: malloc, never with a lock held. */
#ifndef MOCK_KAMAILIO_SHM_MEM_H
#define MOCK_KAMAILIO_SHM_MEM_H

#include <stdlib.h>
#include "core/locking.h"

static inline void *shm_malloc(size_t n)
{
	mock_lock_none_held();
	return malloc(n);
}

static inline void shm_free(void *p)
{
	mock_lock_none_held();
	free(p);
}

#define SHM_MEM_ERROR mock_lock_none_held()

#endif
