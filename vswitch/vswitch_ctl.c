// SPDX-License-Identifier: Apache-2.0
#include "vswitch/vswitch_ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "vswitch/layer_filter.h"

// --- switches ----------------------------------------------------------------------------------

static const char *const switch_kind_words[] = { "external", "internal", "private", NULL };
static const char *const vmq_mode_words[] = { "dynamic", "static", "off", NULL };

static const struct field switch_fields[] = {
	FIELD(struct switch_obj, type, FIELD_ENUM, .words = switch_kind_words, .def = "external",
	      .help = "who may attach: external: everybody; internal: guests and the host; "
		      "private: guests only"),
	FIELD(struct switch_obj, flood_unknown, FIELD_BOOL, .def = "true",
	      .help = "frames for unknown addresses go to all ports of their VLAN, else nowhere"),
	FIELD(struct switch_obj, ageing, FIELD_UINT, .min = 10, .max = 1000000, .def = "300",
	      .unit = "s", .help = "learnt addresses unseen for so long are forgotten"),
	FIELD(struct switch_obj, vmq, FIELD_ENUM, .words = vmq_mode_words, .def = "dynamic",
	      .flags = FIELD_DETAIL,
	      .help = "dynamic: queues move between workers by load; static: they stay where "
		      "they were put; off: all ports share the default queue"),
	FIELD(struct switch_obj, vmq_base_processor, FIELD_UINT, .max = 1023, .def = "0",
	      .flags = FIELD_DETAIL, .help = "lowest CPU whose worker may serve its queues"),
	FIELD(struct switch_obj, vmq_max_processors, FIELD_UINT, .min = 1, .max = WORKER_MAX,
	      .def = "32", .flags = FIELD_DETAIL,
	      .help = "how many workers, from that CPU up, may serve its queues"),
	FIELD(struct switch_obj, default_queue_vmmq_enabled, FIELD_BOOL, .def = "true",
	      .flags = FIELD_DETAIL,
	      .help = "an uplink's queues beside the first may be on other workers"),
	FIELD(struct switch_obj, default_queue_vmmq_queue_pairs, FIELD_UINT, .min = 1,
	      .max = PORT_MAX_QUEUES, .def = "16", .flags = FIELD_DETAIL,
	      .help = "over how many workers they are spread, at most"),
};

// A role that a switch has no place for. Returns 0 or -EINVAL.
static int check_role(const struct switch_obj *s, const struct port_obj *p, struct err *err)
{
	if (p->role == ROLE_UPLINK && s->type != SWITCH_EXTERNAL)
		return err_set(err, EINVAL,
			       "role=uplink of port %s needs an external switch, %s is %s; "
			       "weft set switch %s type=external",
			       p->head.name, s->head.name, switch_kind_words[s->type],
			       s->head.name);
	if (p->role == ROLE_INTERNAL && s->type == SWITCH_PRIVATE)
		return err_set(err, EINVAL,
			       "role=internal of port %s needs an external or internal switch, "
			       "%s is private",
			       p->head.name, s->head.name);
	return 0;
}

// A switch may not change its type under its ports.
static int check_switch(void *ctx, const struct object *obj, const struct model *model,
			struct err *err)
{
	const struct switch_obj *s = container_of(obj, struct switch_obj, head);
	const struct object *const *objs;
	size_t n = model_list(model, &port_type, &objs);
	int ret = 0;

	for (size_t i = 0; i < n && !ret; i++) {
		const struct port_obj *p = container_of(objs[i], struct port_obj, head);

		if (strcmp(p->switch_name, obj->name) == 0)
			ret = check_role(s, p, err);
	}
	return ret;
}

const struct object_type switch_type = {
	.name = "switch",
	.plural = "switches",
	.help = "a virtual switch",
	.size = sizeof(struct switch_obj),
	OBJECT_FIELDS(switch_fields),
	.check = check_switch,
};

// --- ports -------------------------------------------------------------------------------------

