/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DHT nodes that a peer was told when it joined: a file in the state folder, a line each, beside
 * those that [dht] bootstrap names. */
#ifndef P2PSIP_GATEWAY_BOOTSTRAP_H
#define P2PSIP_GATEWAY_BOOTSTRAP_H

#include <stddef.h>

#define GW_BOOTSTRAP_FILE "bootstrap"
#define GW_BOOTSTRAP_MAX 48
/* "host:port", with NUL. */
#define GW_BOOTSTRAP_LEN 80

struct gw_bootstrap {
	size_t n;
	char entry[GW_BOOTSTRAP_MAX][GW_BOOTSTRAP_LEN];
};

/* Add one, unless it is there. Left out: too long, too many, no plain text. */
void gw_bootstrap_add(struct gw_bootstrap *b, const char *entry);
/* Add those of the file. 0, also when there is none; errno. */
int gw_bootstrap_load(struct gw_bootstrap *b, const char *path);
int gw_bootstrap_save(const struct gw_bootstrap *b, const char *path);

#endif
