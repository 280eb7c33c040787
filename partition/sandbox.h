// SPDX-License-Identifier: Apache-2.0
// What a running partition may ask of the kernel: memory, threads, KVM, its files and sockets. A
// guest that has taken the process over finds no other program to run, no process to look at.
// Once started; all threads.
#pragma once

#include "base/err.h"

// From now on any other system call ends the process (SIGSYS). Returns 0, or -errno and a sentence.
int partition_sandbox_enter(struct err *err);
