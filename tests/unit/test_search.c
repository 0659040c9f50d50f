/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What follows from what holders and the engine say of a user: each way a lookup can go. */
#include "tests/unit/test.h"
#include "lib/model/quorum.h"
#include "lib/model/rtt.h"
#include "lib/model/search.h"

static struct p2p_search s;
static uint64_t pause_ms;
static bool usable;

static int setup(void **state)
{
	(void)state;
	memset(&s, 0, sizeof(s));
	usable = false;
	return 0;
}

static void next_is(enum p2p_search_step step)
{
	assert_int_equal(p2p_search_next(&s, usable), step);
}

/* Five holders, all of them alive, and asked; or so many. */
static void five(void)
{
	p2p_search_begin(&s, true, 5, 5, 5);
	next_is(P2P_SEARCH_WAIT);
}

static void no(unsigned int n)
{
	while (n-- > 0)
		p2p_search_told(&s, true, true, true, false);
}

static enum p2p_search_end over(void)
{
	next_is(P2P_SEARCH_OVER);
	return p2p_search_over(&s, true, usable, usable, false, &pause_ms);
}

/* A whole search in which all holders and the engine say that there is none. */
static enum p2p_search_end nobody(void)
{
	five();
	no(3);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, true);
	next_is(P2P_SEARCH_NO_GRACE);
	no(2);
	next_is(P2P_SEARCH_WAIT);
	p2p_search_engine_over(&s, true);
	return over();
}

static void test_found_by_one_who_has_all(void **state)
{
	(void)state;
	five();
	usable = true;
	p2p_search_told(&s, true, true, true, true);
	next_is(P2P_SEARCH_ANSWER);
	next_is(P2P_SEARCH_WAIT);
	no(3); /* they were slower to hear of it */
	next_is(P2P_SEARCH_WAIT);
	p2p_search_told(&s, false, true, false, false);
	assert_int_equal(over(), P2P_SEARCH_DONE);
}

/* Who does not have all may have an old one: the others are heard first. */
static void test_found_by_those_who_have_not_all(void **state)
{
	(void)state;
	five();
	usable = true;
	for (unsigned int i = 0; i < 4; i++) {
		p2p_search_told(&s, true, true, false, true);
		next_is(P2P_SEARCH_WAIT);
	}
	p2p_search_told(&s, true, false, false, true);
	next_is(P2P_SEARCH_ANSWER);
	/* it is not known whether there are others: the engine is not asked for their sake */
	assert_int_equal(over(), P2P_SEARCH_DONE);
}

static void test_found_here(void **state)
{
	(void)state;
	p2p_search_begin(&s, true, 5, 5, 4);
	usable = true;
	p2p_search_own(&s, true, true, true);
	next_is(P2P_SEARCH_ANSWER);
	no(4);
	assert_int_equal(over(), P2P_SEARCH_DONE);
}

/* Absent: all is asked twice. */
static void test_absent(void **state)
{
	(void)state;
	assert_int_equal(nobody(), P2P_SEARCH_AGAIN);
	assert_int_equal(pause_ms, P2P_SEARCH_MISS_PAUSE_MS);
	assert_int_equal(nobody(), P2P_SEARCH_ABSENT);
}

/* Who has just got a 200 is found the second time. */
static void test_found_the_second_time(void **state)
{
	(void)state;
	assert_int_equal(nobody(), P2P_SEARCH_AGAIN);
	five();
	usable = true;
	p2p_search_told(&s, true, true, true, true);
	next_is(P2P_SEARCH_ANSWER);
}

/* Some holders do not answer: a majority's no is believed after a time. */
static void test_absent_without_some(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		five();
		no(2);
		next_is(P2P_SEARCH_WAIT);
		p2p_search_own(&s, true, true, false);
		next_is(P2P_SEARCH_ENGINE);
		p2p_search_engine(&s, false); /* it cannot be asked */
		next_is(P2P_SEARCH_NO_GRACE);
		next_is(P2P_SEARCH_WAIT);
		p2p_search_no_grace_over(&s);
		assert_int_equal(over(), i == 0 ? P2P_SEARCH_AGAIN : P2P_SEARCH_ABSENT);
	}
}

