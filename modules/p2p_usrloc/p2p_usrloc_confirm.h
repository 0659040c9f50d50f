/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: registrations that wait until other peers can find the user.
 *
 *	a question --> waits for the user's PUBLISH --sent, with a CONFIRM behind it--> asked
 *	asked --"number name" on the channel--> answered FOUND, or has changed again: waits
 *	any --its deadline; the gateway refuses the user; the user left meanwhile--> answered
 *
 * The gateway answers CONFIRM at once and tells on a channel of this Kamailio's own: an answer that
 * is late holds up no other. Used by the client process alone. */
#ifndef P2P_USRLOC_CONFIRM_H
#define P2P_USRLOC_CONFIRM_H

#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_conn.h"

/* Longest name of the channel, with NUL. */
#define PUL_CONFIRM_CHANNEL_MAX 64

/* conn: where PUBLISH goes. next_seq: a number above all that were sent. */
void pul_confirm_init(const char *instance, struct pul_conn *conn, uint64_t (*next_seq)(void));
const char *pul_confirm_channel(void);
/* A question of kind CONFIRM, with its deadline. */
void pul_confirm_question(struct pul_box *box);
/* Does somebody wait whose user has to be published first? Then do not gather any longer. */
bool pul_confirm_hurry(void);
/* The next such user: to be published before all others. False: nobody waits for that. */
bool pul_confirm_next(struct p2p_name *name);
/* All are published again. */
void pul_confirm_again(void);
/* PUBLISH or WITHDRAW of this name was sent on conn with this number. */
void pul_confirm_told(const struct p2p_name *name, enum pul_job_kind kind, uint64_t seq);
/* The gateway took it. */
void pul_confirm_taken(const struct p2p_name *name);
/* The gateway did not take it. again: it will be told once more. */
void pul_confirm_refused(const struct p2p_name *name, bool again);
/* A message of the channel. */
void pul_confirm_push(const char *s, size_t len);
/* The channel is subscribed to (again): what was told meanwhile was not heard. */
void pul_confirm_subscribed(void);
/* Answers those whose time is over. */
void pul_confirm_run(uint64_t now_ms);
/* When it has to be called; UINT64_MAX: nobody waits. */
uint64_t pul_confirm_due(void);
unsigned int pul_confirm_waiting(void);

#endif
