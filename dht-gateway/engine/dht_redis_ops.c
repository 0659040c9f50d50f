/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Gets and puts on Redis: to whom they go, what comes of them, and trying again. */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/engine/dht_redis_impl.h"
#include "lib/base/bytes.h"

#define STAMP 4 /* bytes of the expiry before a value */
/* Values under one key; who wants more is refused, after those that have expired were taken out. */
#define FIELDS_MAX "128"

/* KEYS: the hash. ARGV: id, value, the value it may replace, seconds to live. 1: stored. Else the
 * value that is there. */
static const char script[] =
	"local cur = redis.call('HGET', KEYS[1], ARGV[1])\n"
	"local now = tonumber(redis.call('TIME')[1])\n"
	"local function alive(v) return #v > 4 and struct.unpack('>I4', v) > now end\n"
	"if cur and alive(cur) then\n"
	"  local old = string.sub(cur, 5)\n"
	"  if old ~= ARGV[2] and old ~= ARGV[3] then return old end\n"
	"elseif not cur and redis.call('HLEN', KEYS[1]) >= " FIELDS_MAX " then\n"
	"  local all = redis.call('HGETALL', KEYS[1])\n"
	"  for i = 1, #all, 2 do\n"
	"    if not alive(all[i + 1]) then redis.call('HDEL', KEYS[1], all[i]) end\n"
	"  end\n"
	"  if redis.call('HLEN', KEYS[1]) >= " FIELDS_MAX " then\n"
	"    return redis.error_reply('FULL too many values under this key')\n"
	"  end\n"
	"end\n"
	"redis.call('HSET', KEYS[1], ARGV[1], struct.pack('>I4', now + ARGV[4]) .. ARGV[2])\n"
	"redis.call('EXPIRE', KEYS[1], ARGV[4])\n"
	"return 1\n";

void redis_op_end(struct dht_op *op, int err, enum dht_verdict verdict)
{
	struct dht_backend *b = op->b;
	struct ops *list = op->sent ? &b->sent : &b->waiting;

	TAILQ_REMOVE(list, op, te);
	b->n_ops--;
	if (!op->cancelled && op->put)
		op->done(err, err ? 0 : 1, op->arg);
	else if (!op->cancelled)
		op->got(verdict, verdict == DHT_COMPLETE ? 1 : 0, op->arg);
	free(op);
}

static void op_wait(struct dht_op *op)
{
	struct dht_backend *b = op->b;

	if (op->sent)
		TAILQ_REMOVE(&b->sent, op, te);
	op->sent = false;
	TAILQ_INSERT_TAIL(&b->waiting, op, te);
}

static bool temporary(const char *error)
{
	static const char *const words[] = {"TRYAGAIN", "CLUSTERDOWN", "LOADING",   "MASTERDOWN",
					    "BUSY",	"READONLY",    "NOREPLICAS"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strncmp(error, words[i], strlen(words[i])))
			return true;
	/* what a script says of the same */
	return strstr(error, "cluster is down") != NULL;
}

static void on_result(const redisReply *reply, void *arg);

static void name_print(const struct dht_op *op, char name[REDIS_NAME_MAX])
{
	char hex[KEY_HEX + 1];

	p2p_hex_print(hex, op->key, DHT_KEY_LEN);
	snprintf(name, REDIS_NAME_MAX, "%s:{%s}", op->b->prefix, hex);
}

static int put_send(const struct dht_op *op, struct redis_conn *conn, const char *name)
{
	const struct dht_backend *b = op->b;
	bool whole = op->whole_script || !*b->sha;
	const char *argv[] = {
		whole ? "EVAL" : "EVALSHA", whole ? script : b->sha, "1",   name, op->id,
		(const char *)op->data,	    (const char *)op->old,   b->ttl};
	size_t len[8];

	for (size_t i = 0; i < 8; i++)
		len[i] = i == 5 ? op->len : i == 6 ? op->oldlen : strlen(argv[i]);
	return redis_conn_send(conn, 8, argv, len, on_result, (void *)op);
}

static int op_send(struct dht_op *op, unsigned int node, bool asking)
{
	/* Allowed to answer as a replica for this command only: who is taken for the master, and is
	 * not any more, has to say so. */
	const char *ask[] = {"ASKING"}, *before[] = {"READONLY"}, *after[] = {"READWRITE"};
	const char *argv[] = {"HGETALL", NULL};
	struct redis_conn *conn;
	char name[REDIS_NAME_MAX];
	int ret;

	if (node >= op->b->n_servers)
		return ENOTCONN;
	conn = op->b->server[node].conn;
	if (asking && redis_conn_send(conn, 1, ask, NULL, NULL, NULL))
		return ENOTCONN;
	if (op->replica && redis_conn_send(conn, 1, before, NULL, NULL, NULL))
		return ENOTCONN;
	name_print(op, name);
	argv[1] = name;
	ret = op->put ? put_send(op, conn, name)
		      : redis_conn_send(conn, 2, argv, NULL, on_result, op);
	if (op->replica)
		redis_conn_send(conn, 1, after, NULL, NULL, NULL);
	if (ret)
		return ret;
	op->node = node;
	if (!op->sent) {
		TAILQ_REMOVE(&op->b->waiting, op, te);
		TAILQ_INSERT_TAIL(&op->b->sent, op, te);
		op->sent = true;
	}
	return 0;
}

void redis_op_try(struct dht_op *op)
{
	struct dht_backend *b = op->b;
	const struct redis_map_set *s = redis_map_find(&b->map, op->slot);

	if (!s)
		return;
	op->replica = false;
	if (!op_send(op, s->node[0], false))
		return;
	b->stale = b->map.cluster;
	for (unsigned int i = 1; i < s->n && !op->put; i++) {
		op->replica = true;
		if (!op_send(op, s->node[i], false))
			return;
	}
}

