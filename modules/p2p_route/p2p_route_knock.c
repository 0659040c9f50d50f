// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/ip_addr.h"
#include "core/parser/parse_uri.h"
#include "core/resolve.h"
#include "p2p_route_knock.h"

/* A socket that nobody has knocked with for so long is closed. */
#define IDLE_MS 1000
#define OPTIONS_MAX 1024

static struct knock {
	bool used, stream;
	int fd;
	struct p2p_hit hit;
	uint64_t sent_ms;
} knocks[ROUTE_KNOCKS_MAX];

static void knock_end(struct knock *k)
{
	close(k->fd);
	k->used = false;
}

static int address_of(const char *text, union sockaddr_union *su, bool *stream)
{
	char copy[256];
	struct sip_uri uri;
	struct ip_addr *ip;
	int len = snprintf(copy, sizeof(copy), "%s", text);

	if (len <= 0 || len >= (int)sizeof(copy) || parse_uri(copy, len, &uri) < 0)
		return -1;
	ip = str2ip(&uri.host);
	if (ip == NULL)
		ip = str2ip6(&uri.host);
	if (ip == NULL)
		return -1;
	/* (over TLS a peer proves itself, or is refused: p2p_route_tls.c) */
	if (uri.proto == PROTO_TLS)
		return -1;
	*stream = uri.proto == PROTO_TCP;
	init_su(su, ip, uri.port_no != 0 ? uri.port_no : SIP_PORT);
	return 0;
}

/* An OPTIONS that is answered to this very socket (RFC 3581). 0 or -1. */
static int options_send(int fd, const char *uri, const char *from)
{
	char text[OPTIONS_MAX], host[INET6_ADDRSTRLEN];
	union sockaddr_union own;
	socklen_t own_len = sizeof(own);
	uint64_t random[2];
	struct ip_addr ip;
	bool v6;
	int len;

	if (getsockname(fd, &own.s, &own_len) < 0 ||
	    getrandom(random, sizeof(random), 0) != sizeof(random))
		return -1;
	su2ip_addr(&ip, &own);
	v6 = ip.af == AF_INET6;
	if (inet_ntop((int)ip.af, ip.u.addr, host, sizeof(host)) == NULL)
		return -1;
	len = snprintf(text, sizeof(text),
		       "OPTIONS %s SIP/2.0\r\n"
		       "Via: SIP/2.0/UDP %s%s%s:%u;rport;branch=z9hG4bK%016llx\r\n"
		       "Max-Forwards: 1\r\n"
		       "From: <%s>;tag=%016llx\r\n"
		       "To: <%s>\r\n"
		       "Call-ID: %016llx%016llx\r\n"
		       "CSeq: 1 OPTIONS\r\n"
		       "Content-Length: 0\r\n\r\n",
		       uri, v6 ? "[" : "", host, v6 ? "]" : "", su_getport(&own),
		       (unsigned long long)random[0], from, (unsigned long long)random[1], uri,
		       (unsigned long long)random[1], (unsigned long long)random[0]);
	if (len <= 0 || len >= (int)sizeof(text))
		return -1;
	return send(fd, text, (size_t)len, MSG_NOSIGNAL) == len ? 0 : -1;
}

static int knock_begin(struct knock *k, const char *uri)
{
	union sockaddr_union su;

	if (address_of(uri, &su, &k->stream) < 0)
		return -1;
	k->fd = socket(su.s.sa_family,
		       (k->stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (k->fd < 0)
		return -1;
	if (connect(k->fd, &su.s, sockaddru_len(su)) < 0 && errno != EINPROGRESS) {
		close(k->fd);
		return -1;
	}
	k->used = true;
	return 0;
}

bool route_knock(const struct p2p_hit *hit, const char *uri, const char *from, uint64_t now_ms)
{
	struct knock *k = NULL;
	int i;

	for (i = 0; i < ROUTE_KNOCKS_MAX; i++) {
		if (knocks[i].used && p2p_hit_cmp(&knocks[i].hit, hit) == 0) {
			k = &knocks[i];
			if (k->stream || now_ms < k->sent_ms + ROUTE_KNOCK_AGAIN_MS)
				return false;
			break;
		}
		if (!knocks[i].used)
			k = &knocks[i];
	}
	if (k == NULL || (!k->used && knock_begin(k, uri) < 0))
		return false;
	k->hit = *hit;
	k->sent_ms = now_ms;
	/* (the refusal of the one before may come out of this: the next one tells) */
	if (!k->stream && options_send(k->fd, uri, from) < 0) {
		knock_end(k);
		return false;
	}
	return true;
}

unsigned int route_knock_poll(struct pollfd *fds)
{
	unsigned int n = 0;
	int i;

	for (i = 0; i < ROUTE_KNOCKS_MAX; i++) {
		if (!knocks[i].used)
			continue;
		fds[n].fd = knocks[i].fd;
		fds[n].events = knocks[i].stream ? POLLOUT : POLLIN;
		fds[n].revents = 0;
		n++;
	}
	return n;
}

/* How the knock ended: 0, it lives; ECONNREFUSED; another errno: nothing is known. */
static int outcome(const struct knock *k)
{
	socklen_t len = sizeof(int);
	char byte;
	int err = 0;

	if (getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return errno;
	if (err != 0)
		return err;
	if (k->stream)
		return EAGAIN; /* somebody listens; whether he answers is another matter */
	return recv(k->fd, &byte, 1, MSG_DONTWAIT) > 0 ? 0 : errno;
}

void route_knock_run(const struct pollfd *fds, unsigned int n, uint64_t now_ms, route_knock_h *h)
{
	unsigned int f;
	int i, err;

	for (i = 0; i < ROUTE_KNOCKS_MAX; i++) {
		struct knock *k = &knocks[i];

		if (!k->used)
			continue;
		for (f = 0; f < n && fds[f].fd != k->fd; f++)
			;
		if (f < n && fds[f].revents != 0) {
			err = outcome(k);
			knock_end(k);
			if (err == 0 || err == ECONNREFUSED)
				h(&k->hit, err != 0, now_ms - k->sent_ms, now_ms);
		} else if (now_ms >= k->sent_ms + IDLE_MS) {
			knock_end(k);
		}
	}
}
