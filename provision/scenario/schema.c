/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scenario language: every struct, every field, once. To add a field: a member in scenario.h,
 * a line here, a sentence of doc; the parser, `dink schema`, the reference in dink-scenario(5) and
 * writing back follow. What depends on more than one field is in check.c.
 */
#include "provision/scenario/table.h"

#include "kernel-configs/kernel.h"

static const char *const runtime_names[] = {"runc", "crun", "runsc", "dink-vm", "kata", NULL};
static const char *const daemon_names[] = {"none", "docker", "podman", NULL};
static const char *const init_names[] = {"default", "none", "tini", "systemd", "supervisord", NULL};
static const char *const swarm_names[] = {"none", "manager", "worker", NULL};
static const char *const gpu_names[] = {"none", "nvidia", NULL};
static const char *const filesystem_names[] = {"btrfs", "ext4", NULL};
static const char *const compression_names[] = {"none", "zstd", "lzo", "zlib", NULL};

_Static_assert(ARRAY_SIZE(runtime_names) == DINK_RUNTIME_MAX_ + 1, "a name for each runtime");
_Static_assert(ARRAY_SIZE(daemon_names) == DINK_DAEMON_MAX_ + 1, "a name for each daemon");
_Static_assert(ARRAY_SIZE(init_names) == DINK_INIT_MAX_ + 1, "a name for each init");
_Static_assert(ARRAY_SIZE(swarm_names) == DINK_SWARM_MAX_ + 1, "a name for each kind of node");
_Static_assert(ARRAY_SIZE(gpu_names) == DINK_GPU_MAX_ + 1, "a name for each kind of GPU");
_Static_assert(ARRAY_SIZE(filesystem_names) == DINK_FS_MAX_ + 1, "a name for each filesystem");
_Static_assert(ARRAY_SIZE(compression_names) == DINK_COMPRESS_MAX_ + 1, "a name for each");

const char *dink_runtime_name(enum dink_runtime r)
{
	return runtime_names[r];
}

const char *dink_daemon_name(enum dink_daemon d)
{
	return daemon_names[d];
}

const char *const *dink_layer_need_names(void)
{
	static const char *const names[] = {
		"rootless-daemon", "userns-child", "nested-proc",     "user-net",    "fuse-store",
		"runsc-child",	   "systemd-init", "supervisor-init", "trace-child", NULL,
	};

	return names;
}

const char *dink_init_name(enum dink_init i)
{
	return init_names[i];
}

const char *dink_swarm_name(enum dink_swarm s)
{
	return swarm_names[s];
}

const char *dink_filesystem_name(enum dink_filesystem f)
{
	return filesystem_names[f];
}

const char *dink_compression_name(enum dink_compression c)
{
	return compression_names[c];
}

#define MIB (1ULL << 20)
#define TIB (1ULL << 40)

/* where a member is, and its mark beside it */
#define AT(type, member)   .offset = offsetof(struct type, member)
#define MARK(type, member) .mark_offset = offsetof(struct type, member)
#define MANY(type, member) AT(type, member), .count_offset = offsetof(struct type, n_##member)

static const struct dink_field kernel_fields[] = {
	{
		.key = "source",
		.kind = DINK_FIELD_PATH,
		AT(dink_kernel_spec, source),
		MARK(dink_kernel_spec, source_mark),
		.rule = &dink_rule_kernel_source,
		.fallback = "debian",
		.example = "source: debian",
		.doc = "Where the kernel's source is from: debian (the newest linux-source package "
		       "of the host's suite), or the path of a tarball.",
	},
	{
		.key = "sha256",
		.kind = DINK_FIELD_TEXT,
		AT(dink_kernel_spec, sha256),
		MARK(dink_kernel_spec, sha256_mark),
		.rule = &dink_rule_sha256,
		.with = "source",
		.doc = "The tarball's digest; needed with a tarball, not allowed with debian.",
	},
	{
		.key = "features",
		.kind = DINK_FIELD_WORDS,
		AT(dink_kernel_spec, features),
		.words = dink_kernel_features,
		.max = UINT32_MAX,
		.example = "features: [containers, btrfs]",
		.doc = "What the kernel must be able to do, beyond what the layers that use it "
		       "imply.",
	},
	{},
};

