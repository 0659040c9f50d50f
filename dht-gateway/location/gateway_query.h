/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Questions to holders, for the records of a key: what is asked of one of them at the same time
 * goes in one request, and while a few are under way, in the next. */
#ifndef P2PSIP_GATEWAY_QUERY_H
#define P2PSIP_GATEWAY_QUERY_H

#include "dht-gateway/gateway.h"
#include "lib/proto/opp_records.h"

struct gw_queries;
struct gw_query;

int gw_queries_new(struct gw_queries **qp, struct gw *gw);
/* Questions under way are told nothing more. */
void gw_queries_free(struct gw_queries *q);

/* Of one key; valid during the call only. */
struct gw_queried {
	bool synced, watched;
	uint64_t instance;
	unsigned int n;
	const struct p2p_opp_batch *batch;
	unsigned int first; /* of its n records in there */
};

/* err 0: a is the answer; else nothing is known. */
typedef void gw_query_h(int err, const struct gw_queried *a, void *arg);

/* 0: h is called once, later, unless it is cancelled. EBUSY, ENOMEM. watch_s: as in the body. */
int gw_queries_ask(struct gw_queries *q, const struct p2p_hit *holder, const struct p2p_key *key,
		   uint32_t watch_s, gw_query_h *h, void *arg, struct gw_query **out);
void gw_query_cancel(struct gw_query *query);
/* Is that holder being asked about this key, and asked to tell of changes? */
bool gw_queries_asking(const struct gw_queries *q, const struct p2p_hit *holder,
		       const struct p2p_key *key);
/* The holder's process, as it last said in an answer; 0: it has said nothing yet. */
uint64_t gw_queries_instance(const struct gw_queries *q, const struct p2p_hit *holder);
/* After so long it has usually answered, of late; 0: it has answered nothing yet. */
uint64_t gw_queries_usual_ms(const struct gw_queries *q, const struct p2p_hit *holder);
/* It said so elsewhere. */
void gw_queries_heard(struct gw_queries *q, const struct p2p_hit *holder, uint64_t instance);
/* Who has not been heard of for a while is asked for its instance. */
void gw_queries_probe(struct gw_queries *q, const struct p2p_hit *holder);

#endif
