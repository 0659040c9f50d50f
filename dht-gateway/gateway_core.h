/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A whole gateway but for its sockets and its process: what main() and the tests put together. */
#ifndef P2PSIP_GATEWAY_CORE_H
#define P2PSIP_GATEWAY_CORE_H

#include "dht-gateway/gateway.h"

struct gw_core;

struct gw_core_config {
	struct event_base *base;
	const struct gw_settings *settings; /* must outlive it; may be reloaded in place */
	const struct p2p_log *log;
	const struct p2p_clock *clock;
	const struct dht_ops *dht_ops; /* NULL: the one that the settings name */
};

/* Loads (or makes) the identity, the secret and the state, opens the DHT, and begins. 0 or errno,
 * with the reason in err. */
int gw_core_new(struct gw_core **cp, const struct gw_core_config *config, char *err, size_t errlen);
/* Before it is freed, in an orderly end: nothing new is begun with other peers, and some members
 * are told that we leave. stopped is called once, now or within half a second. */
void gw_core_stop(struct gw_core *c, void (*stopped)(void *arg), void *arg);
/* An orderly stop: nothing is withdrawn, known nodes are saved. Lookups that wait are told
 * ETIMEDOUT. */
void gw_core_free(struct gw_core *c);
struct gw *gw_core_gw(struct gw_core *c);
/* Settings were reloaded. sip_uri: those of Kamailio changed. */
void gw_core_reloaded(struct gw_core *c, bool sip_uri);
/* One line for systemctl status. */
void gw_core_summary(struct gw_core *c, char *text, size_t len);

#endif
