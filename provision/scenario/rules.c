/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What texts in a scenario must look like: names, paths, ports, hostnames. Each rule is there
 * twice, as code and as the regular expression that the schema prints; the unit test holds them
 * against each other.
 */
#include "provision/scenario/table.h"

#include "provision/base/json.h"

#include <arpa/inet.h>

enum { NAME_MAX_LEN = 63, HOSTNAME_MAX_LEN = 63, PATH_MAX_LEN = 4095 };

static bool is_alnum_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_alnum_lower(c) || (c >= 'A' && c <= 'Z');
}

bool dink_name_is_valid(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > NAME_MAX_LEN || !is_alnum_lower(name[0]))
		return false;
	for (size_t i = 1; i < n; i++) {
		if (!is_alnum_lower(name[i]) && !strchr("_.-", name[i]))
			return false;
	}
	return true;
}

char *dink_name_suggest(const char *name)
{
	_cleanup_str_ struct dink_str out = {};

	for (; *name && out.len < NAME_MAX_LEN; name++) {
		char c = *name >= 'A' && *name <= 'Z' ? (char)(*name - 'A' + 'a') : *name;

		if (is_alnum_lower(c) || (out.len && strchr("_.-", c)))
			dink_str_addc(&out, c);
		else if (out.len && out.s[out.len - 1] != '-')
			dink_str_addc(&out, '-');
	}
	while (out.len && out.s[out.len - 1] == '-')
		out.s[--out.len] = '\0';
	return out.len ? dink_str_take(&out) : NULL;
}

static bool has_control(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	}
	return false;
}

/* Absolute, without empty, "." and ".." members, without ':', which separates mounts' parts. */
static bool is_clean_path(const char *path)
{
	if (path[0] != '/' || strlen(path) > PATH_MAX_LEN || strchr(path, ':') || has_control(path))
		return false;
	while (*path == '/') {
		size_t n = strcspn(++path, "/");

		if (n == 0)
			return *path == '\0';
		if (path[0] == '.' && (n == 1 || (n == 2 && path[1] == '.')))
			return false;
		path += n;
	}
	return true;
}

static bool is_target(const char *path)
{
	return is_clean_path(path) && path[1] && strncmp(path, "/.dink", 6) != 0;
}

static bool is_source(const char *path)
{
	if (strlen(path) > PATH_MAX_LEN || strchr(path, ':') || has_control(path))
		return false;
	return path[0] == '/' || dink_starts_with(path, "./") || dink_starts_with(path, "../");
}

bool dink_file_is_url(const char *source)
{
	return dink_starts_with(source, "https://") || dink_starts_with(source, "http://") ||
	       dink_starts_with(source, "file:///");
}

static bool is_file_source(const char *text)
{
	size_t n = strlen(text);

	if (!dink_file_is_url(text))
		return is_source(text);
	for (size_t i = 0; i < n; i++) {
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	}
	return n <= PATH_MAX_LEN && text[strcspn(text, "/") + 2];
}

static bool is_kernel_source(const char *text)
{
	return STREQ(text, "debian") || is_source(text);
}

static bool is_sha256(const char *text)
{
	return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static bool is_registry(const char *text)
{
	if (!is_alnum(text[0]) || strlen(text) > 255)
		return false;
	for (; *text; text++) {
		if (!is_alnum(*text) && !strchr("._:/@-", *text))
			return false;
	}
	return true;
}

static bool is_user(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return n > 0 && n <= 31 && !text[n] && text[0] != '-' &&
	       !(text[0] >= '0' && text[0] <= '9');
}

static bool is_hostname(const char *text)
{
	if (strlen(text) > HOSTNAME_MAX_LEN)
		return false;
	for (;;) {
		size_t n = strcspn(text, ".");

		if (n == 0 || text[0] == '-' || text[n - 1] == '-')
			return false;
		for (size_t i = 0; i < n; i++) {
			if (!is_alnum(text[i]) && text[i] != '-')
				return false;
		}
		if (!text[n])
			return true;
		text += n + 1;
	}
}

static bool is_label(const char *text)
{
	return text[0] && strlen(text) <= 255 && !strchr(text, '/') && !has_control(text);
}

bool dink_env_is_valid(const char *text)
{
	size_t n = strcspn(text, "=");

	if (n == 0 || !text[n] || (text[0] >= '0' && text[0] <= '9'))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!is_alnum(text[i]) && text[i] != '_')
			return false;
	}
	return true;
}

