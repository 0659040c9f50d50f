/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_route: peers that are spoken to over TLS, and what may be sent over which connection. */
#include "tests/unit/test.h"

#include "modules/p2p_route/p2p_route_tls_table.h"

#define NOW 1000000u

static const struct p2p_hash_key key = {{1, 2, 3}};
static void *memory;
static struct tls_table t;

static void begin(int max)
{
	free(memory);
	memory = malloc(tls_table_size(max));
	assert_non_null(memory);
	tls_table_init(&t, memory, max, &key);
}

static int end(void **state)
{
	(void)state;
	free(memory);
	memory = NULL;
	return 0;
}

static struct p2p_hit hit(int n)
{
	struct p2p_hit h = {{0x20, 0x01, 0x00, 0x22}};

	h.b[14] = (uint8_t)(n >> 8);
	h.b[15] = (uint8_t)n;
	return h;
}

static struct tls_address addr(int n, uint16_t port)
{
	struct tls_address a = {.ip = {192, 0, 2, (uint8_t)n}, .len = 4, .port = port};

	return a;
}

static struct tls_peer *get(int h, int a, uint64_t now)
{
	struct p2p_hit who = hit(h);
	struct tls_address where = addr(a, 5061);

	return tls_table_get(&t, &who, &where, "sip:192.0.2.1:5061;transport=tls", now);
}

static enum tls_verdict gate(int a, int con, int meant, uint64_t now)
{
	struct tls_address where = addr(a, 5061);
	struct p2p_hit who = hit(meant);
	struct tls_peer *p;

	return tls_table_gate(&t, &where, con, meant ? &who : NULL, now, &p);
}

static void test_nothing_passes_but_over_a_proven_connection(void **state)
{
	struct tls_address other = addr(1, 5060);
	struct tls_peer *p, *q;

	(void)state;
	begin(16);
	assert_int_equal(gate(1, 7, 0, NOW), TLS_PASS); /* nobody's */
	p = get(1, 1, NOW);
	assert_int_equal(gate(1, 7, 0, NOW), TLS_HOLD);
	assert_int_equal(gate(1, 0, 0, NOW), TLS_HOLD);
	assert_int_equal(gate(2, 7, 0, NOW), TLS_PASS);
	assert_int_equal(tls_table_gate(&t, &other, 7, NULL, NOW, &q), TLS_PASS);
	assert_null(q);
	tls_peer_proving(p, NOW);
	assert_int_equal(gate(1, 7, 0, NOW), TLS_HOLD);
	tls_peer_proven(p, 7);
	assert_int_equal(gate(1, 7, 0, NOW), TLS_PASS);
	assert_int_equal(gate(1, 8, 0, NOW), TLS_HOLD);
	/* a second one, and so many that the first is forgotten */
	tls_peer_proven(p, 8);
	tls_peer_proven(p, 8);
	assert_int_equal(gate(1, 7, 0, NOW), TLS_PASS);
	assert_int_equal(gate(1, 8, 0, NOW), TLS_PASS);
	for (int i = 0; i < TLS_CONS; i++)
		tls_peer_proven(p, 20 + i);
	assert_int_equal(gate(1, 7, 0, NOW), TLS_HOLD);
	assert_int_equal(gate(1, 20, 0, NOW), TLS_PASS);
	assert_int_equal(gate(1, 0, 0, NOW), TLS_HOLD);
}

static void test_refused_for_a_while(void **state)
{
	struct tls_peer *p;

	(void)state;
	begin(16);
	p = get(1, 1, NOW);
	tls_peer_proven(p, 7);
	tls_peer_refused(p, NOW + 100);
	assert_int_equal(gate(1, 7, 0, NOW), TLS_REFUSE);
	assert_int_equal(gate(1, 8, 0, NOW + 99), TLS_REFUSE);
	assert_int_equal(gate(1, 7, 0, NOW + 100), TLS_HOLD);
	tls_peer_proven(p, 9);
	assert_int_equal(gate(1, 9, 0, NOW), TLS_PASS);
}

static void test_at_another_address_it_is_unproven(void **state)
{
	unsigned int generation;
	struct tls_peer *p;

	(void)state;
	begin(16);
	p = get(1, 1, NOW);
	tls_peer_proven(p, 7);
	generation = p->generation;
	assert_ptr_equal(get(1, 1, NOW), p);
	assert_int_equal(p->generation, generation);
	assert_ptr_equal(get(1, 2, NOW), p);
	assert_int_equal(p->state, TLS_UNPROVEN);
	assert_int_not_equal(p->generation, generation);
	assert_int_equal(gate(1, 7, 0, NOW), TLS_PASS); /* nobody's any more */
	assert_int_equal(gate(2, 7, 0, NOW), TLS_HOLD);
}

