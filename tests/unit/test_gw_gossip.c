/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Members as the gateway's other parts see them. */
#include "tests/unit/test.h"
#include "tests/unit/test_gw_fixture.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/location/gateway_records.h"
#include "lib/proto/opp_members.h"

static struct {
	unsigned int n;
	enum gw_gossip_event last;
	struct p2p_hit hit;
} told;

static void on_change(const struct p2p_hit *hit, enum gw_gossip_event event, void *arg)
{
	(void)arg;
	told.n++;
	told.last = event;
	told.hit = *hit;
}

static void peer_tell(struct gw_fixture *f, uint64_t epoch, int64_t lease_ms, bool tombstone,
		      bool speaks)
{
	const struct p2p_hit *hit = gw_identity_hit(f->other);
	static unsigned int n;
	struct p2p_record rec = {.kind = P2P_RECORD_PEER,
				 .overlay = f->gw->overlay,
				 .tombstone = tombstone,
				 .order = gw_wall(f->gw) + ++n};
	uint8_t bytes[P2P_RECORD_MAX];
	size_t len;

	assert_ok(gw_record_key_peer(f->gw, hit, &rec.key));
	memcpy(rec.pubkey, gw_identity_pubkey(f->other), sizeof(rec.pubkey));
	rec.expiry_ms = rec.order + 3600000;
	if (!tombstone) {
		rec.epoch = epoch;
		rec.lease_ms = gw_wall(f->gw) + (uint64_t)lease_ms;
	}

	if (speaks) {
		rec.locator[0] = (struct p2p_locator){.service = P2P_SERVICE_GATEWAY,
						      .transports = P2P_TRANSPORT_TLS,
						      .family = 4,
						      .port = 7443,
						      .addr = {192, 0, 2, 2}};
		rec.n_locators = 1;
	}
	assert_ok(p2p_record_sign(&rec, gw_identity_crypto(f->other), bytes, sizeof(bytes), &len));
	gw_gossip_record(f->gw->gossip, hit, &rec, bytes, len);
}

static void test_alone(void **state)
{
	struct gw_fixture *f = *state;
	struct gw_near near[4];
	struct p2p_key key = {{1}};

	assert_int_equal(gw_gossip_members(f->gw->gossip), 1);
	assert_int_equal(gw_gossip_nearest(f->gw->gossip, &key, 4, true, near), 1);
	assert_true(near[0].self && near[0].alive && near[0].epoch == f->gw->epoch);
	assert_true(gw_gossip_alive(f->gw->gossip, &f->gw->hit));
	assert_false(gw_gossip_alive(f->gw->gossip, gw_identity_hit(f->other)));
}

static void test_comes_and_goes(void **state)
{
	struct gw_fixture *f = *state;
	struct gw_gossip *g = f->gw->gossip;
	const struct p2p_hit *hit = gw_identity_hit(f->other);
	struct p2p_locator at[P2P_USERSET_GATEWAYS_MAX];
	struct gw_near near[4];
	struct p2p_key key;
	uint64_t generation = gw_gossip_generation(g);

	memset(&told, 0, sizeof(told));
	gw_gossip_on_change(g, on_change, NULL);
	/* one that does not speak the protocol is no member */
	peer_tell(f, 1, 60000, false, false);
	assert_int_equal(gw_gossip_members(g), 1);
	assert_int_equal(told.n, 0);
	peer_tell(f, 1, 60000, false, true);
	assert_int_equal(told.n, 1);
	assert_int_equal(told.last, GW_GOSSIP_JOINED);
	assert_ok(p2p_hit_cmp(&told.hit, hit));
	assert_true(gw_gossip_generation(g) != generation);
	assert_true(gw_gossip_alive(g, hit));
	assert_int_equal(gw_gossip_gateways(g, hit, at), 1);
	assert_int_equal(at[0].port, 7443);
	/* it sits at the key of its peer record, and so do we */
	assert_ok(gw_record_key_peer(f->gw, hit, &key));
	assert_int_equal(gw_gossip_nearest(g, &key, 4, false, near), 2);
	assert_ok(p2p_hit_cmp(&near[0].hit, hit));
	assert_true(near[1].self);
	generation = gw_gossip_generation(g);
	peer_tell(f, 1, 60000, false, true);
	assert_int_equal(told.n, 1);
	assert_true(gw_gossip_generation(g) == generation);
	peer_tell(f, 2, 60000, false, true);
	assert_int_equal(told.last, GW_GOSSIP_NEW_EPOCH);
	peer_tell(f, 2, 0, true, false);
	assert_int_equal(told.last, GW_GOSSIP_LEFT);
	assert_int_equal(gw_gossip_members(g), 1);
	assert_int_equal(gw_gossip_gateways(g, hit, at), 0);
}

