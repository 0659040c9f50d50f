/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine for tests and for trying things out on one machine: a folder that all gateways of the
 * overlay share, a sub-folder for each key, a file for each value. It waits for the file system, so
 * it belongs on a tmpfs. Values replace each other by rename, under a lock on the key's folder;
 * inotify tells of new ones. */
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dht-gateway/engine/dht_engines.h"
#include "lib/base/bytes.h"

#define WATCHES_MAX 65536

struct dht_op {
	struct dht_backend *b;
	LIST_ENTRY(dht_op) all;
	struct event *ev;
	bool put;
	bool delivering, cancelled;
	int err;
	uint8_t key[DHT_KEY_LEN];
	dht_put_h *done;
	dht_found_h *found;
	dht_got_h *got;
	void *arg;
};

struct dht_watch {
	LIST_ENTRY(dht_watch) all;
	struct event *ev; /* tells once of what is there already */
	struct dht_backend *b;
	int wd;
	uint8_t key[DHT_KEY_LEN];
	dht_found_h *found;
	void *arg;
};

struct dht_backend {
	struct event_base *base;
	char *dir;
	struct dht_policy policy;
	LIST_HEAD(, dht_op) ops;
	unsigned int n_ops, max_ops;
	LIST_HEAD(, dht_watch) watches;
	unsigned int n_watches;
	int inotify;
	struct event *ev;
	struct dht_stats counts;
	bool closing;
};

static void key_path(const struct dht_backend *b, const uint8_t key[DHT_KEY_LEN],
		     char path[PATH_MAX])
{
	char hex[2 * DHT_KEY_LEN + 1];

	p2p_hex_print(hex, key, DHT_KEY_LEN);
	snprintf(path, PATH_MAX, "%s/%s", b->dir, hex);
}

/* A value's file name is its id; anything else in the folder is none. */
static bool name_id(const char *name, uint64_t *id)
{
	uint8_t raw[8];

	if (strlen(name) != 16 || p2p_hex_parse(raw, sizeof(raw), name, 16))
		return false;
	*id = p2p_be64(raw);
	return true;
}

/* ENOENT: not there. EFBIG: no value. */
static int value_read(int dirfd, const char *name, uint8_t data[DHT_VALUE_MAX], size_t *len)
{
	uint8_t buf[DHT_VALUE_MAX + 1];
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return errno;
	n = read(fd, buf, sizeof(buf));
	close(fd);
	if (n < 0)
		return errno;
	if (n > DHT_VALUE_MAX)
		return EFBIG;
	memcpy(data, buf, (size_t)n);
	*len = (size_t)n;
	return 0;
}

static int key_open(const struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], bool create)
{
	char path[PATH_MAX];

	key_path(b, key, path);
	if (create && mkdir(path, 0770) && errno != EEXIST)
		return -1;
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Tell found of all values of a key. */
static void key_read(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], dht_found_h *found,
		     void *arg)
{
	struct {
		uint64_t id;
		size_t len;
		uint8_t data[DHT_VALUE_MAX];
	} * v;
	unsigned int n = 0;
	struct dirent *de;
	DIR *d;
	int fd = key_open(b, key, false);

	if (fd < 0)
		return;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return;
	}
	v = calloc(DHT_VALUES_MAX, sizeof(*v));
	while (v && n < DHT_VALUES_MAX && (de = readdir(d))) {
		if (!name_id(de->d_name, &v[n].id) ||
		    value_read(fd, de->d_name, v[n].data, &v[n].len))
			continue;
		/* expired, mostly */
		if (b->policy.store && !b->policy.store(DHT_RECORD, key, v[n].id, v[n].data,
							v[n].len, b->policy.arg)) {
			unlinkat(fd, de->d_name, 0);
			continue;
		}
		n++;
	}
	closedir(d);
	/* found may do anything */
	for (unsigned int i = 0; i < n; i++)
		found(key, v[i].id, v[i].data, v[i].len, false, arg);
	free(v);
}

