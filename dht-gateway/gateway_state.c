/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/gateway_state.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "dht-gateway/gateway.h"
#include "dht-gateway/keys/gateway_file.h"
#include "dht-gateway/gateway_map.h"
#include "lib/base/bytes.h"
#include "lib/proto/name.h"

/* A line: mark, Kamailio's id (16 digits), name in hexadecimal, instances (8 digits each, or "-"),
 * and a checksum (16 digits): a torn or damaged line is told from a whole one. */
#define LINE_MAX_LEN (2 + 17 + 2 * P2P_NAME_MAX + 1 + 8 * P2P_CANDIDATE_INSTANCES_MAX + 1 + 17 + 1)
#define JOURNAL "users.journal"
/* lines beyond twice the users before the journal is written anew */
#define SLACK 4096
/* After it could not be: not again before (a disk that is full is not emptied by trying). */
#define COMPACT_RETRY_MS 60000

struct gw_state {
	struct gw *gw;
	char *dir;
	char path[PATH_MAX];
	bool is_new;
	int lock_fd;
	FILE *journal;
	bool torn; /* it does not end with a line's end: the next line begins with one */
	bool compacting;
	int compact_err;
	FILE *next;
	uint64_t lines, lines_before; /* of the journal; of the one that compacting replaces */
	uint64_t compact_ms;	      /* mono: not compacted before */
	bool failed;		      /* said so already */
};

static const struct p2p_hash_key checksum_key = {{0}};

const char *gw_state_path(struct gw_state *s, const char *name)
{
	snprintf(s->path, sizeof(s->path), "%s/%s", s->dir, name);
	return s->path;
}

static int epoch_write(struct gw_state *s, uint64_t epoch)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%" PRIu64 "\n", epoch);
	int err = gw_file_replace(gw_state_path(s, "epoch"), text, (size_t)n);

	if (!err)
		s->gw->epoch = epoch;
	return err;
}

int gw_state_epoch_new(struct gw_state *s, uint64_t at_least)
{
	uint64_t epoch = gw_wall(s->gw);

	if (epoch <= s->gw->epoch)
		epoch = s->gw->epoch + 1;
	return epoch_write(s, epoch < at_least ? at_least : epoch);
}

static int epoch_load(struct gw_state *s, uint64_t *epoch)
{
	char text[32];
	size_t len;
	int err = gw_file_read(gw_state_path(s, "epoch"), text, sizeof(text), &len);

	if (err)
		return err;
	if (len && text[len - 1] == '\n')
		len--;
	err = p2p_u64_parse(epoch, text, len);
	return err ? err : *epoch ? 0 : EINVAL;
}

/* What a crash, or a full disk, left without its line's end. */
static bool torn(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool yes = false;
	char last;

	if (fd < 0)
		return false;
	if (lseek(fd, -1, SEEK_END) >= 0)
		yes = read(fd, &last, 1) == 1 && last != '\n';
	close(fd);
	return yes;
}

int gw_state_open(struct gw_state **sp, struct gw *gw, const char *dir, char *err, size_t errlen)
{
	struct gw_state *s = calloc(1, sizeof(*s));
	uint64_t epoch = 0;
	int ret;

	if (!s || strlen(dir) > PATH_MAX - 64) {
		free(s);
		snprintf(err, errlen, "%s: %s", dir, strerror(s ? ENAMETOOLONG : ENOMEM));
		return s ? ENAMETOOLONG : ENOMEM;
	}
	s->gw = gw;
	s->lock_fd = -1;
	s->dir = strdup(dir);
	if (!s->dir) {
		ret = ENOMEM;
		goto fail;
	}
	ret = gw_file_mkdir(dir);
	if (ret)
		goto fail;
	s->lock_fd =
		open(gw_state_path(s, "lock"), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0) {
		ret = errno;
		goto fail;
	}
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB)) {
		ret = errno == EWOULDBLOCK ? EBUSY : errno;
		snprintf(err, errlen, "%s: %s", dir,
			 ret == EBUSY ? "another gateway is using it" : strerror(ret));
		gw_state_close(s);
		return ret;
	}
	/* the journal is made before the epoch: where it is missing, state was lost */
	s->is_new = epoch_load(s, &epoch) || access(gw_state_path(s, JOURNAL), F_OK);
	if (s->is_new) {
		gw->epoch = epoch;
		ret = gw_file_replace(gw_state_path(s, JOURNAL), "", 0);
		if (!ret)
			ret = gw_state_epoch_new(s, 0);
		if (ret)
			goto fail;
	} else {
		gw->epoch = epoch;
	}
	s->torn = torn(gw_state_path(s, JOURNAL));
	s->journal = fopen(gw_state_path(s, JOURNAL), "ae");
	if (!s->journal) {
		ret = errno;
		goto fail;
	}
	*sp = s;
	return 0;
