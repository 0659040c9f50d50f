/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What p2psipctl writes into a peer's state folder before its gateway starts: an overlay's first
 * peer, or one that was let in. The overlay secret is written last: without it no gateway starts,
 * so that whatever was interrupted can simply be done again. Nothing that is there is overwritten.
 */
#ifndef P2PSIP_GATEWAY_SETUP_H
#define P2PSIP_GATEWAY_SETUP_H

#include <stddef.h>
#include <stdint.h>
#include "dht-gateway/keys/gateway_identity.h"
#include "lib/proto/opp.h"
#include "lib/proto/token.h"

#define GW_SETUP_IDENTITY "identity.pem"
#define GW_SETUP_SECRET "overlay.secret"

/* Loads the Host Identity of a state folder that has no overlay yet, and makes it (the folder, too)
 * if it is missing. EEXIST: the folder has an overlay secret. 0 or errno, with the reason in err;
 * so are the others. */
int gw_setup_identity(const char *state_dir, struct gw_identity **ip, char *err, size_t errlen);

/* A new overlay: its authority in a folder of its own, this peer its first member. */
int gw_setup_create(const char *state_dir, const char *authority_dir, int64_t days, uint64_t now_ms,
		    const struct gw_identity *identity, struct p2p_overlay_id *overlay, char *err,
		    size_t errlen);

/* Believes and writes what an authority's gateway has answered. host, port: where it was reached,
 * the host a numeric address without brackets. EBADMSG: it is not what the token says, or not for
 * this peer. */
int gw_setup_join(const char *state_dir, const struct gw_identity *identity,
		  const struct p2p_token *token, const struct p2p_opp_enrolled *enrolled,
		  const char *host, uint16_t port, uint64_t now_ms, char *err, size_t errlen);

#endif
