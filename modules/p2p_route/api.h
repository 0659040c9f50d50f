/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What p2p_route offers to the other p2p modules: who is a peer, and branches towards peers. */
#ifndef P2P_ROUTE_API_H
#define P2P_ROUTE_API_H

#include <string.h>
#include "core/sr_module.h"
#include "core/str.h"
#include "lib/model/candidate.h"

enum p2p_peer_status {
	P2P_PEER_NO = 0,     /* a phone or a stranger */
	P2P_PEER_VERIFIED,   /* configured, or the address is in the verified record it names */
	P2P_PEER_UNVERIFIED, /* names a peer record that has to be fetched first */
};

/* A branch towards a peer carries this as its ruid: tm keeps a branch's ruid, so that branch
 * routes and replies know it again. */
#define P2P_RUID_PREFIX "p2p:"
#define P2P_RUID_PREFIX_LEN (sizeof(P2P_RUID_PREFIX) - 1)

static inline int p2p_ruid_is_peer(const str *ruid)
{
	return ruid != NULL && ruid->s != NULL && ruid->len > (int)P2P_RUID_PREFIX_LEN
		   && memcmp(ruid->s, P2P_RUID_PREFIX, P2P_RUID_PREFIX_LEN) == 0;
}

typedef struct p2p_route_api {
	/* Who sent this request; hit is written when it names one (may be NULL). */
	enum p2p_peer_status (*peer_status)(struct sip_msg *msg, struct p2p_hit *hit);
	/* Remember that the record of hit has been fetched and verified, or could not be. */
	enum p2p_peer_status (*peer_verified)(struct sip_msg *msg, const struct p2p_candidate *peer);
	/* Add a branch towards a peer. aor: the Request-URI it gets (as dialled). first: becomes the
	 * message's own R-URI and dst_uri, else a further branch. 0 or -1. */
	int (*branch_add)(struct sip_msg *msg, const str *aor, const struct p2p_candidate *peer, int first);
	/* May this peer be tried now (1), or did it just fail (0)? */
	int (*peer_usable)(const struct p2p_hit *hit);
} p2p_route_api_t;

typedef int (*p2p_route_bind_f)(p2p_route_api_t *api);

static inline int p2p_route_load_api(p2p_route_api_t *api)
{
	p2p_route_bind_f bind = (p2p_route_bind_f)find_export("p2p_route_bind", 1, 0);

	if(bind == NULL || bind(api) < 0) {
		LM_ERR("module p2p_route must be loaded before this one\n");
		return -1;
	}
	return 0;
}

#endif
