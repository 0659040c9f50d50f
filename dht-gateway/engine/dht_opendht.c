/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The embedded engine. OpenDHT calls back on its own thread; what it says is copied into a bounded
 * queue, and an eventfd wakes the loop, where everything else happens.
 *
 * A request is a slot with a generation; its tag names both, so that an answer to a request that
 * was cancelled finds nobody. A cancelled request keeps its slot until OpenDHT is done with it:
 * that is what bounds the requests that OpenDHT queues while it is not connected. */
#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "dht-gateway/engine/dht_engines.h"
#include "dht-gateway/keys/gateway_file.h"
#include "dht-gateway/engine/gateway_nodes.h"
#include "dht-gateway/engine/opendht_shim.h"
#include "lib/base/bytes.h"

/* Values on their way from OpenDHT's thread to the loop. */
#define QUEUE_MAX 16384
/* Watches at once, beside the gateway's own bound. */
#define WATCHES_MAX 4096
/* A slot whose answer never came is used again after this. */
#define SLOT_LOST_S 600
#define NODES_FILE_MAX (256 * 1024)
#define NODES_MAX 1024
#define SOCKET_BUFFER (4 << 20)
/* The sockets are opened early: they have low numbers. */
#define FD_SEEN_MAX 1024
/* How often the state of the engine is looked at: always, and after it changed. */
#define INFO_PERIOD_MS 2000
#define INFO_SOON_MS 100
#define INFO_SOON_N 30

#define TAG_WATCH (1ULL << 63)

enum note_kind { NOTE_VALUE, NOTE_DONE };

struct note {
	struct note *next;
	enum note_kind kind;
	bool ok; /* NOTE_VALUE: here */
	unsigned int nodes;
	uint64_t tag, id;
	size_t len;
	uint8_t data[];
};

enum slot_kind { SLOT_FREE = 0, SLOT_PUT, SLOT_GET };

struct dht_op {
	enum slot_kind kind;
	bool detached;
	uint32_t generation;
	uint32_t index;
	unsigned int values;
	uint64_t dropped; /* of the backend when it began */
	time_t since;
	uint8_t key[DHT_KEY_LEN];
	union {
		dht_put_h *put;
		dht_got_h *got;
	} done;
	dht_found_h *found;
	void *arg;
	struct dht_op *next_free;
};

struct dht_watch {
	uint64_t tag;
	uint8_t key[DHT_KEY_LEN];
	dht_found_h *found;
	void *arg;
	struct odht_listener *listener;
	struct dht_watch *prev, *next;
};

struct dht_backend {
	struct event_base *base;
	struct dht_policy policy;
	struct odht *odht;
	dht_status_h *status;
	void *status_arg;
	char *nodes_file;
	bool configured; /* there are others to talk to, as far as settings or the nodes file say */
	bool met;	 /* at least one other node was there in this life */
	bool closing;
	bool connected;
	unsigned int good; /* as last told by status */
	unsigned int soon; /* looks left at the quick pace */

	struct dht_op *slot; /* max_ops of them */
	unsigned int n_slots;
	unsigned int n_busy[SLOT_GET + 1]; /* by kind */
	struct dht_op *free_slots;
	struct dht_watch *watches;
	unsigned int n_watches;
	uint64_t watch_tag;

	struct event *wake, *tick;
	int wake_fd;
	pthread_mutex_t mtx; /* guards what follows; nothing is called under it */
	struct note *head, **tail;
	unsigned int n_values;
	bool status_changed;
	atomic_uint_fast64_t dropped;

	struct dht_stats counts; /* puts, gets */
};

/* A key is either read or listened for (opendht_shim.h), so bells hang under a key of their own, a
 * neighbour of the record's. */
static void bell_key(uint8_t out[DHT_KEY_LEN], const uint8_t key[DHT_KEY_LEN])
{
	memcpy(out, key, DHT_KEY_LEN);
	out[DHT_KEY_LEN - 1] ^= 1;
}

/* --- on OpenDHT's thread ------------------------------------------------------------------- */

