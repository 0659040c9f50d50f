/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which authenticators (MACs) were seen already, so that none is good twice. Fixed memory, which
 * the caller hands over: sets of a few entries, chosen by the authenticator's own bits.
 *
 * An entry is needed for as long as its time stamp would be accepted. Where a set is full of such,
 * the one with the oldest time stamp goes, and from then on nothing as old as that is accepted in
 * that set: under more load than there is room for, time stamps must be fresher, but a replay is
 * never taken for new. */
#ifndef P2PSIP_MODEL_REPLAY_H
#define P2PSIP_MODEL_REPLAY_H

#include <stddef.h>
#include <stdint.h>

#define P2P_REPLAY_WAYS 8
/* How far a time stamp may be off the clock of whoever reads it, either way. */
#define P2P_REPLAY_WINDOW_MS 120000

struct p2p_replay_set {
	uint64_t tag[P2P_REPLAY_WAYS];
	uint64_t t_ms[P2P_REPLAY_WAYS]; /* time stamps; 0: free */
	uint64_t floor_ms;		/* nothing as old as this */
};

/* The caller locks, by set (p2p_replay_set_of()) or all in all. All zero: empty. */
struct p2p_replay {
	uint32_t mask;		    /* number of sets - 1; a power of two of them */
	struct p2p_replay_set *set; /* mask + 1 */
};

enum p2p_replay_verdict {
	P2P_REPLAY_NEW,	 /* not seen; remembered now */
	P2P_REPLAY_SEEN, /* seen before */
	P2P_REPLAY_OLD,	 /* the time stamp is too old, or too far ahead, to tell */
};

/* Sets for so many entries, a power of two. */
uint32_t p2p_replay_sets(uint32_t entries);
/* Which set an authenticator (at least 16 bytes) belongs to. */
uint32_t p2p_replay_set_of(const struct p2p_replay *r, const uint8_t *mac);
/* now_ms, t_ms: wall clock, milliseconds since 1970. mac must have been found right before. */
enum p2p_replay_verdict p2p_replay_check(struct p2p_replay *r, const uint8_t *mac, uint64_t t_ms,
					 uint64_t now_ms);

#endif
