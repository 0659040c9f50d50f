/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The overlay's rules, a record that the authority signs: realm, digests, whether user records need
 * a permission, and the last changes of users. It is listened for and read every few seconds: that
 * is how a changed password is heard of. The last one is kept over restarts, and an earlier one is
 * never believed after it. */
#ifndef P2PSIP_GATEWAY_AUTH_RULES_H
#define P2PSIP_GATEWAY_AUTH_RULES_H

#include "dht-gateway/gateway.h"
#include "lib/proto/enrolment.h"

/* After the store and gw_auth. 0 or errno. */
int gw_auth_rules_new(struct gw_auth_rules **rp, struct gw *gw);
void gw_auth_rules_free(struct gw_auth_rules *r);
/* NULL: not known yet, or a closed overlay. */
const struct p2p_enrolment *gw_auth_rules_get(const struct gw_auth_rules *r);
/* Of the record; 0: none is known. */
uint64_t gw_auth_rules_order(const struct gw_auth_rules *r);
/* A verified one. own: made here, as all that it tells of. 0, EALREADY, ESTALE, or as
 * gw_auth_store_add(). */
int gw_auth_rules_add(struct gw_auth_rules *r, const struct p2p_record *rec,
		      const struct p2p_enrolment *en, const void *bytes, size_t len, bool own);
/* [overlay] permission may have changed. */
void gw_auth_rules_configure(struct gw_auth_rules *r);

/* The overlay has a new secret: they lie elsewhere; those that are known hold until they are found.
 */
void gw_auth_rules_rekey(struct gw_auth_rules *r);

#endif
