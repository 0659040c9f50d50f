/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/proto/opp_records.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/opp_impl.h"

/* Of a body, for what is not records. */
#define REST_MAX 8192
#define CHECK_LEN (P2P_KEY_LEN + 8)

static const char *const results[] = {
	[P2P_OPP_KEPT] = "kept", [P2P_OPP_STALE] = "stale",	  [P2P_OPP_REFUSED] = "refused",
	[P2P_OPP_FULL] = "full", [P2P_OPP_UNWANTED] = "unwanted",
};
#define N(a) (sizeof(a) / sizeof((a)[0]))

/* --- what they have in common ------------------------------------------------------------------
 */

static int put_flag(struct p2p_text *t, const char *name, bool v)
{
	p2p_text_add(t, "\"%s\":%s,", name, v ? "true" : "false");
	return 0;
}

static void put_key(struct p2p_text *t, const struct p2p_key *key)
{
	char hex[2 * P2P_KEY_LEN + 1];

	p2p_hex_print(hex, key->b, sizeof(key->b));
	p2p_text_add(t, "\"%s\"", hex);
}

static int key_of(json_object *v, struct p2p_key *key)
{
	const char *s = p2p_opp_string_of(v, 2 * P2P_KEY_LEN + 1);

	return s != NULL && p2p_hex_parse(key->b, sizeof(key->b), s, strlen(s)) == 0 ? 0 : EBADMSG;
}

static int get_key(json_object *o, const char *name, struct p2p_key *key)
{
	json_object *v;

	return json_object_object_get_ex(o, name, &v) ? key_of(v, key) : EBADMSG;
}

static int parse(const char *text, size_t len, json_object **o)
{
	return len > P2P_OPP_BULK_MAX ? EMSGSIZE : p2p_opp_bulk_parse(text, len, o);
}

/* --- batches -----------------------------------------------------------------------------------
 */

void p2p_opp_batch_init(struct p2p_opp_batch *batch)
{
	batch->n = 0;
	batch->used = 0;
}

bool p2p_opp_batch_add(struct p2p_opp_batch *batch, const void *record, size_t len)
{
	/* each with its quotes and comma, and what base64 rounds up */
	size_t text = ((size_t)batch->used + len) * 4 / 3 + ((size_t)batch->n + 1) * 5;

	if (batch->n == P2P_OPP_BATCH_MAX || len == 0 || len > P2P_RECORD_MAX ||
	    text > P2P_OPP_BULK_MAX - REST_MAX)
		return false;
	batch->r[batch->n].at = batch->used;
	batch->r[batch->n++].len = (uint16_t)len;
	memcpy(batch->b + batch->used, record, len);
	batch->used = (uint16_t)(batch->used + len);
	return true;
}

static void put_records(struct p2p_text *t, const char *name, const struct p2p_opp_batch *batch,
			unsigned int first, unsigned int n)
{
	unsigned int i;

	p2p_text_add(t, "\"%s\":[", name);
	for (i = first; i < first + n; i++) {
		if (i > first)
			p2p_text_add(t, ",");
		p2p_opp_put_record(t, batch->b + batch->r[i].at, batch->r[i].len);
	}
	p2p_text_add(t, "]");
}

static int get_records(json_object *o, const char *name, struct p2p_opp_batch *batch)
{
	uint8_t bytes[P2P_RECORD_MAX];
	json_object *list;
	uint16_t len;
	size_t i, n;
	int err = p2p_opp_get_list(o, name, P2P_OPP_BATCH_MAX, &list, &n);

	for (i = 0; err == 0 && i < n; i++) {
		err = p2p_opp_record_of(json_object_array_get_idx(list, i), bytes, &len);
		if (err == 0 && !p2p_opp_batch_add(batch, bytes, len))
			err = EBADMSG;
	}
	return err;
}

static bool batch_valid(const struct p2p_opp_batch *batch)
{
	unsigned int i;

	if (batch->n > P2P_OPP_BATCH_MAX)
		return false;
	for (i = 0; i < batch->n; i++) {
		if (batch->r[i].len == 0 || batch->r[i].len > P2P_RECORD_MAX ||
		    (size_t)batch->r[i].at + batch->r[i].len > sizeof(batch->b))
			return false;
	}
	return true;
}

