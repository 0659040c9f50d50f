/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bounded table from bytes (names, HITs) to pointers, in order of last use. */
#ifndef P2PSIP_GATEWAY_MAP_H
#define P2PSIP_GATEWAY_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest key. */
#define GW_MAP_KEY_MAX 255

struct gw_map;

/* drop is called for a value that is put out to make room, deleted, or left at the end; NULL: such
 * values need nothing. evict: put out the one longest unused when full; else ENOSPC. */
int gw_map_new(struct gw_map **mp, size_t max, bool evict, void (*drop)(void *value, void *arg),
	       void *arg);
void gw_map_free(struct gw_map *m);

/* Counts as use. NULL: not there. */
void *gw_map_get(struct gw_map *m, const void *key, size_t len);
/* Does not. */
void *gw_map_peek(const struct gw_map *m, const void *key, size_t len);
/* value in place of what is there, which is dropped. 0, ENOMEM, ENOSPC, EINVAL (key's length). On
 * failure value is still the caller's. */
int gw_map_put(struct gw_map *m, const void *key, size_t len, void *value);
/* Drops it. ENOENT: was not there. */
int gw_map_del(struct gw_map *m, const void *key, size_t len);
/* Out of the table, not dropped. NULL: was not there. */
void *gw_map_take(struct gw_map *m, const void *key, size_t len);
size_t gw_map_count(const struct gw_map *m);
/* How many were put out to make room, so far. */
uint64_t gw_map_evicted(const struct gw_map *m);
/* The one longest unused; NULL: empty. */
void *gw_map_oldest(const struct gw_map *m);
/* Its key, of a table whose keys have all this length. 0 or ENOENT. */
int gw_map_oldest_key(const struct gw_map *m, void *key, size_t len);

/* A page, the last used first: up to count entries after skipping *cursor of them; *cursor is set
 * to go on with, 0 at the end. fn must not change the table. */
void gw_map_scan(const struct gw_map *m, uint64_t *cursor, size_t count,
		 void (*fn)(const void *key, size_t len, void *value, void *arg), void *arg);

#endif
