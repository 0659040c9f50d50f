/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lookups, for their own two files: gateway_lookup.c has those who ask, gateway_lookup_search.c
 * what is asked for them. */
#ifndef P2PSIP_GATEWAY_LOOKUP_IMPL_H
#define P2PSIP_GATEWAY_LOOKUP_IMPL_H

#include "dht-gateway/location/gateway_lookup.h"
#include "dht-gateway/location/gateway_query.h"
#include "lib/model/search.h"
#include "lib/model/userset.h"

#define GW_LOOKUP_HOLDERS_MAX 9
/* Records that are known by their bytes: of each holder the same one comes. */
#define GW_LOOKUP_GOOD_MAX 2

struct event;
struct gw_map;
struct gw_lookup_waiter;

/* One of its holders. */
struct gw_lookup_holder {
	struct gw_lookup *lookup;
	struct gw_query *query; /* NULL: over */
	struct p2p_hit hit;
	bool seen; /* one of the holders among all, not only in place of a dead one */
};

/* A record whose signature was verified. */
struct gw_lookup_good {
	bool live; /* no tombstone */
	size_t len;
	uint8_t bytes[P2P_RECORD_MAX];
};

/* One name. */
struct gw_lookup {
	struct gw_lookups *all;
	struct p2p_search state;
	unsigned int n_holders, n_asked;
	struct gw_lookup_holder holder[GW_LOOKUP_HOLDERS_MAX];
	struct p2p_key key; /* that is searched for */
	unsigned int age;   /* of the secret under which it is searched for; 0: the one in use */
	struct dht_op *op;
	struct event *timer;	/* the pause, the grace, or the grace of a no */
	struct event *patience; /* until the engine is asked, too */
	struct event *deadline; /* of a search of the engine */
	struct gw_lookup_waiter *waiters;
	struct p2p_userset set;
	unsigned int n_good;
	struct gw_lookup_good good[GW_LOOKUP_GOOD_MAX];
	bool told; /* a holder has told of a record meanwhile: it is judged by timer, at once */
	bool replayed; /* a record came that is older than one that is known of this signer */
	struct p2p_hit replayed_by;
	size_t len;
	char name[P2P_NAME_MAX + 1];
};

struct gw_lookups {
	struct gw *gw;
	struct gw_map *map; /* by name */
	size_t n_waiters;
	unsigned int n_engine; /* searches of the engine for them, under way */
	bool closing;
};

/* --- gateway_lookup.c --- */

/* All who wait get this. Their handlers may ask again, for this name too: they find the lookup as
 * it is, and wait. */
void gw_lookup_tell(struct gw_lookup *l, int err, const struct p2p_candidate_set *cands);
/* The search is over and those who waited were told. l may be gone afterwards. */
void gw_lookup_end(struct gw_lookup *l);
/* What was found so far; not what a peer has refuted of late. */
void gw_lookup_candidates(const struct gw_lookup *l, struct p2p_candidate_set *cands);

/* --- gateway_lookup_search.c --- */

/* What a search needs. 0 or ENOMEM; gw_lookup_search_free() in either case. */
int gw_lookup_search_new(struct gw_lookup *l);
/* Ends the search, if there is one. */
void gw_lookup_search_free(struct gw_lookup *l);
/* A search, from the beginning. l may be gone afterwards. */
void gw_lookup_search(struct gw_lookup *l);

#endif
