/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: usrloc's contacts. Callbacks keep the users table up to date; a scan brings in what
 * no callback told (contacts that usrloc loaded from its database at the start) or what was lost
 * for want of memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/counters.h"
#include "core/dprint.h"
#include "core/globals.h"
#include "core/sr_module.h"
#include "modules/usrloc/usrloc.h"
#include "modules/usrloc/udomain.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_store.h"

#define TABLES_MAX 32
#define TABLE_NAME_MAX 64
/* As usrloc itself marks a contact that is over (not 0: that is one for ever). */
#define EXPIRED 10

/* pkg */
static usrloc_api_t ul;
static atomic_uint *skipped; /* shm: contacts without a name that can be published */

/* Tables to publish, from the parameter; none: all. Set before forking. */
static str wanted[TABLES_MAX];
static int n_wanted;

/* Tables to scan; the client process' own. */
static char table_name[TABLES_MAX][TABLE_NAME_MAX];
static udomain_t *table[TABLES_MAX];
static int n_tables;

/* What get_all_ucontacts writes to, kept from part to part of one scan. */
static char *scan_buf;
static int scan_len;

static bool table_wanted(const str *name)
{
	int i;

	for (i = 0; i < n_wanted; i++) {
		if (wanted[i].len == name->len && memcmp(wanted[i].s, name->s, name->len) == 0)
			return true;
	}
	return n_wanted == 0;
}

/* The slot's lock is held. scan: the contact was found, not changed. */
static void contact_add(const ucontact_t *c, bool scan)
{
	struct p2p_name name;
	uint32_t instance = 0;
	int err;

	if (c->server_id != server_id) {
		/* registered at another server, and here by dmq_usrloc or a shared database: that
		 * one publishes it, and keeps it */
		pul_store_drop(&c->ruid);
		if (pul_name_from_aor(c->aor, &name) == 0)
			pul_users_remove(&name, &c->ruid);
		return;
	}
	/* a refresh that changes no more than its times finds itself noted, in the users table too
	 */
	if (pul_store_put(c) && !scan)
		return;
	if (!table_wanted(c->domain))
		return;
	err = pul_name_from_aor(c->aor, &name);
	if (err != 0) {
		atomic_fetch_add(skipped, 1);
		pul_count(PUL_CNT_UNPUBLISHABLE);
		if (pul_log_ok("aor", 3))
			LM_WARN("[%.*s] is not published: it makes no name for the overlay (%s)\n",
				c->aor->len, c->aor->s, strerror(err));
		return;
	}
	if (c->instance.s != NULL && c->instance.len > 0)
		instance = p2p_instance_hash(c->instance.s, c->instance.len);
	if (pul_users_add(&name, c->domain, c->aor, &c->ruid, instance) != 0) {
		/* nothing is lost: usrloc has it, and is looked through again */
		atomic_store(&pul_shared->rescan, 1);
		pul_wake_soon();
		pul_count(PUL_CNT_NO_MEMORY);
		if (pul_log_ok("shm", 3))
			LM_ERR("no shared memory for [%.*s]: trying again until there is\n",
			       c->aor->len, c->aor->s);
	}
}

/* Runs under usrloc's slot lock, in whatever process changed the contact. */
static void contact_h(struct ucontact *c, int type, void *param)
{
	struct p2p_name name;

	(void)param;
	if (type & (UL_CONTACT_INSERT | UL_CONTACT_UPDATE)) {
		/* An update finds itself noted and is done. It matters for a phone that was
		 * registered at another server sharing contacts with this one, and makes up for
		 * whatever may have been missed. */
		contact_add(c, false);
		return;
	}
	pul_store_drop(&c->ruid);
	if (table_wanted(c->domain) && pul_name_from_aor(c->aor, &name) == 0)
		pul_users_remove(&name, &c->ruid);
}

