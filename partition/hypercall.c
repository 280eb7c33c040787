// SPDX-License-Identifier: Apache-2.0
// Hypercalls (hv.h): the two that VMBus needs. No other is advertised.
// Spec: TLFS, "Hypercall Interface"; HvCallPostMessage, HvCallSignalEvent.
#include <errno.h>

#include "partition/hv.h"
#include "partition/ram.h"

enum { POST_MESSAGE = 0x5c, SIGNAL_EVENT = 0x5d };
#define FAST (1u << 16)
#define CODE_MASK 0xffffull
// Reserved bits, the size of a variable header, and the counters of calls that repeat: all zero
// for these two.
#define MUST_BE_ZERO (~(CODE_MASK | FAST))

struct post_message {
	uint32_t connection_id, reserved, type, bytes;
	uint8_t payload[PARTITION_MESSAGE_BYTES];
};
static_assert(sizeof(struct post_message) == 256);

struct signal_event {
	uint32_t connection_id;
	uint16_t flag, reserved;
};
static_assert(sizeof(struct signal_event) == 8);

static enum partition_hv_status status_of(int ret)
{
	switch (ret) {
	case 0: return PARTITION_HV_SUCCESS;
	case -ENOENT: return PARTITION_HV_INVALID_CONNECTION_ID;
	case -EAGAIN: return PARTITION_HV_INSUFFICIENT_BUFFERS;
	case -ENOMEM: return PARTITION_HV_INSUFFICIENT_MEMORY;
	default: return PARTITION_HV_INVALID_PARAMETER;
	}
}

// Copies a slow call's input, which must be aligned and lie in one page of memory.
static enum partition_hv_status read_input(const struct partition_hv *hv, uint64_t gpa, void *to,
					   uint32_t bytes)
{
	if (gpa % 8 || gpa % GUEST_PAGE_BYTES + bytes > GUEST_PAGE_BYTES)
		return PARTITION_HV_INVALID_ALIGNMENT;
	return partition_ram_read(hv->memory, gpa, to, bytes) ? PARTITION_HV_SUCCESS
							      : PARTITION_HV_INVALID_PARAMETER;
}

static enum partition_hv_status post_message(struct partition_hv *hv, uint64_t input)
{
	struct post_message in;
	enum partition_hv_status status = read_input(hv, input, &in, sizeof(in));

	if (status)
		return status;
	if (in.bytes == 0 || in.bytes > sizeof(in.payload) || in.type != PARTITION_MESSAGE_VMBUS)
		return PARTITION_HV_INVALID_PARAMETER;
	return status_of(hv->ops->post(hv->owner, in.connection_id, in.payload, in.bytes));
}

enum partition_hv_status partition_hv_signal(struct partition_hv *hv, uint32_t connection_id,
					     uint32_t flag)
{
	if (flag >= PARTITION_N_FLAGS)
		return PARTITION_HV_INVALID_PARAMETER;
	return status_of(hv->ops->signal(hv->owner, connection_id, flag));
}

static enum partition_hv_status signal_event(struct partition_hv *hv, uint64_t input, bool fast)
{
	struct signal_event in;
	enum partition_hv_status status = PARTITION_HV_SUCCESS;

	if (fast)
		memcpy(&in, &input, sizeof(in));
	else
		status = read_input(hv, input, &in, sizeof(in));
	return status ? status : partition_hv_signal(hv, in.connection_id, in.flag);
}

uint64_t partition_hv_hypercall(struct partition_hv *hv, uint64_t control, uint64_t input,
				uint64_t output)
{
	if (hv->guest_os == 0)
		return PARTITION_HV_INVALID_CODE;
	switch (control & CODE_MASK) {
	case POST_MESSAGE:
		return control & (MUST_BE_ZERO | FAST) ? PARTITION_HV_INVALID_INPUT
						       : post_message(hv, input);
	case SIGNAL_EVENT:
		return control & MUST_BE_ZERO ? PARTITION_HV_INVALID_INPUT
					      : signal_event(hv, input, control & FAST);
	default: return PARTITION_HV_INVALID_CODE;
	}
}
