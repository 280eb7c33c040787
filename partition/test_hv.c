// SPDX-License-Identifier: Apache-2.0
// The hypervisor's MSRs and hypercalls as a guest meets them, without KVM. Guest memory is 16 pages
// from address 0; the time stamp counter is a variable.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "partition/hv.h"

#define PAGE GUEST_PAGE_BYTES
#define TSC_KHZ 2600000u
#define POST 0x5cull
#define SIGNAL 0x5dull
#define FAST 0x10000ull
#define VMBUS 1

static uint8_t ram[16 * PAGE] __attribute__((aligned(4096)));
static struct guest_memory memory;
static struct partition_hv *hv;
static uint64_t tsc;

// What the machine has asked its owner for.
static struct {
	uint32_t n_posts, n_signals, n_eoms, n_synic, n_timers, n_pages, n_resets, n_crashes;
	uint32_t connection_id, bytes, flag;
	uint8_t message[PARTITION_MESSAGE_BYTES];
	int answer;
} seen;

static uint64_t get_tsc(void *owner) { return tsc; }
static uint64_t get_runtime(void *owner, uint32_t vp) { return 1000 + vp; }
static void on_interrupt(void *owner, uint32_t vp, uint8_t vector) {}
static void on_eom(void *owner, uint32_t vp) { seen.n_eoms++; }
static void on_synic(void *owner, uint32_t vp) { seen.n_synic++; }
static void on_timers(void *owner) { seen.n_timers++; }
static void on_guest_os(void *owner, uint64_t id) {}
static void on_page(void *owner, uint32_t vp, uint64_t gpa) { seen.n_pages++; }
static void on_reset(void *owner) { seen.n_resets++; }
static void on_crash(void *owner, const struct partition_crash *crash) { seen.n_crashes++; }

static int on_post(void *owner, uint32_t connection_id, const void *message, uint32_t bytes)
{
	seen.n_posts++;
	seen.connection_id = connection_id;
	seen.bytes = bytes;
	memcpy(seen.message, message, bytes);
	return seen.answer;
}

static int on_signal(void *owner, uint32_t connection_id, uint32_t flag)
{
	seen.n_signals++;
	seen.connection_id = connection_id;
	seen.flag = flag;
	return seen.answer;
}

static const struct partition_hv_ops ops = {
	.tsc = get_tsc,
	.runtime = get_runtime,
	.interrupt = on_interrupt,
	.post = on_post,
	.signal = on_signal,
	.eom = on_eom,
	.synic_changed = on_synic,
	.timers_changed = on_timers,
	.guest_os = on_guest_os,
	.page_enabled = on_page,
	.reset = on_reset,
	.crashed = on_crash,
};

static int set_up(void **state)
{
	memset(ram, 0, sizeof(ram));
	memory.n_regions = 0;
	guest_memory_add(&memory, &(struct guest_region){ 0, sizeof(ram), ram, false });
	memset(&seen, 0, sizeof(seen));
	hv = calloc(1, sizeof(*hv));
	if (!hv)
		return -1;
	hv->ops = &ops;
	hv->memory = &memory;
	hv->n_vps = 2;
	hv->tsc_khz = TSC_KHZ;
	tsc = 1ull << 50;
	partition_clock_init(&hv->clock, TSC_KHZ, tsc, 0);
	partition_hv_reset(hv);
	return 0;
}

static int tear_down(void **state)
{
	free(hv);
	return 0;
}

static uint64_t read_msr(uint32_t msr)
{
	uint64_t value = 0;

	assert_int_equal(partition_hv_read_msr(hv, 1, msr, &value), 0);
	return value;
}

static int write_msr(uint32_t msr, uint64_t value)
{
	return partition_hv_write_msr(hv, 1, msr, value);
}

// --- MSRs --------------------------------------------------------------------------------------

