// SPDX-License-Identifier: Apache-2.0
// The sentence that goes back to whoever asked for something that failed.
//
// Functions return 0 or -errno; those that can explain themselves also take a `struct err *`.
// The sentence names field, value and allowed range, and the way to mend it where there is one.
#pragma once

// One failure. `text` is empty or a NUL-ended sentence without a full stop at its end.
struct err {
	char text[512];
};

// Writes the sentence into *e (which may be NULL) and returns -error.
// error: a positive errno. Any thread; *e belongs to the caller.
int err_set(struct err *e, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

// Puts "prefix: " before what *e already says. Returns `ret` unchanged, for use in a return.
int err_prefix(struct err *e, int ret, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
