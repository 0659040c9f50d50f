/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS between peers: version 1.3, each side shows a certificate whose key is its Host Identity: the
 * key's HIT is who it is. What else the certificate must be (dates; a chain to the overlay's
 * authority) is for the program to say. */
#ifndef P2PSIP_IO_HTTPS_TLS_H
#define P2PSIP_IO_HTTPS_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include "lib/proto/crypto.h"
#include "lib/proto/hit.h"

/* The caller's; outlives what is made of it. */
struct https_identity {
	X509 *cert;
	EVP_PKEY *key;
	const struct p2p_crypto *crypto;
};

/* Whose certificate is it? EINVAL: its key is no P-256 key. */
int https_tls_hit(X509 *cert, const struct p2p_crypto *crypto, struct p2p_hit *hit);

/* Is it within its dates? */
bool https_tls_current(X509 *cert);

/* Does the program like this certificate, whose key's HIT is hit? In the middle of a handshake. */
typedef bool https_tls_check_h(X509 *cert, const struct p2p_hit *hit, void *arg);

/* Settings that both sides share: version, no resumption (it would skip the certificates), our
 * certificate, how much the other side may send as its own. 0 or EINVAL. */
int https_tls_setup(SSL_CTX *ctx, const struct https_identity *identity);

/* The other side must show a certificate, and check() must like it; NULL: it must be within its
 * dates. free_arg (may be NULL) gets arg when the context goes. 0 or ENOMEM, then arg is still the
 * caller's. */
int https_tls_expect(SSL_CTX *ctx, const struct p2p_crypto *crypto, https_tls_check_h *check,
		     void *arg, void (*free_arg)(void *arg));

#endif
