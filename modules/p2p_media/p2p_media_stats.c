/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kamailio counters (`kamcmd cnt.grp_get_all p2p_media`). */
#include "core/counters.h"
#include "core/dprint.h"
#include "modules/p2p_media/p2p_media.h"

static counter_handle_t handle[P2P_MEDIA_COUNTERS];

static counter_val_t sessions(counter_handle_t h, void *arg)
{
	(void)h;
	(void)arg;
	return (counter_val_t)p2p_media_session_count();
}

static const struct {
	const char *name, *help;
} counters[P2P_MEDIA_COUNTERS] = {
	[P2P_MEDIA_OFFERS] = {"offers", "offers given to the relay"},
	[P2P_MEDIA_ANSWERS] = {"answers", "answers given to the relay"},
	[P2P_MEDIA_DELETES] = {"deletes", "releases told to the relay"},
	[P2P_MEDIA_BYPASSED] = {"bypassed", "new calls that were not to be anchored"},
	[P2P_MEDIA_FAILED_UNAVAIL] = {"failed_unavail",
				      "offers and answers without a relay or an rtpengine"},
	[P2P_MEDIA_FAILED_TIMEOUT] = {"failed_timeout",
				      "offers and answers that got no answer in time"},
	[P2P_MEDIA_FAILED_BUSY] = {"failed_busy", "offers and answers over a limit"},
	[P2P_MEDIA_FAILED_UNKNOWN] = {"failed_unknown", "answers to calls that are gone"},
	[P2P_MEDIA_FAILED_REFUSED] = {"failed_refused", "SDP that rtpengine did not accept"},
	[P2P_MEDIA_REFUSED_TRANSPORT] = {"refused_transport",
					 "SDP whose transport is not what the session with the "
					 "peer says"},
	[P2P_MEDIA_BAD_BODIES] = {"bad_bodies", "bodies that could not be understood"},
	[P2P_MEDIA_BREAKER_OPENED] = {"breaker_opened", "how often the relay was given up"},
	[P2P_MEDIA_DELETES_DROPPED] = {"deletes_dropped",
				       "releases that did not reach the relay, left to its sweep"},
};

int p2p_media_stats_init(void)
{
	counter_handle_t h;
	int i;

	for (i = 0; i < P2P_MEDIA_COUNTERS; i++) {
		if (counter_register(&handle[i], P2P_MEDIA_NAME, counters[i].name, 0, NULL, NULL,
				     counters[i].help, 0) < 0) {
			LM_ERR("cannot register the counter %s\n", counters[i].name);
			return -1;
		}
	}
	if (counter_register(&h, P2P_MEDIA_NAME, "sessions", 0, sessions, NULL,
			     "transactions under way whose media is anchored", 0) < 0) {
		LM_ERR("cannot register the counter sessions\n");
		return -1;
	}
	return 0;
}

void p2p_media_count(enum p2p_media_counter counter)
{
	counter_inc(handle[counter]);
}

unsigned long p2p_media_counter_get(enum p2p_media_counter counter)
{
	return (unsigned long)counter_get_val(handle[counter]);
}

const char *p2p_media_counter_name(enum p2p_media_counter counter)
{
	return counters[counter].name;
}
