/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the authority's folder keeps besides its key: invitations and members. A small file for
 * each, written at one stroke and through to the disk, so that a crash at any moment leaves each as
 * it was or as it was to be.
 *
 *   invitations/<id>   id: the start of SHA-256 of the secret; expiry, and by whom it was used
 *   members/<HIT>      32 hexadecimal digits; the public key, since when, until when its
 * certificate holds, when it was revoked
 *
 * One process at a time writes: the gateway, or p2psipctl before there is one. */
#ifndef P2PSIP_GATEWAY_ROSTER_H
#define P2PSIP_GATEWAY_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/proto/hit.h"
#include "lib/proto/token.h"

#define GW_ROSTER_INVITATIONS_MAX 1024
#define GW_ROSTER_MEMBERS_MAX 4096

struct gw_member {
	struct p2p_hit hit;
	uint8_t pubkey[P2P_PUBKEY_LEN];
	uint64_t since_ms, until_ms; /* wall clock; until: of the last certificate */
	uint64_t revoked_ms;	     /* 0: it is not */
};

/* --- members -----------------------------------------------------------------------------------
 */

/* 0; ENOENT: no such member; EINVAL: a damaged file. */
int gw_roster_member(const char *dir, const struct p2p_hit *hit, struct gw_member *out);
/* Add one, or change it. ENOSPC: too many. */
int gw_roster_put(const char *dir, const struct gw_member *member);
/* fn for each, in no order; stops when it returns false. 0 or errno; ENOENT: there are none. */
int gw_roster_scan(const char *dir, bool (*fn)(const struct gw_member *m, void *arg), void *arg);

/* --- invitations -------------------------------------------------------------------------------
 */

/* Remember a new one, of which only the hash is kept; ones that have long expired are forgotten.
 * ENOSPC: too many. */
int gw_roster_invite(const char *dir, const uint8_t secret[P2P_TOKEN_SECRET_LEN],
		     uint64_t expiry_ms, uint64_t now_ms);
/* Use one, for this peer: from then on it is good for no other, and for this one until it expires.
 * ENOENT: unknown; EALREADY: another has used it; ESTALE: it has expired. */
int gw_roster_redeem(const char *dir, const uint8_t secret[P2P_TOKEN_SECRET_LEN],
		     const struct p2p_hit *hit, uint64_t now_ms);

#endif
