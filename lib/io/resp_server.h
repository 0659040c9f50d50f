/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RESP2 server on unix stream sockets, on a libevent loop: a table of commands, replies now or
 * later, publish/subscribe, bounds on everything. Both daemons use it. */
#ifndef P2PSIP_IO_RESP_SERVER_H
#define P2PSIP_IO_RESP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct event_base;
struct p2p_log;
struct resp_server;
struct resp_client;  /* one connection */
struct resp_request; /* one command whose reply is owed; replies go out in order of the commands */

struct resp_arg {
	const char *s; /* NUL-terminated too */
	size_t len;
};

/* Handles one command. It must reply exactly once, now or later (resp_reply_*, which frees the
 * request); argv is valid only until it returns. argv[0] is the command's name. */
typedef void resp_command_h(struct resp_request *req, int argc, const struct resp_arg *argv,
			    void *arg);

struct resp_command {
	const char *name;	/* upper case; matched without regard to case */
	int argc_min, argc_max; /* the name included; argc_max 0: no bound but max_args */
	bool handshake;		/* needs a completed handshake on this connection */
	resp_command_h *handler;
	const char *summary; /* one line, for COMMAND DOCS and the manual */
};

struct resp_server_config {
	const char *path;  /* at most 107 bytes; a stale socket there is replaced */
	mode_t mode;	   /* of the socket, e.g. 0660 */
	const char *group; /* its group, or NULL */
	size_t max_bulk;   /* bytes of one argument; a whole command may have twice that */
	int max_args;
	int max_clients;
	size_t max_output; /* bytes waiting for one client before it is cut off */
	int max_pending;   /* requests without a reply, per client; more are not read */
	const struct resp_command *commands; /* ended by name NULL */
	void *arg;			     /* for the handlers */
	/* who may connect (SO_PEERCRED), NULL: whoever the mode lets in */
	bool (*allow)(uid_t uid, gid_t gid, pid_t pid, void *arg);
	void (*closed)(struct resp_client *client, void *arg); /* may be NULL */
	/* INFO's text and HANDSHAKE's extra fields; may be NULL */
	void (*info)(struct resp_request *req, void *arg);
	int version; /* HANDSHAKE: the protocol version this server speaks */
	/* handshake seen: may store data on the client and must reply (array of key, value); an
	 * error reply leaves the client without handshake. NULL: answered here */
	resp_command_h *handshake;
	const struct p2p_log *log; /* may be NULL */
};

/* 0 or errno. PING, QUIT, COMMAND, SUBSCRIBE, UNSUBSCRIBE and ECHO are built in. */
int resp_server_new(struct resp_server **sp, struct event_base *base,
		    const struct resp_server_config *config);
/* Closes all connections and removes the socket's file. Requests still owed may be replied to
 * (and so freed) afterwards; their replies go nowhere. */
void resp_server_free(struct resp_server *server);

/* Each of these is the one reply to a request, or a part of an array begun with
 * resp_reply_array(req, n), which counts as replied when its n parts are there (nesting works).
 * The request is gone after its last part. */
void resp_reply_ok(struct resp_request *req);
void resp_reply_int(struct resp_request *req, int64_t v);
void resp_reply_bulk(struct resp_request *req, const void *s, size_t len);
void resp_reply_str(struct resp_request *req, const char *s); /* bulk of a C string */
void resp_reply_u64(struct resp_request *req, uint64_t v);    /* bulk, decimal */
void resp_reply_array(struct resp_request *req, size_t n);
void resp_reply_nil(struct resp_request *req);
/* code: NOTFOUND, TIMEOUT, BUSY, STALE, DENIED, BADARG, UNAVAIL, INTERNAL ...; CR and LF in the
 * text become spaces. */
void resp_reply_error(struct resp_request *req, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Serve a connection that was made elsewhere (one end of a socket pair, say); fd, a stream socket,
 * belongs to the server if this succeeds. 0, ENOMEM, EBUSY (too many clients). */
int resp_server_adopt(struct resp_server *server, int fd);

struct resp_client *resp_request_client(struct resp_request *req); /* NULL once it is gone */
void *resp_client_data(const struct resp_client *client);
void resp_client_set_data(struct resp_client *client, void *data);
bool resp_client_handshaken(const struct resp_client *client);

/* To all subscribers of channel. Returns how many. */
int resp_server_publish(struct resp_server *server, const char *channel, const void *s, size_t len);

struct resp_server_stats {
	uint64_t connections, commands, errors, cut_off, refused;
	int clients, subscribers;
};
void resp_server_stats(const struct resp_server *server, struct resp_server_stats *st);

#endif