fail:
	snprintf(err, errlen, "%s: %s", dir, strerror(ret));
	gw_state_close(s);
	return ret;
}

void gw_state_close(struct gw_state *s)
{
	if (!s)
		return;
	if (s->next)
		fclose(s->next);
	if (s->journal)
		fclose(s->journal);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s->dir);
	free(s);
}

bool gw_state_is_new(const struct gw_state *s)
{
	return s->is_new;
}

struct user {
	enum gw_state_mark mark;
	uint64_t kamailio;
	size_t n;
	uint32_t instance[P2P_CANDIDATE_INSTANCES_MAX];
};

/* 0, or EBADMSG: a damaged line. */
static int line_parse(char *line, struct user *u, char name[P2P_NAME_MAX + 1], size_t *len)
{
	char *sum = strrchr(line, ' '), *kamailio, *hex, *inst, *save = NULL;
	uint8_t raw[8];

	if (!sum || p2p_hex_parse(raw, 8, sum + 1, strlen(sum + 1)) ||
	    p2p_be64(raw) != p2p_hash(&checksum_key, line, (size_t)(sum - line)))
		return EBADMSG;
	*sum = 0;
	if (line[0] != GW_STATE_USER && line[0] != GW_STATE_WITHDRAWN && line[0] != GW_STATE_GONE)
		return EBADMSG;
	u->mark = (enum gw_state_mark)line[0];
	strtok_r(line, " ", &save);
	kamailio = strtok_r(NULL, " ", &save);
	hex = strtok_r(NULL, " ", &save);
	inst = strtok_r(NULL, " ", &save);
	if (!inst || p2p_hex_parse(raw, 8, kamailio, strlen(kamailio)) ||
	    strlen(hex) > 2 * P2P_NAME_MAX || strlen(hex) % 2 ||
	    p2p_hex_parse(name, strlen(hex) / 2, hex, strlen(hex)))
		return EBADMSG;
	*len = strlen(hex) / 2;
	name[*len] = 0;
	u->kamailio = p2p_be64(raw);
	for (u->n = 0; *inst != '-' && u->n < P2P_CANDIDATE_INSTANCES_MAX && strlen(inst) >= 8;
	     inst += 8) {
		if (p2p_hex_parse(raw, 4, inst, 8))
			return EBADMSG;
		u->instance[u->n++] = p2p_be32(raw);
	}
	return p2p_name_valid(name, *len) ? 0 : EBADMSG;
}

static void drop_user(void *value, void *arg)
{
	(void)arg;
	free(value);
}

struct tell {
	void (*fn)(enum gw_state_mark mark, const char *name, size_t len, uint64_t kamailio,
		   const uint32_t *instances, size_t n, void *arg);
	void *arg;
};

static void tell_user(const void *key, size_t len, void *value, void *arg)
{
	const struct user *u = value;
	struct tell *t = arg;

	t->fn(u->mark, key, len, u->kamailio, u->instance, u->n, t->arg);
}

int gw_state_users_load(struct gw_state *s,
			void (*fn)(enum gw_state_mark mark, const char *name, size_t len,
				   uint64_t kamailio, const uint32_t *instances, size_t n,
				   void *arg),
			void *arg)
{
	char line[LINE_MAX_LEN + 2], name[P2P_NAME_MAX + 1];
	FILE *f = fopen(gw_state_path(s, JOURNAL), "re");
	struct tell tell = {.fn = fn, .arg = arg};
	struct gw_map *users = NULL;
	unsigned int bad = 0;
	uint64_t cursor = 0;
	int err;

	if (!f)
		return errno;
	err = gw_map_new(&users, (size_t)s->gw->settings->users_max * 2, false, drop_user, NULL);
	if (err)
		goto out;
	while (fgets(line, sizeof(line), f)) {
		struct user u = {0};
		size_t n = strlen(line), len;
		struct user *copy;

		s->lines++;
		if (n && line[n - 1] == '\n')
			line[--n] = 0;
		if (!n)
			continue;
		if (line_parse(line, &u, name, &len)) {
			bad++;
			continue;
		}
		if (u.mark == GW_STATE_GONE) {
			gw_map_del(users, name, len);
			continue;
		}
		copy = malloc(sizeof(*copy));
		if (!copy) {
			err = ENOMEM;
			goto out;
		}
		*copy = u;
		err = gw_map_put(users, name, len, copy);
		if (err) {
			free(copy);
			goto out;
		}
	}
	if (bad)
		p2p_log(s->gw->log, P2P_LOG_WARN, "%s: %u damaged lines were left out",
			gw_state_path(s, JOURNAL), bad);
	gw_map_scan(users, &cursor, SIZE_MAX, tell_user, &tell);
out:
	gw_map_free(users);
	fclose(f);
	return err;
}

