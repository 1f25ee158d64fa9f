/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scenario: YAML text -> a model in which every value remembers its place.
 *
 * Pure: no I/O but reading the one file. The tables in schema.c describe each field once; the
 * parser, `dink schema`, the reference in dink-scenario(5) and writing back are made from them.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"

#include <stdbool.h>
#include <stdint.h>

/* A place in the scenario file, from 1; line 0 = not written there (a default). */
struct dink_mark {
	uint32_t line, col, endcol;
};

enum {
	DINK_SCENARIO_BYTES_MAX = 1 << 20,
	DINK_SCENARIO_DEPTH_MAX = 32, /* of YAML nesting */
	DINK_SCENARIO_NODES_MAX = 200000,
	DINK_LAYER_DEPTH_MAX = 8, /* of layers in layers */
	DINK_LAYERS_MAX = 10000,  /* after count: */
	DINK_PROBLEMS_MAX = 20,
};

enum dink_runtime {
	DINK_RUNTIME_RUNC, /* default */
	DINK_RUNTIME_CRUN,
	DINK_RUNTIME_RUNSC,
	DINK_RUNTIME_DINK_VM,
	DINK_RUNTIME_KATA, /* resolved by the plan: official Kata where usable, else dink-vm */
	DINK_RUNTIME_MAX_,
};

enum dink_daemon {
	DINK_DAEMON_NONE, /* default */
	DINK_DAEMON_DOCKER,
	DINK_DAEMON_PODMAN,
	DINK_DAEMON_MAX_,
};

enum dink_init {
	DINK_INIT_DEFAULT, /* tini for a layer with a daemon, none otherwise */
	DINK_INIT_NONE,
	DINK_INIT_TINI,
	DINK_INIT_SYSTEMD,
	DINK_INIT_SUPERVISORD,
	DINK_INIT_MAX_,
};

/* What a layer's dockerd is in the swarm that the layers of one engine make. */
enum dink_swarm { DINK_SWARM_NONE, DINK_SWARM_MANAGER, DINK_SWARM_WORKER, DINK_SWARM_MAX_ };

enum dink_gpu { DINK_GPU_NONE, DINK_GPU_NVIDIA, DINK_GPU_MAX_ };

enum dink_filesystem { DINK_FS_BTRFS, DINK_FS_EXT4, DINK_FS_MAX_ };
enum dink_compression {
	DINK_COMPRESS_NONE,
	DINK_COMPRESS_ZSTD,
	DINK_COMPRESS_LZO,
	DINK_COMPRESS_ZLIB,
	DINK_COMPRESS_MAX_
};

const char *dink_runtime_name(enum dink_runtime r); /* "runc", "dink-vm", "kata", ... */
const char *dink_daemon_name(enum dink_daemon d);
const char *dink_init_name(enum dink_init i);
const char *dink_swarm_name(enum dink_swarm s);
const char *dink_filesystem_name(enum dink_filesystem f);
const char *dink_compression_name(enum dink_compression c);

/* kernels: NAME: {source: debian|PATH, sha256: HEX, features: [..]} */
struct dink_kernel_spec {
	char *name;
	struct dink_mark mark;
	char *source; /* "debian" or the path of a tarball */
	char *sha256; /* NULL unless source is a tarball */
	struct dink_mark source_mark, sha256_mark;
	struct dink_strv features; /* named by the user; the plan adds what layers imply */
	uint64_t refused;
};

/* disks: NAME: {size, filesystem, compression, label} */
struct dink_disk_spec {
	char *name;
	struct dink_mark mark;
	uint64_t size_bytes;
	struct dink_mark size_mark;
	enum dink_filesystem filesystem;
	struct dink_mark filesystem_mark;
	enum dink_compression compression;
	struct dink_mark compression_mark;
	char *label; /* NULL: the disk's name */
	struct dink_mark label_mark;
	uint64_t refused; /* the parser's own: a bit for each field whose value was wrong */
};

