/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/ctl_password.h"
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "lib/base/bytes.h"

static struct termios shown; /* as the terminal was */

static void on_signal(int sig)
{
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* One line without its end. EINVAL: too long, or none. No buffer keeps what stands behind it. */
static int line_read(char *buf, size_t cap)
{
	size_t n = 0;
	ssize_t got;
	char c;

	while ((got = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n') {
		if (n + 1 == cap)
			return EINVAL;
		buf[n++] = c;
	}
	if (got < 0)
		return errno;
	if (n && buf[n - 1] == '\r')
		n--;
	buf[n] = 0;
	return n || got ? 0 : ENODATA;
}

static int ask(char *buf, size_t cap, const char *prompt, const char *name)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct termios hidden;
	int err;

	if (tcgetattr(STDIN_FILENO, &shown))
		return errno;
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], on_signal);
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden))
		return errno;
	fprintf(stderr, "%s %s: ", prompt, name);
	err = line_read(buf, cap);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_DFL);
	fputc('\n', stderr);
	return err;
}

int ctl_password_read(char password[CTL_PASSWORD_MAX], const char *name, char *err, size_t errlen)
{
	char again[CTL_PASSWORD_MAX];
	bool terminal = isatty(STDIN_FILENO);
	int ret = terminal ? ask(password, CTL_PASSWORD_MAX, "Password for", name)
			   : line_read(password, CTL_PASSWORD_MAX);

	if (!ret && terminal) {
		ret = ask(again, sizeof(again), "Once more for", name);
		if (!ret && strcmp(again, password)) {
			snprintf(err, errlen, "the two are not the same");
			ret = EINVAL;
			goto out;
		}
	}
	if (!ret && !*password)
		ret = ENODATA;
	if (ret)
		snprintf(err, errlen, "no password: %s",
			 ret == ENODATA	 ? "standard input is empty"
			 : ret == EINVAL ? "longer than 255 bytes"
					 : strerror(ret));
out:
	OPENSSL_cleanse(again, sizeof(again));
	if (ret)
		OPENSSL_cleanse(password, CTL_PASSWORD_MAX);
	return ret;
}

int ctl_password_ha1(const char *name, const char *realm, const char *password,
		     enum p2p_digest digest, uint8_t *ha1)
{
	const char *at = strrchr(name, '@');
	size_t len = at && at != name ? (size_t)(at - name) : strlen(name);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int err = EIO;

	if (ctx &&
	    EVP_DigestInit_ex(ctx, digest == P2P_DIGEST_MD5 ? EVP_md5() : EVP_sha256(), NULL) ==
		    1 &&
	    EVP_DigestUpdate(ctx, name, len) == 1 && EVP_DigestUpdate(ctx, ":", 1) == 1 &&
	    EVP_DigestUpdate(ctx, realm, strlen(realm)) == 1 &&
	    EVP_DigestUpdate(ctx, ":", 1) == 1 &&
	    EVP_DigestUpdate(ctx, password, strlen(password)) == 1 &&
	    EVP_DigestFinal_ex(ctx, ha1, NULL) == 1)
		err = 0;
	EVP_MD_CTX_free(ctx);
	return err;
}

int ctl_password_read_ha1(uint8_t *digests, uint8_t ha1[P2P_HA1_MAX], char *err, size_t errlen)
{
	char line[2 * P2P_HA1_SHA256_LEN + 2];
	uint8_t got = 0;
	int ret;

	while (!(ret = line_read(line, sizeof(line)))) {
		size_t len = strlen(line);
		enum p2p_digest which =
			len == 2 * (size_t)P2P_HA1_MD5_LEN ? P2P_DIGEST_MD5 : P2P_DIGEST_SHA256;
		size_t at, n;

		if (!len)
			continue;
		if ((got & which) != 0 ||
		    p2p_digests_find(P2P_DIGEST_MD5 | P2P_DIGEST_SHA256, which, &at, &n) ||
		    p2p_hex_parse(ha1 + at, n, line, len)) {
			ret = EINVAL;
			break;
		}
		got |= which;
	}
	OPENSSL_cleanse(line, sizeof(line));
	if (ret != ENODATA || !got) {
		snprintf(err, errlen,
			 "standard input: a line of 32 hexadecimal digits (MD5), one of 64 "
			 "(SHA-256), or both");
		return EINVAL;
	}
	*digests = got;
	return 0;
}
