/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RESP2 server: see resp_server.h.
 *
 * A client's bytes go through hiredis' reader, whose object functions are ours: they only note
 * arguments in the client's own bounded store, and refuse what is no flat array of strings. Replies
 * of the oldest request are written straight to the client's output; those of later ones wait in
 * buffers of their own. All closing and flushing is done from the client's own events, never below
 * a caller's resp_reply_*.
 *
 * A client is freed when its connection is closed and the last of its requests has been replied to;
 * a server, when it was freed by its owner and the outermost frame that uses it returns. */
#include "lib/io/resp_server.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <hiredis/hiredis.h> /* its version */
#include <hiredis/read.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#define READ_CHUNK 16384
#define READS_PER_WAKE 16
/* Arrays within an array reply */
#define NESTING_MAX 8
/* Channels per client, and the longest channel's name */
#define CHANNELS_MAX 16
#define CHANNEL_LEN_MAX 64
/* Kept of a client's argument store between commands */
#define STORE_IDLE_MAX 8192
#define ACCEPT_PAUSE_MS 100
#define ACCEPTS_PER_WAKE 16
#define ERROR_LINE_MAX 512
#define LOG_INTERVAL_MS 60000

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
	struct resp_arg *argv;	/* max_args of them, for dispatch */
	struct p2p_limit limit; /* of warnings, by user id and kind */
	unsigned int frames;
	bool freed;
};

static void client_kick_h(evutil_socket_t fd, short what, void *arg);

/* --- hiredis' object functions: task->privdata is the client --------------------------------- */

static void *reader_refuse(struct resp_client *c, const char *why)
{
	c->refusal = why;
	return NULL; /* the reader takes it for lack of memory and stops */
}

/* hiredis 1.0 reads RESP3 too, and counts with another type. */
#if HIREDIS_MAJOR >= 1
typedef size_t reader_count;
#else
typedef int reader_count;
#endif

static void *reader_array(const redisReadTask *task, reader_count elements)
{
	struct resp_client *c = task->privdata;

	if (task->parent != NULL)
		return reader_refuse(c, "an argument is not a bulk string");
	if (task->type != REDIS_REPLY_ARRAY)
		return reader_refuse(c, "a command is an array of bulk strings");
	if (elements > (reader_count)c->server->cfg.max_args)
		return reader_refuse(c, "too many arguments");
	c->argc = 0;
	c->store_len = 0;
	return c;
}

static void *reader_string(const redisReadTask *task, char *s, size_t len)
{
	struct resp_client *c = task->privdata;
	size_t max = c->server->cfg.max_bulk;

	if (task->parent == NULL)
		return reader_refuse(c, "a command is an array of bulk strings");
	if (task->type != REDIS_REPLY_STRING)
		return reader_refuse(c, "an argument is not a bulk string");
	if (len > max)
		return reader_refuse(c, "argument too long");
	if (c->store_len + len + 1 > 2 * max + (size_t)c->server->cfg.max_args)
		return reader_refuse(c, "command too long");
	if (c->store_len + len + 1 > c->store_cap) {
		size_t cap = c->store_cap ? c->store_cap : 256;
		char *p;

		while (cap < c->store_len + len + 1)
			cap *= 2;
		p = realloc(c->store, cap);
		if (p == NULL)
			return reader_refuse(c, "out of memory");
		c->store = p;
		c->store_cap = cap;
	}
	memcpy(c->store + c->store_len, s, len);
	c->store[c->store_len + len] = '\0';
	c->args[c->argc].at = c->store_len;
	c->args[c->argc].len = len;
	c->argc++;
	c->store_len += len + 1;
	return c;
}

static void *reader_integer(const redisReadTask *task, long long v)
{
	(void)v;
	return reader_refuse(task->privdata, "a command is an array of bulk strings");
}

static void *reader_nil(const redisReadTask *task)
{
	return reader_refuse(task->privdata, "a command is an array of bulk strings");
}

#if HIREDIS_MAJOR >= 1
static void *reader_double(const redisReadTask *task, double v, char *s, size_t len)
{
	(void)v;
	(void)s;
	(void)len;
	return reader_refuse(task->privdata, "a command is an array of bulk strings");
}

static void *reader_bool(const redisReadTask *task, int v)
{
	(void)v;
	return reader_refuse(task->privdata, "a command is an array of bulk strings");
}
#endif

static void reader_free(void *obj)
{
	(void)obj; /* the client itself */
}

static redisReplyObjectFunctions reader_functions = {
	.createString = reader_string,
	.createArray = reader_array,
	.createInteger = reader_integer,
#if HIREDIS_MAJOR >= 1
	.createDouble = reader_double,
	.createBool = reader_bool,
#endif
	.createNil = reader_nil,
	.freeObject = reader_free,
};

/* --- life of servers, clients and requests ---------------------------------------------------- */

