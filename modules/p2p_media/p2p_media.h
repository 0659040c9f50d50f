/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the module's own files share. */
#ifndef P2P_MEDIA_H
#define P2P_MEDIA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include "core/sr_module.h"
#include "core/str.h"
#include "core/parser/msg_parser.h"
#include "modules/tm/tm_load.h"
#include "modules/rr/api.h"
#include "lib/base/bytes.h"
#include "modules/p2p_media/p2p_media_sdp.h"
#include "modules/p2p_route/api.h"

#define P2P_MEDIA_NAME "p2p_media"

enum p2p_media_anchor { P2P_MEDIA_ALWAYS = 0, P2P_MEDIA_NEVER, P2P_MEDIA_NAT };

/* Settings and bound APIs; written before forking only. */
struct p2p_media_config {
	str relay_socket;
	int timeout_ms;
	int breaker_failures, breaker_open_ms;
	enum p2p_media_anchor anchor;
	str rr_param;
	str ice, flags;
	int nat_bflag;	    /* -1: none */
	uint8_t peer_media; /* enum p2p_media towards peers with which there is no session; 0: any
			     */
	const char *phone_media; /* what phones are offered that a peer calls: the relay's word */
	int srtp_bflag, dtls_bflag; /* branches to be offered that instead; -1: none */
};
extern struct p2p_media_config p2p_media_config;
extern struct tm_binds p2p_media_tm;
extern struct rr_binds p2p_media_rr;
extern p2p_route_api_t p2p_media_route; /* peer_status NULL: p2p_route is not loaded */

/* One of the two sides of a call. */
struct p2p_media_side {
	bool overlay;	/* another peer, else a phone */
	uint8_t media;	/* enum p2p_media: how media goes to that peer; 0: not said */
	uint8_t family; /* of its addresses, 4 or 6; 0: not said, or within a call */
};

/* --- relay: p2p_media_relay.c --------------------------------------------------------------- */
/* One SDP on its way through the relay. */
struct p2p_media_exchange {
	bool answer;
	uint64_t handle;
	str callid;
	str offerer_tag, answerer_tag;	/* answerer_tag empty: not known yet */
	struct p2p_media_side from, to; /* this SDP's sender and receiver */
	const char *transport; /* of the receiver's leg, the relay's word; NULL: not said */
	bool refused;	       /* its transport was not as it must be */
	str sdp;
};

/* In mod_init: shared memory and the instance id. 0 or -1. */
int p2p_media_relay_init(void);
void p2p_media_relay_destroy(void);
/* Closes this process' connection. */
void p2p_media_relay_close(void);
/* One round trip, at most timeout_ms. 0 and *out (pkg, the caller frees); ETIMEDOUT or
 * EHOSTUNREACH: no relay, or no rtpengine; EBUSY; ENOENT: the call is not known; EINVAL: the SDP
 * was not accepted; ENOMEM, EPROTO. */
int p2p_media_relay_exchange(const struct p2p_media_exchange *x, str *out);
/* Sends and does not wait. */
void p2p_media_relay_delete(uint64_t handle, const str *callid);

struct p2p_media_relay_state {
	const char *breaker; /* closed, open, probing */
	unsigned int failures;
	unsigned int open_ms_left;
};
void p2p_media_relay_state(struct p2p_media_relay_state *state);
/* Try the relay again at once. */
void p2p_media_relay_reset(void);

/* --- sessions: p2p_media_session.c ---------------------------------------------------------- */
/* What a call's Record-Route parameter says: which handle, the caller's and the callee's side, and
 * who is the caller. */
struct p2p_media_ticket {
	uint64_t handle;
	struct p2p_media_side caller, callee;
	uint32_t caller_hash;
};
/* Short, since it is in each Record-Route, and a datagram that has to be split gets lost more
 * often: a letter for both sides, then handle and caller_hash (24 bits) as base64url. */
#define P2P_MEDIA_TICKET_BYTES (8 + 3)
#define P2P_MEDIA_TICKET_LEN (1 + P2P_BASE64URL_LEN(P2P_MEDIA_TICKET_BYTES))
void p2p_media_ticket_print(const struct p2p_media_ticket *t, char text[P2P_MEDIA_TICKET_LEN + 1]);
int p2p_media_ticket_parse(struct p2p_media_ticket *t, const char *s, size_t len);

