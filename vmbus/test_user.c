// SPDX-License-Identifier: Apache-2.0
// The handshake of docs/vmbus-user.md, section 12, built from the structs of user.h: the page and
// the header say the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "vmbus/state.h"

// Is `text` (bytes in hexadecimal, zeros behind them) the message[size]?
static void expect(const void *message, size_t size, const char *text)
{
	uint8_t bytes[256] = {};
	int used;

	assert_true(size <= sizeof(bytes));
	for (size_t i = 0; sscanf(text, "%2hhx%n", &bytes[i], &used) == 1; i++)
		text += used;
	assert_memory_equal(message, bytes, size);
}

static struct vmbus_user_header header(uint16_t type, uint32_t serial, uint16_t flags)
{
	return (struct vmbus_user_header){ cpu_to_le16(type), cpu_to_le16(flags),
					   cpu_to_le32(serial) };
}

static void hello_is_as_written(void **state)
{
	struct vmbus_user_hello hello = {
		.header = header(VMBUS_USER_TYPE_HELLO, 1, 0),
		.magic = cpu_to_le32(VMBUS_USER_MAGIC),
		.version_min = cpu_to_le16(VMBUS_USER_VERSION),
		.version_max = cpu_to_le16(VMBUS_USER_VERSION),
		.features = cpu_to_le64(VMBUS_USER_DIRECT | VMBUS_USER_STATE |
					VMBUS_USER_SUBCHANNELS),
		.name = "web0",
	};
	struct vmbus_user_hello_reply reply = {
		.head.header = header(VMBUS_USER_TYPE_HELLO, 1, VMBUS_USER_REPLY),
		.version = cpu_to_le16(VMBUS_USER_VERSION),
		.max_channels = cpu_to_le16(VMBUS_USER_MAX_CHANNELS),
		.max_regions = cpu_to_le32(VMBUS_USER_MAX_REGIONS),
		.features = hello.features,
		.instance = cpu_to_le64(0x1122334455667788),
		.state_bytes = cpu_to_le64(sizeof(struct vmbus_state)),
		.state_layout_min = cpu_to_le16(VMBUS_STATE_LAYOUT),
		.state_layout_max = cpu_to_le16(VMBUS_STATE_LAYOUT),
		.guid = { 0x6e, 0xbb, 0xd5, 0x9f, 0xa1, 0x4e, 0x51, 0x4f, 0x92, 0x31, 0, 0x15,
			  0x5d, 0, 0, 1 },
	};

	expect(&hello, sizeof(hello), "01 00 00 00 01 00 00 00  56 4d 42 55 01 00 01 00"
				      "15 00 00 00 00 00 00 00  77 65 62 30");
	expect(&reply, sizeof(reply), "01 00 01 00 01 00 00 00  00 00 00 00 00 00 00 00"
				      "01 00 40 00 40 00 00 00  15 00 00 00 00 00 00 00"
				      "88 77 66 55 44 33 22 11  00 50 0e 00 00 00 00 00"
				      "01 00 01 00 00 00 00 00  00 00 00 00 00 00 00 00"
				      "6e bb d5 9f a1 4e 51 4f  92 31 00 15 5d 00 00 01");
}

static void loading_is_as_written(void **state)
{
	struct vmbus_user_state memory = {
		.header = header(VMBUS_USER_TYPE_STATE, 2, 0),
		.origin = cpu_to_le32(VMBUS_USER_NEW),
		.bytes = cpu_to_le64(sizeof(struct vmbus_state)),
	};
	struct vmbus_user_region_add region = {
		.header = header(VMBUS_USER_TYPE_REGION_ADD, 3, 0),
		.bytes = cpu_to_le64(256 << 20),
	};
	struct vmbus_user_reply reply = {
		.header = header(VMBUS_USER_TYPE_STATE, 2, VMBUS_USER_REPLY),
	};

	expect(&memory, sizeof(memory), "02 00 00 00 02 00 00 00  00 00 00 00 00 00 00 00"
					"00 50 0e 00 00 00 00 00");
	expect(&region, sizeof(region), "03 00 00 00 03 00 00 00  00 00 00 00 00 00 00 00"
					"00 00 00 00 00 00 00 00  00 00 00 10 00 00 00 00");
	expect(&reply, sizeof(reply), "02 00 01 00 02 00 00 00  00 00 00 00 00 00 00 00");
}

static void opening_is_as_written(void **state)
{
	struct {
		struct vmbus_user_gpadl head;
		struct vmbus_user_run runs[2];
	} gpadl = {
		.head = {
			.header = header(VMBUS_USER_TYPE_GPADL, 5, 0),
			.gpadl = cpu_to_le32(0xe1e10),
			.flags = cpu_to_le32(VMBUS_USER_GPADL_FIRST | VMBUS_USER_GPADL_LAST),
			.bytes = cpu_to_le64(1 << 20),
			.n_runs = cpu_to_le32(2),
		},
		.runs = { { .gpa = cpu_to_le64(0x3400000), .bytes = cpu_to_le32(512 << 10) },
			  { .gpa = cpu_to_le64(0x4a00000), .bytes = cpu_to_le32(512 << 10) } },
	};
	struct vmbus_user_open open = {
		.header = header(VMBUS_USER_TYPE_OPEN, 6, 0),
		.relid = cpu_to_le32(5),
		.gpadl = cpu_to_le32(0xe1e10),
		.h2g_page = cpu_to_le32(128),
		.open_serial = cpu_to_le32(1),
		.vmbus_version = cpu_to_le32(0x00050003),
		.monitor_id = cpu_to_le32(VMBUS_USER_NO_MONITOR),
		.target = { .mode = cpu_to_le32(VMBUS_USER_MODE_DIRECT),
			    .flag = cpu_to_le32(5),
			    .gpa = cpu_to_le64(0x3ff000 + 2 * 256),
			    .sint = cpu_to_le32(2) },
	};

	expect(&gpadl, sizeof(gpadl), "05 00 00 00 05 00 00 00  10 1e 0e 00 03 00 00 00"
				      "00 00 10 00 00 00 00 00  02 00 00 00 00 00 00 00"
				      "00 00 40 03 00 00 00 00  00 00 08 00 00 00 00 00"
				      "00 00 a0 04 00 00 00 00  00 00 08 00 00 00 00 00");
	expect(&open, sizeof(open), "07 00 00 00 06 00 00 00  00 00 00 00 05 00 00 00"
				    "10 1e 0e 00 80 00 00 00  01 00 00 00 00 00 00 00"
				    "03 00 05 00 ff ff ff ff  00 00 00 00 00 00 00 00"
				    "02 00 00 00 05 00 00 00  00 f2 3f 00 00 00 00 00"
				    "00 00 00 00 02 00 00 00");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hello_is_as_written),
		cmocka_unit_test(loading_is_as_written),
		cmocka_unit_test(opening_is_as_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