static void server_unref(struct resp_server *s)
{
	if (s->frames > 0 || !s->freed)
		return;
	free(s->argv);
	free(s->path);
	free(s);
}

static void client_unref(struct resp_client *c)
{
	if (--c->refs > 0)
		return;
	evbuffer_free(c->out);
	redisReaderFree(c->reader);
	free(c->store);
	free(c->args);
	free(c);
}

static void request_free(struct resp_request *req)
{
	struct resp_client *c = req->client;

	if (req->out != NULL) {
		c->held -= evbuffer_get_length(req->out);
		evbuffer_free(req->out);
	}
	TAILQ_REMOVE(&c->requests, req, te);
	c->pending--;
	free(req);
	client_unref(c);
}

static void client_kick(struct resp_client *c)
{
	/* ev_write doubles as the wake-up: its handler looks at everything */
	if (c->server != NULL)
		event_active(c->ev_write, EV_WRITE, 1);
}

/* Drop the connection. Requests still owed stay, and hold the client. */
static void client_close(struct resp_client *c)
{
	struct resp_server *s = c->server;
	struct resp_request *req, *next;
	struct channel *ch;

	if (s == NULL)
		return;
	c->server = NULL;
	LIST_REMOVE(c, le);
	s->st.clients--;
	if (c->n_channels > 0)
		s->st.subscribers--;
	while ((ch = LIST_FIRST(&c->channels)) != NULL) {
		LIST_REMOVE(ch, le);
		free(ch);
	}
	c->n_channels = 0;
	event_free(c->ev_read);
	event_free(c->ev_write);
	close(c->fd);
	c->fd = -1;
	evbuffer_drain(c->out, evbuffer_get_length(c->out));
	for (req = TAILQ_FIRST(&c->requests); req != NULL; req = next) {
		next = TAILQ_NEXT(req, te);
		if (req->done)
			request_free(req);
	}
	if (s->cfg.closed != NULL) {
		s->frames++;
		s->cfg.closed(c, s->cfg.arg);
		s->frames--;
	}
	server_unref(s);
	client_unref(c);
}

/* What a client did wrong: once a minute for each user and kind of mistake. */
enum mistake {
	MISTAKE_CUT_OFF = 1,
	MISTAKE_PROTOCOL,
	MISTAKE_DENIED,
	MISTAKE_BUSY,
	MISTAKE_ACCEPT
};

static void warn(struct resp_server *s, enum mistake mistake, const struct ucred *cred,
		 const char *what, const char *why)
{
	struct {
		uint64_t mistake, uid;
	} source = {mistake, cred->uid};
	uint32_t silenced;

	if (!p2p_limit_ok(&s->limit, &source, sizeof(source), p2p_clock_mono(&p2p_clock_system),
			  &silenced))
		return;
	p2p_log(s->cfg.log, P2P_LOG_WARN, "%s: client of uid %ld, pid %ld: %s: %s", s->path,
		(long)cred->uid, (long)cred->pid, what, why);
	if (silenced > 0)
		p2p_log(s->cfg.log, P2P_LOG_WARN, "%s: and %u times more since this was last said",
			s->path, silenced);
}

/* To be closed from its own event, at the next turn of the loop: callers further up still use it.
 */
static void client_doom(struct resp_client *c, const char *why)
{
	struct resp_server *s = c->server;

	if (s == NULL || c->doomed)
		return;
	c->doomed = true;
	s->st.cut_off++;
	warn(s, MISTAKE_CUT_OFF, &c->cred, "cut off", why);
	client_kick(c);
}

/* --- output ----------------------------------------------------------------------------------- */

/* Where the request's bytes go now, or NULL when nobody reads them any more. */
static struct evbuffer *request_sink(struct resp_request *req)
{
	struct resp_client *c = req->client;

	if (c->server == NULL || c->doomed)
		return NULL;
	if (TAILQ_FIRST(&c->requests) == req && req->out == NULL)
		return c->out;
	if (req->out == NULL) {
		req->out = evbuffer_new();
		if (req->out == NULL)
			client_doom(c, "out of memory");
	}
	return req->out;
}

static void request_write(struct resp_request *req, const void *s, size_t len)
{
	struct resp_client *c = req->client;
	struct evbuffer *sink = request_sink(req);

	if (sink == NULL)
		return;
	if (evbuffer_get_length(c->out) + c->held + len > c->server->cfg.max_output) {
		client_doom(c, "it does not read its replies");
		return;
	}
	if (evbuffer_add(sink, s, len) != 0) {
		client_doom(c, "out of memory");
		return;
	}
	if (sink == req->out)
		c->held += len;
}

