/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records: bytes <-> structs, and the rules. docs/records.md is the description; a change here that
 * it does not allow for breaks networks (tests/golden guards it). */
#include "lib/proto/record.h"

#include <errno.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/record_impl.h"

static const uint8_t magic[3] = {'p', '2', 'p'};

#define FLAG_TOMBSTONE 1u

/* Types of TLVs. With the high bit, whoever does not know it skips it; else refuses the record. */
enum {
	TLV_EPOCH = 0x01,
	TLV_LEASE = 0x02,
	TLV_LOCATOR = 0x03,
	TLV_INSTANCES = 0x84,
	TLV_PERMISSION = 0x85,
	TLV_SOFTWARE = 0x86,
};
#define TLV_OPTIONAL 0x80u

#define DAY_MS (24ull * 3600 * 1000)

uint64_t p2p_record_life_max(enum p2p_record_kind kind)
{
	switch (kind) {
	case P2P_RECORD_USER:
	case P2P_RECORD_PEER:
	case P2P_RECORD_RELAY:
		return 7 * DAY_MS;
	case P2P_RECORD_ENROLMENT:
		return 400 * DAY_MS;
	case P2P_RECORD_REVOCATION:
		return 3660 * DAY_MS;
	}
	return 0;
}

const char *p2p_record_fault_text(enum p2p_record_fault fault)
{
	switch (fault) {
	case P2P_RECORD_OK:
		return "good";
	case P2P_RECORD_BAD_SIZE:
		return "wrong size";
	case P2P_RECORD_BAD_MAGIC:
		return "not a record";
	case P2P_RECORD_BAD_VERSION:
		return "unknown version";
	case P2P_RECORD_BAD_KIND:
		return "wrong kind";
	case P2P_RECORD_BAD_FLAGS:
		return "unknown flags";
	case P2P_RECORD_BAD_BODY:
		return "malformed body";
	case P2P_RECORD_BAD_UNKNOWN:
		return "a part that must be understood is unknown";
	case P2P_RECORD_BAD_OVERLAY:
		return "wrong overlay";
	case P2P_RECORD_BAD_KEY:
		return "wrong key";
	case P2P_RECORD_BAD_SIGNER:
		return "wrong signer";
	case P2P_RECORD_BAD_FUTURE:
		return "dated more than 120 s ahead";
	case P2P_RECORD_BAD_LIFE:
		return "wrong life time";
	case P2P_RECORD_EXPIRED:
		return "expired";
	case P2P_RECORD_BAD_SIGNATURE:
		return "bad signature";
	case P2P_RECORD_NO_PERMISSION:
		return "no permission of the authority to serve this user";
	case P2P_RECORD_BAD_PERMISSION:
		return "the permission is not the authority's for this user and peer";
	case P2P_RECORD_OLD_PERMISSION:
		return "the permission to serve this user has expired";
	case P2P_RECORD_REPLAYED:
		return "older than one that is known";
	case P2P_RECORD_UNCHECKED:
		return "could not be checked";
	case P2P_RECORD_FAULTS:
		break;
	}
	return "?";
}

const char *p2p_record_kind_text(enum p2p_record_kind kind)
{
	switch (kind) {
	case P2P_RECORD_USER:
		return "user";
	case P2P_RECORD_PEER:
		return "peer";
	case P2P_RECORD_RELAY:
		return "relay";
	case P2P_RECORD_ENROLMENT:
		return "enrolment";
	case P2P_RECORD_REVOCATION:
		return "revocation";
	}
	return "?";
}

/* --- rules that hold for a record on its way out and on its way in -----------------------------
 */

static bool software_valid(const char *s, size_t len)
{
	size_t i;

	if (len > P2P_SOFTWARE_MAX)
		return false;
	for (i = 0; i < len; i++) {
		if (s[i] < 0x20 || s[i] > 0x7e)
			return false;
	}
	return true;
}