static int tables_parse(void)
{
	const char *p = pul_settings.tables;
	size_t len;

	for (;;) {
		p += strspn(p, ", \t;");
		if (*p == '\0')
			return 0;
		len = strcspn(p, ", \t;");
		if (n_wanted == TABLES_MAX || len >= TABLE_NAME_MAX) {
			LM_ERR("parameter tables: at most %d names of at most %d bytes\n",
			       TABLES_MAX, TABLE_NAME_MAX - 1);
			return EINVAL;
		}
		wanted[n_wanted].s = (char *)p;
		wanted[n_wanted].len = (int)len;
		n_wanted++;
		p += len;
	}
}

int pul_ul_init(bool *use_domain)
{
	bind_usrloc_t bind = (bind_usrloc_t)(void (*)(void))find_export("ul_bind_usrloc", 1, 0);

	if (bind == NULL || bind(&ul) < 0) {
		LM_ERR("module usrloc must be loaded before this one\n");
		return EINVAL;
	}
	if (ul.db_mode == DB_ONLY) {
		LM_ERR("usrloc runs with db_mode 3 (database only), which keeps no contacts in "
		       "memory: set it to 0, 1, 2 or 4\n");
		return EINVAL;
	}
	if (tables_parse() != 0)
		return EINVAL;
	skipped = shm_malloc(sizeof(*skipped));
	if (skipped == NULL) {
		SHM_MEM_ERROR;
		return ENOMEM;
	}
	atomic_init(skipped, 0);
	if (ul.register_ulcb(UL_CONTACT_INSERT | UL_CONTACT_UPDATE | UL_CONTACT_DELETE |
				     UL_CONTACT_EXPIRE,
			     contact_h, NULL) < 0) {
		LM_ERR("usrloc does not take callbacks\n");
		return EINVAL;
	}
	*use_domain = ul.use_domain != 0;
	return 0;
}

void pul_ul_destroy(void)
{
	if (skipped != NULL)
		shm_free((void *)skipped);
	skipped = NULL;
}

static uint32_t instance_of(const ucontact_t *c)
{
	return c->instance.s != NULL && c->instance.len > 0
		       ? p2p_instance_hash(c->instance.s, c->instance.len)
		       : 0;
}

/* One AoR's contacts; instance 0: all. They are not deleted here: with a database behind usrloc
 * that takes its connection, which this process has not. */
static unsigned int aor_expire(const struct p2p_name *name, const char *where, str *aor,
			       uint32_t instance)
{
	udomain_t *domain;
	urecord_t *r = NULL;
	ucontact_t *c;
	unsigned int n = 0;

	if (ul.get_udomain(where, &domain) != 0)
		return 0;
	ul.lock_udomain(domain, aor);
	if (ul.get_urecord(domain, aor, &r) == 0) {
		for (c = r->contacts; c != NULL; c = c->next) {
			if (c->server_id != server_id || c->expires == EXPIRED ||
			    (instance != 0 && instance_of(c) != instance))
				continue;
			c->expires = EXPIRED;
			/* the timer will tell of it, but not soon */
			pul_store_drop(&c->ruid);
			pul_users_remove(name, &c->ruid);
			n++;
		}
	}
	ul.unlock_udomain(domain, aor);
	return n;
}

static unsigned int expire(const struct p2p_name *name, uint32_t instance)
{
	char domain_buf[TABLE_NAME_MAX + 1], aor_buf[MAX_URI_SIZE];
	unsigned int n = 0, now;
	int i = 0;

	for (;;) {
		str domain = {domain_buf, TABLE_NAME_MAX}, aor = {aor_buf, sizeof(aor_buf)};

		if (!pul_users_aor(name, i, &domain, &aor))
			return n;
		domain_buf[domain.len] = '\0';
		/* those of this AoR are known no more; if there are any left, pass over it */
		now = aor_expire(name, domain_buf, &aor, instance);
		i += now == 0;
		n += now;
	}
}

unsigned int pul_ul_expire(const struct p2p_name *name)
{
	return pul_store_stale_drop(name, 0) + expire(name, 0);
}

unsigned int pul_ul_replace(const struct p2p_name *name, uint32_t instance)
{
	return pul_store_stale_drop(name, instance) + expire(name, instance);
}

const struct usrloc_api *pul_ul_api(void)
{
	return &ul;
}

