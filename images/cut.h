/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A docker archive on its way from one engine to others: which of its bytes are which layer's, so
 * that a layer which a target has already is left out of its stream.
 *
 * An engine that loads an archive opens a layer's tar only where it lacks that layer (moby,
 * image/tarexport/load.go), so an archive may lack what the engine has. (Podman wants the member, but does not
 * read it either: for it there is an empty one.) The bytes go through as
 * they are: nothing is unpacked, packed again or kept, so what arrives is what the source said.
 * That is why this is no work for libarchive, which decodes members and encodes them anew.
 *
 * What a layer's member is called depends on who wrote the archive:
 *	HEX/layer.tar		Docker 1.10 to 24: HEX is the layer's old "v1" id, a digest of the
 *				folder's file "json" and the layer's chain id (cut_v1.c)
 *	blobs/sha256/HEX	Docker from 25: HEX is the diff id
 *	HEX.tar			Podman, skopeo: HEX is the diff id
 *	HEX/layer.tar		dink's own: HEX is the diff id
 * A member that cannot be told goes to everybody. A wrong guess cannot damage a target: it compares
 * the digest of each layer with the image's config and refuses what lacks one.
 *
 * The input may come from a hostile guest: all lengths are bounded, nothing of it is executed.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"

#include <stdint.h>

enum {
	DINK_CUT_LAYERS_MAX = 512,	/* Docker itself stops at 127 */
	DINK_CUT_EXTRA_MAX = 1 << 20,	/* a pax header or long name */
	DINK_CUT_JSON_MAX = 4 << 20,	/* a layer's "json"; larger ones are not looked at */
	DINK_CUT_MEMBERS_MAX = 1 << 16, /* an archive has a handful for each layer */
};

/* @layer: from 0, the lowest; -1: what everybody needs. A negative errno ends the feeding. */
typedef int (*dink_cut_fn)(void *ctx, int layer, const void *bytes, size_t n, struct dink_err *err);

struct dink_cut;
/*
 * dink_cut_new() - for an archive of one image
 * @diff_ids: "sha256:HEX" of its layers, the lowest first; copied. At most DINK_CUT_LAYERS_MAX.
 * @stub: NULL, or called for each layer before its bytes, with an empty member of its name: for
 *	  engines that want the member even of a layer that they have (Podman)
 * A layer that occurs twice is named by its first place.
 */
struct dink_cut *dink_cut_new(const struct dink_strv *diff_ids, dink_cut_fn fn, dink_cut_fn stub,
			      void *ctx);
void dink_cut_free(struct dink_cut *c);
DEFINE_CLEANUP_PTR(struct dink_cut, dink_cut_free);

/* dink_cut_name() - the member of that name is this layer (from a manifest read before) */
void dink_cut_name(struct dink_cut *c, const char *name, int layer);
/*
 * dink_cut_strict() - the archive is not trusted: it must be of one image that has this name or
 * none (NULL: none), made as engines make it; all else ends the feeding (cut_check.c)
 */
void dink_cut_strict(struct dink_cut *c, const char *name);
/* dink_cut_feed() - the next bytes; fn is called for all of them, though for some only later */
int dink_cut_feed(struct dink_cut *c, const void *bytes, size_t n,
		  struct dink_err *err) _must_check_;
/* dink_cut_end() - there are no more: an archive without its end is an error */
int dink_cut_end(struct dink_cut *c, struct dink_err *err) _must_check_;
/* dink_cut_found() - how many of the layers were recognised so far */
int dink_cut_found(const struct dink_cut *c);

/* dink_cut_v1() - which layer the folder `hex` is, by its file "json"; -1 if none fits (cut_v1.c)
 * @chain_ids: as dink_chain_ids() gives them */
int dink_cut_v1(const char *hex, const char *json, size_t len, const struct dink_strv *chain_ids);

/* dink_chain_ids() - what each layer together with those below it is called */
void dink_chain_ids(const struct dink_strv *diff_ids, struct dink_strv *ret);
