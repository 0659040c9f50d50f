/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: this server's contacts in a file, so that they outlive it. Whoever changes a contact
 * writes it there, under usrloc's slot lock and before the phone is answered, without a system
 * call; a process of its own brings the file to the disk and lets it grow. What comes back at the
 * next start is _restore.c's. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/dprint.h"
#include "core/globals.h"
#include "core/ip_addr.h"
#include "core/mem/shm_mem.h"
#include "core/socket_info.h"
#include "core/xavp.h"
#include "lib/base/bytes.h"
#include "modules/usrloc/usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_record.h"
#include "modules/p2p_usrloc/p2p_usrloc_store.h"

/* A Kamailio that was killed may take so long to be gone. */
#define LOCK_WAIT_MS 3000
#define HOUSE_MS 1000
/* Slots looked at every HOUSE_MS for what is over */
#define SWEEP_SLOTS 16384
/* usrloc tells when a contact is over. What it has not told of for so long is nobody's. */
#define LEFTOVER_S 3600

struct pul_file *pul_store_file;
struct pul_store_shared *pul_store_shared;
/* The process that restores: what it enters into usrloc is in the file already. */
static bool paused;

void pul_store_pause(bool pause)
{
	paused = pause;
}

int pul_store_open(void)
{
	char err[512];
	int code;

	if (*pul_settings.contacts_file == '\0')
		return 0;
	pul_store_shared = shm_malloc(sizeof(*pul_store_shared));
	if (pul_store_shared == NULL) {
		SHM_MEM_ERROR;
		return ENOMEM;
	}
	memset(pul_store_shared, 0, sizeof(*pul_store_shared));
	code = *pul_settings.contacts_memory == '\0'
		       ? pul_file_open(&pul_store_file, pul_settings.contacts_file,
				       (uint32_t)pul_settings.contacts_max, LOCK_WAIT_MS, err,
				       sizeof(err))
		       : pul_file_open_copied(&pul_store_file, pul_settings.contacts_memory,
					      pul_settings.contacts_file,
					      (uint32_t)pul_settings.contacts_max, LOCK_WAIT_MS,
					      err, sizeof(err));
	if (code == EWOULDBLOCK)
		LM_ERR("%s: another Kamailio keeps its contacts there, and is still running\n",
		       pul_settings.contacts_file);
	else if (code != 0)
		LM_ERR("no place to keep contacts: %s (contacts_file)\n", err);
	return code;
}

void pul_store_close(void)
{
	if (pul_store_file != NULL)
		pul_file_sync(pul_store_file);
	pul_file_close(pul_store_file);
	pul_store_file = NULL;
	if (pul_store_shared != NULL)
		shm_free(pul_store_shared);
	pul_store_shared = NULL;
}

/* --- contacts as records --- */

static bool is_stream(const struct socket_info *sock)
{
	return sock != NULL && (sock->proto == PROTO_TCP || sock->proto == PROTO_TLS ||
				sock->proto == PROTO_WS || sock->proto == PROTO_WSS);
}

/* The root's name, then name, type and value of each. False: there is something among them that
 * cannot be kept, or they are too many. */
static bool xavp_write(struct p2p_writer *w, const sr_xavp_t *root)
{
	const sr_xavp_t *x;
	long number;

	if (root->val.type != SR_XTYPE_XAVP || root->name.len > UINT8_MAX)
		return false;
	p2p_write_u8(w, (uint8_t)root->name.len);
	p2p_write(w, root->name.s, (size_t)root->name.len);
	for (x = root->val.v.xavp; x != NULL; x = x->next) {
		if (x->name.len <= 0 || x->name.len > UINT8_MAX)
			return false;
		p2p_write_u8(w, (uint8_t)x->name.len);
		p2p_write(w, x->name.s, (size_t)x->name.len);
		number = x->val.type == PUL_XTYPE_NUMBER ? x->val.PUL_XVAL_NUMBER : LONG_MAX;
		if (number >= INT32_MIN && number <= INT32_MAX) {
			p2p_write_u8(w, PUL_XAVP_INT);
			p2p_write_be32(w, (uint32_t)number);
		} else if (x->val.type == SR_XTYPE_STR && x->val.v.s.len <= UINT16_MAX) {
			p2p_write_u8(w, PUL_XAVP_STR);
			p2p_write_be16(w, (uint16_t)x->val.v.s.len);
			p2p_write(w, x->val.v.s.s, (size_t)x->val.v.s.len);
		} else {
			return false;
		}
	}
	return !w->full;
}

