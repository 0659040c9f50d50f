/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2psipctl's commands, by what they are about: p2psipctl.c has the table and the options. A
 * command returns the program's exit status. */
#ifndef P2PSIP_CTL_H
#define P2PSIP_CTL_H

#include <stdbool.h>

#define CTL_RUN "/run/p2psip"
#define CTL_STATE "/var/lib/p2psip"
#define CTL_PEERS_MAX 32

struct ctl_conn;

struct ctl_options {
	const char *gateway, *relay; /* the daemons' admin sockets */
	unsigned int timeout_ms;
	bool json;
	/* overlay create, invite, join */
	const char *state, *authority, *expires, *address;
	/* user ..., overlay rules */
	const char *peer[CTL_PEERS_MAX];
	unsigned int n_peers;
	bool any, deny, ha1;
	const char *realm, *digests, *permission;
};

/* A message to stderr; 1, to exit with. */
int ctl_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Connect to a daemon's admin socket. 0, or 1: it was said why not. */
int ctl_ask(const struct ctl_options *o, const char *path, struct ctl_conn **cp);
/* A paged list, all of it. */
int ctl_show_list(const struct ctl_options *o, const char *path, const char *command);

/* A command, with what stands behind its words; what to exit with. */
typedef int ctl_command_h(const struct ctl_options *o, int argc, char **argv);

/* ctl_overlay.c, ctl_join.c: the overlay's peers */
ctl_command_h ctl_overlay_create, ctl_invite, ctl_join, ctl_peer_list, ctl_peer_revoke;
/* ctl_user.c: the overlay's users, at the peer that has the authority */
ctl_command_h ctl_user_add, ctl_user_passwd, ctl_user_remove, ctl_user_allow, ctl_user_deny,
	ctl_user_list, ctl_user_refresh, ctl_peer_allow, ctl_peer_deny, ctl_overlay_rules;

/* As root: go on as the owner of this folder, which is made, for the gateway's user, if it is not
 * there; so that the gateway can read what is written. also: another folder to be made (NULL:
 * none). 0, or 1: it was said why not. */
int ctl_become_owner(const char *dir, const char *also);

#endif
