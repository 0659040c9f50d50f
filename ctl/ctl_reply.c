/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/ctl_reply.h"
#include <errno.h>
#include <hiredis/hiredis.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>

#define COLUMNS_MAX 32
#define ROWS_MAX 1000000

struct ctl_conn {
	redisContext *redis;
	char path[256];
};

/* --- asking -------------------------------------------------------------------------------------
 */

int ctl_connect(struct ctl_conn **cp, const char *path, unsigned int timeout_ms, char *err,
		size_t errlen)
{
	struct timeval tv = {.tv_sec = timeout_ms / 1000,
			     .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
	struct ctl_conn *c = calloc(1, sizeof(*c));
	int ret = ENOMEM;

	if (!c) {
		snprintf(err, errlen, "no memory");
		return ENOMEM;
	}
	snprintf(c->path, sizeof(c->path), "%s", path);
	errno = 0;
	c->redis = redisConnectUnixWithTimeout(path, tv);
	ret = errno;
	if (!c->redis) {
		snprintf(err, errlen, "%s: no memory", path);
		ret = ENOMEM;
		goto fail;
	}
	if (c->redis->err) {
		if (ret == EACCES)
			snprintf(err, errlen,
				 "%s: %s: run this as root, or as a member of the group that the "
				 "daemon's admin_group names",
				 path, c->redis->errstr);
		else
			/* hiredis says "No such file or directory" and leaves open of what */
			snprintf(err, errlen, "%s: %s (is the daemon running?)", path,
				 c->redis->errstr);
		ret = ECONNREFUSED;
		goto fail;
	}
	redisSetTimeout(c->redis, tv);
	*cp = c;
	return 0;
fail:
	ctl_close(c);
	return ret;
}

void ctl_close(struct ctl_conn *c)
{
	if (!c)
		return;
	if (c->redis)
		redisFree(c->redis);
	free(c);
}

/* The reply, or NULL and the reason in err. */
static redisReply *ask(struct ctl_conn *c, int argc, const char **argv, char *err, size_t errlen)
{
	redisReply *r = redisCommandArgv(c->redis, argc, argv, NULL);

	if (!r) {
		bool late = c->redis->err == REDIS_ERR_IO &&
			    (errno == EAGAIN || errno == EWOULDBLOCK || errno == ETIMEDOUT);

		snprintf(err, errlen, "%s: %s", c->path,
			 late ? "no answer in time" : c->redis->errstr);
		return NULL;
	}
	if (r->type == REDIS_REPLY_ERROR) {
		snprintf(err, errlen, "%s", r->str);
		freeReplyObject(r);
		return NULL;
	}
	return r;
}

static bool is_text(const redisReply *r)
{
	return r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS;
}

/* key, value, key, value ... */
static bool is_pairs(const redisReply *r)
{
	if (r->type != REDIS_REPLY_ARRAY || r->elements % 2)
		return false;
	for (size_t i = 0; i < r->elements; i++)
		if (!is_text(r->element[i]))
			return false;
	return true;
}

static bool is_rows(const redisReply *r)
{
	if (r->type != REDIS_REPLY_ARRAY)
		return false;
	for (size_t i = 0; i < r->elements; i++)
		if (!is_pairs(r->element[i]))
			return false;
	return true;
}

static int unexpected(struct ctl_conn *c, const char *command, char *err, size_t errlen)
{
	snprintf(err, errlen,
		 "%s: an answer to %s that this program does not know: another version?", c->path,
		 command);
	return EPROTO;
}

/* --- showing ------------------------------------------------------------------------------------
 */

static bool is_number(const char *s, size_t len)
{
	if (!len || len > 18 || (*s == '0' && len > 1))
		return false;
	for (size_t i = 0; i < len; i++)
		if (s[i] < '0' || s[i] > '9')
			return false;
	return true;
}

/* Names are text whatever they look like; so is what must not lose its leading zeros. */
static bool text_key(const char *key)
{
	return !strcmp(key, "name") || !strcmp(key, "id") || !strcmp(key, "overlay") ||
	       !strcmp(key, "instances") || !strcmp(key, "dht_node_id") || !strcmp(key, "version");
}

static struct json_object *json_pairs(const redisReply *r)
{
	struct json_object *o = json_object_new_object();

	for (size_t i = 0; o && i + 1 < r->elements; i += 2) {
		const redisReply *v = r->element[i + 1];
		const char *key = r->element[i]->str;

		json_object_object_add(o, key,
				       is_number(v->str, v->len) && !text_key(key)
					       ? json_object_new_int64(strtoll(v->str, NULL, 10))
					       : json_object_new_string_len(v->str, (int)v->len));
	}
	return o;
}

static void json_print(FILE *f, struct json_object *o)
{
	fputs(json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE), f);
	json_object_put(o);
}

void ctl_json_error(FILE *f, const char *text)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "error", json_object_new_string(text));
	json_print(f, o);
}

/* What comes from the network stays text on a terminal. */
static void print_clean(FILE *f, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		fputc((unsigned char)s[i] < 0x20 || s[i] == 0x7f ? '?' : s[i], f);
}

static void print_pad(FILE *f, const char *s, size_t len, size_t width)
{
	print_clean(f, s, len);
	for (; len < width; len++)
		fputc(' ', f);
}

static void print_pairs(FILE *f, const redisReply *r)
{
	size_t width = 0;

	for (size_t i = 0; i < r->elements; i += 2)
		if (r->element[i]->len > width)
			width = r->element[i]->len;
	for (size_t i = 0; i + 1 < r->elements; i += 2) {
		fputs("  ", f);
		print_pad(f, r->element[i]->str, r->element[i]->len, width + 2);
		print_clean(f, r->element[i + 1]->str, r->element[i + 1]->len);
		fputc('\n', f);
	}
}

