/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The authority's part of a revocation. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include "dht-gateway/enrol/gateway_enrol.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/enrol/gateway_rotate_impl.h"

#define LIFE_MS (3650 * 86400000ull)

static void gather(const struct gw_peer_info *info, void *arg)
{
	gw_rotation_queue(arg, &info->hit);
}

static bool gather_member(const struct gw_member *m, void *arg)
{
	gw_rotation_queue(arg, &m->hit);
	return true;
}

/* To all that are known, at once. */
void gw_rotation_spread(struct gw_rotation *r)
{
	uint64_t cursor = 0;

	gw_rotation_put(r, gw_rotation_count(r));
	gw_roster_scan(r->gw->settings->authority_dir, gather_member, r);
	gw_peers_scan(r->gw->peers, &cursor, SIZE_MAX, gather, r);
	gw_rotation_run(r);
}

/* The next secret is on the disk before the revocation that names it. */
static int next_make(struct gw_rotation *r)
{
	struct gw *gw = r->gw;
	int err;

	if (gw->secrets.has_next)
		return 0;
	err = gw_secret_random(&gw->secrets.next);
	if (err)
		return err;
	gw->secrets.has_next = true;
	err = gw_secrets_save(&gw->secrets, gw->settings->secret_file);
	if (err)
		gw->secrets.has_next = false;
	return err;
}

static int record_sign(struct gw_rotation *r, const struct gw_authority *a,
		       const struct p2p_hit *hit, uint8_t *buf, size_t *len)
{
	struct gw *gw = r->gw;
	struct p2p_revocation rev = {.number = gw_rotation_count(r) + 1, .hit = *hit};
	struct p2p_record rec;
	int err = p2p_secret_mark(rev.mark, gw->secrets.next.b, gw->secrets.next.len, &gw->overlay,
				  rev.number, gw->crypto);

	memset(&rec, 0, sizeof(rec));
	if (!err)
		err = p2p_revocation_encode(&rev, &rec);
	if (!err)
		err = p2p_revocation_key(&rec.key, &gw->overlay, rev.number, gw->crypto);
	if (!err)
		err = p2p_hlc_next(&gw->hlc, gw_wall(gw), 0, &rec.order);
	if (err)
		return err;
	rec.overlay = gw->overlay;
	memcpy(rec.pubkey, gw_authority_anchor(a)->pubkey, sizeof(rec.pubkey));
	rec.expiry_ms = rec.order + LIFE_MS;
	return p2p_record_sign(&rec, gw_authority_crypto(a), buf, P2P_RECORD_MAX, len);
}

/* A revocation is there whose secret was made here: it is in use from now on. */
void gw_rotation_promote(struct gw_rotation *r)
{
	struct gw *gw = r->gw;
	uint32_t count = gw_rotation_count(r);

	if (gw->secrets.has_next && gw_rotation_generation(r) < count &&
	    gw_rotation_right_secret(r, &gw->secrets.next, count)) {
		struct gw_secret s = gw->secrets.next;

		if (!gw_rotation_take_secret(r, &s, count))
			gw->secret = gw->secrets.e[0].s;
		OPENSSL_cleanse(&s, sizeof(s));
	}
}

static int revoke(struct gw_rotation *r, const struct gw_authority *a, struct gw_member *member)
{
	struct gw *gw = r->gw;
	enum p2p_record_fault fault;
	uint8_t buf[P2P_RECORD_MAX];
	size_t len;
	int err = next_make(r);

	if (!err)
		err = record_sign(r, a, &member->hit, buf, &len);
	if (!err)
		err = gw_revocation_add(gw->members, buf, len, &fault);
	if (err)
		return err;
	member->revoked_ms = gw_wall(gw);
	err = gw_roster_put(gw->settings->authority_dir, member);
	if (err)
		p2p_log(gw->log, P2P_LOG_WARN, "%s: %s", gw->settings->authority_dir,
			strerror(err));
	gw_rotation_enforce(r, gw_rotation_count(r));
	gw_rotation_promote(r);
	if (gw_rotation_generation(r) == gw_rotation_count(r))
		gw_rotation_rekey(gw);
	gw_rotation_spread(r);
	return 0;
}

int gw_rotation_revoke(struct gw_rotation *r, const struct p2p_hit *hit, char *err, size_t errlen)
{
	struct gw *gw = r->gw;
	struct gw_authority *a;
	struct gw_member member;
	char text[P2P_HIT_TEXT_MAX];
	int ret;

	p2p_hit_print(hit, text);
	if (!p2p_hit_cmp(hit, &gw->hit)) {
		snprintf(err, errlen,
			 "this is the peer that has the authority: it does not revoke "
			 "itself");
		return EINVAL;
	}
	ret = gw_enrol_authority(gw, &a, err, errlen);
	if (ret)
		return ret;
	ret = gw_member_revoked(gw, hit) ? EALREADY : 0;
	if (!ret)
		ret = gw_roster_member(gw->settings->authority_dir, hit, &member);
	if (!ret && gw_rotation_behind(r)) {
		snprintf(err, errlen,
			 "this peer has not caught up with the overlay yet (it has "
			 "%u of %u revocations, and the secret of generation %u)",
			 gw_rotation_count(r),
			 r->heard > gw_rotation_count(r) ? r->heard : gw_rotation_count(r),
			 gw_rotation_generation(r));
		gw_authority_free(a);
		return EBUSY;
	}
	if (ret == EALREADY)
		snprintf(err, errlen, "%s is revoked already", text);
	else if (ret == ENOENT)
		snprintf(err, errlen, "%s is no member of this overlay", text);
	else if (!ret)
		ret = revoke(r, a, &member);
	if (ret && ret != EALREADY && ret != ENOENT)
		snprintf(err, errlen, "%s cannot be revoked: %s", text, strerror(ret));
	gw_authority_free(a);
	return ret;
}
