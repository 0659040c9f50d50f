/* SPDX-License-Identifier: GPL-2.0-or-later */
/* REGISTER load: one request for each user at a fixed rate from one socket. With the same seed and
 * a higher CSeq a second run refreshes what the first one registered. With --mix, users of a pool
 * that an earlier run has registered are refreshed between the first registrations. */
#include "sipload.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BURST_MAX 32		/* requests sent before replies are read again */
#define SCAN_EVERY (20 * SL_MS) /* between looks for what to send again */

struct reg {
	int64_t first_tx; /* wall clock; 0: not sent */
	int64_t again_at; /* next retransmission */
	int64_t rto;
	int64_t give_up;
	unsigned int cseq;
	int done, ok; /* ok: the first one that was counted here had a 2xx */
};

struct register_load {
	const struct sl_opts *o;
	int fd;
	struct reg *regs;
	unsigned int sent, open, low; /* sent: users that have been; low: all below are done */
	unsigned int requests, turn;  /* turn: the pool's user that is refreshed next */
	unsigned long retransmitted, ok;
	struct sl_codes codes;
	struct sl_stats rtt;
};

void register_put(struct sip_out *m, const struct sl_opts *o, unsigned int u, unsigned int cseq)
{
	sip_put(m,
		"REGISTER sip:%s SIP/2.0\r\n"
		"Via: SIP/2.0/UDP %s;branch=z9hG4bKr%s-%u-%u;rport\r\n"
		"Max-Forwards: 70\r\n"
		"From: <sip:u%06u@%s>;tag=f%s%u\r\n"
		"To: <sip:u%06u@%s>\r\n"
		"Call-ID: reg-%u-%s\r\n"
		"CSeq: %u REGISTER\r\n"
		"Contact: <sip:u%06u@%s>",
		o->domain, o->local.text, o->seed, u, cseq, u, o->domain, o->seed, u, u, o->domain,
		u, o->seed, cseq, u, o->contact.text);
	if (o->instance)
		sip_put(m, ";+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-%012u>\"", u);
	sip_put(m,
		";expires=%u\r\n"
		"User-Agent: sipload\r\n"
		"Content-Length: 0\r\n\r\n",
		o->expires);
}

static void register_send(struct register_load *l, unsigned int i, int64_t *tx_ns)
{
	struct sip_out m;

	m.len = 0;
	m.full = 0;
	register_put(&m, l->o, l->o->first + i, l->regs[i].cseq);
	net_send(l->fd, &l->o->target, m.s, m.len, tx_ns);
}

static void register_end(struct register_load *l, struct reg *r, int status)
{
	r->done = 1;
	l->open--;
	codes_add(&l->codes, status);
	while (l->low < l->sent && l->regs[l->low].done)
		l->low++;
}

static void register_reply(struct register_load *l, const char *buf, size_t len, int64_t rx_ns)
{
	struct sip_view v;
	const struct sip_span *cid;
	unsigned int i;
	char seed[64];

	if (sip_parse(buf, len, &v) != 0 || v.status < 200)
		return;
	cid = sip_header(&v, "Call-ID", 0);
	if (cid == NULL || sscanf(cid->s, "reg-%u-%63[^\r\n]", &i, seed) != 2 ||
	    strcmp(seed, l->o->seed) != 0 || i < l->o->first)
		return;
	i -= l->o->first;
	if (i >= l->sent || l->regs[i].done || v.cseq != l->regs[i].cseq)
		return;
	if (v.status < 300) {
		l->ok++;
		l->regs[i].ok = 1;
		stats_add(&l->rtt, (double)(rx_ns - l->regs[i].first_tx) / SL_MS);
	}
	register_end(l, &l->regs[i], v.status);
}

/* RFC 3261, section 17.1.2.2: again after T1, 2*T1, ... up to T2 */
static void register_scan(struct register_load *l, int64_t now)
{
	unsigned int i;

	for (i = l->low; i < l->sent; i++) {
		struct reg *r = &l->regs[i];

		if (r->done)
			continue;
		if (now >= r->give_up) {
			register_end(l, r, 0);
		} else if (now >= r->again_at) {
			register_send(l, i, NULL);
			l->retransmitted++;
			r->rto = r->rto * 2 > SL_T2 ? SL_T2 : r->rto * 2;
			r->again_at = now + r->rto;
		}
	}
}

static void register_begin(struct register_load *l, unsigned int i, int64_t now)
{
	struct reg *r = &l->regs[i];

	r->cseq = r->cseq == 0 ? l->o->cseq : r->cseq + 1;
	r->rto = SL_T1;
	r->again_at = now + SL_T1;
	r->give_up = now + l->o->timeout_ms * SL_MS;
	r->done = 0;
	register_send(l, i, &r->first_tx);
	l->requests++;
	l->open++;
	l->low = i < l->low ? i : l->low;
}

