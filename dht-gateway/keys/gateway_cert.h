/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Certificates: made, and judged.
 *
 *   authority   self-signed, CA; its key is the overlay's enrolment authority
 *     peer      issued by the authority over a peer's Host Identity: CN and IP address are the HIT,
 *               CA with path length 0, may name nothing but its own HIT (name constraints)
 *       leaf    issued by the peer, for its Kamailio: a key of its own, the HIT as IP address
 *
 * Authority and peer certificates name the overlay as a URI (docs/enrolment.md). In a closed
 * overlay there is none of these: a gateway shows one that it signed itself, and only its key
 * counts. */
#ifndef P2PSIP_GATEWAY_CERT_H
#define P2PSIP_GATEWAY_CERT_H

#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/proto/crypto.h"
#include "lib/proto/hit.h"
#include "lib/proto/record.h"

/* Bytes of a certificate in DER; those made here have under 700. */
#define GW_CERT_DER_MAX 1024
/* How far back a certificate's dates begin: whoever reads it may have a slow clock. */
#define GW_CERT_BEFORE_S (24 * 3600)

/* key: P-256. The caller frees the certificate. 0 or errno. */
int gw_cert_make(X509 **cp, EVP_PKEY *key, const char *hit_text);

/* now_s: seconds since 1970. days: from now on. 0 or errno; the caller frees the certificate. */
int gw_cert_make_authority(X509 **cp, EVP_PKEY *key, const struct p2p_overlay_id *overlay,
			   int64_t now_s, int days);
/* peer: the public key, whose HIT the caller gives. from_s, until_s: its dates. */
int gw_cert_make_peer(X509 **cp, EVP_PKEY *peer, const struct p2p_hit *hit, X509 *authority,
		      EVP_PKEY *authority_key, const struct p2p_overlay_id *overlay, int64_t from_s,
		      int64_t until_s);
/* Ends when the peer's certificate does, if that is sooner. */
int gw_cert_make_leaf(X509 **cp, EVP_PKEY *leaf, const struct p2p_hit *hit, X509 *peer,
		      EVP_PKEY *peer_key, int64_t from_s, int64_t until_s);

enum gw_cert_fault {
	GW_CERT_OK,
	GW_CERT_NONE,	 /* a certificate that its holder signed itself, or none at all */
	GW_CERT_OVERLAY, /* of another overlay */
	GW_CERT_ISSUER,	 /* names this overlay, but its authority did not sign it */
	GW_CERT_EARLY,	 /* not valid yet */
	GW_CERT_EXPIRED,
	GW_CERT_KEY,	/* the key is not that of the HIT that it names */
	GW_CERT_FORM,	/* usage, constraints or names are not those of a peer */
	GW_CERT_REVOKED /* told by gateway_member.c */
};
/* For the log: what is wrong, as the end of a sentence about its holder. */
const char *gw_cert_fault_text(enum gw_cert_fault fault);

/* All rules for a peer's certificate but revocation. hit: that of its key. */
enum gw_cert_fault gw_cert_check_peer(X509 *cert, X509 *authority,
				      const struct p2p_overlay_id *overlay, int64_t now_s,
				      const struct p2p_crypto *crypto, struct p2p_hit *hit);
/* The authority's own: self-signed, a CA, whose key makes this overlay id. 0 or EINVAL. */
int gw_cert_check_authority(X509 *cert, const struct p2p_crypto *crypto,
			    struct p2p_overlay_id *overlay);

/* The HIT of its key. EINVAL: no P-256 key. */
int gw_cert_hit(X509 *cert, const struct p2p_crypto *crypto, struct p2p_hit *hit);
/* Seconds since 1970. */
int64_t gw_cert_from(const X509 *cert);
int64_t gw_cert_until(const X509 *cert);

/* PEM, one after the other; len as by strlen. 0, EMSGSIZE, ENOMEM. */
int gw_cert_print(X509 *const *cert, size_t n, char *buf, size_t cap, size_t *len);
/* The first certificate in a PEM text. EINVAL: there is none. */
int gw_cert_parse(X509 **cp, const char *pem, size_t len);
int gw_cert_load(X509 **cp, const char *path, char *err, size_t errlen);
/* Base64 of DER without line ends. */
int gw_cert_base64(X509 *cert, char *buf, size_t cap);
int gw_cert_parse_base64(X509 **cp, const char *text, size_t len);

#endif
