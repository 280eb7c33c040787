// SPDX-License-Identifier: Apache-2.0
// Kernel images that are what they claim, and those that are not; what stands in memory then: ACPI
// tables, boot parameters. And what processors say of themselves.
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/types.h"
#include "partition/acpi.h"
#include "partition/boot.h"
#include "partition/cpuid.h"

#define RAM (64ull << 20)
#define ENTRY 0x1000000ull

static struct partition_ram ram;
static char path[] = "/tmp/weft-test-boot.XXXXXX";
static uint8_t image[65536];

static int set_up(void **state)
{
	struct err err;
	int fd = mkstemp(path);

	if (fd < 0)
		return -1;
	close(fd);
	return partition_ram_init(&ram, RAM, false, &err);
}

static int tear_down(void **state)
{
	unlink(path);
	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
	partition_ram_fini(&ram);
	return 0;
}

static int load(size_t bytes, const char *initrd, const char *command_line,
		struct partition_entry *entry)
{
	const struct partition_boot boot = {
		.kernel = path, .initrd = initrd, .command_line = command_line, .rsdp = 0xe0000
	};
	struct err err = {};
	FILE *f = fopen(path, "w");
	int ret;

	assert_non_null(f);
	assert_int_equal(fwrite(image, 1, bytes, f), bytes);
	fclose(f);
	ret = partition_boot_load(&ram, &boot, entry, &err);
	if (ret)
		assert_true(err.text[0] != '\0');
	return ret;
}

// A header, one segment, and 4 bytes of code.
static Elf64_Phdr *make_elf(void)
{
	Elf64_Ehdr *header = (Elf64_Ehdr *)image;
	Elf64_Phdr *segment = (Elf64_Phdr *)(image + sizeof(*header));

	memset(image, 0, sizeof(image));
	memcpy(header->e_ident, ELFMAG, SELFMAG);
	header->e_ident[EI_CLASS] = ELFCLASS64;
	header->e_machine = EM_X86_64;
	header->e_phentsize = sizeof(*segment);
	header->e_phoff = sizeof(*header);
	header->e_phnum = 1;
	header->e_entry = ENTRY;
	*segment = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = 4096, .p_filesz = 4,
				 .p_memsz = 8192, .p_paddr = ENTRY };
	memcpy(image + 4096, "code", 4);
	return segment;
}

static void elf_is_loaded(void **state)
{
	struct partition_entry entry;
	struct boot_params params;

	make_elf();
	ram.host[ENTRY + 100] = 1; // is zeroed: it is the kernel's .bss
	assert_int_equal(load(5000, NULL, "console=ttyS0", &entry), 0);
	assert_int_equal(entry.rip, ENTRY);
	assert_memory_equal(ram.host + ENTRY, "code", 4);
	assert_int_equal(ram.host[ENTRY + 100], 0);
	memcpy(&params, ram.host + entry.rsi, sizeof(params));
	assert_string_equal((char *)ram.host + params.hdr.cmd_line_ptr, "console=ttyS0");
	assert_int_equal(params.acpi_rsdp_addr, 0xe0000);
	assert_int_equal(params.e820_entries, 3);
	assert_int_equal(params.e820_table[2].addr + params.e820_table[2].size, RAM);
	// The page tables map 4 GiB to themselves.
	assert_int_equal(load_u64(ram.host + entry.cr3) & ~0xfffull, entry.cr3 + 4096);
}

static void initrd_lies_at_the_end(void **state)
{
	struct partition_entry entry;
	struct boot_params params;

	make_elf();
	assert_int_equal(load(5000, path, "", &entry), 0);
	memcpy(&params, ram.host + entry.rsi, sizeof(params));
	assert_int_equal(params.hdr.ramdisk_size, 5000);
	assert_int_equal(params.hdr.ramdisk_image, RAM - 8192);
	assert_memory_equal(ram.host + params.hdr.ramdisk_image, ELFMAG, SELFMAG);
}

