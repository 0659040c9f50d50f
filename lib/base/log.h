/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Logging through a sink that the program gives (syslog, stderr, Kamailio's LM_, a test), and a
 * limiter for messages that a stranger can cause. */
#ifndef P2PSIP_BASE_LOG_H
#define P2PSIP_BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include "lib/base/hash.h"

/* The longest message, with NUL; more is cut and ends in "...". */
#define P2P_LOG_LINE_MAX 1024

enum p2p_log_level {
	P2P_LOG_ERR = 0, /* the operator must act */
	P2P_LOG_WARN,	 /* a peer or a client misbehaved */
	P2P_LOG_INFO,	 /* a state changed */
	P2P_LOG_DBG,	 /* trace */
};

/* msg has no line end, and no control characters: they were replaced by '?', since much of what
 * is logged comes from strangers. */
typedef void p2p_log_sink_h(enum p2p_log_level level, const char *msg, void *arg);

struct p2p_log {
	p2p_log_sink_h *sink;
	void *arg;
	enum p2p_log_level level; /* the most talkative level that is passed on */
};

/* log may be NULL: nothing is logged. */
void p2p_log(const struct p2p_log *log, enum p2p_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void p2p_vlog(const struct p2p_log *log, enum p2p_log_level level, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

const char *p2p_log_level_name(enum p2p_log_level level);
/* "err", "warn", "info", "dbg". 0 or EINVAL. */
int p2p_log_level_parse(enum p2p_log_level *level, const char *name);

/* At most one message per source and interval, in bounded memory: P2P_LIMIT_SETS sets of
 * P2P_LIMIT_WAYS sources. When a set is full of sources that spoke within the interval, further
 * ones are silent: a stranger with many addresses can mute others' messages, never flood the log.
 * Plain data; the caller zeroes it, then calls p2p_limit_init. */
#define P2P_LIMIT_SETS 64
#define P2P_LIMIT_WAYS 4

struct p2p_limit {
	struct p2p_hash_key key;
	uint64_t interval_ms;
	struct {
		uint64_t hash; /* 0: free */
		uint64_t since_ms;
		uint32_t silenced;
	} slot[P2P_LIMIT_SETS][P2P_LIMIT_WAYS];
};

/* interval_ms: 60000 for "once a minute". key: random bytes, so that sources cannot be made to
 * fall into one set. */
void p2p_limit_init(struct p2p_limit *limit, uint64_t interval_ms, const struct p2p_hash_key *key);

/* May a message about this source be logged now? now_ms: a monotonic clock. silenced (may be
 * NULL): how many were not since the last one that was. */
bool p2p_limit_ok(struct p2p_limit *limit, const void *source, size_t len, uint64_t now_ms,
		  uint32_t *silenced);

#endif
