/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 of a guest that means harm: what a guest's root could send to the monitor in dink-agent's
 * place. MODE, a string, is set when it is compiled. Before it turns bad it answers as far as it
 * has to: hello, and setup, create and start with {"ok":true}.
 */
#include "provision/vm/frame.h"

#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BIG = 4 << 20 };

static int port = -1;
static uint8_t buf[BIG + DINK_FRAME_HEADER];

static bool is(const char *mode)
{
	return strcmp(MODE, mode) == 0;
}

static void put(const void *data, size_t n)
{
	for (const char *p = data; n > 0;) {
		ssize_t k = write(port, p, n);

		if (k <= 0)
			pause();
		p += k;
		n -= (size_t)k;
	}
}

static void get(void *data, size_t n)
{
	for (char *p = data; n > 0;) {
		ssize_t k = read(port, p, n);

		if (k < 0)
			pause();
		p += k;
		n -= (size_t)k;
	}
}

static void put_frame(uint8_t type, uint32_t id, const void *payload, uint32_t n)
{
	uint8_t head[DINK_FRAME_HEADER];

	dink_frame_put(head, type, id, n);
	put(head, sizeof(head));
	put(payload, n);
}

static void put_text(uint8_t type, uint32_t id, const char *text)
{
	put_frame(type, id, text, (uint32_t)strlen(text));
}

/* {"KEY":xxxx...} of just below the longest message */
static char *make_long(const char *head, const char *part, const char *tail)
{
	size_t n = strlen(head), step = strlen(part);
	char *text = malloc(DINK_MSG_MAX + 1);

	memcpy(text, head, n);
	for (; n + step + strlen(tail) < DINK_MSG_MAX; n += step)
		memcpy(text + n, part, step);
	memcpy(text + n, tail, strlen(tail) + 1);
	return text;
}

static void boot(void)
{
	glob_t found = {};

	mkdir("/dev", 0755);
	mkdir("/proc", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	for (int i = 0; i < 2000 && glob("/dev/vport*p1", 0, NULL, &found) != 0; i++)
		usleep(5000);
	for (int i = 0; i < 2000 && port < 0; i++, usleep(5000)) {
		struct pollfd p = {.events = POLLOUT};

		port = found.gl_pathc ? open(found.gl_pathv[0], O_RDWR | O_CLOEXEC) : -1;
		p.fd = port;
		if (port >= 0 && poll(&p, 1, 0) > 0 && (p.revents & POLLHUP)) {
			close(port);
			port = -1;
		}
	}
}

/* the next request's id; its text is in buf */
static uint32_t take_request(void)
{
	for (;;) {
		uint8_t head[DINK_FRAME_HEADER];
		uint32_t n;

		get(head, sizeof(head));
		n = dink_get_u32(head);
		if (n > BIG)
			pause();
		get(buf, n);
		buf[n] = '\0';
		if (head[8] == DINK_FRAME_REQUEST)
			return dink_get_u32(head + 4);
	}
}

/* the id behind the last "NAME": of the request, since a config comes before */
static uint32_t find_stream(const char *name)
{
	char key[32];
	const char *at = (const char *)buf, *last = NULL;

	snprintf(key, sizeof(key), "\"%s\":", name);
	while ((at = strstr(at, key)))
		last = at += strlen(key);
	return last ? (uint32_t)strtoul(last, NULL, 10) : 0;
}

static void before_hello(void)
{
	if (is("mute"))
		pause();
	if (is("console")) {
		int out = open("/dev/console", O_WRONLY | O_CLOEXEC);

		memset(buf, 'x', sizeof(buf));
		while (write(out, buf, sizeof(buf)) > 0)
			;
	}
	if (is("garbage")) {
		int noise = open("/dev/urandom", O_RDONLY | O_CLOEXEC);

		for (;;)
			put(buf, (size_t)read(noise, buf, 65536));
	}
	if (is("dies"))
		_exit(1);
}

static void after_hello(void)
{
	static const uint8_t huge[DINK_FRAME_HEADER] = {0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 2};

	if (is("silent"))
		pause();
	if (is("closes")) {
		close(port);
		pause();
	}
	if (is("huge"))
		put(huge, sizeof(huge));
	if (is("unasked"))
		put_text(DINK_FRAME_RESPONSE, 4711, "{\"ok\":true}");
	if (is("stranger"))
		put_frame(DINK_FRAME_DATA, 4711, "data", 4);
	if (is("request"))
		put_text(DINK_FRAME_REQUEST, 1, "{\"op\":\"setup\"}");
	if (is("half")) {
		put(huge, 8); /* the start of a header, and no more */
		pause();
	}
	if (is("longlog")) {
		char *text = make_long("{\"event\":\"log\",\"text\":\"", "x", "\"}");

		for (;;)
			put_text(DINK_FRAME_EVENT, 0, text);
	}
	if (is("tree")) {
		char *text = make_long("{\"event\":[0", ",{}", "]}");

		for (;;)
			put_text(DINK_FRAME_EVENT, 0, text);
	}
	if (is("longerror"))
		put_text(DINK_FRAME_RESPONSE, take_request(),
			 make_long("{\"ok\":false,\"error\":\"", "y", "\"}"));
}

static void after_start(uint32_t out)
{
	memset(buf, 'z', DINK_DATA_MAX);
	/* a window is 1 MiB: the ninth frame of 128 KiB is past it, unless somebody reads */
	for (int i = 0; is("credit") && i < 4096; i++)
		put_frame(DINK_FRAME_DATA, out, buf, DINK_DATA_MAX);
	if (is("twice")) {
		put_frame(DINK_FRAME_EOF, out, NULL, 0);
		put_frame(DINK_FRAME_DATA, out, "late", 4);
	}
	if (is("panics"))
		_exit(1);
	if (is("exits")) {
		/* but its output never ends */
		put_text(DINK_FRAME_EVENT, 0, "{\"event\":\"exit\",\"status\":0}");
		pause();
	}
	if (is("deaf"))
		pause();
	/* answers nothing, but reads */
	while (is("dumb"))
		take_request();
}

int main(void)
{
	uint32_t out = 0;

	boot();
	before_hello();
	put_text(DINK_FRAME_EVENT, 0, "{\"event\":\"hello\",\"version\":1}");
	after_hello();
	for (;;) {
		uint32_t id = take_request();

		if (strstr((char *)buf, "\"op\":\"create\""))
			out = find_stream("out");
		bool start = strstr((char *)buf, "\"op\":\"start\"");
		put_text(DINK_FRAME_RESPONSE, id, "{\"ok\":true,\"pid\":1}");
		if (start)
			after_start(out);
	}
}
