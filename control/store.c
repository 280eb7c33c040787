// SPDX-License-Identifier: Apache-2.0
#include "control/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/types.h"
#include "control/journal.h"

#define COMPACT_BYTES (1u << 20) // a journal smaller than this stays as it is
#define COMPACT_RATIO 4          // … and one smaller than so many snapshots
#define MAX_FILES 256            // of one kind looked at; two is usual
#define MAX_FILE_BYTES (1LL << 30)

struct store {
	char *path;              // for messages
	int dir;                 // locked as long as we live
	int journal;             // the one appended to
	uint64_t journal_number; // N of journal.N
	uint64_t generation;     // N of the snapshot that the state rests on; 0: none yet
	uint64_t seq;            // of the last group written
	size_t journal_bytes;    // where the next group goes
	size_t snapshot_bytes;
};

struct buffer {
	void *bytes;
	size_t size;
};

static void file_name(char name[64], const char *kind, uint64_t number, const char *suffix)
{
	snprintf(name, 64, "%s.%" PRIu64 "%s", kind, number, suffix);
}

static int write_all(int fd, const void *bytes, size_t size, size_t offset)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = pwrite(fd, (const char *)bytes + done, size - done,
				   (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		done += (size_t)n;
	}
	return 0;
}

// A new file with these bytes, safely on the disk but for its directory entry.
static int create_file(int dir, const char *name, const void *bytes, size_t size)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int ret;

	if (fd < 0)
		return -errno;
	ret = write_all(fd, bytes, size, 0);
	if (ret == 0 && fsync(fd) < 0)
		ret = -errno;
	close(fd);
	if (ret < 0)
		unlinkat(dir, name, 0);
	return ret;
}

static int read_all(int fd, struct buffer *out)
{
	struct stat st;
	size_t done = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size > MAX_FILE_BYTES)
		return -EFBIG;
	out->bytes = malloc((size_t)st.st_size + 1);
	if (!out->bytes)
		return -ENOMEM;
	while (done < (size_t)st.st_size) {
		ssize_t n = pread(fd, (char *)out->bytes + done, (size_t)st.st_size - done,
				  (off_t)done);

		if (n <= 0) {
			free(out->bytes);
			return n < 0 ? -errno : -EIO;
		}
		done += (size_t)n;
	}
	out->size = done;
	return 0;
}

static int read_file(int dir, const char *name, struct buffer *out)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = read_all(fd, out);
	close(fd);
	return ret;
}

