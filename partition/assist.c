// SPDX-License-Identifier: Apache-2.0
#include "partition/assist.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "partition/machine.h"

enum { VECTOR_BREAKPOINT = 3, VECTOR_UNDEFINED = 6, VECTOR_PAGE_FAULT = 14 };
enum { FLAG_CARRY = 1, FLAG_ZERO = 0x40, FLAGS_ARITHMETIC = 0x8d5 };
enum { INSTRUCTION_BYTES = 15 };
#define MSR_LSTAR 0xc0000082u
#define KERNEL_HALF 0xffff800000000000ull
#define SIGN_EXTENSION 0xffff000000000000ull
#define MAX_TABLES 20000u // a kernel's own are some hundreds
#define FRAME_MASK 0x000ffffffffff000ull

// --- the guest's memory by linear address --------------------------------------------------------

// Copies within pages; what KVM cannot translate ends it.
static bool copy_linear(const struct partition_vcpu *vcpu, uint64_t at, void *private, size_t bytes,
			bool to_guest)
{
	const struct guest_memory *map = &vcpu->partition->ram.map;
	uint8_t *p = private;

	while (bytes > 0) {
		struct kvm_translation t = { .linear_address = at };
		size_t n = GUEST_PAGE_BYTES - at % GUEST_PAGE_BYTES;

		n = n < bytes ? n : bytes;
		if (ioctl(vcpu->fd, KVM_TRANSLATE, &t) < 0 || !t.valid)
			return false;
		if (!(to_guest ? partition_ram_write(map, t.physical_address, p, n)
			       : partition_ram_read(map, t.physical_address, p, n)))
			return false;
		at += n;
		p += n;
		bytes -= n;
	}
	return true;
}

static bool read_linear(const struct partition_vcpu *vcpu, uint64_t at, void *to, size_t bytes)
{
	return copy_linear(vcpu, at, to, bytes, false);
}

// --- instructions --------------------------------------------------------------------------------

static struct kvm_regs *regs_of(struct partition_vcpu *vcpu)
{
	vcpu->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
	return &vcpu->run->s.regs.regs;
}

static bool skip(struct partition_vcpu *vcpu, uint32_t bytes)
{
	regs_of(vcpu)->rip += bytes;
	return true;
}

// An exception without an error code.
static bool inject(struct partition_vcpu *vcpu, uint8_t vector)
{
	struct kvm_vcpu_events events;

	if (ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return false;
	events.exception.injected = 1;
	events.exception.pending = 0;
	events.exception.nr = vector;
	events.exception.has_error_code = 0;
	events.exception.error_code = 0;
	events.flags &= ~KVM_VCPUEVENT_VALID_PAYLOAD;
	return ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events) == 0;
}

// An instruction with a ModRM byte, taken apart.
struct decoded {
	uint32_t length;
	bool wide;        // REX.W
	bool rep;         // F3
	uint8_t opcode[2]; // behind 0F
	uint8_t mod, reg, rm; // with REX.R and REX.B
	uint64_t address; // of the operand, if mod is not 3
};

static uint64_t *register_of(struct kvm_regs *r, uint8_t i)
{
	uint64_t *const registers[16] = {
		(uint64_t *)&r->rax, (uint64_t *)&r->rcx, (uint64_t *)&r->rdx, (uint64_t *)&r->rbx,
		(uint64_t *)&r->rsp, (uint64_t *)&r->rbp, (uint64_t *)&r->rsi, (uint64_t *)&r->rdi,
		(uint64_t *)&r->r8, (uint64_t *)&r->r9, (uint64_t *)&r->r10, (uint64_t *)&r->r11,
		(uint64_t *)&r->r12, (uint64_t *)&r->r13, (uint64_t *)&r->r14, (uint64_t *)&r->r15,
	};

	return registers[i & 15];
}

// The operand's address behind the ModRM byte, in 64-bit mode; *i: the next byte. b has room for
// the longest form.
static uint64_t operand(struct kvm_regs *r, const uint8_t *b, uint32_t *i, uint8_t modrm,
			uint8_t rex)
{
	uint8_t mod = modrm >> 6, sib;
	uint64_t address = 0;
	int32_t displacement;
	bool relative = false, has_base = true;

	if ((modrm & 7) == 4) {
		sib = b[(*i)++];
		uint8_t index = (sib >> 3 & 7) | (rex & 2) << 2;

		if (index != 4)
			address += *register_of(r, index) << (sib >> 6);
		has_base = !((sib & 7) == 5 && mod == 0);
		if (has_base)
			address += *register_of(r, (sib & 7) | (rex & 1) << 3);
	} else if ((modrm & 7) == 5 && mod == 0) {
		relative = true;
		has_base = false;
	} else {
		address = *register_of(r, (modrm & 7) | (rex & 1) << 3);
	}
	if (mod == 1) {
		address += (uint64_t)(int64_t)(int8_t)b[(*i)++];
	} else if (mod == 2 || !has_base) {
		memcpy(&displacement, b + *i, 4);
		address += (uint64_t)(int64_t)displacement;
		*i += 4;
	}
	return relative ? address + r->rip + *i : address;
}