/* A slow engine goes on over the pause, and is not asked twice. */
static void test_slow_engine(void **state)
{
	(void)state;
	five();
	no(5);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, true);
	next_is(P2P_SEARCH_NO_GRACE);
	p2p_search_no_grace_over(&s);
	assert_int_equal(over(), P2P_SEARCH_AGAIN);
	assert_true(s.carried && s.paused);
	usable = true; /* what it finds now counts in the next search */
	assert_false(p2p_search_grace(&s));
	next_is(P2P_SEARCH_WAIT);
	five();
	assert_true(p2p_search_grace(&s));
	assert_true(p2p_search_grace_over(&s, true));
	/* it finds nobody in the second one either */
	memset(&s, 0, sizeof(s));
	usable = false;
	for (unsigned int i = 0; i < 2; i++) {
		five();
		no(5);
		if (i == 0)
			next_is(P2P_SEARCH_ENGINE);
		if (i == 0)
			p2p_search_engine(&s, true);
		next_is(P2P_SEARCH_NO_GRACE);
		p2p_search_no_grace_over(&s);
		assert_int_equal(over(), i == 0 ? P2P_SEARCH_AGAIN : P2P_SEARCH_ABSENT);
	}
	/* its end in the pause: the next search asks it anew */
	memset(&s, 0, sizeof(s));
	five();
	no(5);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, true);
	next_is(P2P_SEARCH_NO_GRACE);
	p2p_search_no_grace_over(&s);
	assert_int_equal(over(), P2P_SEARCH_AGAIN);
	p2p_search_engine_over(&s, true);
	next_is(P2P_SEARCH_WAIT);
	five();
	no(3);
	next_is(P2P_SEARCH_ENGINE);
}

/* A majority says no, and one of the others knows better. */
static void test_a_majority_is_wrong(void **state)
{
	(void)state;
	five();
	no(3);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, true);
	next_is(P2P_SEARCH_NO_GRACE);
	usable = true;
	p2p_search_told(&s, true, true, true, true);
	next_is(P2P_SEARCH_ANSWER);
	assert_false(s.no_grace);
	no(1);
	assert_int_equal(over(), P2P_SEARCH_DONE);
}

/* A peer that tells no holders of its users has put them into the engine. */
static void test_the_engine_knows_better(void **state)
{
	(void)state;
	five();
	no(5);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, true);
	next_is(P2P_SEARCH_NO_GRACE);
	usable = true;
	next_is(P2P_SEARCH_ANSWER);
	usable = false;
	memset(&s, 0, sizeof(s));
	/* with others still to be heard, they have a moment to say more */
	five();
	no(3);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, true);
	assert_true(p2p_search_grace(&s));
	assert_false(p2p_search_grace(&s));
	next_is(P2P_SEARCH_WAIT); /* the grace runs already */
	usable = true;
	assert_true(p2p_search_grace_over(&s, usable));
	assert_false(p2p_search_grace(&s));
	no(2);
	assert_int_equal(over(), P2P_SEARCH_DONE);
	/* withdrawn meanwhile */
	usable = false;
	memset(&s, 0, sizeof(s));
	five();
	no(3);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, true);
	assert_true(p2p_search_grace(&s));
	assert_false(p2p_search_grace_over(&s, false));
	next_is(P2P_SEARCH_NO_GRACE);
}

/* Neither a majority nor the engine: it is not known, however often it is asked. */
static void test_unknown(void **state)
{
	static const unsigned int pauses[] = {25, 50, 100, 200, 400, 400};

	(void)state;
	for (unsigned int i = 0; i < 6; i++) {
		p2p_search_begin(&s, true, 5, 2, 2);
		next_is(P2P_SEARCH_ENGINE); /* at once, with so few of them */
		p2p_search_engine(&s, true);
		no(2);
		next_is(P2P_SEARCH_NO_GRACE);
		next_is(P2P_SEARCH_WAIT);
		p2p_search_engine_over(&s, true); /* its word alone does not do */
		assert_int_equal(over(), P2P_SEARCH_AGAIN);
		assert_int_equal(pause_ms, pauses[i]);
	}
	assert_int_equal(s.misses, 0);
	/* those that are no holders but for the dead ones' sake, and those that have not all, do
	 * not count */
	five();
	p2p_search_told(&s, true, false, true, false);
	p2p_search_told(&s, true, true, false, false);
	no(2);
	p2p_search_told(&s, false, true, true, false); /* no answer at all */
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, true);
	next_is(P2P_SEARCH_NO_GRACE);
	p2p_search_engine_over(&s, true);
	assert_int_equal(over(), P2P_SEARCH_AGAIN);
	assert_int_equal(s.misses, 0);
	/* then it is: what is not known does not count, and does not undo either */
	assert_int_equal(nobody(), P2P_SEARCH_AGAIN);
	p2p_search_begin(&s, true, 5, 5, 0);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, false);
	assert_int_equal(over(), P2P_SEARCH_AGAIN);
	assert_int_equal(pause_ms, P2P_SEARCH_PAUSE_MAX_MS);
	assert_int_equal(nobody(), P2P_SEARCH_ABSENT);
}

