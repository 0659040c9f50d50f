/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Canonical user names: what the overlay's keys are made from. */
#ifndef P2PSIP_PROTO_NAME_H
#define P2PSIP_PROTO_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* Longest canonical name, without NUL. */
#define P2P_NAME_MAX 200

/* Make a canonical name from a SIP URI's user part (no password, no parameters) and, when host is
 * not NULL, its host: RFC 3261 section 19.1.4 escapes are undone, letters of the user lower-cased
 * unless case_sensitive, host always lower-cased; "user" or "user@host". Writes a NUL after it.
 * EINVAL: empty user, bad escape, an embedded NUL or control character. ENAMETOOLONG: over
 * P2P_NAME_MAX. */
int p2p_name_make(char out[P2P_NAME_MAX + 1], size_t *outlen, const char *user, size_t userlen,
		  const char *host, size_t hostlen, bool case_sensitive);

/* Is this (from a socket, say) a name that p2p_name_make could have made? */
bool p2p_name_valid(const char *name, size_t len);

#endif
