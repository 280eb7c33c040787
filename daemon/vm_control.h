// SPDX-License-Identifier: Apache-2.0
// A partition's control socket: JSON-RPC 2.0, a line each, as weftd's. Its methods stand in the
// table at the end of vm_control.c. Control.
#pragma once

#include "control/server.h"
#include "daemon/vm.h"

// Listens at `path` for the partition of *vm. Returns 0, or -errno and a sentence.
int vm_control_create(struct vm *vm, const char *path, struct server **out, struct err *err);
