/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Module p2p_media: parameters, script functions, life cycle. */
#include <string.h>
#include <sys/un.h>
#include "core/dprint.h"
#include "core/kemi.h"
#include "core/mod_fix.h"
#include "core/sr_module.h"
#include "modules/p2p_media/p2p_media.h"

MODULE_VERSION

#define TIMEOUT_MS_MIN 10
#define TIMEOUT_MS_MAX 2000
#define BREAKER_FAILURES_MAX 100
#define BREAKER_OPEN_MS_MAX 60000

struct p2p_media_config p2p_media_config = {
	.relay_socket = str_init("/run/p2psip/relay.sock"),
	.timeout_ms = 150,
	.breaker_failures = 3,
	.breaker_open_ms = 1000,
	.anchor = P2P_MEDIA_ALWAYS,
	.rr_param = str_init("p2pm"),
	.ice = str_init("remove"),
	.nat_bflag = -1,
	.phone_media = "osrtp",
	.srtp_bflag = -1,
	.dtls_bflag = -1,
};
struct tm_binds p2p_media_tm;
struct rr_binds p2p_media_rr;
p2p_route_api_t p2p_media_route;

static str anchor_name = str_init("always");
static str phone_media_name = str_init("osrtp"), peer_media_name = str_init("any");

/* --- script functions ----------------------------------------------------------------------- */

static int ki_manage(struct sip_msg *msg)
{
	return p2p_media_handle_message(msg, P2P_MEDIA_AUTO);
}

static int ki_offer(struct sip_msg *msg)
{
	return p2p_media_handle_message(msg, P2P_MEDIA_OFFER);
}

static int ki_answer(struct sip_msg *msg)
{
	return p2p_media_handle_message(msg, P2P_MEDIA_ANSWER);
}

static int w_manage(struct sip_msg *msg, char *a, char *b)
{
	(void)a;
	(void)b;
	return ki_manage(msg);
}

static int w_offer(struct sip_msg *msg, char *a, char *b)
{
	(void)a;
	(void)b;
	return ki_offer(msg);
}

static int w_answer(struct sip_msg *msg, char *a, char *b)
{
	(void)a;
	(void)b;
	return ki_answer(msg);
}

static int w_delete(struct sip_msg *msg, char *a, char *b)
{
	(void)a;
	(void)b;
	return p2p_media_release(msg);
}

static int w_refuse(struct sip_msg *msg, char *a, char *b)
{
	(void)a;
	(void)b;
	return p2p_media_refuse(msg);
}

static int w_failed(struct sip_msg *msg, char *a, char *b)
{
	(void)a;
	(void)b;
	return p2p_media_failed(msg);
}

#define ANY_MESSAGE                                                                                \
	(REQUEST_ROUTE | FAILURE_ROUTE | BRANCH_ROUTE | ONREPLY_ROUTE | BRANCH_FAILURE_ROUTE)

static cmd_export_t commands[] = {
	{"p2p_media_manage", (cmd_function)w_manage, 0, 0, 0, ANY_MESSAGE},
	{"p2p_media_offer", (cmd_function)w_offer, 0, 0, 0,
	 REQUEST_ROUTE | BRANCH_ROUTE | ONREPLY_ROUTE},
	{"p2p_media_answer", (cmd_function)w_answer, 0, 0, 0,
	 REQUEST_ROUTE | BRANCH_ROUTE | ONREPLY_ROUTE},
	{"p2p_media_delete", (cmd_function)w_delete, 0, 0, 0, ANY_MESSAGE},
	{"p2p_media_failed", (cmd_function)w_failed, 0, 0, 0, REQUEST_ROUTE | FAILURE_ROUTE},
	{"p2p_media_refuse", (cmd_function)w_refuse, 0, 0, 0, REQUEST_ROUTE | FAILURE_ROUTE},
	{0, 0, 0, 0, 0, 0},
};

