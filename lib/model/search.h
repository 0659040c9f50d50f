/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A lookup of a user: what its holders and the engine have said so far, and what follows from it.
 * Decisions only: no I/O, no clock of its own; what a record says and whether it can be used is the
 * caller's to know. docs/states.md has the states.
 *
 * A lookup is one search or several, one after the other. A search asks the holders of the key, all
 * at once or, where much is looked for, some of them first, and the engine when they are slow, too
 *few, or say that there is none; where there are no holders, the engine alone. The caller tells
 *what happened, and then asks what is to be done until it is told to wait or that the search is
 *over:
 *
 *	p2p_search_begin -> p2p_search_next: WAIT | ENGINE | NO_GRACE | ANSWER | OVER
 *	an answer, the engine's end, a timer -> p2p_search_... -> p2p_search_next ...
 *	OVER -> p2p_search_over: FOUND | ABSENT | AGAIN | OLDER | DONE */
#ifndef P2PSIP_MODEL_SEARCH_H
#define P2PSIP_MODEL_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

/* Complete searches without a record, one after the other, until absence is believed: who has just
 * got a 200 may be on the way. */
#define P2P_SEARCH_MISSES 2
/* Between two of them. */
#define P2P_SEARCH_MISS_PAUSE_MS 60
/* After one that was not complete, doubled each time. */
#define P2P_SEARCH_PAUSE_MS 25
#define P2P_SEARCH_PAUSE_MAX_MS 400
/* Until the engine is asked as well: at least, and at most. In between it is as long as the holders
 * usually take (p2p_search_patience_ms): where they are far, or have much to do, a search of the
 * engine for each lookup would be the most expensive part of it, and slow them down further. */
#define P2P_SEARCH_PATIENCE_MS 30
#define P2P_SEARCH_PATIENCE_MAX_MS 300
/* A majority of holders has said no: for so long the others, and the engine, may know better. So
 * long has the engine, too, where too few of them live to say anything. */
#define P2P_SEARCH_NO_GRACE_MS 80
/* The same after p2p_search_look(): the engine was not asked before. */
#define P2P_SEARCH_NO_GRACE_LOOK_MS 140
/* From the first record that can be used, when it is the engine's, others are waited for. */
#define P2P_SEARCH_GRACE_MS 15

/* Zeroed: a new lookup. To be read only. */
struct p2p_search {
	/* this search */
	bool held;		      /* holders are asked */
	bool hurry;		      /* too few of them live: the engine, too, at once */
	bool asked, runs, engine_all; /* the engine: was asked; is at it; had all the answers */
	bool sure;		      /* one who has all records has just named some */
	bool late;		      /* that time, P2P_SEARCH_NO_GRACE_MS, is over */
	bool paused;		      /* between two searches */
	bool carried;		      /* the engine goes on over the pause, for the next one */
	bool grace, no_grace;	      /* these times run */
	bool doubt; /* one was not sure, or is slow: those not asked yet are asked */
	bool none;  /* one says that there is none */
	bool look;  /* a look at some of the holders first */
	unsigned int n_seen, n_told, n_no, n_left, n_more;
	/* all searches of the lookup */
	bool answered;
	bool looked; /* the first miss was a look */
	unsigned int misses;
	uint64_t pause_ms;
};

/* A search begins; the engine's that was carried over belongs to it. held: n_seen holders were seen
 * of late, dead ones among them; `alive` of these live; n_left are being asked. Else the engine is
 * all there is. */
void p2p_search_begin(struct p2p_search *s, bool held, unsigned int n_seen, unsigned int alive,
		      unsigned int n_left);

/* After p2p_search_begin: besides the n_left that are being asked there are n_more who are not, and
 * who need not be if one of the former has all records and names some. */
void p2p_search_few(struct p2p_search *s, unsigned int n_more);
/* After p2p_search_few, where much is looked for: those who are being asked tell of changes from
 * now on. If this is the lookup's first search and they all say that there is none, that is its
 * first miss, and the others and the engine are asked by the next search, if nobody has told of a
 * record until then: who has just got a 200 is found with few questions, and that somebody is
 * absent still takes a majority's word. */
void p2p_search_look(struct p2p_search *s);
/* Is that all that was asked of this search? */
bool p2p_search_is_look(const struct p2p_search *s);
/* One of them does not tell of changes. */
void p2p_search_unwatched(struct p2p_search *s);
/* These n are being asked now, too; nobody else will be. */
void p2p_search_asked(struct p2p_search *s, unsigned int n);
/* A holder is done, its answer taken. ok: it answered; seen: it is one of the n_seen; synced: it
 * has all records of this key; any: it named one that is no tombstone. What the caller holds
 * itself: own, which is not one of n_left. */
void p2p_search_told(struct p2p_search *s, bool ok, bool seen, bool synced, bool any);
void p2p_search_own(struct p2p_search *s, bool seen, bool synced, bool any);
/* The engine was begun to be asked, or could not be; and it is done: with all answers? */
void p2p_search_engine(struct p2p_search *s, bool runs);
void p2p_search_engine_over(struct p2p_search *s, bool all);
/* usual_ms: after which the slowest of those who are asked usually has answered; 0: not known. */
uint64_t p2p_search_patience_ms(uint64_t usual_ms);
/* How long P2P_SEARCH_NO_GRACE is. */
uint64_t p2p_search_no_grace_ms(const struct p2p_search *s);
/* Times are over: p2p_search_patience_ms() since the beginning; p2p_search_no_grace_ms(). */
void p2p_search_patience_over(struct p2p_search *s);
void p2p_search_no_grace_over(struct p2p_search *s);
/* A record came of the engine that can be used: true when P2P_SEARCH_GRACE_MS begins by it (between
 * two searches it does not: begin the next one). And it is over: true when what is known is to be
 * told now (usable: some of it still can be used). */
bool p2p_search_grace(struct p2p_search *s);
bool p2p_search_grace_over(struct p2p_search *s, bool usable);

enum p2p_search_step {
	P2P_SEARCH_WAIT,
	P2P_SEARCH_MORE,     /* ask the other holders, and tell p2p_search_asked(); patience
			      * begins anew */
	P2P_SEARCH_ENGINE,   /* ask the engine, and tell p2p_search_engine() */
	P2P_SEARCH_NO_GRACE, /* let p2p_search_no_grace_ms() begin */
	P2P_SEARCH_ANSWER,   /* tell those who wait what was found; the search goes on */
	P2P_SEARCH_OVER,     /* p2p_search_over() */
};
/* usable: what was found can be used. */
enum p2p_search_step p2p_search_next(struct p2p_search *s, bool usable);

enum p2p_search_end {
	P2P_SEARCH_FOUND,  /* tell those who wait */
	P2P_SEARCH_ABSENT, /* there is none */
	P2P_SEARCH_AGAIN,  /* search again after *pause_ms; if `carried`, the engine may go on */
	P2P_SEARCH_OLDER,  /* search under the secret before, at once; both together are one */
	P2P_SEARCH_DONE,   /* nobody waits, or all have been told */
};
/* waited: somebody waits; usable, any: of what was found some can be used, there is some; older:
 * there is a secret before the one that was searched under. */
enum p2p_search_end p2p_search_over(struct p2p_search *s, bool waited, bool usable, bool any,
				    bool older, uint64_t *pause_ms);
/* Did a majority of the holders say all they have, or the engine all that there is? */
bool p2p_search_complete(const struct p2p_search *s);
/* Did a majority of the holders say that there is none? */
bool p2p_search_no(const struct p2p_search *s);
/* Somebody asks anew after the others were told. */
void p2p_search_anew(struct p2p_search *s);

#endif