static void msrs_that_are_read_only_fault_when_written(void **state)
{
	static const uint32_t read_only[] = {
		PARTITION_MSR_VP_INDEX,      PARTITION_MSR_VP_RUNTIME,
		PARTITION_MSR_REFERENCE_COUNT, PARTITION_MSR_TSC_FREQUENCY,
		PARTITION_MSR_APIC_FREQUENCY, PARTITION_MSR_SVERSION,
	};
	uint64_t value;

	for (size_t i = 0; i < ARRAY_SIZE(read_only); i++) {
		read_msr(read_only[i]);
		assert_int_equal(write_msr(read_only[i], 0), -EINVAL);
	}
	assert_int_equal(read_msr(PARTITION_MSR_VP_INDEX), 1);
	assert_int_equal(read_msr(PARTITION_MSR_VP_RUNTIME), 1001);
	assert_int_equal(read_msr(PARTITION_MSR_TSC_FREQUENCY), TSC_KHZ * 1000ull);
	assert_int_equal(partition_hv_read_msr(hv, 0, 0x40000070, &value), -EINVAL);
	assert_int_equal(partition_hv_write_msr(hv, 0, 0x400003ff, 0), -EINVAL);
}

static void hypercall_page_wants_a_guest_that_has_named_itself(void **state)
{
	assert_int_equal(write_msr(PARTITION_MSR_HYPERCALL, 2 * PAGE | 1), 0);
	assert_int_equal(read_msr(PARTITION_MSR_HYPERCALL), 2 * PAGE);
	assert_int_equal(ram[2 * PAGE], 0);
	write_msr(PARTITION_MSR_GUEST_OS_ID, 0x8100000000000000);
	assert_int_equal(write_msr(PARTITION_MSR_HYPERCALL, 2 * PAGE | 1), 0);
	assert_int_equal(ram[2 * PAGE], 0x48);
	assert_int_equal(ram[3 * PAGE - 1], 0xcc);
	assert_int_equal(seen.n_pages, 1);
	assert_int_equal(write_msr(PARTITION_MSR_HYPERCALL, 16 * PAGE | 1), -EINVAL);
	assert_int_equal(read_msr(PARTITION_MSR_HYPERCALL), 2 * PAGE | 1);
	write_msr(PARTITION_MSR_GUEST_OS_ID, 0);
	assert_int_equal(read_msr(PARTITION_MSR_HYPERCALL), 2 * PAGE);
}

// What a guest computes from the page is what the counter says.
static void reference_page_and_counter_agree(void **state)
{
	const uint8_t *page = ram + 4 * PAGE;

	assert_int_equal(write_msr(PARTITION_MSR_REFERENCE_TSC, 4 * PAGE | 1), 0);
	assert_int_not_equal(load_u32(page), 0);
	for (uint64_t seconds = 0; seconds < 100000; seconds = seconds * 3 + 1) {
		uint64_t scale = load_u64(page + 8), offset = load_u64(page + 16), guest;

		tsc = (1ull << 50) + seconds * TSC_KHZ * 1000;
		guest = (uint64_t)((unsigned __int128)tsc * scale >> 64) + offset;
		assert_int_equal(read_msr(PARTITION_MSR_REFERENCE_COUNT), guest);
		assert_in_range(guest, seconds * 10000000 - (seconds > 0), seconds * 10000000);
	}
	assert_int_equal(write_msr(PARTITION_MSR_REFERENCE_TSC, 1ull << 40 | 1), -EINVAL);
}

static void restored_clock_renews_the_page(void **state)
{
	uint32_t serial;

	write_msr(PARTITION_MSR_REFERENCE_TSC, 4 * PAGE | 1);
	serial = load_u32(ram + 4 * PAGE);
	partition_clock_init(&hv->clock, TSC_KHZ, 5, 777);
	partition_hv_clock_changed(hv);
	tsc = 5;
	assert_int_equal(read_msr(PARTITION_MSR_REFERENCE_COUNT), 777);
	assert_int_not_equal(load_u32(ram + 4 * PAGE), serial);
	assert_int_not_equal(load_u32(ram + 4 * PAGE), 0);
}

