// SPDX-License-Identifier: Apache-2.0
// An interface that speaks one VLAN, on kernels without 8021q: what leaves is tagged with VID,
// what arrives loses that tag, other frames are dropped. tests/scenario/vlan-tag compiles it with
// -DVID=… and attaches both programs to the interface.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

// Calls into the kernel, by number; proto is big endian.
static long (*const vlan_push)(void *skb, __u16 proto, __u16 tci) = (void *)BPF_FUNC_skb_vlan_push;
static long (*const vlan_pop)(void *skb) = (void *)BPF_FUNC_skb_vlan_pop;

__attribute__((section("egress"), used)) int tag(struct __sk_buff *skb)
{
	return vlan_push(skb, __builtin_bswap16(ETH_P_8021Q), VID) ? TC_ACT_SHOT : TC_ACT_OK;
}

__attribute__((section("ingress"), used)) int untag(struct __sk_buff *skb)
{
	if (!skb->vlan_present || (skb->vlan_tci & 0xfff) != VID)
		return TC_ACT_SHOT;
	return vlan_pop(skb) ? TC_ACT_SHOT : TC_ACT_OK;
}