static int value_store(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
		       const void *data, size_t len)
{
	char name[17], tmp[64];
	uint8_t raw[8], prev[DHT_VALUE_MAX];
	size_t prevlen;
	int dirfd, fd = -1, err = 0;

	if (b->policy.store && !b->policy.store(DHT_RECORD, key, id, data, len, b->policy.arg))
		return 0; /* as an engine does: what was refused is told by reading it back */
	dirfd = key_open(b, key, true);
	if (dirfd < 0)
		return errno;
	if (flock(dirfd, LOCK_EX)) {
		err = errno;
		goto out;
	}
	p2p_put_be64(raw, id);
	p2p_hex_print(name, raw, sizeof(raw));
	snprintf(tmp, sizeof(tmp), "tmp.%ld", (long)getpid());
	if (!value_read(dirfd, name, prev, &prevlen) && b->policy.edit &&
	    !b->policy.edit(prev, prevlen, data, len, b->policy.arg))
		goto out;
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0660);
	if (fd < 0) {
		err = errno;
		goto out;
	}
	if (write(fd, data, len) != (ssize_t)len)
		err = EIO;
	close(fd);
	if (!err && renameat(dirfd, tmp, dirfd, name))
		err = errno;
	if (err)
		unlinkat(dirfd, tmp, 0);
out:
	close(dirfd);
	return err;
}

static void op_unlink(struct dht_op *op)
{
	LIST_REMOVE(op, all);
	op->b->n_ops--;
	event_free(op->ev);
	free(op);
}

/* found may cancel the op that it is called for. */
static void op_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len,
		     bool here, void *arg)
{
	struct dht_op *op = arg;

	if (!op->cancelled)
		op->found(key, id, data, len, here, op->arg);
}

static void op_end(struct dht_op *op)
{
	struct dht_backend *b = op->b;
	struct dht_op copy;

	if (!op->put && !b->closing) {
		op->delivering = true;
		key_read(b, op->key, op_found, op);
	}
	copy = *op;
	op_unlink(op);
	if (copy.put)
		copy.done(b->closing ? ECANCELED : copy.err, 1, copy.arg);
	else if (!copy.cancelled)
		copy.got(b->closing ? DHT_INCOMPLETE : DHT_COMPLETE, !b->closing, copy.arg);
}

static void on_op(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	op_end(arg);
}

static struct dht_op *op_new(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], void *arg)
{
	struct dht_op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	op->ev = event_new(b->base, -1, 0, on_op, op);
	if (!op->ev) {
		free(op);
		return NULL;
	}
	op->b = b;
	op->arg = arg;
	memcpy(op->key, key, DHT_KEY_LEN);
	LIST_INSERT_HEAD(&b->ops, op, all);
	b->n_ops++;
	event_active(op->ev, EV_TIMEOUT, 1);
	return op;
}

static void watch_tell(evutil_socket_t fd, short what, void *arg)
{
	struct dht_watch *w = arg;

	(void)fd;
	(void)what;
	key_read(w->b, w->key, w->found, w->arg);
}

static void on_inotify(evutil_socket_t fd, short what, void *arg)
{
	struct dht_backend *b = arg;
	char buf[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)]
		__attribute__((aligned(__alignof__(struct inotify_event))));
	struct dht_watch *w;
	ssize_t n;

	(void)what;
	n = read(fd, buf, sizeof(buf));
	for (char *p = buf; n > 0 && p < buf + n;) {
		const struct inotify_event *e = (const struct inotify_event *)(void *)p;
		uint64_t id;

		p += sizeof(*e) + e->len;
		LIST_FOREACH(w, &b->watches, all) {
			if (e->mask & IN_Q_OVERFLOW ||
			    (w->wd == e->wd && e->len && name_id(e->name, &id)))
				event_active(w->ev, EV_TIMEOUT, 1);
		}
	}
}

static int backend_put(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
		       const void *data, size_t len, dht_put_h *done, void *arg)
{
	struct dht_op *op;

	if (b->closing)
		return ECANCELED;
	if (!id || len > DHT_VALUE_MAX)
		return EINVAL;
	if (b->n_ops >= b->max_ops)
		return EBUSY;
	op = op_new(b, key, arg);
	if (!op)
		return ENOMEM;
	op->put = true;
	op->done = done;
	op->err = value_store(b, key, id, data, len);
	b->counts.puts++;
	return 0;
}

static int backend_get(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], dht_found_h *found,
		       dht_got_h *got, void *arg, struct dht_op **opp)
{
	struct dht_op *op;

	if (b->closing)
		return ECANCELED;
	if (b->n_ops >= b->max_ops)
		return EBUSY;
	op = op_new(b, key, arg);
	if (!op)
		return ENOMEM;
	op->found = found;
	op->got = got;
	b->counts.gets++;
	*opp = op;
	return 0;
}

static void backend_cancel(struct dht_backend *b, struct dht_op *op)
{
	(void)b;
	if (op->delivering)
		op->cancelled = true;
	else
		op_unlink(op);
}

/* inotify has told them. */
static int backend_ring(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
			const void *data, size_t len)
{
	(void)b;
	(void)key;
	(void)id;
	(void)data;
	(void)len;
	return 0;
}

