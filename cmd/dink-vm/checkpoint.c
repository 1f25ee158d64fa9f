/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint: a running container becomes a folder: manifest.json (written last: without it there
 * is no checkpoint), state (QEMU's devices), ram (the guest's memory) and disk-N (each writable
 * disk). The monitor stops the VM; the copying is done here, where it holds up nobody. Files get
 * their names when all of them are whole, where the file system knows nameless ones: who is killed
 * at it, or has no room, leaves nothing.
 */
#include "cmd/dink-vm/vm.h"

#include "provision/base/clone.h"
#include "provision/base/file.h"
#include "provision/base/sha256.h"
#include "provision/vm/manifest.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum {
	SAVE_MS = 90000,
	END_MS = 30000,
	STATE_BYTES = 1 << 20, /* what devices and the manifest take, and some */
};

enum { FILES_MAX = DINK_OCI_DISKS_MAX + 3 };

struct image_file {
	char name[16];
	int fd; /* nameless so far; -1 = it has its name */
};

struct saving {
	struct dink_vmstate *state;
	const char *image;
	int dir;	 /* the image's folder */
	bool own_folder; /* made here */
	struct image_file files[FILES_MAX];
	int n_files;
	int client; /* to the monitor */
	bool leave_running;
	char kernel[65]; /* SHA-256, known before the VM stands still */
};

static int add_file(struct saving *s, const char *name, int nameless, struct dink_err *err)
{
	if (s->n_files == FILES_MAX)
		return dink_err_set(err, DINK_E_BUG, 0, "too many files for a checkpoint");
	struct image_file *f = &s->files[s->n_files++];
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->fd = nameless;
	return 0;
}

