/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hiredis' asynchronous API has no deadlines of its own, so a timer looks at what is owed. It tells
 * of the end of a connection in three ways (connecting failed, disconnected, freed): all of them
 * end in lost(). */
#include "dht-gateway/engine/dht_redis_conn.h"
#include <errno.h>
#include <event2/event.h>
#include <hiredis/async.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK_MS 100
#define IDLE_PING_MS 2000
#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 2000
/* What nobody wants to hear of; keeps a connection for messages in its mode, and answering. */
#define SILENCE "p2psip:silence"

enum conn_state { CONN_DOWN, CONN_GREETING, CONN_UP };

struct owed {
	struct redis_conn *conn;
	redis_reply_h *h;
	void *arg;
};

struct redis_conn {
	struct event_base *base;
	char host[REDIS_HOST_MAX];
	uint16_t port;
	const struct redis_login *login;
	redis_state_h *state_h;
	void *arg;
	redis_message_h *message_h;
	void *message_arg;

	redisAsyncContext *ac;
	struct event *tick;
	enum conn_state state;
	bool freed;
	bool unwelcome; /* the server has said why */
	unsigned int owed;
	uint64_t heard_ms; /* or since when something is owed */
	uint64_t retry_at_ms;
	unsigned int retry_ms;
	char why[128];
};

static uint64_t mono_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void because(struct redis_conn *c, const char *why)
{
	snprintf(c->why, sizeof(c->why), c->port ? "%s:%u: %s" : "%s%.0u: %s", c->host, c->port,
		 why);
}

/* The context is gone, or will be as soon as hiredis returns. */
static void lost(struct redis_conn *c)
{
	bool was = c->state == CONN_UP;

	if (!c->ac)
		return;
	c->ac = NULL;
	c->state = CONN_DOWN;
	c->retry_ms = c->retry_ms ? c->retry_ms * 2 : RETRY_MIN_MS;
	if (c->retry_ms > RETRY_MAX_MS)
		c->retry_ms = RETRY_MAX_MS;
	c->retry_at_ms = mono_ms() + c->retry_ms;
	if (was && !c->freed)
		c->state_h(c, false, c->arg);
}

static void drop(struct redis_conn *c, const char *why)
{
	redisAsyncContext *ac = c->ac;

	if (!ac)
		return;
	if (why)
		because(c, why);
	/* replies owed are told NULL by hiredis, from within */
	lost(c);
	ac->data = NULL;
	redisAsyncFree(ac);
}

static void on_connect(const redisAsyncContext *ac, int status)
{
	struct redis_conn *c = ac->data;

	/* a failure is followed by the context's end, without on_disconnect */
	if (c && status != REDIS_OK) {
		because(c, ac->errstr ? ac->errstr : "cannot connect");
		lost(c);
	}
}

static void on_disconnect(const redisAsyncContext *ac, int status)
{
	struct redis_conn *c = ac->data;

	if (!c)
		return;
	if (!c->unwelcome)
		because(c, status != REDIS_OK && ac->errstr && *ac->errstr
				   ? ac->errstr
				   : "the server has closed");
	lost(c);
}

static void on_reply(redisAsyncContext *ac, void *r, void *privdata)
{
	struct owed *o = privdata;
	struct redis_conn *c = o->conn;

	(void)ac;
	c->owed--;
	c->heard_ms = mono_ms();
	if (o->h)
		o->h(r, o->arg);
	free(o);
}

static int send_command(struct redis_conn *c, int argc, const char **argv, const size_t *argvlen,
			redis_reply_h *h, void *arg)
{
	struct owed *o;

	if (!c->ac)
		return ENOTCONN;
	o = malloc(sizeof(*o));
	if (!o)
		return ENOMEM;
	o->conn = c;
	o->h = h;
	o->arg = arg;
	if (redisAsyncCommandArgv(c->ac, on_reply, o, argc, argv, argvlen) != REDIS_OK) {
		free(o);
		return ENOTCONN;
	}
	if (!c->owed++)
		c->heard_ms = mono_ms();
	return 0;
}

static void greeting_failed(struct redis_conn *c, const redisReply *reply, const char *what)
{
	char why[96];

	/* not from within a reply: hiredis still uses the context */
	snprintf(why, sizeof(why), "%s: %.60s", what,
		 reply->type == REDIS_REPLY_ERROR && reply->str ? reply->str : "no such reply");
	because(c, why);
	c->unwelcome = true;
	if (c->ac)
		redisAsyncDisconnect(c->ac);
}

static void on_auth(const redisReply *reply, void *arg)
{
	struct redis_conn *c = arg;

	if (reply && reply->type == REDIS_REPLY_ERROR)
		greeting_failed(c, reply, "AUTH");
}

static void on_ping(const redisReply *reply, void *arg)
{
	struct redis_conn *c = arg;

	if (!reply || c->state != CONN_GREETING || !c->ac || c->unwelcome)
		return;
	if (reply->type != REDIS_REPLY_STATUS) { /* NOAUTH, LOADING, ... */
		greeting_failed(c, reply, "PING");
		return;
	}
	c->state = CONN_UP;
	c->retry_ms = 0;
	c->why[0] = 0;
	c->state_h(c, true, c->arg);
}