static void set(struct pul_record *r, enum pul_record_string i, const str *s)
{
	r->str[i].s = s->s;
	r->str[i].len = s->s != NULL && s->len > 0 ? (size_t)s->len : 0;
}

static void record_fill(struct pul_record *r, const ucontact_t *c)
{
	static const str none;

	r->ruid = c->ruid.s;
	r->ruid_len = (size_t)c->ruid.len;
	set(r, PUL_RECORD_TABLE, c->domain);
	set(r, PUL_RECORD_AOR, c->aor);
	set(r, PUL_RECORD_CONTACT, &c->c);
	set(r, PUL_RECORD_RECEIVED, &c->received);
	set(r, PUL_RECORD_PATH, &c->path);
	set(r, PUL_RECORD_SOCKET, c->sock != NULL ? &c->sock->sock_str : &none);
	set(r, PUL_RECORD_CALLID, &c->callid);
	set(r, PUL_RECORD_USER_AGENT, &c->user_agent);
	set(r, PUL_RECORD_INSTANCE, &c->instance);
	set(r, PUL_RECORD_XAVP, &none);
	r->q = c->q;
	r->server_id = c->server_id;
	r->flags = c->flags;
	r->cflags = c->cflags;
	r->methods = c->methods;
	r->reg_id = c->reg_id;
	/* one that comes by way of a proxy is reached by way of it */
	r->marks = c->path.len <= 0 && is_stream(c->sock) ? PUL_RECORD_STREAM : 0;
}

/* --- writing --- */

static void not_kept(const ucontact_t *c, const char *why)
{
	atomic_fetch_add(&pul_store_shared->not_kept, 1);
	if (pul_log_ok("store", 5))
		LM_ERR("[%.*s] will not outlive a restart: %s (%s)\n", c->aor->len, c->aor->s, why,
		       pul_settings.contacts_file);
}

/* The phone of a contact that came back without its connection is there again. */
static void returned(const ucontact_t *c)
{
	str ruid[PUL_USERS_STALE_MAX];
	char buf[PUL_USERS_STALE_MAX][PUL_RECORD_RUID_MAX];
	struct pul_file_record rec;
	struct pul_record r;
	struct p2p_name name;
	unsigned int n, i;

	if (pul_name_from_aor(c->aor, &name) != 0)
		return;
	for (i = 0; i < PUL_USERS_STALE_MAX; i++) {
		ruid[i].s = buf[i];
		ruid[i].len = sizeof(buf[i]);
	}
	n = pul_users_stale(&name, 0, ruid);
	for (i = 0; i < n; i++) {
		if (!pul_file_get(pul_store_file, ruid[i].s, (size_t)ruid[i].len, &rec) ||
		    !rec.mark || !pul_record_read(&r, rec.data, rec.len, rec.key_len))
			continue;
		if (!pul_record_same_phone(&r, c) ||
		    !pul_file_drop(pul_store_file, ruid[i].s, (size_t)ruid[i].len))
			continue;
		atomic_fetch_sub(&pul_store_shared->stale, 1);
		pul_users_remove(&name, &ruid[i]);
	}
}

bool pul_store_put(const ucontact_t *c)
{
	struct pul_times times = {(int64_t)c->expires, (int64_t)c->last_modified, c->cseq};
	uint8_t buf[PUL_FILE_RECORD_MAX], xavp[PUL_RECORD_STRING_MAX];
	struct pul_record r;
	struct p2p_writer w;
	bool same = false;
	size_t len;

	if (pul_store_file == NULL || paused)
		return false;
	record_fill(&r, c);
	if (c->xavp != NULL) {
		p2p_writer_init(&w, xavp, sizeof(xavp));
		if (xavp_write(&w, c->xavp)) {
			r.str[PUL_RECORD_XAVP].s = (char *)xavp;
			r.str[PUL_RECORD_XAVP].len = w.len;
		} else {
			atomic_fetch_add(&pul_store_shared->xavp_left, 1);
			if (pul_log_ok("xavp", 4))
				LM_WARN("[%.*s]: its xavp would not outlive a restart: too long, "
					"or "
					"not of strings and numbers\n",
					c->aor->len, c->aor->s);
		}
	}
	len = pul_record_write(&r, buf, sizeof(buf));
	if (len == 0) {
		pul_file_drop(pul_store_file, c->ruid.s, (size_t)c->ruid.len);
		not_kept(c, "it is too long");
	} else if (pul_file_put(pul_store_file, buf, len, r.ruid_len, &times, &same) != 0) {
		not_kept(c, "no room: contacts_max, or the disk is full");
	}
	if (!same && atomic_load(&pul_store_shared->stale) > 0)
		returned(c);
	return same;
}

