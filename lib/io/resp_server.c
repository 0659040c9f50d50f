/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The server: its socket's file, who is let in, its end. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/io/resp_impl.h"

#define ACCEPT_PAUSE_MS 100
#define ACCEPTS_PER_WAKE 16
#define LOG_INTERVAL_MS 60000

void resp_server_unref(struct resp_server *s)
{
	if (s->frames > 0 || !s->freed)
		return;
	free(s->argv);
	free(s->path);
	free(s);
}

void resp_warn(struct resp_server *s, enum mistake mistake, const struct ucred *cred,
	       const char *what, const char *why)
{
	struct {
		uint64_t mistake, uid;
	} source = {mistake, cred->uid};
	uint32_t silenced;

	if (!p2p_limit_ok(&s->limit, &source, sizeof(source), p2p_clock_mono(&p2p_clock_system),
			  &silenced))
		return;
	p2p_log(s->cfg.log, P2P_LOG_WARN, "%s: client of uid %ld, pid %ld: %s: %s", s->path,
		(long)cred->uid, (long)cred->pid, what, why);
	if (silenced > 0)
		p2p_log(s->cfg.log, P2P_LOG_WARN, "%s: and %u times more since this was last said",
			s->path, silenced);
}

static int credentials(int fd, struct ucred *cred)
{
	socklen_t len = sizeof(*cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, cred, &len) == 0 ? 0 : errno;
}

int resp_server_adopt(struct resp_server *s, int fd)
{
	struct ucred cred;
	int err = credentials(fd, &cred);

	if (err != 0)
		return err;
	if (s->st.clients >= s->cfg.max_clients)
		return EBUSY;
	if (evutil_make_socket_nonblocking(fd) != 0)
		return errno;
	return resp_client_new(s, fd, &cred);
}

static void refuse(struct resp_server *s, int fd, enum mistake mistake, const struct ucred *cred,
		   const char *code, const char *why)
{
	char line[80];
	int n = snprintf(line, sizeof(line), "-%s %s\r\n", code, why);

	s->st.refused++;
	resp_warn(s, mistake, cred, "refused", why);
	if (send(fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		/* it will notice by the end of the connection */
	}
	close(fd);
}

static void accept_h(evutil_socket_t lfd, short what, void *arg)
{
	struct resp_server *s = arg;
	int i;

	(void)what;
	s->frames++;
	for (i = 0; i < ACCEPTS_PER_WAKE && !s->freed; i++) {
		struct ucred cred = {.pid = 0, .uid = (uid_t)-1};
		int fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			struct timeval tv = {0, ACCEPT_PAUSE_MS * 1000};

			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			if (errno == EAGAIN || errno == EWOULDBLOCK)
				break;
			/* Out of descriptors or memory: the connection stays in the backlog, and a
			 * loop that looks at it again at once would spin. */
			resp_warn(s, MISTAKE_ACCEPT, &cred, "not accepted", strerror(errno));
			event_del(s->ev_accept);
			event_add(s->ev_resume, &tv);
			break;
		}
		if (credentials(fd, &cred) != 0 ||
		    (s->cfg.allow != NULL &&
		     !s->cfg.allow(cred.uid, cred.gid, cred.pid, s->cfg.arg)))
			refuse(s, fd, MISTAKE_DENIED, &cred, "DENIED", "not for you");
		else if (s->st.clients >= s->cfg.max_clients)
			refuse(s, fd, MISTAKE_BUSY, &cred, "BUSY", "too many clients");
		else if (resp_client_new(s, fd, &cred) != 0)
			refuse(s, fd, MISTAKE_BUSY, &cred, "BUSY", "out of memory");
	}
	s->frames--;
	resp_server_unref(s);
}

static void accept_resume_h(evutil_socket_t fd, short what, void *arg)
{
	struct resp_server *s = arg;

	(void)fd;
	(void)what;
	event_add(s->ev_accept, NULL);
}

/* Is somebody listening on the socket's file? 0 no (and it may be removed), else errno. */
static int path_probe(const struct sockaddr_un *sun)
{
	struct stat st;
	int fd, err;

	if (lstat(sun->sun_path, &st) != 0)
		return errno == ENOENT ? 0 : errno;
	if (!S_ISSOCK(st.st_mode))
		return ENOTSOCK; /* not ours to remove */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errno;
	err = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 ? EADDRINUSE : errno;
	close(fd);
	if (err == EAGAIN)
		return EADDRINUSE; /* somebody listens, with a full backlog */
	return err == ECONNREFUSED || err == ENOENT ? 0 : err;
}

