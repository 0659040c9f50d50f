/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A daemon's settings: an INI file read through inih into a struct, by one table that also makes
 * the manual's table and the checks. */
#ifndef P2PSIP_IO_SETTINGS_H
#define P2PSIP_IO_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SETTINGS_LIST_MAX 64

enum setting_type {
	SETTING_INT,  /* int64_t, min..max; the unit is part of the key's name (_ms, _s, _bytes) */
	SETTING_BOOL, /* bool: yes or no */
	SETTING_STRING, /* char *, allocated, never NULL; min..max bytes (min 1: must be set) */
	SETTING_ENUM,	/* int: index into choices */
	SETTING_LIST,	/* struct setting_list: the key may be repeated, or hold values separated by
			 * commas; min..max values (max 0: SETTINGS_LIST_MAX) */
};

struct setting_list {
	size_t n;
	char **v;
};

struct setting {
	const char *section, *key;
	enum setting_type type;
	size_t offset; /* of the member in the settings struct */
	int64_t min, max;
	const char *dflt;	    /* as it would stand in the file; NULL: empty */
	const char *const *choices; /* SETTING_ENUM, ended by NULL */
	bool reload;		    /* may change on reload */
	const char *help;
};

/* Tables end with a row whose section is NULL.
 *
 * Fill settings (zeroed by the caller) with the defaults, then from the file (path NULL: defaults
 * only; what must be set is then not asked for). Unknown section or key, a key given twice, bad
 * value, out of range, or wrong unit: EINVAL and a message "file:line: reason" in err. Nothing is
 * clamped. A file that cannot be read: its errno. On failure nothing is left allocated. */
int settings_load(const struct setting *table, void *settings, const char *path, char *err,
		  size_t errlen);
/* For rules that are not in the table (two settings that do not fit together, an address that is
 * none): writes "file:line: [section] key: reason" with the line that set this key, or, of a list,
 * that holds this value (NULL: any); without a line when the file does not set it, or path is NULL.
 * Returns EINVAL. */
int settings_reject(const char *path, const char *section, const char *key, const char *value,
		    char *err, size_t errlen, const char *fmt, ...)
	__attribute__((format(printf, 7, 8)));
void settings_free(const struct setting *table, void *settings);
/* Reload: take over from `fresh` what may change while running, and tell of every difference
 * (applied: whether it was taken over; else it needs a restart). fresh is to be freed after. The
 * strings that `settings` held are freed: what points at them must be looked up again. */
void settings_reload(const struct setting *table, void *settings, void *fresh,
		     void (*changed)(const struct setting *row, bool applied, void *arg),
		     void *arg);
/* The settings as a file that loads to the same settings. */
void settings_print(const struct setting *table, const void *settings, FILE *f);
/* The table as Markdown, for the manual. */
void settings_manual(const struct setting *table, FILE *f);

#endif