const char *const port_kind_words[] = { "tap",  "ethdev", "pcap", "pair",
					"null", "netvsp", NULL };
enum { KIND_TAP, KIND_ETHDEV, KIND_PCAP, KIND_PAIR, KIND_NULL, KIND_NETVSP };
static const char *const role_words[] = { "guest", "internal", "uplink", NULL };
static const char *const isolation_words[] = {
	"auto", "none", "vlan", "native-virtual-subnet", "external-virtual-subnet", NULL
};
static const char *const vlan_mode_words[] = { "auto", "untagged", "access", "trunk", NULL };
static const char *const choice_words[] = { "auto", "on", "off", NULL };

#define PORT(member, kind, ...) FIELD(struct port_obj, member, kind, __VA_ARGS__)

static const struct field port_fields[] = {
	{ .name = "switch", .type = FIELD_REF, .ref = "switch", .flags = FIELD_REQUIRED,
	  .offset = offsetof(struct port_obj, switch_name), .size = sizeof(char *),
	  .help = "the switch it belongs to" },
	PORT(kind, FIELD_ENUM, .words = port_kind_words, .def = "tap", .flags = FIELD_IMMUTABLE,
	     .help = "what is behind it: a kernel interface, a DPDK device, capture files, another "
		     "port, nothing, a Hyper-V style guest"),
	PORT(role, FIELD_ENUM, .words = role_words, .def = "guest",
	     .help = "guest: a virtual machine; internal: this host; uplink: the physical network"),
	PORT(friendly_name, FIELD_STRING, .flags = FIELD_DETAIL, .help = "a name for people"),
	PORT(guid, FIELD_GUID, .flags = FIELD_GENERATED | FIELD_UNIQUE | FIELD_DETAIL,
	     .help = "identity for controllers"),
	PORT(mac, FIELD_MAC, .flags = FIELD_GENERATED | FIELD_UNIQUE,
	     .help = "address behind it; a tap or netvsp port without one gets one from 00:15:5d"),
	PORT(subnet, FIELD_REF, .ref = "subnet",
	     .help = "virtual subnet that its untagged frames are in; not given: the "
		     "switch's VLAN"),
	PORT(isolation, FIELD_ENUM, .words = isolation_words, .def = "auto", .flags = FIELD_DETAIL,
	     .help = "what keeps it from others, to be refused where the other fields say "
		     "otherwise; auto: as they say"),
	PORT(vlan_mode, FIELD_ENUM, .words = vlan_mode_words, .def = "auto",
	     .help = "untagged: no VLAN; access: in `vlan`, frames untagged; trunk: many, tagged; "
		     "auto: trunk for an uplink, else untagged"),
	PORT(vlan, FIELD_UINT, .min = 1, .max = VID_MAX, .help = "VLAN of an access port"),
	PORT(native_vlan, FIELD_UINT, .min = 1, .max = VID_MAX, .flags = FIELD_DETAIL,
	     .help = "VLAN of a trunk's untagged frames; not given: the untagged network"),
	PORT(accept_untagged, FIELD_BOOL, .def = "true", .flags = FIELD_DETAIL,
	     .help = "a trunk takes and gives untagged frames"),
	PORT(allowed_vlans, FIELD_VLAN_SET, .flags = FIELD_DETAIL,
	     .help = "VLANs of a trunk; not given: all"),
	PORT(learning, FIELD_ENUM, .words = choice_words, .def = "auto", .flags = FIELD_DETAIL,
	     .help = "learn the addresses behind it; auto: not for a guest whose `mac` "
		     "is given and fixed"),
	PORT(max_macs, FIELD_UINT, .min = 1, .max = 1000000, .def = "65536", .flags = FIELD_DETAIL,
	     .help = "addresses learnt here, at most"),
	PORT(move_limit, FIELD_UINT, .max = 1000000, .def = "1000", .unit = "1/s",
	     .flags = FIELD_DETAIL, .help = "addresses that may move here from other ports"),
	PORT(storm_limit, FIELD_UINT, .max = 100000000, .def = "0", .unit = "frames/s",
	     .flags = FIELD_DETAIL,
	     .help = "broadcast, multicast and unknown frames it may send; 0: no limit"),
	PORT(miss_budget, FIELD_UINT, .min = 1, .max = 100000000, .def = "4000000",
	     .unit = "flows/s", .flags = FIELD_DETAIL, .help = "new flows it may make, per worker"),
	PORT(mtu, FIELD_UINT, .min = 576, .max = 9202, .def = "1500", .unit = "bytes",
	     .help = "largest packet without Ethernet header"),
	PORT(queues, FIELD_UINT, .min = 1, .max = PORT_MAX_QUEUES, .flags = FIELD_DETAIL,
	     .help = "queue pairs; not given: one a worker where the device has so many"),
	PORT(vmq_weight, FIELD_UINT, .max = 100, .def = "100", .flags = FIELD_DETAIL,
	     .help = "who gets a queue of its own first; 0: it stays on the default queue"),
	PORT(vmmq_enabled, FIELD_BOOL, .def = "true", .flags = FIELD_DETAIL,
	     .help = "its queue pairs may be on several workers"),
	PORT(vmmq_queue_pairs, FIELD_UINT, .min = 1, .max = PORT_MAX_QUEUES, .def = "16",
	     .flags = FIELD_DETAIL, .help = "on how many, at most"),
	PORT(vrss_enabled, FIELD_BOOL, .def = "true", .flags = FIELD_DETAIL,
	     .help = "its load may be spread at all: false is like vmmq_enabled=false"),
	PORT(blocked, FIELD_BOOL, .def = "false",
	     .help = "pass nothing yet, because its policy is still being written"),
	PORT(ifname, FIELD_STRING, .max = 15, .flags = FIELD_DETAIL,
	     .help = "tap: name of the kernel interface; not given: the port's name"),
	PORT(netns, FIELD_STRING, .max = 63, .flags = FIELD_DETAIL,
	     .help = "tap: network namespace that the interface is put into"),
	PORT(devargs, FIELD_STRING, .flags = FIELD_DETAIL,
	     .help = "ethdev: DPDK device, as 0000:01:00.0 or net_af_packet0,iface=eth1"),
	PORT(rx_file, FIELD_STRING, .max = 4095, .flags = FIELD_DETAIL,
	     .help = "pcap: capture whose frames come in"),
	PORT(tx_file, FIELD_STRING, .max = 4095, .flags = FIELD_DETAIL,
	     .help = "pcap: file that takes the frames sent to it"),
	PORT(filter, FIELD_STRING, .max = 4095, .flags = FIELD_DETAIL,
	     .help = "pcap: libpcap expression that frames of rx_file must match"),
	PORT(loops, FIELD_UINT, .max = UINT32_MAX, .def = "1", .flags = FIELD_DETAIL,
	     .help = "pcap: how often rx_file is played"),
	PORT(peer, FIELD_STRING, .max = 63, .flags = FIELD_DETAIL,
	     .help = "pair: word that both ends have in common"),
	PORT(move_address, FIELD_BOOL, .def = "false", .flags = FIELD_DETAIL,
	     .help = "uplink: move the host's addresses on the device to the internal port"),
	PORT(vm_user, FIELD_STRING, .max = 63, .flags = FIELD_DETAIL,
	     .help = "netvsp: name or number of the user whose VMM may attach; not given: weftd's "
		     "own"),
	PORT(vm_token_file, FIELD_STRING, .max = 4095, .flags = FIELD_DETAIL,
	     .help = "netvsp: file with the 32 bytes that the VMM must know too"),
	PORT(connected, FIELD_BOOL, .def = "true", .flags = FIELD_DETAIL,
	     .help = "netvsp: false takes the cable out of the guest's adapter"),
	PORT(link_speed, FIELD_UINT, .min = 1, .max = 400000, .def = "10000", .unit = "Mbit/s",
	     .flags = FIELD_DETAIL, .help = "netvsp: speed that the guest is told"),
	PORT(mac_spoofing, FIELD_BOOL, .def = "false", .flags = FIELD_DETAIL,
	     .help = "netvsp: the guest's driver may choose another address than `mac`"),
	PORT(rsc, FIELD_BOOL, .def = "false", .flags = FIELD_DETAIL,
	     .help = "netvsp: offer to give the guest TCP segments in one"),
	FIELD_LIVE(link, FIELD_STRING, .help = "up, or why it is down"),
	{ .name = "device", .type = FIELD_STRING, .flags = FIELD_READ_ONLY | FIELD_DETAIL,
	  .help = "what was opened" },
	{ .name = "workers", .type = FIELD_STRING, .flags = FIELD_READ_ONLY | FIELD_DETAIL,
	  .help = "worker of each queue" },
};

