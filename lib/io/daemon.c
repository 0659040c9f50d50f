/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Life cycle of a daemon: see daemon.h.
 *
 * RUNNING --TERM, INT, daemon_stop--> STOPPING --daemon_stopped, second signal, time-out--> loop
 * ends RUNNING --HUP, daemon_reload--> reload() --> RUNNING */
#include "lib/io/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"

#define STOP_TIMEOUT_MS 5000

struct daemon {
	struct event_base *base;
	struct daemon_config cfg;
	struct event *ev_term, *ev_int, *ev_hup, *ev_watchdog, *ev_deadline;
	struct sigaction old_pipe;
	int pid_fd;
	char *pid_path;
	bool stopping, ended;
};

/* --- systemd: sd_notify(3) is one datagram --- */

int daemon_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t len;
	ssize_t n;
	int fd, err = 0;

	if (path == NULL || path[0] == '\0')
		return 0;
	len = strlen(path);
	if ((path[0] != '/' && path[0] != '@') || len >= sizeof(sun.sun_path))
		return EINVAL;
	memcpy(sun.sun_path, path, len);
	if (path[0] == '@') /* the abstract namespace */
		sun.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	n = sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&sun,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	if (n < 0)
		err = errno;
	close(fd);
	return err;
}

/* Half of WATCHDOG_USEC, as sd_watchdog_enabled(3) advises; 0: no watchdog. */
static uint64_t watchdog_half_us(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	uint64_t us, p;

	if (usec == NULL || p2p_u64_parse(&us, usec, strlen(usec)) != 0 || us < 2)
		return 0;
	if (pid != NULL && (p2p_u64_parse(&p, pid, strlen(pid)) != 0 || p != (uint64_t)getpid()))
		return 0;
	return us / 2;
}

static void watchdog_h(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;

	(void)fd;
	(void)what;
	if (d->cfg.healthy == NULL || d->cfg.healthy(d->cfg.arg))
		(void)daemon_notify("WATCHDOG=1");
	else
		p2p_log(d->cfg.log, P2P_LOG_ERR, "not healthy: no message to the watchdog");
}

/* --- stop and reload --- */

static void end(struct daemon *d)
{
	d->ended = true;
	event_base_loopbreak(d->base);
}

static void deadline_h(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;

	(void)fd;
	(void)what;
	p2p_log(d->cfg.log, P2P_LOG_WARN, "the orderly stop took too long: stopped as it is");
	end(d);
}

void daemon_stop(struct daemon *d)
{
	unsigned int ms = d->cfg.stop_timeout_ms != 0 ? d->cfg.stop_timeout_ms : STOP_TIMEOUT_MS;
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};

	if (d->stopping)
		return;
	d->stopping = true;
	(void)daemon_notify("STOPPING=1");
	event_add(d->ev_deadline, &tv);
	if (d->cfg.stop != NULL)
		d->cfg.stop(d->cfg.arg);
	else
		end(d);
}

void daemon_stopped(struct daemon *d)
{
	event_del(d->ev_deadline);
	end(d);
}

bool daemon_stopping(const struct daemon *d)
{
	return d->stopping;
}

void daemon_reload(struct daemon *d)
{
	char msg[80];

	if (d->stopping || d->cfg.reload == NULL)
		return;
	/* MONOTONIC_USEC goes with Type=notify-reload, and does no harm without it */
	snprintf(msg, sizeof(msg), "RELOADING=1\nMONOTONIC_USEC=%llu",
		 (unsigned long long)p2p_clock_mono(&p2p_clock_system) * 1000);
	(void)daemon_notify(msg);
	d->cfg.reload(d->cfg.arg);
	(void)daemon_notify("READY=1");
}

static void stop_h(evutil_socket_t sig, short what, void *arg)
{
	struct daemon *d = arg;

	(void)what;
	p2p_log(d->cfg.log, P2P_LOG_INFO, "%s: %s", sig == SIGTERM ? "SIGTERM" : "SIGINT",
		d->stopping ? "stopping at once" : "stopping");
	if (d->stopping)
		end(d);
	else
		daemon_stop(d);
}

