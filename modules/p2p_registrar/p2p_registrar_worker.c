// SPDX-License-Identifier: GPL-2.0-or-later
/* The lookup workers: processes that continue suspended requests and do nothing else. All of them
 * wait on one end of a socket pair made before forking; p2p_usrloc's client process writes the
 * address of each answered question to the other end, one datagram each. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/cfg/cfg_struct.h"
#include "core/pt.h"
#include "core/sr_module.h"
#include "p2p_registrar.h"

static int fds[2] = {-1, -1}; /* [0] written to, [1] read from */

int reg_workers_init(void)
{
	int size = 1 << 20;

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) < 0) {
		LM_ERR("socketpair: %s\n", strerror(errno));
		return -1;
	}
	/* answers to many requests at once; p2p_usrloc waits when it is full */
	if (setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0)
		LM_DBG("SO_SNDBUF: %s\n", strerror(errno));
	register_procs(reg_settings.lookup_workers);
	cfg_register_child(reg_settings.lookup_workers);
	return 0;
}

int reg_workers_reply_fd(void)
{
	return fds[0];
}

static void worker_run(void)
{
	struct p2p_question *q;
	ssize_t n;

	for (;;) {
		n = recv(fds[1], &q, sizeof(q), 0);
		if (n == (ssize_t)sizeof(q)) {
			reg_finish(q);
		} else if (n >= 0 || (errno != EINTR && errno != EAGAIN)) {
			LM_CRIT("lookup worker: %s\n", n < 0 ? strerror(errno) : "short read");
			exit(1);
		}
	}
}

int reg_workers_fork(void)
{
	int i, pid;

	for (i = 0; i < reg_settings.lookup_workers; i++) {
		pid = fork_process(PROC_XWORKER, "p2p_registrar lookup", 1);
		if (pid < 0) {
			LM_ERR("cannot fork a lookup worker\n");
			return -1;
		}
		if (pid == 0) {
			if (cfg_child_init() < 0)
				exit(1);
			worker_run();
		}
	}
	return 0;
}

void reg_workers_destroy(void)
{
	if (fds[0] >= 0)
		close(fds[0]);
	if (fds[1] >= 0)
		close(fds[1]);
	fds[0] = fds[1] = -1;
}
