/* SPDX-License-Identifier: GPL-2.0-or-later */
/* No engine: there is nobody to tell but the members, and what they do not have is for them to say.
 * Puts end as those of a node that is alone do; searches find nothing and are never complete. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include "dht-gateway/engine/dht_engines.h"

struct dht_op {
	LIST_ENTRY(dht_op) all;
	struct dht_backend *b;
	struct event *ev;
	dht_got_h *got;
	dht_put_h *put;
	void *arg;
};

struct dht_backend {
	struct event_base *base;
	LIST_HEAD(, dht_op) ops;
	unsigned int n_ops, max_ops;
	uint64_t puts, gets;
};

static void op_free(struct dht_op *op)
{
	LIST_REMOVE(op, all);
	op->b->n_ops--;
	event_free(op->ev);
	free(op);
}

static void op_end(struct dht_op *op, int err)
{
	struct dht_op copy = *op;

	op_free(op);
	if (copy.put)
		copy.put(err, 0, copy.arg);
	else
		copy.got(DHT_INCOMPLETE, 0, copy.arg);
}

static void on_op(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	op_end(arg, ENETUNREACH);
}

static int op_new(struct dht_backend *b, dht_put_h *put, dht_got_h *got, void *arg,
		  struct dht_op **out)
{
	struct dht_op *op;

	if (b->n_ops >= b->max_ops)
		return EBUSY;
	op = calloc(1, sizeof(*op));
	if (!op)
		return ENOMEM;
	op->b = b;
	op->put = put;
	op->got = got;
	op->arg = arg;
	op->ev = event_new(b->base, -1, 0, on_op, op);
	if (!op->ev || event_add(op->ev, &(struct timeval){0})) {
		if (op->ev)
			event_free(op->ev);
		free(op);
		return ENOMEM;
	}
	LIST_INSERT_HEAD(&b->ops, op, all);
	b->n_ops++;
	if (out)
		*out = op;
	return 0;
}

static int none_open(struct dht_backend **bp, struct event_base *base,
		     const struct dht_config *config, dht_status_h *status, void *arg, char *reason,
		     size_t reasonlen)
{
	struct dht_backend *b = calloc(1, sizeof(*b));

	(void)status; /* never another one */
	(void)arg;
	if (!b) {
		if (reasonlen)
			*reason = 0;
		return ENOMEM;
	}
	b->base = base;
	b->max_ops = config->max_ops;
	*bp = b;
	return 0;
}

static void none_close(struct dht_backend *b)
{
	while (!LIST_EMPTY(&b->ops))
		op_end(LIST_FIRST(&b->ops), ECANCELED);
	free(b);
}

static int none_put(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
		    const void *data, size_t len, dht_put_h *done, void *arg)
{
	(void)key;
	(void)id;
	(void)data;
	(void)len;
	b->puts++;
	return op_new(b, done, NULL, arg, NULL);
}

static int none_get(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], dht_found_h *found,
		    dht_got_h *got, void *arg, struct dht_op **op)
{
	(void)key;
	(void)found;
	b->gets++;
	return op_new(b, NULL, got, arg, op);
}

static void none_cancel(struct dht_backend *b, struct dht_op *op)
{
	(void)b;
	op_free(op);
}

static int none_ring(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
		     const void *data, size_t len)
{
	(void)b;
	(void)key;
	(void)id;
	(void)data;
	(void)len;
	return 0;
}

static int none_watch(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], dht_found_h *found,
		      void *arg, struct dht_watch **watch)
{
	(void)key;
	(void)found;
	(void)arg;
	/* one for all: nothing ever comes */
	*watch = (struct dht_watch *)b;
	return 0;
}

static void none_unwatch(struct dht_backend *b, struct dht_watch *watch)
{
	(void)b;
	(void)watch;
}

static void none_stats(struct dht_backend *b, struct dht_stats *st)
{
	memset(st, 0, sizeof(*st));
	st->connected = true;
	st->alone = true;
	st->puts = b->puts;
	st->gets = b->gets;
}

static int none_save(struct dht_backend *b)
{
	(void)b;
	return 0;
}

const struct dht_ops dht_none_ops = {
	.name = "none",
	.open = none_open,
	.close = none_close,
	.put = none_put,
	.get = none_get,
	.cancel = none_cancel,
	.ring = none_ring,
	.watch = none_watch,
	.unwatch = none_unwatch,
	.stats = none_stats,
	.save = none_save,
};
