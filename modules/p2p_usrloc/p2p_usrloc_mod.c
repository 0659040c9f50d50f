/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: exports and life cycle. The module publishes the users of usrloc in the overlay and
 * answers, for the other p2p modules, who else serves a user. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cfg/cfg_struct.h"
#include "core/dprint.h"
#include "core/pt.h"
#include "core/rpc_lookup.h"
#include "core/sr_module.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_back.h"
#include "modules/p2p_usrloc/p2p_usrloc_store.h"

MODULE_VERSION

/* How long the gateway may be away, and others are still said to find who is registered here. */
#define CONFIRMED_WHILE_AWAY_MS 30000

static uint64_t started_ms;

static int mod_init(void);
static int child_init(int rank);
static void mod_destroy(void);
static int p2p_usrloc_bind(p2p_usrloc_api_t *api);

static cmd_export_t cmds[] = {
	{"p2p_usrloc_bind", (cmd_function)(void (*)(void))p2p_usrloc_bind, 1, 0, 0, 0},
	{0, 0, 0, 0, 0, 0},
};

struct module_exports exports = {
	"p2p_usrloc",
	DEFAULT_DLFLAGS,
	cmds,
	pul_params,
	0, /* RPC methods: registered by mod_init */
	0, /* pseudo-variables */
	0, /* replies */
	mod_init,
	child_init,
	mod_destroy,
};

static int mod_init(void)
{
	bool use_domain;

	started_ms = pul_now_ms();
	if (pul_settings_check() != 0 || pul_shared_init() != 0)
		return -1;
	if (pul_users_init((unsigned int)pul_settings.hash_size) != 0 ||
	    pul_cache_new(&pul_routes, (unsigned int)pul_settings.cache_size) != 0 ||
	    pul_cache_new(&pul_peers, (unsigned int)pul_settings.peer_cache_size) != 0 ||
	    pul_sessions_init((unsigned int)pul_settings.sessions_max) != 0 ||
	    pul_auth_init((unsigned int)pul_settings.auth_cache_size) != 0)
		return -1;
	if (pul_stats_init() != 0 || pul_client_init() != 0)
		return -1;
	if (pul_ul_init(&use_domain) != 0 || pul_names_init(use_domain) != 0)
		return -1;
	if (rpc_register_array(pul_rpc) != 0) {
		LM_ERR("cannot register RPC commands\n");
		return -1;
	}
	register_procs(*pul_settings.contacts_file != '\0' ? 2 : 1);
	cfg_register_child(1);
	return 0;
}

/* No sockets towards tcp_main, no database handles of other modules: it only talks to the gateway,
 * or to the disk. */
static int process_start(char *name, void (*run)(void))
{
	int pid = fork_process(PROC_NOCHLDINIT, name, 0);

	if (pid < 0) {
		LM_ERR("cannot fork the process %s\n", name);
		return -1;
	}
	if (pid == 0) {
		if (cfg_child_init()) {
			LM_ERR("no configuration for the process %s\n", name);
			exit(-1);
		}
		run();
	}
	return 0;
}

/* The store is opened here, and not by mod_init: that may still run as root. */
static int child_init(int rank)
{
	switch (rank) {
	case PROC_INIT:
		if (pul_store_open() != 0)
			return -1;
		if (pul_restore_early())
			pul_restore_run();
		return 0;
	case PROC_SIPINIT:
		if (!pul_restore_early())
			pul_restore_run();
		break;
	case PROC_MAIN:
		if (process_start("P2P USRLOC CLIENT", pul_client_run) != 0)
			return -1;
		return pul_store_file != NULL ? process_start("P2P USRLOC STORE", pul_store_run)
					      : 0;
	default:
		break;
	}
	if (rank <= 0)
		return 0;
	pul_pieces_private();
	pul_users_populate();
	if (pul_store_file != NULL)
		pul_file_populate(pul_store_file);
	return 0;
}

static void mod_destroy(void)
{
	pul_store_close();
	pul_cache_free(pul_routes);
	pul_cache_free(pul_peers);
	pul_routes = pul_peers = NULL;
	pul_sessions_destroy();
	pul_auth_destroy();
	pul_users_destroy();
	pul_ul_destroy();
	pul_shared_destroy();
}

/* --- api.h --- */

static enum p2p_cache_state api_cache_get(const struct p2p_name *name,
					  struct p2p_candidate_set *set)
{
	return pul_routes_get(name, set);
}

