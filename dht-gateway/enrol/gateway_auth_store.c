/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file: one line each, in hexadecimal, with a checksum: "R" and a record, "S" and a key that is
 * suspect, "O" and one of the secret before. It is appended to, and written anew when most of it is
 * old.
 *
 * A record's turn: due -> put -> read back -> another node has it: due again after
 * reput_interval_s; else after a while. */
#include "dht-gateway/enrol/gateway_auth_store.h"
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/gateway_state.h"
#include "lib/base/bytes.h"

#define FILE_NAME "enrolments"
/* mark, hexadecimal, checksum, and what is between */
#define LINE_MAX_LEN (2 + 2 * P2P_RECORD_MAX + 1 + 16 + 2)
/* Lines beyond twice the records before the file is written anew. */
#define SLACK 1024
#define WINDOW 16
#define PUT_TIMEOUT_MS 5000
#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 30000
#define IDLE_MS 60000

struct ident {
	uint8_t key[P2P_KEY_LEN];
	uint8_t id[8];
};

struct put;

struct held {
	struct gw_auth_held pub;
	TAILQ_ENTRY(held) due; /* in order of next_ms, nearly */
	uint64_t next_ms, retry_ms;
	uint64_t old_ms; /* mono; since when its key is that of the secret before; 0: it is not */
	struct put *put;
	bool ring;
	gw_auth_put_h *h;
	void *arg;
};

struct put {
	struct gw_auth_store *s;
	LIST_ENTRY(put) all;
	struct held *held; /* NULL: over */
	uint64_t order;
	struct event *timer;
	struct dht_op *op;
	bool pending; /* the engine will call on_put */
	bool seen;
};

TAILQ_HEAD(heads, held);

struct gw_auth_store {
	struct gw *gw;
	struct gw_map *map; /* by struct ident */
	struct heads due;
	struct event *timer;
	LIST_HEAD(, put) puts;
	unsigned int n_puts;
	FILE *file;
	uint64_t lines;
	bool closing;
};

static const struct p2p_hash_key checksum_key = {{0}};

static void arm(struct gw_auth_store *s);

static void ident_make(struct ident *i, const struct p2p_key *key, uint64_t id)
{
	memcpy(i->key, key->b, sizeof(i->key));
	p2p_put_be64(i->id, id);
}

static struct held *find(const struct gw_auth_store *s, const struct p2p_key *key, uint64_t id)
{
	struct ident i;

	ident_make(&i, key, id);
	return gw_map_peek(s->map, &i, sizeof(i));
}

/* --- the file --------------------------------------------------------------------------------- */

static int line_write(FILE *f, char mark, const void *bytes, size_t len)
{
	char text[LINE_MAX_LEN + 1];
	size_t n;

	text[0] = mark;
	text[1] = ' ';
	p2p_hex_print(text + 2, bytes, len);
	n = 2 + 2 * len;
	n += (size_t)snprintf(text + n, sizeof(text) - n, " %016" PRIx64 "\n",
			      p2p_hash(&checksum_key, text, n));
	return fwrite(text, 1, n, f) == n ? 0 : errno ? errno : EIO;
}

static int lines_sync(FILE *f)
{
	if (fflush(f) || fdatasync(fileno(f)))
		return errno;
	return 0;
}

struct writing {
	FILE *f;
	uint64_t lines;
	int err;
};

static void write_one(const void *key, size_t len, void *value, void *arg)
{
	const struct held *h = value;
	struct writing *w = arg;

	(void)key;
	(void)len;
	if (!w->err)
		w->err = line_write(w->f, 'R', h->pub.bytes, h->pub.len);
	if (!w->err && h->pub.suspect)
		w->err = line_write(w->f, 'S', h->pub.rec.key.b, sizeof(h->pub.rec.key.b));
	if (!w->err && h->old_ms)
		w->err = line_write(w->f, 'O', h->pub.rec.key.b, sizeof(h->pub.rec.key.b));
	w->lines += 1 + h->pub.suspect + (h->old_ms != 0);
}

