// SPDX-License-Identifier: Apache-2.0
// weft-vm's command line. Start-up.
#pragma once

#include "base/err.h"
#include "partition/partition.h"

#define VM_SWITCH_SOCKET "/run/weft/vmbus.sock" // where weftd listens unless told otherwise

enum vm_console { VM_CONSOLE_STDIO, VM_CONSOLE_PTY, VM_CONSOLE_FILE, VM_CONSOLE_NONE };

struct vm_options {
	struct partition_cfg partition; // without ops
	enum vm_console console;
	const char *console_file;
	struct partition_nic_cfg nics[PARTITION_MAX_NICS];
	uint8_t tokens[PARTITION_MAX_NICS][32];
	const char *control; // path of its control socket, or NULL
	bool no_sandbox;
	bool debug;
};

// Fills *options from the command line. Returns 0; 1 if it has printed what was asked for; or
// -errno and a sentence. Strings are argv's.
int vm_options_parse(struct vm_options *options, int argc, char **argv, struct err *err);

// Takes the text of --nic apart, in place. Returns 0, or -errno and a sentence.
int vm_options_nic(char *text, struct partition_nic_cfg *nic, uint8_t token[32], struct err *err);
