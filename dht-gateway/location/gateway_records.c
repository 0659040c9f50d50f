/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/location/gateway_records.h"
#include <errno.h>
#include <string.h>
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "lib/proto/enrolment.h"
#include "lib/proto/permission.h"

/* A bell that is rung for a record older than this is refused: it is an echo. */
#define BELL_AGE_MAX_MS 120000

uint64_t gw_record_bell_id(const struct p2p_hit *hit, uint64_t order)
{
	uint64_t id = p2p_record_value_id(hit) ^ order;

	return id ? id : 1; /* 0 is no id */
}

unsigned int gw_record_ages(const struct gw *gw)
{
	return gw->enrolled ? gw_secrets_live(&gw->secrets, gw_wall(gw)) : 1;
}

static const struct gw_secret *secret_of(const struct gw *gw, unsigned int age)
{
	return age ? &gw->secrets.e[age].s : &gw->secret;
}

int gw_record_key_user_at(const struct gw *gw, const char *name, size_t len, unsigned int age,
			  struct p2p_key *key)
{
	const struct gw_secret *s = secret_of(gw, age);

	return p2p_key_make(key, s->b, s->len, P2P_RECORD_USER, name, len, gw->crypto);
}

int gw_record_key_peer_at(const struct gw *gw, const struct p2p_hit *hit, unsigned int age,
			  struct p2p_key *key)
{
	const struct gw_secret *s = secret_of(gw, age);

	return p2p_key_make_hit(key, s->b, s->len, P2P_RECORD_PEER, hit, gw->crypto);
}

int gw_record_key_user(const struct gw *gw, const char *name, size_t len, struct p2p_key *key)
{
	return gw_record_key_user_at(gw, name, len, 0, key);
}

int gw_record_key_peer(const struct gw *gw, const struct p2p_hit *hit, struct p2p_key *key)
{
	return gw_record_key_peer_at(gw, hit, 0, key);
}

/* May its signer serve the user? What takes a user away needs no permission. */
static enum p2p_record_fault permission_check(const struct gw *gw, const struct p2p_record *rec,
					      const struct p2p_hit *signer, uint64_t now_ms)
{
	if (rec->kind != P2P_RECORD_USER || rec->tombstone ||
	    !atomic_load(&gw->permission_required))
		return P2P_RECORD_OK;
	return p2p_permission_check(rec->permission, rec->permission_len, &gw->overlay, &rec->key,
				    signer, gw->anchor->pubkey, now_ms, gw->crypto);
}

bool gw_record_read(struct gw *gw, enum p2p_record_kind kind, const uint8_t key[DHT_KEY_LEN],
		    const struct p2p_hit *hit, const void *data, size_t len, struct p2p_record *rec,
		    struct p2p_hit *signer)
{
	struct p2p_key k;
	struct p2p_record_expect expect = {
		.overlay = &gw->overlay,
		.key = &k,
		.hit = hit,
		.kind = kind,
		.now_ms = gw_wall(gw),
	};
	enum p2p_record_fault fault;
	struct p2p_record r;
	struct p2p_hit s;

	memcpy(k.b, key, sizeof(k.b));
	fault = p2p_record_check(&r, &s, data, len, &expect, gw->crypto);
	if (fault == P2P_RECORD_OK)
		fault = permission_check(gw, &r, &s, expect.now_ms);
	/* what was signed by who is a member no more is nobody's */
	if (fault == P2P_RECORD_OK && gw_member_revoked(gw, &s))
		return false;
	if (fault == P2P_RECORD_OK) {
		*rec = r;
		if (signer)
			*signer = s;
		gw->metrics.values_good++;
		return true;
	}
	/* an engine may keep what has expired for a little longer: nothing to complain of */
	if (fault == P2P_RECORD_EXPIRED)
		return false;
	/* The signer that a bad record names proves nothing, and whoever writes under this key
	 * could name any: the key is the source. */
	gw_warn_fault(gw, fault, key, DHT_KEY_LEN, "a bad %s record on the DHT is ignored",
		      p2p_record_kind_text(kind));
	return false;
}