/* The whole of it at one stroke. */
static int file_renew(struct gw_auth_store *s)
{
	struct writing w = {0};
	uint64_t cursor = 0;
	char tmp[PATH_MAX];
	int fd;

	if (snprintf(tmp, sizeof(tmp), "%s.new", gw_state_path(s->gw->state, FILE_NAME)) >=
	    (int)sizeof(tmp))
		return ENAMETOOLONG;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	w.f = fdopen(fd, "w");
	if (!w.f) {
		w.err = errno;
		close(fd);
		return w.err;
	}
	do
		gw_map_scan(s->map, &cursor, 4096, write_one, &w);
	while (cursor && !w.err);
	if (!w.err)
		w.err = lines_sync(w.f);
	if (!w.err && rename(tmp, gw_state_path(s->gw->state, FILE_NAME)))
		w.err = errno;
	if (w.err) {
		fclose(w.f);
		unlink(tmp);
		return w.err;
	}
	if (s->file)
		fclose(s->file);
	s->file = w.f;
	s->lines = w.lines;
	return 0;
}

static int file_add(struct gw_auth_store *s, char mark, const void *bytes, size_t len)
{
	int err = line_write(s->file, mark, bytes, len);

	if (!err)
		err = lines_sync(s->file);
	s->lines++;
	if (err)
		gw_warn_source(s->gw, "enrolments", 10, "%s: %s",
			       gw_state_path(s->gw->state, FILE_NAME), strerror(err));
	else if (s->lines > 2 * gw_map_count(s->map) + SLACK)
		err = file_renew(s);
	return err;
}

/* --- records ---------------------------------------------------------------------------------- */

static void held_drop(void *value, void *arg)
{
	struct gw_auth_store *s = arg;
	struct held *h = value;

	TAILQ_REMOVE(&s->due, h, due);
	free(h);
}

static int held_set(struct gw_auth_store *s, const struct p2p_record *rec,
		    const struct p2p_enrolment *en, const void *bytes, size_t len, struct held **hp)
{
	uint64_t id = p2p_enrolment_value_id(en, &s->gw->anchor->hit);
	struct held *h = find(s, &rec->key, id);
	struct ident i;
	int err, cmp;

	if (h) {
		cmp = p2p_record_cmp(&h->pub.rec, h->pub.bytes, h->pub.len, rec, bytes, len);
		*hp = h;
		/* one of the same order, signed again, is no older one */
		if (cmp >= 0)
			return h->pub.rec.order > rec->order ? ESTALE : EALREADY;
	} else {
		h = calloc(1, sizeof(*h));
		if (!h)
			return ENOMEM;
		ident_make(&i, &rec->key, id);
		err = gw_map_put(s->map, &i, sizeof(i), h);
		if (err) {
			free(h);
			return err;
		}
		TAILQ_INSERT_HEAD(&s->due, h, due);
	}
	h->pub.rec = *rec;
	h->pub.en = *en;
	h->pub.id = id;
	h->pub.suspect = h->pub.confirmed = false;
	h->pub.len = len;
	memcpy(h->pub.bytes, bytes, len);
	h->next_ms = h->retry_ms = 0;
	TAILQ_REMOVE(&s->due, h, due);
	TAILQ_INSERT_HEAD(&s->due, h, due);
	*hp = h;
	return 0;
}

int gw_auth_store_add(struct gw_auth_store *s, const struct p2p_record *rec,
		      const struct p2p_enrolment *en, const void *bytes, size_t len)
{
	struct held *h;
	int err = held_set(s, rec, en, bytes, len, &h);

	if (err == EALREADY && h->pub.suspect) {
		/* it was read again: what has changed is something else */
		h->pub.suspect = false;
		file_add(s, 'R', h->pub.bytes, h->pub.len);
	}
	if (err)
		return err;
	err = file_add(s, 'R', bytes, len);
	arm(s);
	return err;
}

const struct gw_auth_held *gw_auth_store_get(const struct gw_auth_store *s,
					     const struct p2p_key *key, uint64_t id)
{
	const struct held *h = find(s, key, id);

	return h && h->pub.rec.expiry_ms > gw_wall(s->gw) ? &h->pub : NULL;
}

void gw_auth_store_suspect(struct gw_auth_store *s, uint32_t prefix, bool all)
{
	struct held *h;

	TAILQ_FOREACH(h, &s->due, due) {
		if (h->pub.suspect || h->pub.en.subject == P2P_ENROLMENT_OVERLAY ||
		    (!all && p2p_be32(h->pub.rec.key.b) != prefix))
			continue;
		h->pub.suspect = true;
		file_add(s, 'S', h->pub.rec.key.b, sizeof(h->pub.rec.key.b));
	}
}

