/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The operator's commands, by what they are about: gateway_admin.c has the table and what is about
 * the gateway itself; the others have files of their own. */
#ifndef P2PSIP_GATEWAY_ADMIN_H
#define P2PSIP_GATEWAY_ADMIN_H

#include "dht-gateway/gateway_resp.h"

#define GW_PAGE_DEFAULT 100
#define GW_PAGE_MAX 1000

/* Of a handler's arg. */
struct gw *gw_admin_gw(void *arg);
/* [cursor [count]]; false: it was replied to. */
bool gw_args_page(struct resp_request *req, int argc, const struct resp_arg *argv, uint64_t *cursor,
		  uint64_t *count);

/* Two elements of an array: key and value. */
void gw_pair_str(struct resp_request *req, const char *key, const char *value);
void gw_pair_u64(struct resp_request *req, const char *key, uint64_t value);
void gw_pair_hit(struct resp_request *req, const char *key, const struct p2p_hit *hit);

/* gateway_admin_lists.c */
resp_command_h gw_admin_users, gw_admin_records, gw_admin_peers, gw_admin_sessions, gw_admin_lookup;

/* gateway_admin_enrol.c */
resp_command_h gw_admin_invite, gw_admin_members, gw_admin_revoke;

#endif