static param_export_t parameters[] = {
	{"relay_socket", PARAM_STR, &p2p_media_config.relay_socket},
	{"timeout_ms", PARAM_INT, &p2p_media_config.timeout_ms},
	{"breaker_failures", PARAM_INT, &p2p_media_config.breaker_failures},
	{"breaker_open_ms", PARAM_INT, &p2p_media_config.breaker_open_ms},
	{"anchor", PARAM_STR, &anchor_name},
	{"rr_param", PARAM_STR, &p2p_media_config.rr_param},
	{"ice", PARAM_STR, &p2p_media_config.ice},
	{"flags", PARAM_STR, &p2p_media_config.flags},
	{"nat_bflag", PARAM_INT, &p2p_media_config.nat_bflag},
	{"peer_media", PARAM_STR, &peer_media_name},
	{"phone_media", PARAM_STR, &phone_media_name},
	{"srtp_bflag", PARAM_INT, &p2p_media_config.srtp_bflag},
	{"dtls_bflag", PARAM_INT, &p2p_media_config.dtls_bflag},
	{0, 0, 0},
};

#define NO_PARAMETERS                                                                              \
	{                                                                                          \
		SR_KEMIP_NONE, SR_KEMIP_NONE, SR_KEMIP_NONE, SR_KEMIP_NONE, SR_KEMIP_NONE,         \
			SR_KEMIP_NONE                                                              \
	}

static sr_kemi_t kemi_exports[] = {
	{str_init(P2P_MEDIA_NAME), str_init("p2p_media_manage"), SR_KEMIP_INT, ki_manage,
	 NO_PARAMETERS},
	{str_init(P2P_MEDIA_NAME), str_init("p2p_media_offer"), SR_KEMIP_INT, ki_offer,
	 NO_PARAMETERS},
	{str_init(P2P_MEDIA_NAME), str_init("p2p_media_answer"), SR_KEMIP_INT, ki_answer,
	 NO_PARAMETERS},
	{str_init(P2P_MEDIA_NAME), str_init("p2p_media_delete"), SR_KEMIP_INT, p2p_media_release,
	 NO_PARAMETERS},
	{str_init(P2P_MEDIA_NAME), str_init("p2p_media_failed"), SR_KEMIP_INT, p2p_media_failed,
	 NO_PARAMETERS},
	{str_init(P2P_MEDIA_NAME), str_init("p2p_media_refuse"), SR_KEMIP_INT, p2p_media_refuse,
	 NO_PARAMETERS},
	{{0, 0}, {0, 0}, 0, NULL, {0, 0, 0, 0, 0, 0}},
};

/* --- life cycle ----------------------------------------------------------------------------- */

static bool is(const str *s, const char *word)
{
	return s->len == (int)strlen(word) && strncmp(s->s, word, (size_t)s->len) == 0;
}

static bool range(const char *name, int value, int min, int max)
{
	if (value >= min && value <= max)
		return true;
	LM_ERR("parameter %s is %d: must be %d to %d\n", name, value, min, max);
	return false;
}