enum p2p_media_branch_state {
	P2P_MEDIA_FREE = 0,
	P2P_MEDIA_RESERVED, /* has a handle; the relay knows nothing of it */
	P2P_MEDIA_OFFERED,  /* the relay may hold media for it: must be deleted */
	P2P_MEDIA_DELETED,
};

/* One branch of a transaction. shm. handle and sides are written by the process that runs the
 * branch route, before state leaves FREE; state changes only by compare-and-swap. */
struct p2p_media_branch {
	int state;
	uint64_t handle;
	struct p2p_media_side from, to; /* the request's sender and receiver */
};

/* What is known of one transaction. shm; made by whoever handles the request, freed by tm with the
 * transaction. Only the branches' states change once the request has been relayed. */
#define P2P_MEDIA_NO_WINNER (-1)
struct p2p_media_session {
	TAILQ_ENTRY(p2p_media_session) all; /* under the list's lock */
	unsigned int serial;
	bool dialog; /* an in-dialog request: branch[0] is the call's own handle, not ours to end */
	bool has_sdp; /* the request brought one: its replies bring answers */
	bool whole;   /* offered before forking: branch[0] holds for all */
	int failed;   /* the p2p_media_result of a branch that could not be anchored, else 0 */
	/* the SDP's transport and the one it should have had (0: that was not the reason) */
	uint8_t refused_found, refused_want;
	bool anchored;	/* a branch could */
	bool settled;	/* its transaction is at its end: what is left belongs to the dialog */
	int winner;	/* the branch whose 2xx came first, -2: a 2xx of our own; atomic */
	unsigned int n; /* branches there is room for */
	uint32_t caller_hash;
	str callid; /* follows the branches */
	struct p2p_media_branch branch[];
};

int p2p_media_session_init(void);
void p2p_media_session_destroy(void);
/* The session of the transaction that this message belongs to, or NULL. */
struct p2p_media_session *p2p_media_session_find(struct sip_msg *msg);
/* The same, made if need be (requests only). NULL: no memory. */
struct p2p_media_session *p2p_media_session_get(struct sip_msg *msg);
/* A branch's handle; deterministic within a transaction. Salted, so that nobody can guess it. */
uint64_t p2p_media_handle(struct sip_msg *msg, int branch);
/* The caller's tag, hashed. */
uint32_t p2p_media_tag_hash(const str *tag);
/* Move a branch on; false when it was not in that state any more. */
bool p2p_media_branch_move(struct p2p_media_branch *b, int from, int to);
/* Release a branch's media, once. */
void p2p_media_branch_end(struct p2p_media_session *s, unsigned int branch);
/* Release all but `winner` (-1: all). */
void p2p_media_session_end(struct p2p_media_session *s, int winner);

/* For RPC: calls f for up to max sessions whose serial is above `after`, newest last; under the
 * list's lock, so f may only copy. */
typedef void p2p_media_session_visit_f(const struct p2p_media_session *s, void *arg);
unsigned int p2p_media_session_visit(unsigned int after, unsigned int max,
				     p2p_media_session_visit_f *f, void *arg);

/* --- transport: p2p_media_transport.c ------------------------------------------------------- */
int p2p_media_transport_init(void);
void p2p_media_transport_destroy(void);
/* How media goes between this server and the peer that the message came from or goes to: that
 * side's media and family, 0 where nothing says. */
void p2p_media_transport_of(struct sip_msg *msg, struct p2p_media_side *peer);
/* The family of the phone that a request comes from, or goes to (0: it has a name). */
uint8_t p2p_media_family_from(const struct sip_msg *msg);
uint8_t p2p_media_family_to(struct sip_msg *msg);
/* Is an SDP with this media (struct p2p_media_sdp) as it is wanted (0: any)? */
bool p2p_media_transport_fits(uint8_t found, uint8_t want);
/* Must media be anchored to be as it is wanted, this SDP (NULL: it comes later) being given? */
bool p2p_media_transport_needs(uint8_t want, const struct p2p_media_sdp *sdp);
/* The relay's word for the leg of a phone that a peer's offer goes to. */
const char *p2p_media_transport_phone(void);
/* Counted, and logged once a minute and source. ours: it is what would have gone to a peer. */
void p2p_media_transport_refused(struct sip_msg *msg, uint8_t found, uint8_t want, bool ours);
/* 488 with the reason that a Reason header (RFC 3326) tells. A p2p_media_result. */
int p2p_media_refuse(struct sip_msg *msg);

