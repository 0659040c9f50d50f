/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stands in for Kamailio's core/locking.h in unit tests: a thread holds one lock at most, and
 * nothing is called with it held. */
#ifndef MOCK_KAMAILIO_LOCKING_H
#define MOCK_KAMAILIO_LOCKING_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef pthread_mutex_t gen_lock_t;

extern _Thread_local int mock_locks_held;

static inline void mock_lock_none_held(void)
{
	if (mock_locks_held != 0) {
		fprintf(stderr, "something is called with a lock held\n");
		abort();
	}
}

static inline gen_lock_t *lock_init(gen_lock_t *lock)
{
	pthread_mutex_init(lock, NULL);
	return lock;
}

static inline void lock_destroy(gen_lock_t *lock)
{
	pthread_mutex_destroy(lock);
}

static inline void lock_get(gen_lock_t *lock)
{
	mock_lock_none_held();
	pthread_mutex_lock(lock);
	mock_locks_held++;
}

static inline void lock_release(gen_lock_t *lock)
{
	mock_locks_held--;
	pthread_mutex_unlock(lock);
}

#endif
