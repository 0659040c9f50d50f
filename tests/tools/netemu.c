/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * netemu: a network between namespaces with delay, jitter, loss and outages, for kernels without
 * netem. One process, a TUN interface in each node's namespace; packets are switched by their
 * destination address. Told what to do over a SOCK_SEQPACKET unix socket: see emu_command.h.
 */
#include "tests/tools/emu_command.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define QUEUE_DEFAULT 16384
#define CLIENTS_MAX 16
#define READS_MAX 64 /* from one interface before the others have their turn */

/* epoll's data: below EMU_NODES_MAX a node, then a client, then these */
enum { SOURCE_CLIENT = EMU_NODES_MAX, SOURCE_LISTEN = SOURCE_CLIENT + CLIENTS_MAX, SOURCE_SIGNAL };

struct netemu {
	struct emu_hub *hub;
	int epoll, listen, signals, own_netns;
	int tun[EMU_NODES_MAX];
	int client[CLIENTS_MAX];
};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int watch(const struct netemu *e, int fd, unsigned int source)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = source};

	return epoll_ctl(e->epoll, EPOLL_CTL_ADD, fd, &ev) == 0 ? 0 : errno;
}

static int tun_create(const char *device, int *out)
{
	struct ifreq req;
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), err;

	if (fd < 0)
		return errno;
	memset(&req, 0, sizeof(req));
	req.ifr_flags = IFF_TUN | IFF_NO_PI;
	strncpy(req.ifr_name, device, sizeof(req.ifr_name) - 1);
	if (ioctl(fd, TUNSETIFF, &req) < 0) {
		err = errno;
		close(fd);
		return err;
	}
	*out = fd;
	return 0;
}

/* The interface belongs to the namespace it was made in, and goes when its descriptor does. */
static int node_open(void *arg, unsigned int id, const char *netns, const char *device)
{
	struct netemu *e = arg;
	int ns, fd = -1, err;

	ns = open(netns, O_RDONLY | O_CLOEXEC);
	if (ns < 0)
		return errno;
	err = setns(ns, CLONE_NEWNET) == 0 ? 0 : errno;
	close(ns);
	if (!err)
		err = tun_create(device, &fd);
	if (setns(e->own_netns, CLONE_NEWNET) < 0 && !err)
		err = errno;
	if (!err)
		err = watch(e, fd, id);
	if (err) {
		if (fd >= 0)
			close(fd);
		return err;
	}
	e->tun[id] = fd;
	return 0;
}

static void node_close(void *arg, unsigned int id)
{
	struct netemu *e = arg;

	if (e->tun[id] >= 0)
		close(e->tun[id]);
	e->tun[id] = -1;
}

static void tun_read(struct netemu *e, unsigned int id)
{
	uint8_t packet[EMU_PACKET_MAX];
	ssize_t n;
	int i;

	for (i = 0; i < READS_MAX && e->tun[id] >= 0; i++) {
		n = read(e->tun[id], packet, sizeof(packet));
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				node_close(e, id); /* its namespace is gone */
			return;
		}
		emu_hub_send(e->hub, id, now_us(), packet, (size_t)n);
	}
}

static void deliver(struct netemu *e)
{
	struct emu_queue *q = emu_hub_queue(e->hub);
	uint64_t now = now_us();
	const void *packet;
	unsigned int to;
	size_t len;

	while ((packet = emu_queue_take(q, now, &to, &len)) != NULL) {
		/* an interface that is down or gone takes nothing: as a cable that is out */
		if (e->tun[to] >= 0 && write(e->tun[to], packet, len) < 0)
			continue;
	}
}

static void client_accept(struct netemu *e)
{
	int fd = accept4(e->listen, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	unsigned int i;

	for (i = 0; fd >= 0 && i < CLIENTS_MAX; i++) {
		if (e->client[i] < 0 && !watch(e, fd, SOURCE_CLIENT + i)) {
			e->client[i] = fd;
			return;
		}
	}
	if (fd >= 0)
		close(fd);
}

static void client_read(struct netemu *e, unsigned int i)
{
	const struct emu_command_handlers h = {node_open, node_close, e};
	char text[EMU_COMMAND_MAX + 1], reply[EMU_COMMAND_MAX];
	ssize_t n = recv(e->client[i], text, EMU_COMMAND_MAX, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		text[n] = '\0';
		emu_command_run(e->hub, &h, now_us(), text, reply, sizeof(reply));
		if (send(e->client[i], reply, strlen(reply), MSG_NOSIGNAL) >= 0)
			return;
	}
	close(e->client[i]);
	e->client[i] = -1;
}

static int loop(struct netemu *e)
{
	struct epoll_event ev[EMU_NODES_MAX];
	struct timespec wait;
	uint64_t due, now;
	int i, n;

	for (;;) {
		due = emu_queue_due(emu_hub_queue(e->hub));
		now = now_us();
		due = due > now ? due - now : 0;
		if (due > 1000000)
			due = 1000000;
		wait.tv_sec = (time_t)(due / 1000000);
		wait.tv_nsec = (long)(due % 1000000) * 1000;
		n = epoll_pwait2(e->epoll, ev, EMU_NODES_MAX, &wait, NULL);
		if (n < 0 && errno != EINTR)
			return errno;
		for (i = 0; i < n; i++) {
			unsigned int s = ev[i].data.u32;

			if (s == SOURCE_SIGNAL)
				return 0;
			if (s == SOURCE_LISTEN)
				client_accept(e);
			else if (s >= SOURCE_CLIENT && e->client[s - SOURCE_CLIENT] >= 0)
				client_read(e, s - SOURCE_CLIENT);
			else if (s < EMU_NODES_MAX && e->tun[s] >= 0)
				tun_read(e, s);
		}
		deliver(e);
	}
}

static int control_listen(struct netemu *e, const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(sa.sun_path))
		return ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	e->listen = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	umask(0077);
	if (e->listen < 0 || bind(e->listen, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(e->listen, CLIENTS_MAX) < 0)
		return errno;
	return watch(e, e->listen, SOURCE_LISTEN);
}

static int start(struct netemu *e, const char *path, uint64_t seed)
{
	sigset_t set;
	unsigned int i;
	int err;

	for (i = 0; i < EMU_NODES_MAX; i++)
		e->tun[i] = -1;
	for (i = 0; i < CLIENTS_MAX; i++)
		e->client[i] = -1;
	err = emu_hub_new(&e->hub, seed, QUEUE_DEFAULT);
	if (err)
		return err;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	e->own_netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	e->epoll = epoll_create1(EPOLL_CLOEXEC);
	e->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (e->own_netns < 0 || e->epoll < 0 || e->signals < 0)
		return errno;
	err = watch(e, e->signals, SOURCE_SIGNAL);
	return err ? err : control_listen(e, path);
}

int main(int argc, char **argv)
{
	struct netemu e = {.epoll = -1, .listen = -1, .signals = -1, .own_netns = -1};
	char *end = NULL;
	uint64_t seed = argc == 3 ? strtoull(argv[2], &end, 10) : 1;
	int err;

	if (argc < 2 || argc > 3 || argv[1][0] == '-' || (end && *end != '\0')) {
		fputs("usage: netemu SOCKET [SEED]\n", stderr);
		return 2;
	}
	err = start(&e, argv[1], seed);
	if (!err)
		err = loop(&e);
	unlink(argv[1]);
	emu_hub_free(e.hub);
	if (err)
		fprintf(stderr, "netemu: %s\n", strerror(err));
	return err ? 1 : 0;
}