void gw_state_user(struct gw_state *s, enum gw_state_mark mark, const char *name, size_t len,
		   uint64_t kamailio, const uint32_t *instances, size_t n)
{
	char hex[2 * P2P_NAME_MAX + 1], line[LINE_MAX_LEN + 2] = "\n", sum[17];
	const bool begin = s->torn && !s->compacting;
	FILE *f = s->compacting ? s->next : s->journal;
	struct p2p_text t;
	uint8_t raw[8];

	if (len > P2P_NAME_MAX)
		return;
	p2p_hex_print(hex, name, len);
	p2p_text_init(&t, line + 1, sizeof(line) - 1);
	p2p_text_add(&t, "%c %016" PRIx64 " %s ", (char)mark, kamailio, hex);
	if (n > P2P_CANDIDATE_INSTANCES_MAX)
		n = P2P_CANDIDATE_INSTANCES_MAX;
	for (size_t i = 0; i < n; i++)
		p2p_text_add(&t, "%08" PRIx32, instances[i]);
	if (!n)
		p2p_text_add(&t, "-");
	p2p_put_be64(raw, p2p_hash(&checksum_key, t.s, t.len));
	p2p_hex_print(sum, raw, sizeof(raw));
	p2p_text_add(&t, " %s\n", sum);
	s->lines++;
	if (fwrite(begin ? line : line + 1, t.len + begin, 1, f) == 1 &&
	    (s->compacting || fflush(f) == 0)) {
		if (!s->compacting)
			s->failed = s->torn = false;
		return;
	}
	if (s->compacting) {
		s->compact_err = errno;
		return;
	}
	/* some of it may have been written */
	s->torn = true;
	if (!s->failed)
		p2p_log(s->gw->log, P2P_LOG_ERR, "%s: cannot be written: %s",
			gw_state_path(s, JOURNAL), strerror(errno));
	s->failed = true;
	clearerr(f);
}

bool gw_state_compact_due(const struct gw_state *s, size_t users)
{
	return s->lines > 2 * users + SLACK && gw_mono(s->gw) >= s->compact_ms;
}

int gw_state_compact_begin(struct gw_state *s)
{
	s->compact_ms = gw_mono(s->gw) + COMPACT_RETRY_MS;
	s->next = fopen(gw_state_path(s, JOURNAL ".new"), "we");
	if (!s->next)
		return errno;
	s->compacting = true;
	s->compact_err = 0;
	s->lines_before = s->lines;
	s->lines = 0;
	return 0;
}

int gw_state_compact_end(struct gw_state *s)
{
	char next[PATH_MAX];
	int err = s->compact_err;

	s->compacting = false;
	if (!err && (fflush(s->next) || fsync(fileno(s->next))))
		err = errno;
	snprintf(next, sizeof(next), "%s/" JOURNAL ".new", s->dir);
	if (!err && rename(next, gw_state_path(s, JOURNAL)))
		err = errno;
	if (err) {
		fclose(s->next);
		unlink(next);
		s->lines = s->lines_before;
	} else {
		fclose(s->journal);
		s->journal = s->next;
		s->torn = s->failed = false;
		s->compact_ms = 0;
	}
	s->next = NULL;
	return err;
}

unsigned int gw_state_uris_load(struct gw_state *s,
				char uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX])
{
	char text[P2P_CANDIDATE_URIS_MAX * (P2P_CANDIDATE_URI_MAX + 1) + 1], *save = NULL;
	unsigned int n = 0;
	size_t len;

	if (gw_file_read(gw_state_path(s, "uris"), text, sizeof(text), &len))
		return 0;
	for (char *p = strtok_r(text, "\n", &save); p && n < P2P_CANDIDATE_URIS_MAX;
	     p = strtok_r(NULL, "\n", &save)) {
		struct p2p_locator l;

		if (strlen(p) < P2P_CANDIDATE_URI_MAX && !p2p_locator_parse(&l, p, strlen(p)))
			strcpy(uri[n++], p);
	}
	return n;
}

void gw_state_uris_save(struct gw_state *s, char uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX],
			unsigned int n)
{
	char text[P2P_CANDIDATE_URIS_MAX * (P2P_CANDIDATE_URI_MAX + 1) + 1];
	struct p2p_text t;
	int err;

	p2p_text_init(&t, text, sizeof(text));
	for (unsigned int i = 0; i < n; i++)
		p2p_text_add(&t, "%s\n", uri[i]);
	err = gw_file_replace(gw_state_path(s, "uris"), text, t.len);
	if (err)
		p2p_log(s->gw->log, P2P_LOG_ERR, "%s: %s", gw_state_path(s, "uris"), strerror(err));
}
