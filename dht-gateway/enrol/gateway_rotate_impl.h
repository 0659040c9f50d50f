/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What gateway_rotate.c (every member's part) and gateway_revoke.c (the authority's) share. */
#ifndef P2PSIP_GATEWAY_ROTATE_IMPL_H
#define P2PSIP_GATEWAY_ROTATE_IMPL_H

#include <sys/queue.h>
#include "dht-gateway/enrol/gateway_rotate.h"
#include "dht-gateway/enrol/gateway_roster.h"

#define GW_ROTATION_QUEUE_MAX GW_ROSTER_MEMBERS_MAX

struct op;

struct gw_rotation {
	struct gw *gw;
	struct event *timer, *deadline;
	LIST_HEAD(, op) ops;
	unsigned int n_ops;
	struct p2p_hit *queue; /* to be told */
	size_t n_queue;
	uint32_t heard; /* the most that anybody has said there are */
	uint64_t turn;	/* whom to ask next */
	bool invited, spread;
	struct p2p_hit inviter;
	/* in the DHT */
	struct dht_op *search;
	uint32_t searched;   /* this number is searched for */
	bool found, putting; /* it was found; it is put if it is not */
	uint32_t kept;	     /* the last one that was looked after */
	bool all;	     /* the authority, after its start: all of them, one after the other */
	uint64_t look_ms, pause_ms; /* mono: not looked before; and how long after that */
	unsigned int greetings;
};

/* Revocations that this peer knows; the generation of its secret. */
uint32_t gw_rotation_count(const struct gw_rotation *r);
uint32_t gw_rotation_generation(const struct gw_rotation *r);
/* Is this the secret that the revocation of that generation names? */
bool gw_rotation_right_secret(const struct gw_rotation *r, const struct gw_secret *s,
			      uint32_t generation);
/* Into the file, and into use but for what lies under it already: that is gw_rotation_rekey. */
int gw_rotation_take_secret(struct gw_rotation *r, const struct gw_secret *s, uint32_t generation);
void gw_rotation_rekey(struct gw *gw);
/* A revocation that was written: what follows from it here. */
void gw_rotation_enforce(struct gw_rotation *r, uint32_t number);
/* Into the DHT. */
void gw_rotation_put(struct gw_rotation *r, uint32_t number);
/* This member is to be told; and go on with those who are. */
void gw_rotation_queue(struct gw_rotation *r, const struct p2p_hit *hit);
void gw_rotation_run(struct gw_rotation *r);

/* The authority's, at its start: a revocation is there whose secret was made here, and is not in
 * use yet. */
void gw_rotation_promote(struct gw_rotation *r);
/* To all members that are known, at once. */
void gw_rotation_spread(struct gw_rotation *r);

#endif
