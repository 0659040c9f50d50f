/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/proto/opp_members.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/opp_impl.h"

#define HAVE_LEN (P2P_HIT_LEN + 8 + 1)
/* The longest of what is packed into one text. */
#define PACKED_MAX (P2P_OPP_MEMBERS_HAVES * HAVE_LEN)
#define PACKED_TEXT_MAX (P2P_BASE64URL_LEN(PACKED_MAX) + 1)

static bool digest_size(unsigned int n)
{
	return n > 0 && n <= P2P_OPP_MEMBERS_BUCKETS && (n & (n - 1)) == 0;
}

static void put_packed(struct p2p_text *t, const char *name, const uint8_t *bytes, size_t len)
{
	char text[PACKED_TEXT_MAX];

	p2p_base64url_print(text, bytes, len);
	p2p_text_add(t, "\"%s\":\"%s\"", name, text);
}

static void put_digest(struct p2p_text *t, const struct p2p_opp_members *m)
{
	uint8_t sums[8 * P2P_OPP_MEMBERS_BUCKETS];
	unsigned int i;

	for (i = 0; i < m->n_digest; i++)
		p2p_put_be64(sums + 8 * i, m->digest[i]);
	p2p_text_add(t, ",\"digest\":{\"as_of\":\"%" PRIu64 "\",", m->as_of);
	put_packed(t, "sums", sums, 8 * (size_t)m->n_digest);
	p2p_text_add(t, "}");
}

static void put_haves(struct p2p_text *t, const struct p2p_opp_members *m)
{
	uint8_t packed[PACKED_MAX], mask[8];
	char hex[2 * sizeof(mask) + 1];
	unsigned int i;

	for (i = 0; i < m->n_haves; i++) {
		uint8_t *p = packed + HAVE_LEN * i;

		memcpy(p, m->have[i].hit.b, P2P_HIT_LEN);
		p2p_put_be64(p + P2P_HIT_LEN, m->have[i].order);
		p[HAVE_LEN - 1] = m->have[i].dead;
	}
	p2p_put_be64(mask, m->buckets);
	p2p_hex_print(hex, mask, sizeof(mask));
	p2p_text_add(t, ",\"have\":{\"of\":%u,\"buckets\":\"%s\",", m->n_buckets, hex);
	put_packed(t, "members", packed, HAVE_LEN * (size_t)m->n_haves);
	p2p_text_add(t, "}");
}

static void put_hits(struct p2p_text *t, const struct p2p_opp_members *m)
{
	char hit[P2P_HIT_TEXT_MAX];
	unsigned int i;

	for (i = 0; i < m->n_doubts; i++) {
		const struct p2p_opp_doubt *d = &m->doubt[i];

		p2p_hit_print(&d->hit, hit);
		p2p_text_add(t,
			     "%s{\"hit\":\"%s\",\"order\":\"%" PRIu64 "\",\"state\":\"%s\","
			     "\"age_ms\":%" PRIu32 "}",
			     i > 0 ? "," : ",\"doubts\":[", hit, d->order,
			     d->dead ? "dead" : "suspect", d->age_ms);
	}
	p2p_text_add(t, m->n_doubts > 0 ? "]" : "");
	for (i = 0; i < m->n_probes; i++) {
		p2p_hit_print(&m->probe[i], hit);
		p2p_text_add(t, "%s\"%s\"", i > 0 ? "," : ",\"probe\":[", hit);
	}
	p2p_text_add(t, m->n_probes > 0 ? "]" : "");
	for (i = 0; i < m->n_seen; i++) {
		p2p_hit_print(&m->seen[i].hit, hit);
		p2p_text_add(t, "%s{\"hit\":\"%s\",\"age_ms\":%" PRIu32 "}",
			     i > 0 ? "," : ",\"seen\":[", hit, m->seen[i].age_ms);
	}
	p2p_text_add(t, m->n_seen > 0 ? "]" : "");
}

