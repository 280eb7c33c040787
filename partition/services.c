// SPDX-License-Identifier: Apache-2.0
#include "partition/services.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "vmbus/ring.h"

enum service { HEARTBEAT, TIME, SHUTDOWN, N_SERVICES };
enum { HEARTBEAT_SECONDS = 5, TIME_SECONDS = 30 };

enum message_type {
	MESSAGE_NEGOTIATE = 0,
	MESSAGE_HEARTBEAT = 1,
	MESSAGE_SHUTDOWN = 3,
	MESSAGE_TIME = 4,
};
enum { FLAG_TRANSACTION = 1, FLAG_REQUEST = 2, FLAG_RESPONSE = 4 };
enum { TIME_SYNC = 1, TIME_SAMPLE = 2 };
enum { SHUTDOWN_FORCED = 1, SHUTDOWN_RESTART = 2 };
#define FILETIME_OF_1970 116444736000000000ull // 100 ns from 1601 to then

// Every packet of a service begins so.
struct VMBUS_PACKED head {
	le32 pipe_flags, pipe_bytes; // bytes behind these two
	le16 framework[2];           // major, minor
	le16 type;                   // enum message_type
	le16 version[2];
	le16 bytes; // behind this header
	le32 status;
	uint8_t transaction, flags, reserved[2];
};
static_assert(sizeof(struct head) == 28);

struct VMBUS_PACKED negotiate {
	struct head head;
	le16 n_frameworks, n_versions;
	le32 reserved;
	le16 framework[2], version[2];
};

struct VMBUS_PACKED heartbeat {
	struct head head;
	le64 number;
	le32 reserved[8];
};

struct VMBUS_PACKED time_message {
	struct head head;
	le64 host_time; // 100 ns since 1601
	le64 guest_time, round_trip;
	uint8_t flags;
};

struct VMBUS_PACKED shutdown_message {
	struct head head;
	le32 reason, timeout_seconds, flags;
	uint8_t text[2048];
};

struct service_state {
	struct partition_services *services;
	struct vmbus_device *device;
	bool is_open, is_agreed; // on versions
	uint32_t connection_id, relid, target_vp;
	struct vmbus_reader reader;
	struct vmbus_writer writer;
	uint8_t transaction;
	uint32_t seconds; // since something was sent
};

struct partition_services {
	struct partition_services_cfg cfg;
	struct service_state states[N_SERVICES];
	uint64_t heartbeat;
	uint32_t silence; // seconds
	bool has_answered;
};

// --- sending -----------------------------------------------------------------------------------

static void ring(struct service_state *s)
{
	const struct vmbus_contact *contact = vmbus_server_contact(s->services->cfg.server);
	struct partition_hv *hv = s->services->cfg.hv;

	if (contact && s->target_vp < hv->n_vps && contact->sint < PARTITION_N_SINTS)
		partition_synic_signal(&hv->vps[s->target_vp].synic, contact->sint, s->relid);
}

// Sends message[bytes], which begins with *head. A ring that is full or corrupt loses it.
static void send(struct service_state *s, struct head *head, uint16_t type, uint32_t bytes)
{
	const struct vmbus_packet_out packet = { .type = VMBUS_PACKET_INBAND,
						 .payload = head,
						 .payload_bytes = bytes };
	const uint32_t pipe_bytes = offsetof(struct head, framework);

	head->pipe_flags = cpu_to_le32(1);
	head->pipe_bytes = cpu_to_le32(bytes - pipe_bytes);
	head->type = cpu_to_le16(type);
	head->framework[0] = head->version[0] = cpu_to_le16(3);
	head->bytes = cpu_to_le16((uint16_t)(bytes - sizeof(*head)));
	head->flags = FLAG_TRANSACTION | FLAG_REQUEST;
	head->transaction = ++s->transaction;
	if (vmbus_writer_put(&s->writer, &packet) == 0 && vmbus_writer_commit(&s->writer))
		ring(s);
}

static void send_negotiate(struct service_state *s)
{
	struct negotiate m = { .n_frameworks = cpu_to_le16(1),
			       .n_versions = cpu_to_le16(1),
			       .framework = { cpu_to_le16(3) },
			       .version = { cpu_to_le16(3) } };

	send(s, &m.head, MESSAGE_NEGOTIATE, sizeof(m));
}

static void send_heartbeat(struct service_state *s)
{
	struct heartbeat m = { .number = cpu_to_le64(s->services->heartbeat) };

	send(s, &m.head, MESSAGE_HEARTBEAT, sizeof(m));
}

