// SPDX-License-Identifier: Apache-2.0
// vmbus-user's messages and the state memory as bytes: docs/vmbus-user.md as structs, version 1.
// Included by both ends (netvsp's server, a VMM's client). No behaviour. A section number in a
// comment is that page's.
#pragma once

#include "base/types.h"

#define VMBUS_USER_VERSION 1
#define VMBUS_USER_MAGIC 0x55424d56u // "VMBU"
#define VMBUS_USER_PACKED __attribute__((packed))

// Section 11.
enum {
	VMBUS_USER_MAX_MESSAGE = 4096, // bytes
	VMBUS_USER_MAX_FDS = 4,        // of a message
	VMBUS_USER_MAX_NAME = 64,      // of a NIC, bytes
	VMBUS_USER_MAX_REQUESTS = 64,  // without reply, each way
	VMBUS_USER_MAX_CHANNELS = 64,
	VMBUS_USER_MAX_REGIONS = 64,
	VMBUS_USER_MAX_GPADLS = 192,
	VMBUS_USER_MAX_RUNS = 8192,      // of a GPADL
	VMBUS_USER_MAX_SECTIONS = 32767, // of the receive buffer
};
#define VMBUS_USER_PAGE_BYTES 4096u
#define VMBUS_USER_MAX_GPADL_BYTES (32u << 20)      // one GPADL
#define VMBUS_USER_MAX_ALL_GPADL_BYTES (1ull << 30) // those of a NIC

// Section 1.3.
enum vmbus_user_feature {
	VMBUS_USER_DIRECT = 1 << 0,
	VMBUS_USER_MONITOR = 1 << 1,
	VMBUS_USER_STATE = 1 << 2,
	VMBUS_USER_DIRTY = 1 << 3,
	VMBUS_USER_SUBCHANNELS = 1 << 4,
};

// Section 3. 1…127: VMM to switch; 128…255: switch to VMM.
enum vmbus_user_type {
	VMBUS_USER_TYPE_HELLO = 1,
	VMBUS_USER_TYPE_STATE = 2,
	VMBUS_USER_TYPE_REGION_ADD = 3,
	VMBUS_USER_TYPE_REGION_DEL = 4,
	VMBUS_USER_TYPE_GPADL = 5,
	VMBUS_USER_TYPE_GPADL_TEARDOWN = 6,
	VMBUS_USER_TYPE_OPEN = 7,
	VMBUS_USER_TYPE_CLOSE = 8,
	VMBUS_USER_TYPE_TARGET = 9,
	VMBUS_USER_TYPE_MONITOR = 10,
	VMBUS_USER_TYPE_START = 11,
	VMBUS_USER_TYPE_PAUSE = 12,
	VMBUS_USER_TYPE_RESUME = 13,
	VMBUS_USER_TYPE_SAVE = 14,
	VMBUS_USER_TYPE_DIRTY_LOG = 15,
	VMBUS_USER_TYPE_RESET = 16,
	VMBUS_USER_TYPE_SUBCHANNELS = 128,
	VMBUS_USER_TYPE_CHANNEL_FAILED = 129, // notice
	VMBUS_USER_TYPE_LEAVING = 130,        // notice
};

#define VMBUS_USER_REPLY 1 // header flag

struct VMBUS_USER_PACKED vmbus_user_header {
	le16 type;   // enum vmbus_user_type
	le16 flags;  // VMBUS_USER_REPLY
	le32 serial; // chosen by whoever asks
};
static_assert(sizeof(struct vmbus_user_header) == 8);

// The beginning of every reply; the whole of a plain one. After a failure text follows.
struct VMBUS_USER_PACKED vmbus_user_reply {
	struct vmbus_user_header header;
	le32 status; // 0 or a positive errno
	le32 reserved;
};
static_assert(sizeof(struct vmbus_user_reply) == 16);

// PAUSE, RESUME, SAVE, START, RESET: nothing but a header and 8 reserved bytes.
struct VMBUS_USER_PACKED vmbus_user_plain {
	struct vmbus_user_header header;
	le64 reserved;
};
static_assert(sizeof(struct vmbus_user_plain) == 16);

