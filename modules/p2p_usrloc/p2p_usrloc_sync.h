/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: what the gateway knows of this server's users, as far as it matters when a connection
 * to it begins. Client process only; no I/O.
 *
 *	NEW --first handshake, one that is not resumed--> all are named --told--> IN STEP
 *	lost, naming or in step --handshake, resumed--> what was not taken is told --> IN STEP
 *
 * A handshake is resumed when it is the same process of the gateway (its `run`), which has all that
 * it took of this Kamailio: whom it has acknowledged need not be named again. */
#ifndef P2P_USRLOC_SYNC_H
#define P2P_USRLOC_SYNC_H

#include <stdbool.h>
#include <stdint.h>
#include "modules/p2p_usrloc/p2p_usrloc_answer.h"

/* withdrawals_left, here and below: how many who left the gateway was not told of, so far
 * (withdrawn_max).
 *
 * What the next handshake says after `resume`: the run to go on with, or that all are to be named
 * ("0"). NULL: nothing; the gateway has not said that it knows the word. */
const char *pul_sync_offer(unsigned int withdrawals_left);
/* The gateway refused a handshake: it may be one that does not know it. */
void pul_sync_refused(void);

enum pul_sync_how {
	PUL_SYNC_ALL,	/* all are to be named */
	PUL_SYNC_REST,	/* what was not taken is to be told */
	PUL_SYNC_AGAIN, /* it has less than it acknowledged: shake hands again, and name all */
};

/* The gateway's answer. */
enum pul_sync_how pul_sync_shaken(const struct pul_gateway_info *info,
				  unsigned int withdrawals_left, uint64_t now_ms);
/* It took the wish of this number. */
void pul_sync_taken(uint64_t seq);
/* By the next handshake all are to be named. */
void pul_sync_forget(void);
/* All are named, without a handshake: the gateway does not know of runs. */
void pul_sync_named(unsigned int withdrawals_left, uint64_t now_ms);

/* Users have left of whom the gateway was not told: all others are to be named, by which it finds
 * out, but not too often, and when half of those who wait have been told. */
bool pul_sync_rename_due(unsigned int withdrawals_left, unsigned int withdrawn, uint64_t now_ms);
/* When to look for that; UINT64_MAX: there is no need. */
uint64_t pul_sync_due(unsigned int withdrawals_left, uint64_t now_ms);

#endif