static int parameters_check(void)
{
	static const char *const phone_media[] = {"osrtp", "rtp", "srtp-sdes", "srtp-dtls", NULL};
	struct p2p_media_config *c = &p2p_media_config;
	int i;

	if (is(&anchor_name, "always")) {
		c->anchor = P2P_MEDIA_ALWAYS;
	} else if (is(&anchor_name, "never")) {
		c->anchor = P2P_MEDIA_NEVER;
	} else if (is(&anchor_name, "nat")) {
		c->anchor = P2P_MEDIA_NAT;
	} else {
		LM_ERR("parameter anchor is \"%.*s\": must be always, never or nat\n",
		       anchor_name.len, anchor_name.s);
		return -1;
	}
	if (!is(&c->ice, "remove") && !is(&c->ice, "force") && !is(&c->ice, "keep")) {
		LM_ERR("parameter ice is \"%.*s\": must be remove, force or keep\n", c->ice.len,
		       c->ice.s);
		return -1;
	}
	if (!is(&peer_media_name, "any")) {
		c->peer_media = p2p_media_parse(peer_media_name.s, (size_t)peer_media_name.len);
		if (c->peer_media == 0) {
			LM_ERR("parameter peer_media is \"%.*s\": must be any, rtp, srtp-sdes or "
			       "srtp-dtls\n",
			       peer_media_name.len, peer_media_name.s);
			return -1;
		}
	}
	for (i = 0; phone_media[i] != NULL && !is(&phone_media_name, phone_media[i]); i++)
		;
	c->phone_media = phone_media[i];
	if (c->phone_media == NULL) {
		LM_ERR("parameter phone_media is \"%.*s\": must be osrtp, rtp, srtp-sdes or "
		       "srtp-dtls\n",
		       phone_media_name.len, phone_media_name.s);
		return -1;
	}
	if (!range("srtp_bflag", c->srtp_bflag, -1, 31) ||
	    !range("dtls_bflag", c->dtls_bflag, -1, 31) ||
	    !range("timeout_ms", c->timeout_ms, TIMEOUT_MS_MIN, TIMEOUT_MS_MAX) ||
	    !range("breaker_failures", c->breaker_failures, 1, BREAKER_FAILURES_MAX) ||
	    !range("breaker_open_ms", c->breaker_open_ms, 1, BREAKER_OPEN_MS_MAX) ||
	    !range("nat_bflag", c->nat_bflag, -1, 31))
		return -1;
	if (c->relay_socket.len == 0 || c->relay_socket.s[0] != '/' ||
	    c->relay_socket.len >= (int)sizeof(((struct sockaddr_un *)0)->sun_path)) {
		LM_ERR("parameter relay_socket is \"%.*s\": must be an absolute path of at most "
		       "107 bytes\n",
		       c->relay_socket.len, c->relay_socket.s);
		return -1;
	}
	for (i = 0; i < c->rr_param.len; i++)
		if ((c->rr_param.s[i] < 'a' || c->rr_param.s[i] > 'z') &&
		    (i == 0 || c->rr_param.s[i] < '0' || c->rr_param.s[i] > '9'))
			break;
	if (i < c->rr_param.len || i == 0 || i > 16) {
		LM_ERR("parameter rr_param is \"%.*s\": must be a lower-case letter and up to 15 "
		       "letters and digits\n",
		       c->rr_param.len, c->rr_param.s);
		return -1;
	}
	return 0;
}

static int mod_init(void)
{
	if (parameters_check() < 0)
		return -1;
	if (load_tm_api(&p2p_media_tm) < 0) {
		LM_ERR("module tm must be loaded before this one\n");
		return -1;
	}
	if (load_rr_api(&p2p_media_rr) < 0) {
		LM_ERR("module rr must be loaded before this one\n");
		return -1;
	}
	/* without p2p_route everybody is a phone */
	if (module_loaded("p2p_route") && p2p_route_load_api(&p2p_media_route) < 0)
		return -1;
	if (p2p_media_stats_init() < 0 || p2p_media_rpc_init() < 0 || p2p_media_relay_init() < 0 ||
	    p2p_media_transport_init() < 0 || p2p_media_session_init() < 0 ||
	    p2p_media_dialog_init() < 0)
		return -1;
	return 0;
}

static int child_init(int rank)
{
	/* what the parent had open stays the parent's */
	if (rank != PROC_INIT)
		p2p_media_relay_close();
	return 0;
}

static void mod_destroy(void)
{
	p2p_media_session_destroy();
	p2p_media_transport_destroy();
	p2p_media_relay_destroy();
}

struct module_exports exports = {
	P2P_MEDIA_NAME,	 /* module name */
	DEFAULT_DLFLAGS, /* dlopen flags */
	commands,	 /* exported functions */
	parameters,	 /* exported parameters */
	0,		 /* RPC: registered in mod_init */
	0,		 /* exported pseudo-variables */
	0,		 /* response handling function */
	mod_init,	 /* module init function */
	child_init,	 /* per child init function */
	mod_destroy,	 /* destroy function */
};

int mod_register(char *path, int *dlflags, void *p1, void *p2);

int mod_register(char *path, int *dlflags, void *p1, void *p2)
{
	(void)path;
	(void)dlflags;
	(void)p1;
	(void)p2;
	sr_kemi_modules_add(kemi_exports);
	return 0;
}
