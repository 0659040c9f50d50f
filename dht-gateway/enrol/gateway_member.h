/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is a member. In a closed overlay: whoever proves with each request that it has the overlay
 * secret (gateway_serve.c). In an enrolled one: whoever shows a certificate that the overlay's
 * authority issued for its Host Identity, and was not revoked. An overlay is enrolled for a gateway
 * when its state folder has authority.pem. docs/enrolment.md describes it all. */
#ifndef P2PSIP_GATEWAY_MEMBER_H
#define P2PSIP_GATEWAY_MEMBER_H

#include "dht-gateway/gateway.h"
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/keys/gateway_cert.h"
#include "lib/proto/revocation.h"

struct gw_members;

/* Reads authority.pem, peer.pem and the revocations from the state folder; sets gw->enrolled and
 * gw->overlay where there is an authority. 0 or errno, with the reason in err: a certificate that
 * is not this peer's or not this authority's. One that has expired is no reason: it is renewed. */
int gw_members_new(struct gw_members **mp, struct gw *gw, char *err, size_t errlen);
void gw_members_free(struct gw_members *m);

/* NULL in a closed overlay; so is the certificate. Valid as long as the gateway is. */
const struct gw_anchor *gw_members_anchor(const struct gw_members *m);
/* This peer's own; valid until it is renewed. */
X509 *gw_members_cert(const struct gw_members *m);
/* Another one of this peer's own, to be shown from now on; written to peer.pem. Taken over when 0
 * is returned. EINVAL: not this peer's, or not this authority's. */
int gw_members_renew(struct gw_members *m, X509 *cert);

/* Enrolled overlays only: may whoever has shown this certificate, whose key's HIT is hit, speak
 * with us? */
enum gw_cert_fault gw_member_check(struct gw *gw, X509 *cert, const struct p2p_hit *hit);
bool gw_member_revoked(const struct gw *gw, const struct p2p_hit *hit);

/* --- revocations: a list without gaps, numbered from 1 on --------------------------------------
 */

uint32_t gw_revocations_count(const struct gw_members *m);
/* The record of a number. ENOENT. */
int gw_revocation_bytes(const struct gw_members *m, uint32_t number, const uint8_t **bytes,
			size_t *len);
int gw_revocation_get(const struct gw_members *m, uint32_t number, struct p2p_revocation *out,
		      uint64_t *when_ms);
/* One more, as it was read from somewhere: it is on the disk before this returns 0, and in force.
 * EALREADY: it is known; ERANGE: those before it are not; EBADMSG: not by this overlay's authority,
 * fault says why; else errno of the file. */
int gw_revocation_add(struct gw_members *m, const void *bytes, size_t len,
		      enum p2p_record_fault *fault);

#endif
