// SPDX-License-Identifier: Apache-2.0
// Requests of the client as bytes: docs/vmbus-user.md, section 3.
#include "vmbus/client_impl.h"

static void add_fd(struct vmbus_user_datagram *out, int fd) { out->fds[out->n_fds++] = fd; }

static void put(struct vmbus_user_datagram *out, const void *message, uint32_t bytes)
{
	memcpy(out->message, message, bytes);
	out->bytes = bytes;
}
#define PUT(out, message) put(out, &(message), sizeof(message))

void vmbus_client_build_hello(struct vmbus_client *client, struct vmbus_user_datagram *out)
{
	struct vmbus_user_hello m = {
		.header = { cpu_to_le16(VMBUS_USER_TYPE_HELLO), cpu_to_le16(0),
			    cpu_to_le32(client->next_serial) },
		.magic = cpu_to_le32(VMBUS_USER_MAGIC),
		.version_min = cpu_to_le16(VMBUS_USER_VERSION),
		.version_max = cpu_to_le16(VMBUS_USER_VERSION),
		.features = cpu_to_le64(client->cfg.features),
	};

	out->n_fds = 0;
	memcpy(m.name, client->name, strlen(client->name));
	memcpy(m.token, client->token, sizeof(m.token));
	PUT(out, m);
}

static void build_state(const struct vmbus_client *client, const struct vmbus_client_request *r,
			struct vmbus_user_header header, struct vmbus_user_datagram *out)
{
	struct vmbus_user_state m = { .header = header, .origin = cpu_to_le32(r->flags),
				      .bytes = cpu_to_le64(client->state_bytes) };

	PUT(out, m);
	add_fd(out, client->state_fd);
}

static void build_region(const struct vmbus_client_request *r, struct vmbus_user_header header,
			 struct vmbus_user_datagram *out)
{
	struct vmbus_user_region_add m = {
		.header = header,
		.region = cpu_to_le32(r->id),
		.flags = cpu_to_le32(r->flags),
		.gpa = cpu_to_le64(r->gpa),
		.bytes = cpu_to_le64(r->bytes),
		.offset = cpu_to_le64(r->offset),
	};

	PUT(out, m);
	add_fd(out, r->fd);
}

static void build_gpadl(const struct vmbus_client_request *r, uint32_t part,
			struct vmbus_user_header header, struct vmbus_user_datagram *out)
{
	const struct vmbus_client_gpadl *gpadl = r->gpadl;
	uint32_t at = part * VMBUS_USER_GPADL_MAX_RUNS, n = gpadl->n_runs - at;
	uint32_t flags = part == 0 ? VMBUS_USER_GPADL_FIRST : 0;
	struct vmbus_user_gpadl m = {
		.header = header,
		.gpadl = cpu_to_le32(gpadl->id),
		.bytes = cpu_to_le64(gpadl->bytes),
		.channel = cpu_to_le32(gpadl->channel),
	};

	if (n > VMBUS_USER_GPADL_MAX_RUNS)
		n = VMBUS_USER_GPADL_MAX_RUNS;
	else
		flags |= VMBUS_USER_GPADL_LAST;
	m.flags = cpu_to_le32(flags);
	m.n_runs = cpu_to_le32(n);
	PUT(out, m);
	memcpy(out->message + sizeof(m), &gpadl->runs[at], n * sizeof(gpadl->runs[0]));
	out->bytes += n * (uint32_t)sizeof(gpadl->runs[0]);
}

static struct vmbus_user_target wire_target(const struct vmbus_client_target *target)
{
	struct vmbus_user_target t = {
		.mode = cpu_to_le32(target->mode),
		.vp = cpu_to_le32(target->vp),
		.sint = cpu_to_le32(target->sint),
	};

	if (target->mode == VMBUS_USER_MODE_DIRECT) {
		t.flag = cpu_to_le32(target->flag);
		t.gpa = cpu_to_le64(target->gpa);
	}
	return t;
}

