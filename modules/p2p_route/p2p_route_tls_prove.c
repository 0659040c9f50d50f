// SPDX-License-Identifier: GPL-2.0-or-later
/* The process that asks peers whose certificate they have: an OPTIONS to the peer's TLS address,
 * which opens a connection or takes the one that is there. The connection that the reply comes
 * over is the one that is proven, or not: its handshake is complete, and its certificate is known.
 *
 * Asked at once when this peer's gateway has opened a session, so that a call finds it done; and
 * whenever something is held. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "core/cfg/cfg_struct.h"
#include "core/pt.h"
#include "core/sr_module.h"
#include "core/timer_ticks.h"
#include "modules/tm/h_table.h"
#include "modules/tm/t_hooks.h"
#include "modules/tm/uac.h"
#include "p2p_route_tls.h"

#define IDLE_MS 1000
#define AWAITING_MS 50

static void answered_h(struct cell *t, int type, struct tmcb_params *ps)
{
	unsigned long ref = (unsigned long)*ps->param;
	struct p2p_hit cert;
	bool good;

	if (type == TMCB_REQUEST_SENT) { /* before its timer starts */
		t->fr_timeout = MS_TO_TICKS((ticks_t)route_settings.peer_timeout_ms);
		return;
	}
	if (ps->rpl == NULL || ps->rpl == FAKED_REPLY)
		return; /* silence: route_tls_overdue() */
	good = route_tls_certificate(ps->rpl, &cert);
	route_tls_answered(ref, ps->rpl->rcv.proto_reserved1, good ? &cert : NULL);
}

static void ask(const struct route_proof *proof)
{
	static str method = str_init("OPTIONS");
	static str headers = str_init("Max-Forwards: 1\r\n");
	str to = {(char *)proof->uri, (int)strlen(proof->uri)};
	struct socket_info *si = route_socket_for(proof->uri);
	uac_req_t req;
	str from;
	int rc;

	if (si == NULL || route_own_uri(&from) < 0) {
		route_tls_unasked(proof->ref);
		return;
	}
	set_uac_req(&req, &method, &headers, NULL, NULL, TMCB_REQUEST_SENT | TMCB_LOCAL_COMPLETED,
		    answered_h, (void *)proof->ref);
	req.ssock = &si->sock_str;
	route_tls_asking(true);
	rc = route_tm.t_request(&req, &to, &to, &from, NULL);
	route_tls_asking(false);
	if (rc < 0)
		route_tls_unasked(proof->ref);
}

static void run(void)
{
	struct pollfd p = {.fd = route_tls_wake_fd(), .events = POLLIN};
	struct route_proof proof;
	bool awaiting = false;

	for (;;) {
		if (poll(&p, 1, awaiting ? AWAITING_MS : IDLE_MS) < 0 && errno != EINTR) {
			LM_CRIT("poll: %s\n", strerror(errno));
			exit(1);
		}
		cfg_update();
		route_tls_woken();
		while (route_tls_next(&proof)) {
			ask(&proof);
			awaiting = true;
		}
		if (awaiting)
			awaiting = route_tls_overdue();
		route_tls_reload_look();
	}
}

int route_tls_prove_init(void)
{
	register_procs(1);
	cfg_register_child(1);
	return 0;
}

int route_tls_prove_child(void)
{
	int pid = fork_process(PROC_XWORKER, "p2p_route tls", 1);

	if (pid < 0) {
		LM_ERR("cannot fork the process that proves peers\n");
		return -1;
	}
	if (pid == 0) {
		if (cfg_child_init() < 0)
			exit(1);
		run();
	}
	return 0;
}
