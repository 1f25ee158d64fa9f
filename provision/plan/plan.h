/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: scenario + facts -> exactly what will be done, in order. Pure and deterministic: no
 * I/O, no clock, no random. `dink plan` prints it; `dink up` executes it.
 */
#pragma once

#include "provision/host/facts.h"
#include "provision/privilege/privilege.h"
#include "provision/scenario/scenario.h"

/* Guests of further kernels in a layer: DINK_GUESTS_IN_LAYER/KERNEL; see guest.h for the first. */
#define DINK_GUESTS_IN_LAYER "/usr/lib/dink/guests"

/* How the host's own engine is had. */
enum dink_engine_choice {
	DINK_HOST_ENGINE_FOUND,		 /* a reachable socket */
	DINK_HOST_ENGINE_PRIVATE,	 /* dink starts its own dockerd (root) */
	DINK_HOST_ENGINE_PRIVATE_PODMAN, /* ... or podman service (not root) */
};

/* A disk image file of this instance: STATE/instances/NAME/disks/DISK.img */
struct dink_plan_disk {
	char *name;
	char *file;			   /* relative to the instance's folder */
	const struct dink_disk_spec *spec; /* the scenario's, or `own` */
	struct dink_disk_spec *own;	   /* derived: a VM layer's daemon needs a real disk */
	bool scratch; /* derived disks go with `down`; the scenario's are kept */
	int clone_of; /* index of the disk that it is made from; -1 = made empty */
};

/* A kernel to be had from the cache or built: the spec, and features derived and named. */
struct dink_plan_kernel {
	char *name;
	char *source;
	char *sha256;
	struct dink_strv features; /* sorted, unique */
	struct dink_strv
		feature_reasons; /* same order: "containers: layer proxy/kata runs docker" */
};

/*
 * The plan does no I/O: a recipe that ships with dink is named by its place below dink's data
 * folder ("images/NAME", shipped = true) and found, or missed, when the plan is carried out.
 */
struct dink_plan_image {
	char *name;
	enum dink_image_kind kind;
	char *where; /* shipped: relative to dink's data; else a path or a registry reference */
	bool shipped;
};

/* One disk of one layer, the scenario's own and derived ones. */
struct dink_plan_mount {
	int disk; /* index in disks */
	char *target;
	bool read_only;
	bool image_store; /* another podman's */
};

struct dink_plan_layer {
	char *name;	 /* with the count's suffix */
	char *path;	 /* "docker-in-kata/proxy/kata" */
	char *container; /* name in the parent's engine: "docker-in-kata.proxy.kata" */
	const struct dink_layer *spec;
	int parent;		   /* index in layers, -1 = host */
	int depth;		   /* 1 = on the host */
	enum dink_runtime runtime; /* kata resolved */
	char *runtime_reason; /* "kata: the official one is not usable here: ...; using dink-vm" */
	const char *runtime_option; /* that the private engine gives it; NULL = none */
	bool is_vm;		    /* dink-vm or official kata */
	int kernel;		    /* index in kernels, -1 = none */
	int image;		    /* index in images */
	bool block_root;	    /* VM: root is the image as a read-only EROFS disk + overlay */
	struct dink_strv
		command; /* the whole argv of PID 1, with init and daemon; empty = image's */
	struct dink_strv env;
	struct dink_plan_mount *disks;
	size_t n_disks;
	bool data_volume;     /* its daemon's store is a volume of the parent's engine */
	char *storage_driver; /* of its daemon; NULL without one */
	char *storage_reason;
	char *subnet; /* of its daemon's bridge: "10.213.1.1/24"; NULL without one */
	uint32_t mtu;
	bool needs_guest;   /* starts VM children: gets dink-vm, kernel, initramfs read-only */
	int guest_kernel;   /* index of the kernel behind its runtime "dink-vm", -1 = none */
	char *runtime_name; /* what the parent's engine calls the runtime; NULL = its default */
	struct dink_privileges *privileges;
};

struct dink_plan {
	const struct dink_scenario *scenario;
	enum dink_engine_choice engine;
	enum dink_engine_kind engine_kind;
	char *engine_socket; /* NULL when private */
	char *engine_reason;
	char *acceleration; /* "kvm" or "tcg" */
	char *acceleration_reason;
	struct dink_plan_kernel *kernels;
	size_t n_kernels;
	struct dink_plan_image *images;
	size_t n_images;
	struct dink_plan_disk *disks;
	size_t n_disks;
	struct dink_plan_layer *layers; /* parents before children */
	size_t n_layers;
	struct dink_strv warnings;
};

int dink_plan_make(const struct dink_scenario *s, const struct dink_facts *f,
		   struct dink_plan **ret, struct dink_err *err) _must_check_;
void dink_plan_free(struct dink_plan *p);
DEFINE_CLEANUP_PTR(struct dink_plan, dink_plan_free);

/* dink_plan_find() - by path, with or without the scenario's name in front; -1 if none */
int dink_plan_find(const struct dink_plan *p, const char *path);
/* dink_plan_reached() - the layer that `layer` means by this name in its reach:; -1 if none */
int dink_plan_reached(const struct dink_plan *p, int layer, const char *name);
/* dink_plan_socket() - where in the layer its daemon answers */
const char *dink_plan_socket(const struct dink_layer *l);
/*
 * dink_plan_without() - take a grant away from a layer and its copies, to see what fails
 * @word: "LAYER:KIND WHAT", such as "proxy:capability CAP_NET_ADMIN"
 */
int dink_plan_without(struct dink_plan *p, const char *word, struct dink_err *err) _must_check_;
/* dink_plan_writer() - the layer that writes a disk; -1 if none does */
int dink_plan_writer(const struct dink_plan *p, int disk);
struct json_object *dink_plan_to_json(const struct dink_plan *p);
/* dink_plan_text() - for people; caller frees */
char *dink_plan_text(const struct dink_plan *p);
