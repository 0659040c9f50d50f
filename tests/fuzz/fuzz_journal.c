/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal of users, as a crash, a full disk or somebody's hand left it: what is read of it is
 * well formed, what is appended to it is read the next time and takes nothing away, and written
 * anew it reads the same. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "dht-gateway/gateway.h"
#include "dht-gateway/gateway_state.h"
#include "lib/base/hash.h"

#define NAME "appended"
#define KAMAILIO 0x1234u

static char dir[64];

struct seen {
	unsigned int n;
	bool appended;
	uint64_t sum; /* of the others, in any order */
	struct gw_state *to;
};

static void seen_h(enum gw_state_mark mark, const char *name, size_t len, uint64_t kamailio,
		   const uint32_t *instances, size_t n, void *arg)
{
	static const struct p2p_hash_key key = {{0}};
	struct seen *s = arg;
	uint64_t part[4];

	must(mark == GW_STATE_USER || mark == GW_STATE_WITHDRAWN);
	must(p2p_name_valid(name, len) && n <= P2P_CANDIDATE_INSTANCES_MAX);
	if (s->to != NULL)
		gw_state_user(s->to, mark, name, len, kamailio, instances, n);
	if (len == strlen(NAME) && memcmp(name, NAME, len) == 0) {
		s->appended = mark == GW_STATE_USER && kamailio == KAMAILIO && n == 1 &&
			      instances[0] == 7;
		return;
	}
	s->n++;
	part[0] = (uint64_t)mark;
	part[1] = kamailio;
	part[2] = p2p_hash(&key, name, len);
	part[3] = p2p_hash(&key, instances, n * sizeof(*instances));
	s->sum += p2p_hash(&key, part, sizeof(part));
}

static struct gw_state *state_open(struct gw *gw)
{
	struct gw_state *s = NULL;
	char err[256] = "";
	int rc = gw_state_open(&s, gw, dir, err, sizeof(err));

	if (rc != 0)
		fprintf(stderr, "%s\n", err);
	must(rc == 0);
	return s;
}

static struct seen load(struct gw_state *s)
{
	struct seen seen = {0};

	must(gw_state_users_load(s, seen_h, &seen) == 0);
	return seen;
}

static void dir_remove(void)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL)
		closedir(d);
	rmdir(dir);
}

static void dir_make(void)
{
	/* in memory where there is such a place: it is brought to the disk each time */
	strcpy(dir, "/dev/shm/fuzz_journal.XXXXXX");
	if (mkdtemp(dir) == NULL) {
		strcpy(dir, "/tmp/fuzz_journal.XXXXXX");
		must(mkdtemp(dir) != NULL);
	}
	must(atexit(dir_remove) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t instance = 7;
	struct gw_settings settings = {.users_max = 1000};
	struct gw gw = {.settings = &settings, .clock = &p2p_clock_system};
	struct seen before, after, again, copied = {0};
	struct gw_state *s;
	int fd;

	if (dir[0] == '\0')
		dir_make();
	s = state_open(
		&gw); /* makes an epoch and a journal, so that the next start is no new one */
	fd = open(gw_state_path(s, "users.journal"), O_WRONLY | O_TRUNC | O_CLOEXEC);
	must(fd >= 0 && (size == 0 || write(fd, data, size) == (ssize_t)size));
	close(fd);
	gw_state_close(s);

	s = state_open(&gw);
	must(!gw_state_is_new(s));
	before = load(s);
	gw_state_user(s, GW_STATE_USER, NAME, strlen(NAME), KAMAILIO, &instance, 1);
	gw_state_close(s);

	s = state_open(&gw);
	after = load(s);
	must(after.appended && after.n == before.n && after.sum == before.sum);
	must(gw_state_compact_begin(s) == 0);
	copied.to = s;
	must(gw_state_users_load(s, seen_h, &copied) == 0);
	must(gw_state_compact_end(s) == 0);
	gw_state_close(s);

	s = state_open(&gw);
	again = load(s);
	must(again.appended && again.n == before.n && again.sum == before.sum);
	gw_state_close(s);
	return 0;
}
