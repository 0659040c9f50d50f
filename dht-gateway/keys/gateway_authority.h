/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The overlay's enrolment authority: an ECDSA P-256 key and its certificate, in a folder of its
 * own. Who has the key makes members and signs for the overlay; everybody else knows the
 * certificate (authority.pem in the state folder), from whose key the overlay's id follows. */
#ifndef P2PSIP_GATEWAY_AUTHORITY_H
#define P2PSIP_GATEWAY_AUTHORITY_H

#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/proto/crypto.h"
#include "lib/proto/hit.h"
#include "lib/proto/record.h"

/* In the authority's folder. */
#define GW_AUTHORITY_KEY "authority.key"
/* There, and in the state folder of every peer. */
#define GW_AUTHORITY_CERT "authority.pem"
/* In the state folder: this peer's own. */
#define GW_PEER_CERT "peer.pem"

/* What everybody knows of it. */
struct gw_anchor {
	X509 *cert;
	uint8_t pubkey[P2P_PUBKEY_LEN]; /* who signs enrolment and revocation records */
	struct p2p_hit hit;		/* of this key */
	struct p2p_overlay_id overlay;
};

/* ENOENT: no such file, and so a closed overlay; EINVAL: no authority's certificate. */
int gw_anchor_load(struct gw_anchor *anchor, const char *path, char *err, size_t errlen);
/* From a certificate, which it takes over when it returns 0. */
int gw_anchor_init(struct gw_anchor *anchor, X509 *cert);
void gw_anchor_clear(struct gw_anchor *anchor);

struct gw_authority;

/* Make key (0600) and certificate in a folder, which is made with mode 0700 if need be. EEXIST: it
 * has a key already (one without a certificate, as a crash leaves it, gets that). 0 or errno, with
 * the reason in err. */
int gw_authority_create(const char *dir, int64_t now_s, char *err, size_t errlen);
/* ENOENT: there is no key here. Loaded when something is to be signed and freed after, so that the
 * key may come and go with a medium. */
int gw_authority_load(struct gw_authority **ap, const char *dir, char *err, size_t errlen);
void gw_authority_free(struct gw_authority *a);

const struct gw_anchor *gw_authority_anchor(const struct gw_authority *a);
/* Signs with its key, as p2p_record_sign() wants it; valid as long as the authority is. rec.pubkey
 * is the anchor's pubkey. */
const struct p2p_crypto *gw_authority_crypto(const struct gw_authority *a);
/* A certificate for the peer that has this public key. until_s: seconds since 1970. */
int gw_authority_issue(const struct gw_authority *a, EVP_PKEY *peer, int64_t from_s,
		       int64_t until_s, X509 **cp);

#endif
