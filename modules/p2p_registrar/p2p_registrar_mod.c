// SPDX-License-Identifier: GPL-2.0-or-later
/* p2p_registrar: what takes the place of the registrar's functions in an overlay peer. Life cycle
 * and exports; the functions themselves are in _native.c and _kemi.c. */
#include "core/sr_module.h"
#include "p2p_registrar.h"

MODULE_VERSION

tm_api_t reg_tm;
registrar_api_t reg_stock;
p2p_usrloc_api_t reg_ul;
p2p_route_api_t reg_route;

static int mod_init(void)
{
	if (reg_settings_check() < 0)
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
		return reg_settings_fr_timer_check();
	return rank == PROC_MAIN ? reg_workers_fork() : 0;
}

static void mod_destroy(void)
{
	reg_workers_destroy();
	reg_pending_destroy();
}

struct module_exports exports = {
	.name = "p2p_registrar",
	.dlflags = DEFAULT_DLFLAGS,
	.cmds = reg_cmds,
	.params = reg_params,
	.init_mod_f = mod_init,
	.init_child_f = child_init,
	.destroy_mod_f = mod_destroy,
};

int mod_register(char *path, int *dlflags, void *p1, void *p2);
int mod_register(char *path, int *dlflags, void *p1, void *p2)
{
	(void)path;
	(void)dlflags;
	(void)p1;
	(void)p2;
	sr_kemi_modules_add(reg_kemi);
	return 0;
}
