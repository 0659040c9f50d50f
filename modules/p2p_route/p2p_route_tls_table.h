/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Peers that are spoken to over TLS: whose certificate was seen on which connection, and what may
 * therefore be sent where. Without Kamailio, without locks, in memory that the caller gives.
 *
 *   UNPROVEN --something is to be sent--> PROVING --a reply; the certificate is its own--> PROVEN
 *                                            |                                               |
 *       REFUSED <--another certificate, or no reply in time--'                               |
 *          '--its time is over, something is to be sent--> PROVING <--on a new connection----'
 *
 * What is to be sent meanwhile is held, and goes over the connection that was proven. */
#ifndef P2P_ROUTE_TLS_TABLE_H
#define P2P_ROUTE_TLS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/base/hash.h"
#include "lib/model/candidate.h"
#include "lib/proto/hit.h"

#define TLS_CONS 4 /* proven connections to one peer: two processes may open one each at once */
/* A peer that shares its address with another is forgotten when it was not wanted for so long. */
#define TLS_SHARED_MS 120000
/* Messages held for one peer. */
#define TLS_HELD_MAX 1024

struct tls_address {
	uint8_t ip[16];
	uint8_t len; /* 4 or 16 */
	uint16_t port;
};

struct tls_held { /* a message that waits for the proof; the caller's memory */
	struct tls_held *next;
	bool again; /* a connection was lost over it before */
	unsigned int len;
	char text[];
};

enum tls_state { TLS_UNPROVEN, TLS_PROVING, TLS_PROVEN, TLS_REFUSED };

struct tls_peer {
	int hit_next, addr_next, wanted_next; /* indices; -1: the end */
	bool used, wanted;
	enum tls_state state;
	struct p2p_hit hit;
	struct tls_address addr;
	char uri[P2P_CANDIDATE_URI_MAX];
	int con[TLS_CONS]; /* ids of proven connections, the latest first; 0: none */
	uint64_t since_ms; /* PROVING: since when; REFUSED: until when */
	uint64_t used_ms;  /* last time that something was to be sent */
	unsigned int generation;
	unsigned int n_held;
	struct tls_held *held, **held_end;
};

struct tls_table {
	struct p2p_hash_key key;
	int max, n, wanted; /* wanted: the first for whom there is something to do */
	int mask;	    /* of both tables of heads */
	int *by_hit, *by_addr;
	struct tls_peer *peer; /* max */
};

/* How much memory tls_table_init() wants. */
size_t tls_table_size(int max);
void tls_table_init(struct tls_table *t, void *memory, int max, const struct p2p_hash_key *key);

struct tls_peer *tls_table_find(struct tls_table *t, const struct p2p_hit *hit);
/* Found or made; at another address it is UNPROVEN again. When there is no room, the one that was
 * wanted least recently goes. NULL: all are busy. */
struct tls_peer *tls_table_get(struct tls_table *t, const struct p2p_hit *hit,
			       const struct tls_address *addr, const char *uri, uint64_t now_ms);

enum tls_verdict {
	TLS_PASS,   /* no peer's address, or a connection that was proven */
	TLS_HOLD,   /* keep it for the peer, who is to be proven */
	TLS_REFUSE, /* nothing is sent there */
	TLS_WHOSE,  /* several peers claim this address: for whom is it? */
};
/* Something is to be sent over connection con, whose other end is addr. meant: for whom it is,
 * where that is known (NULL: not). *p: the peer, unless there is none. */
enum tls_verdict tls_table_gate(struct tls_table *t, const struct tls_address *addr, int con,
				const struct p2p_hit *meant, uint64_t now_ms, struct tls_peer **p);

/* There is something to do about it. True: it was not known yet. */
bool tls_table_want(struct tls_table *t, struct tls_peer *p);
/* The next such peer, NULL: none. */
struct tls_peer *tls_table_wanted(struct tls_table *t);

/* False: it has enough of them. */
bool tls_peer_hold(struct tls_peer *p, struct tls_held *m);
/* All that is held, in order; to be freed by the caller. */
struct tls_held *tls_peer_release(struct tls_peer *p);

void tls_peer_proving(struct tls_peer *p, uint64_t now_ms);
void tls_peer_proven(struct tls_peer *p, int con);
void tls_peer_refused(struct tls_peer *p, uint64_t until_ms);
bool tls_peer_has(const struct tls_peer *p, int con);

#endif
