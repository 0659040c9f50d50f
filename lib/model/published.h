/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which users this peer publishes: what the Kamailios want (desired state) against what the DHT was
 * last told (published state), and what to do next. Decisions only: no I/O, no clock of its own.
 *
 * Desired:   CLAIMED   a running Kamailio has contacts for the user
 *            ORPHAN    the Kamailio that had them was restarted and did not name the user again;
 *                      still published until orphan_ms have passed
 *            GONE      withdrawn
 * Published: NOTHING -> PUTTING -> PUT (again at reput_ms) ; a failed put is tried again
 *            PUT -> KILLING (GONE: a tombstone) -> KILLED (told again until the last record that
 * was put has expired, for holders that missed it) -> forgotten Whatever is asked while a put is in
 * flight is done after it. docs/states.md has the table. */
#ifndef P2PSIP_MODEL_PUBLISHED_H
#define P2PSIP_MODEL_PUBLISHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/base/hash.h"
#include "lib/model/candidate.h"
#include "lib/proto/name.h"

struct p2p_published;

/* Kamailio instances that can be connected at a time. */
#define P2P_PUBLISHED_KAMAILIOS_MAX 64

struct p2p_published_config {
	size_t max;	       /* entries, those being withdrawn among them */
	uint64_t reput_ms;     /* a record is put again after this (less up to a quarter, spread by
				* name) */
	uint64_t retry_min_ms; /* after a failed put: doubled each time up to retry_max_ms */
	uint64_t retry_max_ms;
	uint64_t orphan_ms;	      /* orphans are withdrawn after this */
	uint64_t tombstone_ms;	      /* a tombstone is told again after this */
	struct p2p_hash_key hash_key; /* random */
};

/* 0 or ENOMEM, EINVAL. Ended by p2p_published_free. */
int p2p_published_new(struct p2p_published **pp, const struct p2p_published_config *config);
void p2p_published_free(struct p2p_published *p);
/* Changed settings (max and hash_key are kept as they were). */
void p2p_published_configure(struct p2p_published *p, const struct p2p_published_config *config);

/* All times below: now_ms of a monotonic clock.
 *
 * A Kamailio instance is named by the id of its HANDSHAKE, hashed to 64 bits by the caller. */

/* PUBLISH. 0: taken, and something is to be put. EALREADY: taken, nothing to do (the same as is
 * published). ESTALE: a higher seq of this instance was seen, written to *seen. ENOSPC: table full.
 * EINVAL: no canonical name. instances are sorted and freed of doubles here; the lowest count when
 * there are too many. */
int p2p_published_publish(struct p2p_published *p, const char *name, size_t len, uint64_t kamailio,
			  uint64_t seq, const uint32_t *instances, size_t n_instances,
			  uint64_t now_ms, uint64_t *seen);

/* WITHDRAW. 0: a tombstone is to be put, or nothing was ever put. ENOENT: unknown (no error).
 * ESTALE as above. EBUSY: another running Kamailio instance claims the user since; left as it is.
 */
int p2p_published_withdraw(struct p2p_published *p, const char *name, size_t len, uint64_t kamailio,
			   uint64_t seq, uint64_t now_ms, uint64_t *seen);

/* HANDSHAKE, once per connection: this instance is connected. Nothing is withdrawn. False: there
 * are P2P_PUBLISHED_KAMAILIOS_MAX others. */
bool p2p_published_connected(struct p2p_published *p, uint64_t kamailio);
/* A connected instance begins a synchronisation: what it does not name again before SYNCED becomes
 * an orphan then. */
void p2p_published_begin(struct p2p_published *p, uint64_t kamailio);
/* A connected instance goes on with the one it began before: what it has named since counts as
 * named. 0: *seq is the highest one that was taken of it. ENOENT: it cannot, for it is not known,
 * or some of its users were given up meanwhile, or are another's now; it has to begin anew. */
int p2p_published_resume(const struct p2p_published *p, uint64_t kamailio, uint64_t *seq);
/* One of its connections closed. After the last one its users stay claimed (it may come back, and
 * phones still are registered there). */
void p2p_published_disconnected(struct p2p_published *p, uint64_t kamailio);

/* SYNCED: the instance named all it has. What it had before and did not name again, and the users
 * of instances that are not connected any more, become orphans. Returns how many orphans there are
 * now. */
size_t p2p_published_synced(struct p2p_published *p, uint64_t kamailio, uint64_t now_ms);

/* How long ago a phone (its +sip.instance's hash) was first named here, without having been gone
 * meanwhile. older: it was here before that, too, in a former life of this peer (seq 0), for
 * nobody knows how long. false: it is not here. */
