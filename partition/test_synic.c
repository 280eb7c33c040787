// SPDX-License-Identifier: Apache-2.0
// A processor's SynIC and timers, driven by a guest that is honest, slow or hostile. Guest memory
// is 16 pages from address 0.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "partition/stimer.h"

#define PAGE GUEST_PAGE_BYTES
#define SIMP_PAGE (3u * PAGE)
#define SIEFP_PAGE (5u * PAGE)
#define SINT 2
#define VECTOR 0xf3
#define MASKED (1u << 16)

static uint8_t ram[16 * PAGE] __attribute__((aligned(4096)));
static struct guest_memory memory;
static struct partition_synic synic;
static struct partition_stimers stimers;
static uint32_t n_interrupts;
static uint8_t last_vector;

static void on_interrupt(void *owner, uint32_t vp, uint8_t vector)
{
	n_interrupts++;
	last_vector = vector;
	assert_int_equal(vp, 7);
}

static int set_up(void **state)
{
	memset(ram, 0, sizeof(ram));
	memory.n_regions = 0;
	guest_memory_add(&memory, &(struct guest_region){ 0, sizeof(ram), ram, false });
	synic = (struct partition_synic){ .memory = &memory, .interrupt = on_interrupt, .vp = 7 };
	partition_synic_reset(&synic);
	stimers = (struct partition_stimers){ .synic = &synic };
	partition_stimers_reset(&stimers);
	n_interrupts = 0;
	last_vector = 0;
	return 0;
}

static int write_msr(uint32_t msr, uint64_t value)
{
	return partition_synic_write(&synic, msr, value);
}

// As Linux's hv_vmbus does.
static void enable(void)
{
	assert_int_equal(write_msr(PARTITION_MSR_SIMP, SIMP_PAGE | 1), 0);
	assert_int_equal(write_msr(PARTITION_MSR_SIEFP, SIEFP_PAGE | 1), 0);
	assert_int_equal(write_msr(PARTITION_MSR_SINT0 + SINT, VECTOR), 0);
	assert_int_equal(write_msr(PARTITION_MSR_SCONTROL, 1), 0);
}

static uint8_t *slot(void) { return ram + SIMP_PAGE + SINT * PARTITION_SLOT_BYTES; }
static uint32_t slot_type(void) { return load_u32(slot()); }

static int post(uint32_t payload)
{
	const struct partition_message m = { PARTITION_MESSAGE_VMBUS, &payload, sizeof(payload) };

	return partition_synic_post(&synic, SINT, &m);
}

// --- registers ---------------------------------------------------------------------------------

static void registers_hold_what_may_be(void **state)
{
	static const struct {
		uint32_t msr;
		uint64_t value;
		int ret;
	} table[] = {
		{ PARTITION_MSR_SCONTROL, 1, 0 },
		{ PARTITION_MSR_SVERSION, 1, -EINVAL }, // read only
		{ PARTITION_MSR_SIMP, SIMP_PAGE | 1, 0 },
		{ PARTITION_MSR_SIMP, 15 * PAGE | 1, 0 },
		{ PARTITION_MSR_SIMP, 16 * PAGE | 1, -EINVAL }, // behind memory
		{ PARTITION_MSR_SIMP, 16 * PAGE, 0 },           // but off
		{ PARTITION_MSR_SIMP, UINT64_MAX, -EINVAL },
		{ PARTITION_MSR_SIEFP, SIMP_PAGE | 1, 0 }, // the guest's own harm
		{ PARTITION_MSR_SIEFP, 1ull << 52 | 1, -EINVAL },
		{ PARTITION_MSR_SINT0, VECTOR, 0 },
		{ PARTITION_MSR_SINT15, 0x10, 0 },
		{ PARTITION_MSR_SINT15, 0x0f, -EINVAL },
		{ PARTITION_MSR_SINT15, MASKED, 0 },
		{ PARTITION_MSR_EOM, 0, 0 },
		{ 0x40000085, 0, -EINVAL },
		{ 0x4000008f, 0, -EINVAL },
		{ 0x400000a0, 0, -EINVAL },
	};
	uint64_t value, before;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		before = 0;
		partition_synic_read(&synic, table[i].msr, &before);
		assert_int_equal(write_msr(table[i].msr, table[i].value), table[i].ret);
		if (partition_synic_read(&synic, table[i].msr, &value))
			continue;
		if (table[i].ret)
			assert_int_equal(value, before);
		else
			assert_int_equal(value, table[i].value);
	}
	partition_synic_reset(&synic);
	partition_synic_read(&synic, PARTITION_MSR_SINT0 + 3, &value);
	assert_int_equal(value, MASKED);
	assert_int_equal(partition_synic_read(&synic, 0x400000a0, &value), -EINVAL);
}