static void crash_is_told_with_its_last_words(void **state)
{
	static const char words[] = "Kernel panic\n\x01\xff!";

	memcpy(ram + 6 * PAGE - 4, words, sizeof(words) - 1); // over two pages
	for (uint32_t i = 0; i < 3; i++)
		write_msr(PARTITION_MSR_CRASH_P0 + i, 100 + i);
	write_msr(PARTITION_MSR_CRASH_P0 + 3, 6 * PAGE - 4);
	write_msr(PARTITION_MSR_CRASH_P4, sizeof(words) - 1);
	assert_int_equal(seen.n_crashes, 0);
	write_msr(PARTITION_MSR_CRASH_CONTROL, 3ull << 62);
	assert_int_equal(seen.n_crashes, 1);
	assert_int_equal(hv->crash.parameters[2], 102);
	assert_string_equal(hv->crash.message, "Kernel panic\n?" "?!");
	// Lies about where and how long.
	write_msr(PARTITION_MSR_CRASH_P0 + 3, 15 * PAGE + 1);
	write_msr(PARTITION_MSR_CRASH_P4, UINT64_MAX);
	write_msr(PARTITION_MSR_CRASH_CONTROL, 3ull << 62);
	assert_string_equal(hv->crash.message, "");
	write_msr(PARTITION_MSR_CRASH_P0 + 3, 0);
	write_msr(PARTITION_MSR_CRASH_CONTROL, 3ull << 62);
	assert_int_equal(strlen(hv->crash.message), sizeof(hv->crash.message) - 1);
}

static void writes_are_told_to_whom_they_concern(void **state)
{
	write_msr(PARTITION_MSR_EOM, 0);
	write_msr(PARTITION_MSR_SIMP, PAGE | 1);
	write_msr(PARTITION_MSR_SIMP, 100 * PAGE | 1); // refused
	write_msr(PARTITION_MSR_STIMER0_CONFIG, 0);
	write_msr(PARTITION_MSR_RESET, 0);
	write_msr(PARTITION_MSR_RESET, 1);
	assert_int_equal(seen.n_eoms, 1);
	assert_int_equal(seen.n_synic, 1);
	assert_int_equal(seen.n_timers, 1);
	assert_int_equal(seen.n_resets, 1);
}

// --- hypercalls --------------------------------------------------------------------------------

static void put_message(uint64_t gpa, uint32_t connection_id, uint32_t type, uint32_t bytes)
{
	store_u32(ram + gpa, connection_id);
	store_u32(ram + gpa + 8, type);
	store_u32(ram + gpa + 12, bytes);
}

static void hypercalls_answer_with_a_status(void **state)
{
	static const struct {
		uint64_t control, input;
		uint32_t type, bytes; // of the message at `input`
		int answer;           // of the owner
		uint64_t status;
	} table[] = {
		{ POST, PAGE, VMBUS, 8, 0, PARTITION_HV_SUCCESS },
		{ POST, PAGE, VMBUS, 240, 0, PARTITION_HV_SUCCESS },
		{ POST, PAGE, VMBUS, 241, 0, PARTITION_HV_INVALID_PARAMETER },
		{ POST, PAGE, VMBUS, 0, 0, PARTITION_HV_INVALID_PARAMETER },
		{ POST, PAGE, VMBUS, UINT32_MAX, 0, PARTITION_HV_INVALID_PARAMETER },
		{ POST, PAGE, 2, 8, 0, PARTITION_HV_INVALID_PARAMETER },
		{ POST, PAGE, VMBUS, 8, -ENOENT, PARTITION_HV_INVALID_CONNECTION_ID },
		{ POST, PAGE, VMBUS, 8, -EAGAIN, PARTITION_HV_INSUFFICIENT_BUFFERS },
		{ POST, PAGE, VMBUS, 8, -ENOMEM, PARTITION_HV_INSUFFICIENT_MEMORY },
		{ POST, PAGE, VMBUS, 8, -EINVAL, PARTITION_HV_INVALID_PARAMETER },
		{ POST, PAGE + 4, VMBUS, 8, 0, PARTITION_HV_INVALID_ALIGNMENT },
		{ POST, PAGE - 248, VMBUS, 8, 0, PARTITION_HV_INVALID_ALIGNMENT }, // two pages
		{ POST, 16 * PAGE - 256, VMBUS, 8, 0, PARTITION_HV_SUCCESS },
		{ POST, 16 * PAGE, VMBUS, 8, 0, PARTITION_HV_INVALID_PARAMETER },
		{ POST, UINT64_MAX - 7, VMBUS, 8, 0, PARTITION_HV_INVALID_ALIGNMENT },
		{ POST, 1ull << 60, VMBUS, 8, 0, PARTITION_HV_INVALID_PARAMETER },
		{ POST | FAST, PAGE, VMBUS, 8, 0, PARTITION_HV_INVALID_INPUT },
		{ POST | 1ull << 32, PAGE, VMBUS, 8, 0, PARTITION_HV_INVALID_INPUT }, // repeats
		{ POST | 1ull << 17, PAGE, VMBUS, 8, 0, PARTITION_HV_INVALID_INPUT },
		{ SIGNAL | FAST, 5, 0, 0, 0, PARTITION_HV_SUCCESS },
		{ SIGNAL | FAST, 2047ull << 32 | 5, 0, 0, 0, PARTITION_HV_SUCCESS },
		{ SIGNAL | FAST, 2048ull << 32 | 5, 0, 0, 0, PARTITION_HV_INVALID_PARAMETER },
		{ SIGNAL | FAST, 5, 0, 0, -ENOENT, PARTITION_HV_INVALID_CONNECTION_ID },
		{ SIGNAL, 2 * PAGE, 0, 0, 0, PARTITION_HV_SUCCESS },
		{ SIGNAL, 2 * PAGE + 1, 0, 0, 0, PARTITION_HV_INVALID_ALIGNMENT },
		{ SIGNAL | 1ull << 63, 5, 0, 0, 0, PARTITION_HV_INVALID_INPUT },
		{ 0, 0, 0, 0, 0, PARTITION_HV_INVALID_CODE },
		{ 0xffff, 0, 0, 0, 0, PARTITION_HV_INVALID_CODE },
		{ 0x8001, 0, 0, 0, 0, PARTITION_HV_INVALID_CODE },
	};

	write_msr(PARTITION_MSR_GUEST_OS_ID, 1);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		uint64_t status;

		if (table[i].input < sizeof(ram) - 16)
			put_message(table[i].input, 4, table[i].type, table[i].bytes);
		seen.answer = table[i].answer;
		status = partition_hv_hypercall(hv, table[i].control, table[i].input, 0);
		if (status != table[i].status)
			fail_msg("row %zu: status %llu", i, (unsigned long long)status);
	}
}