static bool on_store(enum odht_type type, const uint8_t key[ODHT_KEY_LEN], uint64_t id,
		     const void *data, size_t len, void *arg)
{
	const struct dht_backend *b = arg;
	uint8_t own[DHT_KEY_LEN];

	if (type == ODHT_RECORD)
		return b->policy.store(DHT_RECORD, key, id, data, len, b->policy.arg);
	bell_key(own, key);
	return b->policy.store(DHT_BELL, own, id, data, len, b->policy.arg);
}

static bool on_edit(const void *prev, size_t prevlen, const void *next, size_t nextlen, void *arg)
{
	const struct dht_backend *b = arg;

	return b->policy.edit(prev, prevlen, next, nextlen, b->policy.arg);
}

static void note_push(struct dht_backend *b, struct note *n)
{
	uint64_t one = 1;

	pthread_mutex_lock(&b->mtx);
	n->next = NULL;
	*b->tail = n;
	b->tail = &n->next;
	pthread_mutex_unlock(&b->mtx);
	/* fails only when the counter is full, and then the loop wakes anyway */
	if (write(b->wake_fd, &one, sizeof(one)) < 0)
		return;
}

static void on_value(uint64_t tag, uint64_t id, const void *data, size_t len, bool here, void *arg)
{
	struct dht_backend *b = arg;
	struct note *n;
	bool full;

	if (len > DHT_VALUE_MAX)
		return;
	pthread_mutex_lock(&b->mtx);
	full = b->n_values >= QUEUE_MAX;
	if (!full)
		b->n_values++;
	pthread_mutex_unlock(&b->mtx);
	n = full ? NULL : malloc(sizeof(*n) + len);
	if (!n) {
		atomic_fetch_add(&b->dropped, 1);
		if (!full) {
			pthread_mutex_lock(&b->mtx);
			b->n_values--;
			pthread_mutex_unlock(&b->mtx);
		}
		return;
	}
	n->kind = NOTE_VALUE;
	n->tag = tag;
	n->id = id;
	n->len = len;
	n->ok = here;
	n->nodes = 0;
	memcpy(n->data, data, len);
	note_push(b, n);
}

/* Their number is bounded by that of the slots. */
static void on_done(uint64_t tag, bool ok, unsigned int nodes, void *arg)
{
	struct dht_backend *b = arg;
	struct note *n = malloc(sizeof(*n));

	if (!n) {
		/* the caller's own deadline ends it, and SLOT_LOST_S the slot */
		atomic_fetch_add(&b->dropped, 1);
		return;
	}
	n->kind = NOTE_DONE;
	n->tag = tag;
	n->id = 0;
	n->len = 0;
	n->ok = ok;
	n->nodes = nodes;
	note_push(b, n);
}

static void on_status(void *arg)
{
	struct dht_backend *b = arg;
	uint64_t one = 1;

	pthread_mutex_lock(&b->mtx);
	b->status_changed = true;
	pthread_mutex_unlock(&b->mtx);
	if (write(b->wake_fd, &one, sizeof(one)) < 0)
		return;
}

/* --- on the loop --------------------------------------------------------------------------- */

static bool alone(const struct dht_backend *b)
{
	return !b->configured && !b->met;
}

static uint64_t slot_tag(const struct dht_op *op)
{
	return (uint64_t)(op->generation & 0x7fffffff) << 32 | op->index;
}

static struct dht_op *slot_take(struct dht_backend *b, enum slot_kind kind, const uint8_t *key,
				void *arg)
{
	struct dht_op *op = b->free_slots;

	if (!op)
		return NULL;
	b->free_slots = op->next_free;
	op->kind = kind;
	b->n_busy[kind]++;
	op->detached = false;
	op->values = 0;
	op->dropped = atomic_load(&b->dropped);
	op->since = time(NULL);
	memcpy(op->key, key, sizeof(op->key));
	op->found = NULL;
	op->arg = arg;
	return op;
}

static void slot_release(struct dht_backend *b, struct dht_op *op)
{
	b->n_busy[op->kind]--;
	op->kind = SLOT_FREE;
	op->generation++;
	op->next_free = b->free_slots;
	b->free_slots = op;
}

