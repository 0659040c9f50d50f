/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Life cycle of a daemon on a libevent loop: signals, systemd's notifications and watchdog, pid
 * file, dropping of rights, log destination. */
#ifndef P2PSIP_IO_DAEMON_H
#define P2PSIP_IO_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include "lib/base/log.h"

struct event_base;
struct daemon;

struct daemon_config {
	const char *name;     /* for syslog and messages */
	const char *pid_file; /* NULL or "": none */
	/* SIGTERM and SIGINT: begin an orderly stop, and call daemon_stopped when it is done. A
	 * second signal, or stop_timeout_ms, ends the loop at once. */
	void (*stop)(void *arg);
	/* SIGHUP; may be NULL. Logs by itself what went wrong. */
	void (*reload)(void *arg);
	/* Asked before each watchdog message; false: it is not sent, so that systemd restarts us.
	 * May be NULL (then a running loop is proof enough). */
	bool (*healthy)(void *arg);
	void *arg;
	unsigned int stop_timeout_ms; /* 0: 5000 */
	const struct p2p_log *log;
};

/* Takes over SIGTERM, SIGINT, SIGHUP; ignores SIGPIPE; writes the pid file (EEXIST when its owner
 * runs). 0 or errno. */
int daemon_new(struct daemon **dp, struct event_base *base, const struct daemon_config *config);
/* Removes the pid file. */
void daemon_free(struct daemon *d);

/* Settings are loaded, sockets are open: READY=1 to systemd, watchdog begins. */
void daemon_ready(struct daemon *d);
/* STATUS= line for `systemctl status`. */
void daemon_status(struct daemon *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The orderly stop is done: the loop ends. */
void daemon_stopped(struct daemon *d);
/* As a signal would: RELOAD and SHUTDOWN commands. */
void daemon_reload(struct daemon *d);
void daemon_stop(struct daemon *d);
bool daemon_stopping(const struct daemon *d);

/* One datagram to $NOTIFY_SOCKET; nothing when there is none. 0 or errno. */
int daemon_notify(const char *state);

/* Give up root for this user and group (group NULL or "": the user's own), supplementary groups
 * and all. Nothing when user is NULL or "", or when not started as root and already that user.
 * 0 or errno, with a reason in err. */
int daemon_drop(const char *user, const char *group, char *err, size_t errlen);

/* Log sinks. arg of both: the program's name. With systemd (JOURNAL_STREAM) stderr lines carry the
 * <n> level prefix; else date and time. */
p2p_log_sink_h daemon_log_stderr;
p2p_log_sink_h daemon_log_syslog;

#endif
