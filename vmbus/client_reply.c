// SPDX-License-Identifier: Apache-2.0
// What the switch says, checked as though it lied: docs/vmbus-user.md, sections 3 and 10.
#include <errno.h>
#include <stdlib.h>

#include "vmbus/client_impl.h"

#define MAX_STATE_BYTES (64u << 20) // of a state memory; layout 1 has less than 1 MiB
#define MAX_STATUS 4095u            // errnos end there

// Text of the switch's, for a log: `to` has room for bytes + 1. What is no text becomes '?'.
static void copy_text(char *to, const uint8_t *from, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++) {
		if (!from[i])
			bytes = i;
		to[i] = from[i] < ' ' || from[i] == 0x7f ? '?' : (char)from[i];
	}
	to[bytes] = 0;
}

// --- lost --------------------------------------------------------------------------------------

// Nothing can be resumed: the guest begins anew with what a new switch makes of the NIC.
static void lose(struct vmbus_client *client, const char *why)
{
	struct vmbus_client_request *reset =
		vmbus_client_request_new(VMBUS_USER_TYPE_RESET, 0);

	client->is_lost = true;
	client->has_image = false;
	vmbus_client_break(client, "%s", why);
	vmbus_client_requeue(client); // no request may name what is now forgotten
	vmbus_client_forget_guest(client);
	if (!reset)
		return; // what waits will fail by itself
	reset->is_internal = true;
	vmbus_client_end_here(client, reset);
}

// --- replies -----------------------------------------------------------------------------------

// A request of ours, with which we load, has failed.
static void load_failed(struct vmbus_client *client, const struct vmbus_client_request *r)
{
	uint32_t channel = r->open.channel;

	switch (r->type) {
	case VMBUS_USER_TYPE_STATE:
	case VMBUS_USER_TYPE_START:
		if (r->status == -EINVAL)
			lose(client, r->text);
		else
			vmbus_client_break(client, "%s", r->text);
		break;
	case VMBUS_USER_TYPE_OPEN:
		vmbus_client_forget_channel(client, channel);
		client->cfg.ops->channel_failed(client->cfg.vmm, channel,
						VMBUS_USER_FAILED_PROTOCOL, r->text);
		break;
	case VMBUS_USER_TYPE_GPADL:
	case VMBUS_USER_TYPE_MONITOR:
		break; // an OPEN or START that needs it will say so
	default:
		vmbus_client_break(client, "%s", r->text);
	}
}

static void complete(struct vmbus_client *client, struct vmbus_client_request *r)
{
	client->queue = r->next;
	r->next = NULL;
	if (r->status == 0) {
		vmbus_client_keep(client, r);
		if (r->type == VMBUS_USER_TYPE_START) {
			client->peer.resumed = client->is_started && r->is_internal;
			client->phase = VMBUS_CLIENT_SERVING;
			client->is_started = true;
			client->has_image = false;
			client->n_tries = 0;
			client->cfg.ops->attached(client->cfg.vmm, &client->peer);
		}
	} else if (r->is_internal) {
		load_failed(client, r);
	} else if (r->type == VMBUS_USER_TYPE_START && r->status == -EINVAL && client->has_image) {
		// The image does not fit; without it the NIC can begin anew.
		r->next = client->queue;
		client->queue = r;
		lose(client, r->text);
		return;
	}
	vmbus_client_finish(client, r, r->status);
}

// Takes the fields of a reply with status 0. False: it is not as it must be.
static bool take_fields(struct vmbus_client *client, const struct vmbus_client_request *r,
			const struct vmbus_user_datagram *datagram)
{
	struct vmbus_user_start_reply start;
	struct vmbus_user_save_reply save;

	switch (r->type) {
	case VMBUS_USER_TYPE_START:
		if (datagram->bytes != sizeof(start))
			return false;
		memcpy(&start, datagram->message, sizeof(start));
		client->peer.n_batches = le64_to_cpu(start.n_batches);
		client->peer.n_lost = le64_to_cpu(start.n_lost);
		return true;
	case VMBUS_USER_TYPE_SAVE:
		if (datagram->bytes != sizeof(save))
			return false;
		memcpy(&save, datagram->message, sizeof(save));
		return le64_to_cpu(save.bytes) == client->state_bytes;
	default:
		return datagram->bytes == sizeof(struct vmbus_user_reply);
	}
}

// --- HELLO -------------------------------------------------------------------------------------

static bool is_hello_fine(const struct vmbus_client *client,
			  const struct vmbus_user_hello_reply *m)
{
	uint64_t features = le64_to_cpu(m->features), bytes = le64_to_cpu(m->state_bytes);
	bool has_state = features & VMBUS_USER_STATE;

	return le16_to_cpu(m->version) == VMBUS_USER_VERSION &&
	       !(features & ~client->cfg.features) && le16_to_cpu(m->max_channels) >= 1 &&
	       le16_to_cpu(m->max_channels) <= VMBUS_USER_MAX_CHANNELS &&
	       le32_to_cpu(m->max_regions) >= 1 && le64_to_cpu(m->instance) != 0 &&
	       (has_state ? bytes > 0 && bytes <= MAX_STATE_BYTES : bytes == 0) &&
	       le16_to_cpu(m->state_layout_min) <= le16_to_cpu(m->state_layout_max);
}

