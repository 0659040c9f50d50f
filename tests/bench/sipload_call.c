/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls from one socket to another through the proxies, one after the other (a probe of latency)
 * or at a rate (a load).
 *
 * caller:  IDLE -> INVITED -> TALKING -> LEAVING -> IDLE
 *              INVITE      2xx, ACK   BYE        200
 * callee:  OFF -> RINGING -> ANSWERED -> ACKED -> OFF
 *             180        200 (again until ACK)   BYE, 200
 * A call ends by its last answer, by a final error, or by its time limit. */
#include "sipload.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK (SL_MS) /* between looks at the calls' timers while any is open */

#define CALLEE_TAG "callee"

enum caller_state { CALLER_IDLE, CALLER_INVITED, CALLER_TALKING, CALLER_LEAVING };
enum callee_state { CALLEE_OFF, CALLEE_RINGING, CALLEE_ANSWERED, CALLEE_ACKED };

struct call {
	unsigned int no, user, way;
	const struct sl_addr *proxy;
	/* caller */
	enum caller_state state;
	int provisional; /* a 1xx stops the INVITE's retransmissions */
	int rung;
	int64_t tx_wall; /* INVITE sent */
	int64_t at, rto; /* next step or retransmission */
	int64_t give_up;
	char to[512];	   /* To of the 2xx, with its tag */
	char target[512];  /* URI of the 2xx's Contact */
	char routes[2048]; /* Route fields, ready to send */
	/* callee */
	enum callee_state cstate;
	int64_t cat, crto;
	char common[SL_MSG_MAX / 2]; /* Via to CSeq of every answer to the INVITE */
	struct sl_addr from;	     /* where answers go */
	int seen;		     /* INVITE reached the callee */
};

struct call_load {
	const struct sl_opts *o;
	int fd, callee_fd;
	struct call *calls;
	unsigned int started, open;
	int64_t next_at; /* sequential: when the next call may begin */
	unsigned long ok, failed, retransmitted, unexpected;
	struct sl_codes codes;
	struct {
		struct sl_stats arrival, ringing, answered;
		unsigned int direct; /* INVITEs whose SDP was the caller's own on arrival */
	} way[2];		     /* by target */
};

/* ---- the caller's messages ---- */

static void call_put_dialog(const struct call_load *l, const struct call *c, struct sip_out *m,
			    const char *method, const char *uri, const char *to, unsigned int cseq)
{
	const struct sl_opts *o = l->o;

	sip_put(m,
		"%s %s SIP/2.0\r\n"
		"Via: SIP/2.0/UDP %s;branch=z9hG4bKc%s-%u-%s%u;rport\r\n"
		"%s"
		"Max-Forwards: 70\r\n"
		"From: <sip:caller@%s>;tag=f%s%u\r\n"
		"To: %s\r\n"
		"Call-ID: call-%u-%s\r\n"
		"CSeq: %u %s\r\n",
		method, uri, o->local.text, o->seed, c->no, strcmp(method, "ACK") == 0 ? "a" : "",
		cseq, c->state == CALLER_INVITED ? "" : c->routes, o->domain, o->seed, c->no, to,
		c->no, o->seed, cseq, method);
}

static void caller_invite(struct call_load *l, struct call *c)
{
	const struct sl_opts *o = l->o;
	int64_t tx;
	char uri[160], to[168];
	struct sip_out m;

	m.len = 0;
	m.full = 0;
	snprintf(uri, sizeof(uri), "sip:u%06u@%s", c->user, o->domain);
	snprintf(to, sizeof(to), "<%s>", uri);
	call_put_dialog(l, c, &m, "INVITE", uri, to, 1);
	sip_put(&m, "Contact: <sip:caller@%s>\r\nUser-Agent: sipload\r\n", o->local.text);
	if (o->sdp)
		sip_put_sdp(&m, &o->local, 20000 + 2 * (c->no % 5000));
	else
		sip_put(&m, "Content-Length: 0\r\n\r\n");
	net_send(l->fd, c->proxy, m.s, m.len, &tx);
	if (c->tx_wall == 0)
		c->tx_wall = tx;
}

