/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The modules' socket, for its own files only: gateway_resp.c has the connections, the others their
 * commands and what they are told. */
#ifndef P2PSIP_GATEWAY_RESP_IMPL_H
#define P2PSIP_GATEWAY_RESP_IMPL_H

#include <stdbool.h>
#include <stdint.h>
#include "dht-gateway/gateway_resp.h"
#include "dht-gateway/peers/gateway_session.h"

#define GW_RESP_ARGS_MAX 64
#define GW_RESP_RUN_LEN 8

struct gw_map;

struct gw_resp {
	struct gw *gw;
	struct resp_server *server;
	struct gw_map *instances;	   /* Kamailio's id -> its connections */
	char run[2 * GW_RESP_RUN_LEN + 1]; /* of this process */
};

/* Which Kamailio asks; 0 before its handshake. */
uint64_t gw_resp_kamailio(struct resp_request *req);

/* Arguments. False: the request has been answered with what is wrong. */
bool gw_resp_arg_name(struct resp_request *req, const struct resp_arg *a);
bool gw_resp_arg_u64(struct resp_request *req, const struct resp_arg *a, const char *what,
		     uint64_t *v);
bool gw_resp_arg_hit(struct resp_request *req, const struct resp_arg *a, struct p2p_hit *hit);
bool gw_resp_arg_deadline(struct resp_request *req, const struct resp_arg *a, uint64_t *ms);

/* Two elements of an array. */
void gw_resp_reply_pair(struct resp_request *req, const char *key, const char *value);
/* S in docs/resp.md, with its keys. */
void gw_resp_reply_session(struct resp_request *req, const struct p2p_session *s, bool retiring);

/* gateway_resp_users.c */
resp_command_h gw_resp_on_publish, gw_resp_on_withdraw, gw_resp_on_confirm, gw_resp_on_synced,
	gw_resp_on_serves;
/* gateway_resp_lookup.c */
resp_command_h gw_resp_on_route, gw_resp_on_peer, gw_resp_on_auth;
/* gateway_resp_sessions.c */
resp_command_h gw_resp_on_session, gw_resp_on_session_ids, gw_resp_on_peersession, gw_resp_on_used,
	gw_resp_on_refused;

/* gateway_resp_events.c: from here on clients are told of changes; not any more. */
void gw_resp_events_begin(struct gw_resp *r);
void gw_resp_events_end(struct gw_resp *r);

#endif
