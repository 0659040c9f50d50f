// SPDX-License-Identifier: GPL-2.0-or-later
/* p2p_registrar: what scripts in Lua, Python and others call. Plain strings come; routes are
 * functions of the script, found when they are named. */
#include "core/kemi.h"
#include "p2p_registrar.h"

static int ki_save(sip_msg_t *msg, str *table, int flags)
{
	return reg_save_publish(msg, table, flags, NULL, NULL);
}

static int ki_save_uri(sip_msg_t *msg, str *table, int flags, str *uri)
{
	return reg_save_publish(msg, table, flags, uri, NULL);
}

static int ki_save_route(sip_msg_t *msg, str *table, int flags, str *uri, str *route)
{
	struct reg_route_ref ref;

	if (reg_route_find(route->s, &ref) < 0)
		return -1;
	return reg_save_publish(msg, table, flags, uri, &ref);
}

static int ki_unregister(sip_msg_t *msg, str *table, str *uri)
{
	return reg_unregister(msg, table, uri, NULL);
}

static int ki_registered(sip_msg_t *msg, str *table)
{
	return reg_registered(msg, table, NULL, 0, 0);
}

static int ki_registered_uri(sip_msg_t *msg, str *table, str *uri)
{
	return reg_registered(msg, table, uri, 0, 0);
}

static int ki_registered_flags(sip_msg_t *msg, str *table, str *uri, int flags)
{
	return reg_registered(msg, table, uri, flags, 0);
}

static int ki_lookup(sip_msg_t *msg, str *table)
{
	return reg_lookup_now(msg, table, NULL);
}

static int ki_lookup_route_uri(sip_msg_t *msg, str *table, str *route, str *uri)
{
	struct reg_route_ref ref;

	if (reg_route_find(route->s, &ref) < 0)
		return -1;
	return reg_lookup_route(msg, table, uri, &ref);
}

static int ki_lookup_route(sip_msg_t *msg, str *table, str *route)
{
	return ki_lookup_route_uri(msg, table, route, NULL);
}

static int ki_next(sip_msg_t *msg, str *table, str *route)
{
	struct reg_route_ref ref;

	if (reg_route_find(route->s, &ref) < 0)
		return -1;
	return reg_next(msg, table, &ref);
}

static int ki_authenticate_flags(sip_msg_t *msg, str *route, int flags)
{
	struct reg_route_ref ref;

	if (flags < 0 || flags > REG_AUTH_FLAGS || reg_route_find(route->s, &ref) < 0) {
		LM_ERR("authenticate: no such route, or flags\n");
		return -1;
	}
	return reg_authenticate(msg, &ref, flags);
}

static int ki_authenticate(sip_msg_t *msg, str *route)
{
	return ki_authenticate_flags(msg, route, 0);
}

static int ki_challenge(sip_msg_t *msg)
{
	return reg_auth_ready() ? reg_auth_challenge(msg, false) : -1;
}

#define S SR_KEMIP_STR
#define I SR_KEMIP_INT
#define N SR_KEMIP_NONE
#define KEMI(name, f, a, b, c, d)                                                                  \
	{                                                                                          \
		str_init("p2p_registrar"), str_init(name), SR_KEMIP_INT, f,                        \
		{                                                                                  \
			a, b, c, d, N, N                                                           \
		}                                                                                  \
	}

sr_kemi_t reg_kemi[] = {
	KEMI("save", ki_save, S, I, N, N),
	KEMI("save_uri", ki_save_uri, S, I, S, N),
	KEMI("save_route", ki_save_route, S, I, S, S),
	KEMI("unregister", ki_unregister, S, S, N, N),
	KEMI("unregister_ruid", reg_unregister, S, S, S, N),
	KEMI("registered", ki_registered, S, N, N, N),
	KEMI("registered_uri", ki_registered_uri, S, S, N, N),
	KEMI("registered_flags", ki_registered_flags, S, S, I, N),
	KEMI("registered_action", reg_registered, S, S, I, I),
	KEMI("lookup", ki_lookup, S, N, N, N),
	KEMI("lookup_uri", reg_lookup_now, S, S, N, N),
	KEMI("lookup_route", ki_lookup_route, S, S, N, N),
	KEMI("lookup_route_uri", ki_lookup_route_uri, S, S, S, N),
	KEMI("lookup_to_dset", reg_lookup_to_dset, S, S, N, N),
	KEMI("lookup_branches", reg_lookup_branches, S, N, N, N),
	KEMI("fetch_contacts", reg_fetch_contacts, S, S, S, N),
	KEMI("free_contacts", reg_free_contacts, S, N, N, N),
	KEMI("next", ki_next, S, S, N, N),
	KEMI("authenticate", ki_authenticate, S, N, N, N),
	KEMI("authenticate_flags", ki_authenticate_flags, S, I, N, N),
	KEMI("challenge", ki_challenge, N, N, N, N),
	KEMI("consume_credentials", reg_auth_consume, N, N, N, N),
	KEMI("reply", reg_reply, N, N, N, N),
	KEMI("reply_unavailable", reg_reply_unavailable, S, N, N, N),
	{{0, 0}, {0, 0}, 0, NULL, {N, N, N, N, N, N}},
};