const struct dink_table dink_table_kernel = {
	.noun = "kernel",
	.plural = "kernels",
	.doc = "A guest kernel, built once from what is asked and kept in the cache.",
	.size = sizeof(struct dink_kernel_spec),
	.fields = kernel_fields,
	.name_rule = &dink_rule_name,
	.name_offset = offsetof(struct dink_kernel_spec, name),
	.mark_offset = offsetof(struct dink_kernel_spec, mark),
	.refused_offset = offsetof(struct dink_kernel_spec, refused),
};

static const struct dink_field disk_fields[] = {
	{
		.key = "size",
		.kind = DINK_FIELD_SIZE,
		.required = true,
		AT(dink_disk_spec, size_bytes),
		MARK(dink_disk_spec, size_mark),
		.min = 16 * MIB,
		.max = 16 * TIB,
		.example = "size: 10GiB",
		.doc = "How much the disk can hold. The file is sparse: it takes only what is "
		       "written. At least 128 MiB with btrfs.",
	},
	{
		.key = "filesystem",
		.kind = DINK_FIELD_CHOICE,
		AT(dink_disk_spec, filesystem),
		MARK(dink_disk_spec, filesystem_mark),
		.choices = filesystem_names,
		.fallback = "btrfs",
		.example = "filesystem: btrfs",
		.doc = "The filesystem made on it. A daemon whose storage is on the disk uses the "
		       "driver that fits: btrfs on btrfs, overlay2 on ext4.",
	},
	{
		.key = "compression",
		.kind = DINK_FIELD_CHOICE,
		AT(dink_disk_spec, compression),
		MARK(dink_disk_spec, compression_mark),
		.choices = compression_names,
		.fallback = "none",
		.example = "compression: zstd",
		.doc = "Transparent compression; only btrfs has it.",
	},
	{
		.key = "label",
		.kind = DINK_FIELD_TEXT,
		AT(dink_disk_spec, label),
		MARK(dink_disk_spec, label_mark),
		.rule = &dink_rule_label,
		.fallback = "the disk's name",
		.example = "label: store",
		.doc = "The filesystem's label; at most 16 bytes on ext4.",
	},
	{},
};

const struct dink_table dink_table_disk = {
	.noun = "disk",
	.plural = "disks",
	.doc = "A disk image file that layers mount; what is in it survives dink down.",
	.size = sizeof(struct dink_disk_spec),
	.fields = disk_fields,
	.name_rule = &dink_rule_name,
	.name_offset = offsetof(struct dink_disk_spec, name),
	.mark_offset = offsetof(struct dink_disk_spec, mark),
	.refused_offset = offsetof(struct dink_disk_spec, refused),
};

static const struct dink_field image_fields[] = {
	{
		.key = "recipe",
		.kind = DINK_FIELD_PATH,
		AT(dink_image_spec, recipe),
		.rule = &dink_rule_source,
		.example = "recipe: ./images/web",
		.doc = "The folder of a recipe to build it from.",
	},
	{
		.key = "archive",
		.kind = DINK_FIELD_PATH,
		AT(dink_image_spec, archive),
		.rule = &dink_rule_source,
		.example = "archive: ./web.tar",
		.doc = "A file made by docker save, or an OCI archive.",
	},
	{
		.key = "registry",
		.kind = DINK_FIELD_TEXT,
		AT(dink_image_spec, registry),
		.rule = &dink_rule_registry,
		.example = "registry: docker.io/library/alpine:3.20",
		.doc = "A reference in a registry, pulled by the host's engine.",
	},
	{},
};

const struct dink_table dink_table_image = {
	.noun = "image",
	.plural = "images",
	.doc = "What layers start from: exactly one of the keys below. Names that are not listed "
	       "are recipes that ship with dink, such as debian and docker-host.",
	.size = sizeof(struct dink_image_spec),
	.fields = image_fields,
	.is_exactly_one = true,
	.name_rule = &dink_rule_name,
	.name_offset = offsetof(struct dink_image_spec, name),
	.mark_offset = offsetof(struct dink_image_spec, mark),
	.refused_offset = offsetof(struct dink_image_spec, refused),
};

