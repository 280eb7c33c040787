// SPDX-License-Identifier: Apache-2.0
// What was taken off an interface, kept in a file for as long as it is elsewhere: a daemon that was
// killed took the tap with it, and its successor gives the host its addresses back. The file is
// the kernel's own messages, one after the other. Called by host_address.c. helper.
#pragma once

#include "daemon/host_plan.h"

#define HOST_RECORD_PATH 160 // bytes of a path, at most

// The path of that interface's record, below dir. An interface that was made anew has another.
void host_record_path(const char *dir, const char *ifname, char *path);

// Writes `plan` to path. Returns 0 or -errno with a sentence.
int host_record_write(const char *path, const struct host_plan *plan, struct err *err);

// Sends the record at path to the kernel and removes it. False: there is none that is whole.
bool host_record_replay(const char *path, struct nl_sock *sk);
