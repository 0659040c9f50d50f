// SPDX-License-Identifier: GPL-2.0-or-later
/* The peers that serve a user become branches of the request; and what is answered when none of
 * them may be sent to. */
#include "p2p_registrar.h"

static bool hit_in(const struct p2p_hit *hit, const struct reg_tried *tried)
{
	int i;

	for (i = 0; tried != NULL && i < tried->n; i++)
		if (p2p_hit_cmp(hit, &tried->hit[i]) == 0)
			return true;
	return false;
}

/* A GRUU means one instance: a peer whose record lists its instances and not this one is out. */
static bool instance_fits(const struct reg_lookup *lk, const struct p2p_candidate *c)
{
	int i;

	if (!lk->gruu || c->n_instances == 0)
		return true;
	for (i = 0; i < c->n_instances && i < P2P_CANDIDATE_INSTANCES_MAX; i++)
		if (c->instance[i] == lk->instance)
			return true;
	return false;
}

int reg_candidates_add(struct sip_msg *msg, const struct reg_lookup *lk,
		       const struct p2p_candidate_set *set, bool first,
		       const struct reg_tried *skip, struct reg_left *left)
{
	int i, pass, n = 0;

	left->n = 0;
	left->why = NULL;
	/* those whose lease ran out only when there is nobody else */
	for (pass = 0; pass < 2 && n == 0 && (pass == 0 || first); pass++) {
		for (i = 0; i < set->n && i < P2P_CANDIDATES_MAX; i++) {
			const struct p2p_candidate *c = &set->c[i];

			if (((c->flags & P2P_CANDIDATE_LAPSED) != 0) != (pass == 1) ||
			    hit_in(&c->hit, skip) || !instance_fits(lk, c))
				continue;
			if (!reg_route.peer_usable(&c->hit) ||
			    reg_route.branch_add(msg, &lk->aor, c, first && n == 0) < 0) {
				left->n++;
				if (c->session > P2P_CANDIDATE_SESSION_OPEN && left->why == NULL)
					left->why = c;
				continue;
			}
			n++;
		}
	}
	return n;
}

void reg_outcome_left(struct sip_msg *msg, const struct reg_left *left)
{
	static char text[160]; /* the outcome's reason, until the next one */
	const struct p2p_candidate *c = left->why;
	const char *what = NULL;
	char hit[P2P_HIT_TEXT_MAX];
	uint8_t source[sizeof(c->hit.b) + 1]; /* a line for each peer and reason */
	size_t i;

	switch (c != NULL ? c->session : P2P_CANDIDATE_SESSION_NONE) {
	case P2P_CANDIDATE_SESSION_UNREACHABLE:
		what = "gateway of the overlay peer cannot be reached";
		break;
	case P2P_CANDIDATE_SESSION_NOCOMMON_SIGNALLING:
		what = "no signalling in common with the overlay peer";
		break;
	case P2P_CANDIDATE_SESSION_NOCOMMON_MEDIA:
		what = "no media in common with the overlay peer";
		break;
	case P2P_CANDIDATE_SESSION_REFUSED:
		what = "refused by the overlay peer";
		break;
	default:
		break;
	}
	if (what == NULL) {
		reg_outcome_set(msg, REG_UNAVAILABLE, "overlay peer cannot be reached");
		return;
	}
	if (c->session == P2P_CANDIDATE_SESSION_NOCOMMON_SIGNALLING ||
	    c->session == P2P_CANDIDATE_SESSION_NOCOMMON_MEDIA)
		snprintf(text, sizeof(text), "%s", c->why[0] != '\0' ? c->why : what);
	else
		snprintf(text, sizeof(text), c->why[0] != '\0' ? "%s: %s" : "%s%s", what, c->why);
	for (i = 0; text[i] != '\0'; i++) /* it goes into a quoted string */
		if (text[i] == '"' || text[i] == '\\')
			text[i] = '\'';
	p2p_hit_print(&c->hit, hit);
	memcpy(source, c->hit.b, sizeof(c->hit.b));
	source[sizeof(c->hit.b)] = (uint8_t)c->session;
	if (reg_ul.log_ok(source, sizeof(source)))
		LM_WARN("no call to the peer %s: %s\n", hit, text);
	if (c->session == P2P_CANDIDATE_SESSION_NOCOMMON_MEDIA)
		reg_outcome_set_code(msg, REG_UNAVAILABLE, 488, "Not Acceptable Here", text);
	else
		reg_outcome_set(msg, REG_UNAVAILABLE, text);
}
