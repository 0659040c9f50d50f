/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/search.h"

#include "lib/model/quorum.h"

void p2p_search_begin(struct p2p_search *s, bool held, unsigned int n_seen, unsigned int alive,
		      unsigned int n_left)
{
	bool answered = s->answered;
	bool looked = s->looked;
	unsigned int misses = s->misses;
	uint64_t pause_ms = s->pause_ms;
	bool runs = s->carried && s->runs;

	*s = (struct p2p_search){
		.held = held,
		.hurry = !held || alive < p2p_quorum(n_seen),
		.asked = runs,
		.runs = runs,
		.n_seen = n_seen,
		.n_left = n_left,
		.answered = answered,
		.looked = looked,
		.misses = misses,
		.pause_ms = pause_ms,
	};
}

void p2p_search_few(struct p2p_search *s, unsigned int n_more)
{
	s->n_more = n_more;
}

void p2p_search_look(struct p2p_search *s)
{
	s->look = s->misses == 0 && !s->answered && s->n_more > 0 && s->n_left > 0;
}

bool p2p_search_is_look(const struct p2p_search *s)
{
	return s->look && s->n_more > 0;
}

void p2p_search_unwatched(struct p2p_search *s)
{
	s->look = false;
}

void p2p_search_asked(struct p2p_search *s, unsigned int n)
{
	s->n_more = 0;
	s->n_left += n;
}

void p2p_search_own(struct p2p_search *s, bool seen, bool synced, bool any)
{
	s->sure = s->sure || (synced && any);
	s->doubt = s->doubt || !synced;
	s->none = s->none || (synced && !any);
	if (!seen || !synced)
		return;
	s->n_told++;
	s->n_no += !any;
}

void p2p_search_told(struct p2p_search *s, bool ok, bool seen, bool synced, bool any)
{
	s->n_left--;
	p2p_search_own(s, seen, ok && synced, any);
}

void p2p_search_engine(struct p2p_search *s, bool runs)
{
	s->asked = true;
	s->runs = runs;
	s->engine_all = false;
}

void p2p_search_engine_over(struct p2p_search *s, bool all)
{
	s->runs = false;
	s->engine_all = all;
}

uint64_t p2p_search_patience_ms(uint64_t usual_ms)
{
	if (usual_ms < P2P_SEARCH_PATIENCE_MS)
		return P2P_SEARCH_PATIENCE_MS;
	return usual_ms < P2P_SEARCH_PATIENCE_MAX_MS ? usual_ms : P2P_SEARCH_PATIENCE_MAX_MS;
}

uint64_t p2p_search_no_grace_ms(const struct p2p_search *s)
{
	return s->looked ? P2P_SEARCH_NO_GRACE_LOOK_MS : P2P_SEARCH_NO_GRACE_MS;
}

void p2p_search_patience_over(struct p2p_search *s)
{
	if (!s->held || s->answered || s->n_left + s->n_more == 0)
		return;
	if (s->n_more > 0)
		s->doubt = true;
	else
		s->hurry = true;
}

/* What the other holders say comes too late. */
void p2p_search_no_grace_over(struct p2p_search *s)
{
	s->no_grace = false;
	s->late = true;
	s->n_left = 0;
}

bool p2p_search_grace(struct p2p_search *s)
{
	if (s->grace || s->answered || s->paused)
		return false;
	s->grace = true;
	return true;
}

bool p2p_search_grace_over(struct p2p_search *s, bool usable)
{
	s->grace = false;
	if (usable)
		s->answered = true;
	return usable;
}

bool p2p_search_complete(const struct p2p_search *s)
{
	return s->held ? s->n_told >= p2p_quorum(s->n_seen) : s->engine_all;
}

bool p2p_search_no(const struct p2p_search *s)
{
	return p2p_quorum_absent(s->n_seen, s->n_no);
}

