/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How many holders of a key are enough. A record counts as told when a majority of all that are
 * to hold it does; so whoever hears "no" from a majority of them knows that there is none, and
 * whoever lost its records and asks all but so few of the others misses none. */
#ifndef P2PSIP_MODEL_QUORUM_H
#define P2PSIP_MODEL_QUORUM_H

#include <stdbool.h>

/* Of n holders that were seen of late, whether they live or not. */
static inline unsigned int p2p_quorum(unsigned int n)
{
	return n / 2 + 1;
}

/* Is a record safe? kept: holders of the n that have it; alive: of the n; told: all that live and
 * are to hold it in place of the dead have it. With fewer alive than a majority it has to do that
 * all do (*partial). Where nobody else is, n is 1. */
static inline bool p2p_quorum_safe(unsigned int n, unsigned int alive, unsigned int kept, bool told,
				   bool *partial)
{
	*partial = kept < p2p_quorum(n);
	return !*partial || (alive < p2p_quorum(n) && told);
}

/* Is it absent? no: holders of the n that said so and have all records of this key. */
static inline bool p2p_quorum_absent(unsigned int n, unsigned int no)
{
	return n > 0 && no >= p2p_quorum(n);
}

/* Has a holder of the n, that is one of them, all records? full: others of the n that told it all
 * that they have and had all themselves; told: others that told all they have, whatever that is. */
static inline bool p2p_quorum_synced(unsigned int n, unsigned int full, unsigned int told,
				     bool settled)
{
	return (n > 1 && full >= n - p2p_quorum(n) + 1) || (settled && told + 1 >= n);
}

#endif
