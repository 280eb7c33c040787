// SPDX-License-Identifier: Apache-2.0
#include "tests/guest/rig.h"

#include <rte_mbuf.h>

#include <stdio.h>
#include <unistd.h>

#include "tests/guest/fake_frames.h"

struct rig rig;

// A test that failed may have left its switch behind: each has names of its own.
static char path[64], names[RIG_MAX_VMS][16];
static uint32_t n_rigs;

const char *rig_path(void) { return path; }
const char *rig_name(uint32_t vm) { return names[vm]; }

// --- rounds ------------------------------------------------------------------------------------

bool rig_pump(void *ctx)
{
	fake_switch_pump(&rig.sw);
	for (uint32_t i = 0; i < rig.n_vms; i++) {
		if (rig.vms[i].vmm.server)
			fake_vmm_run(&rig.vms[i].vmm);
		if (rig.vms[i].started)
			fake_driver_poll(&rig.vms[i].driver);
	}
	return true;
}

void rig_rounds(uint32_t n)
{
	while (n-- > 0)
		rig_pump(NULL);
}

void rig_wait(bool (*done)(void *arg), void *arg)
{
	for (uint32_t i = 0; i < 10000; i++) {
		if (done(arg))
			return;
		rig_pump(NULL);
	}
	fail_msg("waited in vain");
}

// --- frames ------------------------------------------------------------------------------------

struct mac rig_mac(uint32_t vm)
{
	return (struct mac){ { 0x00, 0x15, 0x5d, 0, 0, (uint8_t)(vm + 1) } };
}

struct mac rig_wire_mac(void)
{
	return (struct mac){ { 0x02, 0, 0, 0, 0, 0xff } };
}

uint32_t rig_frame(uint8_t *to, uint32_t bytes, struct mac dst, struct mac src)
{
	uint32_t number = rig.next++;

	assert_in_range(bytes, FAKE_FRAME_MIN, FAKE_MAX_FRAME);
	fake_frame_build(to, bytes, dst, src, number);
	return number;
}

uint32_t rig_frame_number(const uint8_t *frame, uint32_t bytes)
{
	uint32_t number = fake_frame_number(frame, bytes);

	if (number == FAKE_FRAME_BAD)
		fail_msg("frame %u is not as it was sent", load_u32(frame + 18));
	return number;
}

static void on_frame(void *ctx, const struct fake_frame *frame)
{
	struct rig_vm *vm = ctx;
	uint32_t number = rig_frame_number(frame->bytes, frame->n_bytes);

	vm->n_by_channel[frame->channel]++;
	vm->last = *frame;
	vm->last.bytes = vm->last_bytes;
	memcpy(vm->last_bytes, frame->bytes, frame->n_bytes);
	if (number == FAKE_FRAME_NONE)
		return;
	assert_true(number < RIG_MAX_SEEN);
	vm->n_seen++;
	if (vm->seen[number]++)
		fail_msg("frame %u was received twice", number);
}

uint32_t rig_inject(uint32_t vm, uint32_t bytes)
{
	static const struct mac everybody = { { 255, 255, 255, 255, 255, 255 } };
	uint8_t frame[FAKE_MAX_FRAME];
	uint32_t number = rig_frame(frame, bytes, vm < RIG_MAX_VMS ? rig_mac(vm) : everybody,
				    rig_wire_mac());
	struct rte_mbuf *m = rte_pktmbuf_alloc(bytes > 2048 ? rig.sw.pools.large
							     : rig.sw.pools.small);

	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, (uint16_t)bytes), frame, bytes);
	fake_switch_inject(&rig.sw, FAKE_WIRE, m);
	return number;
}

uint32_t rig_send(uint32_t vm, uint32_t bytes)
{
	uint8_t frame[FAKE_MAX_FRAME];
	uint32_t number = rig_frame(frame, bytes, rig_wire_mac(), rig_mac(vm));

	assert_int_equal(fake_driver_send(&rig.vms[vm].driver, frame, bytes), 0);
	return number;
}

bool rig_has(uint32_t vm, uint32_t number)
{
	return rig.vms[vm].seen[number] == 1;
}

bool rig_wire_has(uint32_t number)
{
	uint8_t frame[FAKE_MAX_FRAME];

	for (uint32_t i = 0; i < rig.sw.n_wire; i++) {
		const struct rte_mbuf *m = rig.sw.wire[i];
		const uint8_t *bytes = rte_pktmbuf_read(m, 0, m->pkt_len, frame);

		if (rig_frame_number(bytes, m->pkt_len) == number)
			return true;
	}
	return false;
}

