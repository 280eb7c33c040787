// SPDX-License-Identifier: Apache-2.0
// The control socket's framing, for both of its ends: one JSON text a line, ended by '\n', over a
// stream; and the limits that make a hostile peer cost little. No policy, no blocking.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/err.h"

#define WIRE_SOCKET "/run/weft/weft.sock"  // where weftd listens unless told otherwise
#define WIRE_MAX_LINE (16u << 20)          // bytes of one request, without the newline
#define WIRE_MAX_ANSWER (256u << 20)       // bytes of one answer that the CLI takes
#define WIRE_MAX_DEPTH 32                  // arrays and objects inside each other
#define WIRE_MAX_VALUES (1u << 20)         // values in one line; each costs about 100 bytes

// JSON-RPC 2.0 error codes, and ours.
enum wire_error {
	WIRE_PARSE_ERROR = -32700,
	WIRE_INVALID_REQUEST = -32600,
	WIRE_NO_METHOD = -32601,
	WIRE_INVALID_PARAMS = -32602,
	WIRE_INTERNAL = -32603,
	WIRE_REFUSED = -32000, // understood, but cannot be done; data.errno says why
};

// Bytes that came in and are not yet a whole line. Zero-initialised except for max_line.
struct wire_in {
	char *buf;
	size_t start, len, size; // bytes buf[start … len) wait; buf has room for `size`
	size_t scanned;          // no newline before this
	size_t max_line;         // longest line taken, bytes
};

// Makes room and reads once from `fd`. Returns bytes read, 0 at end, -EAGAIN, -EMSGSIZE if the
// line under way is over max_line, -ENOMEM or another -errno.
int wire_in_read(struct wire_in *in, int fd);

// The same with bytes from memory. Returns 0, -EMSGSIZE or -ENOMEM.
int wire_in_feed(struct wire_in *in, const void *bytes, size_t n);

// The next whole line without its newline (NUL there instead), or NULL if there is none yet. It
// stays valid until the next read or feed.
char *wire_in_line(struct wire_in *in, size_t *len);

bool wire_in_partial(const struct wire_in *in); // part of a line waits
void wire_in_fini(struct wire_in *in);

// Bytes that wait to go out. Zero-initialised.
struct wire_out {
	char *buf;
	size_t start, len, size;
};

int wire_out_json(struct wire_out *out, const json_t *msg); // adds one line; 0 or -ENOMEM
int wire_out_write(struct wire_out *out, int fd); // writes once: bytes, 0 if nothing waits, -errno
size_t wire_out_pending(const struct wire_out *out); // bytes
void wire_out_fini(struct wire_out *out);

// One line as JSON, within WIRE_MAX_DEPTH and WIRE_MAX_VALUES; duplicate keys are refused.
// NULL with a sentence if it is not. The caller owns the result.
json_t *wire_parse(const char *line, size_t len, struct err *err);