/* images: NAME: {recipe: PATH} | {archive: PATH} | {registry: REF}; unlisted names are recipes
 * that ship with dink (images/NAME). */
enum dink_image_kind { DINK_IMAGE_RECIPE, DINK_IMAGE_ARCHIVE, DINK_IMAGE_REGISTRY };
struct dink_image_spec {
	char *name;
	struct dink_mark mark;
	enum dink_image_kind kind;
	char *where; /* path or reference; of a relative path, see dink_scenario_parse() */
	/* as written, the parser's own: exactly one is set, and `where` borrows it */
	char *recipe, *archive, *registry;
	uint64_t refused;
};

/* files: NAME: {source: PATH|URL, sha256: HEX, executable} */
struct dink_file_spec {
	char *name;
	struct dink_mark mark;
	char *source; /* a path on the machine where dink runs, or an http:, https: or file: URL */
	char *sha256; /* NULL: a file of the user's that is not known beforehand */
	struct dink_mark source_mark;
	bool executable;
	uint64_t refused;
};

struct dink_layer_disk {
	char *disk;   /* name in disks: */
	char *target; /* absolute path in the layer */
	bool read_only;
	bool clone;	       /* of the disk, for each copy of the layer, is what is mounted */
	bool image_store;      /* it is another podman's store, and its images are this one's */
	struct dink_mark mark; /* of the disk's name */
};

/* files: {NAME: TARGET}: a file of the scenario, read-only, in a layer of any depth */
struct dink_layer_file {
	char *file;   /* name in files: */
	char *target; /* absolute path in the layer */
	struct dink_mark mark;
};

/* mounts: ["HOSTPATH:TARGET[:ro]"] or {source, target, read_only}; source is on the machine where
 * dink runs and only layers at depth 1 may name one. */
struct dink_layer_mount {
	char *source; /* never NULL */
	char *target;
	bool read_only;
	struct dink_mark mark;
};

/* ports: ["8080:80", "127.0.0.1:5353:53/udp"] published on the parent */
struct dink_layer_port {
	char *address; /* NULL = all */
	uint16_t outer, inner;
	bool udp;
	struct dink_mark mark;
};

struct dink_layer {
	char *name;
	struct dink_mark mark; /* of the name */
	char *image;
	struct dink_mark image_mark;
	enum dink_runtime runtime;
	struct dink_mark runtime_mark;
	char *kernel; /* name in kernels:, NULL = the default kernel for a VM layer */
	struct dink_mark kernel_mark;
	uint32_t cpus;	       /* 0 = not asked */
	uint64_t memory_bytes; /* 0 = not asked */
	struct dink_mark memory_mark;
	enum dink_daemon daemon;
	struct dink_mark daemon_mark;
	char *rootless; /* the image's user that its daemon runs as; NULL = root */
	struct dink_mark rootless_mark;
	enum dink_swarm swarm;
	struct dink_mark swarm_mark;
	enum dink_gpu gpu;
	struct dink_mark gpu_mark;
	enum dink_init init;
	struct dink_mark init_mark;
	struct dink_strv command; /* empty = the image's own; always so in a layer with a daemon */
	struct dink_mark command_mark;
	struct dink_strv env; /* NAME=VALUE */
	/* what its programs do that cannot be seen here: dink_layer_need_names() */
	struct dink_strv needs;
	/* layers beside this one, or beside one around it, that it calls by name */
	struct dink_strv reach;
	struct dink_mark reach_mark;
	bool tty;
	char *hostname; /* NULL = the layer's name */
	struct dink_mark hostname_mark;
	uint32_t count; /* 1 = default; N > 1 makes NAME-1 .. NAME-N in the plan */
	struct dink_mark count_mark;
	struct dink_layer_disk *disks;
	size_t n_disks;
	struct dink_layer_file *files;
	size_t n_files;
	struct dink_layer_mount *mounts;
	size_t n_mounts;
	struct dink_layer_port *ports;
	size_t n_ports;
	struct dink_layer *parent; /* NULL at depth 1 */
	struct dink_layer **children;
	size_t n_children;
	struct dink_mark children_mark; /* of the key layers: */
	uint64_t refused;
};