static void caller_in_dialog(struct call_load *l, struct call *c, const char *method,
			     unsigned int cseq)
{
	struct sip_out m;

	m.len = 0;
	m.full = 0;
	call_put_dialog(l, c, &m, method, c->target, c->to, cseq);
	sip_put(&m, "Content-Length: 0\r\n\r\n");
	net_send(l->fd, c->proxy, m.s, m.len, NULL);
}

/* RFC 3261, section 17.1.1.3: the ACK to an error is the INVITE's transaction's own */
static void caller_ack_error(struct call_load *l, const struct call *c, const struct sip_view *v)
{
	const struct sl_opts *o = l->o;
	struct sip_out m;

	m.len = 0;
	m.full = 0;
	sip_put(&m,
		"ACK sip:u%06u@%s SIP/2.0\r\n"
		"Via: SIP/2.0/UDP %s;branch=z9hG4bKc%s-%u-1;rport\r\n"
		"Max-Forwards: 70\r\n",
		c->user, o->domain, o->local.text, o->seed, c->no);
	sip_put_headers(&m, v, "From");
	sip_put_headers(&m, v, "To");
	sip_put_headers(&m, v, "Call-ID");
	sip_put(&m, "CSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n");
	net_send(l->fd, c->proxy, m.s, m.len, NULL);
}

/* ---- a call's life ---- */

static void call_begin(struct call_load *l, struct call *c, int64_t now)
{
	const struct sl_opts *o = l->o;

	memset(c, 0, sizeof(*c));
	c->no = l->started++;
	/* With two targets each goes first as often as second. */
	if (o->also.len != 0)
		c->way = (c->no ^ (c->no >> 1)) & 1;
	c->user = o->first + (o->also.len != 0 ? c->no / 2 : c->no) % o->users;
	c->proxy = c->way ? &o->also : &o->target;
	c->state = CALLER_INVITED;
	c->rto = SL_T1;
	c->at = now + SL_T1;
	c->give_up = now + o->timeout_ms * SL_MS;
	l->open++;
	caller_invite(l, c);
}

static void call_end(struct call_load *l, struct call *c, int ok, int64_t now)
{
	if (ok)
		l->ok++;
	else
		l->failed++;
	l->open--;
	c->state = CALLER_IDLE;
	l->next_at = now + l->o->gap_ms * SL_MS;
}

/* The open call that a message belongs to, or NULL. */
static struct call *call_find(struct call_load *l, const struct sip_view *v)
{
	const struct sip_span *cid = sip_header(v, "Call-ID", 0);
	unsigned int no, i;
	char seed[64];

	if (cid == NULL || sscanf(cid->s, "call-%u-%63[^\r\n]", &no, seed) != 2 ||
	    strcmp(seed, l->o->seed) != 0)
		return NULL;
	for (i = 0; i < l->o->active; i++) {
		if (l->calls[i].no == no && l->calls[i].state != CALLER_IDLE)
			return &l->calls[i];
	}
	return NULL;
}

/* Keep what in-dialog requests need: To, Contact and the route set (RFC 3261, section 12.1.2).
 * 0 or EBADMSG. */
static int caller_dialog_learn(struct call *c, const struct sip_view *v)
{
	const struct sip_span *to = sip_header(v, "To", 0);
	const struct sip_span *contact = sip_header(v, "Contact", 0), *rr;
	const char *lt, *gt;
	size_t n = 0, len = 0;

	if (to == NULL || contact == NULL || to->len >= sizeof(c->to))
		return EBADMSG;
	memcpy(c->to, to->s, to->len);
	c->to[to->len] = '\0';
	lt = memchr(contact->s, '<', contact->len);
	gt = memchr(contact->s, '>', contact->len);
	if (lt == NULL || gt == NULL || (size_t)(gt - lt) > sizeof(c->target))
		return EBADMSG;
	memcpy(c->target, lt + 1, (size_t)(gt - lt - 1));
	c->target[gt - lt - 1] = '\0';
	while (sip_header(v, "Record-Route", n) != NULL)
		n++;
	c->routes[0] = '\0';
	while (n-- > 0) {
		rr = sip_header(v, "Record-Route", n);
		if (len + rr->len + 12 > sizeof(c->routes))
			return EBADMSG;
		len += (size_t)sprintf(c->routes + len, "Route: %.*s\r\n", (int)rr->len, rr->s);
	}
	return 0;
}

