/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One connection: its life, its requests, what it sends and what is sent to it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/buffer.h>

#include "lib/io/resp_impl.h"

#define READ_CHUNK 16384
#define READS_PER_WAKE 16
/* Kept of a client's argument store between commands */
#define STORE_IDLE_MAX 8192

void resp_client_unref(struct resp_client *c)
{
	if (--c->refs > 0)
		return;
	evbuffer_free(c->out);
	redisReaderFree(c->reader);
	free(c->store);
	free(c->args);
	free(c);
}

struct resp_request *resp_request_new(struct resp_client *c)
{
	struct resp_request *req = calloc(1, sizeof(*req));

	if (req == NULL) {
		resp_client_doom(c, "out of memory");
		return NULL;
	}
	req->client = c;
	c->refs++;
	c->pending++;
	TAILQ_INSERT_TAIL(&c->requests, req, te);
	return req;
}

void resp_request_free(struct resp_request *req)
{
	struct resp_client *c = req->client;

	if (req->out != NULL) {
		c->held -= evbuffer_get_length(req->out);
		evbuffer_free(req->out);
	}
	TAILQ_REMOVE(&c->requests, req, te);
	c->pending--;
	free(req);
	resp_client_unref(c);
}

void resp_client_kick(struct resp_client *c)
{
	/* ev_write doubles as the wake-up: its handler looks at everything */
	if (c->server != NULL)
		event_active(c->ev_write, EV_WRITE, 1);
}

/* Drop the connection. Requests still owed stay, and hold the client. */
void resp_client_close(struct resp_client *c)
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
			resp_request_free(req);
	}
	if (s->cfg.closed != NULL) {
		s->frames++;
		s->cfg.closed(c, s->cfg.arg);
		s->frames--;
	}
	resp_server_unref(s);
	resp_client_unref(c);
}

/* To be closed from its own event, at the next turn of the loop: callers further up still use it.
 */
void resp_client_doom(struct resp_client *c, const char *why)
{
	struct resp_server *s = c->server;

	if (s == NULL || c->doomed)
		return;
	c->doomed = true;
	s->st.cut_off++;
	resp_warn(s, MISTAKE_CUT_OFF, &c->cred, "cut off", why);
	resp_client_kick(c);
}

/* Send what is there. 0, or errno when the connection is no good any more. */
int resp_client_flush(struct resp_client *c)
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

/* An error that ends the conversation, since the stream is out of step: said once, in order, and
 * the connection is closed when it was sent. */
static void client_protocol_error(struct resp_client *c, const char *why)
{
	char line[160];
	struct resp_request *req;
	int n;

	c->quitting = true;
	c->server->st.errors++;
	resp_warn(c->server, MISTAKE_PROTOCOL, &c->cred, "protocol error", why);
	n = snprintf(line, sizeof(line), "-BADARG protocol error: %.100s\r\n", why);
	for (char *p = line; p < line + n - 2; p++) {
		if ((unsigned char)*p < ' ' || (unsigned char)*p >= 127)
			*p = '?';
	}
	req = resp_request_new(c);
	if (req == NULL)
		return;
	resp_request_write(req, line, (size_t)n);
	resp_request_part(req);
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
		req = resp_request_new(c);
		if (req == NULL)
			break;
		argc = c->argc;
		for (i = 0; i < argc; i++) {
			s->argv[i].s = c->store + c->args[i].at;
			s->argv[i].len = c->args[i].len;
		}
		s->st.commands++;
		resp_dispatch(s, c, req, argc, s->argv);
		if (c->store_cap > STORE_IDLE_MAX) {
			free(c->store);
			c->store = NULL;
			c->store_cap = 0;
		}
	}
	c->processing = false;
	s->frames--;
	resp_server_unref(s);
	return more && c->server != NULL;
}

/* After anything happened: flush, close, wait for what is to be waited for. */
static void client_settle(struct resp_client *c)
{
	int err;

	if (c->server == NULL)
		return;
	if (c->doomed) {
		resp_client_close(c);
		return;
	}
	err = resp_client_flush(c);
	if (err != 0) {
		resp_client_close(c);
		return;
	}
	if (evbuffer_get_length(c->out) > 0) {
		event_add(c->ev_write, NULL);
	} else if (c->quitting && TAILQ_EMPTY(&c->requests)) {
		resp_client_close(c);
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
	resp_client_unref(c);
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
				resp_client_close(c);
			break;
		}
		if (n == 0) {
			resp_client_close(c);
			break;
		}
		if (redisReaderFeed(c->reader, buf, (size_t)n) != REDIS_OK) {
			resp_client_doom(c, "out of memory");
			break;
		}
		if (!client_process(c) || (size_t)n < sizeof(buf))
			break;
	}
	client_settle(c);
	resp_client_unref(c);
}

int resp_client_new(struct resp_server *s, int fd, const struct ucred *cred)
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
	c->reader = redisReaderCreateWithFunctions(&resp_reader_functions);
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