/* Finished requests at the head of the queue go; the new head writes to the output itself. */
static void client_advance(struct resp_client *c)
{
	struct resp_request *req;

	c->refs++;
	while ((req = TAILQ_FIRST(&c->requests)) != NULL) {
		if (req->out != NULL) {
			c->held -= evbuffer_get_length(req->out);
			if (c->server != NULL && !c->doomed &&
			    evbuffer_add_buffer(c->out, req->out) != 0)
				client_doom(c, "out of memory");
			evbuffer_free(req->out);
			req->out = NULL;
		}
		if (!req->done)
			break;
		request_free(req);
	}
	client_unref(c);
}

/* One part of a reply was written: is it the last? Then the request is gone. */
static void request_part(struct resp_request *req)
{
	struct resp_client *c = req->client;
	bool head;

	while (req->depth > 0 && --req->left[req->depth - 1] == 0)
		req->depth--;
	if (req->depth > 0)
		return;
	req->done = true;
	head = TAILQ_FIRST(&c->requests) == req;
	if (c->server == NULL || c->doomed) {
		request_free(req);
		return;
	}
	if (!head)
		return;
	c->refs++;
	client_advance(c);
	if (!c->processing)
		client_kick(c);
	client_unref(c);
}

void resp_reply_ok(struct resp_request *req)
{
	request_write(req, "+OK\r\n", 5);
	request_part(req);
}

void resp_reply_int(struct resp_request *req, int64_t v)
{
	char s[32];

	request_write(req, s, (size_t)snprintf(s, sizeof(s), ":%lld\r\n", (long long)v));
	request_part(req);
}

void resp_reply_bulk(struct resp_request *req, const void *s, size_t len)
{
	char head[32];

	request_write(req, head, (size_t)snprintf(head, sizeof(head), "$%zu\r\n", len));
	request_write(req, s, len);
	request_write(req, "\r\n", 2);
	request_part(req);
}

void resp_reply_str(struct resp_request *req, const char *s)
{
	resp_reply_bulk(req, s, strlen(s));
}

void resp_reply_u64(struct resp_request *req, uint64_t v)
{
	char s[24];

	resp_reply_bulk(req, s, (size_t)snprintf(s, sizeof(s), "%llu", (unsigned long long)v));
}

void resp_reply_nil(struct resp_request *req)
{
	request_write(req, "$-1\r\n", 5);
	request_part(req);
}

void resp_reply_array(struct resp_request *req, size_t n)
{
	struct resp_client *c = req->client;
	char s[32];

	if (req->handshake && req->depth == 0)
		c->handshaken = true;
	request_write(req, s, (size_t)snprintf(s, sizeof(s), "*%zu\r\n", n));
	if (n == 0) {
		request_part(req);
		return;
	}
	if (req->depth == NESTING_MAX) {
		/* A mistake of the program's. The stream cannot be kept in step, and the parts
		 * that will follow cannot be counted: swallow them up to the outer level. */
		client_doom(c, "reply nested too deeply");
		req->left[req->depth - 1] += n - 1;
		return;
	}
	req->left[req->depth++] = n;
}

void resp_reply_error(struct resp_request *req, const char *code, const char *fmt, ...)
{
	char line[ERROR_LINE_MAX], *p;
	struct p2p_text t;
	char text[ERROR_LINE_MAX - 40];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (p = text; *p != '\0'; p++) {
		if (*p == '\r' || *p == '\n')
			*p = ' ';
	}
	p2p_text_init(&t, line, sizeof(line));
	p2p_text_add(&t, "-%.16s%s%s\r\n", code, text[0] != '\0' ? " " : "", text);
	if (req->client->server != NULL)
		req->client->server->st.errors++;
	request_write(req, t.s, t.len);
	request_part(req);
}

/* Send what is there. 0, or errno when the connection is no good any more. */
static int client_flush(struct resp_client *c)
{
	while (evbuffer_get_length(c->out) > 0) {
		struct evbuffer_iovec v[16];
		struct msghdr msg = {0};
		ssize_t n;
		int nv = evbuffer_peek(c->out, -1, NULL, v, 16);

		msg.msg_iov = (struct iovec *)v;
		msg.msg_iovlen = (size_t)(nv < 16 ? nv : 16);
		n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : errno;
		}
		evbuffer_drain(c->out, (size_t)n);
	}
	return 0;
}

/* --- built-in commands ------------------------------------------------------------------------ */

static void command_entry_docs(struct resp_request *req, const char *name, const char *summary)
{
	/* what redis-cli's help wants to see */
	resp_reply_str(req, name);
	resp_reply_array(req, 6);
	resp_reply_str(req, "summary");
	resp_reply_str(req, summary != NULL ? summary : "");
	resp_reply_str(req, "since");
	resp_reply_str(req, "1.0.0");
	resp_reply_str(req, "group");
	resp_reply_str(req, "generic");
}