static void send_time(struct service_state *s, uint8_t flags)
{
	struct time_message m = { .flags = flags };
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	m.host_time = cpu_to_le64(FILETIME_OF_1970 + (uint64_t)now.tv_sec * 10000000 +
				  (uint64_t)now.tv_nsec / 100);
	send(s, &m.head, MESSAGE_TIME, sizeof(m));
}

int partition_services_shutdown(struct partition_services *services, bool reboot)
{
	struct service_state *s = &services->states[SHUTDOWN];
	struct shutdown_message m = { .timeout_seconds = cpu_to_le32(60) };

	if (!s->is_open || !s->is_agreed)
		return -ENOTCONN;
	m.flags = cpu_to_le32(reboot ? SHUTDOWN_RESTART : 0);
	send(s, &m.head, MESSAGE_SHUTDOWN, sizeof(m));
	return 0;
}

void partition_services_tick(struct partition_services *services)
{
	struct service_state *heart = &services->states[HEARTBEAT];
	struct service_state *time = &services->states[TIME];

	if (services->silence < UINT32_MAX - 1)
		services->silence++;
	if (heart->is_open && heart->is_agreed && ++heart->seconds >= HEARTBEAT_SECONDS) {
		heart->seconds = 0;
		send_heartbeat(heart);
	}
	if (time->is_open && time->is_agreed && ++time->seconds >= TIME_SECONDS) {
		time->seconds = 0;
		send_time(time, TIME_SAMPLE);
	}
}

uint32_t partition_services_silence(const struct partition_services *services)
{
	return services->has_answered ? services->silence : UINT32_MAX;
}

// --- receiving ---------------------------------------------------------------------------------

// A message of the guest's, copied: bytes of it are there.
static void handle(struct service_state *s, const struct head *head, uint32_t bytes)
{
	struct partition_services *services = s->services;
	enum service which = (enum service)(s - services->states);

	if (!(head->flags & FLAG_RESPONSE))
		return;
	if (le16_to_cpu(head->type) == MESSAGE_NEGOTIATE) {
		const struct negotiate *m = (const struct negotiate *)head;

		s->is_agreed = bytes >= sizeof(*m) && le16_to_cpu(m->n_frameworks) == 1 &&
			       le16_to_cpu(m->n_versions) == 1;
		if (s->is_agreed && which == TIME)
			send_time(s, TIME_SYNC);
	} else if (which == HEARTBEAT && le16_to_cpu(head->type) == MESSAGE_HEARTBEAT) {
		services->heartbeat++;
		services->silence = 0;
		services->has_answered = true;
	}
}

static void read_ring(struct service_state *s)
{
	// As many as a small ring holds; a guest that writes on while we read is heard later.
	for (int i = 0; i < 64; i++) {
		union {
			struct head head;
			struct negotiate negotiate;
		} message = {};
		struct vmbus_packet packet;
		uint32_t bytes;

		if (vmbus_reader_next(&s->reader, &packet) != 1)
			break;
		bytes = packet.payload_bytes;
		bytes = bytes < sizeof(message) ? bytes : sizeof(message);
		vmbus_ring_load(&s->reader.ring, packet.payload_pos, &message, bytes);
		if (packet.type == VMBUS_PACKET_INBAND && bytes >= sizeof(message.head))
			handle(s, &message.head, bytes);
	}
	if (vmbus_reader_commit(&s->reader))
		ring(s);
}

bool partition_services_signal(struct partition_services *services, uint32_t connection_id)
{
	for (uint32_t i = 0; i < N_SERVICES; i++) {
		struct service_state *s = &services->states[i];

		if (!s->is_open || s->connection_id != connection_id)
			continue;
		// Bounded: it may write faster than we read, or the ring is corrupt.
		for (int n = 0; n < 16; n++) {
			read_ring(s);
			if (vmbus_reader_arm(&s->reader))
				break;
		}
		return true;
	}
	return false;
}

// --- the device --------------------------------------------------------------------------------

static void on_gpadl(void *device, uint32_t channel, const struct vmbus_gpadl *gpadl, bool resume)
{
	struct service_state *s = device;

	if (!resume)
		vmbus_device_gpadl_done(s->device, channel, gpadl->id, true);
}

static void on_teardown(void *device, uint32_t channel, uint32_t gpadl)
{
	struct service_state *s = device;

	vmbus_device_gpadl_teardown_done(s->device, channel, gpadl);
}

