// SPDX-License-Identifier: Apache-2.0
// weft-vm: one partition with its console, in the foreground. Options, then the loop until the
// guest has ended or SIGTERM.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/vm_control.h"
#include "partition/sandbox.h"

static void on_console(void *owner, const uint8_t *bytes, uint32_t n)
{
	struct vm *vm = owner;

	vm_console_write(vm->console, bytes, n);
}

static void on_crash(void *owner, const struct partition_crash *crash)
{
	struct vm *vm = owner;
	uint32_t kept_back;

	if (!log_limit_pass(&vm->crashes, 1, &kept_back))
		return;
	log_error("%s: the guest has crashed: %llx %llx %llx %llx %llx",
		  vm->options.partition.name, (unsigned long long)crash->parameters[0],
		  (unsigned long long)crash->parameters[1],
		  (unsigned long long)crash->parameters[2],
		  (unsigned long long)crash->parameters[3],
		  (unsigned long long)crash->parameters[4]);
}

static const struct partition_ops partition_ops = { .console = on_console, .crashed = on_crash };

static uint32_t on_type(void *owner, const uint8_t *bytes, uint32_t n)
{
	struct vm *vm = owner;

	return partition_type(vm->partition, bytes, n);
}

static void on_partition(void *arg, uint32_t events)
{
	static const enum vm_status statuses[] = {
		[PARTITION_POWERED_OFF] = VM_OFF, [PARTITION_STOPPED] = VM_OFF,
		[PARTITION_RESET] = VM_RESET, [PARTITION_CRASHED] = VM_CRASHED,
		[PARTITION_CUT_OFF] = VM_CUT_OFF,
	};
	struct vm *vm = arg;
	enum partition_end end = partition_run(vm->partition);

	if (end == PARTITION_RUNS)
		return;
	vm->status = statuses[end];
	if (end == PARTITION_CUT_OFF)
		log_error("%s: ended: %s", vm->options.partition.name,
			  partition_why(vm->partition));
	else
		log_info("%s: ended: %s", vm->options.partition.name,
			  partition_why(vm->partition));
	loop_stop(vm->loop);
}

static void on_signal(void *arg, uint32_t events)
{
	struct vm *vm = arg;
	struct signalfd_siginfo info;

	if (read(vm->signal_fd, &info, sizeof(info)) == sizeof(info))
		partition_stop(vm->partition);
}

static int start(struct vm *vm, struct err *err)
{
	sigset_t set;
	int ret;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	vm->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	ret = loop_create(&vm->loop, err);
	if (!ret)
		ret = vm_console_create(&vm->options, &vm->console, err);
	if (ret)
		return ret;
	vm->options.partition.ops = &partition_ops;
	vm->options.partition.owner = vm;
	ret = partition_create(&vm->options.partition, &vm->partition, err);
	if (ret)
		return ret;
	if (loop_fd_add(vm->loop, vm->signal_fd, EPOLLIN, on_signal, vm) ||
	    loop_fd_add(vm->loop, partition_fd(vm->partition), EPOLLIN, on_partition, vm) ||
	    vm_console_watch(vm->console, vm->loop, on_type, vm))
		return err_set(err, EMFILE, "cannot make the control loop's descriptors");
	if (vm_console_path(vm->console))
		log_info("%s: console on %s", vm->options.partition.name,
			 vm_console_path(vm->console));
	if (vm->options.control) {
		ret = vm_control_create(vm, vm->options.control, &vm->server, err);
		if (ret)
			return ret;
	}
	ret = partition_start(vm->partition, err);
	if (!ret && !vm->options.no_sandbox)
		ret = partition_sandbox_enter(err);
	return ret;
}

int main(int argc, char **argv)
{
	struct vm vm = { .signal_fd = -1, .status = VM_FAILED };
	struct err err = {};
	int ret = vm_options_parse(&vm.options, argc, argv, &err);

	if (ret > 0)
		return 0;
	if (ret < 0) {
		fprintf(stderr, "weft-vm: %s; see weft-vm --help\n", err.text);
		return VM_USAGE;
	}
	if (vm.options.debug)
		log_set_level(LOG_LEVEL_DEBUG);
	ret = start(&vm, &err);
	if (ret)
		log_error("%s: %s", vm.options.partition.name, err.text);
	else
		ret = loop_run(vm.loop);
	server_destroy(vm.server);
	partition_destroy(vm.partition);
	vm_console_destroy(vm.console);
	loop_destroy(vm.loop);
	return ret ? VM_FAILED : (int)vm.status;
}