static const struct {
	const char *name, *summary;
} builtins[] = {
	{"COMMAND", "names of the commands; DOCS: what they do"},
	{"ECHO", "send the argument back"},
	{"HANDSHAKE", "agree on the protocol version"},
	{"INFO", "the state of the daemon"},
	{"PING", "PONG, or the argument"},
	{"QUIT", "close the connection"},
	{"SUBSCRIBE", "be told what is published on these channels"},
	{"UNSUBSCRIBE", "no longer be told"},
};
#define N_BUILTINS (sizeof(builtins) / sizeof(builtins[0]))

static bool is(const struct resp_arg *arg, const char *word)
{
	return strlen(word) == arg->len && strncasecmp(arg->s, word, arg->len) == 0;
}

static void command_command(struct resp_server *s, struct resp_request *req, int argc,
			    const struct resp_arg *argv)
{
	const struct resp_command *cmd;
	size_t n = N_BUILTINS, i;
	bool docs = argc > 1 && is(&argv[1], "DOCS");

	for (cmd = s->cfg.commands; cmd->name != NULL; cmd++)
		n++;
	if (argc > 1 && is(&argv[1], "COUNT")) {
		resp_reply_int(req, (int64_t)n);
		return;
	}
	if (argc > 1 && !docs) {
		resp_reply_error(req, "BADARG", "COMMAND knows COUNT and DOCS");
		return;
	}
	resp_reply_array(req, docs ? 2 * n : n);
	for (i = 0; i < N_BUILTINS; i++) {
		if (docs)
			command_entry_docs(req, builtins[i].name, builtins[i].summary);
		else
			resp_reply_str(req, builtins[i].name);
	}
	for (cmd = s->cfg.commands; cmd->name != NULL; cmd++) {
		if (docs)
			command_entry_docs(req, cmd->name, cmd->summary);
		else
			resp_reply_str(req, cmd->name);
	}
}

static struct channel *client_channel(struct resp_client *c, const void *name, size_t len)
{
	struct channel *ch;

	LIST_FOREACH(ch, &c->channels, le)
	{
		if (ch->len == len && memcmp(ch->name, name, len) == 0)
			return ch;
	}
	return NULL;
}

static void client_unsubscribe(struct resp_client *c, struct channel *ch)
{
	LIST_REMOVE(ch, le);
	free(ch);
	if (--c->n_channels == 0)
		c->server->st.subscribers--;
}

/* Each channel is answered by an array of its own; the request ends with the last one. That is what
 * RESP2 asks for, and no array around them: so the request is given an outer level that writes
 * nothing. */
static void subscribe_begin(struct resp_request *req, size_t n)
{
	req->left[0] = n;
	req->depth = 1;
}

static void subscribe_part(struct resp_request *req, const char *what, const void *name, size_t len,
			   int count)
{
	resp_reply_array(req, 3);
	resp_reply_str(req, what);
	if (name != NULL)
		resp_reply_bulk(req, name, len);
	else
		resp_reply_nil(req);
	resp_reply_int(req, count);
}

static void command_subscribe(struct resp_client *c, struct resp_request *req, int argc,
			      const struct resp_arg *argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (argv[i].len == 0 || argv[i].len > CHANNEL_LEN_MAX) {
			resp_reply_error(req, "BADARG", "bad channel name");
			return;
		}
	}
	if (argc - 1 > CHANNELS_MAX || c->n_channels + argc - 1 > CHANNELS_MAX) {
		resp_reply_error(req, "BADARG", "more than %d channels", CHANNELS_MAX);
		return;
	}
	subscribe_begin(req, (size_t)argc - 1);
	for (i = 1; i < argc; i++) {
		if (client_channel(c, argv[i].s, argv[i].len) == NULL) {
			struct channel *ch = malloc(sizeof(*ch) + argv[i].len);

			if (ch == NULL) {
				client_doom(c, "out of memory");
			} else {
				ch->len = argv[i].len;
				memcpy(ch->name, argv[i].s, ch->len);
				LIST_INSERT_HEAD(&c->channels, ch, le);
				if (c->n_channels++ == 0)
					c->server->st.subscribers++;
			}
		}
		subscribe_part(req, "subscribe", argv[i].s, argv[i].len, c->n_channels);
	}
}

static void command_unsubscribe(struct resp_client *c, struct resp_request *req, int argc,
				const struct resp_arg *argv)
{
	struct channel *ch;
	int i;

	if (argc > 1) {
		subscribe_begin(req, (size_t)argc - 1);
		for (i = 1; i < argc; i++) {
			ch = client_channel(c, argv[i].s, argv[i].len);
			if (ch != NULL)
				client_unsubscribe(c, ch);
			subscribe_part(req, "unsubscribe", argv[i].s, argv[i].len, c->n_channels);
		}
		return;
	}
	if (c->n_channels == 0) {
		subscribe_begin(req, 1);
		subscribe_part(req, "unsubscribe", NULL, 0, 0);
		return;
	}
	subscribe_begin(req, (size_t)c->n_channels);
	while ((ch = LIST_FIRST(&c->channels)) != NULL) {
		char name[CHANNEL_LEN_MAX];
		size_t len = ch->len;

		memcpy(name, ch->name, len);
		client_unsubscribe(c, ch);
		subscribe_part(req, "unsubscribe", name, len, c->n_channels);
	}
}

