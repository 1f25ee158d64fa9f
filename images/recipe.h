/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes: a folder with a file `recipe` and, if wanted, a tree `files/` that is put into the
 * image. docs/images.md describes the keys; each line is `key: value`.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/json.h"
#include "provision/base/mem.h"

#include <stdbool.h>
#include <stdint.h>

/* A folder of the image that is not root's. */
struct dink_recipe_folder {
	char *path; /* "home/user" */
	uint32_t uid, gid, mode;
};

/* A program that gets a capability in place of root's set-user-ID bit. */
struct dink_recipe_capability {
	char *path; /* "usr/bin/newuidmap" */
	unsigned number;
};

struct dink_recipe {
	char *dir;
	char *base;   /* NULL, or the folder of the recipe whose lines and files come first */
	char *more;   /* NULL, or the folder of another whose files come after the base's */
	char *suite;  /* "bookworm" */
	char *mirror; /* NULL = mmdebstrap's own choice, with security and updates */
	struct dink_strv packages;
	struct dink_strv exclude; /* globs that dpkg never unpacks, in the image as well */
	struct dink_strv remove;  /* globs taken out of the finished tree */
	struct dink_strv keep;	  /* globs that stand against remove */
	struct dink_strv cmd, entrypoint;
	struct dink_strv env;	 /* NAME=VALUE */
	struct dink_strv labels; /* NAME=VALUE */
	struct dink_strv files;	 /* paths below files/, sorted, folders before what is in them */
	struct dink_recipe_folder *folders;
	size_t n_folders;
	struct dink_recipe_capability *capabilities;
	size_t n_capabilities;
};

/* dink_recipe_read() - parse DIR/recipe and list DIR/files; errors carry file and line */
int dink_recipe_read(const char *dir, struct dink_recipe *ret, struct dink_err *err) _must_check_;
/* dink_recipe_parse() - the text alone; for tests and the fuzzer */
int dink_recipe_parse(const char *file, char *text, struct dink_recipe *ret,
		      struct dink_err *err) _must_check_;
/* dink_recipe_file() - where an entry of files lies: the recipe's own, else more's or the base's */
char *dink_recipe_file(const struct dink_recipe *r, const char *rel);
/* dink_recipe_removes() - whether the path ("usr/share/doc/x") is to be taken out */
bool dink_recipe_removes(const struct dink_recipe *r, const char *path);
void dink_recipe_clear(struct dink_recipe *r);