// 0F xx with ModRM, in 64-bit mode. False: something else.
static bool decode(struct partition_vcpu *vcpu, const uint8_t *b, struct decoded *d)
{
	struct kvm_sregs sregs;
	uint64_t segment = 0;
	uint8_t rex = 0, modrm;
	uint32_t i = 0;

	*d = (struct decoded){};
	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0 || !sregs.cs.l)
		return false;
	for (; i < 4; i++) {
		if (b[i] == 0xf3)
			d->rep = true;
		else if (b[i] == 0x64 || b[i] == 0x65)
			segment = b[i] == 0x64 ? sregs.fs.base : sregs.gs.base;
		else if (b[i] != 0x66 && b[i] != 0xf2 && b[i] != 0x3e && b[i] != 0x2e)
			break;
	}
	if ((b[i] & 0xf0) == 0x40)
		rex = b[i++];
	if (b[i] != 0x0f)
		return false;
	d->opcode[0] = b[i];
	d->opcode[1] = b[i + 1];
	i += 2;
	modrm = b[i++];
	d->wide = rex & 8;
	d->mod = modrm >> 6;
	d->reg = (modrm >> 3 & 7) | (rex & 4) << 1;
	d->rm = (modrm & 7) | (rex & 1) << 3;
	if (d->mod != 3)
		d->address = segment + operand(&vcpu->run->s.regs.regs, b, &i, modrm, rex);
	d->length = i;
	return true;
}

static bool popcnt(struct partition_vcpu *vcpu, const struct decoded *d)
{
	struct kvm_regs *r = regs_of(vcpu);
	uint64_t value = 0;

	if (d->mod == 3)
		value = *register_of(r, d->rm);
	else if (!read_linear(vcpu, d->address, &value, d->wide ? 8 : 4))
		return false;
	if (!d->wide)
		value = (uint32_t)value;
	*register_of(r, d->reg) = (uint64_t)__builtin_popcountll(value);
	r->rflags &= ~(uint64_t)FLAGS_ARITHMETIC;
	r->rflags |= value ? 0 : FLAG_ZERO;
	return skip(vcpu, d->length);
}

bool partition_assist(struct partition_vcpu *vcpu)
{
	uint8_t b[INSTRUCTION_BYTES + 8] = {};
	struct decoded d;

	vcpu->n_assists++;
	// What lies behind the page's end is not needed for these, as far as it is not there.
	if (!read_linear(vcpu, vcpu->run->s.regs.regs.rip, b, INSTRUCTION_BYTES))
		memcpy(b, vcpu->run->emulation_failure.insn_bytes, INSTRUCTION_BYTES);
	if (b[0] == 0xcc) // INT3
		return skip(vcpu, 1) && inject(vcpu, VECTOR_BREAKPOINT);
	if (b[0] == 0x9b) // FWAIT: no floating-point exception ever waits in a kernel
		return skip(vcpu, 1);
	if (b[0] == 0x0f && (b[1] == 0x0b || b[1] == 0xb9 || b[1] == 0xff)) // UD2, UD1, UD0
		return inject(vcpu, VECTOR_UNDEFINED);
	if (b[0] == 0x0f && b[1] == 0x77) // EMMS
		return skip(vcpu, 2);
	if (b[0] == 0xdb && (b[1] == 0xe2 || b[1] == 0xe3)) // FNCLEX, FNINIT
		return skip(vcpu, 2);
	if (decode(vcpu, b, &d) && d.opcode[1] == 0xb8 && d.rep)
		return popcnt(vcpu, &d);
	return false;
}

// --- system calls --------------------------------------------------------------------------------

