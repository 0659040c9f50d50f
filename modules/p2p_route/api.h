/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What p2p_route offers to the other p2p modules: who is a peer, and branches towards peers. */
#ifndef P2P_ROUTE_API_H
#define P2P_ROUTE_API_H

#include <string.h>
#include "core/sr_module.h"
#include "core/str.h"
#include "lib/model/candidate.h"
#include "lib/model/session.h"

enum p2p_peer_status {
	P2P_PEER_NO = 0,     /* a phone or a stranger */
	P2P_PEER_VERIFIED,   /* configured, or signed for an open session */
	P2P_PEER_UNVERIFIED, /* signed for a session that the gateway has to be asked about */
	P2P_PEER_DENIED,     /* names a peer, and is not signed, or not well */
	P2P_PEER_NOSESSION,  /* signed for a session that nobody knows here: the sender is told */
	P2P_PEER_LOOP,	     /* names this very peer: the request came back */
	P2P_PEER_TOOMANY,    /* more hops between peers than max_hops */
};

/* A branch towards a peer carries this as its ruid: tm keeps a branch's ruid, so that branch
 * routes and replies know it again. */
#define P2P_RUID_PREFIX "p2p:"
#define P2P_RUID_PREFIX_LEN (sizeof(P2P_RUID_PREFIX) - 1)

static inline int p2p_ruid_is_peer(const str *ruid)
{
	return ruid != NULL && ruid->s != NULL && ruid->len > (int)P2P_RUID_PREFIX_LEN &&
	       memcmp(ruid->s, P2P_RUID_PREFIX, P2P_RUID_PREFIX_LEN) == 0;
}

/* The HIT that a branch's ruid names. 0, or -1 when it is no branch towards a peer. */
static inline int p2p_ruid_hit(const str *ruid, struct p2p_hit *hit)
{
	if (!p2p_ruid_is_peer(ruid))
		return -1;
	return p2p_hit_parse(hit, ruid->s + P2P_RUID_PREFIX_LEN,
			     (size_t)ruid->len - P2P_RUID_PREFIX_LEN) == 0
		       ? 0
		       : -1;
}

struct cell; /* tm's transaction */

/* How a branch towards a peer ended, or stands. */
enum p2p_branch_state {
	P2P_BRANCH_NONE = 0, /* not a branch towards a peer (a phone's, or none at all) */
	P2P_BRANCH_OPEN,     /* no final reply yet */
	P2P_BRANCH_REPLIED,  /* the peer sent a final reply, or it answered before time ran out */
	P2P_BRANCH_STALE,    /* the peer itself said 404: the user is not there */
	P2P_BRANCH_REFUSED,  /* the peer does not know the session; the gateway has been told */
	P2P_BRANCH_DEAD,     /* the peer never answered, or could not be sent to */
};

typedef struct p2p_route_api {
	/* Who sent this request; hit is written when it names one (may be NULL). */
	enum p2p_peer_status (*peer_status)(struct sip_msg *msg, struct p2p_hit *hit);
	/* The same for whoever acts upon it, once per request: counted. */
	enum p2p_peer_status (*peer_judge)(struct sip_msg *msg, struct p2p_hit *hit);
	/* The session that an unverified request names: what the gateway is to be asked about. 0,
	 * or -1: it names none. */
	int (*peer_session)(struct sip_msg *msg, struct p2p_session_id *id);
	/* The gateway has answered about it: judged again, and P2P_PEER_NOSESSION if it is still
	 * unknown. A refusal is logged. */
	enum p2p_peer_status (*peer_verified)(struct sip_msg *msg);
	/* Add a branch towards a peer: over the session with it, to the address agreed there; by
	 * its record only where its gateway does not speak of sessions. aor: the Request-URI it
	 * gets (as dialled). first: becomes the message's own R-URI and dst_uri, else a further
	 * branch. 0 or -1 (no session, no address of the peer that this server has a socket for, or
	 * no branch left). */
	int (*branch_add)(struct sip_msg *msg, const str *aor, const struct p2p_candidate *peer,
			  int first);
	/* May this peer be tried now (1), or did it just fail (0)? */
	int (*peer_usable)(const struct p2p_hit *hit);
	/* The session that a request's branch, or a request or reply within a call with a peer's
	 * user, runs over (its keys are not in the copy). 0, or -1: none, or no peer's. */
	int (*branch_session)(struct sip_msg *msg, struct p2p_session *session);
	/* State of branch b of a transaction; hit is written unless P2P_BRANCH_NONE. Under the
	 * transaction's reply lock (failure routes) or before its first forwarding. */
	enum p2p_branch_state (*branch_state)(const struct cell *t, int b, struct p2p_hit *hit);
	/* A peer did not answer: not to be used for a while. Logs once per change. */
	void (*peer_failed)(const struct p2p_hit *hit, const char *what);
	/* Take headers out of a request as it came in that only peers may set (P2P-*). */
	void (*headers_strip)(struct sip_msg *msg);
} p2p_route_api_t;

typedef int (*p2p_route_bind_f)(p2p_route_api_t *api);

static inline int p2p_route_load_api(p2p_route_api_t *api)
{
	p2p_route_bind_f bind =
		(p2p_route_bind_f)(void (*)(void))find_export("p2p_route_bind", 1, 0);

	if (bind == NULL || bind(api) < 0) {
		LM_ERR("module p2p_route must be loaded before this one\n");
		return -1;
	}
	return 0;
}

#endif