#define CLEAN_PATH "(?!.*/\\.{1,2}(/|$))(/[^/:\\x00-\\x1f\\x7f]+)+/?"

#define TARGET_PATTERN "^(?!/\\.dink)" CLEAN_PATH "$"

const char dink_target_pattern[] = TARGET_PATTERN;
const char dink_env_pattern[] = "^[A-Za-z_][A-Za-z0-9_]*=";
const char dink_mount_pattern[] =
	"^(/|\\.{1,2}/)[^:\\x00-\\x1f\\x7f]*:(?!/\\.dink)(/[^/:\\x00-\\x1f"
	"\\x7f]+)+/?(:(ro|rw))?$";
const char dink_port_pattern[] =
	"^(([0-9.]+|\\[[0-9a-fA-F:.]+\\]):)?[1-9][0-9]{0,4}:[1-9][0-9]{0,4}"
	"(/(tcp|udp))?$";

const struct dink_rule dink_rule_name = {
	.wants = "1 to 63 of a-z, 0-9, '_', '.' and '-', the first a letter or digit",
	.pattern = "^[a-z0-9][a-z0-9_.-]{0,62}$",
	.ok = dink_name_is_valid,
};
const struct dink_rule dink_rule_image = {
	.wants = "the name of an image (a-z, 0-9, '_', '.', '-')",
	.pattern = "^[a-z0-9][a-z0-9_.-]{0,62}$",
	.ok = dink_name_is_valid,
	.hint = "an image from a registry gets a name first: images: {NAME: {registry: REFERENCE}}",
};
const struct dink_rule dink_rule_target = {
	.wants = "an absolute path below '/' without '..' and ':'",
	.pattern = TARGET_PATTERN,
	.ok = is_target,
	.hint = "it is a path in the layer, such as /data; /.dink... is dink's own",
	.is_no_number = true,
};
const struct dink_rule dink_rule_source = {
	.wants = "a path that begins with '/', './' or '../' and has no ':'",
	.pattern = "^(/|\\.{1,2}/)[^:\\x00-\\x1f\\x7f]*$",
	.ok = is_source,
	.is_no_number = true,
};
const struct dink_rule dink_rule_kernel_source = {
	.wants = "'debian', or the path of a tarball that begins with '/', './' or '../'",
	.pattern = "^(debian|(/|\\.{1,2}/)[^:\\x00-\\x1f\\x7f]*)$",
	.ok = is_kernel_source,
	.is_no_number = true,
};
const struct dink_rule dink_rule_file_source = {
	.wants =
		"a path that begins with '/', './' or '../' and has no ':', or an https:, http: or "
		"file: URL",
	.pattern = "^((/|\\.{1,2}/)[^:\\x00-\\x1f\\x7f]*|(https?://[!-~]+|file:///[!-~]*))$",
	.ok = is_file_source,
	.is_no_number = true,
};
const struct dink_rule dink_rule_sha256 = {
	.wants = "64 hexadecimal digits, lower case",
	.pattern = "^[0-9a-f]{64}$",
	.ok = is_sha256,
	.hint = "sha256sum FILE prints it",
	.is_no_number = true,
};
const struct dink_rule dink_rule_registry = {
	.wants = "a reference such as docker.io/library/alpine:3.20",
	.pattern = "^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}$",
	.ok = is_registry,
};
const struct dink_rule dink_rule_user = {
	.wants = "a user's name: at most 31 of a-z, 0-9, '_' and '-', the first a letter or '_'",
	.pattern = "^[a-z_][a-z0-9_-]{0,30}$",
	.ok = is_user,
};
const struct dink_rule dink_rule_hostname = {
	.wants = "a host name: at most 63 letters, digits, '-' and '.', no '-' at an end",
	.pattern = "^(?=.{1,63}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
		   "(\\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$",
	.ok = is_hostname,
};
const struct dink_rule dink_rule_label = {
	.wants = "1 to 255 bytes without '/'",
	.pattern = "^[^/\\x00-\\x1f\\x7f]{1,255}$",
	.ok = is_label,
};

/* "/a/b/" and "/a/b" are the same place. */
static char *copy_target(const char *text, size_t n)
{
	while (n > 1 && text[n - 1] == '/')
		n--;
	return xstrndup(text, n);
}