static bool instances_valid(const struct p2p_record *rec)
{
	unsigned int i;

	if (rec->n_instances > P2P_RECORD_INSTANCES_MAX)
		return false;
	for (i = 0; i < rec->n_instances; i++) {
		if (rec->instance[i] == 0 || (i > 0 && rec->instance[i] <= rec->instance[i - 1]))
			return false;
	}
	return true;
}

/* What each kind must hold, and must not. */
static bool fields_valid(const struct p2p_record *rec)
{
	unsigned int i;

	if (rec->kind != P2P_RECORD_USER && rec->kind != P2P_RECORD_PEER)
		return rec->epoch == 0 && rec->lease_ms == 0 && rec->n_locators == 0 &&
		       rec->n_instances == 0 && rec->permission_len == 0 &&
		       rec->software[0] == '\0' && rec->body_len <= P2P_RECORD_BODY_MAX;
	if (rec->body_len != 0 || rec->n_locators > P2P_LOCATORS_MAX || !instances_valid(rec) ||
	    rec->permission_len > P2P_PERMISSION_MAX)
		return false;
	for (i = 0; i < rec->n_locators; i++) {
		if (!p2p_locator_valid(&rec->locator[i]))
			return false;
	}
	if (rec->tombstone)
		return rec->lease_ms == 0 && rec->n_locators == 0 && rec->n_instances == 0 &&
		       rec->permission_len == 0 && rec->software[0] == '\0';
	if (rec->epoch == 0)
		return false;
	if (rec->kind == P2P_RECORD_USER)
		return rec->lease_ms == 0 && rec->n_locators > 0 && rec->software[0] == '\0';
	return rec->lease_ms != 0 && rec->lease_ms <= rec->expiry_ms && rec->n_instances == 0 &&
	       rec->permission_len == 0;
}

static bool life_valid(const struct p2p_record *rec)
{
	return rec->order != 0 && rec->expiry_ms > rec->order &&
	       rec->expiry_ms - rec->order <= p2p_record_life_max(rec->kind);
}

/* --- encoding --------------------------------------------------------------------------------- */

static void put_tlv(struct p2p_writer *w, uint8_t type, size_t len)
{
	p2p_write_u8(w, type);
	p2p_write_u8(w, (uint8_t)len);
}

static void put_body(struct p2p_writer *w, const struct p2p_record *rec)
{
	unsigned int i;

	if (rec->epoch != 0) {
		put_tlv(w, TLV_EPOCH, 8);
		p2p_write_be64(w, rec->epoch);
	}
	if (rec->lease_ms != 0) {
		put_tlv(w, TLV_LEASE, 8);
		p2p_write_be64(w, rec->lease_ms);
	}
	for (i = 0; i < rec->n_locators; i++) {
		const struct p2p_locator *l = &rec->locator[i];
		size_t alen = l->family == 4 ? 4 : 16;

		put_tlv(w, TLV_LOCATOR, 4 + alen);
		p2p_write_u8(w, l->service);
		p2p_write_u8(w, l->transports);
		p2p_write_be16(w, l->port);
		p2p_write(w, l->addr, alen);
	}
	if (rec->n_instances > 0) {
		put_tlv(w, TLV_INSTANCES, 4u * rec->n_instances);
		for (i = 0; i < rec->n_instances; i++)
			p2p_write_be32(w, rec->instance[i]);
	}
	if (rec->permission_len > 0) {
		put_tlv(w, TLV_PERMISSION, rec->permission_len);
		p2p_write(w, rec->permission, rec->permission_len);
	}
	if (rec->software[0] != '\0') {
		put_tlv(w, TLV_SOFTWARE, strlen(rec->software));
		p2p_write(w, rec->software, strlen(rec->software));
	}
	p2p_write(w, rec->body, rec->body_len);
}

static enum p2p_record_fault check_tlvs(const uint8_t *p, size_t len);

