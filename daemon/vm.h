// SPDX-License-Identifier: Apache-2.0
// A running weft-vm: what its files share. Control.
#pragma once

#include "base/log.h"
#include "control/loop.h"
#include "control/server.h"
#include "daemon/vm_console.h"
#include "daemon/vm_options.h"

// What weft-vm ends with; also in its usage and man page.
enum vm_status {
	VM_OFF = 0,
	VM_FAILED = 1,
	VM_USAGE = 2,
	VM_RESET = 3,
	VM_CRASHED = 4,
	VM_CUT_OFF = 5,
};

struct vm {
	struct vm_options options;
	struct loop *loop;
	struct server *server;
	struct vm_console_io *console;
	struct partition *partition;
	bool is_paused; // by the control socket
	struct log_limit crashes; // that were logged
	int signal_fd;
	enum vm_status status;
};
