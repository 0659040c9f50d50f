/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The certificate that this peer shows to others: self-signed with the Host Identity, made at the
 * start and kept in memory only. Its subject is the HIT's text; what counts is its key. */
#ifndef P2PSIP_GATEWAY_CERT_H
#define P2PSIP_GATEWAY_CERT_H

#include <openssl/x509.h>

/* key: P-256. The caller frees the certificate. 0 or errno. */
int gw_cert_make(X509 **cp, EVP_PKEY *key, const char *hit_text);

#endif
