/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sipload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int net_addr_parse(const char *text, struct sl_addr *a)
{
	struct sl_addr r = {0};
	const char *host = text, *colon = strrchr(text, ':');
	size_t hlen;
	char *end;
	long port;

	if (colon == NULL || colon == text)
		return EINVAL;
	port = strtol(colon + 1, &end, 10);
	if (*end != '\0' || end == colon + 1 || port < 0 || port > 65535)
		return EINVAL;
	hlen = (size_t)(colon - host);
	if (host[0] == '[') {
		if (hlen < 3 || host[hlen - 1] != ']')
			return EINVAL;
		host++;
		hlen -= 2;
	}
	if (hlen >= sizeof(r.host))
		return EINVAL;
	memcpy(r.host, host, hlen);
	if (text[0] == '[') {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&r.ss;

		if (inet_pton(AF_INET6, r.host, &in6->sin6_addr) != 1)
			return EINVAL;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		r.len = sizeof(*in6);
		snprintf(r.text, sizeof(r.text), "[%s]:%ld", r.host, port);
	} else {
		struct sockaddr_in *in = (struct sockaddr_in *)&r.ss;

		if (inet_pton(AF_INET, r.host, &in->sin_addr) != 1)
			return EINVAL;
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		r.len = sizeof(*in);
		snprintf(r.text, sizeof(r.text), "%s:%ld", r.host, port);
	}
	r.family = r.ss.ss_family;
	*a = r;
	return 0;
}

/* Move this thread into the namespace; *home is where it came from. */
static int netns_enter(const char *netns, int *home)
{
	char path[256];
	int old, fd, err = 0;

	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	old = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (old < 0)
		return errno;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		err = errno;
	if (fd >= 0)
		close(fd);
	if (err) {
		close(old);
		return err;
	}
	*home = old;
	return 0;
}

int net_sock_open(const char *netns, const struct sl_addr *local, int *fdp)
{
	int home = -1, fd = -1, err = 0, on = 1, size = 4 << 20;

	if (netns != NULL && (err = netns_enter(netns, &home)) != 0)
		return err;
	fd = socket(local->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		err = errno;
		goto out;
	}
	/* Beyond rmem_max only for root; a smaller buffer is no error. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&local->ss, local->len) < 0) {
		err = errno;
		goto out;
	}
	*fdp = fd;
out:
	if (err && fd >= 0)
		close(fd);
	if (home >= 0) {
		if (setns(home, CLONE_NEWNET) < 0)
			abort(); /* every socket from here on would be in the wrong place */
		close(home);
	}
	return err;
}

int net_send(int fd, const struct sl_addr *to, const char *buf, size_t len, int64_t *tx_ns)
{
	if (tx_ns != NULL)
		*tx_ns = net_wall_ns();
	if (sendto(fd, buf, len, 0, (const struct sockaddr *)&to->ss, to->len) < 0)
		return errno;
	return 0;
}

ssize_t net_recv(int fd, char *buf, size_t size, struct sl_addr *from, int64_t *rx_ns)
{
	char ctl[128];
	struct iovec iov = {.iov_base = buf, .iov_len = size - 1};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = ctl,
			    .msg_controllen = sizeof(ctl)};
	struct cmsghdr *c;
	ssize_t n;

	if (from != NULL) {
		mh.msg_name = &from->ss;
		mh.msg_namelen = sizeof(from->ss);
	}
	n = recvmsg(fd, &mh, 0);
	if (n < 0)
		return -1;
	if (from != NULL) {
		from->len = mh.msg_namelen;
		from->family = from->ss.ss_family;
	}
	buf[n] = '\0';
	*rx_ns = net_wall_ns();
	for (c = CMSG_FIRSTHDR(&mh); c != NULL; c = CMSG_NXTHDR(&mh, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec ts;

			memcpy(&ts, CMSG_DATA(c), sizeof(ts));
			*rx_ns = (int64_t)ts.tv_sec * 1000000000LL + ts.tv_nsec;
		}
	}
	return n;
}

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

int64_t net_mono_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t net_wall_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}
