/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: contacts that outlive Kamailio: what _store.c and _restore.c share with the rest of
 * the module. All of it does nothing while contacts_file is empty. */
#ifndef P2P_USRLOC_STORE_H
#define P2P_USRLOC_STORE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "core/str.h"
#include "modules/p2p_usrloc/api.h"
#include "modules/p2p_usrloc/p2p_usrloc_file.h"
#include "modules/p2p_usrloc/p2p_usrloc_record.h"

struct ucontact;

/* The types of values in PUL_RECORD_XAVP */
enum { PUL_XAVP_INT = 1, PUL_XAVP_STR = 2 };

/* Numbers in xavps are int in Kamailio before 6.0, and long since; configure sees which. */
#ifdef P2P_XAVP_INT
#define PUL_XTYPE_NUMBER SR_XTYPE_INT
#define PUL_XVAL_NUMBER v.i
#else
#define PUL_XTYPE_NUMBER SR_XTYPE_LONG
#define PUL_XVAL_NUMBER v.l
#endif

/* shm */
struct pul_store_shared {
	atomic_int stale; /* contacts whose connection went with an earlier Kamailio */
	atomic_uint not_kept, xavp_left;
	/* of this start */
	atomic_uint restored, restored_stale, expired, older, skipped, unreadable;
	atomic_uint restore_ms;
};

/* pkg, set before forking; NULL: off */
extern struct pul_file *pul_store_file;
extern struct pul_store_shared *pul_store_shared;

/* In the main process, as the user that Kamailio runs as, before forking: 0, or errno after a line
 * in the log. */
int pul_store_open(void);
void pul_store_close(void);
/* Never returns: brings the file to the disk, lets it grow, drops what is over. */
void pul_store_run(void) __attribute__((noreturn));

/* Under usrloc's slot lock: this contact is there, as it is now. True: it was there already, and
 * only its times have changed. */
bool pul_store_put(const struct ucontact *c);
void pul_store_drop(const str *ruid);
/* This process puts and drops nothing until it is called again. */
void pul_store_pause(bool pause);
/* All of a user's contacts whose connections are lost, or those of the phone with this instance
 * hash (0: all). Returns how many there were. */
unsigned int pul_store_stale_drop(const struct p2p_name *name, uint32_t instance);

/* --- _restore.c --- */

/* May contacts come back before forking, or does usrloc (or dmq_usrloc) need a SIP worker? */
bool pul_restore_early(void);
/* Brings back what is in the file; once. Logs what came of it. */
void pul_restore_run(void);
/* Is this contact of the same phone as that record? Of one AoR, both. */
bool pul_record_same_phone(const struct pul_record *r, const struct ucontact *c);

#endif