bool port_learns(const struct port_obj *p)
{
	if (p->learning != CHOICE_AUTO)
		return p->learning == CHOICE_ON;
	return p->role != ROLE_GUEST || mac_is_zero(p->mac) || p->mac_spoofing;
}

// The pool that Hyper-V hosts use, with bytes of our own behind Microsoft's prefix.
static int generate_mac(struct port_obj *p, const struct model *model, struct err *err)
{
	const struct object *const *objs;
	size_t n = model_list(model, &port_type, &objs);

	for (int attempt = 0; attempt < 64; attempt++) {
		struct mac mac = { .b = { 0x00, 0x15, 0x5d } };
		bool taken = false;

		if (getrandom(mac.b + 3, 3, 0) != 3)
			break;
		for (size_t i = 0; i < n && !taken; i++)
			taken = mac_to_u64(((const struct port_obj *)objs[i])->mac) ==
				mac_to_u64(mac);
		if (!taken) {
			p->mac = mac;
			return 0;
		}
	}
	return err_set(err, ENOSPC, "no free address in the pool 00:15:5d; give mac=");
}

int guid_generate(struct guid *guid, struct err *err)
{
	static const struct guid none;

	if (memcmp(guid, &none, sizeof(none)) != 0)
		return 0;
	if (getrandom(guid->b, sizeof(guid->b), 0) != sizeof(guid->b))
		return err_set(err, EIO, "the kernel gives no random numbers");
	guid->b[6] = (guid->b[6] & 0x0f) | 0x40; // RFC 9562, version 4
	guid->b[8] = (guid->b[8] & 0x3f) | 0x80;
	return 0;
}

