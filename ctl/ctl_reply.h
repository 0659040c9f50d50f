/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Questions to a daemon's admin socket and their answers, for people (columns) or programs
 * (JSON). Every wait has the connection's deadline. */
#ifndef P2PSIP_CTL_REPLY_H
#define P2PSIP_CTL_REPLY_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct ctl_conn;

/* 0 or errno, with the reason in err; so are the others. An error reply is EPROTO. */
int ctl_connect(struct ctl_conn **cp, const char *path, unsigned int timeout_ms, char *err,
		size_t errlen);
void ctl_close(struct ctl_conn *c);

/* The answer is key, value, key, value ... */
int ctl_pairs(struct ctl_conn *c, int argc, const char **argv, bool json, FILE *f, char *err,
	      size_t errlen);
/* The answer is an array of such. */
int ctl_rows(struct ctl_conn *c, int argc, const char **argv, bool json, FILE *f, char *err,
	     size_t errlen);
/* The answer is a cursor and an array of such; asked until the cursor is 0. */
int ctl_list(struct ctl_conn *c, const char *command, const char *count, bool json, FILE *f,
	     char *err, size_t errlen);
/* The answer is text. */
int ctl_text(struct ctl_conn *c, int argc, const char **argv, FILE *f, char *err, size_t errlen);

/* The answer is one text. */
int ctl_word(struct ctl_conn *c, int argc, const char **argv, char *text, size_t cap, char *err,
	     size_t errlen);
/* One value of an answer of pairs. ENOENT: it has no such key. */
int ctl_value(struct ctl_conn *c, int argc, const char **argv, const char *key, char *value,
	      size_t cap, char *err, size_t errlen);

/* {"error": text} */
void ctl_json_error(FILE *f, const char *text);

#endif
