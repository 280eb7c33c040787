// SPDX-License-Identifier: Apache-2.0
// What a switch may send to the client of vmbus-user: datagrams of any bytes, answers of any
// status, hang-ups, while the VMM asks for things. No request ends twice.
//
// Input: steps, a byte of kind and a byte of argument, for a datagram followed by its bytes.
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmbus/client.h"
#include "vmbus/state.h"
#include "vmbus/user_socket.h"

#define MAX_STEPS 100

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vmbus_client *client;
static struct vmbus_user_datagram got;
static int listener = -1, peer, some_fd;
static char path[64];
static uint8_t ended[MAX_STEPS + 1]; // by cookie
static uint32_t n_asked;

static void on_attached(void *vmm, const struct vmbus_client_peer *p) {}
static void on_detached(void *vmm, const char *why, bool final) { assert(why[0]); }
static void on_lost(void *vmm, const char *why) { assert(strlen(why) < 256); }

static void on_done(void *vmm, uint64_t cookie, int status, const char *text)
{
	assert(cookie < n_asked && !ended[cookie] && status <= 0 && status >= -4095);
	assert(strlen(text) <= 240);
	ended[cookie] = 1;
}

static void on_subchannels(void *vmm, uint32_t n_wanted)
{
	assert(n_wanted < VMBUS_USER_MAX_CHANNELS);
	if (n_wanted % 2)
		vmbus_client_grant(client, n_wanted);
}

static void on_channel_failed(void *vmm, uint32_t channel, uint32_t reason, const char *text)
{
	assert(channel < VMBUS_USER_MAX_CHANNELS && strlen(text) <= 240);
}

static const struct vmbus_client_ops ops = {
	.attached = on_attached,
	.detached = on_detached,
	.done = on_done,
	.subchannels = on_subchannels,
	.channel_failed = on_channel_failed,
	.lost = on_lost,
};

static void run(void)
{
	struct pollfd p = { .fd = vmbus_client_fd(client), .events = POLLIN };

	for (int i = 0; i < 20 && poll(&p, 1, 0) == 1; i++)
		vmbus_client_run(client);
}

// --- the VMM -----------------------------------------------------------------------------------

static int ask(uint8_t kind, uint8_t argument)
{
	struct vmbus_client_region region = { argument, 0, argument << 12, 4096, 0, some_fd };
	struct vmbus_run run_of = { NULL, 4096, 0, 8192 };
	struct vmbus_runs runs = { &run_of, 1, 8192 };
	struct vmbus_client_open open = { .channel = argument % 4, .gpadl = argument % 8,
					  .kick_fd = some_fd,
					  .target = { argument % 3, 1, 0, 2, 0, some_fd } };
	uint64_t cookie = n_asked;

	switch (kind) {
	case 0: return vmbus_client_region_add(client, &region, cookie);
	case 1: return vmbus_client_region_del(client, argument, cookie);
	case 2: return vmbus_client_gpadl_add(client, argument % 4, argument % 8, &runs, cookie);
	case 3: return vmbus_client_gpadl_teardown(client, argument % 4, argument % 8, cookie);
	case 4: return vmbus_client_open(client, &open, cookie);
	case 5: return vmbus_client_close(client, argument % 4, cookie);
	case 6: return vmbus_client_set_target(client, argument % 4, &open.target, cookie);
	case 7: return vmbus_client_set_monitor(client, argument << 12, 0, cookie);
	case 8: return vmbus_client_start(client, cookie);
	case 9: return vmbus_client_pause(client, cookie);
	case 10: return vmbus_client_resume(client, cookie);
	case 11: return vmbus_client_save(client, cookie);
	case 12: return vmbus_client_reset(client, cookie);
	default: return vmbus_client_dirty_log(client, argument & 1 ? some_fd : -1, 64, cookie);
	}
}

// --- the switch --------------------------------------------------------------------------------

static void accept_client(void)
{
	int fd = vmbus_user_accept(listener);

	if (fd >= 0) {
		if (peer >= 0)
			close(peer);
		peer = fd;
	}
}

// Reads the next message and answers it as an honest switch would, but for the status.
static void answer(uint8_t status)
{
	uint8_t reply[128] = {};
	struct vmbus_user_hello_reply *hello = (void *)reply;
	uint32_t bytes = 16;

	vmbus_user_datagram_close(&got);
	if (peer < 0 || vmbus_user_receive(peer, &got) <= 0)
		return;
	memcpy(reply, got.message, 8);
	reply[2] = VMBUS_USER_REPLY;
	reply[8] = status;
	if (status == 0 && reply[0] == VMBUS_USER_TYPE_HELLO) {
		hello->version = cpu_to_le16(1);
		hello->max_channels = cpu_to_le16(64);
		hello->max_regions = cpu_to_le32(64);
		hello->features = cpu_to_le64(0x1f);
		hello->instance = cpu_to_le64(1);
		hello->state_bytes = cpu_to_le64(sizeof(struct vmbus_state));
		bytes = sizeof(*hello);
	} else if (status == 0 && (reply[0] == VMBUS_USER_TYPE_START ||
				   reply[0] == VMBUS_USER_TYPE_SAVE)) {
		if (reply[0] == VMBUS_USER_TYPE_SAVE)
			store_u32(reply + 16, sizeof(struct vmbus_state));
		bytes = 32;
	}
	vmbus_user_send(peer, reply, bytes, NULL, 0);
}

// What the client waits for, in place of bytes that were made up.
static void send_bytes(const uint8_t *bytes, uint32_t n, bool with_fd)
{
	if (peer >= 0 && n > 0)
		vmbus_user_send(peer, bytes, n, &some_fd, with_fd);
}

static void step(uint8_t kind, uint8_t argument)
{
	if (kind < 14) {
		if (ask(kind, argument) == 0)
			n_asked++;
	} else if (kind == 14) {
		if (peer >= 0)
			close(peer);
		peer = -1;
	} else if (kind == 15) {
		accept_client();
	} else if (kind < 32) {
		answer(0);
	} else {
		answer(argument);
	}
}

static void begin(void)
{
	struct vmbus_client_cfg cfg = {
		.path = path, .name = "web0", .features = 0x1f, .ops = &ops
	};

	if (listener < 0) {
		snprintf(path, sizeof(path), "@weft-fuzz-client-%d", getpid());
		listener = vmbus_user_listen(path);
		some_fd = memfd_create("some", MFD_CLOEXEC);
		if (listener < 0 || some_fd < 0)
			abort();
	}
	peer = -1;
	n_asked = 0;
	memset(ended, 0, sizeof(ended));
	if (vmbus_client_create(&cfg, &client) < 0)
		abort();
	run();
	accept_client();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	for (uint32_t i = 0; i < MAX_STEPS && size >= 2; i++) {
		uint8_t kind = data[0], argument = data[1];

		data += 2;
		size -= 2;
		if (kind >= 64) {
			uint32_t n = argument < size ? argument : (uint32_t)size;

			send_bytes(data, n, kind == 255);
			data += n;
			size -= n;
		} else {
			step(kind, argument);
		}
		run();
		accept_client();
	}
	vmbus_client_destroy(client);
	vmbus_user_datagram_close(&got);
	if (peer >= 0)
		close(peer);
	// Connections that nobody accepted must not meet the next client.
	while ((peer = vmbus_user_accept(listener)) >= 0)
		close(peer);
	return 0;
}