static void hup_h(evutil_socket_t sig, short what, void *arg)
{
	(void)sig;
	(void)what;
	daemon_reload(arg);
}

void daemon_ready(struct daemon *d)
{
	uint64_t us = watchdog_half_us();
	struct timeval tv = {(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};

	(void)daemon_notify("READY=1");
	if (us != 0)
		event_add(d->ev_watchdog, &tv);
}

void daemon_status(struct daemon *d, const char *fmt, ...)
{
	char text[200], msg[sizeof(text) + 8];
	va_list ap;
	char *p;

	(void)d;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (p = text; *p != '\0'; p++) {
		if (*p == '\n')
			*p = ' ';
	}
	snprintf(msg, sizeof(msg), "STATUS=%s", text);
	(void)daemon_notify(msg);
}

/* --- pid file --- */

/* The lock, not the number in it, says whether its owner runs: a file that a crash left behind is
 * taken over. */
static int pid_write(struct daemon *d)
{
	struct stat st, there;
	char text[24];
	ssize_t n;
	int err, fd;

	if (d->cfg.pid_file == NULL || d->cfg.pid_file[0] == '\0')
		return 0;
	d->pid_path = strdup(d->cfg.pid_file);
	if (d->pid_path == NULL)
		return ENOMEM;
	for (;;) {
		fd = open(d->pid_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0)
			return errno;
		if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
			err = errno == EWOULDBLOCK ? EEXIST : errno;
			close(fd);
			return err;
		}
		/* its last owner may have removed it between the two */
		if (fstat(fd, &st) == 0 && stat(d->pid_path, &there) == 0 &&
		    st.st_ino == there.st_ino && st.st_dev == there.st_dev)
			break;
		close(fd);
	}
	n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) != 0 || write(fd, text, (size_t)n) != n) {
		err = errno != 0 ? errno : EIO;
		close(fd);
		return err;
	}
	d->pid_fd = fd;
	return 0;
}

/* --- life of the object --- */

int daemon_new(struct daemon **dp, struct event_base *base, const struct daemon_config *config)
{
	struct sigaction ign = {.sa_handler = SIG_IGN};
	struct daemon *d = calloc(1, sizeof(*d));
	int err;

	if (d == NULL)
		return ENOMEM;
	d->base = base;
	d->cfg = *config;
	d->pid_fd = -1;
	sigaction(SIGPIPE, &ign, &d->old_pipe);
	err = pid_write(d);
	if (err != 0)
		goto fail;
	err = ENOMEM;
	d->ev_term = evsignal_new(base, SIGTERM, stop_h, d);
	d->ev_int = evsignal_new(base, SIGINT, stop_h, d);
	d->ev_hup = evsignal_new(base, SIGHUP, hup_h, d);
	d->ev_watchdog = event_new(base, -1, EV_PERSIST, watchdog_h, d);
	d->ev_deadline = evtimer_new(base, deadline_h, d);
	if (d->ev_term == NULL || d->ev_int == NULL || d->ev_hup == NULL ||
	    d->ev_watchdog == NULL || d->ev_deadline == NULL || event_add(d->ev_term, NULL) != 0 ||
	    event_add(d->ev_int, NULL) != 0 || event_add(d->ev_hup, NULL) != 0)
		goto fail;
	*dp = d;
	return 0;
fail:
	daemon_free(d);
	return err;
}

void daemon_free(struct daemon *d)
{
	struct event **ev[] = {&d->ev_term, &d->ev_int, &d->ev_hup, &d->ev_watchdog,
			       &d->ev_deadline};
	size_t i;

	for (i = 0; i < sizeof(ev) / sizeof(ev[0]); i++) {
		if (*ev[i] != NULL)
			event_free(*ev[i]);
	}
	if (d->pid_fd >= 0) {
		unlink(d->pid_path);
		close(d->pid_fd);
	}
	free(d->pid_path);
	sigaction(SIGPIPE, &d->old_pipe, NULL);
	free(d);
}

