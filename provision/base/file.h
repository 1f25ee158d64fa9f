/* SPDX-License-Identifier: Apache-2.0 */
/* Files, folders, unix sockets and locks. Every descriptor is close-on-exec. */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"

#include <stdbool.h>
#include <sys/types.h>

/*
 * dink_file_read() - a whole file, NUL-terminated
 * @max_bytes: refused with EFBIG beyond
 * @ret_len: may be NULL
 */
int dink_file_read(const char *path, size_t max_bytes, char **ret_text, size_t *ret_len,
		   struct dink_err *err) _must_check_;
int dink_fd_read_all(int fd, size_t max_bytes, char **ret_text, size_t *ret_len,
		     struct dink_err *err) _must_check_;

/* dink_file_write() - whole or not at all: temporary file in the same folder, fsync, rename */
int dink_file_write(const char *path, const void *data, size_t len, mode_t mode,
		    struct dink_err *err) _must_check_;

/* dink_fd_write_all() - returns 0 or -errno; handles short writes and EINTR */
int dink_fd_write_all(int fd, const void *data, size_t len) _must_check_;

/* dink_fd_copy() - all bytes from in to out until EOF; *ret_bytes may be NULL */
int dink_fd_copy(int in, int out, uint64_t *ret_bytes) _must_check_;

int dink_mkdir_p(const char *path, mode_t mode, struct dink_err *err) _must_check_;

/* dink_rm_rf() - removes a tree without following links or crossing into other mounts */
int dink_rm_rf(const char *path, struct dink_err *err) _must_check_;

bool dink_exists(const char *path);
/* dink_has_room() - has path's file system so many bytes for anybody? false if that cannot be told */
bool dink_has_room(const char *path, uint64_t bytes);

/* dink_which() - a program on PATH (or a path as it is); NULL if there is none; caller frees */
char *dink_which(const char *program);

/*
 * dink_unix_connect() - connect to a unix stream socket of any path length
 *
 * sun_path holds 108 bytes and /proc/PID/root/... paths are longer: the folder is opened with
 * O_PATH and the socket reached through /proc/self/fd/N/NAME.
 */
int dink_unix_connect(const char *path, int *ret_fd, struct dink_err *err) _must_check_;
int dink_unix_listen(const char *path, mode_t mode, int *ret_fd, struct dink_err *err) _must_check_;

/* dink_mount_points() - all of this process's namespace, in the order they were mounted */
int dink_mount_points(struct dink_strv *ret, struct dink_err *err) _must_check_;

/*
 * dink_lock() - an exclusive flock() on path (made if missing), released when the fd is closed
 * @wait: until it is free or a signal is caught (DINK_E_INTR); false: -EWOULDBLOCK with DINK_E_BUSY
 */
int dink_lock(const char *path, bool wait, int *ret_fd, struct dink_err *err) _must_check_;

/*
 * dink_send_fd() / dink_recv_fd() - one descriptor over a unix socket (SCM_RIGHTS)
 * @byte: goes along: no descriptor travels without one
 */
int dink_send_fd(int sock, char byte, int fd);
int dink_recv_fd(int sock);
