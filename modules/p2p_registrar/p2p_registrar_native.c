// SPDX-License-Identifier: GPL-2.0-or-later
/* p2p_registrar: what Kamailio's own script calls. Parameters are fixed up at start: a table
 * becomes a str and is made known to usrloc, a route is found. */
#include "core/mod_fix.h"
#include "core/sr_module.h"
#include "core/ut.h"
#include "modules/registrar/registrar.h"
#include "p2p_registrar.h"

/* an optional string parameter of the script; 0, or -1 when it is there and empty or broken */
static int uri_get(struct sip_msg *msg, char *p, str *uri)
{
	uri->s = NULL;
	uri->len = 0;
	if (p == NULL)
		return 0;
	if (fixup_get_svalue(msg, (gparam_t *)p, uri) != 0 || uri->len <= 0) {
		LM_ERR("invalid uri parameter\n");
		return -1;
	}
	return 0;
}

static int w_save(struct sip_msg *msg, char *table, char *flags, char *uri)
{
	str s;

	if (uri_get(msg, uri, &s) < 0)
		return -1;
	return reg_save_publish(msg, (str *)table, (int)(long)flags, &s, NULL);
}

static int w_save2(struct sip_msg *msg, char *table, char *flags)
{
	return reg_save_publish(msg, (str *)table, (int)(long)flags, NULL, NULL);
}

static int w_save4(struct sip_msg *msg, char *table, char *flags, char *uri, char *ref)
{
	str s = {NULL, 0};

	/* an empty one: of the To header */
	if (fixup_get_svalue(msg, (gparam_t *)uri, &s) != 0)
		return -1;
	return reg_save_publish(msg, (str *)table, (int)(long)flags, &s,
				(struct reg_route_ref *)ref);
}

static int w_unregister(struct sip_msg *msg, char *table, char *uri, char *ruid)
{
	str u = {NULL, 0}, r;

	if (uri_get(msg, ruid, &r) < 0)
		return -1;
	if (fixup_get_svalue(msg, (gparam_t *)uri, &u) != 0 || (u.len <= 0 && r.len <= 0)) {
		LM_ERR("invalid uri parameter\n");
		return -1;
	}
	return reg_unregister(msg, (str *)table, &u, &r);
}

static int w_unregister2(struct sip_msg *msg, char *table, char *uri)
{
	return w_unregister(msg, table, uri, NULL);
}

static int w_registered4(struct sip_msg *msg, char *table, char *uri, char *flags, char *action)
{
	int f = 0, a = 0;
	str u;

	if (uri_get(msg, uri, &u) < 0)
		return -1;
	if ((flags != NULL && fixup_get_ivalue(msg, (gparam_t *)flags, &f) != 0) ||
	    (action != NULL && fixup_get_ivalue(msg, (gparam_t *)action, &a) != 0)) {
		LM_ERR("invalid flags parameter\n");
		return -1;
	}
	return reg_registered(msg, (str *)table, u.len > 0 ? &u : NULL, f, a);
}

static int w_registered3(struct sip_msg *msg, char *table, char *uri, char *flags)
{
	return w_registered4(msg, table, uri, flags, NULL);
}

static int w_registered2(struct sip_msg *msg, char *table, char *uri)
{
	return w_registered4(msg, table, uri, NULL, NULL);
}

static int w_lookup3(struct sip_msg *msg, char *table, char *ref, char *uri)
{
	str u;

	if (uri_get(msg, uri, &u) < 0)
		return -1;
	if (ref != NULL)
		return reg_lookup_route(msg, (str *)table, &u, (struct reg_route_ref *)ref);
	return reg_lookup_now(msg, (str *)table, &u);
}

static int w_lookup2(struct sip_msg *msg, char *table, char *ref)
{
	return w_lookup3(msg, table, ref, NULL);
}

static int w_lookup_to_dset(struct sip_msg *msg, char *table, char *uri)
{
	str u;

	if (uri_get(msg, uri, &u) < 0)
		return -1;
	return reg_lookup_to_dset(msg, (str *)table, &u);
}