// --- messages ----------------------------------------------------------------------------------

static void message_lies_in_its_slot(void **state)
{
	enable();
	assert_int_equal(post(0x12345678), 0);
	assert_int_equal(slot_type(), PARTITION_MESSAGE_VMBUS);
	assert_int_equal(slot()[4], 4);
	assert_int_equal(slot()[5], 0);
	assert_int_equal(load_u32(slot() + 16), 0x12345678);
	assert_int_equal(n_interrupts, 1);
	assert_int_equal(last_vector, VECTOR);
}

static void full_slot_asks_for_eom(void **state)
{
	enable();
	post(1);
	assert_int_equal(post(2), -EAGAIN);
	assert_int_equal(slot()[5], 1);
	assert_int_equal(load_u32(slot() + 16), 1);
	assert_int_equal(n_interrupts, 1);
	store_u32(slot(), PARTITION_MESSAGE_NONE);
	assert_int_equal(post(2), 0);
	assert_int_equal(slot()[5], 0);
	assert_int_equal(load_u32(slot() + 16), 2);
}

static void message_without_slot_is_refused(void **state)
{
	static const struct {
		uint32_t msr;
		uint64_t value;
	} off[] = {
		{ PARTITION_MSR_SCONTROL, 0 },
		{ PARTITION_MSR_SIMP, SIMP_PAGE },
		{ PARTITION_MSR_SINT0 + SINT, MASKED | VECTOR },
	};
	uint64_t gpa;

	assert_int_equal(post(1), -ENXIO);
	for (size_t i = 0; i < ARRAY_SIZE(off); i++) {
		enable();
		write_msr(off[i].msr, off[i].value);
		assert_int_equal(post(1), -ENXIO);
	}
	enable();
	memory.n_regions = 0; // memory went away under the page
	assert_int_equal(post(1), -ENXIO);
	assert_int_equal(partition_synic_signal(&synic, SINT, 1), -ENXIO);
	assert_false(partition_synic_flags_gpa(&synic, SINT, &gpa));
	assert_int_equal(n_interrupts, 0);
}

// --- events ------------------------------------------------------------------------------------

static void event_rings_once_until_served(void **state)
{
	uint8_t *flags = ram + SIEFP_PAGE + SINT * PARTITION_SLOT_BYTES;
	uint64_t gpa;

	enable();
	assert_true(partition_synic_flags_gpa(&synic, SINT, &gpa));
	assert_int_equal(gpa, SIEFP_PAGE + SINT * PARTITION_SLOT_BYTES);
	assert_int_equal(partition_synic_signal(&synic, SINT, 2047), 0);
	assert_int_equal(flags[255], 0x80);
	assert_int_equal(n_interrupts, 1);
	assert_int_equal(partition_synic_signal(&synic, SINT, 2047), 0);
	assert_int_equal(n_interrupts, 1);
	flags[255] = 0;
	partition_synic_signal(&synic, SINT, 2047);
	assert_int_equal(n_interrupts, 2);
}

static void polled_sint_does_not_interrupt(void **state)
{
	enable();
	write_msr(PARTITION_MSR_SINT0 + SINT, 1u << 18 | VECTOR);
	assert_int_equal(post(1), 0);
	assert_int_equal(slot_type(), PARTITION_MESSAGE_VMBUS);
	assert_int_equal(n_interrupts, 0);
	assert_int_equal(partition_synic_vector(&synic, SINT), 0);
}

// --- timers ------------------------------------------------------------------------------------

#define CONFIG(i) (PARTITION_MSR_STIMER0_CONFIG + 2 * (i))
#define COUNT(i) (CONFIG(i) + 1)
#define DIRECT(vector) (1u << 12 | (vector) << 4)
enum { ENABLED = 1, PERIODIC = 2, AUTO = 8 };

static void set_timer(uint32_t msr, uint64_t value, uint64_t now)
{
	assert_int_equal(partition_stimers_write(&stimers, msr, value, now), 0);
}

static uint64_t config(uint32_t i)
{
	uint64_t value;

	partition_stimers_read(&stimers, CONFIG(i), &value);
	return value;
}