int p2p_record_sign(const struct p2p_record *rec, const struct p2p_crypto *crypto, uint8_t *buf,
		    size_t cap, size_t *len)
{
	uint8_t out[P2P_RECORD_MAX];
	struct p2p_writer w;
	int err;

	if (p2p_record_life_max(rec->kind) == 0 || !life_valid(rec) ||
	    memchr(rec->software, '\0', sizeof(rec->software)) == NULL ||
	    !software_valid(rec->software, strlen(rec->software)) || !fields_valid(rec) ||
	    (rec->pubkey[0] != 2 && rec->pubkey[0] != 3) ||
	    check_tlvs(rec->body, rec->body_len) != P2P_RECORD_OK)
		return EINVAL;
	p2p_writer_init(&w, out, sizeof(out) - P2P_SIG_LEN);
	p2p_write(&w, magic, sizeof(magic));
	p2p_write_u8(&w, P2P_RECORD_VERSION);
	p2p_write_u8(&w, (uint8_t)rec->kind);
	p2p_write_u8(&w, rec->tombstone ? FLAG_TOMBSTONE : 0);
	p2p_write(&w, rec->overlay.b, sizeof(rec->overlay.b));
	p2p_write(&w, rec->key.b, sizeof(rec->key.b));
	p2p_write(&w, rec->pubkey, sizeof(rec->pubkey));
	p2p_write_be64(&w, rec->order);
	p2p_write_be64(&w, rec->expiry_ms);
	p2p_write_be16(&w, 0);
	put_body(&w, rec);
	if (w.full || cap < w.len + P2P_SIG_LEN)
		return EMSGSIZE;
	p2p_put_be16(out + AT_BODY_LEN, (uint16_t)(w.len - P2P_RECORD_HEADER));
	err = crypto->sign(crypto->arg, out, w.len, out + w.len);
	if (err != 0)
		return err;
	p2p_sig_make_low(out + w.len);
	memcpy(buf, out, w.len + P2P_SIG_LEN);
	*len = w.len + P2P_SIG_LEN;
	return 0;
}

/* --- decoding --------------------------------------------------------------------------------- */

static enum p2p_record_fault get_locator(struct p2p_record *rec, const uint8_t *p, size_t len)
{
	struct p2p_locator *l = &rec->locator[rec->n_locators];

	if (rec->n_locators == P2P_LOCATORS_MAX || (len != 4 + 4 && len != 4 + 16))
		return P2P_RECORD_BAD_BODY;
	l->service = p[0];
	l->transports = p[1];
	l->port = p2p_be16(p + 2);
	l->family = len == 4 + 4 ? 4 : 6;
	memcpy(l->addr, p + 4, len - 4);
	rec->n_locators++;
	return P2P_RECORD_OK;
}

static enum p2p_record_fault get_instances(struct p2p_record *rec, const uint8_t *p, size_t len)
{
	size_t i;

	if (len == 0 || len % 4 != 0 || len / 4 > P2P_RECORD_INSTANCES_MAX)
		return P2P_RECORD_BAD_BODY;
	for (i = 0; i < len / 4; i++)
		rec->instance[i] = p2p_be32(p + 4 * i);
	rec->n_instances = (uint8_t)(len / 4);
	return P2P_RECORD_OK;
}

static enum p2p_record_fault get_tlv(struct p2p_record *rec, uint8_t type, const uint8_t *p,
				     size_t len)
{
	switch (type) {
	case TLV_EPOCH:
	case TLV_LEASE: {
		uint64_t v = len == 8 ? p2p_be64(p) : 0;

		if (v == 0)
			return P2P_RECORD_BAD_BODY;
		*(type == TLV_EPOCH ? &rec->epoch : &rec->lease_ms) = v;
		return P2P_RECORD_OK;
	}
	case TLV_LOCATOR:
		return get_locator(rec, p, len);
	case TLV_INSTANCES:
		return get_instances(rec, p, len);
	case TLV_PERMISSION:
		if (len == 0 || len > P2P_PERMISSION_MAX)
			return P2P_RECORD_BAD_BODY;
		memcpy(rec->permission, p, len);
		rec->permission_len = (uint8_t)len;
		return P2P_RECORD_OK;
	case TLV_SOFTWARE:
		if (len == 0 || !software_valid((const char *)p, len))
			return P2P_RECORD_BAD_BODY;
		memcpy(rec->software, p, len);
		return P2P_RECORD_OK;
	default:
		return (type & TLV_OPTIONAL) != 0 ? P2P_RECORD_OK : P2P_RECORD_BAD_UNKNOWN;
	}
}