void pul_store_drop(const str *ruid)
{
	if (pul_store_file != NULL && !paused && ruid->len > 0 && ruid->len <= PUL_FILE_KEY_MAX)
		pul_file_drop(pul_store_file, ruid->s, (size_t)ruid->len);
}

unsigned int pul_store_stale_drop(const struct p2p_name *name, uint32_t instance)
{
	str ruid[PUL_USERS_STALE_MAX];
	char buf[PUL_USERS_STALE_MAX][PUL_RECORD_RUID_MAX];
	unsigned int n, i, total = 0;

	if (pul_store_file == NULL || atomic_load(&pul_store_shared->stale) <= 0)
		return 0;
	do {
		for (i = 0; i < PUL_USERS_STALE_MAX; i++) {
			ruid[i].s = buf[i];
			ruid[i].len = sizeof(buf[i]);
		}
		n = pul_users_stale(name, instance, ruid);
		for (i = 0; i < n; i++) {
			if (pul_file_drop(pul_store_file, ruid[i].s, (size_t)ruid[i].len))
				atomic_fetch_sub(&pul_store_shared->stale, 1);
			pul_users_remove(name, &ruid[i]);
		}
		total += n;
	} while (n == PUL_USERS_STALE_MAX);
	return total;
}

/* --- the process of its own --- */

static void expired(uint32_t slot, time_t now)
{
	static struct pul_file_record rec;
	struct p2p_name name;
	struct pul_record r;
	str aor, ruid;

	pul_file_expire(pul_store_file, slot, now - LEFTOVER_S, false, &rec);
	if (!pul_file_expire(pul_store_file, slot, now, true, &rec))
		return;
	atomic_fetch_sub(&pul_store_shared->stale, 1);
	if (!pul_record_read(&r, rec.data, rec.len, rec.key_len))
		return;
	aor.s = (char *)r.str[PUL_RECORD_AOR].s;
	aor.len = (int)r.str[PUL_RECORD_AOR].len;
	ruid.s = (char *)r.ruid;
	ruid.len = (int)r.ruid_len;
	if (pul_name_from_aor(&aor, &name) == 0)
		pul_users_remove(&name, &ruid);
}

static void sweep(void)
{
	static uint32_t at;
	uint32_t slots = pul_file_slots(pul_store_file), n;
	time_t now = time(NULL);

	for (n = slots < SWEEP_SLOTS ? slots : SWEEP_SLOTS; n > 0; n--) {
		if (at >= slots)
			at = 0;
		expired(at++, now);
	}
}

void pul_store_run(void)
{
	const uint64_t sync_us = (uint64_t)pul_settings.contacts_sync_s * 1000000;
	uint64_t now, sync_next = 0, house_next = 0, took;
	int err;

	for (;;) {
		pul_file_wait(pul_store_file, HOUSE_MS);
		err = pul_file_grow(pul_store_file);
		if (err != 0 && err != EFBIG && pul_log_ok("grow", 4))
			LM_ERR("%s cannot grow: %s\n", pul_settings.contacts_file, strerror(err));
		now = pul_now_us();
		if (sync_us != 0 && now >= sync_next) {
			err = pul_file_sync(pul_store_file);
			if (err != 0 && pul_log_ok("sync", 4))
				LM_ERR("%s: the disk does not take it: %s\n",
				       pul_settings.contacts_file, strerror(err));
			/* a slow disk is left three quarters of its time */
			took = pul_now_us() - now;
			sync_next = now + (sync_us > 4 * took ? sync_us : 4 * took);
		}
		if (now >= house_next) {
			house_next = now + HOUSE_MS * 1000;
			sweep();
		}
	}
}