static int generate_port(void *ctx, struct object *obj, const struct model *model, struct err *err)
{
	struct port_obj *p = container_of(obj, struct port_obj, head);
	int ret = guid_generate(&p->guid, err);

	if (ret)
		return ret;
	if (mac_is_zero(p->mac) && (p->kind == KIND_TAP || p->kind == KIND_NETVSP))
		return generate_mac(p, model, err);
	return 0;
}

static int check_vlan(const struct port_obj *p, struct err *err)
{
	static const struct vlan_set none;

	if (p->vlan_mode == VLAN_ACCESS && !p->vlan)
		return err_set(err, EINVAL, "an access port needs vlan=1…4094");
	if (p->vlan_mode != VLAN_ACCESS && p->vlan)
		return err_set(err, EINVAL, "vlan=%u needs vlan_mode=access", p->vlan);
	if (p->vlan_mode != VLAN_TRUNK && p->native_vlan)
		return err_set(err, EINVAL, "native_vlan=%u needs vlan_mode=trunk", p->native_vlan);
	if (p->vlan_mode != VLAN_TRUNK && memcmp(&p->allowed_vlans, &none, sizeof(none)) != 0)
		return err_set(err, EINVAL, "allowed_vlans needs vlan_mode=trunk");
	return 0;
}