static void command_ping(struct resp_client *c, struct resp_request *req, int argc,
			 const struct resp_arg *argv)
{
	if (c->n_channels > 0) {
		resp_reply_array(req, 2);
		resp_reply_str(req, "pong");
		resp_reply_bulk(req, argc > 1 ? argv[1].s : "", argc > 1 ? argv[1].len : 0);
	} else if (argc > 1) {
		resp_reply_bulk(req, argv[1].s, argv[1].len);
	} else {
		request_write(req, "+PONG\r\n", 7);
		request_part(req);
	}
}

static void command_handshake(struct resp_server *s, struct resp_request *req, int argc,
			      const struct resp_arg *argv)
{
	uint64_t version;

	if (p2p_u64_parse(&version, argv[1].s, argv[1].len) != 0) {
		resp_reply_error(req, "BADARG", "bad version");
		return;
	}
	if (version != (uint64_t)s->cfg.version) {
		resp_reply_error(req, "PROTO", "this server speaks version %d", s->cfg.version);
		return;
	}
	req->handshake = true;
	if (s->cfg.handshake != NULL) {
		s->cfg.handshake(req, argc, argv, s->cfg.arg);
		return;
	}
	resp_reply_array(req, 2);
	resp_reply_str(req, "version");
	resp_reply_u64(req, version);
}

static void dispatch(struct resp_server *s, struct resp_client *c, struct resp_request *req,
		     int argc, const struct resp_arg *argv)
{
	const struct resp_command *cmd;

	if (is(&argv[0], "PING") && argc <= 2) {
		command_ping(c, req, argc, argv);
		return;
	}
	if (is(&argv[0], "QUIT")) {
		c->quitting = true;
		resp_reply_ok(req);
		return;
	}
	if (is(&argv[0], "SUBSCRIBE") && argc >= 2) {
		command_subscribe(c, req, argc, argv);
		return;
	}
	if (is(&argv[0], "UNSUBSCRIBE")) {
		command_unsubscribe(c, req, argc, argv);
		return;
	}
	if (c->n_channels > 0) {
		resp_reply_error(req, "BADARG",
				 "a subscribed client may only SUBSCRIBE, UNSUBSCRIBE, PING, QUIT");
		return;
	}
	if (is(&argv[0], "ECHO") && argc == 2) {
		resp_reply_bulk(req, argv[1].s, argv[1].len);
		return;
	}
	if (is(&argv[0], "COMMAND")) {
		command_command(s, req, argc, argv);
		return;
	}
	if (is(&argv[0], "HANDSHAKE") && argc >= 2) {
		command_handshake(s, req, argc, argv);
		return;
	}
	if (is(&argv[0], "INFO") && argc <= 2 && s->cfg.info != NULL) {
		s->cfg.info(req, s->cfg.arg);
		return;
	}
	for (cmd = s->cfg.commands; cmd->name != NULL; cmd++) {
		if (!is(&argv[0], cmd->name))
			continue;
		if (argc < cmd->argc_min || (cmd->argc_max > 0 && argc > cmd->argc_max))
			resp_reply_error(req, "BADARG", "wrong number of arguments for %s",
					 cmd->name);
		else if (cmd->handshake && !c->handshaken)
			resp_reply_error(req, "NOHANDSHAKE", "HANDSHAKE comes before %s",
					 cmd->name);
		else
			cmd->handler(req, argc, argv, s->cfg.arg);
		return;
	}
	resp_reply_error(req, "BADARG", "unknown command, or wrong number of arguments");
}

/* --- input ------------------------------------------------------------------------------------ */

/* An error that ends the conversation, since the stream is out of step: said once, in order, and
 * the connection is closed when it was sent. */
static void client_protocol_error(struct resp_client *c, const char *why)
{
	char line[160];
	struct resp_request *req;
	int n;

	c->quitting = true;
	c->server->st.errors++;
	warn(c->server, MISTAKE_PROTOCOL, &c->cred, "protocol error", why);
	n = snprintf(line, sizeof(line), "-BADARG protocol error: %.100s\r\n", why);
	for (char *p = line; p < line + n - 2; p++) {
		if ((unsigned char)*p < ' ' || (unsigned char)*p >= 127)
			*p = '?';
	}
	req = calloc(1, sizeof(*req));
	if (req == NULL) {
		client_doom(c, "out of memory");
		return;
	}
	req->client = c;
	c->refs++;
	c->pending++;
	TAILQ_INSERT_TAIL(&c->requests, req, te);
	request_write(req, line, (size_t)n);
	request_part(req);
}

