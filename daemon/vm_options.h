// SPDX-License-Identifier: Apache-2.0
// weft-vm's command line. Start-up.
#pragma once

#include "base/err.h"
#include "partition/partition.h"

enum vm_console { VM_CONSOLE_STDIO, VM_CONSOLE_PTY, VM_CONSOLE_FILE, VM_CONSOLE_NONE };

struct vm_options {
	struct partition_cfg partition; // without ops
	enum vm_console console;
	const char *console_file;
	const char *control; // path of its control socket, or NULL
	bool debug;
};

// Fills *options from the command line. Returns 0; 1 if it has printed what was asked for; or
// -errno and a sentence. Strings are argv's.
int vm_options_parse(struct vm_options *options, int argc, char **argv, struct err *err);
