// SPDX-License-Identifier: Apache-2.0
// A guest that does anything, against all of a NIC: VMBus server, vmbus-user, control machine, data
// path, in one thread (tests/guest/rig.h). Input: steps, a byte that says what, and what it needs.
// The driver is up when it begins, so that every step means something. Whatever it does, every
// frame is accounted for at the end, and after a new contact its driver comes up again.
#include <stdio.h>

#include "netvsp/nvsp.h"
#include "tests/guest/fake_attacks.h"
#include "tests/guest/rig.h"

#define MAX_STEPS 64
#define FEW_ROUNDS 30u // of waiting for what may never come

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum step {
	FRAME,
	RAW,
	SCRIBBLE,
	INDEX,
	NVSP,
	ROUNDS,
	INJECT,
	ACK,
	MESSAGE,
	PAUSE,
	CLOSE,
	N_STEPS
};

static const uint8_t *input;
static size_t n_left;
static bool is_up;

static uint32_t number(uint32_t n_bytes)
{
	uint32_t v = 0;

	for (; n_bytes > 0; n_bytes--, n_left -= n_left > 0)
		v = v << 8 | (n_left ? *input++ : 0u);
	return v;
}

// Fills at most n bytes with what there is. Returns how many.
static uint32_t bytes(uint8_t *out, uint32_t n)
{
	n = n < n_left ? n : (uint32_t)n_left;
	memcpy(out, input, n);
	input += n;
	n_left -= n;
	return n;
}

// --- steps -------------------------------------------------------------------------------------

static struct fake_tx read_how(struct fake_cut *cuts)
{
	uint32_t v = number(1);
	struct fake_tx how = {
		.form = v % 3, .silent = v & 0x80, .in_section = number(1) * 2u, .cuts = cuts
	};

	for (how.n_cuts = 0; how.n_cuts < (v >> 2) % 4; how.n_cuts++)
		cuts[how.n_cuts] = (struct fake_cut){ 1 + number(1), number(2) % 4096 };
	return how;
}

static void do_frame(struct fake_driver *driver)
{
	static uint8_t frame[1514];
	struct fake_cut cuts[4];
	struct fake_tx tx = read_how(cuts);
	struct fake_packet packet = { frame, 60 + number(1) * 5, number(1), 0, 0, 0, 0 };

	rig_frame(frame, packet.bytes, rig_wire_mac(), rig_mac(0));
	packet.csum = number(4);
	packet.lso = number(4);
	packet.vlan = number(2);
	tx.packets = &packet;
	tx.n = 1;
	fake_driver_put(driver, &tx);
	fake_driver_kick(driver);
}

static void do_raw(struct fake_driver *driver)
{
	static uint8_t message[256];
	struct fake_cut cuts[4];
	const struct fake_tx how = read_how(cuts);
	struct fake_raw raw = { message, 0, number(1) % 3 };

	raw.bytes = bytes(message, number(1));
	if (raw.bytes)
		fake_driver_put_raw(driver, &how, &raw);
	fake_driver_kick(driver);
}

static void do_scribble(struct fake_channel *channel)
{
	uint32_t at = number(3) % fake_buffer_bytes(&channel->rings);

	channel->rings.at[at] = (uint8_t)number(1);
	fake_channel_signal(channel);
}

static void do_index(struct fake_channel *channel)
{
	uint32_t which = number(1), value = number(4);
	struct vmbus_ring_header *header = which & 1 ? fake_channel_in_header(channel)
						      : fake_channel_out_header(channel);

	store_u32((uint8_t *)header + (which >> 1) % 4 * 4, value);
	fake_channel_signal(channel);
}

static void do_nvsp(struct fake_driver *driver)
{
	uint8_t message[NVSP_MESSAGE_BYTES] = { 0 };

	store_u32(message, number(1));
	bytes(message + 4, number(1) % (sizeof(message) - 4));
	fake_driver_nvsp(driver, message, sizeof(message), number(1) & 1);
}

static void do_ack(struct fake_driver *driver)
{
	uint32_t v = number(1);

	driver->cfg.ack = v & 1 ? FAKE_ACK_HOLD : FAKE_ACK_NOW;
	if (v & 2)
		fake_driver_ack_raw(driver, 0, number(2));
	else
		fake_driver_ack_nth(driver, number(1));
	fake_driver_kick(driver);
}

// A channel message; contacts and unloads would take the channel from under the driver.
static void do_message(struct fake_vmm *vmm)
{
	uint8_t message[VMBUS_MAX_MESSAGE] = { 0 };
	uint32_t type = number(1) % 30, n;

	if (type == VMBUS_INITIATE_CONTACT || type == VMBUS_UNLOAD)
		type = VMBUS_GPADL_HEADER;
	store_u32(message, type);
	n = bytes(message + 8, number(1) % (sizeof(message) - 8));
	vmbus_server_post(vmm->server, vmm->guest.connection, message, 8 + n);
}

static void do_close(struct fake_driver *driver)
{
	if (number(1) & 1)
		fake_driver_revoke(driver);
	else
		fake_driver_halt(driver);
}

static void do_step(struct rig_vm *vm)
{
	struct fake_driver *driver = &vm->driver;

	switch (number(1) % N_STEPS) {
	case FRAME: do_frame(driver); break;
	case RAW: do_raw(driver); break;
	case SCRIBBLE: do_scribble(driver->channels[0]); break;
	case INDEX: do_index(driver->channels[0]); break;
	case NVSP: do_nvsp(driver); break;
	case ROUNDS: rig_rounds(number(1) % 16); break;
	case INJECT: rig_inject(0, 60 + number(1) * 5); break;
	case ACK: do_ack(driver); break;
	case MESSAGE: do_message(&vm->vmm); break;
	case PAUSE:
		if (!fake_vmm_pause(&vm->vmm, 0))
			fake_vmm_resume(&vm->vmm, 0);
		break;
	case CLOSE: do_close(driver); break;
	default: break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake_attacker self = { .seed = 1 };
	const char *unbalanced;

	if (!is_up) {
		rig_up(&(struct rig_cfg){ .driver = { .receive_pages = 64, .send_pages = 16,
						      .rings = { 4, 4, 0 } } });
		rig.vms[0].driver.cfg.receive = NULL; // frames may be anything
		is_up = true;
	}
	self.vmm = &rig.vms[0].vmm;
	self.driver = &rig.vms[0].driver;
	input = data;
	n_left = size;
	rig.next = 0;
	self.vmm->guest.max_rounds = FEW_ROUNDS;
	for (uint32_t i = 0; i < MAX_STEPS && n_left > 0; i++)
		do_step(&rig.vms[0]);
	self.vmm->guest.max_rounds = 10000;
	fake_switch_forget_wire(&rig.sw);
	self.driver->cfg.ack = FAKE_ACK_NOW;
	assert_int_equal(fake_attack_recover(&self), 0);
	unbalanced = fake_switch_unbalanced(&rig.sw);
	if (unbalanced)
		fail_msg("%s", unbalanced);
	return 0;
}