static int group_id(const char *name, gid_t *gid)
{
	struct group gr, *res = NULL;
	char buf[4096];
	int err = getgrnam_r(name, &gr, buf, sizeof(buf), &res);

	if (err != 0)
		return err;
	if (res == NULL)
		return ENOENT;
	*gid = gr.gr_gid;
	return 0;
}

static int server_listen(struct resp_server *s)
{
	const struct resp_server_config *cfg = &s->cfg;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct stat st;
	gid_t gid = (gid_t)-1;
	bool bound = false;
	int err;

	if (strlen(s->path) >= sizeof(sun.sun_path))
		return ENAMETOOLONG;
	memcpy(sun.sun_path, s->path, strlen(s->path) + 1);
	if (cfg->group != NULL && cfg->group[0] != '\0') {
		err = group_id(cfg->group, &gid);
		if (err != 0)
			return err;
	}
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return errno;
	/* Linux makes the file with the socket's own mode: never open to more than us, even for a
	 * moment, and without touching the umask of all threads. */
	if (fchmod(s->fd, 0600) != 0) {
		err = errno;
		goto fail;
	}
	err = path_probe(&sun);
	if (err != 0)
		goto fail;
	if (unlink(s->path) != 0 && errno != ENOENT) {
		err = errno;
		goto fail;
	}
	if (bind(s->fd, (struct sockaddr *)&sun, sizeof(sun)) != 0) {
		err = errno;
		goto fail;
	}
	bound = true;
	if ((gid != (gid_t)-1 && chown(s->path, (uid_t)-1, gid) != 0) ||
	    chmod(s->path, cfg->mode) != 0 || listen(s->fd, 128) != 0 || lstat(s->path, &st) != 0) {
		err = errno;
		goto fail;
	}
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	return 0;
fail:
	if (bound)
		unlink(s->path);
	close(s->fd);
	s->fd = -1;
	return err;
}

int resp_server_new(struct resp_server **sp, struct event_base *base,
		    const struct resp_server_config *config)
{
	static const struct resp_command none = {0};
	struct p2p_hash_key key = {{0}};
	struct resp_server *s;
	int err = ENOMEM;

	if (config->path == NULL || config->max_args < 2 || config->max_bulk == 0 ||
	    config->max_clients < 1 || config->max_pending < 1 || config->max_output == 0)
		return EINVAL;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return ENOMEM;
	s->base = base;
	s->cfg = *config;
	if (s->cfg.commands == NULL)
		s->cfg.commands = &none;
	s->fd = -1;
	/* without randomness somebody could at most mute others' warnings */
	if (getrandom(&key, sizeof(key), GRND_NONBLOCK) < 0)
		key.b[0] = 1;
	p2p_limit_init(&s->limit, LOG_INTERVAL_MS, &key);
	LIST_INIT(&s->clients);
	s->path = strdup(config->path);
	s->argv = calloc((size_t)config->max_args, sizeof(*s->argv));
	if (s->path == NULL || s->argv == NULL)
		goto fail;
	err = server_listen(s);
	if (err != 0)
		goto fail;
	err = ENOMEM;
	s->ev_accept = event_new(base, s->fd, EV_READ | EV_PERSIST, accept_h, s);
	s->ev_resume = event_new(base, -1, 0, accept_resume_h, s);
	if (s->ev_accept == NULL || s->ev_resume == NULL || event_add(s->ev_accept, NULL) != 0)
		goto fail;
	*sp = s;
	return 0;
fail:
	if (s->ev_accept != NULL)
		event_free(s->ev_accept);
	if (s->ev_resume != NULL)
		event_free(s->ev_resume);
	if (s->fd >= 0) {
		unlink(s->path);
		close(s->fd);
	}
	free(s->argv);
	free(s->path);
	free(s);
	return err;
}

void resp_server_free(struct resp_server *s)
{
	struct resp_client *c;
	struct stat st;

	if (s == NULL || s->freed)
		return;
	s->frames++;
	/* What was already replied should still arrive, as far as the socket takes it. */
	while ((c = LIST_FIRST(&s->clients)) != NULL) {
		if (!c->doomed)
			(void)resp_client_flush(c);
		resp_client_close(c);
	}
	/* The file may be another server's by now. */
	if (lstat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->path);
	event_free(s->ev_accept);
	event_free(s->ev_resume);
	close(s->fd);
	s->fd = -1;
	s->freed = true;
	s->frames--;
	resp_server_unref(s);
}

void resp_server_stats(const struct resp_server *s, struct resp_server_stats *st)
{
	*st = s->st;
}
