/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: local users as people are shown them; see _users.c. */
#include <errno.h>
#include <string.h>

#include "modules/p2p_usrloc/p2p_usrloc_users_priv.h"

/* Wants the bucket's lock. */
static void view_make(const struct pul_user *u, struct pul_user_view *v)
{
	const struct pul_contact *c;

	memset(v, 0, sizeof(*v));
	v->name.len = u->name_len;
	memcpy(v->name.s, u->name, u->name_len);
	for (c = u->contacts; c != NULL; c = c->next)
		v->contacts++;
	v->claimed = (u->flags & USER_CLAIMED) != 0;
	v->in_flight = (u->flags & USER_IN_FLIGHT) != 0;
	v->changed = (u->flags & USER_CHANGED) != 0;
	v->others = (u->flags & USER_OTHERS) != 0;
}

unsigned int pul_users_page(uint64_t *position, struct pul_user_view *view, unsigned int n)
{
	unsigned int got = 0, skip = *position & 0xffffffffu, i;
	uint64_t bucket = *position >> 32;
	struct pul_user *u;

	for (; bucket < pul_n_buckets && got < n; bucket++, skip = 0) {
		lock_get(&pul_buckets[bucket].lock);
		for (u = pul_buckets[bucket].users, i = 0; u != NULL && got < n; u = u->next, i++) {
			if (i >= skip)
				view_make(u, &view[got++]);
		}
		lock_release(&pul_buckets[bucket].lock);
		if (u != NULL) {
			*position = bucket << 32 | i;
			return got;
		}
	}
	*position = bucket < pul_n_buckets ? bucket << 32 : 0;
	return got;
}

static void view_str(struct pul_contact_view *v, size_t *used, str *to, const char *s, size_t len)
{
	if (len > sizeof(v->data) - *used)
		len = sizeof(v->data) - *used;
	memcpy(v->data + *used, s, len);
	to->s = v->data + *used;
	to->len = len;
	*used += len;
}

int pul_users_show(const struct p2p_name *name, struct pul_user_view *view,
		   struct pul_contact_view *contacts, unsigned int *n)
{
	struct pul_bucket *b = pul_users_bucket(name->s, name->len);
	unsigned int room = *n, i = 0;
	const struct pul_contact *c;
	struct pul_user *u;
	size_t used;

	lock_get(&b->lock);
	u = pul_user_find(b, name->s, name->len);
	if (u != NULL) {
		view_make(u, view);
		for (c = u->contacts; c != NULL && i < room; c = c->next, i++) {
			used = 0;
			contacts[i].instance = c->instance;
			view_str(&contacts[i], &used, &contacts[i].table, c->table->s,
				 c->table->len);
			view_str(&contacts[i], &used, &contacts[i].aor,
				 c->aor_len > 0 ? c->data : u->name,
				 c->aor_len > 0 ? c->aor_len : u->name_len);
			view_str(&contacts[i], &used, &contacts[i].ruid, c->data + c->aor_len,
				 c->ruid_len);
		}
		*n = view->contacts;
	}
	lock_release(&b->lock);
	return u != NULL ? 0 : ENOENT;
}
