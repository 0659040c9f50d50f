/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: at the start, contacts that an earlier Kamailio had come back into usrloc, with all
 * they had, so that the phone's next REGISTER finds its binding.
 *
 *	over                                     dropped
 *	on a connection (TCP, TLS, WebSocket)    stale: not in usrloc, nobody can dial it; its user
 *is published, and callers are told 480, until the phone registers again or its time is over usrloc
 *has the same binding, newer       usrloc's stays, and is written to the file usrloc has it, older
 *(its database)      usrloc's is brought up to date else inserted */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "core/dprint.h"
#include "core/globals.h"
#include "core/ip_addr.h"
#include "core/socket_info.h"
#include "core/sr_module.h"
#include "core/xavp.h"
#include "lib/base/bytes.h"
#include "modules/usrloc/usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_store.h"

#define SOCKET_TEXT_MAX 128

/* One contact on its way back */
struct back {
	struct pul_record r;
	str table, aor, contact, path, callid, user_agent;
	ucontact_info_t ci;
	char table_buf[PUL_RECORD_TABLE_MAX + 1];
};

static str text(const struct pul_record *r, enum pul_record_string i)
{
	str s = {(char *)r->str[i].s, (int)r->str[i].len};

	if (s.len == 0)
		s.s = NULL;
	return s;
}

static bool equal(const struct pul_record *r, enum pul_record_string i, const str *s)
{
	return s->len > 0 && r->str[i].len == (size_t)s->len &&
	       memcmp(r->str[i].s, s->s, r->str[i].len) == 0;
}

bool pul_record_same_phone(const struct pul_record *r, const ucontact_t *c)
{
	if (!equal(r, PUL_RECORD_TABLE, c->domain) || !equal(r, PUL_RECORD_AOR, c->aor))
		return false;
	return (equal(r, PUL_RECORD_INSTANCE, &c->instance) && r->reg_id == c->reg_id) ||
	       equal(r, PUL_RECORD_CONTACT, &c->c) || equal(r, PUL_RECORD_CALLID, &c->callid);
}

/* NULL: it is none of ours any more. */
static struct socket_info *socket_find(const struct pul_record *r)
{
	char buf[SOCKET_TEXT_MAX];
	size_t len = r->str[PUL_RECORD_SOCKET].len;
	int port, proto;
	str host;

	if (len == 0 || len >= sizeof(buf))
		return NULL;
	memcpy(buf, r->str[PUL_RECORD_SOCKET].s, len);
	buf[len] = '\0';
	if (parse_phostport(buf, &host.s, &host.len, &port, &proto) != 0)
		return NULL;
	return grep_sock_info(&host, (unsigned short)port, (unsigned short)proto);
}

static bool back_make(struct back *b, const struct pul_file_record *rec)
{
	struct pul_record *r = &b->r;
	ucontact_info_t *ci = &b->ci;

	if (!pul_record_read(r, rec->data, rec->len, rec->key_len))
		return false;
	b->table = text(r, PUL_RECORD_TABLE);
	memcpy(b->table_buf, b->table.s, (size_t)b->table.len);
	b->table_buf[b->table.len] = '\0';
	b->aor = text(r, PUL_RECORD_AOR);
	b->contact = text(r, PUL_RECORD_CONTACT);
	b->path = text(r, PUL_RECORD_PATH);
	b->callid = text(r, PUL_RECORD_CALLID);
	b->user_agent = text(r, PUL_RECORD_USER_AGENT);
	memset(ci, 0, sizeof(*ci));
	ci->ruid.s = (char *)r->ruid;
	ci->ruid.len = (int)r->ruid_len;
	ci->c = &b->contact;
	ci->received = text(r, PUL_RECORD_RECEIVED);
	ci->path = b->path.len > 0 ? &b->path : NULL;
	ci->expires = (time_t)rec->times.expires;
	ci->q = r->q;
	ci->callid = &b->callid;
	ci->cseq = rec->times.cseq;
	ci->flags = r->flags;
	ci->cflags = r->cflags;
	ci->user_agent = &b->user_agent;
	ci->sock = socket_find(r);
	ci->methods = r->methods;
	ci->instance = text(r, PUL_RECORD_INSTANCE);
	ci->reg_id = r->reg_id;
	ci->server_id = r->server_id;
	ci->tcpconn_id = -1;
	ci->last_modified = (time_t)rec->times.modified;
	return true;
}

