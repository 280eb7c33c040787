// SPDX-License-Identifier: Apache-2.0
#include "control/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES 65536u // room for one read

// Moves what waits to the front of the buffer and makes room for `room` bytes behind it.
static int make_room(char **buf, size_t *start, size_t *len, size_t *size, size_t room)
{
	size_t waiting = *len - *start, want = waiting + room;
	char *bigger;

	if (*size - *len >= room && *buf)
		return 0;
	if (waiting)
		memmove(*buf, *buf + *start, waiting);
	*start = 0;
	*len = waiting;
	if (want <= *size)
		return 0;
	want += want / 2; // grows by half, so that a long line is copied a few times only
	bigger = realloc(*buf, want);
	if (!bigger)
		return -ENOMEM;
	*buf = bigger;
	*size = want;
	return 0;
}

static int in_room(struct wire_in *in, size_t room)
{
	size_t moved = in->start;
	int ret = make_room(&in->buf, &in->start, &in->len, &in->size, room);

	if (in->start == 0)
		in->scanned -= moved < in->scanned ? moved : in->scanned;
	return ret;
}

// The line under way may not grow for ever; whole lines before it do not count.
static bool too_long(struct wire_in *in)
{
	const char *nl = in->len > in->scanned
				 ? memchr(in->buf + in->scanned, '\n', in->len - in->scanned)
				 : NULL;

	if (nl)
		return (size_t)(nl - (in->buf + in->start)) > in->max_line;
	in->scanned = in->len;
	return in->len - in->start > in->max_line;
}

int wire_in_read(struct wire_in *in, int fd)
{
	int ret = in_room(in, READ_BYTES);
	ssize_t n;

	if (ret < 0)
		return ret;
	n = read(fd, in->buf + in->len, READ_BYTES);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	in->len += (size_t)n;
	return too_long(in) ? -EMSGSIZE : (int)n;
}

int wire_in_feed(struct wire_in *in, const void *bytes, size_t n)
{
	int ret = in_room(in, n + 1);

	if (ret < 0)
		return ret;
	if (n)
		memcpy(in->buf + in->len, bytes, n);
	in->len += n;
	return too_long(in) ? -EMSGSIZE : 0;
}

char *wire_in_line(struct wire_in *in, size_t *len)
{
	char *line, *nl;

	if (in->len == in->scanned)
		return NULL;
	nl = memchr(in->buf + in->scanned, '\n', in->len - in->scanned);
	if (!nl) {
		in->scanned = in->len;
		return NULL;
	}
	*nl = '\0';
	line = in->buf + in->start;
	*len = (size_t)(nl - line);
	in->start += *len + 1;
	in->scanned = in->start;
	return line;
}

bool wire_in_partial(const struct wire_in *in)
{
	return in->len > in->start;
}

void wire_in_fini(struct wire_in *in)
{
	free(in->buf);
	in->buf = NULL;
	in->start = in->len = in->size = in->scanned = 0;
}

int wire_out_json(struct wire_out *out, const json_t *msg)
{
	size_t len = json_dumpb(msg, NULL, 0, JSON_COMPACT);
	int ret;

	if (!len)
		return -ENOMEM;
	ret = make_room(&out->buf, &out->start, &out->len, &out->size, len + 1);
	if (ret < 0)
		return ret;
	json_dumpb(msg, out->buf + out->len, len, JSON_COMPACT);
	out->len += len;
	out->buf[out->len++] = '\n';
	return 0;
}

int wire_out_write(struct wire_out *out, int fd)
{
	size_t waiting = wire_out_pending(out);
	ssize_t n;

	if (!waiting)
		return 0;
	n = send(fd, out->buf + out->start, waiting, MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	out->start += (size_t)n;
	if (!wire_out_pending(out))
		wire_out_fini(out); // a big answer's memory is not kept
	return (int)n; // the kernel takes less than 2 GiB at once
}

size_t wire_out_pending(const struct wire_out *out)
{
	return out->len - out->start;
}

void wire_out_fini(struct wire_out *out)
{
	free(out->buf);
	*out = (struct wire_out){};
}

// Counts depth and values without building anything: jansson would build first.
static int check_limits(const char *line, size_t len, struct err *err)
{
	unsigned int depth = 0, values = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		char c = line[i];

		if (in_string) {
			i += c == '\\';
			in_string = c != '"';
			continue;
		}
		in_string = c == '"';
		depth -= (c == '}' || c == ']') && depth > 0;
		values += c == ',' || c == '{' || c == '[';
		if ((c == '{' || c == '[') && ++depth > WIRE_MAX_DEPTH)
			return err_set(err, EMSGSIZE, "nested deeper than %d", WIRE_MAX_DEPTH);
		if (values > WIRE_MAX_VALUES)
			return err_set(err, EMSGSIZE, "more than %u values", WIRE_MAX_VALUES);
	}
	return 0;
}

json_t *wire_parse(const char *line, size_t len, struct err *err)
{
	json_error_t where;
	json_t *msg;

	if (check_limits(line, len, err) < 0)
		return NULL;
	msg = json_loadb(line, len, JSON_REJECT_DUPLICATES, &where);
	if (!msg)
		err_set(err, EINVAL, "not JSON at byte %d: %s", where.position, where.text);
	return msg;
}