static const struct dink_field file_fields[] = {
	{
		.key = "source",
		.kind = DINK_FIELD_PATH,
		.required = true,
		AT(dink_file_spec, source),
		MARK(dink_file_spec, source_mark),
		.rule = &dink_rule_file_source,
		.example = "source: ./auth.json",
		.doc = "Where it is from: a file on the machine where dink runs, or a URL, fetched "
		       "once "
		       "and kept in the cache.",
	},
	{
		.key = "sha256",
		.kind = DINK_FIELD_TEXT,
		AT(dink_file_spec, sha256),
		.rule = &dink_rule_sha256,
		.with = "source",
		.doc = "Its digest, without which nothing begins to run. A URL needs one.",
	},
	{
		.key = "executable",
		.kind = DINK_FIELD_BOOL,
		AT(dink_file_spec, executable),
		.fallback = "false",
		.example = "executable: true",
		.doc = "It is a program.",
	},
	{},
};

const struct dink_table dink_table_file = {
	.noun = "file",
	.plural = "files",
	.doc = "A file that is handed to layers as it is: credentials, a certificate, a program. "
	       "Layers "
	       "have a copy, read-only; one without sha256 is in the run folder (memory, on most "
	       "machines) and goes with dink down.",
	.size = sizeof(struct dink_file_spec),
	.fields = file_fields,
	.name_rule = &dink_rule_name,
	.name_offset = offsetof(struct dink_file_spec, name),
	.mark_offset = offsetof(struct dink_file_spec, mark),
	.refused_offset = offsetof(struct dink_file_spec, refused),
};

static const struct dink_field layer_disk_fields[] = {
	{
		.key = "target",
		.kind = DINK_FIELD_TEXT,
		.required = true,
		AT(dink_layer_disk, target),
		.rule = &dink_rule_target,
		.example = "target: /var/lib/docker",
		.doc = "Where in the layer the disk is mounted.",
	},
	{
		.key = "read_only",
		.kind = DINK_FIELD_BOOL,
		AT(dink_layer_disk, read_only),
		.fallback = "false",
		.example = "read_only: true",
		.doc = "Mount it read-only. A disk that one layer writes has no other user; "
		       "read-only it may have many.",
	},
	{
		.key = "clone",
		.kind = DINK_FIELD_BOOL,
		AT(dink_layer_disk, clone),
		.fallback = "false",
		.example = "clone: true",
		.doc = "Mount a clone of it, one for each copy of the layer, made when the layer "
		       "first comes up. A virtual machine that writes the disk comes up before, "
		       "with the images of the layers inside.",
	},
	{
		.key = "image_store",
		.kind = DINK_FIELD_BOOL,
		AT(dink_layer_disk, image_store),
		.fallback = "false",
		.example = "image_store: true",
		.doc = "The disk is one that a layer with 'daemon: podman' had at "
		       "/var/lib/containers. Its images are there for this layer's podman, too, "
		       "and are not copied. Needs read_only: true.",
	},
	{},
};

const struct dink_table dink_table_layer_disk = {
	.noun = "disk",
	.plural = "disks",
	.doc = "A disk of the scenario in a layer.",
	.size = sizeof(struct dink_layer_disk),
	.fields = layer_disk_fields,
	.name_rule = &dink_rule_name,
	.name_offset = offsetof(struct dink_layer_disk, disk),
	.mark_offset = offsetof(struct dink_layer_disk, mark),
	.read_short = dink_layer_disk_read,
	.short_pattern = dink_target_pattern,
	.short_example = "disks: {store: /var/lib/docker}",
	.short_doc = "The target alone can be given in place of the keys.",
};

static const struct dink_field layer_file_fields[] = {
	{},
};

const struct dink_table dink_table_layer_file = {
	.noun = "file",
	.plural = "files",
	.doc = "A file of the scenario in a layer, read-only.",
	.size = sizeof(struct dink_layer_file),
	.fields = layer_file_fields,
	.name_rule = &dink_rule_name,
	.name_offset = offsetof(struct dink_layer_file, file),
	.mark_offset = offsetof(struct dink_layer_file, mark),
	.read_short = dink_layer_file_read,
	.write_short = dink_layer_file_write,
	.clear = dink_layer_file_clear,
	.short_pattern = dink_target_pattern,
	.short_example = "files: {auth: /root/.docker/config.json}",
	.short_doc = "Its path there is given beside its name.",
};

