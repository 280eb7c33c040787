// SPDX-License-Identifier: Apache-2.0
// What a person configures of the switch core: switches, ports and their filter rules, and how
// that becomes a struct vswitch_cfg. Devices behind ports are the daemon's. control.
#pragma once

#include "base/values.h"
#include "control/model.h"
#include "vswitch/vswitch.h"

enum switch_kind { SWITCH_EXTERNAL, SWITCH_INTERNAL, SWITCH_PRIVATE };
enum port_role { ROLE_GUEST, ROLE_INTERNAL, ROLE_UPLINK };
enum isolation {
	ISOLATION_AUTO,
	ISOLATION_NONE,
	ISOLATION_VLAN,
	ISOLATION_NATIVE_SUBNET,
	ISOLATION_EXTERNAL_SUBNET
};
enum vlan_mode { VLAN_AUTO, VLAN_UNTAGGED, VLAN_ACCESS, VLAN_TRUNK };
enum choice { CHOICE_AUTO, CHOICE_ON, CHOICE_OFF };
enum vmq_mode { VMQ_MODE_DYNAMIC, VMQ_MODE_STATIC, VMQ_MODE_OFF };

struct switch_obj {
	struct object head;
	enum switch_kind type;
	bool flood_unknown;
	uint32_t ageing;
	enum vmq_mode vmq;
	uint16_t vmq_base_processor, vmq_max_processors;
	bool default_queue_vmmq_enabled;
	uint16_t default_queue_vmmq_queue_pairs;
};

struct port_obj {
	struct object head;
	char *switch_name;
	unsigned int kind; // position in port_kind_words
	enum port_role role;
	char *friendly_name;
	struct guid guid;
	struct mac mac;
	enum vlan_mode vlan_mode;
	uint16_t vlan, native_vlan;
	bool accept_untagged;
	struct vlan_set allowed_vlans;
	enum choice learning;
	uint32_t max_macs, move_limit, storm_limit, miss_budget;
	uint16_t mtu, queues;
	uint16_t vmq_weight, vmmq_queue_pairs;
	bool vmmq_enabled, vrss_enabled;
	bool blocked;
	char *ifname, *netns, *devargs, *rx_file, *tx_file, *filter, *peer;
	uint32_t loops;
	bool move_address;
	char *vm_user, *vm_token_file;
	bool connected, rsc, mac_spoofing;
	uint32_t link_speed; // Mbit/s
	char *subnet;
	enum isolation isolation;
};

struct rule_obj {
	struct object head;
	char *port;
	unsigned int direction; // 0 in, 1 out
	uint16_t priority;
	unsigned int action;    // 0 allow, 1 deny
	unsigned int protocol;  // position in the field's words
	struct ip_prefix source, destination;
	struct port_range source_ports, destination_ports;
};

extern const struct object_type switch_type, rule_type;
extern struct object_type port_type; // its `status` is set by the daemon, which knows devices
extern const char *const port_kind_words[]; // "tap", …, in the order of port_obj.kind

// Fills in a random GUID if there is none. 0 or -EIO with a sentence.
int guid_generate(struct guid *guid, struct err *err);

// IP protocol number of a rule, -1: any.
int16_t rule_protocol(const struct rule_obj *r);

// Learning as it takes effect: by role and address when it says "auto".
bool port_learns(const struct port_obj *p);