static void caller_reply(struct call_load *l, struct call *c, const struct sip_view *v,
			 int64_t rx_wall, int64_t now)
{
	const struct sl_opts *o = l->o;

	if (sip_method_is(v, "BYE")) {
		if (c->state != CALLER_LEAVING || v->status < 200)
			return;
		call_end(l, c, v->status < 300, now);
		return;
	}
	if (!sip_method_is(v, "INVITE"))
		return;
	if (v->status < 200) {
		if (c->state == CALLER_INVITED) {
			c->provisional = 1;
			if (v->status == 180 && !c->rung) {
				c->rung = 1;
				stats_add(&l->way[c->way].ringing,
					  (double)(rx_wall - c->tx_wall) / SL_MS);
			}
		}
		return;
	}
	if (v->status >= 300) {
		caller_ack_error(l, c, v);
		if (c->state == CALLER_INVITED) {
			codes_add(&l->codes, v->status);
			call_end(l, c, 0, now);
		}
		return;
	}
	if (c->state == CALLER_INVITED) {
		codes_add(&l->codes, v->status);
		stats_add(&l->way[c->way].answered, (double)(rx_wall - c->tx_wall) / SL_MS);
		c->state = CALLER_TALKING;
		if (caller_dialog_learn(c, v) != 0) {
			l->unexpected++;
			call_end(l, c, 0, now);
			return;
		}
		c->at = now + o->hold_ms * SL_MS;
	}
	caller_in_dialog(l, c, "ACK", 1);
}

/* ---- the callee ---- */

static void callee_answer(struct call_load *l, const struct call *c, int status)
{
	const struct sl_opts *o = l->o;
	struct sip_out m;

	m.len = 0;
	m.full = 0;
	sip_put(&m, "SIP/2.0 %d %s\r\n%s", status, status == 180 ? "Ringing" : "OK", c->common);
	sip_put(&m, "Contact: <sip:u%06u@%s>\r\n", c->user, o->callee.text);
	if (status == 200 && o->sdp)
		sip_put_sdp(&m, &o->callee, 40000 + 2 * (c->no % 5000));
	else
		sip_put(&m, "Content-Length: 0\r\n\r\n");
	net_send(l->callee_fd, &c->from, m.s, m.len, NULL);
}

static void callee_reply_ok(struct call_load *l, const struct sl_addr *to, const struct sip_view *v)
{
	struct sip_out m;

	m.len = 0;
	m.full = 0;
	sip_put(&m, "SIP/2.0 200 OK\r\n");
	sip_put_headers(&m, v, "Via");
	sip_put_headers(&m, v, "From");
	sip_put_headers(&m, v, "To");
	sip_put_headers(&m, v, "Call-ID");
	sip_put_headers(&m, v, "CSeq");
	sip_put(&m, "Content-Length: 0\r\n\r\n");
	net_send(l->callee_fd, to, m.s, m.len, NULL);
}

static void callee_invite(struct call_load *l, struct call *c, const struct sip_view *v,
			  const struct sl_addr *from, int64_t rx_wall, int64_t now)
{
	const struct sip_span *to = sip_header(v, "To", 0);
	struct sip_out m;

	if (c->seen) { /* a retransmission, or another branch of a fork */
		if (c->cstate == CALLEE_RINGING)
			callee_answer(l, c, 180);
		return;
	}
	m.len = 0;
	m.full = 0;
	sip_put_headers(&m, v, "Via");
	sip_put_headers(&m, v, "Record-Route");
	sip_put_headers(&m, v, "From");
	if (to != NULL)
		sip_put(&m, "To: %.*s;tag=" CALLEE_TAG "%u\r\n", (int)to->len, to->s, c->no);
	sip_put_headers(&m, v, "Call-ID");
	sip_put_headers(&m, v, "CSeq");
	if (m.full || m.len >= sizeof(c->common)) {
		l->unexpected++;
		return;
	}
	memcpy(c->common, m.s, m.len + 1);
	c->from = *from;
	c->seen = 1;
	if (sip_sdp_is_at(&v->body, &l->o->local))
		l->way[c->way].direct++;
	stats_add(&l->way[c->way].arrival, (double)(rx_wall - c->tx_wall) / SL_MS);
	c->cstate = CALLEE_RINGING;
	c->cat = now + l->o->ring_ms * SL_MS;
	callee_answer(l, c, 180);
}

