/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/proto/enrolment.h"

#include <errno.h>
#include <string.h>

#include "lib/base/bytes.h"

/* As in user and peer records the types ascend, so that there is one encoding of each body. */
enum {
	TLV_SUBJECT = 0x10,
	TLV_PEER = 0x11,
	TLV_DIGESTS = 0x12,
	TLV_REALM = 0x13,
	TLV_SEALED = 0x14,
	TLV_PERMISSION = 0x15,
	TLV_RULES = 0x16,
	TLV_CHANGES = 0x17,
};
#define TLV_OPTIONAL 0x80u

#define RULE_PERMISSION 1u
#define TAG_LEN 16
/* USER_ANY: of what stands where the ephemeral key is else */
#define SALT_LEN 16

size_t p2p_digests_len(uint8_t digests)
{
	if (digests == 0 || (digests & ~(P2P_DIGEST_MD5 | P2P_DIGEST_SHA256)) != 0)
		return 0;
	return ((digests & P2P_DIGEST_MD5) != 0 ? P2P_HA1_MD5_LEN : 0) +
	       ((digests & P2P_DIGEST_SHA256) != 0 ? P2P_HA1_SHA256_LEN : 0);
}

int p2p_digests_find(uint8_t digests, enum p2p_digest which, size_t *at, size_t *len)
{
	if ((digests & which) == 0)
		return ENOENT;
	*at = which == P2P_DIGEST_SHA256 && (digests & P2P_DIGEST_MD5) != 0 ? P2P_HA1_MD5_LEN : 0;
	*len = which == P2P_DIGEST_MD5 ? P2P_HA1_MD5_LEN : P2P_HA1_SHA256_LEN;
	return 0;
}

const char *p2p_digests_text(uint8_t digests)
{
	switch (digests) {
	case P2P_DIGEST_MD5:
		return "MD5";
	case P2P_DIGEST_SHA256:
		return "SHA-256";
	case P2P_DIGEST_MD5 | P2P_DIGEST_SHA256:
		return "MD5 SHA-256";
	default:
		return "";
	}
}

int p2p_digests_parse(uint8_t *digests, const char *text, size_t len)
{
	uint8_t found = 0;
	size_t i = 0, n;

	while (i < len) {
		if (text[i] == ' ' || text[i] == ',') {
			i++;
			continue;
		}
		for (n = 0; i + n < len && text[i + n] != ' ' && text[i + n] != ','; n++)
			;
		if (p2p_word_is(text + i, n, "md5"))
			found |= P2P_DIGEST_MD5;
		else if (p2p_word_is(text + i, n, "sha-256") || p2p_word_is(text + i, n, "sha256"))
			found |= P2P_DIGEST_SHA256;
		else
			return EINVAL;
		i += n;
	}
	if (found == 0)
		return EINVAL;
	*digests = found;
	return 0;
}

bool p2p_realm_valid(const char *realm, size_t len)
{
	size_t i;

	if (len == 0 || len > P2P_REALM_MAX)
		return false;
	for (i = 0; i < len; i++) {
		if (realm[i] < 0x20 || realm[i] > 0x7e || realm[i] == '"' || realm[i] == '\\')
			return false;
	}
	return true;
}

static bool is_user(const struct p2p_enrolment *en)
{
	return en->subject == P2P_ENROLMENT_USER || en->subject == P2P_ENROLMENT_USER_ANY;
}

static bool has_peer(const struct p2p_enrolment *en)
{
	return en->subject == P2P_ENROLMENT_USER || en->subject == P2P_ENROLMENT_PEER;
}

/* What each subject must hold, and must not. */
static bool fields_valid(const struct p2p_enrolment *en, bool tombstone)
{
	static const struct p2p_hit none;
	size_t head = en->subject == P2P_ENROLMENT_USER ? P2P_PUBKEY_LEN : SALT_LEN;
	size_t realm = strnlen(en->realm, sizeof(en->realm));

	if (en->subject < P2P_ENROLMENT_USER || en->subject > P2P_ENROLMENT_OVERLAY ||
	    has_peer(en) != (p2p_hit_cmp(&en->peer, &none) != 0))
		return false;
	if (tombstone)
		return en->digests == 0 && realm == 0 && en->sealed_len == 0 &&
		       en->permission_len == 0 && !en->permission_required && en->changes == 0 &&
		       en->n_changed == 0;
	if (en->subject == P2P_ENROLMENT_PEER
		    ? en->digests != 0 || realm != 0
		    : p2p_digests_len(en->digests) == 0 || !p2p_realm_valid(en->realm, realm))
		return false;
	if (is_user(en) ? en->sealed_len != head + p2p_digests_len(en->digests) + TAG_LEN
			: en->sealed_len != 0)
		return false;
	if (en->subject == P2P_ENROLMENT_OVERLAY)
		return en->permission_len == 0 && en->n_changed <= P2P_CHANGED_MAX &&
		       en->n_changed <= en->changes;
	return en->permission_len > 0 && en->permission_len <= P2P_PERMISSION_MAX &&
	       !en->permission_required && en->changes == 0 && en->n_changed == 0;
}

static void put_tlv(struct p2p_writer *w, uint8_t type, const void *value, size_t len)
{
	p2p_write_u8(w, type);
	p2p_write_u8(w, (uint8_t)len);
	p2p_write(w, value, len);
}

static void put_changes(struct p2p_writer *w, const struct p2p_enrolment *en)
{
	unsigned int i;

	p2p_write_u8(w, TLV_CHANGES);
	p2p_write_u8(w, (uint8_t)(8 + 4u * en->n_changed));
	p2p_write_be64(w, en->changes);
	for (i = 0; i < en->n_changed; i++)
		p2p_write_be32(w, en->changed[i]);
}