/* Slow holders: the engine is asked as well, and may be first. */
static void test_patience(void **state)
{
	(void)state;
	five();
	p2p_search_patience_over(&s);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, true);
	next_is(P2P_SEARCH_WAIT);
	p2p_search_patience_over(&s);
	next_is(P2P_SEARCH_WAIT);
	assert_true(p2p_search_grace(&s));
	assert_true(p2p_search_grace_over(&s, true));
	p2p_search_engine_over(&s, true);
	next_is(P2P_SEARCH_WAIT);
	no(5);
	assert_int_equal(over(), P2P_SEARCH_DONE);
	/* not for the cache's sake */
	memset(&s, 0, sizeof(s));
	five();
	usable = true;
	p2p_search_told(&s, true, true, true, true);
	next_is(P2P_SEARCH_ANSWER);
	p2p_search_patience_over(&s);
	next_is(P2P_SEARCH_WAIT);
}

/* Two of five are asked at first. */
static void two(void)
{
	p2p_search_begin(&s, true, 5, 5, 2);
	p2p_search_few(&s, 3);
	next_is(P2P_SEARCH_WAIT);
}

static void test_few_are_enough(void **state)
{
	(void)state;
	two();
	usable = true;
	p2p_search_told(&s, true, true, true, true);
	next_is(P2P_SEARCH_ANSWER);
	next_is(P2P_SEARCH_WAIT);
	p2p_search_patience_over(&s);
	next_is(P2P_SEARCH_WAIT);
	no(1);
	assert_int_equal(over(), P2P_SEARCH_DONE);
	/* what is held here is enough, too */
	memset(&s, 0, sizeof(s));
	p2p_search_begin(&s, true, 5, 5, 2);
	p2p_search_few(&s, 2);
	p2p_search_own(&s, true, true, true);
	next_is(P2P_SEARCH_ANSWER);
	no(2);
	assert_int_equal(over(), P2P_SEARCH_DONE);
}

/* One who knows nobody, one who does not answer, one who has not all, one who is slow; what was
 * found cannot be used; too few of them live: then all are asked, and it goes on as ever. */
static void test_few_are_not_enough(void **state)
{
	static const struct {
		bool ok, synced, any;
	} told[] = {{true, true, false}, {false, false, false}, {true, false, true}};

	(void)state;
	for (unsigned int i = 0; i < 5; i++) {
		memset(&s, 0, sizeof(s));
		two();
		if (i < 3) {
			p2p_search_told(&s, told[i].ok, true, told[i].synced, told[i].any);
		} else if (i == 3) {
			p2p_search_patience_over(&s);
		} else {
			p2p_search_told(&s, true, true, true, true);
			next_is(P2P_SEARCH_WAIT);
			p2p_search_told(&s, true, true, true, true);
		}
		next_is(P2P_SEARCH_MORE);
		p2p_search_asked(&s, 3);
		next_is(P2P_SEARCH_WAIT);
		if (i == 3) {
			p2p_search_patience_over(&s);
			next_is(P2P_SEARCH_ENGINE);
			p2p_search_engine(&s, false);
		}
		usable = true;
		p2p_search_told(&s, true, true, true, true);
		next_is(P2P_SEARCH_ANSWER);
		usable = false;
	}
	memset(&s, 0, sizeof(s));
	p2p_search_begin(&s, true, 5, 2, 1);
	p2p_search_few(&s, 1);
	next_is(P2P_SEARCH_MORE);
	p2p_search_asked(&s, 1);
	next_is(P2P_SEARCH_ENGINE);
}

