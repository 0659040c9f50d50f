/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/proto/hit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "lib/proto/crypto.h"

/* RFC 7401 section 3.2: the context id of HITs */
static const uint8_t hit_context[16] = {0xF0, 0xEF, 0xF0, 0x2F, 0xBF, 0xF4, 0x3D, 0x0F,
					0xE7, 0x93, 0x0C, 0x3C, 0x6E, 0x61, 0x74, 0xEA};

/* RFC 7401 section 5.2.9: NIST P-256 (not the number that a crypto library has for it) */
#define HOST_ID_CURVE_P256 1
/* SEC 1 section 2.3.3: a point that is not compressed */
#define POINT_UNCOMPRESSED 4

int p2p_hit_from_point(struct p2p_hit *hit, const uint8_t xy[64], p2p_sha384_h *sha384)
{
	/* The Host Identity field of HOST_ID: curve, then the point as an octet string. Here: with
	 * SEC 1's leading 04, as the other implementations of HIPv2 have it. */
	uint8_t hi[2 + 1 + 64] = {0, HOST_ID_CURVE_P256, POINT_UNCOMPRESSED};
	uint8_t hash[48];
	int err;

	if (hit == NULL || xy == NULL || sha384 == NULL)
		return EINVAL;
	memcpy(hi + 3, xy, 64);
	err = sha384(hit_context, sizeof(hit_context), hi, sizeof(hi), hash);
	if (err != 0)
		return err;
	/* RFC 7343 section 2: 28 bits of prefix, 4 bits of algorithm, the middle 96 of 384 bits */
	hit->b[0] = 0x20;
	hit->b[1] = 0x01;
	hit->b[2] = 0x00;
	hit->b[3] = 0x20 | P2P_HIT_SUITE_ECDSA_SHA384;
	memcpy(hit->b + 4, hash + (48 - 12) / 2, 12);
	return 0;
}

int p2p_hit_from_pubkey(struct p2p_hit *hit, const uint8_t pubkey[P2P_PUBKEY_LEN],
			const struct p2p_crypto *crypto)
{
	uint8_t xy[64];
	int err;

	if (pubkey[0] != 2 && pubkey[0] != 3)
		return EINVAL;
	err = crypto->point(crypto->arg, pubkey, xy);
	return err != 0 ? err : p2p_hit_from_point(hit, xy, crypto->sha384);
}

int p2p_hit_parse(struct p2p_hit *hit, const char *text, size_t len)
{
	char copy[INET6_ADDRSTRLEN];
	struct in6_addr a;

	if (len == 0 || len >= sizeof(copy) || memchr(text, '\0', len) != NULL)
		return EINVAL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (inet_pton(AF_INET6, copy, &a) != 1)
		return EINVAL;
	if (a.s6_addr[0] != 0x20 || a.s6_addr[1] != 0x01 || a.s6_addr[2] != 0x00 ||
	    (a.s6_addr[3] & 0xf0) != 0x20)
		return EINVAL;
	memcpy(hit->b, a.s6_addr, sizeof(hit->b));
	return 0;
}

void p2p_hit_print(const struct p2p_hit *hit, char text[P2P_HIT_TEXT_MAX])
{
	struct in6_addr a;

	memcpy(a.s6_addr, hit->b, sizeof(hit->b));
	/* 40 bytes hold every address that is not written with a dotted quad, and no HIT is */
	if (inet_ntop(AF_INET6, &a, text, P2P_HIT_TEXT_MAX) == NULL)
		text[0] = '\0';
}

int p2p_hit_cmp(const struct p2p_hit *a, const struct p2p_hit *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}