const str *pul_ul_table(const struct udomain *domain)
{
	return table_wanted(domain->name) ? domain->name : NULL;
}

unsigned int pul_ul_skipped(void)
{
	return atomic_load(skipped);
}

/* usrloc has no list of its tables, but a counter for each: "<table>-users". */
static void table_h(void *arg, str *counter)
{
	static const char suffix[] = "users";
	int sep = (int)strlen(ksr_stats_namesep), len;
	str name;

	(void)arg;
	len = counter->len - (int)sizeof(suffix) + 1;
	if (len <= sep || memcmp(counter->s + len, suffix, sizeof(suffix) - 1) != 0 ||
	    memcmp(counter->s + len - sep, ksr_stats_namesep, sep) != 0)
		return;
	name.s = counter->s;
	name.len = len - sep;
	/* "registered" without a table is usrloc's sum over all */
	if (n_tables == TABLES_MAX || name.len >= TABLE_NAME_MAX || !table_wanted(&name))
		return;
	memcpy(table_name[n_tables], name.s, name.len);
	table_name[n_tables][name.len] = '\0';
	if (ul.get_udomain(table_name[n_tables], &table[n_tables]) == 0)
		n_tables++;
}

void pul_ul_tables_find(void)
{
	n_tables = 0;
	counter_iterate_grp_var_names("usrloc", table_h, NULL);
	if (n_tables == 0)
		LM_INFO("usrloc has no table to publish yet\n");
}

bool pul_ul_publishes(const str *table_)
{
	return table_wanted(table_);
}

/* One contact of the list: its ruid and its AoR's hash, and the next one. Its layout is told in
 * usrloc/dlist.c. NULL at the end. */
static const char *scan_next(const char *p, const char *end, str *ruid, unsigned int *aorhash)
{
	struct socket_info *sock;
	unsigned int flags;
	int len, i;

	/* contact, received, then sock and flags, then path, ruid */
	for (i = 0; i < 4; i++) {
		if (end - p < (ptrdiff_t)sizeof(len))
			return NULL;
		memcpy(&len, p, sizeof(len));
		p += sizeof(len);
		if ((i == 0 && len == 0) || len < 0 || end - p < len)
			return NULL;
		if (i == 3) {
			ruid->s = (char *)p;
			ruid->len = len;
		}
		p += len;
		if (i == 1)
			p += sizeof(sock) + sizeof(flags);
	}
	if (end - p < (ptrdiff_t)sizeof(*aorhash))
		return NULL;
	memcpy(aorhash, p, sizeof(*aorhash));
	return p + sizeof(*aorhash);
}

static void scan_contact(unsigned int aorhash, str *ruid)
{
	urecord_t *r;
	ucontact_t *c;
	int i;

	for (i = 0; i < n_tables; i++) {
		if (ul.get_urecord_by_ruid(table[i], aorhash, ruid, &r, &c) != 0)
			continue;
		/* found, and the slot is locked now */
		contact_add(c, true);
		ul.unlock_udomain(table[i], &r->aor);
		return;
	}
}

int pul_ul_scan_part(unsigned int part, unsigned int parts)
{
	const char *p, *end;
	unsigned int aorhash;
	int tries, missing;
	char *bigger;
	str ruid;

	for (tries = 0; tries < 4; tries++) {
		missing = scan_len > 0 ? ul.get_all_ucontacts(scan_buf, scan_len, 0, part, parts, 0)
				       : 4096;
		if (missing == 0)
			break;
		if (missing < 0)
			return EIO;
		bigger = realloc(scan_buf, (size_t)scan_len + 2 * (size_t)missing + 4096);
		if (bigger == NULL)
			return ENOMEM;
		scan_buf = bigger;
		scan_len += 2 * missing + 4096;
	}
	if (tries == 4)
		return EAGAIN;
	end = scan_buf + scan_len;
	for (p = scan_buf; (p = scan_next(p, end, &ruid, &aorhash)) != NULL;)
		scan_contact(aorhash, &ruid);
	if (part + 1 == parts) {
		free(scan_buf);
		scan_buf = NULL;
		scan_len = 0;
	}
	return 0;
}
