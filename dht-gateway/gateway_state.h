/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a gateway must not forget: its epoch, its Kamailio's SIP addresses, and which users it
 * publishes (a journal, so that a crash loses nothing that a module was told is taken).
 *
 * A gateway whose state is gone starts a new epoch: records of an older one are tried last from
 * then on, since nobody is left to withdraw them. */
#ifndef P2PSIP_GATEWAY_STATE_H
#define P2PSIP_GATEWAY_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/model/candidate.h"

struct gw;
struct gw_state;

enum gw_state_mark {
	GW_STATE_USER = '+',	  /* published, or to be */
	GW_STATE_WITHDRAWN = '-', /* its tombstone is still to be put */
	GW_STATE_GONE = '.',	  /* nothing left to do */
};

/* Opens or makes the folder and its files, and sets gw->epoch. One gateway at a time: EBUSY. 0 or
 * errno, with the reason in err. */
int gw_state_open(struct gw_state **sp, struct gw *gw, const char *dir, char *err, size_t errlen);
void gw_state_close(struct gw_state *s);
/* A new epoch, at least `at_least`. */
int gw_state_epoch_new(struct gw_state *s, uint64_t at_least);
bool gw_state_is_new(const struct gw_state *s); /* this start began an epoch */

/* Path of a file in the folder, for others to use. Valid until the next call. */
const char *gw_state_path(struct gw_state *s, const char *name);

/* Calls fn for each user of the journal as the last life left it; GW_STATE_GONE is not told. */
int gw_state_users_load(struct gw_state *s,
			void (*fn)(enum gw_state_mark mark, const char *name, size_t len,
				   uint64_t kamailio, const uint32_t *instances, size_t n,
				   void *arg),
			void *arg);
/* Written before this returns (not through to the disk: that survives a crash of the process, not
 * of the machine, after which phones register again). */
void gw_state_user(struct gw_state *s, enum gw_state_mark mark, const char *name, size_t len,
		   uint64_t kamailio, const uint32_t *instances, size_t n);
/* Has the journal grown enough to be written anew? Then call begin, user for each, end. After a
 * begin or end that failed (the old journal is kept, and goes on) not again for a minute. */
bool gw_state_compact_due(const struct gw_state *s, size_t users);
int gw_state_compact_begin(struct gw_state *s);
int gw_state_compact_end(struct gw_state *s);

/* Kamailio's SIP addresses of the last life, and of this one. */
unsigned int gw_state_uris_load(struct gw_state *s,
				char uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX]);
void gw_state_uris_save(struct gw_state *s, char uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX],
			unsigned int n);

#endif
