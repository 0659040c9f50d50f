// SPDX-License-Identifier: GPL-2.0-or-later
/* Where the script goes on when a lookup, or what else is waited for, has come to something: in a
 * route, or in a function of a KEMI script. */
#include "core/action.h"
#include "core/route.h"
#include "p2p_registrar.h"

int reg_route_find(const char *name, struct reg_route_ref *ref)
{
	size_t len = strlen(name);

	memset(ref, 0, sizeof(*ref));
	if (len == 0 || len >= sizeof(ref->name)) {
		LM_ERR("\"%s\" is no name of a route\n", name);
		return -1;
	}
	memcpy(ref->name, name, len);
	ref->index = -1;
	if (sr_kemi_eng_get() != NULL)
		return 0;
	ref->index = route_lookup(&main_rt, ref->name);
	if (ref->index < 0 || main_rt.rlist[ref->index] == NULL) {
		LM_ERR("there is no route[%s], or it is empty\n", name);
		return -1;
	}
	return 0;
}

void reg_route_run(struct sip_msg *msg, const struct reg_route_ref *ref)
{
	sr_kemi_eng_t *engine = sr_kemi_eng_get();
	str name, event = str_init("p2p_registrar:lookup");
	struct run_act_ctx ctx;

	if (engine != NULL) {
		name.s = (char *)ref->name;
		name.len = (int)strlen(ref->name);
		if (sr_kemi_route(engine, msg, get_route_type(), &name, &event) < 0)
			LM_ERR("the function %s of the KEMI script failed\n", ref->name);
		return;
	}
	init_run_actions_ctx(&ctx);
	run_top_route(main_rt.rlist[ref->index], msg, &ctx);
}
