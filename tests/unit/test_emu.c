/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The model of the emulated network: fate of packets, queue, switching, commands. */
#include "tests/unit/test.h"

#include "tests/tools/emu_command.h"
#include "tests/unit/alloc.h"

static const uint8_t a4[4] = {198, 51, 100, 1}, b4[4] = {198, 51, 100, 2};
static const uint8_t b6[16] = {0x20, 1, 0xd, 0xb8, [15] = 2};

static struct emu_link link_with(struct emu_link_params p, uint64_t seed)
{
	struct emu_link link;

	emu_link_init(&link, seed);
	assert_ok(emu_link_set(&link, &p));
	return link;
}

static unsigned int passed(struct emu_link *link, unsigned int packets)
{
	unsigned int i, n = 0;
	uint64_t due;

	for (i = 0; i < packets; i++)
		n += emu_link_send(link, i * 1000, 200, &due);
	return n;
}

static void test_delay_is_exact(void **state)
{
	struct emu_link link = link_with((struct emu_link_params){.delay_us = 10000}, 1);
	uint64_t due;

	(void)state;
	assert_true(emu_link_send(&link, 5, 100, &due));
	assert_int_equal(due, 10005);
}

static void test_jitter_stays_within_and_in_order(void **state)
{
	struct emu_link_params p = {.delay_us = 10000, .jitter_us = 4000};
	struct emu_link link = link_with(p, 2);
	uint64_t due, last = 0, low = UINT64_MAX, high = 0;
	unsigned int i, overtaken = 0;

	(void)state;
	for (i = 0; i < 5000; i++) {
		assert_true(emu_link_send(&link, i * 100, 100, &due));
		assert_true(due >= last);
		last = due;
	}
	p.reorder = true;
	link = link_with(p, 2);
	for (i = 0, last = 0; i < 5000; i++) {
		assert_true(emu_link_send(&link, i * 100, 100, &due));
		overtaken += due < last;
		last = due;
		due -= i * 100;
		low = due < low ? due : low;
		high = due > high ? due : high;
	}
	assert_true(overtaken > 100);
	assert_in_range(low, 6000, 6100);
	assert_in_range(high, 13900, 14000);
}

static void test_loss_is_near_its_rate(void **state)
{
	struct emu_link link = link_with((struct emu_link_params){.loss = 0.01}, 3);

	(void)state;
	/* 1000 expected, the standard deviation is 31.5 */
	assert_in_range(100000 - passed(&link, 100000), 850, 1150);
	assert_int_equal(link.stats.packets, 100000);
	assert_int_equal(link.stats.bytes, 20000000);
	assert_in_range(link.stats.lost, 850, 1150);
}

static void test_bursts_have_their_length(void **state)
{
	struct emu_link_params p = {.burst_enter = 0.01, .burst_leave = 0.25, .burst_loss = 1};
	struct emu_link link = link_with(p, 4);
	unsigned int i, bursts = 0, lost = 0;
	bool was = true, ok;
	uint64_t due;

	(void)state;
	for (i = 0; i < 100000; i++) {
		ok = emu_link_send(&link, i, 100, &due);
		lost += !ok;
		bursts += !ok && was;
		was = ok;
	}
	/* of the time 0.01 / 0.26 is bad, four packets at a time */
	assert_in_range(lost, 3300, 4400);
	assert_in_range(lost * 10 / bursts, 36, 44);
	assert_int_equal(link.stats.burst_lost, lost);
}

static void test_rate_and_its_queue(void **state)
{
	/* 1000 bytes take 8 ms */
	struct emu_link_params p = {.rate_bps = 1000000, .queue_us = 20000};
	struct emu_link link = link_with(p, 5);
	uint64_t due;

	(void)state;
	assert_true(emu_link_send(&link, 0, 1000, &due));
	assert_int_equal(due, 8000);
	assert_true(emu_link_send(&link, 0, 1000, &due));
	assert_true(emu_link_send(&link, 0, 1000, &due));
	assert_int_equal(due, 24000);
	assert_false(emu_link_send(&link, 0, 1000, &due));
	assert_int_equal(link.stats.queue_lost, 1);
	assert_true(emu_link_send(&link, 4000, 1000, &due));
	assert_int_equal(due, 32000);
	assert_true(emu_link_send(&link, 100000, 1000, &due));
	assert_int_equal(due, 108000);
}

static void test_outage(void **state)
{
	struct emu_link link = link_with((struct emu_link_params){0}, 6);
	uint64_t due;

	(void)state;
	emu_link_down(&link, 1000, 500);
	assert_false(emu_link_send(&link, 1499, 1, &due));
	assert_true(emu_link_send(&link, 1500, 1, &due));
	emu_link_down(&link, 2000, 0);
	assert_false(emu_link_send(&link, 1000000000, 1, &due));
	emu_link_up(&link);
	assert_true(emu_link_send(&link, 1000000001, 1, &due));
	assert_int_equal(link.stats.outage_lost, 2);
}

