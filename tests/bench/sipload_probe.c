/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Probes: a MESSAGE to a user by way of one of several proxies, and whether it arrived. The
 * callee's socket answers 200 to whatever reaches it.
 *
 * A probe is open from its first sending until its final response, or its time limit. */
#include "sipload.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS 8192
#define SCAN_EVERY (10 * SL_MS) /* between looks for what to send again */

struct probe {
	unsigned int no; /* tells this use of the slot from others */
	unsigned int user, way;
	int open;
	int64_t tx_wall, arrived; /* arrived 0: not seen at the callee */
	int64_t again_at, rto, give_up;
};

struct probes {
	const struct sl_opts *o;
	probe_h *h;
	probe_reply_h *other;
	void *arg;
	int fd, callee_fd;
	unsigned int made, open;
	unsigned int free_n, free[SLOTS];
	int64_t scan_at, limit_ms;
	struct probe slot[SLOTS];
};

static void probe_message(struct probes *ps, unsigned int i, int64_t *tx)
{
	const struct sl_opts *o = ps->o;
	struct probe *p = &ps->slot[i];
	struct sip_out m;

	m.len = 0;
	m.full = 0;
	sip_put(&m,
		"MESSAGE sip:u%06u@%s SIP/2.0\r\n"
		"Via: SIP/2.0/UDP %s;branch=z9hG4bKp%s-%u-%u;rport\r\n"
		"Max-Forwards: 70\r\n"
		"From: <sip:caller@%s>;tag=p%s%u\r\n"
		"To: <sip:u%06u@%s>\r\n"
		"Call-ID: probe-%u-%u-%s\r\n"
		"CSeq: 1 MESSAGE\r\n"
		"Content-Type: text/plain\r\n"
		"Content-Length: 2\r\n\r\nhi",
		p->user, o->domain, o->local.text, o->seed, i, p->no, o->domain, o->seed, p->no,
		p->user, o->domain, i, p->no, o->seed);
	net_send(ps->fd, &o->via[p->way], m.s, m.len, tx);
}

static struct probe *probe_find(struct probes *ps, const struct sip_view *v)
{
	const struct sip_span *cid = sip_header(v, "Call-ID", 0);
	unsigned int i, no;
	char seed[64];

	if (cid == NULL || sscanf(cid->s, "probe-%u-%u-%63[^\r\n]", &i, &no, seed) != 3 ||
	    strcmp(seed, ps->o->seed) != 0 || i >= SLOTS || !ps->slot[i].open ||
	    ps->slot[i].no != no)
		return NULL;
	return &ps->slot[i];
}

static void probe_end(struct probes *ps, struct probe *p, int status, int64_t rx_wall)
{
	struct probe_result r = {
		.user = p->user,
		.way = p->way,
		.status = status,
		.sent = p->tx_wall,
		.arrived = p->arrived,
		.answered = rx_wall,
	};

	p->open = 0;
	ps->open--;
	ps->free[ps->free_n++] = (unsigned int)(p - ps->slot);
	ps->h(&r, ps->arg);
}

int probes_new(struct probes **psp, const struct sl_opts *o, probe_h *h, probe_reply_h *other,
	       unsigned int limit_ms, void *arg)
{
	struct probes *ps = calloc(1, sizeof(*ps));
	unsigned int i;
	int err;

	if (ps == NULL)
		return ENOMEM;
	ps->o = o;
	ps->h = h;
	ps->other = other;
	ps->limit_ms = limit_ms;
	ps->arg = arg;
	ps->fd = ps->callee_fd = -1;
	for (i = SLOTS; i > 0; i--)
		ps->free[ps->free_n++] = i - 1;
	err = net_sock_open(o->local_ns, &o->local, &ps->fd);
	if (err == 0)
		err = net_sock_open(o->callee_ns, &o->callee, &ps->callee_fd);
	if (err) {
		probes_destroy(ps);
		return err;
	}
	*psp = ps;
	return 0;
}

void probes_destroy(struct probes *ps)
{
	if (ps == NULL)
		return;
	if (ps->fd >= 0)
		close(ps->fd);
	if (ps->callee_fd >= 0)
		close(ps->callee_fd);
	free(ps);
}

