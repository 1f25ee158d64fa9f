/* SPDX-License-Identifier: Apache-2.0 */
/* A main() for fuzz targets built without libFuzzer: runs each file and folder it is given once. */
#include "provision/base/file.h"

#include <dirent.h>
#include <stdint.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (dink_file_read(path, 64 << 20, &text, &len, &err) < 0) {
		fprintf(stderr, "%s: %s\n", path, err.msg);
		return 1;
	}
	LLVMFuzzerTestOneInput((const uint8_t *)text, len);
	return 0;
}

int main(int argc, char **argv)
{
	int n = 0;

	for (int i = 1; i < argc; i++) {
		struct dirent **names;
		struct stat st;
		int count;

		if (stat(argv[i], &st) < 0) {
			perror(argv[i]);
			return 1;
		}
		if (!S_ISDIR(st.st_mode)) {
			if (replay_file(argv[i]))
				return 1;
			n++;
			continue;
		}
		count = scandir(argv[i], &names, NULL, alphasort);
		for (int j = 0; j < count; j++) {
			char path[4096];

			if (names[j]->d_name[0] != '.') {
				snprintf(path, sizeof(path), "%s/%s", argv[i], names[j]->d_name);
				if (replay_file(path))
					return 1;
				n++;
			}
			free(names[j]);
		}
		if (count >= 0)
			free(names);
	}
	printf("replayed %d inputs\n", n);
	return n == 0;
}
