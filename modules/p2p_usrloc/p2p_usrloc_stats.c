/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: Kamailio counters, in one table with what they mean. */
#include <errno.h>
#include <string.h>

#include "core/counters.h"
#include "core/dprint.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_store.h"

#define GROUP "p2p_usrloc"

/* counted by whatever process does it */
static const struct {
	const char *name, *help;
} counters[PUL_CNT_N] = {
	[PUL_CNT_PUBLISH] = {"publishes", "PUBLISH commands sent to the gateway"},
	[PUL_CNT_WITHDRAW] = {"withdraws", "WITHDRAW commands sent to the gateway"},
	[PUL_CNT_PUBLISH_ERRORS] = {"publish_errors",
				    "PUBLISH and WITHDRAW commands the gateway did not take"},
	[PUL_CNT_UNPUBLISHABLE] = {"unpublishable",
				   "contacts whose AoR makes no name for the overlay"},
	[PUL_CNT_QUESTIONS] = {"questions", "questions asked by other modules"},
	[PUL_CNT_REFUSED] = {"refused", "questions refused: question_max, or no shared memory"},
	[PUL_CNT_FOUND] = {"answers_found", "questions answered: found"},
	[PUL_CNT_ABSENT] = {"answers_absent",
			    "questions answered: a completed search found nothing"},
	[PUL_CNT_UNKNOWN] = {"answers_unknown",
			     "questions answered: no answer before the deadline"},
	[PUL_CNT_UNAVAILABLE] = {"answers_unavailable", "questions answered: no gateway"},
	[PUL_CNT_BUSY] = {"answers_busy", "questions answered: a limit was reached"},
	[PUL_CNT_DENIED] = {"answers_denied",
			    "questions answered: this peer may not serve the user"},
	[PUL_CNT_LOOKUPS] = {"lookups",
			     "lookups sent to the gateway (several questions may share one)"},
	[PUL_CNT_REFRESHES] = {"refreshes",
			       "lookups of these that refreshed the cache in the background"},
	[PUL_CNT_NOTIFIED] = {"notifications",
			      "changed users, peers and sessions the gateway told of"},
	[PUL_CNT_SESSIONS_REFUSED] = {"sessions_refused",
				      "sessions that the other peer's server did not know"},
	[PUL_CNT_CONNECTS] = {"connects", "completed handshakes with the gateway"},
	[PUL_CNT_DISCONNECTS] = {"disconnects",
				 "connections to the gateway lost after a handshake"},
	[PUL_CNT_PROTOCOL_ERRORS] = {"protocol_errors",
				     "answers of the gateway that made no sense"},
	[PUL_CNT_SCANS] = {"scans", "completed scans of usrloc"},
	[PUL_CNT_CONFIRMS] = {"confirms", "registrations that waited until others can find them"},
	[PUL_CNT_CONFIRMED] = {"confirmed", "of these, those that the gateway confirmed"},
	[PUL_CNT_NO_MEMORY] = {"no_memory", "contacts that the table of users had no shared memory "
					    "for: looked for again"},
	[PUL_CNT_SYNCS_ALL] = {"syncs_all", "times that all users were named to the gateway"},
	[PUL_CNT_SYNCS_REST] = {"syncs_rest", "times that it was told only what it did not have, "
					      "after a lost connection"},
	[PUL_CNT_OUTPUT_FULL] = {"output_full", "commands that had to wait because the gateway did "
						"not read"},
	[PUL_CNT_SESSIONS_EVICTED] = {"sessions_evicted",
				      "sessions that had to go for others: sessions_max"},
	[PUL_CNT_MOVED] = {"moved", "phones that registered at another peer: over here"},
	[PUL_CNT_MOVES_KEPT] = {"moves_kept", "of these, those that go to and fro and were kept"},
	[PUL_CNT_UNCONFIRMED] = {"unconfirmed", "of these, those that were not confirmed in time"},
};

enum gauge {
	GAUGE_UP,
	GAUGE_USERS,
	GAUGE_CONTACTS,
	GAUGE_WITHDRAWN,
	GAUGE_WITHDRAWALS_LEFT,
	GAUGE_QUESTIONS_OPEN,
	GAUGE_CACHE_ENTRIES,
	GAUGE_CACHE_BYTES,
	GAUGE_CACHE_HITS,
	GAUGE_CACHE_STALE,
	GAUGE_CACHE_MISSES,
	GAUGE_CACHE_EVICTIONS,
	GAUGE_AUTH_ENTRIES,
	GAUGE_KEPT,
	GAUGE_STALE,
	GAUGE_NOT_KEPT,
	GAUGE_RESTORED,
	GAUGE_DAMAGED,
	GAUGE_SKIPPED,
	GAUGE_N,
};