bool p2p_published_age(const struct p2p_published *p, const char *name, size_t len,
		       uint32_t instance, uint64_t now_ms, uint64_t *age_ms, bool *older);

/* SERVES: 0 not ours, 1 claimed, 2 orphan. */
int p2p_published_serves(const struct p2p_published *p, const char *name, size_t len);

/* Everything that is published must be signed again: a new epoch, other addresses. The puts are
 * spread over spread_ms. */
void p2p_published_renew(struct p2p_published *p, uint64_t now_ms, uint64_t spread_ms);

/* A holder has a record of ours that is later than order, though what was put is believed to be
 * out: it is signed again after a while. Nothing happens when it has been signed again since, or is
 * just being put. */
void p2p_published_stale(struct p2p_published *p, const char *name, size_t len, uint64_t order,
			 uint64_t now_ms);

/* Withdraw all (orderly end of a peer that leaves the overlay). */
void p2p_published_withdraw_all(struct p2p_published *p, uint64_t now_ms);

/* Something to put. */
struct p2p_published_job {
	uint64_t id; /* names the entry and the attempt, for p2p_published_done */
	bool tombstone;
	bool first;		 /* nothing of this user is out there yet, as far as is known */
	bool changed;		 /* what was wished changed: not just a repetition */
	uint64_t last_order;	 /* of the last record (as given to done; 0: none) */
	uint64_t last_expiry_ms; /* of the last record put (as given to done; 0: none): a tombstone
				  * must live at least as long */
	size_t name_len;
	char name[P2P_NAME_MAX + 1];
	uint8_t n_instances;
	uint32_t instance[P2P_CANDIDATE_INSTANCES_MAX];
};

/* The next thing that is due; it counts as in flight until p2p_published_done. ENOENT: nothing is
 * due now. Turns orphans whose time is up into withdrawals on the way. Oldest due first. The caller
 * bounds how many it has in flight. */
int p2p_published_next(struct p2p_published *p, uint64_t now_ms, struct p2p_published_job *job);

/* When p2p_published_next will have something; UINT64_MAX when nothing is waiting. */
uint64_t p2p_published_due(const struct p2p_published *p);

enum p2p_put_result {
	P2P_PUT_OK,
	P2P_PUT_FAILED, /* try again later */
	P2P_PUT_STALE,	/* a holder has a higher order (the caller told its hlc): sign again now */
};

/* How the put ended. order and expiry_ms (wall clock): of the record that was put. An id that is no
 * longer in flight is ignored. */
void p2p_published_done(struct p2p_published *p, uint64_t id, enum p2p_put_result result,
			uint64_t order, uint64_t expiry_ms, uint64_t wall_ms, uint64_t now_ms);

enum p2p_desired { P2P_DESIRED_CLAIMED, P2P_DESIRED_ORPHAN, P2P_DESIRED_GONE };
enum p2p_put_state {
	P2P_PUT_NOTHING,
	P2P_PUT_PUTTING,
	P2P_PUT_PUT,
	P2P_PUT_KILLING,
	P2P_PUT_KILLED,
};

struct p2p_published_info {
	char name[P2P_NAME_MAX + 1];
	size_t name_len;
	enum p2p_desired desired;
	enum p2p_put_state put;
	bool dirty;	       /* what was put is not what is desired */
	bool confirmed;	       /* what is desired was put, whatever is under way now */
	unsigned int failures; /* in a row */
	uint64_t kamailio, seq, order;
	uint64_t due_ms; /* UINT64_MAX: in flight */
	uint8_t n_instances;
	uint32_t instance[P2P_CANDIDATE_INSTANCES_MAX];
};

const char *p2p_desired_text(enum p2p_desired desired);
const char *p2p_put_state_text(enum p2p_put_state put);

/* 0 or ENOENT. */
int p2p_published_get(const struct p2p_published *p, const char *name, size_t len,
		      struct p2p_published_info *info);
/* A page of the table: calls fn for up to count entries from *cursor on (0 to begin with) and sets
 * *cursor to go on with, 0 at the end. Entries that come or go meanwhile may be missed, none is
 * told twice as long as none is added. */
void p2p_published_scan(const struct p2p_published *p, uint64_t *cursor, size_t count,
			void (*fn)(const struct p2p_published_info *info, void *arg), void *arg);

struct p2p_published_stats {
	size_t entries, claimed, orphans, gone;
	size_t in_flight, dirty;
};
void p2p_published_stats(const struct p2p_published *p, struct p2p_published_stats *st);

#endif