/* Types ascend, so that there is one encoding of each body; only locators repeat. rec NULL: form
 * only. */
static enum p2p_record_fault walk_tlvs(struct p2p_record *rec, const uint8_t *p, size_t len)
{
	unsigned int last = 0;

	while (len > 0) {
		uint8_t type = p[0];
		enum p2p_record_fault fault;
		size_t n;

		if (len < 2 || (n = p[1]) > len - 2)
			return P2P_RECORD_BAD_BODY;
		if (type == 0 || type < last || (type == last && type != TLV_LOCATOR))
			return P2P_RECORD_BAD_BODY;
		fault = rec != NULL ? get_tlv(rec, type, p + 2, n) : P2P_RECORD_OK;
		if (fault != P2P_RECORD_OK)
			return fault;
		last = type;
		p += 2 + n;
		len -= 2 + n;
	}
	return P2P_RECORD_OK;
}

static enum p2p_record_fault check_tlvs(const uint8_t *p, size_t len)
{
	return walk_tlvs(NULL, p, len);
}

enum p2p_record_fault p2p_record_decode(struct p2p_record *out, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	struct p2p_record rec;
	enum p2p_record_fault fault;
	size_t n;

	if (len < sizeof(magic) || memcmp(p, magic, sizeof(magic)) != 0)
		return P2P_RECORD_BAD_MAGIC;
	if (len > P2P_RECORD_MAX || len < AT_VERSION + 1)
		return P2P_RECORD_BAD_SIZE;
	if (p[AT_VERSION] != P2P_RECORD_VERSION)
		return P2P_RECORD_BAD_VERSION;
	if (len < P2P_RECORD_HEADER + P2P_SIG_LEN)
		return P2P_RECORD_BAD_SIZE;
	n = p2p_be16(p + AT_BODY_LEN);
	if (len != P2P_RECORD_HEADER + n + P2P_SIG_LEN)
		return P2P_RECORD_BAD_SIZE;
	if (p[AT_KIND] < P2P_RECORD_USER || p[AT_KIND] > P2P_RECORD_REVOCATION)
		return P2P_RECORD_BAD_KIND;
	if ((p[AT_FLAGS] & ~FLAG_TOMBSTONE) != 0)
		return P2P_RECORD_BAD_FLAGS;
	memset(&rec, 0, sizeof(rec));
	rec.kind = (enum p2p_record_kind)p[AT_KIND];
	rec.tombstone = (p[AT_FLAGS] & FLAG_TOMBSTONE) != 0;
	memcpy(rec.overlay.b, p + AT_OVERLAY, sizeof(rec.overlay.b));
	memcpy(rec.key.b, p + AT_KEY, sizeof(rec.key.b));
	memcpy(rec.pubkey, p + AT_PUBKEY, sizeof(rec.pubkey));
	rec.order = p2p_be64(p + AT_ORDER);
	rec.expiry_ms = p2p_be64(p + AT_EXPIRY);
	if (rec.pubkey[0] != 2 && rec.pubkey[0] != 3)
		return P2P_RECORD_BAD_SIGNER;
	if (rec.kind == P2P_RECORD_USER || rec.kind == P2P_RECORD_PEER) {
		fault = walk_tlvs(&rec, p + P2P_RECORD_HEADER, n);
	} else {
		memcpy(rec.body, p + P2P_RECORD_HEADER, n);
		rec.body_len = (uint16_t)n;
		fault = walk_tlvs(NULL, rec.body, n);
	}
	if (fault != P2P_RECORD_OK)
		return fault;
	if (!fields_valid(&rec))
		return P2P_RECORD_BAD_BODY;
	if (!life_valid(&rec))
		return P2P_RECORD_BAD_LIFE;
	*out = rec;
	return P2P_RECORD_OK;
}