static int check_isolation_mode(const struct port_obj *p, struct err *err)
{
	bool vlan = p->vlan_mode == VLAN_ACCESS || p->vlan_mode == VLAN_TRUNK ||
		    (p->vlan_mode == VLAN_AUTO && p->role == ROLE_UPLINK);
	const char *word = isolation_words[p->isolation];

	if (p->isolation == ISOLATION_EXTERNAL_SUBNET)
		return err_set(err, EOPNOTSUPP,
			       "isolation=%s needs a switch extension that forwards between "
			       "hosts, and there is none; native-virtual-subnet is done here",
			       word);
	if (p->isolation == ISOLATION_NATIVE_SUBNET && !p->subnet)
		return err_set(err, EINVAL, "isolation=%s needs subnet=", word);
	if ((p->isolation == ISOLATION_NONE || p->isolation == ISOLATION_VLAN) && p->subnet)
		return err_set(err, EINVAL, "isolation=%s: subnet=%s isolates by virtual subnet",
			       word, p->subnet);
	if (p->isolation == ISOLATION_NONE && vlan)
		return err_set(err, EINVAL, "isolation=%s: vlan_mode=%s isolates by VLAN", word,
			       vlan_mode_words[p->vlan_mode]);
	if (p->isolation == ISOLATION_VLAN && !vlan)
		return err_set(err, EINVAL, "isolation=%s needs vlan_mode=access or trunk", word);
	return 0;
}

static int check_isolation(const struct port_obj *p, struct err *err)
{
	if (p->subnet && p->role == ROLE_UPLINK)
		return err_set(err, EINVAL, "subnet=%s: an uplink carries all subnets, by its "
			       "provider addresses", p->subnet);
	if (p->subnet && p->vlan_mode != VLAN_AUTO && p->vlan_mode != VLAN_UNTAGGED)
		return err_set(err, EINVAL, "subnet=%s needs vlan_mode=untagged", p->subnet);
	return check_isolation_mode(p, err);
}

static int check_adapter(const struct port_obj *p, struct err *err)
{
	if (p->kind != KIND_NETVSP &&
	    (!p->connected || p->link_speed != 10000 || p->mac_spoofing || p->rsc))
		return err_set(err, EINVAL, "connected, link_speed, mac_spoofing and rsc are for "
			       "ports of kind netvsp, this is a %s", port_kind_words[p->kind]);
	return 0;
}

static int check_device(const struct port_obj *p, struct err *err)
{
	const struct {
		const char *name, *value;
		unsigned int kind;
	} options[] = {
		{ "ifname", p->ifname, KIND_TAP },    { "netns", p->netns, KIND_TAP },
		{ "devargs", p->devargs, KIND_ETHDEV }, { "rx_file", p->rx_file, KIND_PCAP },
		{ "tx_file", p->tx_file, KIND_PCAP }, { "filter", p->filter, KIND_PCAP },
		{ "peer", p->peer, KIND_PAIR },           { "vm_user", p->vm_user, KIND_NETVSP },
		{ "vm_token_file", p->vm_token_file, KIND_NETVSP },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].value && options[i].kind != p->kind)
			return err_set(err, EINVAL, "%s is for ports of kind %s, this is a %s",
				       options[i].name, port_kind_words[options[i].kind],
				       port_kind_words[p->kind]);
	if (p->kind == KIND_ETHDEV && !p->devargs)
		return err_set(err, EINVAL, "an ethdev port needs devargs=, as in "
			       "devargs=0000:01:00.0");
	if (p->kind == KIND_PCAP && !p->rx_file && !p->tx_file)
		return err_set(err, EINVAL, "a pcap port needs rx_file= or tx_file=");
	if (p->move_address && (p->kind != KIND_ETHDEV || p->role != ROLE_UPLINK))
		return err_set(err, EINVAL, "move_address=true is for ports with kind=ethdev "
			       "role=uplink");
	if (p->kind == KIND_PAIR && !p->peer)
		return err_set(err, EINVAL, "a pair port needs peer=, the same word at both ends");
	return check_adapter(p, err);
}