static void test_same_seed_same_fate(void **state)
{
	struct emu_link_params p = {.delay_us = 100, .jitter_us = 90, .loss = 0.3};
	struct emu_link one = link_with(p, 7), two = link_with(p, 7), other = link_with(p, 8);
	unsigned int i, differ = 0;
	uint64_t due1, due2;
	bool ok;

	(void)state;
	for (i = 0; i < 1000; i++) {
		due1 = due2 = 0;
		ok = emu_link_send(&one, i, 100, &due1);
		assert_int_equal(ok, emu_link_send(&two, i, 100, &due2));
		assert_int_equal(due1, due2);
		differ += ok != emu_link_send(&other, i, 100, &due2);
	}
	assert_true(differ > 100);
}

static void test_bad_parameters_change_nothing(void **state)
{
	static const struct emu_link_params bad[] = {
		{.loss = 1.1},
		{.loss = -0.1},
		{.burst_enter = 2},
		{.delay_us = EMU_LINK_DELAY_MAX_US + 1},
		{.delay_us = 1, .jitter_us = 2},
	};
	struct emu_link link = link_with((struct emu_link_params){.delay_us = 9}, 1);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(emu_link_set(&link, &bad[i]), EINVAL);
		assert_int_equal(link.params.delay_us, 9);
	}
}

static void test_queue_orders_and_is_bounded(void **state)
{
	static const uint8_t big[EMU_PACKET_MAX + 1];
	struct emu_queue *q;
	unsigned int i, to;
	uint64_t last = 0, due;
	const void *p;
	size_t len;

	(void)state;
	assert_ok(emu_queue_new(&q, 300));
	assert_true(emu_queue_due(q) == UINT64_MAX);
	assert_int_equal(emu_queue_put(q, 1, 0, big, sizeof(big)), EMSGSIZE);
	for (i = 0; i < 300; i++)
		assert_ok(emu_queue_put(q, i * 7919 % 100, i, &i, sizeof(i)));
	assert_int_equal(emu_queue_put(q, 1, 0, "x", 1), ENOBUFS);
	assert_int_equal(emu_queue_len(q), 300);
	for (i = 0; i < 300; i++) {
		unsigned int was = to = 0;

		due = emu_queue_due(q);
		assert_true(due >= last);
		assert_null(i == 0 && due ? emu_queue_take(q, due - 1, &to, &len) : NULL);
		p = emu_queue_take(q, due, &to, &len);
		assert_non_null(p);
		assert_int_equal(len, sizeof(was));
		memcpy(&was, p, sizeof(was));
		assert_int_equal(was, to);
		assert_int_equal(was * 7919 % 100, due);
		last = due;
	}
	assert_null(emu_queue_take(q, UINT64_MAX, &to, &len));
	/* first come, first served among those of one time */
	for (i = 0; i < 50; i++)
		assert_ok(emu_queue_put(q, 5, i, "x", 1));
	for (i = 0; i < 50; i++) {
		assert_non_null(emu_queue_take(q, 5, &to, &len));
		assert_int_equal(to, i);
	}
	emu_queue_free(q);
}

static void packet4(uint8_t p[20], const uint8_t to[4])
{
	memset(p, 0, 20);
	p[0] = 0x45;
	memcpy(p + 16, to, 4);
}

static void test_hub_switches(void **state)
{
	uint8_t p[40], six[40] = {0x60};
	unsigned int a, b, c, to;
	struct emu_hub *hub;
	size_t len;

	(void)state;
	assert_ok(emu_hub_new(&hub, 1, 4));
	assert_ok(emu_hub_node_add(hub, "a", a4, NULL, &a));
	assert_ok(emu_hub_node_add(hub, "b", b4, b6, &b));
	assert_int_equal(emu_hub_node_add(hub, "b", NULL, NULL, &c), EEXIST);
	assert_int_equal(emu_hub_node_add(hub, "c", b4, NULL, &c), EEXIST);
	assert_int_equal(emu_hub_node_add(hub, "a b", NULL, NULL, &c), EINVAL);
	packet4(p, b4);
	emu_hub_send(hub, a, 10, p, 20);
	memcpy(six + 24, b6, 16);
	emu_hub_send(hub, a, 10, six, sizeof(six));
	assert_non_null(emu_queue_take(emu_hub_queue(hub), 10, &to, &len));
	assert_int_equal(to, b);
	assert_non_null(emu_queue_take(emu_hub_queue(hub), 10, &to, &len));
	assert_int_equal(to, b);
	assert_int_equal(len, 40);
	emu_hub_send(hub, a, 10, p, 19); /* cut short */
	emu_hub_send(hub, a, 10, six, 39);
	packet4(p, (const uint8_t[]){224, 0, 0, 1});
	emu_hub_send(hub, a, 10, p, 20);
	assert_int_equal(emu_hub_strays(hub), 3);
	packet4(p, b4);
	for (c = 0; c < 5; c++)
		emu_hub_send(hub, a, 10, p, 20);
	assert_int_equal(emu_hub_link(hub, a, b)->stats.queue_lost, 1);
	emu_hub_free(hub);
}

