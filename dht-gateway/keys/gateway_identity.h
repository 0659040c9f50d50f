/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The peer's Host Identity: an ECDSA P-256 key in a PEM file (PKCS #8), and its HIT (RFC 7343,
 * suite 2). */
#ifndef P2PSIP_GATEWAY_IDENTITY_H
#define P2PSIP_GATEWAY_IDENTITY_H

#include <openssl/evp.h>
#include <stddef.h>
#include "lib/proto/crypto.h"
#include "lib/proto/hit.h"

struct gw_identity;

/* Make a new key in a file that must not exist yet (EEXIST), mode 0600, on the disk before this
 * returns. 0 or errno, with the reason in err. */
int gw_identity_create(const char *path, char *err, size_t errlen);

/* Read a key. EPERM: the file's mode or owner would let others read it; EINVAL: no P-256 key. */
int gw_identity_load(struct gw_identity **ip, const char *path, char *err, size_t errlen);
void gw_identity_free(struct gw_identity *identity);

const struct p2p_hit *gw_identity_hit(const struct gw_identity *identity);
const uint8_t *gw_identity_pubkey(const struct gw_identity *identity); /* P2P_PUBKEY_LEN */
/* The key itself; the identity's. */
EVP_PKEY *gw_identity_key(const struct gw_identity *identity);
/* Signs with this key; valid as long as the identity is. */
const struct p2p_crypto *gw_identity_crypto(const struct gw_identity *identity);

#endif
