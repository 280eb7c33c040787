// SPDX-License-Identifier: Apache-2.0
#include "partition/synic.h"

#include <errno.h>

enum { ENABLE = 1 }; // of SCONTROL, SIEFP and SIMP
enum { SINT_MASKED = 1 << 16, SINT_AUTO_EOI = 1 << 17, SINT_POLLING = 1 << 18 };
enum { FIRST_VECTOR = 16 };         // those below are the processor's exceptions
enum { MESSAGE_PENDING = 1 };       // of a slot's flags
#define PAGE_MASK (~(uint64_t)(GUEST_PAGE_BYTES - 1))

// A message slot as it lies in guest memory.
struct slot {
	uint32_t type; // 0: free. The guest clears it, we set it last
	uint8_t bytes, flags;
	uint16_t reserved;
	uint64_t sender;
	uint8_t payload[PARTITION_MESSAGE_BYTES];
};
static_assert(sizeof(struct slot) == PARTITION_SLOT_BYTES);

void partition_synic_reset(struct partition_synic *synic)
{
	synic->control = synic->siefp = synic->simp = 0;
	for (uint32_t i = 0; i < PARTITION_N_SINTS; i++)
		synic->sint[i] = SINT_MASKED;
}

int partition_synic_read(const struct partition_synic *synic, uint32_t msr, uint64_t *value)
{
	switch (msr) {
	case PARTITION_MSR_SCONTROL: *value = synic->control; return 0;
	case PARTITION_MSR_SVERSION: *value = 1; return 0;
	case PARTITION_MSR_SIEFP: *value = synic->siefp; return 0;
	case PARTITION_MSR_SIMP: *value = synic->simp; return 0;
	case PARTITION_MSR_EOM: *value = 0; return 0;
	case PARTITION_MSR_SINT0 ... PARTITION_MSR_SINT15:
		*value = synic->sint[msr - PARTITION_MSR_SINT0];
		return 0;
	default: return -EINVAL;
	}
}

// A page that is switched on must be memory; where a page lies that is off does not matter.
static int set_page(const struct partition_synic *synic, uint64_t *page, uint64_t value)
{
	if ((value & ENABLE) &&
	    !guest_memory_at(synic->memory, value & PAGE_MASK, GUEST_PAGE_BYTES, true))
		return -EINVAL;
	*page = value;
	return 0;
}

static int set_sint(struct partition_synic *synic, uint32_t sint, uint64_t value)
{
	// A vector that no interrupt may have is refused, unless it stays masked (TLFS, "SINTx").
	if (!(value & SINT_MASKED) && (value & 0xff) < FIRST_VECTOR)
		return -EINVAL;
	synic->sint[sint] = value;
	return 0;
}

int partition_synic_write(struct partition_synic *synic, uint32_t msr, uint64_t value)
{
	switch (msr) {
	case PARTITION_MSR_SCONTROL: synic->control = value; return 0;
	case PARTITION_MSR_SIEFP: return set_page(synic, &synic->siefp, value);
	case PARTITION_MSR_SIMP: return set_page(synic, &synic->simp, value);
	case PARTITION_MSR_EOM: return 0; // the owner tries again to post what waits
	case PARTITION_MSR_SINT0 ... PARTITION_MSR_SINT15:
		return set_sint(synic, msr - PARTITION_MSR_SINT0, value);
	default: return -EINVAL; // SVERSION among them: read only
	}
}

uint8_t partition_synic_vector(const struct partition_synic *synic, uint32_t sint)
{
	uint64_t v = synic->sint[sint];

	return (synic->control & ENABLE) && !(v & (SINT_MASKED | SINT_POLLING)) ? v & 0xff : 0;
}

static void interrupt(const struct partition_synic *synic, uint32_t sint)
{
	uint8_t vector = partition_synic_vector(synic, sint);

	if (vector)
		synic->interrupt(synic->owner, synic->vp, vector);
}

// The SINT's 256 bytes of a page, or NULL if nothing may be delivered there.
static uint8_t *area(const struct partition_synic *synic, uint64_t page, uint32_t sint)
{
	if (sint >= PARTITION_N_SINTS || !(synic->control & ENABLE) || !(page & ENABLE) ||
	    (synic->sint[sint] & SINT_MASKED))
		return NULL;
	return guest_memory_at(synic->memory, (page & PAGE_MASK) + sint * PARTITION_SLOT_BYTES,
			       PARTITION_SLOT_BYTES, true);
}

int partition_synic_post(struct partition_synic *synic, uint32_t sint,
			 const struct partition_message *message)
{
	struct slot *slot = (struct slot *)area(synic, synic->simp, sint);

	assert(message->bytes > 0 && message->bytes <= PARTITION_MESSAGE_BYTES);
	if (!slot)
		return -ENXIO;
	// Acquire: the guest has read the old message before it cleared the type.
	if (__atomic_load_n(&slot->type, __ATOMIC_ACQUIRE) != PARTITION_MESSAGE_NONE) {
		__atomic_or_fetch(&slot->flags, MESSAGE_PENDING, __ATOMIC_SEQ_CST);
		// A guest that cleared the type before it could see the flag sends no EOM.
		if (__atomic_load_n(&slot->type, __ATOMIC_SEQ_CST) != PARTITION_MESSAGE_NONE)
			return -EAGAIN;
	}
	slot->bytes = (uint8_t)message->bytes;
	slot->flags = 0;
	slot->reserved = 0;
	slot->sender = 0;
	memcpy(slot->payload, message->payload, message->bytes);
	// Release: who sees the type sees the message.
	__atomic_store_n(&slot->type, message->type, __ATOMIC_RELEASE);
	interrupt(synic, sint);
	return 0;
}

int partition_synic_signal(struct partition_synic *synic, uint32_t sint, uint32_t flag)
{
	uint8_t *flags = area(synic, synic->siefp, sint);
	uint8_t bit = (uint8_t)(1u << flag % 8);

	assert(flag < PARTITION_N_FLAGS);
	if (!flags)
		return -ENXIO;
	// Release: who sees the flag sees what it stands for. Acquire: a flag that is still set
	// means that the interrupt for it has not been served.
	if (!(__atomic_fetch_or(&flags[flag / 8], bit, __ATOMIC_ACQ_REL) & bit))
		interrupt(synic, sint);
	return 0;
}

bool partition_synic_flags_gpa(const struct partition_synic *synic, uint32_t sint, uint64_t *gpa)
{
	if (!area(synic, synic->siefp, sint))
		return false;
	*gpa = (synic->siefp & PAGE_MASK) + sint * PARTITION_SLOT_BYTES;
	return true;
}
