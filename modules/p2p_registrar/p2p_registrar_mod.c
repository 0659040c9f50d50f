// SPDX-License-Identifier: GPL-2.0-or-later
/* p2p_registrar: what takes the place of the registrar's functions in an overlay peer. Parameters,
 * exports, life cycle; the only file that maps results to script return codes. */
#include "core/cfg/cfg_struct.h"
#include "core/mod_fix.h"
#include "core/sr_module.h"
#include "core/timer_ticks.h"
#include "core/ut.h"
#include "modules/registrar/registrar.h"
#include "p2p_registrar.h"

MODULE_VERSION

struct reg_settings reg_settings = {
	.lookup_timeout_ms = 2000,
	.local_wait_ms = 300,
	.lookup_workers = 2,
	.lookups_max = 10000,
	.orphan_window_s = 3600,
	.retry_after_s = 10,
	.attempts = 4,
	.publish = (char *)"async",
	.confirm_ms = 3000,
};
tm_api_t reg_tm;
registrar_api_t reg_stock;
p2p_usrloc_api_t reg_ul;
p2p_route_api_t reg_route;

static const struct {
	const char *name;
	int *value;
	int min, max;
} ranges[] = {
	/* the most that the gateway takes for a deadline */
	{"lookup_timeout_ms", &reg_settings.lookup_timeout_ms, 50, 30000},
	{"local_wait_ms", &reg_settings.local_wait_ms, 0, 30000},
	{"lookup_workers", &reg_settings.lookup_workers, 1, 64},
	{"lookups_max", &reg_settings.lookups_max, 1, 100000},
	{"orphan_window_s", &reg_settings.orphan_window_s, 0, 604800},
	{"retry_after_s", &reg_settings.retry_after_s, 1, 3600},
	{"attempts", &reg_settings.attempts, 1, 10},
	{"confirm_ms", &reg_settings.confirm_ms, 100, 30000},
};

/* tm's fr_timer guards the suspended request: the answer must be there well before. */
static int fr_timer_check(void)
{
	str group_name = str_init("tm"), name = str_init("fr_timer");
	cfg_mapping_t *var;
	cfg_group_t *grp;
	unsigned int ms;

	if (cfg_lookup_var(&group_name, &name, &grp, &var) != 0 ||
	    CFG_VAR_TYPE(var) != CFG_VAR_INT) {
		LM_ERR("cannot read tm's fr_timer\n");
		return -1;
	}
	/* kept in ticks; cfg_get_by_name() does not read variables that have a fixup */
	ms = TICKS_TO_MS(*(unsigned int *)((char *)*grp->handle + var->offset));
	if (reg_settings.confirmed && (unsigned int)reg_settings.confirm_ms + 1000 > ms) {
		LM_ERR("parameter confirm_ms: %d must be at least 1000 below tm's fr_timer (%u), "
		       "which ends a suspended request\n",
		       reg_settings.confirm_ms, ms);
		return -1;
	}
	if ((unsigned int)reg_settings.lookup_timeout_ms + 1000 > ms) {
		LM_ERR("parameter lookup_timeout_ms: %d must be at least 1000 below tm's fr_timer "
		       "(%u), which ends a suspended request\n",
		       reg_settings.lookup_timeout_ms, ms);
		return -1;
	}
	return 0;
}

static int settings_check(void)
{
	size_t i;

	for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if (*ranges[i].value < ranges[i].min || *ranges[i].value > ranges[i].max) {
			LM_ERR("parameter %s: %d is out of range %d..%d\n", ranges[i].name,
			       *ranges[i].value, ranges[i].min, ranges[i].max);
			return -1;
		}
	}
	if (strcmp(reg_settings.publish, "confirmed") == 0)
		reg_settings.confirmed = true;
	else if (strcmp(reg_settings.publish, "async") != 0) {
		LM_ERR("parameter publish: \"%s\" is neither \"async\" nor \"confirmed\"\n",
		       reg_settings.publish);
		return -1;
	}
	if (reg_settings.local_wait_ms > reg_settings.lookup_timeout_ms) {
		LM_ERR("parameter local_wait_ms: %d is more than lookup_timeout_ms %d\n",
		       reg_settings.local_wait_ms, reg_settings.lookup_timeout_ms);
		return -1;
	}
	return 0;
}

