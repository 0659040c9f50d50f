/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: one connection to the gateway; see the header. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/dprint.h"
#include "core/mem/mem.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_answer.h"
#include "modules/p2p_usrloc/p2p_usrloc_conn.h"

#define READ_SIZE 65536
/* An answer that is longer than this without being complete is none. */
#define ANSWER_MAX (1024 * 1024)
#define BACKOFF_MIN_MS 50
/* A connection that lived for this long was a good one: the next back-off starts small. */
#define GOOD_MS 5000
/* Reads per turn, so that one connection cannot keep the others waiting. */
#define READS_MAX 8

struct pul_request {
	struct pul_request *next;
	uint64_t deadline_ms;
	pul_reply_h *h;
	void *arg;
};

/* Some requests are kept for the next ones: Kamailio's private allocator would be a third of all
 * that publishing costs. */
#define SPARE_MAX 1024
static struct pul_request *spare;
static unsigned int n_spare;

static struct pul_request *request_new(void)
{
	struct pul_request *req = spare;

	if (req == NULL)
		return pkg_malloc(sizeof(*req));
	spare = req->next;
	n_spare--;
	return req;
}

static void request_free(struct pul_request *req)
{
	if (n_spare >= SPARE_MAX) {
		pkg_free(req);
		return;
	}
	req->next = spare;
	spare = req;
	n_spare++;
}

void pul_conn_init(struct pul_conn *conn)
{
	memset(conn, 0, sizeof(*conn));
	conn->fd = -1;
}

int pul_conn_open(struct pul_conn *conn, const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int err;

	strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
	conn->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (conn->fd < 0)
		return errno;
	/* a unix socket connects at once, or fails (EAGAIN: its backlog is full) */
	if (connect(conn->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		err = errno;
		goto fail;
	}
	conn->reader = pul_answer_reader();
	if (conn->reader == NULL) {
		err = ENOMEM;
		goto fail;
	}
	conn->state = PUL_CONN_SHAKING;
	conn->doomed = false;
	conn->why[0] = '\0';
	conn->used_ms = pul_now_ms();
	return 0;

fail:
	close(conn->fd);
	conn->fd = -1;
	return err;
}

static int out_reserve(struct pul_conn *conn, size_t n)
{
	size_t cap = conn->out_cap;
	char *bigger;

	if (conn->out_len + n <= conn->out_cap)
		return 0;
	if (conn->out_off > 0) {
		memmove(conn->out, conn->out + conn->out_off, conn->out_len - conn->out_off);
		conn->out_len -= conn->out_off;
		conn->out_off = 0;
	}
	if (conn->out_len + n > PUL_CONN_OUT_MAX) {
		pul_count(PUL_CNT_OUTPUT_FULL);
		return ENOBUFS;
	}
	if (cap == 0)
		cap = 16384;
	while (cap < conn->out_len + n)
		cap *= 2;
	if (cap == conn->out_cap)
		return 0;
	bigger = pkg_realloc(conn->out, cap);
	if (bigger == NULL)
		return ENOMEM;
	conn->out = bigger;
	conn->out_cap = cap;
	return 0;
}

int pul_conn_send(struct pul_conn *conn, const void *command, size_t n, uint64_t deadline_ms,
		  pul_reply_h *h, void *arg)
{
	struct pul_request *req;
	int err;

	if (conn->state == PUL_CONN_CLOSED || conn->doomed)
		return ENOTCONN;
	err = out_reserve(conn, n);
	if (err != 0)
		return err;
	req = request_new();
	if (req == NULL)
		return ENOMEM;
	req->next = NULL;
	req->deadline_ms = deadline_ms;
	req->h = h;
	req->arg = arg;
	if (conn->tail != NULL)
		conn->tail->next = req;
	else
		conn->head = req;
	conn->tail = req;
	conn->owed++;
	memcpy(conn->out + conn->out_len, command, n);
	conn->out_len += n;
	conn->used_ms = pul_now_ms();
	return 0;
}

size_t pul_conn_room(const struct pul_conn *conn)
{
	if (conn->state == PUL_CONN_CLOSED || conn->doomed)
		return 0;
	return PUL_CONN_OUT_MAX - (conn->out_len - conn->out_off);
}

short pul_conn_events(const struct pul_conn *conn)
{
	return conn->out_off < conn->out_len ? POLLIN | POLLOUT : POLLIN;
}

void pul_conn_doom(struct pul_conn *conn, const char *fmt, ...)
{
	va_list ap;

	if (conn->doomed || conn->state == PUL_CONN_CLOSED)
		return;
	conn->doomed = true;
	va_start(ap, fmt);
	vsnprintf(conn->why, sizeof(conn->why), fmt, ap);
	va_end(ap);
}

void pul_conn_flush(struct pul_conn *conn)
{
	ssize_t n;

	while (!conn->doomed && conn->out_off < conn->out_len) {
		n = send(conn->fd, conn->out + conn->out_off, conn->out_len - conn->out_off,
			 MSG_NOSIGNAL);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				pul_conn_doom(conn, "send: %s", strerror(errno));
			return;
		}
		conn->out_off += (size_t)n;
	}
	if (conn->out_off == conn->out_len)
		conn->out_off = conn->out_len = 0;
}

