/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The overlay's members: the peers that speak the overlay peer protocol, where they sit on the
 * ring (lib/model/ring.h) and which of them are alive. A member's place is the key of its peer
 * record. The *holders* of a key are the first members clockwise from it. */
#ifndef P2PSIP_GATEWAY_GOSSIP_H
#define P2PSIP_GATEWAY_GOSSIP_H

#include "dht-gateway/gateway.h"
#include "lib/model/userset.h"

struct gw_gossip;

/* 0 or errno; ourselves is the only member then. */
int gw_gossip_new(struct gw_gossip **gp, struct gw *gw);
void gw_gossip_free(struct gw_gossip *g);
/* All parts of the gateway are there: speak with others; and not any more. */
void gw_gossip_start(struct gw_gossip *g);
void gw_gossip_stop(struct gw_gossip *g);
/* Tell some others that we leave, so that they need not find out. left is called once, now or soon.
 */
void gw_gossip_leave(struct gw_gossip *g, void (*left)(void *arg), void *arg);

/* --- who is there ------------------------------------------------------------------------------
 */

struct gw_near {
	struct p2p_hit hit;
	bool self, alive;
	uint64_t epoch;
};

/* The first `max` members clockwise from the key, of all seen within ten minutes (alive_only: of
 * those that are alive), ourselves included: how many. */
unsigned int gw_gossip_nearest(const struct gw_gossip *g, const struct p2p_key *key,
			       unsigned int max, bool alive_only, struct gw_near *out);
/* The first `max` members counter-clockwise from the key, not at it, of all seen within ten
 * minutes: how many, and where they sit. */
unsigned int gw_gossip_before(const struct gw_gossip *g, const struct p2p_key *key,
			      unsigned int max, struct gw_near *out, struct p2p_key *pos);
/* The addresses of a member's gateway: how many; 0: none known. */
unsigned int gw_gossip_gateways(const struct gw_gossip *g, const struct p2p_hit *hit,
				struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX]);
/* Is it a member, and taken for alive? Of ourselves: yes. */
bool gw_gossip_alive(const struct gw_gossip *g, const struct p2p_hit *hit);
/* Is it a member that nobody reaches? */
bool gw_gossip_dead(const struct gw_gossip *g, const struct p2p_hit *hit);
/* Its peer record; valid until the loop goes on. NULL: no member. */
const uint8_t *gw_gossip_bytes(const struct gw_gossip *g, const struct p2p_hit *hit, size_t *len);
struct gw_gossip_info {
	const char *state; /* "alive", "suspect", "dead", "left" */
	uint64_t since_ms; /* ago */
	bool contact;	   /* we exchanged with it */
	uint64_t contact_age_ms;
};
/* false: it is not known. */
bool gw_gossip_info(const struct gw_gossip *g, const struct p2p_hit *hit,
		    struct gw_gossip_info *out);
void gw_gossip_metrics(const struct gw_gossip *g, struct gw_metrics *m);
/* A question to it failed elsewhere: it is probed soon. */
void gw_gossip_doubt(struct gw_gossip *g, const struct p2p_hit *hit);
/* Seen within ten minutes, ourselves included. */
size_t gw_gossip_members(const struct gw_gossip *g);
/* Another one whenever the answer of gw_gossip_nearest may be another one. */
uint64_t gw_gossip_generation(const struct gw_gossip *g);

enum gw_gossip_event {
	GW_GOSSIP_JOINED,    /* was not known, or not seen for ten minutes */
	GW_GOSSIP_NEW_EPOCH, /* began anew without its state */
	GW_GOSSIP_DEAD,	     /* still counts as seen for ten minutes */
	GW_GOSSIP_ALIVE,     /* was taken for dead */
	GW_GOSSIP_LEFT,	     /* said so, was revoked, or was not seen for ten minutes */
};
/* From the loop, or from within a call that told of a record; it must not change the members. */
typedef void gw_gossip_change_h(const struct p2p_hit *hit, enum gw_gossip_event event, void *arg);
/* One subscriber; NULL: none. */
void gw_gossip_on_change(struct gw_gossip *g, gw_gossip_change_h *h, void *arg);

/* --- what is told to it ------------------------------------------------------------------------
 */

/* Another peer's record, read from the engine and verified. */
void gw_gossip_record(struct gw_gossip *g, const struct p2p_hit *hit, const struct p2p_record *rec,
		      const void *bytes, size_t len);
/* Our own. now: it is told in any case; else when it says something new, or the last one is old.
 * Was it? */
bool gw_gossip_own(struct gw_gossip *g, const struct p2p_record *rec, const void *bytes, size_t len,
		   bool now);
/* It was revoked. */
void gw_gossip_forget(struct gw_gossip *g, const struct p2p_hit *hit);
/* The overlay has a new secret: everybody sits elsewhere. */
void gw_gossip_rekey(struct gw_gossip *g);

/* --- POST /v1/<overlay>/members ----------------------------------------------------------------
 */

/* What another member tells, and the answer, valid until the next call. EBADMSG: no such body. */
int gw_gossip_serve(struct gw_gossip *g, const struct p2p_hit *from, const char *body, size_t len,
		    const char **answer, size_t *answer_len);

#endif
