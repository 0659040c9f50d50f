/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The users that this peer serves, from the modules' wishes to signed records on the DHT. The
 * decisions are lib/model/published.h's; here are the puts, their proof, and the journal. */
#ifndef P2PSIP_GATEWAY_USERS_H
#define P2PSIP_GATEWAY_USERS_H

#include "dht-gateway/gateway.h"
#include "dht-gateway/location/gateway_confirm.h"
#include "lib/model/published.h"

int gw_users_new(struct gw_users **up, struct gw *gw);
/* Nothing is withdrawn: a peer that stops for a while keeps its users. */
void gw_users_free(struct gw_users *u);
/* gw->announces is there. */
void gw_users_announced(struct gw_users *u);
/* The users of the last life, from the journal. */
int gw_users_restore(struct gw_users *u);

/* The commands of lib/model/published.h; kamailio is the hash of a HANDSHAKE's instance. */
int gw_users_publish(struct gw_users *u, const char *name, size_t len, uint64_t kamailio,
		     uint64_t seq, const uint32_t *instances, size_t n, uint64_t *seen);
int gw_users_withdraw(struct gw_users *u, const char *name, size_t len, uint64_t kamailio,
		      uint64_t seq, uint64_t *seen);
/* The first connection of this Kamailio. 0; EBUSY: too many of them; ENOMEM. */
int gw_users_connected(struct gw_users *u, uint64_t kamailio);
/* It is connected, and names all its users anew, or those only that it has not named yet:
 * p2p_published_begin, p2p_published_resume. */
void gw_users_begin(struct gw_users *u, uint64_t kamailio);
int gw_users_resume(struct gw_users *u, uint64_t kamailio, uint64_t *seq);
void gw_users_disconnected(struct gw_users *u, uint64_t kamailio);
size_t gw_users_synced(struct gw_users *u, uint64_t kamailio);
int gw_users_serves(const struct gw_users *u, const char *name, size_t len);

/* When others find what is wished of this user now (or, wished while it is waited for, later): h is
 * told 0, now or then; ETIMEDOUT after deadline_ms; EBUSY. A user that is not known: 0. */
void gw_users_confirm(struct gw_users *u, const char *name, size_t len, uint64_t deadline_ms,
		      gw_confirm_h *h, void *arg);

/* How many wait for that. */
size_t gw_users_confirms(const struct gw_users *u);

/* The name that belongs to a key of a user's records, of those served here or served lately; valid
 * until the loop goes on. ENOENT: none; EAGAIN: cannot be said (no memory for all keys). */
int gw_users_find(const struct gw_users *u, const struct p2p_key *key, const char **name,
		  size_t *len);
/* Have all connected Kamailios (one at least) named their users? Before that, a user who is not
 * known here may be served all the same. */
bool gw_users_complete(const struct gw_users *u);

/* Sign and put everything anew (addresses or epoch changed; others came that know nothing yet). */
void gw_users_renew(struct gw_users *u);
/* The overlay has a new secret: everything is put anew, elsewhere. */
void gw_users_rekey(struct gw_users *u);
/* Settings changed. */
void gw_users_configure(struct gw_users *u);
/* The engine's connection came or grew. */
void gw_users_kick(struct gw_users *u);

const struct p2p_published *gw_users_table(const struct gw_users *u);

#endif
