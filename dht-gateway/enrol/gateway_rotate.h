/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Revocations, and the overlay secrets that come with them, on their way from the authority to all
 * members: told over HTTPS at once, found out on contact, and kept in the DHT, where whoever was
 * away finds them. Each revocation has a number, and a new secret of that generation, which members
 * fetch from each other over HTTPS; the revocation says by its mark which one is right. Only in
 * overlays with an authority. docs/enrolment.md. */
#ifndef P2PSIP_GATEWAY_ROTATE_H
#define P2PSIP_GATEWAY_ROTATE_H

#include "dht-gateway/gateway.h"
#include "lib/proto/opp.h"

struct gw_rotation;

/* What was interrupted is finished. 0 or errno, with the reason in err. */
int gw_rotation_new(struct gw_rotation **rp, struct gw *gw, char *err, size_t errlen);
void gw_rotation_free(struct gw_rotation *r);

/* The authority's: this peer is out, and the overlay has another secret. It is on the disk when
 * this returns 0, and goes on its way. ENOENT: no such member, or the authority is not here;
 * EALREADY; EINVAL; else errno; with the reason in err. */
int gw_rotation_revoke(struct gw_rotation *r, const struct p2p_hit *hit, char *err, size_t errlen);

/* A member has said how many revocations it knows. */
void gw_rotation_heard(struct gw_rotation *r, const struct p2p_hit *hit, uint32_t count);
/* What a member asks: those from this number on. */
void gw_rotation_list(const struct gw_rotation *r, uint32_t number,
		      struct p2p_opp_revocations *out);
/* What a member tells us. 0, or EBADMSG: it was not by the authority. */
int gw_rotation_told(struct gw_rotation *r, const struct p2p_hit *hit,
		     const struct p2p_opp_revocations *said);
/* Is there something that others know, and this peer does not yet: a revocation, or the secret? */
bool gw_rotation_behind(const struct gw_rotation *r);

#endif
