// SPDX-License-Identifier: GPL-2.0-or-later
/* The stock registrar does the work: these call it, with its parameters and return codes. What its
 * C API (registrar/api.h) lacks is taken from its KEMI exports, which are plain C functions too. */
#include "core/mod_fix.h"
#include "core/parser/parse_to.h"
#include "modules/usrloc/usrloc.h"
#include "p2p_registrar.h"

typedef int (*registered_f)(sip_msg_t *, str *, str *, int, int);
typedef int (*unregister_f)(sip_msg_t *, str *, str *);
typedef int (*unregister_ruid_f)(sip_msg_t *, str *, str *, str *);
typedef int (*fetch_f)(sip_msg_t *, str *, str *, str *);
typedef int (*free_f)(sip_msg_t *, str *);
typedef int (*branches_f)(sip_msg_t *, str *);

static struct {
	registered_f registered;
	unregister_f unregister;
	unregister_ruid_f unregister_ruid;
	fetch_f fetch;
	free_f release;
	branches_f branches;
	cmd_function3 unregister3; /* the script's: takes an empty URI, which KEMI's does not */
} stock;

static usrloc_api_t ul;

static void *export_find(const char *name)
{
	sr_kemi_module_t *list = sr_kemi_modules_get();
	int i, n = sr_kemi_modules_size_get();
	sr_kemi_t *k;

	for (i = 0; i < n; i++) {
		if (list[i].mname.len != 9 || strncmp(list[i].mname.s, "registrar", 9) != 0)
			continue;
		for (k = list[i].kexp; k->func != NULL; k++)
			if (k->fname.len == (int)strlen(name) &&
			    strncmp(k->fname.s, name, (size_t)k->fname.len) == 0)
				return k->func;
	}
	LM_ERR("the module registrar does not export %s\n", name);
	return NULL;
}

int reg_stock_init(void)
{
	bind_usrloc_t bind = (bind_usrloc_t)(void (*)(void))find_export("ul_bind_usrloc", 1, 0);

	if (bind == NULL || bind(&ul) < 0) {
		LM_ERR("module usrloc must be loaded before this one\n");
		return -1;
	}
	if (registrar_load_api(&reg_stock) < 0) {
		LM_ERR("module registrar must be loaded before this one\n");
		return -1;
	}
	stock.registered = (registered_f)export_find("registered_action");
	stock.unregister = (unregister_f)export_find("unregister");
	stock.unregister_ruid = (unregister_ruid_f)export_find("unregister_ruid");
	stock.unregister3 = (cmd_function3)(void (*)(void))find_export("unregister", 3, 0);
	stock.fetch = (fetch_f)export_find("reg_fetch_contacts");
	stock.release = (free_f)export_find("reg_free_contacts");
	stock.branches = (branches_f)export_find("lookup_branches");
	return stock.registered != NULL && stock.unregister != NULL &&
			       stock.unregister_ruid != NULL && stock.unregister3 != NULL &&
			       stock.fetch != NULL && stock.release != NULL &&
			       stock.branches != NULL
		       ? 0
		       : -1;
}

int reg_table_register(char *table)
{
	struct udomain *d;

	if (strlen(table) >= REG_TABLE_MAX) {
		LM_ERR("the table's name \"%s\" is too long\n", table);
		return -1;
	}
	return ul.register_udomain(table, &d) < 0 ? -1 : 0;
}

int reg_save(struct sip_msg *msg, str *table, int flags, str *uri)
{
	reg_count(REG_CNT_SAVES);
	reg_again(&ul, msg, table, uri);
	return uri != NULL && uri->len > 0 ? reg_stock.save_uri(msg, table, flags, uri)
					   : reg_stock.save(msg, table, flags);
}

/* By ruid alone. What comes of it is usrloc's business: in memory (db_mode 0) nothing. */
static int unregister_by_ruid(struct sip_msg *msg, const str *table, const str *ruid)
{
	gparam_t none = {.type = GPARAM_TYPE_STR}, id = {.type = GPARAM_TYPE_STR};
	struct udomain *d;

	if (ul.get_udomain(table->s, &d) < 0) {
		LM_ERR("usrloc does not know the table %.*s\n", table->len, table->s);
		return -1;
	}
	none.v.str.s = (char *)"";
	id.v.str = *ruid;
	return stock.unregister3(msg, (char *)d, (char *)&none, (char *)&id);
}

int reg_unregister(struct sip_msg *msg, str *table, str *uri, str *ruid)
{
	if (ruid != NULL && ruid->len > 0 && (uri == NULL || uri->len == 0))
		return unregister_by_ruid(msg, table, ruid);
	return ruid != NULL && ruid->len > 0 ? stock.unregister_ruid(msg, table, uri, ruid)
					     : stock.unregister(msg, table, uri);
}

int reg_registered(struct sip_msg *msg, str *table, str *uri, int flags, int action)
{
	struct p2p_candidate_set set;
	struct p2p_name name;
	int ret;

	ret = stock.registered(msg, table, uri, flags & ~REG_ANYWHERE, action);
	if (ret > 0 || !(flags & REG_ANYWHERE))
		return ret;
	if (uri == NULL || uri->len == 0) {
		if (msg->first_line.type == SIP_REQUEST)
			uri = GET_RURI(msg);
		else if (parse_to_header(msg) == 0)
			uri = &get_to(msg)->uri;
	}
	if (uri == NULL || reg_ul.name_from_uri(uri, &name) < 0)
		return ret;
	return reg_ul.cache_get(&name, &set) != P2P_CACHE_MISS && set.n > 0 ? 1 : ret;
}

int reg_fetch_contacts(struct sip_msg *msg, str *table, str *uri, str *profile)
{
	return stock.fetch(msg, table, uri, profile);
}

int reg_free_contacts(struct sip_msg *msg, str *profile)
{
	return stock.release(msg, profile);
}

int reg_stock_lookup_branches(struct sip_msg *msg, str *table)
{
	return stock.branches(msg, table);
}