const char *dink_layer_disk_read(void *obj, const char *text)
{
	struct dink_layer_disk *d = obj;

	if (!is_target(text))
		return dink_rule_target.wants;
	d->target = copy_target(text, strlen(text));
	return NULL;
}

const char *dink_layer_file_read(void *obj, const char *text)
{
	struct dink_layer_file *f = obj;

	if (!is_target(text))
		return dink_rule_target.wants;
	f->target = copy_target(text, strlen(text));
	return NULL;
}

struct json_object *dink_layer_file_write(const void *obj)
{
	return json_object_new_string(((const struct dink_layer_file *)obj)->target);
}

void dink_layer_file_clear(void *obj)
{
	free(((struct dink_layer_file *)obj)->target);
}

const char *dink_mount_read(void *obj, const char *text)
{
	struct dink_layer_mount *m = obj;
	const char *colon = strchr(text, ':'), *end;
	_cleanup_free_ char *source = NULL, *target = NULL;

	if (!colon)
		return "SOURCE:TARGET or SOURCE:TARGET:ro";
	end = strchr(colon + 1, ':');
	if (end && !STREQ(end, ":ro") && !STREQ(end, ":rw"))
		return "SOURCE:TARGET, then nothing, ':ro' or ':rw'";
	source = xstrndup(text, (size_t)(colon - text));
	target = end ? copy_target(colon + 1, (size_t)(end - colon - 1))
		     : copy_target(colon + 1, strlen(colon + 1));
	if (!is_source(source))
		return "a source that begins with '/', './' or '../'";
	if (!is_target(target))
		return "a target that is an absolute path below '/' without '..'";
	m->source = TAKE_PTR(source);
	m->target = TAKE_PTR(target);
	m->read_only = end && STREQ(end, ":ro");
	return NULL;
}

static bool read_port(const char *text, size_t n, uint16_t *ret)
{
	uint32_t value = 0;

	if (n == 0 || n > 5 || text[0] == '0')
		return false;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (uint32_t)(text[i] - '0');
	}
	*ret = (uint16_t)value;
	return value >= 1 && value <= UINT16_MAX;
}

static bool read_address(const char *text, size_t n, char **ret)
{
	bool six = n > 2 && text[0] == '[' && text[n - 1] == ']';
	_cleanup_free_ char *address = six ? xstrndup(text + 1, n - 2) : xstrndup(text, n);
	unsigned char bytes[sizeof(struct in6_addr)];

	if (inet_pton(six ? AF_INET6 : AF_INET, address, bytes) != 1)
		return false;
	*ret = TAKE_PTR(address);
	return true;
}

const char *dink_port_read(void *obj, const char *text)
{
	struct dink_layer_port *p = obj, read = {.mark = p->mark};
	size_t n = strcspn(text, "/");
	const char *inner = memrchr(text, ':', n), *before, *outer;

	if (!inner)
		return "OUTER:INNER, ADDRESS:OUTER:INNER, and /udp where it is no TCP";
	if (text[n] && !STREQ(text + n, "/udp") && !STREQ(text + n, "/tcp"))
		return "'/tcp' or '/udp' at the end, or nothing";
	before = memrchr(text, ':', (size_t)(inner - text));
	outer = before ? before + 1 : text;
	if (!read_port(inner + 1, n - (size_t)(inner + 1 - text), &read.inner) ||
	    !read_port(outer, (size_t)(inner - outer), &read.outer))
		return "port numbers from 1 to 65535";
	if (before && !read_address(text, (size_t)(before - text), &read.address))
		return "an IPv4 address, or an IPv6 address in [], before the ports";
	read.udp = STREQ(text + n, "/udp");
	*p = read;
	return NULL;
}

struct json_object *dink_port_write(const void *obj)
{
	const struct dink_layer_port *p = obj;
	bool six = p->address && strchr(p->address, ':');
	_cleanup_free_ char *text = xasprintf(
		"%s%s%s%s%u:%u%s", six ? "[" : "", p->address ? p->address : "", six ? "]" : "",
		p->address ? ":" : "", p->outer, p->inner, p->udp ? "/udp" : "");

	return json_object_new_string(text);
}

void dink_port_clear(void *obj)
{
	free(((struct dink_layer_port *)obj)->address);
}
