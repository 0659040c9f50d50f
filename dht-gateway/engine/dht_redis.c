/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine for an operator who has a Redis server or a Redis Cluster: it takes far more users
 * than the embedded one.
 *
 *   <prefix>:{<key in hexadecimal>}       a hash: id in hexadecimal -> expiry (4 bytes, seconds by
 *                                         Redis's clock), value
 *   <prefix>:bell:<key in hexadecimal>    a channel: id (8 bytes), value
 *
 * A value takes the place of another only where policy lets it; the server compares and sets in one
 * step. What is read is judged again: others write there too. Reads go to a replica where the
 * master does not answer, but nothing that a replica lacks is taken for absent. What cannot be sent
 * now waits, and is tried again until its time is over. */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "dht-gateway/engine/dht_engines.h"
#include "dht-gateway/engine/dht_redis_impl.h"
#include "lib/base/bytes.h"

#define TICK_MS 20
/* An operation's time, in those of a connection that does not answer: one may be tried after the
 * other. */
#define TRIES 4
#define WATCHES_MAX 65536

uint64_t redis_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct dht_backend *b = arg;
	uint64_t now = redis_now_ms();

	(void)fd;
	(void)what;
	redis_servers_follow(b);
	redis_map_refresh(b);
	redis_listen_look(b);
	if (!b->map.known)
		for (unsigned int i = 0; i < b->n_servers && !*b->why; i++)
			if (!redis_server_up(b, i))
				snprintf(b->why, sizeof(b->why), "%s",
					 redis_conn_why(b->server[i].conn));
	redis_ops_tick(b, now);
}

static void redis_close(struct dht_backend *b)
{
	struct dht_watch *w;
	struct dht_op *op;

	if (!b)
		return;
	b->closing = true;
	for (unsigned int i = 0; i < b->n_servers; i++)
		redis_conn_free(b->server[i].conn);
	redis_conn_free(b->listener);
	while ((op = TAILQ_FIRST(&b->sent)))
		redis_op_end(op, ECANCELED, DHT_INCOMPLETE);
	while ((op = TAILQ_FIRST(&b->waiting)))
		redis_op_end(op, ECANCELED, DHT_INCOMPLETE);
	while ((w = TAILQ_FIRST(&b->watches))) {
		TAILQ_REMOVE(&b->watches, w, te);
		free(w);
	}
	if (b->tick)
		event_free(b->tick);
	free(b->user);
	if (b->password)
		explicit_bzero(b->password, strlen(b->password));
	free(b->password);
	free(b);
}

static int redis_open(struct dht_backend **bp, struct event_base *base,
		      const struct dht_config *config, dht_status_h *status, void *arg,
		      char *reason, size_t reasonlen)
{
	struct timeval tv = {.tv_usec = TICK_MS * 1000};
	struct dht_backend *b;
	int ret = ENOMEM;

	if (!config->n_redis) {
		snprintf(reason, reasonlen, "no server is named: [redis] server");
		return EINVAL;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		return ENOMEM;
	b->base = base;
	b->policy = config->policy;
	b->status = status;
	b->arg = arg;
	b->max_ops = config->max_ops;
	b->op_ms = TRIES * config->redis_timeout_ms;
	TAILQ_INIT(&b->watches);
	TAILQ_INIT(&b->waiting);
	TAILQ_INIT(&b->sent);
	redis_map_init(&b->map);
	snprintf(b->prefix, sizeof(b->prefix), "%s", config->redis_prefix);
	snprintf(b->ttl, sizeof(b->ttl), "%u", config->value_ttl_s);
	b->user = config->redis_user ? strdup(config->redis_user) : NULL;
	b->password = config->redis_password ? strdup(config->redis_password) : NULL;
	b->login.user = b->user;
	b->login.password = b->password;
	b->login.timeout_ms = config->redis_timeout_ms;
	for (size_t i = 0; i < config->n_redis; i++) {
		struct redis_map_node n;

		if (redis_address(config->redis[i], &n) ||
		    redis_map_node(&b->map, n.host, strlen(n.host), n.port) < 0) {
			snprintf(reason, reasonlen, "'%s' is no server's address",
				 config->redis[i]);
			ret = EINVAL;
			goto fail;
		}
	}
	b->map.n_fixed = b->map.n_nodes;
	b->tick = event_new(base, -1, EV_PERSIST, on_tick, b);
	if (!b->tick || event_add(b->tick, &tv))
		goto fail;
	redis_servers_follow(b);
	*bp = b;
	return 0;
fail:
	redis_close(b);
	return ret;
}

static int redis_put(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
		     const void *data, size_t len, dht_put_h *done, void *arg)
{
	uint8_t raw[8];
	struct dht_op *op;
	int err;

	if (!id || !len || len > DHT_VALUE_MAX)
		return EINVAL;
	err = redis_op_new(b, key, arg, &op);
	if (err)
		return err;
	b->puts++;
	op->put = true;
	op->done = done;
	op->len = len;
	memcpy(op->data, data, len);
	p2p_put_be64(raw, id);
	p2p_hex_print(op->id, raw, sizeof(raw));
	/* What no reader would take is not written; the caller finds that out by reading. */
	if (b->policy.store && !b->policy.store(DHT_RECORD, key, id, data, len, b->policy.arg)) {
		op->err = EACCES;
		op->deadline_ms = 0;
		return 0;
	}
	redis_op_try(op);
	return 0;
}

static int redis_get(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], dht_found_h *found,
		     dht_got_h *got, void *arg, struct dht_op **opp)
{
	struct dht_op *op;
	int err = redis_op_new(b, key, arg, &op);

	if (err)
		return err;
	b->gets++;
	op->found = found;
	op->got = got;
	*opp = op;
	redis_op_try(op);
	return 0;
}