static void hello_refused(struct vmbus_client *client, uint32_t status, const char *text)
{
	bool comes_back = status == ENOENT || status == EBUSY;

	client->delay_ms = comes_back ? 100 : 1000;
	// Another VMM's hang-up may not have been noticed yet.
	client->is_final = !client->is_known && status != EBUSY;
	vmbus_client_break(client, "the switch refuses the NIC: %s", text);
}

static void hello_taken(struct vmbus_client *client, const struct vmbus_user_hello_reply *m)
{
	uint32_t state_bytes = (uint32_t)le64_to_cpu(m->state_bytes);
	bool is_first = !client->is_known;
	int ret;

	if (client->has_guid && memcmp(client->peer.guid, m->guid, sizeof(m->guid))) {
		client->delay_ms = 1000;
		vmbus_client_break(client, "the switch has another NIC under this name");
		return;
	}
	client->is_known = client->has_guid = true;
	client->peer = (struct vmbus_client_peer){
		.instance = le64_to_cpu(m->instance),
		.features = le64_to_cpu(m->features),
		.max_channels = le16_to_cpu(m->max_channels),
		.max_regions = le32_to_cpu(m->max_regions),
	};
	memcpy(client->peer.guid, m->guid, sizeof(m->guid));
	if ((client->has_image || client->channels[0].is_open) &&
	    client->state_bytes != state_bytes) {
		lose(client, "the switch has another kind of state memory");
		return;
	}
	client->state_bytes = state_bytes;
	if (is_first && client->cfg.ops->found)
		client->cfg.ops->found(client->cfg.vmm, &client->peer);
	ret = vmbus_client_load(client);
	if (ret < 0)
		vmbus_client_break(client, "cannot load the NIC: %s", strerror(-ret));
	client->phase = VMBUS_CLIENT_LOADING;
}

static void hello_replied(struct vmbus_client *client, const struct vmbus_user_datagram *datagram,
			  uint32_t status, const char *text)
{
	struct vmbus_user_hello_reply m;

	if (status) {
		hello_refused(client, status, text);
		return;
	}
	if (datagram->bytes != sizeof(m)) {
		vmbus_client_break(client, "the switch's HELLO has a wrong size");
		return;
	}
	memcpy(&m, datagram->message, sizeof(m));
	if (is_hello_fine(client, &m))
		hello_taken(client, &m);
	else
		vmbus_client_break(client, "the switch's HELLO makes no sense");
}

// --- any reply ---------------------------------------------------------------------------------

// Answers come in the order of the questions: nothing else is believed.
static bool is_expected(const struct vmbus_client *client, const struct vmbus_user_reply *m)
{
	enum vmbus_user_type type = VMBUS_USER_TYPE_HELLO;

	if (client->n_outstanding == 0 || le32_to_cpu(m->header.serial) != client->reply_serial)
		return false;
	if (client->phase != VMBUS_CLIENT_HELLO)
		type = client->queue->type;
	return le16_to_cpu(m->header.type) == type && !le32_to_cpu(m->reserved) &&
	       le32_to_cpu(m->status) <= MAX_STATUS;
}

static void replied(struct vmbus_client *client, const struct vmbus_user_datagram *datagram)
{
	struct vmbus_client_request *r = client->queue;
	struct vmbus_user_reply m;
	char text[241] = "";
	uint32_t status;

	memcpy(&m, datagram->message, sizeof(m));
	status = le32_to_cpu(m.status);
	if (datagram->bytes < sizeof(m) || !is_expected(client, &m) ||
	    (status && datagram->bytes - sizeof(m) >= sizeof(text))) {
		vmbus_client_break(client, "the switch sends an answer that fits no question");
		return;
	}
	client->n_outstanding--;
	client->reply_serial++;
	if (status)
		copy_text(text, datagram->message + sizeof(m), datagram->bytes - sizeof(m));
	if (status && !text[0])
		copy_text(text, (const uint8_t *)strerror((int)status), 40);
	if (client->phase == VMBUS_CLIENT_HELLO) {
		hello_replied(client, datagram, status, text);
		return;
	}
	if (!status && !take_fields(client, r, datagram)) {
		vmbus_client_break(client, "the switch sends an answer of a wrong size");
		return;
	}
	if (status && r->status == 0) {
		r->status = -(int)status;
		memcpy(r->text, text, sizeof(r->text));
		r->n_parts = r->n_sent; // the rest of a GPADL is of no use
	}
	if (++r->n_replied == r->n_parts)
		complete(client, r);
}

// --- what the switch asks and tells ------------------------------------------------------------