enum p2p_record_fault p2p_record_check(struct p2p_record *out, struct p2p_hit *hit,
				       const void *bytes, size_t len,
				       const struct p2p_record_expect *expect,
				       const struct p2p_crypto *crypto)
{
	struct p2p_record rec;
	struct p2p_hit signer;
	enum p2p_record_fault fault = p2p_record_decode(&rec, bytes, len);
	int err;

	if (fault != P2P_RECORD_OK)
		return fault;
	if (expect->kind != 0 && rec.kind != expect->kind)
		return P2P_RECORD_BAD_KIND;
	if (expect->overlay != NULL &&
	    memcmp(rec.overlay.b, expect->overlay->b, sizeof(rec.overlay.b)) != 0)
		return P2P_RECORD_BAD_OVERLAY;
	if (expect->key != NULL && memcmp(rec.key.b, expect->key->b, sizeof(rec.key.b)) != 0)
		return P2P_RECORD_BAD_KEY;
	if (rec.order > expect->now_ms && rec.order - expect->now_ms > P2P_RECORD_FUTURE_MS)
		return P2P_RECORD_BAD_FUTURE;
	if (rec.expiry_ms <= expect->now_ms)
		return P2P_RECORD_EXPIRED;
	err = p2p_hit_from_pubkey(&signer, rec.pubkey, crypto);
	if (err != 0)
		return err == EINVAL || err == EBADMSG ? P2P_RECORD_BAD_SIGNER
						       : P2P_RECORD_UNCHECKED;
	if (expect->hit != NULL && p2p_hit_cmp(&signer, expect->hit) != 0)
		return P2P_RECORD_BAD_SIGNER;
	if (!p2p_sig_is_low((const uint8_t *)bytes + len - P2P_SIG_LEN))
		return P2P_RECORD_BAD_SIGNATURE;
	err = crypto->verify(crypto->arg, rec.pubkey, bytes, len - P2P_SIG_LEN,
			     (const uint8_t *)bytes + len - P2P_SIG_LEN);
	if (err != 0)
		return err == EBADMSG ? P2P_RECORD_BAD_SIGNATURE : P2P_RECORD_UNCHECKED;
	if (out != NULL)
		*out = rec;
	if (hit != NULL)
		*hit = signer;
	return P2P_RECORD_OK;
}

int p2p_record_cmp(const struct p2p_record *a, const void *abytes, size_t alen,
		   const struct p2p_record *b, const void *bbytes, size_t blen)
{
	return p2p_record_order_cmp(a->order, a->tombstone, abytes, alen, b->order, b->tombstone,
				    bbytes, blen);
}

uint64_t p2p_record_value_id(const struct p2p_hit *hit)
{
	uint64_t id = p2p_be64(hit->b + 8);

	return id != 0 ? id : 1;
}

void p2p_record_add_instance(struct p2p_record *rec, uint32_t instance)
{
	unsigned int i, j;

	if (instance == 0)
		return;
	for (i = 0; i < rec->n_instances && rec->instance[i] < instance; i++)
		;
	if (i < rec->n_instances && rec->instance[i] == instance)
		return;
	if (i == P2P_RECORD_INSTANCES_MAX)
		return;
	if (rec->n_instances < P2P_RECORD_INSTANCES_MAX)
		rec->n_instances++;
	for (j = rec->n_instances - 1u; j > i; j--)
		rec->instance[j] = rec->instance[j - 1];
	rec->instance[i] = instance;
}
