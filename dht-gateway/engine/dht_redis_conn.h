/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One connection to a Redis server, kept up: made again when it is lost, given up when nothing is
 * heard on it. Commands are pipelined; their replies come from the loop. */
#ifndef P2PSIP_DHT_REDIS_CONN_H
#define P2PSIP_DHT_REDIS_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REDIS_HOST_MAX 108 /* a numeric address, or the path of a unix socket; with NUL */

struct event_base;
struct redisReply;
struct redis_conn;

/* Not changed, and valid, as long as a connection is. */
struct redis_login {
	const char *user, *password; /* NULL, "": none */
	uint32_t timeout_ms;	     /* from a command to its reply; to connect */
};

/* NULL: the connection was lost before; the command may have been carried out or not. */
typedef void redis_reply_h(const struct redisReply *reply, void *arg);
/* It is up, or not any more. Commands may be sent from here; it must not be freed. */
typedef void redis_state_h(struct redis_conn *c, bool up, void *arg);
/* What was published. */
typedef void redis_message_h(const char *channel, size_t channellen, const void *data, size_t len,
			     void *arg);

/* port 0: host is a path. 0 or ENOMEM, EINVAL; it connects by itself. */
int redis_conn_new(struct redis_conn **cp, struct event_base *base, const char *host, uint16_t port,
		   const struct redis_login *login, redis_state_h *state, void *arg);
/* Those who wait for replies are told NULL before it returns. */
void redis_conn_free(struct redis_conn *c);

/* In all of these c may be NULL: not connected. */
bool redis_conn_up(const struct redis_conn *c);
/* Is it one to this server? */
bool redis_conn_to(const struct redis_conn *c, const char *host, uint16_t port);
/* Why it is not: for the operator. */
const char *redis_conn_why(const struct redis_conn *c);

/* ENOTCONN, or h will be called once, never from here. */
int redis_conn_send(struct redis_conn *c, int argc, const char **argv, const size_t *argvlen,
		    redis_reply_h *h, void *arg);

/* For messages only: then nothing else may be sent. Asked again after each reconnection by the
 * owner. ENOTCONN. */
void redis_conn_on_message(struct redis_conn *c, redis_message_h *h, void *arg);
int redis_conn_subscribe(struct redis_conn *c, const char *channel);
int redis_conn_unsubscribe(struct redis_conn *c, const char *channel);

#endif