/* One of them is at the other's address, or says so. */
static void test_two_peers_at_one_address(void **state)
{
	struct tls_peer *v, *m;

	(void)state;
	begin(16);
	v = get(1, 1, NOW);
	m = get(2, 1, NOW);
	tls_peer_proven(m, 7);
	assert_int_equal(gate(1, 7, 0, NOW), TLS_WHOSE);
	assert_int_equal(gate(1, 7, 2, NOW), TLS_PASS);
	assert_int_equal(gate(1, 7, 1, NOW), TLS_HOLD); /* what is for v does not go to m */
	assert_int_equal(gate(1, 7, 3, NOW), TLS_REFUSE);
	tls_peer_refused(v, NOW + 100);
	assert_int_equal(gate(1, 7, 1, NOW), TLS_REFUSE);
	/* v has not been wanted for long: m has the address to itself */
	assert_int_equal(gate(1, 7, 2, NOW + TLS_SHARED_MS / 2), TLS_PASS);
	assert_int_equal(gate(1, 7, 0, NOW + TLS_SHARED_MS + 1), TLS_PASS);
	assert_int_equal(t.n, 1);
	struct p2p_hit who = hit(1);
	assert_null(tls_table_find(&t, &who));
}

static void test_what_is_held_keeps_its_order_and_its_bound(void **state)
{
	static struct tls_held m[TLS_HELD_MAX + 1];
	struct tls_peer *p;
	struct tls_held *h;
	int n = 0;

	(void)state;
	begin(16);
	p = get(1, 1, NOW);
	assert_null(tls_peer_release(p));
	for (int i = 0; i < TLS_HELD_MAX; i++)
		assert_true(tls_peer_hold(p, &m[i]));
	assert_false(tls_peer_hold(p, &m[TLS_HELD_MAX]));
	for (h = tls_peer_release(p); h != NULL; h = h->next)
		assert_ptr_equal(h, &m[n++]);
	assert_int_equal(n, TLS_HELD_MAX);
	assert_true(tls_peer_hold(p, &m[0]));
	assert_ptr_equal(tls_peer_release(p), &m[0]);
	assert_null(m[0].next);
}

static void test_who_is_wanted_comes_once(void **state)
{
	struct tls_peer *a, *b;

	(void)state;
	begin(16);
	assert_null(tls_table_wanted(&t));
	a = get(1, 1, NOW);
	b = get(2, 2, NOW);
	assert_true(tls_table_want(&t, a));
	assert_false(tls_table_want(&t, a));
	assert_true(tls_table_want(&t, b));
	assert_ptr_equal(tls_table_wanted(&t), b);
	assert_ptr_equal(tls_table_wanted(&t), a);
	assert_null(tls_table_wanted(&t));
	assert_true(tls_table_want(&t, a));
}

static void test_room_is_made_by_those_who_are_idle(void **state)
{
	static struct tls_held m;
	struct p2p_hit who;
	int i;

	(void)state;
	begin(4);
	for (i = 0; i < 4; i++)
		assert_non_null(get(i, i, NOW + (uint64_t)i));
	tls_peer_proving(get(0, 0, NOW), NOW);
	tls_table_want(&t, get(1, 1, NOW));
	tls_peer_hold(get(2, 2, NOW), &m);
	assert_non_null(get(4, 4, NOW + 10)); /* 3 goes */
	who = hit(3);
	assert_null(tls_table_find(&t, &who));
	assert_int_equal(gate(3, 7, 0, NOW), TLS_PASS);
	tls_peer_proving(get(4, 4, NOW), NOW);
	assert_null(get(5, 5, NOW + 10));
	assert_int_equal(t.n, 4);
	for (i = 0; i < 3; i++) {
		who = hit(i);
		assert_non_null(tls_table_find(&t, &who));
	}
}

/* Many peers come, move and go: each is found by its HIT and at its address, and nowhere else. */
static void test_many(void **state)
{
	uint32_t seed = 1;

	(void)state;
	begin(64);
	for (int i = 0; i < 20000; i++) {
		seed = seed * 1103515245 + 12345;
		int h = (int)(seed >> 16) % 200 + 1, a = (int)(seed >> 8) % 250;
		struct tls_peer *p = get(h, a, NOW + (uint64_t)i);
		struct p2p_hit who = hit(h);

		assert_non_null(p);
		assert_ptr_equal(tls_table_find(&t, &who), p);
		assert_true(gate(a, 1, h, NOW + (uint64_t)i) == TLS_HOLD);
		assert_true(t.n <= 64);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_nothing_passes_but_over_a_proven_connection, end),
		cmocka_unit_test_teardown(test_refused_for_a_while, end),
		cmocka_unit_test_teardown(test_at_another_address_it_is_unproven, end),
		cmocka_unit_test_teardown(test_two_peers_at_one_address, end),
		cmocka_unit_test_teardown(test_what_is_held_keeps_its_order_and_its_bound, end),
		cmocka_unit_test_teardown(test_who_is_wanted_comes_once, end),
		cmocka_unit_test_teardown(test_room_is_made_by_those_who_are_idle, end),
		cmocka_unit_test_teardown(test_many, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
