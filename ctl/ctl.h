/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2psipctl's commands, by what they are about: p2psipctl.c has the table and the options. A
 * command returns the program's exit status. */
#ifndef P2PSIP_CTL_H
#define P2PSIP_CTL_H

#include <stdbool.h>

#define CTL_RUN "/run/p2psip"
#define CTL_STATE "/var/lib/p2psip"

struct ctl_conn;

struct ctl_options {
	const char *gateway, *relay;
	unsigned int timeout_ms;
	bool json;
	/* overlay create, invite, join */
	const char *state, *authority, *expires, *address;
};

/* Says it on the error output; returns 1. */
int ctl_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Connect to a daemon's admin socket. 0, or 1: it was said why not. */
int ctl_ask(const struct ctl_options *o, const char *path, struct ctl_conn **cp);
/* A paged list, all of it. */
int ctl_show_list(const struct ctl_options *o, const char *path, const char *command);

/* ctl_overlay.c, ctl_join.c */
int ctl_overlay_create(const struct ctl_options *o, int argc, char **argv);
int ctl_invite(const struct ctl_options *o, int argc, char **argv);
int ctl_join(const struct ctl_options *o, int argc, char **argv);
int ctl_peer_list(const struct ctl_options *o, int argc, char **argv);
int ctl_peer_revoke(const struct ctl_options *o, int argc, char **argv);

/* As root: go on as the owner of this folder, which is made, for the gateway's user, if it is not
 * there; so that the gateway can read what is written. also: another folder to be made (NULL:
 * none). 0, or 1: it was said why not. */
int ctl_become_owner(const char *dir, const char *also);

#endif
