/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands of p2psipctl share. */
#ifndef P2PSIP_CTL_H
#define P2PSIP_CTL_H

#include <stdbool.h>

#define CTL_PEERS_MAX 32

struct ctl_options {
	const char *gateway, *relay; /* the daemons' admin sockets */
	unsigned int timeout_ms;
	bool json;
	/* user ..., overlay rules */
	const char *peer[CTL_PEERS_MAX];
	unsigned int n_peers;
	bool any, deny, ha1;
	const char *realm, *digests, *permission;
};

/* A message to stderr; 1, to exit with. */
int ctl_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A command, with what stands behind its words; what to exit with. */
typedef int ctl_command_h(const struct ctl_options *o, int argc, char **argv);

/* ctl_user.c: the overlay's users, at the peer that has the authority */
ctl_command_h ctl_user_add, ctl_user_passwd, ctl_user_remove, ctl_user_allow, ctl_user_deny,
	ctl_user_list, ctl_user_refresh, ctl_peer_allow, ctl_peer_deny, ctl_overlay_rules;

#endif
