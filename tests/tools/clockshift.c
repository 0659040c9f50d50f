/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LD_PRELOAD: the program's wall clock is CLOCKSHIFT_S seconds off. Its monotonic clock is right.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#pragma GCC visibility push(default)
int clock_gettime(clockid_t id, struct timespec *ts);
time_t time(time_t *out);
int gettimeofday(struct timeval *restrict tv, void *restrict tz);
#pragma GCC visibility pop

static time_t shift(void)
{
	static int known;
	static time_t s;

	if (!known) {
		const char *text = getenv("CLOCKSHIFT_S");

		s = text ? (time_t)strtol(text, NULL, 10) : 0;
		known = 1;
	}
	return s;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int ret = (int)syscall(SYS_clock_gettime, id, ts);

	if (!ret && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		ts->tv_sec += shift();
	return ret;
}

time_t time(time_t *out)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (out)
		*out = ts.tv_sec;
	return ts.tv_sec;
}

int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec ts;

	(void)tz;
	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}
