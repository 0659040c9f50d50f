/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The overlay secret: whoever holds it is a member of a closed overlay. A file of one line, 32
 * random bytes in hexadecimal (16 to 64 bytes are read, in hexadecimal or base64). */
#ifndef P2PSIP_GATEWAY_SECRET_H
#define P2PSIP_GATEWAY_SECRET_H

#include <stddef.h>
#include <stdint.h>
#include "lib/proto/key.h"

struct gw_secret {
	uint8_t b[P2P_SECRET_MAX];
	size_t len;
};

/* Make a file that must not exist yet (EEXIST), mode 0600. 0 or errno, with the reason in err. */
int gw_secret_create(const char *path, char *err, size_t errlen);
/* EPERM: mode or owner; EINVAL: not 16 to 64 bytes of hexadecimal or base64. */
int gw_secret_load(struct gw_secret *secret, const char *path, char *err, size_t errlen);
/* The same from text. 0 or EINVAL. */
int gw_secret_parse(struct gw_secret *secret, const char *text, size_t len);

/* The DHT's network id: nodes of other overlays are not talked to. Never 0 (the public network). */
uint32_t gw_secret_network(const struct p2p_overlay_id *overlay);

#endif