int p2p_enrolment_encode(const struct p2p_enrolment *en, struct p2p_record *rec)
{
	const uint8_t subject = (uint8_t)en->subject;
	const uint8_t rules = en->permission_required ? RULE_PERMISSION : 0;
	struct p2p_writer w;

	if (!fields_valid(en, rec->tombstone))
		return EINVAL;
	p2p_writer_init(&w, rec->body, sizeof(rec->body));
	put_tlv(&w, TLV_SUBJECT, &subject, 1);
	if (has_peer(en))
		put_tlv(&w, TLV_PEER, en->peer.b, sizeof(en->peer.b));
	if (en->digests != 0)
		put_tlv(&w, TLV_DIGESTS, &en->digests, 1);
	if (en->realm[0] != '\0')
		put_tlv(&w, TLV_REALM, en->realm, strlen(en->realm));
	if (en->sealed_len > 0)
		put_tlv(&w, TLV_SEALED, en->sealed, en->sealed_len);
	if (en->permission_len > 0)
		put_tlv(&w, TLV_PERMISSION, en->permission, en->permission_len);
	if (en->subject == P2P_ENROLMENT_OVERLAY && !rec->tombstone) {
		put_tlv(&w, TLV_RULES, &rules, 1);
		put_changes(&w, en);
	}
	rec->kind = P2P_RECORD_ENROLMENT;
	rec->body_len = (uint16_t)w.len;
	return 0;
}

static enum p2p_record_fault get_tlv(struct p2p_enrolment *en, uint8_t type, const uint8_t *p,
				     size_t len)
{
	size_t i;

	switch (type) {
	case TLV_SUBJECT:
		if (len != 1)
			return P2P_RECORD_BAD_BODY;
		/* a subject of a later version: not for this one to judge */
		if (p[0] < P2P_ENROLMENT_USER || p[0] > P2P_ENROLMENT_OVERLAY)
			return P2P_RECORD_BAD_UNKNOWN;
		en->subject = (enum p2p_enrolment_subject)p[0];
		return P2P_RECORD_OK;
	case TLV_PEER:
		if (len != sizeof(en->peer.b))
			return P2P_RECORD_BAD_BODY;
		memcpy(en->peer.b, p, len);
		return P2P_RECORD_OK;
	case TLV_DIGESTS:
		if (len != 1 || p2p_digests_len(p[0]) == 0)
			return P2P_RECORD_BAD_BODY;
		en->digests = p[0];
		return P2P_RECORD_OK;
	case TLV_REALM:
		if (!p2p_realm_valid((const char *)p, len))
			return P2P_RECORD_BAD_BODY;
		memcpy(en->realm, p, len);
		return P2P_RECORD_OK;
	case TLV_SEALED:
		if (len == 0 || len > sizeof(en->sealed))
			return P2P_RECORD_BAD_BODY;
		memcpy(en->sealed, p, len);
		en->sealed_len = (uint8_t)len;
		return P2P_RECORD_OK;
	case TLV_PERMISSION:
		if (len == 0 || len > sizeof(en->permission))
			return P2P_RECORD_BAD_BODY;
		memcpy(en->permission, p, len);
		en->permission_len = (uint8_t)len;
		return P2P_RECORD_OK;
	case TLV_RULES:
		if (len != 1 || (p[0] & ~RULE_PERMISSION) != 0)
			return P2P_RECORD_BAD_BODY;
		en->permission_required = (p[0] & RULE_PERMISSION) != 0;
		return P2P_RECORD_OK;
	case TLV_CHANGES:
		if (len < 8 || (len - 8) % 4 != 0 || (len - 8) / 4 > P2P_CHANGED_MAX)
			return P2P_RECORD_BAD_BODY;
		en->changes = p2p_be64(p);
		en->n_changed = (uint8_t)((len - 8) / 4);
		for (i = 0; i < en->n_changed; i++)
			en->changed[i] = p2p_be32(p + 8 + 4 * i);
		return P2P_RECORD_OK;
	default:
		return (type & TLV_OPTIONAL) != 0 ? P2P_RECORD_OK : P2P_RECORD_BAD_UNKNOWN;
	}
}

enum p2p_record_fault p2p_enrolment_decode(struct p2p_enrolment *out, const struct p2p_record *rec)
{
	const uint8_t *p = rec->body;
	size_t left = rec->body_len;
	struct p2p_enrolment en;
	bool rules = false, changes = false;
	unsigned int last = 0;

	if (rec->kind != P2P_RECORD_ENROLMENT)
		return P2P_RECORD_BAD_KIND;
	memset(&en, 0, sizeof(en));
	while (left > 0) {
		enum p2p_record_fault fault;
		size_t n;

		if (left < 2 || (n = p[1]) > left - 2 || p[0] <= last)
			return P2P_RECORD_BAD_BODY;
		fault = get_tlv(&en, p[0], p + 2, n);
		if (fault != P2P_RECORD_OK)
			return fault;
		last = p[0];
		rules = rules || last == TLV_RULES;
		changes = changes || last == TLV_CHANGES;
		p += 2 + n;
		left -= 2 + n;
	}
	/* they may be zero, but must be there, and nowhere else */
	if (rules != changes || rules != (en.subject == P2P_ENROLMENT_OVERLAY && !rec->tombstone) ||
	    !fields_valid(&en, rec->tombstone))
		return P2P_RECORD_BAD_BODY;
	*out = en;
	return P2P_RECORD_OK;
}

uint64_t p2p_enrolment_value_id(const struct p2p_enrolment *en, const struct p2p_hit *signer)
{
	/* of a user one for each peer; else one of its kind */
	return p2p_record_value_id(en->subject == P2P_ENROLMENT_USER ? &en->peer : signer);
}
