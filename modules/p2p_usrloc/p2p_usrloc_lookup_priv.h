/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: lookups, for their own files only: _lookup.c has the lookups under way and who waits
 * for them, _lookup_command.c what is asked, _lookup_pool.c the connections that it is asked on,
 * _lookup_read.c what the gateway says, _lookup_deliver.c hands answers back. Client process only.
 */
#ifndef P2P_USRLOC_LOOKUP_PRIV_H
#define P2P_USRLOC_LOOKUP_PRIV_H

#include "modules/p2p_usrloc/p2p_usrloc_lookup.h"

struct pul_lookup {
	struct pul_lookup *next; /* of the table's slot */
	enum p2p_question_kind kind;
	bool fresh;	 /* past the gateway's cache */
	bool background; /* counted in n_background */
	bool retried;	 /* its connection was lost once */
	bool outdated;	 /* the name changed after it was asked */
	struct p2p_name name;
	struct p2p_hit hit; /* of SESSION: the session's id, which is as long */
	uint64_t started_ms;
	uint64_t deadline_ms;
	struct pul_box *waiting;
};

/* --- _lookup_command.c ------------------------------------------------------------------------ */

struct p2p_writer;

/* The command for it, within PUL_COMMAND_MAX bytes. left_ms: what the gateway may take. */
void pul_lookup_command(const struct pul_lookup *l, uint64_t left_ms, struct p2p_writer *w);

/* --- _lookup_pool.c: pkg ---------------------------------------------------------------------- */

/* 0 or ENOMEM. */
int pul_pool_init(pul_handshake_h *handshake);
/* A connection with nothing to do, else a new one, else the one with the least; NULL: none can be
 * had. */
struct pul_conn *pul_pool_choose(void);
/* After poll: reads and writes. */
void pul_pool_io(const struct pollfd *fds, unsigned int n);
/* Closes those that are silent, idle or doomed. */
void pul_pool_sweep(uint64_t now_ms);
/* When that has to be done at the latest. */
uint64_t pul_pool_due(void);
/* The gateway is gone: so are they. */
void pul_pool_lost(void);

/* --- _lookup_read.c --------------------------------------------------------------------------- */

/* What the gateway said: set, serves, auth and ttl_ms as the kind has them. */
struct pul_said {
	enum p2p_answer_code code;
	bool sense; /* false: it makes none */
	int serves;
	struct p2p_candidate_set *set;
	struct p2p_auth auth;
	uint64_t ttl_ms;
};

/* said->set is the caller's, the rest is set here. Sessions are put where they belong. */
void pul_lookup_read(const struct pul_lookup *l, const redisReply *r, struct pul_said *said);
/* FOUND or ABSENT: into the caches. */
void pul_lookup_remember(const struct pul_lookup *l, const struct pul_said *said);

/* --- _lookup_deliver.c ------------------------------------------------------------------------ */

/* Offers again what could not be handed back. */
void pul_deliver_run(uint64_t now_ms);
/* When; UINT64_MAX: there is nothing. */
uint64_t pul_deliver_due(void);

#endif
