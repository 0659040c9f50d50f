/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A settings file: what is taken can be printed and loads to the same; what is refused has a reason
 * with a place. */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/io/settings.h"

struct conf {
	int64_t a_ms;
	bool b;
	char *c;
	int d;
	struct setting_list e;
};

static const char *const choices[] = {"one", "two", NULL};

#define AT(m) offsetof(struct conf, m)
static const struct setting table[] = {
	{"s", "a_ms", SETTING_INT, AT(a_ms), -5, 1000, "7", NULL, true, "a"},
	{"s", "b", SETTING_BOOL, AT(b), 0, 0, "yes", NULL, true, "b"},
	{"t", "c", SETTING_STRING, AT(c), 0, 30, "", NULL, true, "c"},
	{"t", "d", SETTING_ENUM, AT(d), 0, 0, "one", choices, true, "d"},
	{"t", "e", SETTING_LIST, AT(e), 0, 5, "x", NULL, true, "e"},
	{0},
};

static void path_of(int fd, char *path, size_t n)
{
	snprintf(path, n, "/proc/self/fd/%d", fd);
}

static void print(const struct conf *c, char *text, size_t cap)
{
	FILE *f = fmemopen(text, cap, "w");

	must(f != NULL);
	settings_print(table, c, f);
	must(fclose(f) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char first[8192], second[8192];
	struct conf c = {0}, again = {0};
	char path[64], err[600];
	int fd = memfd_create("settings", MFD_CLOEXEC), rc;

	must(fd >= 0 && (size == 0 || write(fd, data, size) == (ssize_t)size));
	path_of(fd, path, sizeof(path));
	rc = settings_load(table, &c, path, err, sizeof(err));
	if (rc != 0) {
		must(strncmp(err, path, strlen(path)) == 0 && err[strlen(path)] == ':');
		must(c.c == NULL && c.e.v == NULL);
		close(fd);
		return 0;
	}
	must(c.a_ms >= -5 && c.a_ms <= 1000 && c.d >= 0 && c.d <= 1 && c.e.n <= 5);
	print(&c, first, sizeof(first));
	must(ftruncate(fd, 0) == 0);
	must(pwrite(fd, first, strlen(first), 0) == (ssize_t)strlen(first));
	rc = settings_load(table, &again, path, err, sizeof(err));
	if (rc != 0)
		fprintf(stderr, "%s\n%s\n", err, first);
	must(rc == 0);
	print(&again, second, sizeof(second));
	must(strcmp(first, second) == 0);
	settings_free(table, &c);
	settings_free(table, &again);
	close(fd);
	return 0;
}