static void elf_that_lies_is_refused(void **state)
{
	static const struct {
		uint64_t offset, filesz, memsz, paddr, entry;
		size_t bytes; // of the file
	} table[] = {
		{ 4096, 4, 8192, ENTRY, ENTRY, 4099 },          // cut off
		{ 4096, 4, 3, ENTRY, ENTRY, 5000 },             // more in the file than in memory
		{ 4096, 4, 8192, 0, ENTRY, 5000 },              // over page tables
		{ 4096, 4, 8192, 0xff000, ENTRY, 5000 },        // over ACPI tables
		{ 4096, 4, 8192, RAM - 4096, RAM - 4096, 5000 }, // over the end
		{ 4096, 4, UINT64_MAX, ENTRY, ENTRY, 5000 },
		{ UINT64_MAX, 4, 8192, ENTRY, ENTRY, 5000 },
		{ 4096, UINT64_MAX, UINT64_MAX, ENTRY, ENTRY, 5000 },
		{ 4096, 4, 0, ENTRY, ENTRY, 5000 },
		{ 4096, 4, 8192, UINT64_MAX - 100, ENTRY, 5000 },
		{ 4096, 4, 8192, ENTRY, ENTRY + 8192, 5000 }, // entry behind it
		{ 4096, 4, 8192, ENTRY, 0, 5000 },
		{ 4096, 4, 8192, ENTRY, ENTRY, 100 }, // no room for the segment's header
		{ 4096, 4, 8192, ENTRY, ENTRY, 20 },
		{ 4096, 4, 8192, ENTRY, ENTRY, 3 },
		{ 4096, 4, 8192, ENTRY, ENTRY, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct partition_entry entry;
		Elf64_Phdr *segment = make_elf();

		segment->p_offset = table[i].offset;
		segment->p_filesz = table[i].filesz;
		segment->p_memsz = table[i].memsz;
		segment->p_paddr = table[i].paddr;
		((Elf64_Ehdr *)image)->e_entry = table[i].entry;
		if (load(table[i].bytes, NULL, "", &entry) == 0)
			fail_msg("row %zu was taken", i);
	}
}

static struct setup_header *make_bzimage(void)
{
	struct setup_header *h = (struct setup_header *)(image + offsetof(struct boot_params, hdr));

	memset(image, 0, sizeof(image));
	*h = (struct setup_header){ .setup_sects = 4, .boot_flag = 0xaa55, .header = 0x53726448,
				    .version = 0x20f, .xloadflags = XLF_KERNEL_64,
				    .relocatable_kernel = 1, .pref_address = ENTRY,
				    .init_size = 1 << 20, .syssize = 4096 / 16,
				    .initrd_addr_max = 0x7fffffff, .cmdline_size = 2047 };
	memcpy(image + 5 * 512, "prot", 4);
	return h;
}

static void bzimage_is_loaded(void **state)
{
	struct partition_entry entry;

	make_bzimage();
	assert_int_equal(load(5 * 512 + 4096, NULL, "", &entry), 0);
	assert_int_equal(entry.rip, ENTRY + 0x200);
	assert_memory_equal(ram.host + ENTRY, "prot", 4);
}

static void bzimage_that_lies_is_refused(void **state)
{
	struct partition_entry entry;
	const size_t whole = 5 * 512 + 4096;

	make_bzimage();
	assert_int_not_equal(load(5 * 512 + 4000, NULL, "", &entry), 0); // cut off
	assert_int_not_equal(load(1000, NULL, "", &entry), 0);
	assert_int_not_equal(load(600, NULL, "", &entry), 0);
	make_bzimage()->header = 0;
	assert_int_not_equal(load(whole, NULL, "", &entry), 0);
	make_bzimage()->xloadflags = 0;
	assert_int_not_equal(load(whole, NULL, "", &entry), 0);
	make_bzimage()->init_size = UINT32_MAX;
	assert_int_not_equal(load(whole, NULL, "", &entry), 0);
	make_bzimage()->init_size = 4095;
	assert_int_not_equal(load(whole, NULL, "", &entry), 0);
	make_bzimage()->pref_address = 0;
	assert_int_not_equal(load(whole, NULL, "", &entry), 0);
	make_bzimage()->cmdline_size = 3;
	assert_int_not_equal(load(whole, NULL, "long", &entry), 0);
}

// --- ACPI --------------------------------------------------------------------------------------

static uint8_t sum(const uint8_t *bytes, uint32_t n)
{
	uint8_t s = 0;

	while (n-- > 0)
		s += *bytes++;
	return s;
}

static void acpi_tables_add_up(void **state)
{
	static const char *const names[] = { "FACP", "APIC" };
	uint64_t rsdp = partition_acpi_write(&ram.map, 64), xsdt, dsdt;
	const uint8_t *r = ram.host + rsdp;

	assert_int_equal(rsdp, PARTITION_ACPI_GPA);
	assert_memory_equal(r, "RSD PTR ", 8);
	assert_int_equal(sum(r, 20), 0);
	assert_int_equal(sum(r, 36), 0);
	xsdt = load_u64(r + 24);
	assert_int_equal(load_u32(ram.host + xsdt + 4), 36 + 2 * 8);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const uint8_t *table = ram.host + load_u64(ram.host + xsdt + 36 + 8 * i);

		assert_memory_equal(table, names[i], 4);
		assert_int_equal(sum(table, load_u32(table + 4)), 0);
	}
	dsdt = load_u64(ram.host + load_u64(ram.host + xsdt + 36) + 140);
	assert_memory_equal(ram.host + dsdt, "DSDT", 4);
	assert_int_equal(sum(ram.host + dsdt, load_u32(ram.host + dsdt + 4)), 0);
}

