/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/keys/gateway_file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *s, size_t len)
{
	while (len) {
		ssize_t n = write(fd, s, len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return errno;
		}
		s += n;
		len -= (size_t)n;
	}
	return fsync(fd) ? errno : 0;
}

/* The entry of a new or renamed file is on the disk only when its folder is. */
static int sync_folder(const char *path)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int fd, err = 0;

	if (!slash)
		snprintf(dir, sizeof(dir), ".");
	else if (slash == path)
		snprintf(dir, sizeof(dir), "/");
	else if ((size_t)(slash - path) >= sizeof(dir))
		return ENAMETOOLONG;
	else
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (fsync(fd))
		err = errno == EINVAL || errno == EROFS ? 0 : errno;
	close(fd);
	return err;
}

static int create_at(const char *path, const void *s, size_t len, mode_t mode, gid_t group)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return errno;
	/* whatever the umask says */
	err = group != (gid_t)-1 && fchown(fd, (uid_t)-1, group) ? errno : 0;
	if (!err)
		err = fchmod(fd, mode) ? errno : 0;
	if (!err)
		err = write_all(fd, s, len);
	if (close(fd) && !err)
		err = errno;
	if (err)
		unlink(path);
	return err;
}

int gw_file_create(const char *path, const void *s, size_t len)
{
	int err = create_at(path, s, len, 0600, (gid_t)-1);

	return err ? err : sync_folder(path);
}

int gw_file_replace(const char *path, const void *s, size_t len)
{
	return gw_file_replace_mode(path, s, len, 0600, (gid_t)-1);
}

int gw_file_replace_mode(const char *path, const void *s, size_t len, mode_t mode, gid_t group)
{
	char tmp[PATH_MAX];
	int err;

	if (snprintf(tmp, sizeof(tmp), "%s.new", path) >= (int)sizeof(tmp))
		return ENAMETOOLONG;
	/* left over from a crash */
	if (unlink(tmp) && errno != ENOENT)
		return errno;
	err = create_at(tmp, s, len, mode, group);
	if (err)
		return err;
	if (rename(tmp, path)) {
		err = errno;
		unlink(tmp);
		return err;
	}
	return sync_folder(path);
}

static int read_fd(int fd, char *buf, size_t cap, size_t *len)
{
	size_t have = 0;

	for (;;) {
		ssize_t n = read(fd, buf + have, cap - have);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return errno;
		}
		if (!n)
			break;
		have += (size_t)n;
		if (have == cap)
			return EFBIG;
	}
	buf[have] = 0;
	*len = have;
	return 0;
}

int gw_file_read(const char *path, char *buf, size_t cap, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return errno;
	err = read_fd(fd, buf, cap, len);
	close(fd);
	return err;
}

int gw_file_read_secret(const char *path, char *buf, size_t cap, size_t *len, char *err,
			size_t errlen)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int ret;

	if (fd < 0) {
		ret = errno;
		snprintf(err, errlen, "%s: %s", path, strerror(ret));
		return ret;
	}
	if (fstat(fd, &st)) {
		ret = errno;
		snprintf(err, errlen, "%s: %s", path, strerror(ret));
	} else if (!S_ISREG(st.st_mode)) {
		ret = EPERM;
		snprintf(err, errlen, "%s: not a plain file", path);
	} else if (st.st_mode & 077) {
		ret = EPERM;
		snprintf(err, errlen, "%s: its mode is %04o, others could read it: chmod 600 it",
			 path, (unsigned int)(st.st_mode & 07777));
	} else if (st.st_uid != geteuid() && st.st_uid != 0 && geteuid() != 0) {
		ret = EPERM;
		snprintf(err, errlen, "%s: belongs to uid %u, not to uid %u that runs this", path,
			 (unsigned int)st.st_uid, (unsigned int)geteuid());
	} else {
		ret = read_fd(fd, buf, cap, len);
		if (ret)
			snprintf(err, errlen, "%s: %s", path, strerror(ret));
	}
	close(fd);
	return ret;
}

int gw_file_mkdir(const char *path)
{
	struct stat st;

	if (!mkdir(path, 0700))
		return 0;
	if (errno != EEXIST)
		return errno;
	if (stat(path, &st))
		return errno;
	return S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
}
