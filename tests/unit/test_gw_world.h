/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of gateways that talk to each other: a few whole ones over the memory engine, on
 * loopback, all on one loop. */
#ifndef P2PSIP_TEST_GW_WORLD_H
#define P2PSIP_TEST_GW_WORLD_H

#include <ftw.h>
#include "dht-gateway/gateway_core.h"
#include "dht-gateway/keys/gateway_identity.h"
#include "dht-gateway/location/gateway_route.h"
#include "lib/io/https_tls.h"

#define ASK_MS 300
#define PEERS 3

struct peer {
	struct gw_settings settings;
	struct gw_core *core;
	struct gw *gw;
	uint16_t port;
	uint64_t seq;
	unsigned int events;		     /* told to the modules: users */
	unsigned int opens, changes, closes; /* sessions */
	int64_t wall_shift_ms;		     /* its clock is so much off */
	struct p2p_clock clock;
	char extra[512]; /* of its settings */
};

struct world {
	char dir[64];
	struct event_base *base;
	struct p2p_log log;
	char warn[1024]; /* the last one */
	unsigned int warns;
	struct peer p[PEERS];
	struct gw_identity *stranger;
	struct https_identity stranger_tls;
};

struct routed {
	bool done;
	int err;
	struct p2p_candidate_set cands;
	struct gw_session_answer session[P2P_CANDIDATES_MAX];
	uint64_t ms;
};

/* For nftw(). */
int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw);
uint16_t free_port(void);
void peer_start(struct world *w, unsigned int i, const char *enabled);
void peer_stop(struct peer *p);
int setup(void **state);
int teardown(void **state);
bool wait_for(struct world *w, const bool *done, unsigned int ms);
/* They do not speak as members any more: a gateway that a test puts in another one's place is all
 * that is asked. */
void strangers(struct world *w);
void run_for(struct world *w, unsigned int ms);
void serve(struct world *w, unsigned int i, const char *name);
void leave(struct world *w, unsigned int i, const char *name);
void plant(struct world *w, unsigned int i, const char *name, uint16_t port);
void on_routed(int err, const struct p2p_candidate_set *cands,
	       const struct gw_session_answer *sessions, void *arg);
struct routed route(struct world *w, unsigned int i, const char *name, bool fresh);
void assert_at(const struct routed *r, const struct world *w, unsigned int i);
const struct gw_metrics *metrics(const struct world *w, unsigned int i);

#endif