/* Run the commands that the reader holds, until it needs more bytes or the client owes replies
 * enough. Returns true when it wants to read on. */
static bool client_process(struct resp_client *c)
{
	struct resp_server *s = c->server;
	bool more = false;

	if (c->processing)
		return false;
	c->processing = true;
	s->frames++;
	while (c->server != NULL && !c->doomed && !c->quitting) {
		struct resp_request *req;
		void *reply = NULL;
		int i, argc;

		if (c->pending >= s->cfg.max_pending) {
			c->paused = true;
			break;
		}
		if (redisReaderGetReply(c->reader, &reply) != REDIS_OK) {
			client_protocol_error(c,
					      c->refusal != NULL ? c->refusal : c->reader->errstr);
			break;
		}
		if (reply == NULL) {
			/* what is left is a part of one item; an item is an argument */
			if (c->reader->len - c->reader->pos > s->cfg.max_bulk + 64)
				client_protocol_error(c, "argument too long");
			else
				more = true;
			break;
		}
		if (c->argc == 0)
			continue; /* as Redis does */
		req = calloc(1, sizeof(*req));
		if (req == NULL) {
			client_doom(c, "out of memory");
			break;
		}
		req->client = c;
		c->refs++;
		c->pending++;
		TAILQ_INSERT_TAIL(&c->requests, req, te);
		argc = c->argc;
		for (i = 0; i < argc; i++) {
			s->argv[i].s = c->store + c->args[i].at;
			s->argv[i].len = c->args[i].len;
		}
		s->st.commands++;
		dispatch(s, c, req, argc, s->argv);
		if (c->store_cap > STORE_IDLE_MAX) {
			free(c->store);
			c->store = NULL;
			c->store_cap = 0;
		}
	}
	c->processing = false;
	s->frames--;
	server_unref(s);
	return more && c->server != NULL;
}

/* After anything happened: flush, close, wait for what is to be waited for. */
static void client_settle(struct resp_client *c)
{
	int err;

	if (c->server == NULL)
		return;
	if (c->doomed) {
		client_close(c);
		return;
	}
	err = client_flush(c);
	if (err != 0) {
		client_close(c);
		return;
	}
	if (evbuffer_get_length(c->out) > 0) {
		event_add(c->ev_write, NULL);
	} else if (c->quitting && TAILQ_EMPTY(&c->requests)) {
		client_close(c);
		return;
	}
	/* A client that does not take its replies is not listened to either. */
	if (c->paused || c->quitting || evbuffer_get_length(c->out) > c->server->cfg.max_output / 2)
		event_del(c->ev_read);
	else
		event_add(c->ev_read, NULL);
}

static void client_kick_h(evutil_socket_t fd, short what, void *arg)
{
	struct resp_client *c = arg;

	(void)fd;
	(void)what;
	c->refs++;
	if (c->paused && !c->doomed && c->pending < c->server->cfg.max_pending) {
		c->paused = false;
		client_process(c);
	}
	client_settle(c);
	client_unref(c);
}

static void client_read_h(evutil_socket_t fd, short what, void *arg)
{
	struct resp_client *c = arg;
	char buf[READ_CHUNK];
	int i;

	(void)what;
	c->refs++;
	for (i = 0; i < READS_PER_WAKE; i++) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN && errno != EWOULDBLOCK)
				client_close(c);
			break;
		}
		if (n == 0) {
			client_close(c);
			break;
		}
		if (redisReaderFeed(c->reader, buf, (size_t)n) != REDIS_OK) {
			client_doom(c, "out of memory");
			break;
		}
		if (!client_process(c) || (size_t)n < sizeof(buf))
			break;
	}
	client_settle(c);
	client_unref(c);
}

/* --- accepting -------------------------------------------------------------------------------- */

static int client_new(struct resp_server *s, int fd, const struct ucred *cred)
{
	struct resp_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return ENOMEM;
	c->fd = fd;
	c->cred = *cred;
	c->server = s;
	c->refs = 1;
	TAILQ_INIT(&c->requests);
	LIST_INIT(&c->channels);
	c->args = calloc((size_t)s->cfg.max_args, sizeof(*c->args));
	c->reader = redisReaderCreateWithFunctions(&reader_functions);
	c->out = evbuffer_new();
	c->ev_read = event_new(s->base, fd, EV_READ | EV_PERSIST, client_read_h, c);
	c->ev_write = event_new(s->base, fd, EV_WRITE, client_kick_h, c);
	if (c->args == NULL || c->reader == NULL || c->out == NULL || c->ev_read == NULL ||
	    c->ev_write == NULL || event_add(c->ev_read, NULL) != 0)
		goto fail;
	c->reader->privdata = c;
	LIST_INSERT_HEAD(&s->clients, c, le);
	s->st.clients++;
	s->st.connections++;
	return 0;
fail:
	if (c->ev_write != NULL)
		event_free(c->ev_write);
	if (c->ev_read != NULL)
		event_free(c->ev_read);
	if (c->out != NULL)
		evbuffer_free(c->out);
	if (c->reader != NULL)
		redisReaderFree(c->reader);
	free(c->args);
	free(c);
	return ENOMEM;
}