static int check_port(void *ctx, const struct object *obj, const struct model *model,
		      struct err *err)
{
	const struct port_obj *p = container_of(obj, struct port_obj, head);
	const struct object *o = model_find(model, &switch_type, p->switch_name);
	int ret;

	if (mac_is_group(p->mac))
		return err_set(err, EINVAL, "mac: a port's address cannot be a group address");
	ret = check_role(container_of(o, struct switch_obj, head), p, err);
	if (!ret)
		ret = check_vlan(p, err);
	if (!ret)
		ret = check_isolation(p, err);
	return ret ? ret : check_device(p, err);
}

// --- rules -------------------------------------------------------------------------------------

static const char *const direction_words[] = { "in", "out", NULL };
static const char *const action_words[] = { "allow", "deny", NULL };
static const char *const protocol_words[] = { "any", "tcp",  "udp", "icmp", "icmpv6",
					      "sctp", "gre", "esp", "ah",   NULL };
static const int16_t protocol_numbers[] = {
	-1,           IP_PROTO_TCP, IP_PROTO_UDP, IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP,
	IP_PROTO_GRE, IP_PROTO_ESP, IP_PROTO_AH
};

int16_t rule_protocol(const struct rule_obj *r)
{
	return protocol_numbers[r->protocol];
}

#define RULE(member, kind, ...) FIELD(struct rule_obj, member, kind, __VA_ARGS__)

static const struct field rule_fields[] = {
	RULE(port, FIELD_REF, .ref = "port", .flags = FIELD_REQUIRED, .help = "port it guards"),
	RULE(direction, FIELD_ENUM, .words = direction_words, .def = "in",
	     .help = "in: frames that come from the port; out: frames that go to it"),
	RULE(priority, FIELD_UINT, .max = UINT16_MAX, .def = "100",
	     .help = "rules are looked at from the lowest number up, the first match decides"),
	RULE(action, FIELD_ENUM, .words = action_words, .flags = FIELD_REQUIRED,
	     .help = "what happens to a frame that matches"),
	RULE(protocol, FIELD_ENUM, .words = protocol_words, .def = "any", .help = "IP protocol"),
	RULE(source, FIELD_PREFIX, .help = "source addresses; not given: all"),
	RULE(destination, FIELD_PREFIX, .help = "destination addresses; not given: all"),
	RULE(source_ports, FIELD_PORT_RANGE, .help = "source ports; not given: all"),
	RULE(destination_ports, FIELD_PORT_RANGE, .help = "destination ports; not given: all"),
};

static int check_rule(void *ctx, const struct object *obj, const struct model *model,
		      struct err *err)
{
	const struct rule_obj *r = container_of(obj, struct rule_obj, head);
	bool ports = r->source_ports.last || r->destination_ports.last;
	int16_t protocol = rule_protocol(r);

	if (ports && protocol >= 0 && protocol != IP_PROTO_TCP &&
	    protocol != IP_PROTO_UDP && protocol != IP_PROTO_SCTP)
		return err_set(err, EINVAL, "protocol=%s has no ports; drop source_ports and "
			       "destination_ports", protocol_words[r->protocol]);
	if (r->source.family && r->destination.family &&
	    r->source.family != r->destination.family)
		return err_set(err, EINVAL, "source is IPv%u and destination IPv%u: nothing can "
			       "match both", r->source.family, r->destination.family);
	return 0;
}

struct object_type port_type = {
	.name = "port",
	.plural = "ports",
	.help = "a place where frames enter and leave a switch",
	.size = sizeof(struct port_obj),
	OBJECT_FIELDS(port_fields),
	.generate = generate_port,
	.check = check_port,
};

const struct object_type rule_type = {
	.name = "rule",
	.plural = "rules",
	.help = "allows or denies frames at a port by their 5-tuple",
	.size = sizeof(struct rule_obj),
	OBJECT_FIELDS(rule_fields),
	.check = check_rule,
};
