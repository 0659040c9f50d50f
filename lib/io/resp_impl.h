/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the RESP server share.
 *
 * A client is freed when its connection is closed and the last of its requests has been replied to;
 * a server, when it was freed by its owner and the outermost frame that uses it returns. All
 * closing and flushing is done from the client's own events, never below a caller's resp_reply_*.
 */
#ifndef P2PSIP_IO_RESP_IMPL_H
#define P2PSIP_IO_RESP_IMPL_H

#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <event2/event.h>
#include <hiredis/read.h>

#include "lib/base/log.h"
#include "lib/io/resp_server.h"

struct evbuffer;

/* Arrays within an array reply */
#define NESTING_MAX 8

struct channel {
	LIST_ENTRY(channel) le;
	size_t len;
	char name[];
};

struct resp_request {
	TAILQ_ENTRY(resp_request) te;
	struct resp_client *client;
	struct evbuffer *out; /* NULL while at the head, or while nothing was written */
	bool handshake;	      /* completes the handshake unless the reply is an error */
	bool done;
	uint8_t depth;
	size_t left[NESTING_MAX]; /* parts still owed, per open array */
};

struct resp_client {
	LIST_ENTRY(resp_client) le;
	struct resp_server *server; /* NULL once closed */
	unsigned int refs;	    /* connection, requests, frames */
	int fd;
	struct ucred cred; /* who it was when it connected */
	struct event *ev_read, *ev_write;
	redisReader *reader;
	struct evbuffer *out;
	size_t held; /* bytes in requests' own buffers */
	TAILQ_HEAD(, resp_request) requests;
	int pending;
	LIST_HEAD(, channel) channels;
	int n_channels;
	void *data;
	bool handshaken, processing, paused, doomed, quitting;

	/* the command being read */
	char *store;
	size_t store_len, store_cap;
	struct stored_arg {
		size_t at, len;
	} * args;
	int argc;
	const char *refusal; /* why the reader was stopped */
};

struct resp_server {
	struct event_base *base;
	struct resp_server_config cfg;
	char *path;
	int fd;
	dev_t dev;
	ino_t ino;
	struct event *ev_accept, *ev_resume;
	LIST_HEAD(, resp_client) clients;
	struct resp_server_stats st;
	struct resp_arg *argv;	/* max_args of them, for resp_dispatch */
	struct p2p_limit limit; /* of warnings, by user id and kind */
	unsigned int frames;
	bool freed;
};

/* --- the server: resp_server.c --- */

/* Frees it if its owner has, and no frame uses it. */
void resp_server_unref(struct resp_server *s);
/* What a client did wrong: once a minute for each user and kind of mistake. */
enum mistake {
	MISTAKE_CUT_OFF = 1,
	MISTAKE_PROTOCOL,
	MISTAKE_DENIED,
	MISTAKE_BUSY,
	MISTAKE_ACCEPT
};

void resp_warn(struct resp_server *s, enum mistake mistake, const struct ucred *cred,
	       const char *what, const char *why);

/* --- connections: resp_client.c --- */

/* fd, non-blocking, belongs to it when it is made. 0, ENOMEM. */
int resp_client_new(struct resp_server *s, int fd, const struct ucred *cred);
void resp_client_unref(struct resp_client *c);
/* Its own event is to look at everything, at the next turn of the loop. */
void resp_client_kick(struct resp_client *c);
/* To be closed from its own event: callers further up still use it. */
void resp_client_doom(struct resp_client *c, const char *why);
/* Drop the connection. Requests still owed stay, and hold the client. */
void resp_client_close(struct resp_client *c);
/* Send what is there. 0, or errno when the connection is no good any more. */
int resp_client_flush(struct resp_client *c);
/* A request at the end of the client's queue. NULL: no memory, and the client is doomed. */
struct resp_request *resp_request_new(struct resp_client *c);
void resp_request_free(struct resp_request *req);

/* --- what a client sends: resp_reader.c --- */

/* hiredis' object functions; the reader's privdata is the client, which is what they return. */
extern redisReplyObjectFunctions resp_reader_functions;

/* --- replies: resp_reply.c --- */

void resp_request_write(struct resp_request *req, const void *s, size_t len);
/* One part of a reply was written: is it the last? Then the request is gone. */
void resp_request_part(struct resp_request *req);

/* --- commands: resp_command.c --- */

void resp_dispatch(struct resp_server *s, struct resp_client *c, struct resp_request *req, int argc,
		   const struct resp_arg *argv);

#endif
