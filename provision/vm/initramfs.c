/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's first file system: a newc cpio archive, written here because it needs device nodes
 * (which only root could make on disk) and because the same input must give the same bytes.
 */
#include "provision/vm/guest.h"

#include "provision/base/file.h"
#include "provision/base/mem.h"
#include "provision/base/proc.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { FILE_MAX = 64 << 20 };

struct cpio {
	struct dink_str out;
	uint32_t inode;
	struct dink_strv names; /* what is in it, once each */
};

static void pad_cpio(struct cpio *c)
{
	while (c->out.len % 4)
		dink_str_addc(&c->out, 0);
}

struct entry {
	const char *name; /* without a leading slash */
	uint32_t mode;
	uint32_t major, minor;
	const void *data;
	size_t len;
};

static void add_entry(struct cpio *c, const struct entry *e)
{
	dink_str_addf(&c->out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		      ++c->inode, e->mode, 0, 0, 1, 0, (unsigned)e->len, 0, 0, e->major, e->minor,
		      (unsigned)strlen(e->name) + 1, 0);
	dink_str_addn(&c->out, e->name, strlen(e->name) + 1);
	pad_cpio(c);
	if (e->len)
		dink_str_addn(&c->out, e->data, e->len);
	pad_cpio(c);
}

static void add_folder(struct cpio *c, const char *name)
{
	if (dink_strv_has(&c->names, name))
		return;
	dink_strv_add(&c->names, name);
	add_entry(c, &(struct entry){.name = name, .mode = S_IFDIR | 0755});
}

/* add_parents() - "lib/x86_64-linux-gnu" before "lib/x86_64-linux-gnu/libc.so.6" */
static void add_parents(struct cpio *c, const char *name)
{
	for (const char *at = strchr(name, '/'); at; at = strchr(at + 1, '/')) {
		_cleanup_free_ char *part = xstrndup(name, (size_t)(at - name));

		add_folder(c, part);
	}
}

static int add_file(struct cpio *c, const char *name, const char *from, struct dink_err *err)
{
	_cleanup_free_ char *data = NULL;
	size_t len;
	int r = dink_strv_has(&c->names, name) ? 0
					       : dink_file_read(from, FILE_MAX, &data, &len, err);

	if (r < 0 || !data)
		return r;
	dink_strv_add(&c->names, name);
	add_parents(c, name);
	add_entry(c,
		  &(struct entry){.name = name, .mode = S_IFREG | 0755, .data = data, .len = len});
	return 0;
}

static void add_nodes(struct cpio *c)
{
	static const char *const folders[] = {"dev", "proc", "sys",	"run",	  "tmp",
					      "etc", "usr",  "usr/bin", "newroot"};

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		add_folder(c, folders[i]);
	/* the kernel opens it as the agent's stdio before the agent can mount /dev */
	add_entry(c,
		  &(struct entry){
			  .name = "dev/console", .mode = S_IFCHR | 0600, .major = 5, .minor = 1});
	add_entry(c, &(struct entry){
			     .name = "dev/null", .mode = S_IFCHR | 0666, .major = 1, .minor = 3});
}

/* needs_linker() - has it a PT_INTERP? A static program has none, and no libraries either */
static bool needs_linker(const char *program)
{
	_cleanup_close_ int fd = open(program, O_RDONLY | O_CLOEXEC);
	Elf64_Ehdr head;
	Elf64_Phdr part;

	if (fd < 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
		return false;
	for (int i = 0; i < head.e_phnum; i++) {
		off_t at = (off_t)head.e_phoff + i * (off_t)sizeof(part);

		if (pread(fd, &part, sizeof(part), at) != sizeof(part))
			return false;
		if (part.p_type == PT_INTERP)
			return true;
	}
	return false;
}

/*
 * list_libraries() - what the dynamic linker would load for program, as it says itself:
 *	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f..)
 *	/lib64/ld-linux-x86-64.so.2 (0x00007f..)
 * With LD_WARN it also names, on stderr, each symbol and symbol version that none of them has.
 */
static int list_libraries(struct dink_cmd *cmd, const char *program, const char *guest_lib,
			  struct dink_err *err)
{
	int r;

	dink_cmd_argv(cmd, "/lib64/ld-linux-x86-64.so.2", NULL);
	if (guest_lib) {
		dink_strv_add(&cmd->argv, "--library-path");
		dink_strv_add(&cmd->argv, guest_lib);
	}
	dink_strv_add(&cmd->argv, "--list");
	dink_strv_add(&cmd->argv, program);
	dink_strv_add(&cmd->env, "LD_WARN=yes");
	dink_strv_add(&cmd->env, "LD_BIND_NOW=yes");
	r = dink_cmd_run(cmd, err);
	return r < 0 ? dink_err_push(err, "listing the libraries of %s", program) : 0;
}

/* add_library() - the stand-ins of guest_lib go where the dynamic linker looks for any library */
static int add_library(struct cpio *c, const char *path, const char *guest_lib,
		       struct dink_err *err)
{
	_cleanup_free_ char *name = NULL;

	if (!guest_lib || strncmp(path, guest_lib, strlen(guest_lib)) != 0)
		return add_file(c, path + 1, path, err);
	name = xasprintf("lib%s", strrchr(path, '/'));
	return add_file(c, name, path, err);
}

/*
 * add_libraries() - what program links; from guest_lib (NULL = none) where that has it, unless
 * the program wants more of it than it has: then all as the host has it
 */
static int add_libraries(struct cpio *c, const char *program, const char *guest_lib,
			 struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	char *line, *save = NULL;
	int r;

	if (!needs_linker(program))
		return 0;
	r = list_libraries(&cmd, program, guest_lib, err);
	if (!r && guest_lib && cmd.errtail && *cmd.errtail)
		return add_libraries(c, program, NULL, err);
	for (line = r < 0 ? NULL : strtok_r(cmd.output, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *path = strchr(line, '/'), *end;

		if (strstr(line, "not found"))
			return dink_err_set(err, DINK_E_HOST, ENOENT, "%s lacks a library: %s",
					    program, line);
		if (!path)
			continue; /* the vDSO */
		end = strstr(path, " (");
		if (end)
			*end = 0;
		r = add_library(c, path, guest_lib, err);
		if (r < 0)
			break;
	}
	return r;
}

static void clear_cpio(struct cpio *c)
{
	dink_str_clear(&c->out);
	dink_strv_clear(&c->names);
}

int dink_initramfs_write(const char *path, const struct dink_guest_programs *from,
			 struct dink_err *err)
{
	_cleanup_(clear_cpio) struct cpio c = {};
	int r;

	add_nodes(&c);
	r = add_file(&c, "init", from->agent, err);
	if (!r)
		r = add_file(&c, "usr/bin/crun", from->crun, err);
	if (!r)
		r = add_libraries(&c, from->agent, from->guest_lib, err);
	if (!r)
		r = add_libraries(&c, from->crun, from->guest_lib, err);
	if (!r) {
		add_entry(&c, &(struct entry){.name = "TRAILER!!!"});
		r = dink_file_write(path, c.out.s, c.out.len, 0644, err);
	}
	return r < 0 ? dink_err_push(err, "making the guest's initramfs %s", path) : 0;
}