/* It stays where it is until its reply comes, or the next tick. */
static void redis_cancel(struct dht_backend *b, struct dht_op *op)
{
	(void)b;
	op->cancelled = true;
}

static void channel_print(const struct dht_backend *b, const uint8_t key[DHT_KEY_LEN],
			  char channel[REDIS_NAME_MAX])
{
	char hex[KEY_HEX + 1];

	p2p_hex_print(hex, key, DHT_KEY_LEN);
	snprintf(channel, REDIS_NAME_MAX, "%s:bell:%s", b->prefix, hex);
}

static int redis_ring(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
		      const void *data, size_t len)
{
	uint8_t message[8 + DHT_VALUE_MAX];
	char channel[REDIS_NAME_MAX];
	const char *argv[] = {"PUBLISH", channel, (const char *)message};
	size_t argvlen[] = {7, 0, 8 + len};

	if (!id || !len || len > DHT_VALUE_MAX)
		return EINVAL;
	channel_print(b, key, channel);
	argvlen[1] = strlen(channel);
	p2p_put_be64(message, id);
	memcpy(message + 8, data, len);
	/* in a cluster each server passes it on to all */
	for (unsigned int i = 0; i < b->n_servers; i++)
		if (!redis_conn_send(b->server[i].conn, 3, argv, argvlen, NULL, NULL))
			return 0;
	return ENETUNREACH;
}

static int redis_watch(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], dht_found_h *found,
		       void *arg, struct dht_watch **watch)
{
	struct dht_watch *w;

	if (b->n_watches >= WATCHES_MAX)
		return EBUSY;
	w = calloc(1, sizeof(*w));
	if (!w)
		return ENOMEM;
	channel_print(b, key, w->channel);
	memcpy(w->key, key, DHT_KEY_LEN);
	w->found = found;
	w->arg = arg;
	TAILQ_INSERT_TAIL(&b->watches, w, te);
	b->n_watches++;
	if (b->listener)
		redis_conn_subscribe(b->listener, w->channel);
	*watch = w;
	return 0;
}

static void redis_unwatch(struct dht_backend *b, struct dht_watch *w)
{
	struct dht_watch *other;

	TAILQ_REMOVE(&b->watches, w, te);
	b->n_watches--;
	TAILQ_FOREACH(other, &b->watches, te)
		if (!strcmp(other->channel, w->channel))
			break;
	if (!other && b->listener)
		redis_conn_unsubscribe(b->listener, w->channel);
	free(w);
}

static void redis_stats(struct dht_backend *b, struct dht_stats *st)
{
	struct dht_op *op;

	memset(st, 0, sizeof(*st));
	st->connected = b->connected;
	for (unsigned int i = 0; i < b->n_servers; i++) {
		bool v6 = strchr(b->map.node[i].host, ':') != NULL;

		if (!redis_server_up(b, i))
			st->dubious++;
		else if (v6)
			st->good6++;
		else
			st->good4++;
	}
	st->puts = b->puts;
	st->gets = b->gets;
	st->dropped = b->dropped;
	st->watches = b->n_watches;
	TAILQ_FOREACH(op, &b->waiting, te)
		op->put ? st->puts_pending++ : st->gets_pending++;
	TAILQ_FOREACH(op, &b->sent, te)
		op->put ? st->puts_pending++ : st->gets_pending++;
	if (!redis_all_reachable(b))
		snprintf(st->why, sizeof(st->why), "%s", b->why);
}

static int redis_save(struct dht_backend *b)
{
	(void)b;
	return 0;
}

const struct dht_ops dht_redis_ops = {
	.name = "redis",
	.open = redis_open,
	.close = redis_close,
	.put = redis_put,
	.get = redis_get,
	.cancel = redis_cancel,
	.ring = redis_ring,
	.watch = redis_watch,
	.unwatch = redis_unwatch,
	.stats = redis_stats,
	.save = redis_save,
};