/* --- policy: p2p_media_policy.c ------------------------------------------------------------- */
/* Shall this new call's media be anchored? sdp NULL: the offer comes later. */
bool p2p_media_policy_wants(struct sip_msg *msg, const struct p2p_media_sdp *sdp, bool from_overlay,
			    bool to_overlay);

/* --- bodies: p2p_media_body.c ---------------------------------------------------------------- */
/* A message's SDP, in its own buffer. */
struct p2p_media_body {
	bool there;
	str sdp;
	struct p2p_media_sdp info;
};

/* 0 (there or not), or a p2p_media_result. */
int p2p_media_body_find(struct sip_msg *msg, struct p2p_media_body *b);
/* Takes fresh (pkg), whatever comes of it. P2P_MEDIA_DONE or P2P_MEDIA_ERROR. */
int p2p_media_body_replace(struct sip_msg *msg, const str *old, str *fresh);
/* A provisional reply goes on without an SDP that would lead the caller past the relay: an
 * unreliable one may do so (RFC 6337 section 3.1.1: the answer comes in the 2xx), a reliable one
 * may not. */
void p2p_media_body_drop(struct sip_msg *msg);

/* --- messages: p2p_media_exchange.c --------------------------------------------------------- */
/* What the script functions do, whatever the route: 1 done, or nothing to do; -1 must be anchored
 * and cannot be; -2 the SDP cannot be understood; -3 internal. */
enum p2p_media_result {
	P2P_MEDIA_DONE = 1,
	P2P_MEDIA_UNAVAILABLE = -1,
	P2P_MEDIA_BAD_SDP = -2,
	P2P_MEDIA_ERROR = -3,
};
enum p2p_media_role { P2P_MEDIA_AUTO = 0, P2P_MEDIA_OFFER, P2P_MEDIA_ANSWER };
int p2p_media_handle_message(struct sip_msg *msg, enum p2p_media_role role);
int p2p_media_release(struct sip_msg *msg);
/* Did anchoring fail for this transaction, with no branch left? 1, 2 (because of the SDP), or -1.
 */
int p2p_media_failed(struct sip_msg *msg);

/* --- dialog: p2p_media_dialog.c ------------------------------------------------------------- */
/* Binds to the dialog module when it is loaded. */
int p2p_media_dialog_init(void);
/* A call was answered: tell its dialog the handle. */
void p2p_media_dialog_answered(struct sip_msg *reply, uint64_t handle);

/* --- counters and RPC: p2p_media_stats.c, p2p_media_rpc.c ----------------------------------- */
enum p2p_media_counter {
	P2P_MEDIA_OFFERS = 0,
	P2P_MEDIA_ANSWERS,
	P2P_MEDIA_DELETES,
	P2P_MEDIA_BYPASSED,
	P2P_MEDIA_FAILED_UNAVAIL,
	P2P_MEDIA_FAILED_TIMEOUT,
	P2P_MEDIA_FAILED_BUSY,
	P2P_MEDIA_FAILED_UNKNOWN,
	P2P_MEDIA_FAILED_REFUSED,
	P2P_MEDIA_REFUSED_TRANSPORT,
	P2P_MEDIA_BAD_BODIES,
	P2P_MEDIA_BREAKER_OPENED,
	P2P_MEDIA_DELETES_DROPPED,
	P2P_MEDIA_COUNTERS
};
int p2p_media_stats_init(void);
void p2p_media_count(enum p2p_media_counter counter);
unsigned long p2p_media_counter_get(enum p2p_media_counter counter);
const char *p2p_media_counter_name(enum p2p_media_counter counter);
unsigned int p2p_media_session_count(void);
int p2p_media_rpc_init(void);

/* Milliseconds on a clock that never goes back. */
uint64_t p2p_media_now_ms(void);

#endif
