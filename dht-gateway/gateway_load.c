/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/gateway_load.h"
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "lib/model/lag.h"

/* Of one and the same trouble, one line at most in so long. */
#define SAY_MS 10000

struct gw_load {
	struct gw *gw;
	struct event *timer;
	struct p2p_lag lag;
	uint64_t said_ms; /* mono */
	bool said;	  /* that we are behind, and not yet that we are not any more */
};

static void say(struct gw_load *l)
{
	const struct gw *gw = l->gw;
	uint64_t now = gw_mono(gw);

	if (l->lag.behind == l->said || (l->said_ms && now - l->said_ms < SAY_MS))
		return;
	l->said = l->lag.behind;
	l->said_ms = now;
	if (l->said)
		p2p_log(gw->log, P2P_LOG_WARN,
			"there is too much to do: %u ms late; some lookups are turned down",
			p2p_lag_mean_ms(&l->lag));
	else
		p2p_log(gw->log, P2P_LOG_INFO, "all that is asked for can be done again");
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct gw_load *l = arg;

	(void)fd;
	(void)what;
	if (p2p_lag_tick(&l->lag, gw_mono(l->gw)) && l->lag.behind)
		l->gw->metrics.overloads++;
	say(l);
	gw_timer_set(l->timer, P2P_LAG_TICK_MS);
}

bool gw_load_refuses(struct gw_load *l)
{
	uint32_t random = 0;

	if (!l->lag.behind)
		return false;
	gw_crypto_random(&random, sizeof(random));
	if (!p2p_lag_refuses(&l->lag, random))
		return false;
	l->gw->metrics.limit_load++;
	return true;
}

bool gw_load_behind(const struct gw_load *l)
{
	return l->lag.behind;
}

uint64_t gw_load_lost_ms(const struct gw_load *l)
{
	return p2p_lag_lost_ms(&l->lag, gw_mono(l->gw));
}

bool gw_load_is_ours(struct gw_load *l, uint64_t lost_ms, uint64_t waited_ms)
{
	if (!p2p_lag_is_ours(gw_load_lost_ms(l) - lost_ms, waited_ms))
		return false;
	l->gw->metrics.timeouts_ours++;
	return true;
}

uint64_t gw_load_late_ms(const struct gw_load *l)
{
	return p2p_lag_mean_ms(&l->lag);
}

int gw_load_new(struct gw_load **lp, struct gw *gw)
{
	struct gw_load *l = calloc(1, sizeof(*l));

	if (!l)
		return ENOMEM;
	l->gw = gw;
	l->timer = event_new(gw->base, -1, 0, on_timer, l);
	if (!l->timer) {
		free(l);
		return ENOMEM;
	}
	p2p_lag_tick(&l->lag, gw_mono(gw));
	gw_timer_set(l->timer, P2P_LAG_TICK_MS);
	*lp = l;
	return 0;
}

void gw_load_free(struct gw_load *l)
{
	if (!l)
		return;
	event_free(l->timer);
	free(l);
}
