/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const level_names[] = {"err", "warn", "info", "dbg"};

const char *p2p_log_level_name(enum p2p_log_level level)
{
	return (unsigned int)level <= P2P_LOG_DBG ? level_names[level] : "?";
}

int p2p_log_level_parse(enum p2p_log_level *level, const char *name)
{
	unsigned int i;

	for (i = 0; i <= P2P_LOG_DBG; i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*level = (enum p2p_log_level)i;
			return 0;
		}
	}
	return EINVAL;
}

void p2p_vlog(const struct p2p_log *log, enum p2p_log_level level, const char *fmt, va_list ap)
{
	char line[P2P_LOG_LINE_MAX];
	char *p;
	int n;

	if (log == NULL || log->sink == NULL || level > log->level)
		return;
	n = vsnprintf(line, sizeof(line), fmt, ap);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(line))
		memcpy(line + sizeof(line) - 4, "...", 4);
	for (p = line; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	}
	log->sink(level, line, log->arg);
}

void p2p_log(const struct p2p_log *log, enum p2p_log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	p2p_vlog(log, level, fmt, ap);
	va_end(ap);
}

void p2p_limit_init(struct p2p_limit *limit, uint64_t interval_ms, const struct p2p_hash_key *key)
{
	memset(limit, 0, sizeof(*limit));
	limit->interval_ms = interval_ms;
	limit->key = *key;
}

bool p2p_limit_ok(struct p2p_limit *limit, const void *source, size_t len, uint64_t now_ms,
		  uint32_t *silenced)
{
	uint64_t h = p2p_hash(&limit->key, source, len) | 1; /* 0 is a free slot */
	unsigned int set = (unsigned int)(h >> 32) % P2P_LIMIT_SETS, i, take = P2P_LIMIT_WAYS;

	if (silenced != NULL)
		*silenced = 0;
	for (i = 0; i < P2P_LIMIT_WAYS; i++) {
		bool old = now_ms - limit->slot[set][i].since_ms >= limit->interval_ms;

		if (limit->slot[set][i].hash == h) {
			if (!old) {
				if (limit->slot[set][i].silenced < UINT32_MAX)
					limit->slot[set][i].silenced++;
				return false;
			}
			if (silenced != NULL)
				*silenced = limit->slot[set][i].silenced;
			take = i;
			break;
		}
		if (take == P2P_LIMIT_WAYS && (limit->slot[set][i].hash == 0 || old))
			take = i;
	}
	if (take == P2P_LIMIT_WAYS)
		return false;
	limit->slot[set][take].hash = h;
	limit->slot[set][take].since_ms = now_ms;
	limit->slot[set][take].silenced = 0;
	return true;
}
