// SPDX-License-Identifier: Apache-2.0
#include "netvsp/test_vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "netvsp/ndis.h"

#define PAGE 4096u
// Turns of everything, before something counts as not happening.
#define PATIENCE (sw.threaded ? 100000 : 50)

// --- the VMM -----------------------------------------------------------------------------------

static int make_memfd(uint64_t bytes, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
	assert_true(fcntl(fd, F_ADD_SEALS, seals) == 0);
	return fd;
}

void vmm_create(struct vmm *vmm, bool sealed)
{
	*vmm = (struct vmm){ .fd = -1, .features = 0x1f };
	vmm->ram_fd = make_memfd(VMM_RAM_BYTES, sealed ? F_SEAL_SHRINK : 0);
	vmm->state_fd = make_memfd(sizeof(struct vmbus_state), F_SEAL_SHRINK | F_SEAL_GROW);
	vmm->ram = mmap(NULL, VMM_RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, vmm->ram_fd, 0);
	assert_true(vmm->ram != MAP_FAILED);
	for (int i = 0; i < 4; i++) {
		vmm->guest_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		vmm->irq_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
}

void vmm_hang_up(struct vmm *vmm)
{
	if (vmm->fd >= 0)
		close(vmm->fd);
	vmm->fd = -1;
	sw_run();
}

void vmm_destroy(struct vmm *vmm)
{
	if (vmm->fd >= 0)
		close(vmm->fd);
	vmbus_client_destroy(vmm->client);
	munmap(vmm->ram, VMM_RAM_BYTES);
	close(vmm->ram_fd);
	close(vmm->state_fd);
	for (int i = 0; i < 4; i++) {
		close(vmm->guest_fds[i]);
		close(vmm->irq_fds[i]);
	}
}

void vmm_connect(struct vmm *vmm)
{
	vmm->fd = vmbus_user_connect(sw_path());
	assert_true(vmm->fd >= 0);
	vmm->left_why = vmm->failed = 0;
}

static void grant(struct vmm *vmm, const struct vmbus_user_subchannels *m)
{
	struct vmbus_user_subchannels_reply reply = {
		.head.header = m->header, .n_granted = cpu_to_le32(vmm->will_grant),
	};

	reply.head.header.flags = cpu_to_le16(VMBUS_USER_REPLY);
	vmm->n_asked = le32_to_cpu(m->n_wanted);
	assert_int_equal(vmbus_user_send(vmm->fd, &reply, sizeof(reply), NULL, 0), 0);
}

// Takes what the switch has sent. Returns true for a reply.
static bool take(struct vmm *vmm)
{
	const struct vmbus_user_header *header = (const void *)vmm->reply.message;
	const struct vmbus_user_leaving_notice *notice = (const void *)vmm->reply.message;

	if (le16_to_cpu(header->flags) & VMBUS_USER_REPLY) {
		assert_int_equal(le32_to_cpu(header->serial), vmm->serial);
		return true;
	}
	switch (le16_to_cpu(header->type)) {
	case VMBUS_USER_TYPE_SUBCHANNELS: grant(vmm, (const void *)header); break;
	case VMBUS_USER_TYPE_CHANNEL_FAILED:
		vmm->failed |= 1u << le32_to_cpu(notice->reason);
		break;
	case VMBUS_USER_TYPE_LEAVING: vmm->left_why = le32_to_cpu(notice->reason); break;
	default: fail_msg("type %u from the switch", le16_to_cpu(header->type));
	}
	return false;
}

void vmm_listen(struct vmm *vmm)
{
	if (vmm->client)
		vmbus_client_run(vmm->client);
	while (vmm->fd >= 0 && vmbus_user_receive(vmm->fd, &vmm->reply) > 0)
		assert_false(take(vmm)); // nothing was asked
}

int vmm_wait(struct vmm *vmm)
{
	for (int i = 0; i < PATIENCE; i++) {
		int n;

		sw_work();
		while ((n = vmbus_user_receive(vmm->fd, &vmm->reply)) > 0)
			if (take(vmm))
				return (int)le32_to_cpu(
					((struct vmbus_user_reply *)vmm->reply.message)->status);
		if (n != -EAGAIN)
			return VMM_HUNG_UP;
	}
	return VMM_SILENT;
}

int vmm_ask(struct vmm *vmm, enum vmbus_user_type type, void *message, uint32_t bytes,
	    const int *fds, uint32_t n)
{
	struct vmbus_user_header *header = message;

	header->type = cpu_to_le16(type);
	header->serial = cpu_to_le32(++vmm->serial);
	if (vmbus_user_send(vmm->fd, message, bytes, fds, n) < 0)
		return VMM_HUNG_UP;
	return vmm_wait(vmm);
}

int vmm_ask_plain(struct vmm *vmm, enum vmbus_user_type type)
{
	struct vmbus_user_plain m = {};

	return vmm_ask(vmm, type, &m, sizeof(m), NULL, 0);
}

int vmm_hello(struct vmm *vmm, const char *name, const uint8_t *token)
{
	struct vmbus_user_hello m = {
		.magic = cpu_to_le32(VMBUS_USER_MAGIC), .version_min = cpu_to_le16(1),
		.version_max = cpu_to_le16(1), .features = cpu_to_le64(vmm->features),
	};

	memcpy(m.name, name, strlen(name));
	if (token)
		memcpy(m.token, token, sizeof(m.token));
	return vmm_ask(vmm, VMBUS_USER_TYPE_HELLO, &m, sizeof(m), NULL, 0);
}

int vmm_state(struct vmm *vmm, enum vmbus_user_origin origin)
{
	struct vmbus_user_state m = { .origin = cpu_to_le32(origin),
				      .bytes = cpu_to_le64(sizeof(struct vmbus_state)) };

	return vmm_ask(vmm, VMBUS_USER_TYPE_STATE, &m, sizeof(m), &vmm->state_fd, 1);
}

int vmm_region(struct vmm *vmm, uint32_t number, uint64_t gpa, uint64_t bytes)
{
	struct vmbus_user_region_add m = { .region = cpu_to_le32(number), .gpa = cpu_to_le64(gpa),
					   .bytes = cpu_to_le64(bytes) };

	return vmm_ask(vmm, VMBUS_USER_TYPE_REGION_ADD, &m, sizeof(m), &vmm->ram_fd, 1);
}

int vmm_gpadl(struct vmm *vmm, uint32_t id, uint32_t channel, uint32_t page, uint32_t n_pages)
{
	struct vmbus_run run = { NULL, VMM_RAM_GPA + page * PAGE, 0, n_pages * PAGE };
	struct vmbus_runs runs = { &run, 1, n_pages * PAGE };
	struct {
		struct vmbus_user_gpadl head;
		struct vmbus_user_run run;
	} m = {
		.head = { .gpadl = cpu_to_le32(id), .flags = cpu_to_le32(3),
			  .bytes = cpu_to_le64(n_pages * PAGE), .n_runs = cpu_to_le32(1),
			  .channel = cpu_to_le32(channel) },
		.run = { .gpa = cpu_to_le64(VMM_RAM_GPA + page * PAGE),
			 .bytes = cpu_to_le32(n_pages * PAGE) },
	};

	if (vmm->client) {
		assert_int_equal(vmbus_client_gpadl_add(vmm->client, channel, id, &runs,
							++vmm->cookie), 0);
		return vmm_client_wait(vmm);
	}
	return vmm_ask(vmm, VMBUS_USER_TYPE_GPADL, &m, sizeof(m), NULL, 0);
}

int vmm_teardown(struct vmm *vmm, uint32_t id, uint32_t channel)
{
	struct vmbus_user_gpadl_teardown m = { .gpadl = cpu_to_le32(id),
					       .channel = cpu_to_le32(channel) };

	return vmm_ask(vmm, VMBUS_USER_TYPE_GPADL_TEARDOWN, &m, sizeof(m), NULL, 0);
}

int vmm_open(struct vmm *vmm, uint32_t channel, bool resume, uint32_t monitor_id)
{
	const int fds[] = { vmm->guest_fds[channel], vmm->irq_fds[channel] };
	struct vmbus_user_open m = {
		.channel = cpu_to_le32(channel), .relid = cpu_to_le32(5 + channel),
		.gpadl = cpu_to_le32(VMM_RINGS_GPADL), .h2g_page = cpu_to_le32(VMM_RING_PAGES / 2),
		.flags = cpu_to_le32(resume), .vmbus_version = cpu_to_le32(0x50003),
		.monitor_id = cpu_to_le32(monitor_id),
		.target = { .mode = cpu_to_le32(VMBUS_USER_MODE_DIRECT),
			    .flag = cpu_to_le32(5 + channel), .gpa = cpu_to_le64(VMM_RAM_GPA) },
	};

	m.open_serial = cpu_to_le32(resume ? vmm->open_serials[channel]
					   : ++vmm->open_serials[channel]);
	return vmm_ask(vmm, VMBUS_USER_TYPE_OPEN, &m, sizeof(m), fds, 2);
}

int vmm_close(struct vmm *vmm, uint32_t channel)
{
	struct vmbus_user_close m = { .channel = cpu_to_le32(channel) };

	return vmm_ask(vmm, VMBUS_USER_TYPE_CLOSE, &m, sizeof(m), NULL, 0);
}

void vmm_attach(struct vmm *vmm)
{
	vmm_connect(vmm);
	assert_int_equal(vmm_hello(vmm, "web0", NULL), 0);
	if (vmm->features & VMBUS_USER_STATE)
		assert_int_equal(vmm_state(vmm, VMBUS_USER_NEW), 0);
	assert_int_equal(vmm_region(vmm, 0, VMM_RAM_GPA, VMM_RAM_BYTES), 0);
	assert_int_equal(vmm_ask_plain(vmm, VMBUS_USER_TYPE_START), 0);
	assert_int_equal(vmm_gpadl(vmm, VMM_RINGS_GPADL, 0, VMM_RINGS_PAGE(0), VMM_RING_PAGES), 0);
	assert_int_equal(vmm_open(vmm, 0, false, VMBUS_USER_NO_MONITOR), 0);
}

// --- by the client library -----------------------------------------------------------------------

static void on_attached(void *arg, const struct vmbus_client_peer *peer)
{
	struct vmm *vmm = arg;

	vmm->n_attached++;
	vmm->n_recovered = peer->n_batches;
	vmm->n_frames_lost = peer->n_lost;
}

static void on_detached(void *arg, const char *why, bool final) {}

static void on_done(void *arg, uint64_t cookie, int status, const char *text)
{
	struct vmm *vmm = arg;

	if (cookie == vmm->cookie)
		vmm->status = status;
}

static void on_subchannels(void *arg, uint32_t n_wanted)
{
	struct vmm *vmm = arg;

	vmm->n_asked = n_wanted;
	vmbus_client_grant(vmm->client, vmm->will_grant);
}

static void on_channel_failed(void *arg, uint32_t channel, uint32_t reason, const char *text)
{
	((struct vmm *)arg)->failed |= 1u << channel;
}

static void on_lost(void *arg, const char *why) { ((struct vmm *)arg)->n_lost++; }

void vmm_client_create(struct vmm *vmm, bool sealed)
{
	static const struct vmbus_client_ops ops = {
		.attached = on_attached, .detached = on_detached, .done = on_done,
		.subchannels = on_subchannels, .channel_failed = on_channel_failed, .lost = on_lost,
	};
	struct vmbus_client_cfg cfg = {
		.path = sw_path(), .name = "web0", .features = 0x1f, .ops = &ops, .vmm = vmm
	};

	vmm_create(vmm, sealed);
	assert_int_equal(vmbus_client_create(&cfg, &vmm->client), 0);
}

int vmm_client_wait(struct vmm *vmm)
{
	vmm->status = VMM_SILENT;
	for (int i = 0; i < 4 * PATIENCE && vmm->status == VMM_SILENT; i++) {
		vmbus_client_run(vmm->client);
		sw_work();
	}
	return vmm->status;
}

void vmm_client_open(struct vmm *vmm, bool resume)
{
	const struct vmbus_client_open open = {
		.relid = 5, .gpadl = VMM_RINGS_GPADL, .h2g_page = VMM_RING_PAGES / 2,
		.vmbus_version = 0x50003, .monitor_id = VMBUS_USER_NO_MONITOR,
		.kick_fd = vmm->guest_fds[0], .resume = resume,
		.target = { .mode = VMBUS_USER_MODE_DIRECT, .flag = 5, .gpa = VMM_RAM_GPA,
			    .fd = vmm->irq_fds[0] },
	};

	assert_int_equal(vmbus_client_open(vmm->client, &open, ++vmm->cookie), 0);
}

void vmm_client_load(struct vmm *vmm)
{
	const struct vmbus_client_region region = {
		0, 0, VMM_RAM_GPA, VMM_RAM_BYTES, 0, vmm->ram_fd
	};
	struct vmbus_run run = { NULL, VMM_RAM_GPA + VMM_RINGS_PAGE(0) * PAGE, 0,
				 VMM_RING_PAGES * PAGE };
	const struct vmbus_runs runs = { &run, 1, VMM_RING_PAGES * PAGE };

	assert_int_equal(vmbus_client_region_add(vmm->client, &region, ++vmm->cookie), 0);
	assert_int_equal(vmbus_client_gpadl_add(vmm->client, 0, VMM_RINGS_GPADL, &runs,
						++vmm->cookie), 0);
}

void vmm_client_attach(struct vmm *vmm)
{
	vmm_client_load(vmm);
	assert_int_equal(vmbus_client_start(vmm->client, ++vmm->cookie), 0);
	assert_int_equal(vmm_client_wait(vmm), 0);
	vmm_client_open(vmm, false);
	assert_int_equal(vmm_client_wait(vmm), 0);
	assert_int_equal(vmm->n_attached, 1);
}

// --- the guest ---------------------------------------------------------------------------------

// A GPADL in one piece, as the guest maps it.
static struct vmbus_runs make_runs(struct vmm *vmm, uint32_t page, uint32_t n_pages)
{
	struct vmbus_run *run = malloc(sizeof(*run));

	*run = (struct vmbus_run){ vmm->ram + page * PAGE, VMM_RAM_GPA + page * PAGE, 0,
				   n_pages * PAGE };
	return (struct vmbus_runs){ run, 1, n_pages * PAGE };
}

void driver_open(struct driver *driver, struct vmm *vmm, unsigned int channel)
{
	struct rig *rig = &driver->rig[channel];
	struct vmbus_ring out, in;

	driver->vmm = vmm;
	free((void *)(uintptr_t)rig->rings.runs);
	rig->rings = make_runs(vmm, VMM_RINGS_PAGE(channel), VMM_RING_PAGES);
	assert_int_equal(vmbus_ring_init(&out, &rig->rings, 0, VMM_RING_PAGES / 2), 0);
	assert_int_equal(vmbus_ring_init(&in, &rig->rings, VMM_RING_PAGES / 2, VMM_RING_PAGES / 2),
			 0);
	assert_int_equal(vmbus_writer_init(&rig->tx, &out), 0);
	assert_int_equal(vmbus_reader_init(&rig->rx, &in), 0);
	if (channel)
		return;
	free((void *)(uintptr_t)rig->receive.runs);
	free((void *)(uintptr_t)rig->send.runs);
	rig->receive = make_runs(vmm, VMM_RECEIVE_PAGE, VMM_RECEIVE_PAGES);
	rig->send = make_runs(vmm, VMM_SEND_PAGE, VMM_SEND_PAGES);
}

void driver_move(struct driver *driver, struct vmm *vmm)
{
	struct vmbus_writer tx = driver->rig[0].tx;
	struct vmbus_reader rx = driver->rig[0].rx;

	driver_open(driver, vmm, 0);
	driver->rig[0].tx.next = tx.next;
	driver->rig[0].rx.next = rx.next;
}

// Waits for the completion of the last packet. Transfers of control messages are copied to answer
// and acknowledged; others are acknowledged.
static bool await_completion(struct driver *driver, uint8_t *answer)
{
	struct rig *rig = &driver->rig[0];
	bool completed = false;

	for (int i = 0; i < PATIENCE; i++) {
		struct vmbus_packet raw;
		struct rig_packet packet;

		sw_work();
		vmm_listen(driver->vmm);
		if (vmbus_reader_next(&rig->rx, &raw) == 0)
			continue;
		if (raw.type == VMBUS_PACKET_COMPLETION && raw.transaction == driver->id) {
			memset(driver->completion, 0, sizeof(driver->completion));
			vmbus_ring_load(&rig->rx.ring, raw.payload_pos, driver->completion,
					raw.payload_bytes < 64 ? raw.payload_bytes : 64);
			vmbus_reader_commit(&rig->rx);
			completed = true;
			if (!answer)
				return true;
			continue;
		}
		vmbus_reader_back(&rig->rx, raw.pos);
		assert_true(rig_read(rig, &packet));
		if (packet.type != VMBUS_PACKET_XFER_PAGES)
			continue;
		if (answer && packet.channel_type == NVSP_CHANNEL_CONTROL)
			rig_read_section(rig, &packet, 0, answer);
		rig_ack(rig, packet.id);
		rig_kick(rig);
		if (answer && load_u32(answer) & 0x80000000)
			return true;
	}
	return completed;
}

void driver_put(struct driver *driver, const void *nvsp, uint32_t bytes)
{
	uint8_t payload[NVSP_MESSAGE_BYTES] = {};
	const struct vmbus_packet_out packet = {
		.type = VMBUS_PACKET_INBAND, .wants_completion = true,
		.transaction = ++driver->id, .payload = payload, .payload_bytes = sizeof(payload),
	};

	memcpy(payload, nvsp, bytes);
	rig_put(&driver->rig[0], &packet);
	rig_kick(&driver->rig[0]);
}

bool driver_await(struct driver *driver) { return await_completion(driver, NULL); }

bool driver_ask(struct driver *driver, const void *nvsp, uint32_t bytes)
{
	driver_put(driver, nvsp, bytes);
	return await_completion(driver, NULL);
}

bool driver_rndis(struct driver *driver, const void *message, uint32_t bytes, uint8_t *answer)
{
	const struct nvsp_rndis_packet nvsp = {
		cpu_to_le32(NVSP_RNDIS_PACKET), cpu_to_le32(NVSP_CHANNEL_CONTROL), cpu_to_le32(0),
		cpu_to_le32(bytes),
	};

	memset(answer, 0, 8);
	rig_fill_section(&driver->rig[0], 0, 0, message, bytes);
	driver_put(driver, &nvsp, sizeof(nvsp));
	return await_completion(driver, answer);
}

static void set_buffers(struct driver *driver)
{
	struct rig *rig = &driver->rig[0];
	struct nvsp_buffer receive = { cpu_to_le32(NVSP_SEND_RECV_BUF),
				       cpu_to_le32(VMM_RECEIVE_GPADL), cpu_to_le16(RIG_PAGE_SET) };
	struct nvsp_buffer send = { cpu_to_le32(NVSP_SEND_SEND_BUF), cpu_to_le32(VMM_SEND_GPADL),
				    cpu_to_le16(0) };
	const struct nvsp_recv_buf_complete *done = (const void *)driver->completion;

	assert_int_equal(vmm_gpadl(driver->vmm, VMM_RECEIVE_GPADL, 0, VMM_RECEIVE_PAGE,
				   VMM_RECEIVE_PAGES), 0);
	assert_int_equal(vmm_gpadl(driver->vmm, VMM_SEND_GPADL, 0, VMM_SEND_PAGE, VMM_SEND_PAGES),
			 0);
	assert_true(driver_ask(driver, &receive, sizeof(receive)));
	assert_int_equal(le32_to_cpu(done->status), NVSP_STATUS_SUCCESS);
	rig->section_bytes = le32_to_cpu(done->section_bytes);
	rig->cfg.n_sections = le32_to_cpu(done->n_sections);
	assert_true(driver_ask(driver, &send, sizeof(send)));
	assert_int_equal(load_u32(driver->completion + 4), NVSP_STATUS_SUCCESS);
}

void driver_start(struct driver *driver)
{
	struct nvsp_init init = { cpu_to_le32(NVSP_INIT), cpu_to_le32(NVSP_VERSION_6_1),
				  cpu_to_le32(NVSP_VERSION_6_1) };
	struct nvsp_ndis_config config = { .type = cpu_to_le32(NVSP_SEND_NDIS_CONFIG),
					   .mtu = cpu_to_le32(1514) };
	struct nvsp_ndis_version version = { cpu_to_le32(NVSP_SEND_NDIS_VERSION), cpu_to_le32(6),
					     cpu_to_le32(30) };
	struct rndis_initialize hello = { { { cpu_to_le32(RNDIS_INITIALIZE), cpu_to_le32(24) },
					    cpu_to_le32(1) },
					  cpu_to_le32(1), cpu_to_le32(0), cpu_to_le32(0x4000) };
	struct {
		struct rndis_oid_request head;
		le32 filter;
	} filter = { { { { cpu_to_le32(RNDIS_SET), cpu_to_le32(32) }, cpu_to_le32(2) },
		       cpu_to_le32(0x1010e), cpu_to_le32(4), cpu_to_le32(20), cpu_to_le32(0) },
		     cpu_to_le32(0xd) };
	uint8_t answer[4096];

	assert_true(driver_ask(driver, &init, sizeof(init)));
	assert_int_equal(load_u32(driver->completion), NVSP_INIT_COMPLETE);
	assert_int_equal(load_u32(driver->completion + 12), NVSP_STATUS_SUCCESS);
	assert_true(driver_ask(driver, &config, sizeof(config)));
	assert_true(driver_ask(driver, &version, sizeof(version)));
	set_buffers(driver);
	assert_true(driver_rndis(driver, &hello, sizeof(hello), answer));
	assert_int_equal(load_u32(answer), RNDIS_ANSWER | RNDIS_INITIALIZE);
	assert_int_equal(load_u32(answer + 12), RNDIS_STATUS_SUCCESS);
	assert_true(driver_rndis(driver, &filter, sizeof(filter), answer));
	assert_int_equal(load_u32(answer), RNDIS_ANSWER | RNDIS_SET);
	assert_int_equal(load_u32(answer + 12), RNDIS_STATUS_SUCCESS);
}

void driver_send(struct driver *driver, unsigned int channel, uint32_t mark)
{
	uint8_t frame[100] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5 };
	uint8_t message[sizeof(frame) + RIG_RNDIS_BYTES];
	uint32_t section = 1 + channel, bytes;

	store_u32(frame + SW_MARK_AT, mark);
	bytes = rig_rndis(message, &(struct rig_frame){ .data = frame, .bytes = sizeof(frame) });
	rig_fill_section(&driver->rig[0], section, 0, message, bytes);
	rig_send(&driver->rig[channel], ++driver->id, section, bytes, NULL, 0);
	rig_kick(&driver->rig[channel]);
}

int64_t driver_receive(struct driver *driver, unsigned int channel)
{
	struct rig *rig = &driver->rig[channel], *buffers = &driver->rig[0];
	struct rig_packet packet;
	uint8_t message[4096];
	struct rig_received frame;

	rig->cfg.n_sections = buffers->cfg.n_sections;
	rig->section_bytes = buffers->section_bytes;
	while (rig_read(rig, &packet)) {
		if (packet.type != VMBUS_PACKET_XFER_PAGES)
			continue;
		if (packet.channel_type == NVSP_CHANNEL_DATA)
			rig_parse(message, rig_read_section(buffers, &packet, 0, message), &frame);
		rig_ack(rig, packet.id);
		rig_kick(rig);
		if (packet.channel_type == NVSP_CHANNEL_DATA)
			return load_u32(message + frame.offset + SW_MARK_AT);
	}
	return -1;
}
