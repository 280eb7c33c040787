// SPDX-License-Identifier: Apache-2.0
#include "partition/acpi.h"

#include "base/types.h"
#include "partition/platform.h"
#include "partition/serial.h"

// Where the guest may look for room for devices of VMBus; we have none that needs it, but Linux
// takes no VMBus without.
#define VMBUS_MMIO_FIRST 0xf8000000ull
#define VMBUS_MMIO_LAST 0xfbffffffull
#define VMBUS_IRQ 5 // in the resources only: messages come by SINT

// A table being written, in private memory.
struct out {
	uint8_t bytes[4096];
	uint32_t n;
};

static void put(struct out *o, const void *bytes, uint32_t n)
{
	assert(o->n + n <= sizeof(o->bytes));
	memcpy(o->bytes + o->n, bytes, n);
	o->n += n;
}

static void put8(struct out *o, uint8_t v) { put(o, &v, 1); }
static void put16(struct out *o, uint16_t v) { put(o, &v, 2); }
static void put32(struct out *o, uint32_t v) { put(o, &v, 4); }
static void put64(struct out *o, uint64_t v) { put(o, &v, 8); }
static void put_zeros(struct out *o, uint32_t n)
{
	while (n-- > 0)
		put8(o, 0);
}

// So that all bytes add up to 0.
static uint8_t checksum(const uint8_t *bytes, uint32_t n)
{
	uint8_t sum = 0;

	while (n-- > 0)
		sum += *bytes++;
	return (uint8_t)-sum;
}

static void begin_table(struct out *o, const char *signature, uint8_t revision)
{
	o->n = 0;
	put(o, signature, 4);
	put32(o, 0); // length, later
	put8(o, revision);
	put8(o, 0); // checksum, later
	put(o, "WEFT  WEFTVM  ", 14);
	put32(o, 1);
	put(o, "WEFT", 4);
	put32(o, 1);
}

static void end_table(struct out *o)
{
	store_u32(o->bytes + 4, o->n);
	o->bytes[9] = checksum(o->bytes, o->n);
}

// --- AML ---------------------------------------------------------------------------------------

enum {
	AML_NAME = 0x08,
	AML_BYTE = 0x0a,
	AML_DWORD = 0x0c,
	AML_STRING = 0x0d,
	AML_SCOPE = 0x10,
	AML_BUFFER = 0x11,
	AML_PACKAGE = 0x12,
	AML_EXT = 0x5b,
	AML_EXT_DEVICE = 0x82
};

// Begins something that has a length, which is written in its 3-byte form (20.2.4). Returns where,
// for close_package.
static uint32_t open_package(struct out *o)
{
	put_zeros(o, 3);
	return o->n - 3;
}

static void close_package(struct out *o, uint32_t at)
{
	uint32_t length = o->n - at;

	o->bytes[at] = (uint8_t)(0x80 | (length & 0x0f));
	o->bytes[at + 1] = (uint8_t)(length >> 4);
	o->bytes[at + 2] = (uint8_t)(length >> 12);
}

static void put_name(struct out *o, const char *name)
{
	put8(o, AML_NAME);
	put(o, name, 4);
}

static void put_byte(struct out *o, uint8_t v)
{
	put8(o, AML_BYTE);
	put8(o, v);
}

static void put_string(struct out *o, const char *text)
{
	put8(o, AML_STRING);
	put(o, text, (uint32_t)strlen(text) + 1);
}

// 19.3.4: three letters of 5 bits, four hex digits, in the byte order of the ISA bus.
static void put_eisa_id(struct out *o, const char *letters, uint16_t number)
{
	uint32_t id = (uint32_t)(letters[0] - '@') << 26 | (uint32_t)(letters[1] - '@') << 21 |
		      (uint32_t)(letters[2] - '@') << 16 | number;

	put8(o, AML_DWORD);
	put32(o, __builtin_bswap32(id));
}