/* That there is none takes a majority still. */
static void test_few_do_not_say_absent(void **state)
{
	(void)state;
	two();
	no(2);
	next_is(P2P_SEARCH_MORE);
	p2p_search_asked(&s, 3);
	next_is(P2P_SEARCH_WAIT);
	no(1);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, true);
	next_is(P2P_SEARCH_NO_GRACE);
	/* one whose record cannot be used, and nobody else to ask: they could not be asked */
	memset(&s, 0, sizeof(s));
	two();
	no(2);
	next_is(P2P_SEARCH_MORE);
	p2p_search_asked(&s, 0);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, false);
	assert_int_equal(over(), P2P_SEARCH_AGAIN);
	assert_int_equal(s.misses, 0);
}

/* Much is looked for: those who tell of changes are asked, and all the others after a pause. */
static void test_look(void **state)
{
	uint64_t pause;

	(void)state;
	memset(&s, 0, sizeof(s));
	two();
	p2p_search_look(&s);
	no(1);
	next_is(P2P_SEARCH_WAIT);
	no(1);
	next_is(P2P_SEARCH_OVER);
	assert_int_equal(p2p_search_over(&s, true, false, false, false, &pause), P2P_SEARCH_AGAIN);
	assert_int_equal(pause, P2P_SEARCH_MISS_PAUSE_MS);
	/* now it takes a majority, the engine, and their time */
	p2p_search_begin(&s, true, 5, 5, 5);
	no(2);
	next_is(P2P_SEARCH_WAIT);
	no(1);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, true);
	next_is(P2P_SEARCH_NO_GRACE);
	assert_int_equal(p2p_search_no_grace_ms(&s), P2P_SEARCH_NO_GRACE_LOOK_MS);
	next_is(P2P_SEARCH_WAIT);
	no(2);
	p2p_search_engine_over(&s, true);
	next_is(P2P_SEARCH_OVER);
	assert_int_equal(p2p_search_over(&s, true, false, false, false, &pause), P2P_SEARCH_ABSENT);
	/* who asks again begins anew */
	p2p_search_anew(&s);
	assert_int_equal(p2p_search_no_grace_ms(&s), P2P_SEARCH_NO_GRACE_MS);
}

/* One of them knows somebody, does not tell of changes, fails or is slow: no look is enough. */
static void test_look_is_not_enough(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		memset(&s, 0, sizeof(s));
		usable = false;
		two();
		p2p_search_look(&s);
		no(1);
		next_is(P2P_SEARCH_WAIT);
		switch (i) {
		case 0:
			usable = true;
			p2p_search_told(&s, true, true, true, true);
			next_is(P2P_SEARCH_ANSWER);
			continue;
		case 1:
			p2p_search_unwatched(&s);
			no(1);
			break;
		case 2:
			p2p_search_told(&s, false, true, false, false);
			break;
		default:
			p2p_search_patience_over(&s);
		}
		next_is(P2P_SEARCH_MORE);
		p2p_search_asked(&s, 3);
		next_is(P2P_SEARCH_WAIT);
	}
	usable = false;
	/* only the first of a lookup's searches is one */
	memset(&s, 0, sizeof(s));
	s.misses = 1;
	two();
	p2p_search_look(&s);
	no(2);
	next_is(P2P_SEARCH_MORE);
}

static void test_patience_is_what_is_usual(void **state)
{
	struct p2p_rtt r = {0};

	(void)state;
	assert_int_equal(p2p_rtt_usual_ms(&r), 0);
	assert_int_equal(p2p_search_patience_ms(0), P2P_SEARCH_PATIENCE_MS);
	p2p_rtt_add(&r, 20);
	assert_int_equal(p2p_rtt_usual_ms(&r), 60); /* RFC 6298, 2.2 */
	for (unsigned int i = 0; i < 100; i++)
		p2p_rtt_add(&r, 20);
	assert_in_range(p2p_rtt_usual_ms(&r), 20, 24);
	assert_int_equal(p2p_search_patience_ms(p2p_rtt_usual_ms(&r)), P2P_SEARCH_PATIENCE_MS);
	for (unsigned int i = 0; i < 100; i++)
		p2p_rtt_add(&r, i % 2 ? 90 : 110);
	assert_in_range(p2p_rtt_usual_ms(&r), 110, 160);
	assert_int_equal(p2p_search_patience_ms(p2p_rtt_usual_ms(&r)), p2p_rtt_usual_ms(&r));
	for (unsigned int i = 0; i < 100; i++)
		p2p_rtt_add(&r, UINT64_MAX);
	assert_int_equal(p2p_search_patience_ms(p2p_rtt_usual_ms(&r)), P2P_SEARCH_PATIENCE_MAX_MS);
	for (unsigned int i = 0; i < 300; i++)
		p2p_rtt_add(&r, 0);
	assert_in_range(p2p_rtt_usual_ms(&r), 1, 10);
}