static const struct dink_field mount_fields[] = {
	{
		.key = "source",
		.kind = DINK_FIELD_PATH,
		.required = true,
		AT(dink_layer_mount, source),
		.rule = &dink_rule_source,
		.example = "source: ./src",
		.doc = "A file or folder on the machine where dink runs.",
	},
	{
		.key = "target",
		.kind = DINK_FIELD_TEXT,
		.required = true,
		AT(dink_layer_mount, target),
		.rule = &dink_rule_target,
		.example = "target: /src",
		.doc = "Where in the layer it appears.",
	},
	{
		.key = "read_only",
		.kind = DINK_FIELD_BOOL,
		AT(dink_layer_mount, read_only),
		.fallback = "false",
		.example = "read_only: true",
		.doc = "The layer cannot write to it.",
	},
	{},
};

const struct dink_table dink_table_mount = {
	.noun = "mount",
	.plural = "mounts",
	.doc = "A file or folder of the host in a layer; only for layers on the host itself.",
	.size = sizeof(struct dink_layer_mount),
	.fields = mount_fields,
	.mark_offset = offsetof(struct dink_layer_mount, mark),
	.read_short = dink_mount_read,
	.short_pattern = dink_mount_pattern,
	.short_example = "mounts: [\"./src:/src:ro\"]",
	.short_doc = "SOURCE:TARGET or SOURCE:TARGET:ro can be given in place of the keys.",
};

static const struct dink_field port_fields[] = {
	{},
};

const struct dink_table dink_table_port = {
	.noun = "port",
	.plural = "ports",
	.doc = "A port of the layer, published by its parent's engine.",
	.size = sizeof(struct dink_layer_port),
	.fields = port_fields,
	.mark_offset = offsetof(struct dink_layer_port, mark),
	.read_short = dink_port_read,
	.write_short = dink_port_write,
	.clear = dink_port_clear,
	.short_pattern = dink_port_pattern,
	.short_example = "ports: [\"8080:80\", \"127.0.0.1:5353:53/udp\"]",
	.short_doc = "OUTER:INNER or ADDRESS:OUTER:INNER, with /udp behind it for UDP.",
};

static void start_layer(void *obj, void *outer, const struct dink_table *outer_table)
{
	struct dink_layer *layer = obj;

	layer->count = 1;
	layer->parent = outer_table == &dink_table_layer ? outer : NULL;
}