static void callee_request(struct call_load *l, const struct sip_view *v,
			   const struct sl_addr *from, int64_t rx_wall, int64_t now)
{
	struct call *c = call_find(l, v);

	if (sip_method_is(v, "ACK")) {
		if (c != NULL && c->cstate == CALLEE_ANSWERED)
			c->cstate = CALLEE_ACKED;
	} else if (sip_method_is(v, "INVITE")) {
		if (c != NULL)
			callee_invite(l, c, v, from, rx_wall, now);
	} else {
		/* BYE, also one sent again after the call is gone; and keep-alive OPTIONS */
		callee_reply_ok(l, from, v);
		if (c != NULL && sip_method_is(v, "BYE"))
			c->cstate = CALLEE_OFF;
	}
}

/* ---- timers and the loop ---- */

static void call_timers(struct call_load *l, struct call *c, int64_t now)
{
	if (c->state == CALLER_IDLE)
		return;
	if (now >= c->give_up) {
		if (c->state == CALLER_INVITED)
			codes_add(&l->codes, 0);
		call_end(l, c, 0, now);
		return;
	}
	if (now >= c->at) {
		switch (c->state) {
		case CALLER_INVITED:
			if (!c->provisional) {
				caller_invite(l, c);
				l->retransmitted++;
			}
			c->rto *= 2;
			c->at = now + c->rto;
			break;
		case CALLER_TALKING:
			c->state = CALLER_LEAVING;
			c->rto = SL_T1;
			c->at = now + c->rto;
			caller_in_dialog(l, c, "BYE", 2);
			break;
		case CALLER_LEAVING:
			caller_in_dialog(l, c, "BYE", 2);
			l->retransmitted++;
			c->rto = c->rto * 2 > SL_T2 ? SL_T2 : c->rto * 2;
			c->at = now + c->rto;
			break;
		case CALLER_IDLE:
			break;
		}
	}
	if ((c->cstate == CALLEE_RINGING || c->cstate == CALLEE_ANSWERED) && now >= c->cat) {
		if (c->cstate == CALLEE_RINGING) {
			c->cstate = CALLEE_ANSWERED;
			c->crto = SL_T1;
		} else {
			l->retransmitted++;
			c->crto = c->crto * 2 > SL_T2 ? SL_T2 : c->crto * 2;
		}
		c->cat = now + c->crto;
		callee_answer(l, c, 200);
	}
}

static void calls_start(struct call_load *l, int64_t start, int64_t now)
{
	const struct sl_opts *o = l->o;
	unsigned int i;

	for (i = 0; i < o->active && l->started < o->count; i++) {
		if (l->calls[i].state != CALLER_IDLE)
			continue;
		if (o->rate > 0 ? (double)(now - start) * o->rate / 1e9 < (double)l->started
				: now < l->next_at)
			return;
		call_begin(l, &l->calls[i], now);
	}
}

static void call_receive(struct call_load *l, int fd, int64_t now)
{
	char buf[SL_MSG_MAX];
	struct sip_view v;
	struct sl_addr from = {0};
	int64_t rx;
	ssize_t n;

	while ((n = net_recv(fd, buf, sizeof(buf), &from, &rx)) >= 0) {
		struct call *c;

		if (n < 16) /* a keep-alive */
			continue;
		if (sip_parse(buf, (size_t)n, &v) != 0) {
			l->unexpected++;
		} else if (fd == l->callee_fd && v.status == 0) {
			callee_request(l, &v, &from, rx, now);
		} else if (fd == l->fd && v.status != 0) {
			c = call_find(l, &v);
			if (c != NULL)
				caller_reply(l, c, &v, rx, now);
		}
	}
}