static struct dht_op *slot_find(struct dht_backend *b, uint64_t tag)
{
	uint32_t index = (uint32_t)tag;
	struct dht_op *op;

	if (index >= b->n_slots)
		return NULL;
	op = &b->slot[index];
	return op->kind != SLOT_FREE && slot_tag(op) == tag ? op : NULL;
}

static void slot_end(struct dht_backend *b, struct dht_op *op, int puterr, enum dht_verdict verdict,
		     unsigned int nodes)
{
	enum slot_kind kind = op->kind;
	bool detached = op->detached;
	dht_put_h *put = kind == SLOT_PUT ? op->done.put : NULL;
	dht_got_h *got = kind == SLOT_GET ? op->done.got : NULL;
	void *arg = op->arg;

	slot_release(b, op);
	if (detached)
		return;
	if (put)
		put(puterr, nodes, arg);
	else if (got)
		got(verdict, nodes, arg);
}

static void deliver_done(struct dht_backend *b, const struct note *n)
{
	struct dht_op *op = slot_find(b, n->tag);
	enum dht_verdict verdict = DHT_INCOMPLETE;
	int err = ENETUNREACH;

	if (!op)
		return;
	/* A put that finds its value acknowledged already names no nodes. */
	if (n->ok)
		err = 0;
	if (n->ok && n->nodes) {
		/* Every one of the (up to 8) closest nodes that it knows of and that are not
		 * given up has answered this very search. */
		if (atomic_load(&b->dropped) == op->dropped && op->values <= DHT_VALUES_MAX)
			verdict = DHT_COMPLETE;
	} else if (alone(b)) {
		/* the first peer of an overlay: what it has itself is all there is */
		verdict = DHT_COMPLETE;
	}
	slot_end(b, op, err, verdict, n->nodes);
}

static void deliver_value(struct dht_backend *b, const struct note *n)
{
	if (n->tag & TAG_WATCH) {
		for (struct dht_watch *w = b->watches; w; w = w->next)
			if (w->tag == n->tag) {
				w->found(w->key, n->id, n->data, n->len, n->ok, w->arg);
				return;
			}
	} else {
		struct dht_op *op = slot_find(b, n->tag);

		if (op && op->kind == SLOT_GET && !op->detached && ++op->values <= DHT_VALUES_MAX)
			op->found(op->key, n->id, n->data, n->len, n->ok, op->arg);
	}
}

static int backend_save(struct dht_backend *b);

static void status_look(struct dht_backend *b)
{
	struct odht_info info;
	bool was = b->connected;
	unsigned int good_was = b->good;

	odht_info_get(b->odht, &info);
	b->connected = info.connected;
	b->good = info.good4 + info.good6;
	if (b->good && !b->met) {
		b->met = true;
		/* From now on it is not alone, not even if it is killed this very moment: who
		 * starts without bootstrap and known nodes takes what it holds itself for all there
		 * is. An error shows when the nodes are saved in their turn. */
		backend_save(b);
	}
	if (was == b->connected && good_was == b->good)
		return;
	b->soon = INFO_SOON_N;
	b->status(b->status_arg);
}

static void tick_arm(struct dht_backend *b)
{
	struct timeval tv = {.tv_sec = INFO_PERIOD_MS / 1000};

	if (b->soon) {
		b->soon--;
		tv = (struct timeval){.tv_usec = INFO_SOON_MS * 1000};
	}
	event_add(b->tick, &tv);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct dht_backend *b = arg;
	struct note *n, *next;
	uint64_t count;
	bool changed;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&b->mtx);
	n = b->head;
	b->head = NULL;
	b->tail = &b->head;
	b->n_values = 0;
	changed = b->status_changed;
	b->status_changed = false;
	pthread_mutex_unlock(&b->mtx);
	for (; n; n = next) {
		next = n->next;
		if (n->kind == NOTE_VALUE)
			deliver_value(b, n);
		else
			deliver_done(b, n);
		free(n);
	}
	if (changed) {
		b->soon = INFO_SOON_N;
		odht_info_refresh(b->odht);
		tick_arm(b);
		status_look(b);
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct dht_backend *b = arg;
	time_t now = time(NULL);

	(void)fd;
	(void)what;
	status_look(b);
	odht_info_refresh(b->odht);
	for (unsigned int i = 0; i < b->n_slots; i++)
		if (b->slot[i].kind != SLOT_FREE && now - b->slot[i].since > SLOT_LOST_S)
			slot_end(b, &b->slot[i], ETIMEDOUT, DHT_INCOMPLETE, 0);
	tick_arm(b);
}