static int credentials(int fd, struct ucred *cred)
{
	socklen_t len = sizeof(*cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, cred, &len) == 0 ? 0 : errno;
}

int resp_server_adopt(struct resp_server *s, int fd)
{
	struct ucred cred;
	int err = credentials(fd, &cred);

	if (err != 0)
		return err;
	if (s->st.clients >= s->cfg.max_clients)
		return EBUSY;
	if (evutil_make_socket_nonblocking(fd) != 0)
		return errno;
	return client_new(s, fd, &cred);
}

static void refuse(struct resp_server *s, int fd, enum mistake mistake, const struct ucred *cred,
		   const char *code, const char *why)
{
	char line[80];
	int n = snprintf(line, sizeof(line), "-%s %s\r\n", code, why);

	s->st.refused++;
	warn(s, mistake, cred, "refused", why);
	if (send(fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		/* it will notice by the end of the connection */
	}
	close(fd);
}

static void accept_h(evutil_socket_t lfd, short what, void *arg)
{
	struct resp_server *s = arg;
	int i;

	(void)what;
	s->frames++;
	for (i = 0; i < ACCEPTS_PER_WAKE && !s->freed; i++) {
		struct ucred cred = {.pid = 0, .uid = (uid_t)-1};
		int fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			struct timeval tv = {0, ACCEPT_PAUSE_MS * 1000};

			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			if (errno == EAGAIN || errno == EWOULDBLOCK)
				break;
			/* Out of descriptors or memory: the connection stays in the backlog, and a
			 * loop that looks at it again at once would spin. */
			warn(s, MISTAKE_ACCEPT, &cred, "not accepted", strerror(errno));
			event_del(s->ev_accept);
			event_add(s->ev_resume, &tv);
			break;
		}
		if (credentials(fd, &cred) != 0 ||
		    (s->cfg.allow != NULL &&
		     !s->cfg.allow(cred.uid, cred.gid, cred.pid, s->cfg.arg)))
			refuse(s, fd, MISTAKE_DENIED, &cred, "DENIED", "not for you");
		else if (s->st.clients >= s->cfg.max_clients)
			refuse(s, fd, MISTAKE_BUSY, &cred, "BUSY", "too many clients");
		else if (client_new(s, fd, &cred) != 0)
			refuse(s, fd, MISTAKE_BUSY, &cred, "BUSY", "out of memory");
	}
	s->frames--;
	server_unref(s);
}

static void accept_resume_h(evutil_socket_t fd, short what, void *arg)
{
	struct resp_server *s = arg;

	(void)fd;
	(void)what;
	event_add(s->ev_accept, NULL);
}

/* Is somebody listening on the socket's file? 0 no (and it may be removed), else errno. */
static int path_probe(const struct sockaddr_un *sun)
{
	struct stat st;
	int fd, err;

	if (lstat(sun->sun_path, &st) != 0)
		return errno == ENOENT ? 0 : errno;
	if (!S_ISSOCK(st.st_mode))
		return ENOTSOCK; /* not ours to remove */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errno;
	err = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 ? EADDRINUSE : errno;
	close(fd);
	if (err == EAGAIN)
		return EADDRINUSE; /* somebody listens, with a full backlog */
	return err == ECONNREFUSED || err == ENOENT ? 0 : err;
}

static int group_id(const char *name, gid_t *gid)
{
	struct group gr, *res = NULL;
	char buf[4096];
	int err = getgrnam_r(name, &gr, buf, sizeof(buf), &res);

	if (err != 0)
		return err;
	if (res == NULL)
		return ENOENT;
	*gid = gr.gr_gid;
	return 0;
}

static int server_listen(struct resp_server *s)
{
	const struct resp_server_config *cfg = &s->cfg;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct stat st;
	gid_t gid = (gid_t)-1;
	bool bound = false;
	int err;

	if (strlen(s->path) >= sizeof(sun.sun_path))
		return ENAMETOOLONG;
	memcpy(sun.sun_path, s->path, strlen(s->path) + 1);
	if (cfg->group != NULL && cfg->group[0] != '\0') {
		err = group_id(cfg->group, &gid);
		if (err != 0)
			return err;
	}
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return errno;
	/* Linux makes the file with the socket's own mode: never open to more than us, even for a
	 * moment, and without touching the umask of all threads. */
	if (fchmod(s->fd, 0600) != 0) {
		err = errno;
		goto fail;
	}
	err = path_probe(&sun);
	if (err != 0)
		goto fail;
	if (unlink(s->path) != 0 && errno != ENOENT) {
		err = errno;
		goto fail;
	}
	if (bind(s->fd, (struct sockaddr *)&sun, sizeof(sun)) != 0) {
		err = errno;
		goto fail;
	}
	bound = true;
	if ((gid != (gid_t)-1 && chown(s->path, (uid_t)-1, gid) != 0) ||
	    chmod(s->path, cfg->mode) != 0 || listen(s->fd, 128) != 0 || lstat(s->path, &st) != 0) {
		err = errno;
		goto fail;
	}
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	return 0;
fail:
	if (bound)
		unlink(s->path);
	close(s->fd);
	s->fd = -1;
	return err;
}