/* See _store.c's xavp_write(). */
static sr_xavp_t *xavp_read(const uint8_t *p, size_t left)
{
	sr_xavp_t *list = NULL, *root = NULL, *x, *last = NULL;
	sr_xval_t v;
	str root_name, name;

	if (left < 1 || p[0] == 0 || left < 1u + p[0])
		return NULL;
	root_name.s = (char *)p + 1;
	root_name.len = p[0];
	left -= 1u + p[0];
	p += 1 + p[0];
	while (left > 0) {
		if (p[0] == 0 || left < 2u + p[0])
			goto bad;
		name.s = (char *)p + 1;
		name.len = p[0];
		left -= 2u + p[0];
		p += 2 + p[0];
		memset(&v, 0, sizeof(v));
		if (p[-1] == PUL_XAVP_INT && left >= 4) {
			v.type = PUL_XTYPE_NUMBER;
			v.PUL_XVAL_NUMBER = (int32_t)p2p_be32(p);
			p += 4;
			left -= 4;
		} else if (p[-1] == PUL_XAVP_STR && left >= 2 && left >= 2u + p2p_be16(p)) {
			v.type = SR_XTYPE_STR;
			v.v.s.len = p2p_be16(p);
			v.v.s.s = (char *)p + 2;
			left -= 2u + (size_t)v.v.s.len;
			p += 2 + v.v.s.len;
		} else {
			goto bad;
		}
		x = NULL;
		if (xavp_add_value(&name, &v, &x) == NULL)
			goto bad;
		if (last != NULL)
			last->next = x;
		else
			list = x;
		last = x;
	}
	memset(&v, 0, sizeof(v));
	v.type = SR_XTYPE_XAVP;
	v.v.xavp = list;
	if (xavp_add_value(&root_name, &v, &root) != NULL)
		return root;
bad:
	xavp_destroy_list(&list);
	return NULL;
}

static void xavp_back(ucontact_t *c, const struct pul_record *r)
{
	if (c->xavp == NULL && r->str[PUL_RECORD_XAVP].len > 0)
		c->xavp = xavp_read((const uint8_t *)r->str[PUL_RECORD_XAVP].s,
				    r->str[PUL_RECORD_XAVP].len);
}

/* What usrloc has of the same binding, as a REGISTER of that phone would find it. */
static ucontact_t *binding_find(const usrloc_api_t *ul, urecord_t *rec, struct back *b)
{
	ucontact_t *c;

	for (c = rec->contacts; c != NULL; c = c->next) {
		if (c->ruid.len == b->ci.ruid.len &&
		    memcmp(c->ruid.s, b->ci.ruid.s, (size_t)c->ruid.len) == 0)
			return c;
	}
	c = NULL;
	b->ci.cseq = INT_MAX;
	if (ul->get_ucontact_by_instance(rec, &b->contact, &b->ci, &c) != 0)
		c = NULL;
	return c;
}

static void stale(const struct back *b, udomain_t *domain)
{
	uint32_t instance = 0;
	struct p2p_name name;
	const str *table = pul_ul_table(domain);

	pul_file_mark(pul_store_file, b->ci.ruid.s, (size_t)b->ci.ruid.len, true);
	atomic_fetch_add(&pul_store_shared->stale, 1);
	if (table == NULL || pul_name_from_aor(&b->aor, &name) != 0)
		return; /* not published */
	if (b->ci.instance.len > 0)
		instance = p2p_instance_hash(b->ci.instance.s, (size_t)b->ci.instance.len);
	if (pul_users_add(&name, table, &b->aor, &b->ci.ruid, instance) == 0)
		pul_users_set_stale(&name, &b->ci.ruid);
}

