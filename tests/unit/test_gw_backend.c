/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engines that need nothing but themselves (OpenDHT's nodes on ports of 127.0.0.1). */
#include "config.h"
#include <unistd.h>
#include "tests/unit/dht_conform.h"

static void test_memory(void **state)
{
	(void)state;
	conform("memory", NULL);
}

/* Nobody to tell, and no evidence that there is nothing. */
static void test_none(void **state)
{
	static const uint8_t key[DHT_KEY_LEN] = {1};
	struct net n = {.ops = dht_backend_find("none", NULL), .base = event_base_new()};
	struct dht_stats st;
	struct dht_op *op;
	struct dht_watch *watch;
	struct get g;

	(void)state;
	snprintf(n.dir, sizeof(n.dir), "/tmp/gwnone.%ld", (long)getpid());
	node_start(&n, 0);
	n.ops->stats(n.b[0], &st);
	assert_true(st.alone && st.connected);
	assert_int_equal(put(&n, 0, key, 1, "v1"), ENETUNREACH);
	get(&n, 0, key, &g);
	assert_int_equal(g.n, 0);
	assert_int_equal(g.verdict, DHT_INCOMPLETE);
	assert_ok(n.ops->watch(n.b[0], key, on_found, &g, &watch));
	assert_ok(n.ops->ring(n.b[0], key, 1, "v1", 2));
	n.ops->unwatch(n.b[0], watch);
	/* one that is given up, and one that the end finds */
	memset(&g, 0, sizeof(g));
	assert_ok(n.ops->get(n.b[0], key, on_found, on_got, &g, &op));
	n.ops->cancel(n.b[0], op);
	assert_false(wait_for(&n, &g.done, 50));
	assert_ok(n.ops->get(n.b[0], key, on_found, on_got, &g, &op));
	n.ops->close(n.b[0]);
	assert_true(g.done);
	event_base_free(n.base);
	/* nor is it one of two */
	assert_null(dht_backend_find("memory none", NULL));
	assert_null(dht_backend_find("none memory", NULL));
}

#ifdef WITH_OPENDHT
static void test_opendht(void **state)
{
	(void)state;
	conform("opendht", NULL);
}

static void test_both(void **state)
{
	(void)state;
	conform("opendht memory", NULL);
}

#define STORE (200 * 1024)
/* What a value of the tests below takes there, at least and at most. */
#define EACH_MIN 600
#define EACH_MAX 1024

/* What is stored for others is bounded. What is there stays, its later versions are taken, and so
 * is what a node puts itself. */
static void test_store_is_full(void **state)
{
	const struct net like = {.store_bytes = STORE};
	struct net *n = net_start("opendht", &like);
	char text[64] = "v1 fifty bytes and a little more, so that they are not too many";
	uint8_t key[DHT_KEY_LEN] = {0};
	struct dht_stats st = {0};
	unsigned int i, stored = 0;
	struct get g;

	(void)state;
	for (i = 0; i < 600; i++) {
		key[0] = (uint8_t)i;
		key[19] = (uint8_t)(i >> 8);
		put(n, 1, key, 7, text);
	}
	for (int t = 0; t < 200 && (!st.refused || !st.stored); t++) {
		pause_ms(n, 50);
		n->ops->stats(n->b[0], &st);
	}
	assert_true(st.refused > 0 && st.refused <= 600);
	assert_in_range(st.stored, STORE / EACH_MAX, STORE / EACH_MIN);
	assert_true(st.stored_bytes <= STORE);
	/* the first are there, and a later one takes the place of an earlier one, the last are not
	 */
	text[1] = '2';
	for (i = 0; i < 20; i++) {
		key[0] = (uint8_t)i;
		key[19] = 0;
		put(n, 1, key, 7, text);
		get(n, 2, key, &g);
		assert_int_equal(g.n, 1);
		assert_string_equal(g.v[0].text, text);
		get(n, 0, key, &g);
		stored += g.n == 1 && g.here + g.away > 0 && !strcmp(g.v[0].text, text);
	}
	assert_int_equal(stored, 20);
	n->ops->stats(n->b[0], &st);
	assert_true(st.stored_bytes <= STORE);
	/* its own it puts, and others find it here */
	key[18] = 77;
	put(n, 0, key, 7, text);
	get(n, 2, key, &g);
	assert_int_equal(g.n, 1);
	assert_string_equal(g.v[0].text, text);
	net_stop(n);
}

#define PLACE (40 * 1024)

/* Nor does one fill a part of the keys: of those that begin alike, a 16th of the store. */
static void test_place_is_full(void **state)
{
	const struct net like = {.store_bytes = 16 * PLACE};
	struct net *n = net_start("opendht", &like);
	char text[64] = "v1 fifty bytes and a little more, so that they are not too many";
	uint8_t key[DHT_KEY_LEN] = {5};
	struct dht_stats st = {0};
	struct get g;

	(void)state;
	for (unsigned int i = 0; i < 200; i++) {
		key[19] = (uint8_t)i;
		put(n, 1, key, 7, text);
	}
	for (int t = 0; t < 200 && (!st.refused || !st.stored); t++) {
		pause_ms(n, 50);
		n->ops->stats(n->b[0], &st);
	}
	assert_in_range(st.refused, 100, 200);
	assert_in_range(st.stored, PLACE / EACH_MAX, PLACE / EACH_MIN);
	/* the first is there, and a later one takes its place; elsewhere there is room */
	text[1] = '2';
	key[19] = 0;
	put(n, 1, key, 7, text);
	get(n, 2, key, &g);
	assert_int_equal(g.n, 1);
	assert_string_equal(g.v[0].text, text);
	key[0] = 6;
	put(n, 1, key, 7, text);
	get(n, 2, key, &g);
	assert_int_equal(g.n, 1);
	n->ops->stats(n->b[0], &st);
	assert_true(st.stored_bytes < 2 * PLACE);
	net_stop(n);
}

/* Nobody is known, nobody was ever to be known: what is here is all there is. */
static void test_alone(void **state)
{
	static const uint8_t key[DHT_KEY_LEN] = {1};
	struct net n = {.ops = dht_backend_find("opendht", NULL), .base = event_base_new()};
	struct dht_stats st;
	struct get g;

	(void)state;
	snprintf(n.dir, sizeof(n.dir), "/tmp/gwalone.%ld", (long)getpid());
	n.port = free_port();
	node_start(&n, 0);
	n.ops->stats(n.b[0], &st);
	assert_true(st.alone);
	assert_true(st.connected);
	get(&n, 0, key, &g);
	assert_int_equal(g.verdict, DHT_COMPLETE);
	assert_int_equal(put(&n, 0, key, 1, "v1"), ENETUNREACH);
	n.ops->close(n.b[0]);
	/* but one that is to join others, and cannot, knows nothing */
	n.port = free_port();
	node_start(&n, 1);
	n.ops->stats(n.b[1], &st);
	assert_false(st.alone);
	assert_false(st.connected);
	memset(&g, 0, sizeof(g));
	{
		struct dht_op *op;

		assert_ok(n.ops->get(n.b[1], key, on_found, on_got, &g, &op));
		if (wait_for(&n, &g.done, 500))
			assert_int_equal(g.verdict, DHT_INCOMPLETE);
	}
	n.ops->close(n.b[1]);
	event_base_free(n.base);
}

static void test_cannot_bind(void **state)
{
	struct event_base *base = event_base_new();
	struct dht_config config = {.bind4 = "192.0.2.77", .port = 4222, .max_ops = 1};
	char reason[256] = "";
	struct dht_backend *b;

	(void)state;
	config.policy.store = policy_store;
	config.policy.edit = policy_edit;
	assert_int_not_equal(
		dht_backend_find("opendht", NULL)
			->open(&b, base, &config, on_status, NULL, reason, sizeof(reason)),
		0);
	assert_true(*reason);
	config.bind4 = "";
	assert_int_equal(dht_backend_find("opendht", NULL)
				 ->open(&b, base, &config, on_status, NULL, reason, sizeof(reason)),
			 EINVAL);
	event_base_free(base);
}
#endif

static void test_names(void **state)
{
	const struct dht_ops *both[2];

	(void)state;
	assert_non_null(dht_backend_find("memory", NULL));
	assert_null(dht_backend_find("nix", NULL));
	assert_null(dht_backend_find("memory nix", NULL));
	assert_null(dht_backend_find("memory memory", NULL));
	assert_null(dht_backend_find("mem", NULL));
	assert_non_null(dht_backend_find("redis  memory", both));
	assert_ptr_equal(both[0], dht_backend_find("redis", NULL));
	assert_ptr_equal(both[1], dht_backend_find("memory", NULL));
	dht_backend_find("memory", both);
	assert_null(both[1]);
	assert_ptr_equal(dht_backend_find("", NULL), dht_backends[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),	      cmocka_unit_test(test_memory),
		cmocka_unit_test(test_none),
#ifdef WITH_OPENDHT
		cmocka_unit_test(test_opendht),	      cmocka_unit_test(test_both),
		cmocka_unit_test(test_alone),	      cmocka_unit_test(test_cannot_bind),
		cmocka_unit_test(test_store_is_full), cmocka_unit_test(test_place_is_full),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
