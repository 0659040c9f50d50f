/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One line each, in hexadecimal, with a checksum: "R" and a record, "S" and a key that is suspect,
 * "O" and one of the secret before. It is appended to, and written anew when most of it is old. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "dht-gateway/enrol/gateway_auth_store_impl.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/gateway_state.h"
#include "dht-gateway/keys/gateway_authority.h"
#include "lib/base/bytes.h"

/* mark, hexadecimal, checksum, and what is between */
#define LINE_MAX_LEN (2 + 2 * P2P_RECORD_MAX + 1 + 16 + 2)
/* Lines beyond twice the records before the file is written anew. */
#define SLACK 1024

static const struct p2p_hash_key checksum_key = {{0}};

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
	const struct gw_auth_entry *h = value;
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

int gw_auth_store_file_renew(struct gw_auth_store *s)
{
	struct writing w = {0};
	uint64_t cursor = 0;
	char tmp[PATH_MAX];
	int fd;

	if (snprintf(tmp, sizeof(tmp), "%s.new", gw_state_path(s->gw->state, GW_AUTH_STORE_FILE)) >=
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
	if (!w.err && rename(tmp, gw_state_path(s->gw->state, GW_AUTH_STORE_FILE)))
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

int gw_auth_store_file_add(struct gw_auth_store *s, char mark, const void *bytes, size_t len)
{
	int err = line_write(s->file, mark, bytes, len);

	if (!err)
		err = lines_sync(s->file);
	s->lines++;
	if (err)
		gw_warn_source(s->gw, "enrolments", 10, "%s: %s",
			       gw_state_path(s->gw->state, GW_AUTH_STORE_FILE), strerror(err));
	else if (s->lines > 2 * gw_map_count(s->map) + SLACK)
		err = gw_auth_store_file_renew(s);
	return err;
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
	struct gw_auth_entry *h;

	if (p2p_record_check(&rec, NULL, bytes, len, &expect, gw->crypto) == P2P_RECORD_OK &&
	    p2p_enrolment_decode(&en, &rec) == P2P_RECORD_OK &&
	    gw_auth_store_set(s, &rec, &en, bytes, len, &h) == EALREADY)
		h->pub.suspect = false;
}

static void load_mark(struct gw_auth_store *s, char mark, const uint8_t *key)
{
	struct gw_auth_entry *h;

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

int gw_auth_store_file_load(struct gw_auth_store *s)
{
	char line[LINE_MAX_LEN + 2];
	FILE *f = fopen(gw_state_path(s->gw->state, GW_AUTH_STORE_FILE), "re");

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