int probes_fd(const struct probes *ps)
{
	return ps->fd;
}

unsigned int probes_open(const struct probes *ps)
{
	return ps->open;
}

int probe_send(struct probes *ps, unsigned int user, unsigned int way)
{
	int64_t now = net_mono_ns();
	struct probe *p;
	unsigned int i;

	if (ps->free_n == 0)
		return EAGAIN;
	i = ps->free[--ps->free_n];
	p = &ps->slot[i];
	memset(p, 0, sizeof(*p));
	p->no = ps->made++;
	p->user = user;
	p->way = way;
	p->open = 1;
	p->rto = SL_T1;
	p->again_at = now + SL_T1;
	p->give_up = now + ps->limit_ms * SL_MS;
	ps->open++;
	probe_message(ps, i, &p->tx_wall);
	return 0;
}

/* Whatever reaches the callee is answered 200, keep-alives too. */
static void callee_request(struct probes *ps, const struct sip_view *v, const struct sl_addr *from,
			   int64_t rx)
{
	struct probe *p = probe_find(ps, v);
	const struct sip_span *to = sip_header(v, "To", 0);
	struct sip_out m;

	if (p != NULL && p->arrived == 0)
		p->arrived = rx;
	if (to == NULL || sip_method_is(v, "ACK"))
		return;
	m.len = 0;
	m.full = 0;
	sip_put(&m, "SIP/2.0 200 OK\r\n");
	sip_put_headers(&m, v, "Via");
	sip_put_headers(&m, v, "From");
	sip_put(&m, "To: %.*s;tag=callee\r\n", (int)to->len, to->s);
	sip_put_headers(&m, v, "Call-ID");
	sip_put_headers(&m, v, "CSeq");
	sip_put(&m, "Content-Length: 0\r\n\r\n");
	net_send(ps->callee_fd, from, m.s, m.len, NULL);
}

static void probes_receive(struct probes *ps, int fd)
{
	char buf[SL_MSG_MAX];
	struct sl_addr from = {0};
	struct sip_view v;
	struct probe *p;
	int64_t rx;
	ssize_t n;

	while ((n = net_recv(fd, buf, sizeof(buf), &from, &rx)) >= 0) {
		if (n < 16 || sip_parse(buf, (size_t)n, &v) != 0)
			continue;
		if (v.status == 0) {
			if (fd == ps->callee_fd)
				callee_request(ps, &v, &from, rx);
		} else if (fd == ps->fd && v.status >= 200) {
			p = sip_method_is(&v, "MESSAGE") ? probe_find(ps, &v) : NULL;
			if (p != NULL)
				probe_end(ps, p, v.status, rx);
			else if (ps->other != NULL && !sip_method_is(&v, "MESSAGE"))
				ps->other(&v, rx, ps->arg);
		}
	}
}

void probes_wait(struct probes *ps, int64_t until)
{
	struct pollfd pfd[2] = {{.fd = ps->fd, .events = POLLIN},
				{.fd = ps->callee_fd, .events = POLLIN}};
	int64_t now = net_mono_ns();
	struct timespec ts = {0};
	unsigned int i;

	if (until > now + SCAN_EVERY)
		until = now + SCAN_EVERY;
	if (until > now)
		ts.tv_nsec = (long)(until - now);
	if (ppoll(pfd, 2, &ts, NULL) > 0) {
		/* the callee first: what has arrived is known when its answer is read */
		probes_receive(ps, ps->callee_fd);
		probes_receive(ps, ps->fd);
	}
	now = net_mono_ns();
	if (now < ps->scan_at)
		return;
	ps->scan_at = now + SCAN_EVERY;
	for (i = 0; ps->open > 0 && i < SLOTS; i++) {
		struct probe *p = &ps->slot[i];

		if (!p->open)
			continue;
		if (now >= p->give_up) {
			probe_end(ps, p, 0, net_wall_ns());
		} else if (now >= p->again_at) {
			probe_message(ps, i, NULL);
			p->rto = p->rto * 2 > SL_T2 ? SL_T2 : p->rto * 2;
			p->again_at = now + p->rto;
		}
	}
}
