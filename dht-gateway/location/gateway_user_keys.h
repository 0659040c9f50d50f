/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names by their keys: other peers ask by the key. Each name that is served here is here, under
 * each secret that is in use; and some more, until there is no room for others. */
#ifndef P2PSIP_GATEWAY_USER_KEYS_H
#define P2PSIP_GATEWAY_USER_KEYS_H

#include "dht-gateway/gateway.h"

struct gw_user_keys;

/* max: keys; room for each served user under two secrets, and as much again. served: is this one?
 */
int gw_user_keys_new(struct gw_user_keys **kp, struct gw *gw, size_t max,
		     bool (*served)(const char *name, size_t len, void *arg), void *arg);
void gw_user_keys_free(struct gw_user_keys *k);
/* Under all secrets in use: those who do not have the new one yet ask by the old one. */
void gw_user_keys_learn(struct gw_user_keys *k, const char *name, size_t len);
/* Valid until the next one is learnt. ENOENT: there is none; EAGAIN: cannot be said, there was no
 * memory for all. */
int gw_user_keys_find(const struct gw_user_keys *k, const struct p2p_key *key, const char **name,
		      size_t *len);

#endif
