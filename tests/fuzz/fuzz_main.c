/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Run a fuzzer's inputs without libFuzzer: the files given, or those in the folders given; and each
 * of them cut short at every length and with single bits flipped, which costs little and finds what
 * a corpus alone does not. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (1u << 20)
/* Variants of one input, so that a large one does not take long */
#define CUTS_MAX 512
#define FLIPS_MAX 2048

static unsigned long runs;

/* A copy of exactly its size, so that ASan sees a read past the end. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size != 0 ? size : 1);

	must(copy != NULL);
	if (size != 0)
		memcpy(copy, data, size);
	(void)LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	runs++;
}

static void run_variants(uint8_t *data, size_t size)
{
	size_t step, i;

	run(data, size);
	step = size / CUTS_MAX + 1;
	for (i = 0; i < size; i += step)
		run(data, i);
	step = 8 * size / FLIPS_MAX + 1;
	for (i = 0; i < 8 * size; i += step) {
		data[i / 8] ^= (uint8_t)(1u << i % 8);
		run(data, size);
		data[i / 8] ^= (uint8_t)(1u << i % 8);
	}
}

static int run_file(const char *path)
{
	static uint8_t data[INPUT_MAX];
	FILE *f = fopen(path, "rb");
	size_t size;

	if (f == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 1;
	}
	size = fread(data, 1, sizeof(data), f);
	fclose(f);
	run_variants(data, size);
	return 0;
}

static int run_path(const char *path)
{
	char name[4096];
	struct dirent *e;
	struct stat st;
	int bad = 0, n = 0;
	DIR *dir;

	if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
		return run_file(path);
	dir = opendir(path);
	if (dir == NULL)
		return 1;
	while ((e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		bad |= run_file(name);
		n++;
	}
	closedir(dir);
	if (n == 0) {
		fprintf(stderr, "%s: empty\n", path);
		return 1;
	}
	return bad;
}

int main(int argc, char **argv)
{
	uint8_t none = 0;
	int i, bad = 0;

	run(&none, 0);
	for (i = 1; i < argc; i++)
		bad |= run_path(argv[i]);
	printf("%s: %lu inputs\n", argv[0], runs);
	return bad;
}
