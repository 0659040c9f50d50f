/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test_gw_fixture.h"
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/keys/gateway_secret.h"

struct fake_dht fake;

struct value {
	struct value *next;
	uint8_t key[DHT_KEY_LEN];
	uint64_t id;
	size_t len;
	uint8_t data[1024];
};

struct dht_op {
	struct dht_op *prev, *next;
	struct dht_backend *b;
	bool put, told;
	int err;
	struct event *ev;
	uint8_t key[DHT_KEY_LEN];
	dht_found_h *found;
	dht_got_h *got;
	dht_put_h *done;
	void *arg;
};

struct dht_watch {
	struct dht_watch *prev, *next;
	uint8_t key[DHT_KEY_LEN];
	dht_found_h *found;
	void *arg;
};

struct dht_backend {
	struct event_base *base;
	struct dht_policy policy;
	dht_status_h *status;
	void *status_arg;
	struct dht_op *ops;
	struct dht_watch *watches;
	bool closing;
};

static struct value *values;
static struct dht_backend *the_backend;

static void op_free(struct dht_op *op)
{
	if (op->prev)
		op->prev->next = op->next;
	else
		op->b->ops = op->next;
	if (op->next)
		op->next->prev = op->prev;
	event_free(op->ev);
	free(op);
}

static void op_arm(struct dht_op *op, unsigned int ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_add(op->ev, &tv);
}

static void on_op(evutil_socket_t fd, short what, void *arg)
{
	struct dht_op *op = arg, copy;
	enum dht_verdict verdict = DHT_COMPLETE;

	(void)fd;
	(void)what;
	if (op->put) {
		copy = *op;
		op_free(op);
		fake.puts_open--;
		copy.done(copy.err, 1, copy.arg);
		return;
	}
	if (!op->told) {
		/* whose values came first has its verdict first: libevent's clock is coarse, and
		 * leaves the order of timers of the same time open */
		static unsigned int turn;
		struct timeval tv = {.tv_usec = 1000 + (int)(turn++ % 1000)};

		op->told = true;
		if (!fake.get_silent)
			event_add(op->ev, &tv);
		for (struct value *v = values; v; v = v->next)
			if (!memcmp(v->key, op->key, DHT_KEY_LEN))
				op->found(op->key, v->id, v->data, v->len, false, op->arg);
		return;
	}
	copy = *op;
	op_free(op);
	if (fake.incomplete) {
		fake.incomplete--;
		verdict = DHT_INCOMPLETE;
	}
	copy.got(verdict, 1, copy.arg);
}

static struct dht_op *op_new(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], void *arg)
{
	struct dht_op *op = calloc(1, sizeof(*op));

	op->b = b;
	op->arg = arg;
	memcpy(op->key, key, DHT_KEY_LEN);
	op->ev = event_new(b->base, -1, 0, on_op, op);
	op->next = b->ops;
	if (op->next)
		op->next->prev = op;
	b->ops = op;
	return op;
}

static int fake_open(struct dht_backend **bp, struct event_base *base,
		     const struct dht_config *config, dht_status_h *status, void *arg, char *reason,
		     size_t reasonlen)
{
	struct dht_backend *b = calloc(1, sizeof(*b));

	(void)reason;
	(void)reasonlen;
	b->base = base;
	b->policy = config->policy;
	b->status = status;
	b->status_arg = arg;
	the_backend = b;
	*bp = b;
	return 0;
}

static void fake_close(struct dht_backend *b)
{
	b->closing = true;
	while (b->ops) {
		struct dht_op copy = *b->ops;

		op_free(b->ops);
		if (copy.put)
			copy.done(ECANCELED, 0, copy.arg);
		else
			copy.got(DHT_INCOMPLETE, 0, copy.arg);
	}
	while (b->watches) {
		struct dht_watch *w = b->watches;

		b->watches = w->next;
		free(w);
	}
	the_backend = NULL;
	free(b);
}

static struct value *value_find(const uint8_t key[DHT_KEY_LEN], uint64_t id)
{
	struct value *v = values;