/* Columns by the first row's keys; head: print them. */
static void print_rows(FILE *f, const redisReply *rows, bool head)
{
	size_t width[COLUMNS_MAX] = {0}, n;
	const redisReply *first;

	if (!rows->elements)
		return;
	first = rows->element[0];
	n = first->elements / 2;
	if (n > COLUMNS_MAX)
		n = COLUMNS_MAX;
	for (size_t c = 0; c < n; c++) {
		width[c] = first->element[2 * c]->len;
		for (size_t r = 0; r < rows->elements; r++)
			if (2 * c + 1 < rows->element[r]->elements &&
			    rows->element[r]->element[2 * c + 1]->len > width[c])
				width[c] = rows->element[r]->element[2 * c + 1]->len;
	}
	for (size_t c = 0; head && c < n; c++)
		print_pad(f, first->element[2 * c]->str, first->element[2 * c]->len,
			  c + 1 < n ? width[c] + 2 : 0);
	if (head)
		fputc('\n', f);
	for (size_t r = 0; r < rows->elements; r++) {
		const redisReply *row = rows->element[r];

		for (size_t c = 0; c < n && 2 * c + 1 < row->elements; c++)
			print_pad(f, row->element[2 * c + 1]->str, row->element[2 * c + 1]->len,
				  c + 1 < n ? width[c] + 2 : 0);
		fputc('\n', f);
	}
}

/* --- commands -----------------------------------------------------------------------------------
 */

int ctl_pairs(struct ctl_conn *c, int argc, const char **argv, bool json, FILE *f, char *err,
	      size_t errlen)
{
	redisReply *r = ask(c, argc, argv, err, errlen);
	int ret = 0;

	if (!r)
		return EPROTO;
	if (!is_pairs(r))
		ret = unexpected(c, argv[0], err, errlen);
	else if (json)
		json_print(f, json_pairs(r));
	else
		print_pairs(f, r);
	freeReplyObject(r);
	return ret;
}

static void json_rows(FILE *f, const redisReply *rows, bool *more)
{
	for (size_t i = 0; i < rows->elements; i++) {
		if (*more)
			fputc(',', f);
		*more = true;
		json_print(f, json_pairs(rows->element[i]));
	}
}

int ctl_rows(struct ctl_conn *c, int argc, const char **argv, bool json, FILE *f, char *err,
	     size_t errlen)
{
	redisReply *r = ask(c, argc, argv, err, errlen);
	bool more = false;
	int ret = 0;

	if (!r)
		return EPROTO;
	if (!is_rows(r)) {
		ret = unexpected(c, argv[0], err, errlen);
	} else if (json) {
		fputc('[', f);
		json_rows(f, r, &more);
		fputs("]\n", f);
	} else {
		print_rows(f, r, true);
	}
	freeReplyObject(r);
	return ret;
}

int ctl_list(struct ctl_conn *c, const char *command, const char *count, bool json, FILE *f,
	     char *err, size_t errlen)
{
	char cursor[24] = "0";
	size_t rows = 0;
	bool more = false, begun = false;
	int ret = 0;

	do {
		const char *argv[] = {command, cursor, count};
		redisReply *r = ask(c, 3, argv, err, errlen);

		if (!r)
			return EPROTO;
		if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 || !is_text(r->element[0]) ||
		    r->element[0]->len >= sizeof(cursor) || !is_rows(r->element[1])) {
			ret = unexpected(c, command, err, errlen);
		} else {
			if (json && !begun)
				fputc('[', f);
			begun = true;
			if (json)
				json_rows(f, r->element[1], &more);
			else
				print_rows(f, r->element[1], rows == 0);
			rows += r->element[1]->elements;
			memcpy(cursor, r->element[0]->str, r->element[0]->len + 1);
		}
		freeReplyObject(r);
	} while (!ret && strcmp(cursor, "0") && rows < ROWS_MAX);
	if (json && !ret)
		fputs("]\n", f);
	return ret;
}

int ctl_text(struct ctl_conn *c, int argc, const char **argv, FILE *f, char *err, size_t errlen)
{
	redisReply *r = ask(c, argc, argv, err, errlen);
	int ret = 0;

	if (!r)
		return EPROTO;
	if (!is_text(r))
		ret = unexpected(c, argv[0], err, errlen);
	else
		fprintf(f, "%.*s%s", (int)r->len, r->str,
			r->len && r->str[r->len - 1] == '\n' ? "" : "\n");
	freeReplyObject(r);
	return ret;
}

int ctl_word(struct ctl_conn *c, int argc, const char **argv, char *text, size_t cap, char *err,
	     size_t errlen)
{
	redisReply *r = ask(c, argc, argv, err, errlen);
	int ret = 0;

	if (!r)
		return EPROTO;
	if (is_text(r))
		snprintf(text, cap, "%s", r->str);
	else
		ret = unexpected(c, argv[0], err, errlen);
	freeReplyObject(r);
	return ret;
}

int ctl_value(struct ctl_conn *c, int argc, const char **argv, const char *key, char *value,
	      size_t cap, char *err, size_t errlen)
{
	redisReply *r = ask(c, argc, argv, err, errlen);
	int ret = ENOENT;

	if (!r)
		return EPROTO;
	for (size_t i = 0; is_pairs(r) && i < r->elements && ret; i += 2) {
		if (strcmp(r->element[i]->str, key))
			continue;
		ret = r->element[i + 1]->len < cap ? 0 : EMSGSIZE;
		if (!ret)
			memcpy(value, r->element[i + 1]->str, r->element[i + 1]->len + 1);
	}
	if (ret)
		unexpected(c, argv[0], err, errlen);
	freeReplyObject(r);
	return ret;
}