static const struct dink_field layer_fields[] = {
	{
		.key = "image",
		.kind = DINK_FIELD_TEXT,
		.required = true,
		AT(dink_layer, image),
		MARK(dink_layer, image_mark),
		.rule = &dink_rule_image,
		.example = "image: debian",
		.doc = "What the layer starts from: a name in images, or a recipe that ships with "
		       "dink.",
	},
	{
		.key = "runtime",
		.kind = DINK_FIELD_CHOICE,
		AT(dink_layer, runtime),
		MARK(dink_layer, runtime_mark),
		.choices = runtime_names,
		.fallback = "runc",
		.example = "runtime: kata",
		.doc = "What the layer's walls are: namespaces (runc, crun), a kernel in user "
		       "space "
		       "(runsc), a virtual machine (dink-vm, or kata: the official one where it "
		       "can be used, else dink-vm).",
	},
	{
		.key = "kernel",
		.kind = DINK_FIELD_TEXT,
		AT(dink_layer, kernel),
		MARK(dink_layer, kernel_mark),
		.rule = &dink_rule_name,
		.fallback = "one with what the layer needs",
		.example = "kernel: guest",
		.doc = "A name in kernels; only where the runtime is a virtual machine.",
	},
	{
		.key = "cpus",
		.kind = DINK_FIELD_NUMBER,
		AT(dink_layer, cpus),
		.min = 1,
		.max = 1024,
		.fallback = "no limit; 1 in a virtual machine",
		.example = "cpus: 2",
		.doc = "How many processors.",
	},
	{
		.key = "memory",
		.kind = DINK_FIELD_SIZE,
		AT(dink_layer, memory_bytes),
		MARK(dink_layer, memory_mark),
		.min = 8 * MIB,
		.max = 16 * TIB,
		.fallback = "no limit; 512 MiB in a virtual machine",
		.example = "memory: 2GiB",
		.doc = "How much memory; at least 128 MiB in a virtual machine, 256 MiB if it runs "
		       "a daemon.",
	},
	{
		.key = "disks",
		.kind = DINK_FIELD_MAP,
		MANY(dink_layer, disks),
		.table = &dink_table_layer_disk,
		.example = "disks: {store: /var/lib/docker}",
		.doc = "Disks of the scenario by name, and where they are mounted.",
	},
	{
		.key = "files",
		.kind = DINK_FIELD_MAP,
		MANY(dink_layer, files),
		.table = &dink_table_layer_file,
		.example = "files: {auth: /root/.docker/config.json}",
		.doc = "Files of the scenario by name, and where they are in the layer, however "
		       "deep it "
		       "is.",
	},
	{
		.key = "mounts",
		.kind = DINK_FIELD_LIST,
		MANY(dink_layer, mounts),
		.table = &dink_table_mount,
		.example = "mounts: [\"./src:/src:ro\"]",
		.doc = "Files and folders of the host in the layer.",
	},
	{
		.key = "ports",
		.kind = DINK_FIELD_LIST,
		MANY(dink_layer, ports),
		.table = &dink_table_port,
		.example = "ports: [\"8080:80\"]",
		.doc = "Ports of the layer that its parent publishes.",
	},
	{
		.key = "daemon",
		.kind = DINK_FIELD_CHOICE,
		AT(dink_layer, daemon),
		MARK(dink_layer, daemon_mark),
		.choices = daemon_names,
		.fallback = "none",
		.example = "daemon: docker",
		.doc = "The engine that the layer runs; a layer with layers needs one.",
	},
	{
		.key = "swarm",
		.kind = DINK_FIELD_CHOICE,
		AT(dink_layer, swarm),
		MARK(dink_layer, swarm_mark),
		.choices = swarm_names,
		.with = "daemon",
		.fallback = "none",
		.example = "swarm: manager",
		.doc = "What the layer's dockerd is in the Docker Swarm that all such layers of "
		       "one engine make, each a virtual machine. It outlives the loss of less "
		       "than half of its managers.",
	},
	{
		.key = "gpu",
		.kind = DINK_FIELD_CHOICE,
		AT(dink_layer, gpu),
		MARK(dink_layer, gpu_mark),
		.choices = gpu_names,
		.fallback = "none",
		.example = "gpu: nvidia",
		.doc = "All GPUs of this kind, handed in by the engine and their vendor's runtime; "
		       "only in layers on the host that are no virtual machines.",
	},
	{
		.key = "rootless",
		.kind = DINK_FIELD_TEXT,
		AT(dink_layer, rootless),
		MARK(dink_layer, rootless_mark),
		.rule = &dink_rule_user,
		.with = "daemon",
		.example = "rootless: user",
		.doc = "The user of the image as whom the whole layer runs: its daemon has no root "
		       "and makes user namespaces. The recipe podman-host has one called user.",
	},
	{
		.key = "init",
		.kind = DINK_FIELD_CHOICE,
		AT(dink_layer, init),
		MARK(dink_layer, init_mark),
		.choices = init_names,
		.fallback = "tini where there is a daemon, else none",
		.example = "init: tini",
		.doc = "What PID 1 is, before the daemon or the command. systemd and supervisord "
		       "start a daemon as a service, from the images docker-host-systemd and "
		       "docker-host-supervisord or ones like them.",
	},
	{
		.key = "command",
		.kind = DINK_FIELD_WORDS,
		AT(dink_layer, command),
		MARK(dink_layer, command_mark),
		.min = 1,
		.max = UINT32_MAX,
		.fallback = "the image's own",
		.example = "command: [sleep, infinity]",
		.doc = "Program and arguments, without a shell. Not in a layer with a daemon, "
		       "which "
		       "runs the daemon.",
	},
	{
		.key = "env",
		.kind = DINK_FIELD_ENV,
		AT(dink_layer, env),
		.example = "env: {LANG: C.UTF-8}",
		.doc = "Variables of the environment, as a map or as a list of NAME=VALUE.",
	},
	{
		.key = "needs",
		.kind = DINK_FIELD_WORDS,
		AT(dink_layer, needs),
		.words = dink_layer_need_names,
		.max = UINT32_MAX,
		.example = "needs: [userns-child, nested-proc]",
		.doc = "What the layer's programs do that dink cannot see, and that takes "
		       "privileges; `dink privileges needs` has the table.",
	},
	{
		.key = "reach",
		.kind = DINK_FIELD_WORDS,
		AT(dink_layer, reach),
		MARK(dink_layer, reach_mark),
		.max = UINT32_MAX,
		.example = "reach: [registry]",
		.doc = "Layers that this one calls by name: written above it, beside it or beside "
		       "a "
		       "layer around it. They are started before it, and their names are in its "
		       "/etc/hosts.",
	},
	{
		.key = "tty",
		.kind = DINK_FIELD_BOOL,
		AT(dink_layer, tty),
		.fallback = "false",
		.example = "tty: true",
		.doc = "Give the command a terminal and keep its input open.",
	},
	{
		.key = "hostname",
		.kind = DINK_FIELD_TEXT,
		AT(dink_layer, hostname),
		MARK(dink_layer, hostname_mark),
		.rule = &dink_rule_hostname,
		.fallback = "the layer's name",
		.example = "hostname: node1",
		.doc = "The layer's host name.",
	},
	{
		.key = "count",
		.kind = DINK_FIELD_NUMBER,
		AT(dink_layer, count),
		MARK(dink_layer, count_mark),
		.min = 1,
		.max = 1000,
		.fallback = "1",
		.example = "count: 3",
		.doc = "How many of this layer, each with all that is in it; more than one are "
		       "called NAME-1, NAME-2 and so on.",
	},
	{
		.key = "layers",
		.kind = DINK_FIELD_MAP,
		.offset = offsetof(struct dink_layer, children),
		.count_offset = offsetof(struct dink_layer, n_children),
		MARK(dink_layer, children_mark),
		.table = &dink_table_layer,
		.with = "daemon",
		.example = "layers: {inner: {image: debian}}",
		.doc = "The layers in this layer, at most eight deep.",
	},
	{},
};

