/* SPDX-License-Identifier: GPL-2.0-or-later */
/* REGISTER load: one request for each user at a fixed rate from one socket. With the same seed and
 * a higher CSeq a second run refreshes what the first one registered. */
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
	int done;
};

struct register_load {
	const struct sl_opts *o;
	int fd;
	struct reg *regs;
	unsigned int sent, open, low; /* low: all below are done */
	unsigned long retransmitted, ok;
	struct sl_codes codes;
	struct sl_stats rtt;
};

static void register_send(struct register_load *l, unsigned int i, int64_t *tx_ns)
{
	const struct sl_opts *o = l->o;
	unsigned int u = o->first + i;
	struct sip_out m;

	m.len = 0;
	m.full = 0;
	sip_put(&m,
		"REGISTER sip:%s SIP/2.0\r\n"
		"Via: SIP/2.0/UDP %s;branch=z9hG4bKr%s-%u-%u;rport\r\n"
		"Max-Forwards: 70\r\n"
		"From: <sip:u%06u@%s>;tag=f%s%u\r\n"
		"To: <sip:u%06u@%s>\r\n"
		"Call-ID: reg-%u-%s\r\n"
		"CSeq: %u REGISTER\r\n"
		"Contact: <sip:u%06u@%s>",
		o->domain, o->local.text, o->seed, u, o->cseq, u, o->domain, o->seed, u, u,
		o->domain, i, o->seed, o->cseq, u, o->contact.text);
	if (o->instance)
		sip_put(&m, ";+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-%012u>\"", u);
	sip_put(&m,
		";expires=%u\r\n"
		"User-Agent: sipload\r\n"
		"Content-Length: 0\r\n\r\n",
		o->expires);
	net_send(l->fd, &o->target, m.s, m.len, tx_ns);
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

	if (sip_parse(buf, len, &v) != 0 || v.status < 200 || v.cseq != l->o->cseq)
		return;
	cid = sip_header(&v, "Call-ID", 0);
	if (cid == NULL || sscanf(cid->s, "reg-%u-%63[^\r\n]", &i, seed) != 2 ||
	    strcmp(seed, l->o->seed) != 0 || i >= l->sent || l->regs[i].done)
		return;
	if (v.status < 300) {
		l->ok++;
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

static void register_loop(struct register_load *l)
{
	const struct sl_opts *o = l->o;
	int64_t start = net_mono_ns(), now = start, scan_at = start + SCAN_EVERY;
	int64_t stop = start + o->max_ms * SL_MS;
	double per_ns = o->rate / 1e9;
	char buf[SL_MSG_MAX];

	while ((l->sent < o->users || l->open > 0) && now < stop) {
		struct pollfd pfd = {.fd = l->fd, .events = POLLIN};
		int64_t due = scan_at, rx_ns;
		struct timespec ts = {0};
		unsigned int burst = 0;
		ssize_t n;

		while (l->sent < o->users && burst < BURST_MAX &&
		       (double)(now - start) * per_ns >= (double)l->sent) {
			struct reg *r = &l->regs[l->sent];

			r->rto = SL_T1;
			r->again_at = now + SL_T1;
			r->give_up = now + o->timeout_ms * SL_MS;
			register_send(l, l->sent, &r->first_tx);
			l->sent++;
			l->open++;
			burst++;
		}
		if (l->sent < o->users) {
			int64_t next = start + (int64_t)((double)l->sent / per_ns);

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

int register_run(const struct sl_opts *o)
{
	struct register_load l = {.o = o, .fd = -1};
	int64_t start, took;
	int err, rc = 2;

	l.regs = calloc(o->users, sizeof(l.regs[0]));
	err = l.regs == NULL ? ENOMEM : stats_init(&l.rtt, o->users);
	if (err == 0)
		err = net_sock_open(o->local_ns, &o->local, &l.fd);
	if (err) {
		fprintf(stderr, "sipload: %s: %s\n", o->local.text, strerror(err));
		goto out;
	}
	start = net_mono_ns();
	register_loop(&l);
	took = net_mono_ns() - start;
	printf("{\"mode\": \"register\", \"users\": %u, \"sent\": %u, \"ok\": %lu, \"open\": %u, "
	       "\"retransmitted\": %lu, \"seconds\": %.3f, ",
	       o->users, l.sent, l.ok, l.open, l.retransmitted, (double)took / 1e9);
	codes_print(stdout, "responses", &l.codes);
	fputs(", ", stdout);
	stats_print(stdout, "rtt_ms", &l.rtt, o->samples);
	fputs("}\n", stdout);
	rc = l.ok == o->users ? 0 : 1;
out:
	if (l.fd >= 0)
		close(l.fd);
	stats_destroy(&l.rtt);
	free(l.regs);
	return rc;
}
