// SPDX-License-Identifier: GPL-2.0-or-later
/* kamcmd p2p_registrar.stats */
#include "core/rpc.h"
#include "core/rpc_lookup.h"
#include "p2p_registrar.h"

static const char *const stats_doc[] = {
	"The counters of p2p_registrar, and how many requests are suspended now.", NULL};
static const char *const settings_doc[] = {"The settings of p2p_registrar.", NULL};

static void rpc_stats(rpc_t *rpc, void *ctx)
{
	void *item;
	int i;

	if (rpc->add(ctx, "{", &item) < 0)
		return;
	rpc->struct_add(item, "d", "suspended_now", reg_pending());
	for (i = 0; i < REG_CNT_MAX; i++)
		rpc->struct_add(item, "j", (char *)reg_stats_name(i),
				(unsigned long)reg_stats_value(i));
}

static void rpc_settings(rpc_t *rpc, void *ctx)
{
	void *item;

	if (rpc->add(ctx, "{", &item) < 0)
		return;
	rpc->struct_add(item, "sd", "publish", reg_settings.publish, "confirm_ms",
			reg_settings.confirm_ms);
	rpc->struct_add(item, "ddddddd", "lookup_timeout_ms", reg_settings.lookup_timeout_ms,
			"local_wait_ms", reg_settings.local_wait_ms, "lookup_workers",
			reg_settings.lookup_workers, "lookups_max", reg_settings.lookups_max,
			"orphan_window_s", reg_settings.orphan_window_s, "retry_after_s",
			reg_settings.retry_after_s, "attempts", reg_settings.attempts);
}

static rpc_export_t rpcs[] = {
	{"p2p_registrar.stats", rpc_stats, (const char **)stats_doc, 0},
	{"p2p_registrar.settings", rpc_settings, (const char **)settings_doc, 0},
	{NULL, NULL, NULL, 0},
};

int reg_rpc_init(void)
{
	if (rpc_register_array(rpcs) != 0) {
		LM_ERR("cannot register the RPC commands\n");
		return -1;
	}
	return 0;
}
