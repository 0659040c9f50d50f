// SPDX-License-Identifier: GPL-2.0-or-later
/* Certificates are renewed by the gateway, which puts new files in the place of the old ones. The
 * tls module reads them again by its RPC command tls.reload; connections that stand keep theirs,
 * and calls go on. */
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "core/rpc_lookup.h"
#include "p2p_route_tls.h"

#define LOOK_S 2

/* What the file was when it was read last. */
static struct {
	ino_t inode;
	off_t size;
	struct timespec changed;
} last;
static time_t looked_s;
static bool known, failing;

/* The command is asked as an RPC client would: its only answer is a fault, or a text. */
struct answer {
	int code;
	char text[200];
};

static void fault(void *ctx, int code, char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void fault(void *ctx, int code, char *fmt, ...)
{
	struct answer *a = ctx;
	va_list ap;

	a->code = code;
	va_start(ap, fmt);
	vsnprintf(a->text, sizeof(a->text), fmt, ap);
	va_end(ap);
}

static int rpl_printf(void *ctx, char *fmt, ...)
{
	(void)ctx;
	(void)fmt;
	return 0;
}

static int send_nothing(void *ctx)
{
	(void)ctx;
	return 0;
}

static int add_nothing(void *ctx, char *fmt, ...)
{
	(void)ctx;
	(void)fmt;
	return 0;
}

static int reload(struct answer *a)
{
	rpc_export_t *command = rpc_lookup("tls.reload", (int)strlen("tls.reload"));
	rpc_t rpc;

	memset(&rpc, 0, sizeof(rpc));
	rpc.fault = fault;
	rpc.send = send_nothing;
	rpc.add = add_nothing;
	rpc.rpl_printf = rpl_printf;
	a->code = 0;
	if (command == NULL)
		snprintf(a->text, sizeof(a->text), "no such command");
	if (command == NULL)
		a->code = 404;
	else
		command->function(&rpc, a);
	return a->code == 0 ? 0 : -1;
}

/* True: it is another file than before. */
static bool look(bool first)
{
	struct stat st;

	if (stat(route_settings.tls_certificate.s, &st) < 0) {
		if (first)
			LM_WARN("parameter tls_certificate: %s cannot be read: new certificates "
				"will not be noticed\n",
				route_settings.tls_certificate.s);
		return false;
	}
	if (known && st.st_ino == last.inode && st.st_size == last.size &&
	    st.st_mtim.tv_sec == last.changed.tv_sec && st.st_mtim.tv_nsec == last.changed.tv_nsec)
		return false;
	last.inode = st.st_ino;
	last.size = st.st_size;
	last.changed = st.st_mtim;
	if (!known) {
		known = true;
		return !first;
	}
	return true;
}

int route_tls_reload_init(void)
{
	if (route_settings.tls_certificate.len > 0)
		look(true);
	return 0;
}

void route_tls_reload_look(void)
{
	struct answer a;
	struct timespec ts;

	if (route_settings.tls_certificate.len == 0)
		return;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	if (ts.tv_sec < looked_s + LOOK_S)
		return;
	looked_s = ts.tv_sec;
	if (!look(false) && !failing)
		return;
	if (reload(&a) == 0) {
		route_count(ROUTE_CNT_TLS_RELOADS);
		LM_NOTICE("the certificate %s is new: the tls module has read it\n",
			  route_settings.tls_certificate.s);
		failing = false;
		return;
	}
	if (!failing) /* the key may come a moment after the certificate: tried again */
		LM_ERR("the certificate %s is new, and tls.reload says: %s\n",
		       route_settings.tls_certificate.s, a.text);
	failing = true;
}
