// SPDX-License-Identifier: Apache-2.0
// Where the host has no VT-x of its own, KVM runs a guest's kernel in its instruction emulator,
// which lacks a few instructions; this does them. On hosts with VT-x it never runs.
// A vcpu thread, under the partition's lock.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct partition_vcpu;

// KVM has failed to emulate the instruction at RIP. True: it is done, the guest goes on.
bool partition_assist(struct partition_vcpu *vcpu);

// The guest has switched its hypercall page on, at gpa: puts a repair for system calls into it, if
// this host needs one. A SYSCALL from ring 3 loads RIP, RCX and R11 there but leaves the privilege
// level at 3, and the guest meets a page fault at its own entry point.
void partition_assist_system_calls(struct partition_vcpu *vcpu, uint64_t gpa);
