/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: one connection of the client process to the gateway: RESP2 over a unix stream
 * socket, never blocking. Commands may be sent before the answers to earlier ones are there; the
 * answers come in the same order.
 *
 *	CLOSED --open--> SHAKING --handshake accepted--> READY
 *	any --doomed (error, silence, protocol)--> CLOSED, by pul_conn_reap only
 *
 * Used by the client process alone; all memory is pkg or malloc. */
#ifndef P2P_USRLOC_CONN_H
#define P2P_USRLOC_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hiredis/hiredis.h>

struct pul_conn;

/* The answer to one command; reply NULL: there will be none, the connection is gone. Called
 * exactly once per command that pul_conn_send took. Must not close the connection, but may doom
 * it. */
typedef void pul_reply_h(struct pul_conn *conn, const redisReply *reply, void *arg);
/* What came without having been asked for (RESP2 publish/subscribe messages). */
typedef void pul_push_h(struct pul_conn *conn, const redisReply *reply);

enum pul_conn_state { PUL_CONN_CLOSED = 0, PUL_CONN_SHAKING, PUL_CONN_READY };

struct pul_request;

struct pul_conn {
	enum pul_conn_state state;
	int fd;
	bool doomed; /* to be closed; nothing more is sent or read */
	char why[160];
	redisReader *reader;
	char *out; /* not yet written: out_off..out_len */
	size_t out_off, out_len, out_cap;
	struct pul_request *head, *tail; /* answers owed, oldest first */
	unsigned int owed;
	uint64_t used_ms; /* when something was last sent or received */
	pul_push_h *push;
};

/* Output waiting for one connection; more is refused. */
#define PUL_CONN_OUT_MAX (1024 * 1024)
/* The longest command. */
#define PUL_COMMAND_MAX 2048

void pul_conn_init(struct pul_conn *conn);
/* Begins to connect; the state is SHAKING afterwards, and the caller sends HANDSHAKE. 0 or errno.
 */
int pul_conn_open(struct pul_conn *conn, const char *path);
/* Takes a command of n bytes, whose answer is to be there by deadline_ms; h gets it. 0, ENOBUFS,
 * ENOMEM or ENOTCONN; h is called only after 0. */
int pul_conn_send(struct pul_conn *conn, const void *command, size_t n, uint64_t deadline_ms,
		  pul_reply_h *h, void *arg);
/* Bytes of commands that it would still take; 0 while there is no connection. */
size_t pul_conn_room(const struct pul_conn *conn);
/* Events to poll for. */
short pul_conn_events(const struct pul_conn *conn);
/* Reads and writes what can be; answers are handed out. */
void pul_conn_io(struct pul_conn *conn, short revents);
/* Writes what is waiting. */
void pul_conn_flush(struct pul_conn *conn);
/* When the oldest answer is due; UINT64_MAX: none is owed. */
uint64_t pul_conn_due(const struct pul_conn *conn);
void pul_conn_doom(struct pul_conn *conn, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Closes a doomed connection: every answer owed becomes NULL. True when it was doomed. */
bool pul_conn_reap(struct pul_conn *conn);

/* When a connection may be tried again. */
struct pul_backoff {
	uint64_t next_ms; /* not before */
	uint64_t up_ms;	  /* when the connection came; 0: it did not */
	unsigned int wait_ms;
};
/* It is gone, or could not be had: from 50 ms on twice as long each time, up to reconnect_max_ms.
 */
void pul_backoff_next(struct pul_backoff *b, uint64_t now_ms);

#endif
