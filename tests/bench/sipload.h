/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sipload: a SIP load generator and latency prober for the benchmarks, in plain libc.
 *
 * One process holds both the caller's and the callee's socket, each opened inside the network
 * namespace it belongs to, so that one clock measures the way through the proxies. Loads are
 * bounded in number and time. Results are one JSON object on stdout. */
#ifndef SIPLOAD_H
#define SIPLOAD_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>

#define SL_MSG_MAX 8192	  /* longest SIP message, bytes */
#define SL_HEADERS_MAX 64 /* header fields looked at in one message */

/* RFC 3261, table 4, ns. */
#define SL_T1 500000000LL
#define SL_T2 4000000000LL

#define SL_MS 1000000LL

/* ---- sipload_net.c: addresses, sockets, clocks ---- */

struct sl_addr {
	struct sockaddr_storage ss;
	socklen_t len;
	char text[64]; /* as in a SIP URI: 192.0.2.1:5060 or [2001:db8::1]:5060 */
	char host[48]; /* the address alone, without brackets */
	int family;
};

/* Read "ADDR:PORT" or "[ADDR]:PORT". 0 or EINVAL. */
int net_addr_parse(const char *text, struct sl_addr *a);

/* Open a non-blocking UDP socket bound to `local` inside the named network namespace (NULL: the
 * process's own); the kernel stamps what it receives. 0 and *fdp (the caller closes it), or errno.
 */
int net_sock_open(const char *netns, const struct sl_addr *local, int *fdp);

/* Send one datagram. *tx_ns (may be NULL) gets the wall clock just before. 0 or errno. */
int net_send(int fd, const struct sl_addr *to, const char *buf, size_t len, int64_t *tx_ns);

/* Receive one datagram, NUL-terminated; *rx_ns gets the wall clock at which the kernel took it,
 * so that this process's own wake-up is not measured; *from (may be NULL) the sender's address,
 * without its text. Length, or -1 when nothing is there. */
ssize_t net_recv(int fd, char *buf, size_t size, struct sl_addr *from, int64_t *rx_ns);

int64_t net_mono_ns(void); /* for timers */
int64_t net_wall_ns(void); /* comparable with the kernel's receive stamps */

/* ---- sipload_sip.c: SIP text ---- */

struct sip_span {
	const char *s;
	size_t len;
};

struct sip_view {
	int status;		/* 0: a request */
	struct sip_span method; /* of a request: its own; of a response: from CSeq */
	unsigned int cseq;
	struct {
		struct sip_span name, value;
	} h[SL_HEADERS_MAX];
	size_t n;
	struct sip_span body;
};

/* Split a datagram into header fields and body; the spans point into buf. 0 or EBADMSG. */
int sip_parse(const char *buf, size_t len, struct sip_view *v);

/* Does a body's SDP say that media goes straight to this address? Looks at its first c= line. */
int sip_sdp_is_at(const struct sip_span *body, const struct sl_addr *at);

/* The n-th header field of that name (long or compact form), or NULL. */
const struct sip_span *sip_header(const struct sip_view *v, const char *name, size_t n);

int sip_method_is(const struct sip_view *v, const char *method);

/* A message under construction. `full` is set once something did not fit. */
struct sip_out {
	char s[SL_MSG_MAX];
	size_t len;
	int full;
};

void sip_put(struct sip_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Append every header field of that name as it came. */
void sip_put_headers(struct sip_out *o, const struct sip_view *v, const char *name);

/* Append Content-Type, Content-Length and an SDP body of one PCMU stream at `host`. */
void sip_put_sdp(struct sip_out *o, const struct sl_addr *at, unsigned int port);

/* ---- sipload_stats.c: percentiles and counters ---- */

struct sl_stats {
	double *ms;
	size_t n, size;
};

int stats_init(struct sl_stats *st, size_t size); /* 0 or ENOMEM; stats_destroy ends it */
void stats_destroy(struct sl_stats *st);
void stats_add(struct sl_stats *st, double ms);
/* Print `"name": {"n":, "min":, "p50":, "p90":, "p99":, "max":, "samples": [..]}`. Sorts. */
void stats_print(FILE *f, const char *name, struct sl_stats *st, int samples);

#define SL_CODES 700
struct sl_codes {
	unsigned long n[SL_CODES]; /* final responses by status; 0: none came in time */
};
void codes_add(struct sl_codes *c, int status);
void codes_print(FILE *f, const char *name, const struct sl_codes *c);

/* ---- the loads ---- */

#define SL_VIAS 16

struct sl_opts {
	const char *mode;
	struct sl_addr local, callee, target, contact;
	struct sl_addr also; /* call: a second target; calls go to the two in turn */
	const char *local_ns, *callee_ns;
	const char *domain;
	const char *seed;     /* goes into Call-IDs: the same seed refreshes a registration */
	unsigned int first;   /* number of the first user */
	unsigned int users;   /* users from there on */
	unsigned int count;   /* calls to make */
	unsigned int cseq;    /* of REGISTER */
	unsigned int expires; /* of REGISTER, seconds; 0 de-registers */
	unsigned int active;  /* calls at a time */
	unsigned int ring_ms, hold_ms, gap_ms, timeout_ms, max_ms;
	double rate; /* requests or calls a second; 0 (calls): one after the other, gap_ms apart */
	int sdp, samples, instance;
	/* register: the first `pool` users are registered already; mix refreshes of them for each
	 * first registration */
	unsigned int pool, mix;
	int acknowledged; /* register: tell who had a 2xx */
	/* visible, lookup */
	struct sl_addr via[SL_VIAS]; /* proxies that probes go to */
	unsigned int vias, delay_ms; /* delay: from the 200 OK to a user's first probe */
	int random;		     /* lookup: users in no order */
	unsigned int probe_every;    /* visible: only each so many-th user is probed */
};

/* Append user u's REGISTER; the same seed gives the same Call-ID. */
void register_put(struct sip_out *m, const struct sl_opts *o, unsigned int u, unsigned int cseq);

/* ---- sipload_probe.c: a MESSAGE to a user, and whether it arrived ---- */

struct probes;

struct probe_result {
	unsigned int user, way;
	int status;		/* final response; 0: none in time */
	int64_t sent, answered; /* wall clock */
	int64_t arrived;	/* at the callee; 0: not */
};

typedef void probe_h(const struct probe_result *r, void *arg);
/* A final response at the caller's socket that is no probe's. */
typedef void probe_reply_h(const struct sip_view *v, int64_t rx_wall, void *arg);

/* Opens o->local for the caller and o->callee; o stays the caller's. A probe without a final
 * response ends after limit_ms. 0 or errno. */
int probes_new(struct probes **psp, const struct sl_opts *o, probe_h *h, probe_reply_h *other,
	       unsigned int limit_ms, void *arg);
void probes_destroy(struct probes *ps);
int probes_fd(const struct probes *ps); /* the caller's socket */
unsigned int probes_open(const struct probes *ps);
/* To a user by way of o->via[way]. 0, or EAGAIN when too many are open. */
int probe_send(struct probes *ps, unsigned int user, unsigned int way);
/* Receives and sends again until this time (monotonic), or for 10 ms, or until something came. */
void probes_wait(struct probes *ps, int64_t until);

/* Each prints its result to stdout. 0 when all went well, 1 when not, 2 when it could not run. */
int register_run(const struct sl_opts *o);
int call_run(const struct sl_opts *o);
int visible_run(const struct sl_opts *o);
int lookup_run(const struct sl_opts *o);

#endif