static int mod_init(void)
{
	if (settings_check() < 0)
		return -1;
	if (load_tm_api(&reg_tm) < 0) {
		LM_ERR("module tm must be loaded before this one\n");
		return -1;
	}
	if (reg_stock_init() < 0 || p2p_usrloc_load_api(&reg_ul) < 0 ||
	    p2p_route_load_api(&reg_route) < 0)
		return -1;
	if ((reg_settings.confirmed || sr_kemi_eng_get() != NULL) && reg_publish_init() < 0)
		return -1;
	if (reg_stats_init() < 0) {
		LM_ERR("cannot register the counters\n");
		return -1;
	}
	if (reg_outcome_init() < 0 || reg_rpc_init() < 0 || reg_pending_init() < 0 ||
	    reg_continuation_init() < 0)
		return -1;
	/* the native script's functions do it when they are read */
	if (sr_kemi_eng_get() != NULL && module_loaded("auth") && reg_auth_init() < 0)
		return -1;
	return reg_workers_init();
}

static int child_init(int rank)
{
	if (rank == PROC_INIT)
		return fr_timer_check();
	return rank == PROC_MAIN ? reg_workers_fork() : 0;
}

static void mod_destroy(void)
{
	reg_workers_destroy();
	reg_pending_destroy();
}

/* --- script functions -----------------------------------------------------------------------
 * Each has a ki_ form (KEMI: plain strings) and w_ forms (native script: fixed-up parameters). A
 * table is kept as a str made at start. */

static int save(sip_msg_t *msg, str *table, int flags, str *uri, const struct reg_route_ref *ref)
{
	/* what is not answered here has nothing to wait with, unless a route goes on with it */
	if (reg_publish_confirmed(flags) && msg->first_line.type == SIP_REQUEST &&
	    (!(flags & REG_SAVE_NORPL_FL) || ref != NULL))
		return reg_save_confirmed(msg, table, flags, uri, ref);
	return reg_save_async(msg, table, flags & REG_SAVE_ALL_FL, uri, ref);
}

static int ki_save(sip_msg_t *msg, str *table, int flags)
{
	return save(msg, table, flags, NULL, NULL);
}

static int ki_save_uri(sip_msg_t *msg, str *table, int flags, str *uri)
{
	return save(msg, table, flags, uri, NULL);
}