/* "192.0.2.1", "192.0.2.1:4222", "[2001:db8::1]:4222", "2001:db8::1", "host:4222" */
static int bootstrap_add(struct dht_backend *b, const char *text, uint16_t dflt_port)
{
	char host[256], port[16];
	const char *colon = strrchr(text, ':');
	size_t len = strlen(text);

	snprintf(port, sizeof(port), "%u", dflt_port);
	if (*text == '[') {
		const char *end = strchr(text, ']');

		if (!end)
			return EINVAL;
		len = (size_t)(end - text) - 1;
		if (end[1] == ':')
			snprintf(port, sizeof(port), "%s", end + 2);
		else if (end[1])
			return EINVAL;
		text++;
	} else if (colon && strchr(text, ':') == colon) {
		len = (size_t)(colon - text);
		snprintf(port, sizeof(port), "%s", colon + 1);
	}
	if (!len || len >= sizeof(host) || !*port)
		return EINVAL;
	snprintf(host, sizeof(host), "%.*s", (int)len, text);
	return odht_bootstrap(b->odht, host, port);
}

struct nodes_import {
	struct odht *odht;
	unsigned int n;
};

static void node_import(const uint8_t id[DHT_KEY_LEN], const struct sockaddr *sa, socklen_t salen,
			void *arg)
{
	struct nodes_import *in = arg;

	if (!odht_node_import(in->odht, id, sa, salen))
		in->n++;
}

static unsigned int nodes_load(struct dht_backend *b)
{
	struct nodes_import in = {.odht = b->odht};
	char *text = malloc(NODES_FILE_MAX);
	size_t len;

	if (text && !gw_file_read(b->nodes_file, text, NODES_FILE_MAX, &len))
		gw_nodes_read(text, NODES_MAX, node_import, &in);
	free(text);
	return in.n;
}

struct nodes_text {
	FILE *f;
	unsigned int n;
};

static void node_print(const uint8_t id[ODHT_KEY_LEN], const void *sa, size_t salen, void *arg)
{
	struct nodes_text *t = arg;
	char line[GW_NODE_LINE_MAX];

	if (t->n >= NODES_MAX || gw_node_print(id, sa, (socklen_t)salen, line))
		return;
	fputs(line, t->f);
	t->n++;
}

static int backend_save(struct dht_backend *b)
{
	struct nodes_text t = {0};
	char *text = NULL;
	size_t len = 0;
	int err;

	if (!b->nodes_file)
		return 0;
	t.f = open_memstream(&text, &len);
	if (!t.f)
		return errno;
	err = odht_nodes_export(b->odht, node_print, &t);
	if (fclose(t.f) && !err)
		err = errno;
	/* an empty list would only make forget what was known */
	if (!err && t.n)
		err = gw_file_replace(b->nodes_file, text, len);
	free(text);
	return err;
}

static void backend_close(struct dht_backend *b)
{
	struct note *n, *next;

	if (!b)
		return;
	b->closing = true;
	if (b->odht)
		backend_save(b);
	for (unsigned int i = 0; i < b->n_slots; i++)
		if (b->slot[i].kind != SLOT_FREE)
			slot_end(b, &b->slot[i], ECANCELED, DHT_INCOMPLETE, 0);
	while (b->watches) {
		struct dht_watch *w = b->watches;

		b->watches = w->next;
		odht_unlisten(b->odht, w->listener);
		free(w);
	}
	odht_free(b->odht);
	for (n = b->head; n; n = next) {
		next = n->next;
		free(n);
	}
	if (b->wake)
		event_free(b->wake);
	if (b->tick)
		event_free(b->tick);
	if (b->wake_fd >= 0)
		close(b->wake_fd);
	pthread_mutex_destroy(&b->mtx);
	free(b->nodes_file);
	free(b->slot);
	free(b);
}