static int opened = -1, closed = -1;

static int open_h(void *arg, unsigned int id, const char *netns, const char *device)
{
	(void)arg;
	assert_string_equal(netns, "/run/netns/x");
	if (strcmp(device, "no") == 0)
		return EPERM;
	opened = (int)id;
	return 0;
}

static void close_h(void *arg, unsigned int id)
{
	(void)arg;
	closed = (int)id;
}

static void command(struct emu_hub *hub, const char *text, const char *want)
{
	const struct emu_command_handlers h = {open_h, close_h, NULL};
	char line[EMU_COMMAND_MAX], reply[EMU_COMMAND_MAX];

	snprintf(line, sizeof(line), "%s", text);
	emu_command_run(hub, &h, 1000, line, reply, sizeof(reply));
	if (strcmp(want, "error") == 0)
		reply[5] = '\0';
	assert_string_equal(reply, want);
}

static void test_commands(void **state)
{
	struct emu_hub *hub;
	unsigned int a, b;
	uint8_t p[20];

	(void)state;
	assert_ok(emu_hub_new(&hub, 1, 4));
	command(hub, "ping", "ok");
	command(hub, "node a /run/netns/x ovl 198.51.100.1 -", "ok");
	assert_int_equal(opened, 0);
	command(hub, "node b /run/netns/x no 198.51.100.2 -", "error");
	assert_int_equal(emu_hub_node_find(hub, "b", &b), ENOENT);
	command(hub, "node b /run/netns/x ovl 198.51.100.2 2001:db8::2", "ok");
	assert_ok(emu_hub_node_find(hub, "a", &a));
	assert_ok(emu_hub_node_find(hub, "b", &b));
	command(hub, "set * * delay_ms=10 jitter_ms=0.5 loss_pct=1", "ok");
	command(hub, "set a b delay_ms=30 reorder=1 rate_kbps=64 queue_ms=50", "ok");
	assert_int_equal(emu_hub_link(hub, a, b)->params.delay_us, 30000);
	assert_int_equal(emu_hub_link(hub, a, b)->params.jitter_us, 500);
	assert_int_equal(emu_hub_link(hub, a, b)->params.rate_bps, 64000);
	assert_true(emu_hub_link(hub, a, b)->params.reorder);
	assert_int_equal(emu_hub_link(hub, b, a)->params.delay_us, 10000);
	/* a's would do, b's would not: none is changed */
	command(hub, "set * * jitter_ms=20", "error");
	assert_int_equal(emu_hub_link(hub, a, b)->params.jitter_us, 500);
	command(hub, "set a b nothing=1", "error");
	command(hub, "set a b delay_ms=nan", "error");
	command(hub, "set a c delay_ms=1", "error");
	command(hub, "set a", "error");
	command(hub, "node", "error");
	command(hub, "", "error");
	command(hub, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19", "error");
	command(hub, "set a b loss_pct=100", "ok");
	packet4(p, b4);
	emu_hub_send(hub, a, 0, p, 20);
	command(hub, "down * b 5000", "ok");
	emu_hub_send(hub, a, 2000, p, 20);
	command(hub, "stats a b",
		"ok packets 2 bytes 40 lost 1 burst_lost 0 outage_lost 1 queue_lost 0");
	command(hub, "up a b", "ok");
	assert_int_equal(emu_hub_link(hub, a, b)->down_until, 0);
	command(hub, "remove a", "ok");
	assert_int_equal(closed, (int)a);
	command(hub, "remove a", "error");
	emu_hub_free(hub);
}

static int hub_make(void *arg)
{
	struct emu_hub *hub;
	int err = emu_hub_new(&hub, 1, 10);

	(void)arg;
	if (!err)
		emu_hub_free(hub);
	return err;
}

static void test_without_memory(void **state)
{
	(void)state;
	alloc_loop(hub_make, NULL, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delay_is_exact),
		cmocka_unit_test(test_jitter_stays_within_and_in_order),
		cmocka_unit_test(test_loss_is_near_its_rate),
		cmocka_unit_test(test_bursts_have_their_length),
		cmocka_unit_test(test_rate_and_its_queue),
		cmocka_unit_test(test_outage),
		cmocka_unit_test(test_same_seed_same_fate),
		cmocka_unit_test(test_bad_parameters_change_nothing),
		cmocka_unit_test(test_queue_orders_and_is_bounded),
		cmocka_unit_test(test_hub_switches),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
