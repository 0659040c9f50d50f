/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small files that must survive a crash, and secret ones that nobody else may read. */
#ifndef P2PSIP_GATEWAY_FILE_H
#define P2PSIP_GATEWAY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Make a file that must not exist, mode 0600, and bring it and its folder's entry to the disk.
 * EEXIST, or why not. Nothing is left of a file that could not be written whole. */
int gw_file_create(const char *path, const void *s, size_t len);

/* Replace a file, or make it, at one stroke: after a crash the old or the new one is there, whole.
 * Mode 0600. */
int gw_file_replace(const char *path, const void *s, size_t len);

/* The same with another mode, and group unless it is (gid_t)-1. */
int gw_file_replace_mode(const char *path, const void *s, size_t len, mode_t mode, gid_t group);

/* Read a file of at most cap-1 bytes; a NUL is added. EFBIG: longer. */
int gw_file_read(const char *path, char *buf, size_t cap, size_t *len);

/* As gw_file_read, but only a plain file that is the caller's (or root's) own and that nobody else
 * may read or write: EPERM, with the reason in err. */
int gw_file_read_secret(const char *path, char *buf, size_t cap, size_t *len, char *err,
			size_t errlen);

/* Make a folder (and only it, not those above) with mode 0700. 0 when it is there. */
int gw_file_mkdir(const char *path);

#endif