void gw_auth_store_rekey(struct gw_auth_store *s)
{
	struct held *h;
	int err;

	TAILQ_FOREACH(h, &s->due, due)
		if (!h->old_ms)
			h->old_ms = gw_mono(s->gw);
	err = file_renew(s);
	if (err)
		gw_warn_source(s->gw, "enrolments", 10, "%s: %s",
			       gw_state_path(s->gw->state, FILE_NAME), strerror(err));
}

/* --- putting ---------------------------------------------------------------------------------- */

static void put_free(struct put *p)
{
	LIST_REMOVE(p, all);
	event_free(p->timer);
	free(p);
}

static void tell(struct held *h, int err)
{
	gw_auth_put_h *told = h->h;
	void *arg = h->arg;

	h->h = NULL;
	if (told)
		told(err, arg);
}

/* p may be gone afterwards. */
static void put_end(struct put *p, int err)
{
	struct gw_auth_store *s = p->s;
	struct held *h = p->held;

	if (!h)
		return;
	p->held = NULL;
	h->put = NULL;
	s->n_puts--;
	event_del(p->timer);
	if (p->op && s->gw->dht)
		s->gw->dht_ops->cancel(s->gw->dht, p->op);
	p->op = NULL;
	TAILQ_REMOVE(&s->due, h, due);
	if (h->pub.rec.order != p->order) {
		/* a later one came meanwhile */
		h->next_ms = 0;
		TAILQ_INSERT_HEAD(&s->due, h, due);
	} else {
		h->pub.confirmed = !err;
		h->retry_ms = !err			       ? 0
			      : !h->retry_ms		       ? RETRY_MIN_MS
			      : h->retry_ms * 2 < RETRY_MAX_MS ? h->retry_ms * 2
							       : RETRY_MAX_MS;
		h->next_ms =
			gw_mono(s->gw) +
			(err ? h->retry_ms : (uint64_t)s->gw->settings->reput_interval_s * 1000);
		if (err)
			TAILQ_INSERT_HEAD(&s->due, h, due);
		else
			TAILQ_INSERT_TAIL(&s->due, h, due);
		tell(h, err);
	}
	if (!p->pending)
		put_free(p);
	arm(s);
}

static void on_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len,
		     bool here, void *arg)
{
	struct put *p = arg;
	struct p2p_record rec;

	if (here || !p->held || id != p->held->pub.id ||
	    !gw_record_read(p->s->gw, P2P_RECORD_ENROLMENT, key, &p->s->gw->anchor->hit, data, len,
			    &rec, NULL))
		return;
	p->seen = p->seen || rec.order >= p->order;
}

static void on_got(enum dht_verdict verdict, unsigned int nodes, void *arg)
{
	struct put *p = arg;

	(void)verdict;
	(void)nodes;
	p->op = NULL;
	put_end(p, p->seen ? 0 : EAGAIN);
}

static void on_put(int err, unsigned int nodes, void *arg)
{
	struct put *p = arg;
	struct gw *gw = p->s->gw;
	struct held *h = p->held;
	struct dht_stats st;

	(void)nodes;
	p->pending = false;
	if (!h || err == ECANCELED) {
		if (h) {
			h->put = NULL;
			p->s->n_puts--;
		}
		put_free(p);
		return;
	}
	if (err) {
		gw->dht_ops->stats(gw->dht, &st);
		put_end(p, st.alone ? 0 : err);
		return;
	}
	if (h->ring && h->pub.rec.order == p->order) {
		h->ring = false;
		gw->dht_ops->ring(gw->dht, h->pub.rec.key.b,
				  gw_record_bell_id(&gw->anchor->hit, p->order), h->pub.bytes,
				  h->pub.len);
	}
	if (gw->dht_ops->get(gw->dht, h->pub.rec.key.b, on_found, on_got, p, &p->op)) {
		p->op = NULL;
		put_end(p, EBUSY);
	}
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	put_end(arg, ETIMEDOUT);
}

