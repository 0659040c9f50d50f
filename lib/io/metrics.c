/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/io/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *type_text(enum metric_type type)
{
	return type == METRIC_COUNTER ? "counter" : "gauge";
}

static bool first_of_name(const struct metric *table, const struct metric *row)
{
	return row == table || strcmp(row[-1].name, row->name) != 0;
}

/* Prometheus' HELP text escapes backslash and line feed. */
static void help_print(const char *help, FILE *f)
{
	for (; help != NULL && *help != '\0'; help++) {
		if (*help == '\\')
			fputs("\\\\", f);
		else if (*help == '\n')
			fputs("\\n", f);
		else
			putc(*help, f);
	}
}

void metrics_print(const struct metric *table, const void *values, FILE *f)
{
	const struct metric *row;

	for (row = table; row->name != NULL; row++) {
		const uint64_t *v = (const uint64_t *)((const char *)values + row->offset);

		if (first_of_name(table, row)) {
			fprintf(f, "# HELP %s ", row->name);
			help_print(row->help, f);
			fprintf(f, "\n# TYPE %s %s\n", row->name, type_text(row->type));
		}
		if (row->labels != NULL)
			fprintf(f, "%s{%s} %" PRIu64 "\n", row->name, row->labels, *v);
		else
			fprintf(f, "%s %" PRIu64 "\n", row->name, *v);
	}
}

int metrics_text(const struct metric *table, const void *values, char **text, size_t *len)
{
	char *s = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&s, &n);
	int bad;

	if (f == NULL)
		return ENOMEM;
	metrics_print(table, values, f);
	bad = ferror(f);
	if (fclose(f) != 0 || bad || s == NULL) {
		free(s);
		return ENOMEM;
	}
	*text = s;
	*len = n;
	return 0;
}

void metrics_manual(const struct metric *table, FILE *f)
{
	const struct metric *row;

	fprintf(f, "| metric | kind | meaning |\n| --- | --- | --- |\n");
	for (row = table; row->name != NULL; row++) {
		if (row->labels != NULL)
			fprintf(f, "| `%s{%s}` | %s | %s |\n", row->name, row->labels,
				type_text(row->type), row->help);
		else
			fprintf(f, "| `%s` | %s | %s |\n", row->name, type_text(row->type),
				row->help);
	}
}

static bool name_valid(const char *s)
{
	if (*s >= '0' && *s <= '9')
		return false;
	return *s != '\0' && s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0';
}

int metrics_check(const struct metric *table, char *err, size_t errlen)
{
	static const char total[] = "_total";
	const size_t nt = sizeof(total) - 1;
	const struct metric *row, *r;

	for (row = table; row->name != NULL; row++) {
		size_t n = strlen(row->name);
		bool is_total = n > nt && strcmp(row->name + n - nt, total) == 0;

		if (!name_valid(row->name)) {
			snprintf(err, errlen, "%s: bad name", row->name);
			return EINVAL;
		}
		if (is_total != (row->type == METRIC_COUNTER)) {
			snprintf(err, errlen, "%s: a counter ends in _total, a gauge does not",
				 row->name);
			return EINVAL;
		}
		if (row->help == NULL || row->help[0] == '\0') {
			snprintf(err, errlen, "%s: no help", row->name);
			return EINVAL;
		}
		if (first_of_name(table, row)) {
			for (r = table; r < row; r++) {
				if (strcmp(r->name, row->name) == 0) {
					snprintf(err, errlen, "%s: rows apart", row->name);
					return EINVAL;
				}
			}
		} else if (row[-1].type != row->type || row->labels == NULL ||
			   row[-1].labels == NULL || strcmp(row->labels, row[-1].labels) == 0) {
			snprintf(err, errlen, "%s: rows that differ in type, or not in labels",
				 row->name);
			return EINVAL;
		}
	}
	return 0;
}