/* The next request: a first registration, or with --mix a refresh of who has no request open. */
static void register_next(struct register_load *l, int64_t now)
{
	const struct sl_opts *o = l->o;
	unsigned int n;

	if (o->mix == 0 || l->requests % (o->mix + 1) == 0) {
		register_begin(l, l->sent++, now);
		return;
	}
	for (n = 0; n < o->pool && !l->regs[l->turn].done; n++)
		l->turn = (l->turn + 1) % o->pool;
	if (!l->regs[l->turn].done) /* all of them: it has to wait */
		return;
	register_begin(l, l->turn, now);
	l->turn = (l->turn + 1) % o->pool;
}

static void register_loop(struct register_load *l)
{
	const struct sl_opts *o = l->o;
	int64_t start = net_mono_ns(), now = start, scan_at = start + SCAN_EVERY;
	int64_t stop = start + o->max_ms * SL_MS;
	double per_ns = o->rate / 1e9;
	unsigned int total = (o->users - o->pool) * (o->mix + 1);
	char buf[SL_MSG_MAX];

	while ((l->requests < total || l->open > 0) && now < stop) {
		struct pollfd pfd = {.fd = l->fd, .events = POLLIN};
		int64_t due = scan_at, rx_ns;
		struct timespec ts = {0};
		unsigned int burst = 0;
		ssize_t n;

		while (l->requests < total && burst++ < BURST_MAX &&
		       (double)(now - start) * per_ns >= (double)l->requests)
			register_next(l, now);
		if (l->requests < total) {
			int64_t next = start + (int64_t)((double)l->requests / per_ns);

			due = next < due ? next : due;
		}
		now = net_mono_ns();
		if (due > now)
			ts.tv_nsec = (long)(due - now); /* below SCAN_EVERY: no seconds */
		if (ppoll(&pfd, 1, &ts, NULL) > 0) {
			while ((n = net_recv(l->fd, buf, sizeof(buf), NULL, &rx_ns)) >= 0)
				register_reply(l, buf, (size_t)n, rx_ns);
		}
		now = net_mono_ns();
		if (now >= scan_at) {
			register_scan(l, now);
			scan_at = now + SCAN_EVERY;
		}
	}
}

/* The users that had a 2xx, as ranges: [[first, last], ...] */
static void acknowledged_print(const struct register_load *l)
{
	unsigned int i, from;
	const char *sep = "";

	fputs(", \"acknowledged\": [", stdout);
	for (i = 0; i < l->sent; i = from + 1) {
		for (from = i; i < l->sent && l->regs[i].ok; i++)
			;
		if (i > from) {
			printf("%s[%u, %u]", sep, l->o->first + from, l->o->first + i - 1);
			sep = ", ";
			from = i;
		}
	}
	fputc(']', stdout);
}

int register_run(const struct sl_opts *o)
{
	struct register_load l = {.o = o, .fd = -1};
	unsigned int i, total = (o->users - o->pool) * (o->mix + 1);
	int64_t start, took;
	int err, rc = 2;

	l.regs = calloc(o->users, sizeof(l.regs[0]));
	err = l.regs == NULL ? ENOMEM : stats_init(&l.rtt, total);
	if (err == 0)
		err = net_sock_open(o->local_ns, &o->local, &l.fd);
	if (err) {
		fprintf(stderr, "sipload: %s: %s\n", o->local.text, strerror(err));
		goto out;
	}
	for (i = 0; i < o->pool; i++) {
		l.regs[i].cseq = o->cseq;
		l.regs[i].done = 1;
	}
	l.sent = o->pool;
	start = net_mono_ns();
	register_loop(&l);
	took = net_mono_ns() - start;
	printf("{\"mode\": \"register\", \"requests\": %u, \"sent\": %u, \"ok\": %lu, \"open\": "
	       "%u, "
	       "\"retransmitted\": %lu, \"seconds\": %.3f, ",
	       total, l.requests, l.ok, l.open, l.retransmitted, (double)took / 1e9);
	codes_print(stdout, "responses", &l.codes);
	fputs(", ", stdout);
	stats_print(stdout, "rtt_ms", &l.rtt, o->samples);
	if (o->acknowledged)
		acknowledged_print(&l);
	fputs("}\n", stdout);
	rc = l.ok == total ? 0 : 1;
out:
	if (l.fd >= 0)
		close(l.fd);
	stats_destroy(&l.rtt);
	free(l.regs);
	return rc;
}