static void call_loop(struct call_load *l)
{
	const struct sl_opts *o = l->o;
	int64_t start = net_mono_ns(), now = start, stop = start + o->max_ms * SL_MS;
	struct timespec tick = {.tv_nsec = TICK};
	unsigned int i;

	l->next_at = start;
	while ((l->started < o->count || l->open > 0) && now < stop) {
		struct pollfd pfd[2] = {{.fd = l->fd, .events = POLLIN},
					{.fd = l->callee_fd, .events = POLLIN}};

		calls_start(l, start, now);
		if (ppoll(pfd, 2, &tick, NULL) > 0) {
			now = net_mono_ns();
			call_receive(l, l->callee_fd, now);
			call_receive(l, l->fd, now);
		}
		now = net_mono_ns();
		for (i = 0; i < o->active; i++)
			call_timers(l, &l->calls[i], now);
	}
}

static int ways_init(struct call_load *l)
{
	int i, err = 0;

	for (i = 0; i < 2 && err == 0; i++) {
		err = stats_init(&l->way[i].arrival, l->o->count);
		if (err == 0)
			err = stats_init(&l->way[i].ringing, l->o->count);
		if (err == 0)
			err = stats_init(&l->way[i].answered, l->o->count);
	}
	return err;
}

static void ways_destroy(struct call_load *l)
{
	int i;

	for (i = 0; i < 2; i++) {
		stats_destroy(&l->way[i].arrival);
		stats_destroy(&l->way[i].ringing);
		stats_destroy(&l->way[i].answered);
	}
}

static void way_print(struct call_load *l, int i, const char *name)
{
	int samples = l->o->samples;

	printf(", \"%s\": {", name);
	stats_print(stdout, "arrival_ms", &l->way[i].arrival, samples);
	fputs(", ", stdout);
	stats_print(stdout, "ringing_ms", &l->way[i].ringing, samples);
	fputs(", ", stdout);
	stats_print(stdout, "answered_ms", &l->way[i].answered, samples);
	printf(", \"direct\": %u}", l->way[i].direct);
}

int call_run(const struct sl_opts *o)
{
	struct call_load l = {.o = o, .fd = -1, .callee_fd = -1};
	int64_t start, took;
	int err, rc = 2;

	l.calls = calloc(o->active, sizeof(l.calls[0]));
	err = l.calls == NULL ? ENOMEM : ways_init(&l);
	if (err) {
		fprintf(stderr, "sipload: %s\n", strerror(err));
		goto out;
	}
	err = net_sock_open(o->local_ns, &o->local, &l.fd);
	if (err == 0)
		err = net_sock_open(o->callee_ns, &o->callee, &l.callee_fd);
	if (err) {
		fprintf(stderr, "sipload: %s: %s\n", l.fd < 0 ? o->local.text : o->callee.text,
			strerror(err));
		goto out;
	}
	start = net_mono_ns();
	call_loop(&l);
	took = net_mono_ns() - start;
	printf("{\"mode\": \"call\", \"calls\": %u, \"started\": %u, \"ok\": %lu, \"failed\": %lu, "
	       "\"open\": %u, \"retransmitted\": %lu, \"unexpected\": %lu, \"seconds\": %.3f, ",
	       o->count, l.started, l.ok, l.failed, l.open, l.retransmitted, l.unexpected,
	       (double)took / 1e9);
	codes_print(stdout, "responses", &l.codes);
	way_print(&l, 0, "target");
	if (o->also.len != 0)
		way_print(&l, 1, "also");
	fputs("}\n", stdout);
	rc = l.ok == o->count ? 0 : 1;
out:
	if (l.fd >= 0)
		close(l.fd);
	if (l.callee_fd >= 0)
		close(l.callee_fd);
	ways_destroy(&l);
	free(l.calls);
	return rc;
}