int resp_server_new(struct resp_server **sp, struct event_base *base,
		    const struct resp_server_config *config)
{
	static const struct resp_command none = {0};
	struct p2p_hash_key key = {{0}};
	struct resp_server *s;
	int err = ENOMEM;

	if (config->path == NULL || config->max_args < 2 || config->max_bulk == 0 ||
	    config->max_clients < 1 || config->max_pending < 1 || config->max_output == 0)
		return EINVAL;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return ENOMEM;
	s->base = base;
	s->cfg = *config;
	if (s->cfg.commands == NULL)
		s->cfg.commands = &none;
	s->fd = -1;
	/* without randomness somebody could at most mute others' warnings */
	if (getrandom(&key, sizeof(key), GRND_NONBLOCK) < 0)
		key.b[0] = 1;
	p2p_limit_init(&s->limit, LOG_INTERVAL_MS, &key);
	LIST_INIT(&s->clients);
	s->path = strdup(config->path);
	s->argv = calloc((size_t)config->max_args, sizeof(*s->argv));
	if (s->path == NULL || s->argv == NULL)
		goto fail;
	err = server_listen(s);
	if (err != 0)
		goto fail;
	err = ENOMEM;
	s->ev_accept = event_new(base, s->fd, EV_READ | EV_PERSIST, accept_h, s);
	s->ev_resume = event_new(base, -1, 0, accept_resume_h, s);
	if (s->ev_accept == NULL || s->ev_resume == NULL || event_add(s->ev_accept, NULL) != 0)
		goto fail;
	*sp = s;
	return 0;
fail:
	if (s->ev_accept != NULL)
		event_free(s->ev_accept);
	if (s->ev_resume != NULL)
		event_free(s->ev_resume);
	if (s->fd >= 0) {
		unlink(s->path);
		close(s->fd);
	}
	free(s->argv);
	free(s->path);
	free(s);
	return err;
}

void resp_server_free(struct resp_server *s)
{
	struct resp_client *c;
	struct stat st;

	if (s == NULL || s->freed)
		return;
	s->frames++;
	/* What was already replied should still arrive, as far as the socket takes it. */
	while ((c = LIST_FIRST(&s->clients)) != NULL) {
		if (!c->doomed)
			(void)client_flush(c);
		client_close(c);
	}
	/* The file may be another server's by now. */
	if (lstat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->path);
	event_free(s->ev_accept);
	event_free(s->ev_resume);
	close(s->fd);
	s->fd = -1;
	s->freed = true;
	s->frames--;
	server_unref(s);
}

/* --- the rest --------------------------------------------------------------------------------- */

struct resp_client *resp_request_client(struct resp_request *req)
{
	return req->client->server != NULL ? req->client : NULL;
}

void *resp_client_data(const struct resp_client *client)
{
	return client->data;
}

void resp_client_set_data(struct resp_client *client, void *data)
{
	client->data = data;
}

bool resp_client_handshaken(const struct resp_client *client)
{
	return client->handshaken;
}

static void client_message(struct resp_client *c, const char *channel, const void *s, size_t len)
{
	struct resp_request *req = calloc(1, sizeof(*req));

	if (req == NULL) {
		client_doom(c, "out of memory");
		return;
	}
	/* A reply of its own, so that it never falls into the middle of another one. */
	req->client = c;
	c->refs++;
	c->pending++;
	TAILQ_INSERT_TAIL(&c->requests, req, te);
	resp_reply_array(req, 3);
	resp_reply_str(req, "message");
	resp_reply_str(req, channel);
	resp_reply_bulk(req, s, len);
}

int resp_server_publish(struct resp_server *s, const char *channel, const void *msg, size_t len)
{
	struct resp_client *c, *next;
	size_t chlen = strlen(channel);
	int n = 0;

	for (c = LIST_FIRST(&s->clients); c != NULL; c = next) {
		next = LIST_NEXT(c, le);
		if (c->doomed || client_channel(c, channel, chlen) == NULL)
			continue;
		client_message(c, channel, msg, len);
		n++;
	}
	return n;
}

void resp_server_stats(const struct resp_server *s, struct resp_server_stats *st)
{
	*st = s->st;
}
