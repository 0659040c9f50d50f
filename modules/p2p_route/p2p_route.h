/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to p2p_route: its settings, and what its files offer to each other. */
#ifndef P2P_ROUTE_H
#define P2P_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/counters.h"
#include "core/ip_addr.h"
#include "core/parser/msg_parser.h"
#include "core/str.h"
#include "modules/tm/tm_load.h"
#include "modules/p2p_usrloc/api.h"
#include "api.h"
#include "p2p_route_header.h"

#define ROUTE_PEERS_MAX 128  /* entries of the `peer` parameter */
#define ROUTE_SOCKETS_MAX 16 /* entries of the `socket` parameter */

/* The module's settings; written at start only. */
struct route_settings {
	int tcp_threshold;   /* bytes; 0: never prefer TCP for its size */
	int peer_timeout_ms; /* silence of a peer before a branch towards it fails */
	int probe_after_ms;  /* silence before a request other than INVITE has its peer probed */
	int peer_down_ms;    /* how long a failed peer is left alone */
	int max_hops;
	int max_peers;
	int replay_max; /* authenticators remembered */
	int calls_max;	/* calls over sessions that are counted */
	int call_max_s; /* a call in which nothing was heard for so long is over */
	struct net peer[ROUTE_PEERS_MAX];
	int n_peer;
	str advertise[P2P_CANDIDATE_URIS_MAX];
	int n_advertise;
	str socket[ROUTE_SOCKETS_MAX];
	int n_socket;
	str tls_certificate; /* the file of this peer's certificate, for TLS between peers */
};

extern struct route_settings route_settings;
extern p2p_usrloc_api_t route_ul;
extern tm_api_t route_tm;

/* _peer.c: who is a peer */
int route_peer_init(void);
void route_peer_destroy(void);
int route_peer_param(char *val); /* one entry of `peer`: 0 or -1 */
enum p2p_peer_status route_peer_status(struct sip_msg *msg, struct p2p_hit *hit);
/* The same, counted: once per request. */
enum p2p_peer_status route_peer_judge(struct sip_msg *msg, struct p2p_hit *hit);
enum p2p_peer_status route_peer_verified(struct sip_msg *msg);
/* Is this address in the operator's list? */
bool route_peer_configured(const struct ip_addr *ip);
/* A request that needs a peer's signature is refused: one line per source and minute. */
void route_peer_log_refused(struct sip_msg *msg, const struct p2p_hit *hit, const char *why);

/* _auth.c: signing and verifying */
enum route_auth {
	ROUTE_AUTH_GOOD = 0,
	ROUTE_AUTH_UNSIGNED, /* no session, time or authenticator, or not well-formed */
	ROUTE_AUTH_UNKNOWN,  /* the session: the gateway may know it */
	ROUTE_AUTH_CLOSED,
	ROUTE_AUTH_PEER, /* the session is another peer's */
	ROUTE_AUTH_FORGED,
	ROUTE_AUTH_TIME,
	ROUTE_AUTH_REPLAY,
	ROUTE_AUTH_CHANNEL, /* its session says TLS, and it came otherwise, or from somebody else */
};
int route_auth_init(void);
void route_auth_destroy(void);
/* Sign the request as it is to be sent (its Request-URI is final); h has HIT and hops, and gets the
 * rest. 0, or -1: it cannot be signed. */
int route_auth_sign(struct sip_msg *msg, struct route_header *h, const struct p2p_session *session);
/* The request as it was received. To be asked once for a request: the second time it is a replay,
 * unless there is a transaction. */
enum route_auth route_auth_verify(struct sip_msg *msg, const struct route_header *h);
/* As the end of a sentence about a request. */
const char *route_auth_text(enum route_auth result);

/* _dialog.c: requests within dialogs with a peer's user */
int route_dialog_init(void);
bool route_dialog_begins(struct sip_msg *msg); /* by its method */
/* A request to or from a peer leaves on a branch: have the dialog's requests find the peer again.
 */
void route_dialog_mark(struct sip_msg *msg, const struct p2p_hit *hit, bool peer_calls);
/* A request within a dialog, after loose_route(): verified where it comes from a peer, signed where
 * it goes to one. 1, or -1: refused (403; an ACK is dropped). */
int route_dialog(struct sip_msg *msg);
/* The session with the peer that a request within a dialog goes to. 0, or -1: to a phone, or there
 * is none. */
int route_dialog_session(struct sip_msg *msg, struct p2p_session *session);

/* _calls.c: which calls run over which session */
int route_calls_init(void);
void route_calls_destroy(void);
/* A 2xx to an INVITE has come. */
void route_calls_begin(struct sip_msg *reply, const struct p2p_hit *hit,
		       const struct p2p_session_id *session);
/* A request within a dialog: it lives, or with BYE it ends. */
void route_calls_seen(struct sip_msg *msg);
/* Ends what has been silent for too long, and finds the others a session that is open. */
void route_calls_sweep(void);
unsigned int route_calls_count(void);

/* _header_msg.c: the header between peers, in SIP messages */
void route_header_read(struct sip_msg *msg, struct route_header *h);
void route_header_strip(struct sip_msg *msg);
/* Add the header to a request on its way out, signed if there is a session. On a branch: msg is
 * tm's copy for it. */
void route_header_add(struct sip_msg *msg, const struct p2p_session *session);

/* _sockets.c: our own sockets */
int route_sockets_init(void);
int route_advertise_init(void);
/* The one that reaches this address over this transport; NULL: there is none. */
struct socket_info *route_socket_reaching(int proto, const struct ip_addr *to);
/* For a probe: an address of our own to put into From; 0 or -1. */
int route_own_uri(str *uri);

