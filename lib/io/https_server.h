/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The HTTPS server for other peers: libevent's evhttp over TLS (https_tls.h). Every caller has
 * shown the key of its HIT before its first byte is read. Bounded: connections, connections of one
 * address, requests a second of one connection, sizes, and the time that anything may take. The
 * program must ignore SIGPIPE. */
#ifndef P2PSIP_IO_HTTPS_SERVER_H
#define P2PSIP_IO_HTTPS_SERVER_H

#include <stddef.h>
#include <stdint.h>
#include "lib/base/log.h"
#include "lib/io/https_tls.h"

struct event_base;
struct https_server;
struct https_exchange;

/* Called for each GET, PUT, POST and DELETE within the limits; must call https_reply once before it
 * returns. */
typedef void https_server_h(struct https_exchange *x, void *arg);

struct https_server_config {
	struct https_identity identity;
	unsigned int connections_max;	      /* beyond: 503, and a few more: not accepted */
	unsigned int connections_per_address; /* beyond: closed */
	unsigned int requests_per_s;	      /* of a connection; beyond: 503 */
	unsigned int handshake_ms;	      /* from the accept to the first request */
	unsigned int idle_ms;		      /* from one request to the next */
	size_t body_max, headers_max;
	/* Which certificates are let in at all; NULL: those within their dates. */
	https_tls_check_h *check;
	https_server_h *h;
	void *arg; /* of both */
};

struct https_server_stats {
	unsigned int connections; /* now */
	uint64_t accepted, closed_limit, closed_slow;
	uint64_t requests, refused_busy; /* busy ones among the requests */
};

int https_server_new(struct https_server **sp, struct event_base *base,
		     const struct https_server_config *config);
void https_server_free(struct https_server *s);
/* One more address to listen at: "192.0.2.1:7443", "[2001:db8::1]:7443". 0 or errno (EINVAL: no
 * such text). port (may be NULL): the one that is listened at, when address says none. */
int https_server_listen(struct https_server *s, const char *address, uint16_t *port);
/* Connections accepted from now on are shown this certificate. 0 or EINVAL. */
int https_server_identity(struct https_server *s, const struct https_identity *identity);
void https_server_stats(const struct https_server *s, struct https_server_stats *stats);

const struct p2p_hit *https_exchange_hit(const struct https_exchange *x);
/* What the caller has shown; valid until the reply. */
X509 *https_exchange_cert(const struct https_exchange *x);
/* "GET", "PUT", "POST", "DELETE" */
const char *https_exchange_method(const struct https_exchange *x);
/* Not ended by a NUL; valid until the reply. NULL: none (len 0). */
const char *https_exchange_body(const struct https_exchange *x, size_t *len);
const char *https_exchange_path(const struct https_exchange *x);
/* NULL: not there. */
const char *https_exchange_header(const struct https_exchange *x, const char *name);
/* retry_after_s 0: none. json is copied. */
void https_reply(struct https_exchange *x, int status, unsigned int retry_after_s, const char *json,
		 size_t len);

#endif
