/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/alloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

static long left = -1; /* allocations until the one that fails; -1: none will */
static bool reached;

static bool fails(void)
{
	if (left < 0)
		return false;
	if (left-- > 0)
		return false;
	reached = true;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
	return fails() ? NULL : __real_strndup(s, n);
}

void alloc_fail_at(unsigned int n)
{
	left = (long)n;
	reached = false;
}

bool alloc_fail_end(void)
{
	left = -1;
	return reached;
}

void alloc_wrap_libevent(void)
{
	event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
}