// The stub that the page-fault gate points to. A fault whose address is the instruction's own, and
// that of the system-call entry, with a code segment of ring 3, is a SYSCALL: it goes on there with
// the stack pointer that the fault saved. All else goes to the guest's own handler.
static const uint8_t stub_code[] = {
	0x50,                                     // push  %rax
	0x0f, 0x20, 0xd0,                         // mov   %cr2,%rax
	0x48, 0x3b, 0x05, 0x25, 0x00, 0x00, 0x00, // cmp   entry(%rip),%rax
	0x75, 0x1a,                               // jne   other
	0x48, 0x3b, 0x44, 0x24, 0x10,             // cmp   16(%rsp),%rax: RIP of the fault
	0x75, 0x13,                               // jne   other
	0xf6, 0x44, 0x24, 0x18, 0x03,             // testb $3,24(%rsp): CS of the fault
	0x74, 0x0c,                               // je    other
	0x58,                                     // pop   %rax
	0x48, 0x8b, 0x64, 0x24, 0x20,             // mov   32(%rsp),%rsp
	0xff, 0x25, 0x09, 0x00, 0x00, 0x00,       // jmp   *entry(%rip)
	0x58,                                     // other: pop %rax
	0xff, 0x25, 0x0a, 0x00, 0x00, 0x00,       // jmp   *handler(%rip)
};
enum { STUB_OFFSET = 0x100, STUB_ENTRY = 0x30, STUB_HANDLER = 0x38 };

// A gate of the IDT in 64-bit mode.
struct gate {
	uint16_t low, selector, flags, middle;
	uint32_t high, reserved;
};

// A walk through page tables, which are the guest's and may be anything, loops among them.
struct walk {
	const struct guest_memory *map;
	uint64_t gpa;  // looked for
	uint32_t left; // tables that may still be looked at
};

// The kernel's linear address at which the page may be executed, or 0. Looks through the table at
// `entry`, of level 4 … 1; `linear` is what was translated so far.
static uint64_t find_mapping(struct walk *walk, uint64_t entry, int level, uint64_t linear)
{
	enum { PRESENT = 1, LARGE = 0x80 };
	const uint64_t *table = (const uint64_t *)guest_memory_at(walk->map, entry & FRAME_MASK,
								  GUEST_PAGE_BYTES, false);
	uint64_t found = 0;

	if (!table || walk->left == 0)
		return 0;
	walk->left--;
	for (uint32_t i = level == 4 ? 256 : 0; i < 512 && !found; i++) {
		uint64_t at = linear | (uint64_t)i << (12 + 9 * (level - 1));

		entry = table[i];
		if (!(entry & PRESENT) || entry >> 63) // bit 63: not to be executed
			continue;
		if (level == 1)
			found = (entry & FRAME_MASK) == walk->gpa ? at : 0;
		else if (!(entry & LARGE))
			found = find_mapping(walk, entry, level - 1, at);
	}
	return found;
}

static bool read_msr(const struct partition_vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry.index = msr };

	if (ioctl(vcpu->fd, KVM_GET_MSRS, &msrs) != 1)
		return false;
	*value = msrs.entry.data;
	return true;
}

// False: the guest is not as far, or not what it would have to be.
static bool install_stub(struct partition_vcpu *vcpu, uint64_t gpa)
{
	const struct guest_memory *map = &vcpu->partition->ram.map;
	struct walk walk = { .map = map, .gpa = gpa, .left = MAX_TABLES };
	uint8_t stub[STUB_HANDLER + 8] = {};
	uint64_t entry, handler, linear, at;
	struct kvm_sregs sregs;
	struct gate gate;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0 || !read_msr(vcpu, MSR_LSTAR, &entry) ||
	    entry < KERNEL_HALF)
		return false;
	linear = find_mapping(&walk, sregs.cr3, 4, SIGN_EXTENSION);
	at = sregs.idt.base + VECTOR_PAGE_FAULT * sizeof(gate);
	if (!linear || !read_linear(vcpu, at, &gate, sizeof(gate)))
		return false;
	handler = gate.low | (uint64_t)gate.middle << 16 | (uint64_t)gate.high << 32;
	if (handler == linear + STUB_OFFSET)
		return true;
	memcpy(stub, stub_code, sizeof(stub_code));
	memcpy(stub + STUB_ENTRY, &entry, 8);
	memcpy(stub + STUB_HANDLER, &handler, 8);
	linear += STUB_OFFSET;
	gate.low = (uint16_t)linear;
	gate.middle = (uint16_t)(linear >> 16);
	gate.high = (uint32_t)(linear >> 32);
	return partition_ram_write(map, gpa + STUB_OFFSET, stub, sizeof(stub)) &&
	       copy_linear(vcpu, at, &gate, sizeof(gate), true);
}

void partition_assist_system_calls(struct partition_vcpu *vcpu, uint64_t gpa)
{
	if (vcpu->partition->emulated && !install_stub(vcpu, gpa))
		partition_say(vcpu->partition, LOG_LEVEL_WARNING,
			      "system calls of the guest's programs will not work: its page "
			      "tables are not understood");
}
