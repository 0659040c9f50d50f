/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two sockets: gateway_resp.c and its parts have the modules' commands, gateway_admin.c and its
 * parts the operator's.
 * docs/resp.md describes both. */
#ifndef P2PSIP_GATEWAY_RESP_H
#define P2PSIP_GATEWAY_RESP_H

#include "dht-gateway/gateway.h"
#include "lib/io/resp_server.h"

struct gw_resp;
struct gw_admin;

int gw_resp_new(struct gw_resp **rp, struct gw *gw, char *err, size_t errlen);
void gw_resp_free(struct gw_resp *r);
/* Brings the clients' figures in gw->metrics up to date. */
void gw_resp_metrics(struct gw_resp *r);

struct gw_admin_hooks {
	void (*reload)(void *arg);
	void (*stop)(void *arg);
	int (*log_level)(const char *name, void *arg); /* 0 or EINVAL */
	void *arg;
};

int gw_admin_new(struct gw_admin **ap, struct gw *gw, struct gw_resp *resp,
		 const struct gw_admin_hooks *hooks, char *err, size_t errlen);
void gw_admin_free(struct gw_admin *a);

/* gateway_info.c: INFO's text, for both; malloced. NULL: no memory. */
char *gw_info_text(struct gw *gw);

/* RULES, on both sockets. */
void gw_rules_reply(struct gw *gw, struct resp_request *req);
/* Users' enrolment on the administrator's socket (gateway_auth_admin.c); arg is the gw_admin, which
 * has the gw first. */
resp_command_h gw_auth_admin_user, gw_auth_admin_peer, gw_auth_admin_rules, gw_auth_admin_refresh,
	gw_auth_admin_list;

/* For docs/resp.md and its test; ended by name NULL. */
extern const struct resp_command gw_resp_commands[];
extern const struct resp_command gw_admin_commands[];

#endif