static int make_file(struct saving *s, const char *name, int *ret_fd, struct dink_err *err)
{
	int own = -1;

	*ret_fd = openat(s->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (*ret_fd >= 0)
		own = fcntl(*ret_fd, F_DUPFD_CLOEXEC, 3);
	else if (errno == EOPNOTSUPP || errno == EISDIR)
		*ret_fd = openat(s->dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (*ret_fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make %s/%s", s->image, name);
	return add_file(s, name, own, err);
}

static int name_files(struct saving *s, struct dink_err *err)
{
	for (int i = 0; i < s->n_files; i++) {
		struct image_file *f = &s->files[i];
		_cleanup_free_ char *path = xasprintf("/proc/self/fd/%d", f->fd);

		if (f->fd >= 0 && linkat(AT_FDCWD, path, s->dir, f->name, AT_SYMLINK_FOLLOW) < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "make %s/%s", s->image,
					    f->name);
		if (f->fd >= 0)
			close(TAKE_FD(f->fd));
	}
	return 0;
}

static int open_image(struct saving *s, struct dink_err *err)
{
	bool there = dink_exists(s->image);
	int r = dink_mkdir_p(s->image, 0700, err);

	if (r < 0)
		return r;
	s->dir = open(s->image, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "%s", s->image);
	s->own_folder = !there;
	if (faccessat(s->dir, DINK_MANIFEST_NAME, F_OK, 0) == 0) {
		dink_err_set(err, DINK_E_BUSY, EEXIST, "there is a checkpoint in %s already",
			     s->image);
		return dink_err_hint(err, "name another folder with --image-path");
	}
	return 0;
}

/* The VM's end leaves its memory's file without a name: it is given one, where that is possible. */
static int save_ram(struct saving *s, int number, struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/fd/%d", (int)s->state->monitor.pid, number);
	_cleanup_close_ int from = -1, to = -1;

	if (!s->leave_running && linkat(AT_FDCWD, path, s->dir, "ram", AT_SYMLINK_FOLLOW) == 0)
		return add_file(s, "ram", -1, err);
	from = open(path, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open the guest's memory");
	int r = make_file(s, "ram", &to, err);
	return r < 0 ? r : dink_clone_fd(from, to, "the guest's memory", NULL, err);
}

static int save_disks(struct saving *s, struct json_object *disks, struct dink_err *err)
{
	for (size_t i = 0; i < json_object_array_length(disks); i++) {
		struct json_object *d = json_object_array_get_idx(disks, i);
		const char *file = dink_json_str_or(d, "file", NULL);
		const char *source = dink_json_str_or(d, "source", "");
		_cleanup_close_ int from = -1, to = -1;

		if (!file)
			continue;
		from = open(source, O_RDONLY | O_CLOEXEC);
		if (from < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "open the disk %s", source);
		int r = make_file(s, file, &to, err);
		if (r == 0)
			r = dink_clone_fd(from, to, source, NULL, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The VM stands still. */
static int save_files(struct saving *s, struct json_object *answer, struct dink_err *err)
{
	_cleanup_json_ struct json_object *manifest = NULL, *checked = NULL;
	int r = dink_manifest_make(answer, s->kernel, &manifest, err);

	if (r == 0)
		r = save_ram(s, (int)dink_json_int_or(answer, "ram_fd", -1), err);
	if (r == 0)
		r = save_disks(s, dink_json_get(manifest, "disks"), err);
	if (r == 0)
		r = name_files(s, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *text = dink_json_text(manifest);
	/* one that no restore would take is worth nothing */
	r = dink_manifest_parse(text, strlen(text), &checked, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *path = xasprintf("%s/" DINK_MANIFEST_NAME, s->image);
	r = dink_file_write(path, text, strlen(text), 0600, err);
	return r < 0 ? r : add_file(s, DINK_MANIFEST_NAME, -1, err);
}

/* Only what was made here: the folder may be anybody's. */
static void remove_files(const struct saving *s)
{
	for (int i = 0; i < s->n_files; i++) {
		if (s->files[i].fd < 0)
			unlinkat(s->dir, s->files[i].name, 0);
	}
	if (s->own_folder)
		(void)!rmdir(s->image);
}

static int ask(const struct saving *s, const char *op, bool keep, int fd, struct json_object **ret,
	       struct dink_err *err)
{
	_cleanup_json_ struct json_object *req = dink_json_new(), *answer = NULL;

	dink_json_set_str(req, "op", op);
	dink_json_set_bool(req, "keep", keep);
	int r = dink_vm_send(s->client, req, &fd, fd >= 0 ? 1 : 0, err);
	if (r == 0)
		r = dink_vm_recv(s->client, SAVE_MS, &answer, err);
	if (r < 0)
		return r;
	if (!dink_json_bool_or(answer, "ok", false))
		return dink_err_set(err, DINK_E_CHILD, 0, "%s",
				    dink_json_str_or(answer, "error", "the monitor refused"));
	*ret = TAKE_PTR(answer);
	return 0;
}

static int save_all(struct saving *s, struct dink_err *err)
{
	_cleanup_json_ struct json_object *answer = NULL, *last = NULL;
	_cleanup_close_ int state = -1;
	int r = make_file(s, "state", &state, err);

	if (r == 0)
		r = ask(s, "checkpoint", false, state, &answer, err);
	if (r == 0)
		r = save_files(s, answer, err);
	/* where this failed, the monitor sees us hang up and lets the VM go on */
	if (r == 0)
		r = ask(s, "checkpointed", s->leave_running, -1, &last, err);
	return r;
}

static int wait_end(const struct saving *s, int pidfd, struct dink_err *err)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int n;

	if (pidfd < 0 || s->leave_running)
		return 0;
	do
		n = poll(&p, 1, END_MS);
	while (n < 0 && errno == EINTR);
	return n > 0 ? 0
		     : dink_err_set(err, DINK_E_BUSY, ETIMEDOUT,
				    "saved, but the VM of %s does not end", s->state->id);
}

static int checkpoint(struct saving *s, struct dink_err *err)
{
	_cleanup_close_ int pidfd = -1;
	int r = dink_vmstate_connect(s->state, &s->client, err);

	if (r == 0)
		r = open_image(s, err);
	if (r == 0 && !s->kernel[0])
		r = dink_sha256_of(dink_json_str_or(s->state->doc, "kernel", ""), s->kernel, err);
	if (r == 0) {
		pidfd = (int)syscall(SYS_pidfd_open, s->state->monitor.pid, 0);
		r = save_all(s, err);
	}
	if (r < 0) {
		if (s->dir >= 0 && !dink_has_room(s->image, STATE_BYTES))
			dink_err_hint(err, "make room for the image: %s is on a full file system",
				      s->image);
		remove_files(s);
		return r;
	}
	return wait_end(s, pidfd, err);
}

int vm_save(struct dink_vmstate *state, const char *image, bool leave_running,
	    const char *kernel_key, struct dink_err *err)
{
	struct saving s = {.state = state, .image = image, .dir = -1, .client = -1};

	s.leave_running = leave_running;
	if (kernel_key)
		snprintf(s.kernel, sizeof(s.kernel), "%s", kernel_key);
	int r = checkpoint(&s, err);
	for (int i = 0; i < s.n_files; i++) {
		if (s.files[i].fd >= 0)
			close(s.files[i].fd);
	}
	if (s.dir >= 0)
		close(s.dir);
	if (s.client >= 0)
		close(s.client);
	return r;
}

int vm_checkpoint(const struct vm_globals *g, char **argv, struct dink_err *err)
{
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *state = NULL;
	const char *image = "checkpoint", *id, *work;
	bool leave_running = false, has;
	const struct vm_opt opts[] = {
		{0, "image-path", VM_OPT_STRING, &image, NULL},
		{0, "leave-running", VM_OPT_FLAG, &leave_running, NULL},
		/* CRIU's own notes; we have none */
		{0, "work-path", VM_OPT_STRING, &work, NULL},
		/* a VM keeps its connections, locks and terminals in any case */
		{0, "tcp-established", VM_OPT_FLAG, &has, NULL},
		{0, "ext-unix-sk", VM_OPT_FLAG, &has, NULL},
		{0, "shell-job", VM_OPT_FLAG, &has, NULL},
		{0, "file-locks", VM_OPT_FLAG, &has, NULL},
		{0, "manage-cgroups-mode", VM_OPT_STRING, &work, NULL},
		{0, "empty-ns", VM_OPT_STRING, &work, NULL},
		{},
	};
	int r = vm_parse_id("checkpoint", argv, opts, &id, err);

	if (r == 0)
		r = dink_vmstate_load(g->root, id, &state, err);
	return r < 0 ? r : vm_save(state, image, leave_running, NULL, err);
}
