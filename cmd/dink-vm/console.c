/* SPDX-License-Identifier: Apache-2.0 */
/* Ptys for engines, and pid files. */
#include "cmd/dink-vm/vm.h"

#include "provision/base/file.h"

#include <fcntl.h>
#include <pty.h>
#include <termios.h>

/*
 * The master goes to the engine, the slave is where the monitor (or an exec's holder) relays to the
 * guest's pty: raw, since the guest's line discipline does the work.
 */
int vm_open_console(const char *socket_path, struct json_object *size, int *ret_slave,
		    struct dink_err *err)
{
	struct winsize ws = {
		.ws_row = (unsigned short)dink_json_int_or(size, "height", 0),
		.ws_col = (unsigned short)dink_json_int_or(size, "width", 0),
	};
	_cleanup_close_ int sock = -1;
	int master, slave;
	struct termios t;

	if (!socket_path)
		return dink_err_set(
			err, DINK_E_USAGE, 0,
			"a terminal needs --console-socket (or run/exec on a terminal)");
	int r = dink_unix_connect(socket_path, &sock, err);
	if (r < 0)
		return r;
	if (openpty(&master, &slave, NULL, NULL, ws.ws_row ? &ws : NULL) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open a pty");
	if (tcgetattr(slave, &t) == 0) {
		cfmakeraw(&t);
		r = tcsetattr(slave, TCSANOW, &t) < 0 ? -errno : 0;
	} else {
		r = -errno;
	}
	if (r == 0 &&
	    (fcntl(master, F_SETFD, FD_CLOEXEC) < 0 || fcntl(slave, F_SETFD, FD_CLOEXEC) < 0))
		r = -errno;
	if (r == 0)
		r = dink_send_fd(sock, 0, master);
	close(master);
	if (r < 0) {
		close(slave);
		return dink_err_set(err, DINK_E_HOST, -r, "hand the pty to %s", socket_path);
	}
	*ret_slave = slave;
	return 0;
}

int vm_write_pid_file(const char *path, pid_t pid, struct dink_err *err)
{
	char text[32];

	if (!path)
		return 0;
	int n = snprintf(text, sizeof(text), "%d", (int)pid);
	return dink_file_write(path, text, (size_t)n, 0644, err);
}
