/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: from SIP URIs and from usrloc's AoRs to the overlay's names. Both follow
 * registrar's extract_aor(), so that one user has one name however it is written. */
#define _GNU_SOURCE /* memrchr */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "core/dprint.h"
#include "core/globals.h"
#include "core/ip_addr.h"
#include "core/name_alias.h"
#include "core/parser/parse_uri.h"
#include "core/resolve.h"
#include "core/sr_module.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"

/* pkg, set before forking */
static bool with_domain;
static bool case_sensitive;
static bool aor_has_domain;
static str realm_prefix;

static void *registrar_param(char *name, modparam_t type)
{
	struct sr_module *mod = find_module_by_name("registrar");
	modparam_t found;

	return mod == NULL ? NULL : find_param_export(mod, name, type, &found);
}

static bool is_address(const str *host)
{
	str h = *host;

	return str2ip(&h) != NULL || str2ip6(&h) != NULL;
}

/* Domains this server calls its own by name, in the order found; at most max. */
static int domains_count(const str **first, const str **second)
{
	const struct host_alias *a, *b;
	int n = 0;

	for (a = aliases; a != NULL; a = a->next) {
		/* auto_aliases adds what DNS says of the listen addresses, always with a port */
		if ((sr_auto_aliases && a->port != 0) || is_address(&a->alias))
			continue;
		if (a->alias.len == 9 && strncasecmp(a->alias.s, "localhost", 9) == 0)
			continue;
		for (b = aliases; b != a; b = b->next) {
			if ((sr_auto_aliases && b->port != 0) == false &&
			    b->alias.len == a->alias.len &&
			    strncasecmp(b->alias.s, a->alias.s, a->alias.len) == 0)
				break;
		}
		if (b != a)
			continue;
		n++;
		if (n == 1)
			*first = &a->alias;
		else if (n == 2)
			*second = &a->alias;
	}
	return n;
}

int pul_names_init(bool use_domain)
{
	const str *first = NULL, *second = NULL;
	const int *flag = registrar_param("case_sensitive", PARAM_INT);
	const str *prefix = registrar_param("realm_prefix", PARAM_STR);
	const char *format = pul_settings.name_format;

	case_sensitive = flag != NULL && *flag != 0;
	if (prefix != NULL)
		realm_prefix = *prefix;
	aor_has_domain = use_domain;

	if (strcmp(format, "user@domain") == 0) {
		if (!use_domain) {
			LM_ERR("name_format \"user@domain\" needs "
			       "modparam(\"usrloc\", \"use_domain\", 1): without it usrloc does "
			       "not "
			       "keep the domain\n");
			return EINVAL;
		}
		with_domain = true;
		return 0;
	}
	with_domain = false;
	if (strcmp(format, "user") == 0)
		return 0;
	if (format[0] != '\0') {
		LM_ERR("parameter name_format is \"%s\": it must be \"user\" or \"user@domain\"\n",
		       format);
		return EINVAL;
	}
	if (domains_count(&first, &second) > 1) {
		LM_ERR("this server has several local domains (%.*s, %.*s, ...): say whether "
		       "alice@%.*s and alice@%.*s are one user, "
		       "modparam(\"p2p_usrloc\", \"name_format\", \"user\"), or two, "
		       "\"user@domain\"; all peers of the overlay must choose the same\n",
		       first->len, first->s, second->len, second->s, first->len, first->s,
		       second->len, second->s);
		return EINVAL;
	}
	if (module_loaded("domain")) {
		LM_ERR("the domain module is loaded, so there may be several local domains: say "
		       "whether users of the same name in two of them are one user, "
		       "modparam(\"p2p_usrloc\", \"name_format\", \"user\"), or two, "
		       "\"user@domain\"; all peers of the overlay must choose the same\n");
		return EINVAL;
	}
	return 0;
}

bool pul_names_have_domain(void)
{
	return with_domain;
}

int pul_name_from_uri(const str *uri, struct p2p_name *name)
{
	struct sip_uri parsed;
	str host;
	int err;

	if (uri == NULL || uri->s == NULL || parse_uri(uri->s, uri->len, &parsed) < 0)
		return -1;
	host = parsed.host;
	if (realm_prefix.len > 0 && realm_prefix.len < host.len &&
	    memcmp(host.s, realm_prefix.s, realm_prefix.len) == 0) {
		host.s += realm_prefix.len;
		host.len -= realm_prefix.len;
	}
	if (parsed.user.len <= 0 || (with_domain && host.len <= 0))
		return -1;
	err = p2p_name_make(name->s, &name->len, parsed.user.s, parsed.user.len,
			    with_domain ? host.s : NULL, with_domain ? host.len : 0,
			    case_sensitive);
	if (err != 0) {
		LM_DBG("no name in [%.*s]: %s\n", uri->len, uri->s, strerror(err));
		return -1;
	}
	return 0;
}

int pul_name_from_aor(const str *aor, struct p2p_name *name)
{
	char escaped[3 * P2P_NAME_MAX];
	const char *host = NULL;
	size_t i, user_len = aor->len, n = 0, host_len = 0;

	if (aor_has_domain) {
		/* the user part may hold an unescaped '@' of its own */
		const char *at = memrchr(aor->s, '@', aor->len);

		if (at != NULL) {
			user_len = at - aor->s;
			host = at + 1;
			host_len = aor->len - user_len - 1;
		}
	}
	/* registrar has undone the escapes already; p2p_name_make() would do it once more */
	for (i = 0; i < user_len; i++) {
		if (n + 3 > sizeof(escaped))
			return ENAMETOOLONG;
		if (aor->s[i] == '%') {
			memcpy(escaped + n, "%25", 3);
			n += 3;
		} else {
			escaped[n++] = aor->s[i];
		}
	}
	if (!with_domain)
		host = NULL;
	else if (host == NULL)
		return EINVAL;
	return p2p_name_make(name->s, &name->len, escaped, n, host, host != NULL ? host_len : 0,
			     case_sensitive);
}