/* OpenDHT sends in bursts, a few hundred datagrams at once when many users are put; what finds the
 * receiver's buffer full is repeated half a second later. The library neither sets the buffers nor
 * gives its sockets away: they are known by their port. More than net.core.rmem_max takes a right
 * that a gateway need not have. */
static void buffers_raise(uint16_t port)
{
	for (int fd = 3; fd < FD_SEEN_MAX; fd++) {
		int type = 0, size = SOCKET_BUFFER;
		socklen_t len = sizeof(type);
		struct sockaddr_storage ss;
		socklen_t sslen = sizeof(ss);
		uint16_t bound = 0;

		if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_DGRAM ||
		    getsockname(fd, (struct sockaddr *)&ss, &sslen))
			continue;
		if (ss.ss_family == AF_INET)
			bound = ntohs(((struct sockaddr_in *)&ss)->sin_port);
		else if (ss.ss_family == AF_INET6)
			bound = ntohs(((struct sockaddr_in6 *)&ss)->sin6_port);
		if (bound != port)
			continue;
		if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
			(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	}
}

static int backend_open(struct dht_backend **bp, struct event_base *base,
			const struct dht_config *config, dht_status_h *status, void *arg,
			char *reason, size_t reasonlen)
{
	struct odht_config oc = {
		.bind4 = config->bind4 && *config->bind4 ? config->bind4 : NULL,
		.bind6 = config->bind6 && *config->bind6 ? config->bind6 : NULL,
		.port = config->port,
		.network = config->network,
		.max_requests = config->max_requests,
		.max_peer_requests = config->max_peer_requests,
		.store_bytes = config->store_bytes,
		.value_ttl_s = config->value_ttl_s,
		.policy = {.store = on_store, .edit = on_edit},
		.value = on_value,
		.done = on_done,
		.status = on_status,
	};
	struct dht_backend *b;
	int err;

	if (!oc.bind4 && !oc.bind6) {
		snprintf(reason, reasonlen, "no address to bind");
		return EINVAL;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		return ENOMEM;
	pthread_mutex_init(&b->mtx, NULL);
	b->base = base;
	b->policy = config->policy;
	b->status = status;
	b->status_arg = arg;
	b->tail = &b->head;
	b->n_slots = config->max_ops;
	b->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	b->slot = calloc(b->n_slots ? b->n_slots : 1, sizeof(*b->slot));
	if (b->wake_fd < 0 || !b->slot) {
		err = b->slot ? errno : ENOMEM;
		goto fail;
	}
	for (unsigned int i = b->n_slots; i-- > 0;) {
		b->slot[i].index = i;
		b->slot[i].next_free = b->free_slots;
		b->free_slots = &b->slot[i];
	}
	b->wake = event_new(base, b->wake_fd, EV_READ | EV_PERSIST, on_wake, b);
	b->tick = event_new(base, -1, 0, on_tick, b);
	if (!b->wake || !b->tick || event_add(b->wake, NULL)) {
		err = ENOMEM;
		goto fail;
	}
	if (config->nodes_file && *config->nodes_file) {
		b->nodes_file = strdup(config->nodes_file);
		if (!b->nodes_file) {
			err = ENOMEM;
			goto fail;
		}
	}
	oc.arg = oc.policy.arg = b;
	memcpy(oc.node_id, config->node_id, sizeof(oc.node_id));
	err = odht_new(&b->odht, &oc, reason, reasonlen);
	if (err)
		goto fail;
	buffers_raise(config->port);
	b->configured = config->n_bootstrap > 0;
	if (b->nodes_file && nodes_load(b))
		b->configured = true;
	for (size_t i = 0; i < config->n_bootstrap; i++) {
		err = bootstrap_add(b, config->bootstrap[i], config->port);
		if (err) {
			snprintf(reason, reasonlen, "bootstrap '%s': %s", config->bootstrap[i],
				 strerror(err));
			goto fail;
		}
	}
	b->soon = INFO_SOON_N;
	tick_arm(b);
	*bp = b;
	return 0;
fail:
	backend_close(b);
	return err;
}

static int backend_put(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
		       const void *data, size_t len, dht_put_h *done, void *arg)
{
	struct dht_op *op;
	int err;

	if (b->closing)
		return ECANCELED;
	if (!id || len > DHT_VALUE_MAX)
		return EINVAL;
	op = slot_take(b, SLOT_PUT, key, arg);
	if (!op)
		return EBUSY;
	op->done.put = done;
	err = odht_put(b->odht, ODHT_RECORD, key, id, data, len, slot_tag(op));
	if (err) {
		slot_release(b, op);
		return err;
	}
	b->counts.puts++;
	return 0;
}

static int backend_get(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], dht_found_h *found,
		       dht_got_h *got, void *arg, struct dht_op **opp)
{
	struct dht_op *op;
	int err;

	if (b->closing)
		return ECANCELED;
	op = slot_take(b, SLOT_GET, key, arg);
	if (!op)
		return EBUSY;
	op->found = found;
	op->done.got = got;
	err = odht_get(b->odht, key, slot_tag(op));
	if (err) {
		slot_release(b, op);
		return err;
	}
	b->counts.gets++;
	*opp = op;
	return 0;
}

