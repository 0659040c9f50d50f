/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The overlay secret: whoever holds it is a member of a closed overlay, and finds records in any. A
 * file whose first line is the secret, 32 random bytes in hexadecimal (16 to 64 bytes are read, in
 * hexadecimal or base64). In an overlay with an authority the secret changes with each revocation;
 * further lines tell its generation and the secrets before it, by which records are still found for
 * a while (docs/enrolment.md). */
#ifndef P2PSIP_GATEWAY_SECRET_H
#define P2PSIP_GATEWAY_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/proto/key.h"

/* The one in use and those before it. */
#define GW_SECRETS_MAX 8
/* For so long after a change the one before is still looked under, too. */
#define GW_SECRET_OVERLAP_MS 900000

struct gw_secret {
	uint8_t b[P2P_SECRET_MAX];
	size_t len;
};

struct gw_secrets {
	unsigned int n; /* at least 1 */
	struct {
		struct gw_secret s;
		uint32_t generation; /* as many revocations came before it */
		uint64_t since_ms;   /* wall clock, when this peer began to use it; 0: at first */
	} e[GW_SECRETS_MAX];	     /* the newest first */
	/* The authority's own: made, but its revocation is not written yet. */
	bool has_next;
	struct gw_secret next;
};

/* Make a file that must not exist yet (EEXIST), mode 0600. 0 or errno, with the reason in err. */
int gw_secret_create(const char *path, char *err, size_t errlen);
/* EPERM: mode or owner; EINVAL: not 16 to 64 bytes of hexadecimal or base64. */
int gw_secret_load(struct gw_secret *secret, const char *path, char *err, size_t errlen);
/* The same from text. 0 or EINVAL. */
int gw_secret_parse(struct gw_secret *secret, const char *text, size_t len);
/* A new one of 32 random bytes. 0 or EIO. */
int gw_secret_random(struct gw_secret *secret);

/* All that the file says. */
int gw_secrets_load(struct gw_secrets *secrets, const char *path, char *err, size_t errlen);
/* At one stroke. 0 or errno. */
int gw_secrets_save(const struct gw_secrets *secrets, const char *path);
/* A newer one is in use from now on. EALREADY: it is not newer. */
int gw_secrets_push(struct gw_secrets *secrets, const struct gw_secret *secret, uint32_t generation,
		    uint64_t now_ms);
/* How many are to be looked under at this time: 1, or more for a while after a change. */
unsigned int gw_secrets_live(const struct gw_secrets *secrets, uint64_t now_ms);

/* The DHT's network id: nodes of other overlays are not talked to. Never 0 (the public network). */
uint32_t gw_secret_network(const struct p2p_overlay_id *overlay);

#endif