static void answer(struct vmbus_client *client, struct vmbus_user_header header, uint32_t status,
		   uint32_t n_granted)
{
	struct vmbus_user_subchannels_reply m = { .head = { .header = header },
						  .n_granted = cpu_to_le32(n_granted) };

	m.head.header.flags = cpu_to_le16(VMBUS_USER_REPLY);
	m.head.status = cpu_to_le32(status);
	if (client->n_replies == ARRAY_SIZE(client->replies))
		vmbus_client_break(client, "the switch asks without end and does not listen");
	else
		client->replies[client->n_replies++] = m;
	vmbus_client_pump(client);
}

static void asked_for_subchannels(struct vmbus_client *client,
				  const struct vmbus_user_datagram *datagram)
{
	struct vmbus_user_subchannels m;

	memcpy(&m, datagram->message, sizeof(m));
	if (datagram->bytes != sizeof(m)) {
		vmbus_client_break(client, "the switch sends a message of a wrong size");
	} else if (!(client->peer.features & VMBUS_USER_SUBCHANNELS)) {
		answer(client, m.header, EOPNOTSUPP, 0);
	} else if (client->phase != VMBUS_CLIENT_SERVING || client->is_asked) {
		answer(client, m.header, EBUSY, 0);
	} else if (le32_to_cpu(m.reserved) || le32_to_cpu(m.n_wanted) >= VMBUS_USER_MAX_CHANNELS) {
		answer(client, m.header, EINVAL, 0);
	} else {
		client->is_asked = true;
		client->asked_serial = le32_to_cpu(m.header.serial);
		client->n_wanted = le32_to_cpu(m.n_wanted);
		client->cfg.ops->subchannels(client->cfg.vmm, client->n_wanted);
	}
}

void vmbus_client_grant(struct vmbus_client *client, uint32_t n_granted)
{
	struct vmbus_user_header header = { cpu_to_le16(VMBUS_USER_TYPE_SUBCHANNELS),
					    cpu_to_le16(0), cpu_to_le32(client->asked_serial) };

	if (!client->is_asked)
		return; // of a switch that is gone
	client->is_asked = false;
	answer(client, header, 0, n_granted < client->n_wanted ? n_granted : client->n_wanted);
}

static void channel_failed(struct vmbus_client *client, const struct vmbus_user_datagram *datagram)
{
	struct vmbus_user_channel_failed m;
	char text[sizeof(m.text) + 1];
	uint32_t channel;

	memcpy(&m, datagram->message, sizeof(m));
	channel = le32_to_cpu(m.channel);
	if (datagram->bytes != sizeof(m) || channel >= VMBUS_USER_MAX_CHANNELS) {
		vmbus_client_break(client, "the switch sends a notice that makes no sense");
		return;
	}
	copy_text(text, (const uint8_t *)m.text, sizeof(m.text));
	if (client->channels[channel].is_open)
		client->cfg.ops->channel_failed(client->cfg.vmm, channel, le32_to_cpu(m.reason),
						text);
}

static void leaving(struct vmbus_client *client, const struct vmbus_user_datagram *datagram)
{
	struct vmbus_user_leaving_notice m;
	char text[sizeof(m.text) + 1];
	uint32_t back_in_ms;

	memcpy(&m, datagram->message, sizeof(m));
	if (datagram->bytes != sizeof(m)) {
		vmbus_client_break(client, "the switch sends a message of a wrong size");
		return;
	}
	copy_text(text, (const uint8_t *)m.text, sizeof(m.text));
	back_in_ms = le32_to_cpu(m.back_in_ms);
	client->is_final = back_in_ms == UINT32_MAX;
	client->delay_ms = back_in_ms;
	if (client->cfg.ops->leaving)
		client->cfg.ops->leaving(client->cfg.vmm, le32_to_cpu(m.reason), back_in_ms, text);
	if (le32_to_cpu(m.reason) == VMBUS_USER_LEAVING_STATE)
		lose(client, text);
}

void vmbus_client_received(struct vmbus_client *client, struct vmbus_user_datagram *datagram)
{
	struct vmbus_user_header header;

	if (datagram->n_fds > 0 || datagram->bytes < sizeof(header)) {
		vmbus_user_datagram_close(datagram);
		vmbus_client_break(client, "the switch sends what nobody asked for");
		return;
	}
	memcpy(&header, datagram->message, sizeof(header));
	// What is behind a short message is not of it.
	memset(datagram->message + datagram->bytes, 0,
	       datagram->bytes < 256 ? 256 - datagram->bytes : 0);
	if (le16_to_cpu(header.flags) & ~VMBUS_USER_REPLY)
		vmbus_client_break(client, "the switch sends a flag that does not exist");
	else if (le16_to_cpu(header.flags))
		replied(client, datagram);
	else if (le16_to_cpu(header.type) == VMBUS_USER_TYPE_SUBCHANNELS)
		asked_for_subchannels(client, datagram);
	else if (le16_to_cpu(header.type) == VMBUS_USER_TYPE_CHANNEL_FAILED)
		channel_failed(client, datagram);
	else if (le16_to_cpu(header.type) == VMBUS_USER_TYPE_LEAVING)
		leaving(client, datagram);
	else
		answer(client, header, EOPNOTSUPP, 0);
}
