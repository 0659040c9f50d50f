/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to p2p_route: SIP over TLS between peers. Kamailio's tls module speaks TLS and checks
 * that a certificate was issued by the overlay's authority; whose it is, is checked here. */
#ifndef P2P_ROUTE_TLS_H
#define P2P_ROUTE_TLS_H

#include <stdatomic.h>

#include "core/locking.h"
#include "p2p_route.h"
#include "p2p_route_tls_table.h"

/* shm; NULL: TLS is not used here. The lock is taken with a connection's write_lock held; nothing
 * is called with it held. */
struct route_tls {
	gen_lock_t lock; /* guards the table, and all that is held */
	atomic_uint n;	 /* peers in it: none, and nobody needs the lock */
	atomic_uint held_bytes;
	atomic_bool woken;
	struct tls_table table;
};
extern struct route_tls *route_tls;

/* _tls.c: who is proven */
uint64_t route_tls_now(void);
/* There is something to do for the process that asks. */
void route_tls_wake(void);
/* False: neither IPv4 nor IPv6. */
bool route_tls_address(struct tls_address *a, const struct ip_addr *ip, unsigned short port);

/* A question to a peer: whose certificate is it. */
struct route_proof {
	char uri[P2P_CANDIDATE_URI_MAX];
	unsigned long ref; /* for route_tls_proven() and route_tls_refused() */
};
/* The next peer to be asked. What is held for one with a proven connection that still stands is
 * sent by the way. */
bool route_tls_next(struct route_proof *proof);
/* Those who were asked and have not answered in time are refused. True: others are still awaited.
 */
bool route_tls_overdue(void);
/* It answered on this connection; cert: whose certificate that has, NULL: none that is good. */
void route_tls_answered(unsigned long ref, int con, const struct p2p_hit *cert);
/* It could not be asked. */
void route_tls_unasked(unsigned long ref);
/* Readable when there is something to do; -1: TLS is not used here. */
int route_tls_wake_fd(void);
void route_tls_woken(void);

/* _tls_gate.c: what may be sent where */
int route_tls_gate_open(void); /* before forking */
void route_tls_gate_remove(void);
/* This process asks: what it sends now is the question, and is not held. */
void route_tls_asking(bool now);
/* Does that connection stand? */
bool route_tls_con_stands(int con);
/* Nobody finds it any more, and its reader closes it. */
void route_tls_con_close(int con);
/* What was held for a peer (tls_peer_release), without the lock: sent over a connection of its,
 * thrown away and counted, or only freed. */
void route_tls_held_send(const struct p2p_hit *hit, struct tls_held *m, int con);
void route_tls_held_drop(struct tls_held *m);
void route_tls_held_free(struct tls_held *m);

/* _tls_prove.c: the process that asks */
int route_tls_prove_init(void);
int route_tls_prove_child(void); /* in PROC_MAIN */

/* _tls_accept.c: certificates */
int route_tls_accept_init(void);
/* The HIT that the certificate names of the connection that a message came over. False: no TLS, or
 * no certificate that is good. */
bool route_tls_certificate(struct sip_msg *msg, struct p2p_hit *hit);

/* _tls_reload.c: new certificates */
int route_tls_reload_init(void);
/* To be called every second or so. */
void route_tls_reload_look(void);

#endif