// 3.1
struct VMBUS_USER_PACKED vmbus_user_hello {
	struct vmbus_user_header header;
	le32 magic; // VMBUS_USER_MAGIC
	le16 version_min, version_max;
	le64 features;     // offered
	// of the NIC; NULs behind it, none at the end if it is that long
	char name[VMBUS_USER_MAX_NAME];
	uint8_t token[32]; // zeros: none
	le64 reserved;
};
static_assert(sizeof(struct vmbus_user_hello) == 128);
static_assert(offsetof(struct vmbus_user_hello, token) == 88);

struct VMBUS_USER_PACKED vmbus_user_hello_reply {
	struct vmbus_user_reply head;
	le16 version;      // chosen
	le16 max_channels; // 1…64
	le32 max_regions;
	le64 features;    // agreed on
	le64 instance;    // random number of this life of the switch, never 0
	le64 state_bytes; // size of the state memory, 0 without STATE
	le16 state_layout_min, state_layout_max;
	uint8_t reserved[12];
	uint8_t guid[16]; // instance GUID, as in OFFER_CHANNEL
};
static_assert(sizeof(struct vmbus_user_hello_reply) == 80);
static_assert(offsetof(struct vmbus_user_hello_reply, state_layout_min) == 48);
static_assert(offsetof(struct vmbus_user_hello_reply, guid) == 64);

enum vmbus_user_origin { VMBUS_USER_NEW, VMBUS_USER_KEPT, VMBUS_USER_IMAGE };

// 3.2; fd 0: the memfd
struct VMBUS_USER_PACKED vmbus_user_state {
	struct vmbus_user_header header;
	le32 origin; // enum vmbus_user_origin
	le32 reserved;
	le64 bytes;
};
static_assert(sizeof(struct vmbus_user_state) == 24);

#define VMBUS_USER_REGION_READ_ONLY 1

// 3.3; fd 0: the memory
struct VMBUS_USER_PACKED vmbus_user_region_add {
	struct vmbus_user_header header;
	le32 region;
	le32 flags;
	le64 gpa, bytes; // multiples of 4096
	le64 offset;     // in the file, multiple of its page size
	le64 reserved;
};
static_assert(sizeof(struct vmbus_user_region_add) == 48);

struct VMBUS_USER_PACKED vmbus_user_region_del {
	struct vmbus_user_header header;
	le32 region;
	le32 reserved;
};
static_assert(sizeof(struct vmbus_user_region_del) == 16);

struct VMBUS_USER_PACKED vmbus_user_run {
	le64 gpa;
	le32 bytes; // not 0
	le32 reserved;
};
static_assert(sizeof(struct vmbus_user_run) == 16);

#define VMBUS_USER_GPADL_FIRST 1
#define VMBUS_USER_GPADL_LAST 2
#define VMBUS_USER_GPADL_MAX_RUNS 254 // in one message

// 3.4
struct VMBUS_USER_PACKED vmbus_user_gpadl {
	struct vmbus_user_header header;
	le32 gpadl;
	le32 flags;
	le64 bytes;  // of the whole GPADL
	le32 n_runs; // in this message, 1…254
	le32 channel;
	struct vmbus_user_run runs[]; // n_runs
};
static_assert(sizeof(struct vmbus_user_gpadl) == 32);
static_assert(sizeof(struct vmbus_user_gpadl) +
		      VMBUS_USER_GPADL_MAX_RUNS * sizeof(struct vmbus_user_run) ==
	      VMBUS_USER_MAX_MESSAGE);

struct VMBUS_USER_PACKED vmbus_user_gpadl_teardown {
	struct vmbus_user_header header;
	le32 gpadl;
	le32 channel;
};
static_assert(sizeof(struct vmbus_user_gpadl_teardown) == 16);

enum vmbus_user_mode { VMBUS_USER_MODE_NONE, VMBUS_USER_MODE_CALL, VMBUS_USER_MODE_DIRECT };

// 5.2: where the guest's bell hangs.
struct VMBUS_USER_PACKED vmbus_user_target {
	le32 mode; // enum vmbus_user_mode
	le32 flag; // 1…2047
	le64 gpa;  // of the 256-byte flag area of (vp, sint)
	le32 vp, sint;
	le64 reserved;
};
static_assert(sizeof(struct vmbus_user_target) == 32);

#define VMBUS_USER_OPEN_RESUME 1
#define VMBUS_USER_NO_MONITOR 0xffffffffu

