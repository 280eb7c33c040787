// SPDX-License-Identifier: Apache-2.0
// Gives every file named on the command line, and every file of a folder named there, to a fuzz
// target: the corpus is replayed by any compiler and under any sanitizer, without libFuzzer.
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Runs one file. The buffer is exactly as long as the file, so that AddressSanitizer sees a read
// past its end. Returns false when the file cannot be read.
static bool replay_file(const char *path, size_t size)
{
	uint8_t *data = malloc(size ? size : 1);
	FILE *f = fopen(path, "rb");
	bool whole = data && f && fread(data, 1, size, f) == size;

	if (whole)
		LLVMFuzzerTestOneInput(data, size);
	else
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	if (f)
		fclose(f);
	free(data);
	return whole;
}

// A file, or all the files right inside a folder. Adds to *n_files what it ran.
static bool replay(const char *path, unsigned int *n_files)
{
	struct stat st;
	struct dirent *entry;
	bool good = true;
	DIR *folder = opendir(path);

	if (!folder) {
		++*n_files;
		return stat(path, &st) == 0 && replay_file(path, (size_t)st.st_size);
	}
	while ((entry = readdir(folder))) {
		char inside[4096];

		snprintf(inside, sizeof(inside), "%s/%s", path, entry->d_name);
		if (entry->d_name[0] != '.' && stat(inside, &st) == 0 && S_ISREG(st.st_mode)) {
			++*n_files;
			good &= replay_file(inside, (size_t)st.st_size);
		}
	}
	closedir(folder);
	return good;
}

int main(int argc, char **argv)
{
	unsigned int n_files = 0;
	bool good = true;

	for (int i = 1; i < argc; i++)
		good &= replay(argv[i], &n_files);
	printf("%u files\n", n_files);
	return good && n_files ? EXIT_SUCCESS : EXIT_FAILURE;
}