/* _next.c: branches towards peers */
int route_branch_add(struct sip_msg *msg, const str *aor, const struct p2p_candidate *peer,
		     int first);
enum p2p_branch_state route_branch_state(const struct cell *t, int b, struct p2p_hit *hit);
int route_peer_session(struct sip_msg *msg, struct p2p_session_id *id);
int route_branch_session(struct sip_msg *msg, struct p2p_session *session);
/* The socket of ours towards this address; NULL: there is none. */
struct socket_info *route_socket_for(const char *uri);

/* _from.c: the request is a peer's: its dialog is to lead back to that peer, and its call is
 * counted. */
void route_from_peer(struct sip_msg *msg);

/* _tls.c, _tls_accept.c: SIP over TLS between peers (p2p_route_tls.h) */
int route_tls_init(void);
void route_tls_destroy(void);
int route_tls_child(void); /* in PROC_MAIN */
bool route_tls_on(void);
/* Something is about to be sent over this session, which says TLS; the peer is proven now if need
 * be. 0; -1: nothing is sent there for a while; -2: it cannot be spoken to. */
int route_tls_use(const struct p2p_session *session);
/* Is nothing sent to it for a while, because it is not proven? That has been logged. */
bool route_tls_refused(const struct p2p_hit *hit);
/* A request that is signed for this session: did it come over the channel that was agreed, from the
 * peer itself? ROUTE_AUTH_GOOD or ROUTE_AUTH_CHANNEL; then the text says why, until the next one.
 */
enum route_auth route_tls_channel(struct sip_msg *msg, const struct p2p_session *session);
const char *route_tls_channel_text(void);

struct route_tls_info {
	struct p2p_hit hit;
	const char *state;
	char uri[P2P_CANDIDATE_URI_MAX];
	int con; /* the latest that was proven; 0: none */
	unsigned int held;
	uint64_t retry_in_ms;
};
/* The i-th peer spoken to over TLS (0: there is one; -1: past the end; 1: empty slot). */
int route_tls_info(int i, struct route_tls_info *info);

/* _health.c: which peers answer */
int route_health_init(void);
void route_health_destroy(void);
int route_peer_usable(const struct p2p_hit *hit);
void route_peer_failed(const struct p2p_hit *hit, const char *what);
void route_peer_heard(const struct p2p_hit *hit);
/* route_peer_usable() said yes, but no branch came of it. */
void route_health_unused(const struct p2p_hit *hit);
/* Remember where a peer is reached, and from which socket of ours (proto:address:port), for
 * probing. */
void route_health_seen(const struct p2p_hit *hit, const char *uri, const str *own_socket);

struct route_peer_info {
	struct p2p_hit hit;
	bool down;
	char uri[P2P_CANDIDATE_URI_MAX];
	uint64_t heard_ms_ago; /* UINT64_MAX: never */
	uint64_t retry_in_ms;
	unsigned int sent, failures, recoveries;
};
/* The i-th known peer (0: there is one; -1: past the end; 1: empty slot). */
int route_health_info(int i, struct route_peer_info *info);
int route_health_find(const struct p2p_hit *hit, struct route_peer_info *info);

/* _watch.c: branches that wait for a peer */
int route_watch_init(void);
void route_watch_destroy(void);
int route_watch_child(void); /* in PROC_MAIN: forks the watching process */
/* A request went out to the peer on branch b: watch whether it answers. */
void route_watch(const struct p2p_hit *hit, struct cell *t, unsigned int b, bool invite);

/* Mark in uac[].flags (tm uses the low bits only): the peer was heard of while a request other
 * than INVITE was waiting, so that its time-out is the phone's, not the peer's. */
#define ROUTE_UAC_ALIVE (1u << 30)
/* Likewise: the peer said that it does not know the session. */
#define ROUTE_UAC_REFUSED (1u << 29)

/* _rpc.c */
int route_rpc_init(void);

/* _stats.c */
enum route_counter {
	ROUTE_CNT_BRANCHES,
	ROUTE_CNT_TCP_SIZE,
	ROUTE_CNT_NO_ADDRESS,
	ROUTE_CNT_FROM_PEER,
	ROUTE_CNT_DENIED,
	ROUTE_CNT_LOOPS,
	ROUTE_CNT_PEER_DOWN,
	ROUTE_CNT_PEER_UP,
	ROUTE_CNT_PROBES,
	ROUTE_CNT_KNOCKS,
	ROUTE_CNT_REFUSED,
	ROUTE_CNT_STRIPPED,
	ROUTE_CNT_SIGNED,
	ROUTE_CNT_FORGED,
	ROUTE_CNT_REPLAYS,
	ROUTE_CNT_CLOCK,
	ROUTE_CNT_NOSESSION,
	ROUTE_CNT_NOT_SENT,
	ROUTE_CNT_CALLS_FULL,
	ROUTE_CNT_UNWATCHED,
	ROUTE_CNT_PEERS_FULL,
	ROUTE_CNT_TLS_PROVEN,
	ROUTE_CNT_TLS_UNPROVEN,
	ROUTE_CNT_TLS_NOT_SENT,
	ROUTE_CNT_TLS_HELD,
	ROUTE_CNT_TLS_DROPPED,
	ROUTE_CNT_CHANNEL,
	ROUTE_CNT_TLS_RELOADS,
	ROUTE_CNT_MAX
};
int route_stats_init(void);
void route_count(enum route_counter c);
const char *route_stats_name(int i);
long route_stats_value(int i);

#endif