static void answer(struct pul_conn *conn, const redisReply *reply)
{
	struct pul_request *req = conn->head;

	if (reply != NULL && conn->push != NULL && reply->type == REDIS_REPLY_ARRAY &&
	    reply->elements >= 1 && reply->element[0]->type == REDIS_REPLY_STRING &&
	    reply->element[0]->len == 7 && memcmp(reply->element[0]->str, "message", 7) == 0) {
		conn->push(conn, reply);
		return;
	}
	if (req == NULL) {
		pul_conn_doom(conn, "an answer came that nothing asked for");
		return;
	}
	conn->head = req->next;
	if (conn->head == NULL)
		conn->tail = NULL;
	conn->owed--;
	req->h(conn, reply, req->arg);
	request_free(req);
}

static void answers(struct pul_conn *conn)
{
	void *reply;

	while (!conn->doomed) {
		reply = NULL;
		if (redisReaderGetReply(conn->reader, &reply) != REDIS_OK) {
			pul_conn_doom(conn, "no RESP: %s", conn->reader->errstr);
			return;
		}
		if (reply == NULL)
			break;
		answer(conn, reply);
		freeReplyObject(reply);
	}
	if (conn->reader->len - conn->reader->pos > ANSWER_MAX)
		pul_conn_doom(conn, "an answer of more than %d bytes", ANSWER_MAX);
}

static void receive(struct pul_conn *conn)
{
	static char buf[READ_SIZE];
	ssize_t n;
	int i;

	for (i = 0; i < READS_MAX && !conn->doomed; i++) {
		n = recv(conn->fd, buf, sizeof(buf), 0);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				pul_conn_doom(conn, "receive: %s", strerror(errno));
			return;
		}
		if (n == 0) {
			pul_conn_doom(conn, "closed by the gateway");
			return;
		}
		conn->used_ms = pul_now_ms();
		if (redisReaderFeed(conn->reader, buf, (size_t)n) != REDIS_OK) {
			pul_conn_doom(conn, "no RESP: %s", conn->reader->errstr);
			return;
		}
		answers(conn);
		if ((size_t)n < sizeof(buf))
			return;
	}
}

void pul_conn_io(struct pul_conn *conn, short revents)
{
	if (conn->state == PUL_CONN_CLOSED || conn->doomed)
		return;
	if (revents & (POLLIN | POLLHUP | POLLERR))
		receive(conn);
	if (revents & POLLOUT)
		pul_conn_flush(conn);
}

uint64_t pul_conn_due(const struct pul_conn *conn)
{
	return conn->head != NULL ? conn->head->deadline_ms : UINT64_MAX;
}

bool pul_conn_reap(struct pul_conn *conn)
{
	struct pul_request *req;

	if (!conn->doomed || conn->state == PUL_CONN_CLOSED)
		return false;
	close(conn->fd);
	conn->fd = -1;
	redisReaderFree(conn->reader);
	conn->reader = NULL;
	if (conn->out != NULL)
		pkg_free(conn->out);
	conn->out = NULL;
	conn->out_off = conn->out_len = conn->out_cap = 0;
	conn->state = PUL_CONN_CLOSED;
	while ((req = conn->head) != NULL) {
		conn->head = req->next;
		if (conn->head == NULL)
			conn->tail = NULL;
		conn->owed--;
		req->h(conn, NULL, req->arg);
		request_free(req);
	}
	conn->doomed = false;
	return true;
}

void pul_backoff_next(struct pul_backoff *b, uint64_t now_ms)
{
	unsigned int max = (unsigned int)pul_settings.reconnect_max_ms;

	if (b->up_ms != 0 && now_ms - b->up_ms >= GOOD_MS)
		b->wait_ms = 0;
	b->up_ms = 0;
	b->wait_ms = b->wait_ms == 0 ? BACKOFF_MIN_MS : b->wait_ms * 2;
	if (b->wait_ms > max)
		b->wait_ms = max;
	/* from three quarters to the whole of it, so that many peers' do not beat together */
	b->next_ms = now_ms + b->wait_ms - (unsigned int)random() % (b->wait_ms / 4 + 1);
}
