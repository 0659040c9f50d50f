/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef EMU_COMMAND_H
#define EMU_COMMAND_H

/*
 * The emulator's commands, a text each; * stands for every node, and FROM TO is one direction:
 *
 *   node NAME NETNS DEVICE ADDR4|- ADDR6|-   a TUN interface in the namespace (a path)
 *   remove NAME
 *   set FROM TO [key=value ...]              keys not named keep their value:
 *       delay_ms jitter_ms loss_pct burst_enter_pct burst_leave_pct burst_loss_pct
 *       rate_kbps queue_ms reorder=0|1
 *   down FROM TO [MS]                        an outage, for so long or until up
 *   up FROM TO
 *   stats FROM TO                            "packets N bytes N lost N burst_lost N
 *                                            outage_lost N queue_lost N", summed up
 *   ping
 *
 * The reply is "ok", "ok ..." or "error ...".
 */
#include "tests/tools/emu_hub.h"

#define EMU_COMMAND_MAX 1024

struct emu_command_handlers {
	/* Makes node id's interface; positive errno. */
	int (*open)(void *arg, unsigned int id, const char *netns, const char *device);
	void (*close)(void *arg, unsigned int id);
	void *arg;
};

/* text is changed. */
void emu_command_run(struct emu_hub *hub, const struct emu_command_handlers *h, uint64_t now,
		     char *text, char *reply, size_t size);

#endif
