/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Metrics by table: each names a uint64_t in the program's own struct; printed as Prometheus text
 * (exposition format 0.0.4) and as a table for the manual. */
#ifndef P2PSIP_IO_METRICS_H
#define P2PSIP_IO_METRICS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum metric_type { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
	const char *name; /* p2psip_relay_packets_total: counters end in _total */
	enum metric_type type;
	size_t offset;	    /* of a uint64_t */
	const char *labels; /* "result=\"ok\"", or NULL; rows of one name stand together */
	const char *help;
};

/* table ended by name NULL. */
void metrics_print(const struct metric *table, const void *values, FILE *f);
/* The same into a malloced string, which the caller frees. 0 or ENOMEM. */
int metrics_text(const struct metric *table, const void *values, char **text, size_t *len);
/* As Markdown. */
void metrics_manual(const struct metric *table, FILE *f);
/* 0, or EINVAL and the reason in err: names that Prometheus would refuse, a counter not in _total,
 * rows of one name apart or of different type. For tests. */
int metrics_check(const struct metric *table, char *err, size_t errlen);

#endif
