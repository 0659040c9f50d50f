// SPDX-License-Identifier: GPL-2.0-or-later
/* p2p_route: overlay routing. Parameters, exports, life cycle; the only file that maps results to
 * script return codes. */
#include "core/dset.h"
#include "core/kemi.h"
#include "core/mod_fix.h"
#include "core/sr_module.h"
#include "core/timer_proc.h"
#include "p2p_route.h"

MODULE_VERSION

#ifndef PARAM_USE_FUNC /* Kamailio before 6.0 */
#define PARAM_USE_FUNC USE_FUNC_PARAM
#endif

struct route_settings route_settings = {
	.tcp_threshold = 1300,
	.peer_timeout_ms = 1500,
	.probe_after_ms = 400,
	.peer_down_ms = 10000,
	.max_hops = 4,
	.max_peers = 1024,
	.replay_max = 131072,
	.calls_max = 16384,
	.call_max_s = 43200,
};
p2p_usrloc_api_t route_ul;
tm_api_t route_tm;

static int peer_param(modparam_t type, void *val)
{
	(void)type;
	return route_peer_param(val);
}

static int advertise_param(modparam_t type, void *val)
{
	str *s;

	(void)type;
	if (route_settings.n_advertise == P2P_CANDIDATE_URIS_MAX) {
		LM_ERR("more than %d entries for the parameter advertise\n",
		       P2P_CANDIDATE_URIS_MAX);
		return -1;
	}
	s = &route_settings.advertise[route_settings.n_advertise++];
	s->s = val;
	s->len = (int)strlen(val);
	return 0;
}

static int socket_param(modparam_t type, void *val)
{
	str *s;

	(void)type;
	if (route_settings.n_socket == ROUTE_SOCKETS_MAX) {
		LM_ERR("more than %d entries for the parameter socket\n", ROUTE_SOCKETS_MAX);
		return -1;
	}
	s = &route_settings.socket[route_settings.n_socket++];
	s->s = val;
	s->len = (int)strlen(val);
	return 0;
}

/* name, where, least, most */
static const struct {
	const char *name;
	int *value;
	int min, max;
} ranges[] = {
	{"tcp_threshold", &route_settings.tcp_threshold, 0, 65535},
	{"peer_timeout_ms", &route_settings.peer_timeout_ms, 300, 30000},
	{"probe_after_ms", &route_settings.probe_after_ms, 100, 10000},
	{"peer_down_ms", &route_settings.peer_down_ms, 500, 600000},
	{"max_hops", &route_settings.max_hops, 1, 100},
	{"max_peers", &route_settings.max_peers, 16, 65535},
	{"replay_max", &route_settings.replay_max, 1024, 16777216},
	{"calls_max", &route_settings.calls_max, 16, 1000000},
	{"call_max_s", &route_settings.call_max_s, 60, 604800},
};

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
	if (route_settings.probe_after_ms + 500 > route_settings.peer_timeout_ms) {
		LM_ERR("parameter probe_after_ms: %d leaves a peer less than 500 ms of "
		       "peer_timeout_ms %d to answer\n",
		       route_settings.probe_after_ms, route_settings.peer_timeout_ms);
		return -1;
	}
	return 0;
}

static int mod_init(void)
{
	if (settings_check() < 0)
		return -1;
	if (load_tm_api(&route_tm) < 0) {
		LM_ERR("module tm must be loaded before this one\n");
		return -1;
	}
	if (p2p_usrloc_load_api(&route_ul) < 0)
		return -1;
	if (route_sockets_init() < 0 || route_advertise_init() < 0)
		return -1;
	if (route_stats_init() < 0) {
		LM_ERR("cannot register the counters\n");
		return -1;
	}
	if (route_rpc_init() < 0)
		return -1;
	if (route_dialog_init() < 0)
		return -1;
	if (route_peer_init() < 0 || route_auth_init() < 0 || route_calls_init() < 0 ||
	    route_health_init() < 0 || route_watch_init() < 0 || route_tls_init() < 0)
		return -1;
	register_basic_timers(1);
	return 0;
}

static int child_init(int rank)
{
	if (rank != PROC_MAIN)
		return 0;
	return route_watch_child() < 0 || route_tls_child() < 0 ? -1 : 0;
}

static void mod_destroy(void)
{
	route_tls_destroy();
	route_watch_destroy();
	route_health_destroy();
	route_calls_destroy();
	route_auth_destroy();
	route_peer_destroy();
}

/* --- script functions ----------------------------------------------------------------------- */

static int ki_is_peer(sip_msg_t *msg)
{
	switch (route_peer_status(msg, NULL)) {
	case P2P_PEER_VERIFIED:
		return 1;
	case P2P_PEER_UNVERIFIED:
		return -2;
	case P2P_PEER_DENIED:
	case P2P_PEER_NOSESSION:
		return -3;
	case P2P_PEER_LOOP:
	case P2P_PEER_TOOMANY:
		return -4;
	case P2P_PEER_NO:
	default:
		return -1;
	}
}

