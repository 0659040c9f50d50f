/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Single settings: from text to the member of a struct, and from one struct to another. */
#include "lib/io/settings_impl.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

static const struct {
	const char *suffix, *text;
} units[] = {
	{"_ms", "milliseconds"},
	{"_us", "microseconds"},
	{"_s", "seconds"},
	{"_min", "minutes"},
	{"_h", "hours"},
	{"_bytes", "bytes"},
	{"_kb", "kilobytes"},
	{"_mb", "megabytes"},
	{"_bps", "bits per second"},
	{"_pps", "packets per second"},
};
#define N_UNITS (sizeof(units) / sizeof(units[0]))

/* Index of a key's unit, or -1. */
static int key_unit(const char *key)
{
	size_t len = strlen(key), i;

	for (i = 0; i < N_UNITS; i++) {
		size_t n = strlen(units[i].suffix);

		if (len > n && strcmp(key + len - n, units[i].suffix) == 0)
			return (int)i;
	}
	return -1;
}

size_t settings_key_stem(const char *key, int *unit)
{
	*unit = key_unit(key);
	return strlen(key) - (*unit >= 0 ? strlen(units[*unit].suffix) : 0);
}

static int parse_int(const struct setting *row, const char *value, int64_t *v, char *why, size_t n)
{
	const char *p = value;
	int unit = key_unit(row->key);
	long long x;
	char *end;

	if (*p == '-')
		p++;
	if (!isdigit((unsigned char)*p)) {
		snprintf(why, n, "'%s' is not a number", value);
		return EINVAL;
	}
	errno = 0;
	x = strtoll(value, &end, 10);
	if (*end != '\0') {
		if (unit >= 0)
			snprintf(why, n, "'%s' is not a number of %s (the unit is in the key)",
				 value, units[unit].text);
		else
			snprintf(why, n, "'%s' is not a number", value);
		return EINVAL;
	}
	if (errno != 0 || x < row->min || x > row->max) {
		snprintf(why, n, "%s is not within %" PRId64 " to %" PRId64 "%s%s", value, row->min,
			 row->max, unit >= 0 ? " " : "", unit >= 0 ? units[unit].text : "");
		return EINVAL;
	}
	*v = x;
	return 0;
}

static void list_free(struct setting_list *list)
{
	size_t i;

	for (i = 0; i < list->n; i++)
		free(list->v[i]);
	free(list->v);
	list->v = NULL;
	list->n = 0;
}

/* After a space, ';' begins a comment; without one it would begin a value, which no reader expects
 * and settings_print could not write. */
static bool starts_comment(const char *value, char *why, size_t n)
{
	if (value[0] != ';')
		return false;
	snprintf(why, n, "a value cannot begin with ';'");
	return true;
}

static int list_add(const struct setting *row, struct setting_list *list, const char *s, size_t len,
		    char *why, size_t n)
{
	size_t max = row->max > 0 ? (size_t)row->max : SETTINGS_LIST_MAX;
	char **v, *copy;

	if (list->n >= max) {
		snprintf(why, n, "more than %zu values", max);
		return EINVAL;
	}
	if (starts_comment(s, why, n))
		return EINVAL;
	copy = strndup(s, len);
	v = realloc(list->v, (list->n + 1) * sizeof(*v));
	if (v != NULL)
		list->v = v;
	if (copy == NULL || v == NULL) {
		free(copy);
		snprintf(why, n, "out of memory");
		return ENOMEM;
	}
	list->v[list->n++] = copy;
	return 0;
}

/* Values separated by commas; none at all when there is only space. */
static int list_parse(const struct setting *row, struct setting_list *list, const char *value,
		      char *why, size_t n)
{
	const char *p = value;
	int err;

	if (value[strspn(value, " \t")] == '\0')
		return 0;
	for (;;) {
		size_t len;
		const char *end;

		p += strspn(p, " \t");
		end = p + strcspn(p, ",");
		for (len = (size_t)(end - p); len > 0 && strchr(" \t", p[len - 1]) != NULL;)
			len--;
		if (len == 0) {
			snprintf(why, n, "an empty value between commas");
			return EINVAL;
		}
		err = list_add(row, list, p, len, why, n);
		if (err != 0)
			return err;
		if (*end == '\0')
			return 0;
		p = end + 1;
	}
}

