/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Life cycle and metrics of the daemons. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "lib/io/daemon.h"
#include "lib/io/metrics.h"
#include "tests/unit/alloc.h"

static struct event_base *base;
static struct daemon *d;
static struct daemon_config cfg;
static char dir[64], pid_path[96], notify_path[96];
static int notify_fd, n_stop, n_reload;
static bool stop_at_once, is_healthy;

static void stop_h(void *arg)
{
	(void)arg;
	n_stop++;
	if (stop_at_once)
		daemon_stopped(d);
}

static void reload_h(void *arg)
{
	(void)arg;
	n_reload++;
}

static bool healthy_h(void *arg)
{
	(void)arg;
	return is_healthy;
}

static int set_up(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	(void)state;
	strcpy(dir, "/tmp/p2psip-daemon-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(pid_path, sizeof(pid_path), "%s/pid", dir);
	snprintf(notify_path, sizeof(notify_path), "%s/notify", dir);
	notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	strcpy(sun.sun_path, notify_path);
	if (bind(notify_fd, (struct sockaddr *)&sun, sizeof(sun)) != 0)
		return -1;
	setenv("NOTIFY_SOCKET", notify_path, 1);
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	n_stop = n_reload = 0;
	stop_at_once = is_healthy = true;
	cfg = (struct daemon_config){
		.name = "test",
		.pid_file = pid_path,
		.stop = stop_h,
		.reload = reload_h,
		.healthy = healthy_h,
	};
	base = event_base_new();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	event_base_free(base);
	close(notify_fd);
	unlink(notify_path);
	unsetenv("NOTIFY_SOCKET");
	return rmdir(dir);
}

static void notified(const char *want)
{
	char got[256];
	ssize_t n = recv(notify_fd, got, sizeof(got) - 1, 0);

	if (want == NULL) {
		assert_int_equal(n, -1);
		return;
	}
	assert_true(n > 0);
	got[n] = '\0';
	assert_int_equal(strncmp(got, want, strlen(want)), 0);
}

static void test_signals(void **state)
{
	char text[32];
	FILE *f;

	(void)state;
	assert_ok(daemon_new(&d, base, &cfg));
	f = fopen(pid_path, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_int_equal(atol(text), getpid());
	notified(NULL);
	daemon_ready(d);
	notified("READY=1");
	daemon_status(d, "%d users\nforged=1", 5);
	notified("STATUS=5 users forged=1");
	raise(SIGHUP);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(n_reload, 1);
	notified("RELOADING=1\nMONOTONIC_USEC=");
	notified("READY=1");
	raise(SIGPIPE); /* nothing */
	raise(SIGTERM);
	event_base_dispatch(base);
	assert_int_equal(n_stop, 1);
	assert_true(daemon_stopping(d));
	notified("STOPPING=1");
	daemon_reload(d); /* too late */
	assert_int_equal(n_reload, 1);
	daemon_free(d);
	assert_int_equal(access(pid_path, F_OK), -1);
}

static void test_second_signal(void **state)
{
	(void)state;
	stop_at_once = false;
	assert_ok(daemon_new(&d, base, &cfg));
	raise(SIGINT);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(n_stop, 1);
	raise(SIGINT);
	event_base_dispatch(base); /* ends */
	assert_int_equal(n_stop, 1);
	daemon_free(d);
}

static void test_stop_timeout(void **state)
{
	(void)state;
	stop_at_once = false;
	cfg.stop_timeout_ms = 20;
	assert_ok(daemon_new(&d, base, &cfg));
	daemon_stop(d);
	daemon_stop(d);
	event_base_dispatch(base); /* ends */
	assert_int_equal(n_stop, 1);
	daemon_free(d);
}

static void test_watchdog(void **state)
{
	struct timeval tv = {0, 30000};
	char mine[24];

	(void)state;
	setenv("WATCHDOG_USEC", "10000", 1);
	snprintf(mine, sizeof(mine), "%ld", (long)getpid());
	setenv("WATCHDOG_PID", mine, 1);
	assert_ok(daemon_new(&d, base, &cfg));
	daemon_ready(d);
	notified("READY=1");
	event_base_loopexit(base, &tv);
	event_base_dispatch(base);
	notified("WATCHDOG=1");
	while (recv(notify_fd, mine, sizeof(mine), 0) > 0)
		;
	is_healthy = false;
	event_base_loopexit(base, &tv);
	event_base_dispatch(base);
	notified(NULL);
	daemon_free(d);
	/* another process's watchdog */
	setenv("WATCHDOG_PID", "1", 1);
	is_healthy = true;
	assert_ok(daemon_new(&d, base, &cfg));
	daemon_ready(d);
	notified("READY=1");
	event_base_loopexit(base, &tv);
	event_base_dispatch(base);
	notified(NULL);
	daemon_free(d);
}

static void test_pid_file(void **state)
{
	struct daemon *second;
	int fd;

	(void)state;
	fd = open(pid_path, O_CREAT | O_WRONLY, 0644); /* what a crash left behind */
	assert_int_equal(write(fd, "999999999\n", 10), 10);
	close(fd);
	assert_ok(daemon_new(&d, base, &cfg));
	assert_int_equal(daemon_new(&second, base, &cfg), EEXIST);
	assert_ok(access(pid_path, F_OK)); /* and it is still the first one's */
	daemon_free(d);
	cfg.pid_file = "/nonexistent/pid";
	assert_int_equal(daemon_new(&d, base, &cfg), ENOENT);
	cfg.pid_file = "";
	assert_ok(daemon_new(&d, base, &cfg));
	daemon_free(d);
}

static void test_notify_address(void **state)
{
	char far[300];

	(void)state;
	memset(far, 'x', sizeof(far));
	far[0] = '/';
	far[sizeof(far) - 1] = '\0';
	setenv("NOTIFY_SOCKET", far, 1);
	assert_int_equal(daemon_notify("READY=1"), EINVAL);
	setenv("NOTIFY_SOCKET", "relative", 1);
	assert_int_equal(daemon_notify("READY=1"), EINVAL);
	setenv("NOTIFY_SOCKET", "@p2psip-no-such-socket", 1);
	assert_int_equal(daemon_notify("READY=1"), ECONNREFUSED);
	unsetenv("NOTIFY_SOCKET");
	assert_ok(daemon_notify("READY=1"));
}

static void test_drop(void **state)
{
	char err[200] = "";
	struct passwd *me = getpwuid(getuid());
	pid_t child;
	int status;

	(void)state;
	assert_ok(daemon_drop(NULL, NULL, err, sizeof(err)));
	assert_ok(daemon_drop("", "", err, sizeof(err)));
	assert_int_equal(daemon_drop("no-such-user-1", NULL, err, sizeof(err)), ENOENT);
	assert_string_equal(err, "user no-such-user-1: unknown");
	if (me != NULL) {
		assert_ok(daemon_drop(me->pw_name, NULL, err, sizeof(err)));
		assert_int_equal(daemon_drop(me->pw_name, "no-such-group-1", err, sizeof(err)),
				 ENOENT);
	}
	if (getuid() != 0) {
		assert_int_equal(daemon_drop("root", NULL, err, sizeof(err)), EPERM);
		return;
	}
	child = fork();
	if (child == 0) {
		int ok = daemon_drop("nobody", NULL, err, sizeof(err)) == 0 && getuid() != 0 &&
			 geteuid() != 0 && getegid() != 0 && setuid(0) != 0 &&
			 daemon_drop("root", NULL, err, sizeof(err)) == EPERM;

		_exit(ok ? 0 : 1);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_log_stderr(void **state)
{
	char got[512];
	int pair[2], keep = dup(STDERR_FILENO);
	ssize_t n;

	(void)state;
	assert_ok(pipe(pair));
	dup2(pair[1], STDERR_FILENO);
	daemon_log_stderr(P2P_LOG_WARN, "hello", (void *)(uintptr_t) "prog");
	dup2(keep, STDERR_FILENO);
	close(keep);
	n = read(pair[0], got, sizeof(got) - 1);
	assert_true(n > 0);
	got[n] = '\0';
	assert_non_null(strstr(got, " prog["));
	assert_non_null(strstr(got, "] warn: hello\n"));
	close(pair[0]);
	close(pair[1]);
}

static int allocate(void *arg)
{
	int err;

	(void)arg;
	d = NULL;
	err = daemon_new(&d, base, &cfg);
	if (err == 0)
		daemon_free(d);
	assert_int_equal(access(pid_path, F_OK), -1);
	return err;
}

static void test_alloc(void **state)
{
	(void)state;
	alloc_loop(allocate, NULL, false);
}

struct counts {
	uint64_t packets, lost, users;
};

static const struct metric table[] = {
	{"p2psip_packets_total", METRIC_COUNTER, offsetof(struct counts, packets), "result=\"ok\"",
	 "Packets.\nBy \\ result."},
	{"p2psip_packets_total", METRIC_COUNTER, offsetof(struct counts, lost), "result=\"lost\"",
	 "Packets."},
	{"p2psip_users", METRIC_GAUGE, offsetof(struct counts, users), NULL, "Users."},
	{0},
};

static void test_metrics(void **state)
{
	struct counts c = {UINT64_MAX, 2, 3};
	char *text, err[128];
	size_t n;
	FILE *f;

	(void)state;
	assert_ok(metrics_check(table, err, sizeof(err)));
	assert_ok(metrics_text(table, &c, &text, &n));
	assert_string_equal(text, "# HELP p2psip_packets_total Packets.\\nBy \\\\ result.\n"
				  "# TYPE p2psip_packets_total counter\n"
				  "p2psip_packets_total{result=\"ok\"} 18446744073709551615\n"
				  "p2psip_packets_total{result=\"lost\"} 2\n"
				  "# HELP p2psip_users Users.\n"
				  "# TYPE p2psip_users gauge\n"
				  "p2psip_users 3\n");
	assert_int_equal(n, strlen(text));
	free(text);
	f = open_memstream(&text, &n);
	metrics_manual(table, f);
	fclose(f);
	assert_non_null(strstr(text, "| `p2psip_users` | gauge | Users. |\n"));
	free(text);
}

static void test_metrics_check(void **state)
{
	struct metric t[4];
	char err[128];

	(void)state;
#define BAD(change, message)                                                                       \
	do {                                                                                       \
		memcpy(t, table, sizeof(table));                                                   \
		change;                                                                            \
		assert_int_equal(metrics_check(t, err, sizeof(err)), EINVAL);                      \
		assert_string_equal(err, message);                                                 \
	} while (0)
	BAD(t[2].name = "2x", "2x: bad name");
	BAD(t[2].name = "a-b", "a-b: bad name");
	BAD(t[2].name = "", ": bad name");
	BAD(t[2].name = "x_total", "x_total: a counter ends in _total, a gauge does not");
	BAD(t[2].type = METRIC_COUNTER, "p2psip_users: a counter ends in _total, a gauge does not");
	BAD(t[2].help = "", "p2psip_users: no help");
	BAD(t[1].labels = "result=\"ok\"",
	    "p2psip_packets_total: rows that differ in type, or not in labels");
	BAD(t[2] = t[1]; t[1] = table[2], "p2psip_packets_total: rows apart");
#undef BAD
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_signals),
		T(test_second_signal),
		T(test_stop_timeout),
		T(test_watchdog),
		T(test_pid_file),
		T(test_notify_address),
		T(test_drop),
		T(test_log_stderr),
		T(test_alloc),
		cmocka_unit_test(test_metrics),
		cmocka_unit_test(test_metrics_check),
	};

	alloc_wrap_libevent();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