static void api_cache_drop(const struct p2p_name *name, const struct p2p_hit *hit)
{
	pul_cache_drop(pul_routes, name->s, name->len, hit);
}

static int api_peer_get(const struct p2p_hit *hit, struct p2p_candidate *peer)
{
	struct p2p_candidate_set set;

	if (pul_cache_get(pul_peers, hit, sizeof(*hit), &set) == P2P_CACHE_MISS || set.n == 0)
		return -1;
	*peer = set.c[0];
	return 0;
}

static int api_gateway_soon(enum p2p_question_kind kind)
{
	return pul_back_soon(kind);
}

static int api_gateway_up(void)
{
	return atomic_load(&pul_shared->gateway_up);
}

static int api_own_hit(struct p2p_hit *hit)
{
	int err = -1;

	lock_get(&pul_shared->info_lock);
	if (pul_shared->info.known) {
		*hit = pul_shared->info.hit;
		err = 0;
	}
	lock_release(&pul_shared->info_lock);
	return err;
}

static unsigned int api_uptime(void)
{
	return (unsigned int)((pul_now_ms() - started_ms) / 1000);
}

static void api_session_refused(const struct p2p_session_id *id)
{
	if (pul_sessions_refused(id)) {
		pul_count(PUL_CNT_SESSIONS_REFUSED);
		pul_wake_soon();
	}
}

static void api_session_want(const struct p2p_hit *hit)
{
	pul_sessions_want(hit);
	pul_wake_soon();
}

static int api_auth_rules(char realm[P2P_REALM_MAX + 1], uint8_t *digests)
{
	struct pul_rules rules;

	pul_rules_get(&rules);
	if (!rules.known)
		return -1;
	strcpy(realm, rules.realm);
	*digests = rules.digests;
	return 0;
}

static int api_auth_get(const struct p2p_name *name, struct p2p_auth *auth)
{
	return pul_auth_get(name, auth) ? 0 : -1;
}

static int api_user_stale(const struct p2p_name *name)
{
	char buf[PUL_USERS_STALE_MAX][PUL_RECORD_RUID_MAX];
	str ruid[PUL_USERS_STALE_MAX];
	int i;

	if (pul_store_shared == NULL || atomic_load(&pul_store_shared->stale) <= 0)
		return 0;
	for (i = 0; i < PUL_USERS_STALE_MAX; i++) {
		ruid[i].s = buf[i];
		ruid[i].len = sizeof(buf[i]);
	}
	return pul_users_stale(name, 0, ruid) > 0;
}

static int api_confirmed(const str *table, const struct p2p_name *name)
{
	if (!pul_ul_publishes(table))
		return 1;
	/* what was confirmed is so while the gateway is started again, but not for good */
	if (!atomic_load(&pul_shared->gateway_up) &&
	    pul_now_ms() > atomic_load(&pul_shared->gateway_changed_ms) + CONFIRMED_WHILE_AWAY_MS)
		return 0;
	return pul_users_confirmed(name);
}

static int api_name_has_domain(void)
{
	return pul_names_have_domain();
}

static int p2p_usrloc_bind(p2p_usrloc_api_t *api)
{
	if (api == NULL || pul_shared == NULL)
		return -1;
	api->name_from_uri = pul_name_from_uri;
	api->cache_get = api_cache_get;
	api->cache_drop = api_cache_drop;
	api->peer_get = api_peer_get;
	api->local_aor = pul_users_aor;
	api->gateway_up = api_gateway_up;
	api->gateway_soon = api_gateway_soon;
	api->own_hit = api_own_hit;
	api->uptime = api_uptime;
	api->question_new = pul_question_new;
	api->question_free = pul_question_free;
	api->question_ask = pul_question_ask;
	api->advertise = pul_client_advertise;
	api->user_stale = api_user_stale;
	api->name_has_domain = api_name_has_domain;
	api->log_ok = pul_log_ok;
	api->session_by_hit = pul_sessions_by_hit;
	api->session_by_id = pul_sessions_by_id;
	api->session_by_tail = pul_sessions_by_tail;
	api->session_calls = pul_sessions_calls;
	api->session_want = api_session_want;
	api->session_refused = api_session_refused;
	api->session_watch = pul_sessions_watch;
	api->auth_rules = api_auth_rules;
	api->auth_get = api_auth_get;
	api->confirmed = api_confirmed;
	return 0;
}
