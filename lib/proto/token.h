/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The token of an invitation: one word that says where to connect, whom to expect there, into which
 * overlay, and carries the secret that is good for one peer. docs/enrolment.md describes it. */
#ifndef P2PSIP_PROTO_TOKEN_H
#define P2PSIP_PROTO_TOKEN_H

#include "lib/proto/hit.h"
#include "lib/proto/record.h"

#define P2P_TOKEN_SECRET_LEN 16
#define P2P_TOKEN_ADDRESSES_MAX 4
/* "host:port", with NUL. */
#define P2P_TOKEN_ADDRESS_MAX 80
/* The text, with NUL. */
#define P2P_TOKEN_MAX 520

struct p2p_token {
	struct p2p_overlay_id overlay;
	struct p2p_hit hit; /* of the peer that invites */
	uint8_t secret[P2P_TOKEN_SECRET_LEN];
	uint64_t expiry_s; /* since 1970 */
	uint8_t n_addresses;
	char address[P2P_TOKEN_ADDRESSES_MAX][P2P_TOKEN_ADDRESS_MAX];
};

/* "192.0.2.1:7443", "[2001:db8::1]:7443", "peer1.example.org:7443": host and port, neither is
 * looked up. 0 or EINVAL. */
int p2p_token_address_check(const char *address);
/* The host without brackets, and the port, of an address that was checked. */
void p2p_token_address_split(const char *address, char host[P2P_TOKEN_ADDRESS_MAX], uint16_t *port);

/* EINVAL: no address, or too many, or a wrong one. */
int p2p_token_print(const struct p2p_token *token, char text[P2P_TOKEN_MAX]);
/* EINVAL: no token; EBADMSG: one that was cut or mistyped; EPROTONOSUPPORT: of a later version. */
int p2p_token_parse(struct p2p_token *token, const char *text, size_t len);

#endif
