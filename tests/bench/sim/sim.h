/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An overlay of many peers in one process: the real membership (lib/model/gossip), placement
 * (ring), publication (announce), holders' tables (held) and their majorities (quorum), over a
 * simulated clock and network. docs/scaling.md says what it is asked and what it answers.
 *
 * In an overlay of more peers than `machines` only so many membership machines run, each knowing
 * all members, and each plays for several peers: what a member is and does is the same, but news
 * has fewer machines to reach. Everything else runs for each peer. */
#ifndef P2PSIP_SIM_H
#define P2PSIP_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "lib/model/announce.h"
#include "lib/model/gossip.h"
#include "lib/model/held.h"
#include "lib/model/ring.h"

#define SIM_MS 1000ull /* the clock counts microseconds */
#define SIM_S (1000 * SIM_MS)
#define SIM_WALL_MS 1767225600000ull
#define SIM_HOLDERS_MAX 9
#define SIM_CONNECTIONS 64 /* kept to others; [peers] idle_connections_max */
#define SIM_IDLE_MS 50000
/* HTTP headers of a question and its answer, and TLS around them. */
#define SIM_HTTP_BYTES 420

struct sim;

/* --- sim_engine.c: events, random numbers, the network -----------------------------------------
 */

typedef void sim_event_h(struct sim *s, void *arg);

enum sim_kind { SIM_MEMBERS, SIM_ANNOUNCE, SIM_QUERY, SIM_SYNC, SIM_KINDS };

/* A request over HTTPS and its answer. done comes once; ok: with the answer; gone: the asking peer
 * has died since, and all that is left to do is to free. */
struct sim_ask {
	unsigned int from, to;
	enum sim_kind kind;
	size_t question, answer; /* bytes */
	void (*asked)(struct sim *s, struct sim_ask *a);
	void (*done)(struct sim *s, struct sim_ask *a);
	void *arg;
	bool ok, gone;
	unsigned int life; /* the engine's */
};

struct sim_traffic {
	uint64_t asks, failed, bytes;
};

void sim_at(struct sim *s, uint64_t at, sim_event_h *fn, void *arg);
/* Runs all events until then. */
void sim_run_until(struct sim *s, uint64_t at);
/* fn is called at the end, too, if its time has not come by then: s->ended. */
void sim_at_last(struct sim *s, uint64_t at, sim_event_h *fn, void *arg);
/* No event comes any more. */
void sim_events_end(struct sim *s);
uint32_t sim_random(struct sim *s);
double sim_uniform(struct sim *s); /* 0 <= x < 1 */
/* One way, without loss. */
uint64_t sim_one_way(const struct sim *s, unsigned int a, unsigned int b);
/* The caller's a stays valid until done. */
void sim_ask(struct sim *s, struct sim_ask *a);
void *sim_alloc(size_t n, size_t size);

/* --- the overlay --------------------------------------------------------------------------------
 */

struct sim_connection {
	unsigned int to;
	uint64_t used;
};

/* A key of the sample that a peer holds, or is to. */
struct sim_arc {
	unsigned int user;
	bool synced;
	uint64_t since;
	unsigned int full, told;
	uint32_t told_by, full_by; /* by place among its sources */
	unsigned int n_source, source[2 * SIM_HOLDERS_MAX];
	unsigned int n_seen,
		n_others; /* holders of all seen; of these the first n_others sources */
};

struct sim_target {
	unsigned int peer;
	uint16_t slot;
	bool asking;
};

struct sim_peer {
	struct p2p_hit hit;
	struct p2p_key pos;
	uint8_t pubkey[P2P_PUBKEY_LEN];
	double x, y;
	bool up, silent; /* silent: nothing answers for it while it is down */
	unsigned int life;
	uint64_t order, epoch, renew, died, began;
	struct p2p_held *held;
	struct p2p_announce *announce;
	struct sim_target *target;
	size_t n_target, n_arc;
	struct sim_arc *arc;
	bool ranges_due, pulling;
	struct sim_connection conn[SIM_CONNECTIONS];
	unsigned int n_conn;
};

struct sim_machine {
	struct p2p_gossip *g;
	struct sim *sim;
	unsigned int self;
	uint8_t *state; /* of each peer: SIM_SEEN, SIM_ALIVE */
};
#define SIM_SEEN 1
#define SIM_ALIVE 2

struct sim_user {
	struct p2p_key key;
	unsigned int home;
	uint64_t order;
	bool registered;
	uint64_t since;	    /* of the registration */
	uint64_t confirmed; /* when it was safe; 0: not yet */
	uint64_t changed;   /* anything about it */
};

struct sim_samples {
	float *v;
	size_t n, cap;
};

struct sim_params {
	unsigned int peers, machines, users, holders;
	double rtt_ms, loss; /* mean round trip; of each datagram */
	double engine_ms;    /* a search of it, in the mean; 0: there is none */
	unsigned int warm_s, run_s, down_s;
	double churn;	/* deaths of each peer in an hour */
	double changes; /* registrations, moves, leaves of the sample in a second */
	double lookups; /* in a second, in all */
	uint64_t seed;
};

struct sim {
	struct sim_params p;
	uint64_t now;
	uint64_t seed;
	struct {
		struct sim_event *v;
		size_t n, cap;
		uint64_t seq;
	} heap;
	double scale_us; /* of a unit of distance */
	struct sim_peer *peer;
	struct sim_machine *machine;
	struct p2p_ring ring; /* all peers, whoever knows of them */
	struct sim_user *user;
	bool counting, ended;
	struct sim_traffic traffic[SIM_KINDS];
	uint64_t cold;				   /* connections that were made for a request */
	struct sim_samples confirm, found, missed; /* ms */
	struct sim_samples heard;		   /* ms until one had heard of a death */
	uint64_t lookups, unknown, unknown_alive, false_absent, absent_late, registrations, deaths;
	uint64_t announced, synced_keys;
	size_t gossip_bytes;
};

/* sim_members.c */
int sim_members_new(struct sim *s);
void sim_members_free(struct sim *s);
void sim_member_down(struct sim *s, unsigned int peer);
void sim_member_up(struct sim *s, unsigned int peer);
/* The first holders of a key as a peer sees them, itself included. */
unsigned int sim_nearest(struct sim *s, unsigned int viewer, const struct p2p_key *key,
			 unsigned int max, bool alive_only, unsigned int *out);
bool sim_sees_alive(const struct sim *s, unsigned int viewer, unsigned int peer);

/* sim_records.c */
int sim_records_new(struct sim *s);
void sim_records_free(struct sim *s);
void sim_records_down(struct sim *s, unsigned int peer);
void sim_records_up(struct sim *s, unsigned int peer);
/* A peer has heard of a change of another one. */
void sim_records_changed(struct sim *s, unsigned int viewer, unsigned int changed, bool forgot);
/* The user's state at its home, or that it has left there, is told to the holders. */
void sim_user_publish(struct sim *s, unsigned int user, unsigned int home, bool registered);
/* Has this peer a record of a registration, and all there are of this key? */
bool sim_holder_asked(struct sim *s, unsigned int peer, unsigned int user, bool *synced);

/* sim_lookups.c */
void sim_lookup(struct sim *s, unsigned int asker, unsigned int user);

/* sim_report.c */
void sim_sample(struct sim_samples *v, double x);
void sim_report(struct sim *s, FILE *f);

#endif