static void put_start(struct gw_auth_store *s, struct held *h)
{
	struct gw *gw = s->gw;
	struct put *p = calloc(1, sizeof(*p));

	if (p)
		p->timer = event_new(gw->base, -1, 0, on_timeout, p);
	if (!p || !p->timer) {
		free(p);
		h->next_ms = gw_mono(gw) + RETRY_MAX_MS;
		return;
	}
	p->s = s;
	p->held = h;
	p->order = h->pub.rec.order;
	LIST_INSERT_HEAD(&s->puts, p, all);
	s->n_puts++;
	h->put = p;
	gw->metrics.enrolment_puts++;
	p->pending = true;
	gw_timer_set(p->timer, PUT_TIMEOUT_MS);
	if (gw->dht_ops->put(gw->dht, h->pub.rec.key.b, h->pub.id, h->pub.bytes, h->pub.len, on_put,
			     p)) {
		p->pending = false;
		put_end(p, EBUSY);
	}
}

/* What has expired, and whose expiry all peers see, is let go. */
static bool expired(const struct gw_auth_store *s, const struct held *h)
{
	if (!h->put && h->old_ms && gw_mono(s->gw) - h->old_ms > GW_SECRET_OVERLAP_MS)
		return true;
	return !h->put && h->pub.rec.expiry_ms + P2P_RECORD_FUTURE_MS < gw_wall(s->gw);
}

static void forget(struct gw_auth_store *s, struct held *h)
{
	struct ident i;

	tell(h, ENOENT);
	ident_make(&i, &h->pub.rec.key, h->pub.id);
	gw_map_del(s->map, &i, sizeof(i));
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	struct gw_auth_store *s = arg;
	struct gw *gw = s->gw;
	uint64_t now = gw_mono(gw);
	struct held *h, *next;
	struct dht_stats st;

	(void)fd;
	(void)what;
	if (gw->dht)
		gw->dht_ops->stats(gw->dht, &st);
	if (!gw->dht || !st.connected) {
		gw_timer_set(s->timer, RETRY_MIN_MS);
		return;
	}
	for (h = TAILQ_FIRST(&s->due); h && s->n_puts < WINDOW; h = next) {
		next = TAILQ_NEXT(h, due);
		if (expired(s, h))
			forget(s, h);
		/* what the authority has withdrawn or replaced since is not kept alive */
		else if (!h->put && h->next_ms <= now && !h->pub.suspect)
			put_start(s, h);
		/* those behind it come later, but for the few that are tried again */
		else if (!h->put && h->next_ms > now + RETRY_MAX_MS)
			break;
	}
	arm(s);
}

static void arm(struct gw_auth_store *s)
{
	uint64_t now = gw_mono(s->gw), due = now + IDLE_MS;
	const struct held *h;

	if (s->closing || !s->timer)
		return;
	if (s->n_puts >= WINDOW) {
		event_del(s->timer);
		return;
	}
	TAILQ_FOREACH(h, &s->due, due) {
		if (h->put || h->pub.suspect)
			continue;
		if (h->next_ms < due)
			due = h->next_ms;
		if (h->next_ms <= now || h->next_ms > now + RETRY_MAX_MS)
			break;
	}
	gw_timer_set(s->timer, due > now ? due - now : 0);
}

int gw_auth_store_put(struct gw_auth_store *s, const struct p2p_key *key, uint64_t id, bool ring,
		      gw_auth_put_h *handler, void *arg)
{
	struct held *h = find(s, key, id);

	if (!h)
		return ENOENT;
	if (h->h)
		return EBUSY;
	h->h = handler;
	h->arg = arg;
	h->ring = ring;
	h->next_ms = 0;
	TAILQ_REMOVE(&s->due, h, due);
	TAILQ_INSERT_HEAD(&s->due, h, due);
	arm(s);
	return 0;
}

void gw_auth_store_renew(struct gw_auth_store *s)
{
	struct held *h;

	if (!s)
		return;
	TAILQ_FOREACH(h, &s->due, due)
		h->next_ms = 0;
	arm(s);
}

/* --- the last life ---------------------------------------------------------------------------- */

static void load_record(struct gw_auth_store *s, const uint8_t *bytes, size_t len)
{
	struct gw *gw = s->gw;
	struct p2p_record_expect expect = {
		.overlay = &gw->overlay,
		.hit = &gw->anchor->hit,
		.kind = P2P_RECORD_ENROLMENT,
		.now_ms = gw_wall(gw),
	};
	struct p2p_enrolment en;
	struct p2p_record rec;
	struct held *h;

	if (p2p_record_check(&rec, NULL, bytes, len, &expect, gw->crypto) == P2P_RECORD_OK &&
	    p2p_enrolment_decode(&en, &rec) == P2P_RECORD_OK &&
	    held_set(s, &rec, &en, bytes, len, &h) == EALREADY)
		h->pub.suspect = false;
}

