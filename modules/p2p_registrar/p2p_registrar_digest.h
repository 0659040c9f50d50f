/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The digest that a phone sent (RFC 7616, RFC 8760), reduced to what its check needs: so it can be
 * checked later, in another process, without the message. */
#ifndef P2P_REGISTRAR_DIGEST_H
#define P2P_REGISTRAR_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/parser/digest/digest_parser.h"
#include "lib/proto/enrolment.h"

/* ":nonce:nc:cnonce:qop:HA2"; longer parameters are none that we have asked for */
#define REG_DIGEST_TAIL_MAX 512

struct reg_digest {
	enum p2p_digest digest;
	uint16_t len;
	char tail[REG_DIGEST_TAIL_MAX];
	char response[2 * P2P_HA1_SHA256_LEN]; /* lower case */
};

/* 0; ENOTSUP: by an algorithm that is not one of digests; EINVAL: malformed, too long, auth-int. */
int reg_digest_take(struct reg_digest *d, const dig_cred_t *cred, const str *method,
		    uint8_t digests);
/* Is it by one who knows the password? realm: the one that was asked for. hex, if not NULL: the HA1
 * in hexadecimal, for others (at least 65 bytes; to be cleansed). An auth without HA1s, or of
 * another realm, takes as long, and is false. */
bool reg_digest_check(const struct reg_digest *d, const struct p2p_auth *auth, const char *realm,
		      char *hex);

#endif