/* read when asked for */
static const struct {
	const char *name, *help;
} gauges[GAUGE_N] = {
	[GAUGE_UP] = {"gateway_up", "1 when connected to the gateway"},
	[GAUGE_USERS] = {"users", "local users with contacts"},
	[GAUGE_CONTACTS] = {"contacts", "contacts of local users"},
	[GAUGE_WITHDRAWN] =
		{"withdrawn",
		 "users without contacts whose withdrawal the gateway has not taken yet"},
	[GAUGE_WITHDRAWALS_LEFT] =
		{"withdrawals_left",
		 "users who left over withdrawn_max: all others were named to the gateway anew"},
	[GAUGE_QUESTIONS_OPEN] = {"questions_open", "questions not answered or not freed yet"},
	[GAUGE_CACHE_ENTRIES] = {"cache_entries", "users in the cache"},
	[GAUGE_CACHE_BYTES] = {"cache_bytes", "shared memory these take"},
	[GAUGE_CACHE_HITS] = {"cache_hits", "lookups in the cache: fresh"},
	[GAUGE_CACHE_STALE] = {"cache_stale", "lookups in the cache: stale but valid"},
	[GAUGE_CACHE_MISSES] = {"cache_misses", "lookups in the cache: nothing"},
	[GAUGE_AUTH_ENTRIES] = {"auth_entries", "users whose HA1 is remembered"},
	[GAUGE_KEPT] = {"contacts_kept", "contacts in the file of contacts"},
	[GAUGE_STALE] = {"contacts_stale",
			 "of these, those whose phones have to connect again after a restart"},
	[GAUGE_NOT_KEPT] =
		{"contacts_not_kept",
		 "tries to write a contact to the file that failed: too long, or no room"},
	[GAUGE_RESTORED] = {"contacts_restored", "contacts that came back at the start"},
	[GAUGE_DAMAGED] = {"contacts_damaged", "contacts in the file that were damaged"},
	[GAUGE_SKIPPED] = {"contacts_skipped", "contacts in the file that usrloc has no table for"},
	[GAUGE_CACHE_EVICTIONS] = {"cache_evictions", "entries that had to go for others"},
};

static counter_handle_t handle[PUL_CNT_N];

static counter_val_t store_get(enum gauge g)
{
	const struct pul_store_shared *s = pul_store_shared;
	struct pul_file_stats st;

	if (pul_store_file == NULL)
		return 0;
	pul_file_stats(pul_store_file, &st);
	switch (g) {
	case GAUGE_KEPT:
		return st.records;
	case GAUGE_STALE:
		return atomic_load(&s->stale);
	case GAUGE_NOT_KEPT:
		return atomic_load(&s->not_kept);
	case GAUGE_RESTORED:
		return atomic_load(&s->restored);
	case GAUGE_DAMAGED:
		return st.damaged + atomic_load(&s->unreadable);
	default:
		return atomic_load(&s->skipped);
	}
}

static counter_val_t gauge_get(enum gauge g)
{
	struct pul_cache_stats st;

	if (pul_shared == NULL || pul_routes == NULL)
		return 0;
	switch (g) {
	case GAUGE_UP:
		return atomic_load(&pul_shared->gateway_up);
	case GAUGE_USERS:
		return atomic_load(&pul_shared->users);
	case GAUGE_CONTACTS:
		return atomic_load(&pul_shared->contacts);
	case GAUGE_WITHDRAWN:
		return atomic_load(&pul_shared->withdrawn);
	case GAUGE_WITHDRAWALS_LEFT:
		return atomic_load(&pul_shared->withdrawals_left);
	case GAUGE_QUESTIONS_OPEN:
		return atomic_load(&pul_shared->questions);
	case GAUGE_AUTH_ENTRIES:
		return pul_auth_count();
	case GAUGE_KEPT:
	case GAUGE_STALE:
	case GAUGE_NOT_KEPT:
	case GAUGE_RESTORED:
	case GAUGE_DAMAGED:
	case GAUGE_SKIPPED:
		return store_get(g);
	default:
		break;
	}
	pul_cache_stats(pul_routes, &st);
	switch (g) {
	case GAUGE_CACHE_ENTRIES:
		return st.entries;
	case GAUGE_CACHE_BYTES:
		return (counter_val_t)st.bytes;
	case GAUGE_CACHE_HITS:
		return (counter_val_t)st.hits;
	case GAUGE_CACHE_STALE:
		return (counter_val_t)st.stale;
	case GAUGE_CACHE_MISSES:
		return (counter_val_t)st.misses;
	case GAUGE_CACHE_EVICTIONS:
		return (counter_val_t)st.evictions;
	default:
		return 0;
	}
}

static counter_val_t gauge_h(counter_handle_t h, void *arg)
{
	(void)h;
	return gauge_get((enum gauge)(uintptr_t)arg);
}

int pul_stats_init(void)
{
	counter_handle_t unused;
	uintptr_t i;

	for (i = 0; i < PUL_CNT_N; i++) {
		if (counter_register(&handle[i], GROUP, counters[i].name, 0, NULL, NULL,
				     counters[i].help, 0) < 0) {
			LM_ERR("cannot register counter %s\n", counters[i].name);
			return EINVAL;
		}
	}
	for (i = 0; i < GAUGE_N; i++) {
		if (counter_register(&unused, GROUP, gauges[i].name, CNT_F_NO_RESET, gauge_h,
				     (void *)i, gauges[i].help, 0) < 0) {
			LM_ERR("cannot register counter %s\n", gauges[i].name);
			return EINVAL;
		}
	}
	return 0;
}

void pul_count(enum pul_counter c)
{
	counter_inc(handle[c]);
}

void pul_stats_each(void (*h)(const char *name, long value, const char *help, void *arg), void *arg)
{
	uintptr_t i;

	for (i = 0; i < GAUGE_N; i++)
		h(gauges[i].name, gauge_get((enum gauge)i), gauges[i].help, arg);
	for (i = 0; i < PUL_CNT_N; i++)
		h(counters[i].name, counter_get_val(handle[i]), counters[i].help, arg);
}