int p2p_opp_members_encode(const struct p2p_opp_members *m, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;
	unsigned int i;

	if (cap == 0)
		return EMSGSIZE;
	if (m->n_records > P2P_OPP_MEMBERS_RECORDS || m->n_doubts > P2P_OPP_MEMBERS_DOUBTS ||
	    m->n_probes > P2P_OPP_MEMBERS_PROBES || m->n_seen > P2P_OPP_MEMBERS_PROBES ||
	    m->n_haves > P2P_OPP_MEMBERS_HAVES || m->n_wants > P2P_OPP_MEMBERS_WANTS ||
	    (m->n_digest > 0 && !digest_size(m->n_digest)) ||
	    (m->n_buckets > 0 && !digest_size(m->n_buckets)))
		return EINVAL;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"records\":[");
	for (i = 0; i < m->n_records; i++) {
		if (i > 0)
			p2p_text_add(&t, ",");
		if (p2p_opp_put_record(&t, m->record[i].b, m->record[i].len) != 0)
			return EINVAL;
	}
	p2p_text_add(&t, "]");
	put_hits(&t, m);
	if (m->n_digest > 0)
		put_digest(&t, m);
	if (m->n_buckets > 0)
		put_haves(&t, m);
	if (m->n_wants > 0) {
		p2p_text_add(&t, ",");
		put_packed(&t, "want", m->want[0].b, P2P_HIT_LEN * (size_t)m->n_wants);
	}
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

/* --- reading -----------------------------------------------------------------------------------
 */

static int hit_of(const char *s, struct p2p_hit *hit)
{
	return s != NULL && p2p_hit_parse(hit, s, strlen(s)) == 0 ? 0 : EBADMSG;
}

/* n pieces of `piece` bytes each, at most max. */
static int get_packed(json_object *o, const char *name, size_t piece, size_t max, uint8_t *out,
		      size_t *n)
{
	const char *s = p2p_opp_get_string(o, name, P2P_BASE64URL_LEN(piece * max) + 1);
	size_t len = s != NULL ? strlen(s) : 0, bytes = len * 3 / 4;

	if (s == NULL || bytes % piece != 0 || bytes / piece > max ||
	    p2p_base64url_parse(out, bytes, s, len) != 0)
		return EBADMSG;
	*n = bytes / piece;
	return 0;
}

static int get_records(json_object *o, struct p2p_opp_members *m)
{
	json_object *list;
	size_t i, n;
	int err = p2p_opp_find_list(o, "records", P2P_OPP_MEMBERS_RECORDS, &list, &n);

	for (i = 0; err == 0 && i < n; i++)
		err = p2p_opp_record_of(json_object_array_get_idx(list, i), m->record[i].b,
					&m->record[i].len);
	m->n_records = (uint8_t)n;
	return err;
}

static int get_doubts(json_object *o, struct p2p_opp_members *m)
{
	json_object *list;
	size_t i, n;
	int err = p2p_opp_find_list(o, "doubts", P2P_OPP_MEMBERS_DOUBTS, &list, &n);

	for (i = 0; err == 0 && i < n; i++) {
		json_object *v = json_object_array_get_idx(list, i);
		struct p2p_opp_doubt *d = &m->doubt[i];
		const char *state;

		if (!json_object_is_type(v, json_type_object))
			return EBADMSG;
		err = hit_of(p2p_opp_get_string(v, "hit", P2P_HIT_TEXT_MAX), &d->hit);
		if (err == 0)
			err = p2p_opp_get_u64(v, "order", &d->order);
		if (err == 0)
			err = p2p_opp_get_u32(v, "age_ms", 0, UINT32_MAX, &d->age_ms);
		state = p2p_opp_get_string(v, "state", 16);
		if (state == NULL || (strcmp(state, "dead") != 0 && strcmp(state, "suspect") != 0))
			return EBADMSG;
		d->dead = strcmp(state, "dead") == 0;
	}
	m->n_doubts = (uint8_t)n;
	return err;
}

