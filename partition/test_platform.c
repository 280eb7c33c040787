// SPDX-License-Identifier: Apache-2.0
// Ports: who answers where, the serial console, the clock chip, power.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "partition/platform.h"
#include "partition/serial.h"

static struct partition_traps traps;
static struct partition_serial serial;
static struct partition_platform platform;
static char said[4096];
static uint32_t n_said, n_raised, n_off, n_resets;
static bool irq;

static void on_byte(void *owner, uint8_t byte) { said[n_said++ % sizeof(said)] = (char)byte; }
static void on_off(void *owner) { n_off++; }
static void on_reset(void *owner) { n_resets++; }

static void on_irq(void *owner, bool level)
{
	n_raised += level && !irq;
	irq = level;
}

static int set_up(void **state)
{
	static const struct partition_serial_ops ops = { .out = on_byte, .irq = on_irq };
	const struct partition_trap com1 = { PARTITION_SERIAL_PORT, PARTITION_SERIAL_PORT + 7,
					     partition_serial_handle, &serial };

	traps = (struct partition_traps){};
	platform = (struct partition_platform){ .power_off = on_off, .reset = on_reset };
	partition_serial_init(&serial, &ops, NULL);
	partition_traps_add(&traps, PARTITION_IO, &com1);
	partition_platform_init(&platform, &traps);
	n_said = n_raised = n_off = n_resets = 0;
	irq = false;
	return 0;
}

static int access_port(uint16_t port, bool is_write, uint64_t *value)
{
	struct partition_access access = {
		.address = port, .bytes = 1, .is_write = is_write, .value = *value
	};
	int ret = partition_traps_handle(&traps, PARTITION_IO, &access);

	*value = access.value;
	return ret;
}

static void out(uint16_t port, uint8_t v)
{
	uint64_t value = v;

	access_port(port, true, &value);
}

static uint8_t in(uint16_t port)
{
	uint64_t value = 0xff;

	access_port(port, false, &value);
	return (uint8_t)value;
}

#define COM(reg) ((uint16_t)(PARTITION_SERIAL_PORT + (reg)))

static void ranges_are_exact(void **state)
{
	static const struct {
		uint16_t port;
		int ret;
	} table[] = {
		{ COM(-1), -ENXIO }, { COM(0), 0 },  { COM(7), 0 },  { COM(8), -ENXIO },
		{ 0x6f, -ENXIO },    { 0x70, 0 },    { 0x71, 0 },    { 0x72, -ENXIO },
		{ 0x600, 0 },	     { 0x601, 0 },   { 0x602, -ENXIO },
		{ 0xcf8, -ENXIO },   { 0xcf9, 0 },   { 0, -ENXIO },  { 0xffff, -ENXIO },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		uint64_t value = 0;

		assert_int_equal(access_port(table[i].port, false, &value), table[i].ret);
	}
	assert_int_equal(in(0x64), 0xff); // no keyboard
}

// As Linux's 8250 driver finds out what it has.
static void serial_looks_like_a_16550a(void **state)
{
	out(COM(1), 0x0f);
	assert_int_equal(in(COM(1)), 0x0f);
	out(COM(1), 0);
	out(COM(2), 1);
	assert_int_equal(in(COM(2)) & 0xc0, 0xc0);
	out(COM(3), 0x80);
	out(COM(0), 1);
	out(COM(1), 2);
	assert_int_equal(in(COM(0)), 1);
	assert_int_equal(in(COM(1)), 2);
	out(COM(3), 3);
	assert_int_equal(in(COM(1)), 0); // not the divisor
	out(COM(4), 0x1a);               // loopback: outputs 1 and 3 are inputs 4 and 7
	assert_int_equal(in(COM(6)) & 0xf0, 0x90);
	out(COM(0), 'x');
	assert_int_equal(n_said, 0);
	assert_int_equal(in(COM(0)), 'x');
	out(COM(4), 0x0b);
	out(COM(7), 0x5a);
	assert_int_equal(in(COM(7)), 0x5a);
}

static void sending_interrupts_when_asked_to(void **state)
{
	out(COM(0), 'a');
	assert_int_equal(said[0], 'a');
	assert_int_equal(n_raised, 0);
	assert_int_equal(in(COM(5)), 0x60);
	out(COM(1), 2);
	assert_true(irq);
	assert_int_equal(in(COM(2)), 2);
	assert_false(irq);
	assert_int_equal(in(COM(2)), 1);
	out(COM(0), 'b');
	assert_int_equal(n_raised, 2);
}

static void typing_interrupts_until_read(void **state)
{
	uint8_t many[2000] = { 'h', 'i' };

	out(COM(1), 1);
	assert_int_equal(partition_serial_type(&serial, many, 2), 2);
	assert_true(irq);
	assert_int_equal(in(COM(2)), 4);
	assert_int_equal(in(COM(5)) & 1, 1);
	assert_int_equal(in(COM(0)), 'h');
	assert_true(irq);
	assert_int_equal(in(COM(0)), 'i');
	assert_false(irq);
	assert_int_equal(in(COM(0)), 0);
	assert_int_equal(partition_serial_type(&serial, many, sizeof(many)),
			 PARTITION_SERIAL_QUEUE);
	out(COM(2), 3); // clear what was received
	assert_int_equal(in(COM(5)) & 1, 0);
}

static void clock_tells_a_time(void **state)
{
	static const struct {
		uint8_t reg, max; // BCD
	} table[] = { { 0, 0x59 }, { 2, 0x59 }, { 4, 0x23 }, { 6, 0x07 }, { 7, 0x31 }, { 8, 0x12 },
		      { 9, 0x99 } };

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		out(0x70, 0x80 | table[i].reg); // bit 7: no NMIs
		assert_in_range(in(0x71), 0, table[i].max);
		assert_in_range(in(0x71) & 0x0f, 0, 9);
	}
	out(0x70, 0x0b);
	assert_int_equal(in(0x71), 2); // 24 hours, BCD
	out(0x70, 0x0a);
	assert_int_equal(in(0x71) & 0x80, 0); // no update in progress
	out(0x70, 0x32);
	assert_in_range(in(0x71), 0x20, 0x21);
}

static void power_and_reset(void **state)
{
	out(0x600, 5 << 2);
	out(0x600, 0x20 | 3 << 2); // S3, which is not there
	out(0xcf9, 2);
	out(0x64, 0xd1);
	assert_int_equal(n_off + n_resets, 0);
	out(0x600, 0x20 | 5 << 2);
	assert_int_equal(n_off, 1);
	out(0xcf9, 6);
	out(0x64, 0xfe);
	assert_int_equal(n_resets, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(ranges_are_exact, set_up),
		cmocka_unit_test_setup(serial_looks_like_a_16550a, set_up),
		cmocka_unit_test_setup(sending_interrupts_when_asked_to, set_up),
		cmocka_unit_test_setup(typing_interrupts_until_read, set_up),
		cmocka_unit_test_setup(clock_tells_a_time, set_up),
		cmocka_unit_test_setup(power_and_reset, set_up),
	};

	return cmocka_run_group_tests_name("platform", tests, NULL, NULL);
}
