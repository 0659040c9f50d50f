/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Do the names of the bootstrap nodes resolve? The DHT engine looks them up by itself and keeps
 * quiet when that fails; here it is said, once per name and hour. */
#ifndef P2PSIP_GATEWAY_NAMES_H
#define P2PSIP_GATEWAY_NAMES_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include "lib/base/log.h"

struct gw_names;

/* Begins at once. bootstrap: "host" or "host:port"; addresses are left out. */
int gw_names_new(struct gw_names **np, struct event_base *base, const struct p2p_log *log,
		 const char *const *bootstrap, size_t n);
/* Does not wait for answers that are still under way. */
void gw_names_free(struct gw_names *names);

/* The host of a bootstrap entry, when it is a name. */
bool gw_names_host(const char *bootstrap, char *host, size_t cap);

#endif
