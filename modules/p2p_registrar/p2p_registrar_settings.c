// SPDX-License-Identifier: GPL-2.0-or-later
/* p2p_registrar: module parameters, their ranges and defaults. */
#include "core/cfg/cfg_struct.h"
#include "core/sr_module.h"
#include "core/timer_ticks.h"
#include "p2p_registrar.h"

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

param_export_t reg_params[] = {
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

int reg_settings_check(void)
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

/* tm's fr_timer guards the suspended request: the answer must be there well before. */
int reg_settings_fr_timer_check(void)
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