static int open_rings(struct service_state *s, const struct vmbus_open *open)
{
	const struct vmbus_runs *runs = &open->gpadl->runs;
	uint32_t n_pages = runs->bytes / VMBUS_PAGE_BYTES, first = open->downstream_page;
	struct vmbus_ring in, out;

	if (vmbus_ring_init(&in, runs, 0, first) ||
	    vmbus_ring_init(&out, runs, first, n_pages - first) ||
	    vmbus_reader_init(&s->reader, &in) || vmbus_writer_init(&s->writer, &out))
		return -EINVAL;
	return 0;
}

static void on_open(void *device, uint32_t channel, const struct vmbus_open *open)
{
	struct service_state *s = device;

	s->is_open = open_rings(s, open) == 0;
	s->is_agreed = open->resume;
	s->connection_id = open->connection_id;
	s->relid = open->relid;
	s->target_vp = open->target_vp;
	if (!open->resume)
		vmbus_device_open_done(s->device, channel, s->is_open);
	if (!s->is_open)
		return;
	vmbus_reader_arm(&s->reader);
	if (!open->resume)
		send_negotiate(s);
	else if (s == &s->services->states[TIME])
		send_time(s, TIME_SYNC); // it has been away
}

static void on_close(void *device, uint32_t channel)
{
	struct service_state *s = device;

	s->is_open = false;
	vmbus_device_close_done(s->device, channel);
}

static void on_modify(void *device, uint32_t channel, uint32_t target_vp)
{
	struct service_state *s = device;

	s->target_vp = target_vp;
	vmbus_device_modify_done(s->device, channel, true);
}

static void on_reset(void *device)
{
	struct service_state *s = device;

	s->is_open = false;
	vmbus_device_reset_done(s->device);
}

static const struct vmbus_device_ops device_ops = {
	.gpadl = on_gpadl,
	.gpadl_teardown = on_teardown,
	.open = on_open,
	.close = on_close,
	.modify = on_modify,
	.reset = on_reset,
};

// In Microsoft's mixed order.
static const struct {
	uint8_t type[16], instance[16];
} guids[N_SERVICES] = {
	// 57164f39-9115-4e78-ab55-382f3bd5422d, fd149e91-82e0-4a7d-afa6-2a4166cbd7c0
	[HEARTBEAT] = { { 0x39, 0x4f, 0x16, 0x57, 0x15, 0x91, 0x78, 0x4e, 0xab, 0x55, 0x38, 0x2f,
			  0x3b, 0xd5, 0x42, 0x2d },
			{ 0x91, 0x9e, 0x14, 0xfd, 0xe0, 0x82, 0x7d, 0x4a, 0xaf, 0xa6, 0x2a, 0x41,
			  0x66, 0xcb, 0xd7, 0xc0 } },
	// 9527e630-d0ae-497b-adce-e80ab0175caf, 2dd1ce17-079e-403c-b352-a1921ee207ee
	[TIME] = { { 0x30, 0xe6, 0x27, 0x95, 0xae, 0xd0, 0x7b, 0x49, 0xad, 0xce, 0xe8, 0x0a, 0xb0,
		     0x17, 0x5c, 0xaf },
		   { 0x17, 0xce, 0xd1, 0x2d, 0x9e, 0x07, 0x3c, 0x40, 0xb3, 0x52, 0xa1, 0x92, 0x1e,
		     0xe2, 0x07, 0xee } },
	// 0e0b6031-5213-4934-818b-38d90ced39db, b6650ff7-33bc-4840-8048-e0676786f393
	[SHUTDOWN] = { { 0x31, 0x60, 0x0b, 0x0e, 0x13, 0x52, 0x34, 0x49, 0x81, 0x8b, 0x38, 0xd9,
			 0x0c, 0xed, 0x39, 0xdb },
		       { 0xf7, 0x0f, 0x65, 0xb6, 0xbc, 0x33, 0x40, 0x48, 0x80, 0x48, 0xe0, 0x67,
			 0x67, 0x86, 0xf3, 0x93 } },
};

int partition_services_create(const struct partition_services_cfg *cfg,
			      struct partition_services **out)
{
	struct partition_services *services = calloc(1, sizeof(*services));
	int ret = services ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < N_SERVICES && !ret; i++) {
		struct service_state *s = &services->states[i];
		struct vmbus_device_cfg device = { .ops = &device_ops, .device = s };

		services->cfg = *cfg;
		s->services = services;
		memcpy(device.type, guids[i].type, sizeof(device.type));
		memcpy(device.instance, guids[i].instance, sizeof(device.instance));
		ret = vmbus_device_add(cfg->server, &device, &s->device);
	}
	*out = services;
	return ret;
}

void partition_services_destroy(struct partition_services *services) { free(services); }
