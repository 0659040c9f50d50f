/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A daemon's settings: an INI file read through inih into a struct, by one table that also makes
 * the manual's table and the checks. */
#ifndef P2PSIP_IO_SETTINGS_H
#define P2PSIP_IO_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum setting_type {
	SETTING_INT,	/* int64_t, min..max; the unit is part of the key's name (_ms, _s, _bytes) */
	SETTING_BOOL,	/* bool: yes or no */
	SETTING_STRING,	/* char *, allocated; at most max bytes */
	SETTING_ENUM,	/* int: index into choices */
	SETTING_LIST,	/* struct setting_list: the key may be repeated, or hold values separated by
			 * commas */
};

struct setting_list {
	size_t n;
	char **v;
};

struct setting {
	const char *section, *key;
	enum setting_type type;
	size_t offset;		/* of the member in the settings struct */
	int64_t min, max;
	const char *dflt;	/* as it would stand in the file; NULL: empty */
	const char *const *choices; /* SETTING_ENUM, ended by NULL */
	bool reload;		/* may change on reload */
	const char *help;
};

/* Fill settings (zeroed by the caller) with the defaults, then from the file (path NULL: defaults
 * only). Unknown section or key, bad value, out of range, or wrong unit: EINVAL and a message
 * "file:line: reason" in err. Nothing is clamped. */
int settings_load(const struct setting *table, void *settings, const char *path, char *err,
		  size_t errlen);
void settings_free(const struct setting *table, void *settings);
/* The settings as a file that loads to the same settings. */
void settings_print(const struct setting *table, const void *settings, FILE *f);
/* The table as Markdown, for the manual. */
void settings_manual(const struct setting *table, FILE *f);

#endif