static int compare_numbers(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

// The numbers N of the files kind.N, ascending; those too many are the directory's problem.
static unsigned int list_files(int dir, const char *kind, uint64_t numbers[MAX_FILES])
{
	unsigned int n = 0;
	struct dirent *entry;
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char name[64];

	while (d && n < MAX_FILES && (entry = readdir(d))) {
		const char *dot = strchr(entry->d_name, '.');

		if (!dot)
			continue;
		numbers[n] = strtoull(dot + 1, NULL, 10);
		file_name(name, kind, numbers[n], "");
		n += strcmp(name, entry->d_name) == 0;
	}
	if (d)
		closedir(d);
	qsort(numbers, n, sizeof(numbers[0]), compare_numbers);
	return n;
}

// Lays one group's body over the document. -EINVAL if it is no such body.
static int lay_over(json_t *doc, const json_t *patch)
{
	const char *type, *name;
	json_t *objs, *obj, *into;

	json_object_foreach((json_t *)patch, type, objs) {
		if (!json_is_object(objs))
			return -EINVAL;
		into = json_object_get(doc, type);
		if (!into) {
			into = json_object();
			if (json_object_set_new(doc, type, into) < 0)
				return -ENOMEM;
		}
		json_object_foreach(objs, name, obj) {
			if (json_is_null(obj))
				json_object_del(into, name);
			else if (json_object_set(into, name, obj) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

static int replay_group(const struct journal_group *group, json_t *doc)
{
	json_t *patch = json_loadb(group->body, group->len, 0, NULL);
	int ret = json_is_object(patch) ? lay_over(doc, patch) : -EINVAL;

	json_decref(patch);
	return ret;
}

long store_replay(const void *buf, size_t size, uint64_t *seq, json_t *doc)
{
	struct journal_group group;
	size_t good = 0;

	while (journal_read(buf, size, good, &group) == 1) {
		if (group.seq > *seq) {
			int ret = group.seq == *seq + 1 ? replay_group(&group, doc) : -EINVAL;

			if (ret == -ENOMEM)
				return ret;
			if (ret < 0)
				break;
			*seq = group.seq;
		}
		good = group.end;
	}
	return (long)good;
}

// The state in snapshot.N, or NULL if the file does not hold exactly one good group of it.
static json_t *load_snapshot(struct store *s, const char *name, uint64_t number)
{
	struct journal_group group;
	struct buffer file;
	json_t *doc = NULL;

	if (read_file(s->dir, name, &file) < 0)
		return NULL;
	if (journal_read(file.bytes, file.size, 0, &group) == 1 && group.end == file.size &&
	    group.seq == number) {
		doc = json_object();
		if (replay_group(&group, doc) < 0) {
			json_decref(doc);
			doc = NULL;
		}
	}
	s->snapshot_bytes = file.size;
	free(file.bytes);
	return doc;
}

// The newest snapshot that is whole, or an empty document.
static json_t *load_newest_snapshot(struct store *s)
{
	uint64_t numbers[MAX_FILES];
	unsigned int n = list_files(s->dir, "snapshot", numbers);
	char name[64], bad[64];

	while (n-- > 0) {
		file_name(name, "snapshot", numbers[n], "");
		json_t *doc = load_snapshot(s, name, numbers[n]);

		if (doc) {
			s->generation = s->seq = numbers[n];
			return doc;
		}
		file_name(bad, "snapshot", numbers[n], ".bad");
		log_error("%s/%s is damaged: kept as %s; the last good state and its journal are "
			  "used instead",
			  s->path, name, bad);
		renameat(s->dir, name, s->dir, bad);
	}
	s->snapshot_bytes = 0;
	return json_object();
}

// Cuts what is not good off the end of journal.N, after saving it.
static int cut_tail(struct store *s, uint64_t number, const struct buffer *file, size_t good)
{
	char name[64], bad[64];

	file_name(name, "journal", number, "");
	file_name(bad, "journal", number, ".bad");
	log_warning("%s/%s: the last %zu of %zu bytes are cut short or damaged: kept as %s; the "
		    "state up to them is used",
		    s->path, name, file->size - good, file->size, bad);
	if (create_file(s->dir, bad, (char *)file->bytes + good, file->size - good) < 0)
		log_warning("%s/%s cannot be written", s->path, bad);
	return ftruncate(s->journal, (off_t)good) < 0 ? -errno : 0;
}

// Replays journal.N and leaves it open for appending. Returns 1 if it was damaged, 0 or -errno.
static int replay_journal(struct store *s, uint64_t number, json_t *doc)
{
	struct buffer file;
	char name[64];
	long good;
	int ret;

	file_name(name, "journal", number, "");
	close(s->journal);
	s->journal = openat(s->dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->journal < 0)
		return -errno;
	ret = read_all(s->journal, &file);
	if (ret < 0)
		return ret;
	good = store_replay(file.bytes, file.size, &s->seq, doc);
	if (good < 0)
		ret = (int)good;
	else if ((size_t)good < file.size)
		ret = cut_tail(s, number, &file, (size_t)good) < 0 ? -EIO : 1;
	s->journal_number = number;
	s->journal_bytes = good < 0 ? 0 : (size_t)good;
	free(file.bytes);
	return ret;
}

// Replays the journals from the snapshot on. What lies behind a gap is of no use: put aside.
static int replay_journals(struct store *s, json_t *doc)
{
	uint64_t numbers[MAX_FILES];
	unsigned int n = list_files(s->dir, "journal", numbers);
	char name[64], bad[64];
	int ret = 0;

	for (unsigned int i = 0; i < n && ret >= 0; i++) {
		if (numbers[i] < s->generation)
			continue;
		if (ret == 0) {
			ret = replay_journal(s, numbers[i], doc);
			continue;
		}
		file_name(name, "journal", numbers[i], "");
		file_name(bad, "journal", numbers[i], ".bad");
		log_error("%s/%s follows on what is damaged: kept as %s", s->path, name, bad);
		renameat(s->dir, name, s->dir, bad);
	}
	if (ret >= 0 && s->journal < 0)
		ret = replay_journal(s, s->generation, doc);
	return ret < 0 ? ret : 0;
}

static int open_dir(struct store *s, struct err *err)
{
	if (mkdir(s->path, 0700) < 0 && errno != EEXIST)
		return err_set(err, errno, "state directory '%s' cannot be made: %s", s->path,
			       strerror(errno));
	s->dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0)
		return err_set(err, errno, "state directory '%s' cannot be opened: %s", s->path,
			       strerror(errno));
	if (flock(s->dir, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return err_set(err, EBUSY, "state directory '%s' is in use by another daemon", s->path);
}

static int load(struct store *s, json_t **doc, struct err *err)
{
	int ret;

	*doc = load_newest_snapshot(s);
	ret = *doc ? replay_journals(s, *doc) : -ENOMEM;
	if (ret == 0 && fsync(s->dir) < 0)
		ret = -errno;
	if (ret == 0)
		return 0;
	json_decref(*doc);
	return err_set(err, -ret, "state directory '%s' cannot be used: %s", s->path,
		       strerror(-ret));
}

int store_open(const char *dir, struct store **out, json_t **doc, struct err *err)
{
	struct store *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return err_set(err, ENOMEM, "out of memory");
	s->dir = s->journal = -1;
	s->path = strdup(dir);
	ret = s->path ? open_dir(s, err) : err_set(err, ENOMEM, "out of memory");
	if (ret == 0)
		ret = load(s, doc, err);
	if (ret < 0) {
		store_close(s);
		return ret;
	}
	*out = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	if (s->journal >= 0)
		close(s->journal);
	if (s->dir >= 0)
		close(s->dir);
	free(s->path);
	free(s);
}

// One group with this JSON as body.
static int build_group(uint64_t seq, const json_t *body, struct buffer *out)
{
	char *text = json_dumps(body, JSON_COMPACT);

	out->bytes = text ? journal_build(seq, text, strlen(text), &out->size) : NULL;
	free(text);
	return out->bytes ? 0 : -ENOMEM;
}

int store_append(struct store *s, const json_t *patch, struct err *err)
{
	struct buffer group;
	int ret = build_group(s->seq + 1, patch, &group);

	if (ret < 0)
		return err_set(err, -ret, "out of memory");
	ret = write_all(s->journal, group.bytes, group.size, s->journal_bytes);
	if (ret == 0 && fdatasync(s->journal) < 0)
		ret = -errno;
	free(group.bytes);
	if (ret == 0) {
		s->seq++;
		s->journal_bytes += group.size;
		return 0;
	}
	if (ftruncate(s->journal, (off_t)s->journal_bytes) < 0)
		log_error("%s: journal cannot be cut back: %s", s->path, strerror(errno));
	return err_set(err, -ret, "the change cannot be saved in '%s': %s", s->path,
		       strerror(-ret));
}

// Removes the files of generations before `number`.
static void remove_older(struct store *s, const char *kind, uint64_t number)
{
	uint64_t numbers[MAX_FILES];
	unsigned int n = list_files(s->dir, kind, numbers);
	char name[64];

	for (unsigned int i = 0; i < n && numbers[i] < number; i++) {
		file_name(name, kind, numbers[i], "");
		unlinkat(s->dir, name, 0);
	}
}

// The files of generation s->seq: an empty journal, then the snapshot, which makes it count.
static int write_generation(struct store *s, const struct buffer *group)
{
	char journal[64], temporary[64], snapshot[64];
	int ret;

	file_name(journal, "journal", s->seq, "");
	file_name(temporary, "snapshot", s->seq, ".new");
	file_name(snapshot, "snapshot", s->seq, "");
	ret = create_file(s->dir, temporary, group->bytes, group->size);
	if (ret < 0)
		return ret;
	ret = create_file(s->dir, journal, NULL, 0);
	if (ret == 0 && fsync(s->dir) < 0)
		ret = -errno;
	if (ret == 0 && renameat(s->dir, temporary, s->dir, snapshot) < 0)
		ret = -errno;
	if (ret < 0)
		unlinkat(s->dir, temporary, 0);
	else if (fsync(s->dir) < 0)
		log_warning("%s: %s", s->path, strerror(errno));
	return ret;
}

int store_compact(struct store *s, const json_t *state, struct err *err)
{
	uint64_t before = s->generation;
	struct buffer group;
	char journal[64];
	int ret = 0, fd = -1;

	if (s->seq == s->journal_number)
		return 0; // the journal is empty
	ret = build_group(s->seq, state, &group);
	if (ret == 0)
		ret = write_generation(s, &group);
	file_name(journal, "journal", s->seq, "");
	if (ret == 0)
		fd = openat(s->dir, journal, O_RDWR | O_CLOEXEC);
	if (ret == 0 && fd < 0)
		ret = -errno;
	free(group.bytes);
	if (ret < 0)
		return err_set(err, -ret, "'%s' cannot be compacted: %s", s->path, strerror(-ret));
	close(s->journal);
	s->journal = fd;
	s->generation = s->journal_number = s->seq;
	s->journal_bytes = 0;
	s->snapshot_bytes = group.size;
	remove_older(s, "snapshot", before);
	remove_older(s, "journal", before);
	return 0;
}

bool store_wants_compaction(const struct store *s)
{
	return s->journal_bytes > COMPACT_BYTES &&
	       s->journal_bytes > COMPACT_RATIO * s->snapshot_bytes;
}
