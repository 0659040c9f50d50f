/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bodies that carry users' records. What was read can be written, and reads the same again. The
 * first byte chooses. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "lib/proto/opp_records.h"
#include "lib/proto/record_head.h"

#define BODY(name, type, encode, decode, same)                                                     \
	static void name(const char *text, size_t len)                                             \
	{                                                                                          \
		static struct type x, again;                                                       \
		static char out[P2P_OPP_BULK_MAX];                                                 \
		size_t n;                                                                          \
                                                                                                   \
		if (decode(&x, text, len) != 0)                                                    \
			return;                                                                    \
		must(encode(&x, out, sizeof(out), &n) == 0 && n == strlen(out));                   \
		must(decode(&again, out, n) == 0);                                                 \
		must(same(&x, &again));                                                            \
	}

static int batch_same(const struct p2p_opp_batch *a, const struct p2p_opp_batch *b)
{
	return a->n == b->n && a->used == b->used && memcmp(a->b, b->b, a->used) == 0;
}

static int results_same(const struct p2p_opp_results *a, const struct p2p_opp_results *b)
{
	unsigned int i;

	for (i = 0; i < a->n; i++) {
		if (a->r[i].result != b->r[i].result || a->r[i].order != b->r[i].order)
			return 0;
	}
	return a->instance == b->instance && a->n == b->n && batch_same(&a->others, &b->others);
}

static int query_same(const struct p2p_opp_query *a, const struct p2p_opp_query *b)
{
	return a->n == b->n && a->watch_s == b->watch_s &&
	       memcmp(a->key, b->key, a->n * sizeof(a->key[0])) == 0;
}

static int found_same(const struct p2p_opp_found *a, const struct p2p_opp_found *b)
{
	unsigned int i;

	for (i = 0; i < a->n; i++) {
		if (a->a[i].synced != b->a[i].synced || a->a[i].watched != b->a[i].watched ||
		    a->a[i].n != b->a[i].n || a->a[i].first != b->a[i].first)
			return 0;
	}
	return a->n == b->n && batch_same(&a->records, &b->records);
}

static int range_same(const struct p2p_opp_range *a, const struct p2p_opp_range *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static int page_same(const struct p2p_opp_page *a, const struct p2p_opp_page *b)
{
	return a->synced == b->synced && a->more == b->more &&
	       memcmp(&a->next, &b->next, sizeof(a->next)) == 0 &&
	       batch_same(&a->records, &b->records);
}

static int check_same(const struct p2p_opp_check *a, const struct p2p_opp_check *b)
{
	unsigned int i;

	for (i = 0; i < a->n; i++) {
		if (a->r[i].order != b->r[i].order ||
		    memcmp(&a->r[i].key, &b->r[i].key, sizeof(a->r[i].key)) != 0)
			return 0;
	}
	return a->n == b->n;
}

static int missing_same(const struct p2p_opp_missing *a, const struct p2p_opp_missing *b)
{
	return a->n == b->n && memcmp(a->at, b->at, a->n * sizeof(a->at[0])) == 0;
}

BODY(batch, p2p_opp_batch, p2p_opp_batch_encode, p2p_opp_batch_decode, batch_same)
BODY(results, p2p_opp_results, p2p_opp_results_encode, p2p_opp_results_decode, results_same)
BODY(query, p2p_opp_query, p2p_opp_query_encode, p2p_opp_query_decode, query_same)
BODY(found, p2p_opp_found, p2p_opp_found_encode, p2p_opp_found_decode, found_same)
BODY(range, p2p_opp_range, p2p_opp_range_encode, p2p_opp_range_decode, range_same)
BODY(page, p2p_opp_page, p2p_opp_page_encode, p2p_opp_page_decode, page_same)
BODY(check, p2p_opp_check, p2p_opp_check_encode, p2p_opp_check_decode, check_same)
BODY(missing, p2p_opp_missing, p2p_opp_missing_encode, p2p_opp_missing_decode, missing_same)

static void head(const char *text, size_t len)
{
	struct p2p_record_head h;

	if (p2p_record_head(&h, text, len) == 0)
		must((const char *)h.pubkey + P2P_PUBKEY_LEN <= text + len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const all[])(const char *, size_t) = {batch, results, query,   found, range,
							    page,  check,   missing, head};
	char *text;

	if (size == 0)
		return 0;
	/* of exactly this size, so that reading past it is seen */
	text = malloc(size - 1 > 0 ? size - 1 : 1);
	if (text == NULL)
		return 0;
	memcpy(text, data + 1, size - 1);
	all[data[0] % (sizeof(all) / sizeof(all[0]))](text, size - 1);
	free(text);
	return 0;
}