int settings_value_set(const struct setting *row, void *settings, const char *value, bool again,
		       char *why, size_t n)
{
	void *m = settings_member(row, settings);
	int i;

	switch (row->type) {
	case SETTING_INT:
		return parse_int(row, value, m, why, n);
	case SETTING_BOOL:
		if (strcmp(value, "yes") == 0 || strcmp(value, "no") == 0) {
			*(bool *)m = value[0] == 'y';
			return 0;
		}
		snprintf(why, n, "'%s' is neither yes nor no", value);
		return EINVAL;
	case SETTING_STRING: {
		size_t len = strlen(value);
		char *copy;

		if (starts_comment(value, why, n))
			return EINVAL;
		if (row->min > 0 && len == 0) {
			snprintf(why, n, "must not be empty");
			return EINVAL;
		}
		if (len < (size_t)row->min || (row->max > 0 && len > (size_t)row->max)) {
			snprintf(why, n, "%zu bytes long, not within %" PRId64 " to %" PRId64, len,
				 row->min, row->max);
			return EINVAL;
		}
		copy = strdup(value);
		if (copy == NULL) {
			snprintf(why, n, "out of memory");
			return ENOMEM;
		}
		free(*(char **)m);
		*(char **)m = copy;
		return 0;
	}
	case SETTING_ENUM: {
		struct p2p_text t;

		for (i = 0; row->choices[i] != NULL; i++) {
			if (strcmp(row->choices[i], value) == 0) {
				*(int *)m = i;
				return 0;
			}
		}
		p2p_text_init(&t, why, n);
		p2p_text_add(&t, "'%s' is none of", value);
		for (i = 0; row->choices[i] != NULL; i++)
			p2p_text_add(&t, "%s %s", i > 0 ? "," : "", row->choices[i]);
		return EINVAL;
	}
	case SETTING_LIST:
		if (!again)
			list_free(m);
		return list_parse(row, m, value, why, n);
	}
	snprintf(why, n, "bad table");
	return EINVAL;
}

int settings_value_default(const struct setting *row, void *settings, char *why, size_t n)
{
	struct setting any = *row;

	if (row->dflt == NULL) {
		if (row->type == SETTING_INT || row->type == SETTING_BOOL ||
		    row->type == SETTING_ENUM)
			return 0; /* zeroed */
		any.min = 0;
		return settings_value_set(&any, settings, "", false, why, n);
	}
	return settings_value_set(row, settings, row->dflt, false, why, n);
}

void settings_free(const struct setting *table, void *settings)
{
	const struct setting *row;

	for (row = table; row->section != NULL; row++) {
		void *m = settings_member(row, settings);

		if (row->type == SETTING_STRING) {
			free(*(char **)m);
			*(char **)m = NULL;
		} else if (row->type == SETTING_LIST) {
			list_free(m);
		}
	}
}

static bool list_same(const struct setting_list *a, const struct setting_list *b)
{
	size_t i;

	if (a->n != b->n)
		return false;
	for (i = 0; i < a->n; i++) {
		if (strcmp(a->v[i], b->v[i]) != 0)
			return false;
	}
	return true;
}

#define SWAP(type, a, b)                                                                           \
	do {                                                                                       \
		type tmp_ = *(type *)(a);                                                          \
		*(type *)(a) = *(type *)(b);                                                       \
		*(type *)(b) = tmp_;                                                               \
	} while (0)

void settings_reload(const struct setting *table, void *settings, void *fresh,
		     void (*changed)(const struct setting *row, bool applied, void *arg), void *arg)
{
	const struct setting *row;

	for (row = table; row->section != NULL; row++) {
		void *a = settings_member(row, settings), *b = settings_member(row, fresh);
		bool same = true;

		switch (row->type) {
		case SETTING_INT:
			same = *(int64_t *)a == *(int64_t *)b;
			if (row->reload)
				SWAP(int64_t, a, b);
			break;
		case SETTING_BOOL:
			same = *(bool *)a == *(bool *)b;
			if (row->reload)
				SWAP(bool, a, b);
			break;
		case SETTING_ENUM:
			same = *(int *)a == *(int *)b;
			if (row->reload)
				SWAP(int, a, b);
			break;
		case SETTING_STRING:
			same = strcmp(*(char **)a, *(char **)b) == 0;
			if (row->reload && !same)
				SWAP(char *, a, b);
			break;
		case SETTING_LIST:
			same = list_same(a, b);
			if (row->reload && !same)
				SWAP(struct setting_list, a, b);
			break;
		}
		if (!same && changed != NULL)
			changed(row, row->reload, arg);
	}
}