struct dink_scenario {
	char *file; /* as given, for messages */
	char *text; /* the whole source, for carets */
	char *name;
	struct dink_mark name_mark;
	uint32_t version; /* of the language: 1 */
	struct dink_kernel_spec *kernels;
	size_t n_kernels;
	struct dink_disk_spec *disks;
	size_t n_disks;
	struct dink_image_spec *images;
	size_t n_images;
	struct dink_file_spec *files;
	size_t n_files;
	struct dink_layer **layers;
	size_t n_layers;
	/* the same by name, sorted, for look-ups; the parser's own */
	const struct dink_kernel_spec **kernels_by_name;
	const struct dink_disk_spec **disks_by_name;
	const struct dink_image_spec **images_by_name;
	const struct dink_file_spec **files_by_name;
};

/* What is wrong with a scenario: up to DINK_PROBLEMS_MAX errors, sorted by place. */
struct dink_problems {
	struct dink_err list[DINK_PROBLEMS_MAX];
	size_t n;
	bool more; /* there were more than fit */
};
void dink_problems_clear(struct dink_problems *p);

/*
 * dink_scenario_parse() - text to a checked model
 * @file: for messages, and its folder is what relative paths in the scenario ("./x") start from
 *
 * dink_scenario_load() reads the file ("-" = standard input) and makes that folder absolute.
 * Return: 0 with *ret owned by the caller, or -EINVAL with at least one problem.
 */
int dink_scenario_parse(const char *file, const char *text, size_t len, struct dink_scenario **ret,
			struct dink_problems *problems) _must_check_;
int dink_scenario_load(const char *path, struct dink_scenario **ret,
		       struct dink_problems *problems) _must_check_;
void dink_scenario_free(struct dink_scenario *s);
DEFINE_CLEANUP_PTR(struct dink_scenario, dink_scenario_free);

/*
 * dink_scenario_check_images() - that each layer's image is listed under images: or one of shipped
 * Return: 0, or -EINVAL with at least one problem. For callers that know where dink's data is.
 */
int dink_scenario_check_images(const struct dink_scenario *s, const struct dink_strv *shipped,
			       struct dink_problems *problems) _must_check_;

/* dink_scenario_problem() - an error object at a mark, with source line; for plan-time checks */
int dink_scenario_problem(const struct dink_scenario *s, struct dink_mark mark,
			  struct dink_err *err, const char *fmt, ...) _printf_(4, 5);

/* dink_scenario_disk() etc. - look-ups by name; NULL if there is none */
const struct dink_disk_spec *dink_scenario_disk(const struct dink_scenario *s, const char *name);
const struct dink_kernel_spec *dink_scenario_kernel(const struct dink_scenario *s,
						    const char *name);
const struct dink_image_spec *dink_scenario_image(const struct dink_scenario *s, const char *name);
const struct dink_file_spec *dink_scenario_file(const struct dink_scenario *s, const char *name);

/*
 * dink_scenario_to_json() - the model again, every default written out; being YAML too, its text
 * parses back to the same model. Caller puts it.
 */
struct json_object *dink_scenario_to_json(const struct dink_scenario *s);

/* dink_scenario_reference() - every field of the language as mdoc(7) lists; caller frees */
char *dink_scenario_reference(void);

/* dink_scenario_schema() - JSON Schema (draft 2020-12) made from the tables */
struct json_object *dink_scenario_schema(void);
/* dink_layer_need_names() - what a layer's needs: may name, NULL-terminated */
const char *const *dink_layer_need_names(void);
/* dink_name_is_valid() - [a-z0-9][a-z0-9_.-]{0,62}: a scenario, layer, disk or kernel name */
bool dink_name_is_valid(const char *name);
