// SPDX-License-Identifier: Apache-2.0
// Where a guest's console goes: the terminal that weft-vm was started on, a pseudo terminal, a
// file. What nobody takes is dropped: a guest never waits for a reader. Control; vm_console_write
// from any thread, one at a time.
#pragma once

#include "control/loop.h"
#include "daemon/vm_options.h"

struct vm_console_io;

// Called with what was typed. Returns how many bytes were taken.
typedef uint32_t vm_console_type(void *owner, const uint8_t *bytes, uint32_t n);

// Returns 0, or -errno and a sentence. `options` is read here only.
int vm_console_create(const struct vm_options *options, struct vm_console_io **out,
		      struct err *err);
void vm_console_destroy(struct vm_console_io *console); // NULL is fine

// From now on, what is typed goes to `type`; Ctrl-] on a terminal is SIGTERM. Returns 0 or -errno.
int vm_console_watch(struct vm_console_io *console, struct loop *loop, vm_console_type *type,
		     void *owner);

void vm_console_write(struct vm_console_io *console, const uint8_t *bytes, uint32_t n);

// The pseudo terminal's name, or NULL.
const char *vm_console_path(const struct vm_console_io *console);