static void put_result(struct dht_op *op, const redisReply *reply)
{
	struct dht_backend *b = op->b;

	if (reply->type == REDIS_REPLY_INTEGER) {
		redis_op_end(op, 0, DHT_COMPLETE);
		return;
	}
	if (reply->type != REDIS_REPLY_STRING) {
		redis_op_end(op, EIO, DHT_INCOMPLETE);
		return;
	}
	/* What is there is no value at all, or may be replaced; else the later one stays, and who
	 * reads it back will see. */
	if (reply->len <= DHT_VALUE_MAX &&
	    !b->policy.edit(reply->str, reply->len, op->data, op->len, b->policy.arg)) {
		redis_op_end(op, 0, DHT_COMPLETE);
		return;
	}
	if (reply->len > DHT_VALUE_MAX) {
		redis_op_end(op, EIO, DHT_INCOMPLETE);
		return;
	}
	memcpy(op->old, reply->str, reply->len);
	op->oldlen = reply->len;
	op_wait(op);
	if (redis_now_ms() < op->deadline_ms)
		redis_op_try(op);
}

static void get_result(struct dht_op *op, const redisReply *reply)
{
	struct dht_backend *b = op->b;
	unsigned int n = 0;

	if (reply->type != REDIS_REPLY_ARRAY) {
		redis_op_end(op, EIO, DHT_INCOMPLETE);
		return;
	}
	for (size_t i = 0; i + 1 < reply->elements && !op->cancelled; i += 2) {
		const redisReply *f = reply->element[i], *v = reply->element[i + 1];
		uint8_t raw[8];

		if (f->type != REDIS_REPLY_STRING || v->type != REDIS_REPLY_STRING ||
		    f->len != ID_HEX || p2p_hex_parse(raw, sizeof(raw), f->str, ID_HEX) ||
		    v->len <= STAMP || v->len > STAMP + DHT_VALUE_MAX || n == DHT_VALUES_MAX ||
		    (b->policy.store &&
		     !b->policy.store(DHT_RECORD, op->key, p2p_be64(raw), v->str + STAMP,
				      v->len - STAMP, b->policy.arg))) {
			b->dropped++;
			continue;
		}
		n++;
		op->found(op->key, p2p_be64(raw), v->str + STAMP, v->len - STAMP, false, op->arg);
	}
	redis_op_end(op, 0, op->replica ? DHT_INCOMPLETE : DHT_COMPLETE);
}

static void on_result(const redisReply *reply, void *arg)
{
	struct dht_op *op = arg;
	struct dht_backend *b = op->b;
	bool ask;
	int node;

	if (op->cancelled || b->closing) {
		redis_op_end(op, ECANCELED, DHT_INCOMPLETE);
		return;
	}
	if (!reply) {
		op_wait(op); /* its turn comes with the next tick: never from within a send */
		return;
	}
	if (reply->type != REDIS_REPLY_ERROR) {
		op->put ? put_result(op, reply) : get_result(op, reply);
		return;
	}
	op_wait(op);
	/* servers that send each other's clients to and fro come to an end too */
	if (redis_now_ms() >= op->deadline_ms)
		return;
	node = redis_map_redirect(&b->map, reply->str, op->node, &ask);
	if (node >= 0) {
		b->stale = b->stale || !ask;
		redis_servers_follow(b);
		op->replica = false;
		/* a node just heard of is not connected yet */
		op_send(op, (unsigned int)node, ask);
		return;
	}
	if (!strncmp(reply->str, "NOSCRIPT", 8) && !op->whole_script) {
		op->whole_script = true;
		redis_op_try(op);
		return;
	}
	if (temporary(reply->str)) {
		b->stale = true;
		return;
	}
	snprintf(b->why, sizeof(b->why), "%s:%u: %.100s", b->map.node[op->node].host,
		 b->map.node[op->node].port, reply->str);
	redis_op_end(op, EIO, DHT_INCOMPLETE);
}

int redis_op_new(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], void *arg,
		 struct dht_op **out)
{
	char hex[KEY_HEX + 1];
	struct dht_op *op;

	if (b->n_ops >= b->max_ops)
		return EBUSY;
	op = calloc(1, sizeof(*op));
	if (!op)
		return ENOMEM;
	op->b = b;
	memcpy(op->key, key, DHT_KEY_LEN);
	p2p_hex_print(hex, key, DHT_KEY_LEN);
	op->slot = redis_slot(hex, KEY_HEX);
	op->arg = arg;
	op->err = ENETUNREACH;
	op->deadline_ms = redis_now_ms() + b->op_ms;
	b->n_ops++;
	TAILQ_INSERT_TAIL(&b->waiting, op, te);
	*out = op;
	return 0;
}

void redis_ops_tick(struct dht_backend *b, uint64_t now)
{
	struct dht_op *op, *next;

	for (op = TAILQ_FIRST(&b->waiting); op; op = next) {
		next = TAILQ_NEXT(op, te);
		if (op->cancelled)
			redis_op_end(op, ECANCELED, DHT_INCOMPLETE);
		else if (now >= op->deadline_ms)
			redis_op_end(op, op->err, DHT_INCOMPLETE);
		else
			redis_op_try(op);
	}
}

static void on_script(const redisReply *reply, void *arg)
{
	struct dht_backend *b = arg;

	/* a replica refuses, and is not written to */
	if (reply && reply->type == REDIS_REPLY_STRING && reply->len < sizeof(b->sha))
		strcpy(b->sha, reply->str);
}

void redis_script_load(struct dht_backend *b, struct redis_conn *c)
{
	const char *argv[] = {"SCRIPT", "LOAD", script};

	redis_conn_send(c, 3, argv, NULL, on_script, b);
}
