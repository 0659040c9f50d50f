/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies. Those of the oldest request are written straight to the client's output; those of later
 * ones wait in buffers of their own. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <event2/buffer.h>

#include "lib/base/bytes.h"
#include "lib/io/resp_impl.h"

#define ERROR_LINE_MAX 512

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
			resp_client_doom(c, "out of memory");
	}
	return req->out;
}

void resp_request_write(struct resp_request *req, const void *s, size_t len)
{
	struct resp_client *c = req->client;
	struct evbuffer *sink = request_sink(req);

	if (sink == NULL)
		return;
	if (evbuffer_get_length(c->out) + c->held + len > c->server->cfg.max_output) {
		resp_client_doom(c, "it does not read its replies");
		return;
	}
	if (evbuffer_add(sink, s, len) != 0) {
		resp_client_doom(c, "out of memory");
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
				resp_client_doom(c, "out of memory");
			evbuffer_free(req->out);
			req->out = NULL;
		}
		if (!req->done)
			break;
		resp_request_free(req);
	}
	resp_client_unref(c);
}

/* One part of a reply was written: is it the last? Then the request is gone. */
void resp_request_part(struct resp_request *req)
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
		resp_request_free(req);
		return;
	}
	if (!head)
		return;
	c->refs++;
	client_advance(c);
	if (!c->processing)
		resp_client_kick(c);
	resp_client_unref(c);
}

void resp_reply_ok(struct resp_request *req)
{
	resp_request_write(req, "+OK\r\n", 5);
	resp_request_part(req);
}

void resp_reply_int(struct resp_request *req, int64_t v)
{
	char s[32];

	resp_request_write(req, s, (size_t)snprintf(s, sizeof(s), ":%lld\r\n", (long long)v));
	resp_request_part(req);
}

void resp_reply_bulk(struct resp_request *req, const void *s, size_t len)
{
	char head[32];

	resp_request_write(req, head, (size_t)snprintf(head, sizeof(head), "$%zu\r\n", len));
	resp_request_write(req, s, len);
	resp_request_write(req, "\r\n", 2);
	resp_request_part(req);
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
	resp_request_write(req, "$-1\r\n", 5);
	resp_request_part(req);
}

void resp_reply_array(struct resp_request *req, size_t n)
{
	struct resp_client *c = req->client;
	char s[32];

	if (req->handshake && req->depth == 0)
		c->handshaken = true;
	resp_request_write(req, s, (size_t)snprintf(s, sizeof(s), "*%zu\r\n", n));
	if (n == 0) {
		resp_request_part(req);
		return;
	}
	if (req->depth == NESTING_MAX) {
		/* A mistake of the program's. The stream cannot be kept in step, and the parts
		 * that will follow cannot be counted: swallow them up to the outer level. */
		resp_client_doom(c, "reply nested too deeply");
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
	resp_request_write(req, t.s, t.len);
	resp_request_part(req);
}
