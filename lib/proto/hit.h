/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Host Identity Tags: RFC 7343 ORCHIDv2 addresses made from a Host Identity (RFC 7401). */
#ifndef P2PSIP_PROTO_HIT_H
#define P2PSIP_PROTO_HIT_H

#include <stddef.h>
#include <stdint.h>

#define P2P_HIT_LEN 16
/* RFC 5952 text, without brackets, and its NUL */
#define P2P_HIT_TEXT_MAX 40
/* SEC 1 compressed P-256 point: how a public key is kept in records */
#define P2P_PUBKEY_LEN 33
/* HIT suite of RFC 7401 section 5.2.10: ECDSA with SHA-384 */
#define P2P_HIT_SUITE_ECDSA_SHA384 2

struct p2p_hit {
	uint8_t b[P2P_HIT_LEN];
};

/* Hash over two parts, given by the program (lib/ has no crypto library of its own): writes
 * 48 bytes of SHA-384(a | b) to out. 0, or errno. */
typedef int p2p_sha384_h(const void *a, size_t alen, const void *b, size_t blen, uint8_t out[48]);

/* Make the HIT of an ECDSA P-256 Host Identity. xy: the uncompressed point's X and Y, 64 bytes.
 * HOST_ID encoding: RFC 7401 section 5.2.9 (curve number 1, then the point). 0, EINVAL, or what
 * sha384 returned. */
int p2p_hit_from_point(struct p2p_hit *hit, const uint8_t xy[64], p2p_sha384_h *sha384);

/* Text to HIT; accepts what RFC 5952 readers accept. EINVAL when it is no address, or not in
 * 2001:20::/28. */
int p2p_hit_parse(struct p2p_hit *hit, const char *text, size_t len);

/* RFC 5952 text with a NUL. */
void p2p_hit_print(const struct p2p_hit *hit, char text[P2P_HIT_TEXT_MAX]);

int p2p_hit_cmp(const struct p2p_hit *a, const struct p2p_hit *b);

#endif
