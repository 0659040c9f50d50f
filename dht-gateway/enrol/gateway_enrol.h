/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The authority's work, at the peer whose gateway has its folder: invites, lets in, renews
 * certificates, revokes. Its key is read for each signature and dropped after. What goes wrong is
 * told in words that an operator can act on. docs/enrolment.md. */
#ifndef P2PSIP_GATEWAY_ENROL_H
#define P2PSIP_GATEWAY_ENROL_H

#include <openssl/x509.h>
#include "dht-gateway/gateway.h"
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/enrol/gateway_roster.h"
#include "lib/proto/opp.h"

#define GW_INVITE_TTL_MAX_S (30 * 86400)

/* Is the authority of this overlay here, now? */
bool gw_enrol_here(const struct gw *gw);

/* A token for one peer, good for ttl_s. address: "host" or "host:port" where it reaches this
 * gateway; NULL: what is known. 0 or errno, with the reason in err. */
int gw_enrol_invite(struct gw *gw, uint64_t ttl_s, const char *address, char token[P2P_TOKEN_MAX],
		    char *err, size_t errlen);

/* What another gateway asks for: to be let in, or another certificate. cert: what it has shown. 0:
 * *out is the answer; else error is, and the HTTP status is returned. */
int gw_enrol_answer(struct gw *gw, X509 *cert, const struct p2p_hit *hit,
		    const struct p2p_opp_enrol *ask, struct p2p_opp_enrolled *out,
		    struct p2p_opp_error *error);

/* The authority, if it is here and this overlay's. ENOENT: it is not. The caller frees it. */
int gw_enrol_authority(const struct gw *gw, struct gw_authority **ap, char *err, size_t errlen);

/* A new certificate for this peer itself. ENOENT: the authority is not here. */
int gw_enrol_own(struct gw *gw, X509 **cp, char *err, size_t errlen);

#endif