static void test_revoked(void **state)
{
	struct gw_fixture *f = *state;
	struct gw_gossip *g = f->gw->gossip;

	memset(&told, 0, sizeof(told));
	gw_gossip_on_change(g, on_change, NULL);
	peer_tell(f, 1, 60000, false, true);
	gw_gossip_forget(g, gw_identity_hit(f->other));
	assert_int_equal(told.last, GW_GOSSIP_LEFT);
	assert_int_equal(gw_gossip_members(g), 1);
	gw_gossip_forget(g, gw_identity_hit(f->other));
	assert_int_equal(told.n, 2);
}

/* What another member tells is judged as what the engine has; one line says what was wrong. */
static void test_told(void **state)
{
	static struct p2p_opp_members m;
	static char body[P2P_OPP_MEMBERS_BODY_MAX + 1];
	struct gw_fixture *f = *state;
	struct gw_gossip *g = f->gw->gossip;
	const struct p2p_hit *hit = gw_identity_hit(f->other);
	struct p2p_record rec = {.kind = P2P_RECORD_PEER,
				 .overlay = f->gw->overlay,
				 .order = gw_wall(f->gw),
				 .epoch = 1,
				 .n_locators = 1};
	const char *answer;
	size_t len, got;

	rec.lease_ms = rec.order + 60000;
	rec.expiry_ms = rec.order + 3600000;
	rec.locator[0] = (struct p2p_locator){.service = P2P_SERVICE_GATEWAY,
					      .transports = P2P_TRANSPORT_TLS,
					      .family = 4,
					      .port = 7443,
					      .addr = {192, 0, 2, 2}};
	memcpy(rec.pubkey, gw_identity_pubkey(f->other), sizeof(rec.pubkey));
	/* signed, but at a place that is not its own: whoever made it does not have the secret */
	m.n_records = 1;
	assert_ok(p2p_record_sign(&rec, gw_identity_crypto(f->other), m.record[0].b, P2P_RECORD_MAX,
				  &got));
	m.record[0].len = (uint16_t)got;
	assert_ok(p2p_opp_members_encode(&m, body, sizeof(body), &len));
	assert_ok(gw_gossip_serve(g, hit, body, len, &answer, &got));
	assert_int_equal(gw_gossip_members(g), 1);
	assert_non_null(strstr(f->last_warn, "a bad peer record that "));
	assert_non_null(strstr(f->last_warn, "wrong key"));
	/* at its own, with a signature of somebody else's bytes */
	assert_ok(gw_record_key_peer(f->gw, hit, &rec.key));
	assert_ok(p2p_record_sign(&rec, gw_identity_crypto(f->other), m.record[0].b, P2P_RECORD_MAX,
				  &got));
	m.record[0].len = (uint16_t)got;
	m.record[0].b[got - 1] ^= 1;
	assert_ok(p2p_opp_members_encode(&m, body, sizeof(body), &len));
	assert_ok(gw_gossip_serve(g, hit, body, len, &answer, &got));
	assert_int_equal(gw_gossip_members(g), 1);
	m.record[0].b[m.record[0].len - 1] ^= 1;
	assert_ok(p2p_opp_members_encode(&m, body, sizeof(body), &len));
	assert_ok(gw_gossip_serve(g, hit, body, len, &answer, &got));
	assert_int_equal(gw_gossip_members(g), 2);
	assert_true(gw_gossip_alive(g, hit));
	assert_int_equal(gw_gossip_serve(g, hit, "{\"want\":1}", 10, &answer, &got), EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_alone, gw_fixture_setup, gw_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_comes_and_goes, gw_fixture_setup,
						gw_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_told, gw_fixture_setup, gw_fixture_teardown),
		cmocka_unit_test_setup_teardown(test_revoked, gw_fixture_setup,
						gw_fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
