/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settings, for their own files only: settings.c reads the file, settings_value.c has what single
 * values are, settings_print.c prints. */
#ifndef P2PSIP_IO_SETTINGS_IMPL_H
#define P2PSIP_IO_SETTINGS_IMPL_H

#include "lib/io/settings.h"

static inline void *settings_member(const struct setting *row, void *settings)
{
	return (char *)settings + row->offset;
}

static inline const void *settings_cmember(const struct setting *row, const void *settings)
{
	return (const char *)settings + row->offset;
}

/* The length of a key without its unit. *unit: which it is, or -1: none. */
size_t settings_key_stem(const char *key, int *unit);

/* Set one member from text. again: a list that goes on from an earlier line of the file. 0 or
 * errno, with the reason in why. */
int settings_value_set(const struct setting *row, void *settings, const char *value, bool again,
		       char *why, size_t n);
/* To its default. A string that must be set has none, and is empty until then. */
int settings_value_default(const struct setting *row, void *settings, char *why, size_t n);

#endif