// An opening that was never answered gets a new serial each time: who knows what came of the last.
static void build_open(struct vmbus_client *client, struct vmbus_client_request *r,
		       struct vmbus_user_header header, struct vmbus_user_datagram *out)
{
	const struct vmbus_client_open *open = &r->open;
	struct vmbus_user_open m = {
		.header = header,
		.channel = cpu_to_le32(open->channel),
		.relid = cpu_to_le32(open->relid),
		.gpadl = cpu_to_le32(open->gpadl),
		.h2g_page = cpu_to_le32(open->h2g_page),
		.flags = cpu_to_le32(open->resume ? VMBUS_USER_OPEN_RESUME : 0),
		.vmbus_version = cpu_to_le32(open->vmbus_version),
		.monitor_id = cpu_to_le32(open->monitor_id),
		.guest_os_id = cpu_to_le64(open->guest_os_id),
		.target = wire_target(&open->target),
	};

	if (!open->resume) {
		uint32_t *last = &client->channels[open->channel].last_serial;

		*last += *last == UINT32_MAX ? 2 : 1; // never 0
		r->serial = *last;
	}
	m.open_serial = cpu_to_le32(r->serial);
	PUT(out, m);
	add_fd(out, open->kick_fd);
	if (open->target.mode != VMBUS_USER_MODE_NONE)
		add_fd(out, open->target.fd);
}

static void build_target(const struct vmbus_client_request *r, struct vmbus_user_header header,
			 struct vmbus_user_datagram *out)
{
	struct vmbus_user_set_target m = { .header = header,
					   .channel = cpu_to_le32(r->channel),
					   .target = wire_target(&r->open.target) };

	PUT(out, m);
	if (r->open.target.mode != VMBUS_USER_MODE_NONE)
		add_fd(out, r->open.target.fd);
}

static void build_monitor(const struct vmbus_client_request *r, struct vmbus_user_header header,
			  struct vmbus_user_datagram *out)
{
	struct vmbus_user_monitor m = { .header = header, .flags = cpu_to_le32(r->flags),
					.to_host_gpa = cpu_to_le64(r->gpa),
					.to_guest_gpa = cpu_to_le64(r->offset) };

	PUT(out, m);
}

static void build_dirty_log(const struct vmbus_client_request *r, struct vmbus_user_header header,
			    struct vmbus_user_datagram *out)
{
	struct vmbus_user_dirty_log m = { .header = header, .flags = cpu_to_le32(r->flags),
					  .bytes = cpu_to_le64(r->bytes) };

	PUT(out, m);
	if (r->flags & VMBUS_USER_ON)
		add_fd(out, r->fd);
}

// REGION_DEL, GPADL_TEARDOWN and CLOSE are two numbers; the rest has none.
static void build_small(const struct vmbus_client_request *r, struct vmbus_user_header header,
			struct vmbus_user_datagram *out)
{
	struct vmbus_user_gpadl_teardown m = { .header = header };

	if (r->type == VMBUS_USER_TYPE_GPADL_TEARDOWN) {
		m.gpadl = cpu_to_le32(r->id);
		m.channel = cpu_to_le32(r->channel);
	} else if (r->type == VMBUS_USER_TYPE_CLOSE) {
		m.gpadl = cpu_to_le32(r->channel);
	} else if (r->type == VMBUS_USER_TYPE_REGION_DEL) {
		m.gpadl = cpu_to_le32(r->id);
	}
	PUT(out, m);
}

void vmbus_client_build(struct vmbus_client *client, struct vmbus_client_request *r, uint32_t part,
			struct vmbus_user_datagram *out)
{
	struct vmbus_user_header header = { cpu_to_le16((uint16_t)r->type), cpu_to_le16(0),
					    cpu_to_le32(client->next_serial) };

	out->n_fds = 0;
	switch (r->type) {
	case VMBUS_USER_TYPE_STATE: build_state(client, r, header, out); break;
	case VMBUS_USER_TYPE_REGION_ADD: build_region(r, header, out); break;
	case VMBUS_USER_TYPE_GPADL: build_gpadl(r, part, header, out); break;
	case VMBUS_USER_TYPE_OPEN: build_open(client, r, header, out); break;
	case VMBUS_USER_TYPE_TARGET: build_target(r, header, out); break;
	case VMBUS_USER_TYPE_MONITOR: build_monitor(r, header, out); break;
	case VMBUS_USER_TYPE_DIRTY_LOG: build_dirty_log(r, header, out); break;
	default: build_small(r, header, out);
	}
}