static int w_is_peer(struct sip_msg *msg, char *p1, char *p2)
{
	(void)p1;
	(void)p2;
	return ki_is_peer(msg);
}

/* In a branch or reply route, where tm has put the branch's ruid or index: does this branch lead
 * to a peer? */
static int ki_is_peer_branch(sip_msg_t *msg)
{
	struct cell *t;
	int b;

	if (msg->first_line.type == SIP_REQUEST)
		return p2p_ruid_is_peer(&msg->ruid) ? 1 : -1;
	t = route_tm.t_gett();
	b = route_tm.t_gett_branch();
	if (t == NULL || t == T_UNDEFINED || b < 0 || b >= t->nr_of_outgoings)
		return -1;
	return p2p_ruid_is_peer(&t->uac[b].ruid) ? 1 : -1;
}

static int w_is_peer_branch(struct sip_msg *msg, char *p1, char *p2)
{
	(void)p1;
	(void)p2;
	return ki_is_peer_branch(msg);
}

static int ki_strip(sip_msg_t *msg)
{
	route_header_strip(msg);
	return 1;
}

static int w_strip(struct sip_msg *msg, char *p1, char *p2)
{
	(void)p1;
	(void)p2;
	return ki_strip(msg);
}

static int ki_dialog(sip_msg_t *msg)
{
	return route_dialog(msg);
}

static int w_dialog(struct sip_msg *msg, char *p1, char *p2)
{
	(void)p1;
	(void)p2;
	return ki_dialog(msg);
}

static int bind_route(p2p_route_api_t *api)
{
	if (api == NULL)
		return -1;
	api->peer_status = route_peer_status;
	api->peer_judge = route_peer_judge;
	api->peer_verified = route_peer_verified;
	api->branch_add = route_branch_add;
	api->peer_usable = route_peer_usable;
	api->branch_state = route_branch_state;
	api->peer_failed = route_peer_failed;
	api->headers_strip = route_header_strip;
	api->peer_session = route_peer_session;
	api->branch_session = route_branch_session;
	return 0;
}

static cmd_export_t cmds[] = {
	{"p2p_is_peer", (cmd_function)w_is_peer, 0, 0, 0, ANY_ROUTE},
	{"p2p_is_peer_branch", (cmd_function)w_is_peer_branch, 0, 0, 0, ANY_ROUTE},
	{"p2p_strip_headers", (cmd_function)w_strip, 0, 0, 0, REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_dialog", (cmd_function)w_dialog, 0, 0, 0, REQUEST_ROUTE},
	{"p2p_route_bind", (cmd_function)(void (*)(void))bind_route, 1, 0, 0, 0},
	{0, 0, 0, 0, 0, 0},
};

static param_export_t params[] = {
	{"peer", PARAM_STRING | PARAM_USE_FUNC, (void *)peer_param},
	{"advertise", PARAM_STRING | PARAM_USE_FUNC, (void *)advertise_param},
	{"socket", PARAM_STRING | PARAM_USE_FUNC, (void *)socket_param},
	{"tcp_threshold", PARAM_INT, &route_settings.tcp_threshold},
	{"peer_timeout_ms", PARAM_INT, &route_settings.peer_timeout_ms},
	{"probe_after_ms", PARAM_INT, &route_settings.probe_after_ms},
	{"peer_down_ms", PARAM_INT, &route_settings.peer_down_ms},
	{"max_hops", PARAM_INT, &route_settings.max_hops},
	{"max_peers", PARAM_INT, &route_settings.max_peers},
	{"replay_max", PARAM_INT, &route_settings.replay_max},
	{"calls_max", PARAM_INT, &route_settings.calls_max},
	{"call_max_s", PARAM_INT, &route_settings.call_max_s},
	{"tls_certificate", PARAM_STR, &route_settings.tls_certificate},
	{0, 0, 0},
};

struct module_exports exports = {
	.name = "p2p_route",
	.dlflags = DEFAULT_DLFLAGS,
	.cmds = cmds,
	.params = params,
	.init_mod_f = mod_init,
	.init_child_f = child_init,
	.destroy_mod_f = mod_destroy,
};

#define KEMI_NONE                                                                                  \
	{                                                                                          \
		SR_KEMIP_NONE, SR_KEMIP_NONE, SR_KEMIP_NONE, SR_KEMIP_NONE, SR_KEMIP_NONE,         \
			SR_KEMIP_NONE                                                              \
	}

static sr_kemi_t kemi[] = {
	{str_init("p2p_route"), str_init("is_peer"), SR_KEMIP_INT, ki_is_peer, KEMI_NONE},
	{str_init("p2p_route"), str_init("is_peer_branch"), SR_KEMIP_INT, ki_is_peer_branch,
	 KEMI_NONE},
	{str_init("p2p_route"), str_init("strip_headers"), SR_KEMIP_INT, ki_strip, KEMI_NONE},
	{str_init("p2p_route"), str_init("dialog"), SR_KEMIP_INT, ki_dialog, KEMI_NONE},
	{{0, 0}, {0, 0}, 0, NULL, KEMI_NONE},
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