	while (v && (v->id != id || memcmp(v->key, key, DHT_KEY_LEN)))
		v = v->next;
	return v;
}

static void value_store(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len)
{
	struct value *v = value_find(key, id);

	if (!v) {
		v = calloc(1, sizeof(*v));
		v->next = values;
		values = v;
		memcpy(v->key, key, DHT_KEY_LEN);
		v->id = id;
	}
	v->len = len;
	memcpy(v->data, data, len);
}

static int fake_put(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
		    const void *data, size_t len, dht_put_h *done, void *arg)
{
	struct dht_op *op;
	struct value *prev;

	if (b->closing)
		return ECANCELED;
	fake.puts++;
	if (fake.put_err_now)
		return fake.put_err_now;
	op = op_new(b, key, arg);
	op->put = true;
	op->done = done;
	op->err = fake.alone ? ENETUNREACH : fake.put_err;
	if (fake.put_bad && !memcmp(fake.put_bad, key, DHT_KEY_LEN)) {
		fake.puts_bad++;
		op->err = EIO;
	}
	prev = value_find(key, id);
	if (!op->err && !fake.put_refuse && !fake.put_silent &&
	    b->policy.store(DHT_RECORD, key, id, data, len, b->policy.arg) &&
	    (!prev || b->policy.edit(prev->data, prev->len, data, len, b->policy.arg)))
		value_store(key, id, data, len);
	if (!fake.put_silent) {
		fake.puts_open++;
		op_arm(op, 1);
	}
	return 0;
}

static int fake_get(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], dht_found_h *found,
		    dht_got_h *got, void *arg, struct dht_op **opp)
{
	if (b->closing)
		return ECANCELED;
	fake.gets++;
	if (fake.get_busy)
		return EBUSY;
	*opp = op_new(b, key, arg);
	(*opp)->found = found;
	(*opp)->got = got;
	if (!fake.get_mute)
		op_arm(*opp, fake.get_delay_ms);
	return 0;
}

static void fake_cancel(struct dht_backend *b, struct dht_op *op)
{
	(void)b;
	fake.cancels++;
	op_free(op);
}

static void ring(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
		 const void *data, size_t len)
{
	for (struct dht_watch *w = b->watches; w; w = w->next)
		if (!memcmp(w->key, key, DHT_KEY_LEN))
			w->found(key, id, data, len, false, w->arg);
}

static int fake_ring(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], uint64_t id,
		     const void *data, size_t len)
{
	fake.bells++;
	if (b->policy.store(DHT_BELL, key, id, data, len, b->policy.arg))
		ring(b, key, id, data, len);
	return 0;
}

static int fake_watch(struct dht_backend *b, const uint8_t key[DHT_KEY_LEN], dht_found_h *found,
		      void *arg, struct dht_watch **wp)
{
	struct dht_watch *w = calloc(1, sizeof(*w));

	fake.watches++;
	memcpy(w->key, key, DHT_KEY_LEN);
	w->found = found;
	w->arg = arg;
	w->next = b->watches;
	if (w->next)
		w->next->prev = w;
	b->watches = w;
	*wp = w;
	return 0;
}

static void fake_unwatch(struct dht_backend *b, struct dht_watch *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		b->watches = w->next;
	if (w->next)
		w->next->prev = w->prev;
	fake.watches--;
	free(w);
}

static void fake_stats(struct dht_backend *b, struct dht_stats *st)
{
	(void)b;
	memset(st, 0, sizeof(*st));
	st->alone = fake.alone;
	st->connected = !fake.disconnected;
	st->good4 = fake.disconnected || fake.alone ? 0 : 8;
}

static int fake_save(struct dht_backend *b)
{
	(void)b;
	return 0;
}

static const struct dht_ops fake_ops = {
	.name = "fake",
	.open = fake_open,
	.close = fake_close,
	.put = fake_put,
	.get = fake_get,
	.cancel = fake_cancel,
	.ring = fake_ring,
	.watch = fake_watch,
	.unwatch = fake_unwatch,
	.stats = fake_stats,
	.save = fake_save,
};

void fake_clear(void)
{
	while (values) {
		struct value *v = values;

		values = v->next;
		free(v);
	}
}

