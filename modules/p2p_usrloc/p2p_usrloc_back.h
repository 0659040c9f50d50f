/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: while the gateway is away for a moment, what only it can say of a request that
 * another peer has sent is waited for: whose session that is, and whether the user is an orphan.
 * The caller behind that peer would be refused otherwise, though all is well a moment later. When
 * this Kamailio was just started and has not reached its gateway yet, so is everything else that
 * is asked: the first calls and registrations come before it has. (A registration that is to be
 * confirmed waits by itself.)
 *
 *	asked --no gateway, and it went less than a moment ago--> waits --it is back--> asked again
 *	                                                          waits --time is over-->
 *UNAVAILABLE
 *
 * No more than question_max wait. In the client process, but for pul_back_soon(). */
#ifndef P2P_USRLOC_BACK_H
#define P2P_USRLOC_BACK_H

#include "modules/p2p_usrloc/p2p_usrloc.h"

/* Is the gateway there, or gone for so short a time that a question of this kind is worth asking?
 * In any process. */
bool pul_back_soon(enum p2p_question_kind kind);
/* There is no gateway. true: the question waits, and is not the caller's any more. */
bool pul_back_wait(struct pul_box *box);
/* Asks those that waited, or answers those whose time is over. */
void pul_back_run(uint64_t now_ms);
/* When it has to be called, if the gateway does not come before; UINT64_MAX: nobody waits. */
uint64_t pul_back_due(void);

#endif
