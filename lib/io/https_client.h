/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The HTTPS client to other peers: libcurl's multi interface on the libevent loop, TLS as in
 * https_tls.h. Connections are kept for further requests to the same HIT at the same address, as
 * many and as long as the limits say. The program must ignore SIGPIPE. */
#ifndef P2PSIP_IO_HTTPS_CLIENT_H
#define P2PSIP_IO_HTTPS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include "lib/io/https_tls.h"

struct event_base;
struct https_client;
struct https_request;

struct https_client_config {
	struct https_identity identity;
	unsigned int idle_max;		   /* connections kept without a request */
	unsigned int connections_per_peer; /* further requests wait, as long as their deadline */
	unsigned int requests_max;	   /* at once; EBUSY beyond */
	unsigned int idle_s; /* a connection that was not used for so long is closed */
	size_t body_max, headers_max;
	/* What the certificate must be, besides one of the HIT's key; NULL: within its dates. */
	https_tls_check_h *check;
	void *arg;
};

struct https_answer {
	/* 0: the peer answered, whatever it said. ETIMEDOUT; ECONNREFUSED (or unreachable); EPERM:
	 * whoever is there does not have the HIT's key; EMSGSIZE: too long; EPROTO: no HTTP, or the
	 * connection broke. */
	int err;
	int status; /* HTTP's */
	unsigned int retry_after_s;
	const char *body; /* valid during the call only */
	size_t len;
	bool reused;	  /* over a connection that was there */
	uint32_t took_us; /* all in all */
	uint32_t tls_us;  /* of this, until the TLS connection stood; 0 when reused */
	bool identified;  /* https_client_identify: hit is what was shown */
	struct p2p_hit hit;
	char text[160]; /* of a failure, for people */
};

/* Never from inside https_client_ask. It may cancel other requests, and begin new ones. */
typedef void https_answer_h(const struct https_answer *answer, void *arg);

struct https_client_stats {
	unsigned int connections; /* open ones */
	uint64_t requests, connects, reused, failed;
};

int https_client_new(struct https_client **cp, struct event_base *base,
		     const struct https_client_config *config);
/* Requests under way are told nothing more. */
void https_client_free(struct https_client *c);

#define HTTPS_HEADERS_MAX 4

struct https_ask {
	const char *method; /* "GET", "PUT", "POST", "DELETE" */
	const char *path;
	const char *header[HTTPS_HEADERS_MAX]; /* whole lines, up to the first NULL */
	const char *body;		       /* JSON, copied; NULL: none (a DELETE, a GET) */
	size_t len;
};

/* Ask the peer that has this HIT, at this address. 0: h will be called once, unless it is
 * cancelled. EBUSY, ENOMEM, EINVAL. A request may reach the peer twice: over a kept connection that
 * it was just closing, and once more. */
int https_client_ask(struct https_client *c, const struct p2p_hit *hit, const struct sockaddr *addr,
		     const struct https_ask *ask, uint64_t deadline_ms, https_answer_h *h,
		     void *arg, struct https_request **rp);
/* Whose certificate is shown at this address? Nothing is sent there, and that the key is had is not
 * proven: that does whoever is asked by this HIT then. h: EPERM and identified, or another error.
 */
int https_client_identify(struct https_client *c, const struct sockaddr *addr, uint64_t deadline_ms,
			  https_answer_h *h, void *arg, struct https_request **rp);
void https_client_cancel(struct https_request *r);
/* Requests from now on go over connections that show this one's certificate; it outlives the
 * client, or the next. */
void https_client_identity(struct https_client *c, const struct https_identity *identity);
void https_client_stats(const struct https_client *c, struct https_client_stats *stats);

#endif