/* --- rights --- */

int daemon_drop(const char *user, const char *group, char *err, size_t errlen)
{
	const struct passwd *pw;
	const struct group *gr;
	gid_t gid;
	uid_t uid;
	int e;

	if (user == NULL || user[0] == '\0')
		return 0;
	errno = 0;
	pw = getpwnam(user);
	if (pw == NULL) {
		e = errno != 0 ? errno : ENOENT;
		snprintf(err, errlen, "user %s: %s", user, e == ENOENT ? "unknown" : strerror(e));
		return e;
	}
	uid = pw->pw_uid;
	gid = pw->pw_gid;
	if (group != NULL && group[0] != '\0') {
		errno = 0;
		gr = getgrnam(group);
		if (gr == NULL) {
			e = errno != 0 ? errno : ENOENT;
			snprintf(err, errlen, "group %s: %s", group,
				 e == ENOENT ? "unknown" : strerror(e));
			return e;
		}
		gid = gr->gr_gid;
	}
	if (geteuid() == uid && getuid() == uid)
		return 0;
	if (geteuid() != 0) {
		snprintf(err, errlen, "only root can become user %s", user);
		return EPERM;
	}
	/* supplementary groups by the database: the socket's group may be one of them */
	if (initgroups(user, gid) != 0 || setresgid(gid, gid, gid) != 0 ||
	    setresuid(uid, uid, uid) != 0) {
		e = errno;
		snprintf(err, errlen, "becoming user %s: %s", user, strerror(e));
		return e;
	}
	if (uid != 0 && setuid(0) == 0) {
		snprintf(err, errlen, "becoming user %s: root's rights came back", user);
		return EPERM;
	}
	return 0;
}

/* --- log sinks --- */

static int level_priority(enum p2p_log_level level)
{
	switch (level) {
	case P2P_LOG_ERR:
		return LOG_ERR;
	case P2P_LOG_WARN:
		return LOG_WARNING;
	case P2P_LOG_INFO:
		return LOG_INFO;
	case P2P_LOG_DBG:
		break;
	}
	return LOG_DEBUG;
}

/* Is stderr the journal? JOURNAL_STREAM=<device>:<inode> names it (systemd.exec(5)). */
static bool stderr_is_journal(void)
{
	const char *v = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return v != NULL && sscanf(v, "%llu:%llu", &dev, &ino) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void daemon_log_stderr(enum p2p_log_level level, const char *msg, void *arg)
{
	char line[P2P_LOG_LINE_MAX + 160], when[32];
	struct p2p_text t;
	struct timespec ts;
	struct tm tm;
	ssize_t n;

	p2p_text_init(&t, line, sizeof(line));
	if (stderr_is_journal()) {
		p2p_text_add(&t, "<%d>%s\n", level_priority(level), msg);
	} else {
		clock_gettime(CLOCK_REALTIME, &ts);
		localtime_r(&ts.tv_sec, &tm);
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
		p2p_text_add(&t, "%s.%03ld %.64s[%ld] %s: %s\n", when, ts.tv_nsec / 1000000,
			     arg != NULL ? (const char *)arg : "", (long)getpid(),
			     p2p_log_level_name(level), msg);
	}
	/* one write, so that lines of several threads and processes do not mix */
	n = write(STDERR_FILENO, t.s, t.len);
	(void)n; /* there is nobody to tell */
}

void daemon_log_syslog(enum p2p_log_level level, const char *msg, void *arg)
{
	/* openlog() keeps the pointer and is global; the name goes into the line instead */
	syslog(LOG_DAEMON | level_priority(level), "%s[%ld]: %s",
	       arg != NULL ? (const char *)arg : "", (long)getpid(), msg);
}