void fake_status(void)
{
	the_backend->status(the_backend->status_arg);
}

void fake_store_name(struct gw_fixture *f, const char *name, uint64_t id, const void *data,
		     size_t len)
{
	struct p2p_key key;

	gw_record_key_user(f->gw, name, strlen(name), &key);
	value_store(key.b, id, data, len);
}

void fake_store_peer(struct gw_fixture *f, const struct p2p_hit *hit, uint64_t id, const void *data,
		     size_t len)
{
	struct p2p_key key;

	gw_record_key_peer(f->gw, hit, &key);
	value_store(key.b, id, data, len);
}

void fake_store_key(const uint8_t key[20], uint64_t id, const void *data, size_t len)
{
	value_store(key, id, data, len);
}

const uint8_t *fake_find_key(const uint8_t key[20], uint64_t id, size_t *len)
{
	struct value *v = value_find(key, id);

	if (!v)
		return NULL;
	*len = v->len;
	return v->data;
}

const uint8_t *fake_find_name(struct gw_fixture *f, const char *name, uint64_t id, size_t *len)
{
	struct p2p_key key;
	struct value *v;

	gw_record_key_user(f->gw, name, strlen(name), &key);
	v = value_find(key.b, id);
	if (!v)
		return NULL;
	*len = v->len;
	return v->data;
}

void fake_ring_name(struct gw_fixture *f, const char *name, const void *data, size_t len)
{
	struct p2p_key key;

	gw_record_key_user(f->gw, name, strlen(name), &key);
	ring(the_backend, key.b, 4711, data, len);
}

/* --- the gateway --------------------------------------------------------------------------------
 */

static void log_sink(enum p2p_log_level level, const char *msg, void *arg)
{
	struct gw_fixture *f = arg;

	f->log_lines[level]++;
	if (level <= P2P_LOG_WARN)
		snprintf(f->last_warn, sizeof(f->last_warn), "%s", msg);
	if (getenv("GW_TEST_LOG"))
		fprintf(stderr, "# %s: %s\n", p2p_log_level_name(level), msg);
}

static uint64_t shifted_wall(void *arg)
{
	struct gw_fixture *f = arg;

	return p2p_clock_wall(&p2p_clock_system) + (uint64_t)f->wall_shift_ms;
}

static uint64_t shifted_mono(void *arg)
{
	struct gw_fixture *f = arg;

	return p2p_clock_mono(&p2p_clock_system) + f->mono_shift_ms;
}

static void core_start(struct gw_fixture *f)
{
	struct gw_core_config config = {
		.base = f->base,
		.settings = &f->settings,
		.log = &f->log,
		.clock = &f->clock,
		.dht_ops = &fake_ops,
	};
	char err[512];

	if (gw_core_new(&f->core, &config, err, sizeof(err))) {
		fprintf(stderr, "fixture: %s\n", err);
		abort();
	}
	f->gw = gw_core_gw(f->core);
}

