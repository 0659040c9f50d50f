/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is a member of the overlay, and who of them is alive: what one member knows, what it tells
 * others, and whom it asks when. After SWIM (Das, Gupta, Motivala: "SWIM: Scalable
 * Weakly-consistent Infection-style Process Group Membership Protocol", 2002), over requests with
 * answers. Pure: no I/O, time and random numbers are handed in; the records are verified by the
 * caller, and only carried here. docs/states.md has the states.
 *
 *   - Each period one exchange: in turn with one of the next 4 members clockwise by HIT (so each
 *     member is watched by 4 others), and with one chosen at random.
 *   - An exchange carries news both ways (records, suspicions), each told ln(members) + 8 times;
 *     now and then a digest, by which two members find what one of them has missed.
 *   - Who does not answer is asked again, and through 2 others. If nobody reaches it it is suspect,
 *     which is told to all; it refutes that by a newer record. After a few seconds it is dead.
 *   - The dead are tried now and then: so a network that was split finds together again. */
#ifndef P2PSIP_MODEL_GOSSIP_H
#define P2PSIP_MODEL_GOSSIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/proto/opp_members.h"

/* How long one that is dead still counts as seen, and how long it is kept to be tried again. */
#define P2P_GOSSIP_SEEN_MS 600000
#define P2P_GOSSIP_KEEP_MS 86400000
/* How long an exchange may take. */
#define P2P_GOSSIP_EXCHANGE_MS 1500

struct p2p_gossip;

enum p2p_gossip_state {
	P2P_GOSSIP_ALIVE = 1,
	P2P_GOSSIP_SUSPECT, /* does not answer; has some seconds to refute that */
	P2P_GOSSIP_DEAD,
	P2P_GOSSIP_LEFT, /* said so itself */
};

enum p2p_gossip_event {
	P2P_GOSSIP_E_JOINED = 1, /* was not known, or not seen for P2P_GOSSIP_SEEN_MS */
	P2P_GOSSIP_E_CHANGED,	 /* another record, of the same epoch */
	P2P_GOSSIP_E_EPOCH,	 /* another record, of another epoch */
	P2P_GOSSIP_E_SUSPECT,
	P2P_GOSSIP_E_CLEARED, /* was suspect */
	P2P_GOSSIP_E_DEAD,
	P2P_GOSSIP_E_ALIVE,  /* was dead */
	P2P_GOSSIP_E_LEFT,   /* said so */
	P2P_GOSSIP_E_UNSEEN, /* dead for P2P_GOSSIP_SEEN_MS */
};

struct p2p_gossip_config {
	struct p2p_hit self;
	size_t members_max;
	uint32_t period_ms;
	uint32_t (*random)(void *arg);
	/* From within the calls below; must not call back. Not about ourselves. */
	void (*changed)(const struct p2p_hit *hit, enum p2p_gossip_event event, void *arg);
	void *arg;
};

struct p2p_gossip_stats {
	size_t alive, suspect, dead; /* seen; ourselves among those alive */
	uint64_t exchanges, failed, answered;
	uint64_t news_told, news_heard; /* records and doubts */
	uint64_t suspicions, deaths, refuted, digests;
};

/* ENOMEM. now_ms of all functions: any clock that never goes back. */
int p2p_gossip_new(struct p2p_gossip **gp, const struct p2p_gossip_config *config, uint64_t now_ms);
void p2p_gossip_free(struct p2p_gossip *g);

/* --- what becomes known ------------------------------------------------------------------------
 */

/* A verified peer record, ours or another's; bytes are copied. fresh: it may be of one that is
 * alive; else it is only an address to try. EALREADY: it is known, or a later one; ENOSPC: too many
 * members; ENOMEM. */
struct p2p_gossip_record {
	struct p2p_hit hit;
	uint64_t order, epoch;
	bool left; /* a tombstone */
	const void *bytes;
	size_t len;
};
int p2p_gossip_record(struct p2p_gossip *g, const struct p2p_gossip_record *rec, bool fresh,
		      uint64_t now_ms);
/* It is none any more (revoked). */
void p2p_gossip_forget(struct p2p_gossip *g, const struct p2p_hit *hit);
/* Exchange with it as soon as may be: somebody doubts that it lives, or it was only just heard of.
 */
void p2p_gossip_try(struct p2p_gossip *g, const struct p2p_hit *hit);

/* --- exchanges ---------------------------------------------------------------------------------
 */

/* Time goes on. When it is to be called next: p2p_gossip_due. */
void p2p_gossip_tick(struct p2p_gossip *g, uint64_t now_ms);
uint64_t p2p_gossip_due(const struct p2p_gossip *g);
/* Whom to exchange with now; false: nobody. Each is ended by p2p_gossip_answered, _failed
 * or _void. */
bool p2p_gossip_next(struct p2p_gossip *g, struct p2p_hit *hit, uint64_t now_ms);
/* The question to it. */
void p2p_gossip_ask(struct p2p_gossip *g, const struct p2p_hit *hit, struct p2p_opp_members *out,
		    uint64_t now_ms, uint64_t wall_ms);
/* Its answer, whose records were given to p2p_gossip_record already. */
void p2p_gossip_answered(struct p2p_gossip *g, const struct p2p_hit *hit,
			 const struct p2p_opp_members *in, uint64_t now_ms);
void p2p_gossip_failed(struct p2p_gossip *g, const struct p2p_hit *hit, uint64_t now_ms);
/* It ended without an answer, and that says nothing: it was we who were late. */
void p2p_gossip_void(struct p2p_gossip *g, const struct p2p_hit *hit);
/* For so long we did not listen: whoever is in doubt has so much more time. */
void p2p_gossip_late(struct p2p_gossip *g, uint64_t ms, uint64_t now_ms);
/* A question of another member (whose records were, too). */
void p2p_gossip_asked(struct p2p_gossip *g, const struct p2p_hit *from,
		      const struct p2p_opp_members *in, uint64_t now_ms);
/* The answer to it; to be made after what p2p_gossip_refute asks for. */
void p2p_gossip_answer(struct p2p_gossip *g, const struct p2p_hit *from,
		       const struct p2p_opp_members *in, struct p2p_opp_members *out,
		       uint64_t now_ms);
/* Somebody doubts that we live: a record of ours of a higher order than this is to be made, and
 * given to p2p_gossip_record. 0: nobody does. */
uint64_t p2p_gossip_refute(const struct p2p_gossip *g);

/* --- what is known -----------------------------------------------------------------------------
 */

struct p2p_gossip_info {
	struct p2p_hit hit;
	enum p2p_gossip_state state;
	bool seen; /* counts as a member: not one that is dead for long, or left */
	uint64_t order, epoch;
	uint64_t since_ms;   /* of its state */
	uint64_t contact_ms; /* the last exchange with it; 0: none */
	const uint8_t *bytes;
	size_t len;
};
/* ENOENT. bytes are valid until the next call that may change it. */
int p2p_gossip_info(const struct p2p_gossip *g, const struct p2p_hit *hit,
		    struct p2p_gossip_info *info);
/* In order of HIT: the i-th, ourselves included. ENOENT: there are not so many. */
int p2p_gossip_at(const struct p2p_gossip *g, size_t i, struct p2p_gossip_info *info);
void p2p_gossip_stats(const struct p2p_gossip *g, struct p2p_gossip_stats *st);
/* How long a suspect has, in an overlay of so many. */
uint32_t p2p_gossip_patience(size_t members);

#endif