static int get_probes(json_object *o, struct p2p_opp_members *m)
{
	json_object *list;
	size_t i, n;
	int err = p2p_opp_find_list(o, "probe", P2P_OPP_MEMBERS_PROBES, &list, &n);

	for (i = 0; err == 0 && i < n; i++)
		err = hit_of(
			p2p_opp_string_of(json_object_array_get_idx(list, i), P2P_HIT_TEXT_MAX),
			&m->probe[i]);
	m->n_probes = (uint8_t)n;
	if (err == 0)
		err = p2p_opp_find_list(o, "seen", P2P_OPP_MEMBERS_PROBES, &list, &n);
	for (i = 0; err == 0 && i < n; i++) {
		json_object *v = json_object_array_get_idx(list, i);

		if (!json_object_is_type(v, json_type_object))
			return EBADMSG;
		err = hit_of(p2p_opp_get_string(v, "hit", P2P_HIT_TEXT_MAX), &m->seen[i].hit);
		if (err == 0)
			err = p2p_opp_get_u32(v, "age_ms", 0, UINT32_MAX, &m->seen[i].age_ms);
	}
	m->n_seen = (uint8_t)n;
	return err;
}

static int get_digest(json_object *o, struct p2p_opp_members *m)
{
	uint8_t sums[8 * P2P_OPP_MEMBERS_BUCKETS];
	json_object *v;
	size_t i, n;
	int err;

	if (!json_object_object_get_ex(o, "digest", &v))
		return 0;
	if (!json_object_is_type(v, json_type_object))
		return EBADMSG;
	err = p2p_opp_get_u64(v, "as_of", &m->as_of);
	if (err == 0)
		err = get_packed(v, "sums", 8, P2P_OPP_MEMBERS_BUCKETS, sums, &n);
	if (err == 0 && !digest_size((unsigned int)n))
		err = EBADMSG;
	for (i = 0; err == 0 && i < n; i++)
		m->digest[i] = p2p_be64(sums + 8 * i);
	m->n_digest = err == 0 ? (uint8_t)n : 0;
	return err;
}

static int get_haves(json_object *o, struct p2p_opp_members *m)
{
	uint8_t packed[PACKED_MAX], mask[8];
	json_object *v;
	size_t i, n = 0;
	uint32_t of;
	int err;

	if (!json_object_object_get_ex(o, "have", &v))
		return 0;
	if (!json_object_is_type(v, json_type_object))
		return EBADMSG;
	err = p2p_opp_get_u32(v, "of", 1, P2P_OPP_MEMBERS_BUCKETS, &of);
	if (err == 0)
		err = p2p_opp_get_hex(v, "buckets", mask, sizeof(mask));
	if (err == 0)
		err = get_packed(v, "members", HAVE_LEN, P2P_OPP_MEMBERS_HAVES, packed, &n);
	if (err != 0 || !digest_size(of))
		return EBADMSG;
	m->n_buckets = (uint8_t)of;
	m->buckets = p2p_be64(mask);
	for (i = 0; i < n; i++) {
		const uint8_t *p = packed + HAVE_LEN * i;

		if (p[HAVE_LEN - 1] > 1)
			return EBADMSG;
		memcpy(m->have[i].hit.b, p, P2P_HIT_LEN);
		m->have[i].order = p2p_be64(p + P2P_HIT_LEN);
		m->have[i].dead = p[HAVE_LEN - 1] == 1;
	}
	m->n_haves = (uint8_t)n;
	return 0;
}

static int get_wants(json_object *o, struct p2p_opp_members *m)
{
	size_t n;
	int err;

	if (!json_object_object_get_ex(o, "want", NULL))
		return 0;
	err = get_packed(o, "want", P2P_HIT_LEN, P2P_OPP_MEMBERS_WANTS, m->want[0].b, &n);
	if (err == 0)
		m->n_wants = (uint8_t)n;
	return err;
}

int p2p_opp_members_decode(struct p2p_opp_members *m, const char *text, size_t len)
{
	json_object *o;
	int err;

	if (len > P2P_OPP_MEMBERS_BODY_MAX)
		return EMSGSIZE;
	err = p2p_opp_bulk_parse(text, len, &o);
	if (err != 0)
		return err;
	memset(m, 0, sizeof(*m));
	err = get_records(o, m);
	if (err == 0)
		err = get_doubts(o, m);
	if (err == 0)
		err = get_probes(o, m);
	if (err == 0)
		err = get_digest(o, m);
	if (err == 0)
		err = get_haves(o, m);
	if (err == 0)
		err = get_wants(o, m);
	json_object_put(o);
	return err;
}