const struct dink_table dink_table_layer = {
	.noun = "layer",
	.plural = "layers",
	.doc = "A container of the layer above it. Its address is its path: "
	       "SCENARIO/LAYER/LAYER.",
	.size = sizeof(struct dink_layer),
	.fields = layer_fields,
	.is_pointer = true,
	.name_rule = &dink_rule_name,
	.name_offset = offsetof(struct dink_layer, name),
	.mark_offset = offsetof(struct dink_layer, mark),
	.refused_offset = offsetof(struct dink_layer, refused),
	.start = start_layer,
};

static const struct dink_field scenario_fields[] = {
	{
		.key = "dink",
		.kind = DINK_FIELD_NUMBER,
		.required = true,
		AT(dink_scenario, version),
		.min = 1,
		.max = 1,
		.example = "dink: 1",
		.doc = "The version of this language.",
	},
	{
		.key = "name",
		.kind = DINK_FIELD_TEXT,
		.required = true,
		AT(dink_scenario, name),
		MARK(dink_scenario, name_mark),
		.rule = &dink_rule_name,
		.example = "name: docker-in-kata",
		.doc = "The scenario's name, by which every command knows it once it is up.",
	},
	{
		.key = "kernels",
		.kind = DINK_FIELD_MAP,
		MANY(dink_scenario, kernels),
		.table = &dink_table_kernel,
		.example = "kernels: {guest: {source: debian}}",
		.doc = "Guest kernels by name.",
	},
	{
		.key = "disks",
		.kind = DINK_FIELD_MAP,
		MANY(dink_scenario, disks),
		.table = &dink_table_disk,
		.example = "disks: {store: {size: 10GiB}}",
		.doc = "Disk images by name.",
	},
	{
		.key = "images",
		.kind = DINK_FIELD_MAP,
		MANY(dink_scenario, images),
		.table = &dink_table_image,
		.example = "images: {web: {archive: ./web.tar}}",
		.doc = "Images by name, besides those that ship with dink.",
	},
	{
		.key = "files",
		.kind = DINK_FIELD_MAP,
		MANY(dink_scenario, files),
		.table = &dink_table_file,
		.example = "files: {auth: {source: ./auth.json}}",
		.doc = "Files by name that layers have read-only.",
	},
	{
		.key = "layers",
		.kind = DINK_FIELD_MAP,
		.required = true,
		MANY(dink_scenario, layers),
		.min = 1,
		.table = &dink_table_layer,
		.example = "layers: {box: {image: debian}}",
		.doc = "The layers on the host, by name.",
	},
	{},
};

const struct dink_table dink_table_scenario = {
	.noun = "scenario",
	.plural = "scenarios",
	.doc = "The whole file is one map.",
	.size = sizeof(struct dink_scenario),
	.fields = scenario_fields,
};
