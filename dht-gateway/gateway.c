/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/gateway.h"
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>

static void __attribute__((format(printf, 6, 0)))
warn(struct gw *gw, const void *source, size_t len, const char *colon, const char *fault,
     const char *fmt, va_list ap)
{
	char text[P2P_LOG_LINE_MAX];
	uint32_t silenced = 0;

	if (!p2p_limit_ok(&gw->limit, source, len, gw_mono(gw), &silenced))
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	if (silenced)
		p2p_log(gw->log, P2P_LOG_WARN, "%s%s%s (and %u more of this source before)", text,
			colon, fault, silenced);
	else
		p2p_log(gw->log, P2P_LOG_WARN, "%s%s%s", text, colon, fault);
}

void gw_warn_source(struct gw *gw, const void *source, size_t len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	warn(gw, source, len, "", "", fmt, ap);
	va_end(ap);
}

void gw_warn_fault(struct gw *gw, enum p2p_record_fault fault, const void *source, size_t len,
		   const char *fmt, ...)
{
	va_list ap;

	gw->metrics.values_bad[fault]++;
	va_start(ap, fmt);
	warn(gw, source, len, ": ", p2p_record_fault_text(fault), fmt, ap);
	va_end(ap);
}

void gw_users_event(struct gw *gw, const char *name, size_t len)
{
	gw->metrics.events_users++;
	p2p_log(gw->log, P2P_LOG_DBG, "user '%.*s': other peers that serve it have changed",
		(int)len, name);
	if (gw->users_event)
		gw->users_event(name, len, gw->event_arg);
}

void gw_moves_event(struct gw *gw, const struct p2p_hit *hit, const uint32_t *instance,
		    unsigned int n, const char *name, size_t len)
{
	char text[P2P_HIT_TEXT_MAX];

	gw->metrics.events_moves++;
	p2p_hit_print(hit, text);
	p2p_log(gw->log, P2P_LOG_INFO, "user '%.*s': %u of the phones here have moved to %s",
		(int)len, name, n, text);
	if (gw->moves_event)
		gw->moves_event(hit, instance, n, name, len, gw->event_arg);
}

void gw_peers_event(struct gw *gw, const struct p2p_hit *hit)
{
	gw->metrics.events_peers++;
	if (gw->peers_event)
		gw->peers_event(hit, gw->event_arg);
}

void gw_sessions_event(struct gw *gw, const char *what, const struct p2p_session_id *id)
{
	gw->metrics.events_sessions++;
	if (gw->sessions_event)
		gw->sessions_event(what, id, gw->event_arg);
}

void gw_auth_event(struct gw *gw, const char *what, const char *name, size_t len)
{
	gw->metrics.events_auth++;
	if (gw->auth_event)
		gw->auth_event(what, name, len, gw->event_arg);
}

int gw_timer_set(struct event *timer, uint64_t ms)
{
	struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
			     .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	return event_add(timer, &tv);
}