struct expectation {
	uint32_t vm, number;
};

static bool is_met(void *arg)
{
	const struct expectation *e = arg;

	return e->vm == RIG_MAX_VMS ? rig_wire_has(e->number) : rig_has(e->vm, e->number);
}

void rig_expect(uint32_t vm, uint32_t number)
{
	struct expectation e = { vm, number };

	rig_wait(is_met, &e);
}

void rig_expect_wire(uint32_t number)
{
	struct expectation e = { RIG_MAX_VMS, number };

	rig_wait(is_met, &e);
}

void rig_check_traffic(uint32_t vm)
{
	fake_switch_forget_wire(&rig.sw);
	rig_expect_wire(rig_send(vm, 60)); // first: the switch learns where it is
	rig_expect_wire(rig_send(vm, 1514));
	rig_expect(vm, rig_inject(vm, 60));
	rig_expect(vm, rig_inject(vm, 1514));
}

struct netvsp_nic_info rig_info(uint32_t vm)
{
	struct netvsp_nic_info info;
	struct netvsp_counters total;

	assert_true(fake_switch_info(names[vm], &info, &total));
	return info;
}

struct netvsp_counters rig_counters(uint32_t vm)
{
	struct netvsp_nic_info info;
	struct netvsp_counters total;

	assert_true(fake_switch_info(names[vm], &info, &total));
	return total;
}

// --- life --------------------------------------------------------------------------------------

static void vm_up(uint32_t i, const struct rig_cfg *cfg)
{
	struct rig_vm *vm = &rig.vms[i];
	struct fake_vmm_cfg vmm = cfg->vmm;
	struct fake_driver_cfg driver = cfg->driver;

	vmm.path = path;
	vmm.nics[0] = names[i];
	vmm.n_nics = 1;
	vmm.pump = rig_pump;
	assert_int_equal(fake_vmm_init(&vm->vmm, &vmm), 0);
	driver.receive = on_frame;
	driver.ctx = vm;
	fake_driver_init(&vm->driver, &vm->vmm.guest, 0, &driver);
	vm->started = true;
	if (cfg->no_boot)
		return;
	assert_int_equal(fake_vmm_boot(&vm->vmm), 0);
	if (!cfg->no_start)
		assert_int_equal(fake_driver_start(&vm->driver), 0);
}

void rig_up(const struct rig_cfg *cfg)
{
	static const struct rig_cfg none;
	struct fake_switch_cfg sw;

	cfg = cfg ? cfg : &none;
	sw = cfg->sw;
	snprintf(path, sizeof(path), "@weft-test-%d-%u", getpid(), n_rigs);
	sw.path = path;
	sw.wire = true;
	memset(&rig, 0, sizeof(rig));
	rig.n_vms = cfg->n_vms ? cfg->n_vms : 1;
	rig.vms = calloc(rig.n_vms, sizeof(*rig.vms));
	assert_non_null(rig.vms);
	sw.n_ports = RTE_MAX(sw.n_ports, rig.n_vms);
	for (uint32_t i = 0; i < RIG_MAX_VMS; i++) {
		snprintf(names[i], sizeof(names[i]), "vm%u.%u", i, n_rigs);
		sw.names[i] = names[i];
	}
	n_rigs++;
	assert_int_equal(fake_switch_init(&rig.sw, &sw), 0);
	for (uint32_t i = 0; i < rig.n_vms; i++)
		vm_up(i, cfg);
}

void rig_drop(void)
{
	const char *unbalanced;

	for (uint32_t i = 0; i < rig.n_vms; i++) {
		rig.vms[i].started = false;
		fake_driver_fini(&rig.vms[i].driver);
		fake_vmm_fini(&rig.vms[i].vmm);
	}
	rig_rounds(10);
	unbalanced = fake_switch_unbalanced(&rig.sw);
	if (unbalanced)
		fail_msg("%s", unbalanced);
	rig.n_vms = 0;
	fake_switch_fini(&rig.sw);
	free(rig.vms);
}

void rig_down(void)
{
	for (uint32_t i = 0; i < rig.n_vms; i++) {
		const char *complaint = fake_guest_complaint(&rig.vms[i].vmm.guest);

		if (complaint)
			fail_msg("guest %u: %s", i, complaint);
	}
	rig_drop();
}