/* With the slot's lock held. Returns the counter of what came of it. */
static atomic_uint *insert(const usrloc_api_t *ul, udomain_t *domain, struct back *b)
{
	const int cseq = b->ci.cseq;
	const time_t modified = b->ci.last_modified;
	urecord_t *rec = NULL;
	ucontact_t *c = NULL;
	bool newer;

	if (ul->get_urecord(domain, &b->aor, &rec) == 0) {
		c = binding_find(ul, rec, b);
		b->ci.cseq = cseq;
	}
	if (c == NULL && (b->r.marks & PUL_RECORD_STREAM)) {
		stale(b, domain);
		return &pul_store_shared->restored_stale;
	}
	if (rec == NULL && ul->insert_urecord(domain, &b->aor, &rec) < 0)
		return &pul_store_shared->skipped;
	if (c == NULL) {
		if (ul->insert_ucontact(rec, &b->contact, &b->ci, &c) < 0) {
			ul->release_urecord(rec);
			return &pul_store_shared->skipped;
		}
		xavp_back(c, &b->r);
		return &pul_store_shared->restored;
	}
	newer = c->last_modified >= modified;
	if (!newer && ul->update_ucontact(rec, c, &b->ci) < 0)
		return &pul_store_shared->skipped;
	if (!newer)
		xavp_back(c, &b->r);
	pul_store_pause(false);
	if (c->ruid.len != b->ci.ruid.len ||
	    memcmp(c->ruid.s, b->ci.ruid.s, (size_t)c->ruid.len) != 0)
		pul_store_drop(&b->ci.ruid);
	if (c->server_id == server_id)
		pul_store_put(c);
	pul_store_pause(true);
	return newer ? &pul_store_shared->older : &pul_store_shared->restored;
}

static void contact_back(const struct usrloc_api *ul, const struct pul_file_record *rec, time_t now)
{
	static struct back b;
	udomain_t *domain = NULL;
	atomic_uint *what;

	if (!back_make(&b, rec)) {
		atomic_fetch_add(&pul_store_shared->unreadable, 1);
		pul_file_drop(pul_store_file, rec->data, rec->key_len);
		return;
	}
	if (b.ci.expires != 0 && b.ci.expires <= now) {
		atomic_fetch_add(&pul_store_shared->expired, 1);
		pul_file_drop(pul_store_file, rec->data, rec->key_len);
		return;
	}
	if (ul->get_udomain(b.table_buf, &domain) != 0) {
		/* kept until its time is over: the script may have its table again */
		atomic_fetch_add(&pul_store_shared->skipped, 1);
		return;
	}
	ul->lock_udomain(domain, &b.aor);
	what = insert(ul, domain, &b);
	ul->unlock_udomain(domain, &b.aor);
	atomic_fetch_add(what, 1);
}

bool pul_restore_early(void)
{
	/* usrloc reads its database in the first SIP worker, and dmq_usrloc sends what is new */
	return pul_ul_api()->db_mode == NO_DB && !module_loaded("dmq_usrloc");
}

void pul_restore_run(void)
{
	static struct pul_file_record rec;
	struct pul_store_shared *s = pul_store_shared;
	uint64_t start = pul_now_us(), order;
	struct pul_file_stats st;
	uint32_t slot;

	if (pul_store_file == NULL)
		return;
	order = pul_file_order(pul_store_file);
	pul_store_pause(true);
	for (slot = 0; slot < pul_file_slots(pul_store_file); slot++) {
		/* what is written meanwhile is usrloc's already */
		if (pul_file_read(pul_store_file, slot, &rec) && rec.order < order)
			contact_back(pul_ul_api(), &rec, time(NULL));
	}
	pul_store_pause(false);
	atomic_store(&s->restore_ms, (unsigned int)((pul_now_us() - start) / 1000));
	pul_file_stats(pul_store_file, &st);
	LM_INFO("%s: %u contacts are back; %u more when their phones connect again; %u were over, "
		"%u have a newer binding\n",
		pul_settings.contacts_file, atomic_load(&s->restored),
		atomic_load(&s->restored_stale), atomic_load(&s->expired), atomic_load(&s->older));
	if (st.damaged + atomic_load(&s->unreadable) > 0)
		LM_ERR("%s: %u contacts were damaged and are lost until their phones register\n",
		       pul_settings.contacts_file, st.damaged + atomic_load(&s->unreadable));
	if (atomic_load(&s->skipped) > 0)
		LM_ERR("%s: %u contacts could not come back: usrloc has no such table (save() "
		       "makes "
		       "it, or preload), or no shared memory\n",
		       pul_settings.contacts_file, atomic_load(&s->skipped));
}
