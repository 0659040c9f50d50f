/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: the client process' lookups: questions of SIP workers and refreshes of the cache, on
 * a pool of connections (answers come in the order of the commands, so a slow search must not
 * stand before a fast one).
 *
 *	a question --joins or starts--> a lookup --answer, loss of the gateway--> answered
 *	a question --its own deadline--> answered; its lookup goes on and fills the cache */
#ifndef P2P_USRLOC_LOOKUP_H
#define P2P_USRLOC_LOOKUP_H

#include <poll.h>
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_conn.h"

/* How a pool connection introduces itself. */
typedef int pul_handshake_h(struct pul_conn *conn, uint64_t deadline_ms, pul_reply_h *h);

int pul_lookup_init(pul_handshake_h *handshake);
/* Questions taken from the queue. */
void pul_lookup_questions(struct pul_box *box);
/* Hand a question back that was answered elsewhere (_confirm.c). */
void pul_lookup_answer(struct pul_box *box, enum p2p_answer_code code);
/* Look up in the background. False: as many as allowed are under way. */
bool pul_lookup_name(const struct p2p_name *name);
bool pul_lookup_peer(const struct p2p_hit *hit);
bool pul_lookup_session(const struct p2p_session_id *id);
/* Stale entries in use, as far as there is room. */
void pul_lookup_refresh(void);
/* The gateway said that this name changed: an answer under way may be outdated. */
void pul_lookup_outdated(const struct p2p_name *name);
/* Likewise what it said of the user's digest; NULL: of all users'. */
void pul_lookup_auth_outdated(const struct p2p_name *name);
/* The gateway is gone: answer all. */
void pul_lookup_gateway_lost(void);
/* Fills fds with the pool's open connections, at most max. */
unsigned int pul_lookup_poll(struct pollfd *fds, unsigned int max);
/* After poll: I/O, deadlines, answers that could not be delivered before. */
void pul_lookup_run(const struct pollfd *fds, unsigned int n);
void pul_lookup_flush(void);
/* When pul_lookup_run must be called at the latest. */
uint64_t pul_lookup_due(void);
/* The most connections pul_lookup_poll gives. */
unsigned int pul_lookup_connections(void);

#endif
