/* SPDX-License-Identifier: GPL-2.0-or-later */
/* overlay create, invite, peer list, peer revoke. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "ctl/ctl.h"
#include "ctl/ctl_reply.h"
#include "dht-gateway/enrol/gateway_setup.h"
#include "lib/base/clock.h"
#include "lib/proto/key.h"

#define USER "p2psip-gateway"
#define FIRST_DAYS 90
#define EXPIRES "1h"

static int folder_make(const char *dir, uid_t uid, gid_t gid)
{
	if (mkdir(dir, 0700))
		return errno == EEXIST ? 0 : errno;
	return chown(dir, uid, gid) ? errno : 0;
}

int ctl_become_owner(const char *dir, const char *also)
{
	struct passwd *pw;
	struct stat st;
	int err = 0;

	if (geteuid())
		return 0;
	if (stat(dir, &st)) {
		err = errno;
		pw = getpwnam(USER);
		st.st_uid = pw ? pw->pw_uid : 0;
		st.st_gid = pw ? pw->pw_gid : 0;
		if (err == ENOENT)
			err = folder_make(dir, st.st_uid, st.st_gid);
	}
	if (err)
		return ctl_die("%s: %s", dir, strerror(err));
	if (also)
		err = folder_make(also, st.st_uid, st.st_gid);
	if (err)
		return ctl_die("%s: %s", also, strerror(err));
	if (st.st_uid && (setgroups(0, NULL) || setgid(st.st_gid) || setuid(st.st_uid)))
		return ctl_die("cannot go on as the owner of %s: %s", dir, strerror(errno));
	return 0;
}

int ctl_overlay_create(const struct ctl_options *o, int argc, char **argv)
{
	const char *state = o->state ? o->state : CTL_STATE;
	char authority[4096], err[512], hit[P2P_HIT_TEXT_MAX];
	char id[2 * P2P_OVERLAY_ID_LEN + 1];
	uint64_t now = p2p_clock_wall(&p2p_clock_system);
	struct gw_identity *identity = NULL;
	struct p2p_overlay_id overlay;
	int ret;

	(void)argc;
	(void)argv;
	snprintf(authority, sizeof(authority), "%s%s", o->authority ? o->authority : state,
		 o->authority ? "" : "/authority");
	if (ctl_become_owner(state, authority))
		return 1;
	ret = gw_setup_identity(state, &identity, err, sizeof(err));
	if (!ret)
		ret = gw_setup_create(state, authority, FIRST_DAYS, now, identity, &overlay, err,
				      sizeof(err));
	if (ret) {
		gw_identity_free(identity);
		return ctl_die("%s", err);
	}
	p2p_hit_print(gw_identity_hit(identity), hit);
	gw_identity_free(identity);
	p2p_overlay_id_print(&overlay, id);
	if (o->json)
		printf("{\"overlay\":\"%s\",\"hit\":\"%s\",\"state\":\"%s\",\"authority\":\"%s\"}"
		       "\n",
		       id, hit, state, authority);
	else
		printf("Overlay %s begins here; this peer is %s.\n"
		       "Its authority is in %s: keep a copy where nobody else gets at it.\n"
		       "Next: start the gateway (systemctl enable --now p2psip-gateway), and let\n"
		       "other peers in: p2psipctl invite, here, and p2psipctl join, there.\n",
		       id, hit, authority);
	return 0;
}

/* "90", "90s", "15m", "1h", "2d" in seconds; 0: no such time. */
static uint64_t duration(const char *text)
{
	char *end;
	unsigned long long n;
	uint64_t unit = 1;

	if (*text < '0' || *text > '9')
		return 0;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (*end && end[1])
		return 0;
	switch (*end) {
	case 0:
	case 's':
		break;
	case 'm':
		unit = 60;
		break;
	case 'h':
		unit = 3600;
		break;
	case 'd':
		unit = 86400;
		break;
	default:
		return 0;
	}
	return errno || n > UINT32_MAX ? 0 : n * unit;
}

int ctl_invite(const struct ctl_options *o, int argc, char **argv)
{
	const char *expires = o->expires ? o->expires : EXPIRES;
	uint64_t ttl_s = duration(expires);
	char seconds[24], err[512];
	const char *command[] = {"INVITE", seconds, o->address};
	struct ctl_conn *c;
	int ret;

	(void)argc;
	(void)argv;
	if (!ttl_s)
		return ctl_die("--expires: '%s' is no time like 90s, 15m, 1h or 2d", expires);
	snprintf(seconds, sizeof(seconds), "%llu", (unsigned long long)ttl_s);
	if (ctl_ask(o, o->gateway, &c))
		return 1;
	ret = ctl_text(c, o->address ? 3 : 2, command, stdout, err, sizeof(err));
	ctl_close(c);
	return ret ? ctl_die("%s", err) : 0;
}

int ctl_peer_list(const struct ctl_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return ctl_show_list(o, o->gateway, "MEMBERS");
}

int ctl_peer_revoke(const struct ctl_options *o, int argc, char **argv)
{
	const char *command[] = {"REVOKE", argv[0]};
	struct ctl_conn *c;
	char err[512];
	int ret;

	(void)argc;
	if (ctl_ask(o, o->gateway, &c))
		return 1;
	ret = ctl_pairs(c, 2, command, o->json, stdout, err, sizeof(err));
	ctl_close(c);
	return ret ? ctl_die("%s", err) : 0;
}
