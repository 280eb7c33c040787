// SPDX-License-Identifier: Apache-2.0
#include "partition/platform.h"

#include <errno.h>
#include <time.h>

enum { CMOS_INDEX = 0x70, CMOS_DATA = 0x71, KEYBOARD = 0x64, KEYBOARD_RESET = 0xfe };
enum { SLEEP_ENABLE = 0x20, SLEEP_TYPE_SHIFT = 2, RESET_CPU = 4 };
enum { STATUS_B_24H = 2, STATUS_D_VALID = 0x80 };

static uint8_t bcd(int v) { return (uint8_t)(v / 10 % 10 << 4 | v % 10); }

// Register `index` of the clock, in UTC. It never says "update in progress".
static uint8_t cmos_read(uint8_t index)
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	switch (index) {
	case 0: return bcd(tm.tm_sec);
	case 2: return bcd(tm.tm_min);
	case 4: return bcd(tm.tm_hour);
	case 6: return bcd(tm.tm_wday + 1);
	case 7: return bcd(tm.tm_mday);
	case 8: return bcd(tm.tm_mon + 1);
	case 9: return bcd(tm.tm_year % 100);
	case 0x0a: return 0x26; // 32768 Hz, 1024 Hz
	case 0x0b: return STATUS_B_24H;
	case 0x0d: return STATUS_D_VALID;
	case 0x32: return bcd(tm.tm_year / 100 + 19);
	default: return 0;
	}
}

static int handle_cmos(void *platform, struct partition_access *access)
{
	struct partition_platform *p = platform;

	if (access->address == CMOS_INDEX && access->is_write)
		p->cmos_index = access->value & 0x7f;
	else if (!access->is_write)
		access->value = access->address == CMOS_DATA ? cmos_read(p->cmos_index) : 0xff;
	return 0;
}

static int handle_sleep(void *platform, struct partition_access *access)
{
	struct partition_platform *p = platform;
	uint8_t v = (uint8_t)access->value;

	if (!access->is_write)
		access->value = 0;
	else if (access->address == PARTITION_SLEEP_CONTROL_PORT && (v & SLEEP_ENABLE) &&
		 (v >> SLEEP_TYPE_SHIFT & 7) == PARTITION_S5_TYPE)
		p->power_off(p->owner);
	return 0;
}

static int handle_reset(void *platform, struct partition_access *access)
{
	struct partition_platform *p = platform;

	if (!access->is_write)
		access->value = 0;
	else if (access->value & RESET_CPU)
		p->reset(p->owner);
	return 0;
}

// There is no keyboard; its controller's reset line is all that guests still use of it.
static int handle_keyboard(void *platform, struct partition_access *access)
{
	struct partition_platform *p = platform;

	if (!access->is_write)
		return -ENXIO;
	if (access->value == KEYBOARD_RESET)
		p->reset(p->owner);
	return 0;
}

void partition_platform_init(struct partition_platform *platform, struct partition_traps *traps)
{
	const struct partition_trap ports[] = {
		{ CMOS_INDEX, CMOS_DATA, handle_cmos, platform },
		{ PARTITION_SLEEP_CONTROL_PORT, PARTITION_SLEEP_STATUS_PORT, handle_sleep,
		  platform },
		{ PARTITION_RESET_PORT, PARTITION_RESET_PORT, handle_reset, platform },
		{ KEYBOARD, KEYBOARD, handle_keyboard, platform },
	};

	platform->cmos_index = 0;
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
		partition_traps_add(traps, PARTITION_IO, &ports[i]);
}
