/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the gateway's membership share. */
#ifndef P2PSIP_GATEWAY_GOSSIP_IMPL_H
#define P2PSIP_GATEWAY_GOSSIP_IMPL_H

#include <netinet/in.h>
#include <sys/queue.h>
#include "dht-gateway/members/gateway_gossip.h"
#include "lib/model/gossip.h"
#include "lib/model/ring.h"
#include "lib/proto/opp_members.h"

#define GOSSIP_PERIOD_MS 500
/* Where peers may be that are no members yet. */
#define HINTS_MAX 64
/* Signatures that were found good lately are not verified again. */
#define GOOD_MAX 4096

struct gw_map;
struct gossip_seed;

struct member {
	struct p2p_hit hit;
	struct p2p_key pos;
	bool self, alive;
	uint64_t epoch;
	unsigned int n_gateways;
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];
};

struct gossip_hint {
	struct p2p_hit hit;
	struct p2p_locator gateway;
};

struct gossip_talk; /* one exchange */

struct gw_gossip {
	struct gw *gw;
	struct p2p_gossip *model;
	bool active; /* we are listened to, and speak */
	struct gw_map *map;
	struct p2p_ring ring; /* struct member */
	uint64_t generation;
	gw_gossip_change_h *change;
	void *change_arg;

	/* gateway_gossip_talk.c */
	struct event *timer;
	LIST_HEAD(, gossip_talk) talks;
	uint64_t lost_ms;    /* gw_load_lost_ms() at the last tick */
	struct gw_map *mute; /* peers of an earlier release, by HIT: when they said so */
	struct p2p_opp_members in, out;
	char body[P2P_OPP_MEMBERS_BODY_MAX + 1];
	uint64_t good[GOOD_MAX];
	struct gossip_hint hint[HINTS_MAX];
	unsigned int n_hints;
	uint64_t own_told_ms; /* mono: when our record was told last */
	uint64_t own_hash;    /* of what it says */
	uint64_t records_bad;
	void (*left)(void *arg); /* we leave; NULL: not, or it was called */
	void *left_arg;
	uint64_t leave_ms; /* mono: not waited for longer */

	/* gateway_gossip_seed.c */
	struct gossip_seed *seed;

	/* gateway_gossip_file.c */
	bool dirty;
	uint64_t saved_ms; /* mono */
};

/* gateway_gossip.c: a verified record into the model. fresh: as p2p_gossip_record. */
void gossip_learn(struct gw_gossip *g, const struct p2p_hit *hit, const struct p2p_record *rec,
		  const void *bytes, size_t len, bool fresh);
/* A peer record that came from elsewhere than the engine: by all rules, at the place of its
 * signer. */
bool gossip_read(struct gw_gossip *g, const void *bytes, size_t len, struct p2p_record *rec,
		 struct p2p_hit *hit, enum p2p_record_fault *fault);

/* gateway_gossip_talk.c */
int gossip_talk_new(struct gw_gossip *g);
void gossip_talk_free(struct gw_gossip *g);
/* There is something to do: soon. */
void gossip_talk_kick(struct gw_gossip *g);
/* Exchange with a peer of which no more is known than its HIT and address. */
void gossip_talk_meet(struct gw_gossip *g, const struct p2p_hit *hit, const struct p2p_locator *at);
/* Sign our record anew where somebody doubts it. */
void gossip_refute(struct gw_gossip *g);

/* gateway_gossip_seed.c */
int gossip_seed_new(struct gw_gossip *g);
void gossip_seed_free(struct gw_gossip *g);
/* Once a second. */
void gossip_seed_tick(struct gw_gossip *g, uint64_t now);
void gossip_seed_rekey(struct gw_gossip *g);

/* gateway_gossip_file.c */
void gossip_file_load(struct gw_gossip *g);
void gossip_file_tick(struct gw_gossip *g, uint64_t now);
void gossip_file_save(struct gw_gossip *g);

#endif