/* Is the engine to be asked now? Before a majority's no is believed it is, and when the holders do
 * not say enough: who tells none of them of its users, or has only just begun and is not known to
 * them yet, has put its users there. */
static bool engine_wanted(const struct p2p_search *s)
{
	if (s->asked)
		return false;
	if (s->hurry)
		return true;
	return !s->answered && (p2p_quorum_absent(s->n_seen, s->n_no) ||
				(s->n_left == 0 && !p2p_search_complete(s)));
}

enum p2p_search_step p2p_search_next(struct p2p_search *s, bool usable)
{
	bool sure = s->sure, no;

	if (s->paused)
		return P2P_SEARCH_WAIT;
	s->sure = false;
	if (s->held && !s->answered && usable && (sure || s->n_left + s->n_more == 0)) {
		s->answered = true;
		s->grace = s->no_grace = false;
		return P2P_SEARCH_ANSWER;
	}
	if (s->n_more > 0 && !s->answered && s->look && s->none && !s->doubt && !s->hurry)
		return s->n_left > 0 ? P2P_SEARCH_WAIT : P2P_SEARCH_OVER;
	if (s->n_more > 0 && !s->answered && (s->doubt || s->none || s->hurry || s->n_left == 0)) {
		s->sure = sure;
		return P2P_SEARCH_MORE;
	}
	if (engine_wanted(s)) {
		s->asked = true;
		s->sure = sure;
		return P2P_SEARCH_ENGINE;
	}
	if (!s->held)
		return s->runs ? P2P_SEARCH_WAIT : P2P_SEARCH_OVER;
	no = p2p_quorum_absent(s->n_seen, s->n_no);
	/* that there is none; or that too many are dead to say anything, and the engine may take
	 * long (it has asked the dead as well): the living are asked again meanwhile */
	if (!s->answered && !s->late &&
	    (no ? s->n_left > 0 || s->runs
		: s->n_left == 0 && s->runs && !p2p_search_complete(s))) {
		if (s->no_grace || s->grace)
			return P2P_SEARCH_WAIT;
		s->no_grace = true;
		return P2P_SEARCH_NO_GRACE;
	}
	if (s->n_left == 0 &&
	    (s->answered || s->late || p2p_search_complete(s) || (s->asked && !s->runs)))
		return P2P_SEARCH_OVER;
	return P2P_SEARCH_WAIT;
}

enum p2p_search_end p2p_search_over(struct p2p_search *s, bool waited, bool usable, bool any,
				    bool older, uint64_t *pause_ms)
{
	bool complete = p2p_search_complete(s);
	bool looked = p2p_search_is_look(s);

	s->grace = s->no_grace = false;
	if (complete && waited && !s->answered && older && !usable)
		return P2P_SEARCH_OLDER;
	if (s->answered || !waited)
		return P2P_SEARCH_DONE;
	/* a peer that is dead or silent is named as soon as the living have nobody better */
	if (usable || (any && (complete || s->held)))
		return P2P_SEARCH_FOUND;
	s->looked = s->looked || looked;
	complete = complete || looked;
	if (complete && ++s->misses >= P2P_SEARCH_MISSES)
		return P2P_SEARCH_ABSENT;
	s->paused = true;
	s->carried = s->held && s->runs;
	if (complete) {
		*pause_ms = P2P_SEARCH_MISS_PAUSE_MS;
		return P2P_SEARCH_AGAIN;
	}
	if (s->pause_ms == 0)
		s->pause_ms = P2P_SEARCH_PAUSE_MS;
	*pause_ms = s->pause_ms;
	s->pause_ms *= 2;
	if (s->pause_ms > P2P_SEARCH_PAUSE_MAX_MS)
		s->pause_ms = P2P_SEARCH_PAUSE_MAX_MS;
	return P2P_SEARCH_AGAIN;
}

void p2p_search_anew(struct p2p_search *s)
{
	s->answered = s->looked = false;
	s->misses = 0;
}
