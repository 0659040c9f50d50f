/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: the parts of the client process, for its own files only: _client.c is the loop,
 * _client_main.c and _client_sub.c have a connection each, _client_shake.c what every connection
 * begins with; over the main one _client_publish.c and _client_sessions.c tell what there is to
 * tell; _client_scan.c finds contacts. None of them blocks.
 *
 * X_run(now) does what is due, X_due() says when that is next (UINT64_MAX: nothing is). */
#ifndef P2P_USRLOC_CLIENT_PRIV_H
#define P2P_USRLOC_CLIENT_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_conn.h"
#include "modules/p2p_usrloc/p2p_usrloc_sync.h"

/* How many who left the gateway was not told of (withdrawn_max). */
static inline unsigned int pul_withdrawals_left(void)
{
	return atomic_load(&pul_shared->withdrawals_left);
}

/* --- _client_shake.c -------------------------------------------------------------------------- */

/* This run of Kamailio, in hex. */
const char *pul_client_instance(void);
/* Sends HANDSHAKE; h gets the answer. resume: pul_sync_offer(), or NULL. As pul_conn_send(). */
int pul_client_shake(struct pul_conn *conn, uint64_t deadline_ms, const char *resume,
		     pul_reply_h *h);

/* --- _client_main.c --------------------------------------------------------------------------- */

void pul_main_init(void);
void pul_main_run(uint64_t now_ms);
uint64_t pul_main_due(void);
/* Is it there, and past its handshake? It may be doomed. */
bool pul_main_connected(void);
struct pul_conn *pul_main_conn(void);
/* A command whose answer is to be there within gateway_timeout_ms. As pul_conn_send(). */
int pul_main_send(const void *command, size_t n, pul_reply_h *h, void *arg);
/* Another handshake, over the connection that there is. As pul_conn_send(). */
int pul_main_shake(void);
/* Asks for the overlay's rules. */
void pul_main_ask_rules(void);
/* When it is doomed: it is closed, and all others learn that the gateway is gone. */
void pul_main_reap(void);

/* --- _client_sub.c ---------------------------------------------------------------------------- */

void pul_sub_init(void);
void pul_sub_run(uint64_t now_ms);
uint64_t pul_sub_due(void);
struct pul_conn *pul_sub_conn(void);
/* The gateway is there: at once. */
void pul_sub_wanted(void);
/* The gateway is gone. */
void pul_sub_lost(void);
void pul_sub_reap(void);

/* --- _client_publish.c ------------------------------------------------------------------------ */

/* 0 or ENOMEM. */
int pul_publish_init(void);
void pul_publish_run(uint64_t now_ms);
uint64_t pul_publish_due(uint64_t now_ms);
/* The main connection's handshake is done, and what follows from it. */
void pul_publish_shaken(enum pul_sync_how how);
/* The gateway is gone. */
void pul_publish_lost(void);
/* usrloc's contacts were all looked at. */
void pul_publish_scanned(void);
/* Of PUBLISH, WITHDRAW and CONFIRM. */
uint64_t pul_publish_seq_next(void);

/* --- _client_sessions.c ----------------------------------------------------------------------- */

void pul_client_sessions_run(uint64_t now_ms);
uint64_t pul_client_sessions_due(void);
/* Asks which sessions the gateway has. */
void pul_client_ids_ask(void);

/* --- _client_scan.c --------------------------------------------------------------------------- */

void pul_scan_run(uint64_t now_ms);
uint64_t pul_scan_due(void);
/* Was there one since the start? */
bool pul_scan_done(void);

#endif