static int w_lookup_branches(struct sip_msg *msg, char *table, char *p2)
{
	(void)p2;
	return reg_lookup_branches(msg, (str *)table);
}

static int w_fetch(struct sip_msg *msg, char *table, char *uri, char *profile)
{
	str u;

	if (uri_get(msg, uri, &u) < 0)
		return -1;
	return reg_fetch_contacts(msg, (str *)table, &u, (str *)profile);
}

static int w_free(struct sip_msg *msg, char *profile, char *p2)
{
	(void)p2;
	return reg_free_contacts(msg, (str *)profile);
}

static int w_next(struct sip_msg *msg, char *table, char *ref)
{
	return reg_next(msg, (str *)table, (struct reg_route_ref *)ref);
}

static int w_authenticate(struct sip_msg *msg, char *ref, char *flags)
{
	return reg_authenticate(msg, (struct reg_route_ref *)ref, (int)(long)flags);
}

static int w_challenge(struct sip_msg *msg, char *p1, char *p2)
{
	(void)p1;
	(void)p2;
	return reg_auth_challenge(msg, false);
}

static int w_consume(struct sip_msg *msg, char *p1, char *p2)
{
	(void)p1;
	(void)p2;
	return reg_auth_consume(msg);
}

static int w_reply(struct sip_msg *msg, char *p1, char *p2)
{
	(void)p1;
	(void)p2;
	return reg_reply(msg);
}

static int w_reply_unavailable(struct sip_msg *msg, char *reason, char *p2)
{
	str s;

	(void)p2;
	if (fixup_get_svalue(msg, (gparam_t *)reason, &s) != 0)
		return -1;
	return reg_reply_unavailable(msg, &s);
}

/* --- fixups --------------------------------------------------------------------------------- */

static int table_fixup(void **param)
{
	if (reg_table_register((char *)*param) < 0) {
		LM_ERR("usrloc does not take the table \"%s\"\n", (char *)*param);
		return E_UNSPEC;
	}
	return fixup_str_null(param, 1);
}

static int route_fixup(void **param)
{
	struct reg_route_ref *ref;

	if (((char *)*param)[0] == '\0') { /* "": without a route */
		*param = NULL;
		return 0;
	}
	ref = pkg_malloc(sizeof(*ref));
	if (ref == NULL) {
		PKG_MEM_ERROR;
		return E_UNSPEC;
	}
	if (reg_route_find((char *)*param, ref) < 0) {
		pkg_free(ref);
		return E_CFG;
	}
	*param = ref;
	return 0;
}

static int save_fixup(void **param, int n)
{
	unsigned int flags = 0;
	str s;

	if (n == 1)
		return table_fixup(param);
	if (n == 3)
		return fixup_spve_null(param, 1);
	if (n == 4)
		return route_fixup(param);
	s.s = (char *)*param;
	s.len = (int)strlen(s.s);
	if (strno2int(&s, &flags) < 0 || flags > REG_SAVE_FLAGS ||
	    (flags & REG_PUBLISH_CONFIRMED && flags & REG_PUBLISH_ASYNC)) {
		LM_ERR("bad flags <%s>\n", s.s);
		return E_CFG;
	}
	if (flags & REG_PUBLISH_CONFIRMED && reg_publish_init() < 0)
		return E_CFG;
	*param = (void *)(long)flags;
	return 0;
}

static int table_uri_fixup(void **param, int n)
{
	return n == 1 ? table_fixup(param) : fixup_spve_null(param, 1);
}

static int registered_fixup(void **param, int n)
{
	if (n == 1)
		return table_fixup(param);
	return n == 2 ? fixup_spve_null(param, 1) : fixup_igp_null(param, 1);
}

static int lookup_fixup(void **param, int n)
{
	if (n == 1)
		return table_fixup(param);
	return n == 2 ? route_fixup(param) : fixup_spve_null(param, 1);
}

