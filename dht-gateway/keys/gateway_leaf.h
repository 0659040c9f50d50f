/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kamailio's own TLS key and certificate, in [tls] dir:
 *
 *   sip-key.pem    its key, kept over renewals
 *   sip-cert.pem   the certificate, signed with the Host Identity, and behind it the peer's own
 *   sip-ca.pem     the authority's
 *
 * Mode 0640, for the group that may talk to the gateway. */
#ifndef P2PSIP_GATEWAY_LEAF_H
#define P2PSIP_GATEWAY_LEAF_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "lib/proto/hit.h"

#define GW_LEAF_KEY "sip-key.pem"
#define GW_LEAF_CERT "sip-cert.pem"
#define GW_LEAF_CA "sip-ca.pem"

struct gw_leaf_config {
	const char *dir;
	gid_t group; /* (gid_t)-1: the process's */
	const struct p2p_hit *hit;
	EVP_PKEY *peer_key; /* the Host Identity */
	X509 *peer, *authority;
	int64_t now_s, days;
};

/* Looks at what is there, and makes what is missing, does not fit, or has less than a third of its
 * time left. changed: it did. 0 or errno, with the reason in err. */
int gw_leaf_update(const struct gw_leaf_config *config, bool *changed, char *err, size_t errlen);

#endif