// --- CPUID -------------------------------------------------------------------------------------

static const struct kvm_cpuid_entry2 *find(const struct partition_cpuid *cpuid, uint32_t function)
{
	for (uint32_t i = 0; i < cpuid->head.nent; i++)
		if (cpuid->entries[i].function == function)
			return &cpuid->entries[i];
	return NULL;
}

static void cpuid_shows_a_hypervisor_and_hides_the_host(void **state)
{
	static struct partition_cpuid supported, out;
	const struct partition_cpuid_cfg cfgs[] = { { .vp = 3, .n_vps = 4, .emulated = false },
						    { .vp = 3, .n_vps = 4, .emulated = true } };
	const struct kvm_cpuid_entry2 all = { .eax = ~0u, .ebx = ~0u, .ecx = ~0u, .edx = ~0u };
	static const uint32_t functions[] = { 0, 1, 4, 7, 0xb, 0xd, 0x40000000, 0x40000001,
					      0x80000000, 0x80000001, 0x80000007, 0x80000008 };

	supported.head.nent = ARRAY_SIZE(functions);
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		supported.entries[i] = all;
		supported.entries[i].function = functions[i];
	}
	for (size_t i = 0; i < ARRAY_SIZE(cfgs); i++) {
		partition_cpuid_build(&supported, &cfgs[i], &out);
		assert_memory_equal(&find(&out, 0x40000000)->ebx, "Microsoft Hv", 12);
		assert_memory_equal(&find(&out, 0x40000001)->eax, "Hv#1", 4);
		assert_int_equal(find(&out, 0x40000000)->eax, 0x4000000c);
		assert_non_null(find(&out, 0x4000000c));
		assert_int_equal(find(&out, 0x40000003)->eax & 0x6e, 0x6e);
		assert_int_equal(find(&out, 0x40000004)->eax & 1 << 9, 1 << 9);
		assert_int_equal(find(&out, 1)->ebx >> 24, 3);
		assert_true(find(&out, 1)->ecx >> 31);
		assert_false(find(&out, 1)->ecx & 1 << 5);          // VMX
		assert_false(find(&out, 0x80000001)->ecx & 1 << 2); // SVM
		assert_int_equal(find(&out, 7) != NULL, !cfgs[i].emulated);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(elf_is_loaded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(initrd_lies_at_the_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(elf_that_lies_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bzimage_is_loaded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bzimage_that_lies_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(acpi_tables_add_up, set_up, tear_down),
		cmocka_unit_test(cpuid_shows_a_hypervisor_and_hides_the_host),
	};

	return cmocka_run_group_tests_name("boot", tests, NULL, NULL);
}
