// SPDX-License-Identifier: Apache-2.0
// libnl knows classifiers that not every kernel is built with; a program of two BPF instructions
// needs nothing but cls_bpf, and libnl has no words for it.
#include "daemon/host_filter.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <netlink/msg.h>
#include <netlink/netlink.h>

#define PRIORITY 0x7765u // "we": a place of our own among the interface's filters
#define HANDLE 1u

// A program that drops whatever it is shown; its descriptor or -1.
static int drop_program(void)
{
	static const struct bpf_insn drop[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = TC_ACT_SHOT },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SCHED_CLS;
	attr.insns = (uint64_t)(uintptr_t)drop;
	attr.insn_cnt = sizeof(drop) / sizeof(drop[0]);
	attr.license = (uint64_t)(uintptr_t)"Apache-2.0";
	return (int)syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static struct nl_msg *message(int type, int flags, const struct tcmsg *tc, const char *kind)
{
	struct nl_msg *msg = nlmsg_alloc_simple(type, flags);

	if (msg && nlmsg_append(msg, (void *)tc, sizeof(*tc), NLMSG_ALIGNTO) == 0 &&
	    nla_put_string(msg, TCA_KIND, kind) == 0)
		return msg;
	nlmsg_free(msg);
	return NULL;
}

// The two ways in, to which a filter can be tied.
static int add_qdisc(struct nl_sock *sk, int index)
{
	const struct tcmsg tc = { .tcm_family = AF_UNSPEC,
				  .tcm_ifindex = index,
				  .tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0),
				  .tcm_parent = TC_H_CLSACT };
	struct nl_msg *msg = message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &tc, "clsact");
	int ret = msg ? nl_send_sync(sk, msg) : -NLE_NOMEM;

	return ret == -NLE_EXIST ? 0 : ret;
}

static struct tcmsg filter_place(int index)
{
	return (struct tcmsg){ .tcm_family = AF_UNSPEC,
			       .tcm_ifindex = index,
			       .tcm_handle = HANDLE,
			       .tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
			       .tcm_info = TC_H_MAKE(PRIORITY << 16, htons(ETH_P_ALL)) };
}

static int add_filter(struct nl_sock *sk, int index, int program)
{
	const struct tcmsg tc = filter_place(index);
	struct nl_msg *msg = message(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &tc, "bpf");
	struct nlattr *options = msg ? nla_nest_start(msg, TCA_OPTIONS) : NULL;
	int ret;

	if (!options || nla_put_u32(msg, TCA_BPF_FD, (uint32_t)program) ||
	    nla_put_string(msg, TCA_BPF_NAME, "weft") ||
	    nla_put_u32(msg, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT)) {
		nlmsg_free(msg);
		return -NLE_NOMEM;
	}
	nla_nest_end(msg, options);
	ret = nl_send_sync(sk, msg);
	return ret == -NLE_EXIST ? 0 : ret;
}

int host_filter_add(struct nl_sock *sk, int index, struct err *err)
{
	int program = drop_program(), ret;

	if (program < 0)
		return err_set(err, errno, "the kernel takes no BPF program: %s", strerror(errno));
	ret = add_qdisc(sk, index);
	if (ret == 0)
		ret = add_filter(sk, index, program);
	close(program); // the filter has it
	if (ret < 0)
		return err_set(err, EIO, "cannot keep the host's own stack from the interface: %s",
			       nl_geterror(ret));
	return 0;
}

void host_filter_del(struct nl_sock *sk, int index)
{
	const struct tcmsg tc = filter_place(index);
	struct nl_msg *msg = message(RTM_DELTFILTER, 0, &tc, "bpf");

	// The qdisc stays: it does nothing by itself, and somebody else may use it by now.
	if (msg)
		nl_send_sync(sk, msg);
}

static bool is_packet_socket(int fd, int index)
{
	struct sockaddr_ll at = { 0 };
	socklen_t len = sizeof(at);

	return getsockname(fd, (struct sockaddr *)&at, &len) == 0 && at.sll_family == AF_PACKET &&
	       at.sll_ifindex == index;
}

// The drivers keep their sockets to themselves; so look at all we have. PACKET_IGNORE_OUTGOING has
// no effect on a socket that has joined a fanout group, as net_af_packet's do.
void host_filter_ignore_sent(int index)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	const struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] != '.' && is_packet_socket(fd, index))
			setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
	}
	if (dir)
		closedir(dir);
}
