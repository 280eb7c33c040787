// SPDX-License-Identifier: Apache-2.0
#include "partition/sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/types.h"

// Resets make a VM and threads anew, and read the kernel's files; saving writes one; NICs come and
// go. So most of what a start needs is still needed.
static const int allowed[] = {
	// The guest's work first: the list is searched from here.
	SYS_ioctl, SYS_read, SYS_write, SYS_futex, SYS_epoll_wait, SYS_epoll_pwait,
	SYS_timerfd_settime, SYS_recvmsg, SYS_sendmsg, SYS_rt_sigreturn, SYS_clock_gettime,
	// Memory and files.
	SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_memfd_create,
	SYS_ftruncate, SYS_fallocate, SYS_openat, SYS_close, SYS_fstat, SYS_newfstatat, SYS_lseek,
	SYS_pread64, SYS_pwrite64, SYS_readv, SYS_writev, SYS_fcntl, SYS_dup, SYS_dup2, SYS_dup3,
	SYS_rename, SYS_unlink, SYS_fsync, SYS_getrandom,
	// Events and sockets.
	SYS_epoll_create1, SYS_epoll_ctl, SYS_eventfd2, SYS_timerfd_create, SYS_signalfd4, SYS_poll,
	SYS_ppoll, SYS_socket, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4,
	SYS_getsockopt, SYS_setsockopt, SYS_getsockname, SYS_getpeername, SYS_sendto,
	SYS_recvfrom, SYS_shutdown, SYS_chmod, SYS_fchmod, SYS_chown, SYS_lchown, SYS_fchownat,
	// Threads, signals and time.
	SYS_clone, SYS_clone3, SYS_set_robust_list, SYS_rseq, SYS_exit, SYS_exit_group, SYS_gettid,
	SYS_getpid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getgroups, SYS_tgkill,
	SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_sigaltstack, SYS_prctl, SYS_sched_yield,
	SYS_sched_getaffinity, SYS_nanosleep, SYS_clock_nanosleep, SYS_clock_getres,
	SYS_restart_syscall, SYS_sysinfo,
};

int partition_sandbox_enter(struct err *err)
{
	enum { N = ARRAY_SIZE(allowed), HEAD = 4 };
	struct sock_filter code[HEAD + N + 2] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	const struct sock_fprog program = { .len = ARRAY_SIZE(code), .filter = code };

	static_assert(N < 256); // how far a jump reaches
	for (unsigned int i = 0; i < N; i++)
		code[HEAD + i] = (struct sock_filter){ .code = BPF_JMP | BPF_JEQ | BPF_K,
						       .jt = (uint8_t)(N - i),
						       .k = (uint32_t)allowed[i] };
	code[HEAD + N] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	code[HEAD + N + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program))
		return err_set(err, errno, "no sandbox: %s", strerror(errno));
	return 0;
}
