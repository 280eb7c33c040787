// SPDX-License-Identifier: Apache-2.0
// A guest that writes and reads any MSR of the hypervisor and makes any hypercall, in any order,
// with VMBus behind it. Nothing is written outside its memory, nothing hangs.
//
// Input: steps of 14 bytes: what (bits 0 and 1: write an MSR, read one, hypercall, let time pass;
// bit 2: the other processor), MSR or fast hypercall's code, and two numbers. Guest memory begins
// as the input repeated, so that messages are in it.
#include <assert.h>
#include <stdlib.h>

#include "partition/hv.h"
#include "vmbus/server.h"

#define PAGES 8
#define STEP 14
#define UNTOUCHED 0xeeeeeeeeeeeeeeeeull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t ram[(PAGES + 2) * GUEST_PAGE_BYTES] __attribute__((aligned(4096)));
static struct guest_memory memory;
static struct partition_hv hv;
static struct vmbus_server *server;
static uint64_t tsc;

static uint64_t get_tsc(void *owner) { return tsc; }
static uint64_t get_runtime(void *owner, uint32_t vp) { return tsc; }
static void on_interrupt(void *owner, uint32_t vp, uint8_t vector)
{
	assert(vp < 2 && vector >= 16);
}
static void on_eom(void *owner, uint32_t vp) { vmbus_server_flush(server); }
static void on_vp(void *owner, uint32_t vp) {}
static void on_any(void *owner) {}
static void on_guest_os(void *owner, uint64_t id) {}
static void on_page(void *owner, uint32_t vp, uint64_t gpa)
{
	assert(gpa < PAGES * GUEST_PAGE_BYTES);
}

static void on_crash(void *owner, const struct partition_crash *crash)
{
	assert(memchr(crash->message, '\0', sizeof(crash->message)));
}

static int on_post(void *owner, uint32_t connection_id, const void *message, uint32_t bytes)
{
	return vmbus_server_post(server, connection_id, message, bytes);
}

static int on_signal(void *owner, uint32_t connection_id, uint32_t flag)
{
	uint32_t channel;

	assert(flag < PARTITION_N_FLAGS);
	return vmbus_server_find(server, connection_id, &channel) ? 0 : -2;
}

static const struct partition_hv_ops ops = {
	.tsc = get_tsc,
	.runtime = get_runtime,
	.interrupt = on_interrupt,
	.post = on_post,
	.signal = on_signal,
	.eom = on_eom,
	.synic_changed = on_vp,
	.timers_changed = on_any,
	.guest_os = on_guest_os,
	.page_enabled = on_page,
	.reset = on_any,
	.crashed = on_crash,
};

static int send(void *vmm, const struct vmbus_contact *to, const void *message, uint32_t bytes)
{
	const struct partition_message m = { PARTITION_MESSAGE_VMBUS, message, bytes };

	if (to->target_vp >= 2 || to->sint >= PARTITION_N_SINTS)
		return -6;
	return partition_synic_post(&hv.vps[to->target_vp].synic, to->sint, &m);
}

static const struct vmbus_host_ops host_ops = { .send = send };

static void begin(const uint8_t *data, size_t size)
{
	const struct vmbus_server_cfg cfg = { .memory = &memory, .n_vps = 2, .ops = &host_ops };

	// The pages before and after must stay as they are.
	memset(ram, 0xee, sizeof(ram));
	for (size_t i = 0; i < PAGES * GUEST_PAGE_BYTES; i += size) {
		size_t left = PAGES * GUEST_PAGE_BYTES - i;

		memcpy(ram + GUEST_PAGE_BYTES + i, data, size < left ? size : left);
	}
	memory.n_regions = 0;
	guest_memory_add(&memory, &(struct guest_region){ 0, PAGES * GUEST_PAGE_BYTES,
							  ram + GUEST_PAGE_BYTES, false });
	tsc = 0;
	hv.ops = &ops;
	hv.memory = &memory;
	hv.n_vps = 2;
	hv.tsc_khz = 2600000;
	partition_clock_init(&hv.clock, hv.tsc_khz, 0, 0);
	partition_hv_reset(&hv);
	if (vmbus_server_create(&cfg, &server))
		abort();
}

static void step(const uint8_t *s)
{
	uint32_t vp = s[0] >> 2 & 1, msr = PARTITION_MSR_FIRST + load_u16(s + 1) % 0x120;
	uint64_t a = load_u64(s + 3), b = s[11] | (uint64_t)load_u16(s + 12) << 8, value = 0;

	switch (s[0] & 3) {
	case 0: partition_hv_write_msr(&hv, vp, msr, a); break;
	case 1: partition_hv_read_msr(&hv, vp, msr, &value); break;
	case 2:
		if (s[0] & 8)
			partition_hv_hypercall(&hv, 0x5c | (b & 1 ? a : 0),
					       b % ((PAGES + 1) * GUEST_PAGE_BYTES), a);
		else
			partition_hv_hypercall(&hv, a, b, a);
		break;
	default:
		tsc += a >> (b % 64);
		partition_hv_run_timers(&hv);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < STEP)
		return 0;
	begin(data, size);
	for (const uint8_t *s = data; s + STEP <= data + size; s += STEP)
		step(s);
	partition_hv_due(&hv);
	for (size_t i = 0; i < GUEST_PAGE_BYTES; i += 8)
		assert(load_u64(ram + i) == UNTOUCHED &&
		       load_u64(ram + sizeof(ram) - 8 - i) == UNTOUCHED);
	vmbus_server_destroy(server);
	return 0;
}