// As Linux does with stimer 0 in direct mode.
static void one_shot_fires_once(void **state)
{
	set_timer(CONFIG(0), DIRECT(0xed) | AUTO, 100);
	assert_int_equal(partition_stimers_due(&stimers), PARTITION_STIMER_NEVER);
	set_timer(COUNT(0), 5000, 100);
	assert_int_equal(partition_stimers_due(&stimers), 5000);
	assert_true(config(0) & ENABLED);
	partition_stimers_run(&stimers, 4999);
	assert_int_equal(n_interrupts, 0);
	partition_stimers_run(&stimers, 5000);
	assert_int_equal(n_interrupts, 1);
	assert_int_equal(last_vector, 0xed);
	assert_false(config(0) & ENABLED);
	partition_stimers_run(&stimers, 1000000);
	assert_int_equal(n_interrupts, 1);
	// A time that has passed already is due at once.
	set_timer(COUNT(0), 7000, 9000);
	partition_stimers_run(&stimers, 9000);
	assert_int_equal(n_interrupts, 2);
}

static void count_of_zero_stops(void **state)
{
	set_timer(CONFIG(3), DIRECT(0xed) | AUTO, 0);
	set_timer(COUNT(3), 10, 0);
	set_timer(COUNT(3), 0, 0);
	assert_int_equal(partition_stimers_due(&stimers), PARTITION_STIMER_NEVER);
	assert_false(config(3) & ENABLED);
}

static void periodic_goes_on_without_a_storm(void **state)
{
	set_timer(COUNT(1), 10000, 0);
	set_timer(CONFIG(1), DIRECT(0xed) | ENABLED | PERIODIC, 0);
	assert_int_equal(partition_stimers_due(&stimers), 10000);
	partition_stimers_run(&stimers, 10000);
	assert_int_equal(partition_stimers_due(&stimers), 20000);
	partition_stimers_run(&stimers, 95000); // late: what was missed is left out
	assert_int_equal(n_interrupts, 2);
	assert_int_equal(partition_stimers_due(&stimers), 105000);
	set_timer(COUNT(1), 1, 200000);
	assert_int_equal(partition_stimers_due(&stimers), 200000 + PARTITION_STIMER_MIN_PERIOD);
	set_timer(COUNT(1), UINT64_MAX, 300000);
	assert_int_equal(partition_stimers_due(&stimers), PARTITION_STIMER_NEVER);
}

static void message_timer_waits_for_its_slot(void **state)
{
	enable();
	set_timer(CONFIG(2), (uint64_t)SINT << 16 | AUTO, 0);
	set_timer(COUNT(2), 100, 0);
	post(1);
	partition_stimers_run(&stimers, 150);
	assert_int_equal(slot_type(), PARTITION_MESSAGE_VMBUS);
	assert_int_not_equal(partition_stimers_due(&stimers), PARTITION_STIMER_NEVER);
	store_u32(slot(), PARTITION_MESSAGE_NONE);
	partition_stimers_run(&stimers, 20000);
	assert_int_equal(slot_type(), PARTITION_MESSAGE_TIMER);
	assert_int_equal(load_u32(slot() + 16), 2);     // which
	assert_int_equal(load_u64(slot() + 24), 100);   // when it was due
	assert_int_equal(load_u64(slot() + 32), 20000); // when it came
	assert_int_equal(partition_stimers_due(&stimers), PARTITION_STIMER_NEVER);
}

static void timer_without_target_stays_off(void **state)
{
	set_timer(COUNT(0), 100, 0);
	set_timer(CONFIG(0), ENABLED, 0); // SINT 0
	assert_false(config(0) & ENABLED);
	set_timer(CONFIG(0), DIRECT(15) | ENABLED, 0); // the vector of an exception
	assert_false(config(0) & ENABLED);
	assert_int_equal(partition_stimers_due(&stimers), PARTITION_STIMER_NEVER);
	assert_int_equal(partition_stimers_write(&stimers, CONFIG(0), 1ull << 40, 0), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(registers_hold_what_may_be, set_up),
		cmocka_unit_test_setup(message_lies_in_its_slot, set_up),
		cmocka_unit_test_setup(full_slot_asks_for_eom, set_up),
		cmocka_unit_test_setup(message_without_slot_is_refused, set_up),
		cmocka_unit_test_setup(event_rings_once_until_served, set_up),
		cmocka_unit_test_setup(polled_sint_does_not_interrupt, set_up),
		cmocka_unit_test_setup(one_shot_fires_once, set_up),
		cmocka_unit_test_setup(count_of_zero_stops, set_up),
		cmocka_unit_test_setup(periodic_goes_on_without_a_storm, set_up),
		cmocka_unit_test_setup(message_timer_waits_for_its_slot, set_up),
		cmocka_unit_test_setup(timer_without_target_stays_off, set_up),
	};

	return cmocka_run_group_tests_name("synic", tests, NULL, NULL);
}