/* As p2p_record_check, but for the signature. */
static enum p2p_record_fault check_unsigned(const struct gw *gw, const void *data, size_t len,
					    struct p2p_record *rec, struct p2p_hit *signer)
{
	enum p2p_record_fault fault = p2p_record_decode(rec, data, len);
	uint64_t now = gw_wall(gw);
	int err;

	if (fault != P2P_RECORD_OK)
		return fault;
	if (rec->kind != P2P_RECORD_USER)
		return P2P_RECORD_BAD_KIND;
	if (memcmp(&rec->overlay, &gw->overlay, sizeof(rec->overlay)))
		return P2P_RECORD_BAD_OVERLAY;
	if (rec->order > now && rec->order - now > P2P_RECORD_FUTURE_MS)
		return P2P_RECORD_BAD_FUTURE;
	if (rec->expiry_ms <= now)
		return P2P_RECORD_EXPIRED;
	err = p2p_hit_from_pubkey(signer, rec->pubkey, gw->crypto);
	return !err ? P2P_RECORD_OK : err == ENOMEM ? P2P_RECORD_UNCHECKED : P2P_RECORD_BAD_SIGNER;
}

enum p2p_record_fault gw_record_judge(const struct gw *gw, const struct p2p_hit *from,
				      const void *data, size_t len, struct p2p_record *rec,
				      struct p2p_hit *signer)
{
	struct p2p_record_expect expect = {
		.overlay = &gw->overlay, .kind = P2P_RECORD_USER, .now_ms = gw_wall(gw)};
	enum p2p_record_fault fault = check_unsigned(gw, data, len, rec, signer);

	if (fault == P2P_RECORD_OK && (!from || p2p_hit_cmp(signer, from)))
		fault = p2p_record_check(rec, signer, data, len, &expect, gw->crypto);
	if (fault == P2P_RECORD_OK && gw_member_revoked(gw, signer))
		fault = P2P_RECORD_BAD_SIGNER;
	if (fault == P2P_RECORD_OK)
		fault = permission_check(gw, rec, signer, expect.now_ms);
	return fault;
}

enum p2p_record_fault gw_record_judge_again(const struct gw *gw, const void *data, size_t len,
					    struct p2p_record *rec, struct p2p_hit *signer)
{
	enum p2p_record_fault fault = check_unsigned(gw, data, len, rec, signer);

	if (fault == P2P_RECORD_OK && gw_member_revoked(gw, signer))
		fault = P2P_RECORD_BAD_SIGNER;
	if (fault == P2P_RECORD_OK)
		fault = permission_check(gw, rec, signer, gw_wall(gw));
	return fault;
}

void gw_record_seen(struct gw *gw, const struct p2p_record *rec, const struct p2p_hit *signer)
{
	if (rec->order > gw->hlc.given || p2p_hit_cmp(signer, &gw->hit))
		p2p_hlc_see(&gw->hlc, rec->order, gw_wall(gw));
}

int gw_record_make(struct gw *gw, struct p2p_record *rec, uint64_t lifetime_ms,
		   uint64_t min_expiry_ms, uint8_t *buf, size_t *len)
{
	uint64_t now = gw_wall(gw);
	uint64_t max = p2p_record_life_max(rec->kind);
	int err = p2p_hlc_next(&gw->hlc, now, rec->order, &rec->order);

	if (err)
		return err;
	rec->overlay = gw->overlay;
	memcpy(rec->pubkey, gw->pubkey, sizeof(rec->pubkey));
	rec->expiry_ms = now + lifetime_ms;
	if (rec->expiry_ms < min_expiry_ms)
		rec->expiry_ms = min_expiry_ms;
	if (rec->expiry_ms <= rec->order)
		rec->expiry_ms = rec->order + 1000;
	if (rec->expiry_ms > rec->order + max)
		rec->expiry_ms = rec->order + max;
	return p2p_record_sign(rec, gw->crypto, buf, P2P_RECORD_MAX, len);
}

