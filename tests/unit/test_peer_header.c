/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_route: the header between peers. */
#include "tests/unit/test.h"
#include "modules/p2p_route/p2p_route_header.h"

static const char hit_text[] = "2001:22:81c2:d509:f8cf:4fc2:3af3:f782";

static struct route_header parse(const char *value)
{
	struct route_header h;

	memset(&h, 0, sizeof(h));
	route_header_parse(&h, value, strlen(value));
	return h;
}

static void is_hit(const struct route_header *h)
{
	char text[P2P_HIT_TEXT_MAX];

	assert_true(h->has_hit);
	p2p_hit_print(&h->hit, text);
	assert_string_equal(text, hit_text);
}

static void good_values(void **state)
{
	static const struct {
		const char *rest;
		unsigned int hops;
	} good[] = {
		{"", 0},
		{";v=1;hops=1", 1},
		{";hops=17;v=1", 17},
		{" ; v = 1 ; hops = 2 ", 2},
		{";V=1;HOPS=3", 3},
		{";v=1;hops=99999", 99999},
		{";v=1;new=thing;flag;hops=4", 4},
		{";;;v=1;;hops=0;", 0},
		{";v=1;hops=1;hops=5", 5},
	};
	char text[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct route_header h;

		snprintf(text, sizeof(text), "%s%s", hit_text, good[i].rest);
		h = parse(text);
		is_hit(&h);
		assert_int_equal(h.hops, good[i].hops);
	}
}

static void bad_values(void **state)
{
	static const char *const no_hit[] = {
		"",
		";",
		";v=1;hops=1",
		"nonsense",
		"::1;v=1",
		"2001:db8::1;v=1;hops=1",
		"2001:22:81c2:d509:f8cf:4fc2:3af3:f782;v=2",
		"2001:22:81c2:d509:f8cf:4fc2:3af3:f782;v=",
		"2001:22:81c2:d509:f8cf:4fc2:3af3:f782;v=11",
		"[2001:22:81c2:d509:f8cf:4fc2:3af3:f782]",
		"2001:22:81c2:d509:f8cf:4fc2:3af3:f782 x;v=1",
	};
	static const char *const many[] = {";hops=",	";hops=x",   ";hops=-1", ";hops=100000",
					   ";hops=1 2", ";hops=0x1", ";hops=+1"};
	char text[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(no_hit) / sizeof(no_hit[0]); i++) {
		struct route_header h = parse(no_hit[i]);

		assert_false(h.has_hit);
	}
	for (i = 0; i < sizeof(many) / sizeof(many[0]); i++) {
		struct route_header h;

		snprintf(text, sizeof(text), "%s%s", hit_text, many[i]);
		h = parse(text);
		is_hit(&h);
		assert_int_equal(h.hops, ROUTE_HOPS_MANY);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_values),
		cmocka_unit_test(bad_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
