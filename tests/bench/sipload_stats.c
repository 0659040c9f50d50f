/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sipload.h"

#include <errno.h>
#include <stdlib.h>

int stats_init(struct sl_stats *st, size_t size)
{
	st->ms = calloc(size, sizeof(st->ms[0]));
	if (st->ms == NULL)
		return ENOMEM;
	st->n = 0;
	st->size = size;
	return 0;
}

void stats_destroy(struct sl_stats *st)
{
	free(st->ms);
	st->ms = NULL;
}

void stats_add(struct sl_stats *st, double ms)
{
	if (st->n < st->size)
		st->ms[st->n++] = ms;
}

static int ms_cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Linear between the two nearest ranks. */
static double percentile(const struct sl_stats *st, double p)
{
	double at = p * (double)(st->n - 1);
	size_t i = (size_t)at;

	if (i + 1 >= st->n)
		return st->ms[st->n - 1];
	return st->ms[i] + (at - (double)i) * (st->ms[i + 1] - st->ms[i]);
}

void stats_print(FILE *f, const char *name, struct sl_stats *st, int samples)
{
	size_t i;

	if (st->n == 0) {
		fprintf(f, "\"%s\": {\"n\": 0}", name);
		return;
	}
	qsort(st->ms, st->n, sizeof(st->ms[0]), ms_cmp);
	fprintf(f,
		"\"%s\": {\"n\": %zu, \"min\": %.4f, \"p50\": %.4f, \"p90\": %.4f, \"p99\": %.4f, "
		"\"max\": %.4f",
		name, st->n, st->ms[0], percentile(st, 0.5), percentile(st, 0.9),
		percentile(st, 0.99), st->ms[st->n - 1]);
	if (samples) {
		fputs(", \"samples\": [", f);
		for (i = 0; i < st->n; i++)
			fprintf(f, "%s%.4f", i ? ", " : "", st->ms[i]);
		fputc(']', f);
	}
	fputc('}', f);
}

void codes_add(struct sl_codes *c, int status)
{
	if (status >= 0 && status < SL_CODES)
		c->n[status]++;
}

void codes_print(FILE *f, const char *name, const struct sl_codes *c)
{
	const char *sep = "";
	int i;

	fprintf(f, "\"%s\": {", name);
	for (i = 0; i < SL_CODES; i++) {
		if (c->n[i] == 0)
			continue;
		if (i == 0)
			fprintf(f, "%s\"none\": %lu", sep, c->n[i]);
		else
			fprintf(f, "%s\"%d\": %lu", sep, i, c->n[i]);
		sep = ", ";
	}
	fputc('}', f);
}
