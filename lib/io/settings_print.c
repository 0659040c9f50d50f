/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settings as a file that can be read again, and the manual's table of them. */
#include "lib/io/settings_impl.h"

#include <inttypes.h>
#include <string.h>

/* Lines have a longest length: what came from one without spaces must go back into one. */
static void text_print(const struct setting *row, const char *value, FILE *f)
{
	bool roomy = strlen(row->key) + strlen(value) < 160;

	fprintf(f, "%s%s%s\n", row->key, roomy ? " = " : "=", value);
}

static void row_print(const struct setting *row, const void *settings, FILE *f)
{
	const void *m = settings_cmember(row, settings);
	size_t i;

	switch (row->type) {
	case SETTING_INT:
		fprintf(f, "%s = %" PRId64 "\n", row->key, *(const int64_t *)m);
		break;
	case SETTING_BOOL:
		fprintf(f, "%s = %s\n", row->key, *(const bool *)m ? "yes" : "no");
		break;
	case SETTING_STRING:
		text_print(row, *(char *const *)m != NULL ? *(char *const *)m : "", f);
		break;
	case SETTING_ENUM:
		fprintf(f, "%s = %s\n", row->key, row->choices[*(const int *)m]);
		break;
	case SETTING_LIST: {
		const struct setting_list *list = m;

		if (list->n == 0)
			fprintf(f, "%s =\n", row->key);
		for (i = 0; i < list->n; i++)
			text_print(row, list->v[i], f);
		break;
	}
	}
}

/* Call for each section in order of first appearance, its rows in the table's order. */
static void each_section(const struct setting *table,
			 void (*begin)(const char *section, bool first, FILE *f),
			 void (*each)(const struct setting *row, const void *settings, FILE *f),
			 const void *settings, FILE *f)
{
	const struct setting *row, *r;

	for (row = table; row->section != NULL; row++) {
		for (r = table; strcmp(r->section, row->section) != 0; r++)
			;
		if (r != row)
			continue;
		begin(row->section, row == table, f);
		for (; r->section != NULL; r++) {
			if (strcmp(r->section, row->section) == 0)
				each(r, settings, f);
		}
	}
}

static void print_begin(const char *section, bool first, FILE *f)
{
	fprintf(f, "%s[%s]\n", first ? "" : "\n", section);
}

void settings_print(const struct setting *table, const void *settings, FILE *f)
{
	each_section(table, print_begin, row_print, settings, f);
}

static void manual_begin(const char *section, bool first, FILE *f)
{
	fprintf(f, "%s### [%s]\n\n| key | value | default | reload | meaning |\n",
		first ? "" : "\n", section);
	fprintf(f, "| --- | --- | --- | --- | --- |\n");
}

static void manual_row(const struct setting *row, const void *settings, FILE *f)
{
	int i;

	(void)settings;
	fprintf(f, "| `%s` | ", row->key);
	switch (row->type) {
	case SETTING_INT:
		fprintf(f, "%" PRId64 " to %" PRId64, row->min, row->max);
		break;
	case SETTING_BOOL:
		fprintf(f, "`yes` or `no`");
		break;
	case SETTING_STRING:
		fprintf(f, "text");
		if (row->max > 0)
			fprintf(f, ", at most %" PRId64 " bytes", row->max);
		break;
	case SETTING_ENUM:
		for (i = 0; row->choices[i] != NULL; i++)
			fprintf(f, "%s`%s`", i == 0 ? "" : ", ", row->choices[i]);
		break;
	case SETTING_LIST:
		fprintf(f, "list, at most %" PRId64 " values",
			row->max > 0 ? row->max : (int64_t)SETTINGS_LIST_MAX);
		break;
	}
	if (row->dflt != NULL && row->dflt[0] != '\0')
		fprintf(f, " | `%s` | ", row->dflt);
	else
		fprintf(f, " | %s | ",
			row->type == SETTING_STRING && row->min > 0 ? "must be set" : "");
	fprintf(f, "%s | %s |\n", row->reload ? "yes" : "", row->help != NULL ? row->help : "");
}

void settings_manual(const struct setting *table, FILE *f)
{
	each_section(table, manual_begin, manual_row, NULL, f);
}