/* A peer whose lease ran out: called when nobody better is known after a complete search. */
static void test_lapsed(void **state)
{
	(void)state;
	five();
	no(2);
	for (unsigned int i = 0; i < 3; i++)
		p2p_search_told(&s, true, true, true, true);
	next_is(P2P_SEARCH_OVER);
	assert_int_equal(p2p_search_over(&s, true, false, true, false, &pause_ms),
			 P2P_SEARCH_FOUND);
	/* so it is when too many are dead to say that there is nobody else: the engine had its
	 * time */
	p2p_search_begin(&s, true, 5, 2, 2);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, true);
	p2p_search_told(&s, true, true, true, true);
	next_is(P2P_SEARCH_WAIT);
	p2p_search_told(&s, true, true, true, true);
	next_is(P2P_SEARCH_NO_GRACE);
	next_is(P2P_SEARCH_WAIT);
	p2p_search_no_grace_over(&s);
	next_is(P2P_SEARCH_OVER);
	assert_int_equal(p2p_search_over(&s, true, false, true, false, &pause_ms),
			 P2P_SEARCH_FOUND);
	/* by an incomplete one of the engine alone nothing is said */
	p2p_search_begin(&s, false, 0, 0, 0);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, true);
	p2p_search_engine_over(&s, false);
	next_is(P2P_SEARCH_OVER);
	assert_int_equal(p2p_search_over(&s, true, false, true, false, &pause_ms),
			 P2P_SEARCH_AGAIN);
}

/* Most of the holders are dead, and the engine is slow: the living are asked again, and it goes on
 * meanwhile. */
static void test_dead_majority(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		p2p_search_begin(&s, true, 5, 2, 2);
		if (i == 0) {
			next_is(P2P_SEARCH_ENGINE);
			p2p_search_engine(&s, true);
		}
		no(2);
		next_is(P2P_SEARCH_NO_GRACE);
		p2p_search_no_grace_over(&s);
		assert_int_equal(over(), P2P_SEARCH_AGAIN);
		assert_true(s.carried);
	}
	/* one of them knows better by now */
	p2p_search_begin(&s, true, 5, 2, 2);
	p2p_search_told(&s, true, true, true, true);
	usable = true;
	next_is(P2P_SEARCH_ANSWER);
}

static void test_engine_alone(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		p2p_search_begin(&s, false, 0, 0, 0);
		next_is(P2P_SEARCH_ENGINE);
		p2p_search_engine(&s, true);
		next_is(P2P_SEARCH_WAIT);
		p2p_search_engine_over(&s, true);
		assert_int_equal(over(), i == 0 ? P2P_SEARCH_AGAIN : P2P_SEARCH_ABSENT);
	}
	p2p_search_anew(&s);
	p2p_search_begin(&s, false, 0, 0, 0);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, true);
	p2p_search_engine_over(&s, false); /* not complete */
	assert_int_equal(over(), P2P_SEARCH_AGAIN);
	assert_int_equal(pause_ms, P2P_SEARCH_PAUSE_MS);
	p2p_search_begin(&s, false, 0, 0, 0);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, true);
	assert_true(p2p_search_grace(&s));
	usable = true;
	p2p_search_engine_over(&s, true); /* before the grace is over */
	assert_int_equal(over(), P2P_SEARCH_FOUND);
	assert_false(s.grace);
}

/* For a while after a new secret both are searched; together they are one. */
static void test_older_secret(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		five();
		no(5);
		next_is(P2P_SEARCH_ENGINE);
		p2p_search_engine(&s, false);
		next_is(P2P_SEARCH_OVER);
		assert_int_equal(p2p_search_over(&s, true, false, false, true, &pause_ms),
				 P2P_SEARCH_OLDER);
		assert_int_equal(nobody(), i == 0 ? P2P_SEARCH_AGAIN : P2P_SEARCH_ABSENT);
	}
}

