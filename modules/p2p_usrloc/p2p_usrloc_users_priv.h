/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: the table of local users, for its own files only: _users.c has the contacts,
 * _users_work.c what the gateway is to be told, _users_view.c what people are shown. */
#ifndef P2P_USRLOC_USERS_PRIV_H
#define P2P_USRLOC_USERS_PRIV_H

#include "modules/p2p_usrloc/p2p_usrloc.h"

struct pul_contact {
	struct pul_contact *next;
	const str *table;  /* usrloc's own, lives as long as Kamailio */
	uint32_t instance; /* p2p_instance_hash(), 0: none */
	unsigned int gen;  /* the scan that saw it last, or during which it came */
	uint16_t aor_len;  /* 0: the AoR is the name */
	uint16_t ruid_len;
	bool embedded; /* part of its user's memory */
	bool stale;    /* usrloc has it not: its phone has to connect again */
	char data[];   /* AoR, ruid */
};

enum user_flag {
	USER_LISTED = 1,     /* on the bucket's work list */
	USER_CHANGED = 2,    /* the gateway may have to be told */
	USER_IN_FLIGHT = 4,  /* told, not answered yet */
	USER_CLAIMED = 8,    /* the gateway publishes it, with the instances of `told` */
	USER_ASK = 16,	     /* who else serves it? */
	USER_OTHERS = 32,    /* others are known, or were, to serve it */
	USER_CONFIRMED = 64, /* others can find it with the instances of `told` */
};

struct pul_user {
	struct pul_user *next;	    /* of the bucket */
	struct pul_user *work_next; /* of the bucket's work list */
	struct pul_contact *contacts;
	uint32_t told; /* signature of the instances last sent */
	uint8_t flags;
	uint8_t name_len;
	char name[]; /* without NUL; then, aligned, the first contact */
};

_Static_assert(P2P_NAME_MAX <= UINT8_MAX, "name_len is too small");

struct pul_bucket {
	gen_lock_t lock; /* guards all below, users and contacts included */
	struct pul_user *users;
	struct pul_user *work_head, *work_tail;
};

/* pkg pointer to shm, set before forking */
extern struct pul_bucket *pul_buckets;
extern unsigned int pul_n_buckets;

static inline struct pul_bucket *pul_users_bucket(const char *name, size_t len)
{
	return &pul_buckets[p2p_hash(&pul_hash_key, name, len) & (pul_n_buckets - 1)];
}

/* All below want the bucket's lock held. */

struct pul_user *pul_user_find(const struct pul_bucket *b, const char *name, size_t len);
/* Out of the bucket: the caller's to free. It has no contacts. */
void pul_user_unlink(struct pul_bucket *b, struct pul_user *u);
/* On the bucket's work list, if it is not there yet; off it. */
void pul_work_add(struct pul_bucket *b, struct pul_user *u);
void pul_work_del(struct pul_bucket *b, struct pul_user *u);

/* _users_work.c: the map of buckets with work. 0 or ENOMEM. */
int pul_work_init(void);
void pul_work_destroy(void);

#endif
