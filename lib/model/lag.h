/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is an event loop behind? A timer that comes every P2P_LAG_TICK_MS tells how late it is run: so
 * late is everything. Decisions only: the caller has the timer, the clock and the random numbers.
 *
 * Two things follow from it. The time in which the loop did not run is counted, so that who waits
 * can tell a peer that does not answer from an answer that has not been read. And when turns are
 * late for long, more comes than can be done: then a share of what is new is turned down, the more
 * the later the turns are, so that what was taken on is done in time. */
#ifndef P2PSIP_MODEL_LAG_H
#define P2PSIP_MODEL_LAG_H

#include <stdbool.h>
#include <stdint.h>

#define P2P_LAG_TICK_MS 50
/* Of one turn counts so much at most: a single long one turns nothing down. */
#define P2P_LAG_TURN_MAX_MS 150
/* Late in the mean by so much: nothing is turned down until the first, all from the second on. */
#define P2P_LAG_SOME_MS 40
#define P2P_LAG_ALL_MS 140

/* Zeroed at first; to be read only. */
struct p2p_lag {
	uint64_t due_ms;  /* of the next tick; 0: none yet */
	uint64_t lost_ms; /* all in all */
	uint32_t mean8;	  /* how late, in eighths of a millisecond, over the last few ticks */
	bool behind;	  /* some of what is new is turned down */
};

/* The timer ran; its next turn is due P2P_LAG_TICK_MS from now. True when `behind` has changed. */
bool p2p_lag_tick(struct p2p_lag *l, uint64_t now_ms);
/* So late the turns are in the mean, ms. */
uint32_t p2p_lag_mean_ms(const struct p2p_lag *l);
/* The time that the loop did not run since it began, ms: the difference between two of these is
 * what was lost in between, up to now. */
uint64_t p2p_lag_lost_ms(const struct p2p_lag *l, uint64_t now_ms);
/* A deadline is over after waited_ms, of which the loop lost lost_ms: is it we who were late, and
 * not who was waited for? */
bool p2p_lag_is_ours(uint64_t lost_ms, uint64_t waited_ms);
/* Is something new to be turned down? random: any number. */
bool p2p_lag_refuses(const struct p2p_lag *l, uint32_t random);

#endif
