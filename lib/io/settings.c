/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settings: see settings.h. inih splits the lines; what it is handed, and in what order, is kept
 * under control here, so that every error has its line: lines are stripped of leading space (an
 * indented line is no continuation), and one that is too long for inih, or binary, is an error
 * rather than two lines. */
#include "lib/io/settings.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

#include "lib/base/bytes.h"

/* Debian's libinih can be asked to tell the line too; it is counted here in any case. */
#if INI_HANDLER_LINENO
#define AND_LINENO , int lineno_
#define UNUSED_LINENO (void)lineno_
#else
#define AND_LINENO
#define UNUSED_LINENO (void)0
#endif

struct load {
	const struct setting *table;
	void *settings;
	const char *path;
	FILE *f;
	unsigned int line;
	unsigned char *seen; /* per row: set in this file */
	unsigned int *seen_line;
	unsigned int err_line;
	bool quiet; /* only looking: sections need not be known */
	int err;
	char *msg;
	size_t msglen;
};

static void *member(const struct setting *row, void *settings)
{
	return (char *)settings + row->offset;
}

static const void *cmember(const struct setting *row, const void *settings)
{
	return (const char *)settings + row->offset;
}

static void fail(struct load *l, unsigned int line, int err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* The first error counts. */
static void fail(struct load *l, unsigned int line, int err, const char *fmt, ...)
{
	struct p2p_text t;
	char why[512];
	va_list ap;

	if (l->err != 0)
		return;
	l->err = err;
	l->err_line = line;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (l->msglen == 0)
		return;
	p2p_text_init(&t, l->msg, l->msglen);
	if (line > 0)
		p2p_text_add(&t, "%s:%u: %s", l->path, line, why);
	else
		p2p_text_add(&t, "%s: %s", l->path, why);
}

/* --- values ----------------------------------------------------------------------------------- */

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

/* Set one member from text. again: a list that goes on from an earlier line of the file. */
static int value_set(const struct setting *row, void *settings, const char *value, bool again,
		     char *why, size_t n)
{
	void *m = member(row, settings);
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

/* Defaults. A string that must be set has none, and is empty until then. */
static int default_set(const struct setting *row, void *settings, char *why, size_t n)
{
	struct setting any = *row;

	if (row->dflt == NULL) {
		if (row->type == SETTING_INT || row->type == SETTING_BOOL ||
		    row->type == SETTING_ENUM)
			return 0; /* zeroed */
		any.min = 0;
		return value_set(&any, settings, "", false, why, n);
	}
	return value_set(row, settings, row->dflt, false, why, n);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* The same key but for its unit, in the same section. */
static const struct setting *row_other_unit(const struct load *l, const char *section,
					    const char *key)
{
	const struct setting *row;
	int u = key_unit(key);
	size_t stem = strlen(key) - (u >= 0 ? strlen(units[u].suffix) : 0);

	for (row = l->table; row->section != NULL; row++) {
		int ru = key_unit(row->key);
		size_t rstem = strlen(row->key) - (ru >= 0 ? strlen(units[ru].suffix) : 0);

		if (ru >= 0 && ru != u && rstem == stem && strcmp(row->section, section) == 0 &&
		    strncmp(row->key, key, stem) == 0)
			return row;
	}
	return NULL;
}

static bool section_known(const struct load *l, const char *section)
{
	const struct setting *row;

	for (row = l->table; row->section != NULL; row++) {
		if (strcmp(row->section, section) == 0)
			return true;
	}
	return false;
}

static int value_h(void *user, const char *section, const char *key, const char *value AND_LINENO)
{
	struct load *l = user;
	const struct setting *row, *other;
	char why[400] = "";
	size_t i;
	int err;

	UNUSED_LINENO;
	if (l->err != 0)
		return 0;
	for (row = l->table; row->section != NULL; row++) {
		if (strcmp(row->section, section) == 0 && strcmp(row->key, key) == 0)
			break;
	}
	if (row->section == NULL) {
		other = row_other_unit(l, section, key);
		if (section[0] == '\0')
			fail(l, l->line, EINVAL, "key '%s' before any [section]", key);
		else if (!section_known(l, section))
			fail(l, l->line, EINVAL, "unknown section [%s]", section);
		else if (other != NULL)
			fail(l, l->line, EINVAL, "[%s] unknown key '%s' (wrong unit? it is '%s')",
			     section, key, other->key);
		else
			fail(l, l->line, EINVAL, "[%s] unknown key '%s'", section, key);
		return 0;
	}
	i = (size_t)(row - l->table);
	if (l->seen[i] && row->type != SETTING_LIST) {
		fail(l, l->line, EINVAL, "[%s] '%s' was already set on line %u", section, key,
		     l->seen_line[i]);
		return 0;
	}
	err = value_set(row, l->settings, value, l->seen[i], why, sizeof(why));
	if (err != 0) {
		fail(l, l->line, err, "[%s] %s: %s", section, key, why);
		return 0;
	}
	if (!l->seen[i])
		l->seen_line[i] = l->line;
	l->seen[i] = 1;
	return 1;
}

/* inih asks only for sections that have keys; one that is unknown and empty is a mistake too. */
static void section_check(struct load *l, const char *line)
{
	const char *end = strchr(line, ']');
	char name[64];
	size_t len;

	if (end == NULL) {
		fail(l, l->line, EINVAL, "a section's name ends with ']'");
		return;
	}
	len = (size_t)(end - line) - 1;
	if (len >= sizeof(name))
		len = sizeof(name) - 1;
	memcpy(name, line + 1, len);
	name[len] = '\0';
	end++;
	end += strspn(end, " \t\r\n");
	if (*end != '\0' && *end != ';' && *end != '#')
		fail(l, l->line, EINVAL, "something after [%s]", name);
	else if (!section_known(l, name))
		fail(l, l->line, EINVAL, "unknown section [%s]", name);
}

/* As fgets would, with what the file's head says. NULL at the end, and after an error. */
static char *line_h(char *s, int num, void *stream)
{
	struct load *l = stream;
	bool leading = true;
	int c, len = 0;

	if (l->err != 0)
		return NULL;
	l->line++;
	while ((c = getc(l->f)) != EOF) {
		if (c == '\n')
			break;
		if (leading && (c == ' ' || c == '\t'))
			continue;
		leading = false;
		if (c == '\r') {
			/* CR LF is a line's end as well; any other CR would be seen as space here
			 * and as part of the value there */
			int next = getc(l->f);

			if (next == '\n' || next == EOF)
				break;
			ungetc(next, l->f);
		}
		if (iscntrl(c) && c != '\t') {
			fail(l, l->line, EINVAL, "not a text file (byte %d)", c);
			return NULL;
		}
		if (len >= num - 2) {
			fail(l, l->line, EINVAL, "line longer than %d bytes", num - 3);
			return NULL;
		}
		s[len++] = (char)c;
	}
	if (ferror(l->f)) {
		fail(l, l->line, EIO, "cannot be read");
		return NULL;
	}
	if (c == EOF && len == 0)
		return NULL;
	s[len++] = '\n';
	s[len] = '\0';
	if (s[0] == '[' && !l->quiet) {
		section_check(l, s);
		if (l->err != 0)
			return NULL;
	}
	return s;
}

static void required_check(struct load *l)
{
	const struct setting *row;

	for (row = l->table; row->section != NULL && l->err == 0; row++) {
		const void *m = cmember(row, l->settings);

		if (row->type == SETTING_STRING && row->min > 0 && (*(char *const *)m)[0] == '\0')
			fail(l, 0, EINVAL, "[%s] %s must be set", row->section, row->key);
		if (row->type == SETTING_LIST &&
		    ((const struct setting_list *)m)->n < (size_t)row->min)
			fail(l, 0, EINVAL, "[%s] %s needs at least %" PRId64 " value%s",
			     row->section, row->key, row->min, row->min == 1 ? "" : "s");
	}
}

struct search {
	struct load load; /* the reader's */
	const char *section, *key, *value;
	unsigned int line; /* found */
};

static int search_h(void *user, const char *section, const char *key, const char *value AND_LINENO)
{
	struct search *s = user;

	UNUSED_LINENO;
	if (s->line == 0 && strcmp(section, s->section) == 0 && strcmp(key, s->key) == 0 &&
	    (s->value == NULL || strstr(value, s->value) != NULL))
		s->line = s->load.line;
	return 1;
}

/* The line that sets a key; 0 when there is none. The file was good a moment ago; if it is gone or
 * changed since, there is no line to tell, or a wrong one. */
static unsigned int line_of(const char *path, const char *section, const char *key,
			    const char *value)
{
	static const struct setting none = {0};
	struct search s = {.section = section, .key = key, .value = value};

	s.load.path = path;
	s.load.table = &none;
	s.load.quiet = true;
	s.load.f = fopen(path, "re");
	if (s.load.f == NULL)
		return 0;
	(void)ini_parse_stream(line_h, &s.load, search_h, &s);
	fclose(s.load.f);
	return s.line;
}

int settings_reject(const char *path, const char *section, const char *key, const char *value,
		    char *err, size_t errlen, const char *fmt, ...)
{
	unsigned int line = path != NULL ? line_of(path, section, key, value) : 0;
	struct p2p_text t;
	char why[512];
	va_list ap;

	if (errlen == 0)
		return EINVAL;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	p2p_text_init(&t, err, errlen);
	p2p_text_add(&t, "%s:", path != NULL ? path : "(defaults)");
	if (line > 0)
		p2p_text_add(&t, "%u:", line);
	p2p_text_add(&t, " [%s] %s: %s", section, key, why);
	return EINVAL;
}

int settings_load(const struct setting *table, void *settings, const char *path, char *err,
		  size_t errlen)
{
	struct load l = {
		.table = table,
		.settings = settings,
		.path = path != NULL ? path : "(defaults)",
		.msg = err,
		.msglen = errlen,
	};
	const struct setting *row;
	char why[400];
	size_t n = 0;
	int rc;

	if (errlen > 0)
		err[0] = '\0';
	for (row = table; row->section != NULL; row++, n++) {
		why[0] = '\0';
		rc = default_set(row, settings, why, sizeof(why));
		if (rc != 0) {
			fail(&l, 0, rc, "[%s] %s: default: %s", row->section, row->key, why);
			goto out;
		}
	}
	if (path == NULL)
		return 0;
	l.seen = calloc(n + 1, sizeof(*l.seen));
	l.seen_line = calloc(n + 1, sizeof(*l.seen_line));
	if (l.seen == NULL || l.seen_line == NULL) {
		fail(&l, 0, ENOMEM, "out of memory");
		goto out;
	}
	l.f = fopen(path, "re");
	if (l.f == NULL) {
		fail(&l, 0, errno, "%s", strerror(errno));
		goto out;
	}
	rc = ini_parse_stream(line_h, &l, value_h, &l);
	if (rc == -2)
		fail(&l, 0, ENOMEM, "out of memory");
	/* inih goes on after its own errors, so that it may have found one before ours */
	if (rc > 0 && (unsigned int)rc < l.err_line)
		l.err = 0;
	if (rc > 0)
		fail(&l, (unsigned int)rc, EINVAL, "neither [section] nor key = value");
	if (l.err == 0)
		required_check(&l);
out:
	if (l.f != NULL)
		fclose(l.f);
	free(l.seen);
	free(l.seen_line);
	if (l.err != 0)
		settings_free(table, settings);
	return l.err;
}

void settings_free(const struct setting *table, void *settings)
{
	const struct setting *row;

	for (row = table; row->section != NULL; row++) {
		void *m = member(row, settings);

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
		void *a = member(row, settings), *b = member(row, fresh);
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

/* --- printing --------------------------------------------------------------------------------- */

/* Lines have a longest length: what came from one without spaces must go back into one. */
static void text_print(const struct setting *row, const char *value, FILE *f)
{
	bool roomy = strlen(row->key) + strlen(value) < 160;

	fprintf(f, "%s%s%s\n", row->key, roomy ? " = " : "=", value);
}

static void row_print(const struct setting *row, const void *settings, FILE *f)
{
	const void *m = cmember(row, settings);
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
