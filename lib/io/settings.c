/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading a file of settings. inih splits the lines; what it is handed, and in what order, is kept
 * under control here, so that every error has its line: lines are stripped of leading space (an
 * indented line is no continuation), and one that is too long for inih, or binary, is an error
 * rather than two lines. */
#include "lib/io/settings_impl.h"

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

/* The same key but for its unit, in the same section. */
static const struct setting *row_other_unit(const struct load *l, const char *section,
					    const char *key)
{
	const struct setting *row;
	int u, ru;
	size_t stem = settings_key_stem(key, &u);

	for (row = l->table; row->section != NULL; row++) {
		size_t rstem = settings_key_stem(row->key, &ru);

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
	err = settings_value_set(row, l->settings, value, l->seen[i], why, sizeof(why));
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
		const void *m = settings_cmember(row, l->settings);

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
		rc = settings_value_default(row, settings, why, sizeof(why));
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