/* The id that a value must have. */
static enum p2p_record_fault id_check(enum dht_kind kind, uint64_t id, const struct p2p_record *rec,
				      const struct p2p_hit *signer)
{
	struct p2p_enrolment en;
	enum p2p_record_fault fault;

	if (kind == DHT_BELL)
		return id == gw_record_bell_id(signer, rec->order) ? P2P_RECORD_OK
								   : P2P_RECORD_BAD_SIGNER;
	if (rec->kind != P2P_RECORD_ENROLMENT)
		return id == p2p_record_value_id(signer) ? P2P_RECORD_OK : P2P_RECORD_BAD_SIGNER;
	/* of a user there is one for each peer that may serve it */
	fault = p2p_enrolment_decode(&en, rec);
	if (fault != P2P_RECORD_OK)
		return fault;
	return id == p2p_enrolment_value_id(&en, signer) ? P2P_RECORD_OK : P2P_RECORD_BAD_SIGNER;
}

/* Users are enrolled, and peers revoked, by the authority, and nowhere else than in an overlay that
 * has one. */
static enum p2p_record_fault signer_check(const struct gw *gw, const struct p2p_record *rec,
					  const struct p2p_hit *signer)
{
	if (rec->kind != P2P_RECORD_ENROLMENT && rec->kind != P2P_RECORD_REVOCATION)
		return P2P_RECORD_OK;
	if (!gw->enrolled)
		return P2P_RECORD_BAD_KIND;
	return p2p_hit_cmp(signer, &gw->anchor->hit) ? P2P_RECORD_BAD_SIGNER : P2P_RECORD_OK;
}

bool gw_record_policy_store(enum dht_kind kind, const uint8_t key[DHT_KEY_LEN], uint64_t id,
			    const void *data, size_t len, void *arg)
{
	struct gw *gw = arg;
	struct p2p_record rec;
	struct p2p_hit signer;
	struct p2p_key k;
	struct p2p_record_expect expect = {
		.overlay = &gw->overlay,
		.key = &k,
		.now_ms = gw_wall(gw),
	};
	enum p2p_record_fault fault;

	memcpy(k.b, key, sizeof(k.b));
	fault = p2p_record_check(&rec, &signer, data, len, &expect, gw->crypto);
	if (fault == P2P_RECORD_OK)
		fault = signer_check(gw, &rec, &signer);
	if (fault == P2P_RECORD_OK)
		fault = id_check(kind, id, &rec, &signer);
	if (fault == P2P_RECORD_OK)
		fault = permission_check(gw, &rec, &signer, expect.now_ms);
	if (fault == P2P_RECORD_OK && kind == DHT_BELL &&
	    rec.order + BELL_AGE_MAX_MS < expect.now_ms)
		fault = P2P_RECORD_EXPIRED;
	if (fault == P2P_RECORD_OK)
		return true;
	if (fault != P2P_RECORD_EXPIRED) {
		atomic_fetch_add(&gw->refused[fault], 1);
		atomic_store(&gw->refused_fault, (int)fault);
	}
	return false;
}

bool gw_record_policy_edit(const void *prev, size_t prevlen, const void *next, size_t nextlen,
			   void *arg)
{
	struct p2p_record a, b;

	(void)arg;
	/* next was judged by the store policy; of prev it only matters what it is */
	if (p2p_record_decode(&b, next, nextlen) != P2P_RECORD_OK)
		return false;
	if (p2p_record_decode(&a, prev, prevlen) != P2P_RECORD_OK)
		return true;
	/* the ids say so already, but 64 bits could be made to collide */
	if (a.kind != b.kind || memcmp(a.pubkey, b.pubkey, sizeof(a.pubkey)))
		return false;
	/* the same again: repeats it, and so prolongs its stay */
	return p2p_record_cmp(&a, prev, prevlen, &b, next, nextlen) <= 0;
}
