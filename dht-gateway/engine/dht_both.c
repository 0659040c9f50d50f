/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two engines at once: whatever is put goes to both, whatever is in either is found. So an overlay
 * changes from one to the other without a moment in which somebody cannot be found. Absent is only
 * what both have been asked for. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/engine/dht_engines.h"

#define N 2

/* One of the two questions or puts of an operation. */
struct half {
	struct dht_op *op, *sub;
	bool ended;
};

struct dht_op {
	struct half half[N];
	bool put;
	int err;
	unsigned int nodes;
	enum dht_verdict verdict;
	dht_put_h *done;
	dht_found_h *found;
	dht_got_h *got;
	void *arg;
};

struct dht_watch {
	struct dht_watch *half[N]; /* NULL: that engine did not take it */
};

struct dht_backend {
	const struct dht_ops *ops[N];
	struct dht_backend *b[N];
	dht_status_h *status;
	void *arg;
};

static void on_status(void *arg)
{
	struct dht_backend *b = arg;

	/* an engine may say so before both are there */
	if (b->b[N - 1])
		b->status(b->arg);
}

static void both_close(struct dht_backend *b)
{
	if (!b)
		return;
	for (int i = 0; i < N; i++)
		if (b->b[i])
			b->ops[i]->close(b->b[i]);
	free(b);
}

static int both_open(struct dht_backend **bp, struct event_base *base,
		     const struct dht_config *config, dht_status_h *status, void *arg, char *reason,
		     size_t reasonlen)
{
	struct dht_backend *b;
	int err;

	if (!config->both[0] || !config->both[1] || config->both[0] == config->both[1])
		return EINVAL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return ENOMEM;
	b->status = status;
	b->arg = arg;
	for (int i = 0; i < N; i++) {
		b->ops[i] = config->both[i];
		err = b->ops[i]->open(&b->b[i], base, config, on_status, b, reason, reasonlen);
		if (err) {
			b->b[i] = NULL;
			both_close(b);
			return err;
		}
	}
	*bp = b;
	return 0;
}

static void half_end(struct half *h)
{
	struct dht_op *op = h->op;

	h->ended = true;
	h->sub = NULL;
	if (!op->half[0].ended || !op->half[1].ended)
		return;
	if (op->put)
		op->done(op->err, op->nodes, op->arg);
	else
		op->got(op->verdict, op->nodes, op->arg);
	free(op);
}

static void on_put(int err, unsigned int nodes, void *arg)
{
	struct half *h = arg;

	/* one that took it is enough: who reads asks both */
	if (!err)
		h->op->err = 0;
	h->op->nodes += nodes;
	half_end(h);
}

static void on_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len,
		     bool here, void *arg)
{
	struct half *h = arg;

	h->op->found(key, id, data, len, here, h->op->arg);
}

static void on_got(enum dht_verdict verdict, unsigned int nodes, void *arg)
{
	struct half *h = arg;

	if (verdict != DHT_COMPLETE)
		h->op->verdict = verdict;
	h->op->nodes += nodes;
	half_end(h);
}

static struct dht_op *op_new(void *arg)
{
	struct dht_op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	for (int i = 0; i < N; i++)
		op->half[i].op = op;
	op->arg = arg;
	op->verdict = DHT_COMPLETE;
	return op;
}

static int both_put(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
		    const void *data, size_t len, dht_put_h *done, void *arg)
{
	struct dht_op *op = op_new(arg);
	int err[N];

	if (!op)
		return ENOMEM;
	op->put = true;
	op->done = done;
	op->err = ENETUNREACH;
	/* no callback comes from within */
	for (int i = 0; i < N; i++) {
		err[i] = b->ops[i]->put(b->b[i], key, id, data, len, on_put, &op->half[i]);
		op->half[i].ended = err[i] != 0;
	}
	if (err[0] && err[1]) {
		free(op);
		return err[0];
	}
	return 0;
}

static int both_get(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], dht_found_h *found,
		    dht_got_h *got, void *arg, struct dht_op **opp)
{
	struct dht_op *op = op_new(arg);
	int err[N];

	if (!op)
		return ENOMEM;
	op->found = found;
	op->got = got;
	for (int i = 0; i < N; i++) {
		struct half *h = &op->half[i];

		err[i] = b->ops[i]->get(b->b[i], key, on_found, on_got, h, &h->sub);
		h->ended = err[i] != 0;
		if (err[i])
			op->verdict = DHT_INCOMPLETE;
	}
	if (err[0] && err[1]) {
		free(op);
		return err[0];
	}
	*opp = op;
	return 0;
}

static void both_cancel(struct dht_backend *b, struct dht_op *op)
{
	for (int i = 0; i < N; i++)
		if (!op->half[i].ended)
			b->ops[i]->cancel(b->b[i], op->half[i].sub);
	free(op);
}

static int both_ring(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
		     const void *data, size_t len)
{
	int one = b->ops[0]->ring(b->b[0], key, id, data, len);
	int other = b->ops[1]->ring(b->b[1], key, id, data, len);

	return one ? other : 0;
}

static int both_watch(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], dht_found_h *found,
		      void *arg, struct dht_watch **watch)
{
	struct dht_watch *w = calloc(1, sizeof(*w));
	int err[N];

	if (!w)
		return ENOMEM;
	for (int i = 0; i < N; i++) {
		err[i] = b->ops[i]->watch(b->b[i], key, found, arg, &w->half[i]);
		if (err[i])
			w->half[i] = NULL;
	}
	if (err[0] && err[1]) {
		free(w);
		return err[0];
	}
	*watch = w;
	return 0;
}

static void both_unwatch(struct dht_backend *b, struct dht_watch *w)
{
	for (int i = 0; i < N; i++)
		if (w->half[i])
			b->ops[i]->unwatch(b->b[i], w->half[i]);
	free(w);
}

static void both_stats(struct dht_backend *b, struct dht_stats *st)
{
	struct dht_stats s[N] = {0};

	for (int i = 0; i < N; i++)
		if (b->b[i])
			b->ops[i]->stats(b->b[i], &s[i]);
	*st = s[0];
	/* with one of them users are published, and found where they are */
	st->connected = s[0].connected || s[1].connected;
	st->alone = s[0].alone && s[1].alone;
	st->good4 += s[1].good4;
	st->good6 += s[1].good6;
	st->dubious += s[1].dubious;
	st->stored += s[1].stored;
	st->stored_bytes += s[1].stored_bytes;
	st->refused += s[1].refused;
	st->puts += s[1].puts;
	st->gets += s[1].gets;
	st->watches = s[0].watches > s[1].watches ? s[0].watches : s[1].watches;
	st->dropped += s[1].dropped;
	st->puts_pending += s[1].puts_pending;
	st->gets_pending += s[1].gets_pending;
	if (!*st->node_id)
		memcpy(st->node_id, s[1].node_id, sizeof(st->node_id));
	for (int i = 0; i < N && !*st->why; i++)
		if (!s[i].connected)
			snprintf(st->why, sizeof(st->why), "%s is not connected%s%.100s",
				 b->ops[i]->name, *s[i].why ? ": " : "", s[i].why);
}

static int both_save(struct dht_backend *b)
{
	int one = b->ops[0]->save(b->b[0]), other = b->ops[1]->save(b->b[1]);

	return one ? one : other;
}

const struct dht_ops dht_both_ops = {
	.name = "both",
	.open = both_open,
	.close = both_close,
	.put = both_put,
	.get = both_get,
	.cancel = both_cancel,
	.ring = both_ring,
	.watch = both_watch,
	.unwatch = both_unwatch,
	.stats = both_stats,
	.save = both_save,
};