static void greet(struct redis_conn *c)
{
	const char *auth[3] = {"AUTH"}, *ping[] = {"PING"};
	int n = 1;

	if (c->login->password && *c->login->password) {
		if (c->login->user && *c->login->user)
			auth[n++] = c->login->user;
		auth[n++] = c->login->password;
		send_command(c, n, auth, NULL, on_auth, c);
	}
	send_command(c, 1, ping, NULL, on_ping, c);
}

static void dial(struct redis_conn *c)
{
	redisAsyncContext *ac =
		c->port ? redisAsyncConnect(c->host, c->port) : redisAsyncConnectUnix(c->host);

	c->retry_at_ms = mono_ms() + RETRY_MAX_MS;
	if (!ac)
		return;
	if (ac->err || redisLibeventAttach(ac, c->base) != REDIS_OK) {
		because(c, ac->errstr && *ac->errstr ? ac->errstr : "cannot connect");
		redisAsyncFree(ac);
		return;
	}
	ac->data = c;
	c->ac = ac;
	c->state = CONN_GREETING;
	c->unwelcome = false;
	c->owed = 0; /* confirmations of subscriptions may have been lost */
	redisAsyncSetConnectCallback(ac, on_connect);
	redisAsyncSetDisconnectCallback(ac, on_disconnect);
	c->heard_ms = mono_ms();
	greet(c);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct redis_conn *c = arg;
	const char *ping[] = {"PING"};
	uint64_t now = mono_ms();

	(void)fd;
	(void)what;
	if (!c->ac) {
		if (now >= c->retry_at_ms)
			dial(c);
		return;
	}
	if (c->owed && now - c->heard_ms > c->login->timeout_ms)
		drop(c, c->state == CONN_UP ? "no reply in time" : "no connection in time");
	else if (!c->owed && now - c->heard_ms > IDLE_PING_MS) {
		if (c->message_h)
			redis_conn_subscribe(c, SILENCE);
		else
			send_command(c, 1, ping, NULL, NULL, NULL);
	}
}

int redis_conn_new(struct redis_conn **cp, struct event_base *base, const char *host, uint16_t port,
		   const struct redis_login *login, redis_state_h *state, void *arg)
{
	struct timeval tv = {.tv_usec = CHECK_MS * 1000};
	struct redis_conn *c;

	if (strlen(host) >= sizeof(c->host))
		return EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return ENOMEM;
	c->base = base;
	strcpy(c->host, host);
	c->port = port;
	c->login = login;
	c->state_h = state;
	c->arg = arg;
	c->tick = event_new(base, -1, EV_PERSIST, on_tick, c);
	if (!c->tick || event_add(c->tick, &tv)) {
		if (c->tick)
			event_free(c->tick);
		free(c);
		return ENOMEM;
	}
	because(c, "not connected yet");
	event_active(c->tick, EV_TIMEOUT, 1);
	*cp = c;
	return 0;
}

void redis_conn_free(struct redis_conn *c)
{
	if (!c)
		return;
	c->freed = true;
	drop(c, NULL);
	event_free(c->tick);
	free(c);
}

bool redis_conn_up(const struct redis_conn *c)
{
	return c && c->state == CONN_UP;
}

bool redis_conn_to(const struct redis_conn *c, const char *host, uint16_t port)
{
	return c && c->port == port && !strcmp(c->host, host);
}

const char *redis_conn_why(const struct redis_conn *c)
{
	return c ? c->why : "";
}

int redis_conn_send(struct redis_conn *c, int argc, const char **argv, const size_t *argvlen,
		    redis_reply_h *h, void *arg)
{
	return redis_conn_up(c) ? send_command(c, argc, argv, argvlen, h, arg) : ENOTCONN;
}

/* --- messages --- */

/* Subscriptions, their confirmations and NULL at the end all come here. */
static void on_published(redisAsyncContext *ac, void *r, void *privdata)
{
	struct redis_conn *c = privdata;
	const redisReply *reply = r;

	(void)ac;
	if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
		return;
	c->heard_ms = mono_ms();
	if (reply->element[0]->type != REDIS_REPLY_STRING ||
	    reply->element[1]->type != REDIS_REPLY_STRING)
		return;
	if (!strcmp(reply->element[0]->str, "subscribe") && c->owed)
		c->owed--;
	if (!strcmp(reply->element[0]->str, "message") &&
	    reply->element[2]->type == REDIS_REPLY_STRING)
		c->message_h(reply->element[1]->str, reply->element[1]->len, reply->element[2]->str,
			     reply->element[2]->len, c->message_arg);
}

void redis_conn_on_message(struct redis_conn *c, redis_message_h *h, void *arg)
{
	c->message_h = h;
	c->message_arg = arg;
}

int redis_conn_subscribe(struct redis_conn *c, const char *channel)
{
	const char *argv[] = {"SUBSCRIBE", channel};

	if (c->state != CONN_UP || !c->ac ||
	    redisAsyncCommandArgv(c->ac, on_published, c, 2, argv, NULL) != REDIS_OK)
		return ENOTCONN;
	if (!c->owed++)
		c->heard_ms = mono_ms();
	return 0;
}

int redis_conn_unsubscribe(struct redis_conn *c, const char *channel)
{
	const char *argv[] = {"UNSUBSCRIBE", channel};

	/* its confirmation is not waited for */
	return c->state == CONN_UP && c->ac &&
			       redisAsyncCommandArgv(c->ac, on_published, c, 2, argv, NULL) ==
				       REDIS_OK
		       ? 0
		       : ENOTCONN;
}