static int backend_watch(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], dht_found_h *found,
			 void *arg, struct dht_watch **wp)
{
	char path[PATH_MAX];
	struct dht_watch *w;
	int err;

	if (b->closing)
		return ECANCELED;
	if (b->n_watches >= WATCHES_MAX)
		return EBUSY;
	w = calloc(1, sizeof(*w));
	if (!w)
		return ENOMEM;
	w->b = b;
	w->found = found;
	w->arg = arg;
	memcpy(w->key, key, DHT_KEY_LEN);
	w->ev = event_new(b->base, -1, 0, watch_tell, w);
	if (!w->ev) {
		free(w);
		return ENOMEM;
	}
	key_path(b, key, path);
	w->wd = mkdir(path, 0770) && errno != EEXIST
			? -1
			: inotify_add_watch(b->inotify, path, IN_MOVED_TO | IN_ONLYDIR);
	if (w->wd < 0) {
		err = errno == ENOSPC ? EBUSY : errno;
		event_free(w->ev);
		free(w);
		return err;
	}
	LIST_INSERT_HEAD(&b->watches, w, all);
	b->n_watches++;
	event_active(w->ev, EV_TIMEOUT, 1);
	*wp = w;
	return 0;
}

static void backend_unwatch(struct dht_backend *b, struct dht_watch *w)
{
	struct dht_watch *o;
	bool shared = false;

	LIST_REMOVE(w, all);
	b->n_watches--;
	LIST_FOREACH(o, &b->watches, all) {
		shared |= o->wd == w->wd;
	}
	if (!shared)
		inotify_rm_watch(b->inotify, w->wd);
	event_free(w->ev);
	free(w);
}

static void backend_stats(struct dht_backend *b, struct dht_stats *st)
{
	struct dht_op *op;

	memset(st, 0, sizeof(*st));
	st->connected = true;
	st->puts = b->counts.puts;
	st->gets = b->counts.gets;
	st->watches = b->n_watches;
	LIST_FOREACH(op, &b->ops, all) {
		st->puts_pending += op->put;
		st->gets_pending += !op->put;
	}
}

static int backend_save(struct dht_backend *b)
{
	(void)b;
	return 0;
}

static void backend_close(struct dht_backend *b)
{
	if (!b)
		return;
	b->closing = true;
	while (!LIST_EMPTY(&b->ops))
		op_end(LIST_FIRST(&b->ops));
	while (!LIST_EMPTY(&b->watches))
		backend_unwatch(b, LIST_FIRST(&b->watches));
	if (b->ev)
		event_free(b->ev);
	if (b->inotify >= 0)
		close(b->inotify);
	free(b->dir);
	free(b);
}

static int backend_open(struct dht_backend **bp, struct event_base *base,
			const struct dht_config *config, dht_status_h *status, void *arg,
			char *reason, size_t reasonlen)
{
	struct dht_backend *b;
	int err;

	(void)status; /* always connected */
	(void)arg;
	if (!config->dir || !*config->dir) {
		snprintf(reason, reasonlen, "no folder to keep the values in");
		return EINVAL;
	}
	/* room for "/key/id" */
	if (strlen(config->dir) > PATH_MAX - 128) {
		snprintf(reason, reasonlen, "the folder's name is too long");
		return ENAMETOOLONG;
	}
	if (mkdir(config->dir, 0770) && errno != EEXIST) {
		err = errno;
		snprintf(reason, reasonlen, "%s: %s", config->dir, strerror(err));
		return err;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		return ENOMEM;
	b->base = base;
	b->policy = config->policy;
	b->max_ops = config->max_ops;
	b->dir = strdup(config->dir);
	b->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (b->inotify < 0 || !b->dir) {
		err = b->dir ? errno : ENOMEM;
		goto fail;
	}
	b->ev = event_new(base, b->inotify, EV_READ | EV_PERSIST, on_inotify, b);
	if (!b->ev || event_add(b->ev, NULL)) {
		err = ENOMEM;
		goto fail;
	}
	*bp = b;
	return 0;
fail:
	snprintf(reason, reasonlen, "%s", strerror(err));
	backend_close(b);
	return err;
}

const struct dht_ops dht_memory_ops = {
	.name = "memory",
	.open = backend_open,
	.close = backend_close,
	.put = backend_put,
	.get = backend_get,
	.cancel = backend_cancel,
	.ring = backend_ring,
	.watch = backend_watch,
	.unwatch = backend_unwatch,
	.stats = backend_stats,
	.save = backend_save,
};
