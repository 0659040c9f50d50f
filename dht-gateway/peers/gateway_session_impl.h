/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the sessions share: gateway_session.c has the table and what is due,
 * gateway_session_open.c the opening of one, gateway_session_serve.c what others ask for. */
#ifndef P2PSIP_GATEWAY_SESSION_IMPL_H
#define P2PSIP_GATEWAY_SESSION_IMPL_H

#include <sys/queue.h>
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/peers/gateway_session.h"
#include "lib/model/userset.h"

struct event;
struct gw_session_link;
struct gw_session_call;
struct gw_session_look;

/* Kamailios whose calls over one session are counted. */
#define GW_SESSION_KAMAILIOS_MAX 8

/* Beside a session in the table, by its id. */
struct gw_session_side {
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX]; /* of the other peer */
	unsigned int n_gateways, n_kamailios;
	struct {
		uint64_t id;
		uint32_t calls;
	} kamailio[GW_SESSION_KAMAILIOS_MAX];
};

struct gw_sessions {
	struct gw *gw;
	struct p2p_sessions *table;
	struct gw_map *sides; /* session id -> struct gw_session_side */
	struct gw_map *links; /* HIT -> struct gw_session_link: of those that are being opened */
	struct event *timer;
	uint64_t instance; /* of this process, told to others */
	LIST_HEAD(, gw_session_call) calls;
	LIST_HEAD(, gw_session_look) looks;
	bool stopping;
};

/* The timer is set to what is due next. */
void gw_session_arm(struct gw_sessions *s);
/* Out of the table; the modules are told, and the log with the reason (NULL: neither, it never was
 * open). */
void gw_session_forget(struct gw_sessions *s, const struct p2p_session_id *id, const char *reason);
/* The other side will use it for the calls that run over it only: so do we. */
void gw_session_retired_there(struct gw_sessions *s, const struct p2p_session_id *id);
/* The other side is asked to close it, whatever runs over it; no matter what it answers. */
void gw_session_tell_closed(struct gw_sessions *s, const struct p2p_session_id *id,
			    const struct p2p_hit *hit);
/* One is open: told to the modules and the log, and those of a former life of that gateway end. */
void gw_session_opened(struct gw_sessions *s, const struct p2p_session_id *id);
/* To be made before the entry, and taken away with gw_session_forget. */
int gw_session_side_new(struct gw_sessions *s, const struct p2p_session_id *id,
			const struct p2p_locator *gateway, unsigned int n);
/* Both sides' agreement as a session with its keys. initiator: ours is the initiator's nonce. */
int gw_session_make(const struct gw *gw, const struct p2p_session_id *id, const struct p2p_hit *hit,
		    bool initiator, const uint8_t initiator_nonce[P2P_OPP_NONCE_LEN],
		    const uint8_t responder_nonce[P2P_OPP_NONCE_LEN],
		    const struct p2p_agreed *agreed, const struct p2p_offer *ours,
		    const struct p2p_offer *theirs, uint64_t instance, uint32_t lifetime_s,
		    struct p2p_session *session, struct p2p_sessions_terms *terms);
/* An entry as the modules want it. */
void gw_session_export(const struct gw_sessions *s, const struct p2p_sessions_entry *e,
		       struct p2p_session *out);

/* gateway_session_open.c */
int gw_session_links_new(struct gw_sessions *s);
void gw_session_links_free(struct gw_sessions *s);
/* What is known of why a session cannot be had is forgotten. */
void gw_session_links_clear(struct gw_sessions *s);

#endif