int gw_fixture_setup(void **state)
{
	struct gw_fixture *f = calloc(1, sizeof(*f));
	char path[128], err[512];
	FILE *conf;

	memset(&fake, 0, sizeof(fake));
	fake_clear();
	snprintf(f->dir, sizeof(f->dir), "/tmp/gwtest.XXXXXX");
	if (!f || !mkdtemp(f->dir))
		return -1;
	snprintf(path, sizeof(path), "%s/secret", f->dir);
	if (gw_secret_create(path, err, sizeof(err)))
		return -1;
	snprintf(path, sizeof(path), "%s/other.pem", f->dir);
	if (gw_identity_create(path, err, sizeof(err)) ||
	    gw_identity_load(&f->other, path, err, sizeof(err)))
		return -1;
	snprintf(path, sizeof(path), "%s/conf", f->dir);
	conf = fopen(path, "w");
	fprintf(conf,
		"[overlay]\nsecret_file = %s/secret\n"
		"[identity]\nfile = %s/identity.pem\nstate_dir = %s/state\n"
		"[dht]\nbackend = memory\nmemory_dir = %s/dht\nquery_timeout_ms = 500\n"
		"[sip]\nuri = sip:192.0.2.1:5060;transport=udp\n"
		"[tls]\ndir = %s/tls\n"
		"[control]\nsocket = %s/gw.sock\nadmin_socket = %s/admin.sock\n"
		"[limits]\nlookups_max = 50\nusers_max = 100\nlease_s = 30\ncache_fresh_ms = 200\n",
		f->dir, f->dir, f->dir, f->dir, f->dir, f->dir, f->dir);
	fclose(conf);
	if (gw_settings_load(&f->settings, path, err, sizeof(err))) {
		fprintf(stderr, "fixture: %s\n", err);
		return -1;
	}
	f->log = (struct p2p_log){.sink = log_sink, .arg = f, .level = P2P_LOG_DBG};
	f->clock = (struct p2p_clock){.wall_ms = shifted_wall, .mono_ms = shifted_mono, .arg = f};
	f->base = event_base_new();
	core_start(f);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int gw_fixture_teardown(void **state)
{
	struct gw_fixture *f = *state;

	gw_core_free(f->core);
	gw_identity_free(f->other);
	gw_settings_free(&f->settings);
	event_base_free(f->base);
	fake_clear();
	nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

void gw_fixture_restart(struct gw_fixture *f)
{
	gw_core_free(f->core);
	core_start(f);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

bool gw_fixture_wait(struct gw_fixture *f, const bool *done, unsigned int ms)
{
	bool late = false;
	struct event *ev = event_new(f->base, -1, 0, on_timeout, &late);

	gw_timer_set(ev, ms);
	while (!*done && !late)
		event_base_loop(f->base, EVLOOP_ONCE);
	event_free(ev);
	return *done;
}

void gw_fixture_run(struct gw_fixture *f, unsigned int ms)
{
	const bool never = false;

	gw_fixture_wait(f, &never, ms);
}

static size_t sign(struct gw_fixture *f, struct gw_identity *who, struct p2p_record *rec,
		   uint8_t *buf)
{
	size_t len = 0;

	rec->overlay = f->gw->overlay;
	memcpy(rec->pubkey, gw_identity_pubkey(who), sizeof(rec->pubkey));
	if (p2p_record_sign(rec, gw_identity_crypto(who), buf, P2P_RECORD_MAX, &len))
		abort();
	return len;
}

size_t gw_fixture_record(struct gw_fixture *f, struct gw_identity *who, const char *name,
			 const char *uri, bool tombstone, int64_t shift_ms, uint64_t epoch,
			 uint8_t *buf)
{
	struct p2p_record rec;

	memset(&rec, 0, sizeof(rec));
	rec.kind = P2P_RECORD_USER;
	rec.tombstone = tombstone;
	gw_record_key_user(f->gw, name, strlen(name), &rec.key);
	rec.order = gw_wall(f->gw) + (uint64_t)shift_ms;
	rec.expiry_ms = rec.order + 3600000;
	rec.epoch = epoch;
	if (!tombstone)
		p2p_record_add_uri(&rec, uri, strlen(uri));
	return sign(f, who, &rec, buf);
}

size_t gw_fixture_peer_record(struct gw_fixture *f, struct gw_identity *who, uint64_t epoch,
			      int64_t lease_ms, uint8_t *buf)
{
	static const char uri[] = "sip:192.0.2.2:5060;transport=udp";
	struct p2p_record rec;

	memset(&rec, 0, sizeof(rec));
	rec.kind = P2P_RECORD_PEER;
	gw_record_key_peer(f->gw, gw_identity_hit(who), &rec.key);
	rec.order = gw_wall(f->gw);
	rec.expiry_ms = rec.order + 3600000;
	rec.epoch = epoch;
	rec.lease_ms = gw_wall(f->gw) + (uint64_t)lease_ms;
	if (lease_ms < 0) { /* signed when the lease was still running */
		rec.order = rec.lease_ms - 1000;
		rec.expiry_ms = rec.order + 3600000;
	}
	p2p_record_add_uri(&rec, uri, strlen(uri));
	return sign(f, who, &rec, buf);
}