// 3.5; fd 0: rings when the guest signals; fd 1, unless NONE: what the switch writes
struct VMBUS_USER_PACKED vmbus_user_open {
	struct vmbus_user_header header;
	le32 channel; // 0…63
	le32 relid;
	le32 gpadl;         // both rings
	le32 h2g_page;      // where the ring from host to guest begins
	le32 open_serial;   // differs from that of every earlier OPEN of the channel; not 0
	le32 flags;         // VMBUS_USER_OPEN_RESUME
	le32 vmbus_version; // of the connection
	le32 monitor_id;    // 0…127 or VMBUS_USER_NO_MONITOR
	le64 guest_os_id;   // 0: unknown
	struct vmbus_user_target target;
	uint8_t reserved[16];
};
static_assert(sizeof(struct vmbus_user_open) == 96);
static_assert(offsetof(struct vmbus_user_open, guest_os_id) == 40);
static_assert(offsetof(struct vmbus_user_open, target) == 48);

struct VMBUS_USER_PACKED vmbus_user_close {
	struct vmbus_user_header header;
	le32 channel;
	le32 reserved;
};
static_assert(sizeof(struct vmbus_user_close) == 16);

// 3.6; fd 0, unless NONE: what the switch writes
struct VMBUS_USER_PACKED vmbus_user_set_target {
	struct vmbus_user_header header;
	le32 channel;
	le32 reserved;
	struct vmbus_user_target target;
};
static_assert(sizeof(struct vmbus_user_set_target) == 48);

#define VMBUS_USER_ON 1 // flag of MONITOR and of DIRTY_LOG

// 3.7
struct VMBUS_USER_PACKED vmbus_user_monitor {
	struct vmbus_user_header header;
	le32 flags;
	le32 reserved;
	le64 to_host_gpa, to_guest_gpa; // multiples of 4096
};
static_assert(sizeof(struct vmbus_user_monitor) == 32);

// 3.8
struct VMBUS_USER_PACKED vmbus_user_start_reply {
	struct vmbus_user_reply head;
	le64 n_batches; // that recovery finished
	le64 n_lost;    // frames, at most
};
static_assert(sizeof(struct vmbus_user_start_reply) == 32);

// 3.9
struct VMBUS_USER_PACKED vmbus_user_save_reply {
	struct vmbus_user_reply head;
	le64 bytes;
	le16 layout;
	uint8_t reserved[6];
};
static_assert(sizeof(struct vmbus_user_save_reply) == 32);

// 3.9; fd 0 with ON: the bitmap
struct VMBUS_USER_PACKED vmbus_user_dirty_log {
	struct vmbus_user_header header;
	le32 flags;
	le32 reserved;
	le64 bytes; // multiple of 8
	le64 reserved2;
};
static_assert(sizeof(struct vmbus_user_dirty_log) == 32);

// 3.10
struct VMBUS_USER_PACKED vmbus_user_subchannels {
	struct vmbus_user_header header;
	le32 n_wanted;
	le32 reserved;
};
static_assert(sizeof(struct vmbus_user_subchannels) == 16);

struct VMBUS_USER_PACKED vmbus_user_subchannels_reply {
	struct vmbus_user_reply head;
	le32 n_granted; // 0…n_wanted
	le32 reserved;
};
static_assert(sizeof(struct vmbus_user_subchannels_reply) == 24);

enum vmbus_user_failure {
	VMBUS_USER_FAILED_INDEX = 1,
	VMBUS_USER_FAILED_PACKET = 2,
	VMBUS_USER_FAILED_PROTOCOL = 3,
};

enum vmbus_user_leaving {
	VMBUS_USER_LEAVING_RESTART = 1,
	VMBUS_USER_LEAVING_REMOVED = 2,
	VMBUS_USER_LEAVING_FAULT = 3,
	VMBUS_USER_LEAVING_PROTOCOL = 4,
	VMBUS_USER_LEAVING_STATE = 5,
};

// 3.11
struct VMBUS_USER_PACKED vmbus_user_channel_failed {
	struct vmbus_user_header header;
	le32 channel;
	le32 reason; // enum vmbus_user_failure
	char text[64];
};
static_assert(sizeof(struct vmbus_user_channel_failed) == 80);

struct VMBUS_USER_PACKED vmbus_user_leaving_notice {
	struct vmbus_user_header header;
	le32 reason;     // enum vmbus_user_leaving
	le32 back_in_ms; // 0xffffffff: never
	char text[64];
};
static_assert(sizeof(struct vmbus_user_leaving_notice) == 80);