static void message_is_passed_as_a_copy(void **state)
{
	write_msr(PARTITION_MSR_GUEST_OS_ID, 1);
	put_message(PAGE, 4, VMBUS, 3);
	memcpy(ram + PAGE + 16, "abc", 3);
	assert_int_equal(partition_hv_hypercall(hv, POST, PAGE, 0), PARTITION_HV_SUCCESS);
	assert_int_equal(seen.connection_id, 4);
	assert_int_equal(seen.bytes, 3);
	assert_memory_equal(seen.message, "abc", 3);
}

static void nothing_is_heard_from_the_nameless(void **state)
{
	put_message(PAGE, 4, VMBUS, 3);
	assert_int_equal(partition_hv_hypercall(hv, POST, PAGE, 0), PARTITION_HV_INVALID_CODE);
	assert_int_equal(seen.n_posts, 0);
}

static void earliest_timer_of_all_processors_counts(void **state)
{
	uint64_t direct = 1u << 12 | 0xedu << 4 | 8;

	assert_int_equal(partition_hv_due(hv), PARTITION_STIMER_NEVER);
	for (uint32_t vp = 0; vp < 2; vp++) {
		partition_hv_write_msr(hv, vp, PARTITION_MSR_STIMER0_CONFIG, direct);
		partition_hv_write_msr(hv, vp, PARTITION_MSR_STIMER0_CONFIG + 1, 5000 - vp);
	}
	assert_int_equal(partition_hv_due(hv), 4999);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(msrs_that_are_read_only_fault_when_written),
		cmocka_unit_test(hypercall_page_wants_a_guest_that_has_named_itself),
		cmocka_unit_test(reference_page_and_counter_agree),
		cmocka_unit_test(restored_clock_renews_the_page),
		cmocka_unit_test(crash_is_told_with_its_last_words),
		cmocka_unit_test(writes_are_told_to_whom_they_concern),
		cmocka_unit_test(hypercalls_answer_with_a_status),
		cmocka_unit_test(message_is_passed_as_a_copy),
		cmocka_unit_test(nothing_is_heard_from_the_nameless),
		cmocka_unit_test(earliest_timer_of_all_processors_counts),
	};
	struct CMUnitTest with_setup[ARRAY_SIZE(tests)];

	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		with_setup[i] = tests[i];
		with_setup[i].setup_func = set_up;
		with_setup[i].teardown_func = tear_down;
	}
	return _cmocka_run_group_tests("hv", with_setup, ARRAY_SIZE(tests), NULL, NULL);
}
