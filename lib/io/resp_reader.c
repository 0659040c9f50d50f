/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands as they come over the wire: hiredis' object functions, which only note arguments in the
 * client's own bounded store, and refuse what is no flat array of strings. */
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h> /* its version */

#include "lib/io/resp_impl.h"

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

redisReplyObjectFunctions resp_reader_functions = {
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