static void backend_cancel(struct dht_backend *b, struct dht_op *op)
{
	(void)b;
	op->detached = true;
}

static int backend_ring(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
			const void *data, size_t len)
{
	uint8_t bell[DHT_KEY_LEN];
	struct dht_op *op;
	int err;

	if (b->closing)
		return ECANCELED;
	if (!id || len > DHT_VALUE_MAX)
		return EINVAL;
	if (!b->connected)
		return ENETUNREACH;
	bell_key(bell, key);
	op = slot_take(b, SLOT_PUT, bell, NULL);
	if (!op)
		return EBUSY;
	op->detached = true;
	err = odht_put(b->odht, ODHT_BELL, bell, id, data, len, slot_tag(op));
	if (err)
		slot_release(b, op);
	return err;
}

static int backend_watch(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], dht_found_h *found,
			 void *arg, struct dht_watch **wp)
{
	uint8_t bell[DHT_KEY_LEN];
	struct dht_watch *w;
	int err;

	if (b->closing)
		return ECANCELED;
	if (b->n_watches >= WATCHES_MAX)
		return EBUSY;
	w = calloc(1, sizeof(*w));
	if (!w)
		return ENOMEM;
	w->tag = TAG_WATCH | ++b->watch_tag;
	memcpy(w->key, key, sizeof(w->key));
	w->found = found;
	w->arg = arg;
	bell_key(bell, key);
	err = odht_listen(b->odht, bell, w->tag, &w->listener);
	if (err) {
		free(w);
		return err;
	}
	w->next = b->watches;
	if (w->next)
		w->next->prev = w;
	b->watches = w;
	b->n_watches++;
	*wp = w;
	return 0;
}

static void backend_unwatch(struct dht_backend *b, struct dht_watch *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		b->watches = w->next;
	if (w->next)
		w->next->prev = w->prev;
	b->n_watches--;
	odht_unlisten(b->odht, w->listener);
	free(w);
}

static void backend_stats(struct dht_backend *b, struct dht_stats *st)
{
	struct odht_info info;

	odht_info_get(b->odht, &info);
	memset(st, 0, sizeof(*st));
	st->connected = info.connected || alone(b);
	st->alone = alone(b);
	st->good4 = info.good4;
	st->good6 = info.good6;
	st->dubious = info.dubious;
	st->stored = info.stored;
	st->stored_bytes = info.stored_bytes;
	st->refused = info.refused;
	st->puts = b->counts.puts;
	st->gets = b->counts.gets;
	st->watches = b->n_watches;
	st->dropped = atomic_load(&b->dropped);
	st->puts_pending = b->n_busy[SLOT_PUT];
	st->gets_pending = b->n_busy[SLOT_GET];
	memcpy(st->node_id, info.node_id, sizeof(st->node_id));
}

const struct dht_ops dht_opendht_ops = {
	.name = "opendht",
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