static void load_mark(struct gw_auth_store *s, char mark, const uint8_t *key)
{
	struct held *h;

	TAILQ_FOREACH(h, &s->due, due) {
		if (memcmp(h->pub.rec.key.b, key, P2P_KEY_LEN))
			continue;
		if (mark == 'S')
			h->pub.suspect = true;
		else
			h->old_ms = gw_mono(s->gw);
	}
}

static void load_line(struct gw_auth_store *s, const char *line, size_t len)
{
	uint8_t bytes[P2P_RECORD_MAX], sum[8];
	size_t n;

	if (len < 2 + 17 || line[1] != ' ' || line[len - 17] != ' ' ||
	    p2p_hex_parse(sum, sizeof(sum), line + len - 16, 16) ||
	    p2p_be64(sum) != p2p_hash(&checksum_key, line, len - 17))
		return;
	n = (len - 17 - 2) / 2;
	if (n > sizeof(bytes) || p2p_hex_parse(bytes, n, line + 2, len - 17 - 2))
		return;
	if (*line == 'R')
		load_record(s, bytes, n);
	else if ((*line == 'S' || *line == 'O') && n == P2P_KEY_LEN)
		load_mark(s, *line, bytes);
}

static int load(struct gw_auth_store *s)
{
	char line[LINE_MAX_LEN + 2];
	FILE *f = fopen(gw_state_path(s->gw->state, FILE_NAME), "re");

	if (!f)
		return errno == ENOENT ? 0 : errno;
	/* a line that is torn, or longer than any, fails its checksum */
	while (fgets(line, sizeof(line), f)) {
		size_t len = strlen(line);

		if (len && line[len - 1] == '\n')
			load_line(s, line, len - 1);
	}
	fclose(f);
	return 0;
}

int gw_auth_store_new(struct gw_auth_store **sp, struct gw *gw, char *err, size_t errlen)
{
	struct gw_auth_store *s = calloc(1, sizeof(*s));
	int ret = ENOMEM;

	if (!s)
		goto fail;
	s->gw = gw;
	TAILQ_INIT(&s->due);
	ret = gw_map_new(&s->map, (size_t)gw->settings->enrolments_max, false, held_drop, s);
	if (!ret)
		ret = load(s);
	if (!ret)
		ret = file_renew(s);
	if (!ret) {
		s->timer = event_new(gw->base, -1, 0, on_due, s);
		ret = s->timer ? 0 : ENOMEM;
	}
	if (ret)
		goto fail;
	arm(s);
	*sp = s;
	return 0;
fail:
	snprintf(err, errlen, "%s: %s", gw_state_path(gw->state, FILE_NAME), strerror(ret));
	gw_auth_store_free(s);
	return ret;
}

void gw_auth_store_free(struct gw_auth_store *s)
{
	struct held *h;

	if (!s)
		return;
	s->closing = true;
	while (!LIST_EMPTY(&s->puts)) {
		struct put *p = LIST_FIRST(&s->puts);

		if (p->op && s->gw->dht)
			s->gw->dht_ops->cancel(s->gw->dht, p->op);
		put_free(p);
	}
	TAILQ_FOREACH(h, &s->due, due)
		tell(h, ECANCELED);
	if (s->map)
		gw_map_free(s->map);
	if (s->file)
		fclose(s->file);
	if (s->timer)
		event_free(s->timer);
	free(s);
}

size_t gw_auth_store_count(const struct gw_auth_store *s)
{
	return s ? gw_map_count(s->map) : 0;
}

struct scan {
	void (*fn)(const struct gw_auth_held *held, void *arg);
	void *arg;
};

static void scan_one(const void *key, size_t len, void *value, void *arg)
{
	const struct held *h = value;
	struct scan *scan = arg;

	(void)key;
	(void)len;
	scan->fn(&h->pub, scan->arg);
}

void gw_auth_store_scan(const struct gw_auth_store *s, uint64_t *cursor, size_t count,
			void (*fn)(const struct gw_auth_held *held, void *arg), void *arg)
{
	struct scan scan = {.fn = fn, .arg = arg};

	gw_map_scan(s->map, cursor, count, scan_one, &scan);
}
