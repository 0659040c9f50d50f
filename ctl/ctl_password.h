/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Passwords and what the digest (RFC 7616) makes of them. */
#ifndef P2PSIP_CTL_PASSWORD_H
#define P2PSIP_CTL_PASSWORD_H

#include <stddef.h>
#include <stdint.h>
#include "lib/proto/enrolment.h"

#define CTL_PASSWORD_MAX 256

/* From the terminal, asked for twice and not shown; where standard input is none, its first line.
 * 0 or errno, with the reason in err. */
int ctl_password_read(char password[CTL_PASSWORD_MAX], const char *name, char *err, size_t errlen);

/* HA1 of a user of the overlay: its user part, without what follows the last @. 0 or EIO. */
int ctl_password_ha1(const char *name, const char *realm, const char *password,
		     enum p2p_digest digest, uint8_t *ha1);

/* HA1s that another registrar has, from standard input: a line of 32 hexadecimal digits (MD5), one
 * of 64 (SHA-256), or both; ha1 as p2p_digests_find() says of both. 0 or errno, as above. */
int ctl_password_read_ha1(uint8_t *digests, uint8_t ha1[P2P_HA1_MAX], char *err, size_t errlen);

#endif
