/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A unix socket's two ends for tests, in a program that needs nothing (linked statically it runs in
 * any container):
 *	sock echo PATH          serve one connection: send back what comes, until its end
 *	sock call CONTROL PATH  connect to PATH in a container through its monitor's CONTROL socket;
 *	                        stdin goes there, what comes back to stdout
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(const char *what)
{
	fprintf(stderr, "sock: %s: %s\n", what, strerror(errno));
	return 1;
}

static int fill_address(struct sockaddr_un *sa, const char *path)
{
	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(sa->sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(sa->sun_path, path, strlen(path));
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static bool write_all(int fd, const char *buf, size_t n)
{
	while (n > 0) {
		ssize_t k = write(fd, buf, n);
		if (k <= 0)
			return false;
		buf += k;
		n -= (size_t)k;
	}
	return true;
}

static int echo(const char *path)
{
	struct sockaddr_un sa;
	char buf[65536];
	ssize_t n;
	int fd = fill_address(&sa, path);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 1) < 0)
		return fail(path);
	int conn = accept(fd, NULL, NULL);
	if (conn < 0)
		return fail("accept");
	while ((n = read(conn, buf, sizeof(buf))) > 0) {
		if (!write_all(conn, buf, (size_t)n))
			return fail("write");
	}
	/* heard only after the other side has closed its half */
	return write_all(conn, "end\n", 4) ? 0 : fail("write");
}

static int relay(int fd)
{
	char buf[65536];
	bool in = true;

	for (;;) {
		struct pollfd p[] = {{.fd = fd, .events = POLLIN},
				     {.fd = in ? 0 : -1, .events = POLLIN}};
		if (poll(p, 2, -1) < 0)
			return fail("poll");
		if (p[0].revents) {
			ssize_t n = read(fd, buf, sizeof(buf));
			if (n <= 0)
				return n < 0 ? fail("read") : 0;
			if (!write_all(1, buf, (size_t)n))
				return fail("write");
		} else if (p[1].revents) {
			/* little at a time: what comes back must not wait behind it */
			ssize_t n = read(0, buf, 4096);
			in = n > 0;
			if (in ? !write_all(fd, buf, (size_t)n) : shutdown(fd, SHUT_WR) < 0)
				return fail("send");
		}
	}
}

static int call(const char *control, const char *path)
{
	struct sockaddr_un sa;
	char line[512];
	int fd = fill_address(&sa, control);

	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return fail(control);
	int n = snprintf(line, sizeof(line), "{\"op\":\"connect\",\"path\":\"%s\"}\n", path);
	if (!write_all(fd, line, (size_t)n))
		return fail("ask");
	for (n = 0; n < (int)sizeof(line) - 1; n++) {
		if (read(fd, line + n, 1) != 1)
			return fail("answer");
		if (line[n] == '\n')
			break;
	}
	line[n] = '\0';
	if (!strstr(line, "\"ok\":true")) {
		fprintf(stderr, "%s\n", line);
		return 1;
	}
	return relay(fd);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "echo") == 0)
		return echo(argv[2]);
	if (argc == 4 && strcmp(argv[1], "call") == 0)
		return call(argv[2], argv[3]);
	fprintf(stderr, "usage: sock echo PATH | sock call CONTROL PATH\n");
	return 2;
}