static int authenticate_fixup(void **param, int n)
{
	unsigned int flags = 0;
	str s;

	if (n == 1) {
		if (((char *)*param)[0] == '\0') {
			LM_ERR("p2p_authenticate() needs a route\n");
			return E_CFG;
		}
		return reg_auth_init() < 0 ? E_CFG : route_fixup(param);
	}
	s.s = (char *)*param;
	s.len = (int)strlen(s.s);
	if (strno2int(&s, &flags) < 0 || flags > REG_AUTH_FLAGS) {
		LM_ERR("bad flags <%s>\n", s.s);
		return E_CFG;
	}
	*param = (void *)(long)flags;
	return 0;
}

static int challenge_fixup(void **param, int n)
{
	(void)param;
	(void)n;
	return reg_auth_init() < 0 ? E_CFG : 0;
}

static int next_fixup(void **param, int n)
{
	if (n == 1)
		return table_fixup(param);
	if (((char *)*param)[0] == '\0') {
		LM_ERR("p2p_next() needs a route\n");
		return E_CFG;
	}
	return route_fixup(param);
}

static int fetch_fixup(void **param, int n)
{
	if (n == 1)
		return table_fixup(param);
	return n == 2 ? fixup_spve_null(param, 1) : fixup_str_null(param, 1);
}

#define CMD(f) (cmd_function)(void (*)(void))(f)

cmd_export_t reg_cmds[] = {
	{"p2p_save", CMD(w_save2), 1, save_fixup, 0, REQUEST_ROUTE | FAILURE_ROUTE | ONREPLY_ROUTE},
	{"p2p_save", CMD(w_save2), 2, save_fixup, 0, REQUEST_ROUTE | FAILURE_ROUTE | ONREPLY_ROUTE},
	{"p2p_save", CMD(w_save), 3, save_fixup, 0, REQUEST_ROUTE | FAILURE_ROUTE | ONREPLY_ROUTE},
	{"p2p_save", CMD(w_save4), 4, save_fixup, 0, REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_unregister", CMD(w_unregister2), 2, table_uri_fixup, 0, ANY_ROUTE},
	{"p2p_unregister", CMD(w_unregister), 3, table_uri_fixup, 0, ANY_ROUTE},
	{"p2p_registered", CMD(w_registered2), 1, registered_fixup, 0, ANY_ROUTE},
	{"p2p_registered", CMD(w_registered2), 2, registered_fixup, 0, ANY_ROUTE},
	{"p2p_registered", CMD(w_registered3), 3, registered_fixup, 0, ANY_ROUTE},
	{"p2p_registered", CMD(w_registered4), 4, registered_fixup, 0, ANY_ROUTE},
	{"p2p_lookup", CMD(w_lookup2), 1, lookup_fixup, 0, REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_lookup", CMD(w_lookup2), 2, lookup_fixup, 0, REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_lookup", CMD(w_lookup3), 3, lookup_fixup, 0, REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_lookup_to_dset", CMD(w_lookup_to_dset), 1, table_uri_fixup, 0,
	 REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_lookup_to_dset", CMD(w_lookup_to_dset), 2, table_uri_fixup, 0,
	 REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_lookup_branches", CMD(w_lookup_branches), 1, table_uri_fixup, 0,
	 REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_fetch_contacts", CMD(w_fetch), 3, fetch_fixup, 0, REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_free_contacts", CMD(w_free), 1, fixup_str_null, 0, REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_next", CMD(w_next), 2, next_fixup, 0, REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_authenticate", CMD(w_authenticate), 1, authenticate_fixup, 0,
	 REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_authenticate", CMD(w_authenticate), 2, authenticate_fixup, 0,
	 REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_challenge", CMD(w_challenge), 0, challenge_fixup, 0, REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_consume_credentials", CMD(w_consume), 0, 0, 0, REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_reply", CMD(w_reply), 0, 0, 0, REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_reply", CMD(w_reply_unavailable), 1, fixup_spve_null, 0,
	 REQUEST_ROUTE | FAILURE_ROUTE},
	{0, 0, 0, 0, 0, 0},
};