static int ki_save_route(sip_msg_t *msg, str *table, int flags, str *uri, str *route)
{
	struct reg_route_ref ref;

	if (reg_route_find(route->s, &ref) < 0)
		return -1;
	return save(msg, table, flags, uri, &ref);
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

static int ki_lookup_uri(sip_msg_t *msg, str *table, str *uri)
{
	struct reg_lookup lk;

	if (reg_lookup_prepare(msg, table, uri, &lk) < 0)
		return -3; /* as the registrar says to what is no SIP URI */
	return reg_lookup_now(msg, &lk);
}

static int ki_lookup(sip_msg_t *msg, str *table)
{
	return ki_lookup_uri(msg, table, NULL);
}

static int lookup_route(sip_msg_t *msg, str *table, const struct reg_route_ref *ref, str *uri)
{
	struct reg_lookup lk;

	if (reg_lookup_prepare(msg, table, uri, &lk) < 0) {
		reg_outcome_set(msg, REG_ABSENT, "no address of record");
		reg_route_run(msg, ref);
		return 0;
	}
	return reg_lookup_route(msg, &lk, ref);
}

static int ki_lookup_route_uri(sip_msg_t *msg, str *table, str *route, str *uri)
{
	struct reg_route_ref ref;

	if (reg_route_find(route->s, &ref) < 0)
		return -1;
	return lookup_route(msg, table, &ref, uri);
}

static int ki_lookup_route(sip_msg_t *msg, str *table, str *route)
{
	return ki_lookup_route_uri(msg, table, route, NULL);
}

static int ki_lookup_to_dset(sip_msg_t *msg, str *table, str *uri)
{
	struct reg_lookup lk;

	if (reg_lookup_prepare(msg, table, uri, &lk) < 0)
		return -3;
	return reg_lookup_to_dset(msg, &lk);
}

static int ki_lookup_branches(sip_msg_t *msg, str *table)
{
	struct reg_lookup lk;

	if (reg_lookup_prepare(msg, table, NULL, &lk) < 0)
		return -3;
	return reg_lookup_branches(msg, &lk);
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

static int ki_consume(sip_msg_t *msg)
{
	return reg_auth_consume(msg);
}

static int ki_reply(sip_msg_t *msg)
{
	return reg_reply(msg);
}

/* 503 with this reason, whatever the lookup came to */
static int ki_reply_unavailable(sip_msg_t *msg, str *reason)
{
	return reg_reply_unavailable(msg, reason);
}

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
	return save(msg, (str *)table, (int)(long)flags, &s, NULL);
}

static int w_save2(struct sip_msg *msg, char *table, char *flags)
{
	return save(msg, (str *)table, (int)(long)flags, NULL, NULL);
}

static int w_save4(struct sip_msg *msg, char *table, char *flags, char *uri, char *ref)
{
	str s = {NULL, 0};

	/* an empty one: of the To header */
	if (fixup_get_svalue(msg, (gparam_t *)uri, &s) != 0)
		return -1;
	return save(msg, (str *)table, (int)(long)flags, &s, (struct reg_route_ref *)ref);
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
	struct reg_lookup lk;
	str u;

	if (uri_get(msg, uri, &u) < 0)
		return -1;
	if (ref != NULL)
		return lookup_route(msg, (str *)table, (struct reg_route_ref *)ref, &u);
	if (reg_lookup_prepare(msg, (str *)table, &u, &lk) < 0)
		return -3;
	return reg_lookup_now(msg, &lk);
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
	return ki_lookup_to_dset(msg, (str *)table, &u);
}

static int w_lookup_branches(struct sip_msg *msg, char *table, char *p2)
{
	(void)p2;
	return ki_lookup_branches(msg, (str *)table);
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

static cmd_export_t cmds[] = {
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

static param_export_t params[] = {
	{"lookup_timeout_ms", PARAM_INT, &reg_settings.lookup_timeout_ms},
	{"local_wait_ms", PARAM_INT, &reg_settings.local_wait_ms},
	{"lookup_workers", PARAM_INT, &reg_settings.lookup_workers},
	{"lookups_max", PARAM_INT, &reg_settings.lookups_max},
	{"orphan_window_s", PARAM_INT, &reg_settings.orphan_window_s},
	{"retry_after_s", PARAM_INT, &reg_settings.retry_after_s},
	{"attempts", PARAM_INT, &reg_settings.attempts},
	{"publish", PARAM_STRING, &reg_settings.publish},
	{"confirm_ms", PARAM_INT, &reg_settings.confirm_ms},
	{0, 0, 0},
};

struct module_exports exports = {
	.name = "p2p_registrar",
	.dlflags = DEFAULT_DLFLAGS,
	.cmds = cmds,
	.params = params,
	.init_mod_f = mod_init,
	.init_child_f = child_init,
	.destroy_mod_f = mod_destroy,
};

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

static sr_kemi_t kemi[] = {
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
	KEMI("lookup_uri", ki_lookup_uri, S, S, N, N),
	KEMI("lookup_route", ki_lookup_route, S, S, N, N),
	KEMI("lookup_route_uri", ki_lookup_route_uri, S, S, S, N),
	KEMI("lookup_to_dset", ki_lookup_to_dset, S, S, N, N),
	KEMI("lookup_branches", ki_lookup_branches, S, N, N, N),
	KEMI("fetch_contacts", reg_fetch_contacts, S, S, S, N),
	KEMI("free_contacts", reg_free_contacts, S, N, N, N),
	KEMI("next", ki_next, S, S, N, N),
	KEMI("authenticate", ki_authenticate, S, N, N, N),
	KEMI("authenticate_flags", ki_authenticate_flags, S, I, N, N),
	KEMI("challenge", ki_challenge, N, N, N, N),
	KEMI("consume_credentials", ki_consume, N, N, N, N),
	KEMI("reply", ki_reply, N, N, N, N),
	KEMI("reply_unavailable", ki_reply_unavailable, S, N, N, N),
	{{0, 0}, {0, 0}, 0, NULL, {N, N, N, N, N, N}},
};

int mod_register(char *path, int *dlflags, void *p1, void *p2);
int mod_register(char *path, int *dlflags, void *p1, void *p2)
{
	(void)path;
	(void)dlflags;
	(void)p1;
	(void)p2;
	sr_kemi_modules_add(kemi);
	return 0;
}