static void test_nobody_waits(void **state)
{
	(void)state;
	five();
	no(5);
	next_is(P2P_SEARCH_ENGINE);
	p2p_search_engine(&s, false);
	next_is(P2P_SEARCH_OVER);
	assert_int_equal(p2p_search_over(&s, false, false, false, true, &pause_ms),
			 P2P_SEARCH_DONE);
	assert_int_equal(s.misses, 0);
	/* and who asks after the others were told begins anew */
	five();
	usable = true;
	p2p_search_told(&s, true, true, true, true);
	next_is(P2P_SEARCH_ANSWER);
	p2p_search_anew(&s);
	usable = false;
	assert_int_equal(nobody(), P2P_SEARCH_AGAIN);
	assert_int_equal(nobody(), P2P_SEARCH_ABSENT);
}

/* --- whatever comes, in whatever order --- */

static uint32_t seed;

static unsigned int any_of(unsigned int n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

/* A search of any kind: it ends, and says of nobody that he is absent unless a majority of all
 * holders, or the engine where there are none, has said so in two complete searches, in each of
 * which the engine was asked, or tried. */
static void test_random(void **state)
{
	unsigned int absent = 0, found = 0, again = 0;

	(void)state;
	seed = 1;
	while (absent + found + again < 60000) {
		unsigned int complete = 0, round = 0;
		enum p2p_search_end end;

		memset(&s, 0, sizeof(s));
		usable = false;
		do {
			unsigned int n_seen = any_of(6), alive = any_of(n_seen + 1), left = alive;
			bool held = n_seen > 0 && any_of(5) > 0, asked = false;
			unsigned int told = 0, denied = 0, steps = 0;
			enum p2p_search_step step;

			p2p_search_begin(&s, held, n_seen, alive, held ? left : 0);
			left = held ? left : 0;
			asked = s.asked;
			while ((step = p2p_search_next(&s, usable)) != P2P_SEARCH_OVER) {
				assert_true(++steps < 100);
				if (step == P2P_SEARCH_ENGINE) {
					asked = true;
					p2p_search_engine(&s, any_of(4) > 0);
				}
				if (step != P2P_SEARCH_WAIT)
					continue;
				/* something has to happen: there is always something to come */
				assert_true(left > 0 || s.runs || s.no_grace);
				if (left > 0 && any_of(2)) {
					bool ok = any_of(8) > 0, synced = any_of(4) > 0,
					     some = any_of(6) == 0;

					left--;
					usable = usable || (ok && some && any_of(2));
					told += ok && synced;
					denied += ok && synced && !some;
					p2p_search_told(&s, ok, true, synced, some);
				} else if (s.runs && any_of(2)) {
					p2p_search_engine_over(&s, any_of(4) > 0);
				} else if (s.no_grace && any_of(2)) {
					p2p_search_no_grace_over(&s);
					left = 0;
				} else if (any_of(4) == 0) {
					p2p_search_patience_over(&s);
				}
			}
			if (held)
				assert_true(s.answered || told >= p2p_quorum(n_seen) || asked);
			complete += p2p_search_complete(&s);
			end = p2p_search_over(&s, true, usable, usable, false, &pause_ms);
			if (held && end == P2P_SEARCH_ABSENT) {
				assert_true(told >= p2p_quorum(n_seen) && !usable);
				assert_true(asked || denied < p2p_quorum(n_seen));
			}
		} while (end == P2P_SEARCH_AGAIN && ++round < 5);
		absent += end == P2P_SEARCH_ABSENT;
		again += end == P2P_SEARCH_AGAIN;
		found += end == P2P_SEARCH_FOUND || end == P2P_SEARCH_DONE;
		if (end == P2P_SEARCH_ABSENT)
			assert_true(complete >= P2P_SEARCH_MISSES);
	}
	assert_true(absent > 1000 && found > 1000 && again > 100);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		T(test_found_by_one_who_has_all),
		T(test_found_by_those_who_have_not_all),
		T(test_found_here),
		T(test_absent),
		T(test_found_the_second_time),
		T(test_absent_without_some),
		T(test_slow_engine),
		T(test_a_majority_is_wrong),
		T(test_the_engine_knows_better),
		T(test_unknown),
		T(test_patience),
		T(test_look),
		T(test_look_is_not_enough),
		T(test_patience_is_what_is_usual),
		T(test_few_are_enough),
		T(test_few_are_not_enough),
		T(test_few_do_not_say_absent),
		T(test_lapsed),
		T(test_dead_majority),
		T(test_engine_alone),
		T(test_older_secret),
		T(test_nobody_waits),
		T(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