static uint32_t open_device(struct out *o, const char *name)
{
	uint32_t at;

	put8(o, AML_EXT);
	put8(o, AML_EXT_DEVICE);
	at = open_package(o);
	put(o, name, 4);
	return at;
}

// _CRS: a buffer of resource descriptors, and the end tag.
static void put_resources(struct out *o, const struct out *resources)
{
	uint32_t at;

	put_name(o, "_CRS");
	put8(o, AML_BUFFER);
	at = open_package(o);
	put_byte(o, (uint8_t)(resources->n + 2));
	put(o, resources->bytes, resources->n);
	put16(o, 0x0079);
	close_package(o, at);
}

// 6.4.2.1: edge triggered, active high, exclusive.
static void put_irq(struct out *o, uint8_t irq)
{
	put8(o, 0x23);
	put16(o, (uint16_t)(1u << irq));
	put8(o, 0x01);
}

// 6.4.3.5.1: a window of memory that the device hands on, cacheable, read and write.
static void put_memory_window(struct out *o, uint64_t first, uint64_t last)
{
	put8(o, 0x8a);
	put16(o, 0x2b);
	put8(o, 0);    // memory
	put8(o, 0x0c); // producer, decodes positively, both ends fixed
	put8(o, 0x03); // cacheable, writable
	put64(o, 0);   // granularity
	put64(o, first);
	put64(o, last);
	put64(o, 0); // translation
	put64(o, last - first + 1);
}

// The VMBus and, around it, the device whose memory window its driver looks for.
static void put_vmbus(struct out *o)
{
	struct out resources = { .n = 0 };
	uint32_t module = open_device(o, "VMOD"), bus;

	put_name(o, "_HID");
	put_eisa_id(o, "PNP", 0x0a06);
	put_memory_window(&resources, VMBUS_MMIO_FIRST, VMBUS_MMIO_LAST);
	put_resources(o, &resources);
	bus = open_device(o, "VMBS");
	put_name(o, "_HID");
	put_string(o, "VMBus"); // one letter more than the rules allow; it is what drivers match
	put_name(o, "_UID");
	put_byte(o, 0);
	put_name(o, "_STA");
	put_byte(o, 0x0f);
	resources.n = 0;
	put_irq(&resources, VMBUS_IRQ);
	put_resources(o, &resources);
	close_package(o, bus);
	close_package(o, module);
}

// Without it a hardware-reduced guest knows no IRQ for its console.
static void put_com1(struct out *o)
{
	struct out resources = { .n = 0 };
	uint32_t device = open_device(o, "COM1");

	put_name(o, "_HID");
	put_eisa_id(o, "PNP", 0x0501);
	put_name(o, "_UID");
	put_byte(o, 1);
	put_name(o, "_STA");
	put_byte(o, 0x0f);
	put8(&resources, 0x47); // 6.4.2.5, I/O ports
	put8(&resources, 1);    // all 16 bits of the address count
	put16(&resources, PARTITION_SERIAL_PORT);
	put16(&resources, PARTITION_SERIAL_PORT);
	put8(&resources, 1);
	put8(&resources, 8);
	put_irq(&resources, PARTITION_SERIAL_IRQ);
	put_resources(o, &resources);
	close_package(o, device);
}

static void build_dsdt(struct out *o)
{
	uint32_t scope, package;

	begin_table(o, "DSDT", 2);
	put_name(o, "_S5_");
	put8(o, AML_PACKAGE);
	package = open_package(o);
	put8(o, 2);
	put_byte(o, PARTITION_S5_TYPE);
	put_byte(o, 0);
	close_package(o, package);
	put8(o, AML_SCOPE);
	scope = open_package(o);
	put(o, "_SB_", 4);
	put_vmbus(o);
	put_com1(o);
	close_package(o, scope);
	end_table(o);
}

// --- tables ------------------------------------------------------------------------------------

// 5.2.3.2: an I/O port of one byte.
static void put_port(struct out *o, uint16_t port)
{
	put8(o, 1);
	put8(o, 8);
	put8(o, 0);
	put8(o, 1);
	put64(o, port);
}

