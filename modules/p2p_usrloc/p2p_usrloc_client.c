/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: the client process, which alone talks to the gateway. One poll loop with deadlines
 * of its own; nothing in it blocks.
 *
 * Three kinds of connection: `main` publishes and is what "connected" means (_client_main.c); `sub`
 * is told of changes (_client_sub.c); a pool asks (_lookup.c). */
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/cfg/cfg_struct.h"
#include "core/dprint.h"
#include "core/mem/mem.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_back.h"
#include "modules/p2p_usrloc/p2p_usrloc_client_priv.h"
#include "modules/p2p_usrloc/p2p_usrloc_confirm.h"
#include "modules/p2p_usrloc/p2p_usrloc_lookup.h"

#define SWEEP_MS 60000

/* the client process' own */
static uint64_t next_sweep_ms;

static int handshake_send(struct pul_conn *conn, uint64_t deadline_ms, pul_reply_h *h)
{
	return pul_client_shake(conn, deadline_ms, NULL, h);
}

static void wake_read(void)
{
	uint64_t count;
	ssize_t n = read(pul_wake_fd, &count, sizeof(count));

	(void)n; /* EAGAIN: nobody woke us */
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t loop_due(uint64_t now)
{
	uint64_t due = earlier(pul_scan_due(), next_sweep_ms);

	due = earlier(due, earlier(pul_main_due(), pul_sub_due()));
	due = earlier(due, earlier(pul_publish_due(now), pul_client_sessions_due()));
	due = earlier(due, earlier(pul_lookup_due(), pul_confirm_due()));
	return earlier(due, pul_back_due());
}

void pul_client_run(void)
{
	const unsigned int n_fixed = 3,
			   n_max = n_fixed + (unsigned int)pul_settings.query_connections;
	struct pul_conn *const main_conn = pul_main_conn(), *const sub_conn = pul_sub_conn();
	struct pollfd *fds = pkg_malloc(n_max * sizeof(*fds));
	uint64_t now, due;
	unsigned int n;
	int timeout, i;

	if (fds == NULL || pul_publish_init() != 0 || pul_lookup_init(handshake_send) != 0) {
		LM_ERR("no private memory for the client process\n");
		exit(-1);
	}
	/* Kamailio's own start may have taken longer than a gateway is waited for */
	atomic_store(&pul_shared->gateway_changed_ms, pul_now_ms());
	pul_main_init();
	pul_sub_init();
	pul_confirm_init(pul_client_instance(), main_conn, pul_publish_seq_next);
	next_sweep_ms = pul_now_ms() + SWEEP_MS;
	pul_pieces_shared_init();

	for (;;) {
		now = pul_now_ms();
		pul_pieces_shared_run();
		pul_main_run(now);
		pul_sub_run(now);
		pul_scan_run(now);
		if (atomic_exchange(&pul_shared->wake_now, 0))
			pul_lookup_questions(pul_question_take_all());
		pul_back_run(now);
		pul_publish_run(now);
		pul_confirm_run(now);
		pul_client_sessions_run(now);
		if (now >= next_sweep_ms) {
			pul_cache_sweep(pul_routes);
			pul_cache_sweep(pul_peers);
			next_sweep_ms = now + SWEEP_MS;
		}
		pul_conn_flush(main_conn);
		pul_conn_flush(sub_conn);
		pul_lookup_flush();

		fds[0].fd = pul_wake_fd;
		fds[0].events = POLLIN;
		fds[1].fd = main_conn->fd; /* negative: poll passes over it */
		fds[1].events = pul_conn_events(main_conn);
		fds[2].fd = sub_conn->fd;
		fds[2].events = pul_conn_events(sub_conn);
		n = n_fixed + pul_lookup_poll(fds + n_fixed, n_max - n_fixed);
		now = pul_now_ms();
		due = loop_due(now);
		if (main_conn->doomed || sub_conn->doomed || due <= now)
			timeout = 0;
		else
			timeout = due - now > 10000 ? 10000 : (int)(due - now);
		if (poll(fds, n, timeout) < 0) {
			for (i = 0; i < (int)n; i++)
				fds[i].revents = 0;
		}
		cfg_update();
		if (fds[0].revents != 0)
			wake_read();
		if (fds[1].revents != 0)
			pul_conn_io(main_conn, fds[1].revents);
		if (fds[2].revents != 0)
			pul_conn_io(sub_conn, fds[2].revents);
		pul_lookup_run(fds + n_fixed, n - n_fixed);
		/* first of all: whoever is told of the loss must not find it connected */
		pul_main_reap();
		pul_sub_reap();
	}
}