int p2p_opp_batch_encode(const struct p2p_opp_batch *batch, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	if (!batch_valid(batch))
		return EINVAL;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{");
	put_records(&t, "records", batch, 0, batch->n);
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_batch_decode(struct p2p_opp_batch *batch, const char *text, size_t len)
{
	json_object *o;
	int err = parse(text, len, &o);

	if (err != 0)
		return err;
	p2p_opp_batch_init(batch);
	err = get_records(o, "records", batch);
	json_object_put(o);
	return err;
}

/* --- results -----------------------------------------------------------------------------------
 */

int p2p_opp_results_encode(const struct p2p_opp_results *r, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;
	unsigned int i;

	if (cap == 0)
		return EMSGSIZE;
	if (r->n > P2P_OPP_BATCH_MAX || !batch_valid(&r->others))
		return EINVAL;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"instance\":\"%" PRIu64 "\",\"results\":[", r->instance);
	for (i = 0; i < r->n; i++) {
		enum p2p_opp_result what = r->r[i].result;

		if ((size_t)what >= N(results) || results[what] == NULL)
			return EINVAL;
		p2p_text_add(&t, "%s\"%s", i > 0 ? "," : "", results[what]);
		if (what == P2P_OPP_STALE)
			p2p_text_add(&t, " %" PRIu64, r->r[i].order);
		p2p_text_add(&t, "\"");
	}
	p2p_text_add(&t, "]");
	if (r->others.n > 0) {
		p2p_text_add(&t, ",");
		put_records(&t, "others", &r->others, 0, r->others.n);
	}
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

static int result_of(const char *s, enum p2p_opp_result *result, uint64_t *order)
{
	size_t i, n;

	*order = 0;
	for (i = 0; s != NULL && i < N(results); i++) {
		n = results[i] != NULL ? strlen(results[i]) : 0;
		if (n == 0 || strncmp(s, results[i], n) != 0)
			continue;
		*result = (enum p2p_opp_result)i;
		if (i == P2P_OPP_STALE)
			return s[n] == ' ' && p2p_u64_parse(order, s + n + 1, strlen(s + n + 1)) ==
						       0
				       ? 0
				       : EBADMSG;
		return s[n] == '\0' ? 0 : EBADMSG;
	}
	return EBADMSG;
}

int p2p_opp_results_decode(struct p2p_opp_results *r, const char *text, size_t len)
{
	json_object *o, *list;
	size_t i, n = 0;
	int err = parse(text, len, &o);

	if (err != 0)
		return err;
	p2p_opp_batch_init(&r->others);
	err = p2p_opp_get_u64(o, "instance", &r->instance);
	if (err == 0)
		err = p2p_opp_get_list(o, "results", P2P_OPP_BATCH_MAX, &list, &n);
	for (i = 0; err == 0 && i < n; i++)
		err = result_of(p2p_opp_string_of(json_object_array_get_idx(list, i), 32),
				&r->r[i].result, &r->r[i].order);
	r->n = (uint16_t)n;
	if (err == 0 && json_object_object_get_ex(o, "others", NULL))
		err = get_records(o, "others", &r->others);
	json_object_put(o);
	return err;
}

/* --- questions ---------------------------------------------------------------------------------
 */

int p2p_opp_query_encode(const struct p2p_opp_query *q, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;
	unsigned int i;

	if (cap == 0)
		return EMSGSIZE;
	if (q->n > P2P_OPP_KEYS_MAX || q->watch_s > P2P_OPP_WATCH_MAX_S)
		return EINVAL;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"watch_s\":%" PRIu32 ",\"keys\":[", q->watch_s);
	for (i = 0; i < q->n; i++) {
		if (i > 0)
			p2p_text_add(&t, ",");
		put_key(&t, &q->key[i]);
	}
	p2p_text_add(&t, "]}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_query_decode(struct p2p_opp_query *q, const char *text, size_t len)
{
	json_object *o, *list;
	size_t i, n = 0;
	int err = parse(text, len, &o);

	if (err != 0)
		return err;
	q->watch_s = 0;
	if (json_object_object_get_ex(o, "watch_s", NULL))
		err = p2p_opp_get_u32(o, "watch_s", 0, P2P_OPP_WATCH_MAX_S, &q->watch_s);
	if (err == 0)
		err = p2p_opp_get_list(o, "keys", P2P_OPP_KEYS_MAX, &list, &n);
	for (i = 0; err == 0 && i < n; i++)
		err = key_of(json_object_array_get_idx(list, i), &q->key[i]);
	q->n = (uint16_t)n;
	json_object_put(o);
	return err;
}

int p2p_opp_found_encode(const struct p2p_opp_found *f, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;
	unsigned int i;

	if (cap == 0)
		return EMSGSIZE;
	if (f->n > P2P_OPP_KEYS_MAX || !batch_valid(&f->records))
		return EINVAL;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"instance\":\"%" PRIu64 "\",\"answers\":[", f->instance);
	for (i = 0; i < f->n; i++) {
		if ((unsigned int)f->a[i].first + f->a[i].n > f->records.n)
			return EINVAL;
		p2p_text_add(&t, i > 0 ? ",{" : "{");
		put_flag(&t, "synced", f->a[i].synced);
		put_flag(&t, "watched", f->a[i].watched);
		put_records(&t, "records", &f->records, f->a[i].first, f->a[i].n);
		p2p_text_add(&t, "}");
	}
	p2p_text_add(&t, "]}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_found_decode(struct p2p_opp_found *f, const char *text, size_t len)
{
	json_object *o, *list;
	size_t i, n = 0;
	int err = parse(text, len, &o);

	if (err != 0)
		return err;
	p2p_opp_batch_init(&f->records);
	err = p2p_opp_get_u64(o, "instance", &f->instance);
	if (err == 0)
		err = p2p_opp_get_list(o, "answers", P2P_OPP_KEYS_MAX, &list, &n);
	for (i = 0; err == 0 && i < n; i++) {
		json_object *a = json_object_array_get_idx(list, i);

		f->a[i].first = f->records.n;
		err = json_object_is_type(a, json_type_object) ? 0 : EBADMSG;
		if (err == 0)
			err = p2p_opp_get_flag(a, "synced", &f->a[i].synced);
		if (err == 0)
			err = p2p_opp_get_flag(a, "watched", &f->a[i].watched);
		if (err == 0)
			err = get_records(a, "records", &f->records);
		f->a[i].n = (uint16_t)(f->records.n - f->a[i].first);
	}
	f->n = (uint16_t)n;
	json_object_put(o);
	return err;
}

/* --- synchronisation ---------------------------------------------------------------------------
 */

int p2p_opp_range_encode(const struct p2p_opp_range *range, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"after\":");
	put_key(&t, &range->after);
	p2p_text_add(&t, ",\"to\":");
	put_key(&t, &range->to);
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_range_decode(struct p2p_opp_range *range, const char *text, size_t len)
{
	json_object *o;
	int err = parse(text, len, &o);

	if (err != 0)
		return err;
	err = get_key(o, "after", &range->after);
	if (err == 0)
		err = get_key(o, "to", &range->to);
	json_object_put(o);
	return err;
}

int p2p_opp_page_encode(const struct p2p_opp_page *page, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	if (!batch_valid(&page->records))
		return EINVAL;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"instance\":\"%" PRIu64 "\",", page->instance);
	put_flag(&t, "synced", page->synced);
	if (page->more) {
		p2p_text_add(&t, "\"next\":");
		put_key(&t, &page->next);
		p2p_text_add(&t, ",");
	}
	put_records(&t, "records", &page->records, 0, page->records.n);
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_page_decode(struct p2p_opp_page *page, const char *text, size_t len)
{
	json_object *o;
	int err = parse(text, len, &o);

	if (err != 0)
		return err;
	p2p_opp_batch_init(&page->records);
	err = p2p_opp_get_u64(o, "instance", &page->instance);
	if (err == 0)
		err = p2p_opp_get_flag(o, "synced", &page->synced);
	page->more = json_object_object_get_ex(o, "next", NULL);
	memset(&page->next, 0, sizeof(page->next));
	if (err == 0 && page->more)
		err = get_key(o, "next", &page->next);
	if (err == 0)
		err = get_records(o, "records", &page->records);
	json_object_put(o);
	return err;
}

/* --- checks ------------------------------------------------------------------------------------
 */

#define CHECK_TEXT_MAX (P2P_BASE64URL_LEN(CHECK_LEN * P2P_OPP_CHECKS_MAX) + 1)

int p2p_opp_check_encode(const struct p2p_opp_check *check, char *buf, size_t cap, size_t *len)
{
	uint8_t bytes[CHECK_LEN * P2P_OPP_CHECKS_MAX];
	char text[CHECK_TEXT_MAX];
	struct p2p_text t;
	unsigned int i;

	if (cap == 0)
		return EMSGSIZE;
	if (check->n > P2P_OPP_CHECKS_MAX)
		return EINVAL;
	for (i = 0; i < check->n; i++) {
		memcpy(bytes + i * CHECK_LEN, check->r[i].key.b, P2P_KEY_LEN);
		p2p_put_be64(bytes + i * CHECK_LEN + P2P_KEY_LEN, check->r[i].order);
	}
	p2p_base64url_print(text, bytes, (size_t)check->n * CHECK_LEN);
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"have\":\"%s\"}", text);
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_check_decode(struct p2p_opp_check *check, const char *text, size_t len)
{
	uint8_t bytes[CHECK_LEN * P2P_OPP_CHECKS_MAX];
	json_object *o;
	const char *s;
	size_t i, have, n = 0;
	int err = parse(text, len, &o);

	if (err != 0)
		return err;
	s = p2p_opp_get_string(o, "have", CHECK_TEXT_MAX);
	have = s != NULL ? strlen(s) : 0;
	n = have * 3 / 4;
	if (s == NULL || n % CHECK_LEN != 0 || n > sizeof(bytes) ||
	    p2p_base64url_parse(bytes, n, s, have) != 0)
		err = EBADMSG;
	for (i = 0; err == 0 && i < n / CHECK_LEN; i++) {
		memcpy(check->r[i].key.b, bytes + i * CHECK_LEN, P2P_KEY_LEN);
		check->r[i].order = p2p_be64(bytes + i * CHECK_LEN + P2P_KEY_LEN);
	}
	check->n = (uint16_t)(n / CHECK_LEN);
	json_object_put(o);
	return err;
}

int p2p_opp_missing_encode(const struct p2p_opp_missing *m, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;
	unsigned int i;

	if (cap == 0)
		return EMSGSIZE;
	if (m->n > P2P_OPP_CHECKS_MAX)
		return EINVAL;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"instance\":\"%" PRIu64 "\",\"missing\":[", m->instance);
	for (i = 0; i < m->n; i++) {
		if (m->at[i] >= P2P_OPP_CHECKS_MAX || (i > 0 && m->at[i] <= m->at[i - 1]))
			return EINVAL;
		p2p_text_add(&t, "%s%u", i > 0 ? "," : "", m->at[i]);
	}
	p2p_text_add(&t, "]}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_missing_decode(struct p2p_opp_missing *m, const char *text, size_t len)
{
	json_object *o, *list;
	size_t i, n = 0;
	int err = parse(text, len, &o);

	if (err != 0)
		return err;
	err = p2p_opp_get_u64(o, "instance", &m->instance);
	if (err == 0)
		err = p2p_opp_get_list(o, "missing", P2P_OPP_CHECKS_MAX, &list, &n);
	for (i = 0; err == 0 && i < n; i++) {
		json_object *v = json_object_array_get_idx(list, i);
		int64_t at = json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : -1;

		if (at < 0 || at >= P2P_OPP_CHECKS_MAX || (i > 0 && at <= m->at[i - 1]))
			err = EBADMSG;
		else
			m->at[i] = (uint16_t)at;
	}
	m->n = (uint16_t)n;
	json_object_put(o);
	return err;
}