// 5.2.9
static void build_fadt(struct out *o, uint64_t dsdt)
{
	enum {
		LEGACY_DEVICES = 1,
		NO_VGA = 1 << 2,
		WBINVD = 1,
		NO_POWER_BUTTON = 1 << 4,
		NO_SLEEP_BUTTON = 1 << 5,
		RESET_REGISTER = 1 << 10,
		HW_REDUCED = 1 << 20
	};

	begin_table(o, "FACP", 6);
	put32(o, 0); // FACS: none
	put32(o, (uint32_t)dsdt);
	put_zeros(o, 109 - o->n);
	put16(o, LEGACY_DEVICES | NO_VGA);
	put8(o, 0);
	put32(o, WBINVD | NO_POWER_BUTTON | NO_SLEEP_BUTTON | RESET_REGISTER | HW_REDUCED);
	put_port(o, PARTITION_RESET_PORT);
	put8(o, PARTITION_RESET_VALUE);
	put16(o, 0); // ARM
	put8(o, 4);  // of 6.4
	put64(o, 0);
	put64(o, dsdt);
	put_zeros(o, 244 - o->n);
	put_port(o, PARTITION_SLEEP_CONTROL_PORT);
	put_port(o, PARTITION_SLEEP_STATUS_PORT);
	put_zeros(o, 8); // hypervisor vendor
	end_table(o);
}

// 5.2.12
static void build_madt(struct out *o, uint32_t n_vps)
{
	begin_table(o, "APIC", 4);
	put32(o, PARTITION_LAPIC_GPA);
	put32(o, 0); // no 8259
	for (uint32_t i = 0; i < n_vps; i++) {
		put8(o, 0); // processor
		put8(o, 8);
		put8(o, (uint8_t)i);
		put8(o, (uint8_t)i);
		put32(o, 1); // enabled
	}
	put8(o, 1); // I/O APIC
	put8(o, 12);
	put16(o, 0);
	put32(o, PARTITION_IOAPIC_GPA);
	put32(o, 0);
	end_table(o);
}

static void build_xsdt(struct out *o, uint64_t fadt, uint64_t madt)
{
	begin_table(o, "XSDT", 1);
	put64(o, fadt);
	put64(o, madt);
	end_table(o);
}

// 5.2.5.3
static void build_rsdp(struct out *o, uint64_t xsdt)
{
	o->n = 0;
	put(o, "RSD PTR ", 8);
	put8(o, 0);
	put(o, "WEFT  ", 6);
	put8(o, 2);
	put32(o, 0);
	put32(o, 36);
	put64(o, xsdt);
	put32(o, 0);
	o->bytes[8] = checksum(o->bytes, 20);
	o->bytes[32] = checksum(o->bytes, 36);
}

// Appends the table to what is in guest memory already. Returns its address.
static uint64_t place(uint8_t *memory, uint64_t *next, const struct out *table)
{
	uint64_t at = *next;

	memcpy(memory + at, table->bytes, table->n);
	*next = (at + table->n + 63) & ~63ull;
	return PARTITION_ACPI_GPA + at;
}

uint64_t partition_acpi_write(const struct guest_memory *memory, uint32_t n_vps)
{
	uint8_t *host = guest_memory_at(memory, PARTITION_ACPI_GPA, PARTITION_ACPI_BYTES, true);
	uint64_t next = 64, rsdp = 0, dsdt, fadt, madt, xsdt;
	struct out table;

	if (!host)
		return 0;
	build_dsdt(&table);
	dsdt = place(host, &next, &table);
	build_fadt(&table, dsdt);
	fadt = place(host, &next, &table);
	build_madt(&table, n_vps);
	madt = place(host, &next, &table);
	build_xsdt(&table, fadt, madt);
	xsdt = place(host, &next, &table);
	build_rsdp(&table, xsdt);
	return place(host, &rsdp, &table);
}
