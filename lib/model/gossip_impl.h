/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the membership's state machine share. */
#ifndef P2PSIP_MODEL_GOSSIP_IMPL_H
#define P2PSIP_MODEL_GOSSIP_IMPL_H

#include <sys/queue.h>
#include "lib/model/gossip.h"
#include "lib/model/ring.h"

/* Members that are watched by this one, and helpers that are asked when one does not answer. */
#define NEIGHBOURS 4
#define HELPERS 2
/* After which time helpers are asked again, and one that nobody has reached is suspect. */
#define HELP_MS 400
#define DOUBT_MS 750
#define DOUBTED_MAX 64
#define EXCHANGES_MAX 16
#define URGENT_MAX 256
/* Members that are compared with at once. */
#define SYNCS_MAX 4

struct member {
	struct p2p_hit hit;
	enum p2p_gossip_state state;
	bool seen;
	uint8_t busy; /* exchanges with it that are under way */
	bool sync;    /* the next one carries a digest */
	bool watch;   /* suspect: we try it ourselves */
	bool longer;  /* suspect: it got more time, for we are not well */
	uint16_t len;
	uint8_t *bytes;
	uint64_t order, older; /* of its record, and of the one before */
	uint64_t epoch;
	uint64_t since_ms, contact_ms;
	uint64_t until_ms, retry_ms; /* suspect */
	uint64_t doubt_ms;	     /* since when it does not answer us; 0: it does */
	uint64_t telling, told;	     /* the orders of our own record that it is told, and knows */
	unsigned int tells;	     /* of its news; 0: not in the list */
	TAILQ_ENTRY(member) news;
};

struct gossip_doubted {
	struct member *m;
	struct p2p_hit helper[HELPERS];
	uint8_t asked[HELPERS]; /* how often */
	bool retried;
};

/* What is to be fetched from a member, and brought to it, after its digest was compared. */
struct gossip_sync {
	struct p2p_hit peer;
	bool used, fetched;
	unsigned int n_want, n_push;
	unsigned int asked, pushed; /* of these in the question under way */
	struct p2p_hit want[P2P_OPP_MEMBERS_HAVES], push[P2P_OPP_MEMBERS_HAVES];
};

struct p2p_gossip {
	struct p2p_gossip_config config;
	struct p2p_ring index; /* by HIT */
	struct member *self;
	TAILQ_HEAD(members, member) news;
	size_t unseen;
	uint64_t now_ms, round_ms, age_ms; /* of the next round, and look at all members */
	uint64_t refute;
	unsigned int sick; /* of 256 exchanges so many failed of late */
	unsigned int n_news, rounds, turn, under_way;
	unsigned int n_doubted, n_urgent;
	struct gossip_doubted doubted[DOUBTED_MAX];
	struct p2p_hit urgent[URGENT_MAX];
	struct gossip_sync sync[SYNCS_MAX];
	struct p2p_gossip_stats stats;
};

/* gossip.c */
struct member *gossip_find(const struct p2p_gossip *g, const struct p2p_hit *hit);
void gossip_tell(struct p2p_gossip *g, const struct member *m, enum p2p_gossip_event event);
void gossip_news_told(struct p2p_gossip *g, struct member *m);
void gossip_doubt(struct p2p_gossip *g, const struct p2p_hit *from, const struct p2p_opp_doubt *d,
		  uint64_t now);
void gossip_doubt_end(struct p2p_gossip *g, struct member *m);
void gossip_contact(struct p2p_gossip *g, struct member *m, uint64_t now);

/* gossip_message.c */
void gossip_sync_end(struct p2p_gossip *g, const struct p2p_hit *peer);

#endif
