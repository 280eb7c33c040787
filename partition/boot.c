// SPDX-License-Identifier: Apache-2.0
#include "partition/boot.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/types.h"
#include "partition/acpi.h"

// Low memory as it is laid out here; the kernel comes at 1 MiB or above.
enum {
	GDT = 0x500,
	PARAMS = 0x7000,
	STACK = 0x9000, // grows down
	PAGE_TABLES = 0x9000, // one page, one page, four pages
	COMMAND_LINE = 0x20000,
	COMMAND_LINE_BYTES = 2048,
	LOW_END = 0x9fc00,
	KERNEL_MIN = 0x100000,
};
enum { BOOT_FLAG = 0xaa55, HEADER_MAGIC = 0x53726448, VERSION_64 = 0x20c, LOADER_UNKNOWN = 0xff };
enum { E820_RAM = 1, E820_RESERVED = 2 };
enum { PAGE_PRESENT = 1, PAGE_WRITE = 2, PAGE_LARGE = 0x80 };

// A file, mapped for reading.
struct file {
	const uint8_t *bytes;
	uint64_t n;
};

static int open_file(const char *path, struct file *file, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = 0;
	struct stat st;
	void *at;

	if (fd < 0)
		return err_set(err, errno, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size == 0)
		ret = err_set(err, EINVAL, "%s: not a file with content", path);
	if (!ret) {
		at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (at == MAP_FAILED)
			ret = err_set(err, errno, "%s: %s", path, strerror(errno));
		*file = (struct file){ .bytes = at, .n = (uint64_t)st.st_size };
	}
	close(fd);
	return ret;
}

static void close_file(struct file *file) { munmap((void *)(uintptr_t)file->bytes, file->n); }

// What was loaded: the protocol's header, the first address behind it, the entry point.
struct kernel {
	struct setup_header header;
	uint64_t end, entry;
};

// [gpa, gpa + bytes) is RAM that the kernel may have.
static uint8_t *kernel_room(const struct partition_ram *ram, uint64_t gpa, uint64_t bytes)
{
	if (gpa < KERNEL_MIN || bytes == 0)
		return NULL;
	return guest_memory_at(&ram->map, gpa, bytes, true);
}

// --- vmlinux -----------------------------------------------------------------------------------

static int load_segment(const struct partition_ram *ram, const struct file *file,
			const Elf64_Phdr *segment, struct kernel *kernel)
{
	uint8_t *to = kernel_room(ram, segment->p_paddr, segment->p_memsz);

	if (segment->p_offset > file->n || segment->p_filesz > file->n - segment->p_offset ||
	    segment->p_filesz > segment->p_memsz || !to)
		return -EINVAL;
	memcpy(to, file->bytes + segment->p_offset, segment->p_filesz);
	memset(to + segment->p_filesz, 0, segment->p_memsz - segment->p_filesz);
	if (segment->p_paddr + segment->p_memsz > kernel->end)
		kernel->end = segment->p_paddr + segment->p_memsz;
	return 0;
}

static int load_elf(const struct partition_ram *ram, const struct file *file,
		    struct kernel *kernel, struct err *err)
{
	Elf64_Ehdr header;
	Elf64_Phdr segment;

	if (file->n < sizeof(header))
		return err_set(err, EINVAL, "kernel: the ELF image is cut off");
	memcpy(&header, file->bytes, sizeof(header));
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64 ||
	    header.e_phentsize != sizeof(segment))
		return err_set(err, EINVAL, "kernel: an ELF image, but not for x86-64");
	for (uint32_t i = 0; i < header.e_phnum; i++) {
		uint64_t at = header.e_phoff + i * sizeof(segment);

		if (at < header.e_phoff || at > file->n || file->n - at < sizeof(segment))
			return err_set(err, EINVAL, "kernel: the ELF image is cut off");
		memcpy(&segment, file->bytes + at, sizeof(segment));
		if (segment.p_type == PT_LOAD && load_segment(ram, file, &segment, kernel))
			return err_set(err, EINVAL,
				       "kernel: segment %u lies outside the file or the memory",
				       i);
	}
	if (header.e_entry < KERNEL_MIN || header.e_entry >= kernel->end)
		return err_set(err, EINVAL, "kernel: its entry point is not in it");
	kernel->entry = header.e_entry;
	// What the header in a bzImage would say.
	kernel->header = (struct setup_header){
		.boot_flag = BOOT_FLAG, .header = HEADER_MAGIC, .version = VERSION_64 + 3,
		.initrd_addr_max = 0x7fffffff, .cmdline_size = COMMAND_LINE_BYTES - 1,
		.kernel_alignment = 0x200000,
	};
	return 0;
}

// --- bzImage -----------------------------------------------------------------------------------

static int load_bzimage(const struct partition_ram *ram, const struct file *file,
			struct kernel *kernel, struct err *err)
{
	struct setup_header *h = &kernel->header;
	uint64_t setup, at;
	uint8_t *to;

	if (file->n < offsetof(struct boot_params, hdr) + sizeof(*h))
		return err_set(err, EINVAL, "kernel: neither a bzImage nor an ELF image");
	memcpy(h, file->bytes + offsetof(struct boot_params, hdr), sizeof(*h));
	if (h->boot_flag != BOOT_FLAG || h->header != HEADER_MAGIC)
		return err_set(err, EINVAL, "kernel: neither a bzImage nor an ELF image");
	if (h->version < VERSION_64 || !(h->xloadflags & XLF_KERNEL_64))
		return err_set(err, EINVAL, "kernel: it has no 64-bit entry point");
	setup = ((h->setup_sects ? h->setup_sects : 4) + 1) * 512ull;
	if (setup + 0x200 >= file->n || h->syssize * 16ull > file->n - setup + 15)
		return err_set(err, EINVAL, "kernel: the bzImage is cut off");
	at = h->relocatable_kernel || h->pref_address ? h->pref_address : KERNEL_MIN;
	to = file->n - setup <= h->init_size ? kernel_room(ram, at, h->init_size) : NULL;
	if (!to)
		return err_set(err, EINVAL,
			       "kernel: it wants %u bytes at 0x%llx, which is not all memory",
			       h->init_size, (unsigned long long)at);
	memcpy(to, file->bytes + setup, file->n - setup);
	kernel->end = at + h->init_size;
	kernel->entry = at + 0x200;
	return 0;
}

// --- the rest ----------------------------------------------------------------------------------

static int load_kernel(const struct partition_ram *ram, const char *path, struct kernel *kernel,
		       struct err *err)
{
	struct file file;
	int ret = open_file(path, &file, err);

	if (ret)
		return ret;
	*kernel = (struct kernel){};
	if (file.n >= SELFMAG && !memcmp(file.bytes, ELFMAG, SELFMAG))
		ret = load_elf(ram, &file, kernel, err);
	else
		ret = load_bzimage(ram, &file, kernel, err);
	close_file(&file);
	return ret;
}

// As high as the kernel can reach it.
static int load_initrd(const struct partition_ram *ram, const char *path,
		       struct kernel *kernel, struct err *err)
{
	uint64_t top = partition_ram_low(ram), at;
	struct file file;
	int ret = open_file(path, &file, err);

	if (ret)
		return ret;
	if (top > kernel->header.initrd_addr_max + 1ull)
		top = kernel->header.initrd_addr_max + 1ull;
	at = file.n < top ? (top - file.n) & ~(GUEST_PAGE_BYTES - 1ull) : 0;
	if (at >= kernel->end && partition_ram_write(&ram->map, at, file.bytes, file.n)) {
		kernel->header.ramdisk_image = (uint32_t)at;
		kernel->header.ramdisk_size = (uint32_t)file.n;
	} else {
		ret = err_set(err, ENOMEM,
			      "initrd: its %llu bytes do not fit beside the kernel",
			      (unsigned long long)file.n);
	}
	close_file(&file);
	return ret;
}

// Low memory but firmware's, then all from 1 MiB up.
static void fill_e820(const struct partition_ram *ram, struct boot_params *params)
{
	uint64_t low = partition_ram_low(ram);
	const struct boot_e820_entry entries[] = {
		{ 0, LOW_END, E820_RAM },
		{ PARTITION_ACPI_GPA, PARTITION_ACPI_BYTES, E820_RESERVED },
		{ KERNEL_MIN, low - KERNEL_MIN, E820_RAM },
		{ PARTITION_HIGH_RAM, ram->bytes - low, E820_RAM },
	};
	uint8_t n = ram->bytes > low ? 4 : 3;

	memcpy(params->e820_table, entries, n * sizeof(entries[0]));
	params->e820_entries = n;
}

// The first 4 GiB mapped to themselves.
static bool write_page_tables(const struct guest_memory *map)
{
	uint64_t *table = (uint64_t *)guest_memory_at(map, PAGE_TABLES, 6 * GUEST_PAGE_BYTES, true);

	if (!table)
		return false;
	memset(table, 0, 2 * GUEST_PAGE_BYTES);
	table[0] = (PAGE_TABLES + GUEST_PAGE_BYTES) | PAGE_PRESENT | PAGE_WRITE;
	for (uint64_t i = 0; i < 4; i++)
		table[512 + i] = (PAGE_TABLES + (2 + i) * GUEST_PAGE_BYTES) | PAGE_PRESENT |
				 PAGE_WRITE;
	for (uint64_t i = 0; i < 4ull * 512; i++)
		table[1024 + i] = i << 21 | PAGE_PRESENT | PAGE_WRITE | PAGE_LARGE;
	return true;
}

int partition_boot_load(const struct partition_ram *ram, const struct partition_boot *image,
			struct partition_entry *entry, struct err *err)
{
	// 0x10: code, 0x18: data; both flat, as the protocol's __BOOT_CS and __BOOT_DS.
	static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffffull, 0x00cf93000000ffffull };
	struct boot_params params = {};
	struct kernel kernel;
	size_t length = strlen(image->command_line);
	int ret = load_kernel(ram, image->kernel, &kernel, err);

	if (!ret && image->initrd)
		ret = load_initrd(ram, image->initrd, &kernel, err);
	if (ret)
		return ret;
	if (length >= COMMAND_LINE_BYTES || length > kernel.header.cmdline_size)
		return err_set(err, EINVAL, "command line: %zu bytes are more than %u", length,
			       length >= COMMAND_LINE_BYTES ? COMMAND_LINE_BYTES - 1
							    : kernel.header.cmdline_size);
	params.hdr = kernel.header;
	params.hdr.type_of_loader = LOADER_UNKNOWN;
	params.hdr.loadflags |= LOADED_HIGH;
	params.hdr.cmd_line_ptr = COMMAND_LINE;
	params.acpi_rsdp_addr = image->rsdp;
	fill_e820(ram, &params);
	if (!partition_ram_write(&ram->map, PARAMS, &params, sizeof(params)) ||
	    !partition_ram_write(&ram->map, COMMAND_LINE, image->command_line, length + 1) ||
	    !partition_ram_write(&ram->map, GDT, gdt, sizeof(gdt)) ||
	    !write_page_tables(&ram->map))
		return err_set(err, EFAULT, "no memory at guest address 0");
	*entry = (struct partition_entry){
		.rip = kernel.entry, .rsi = PARAMS, .rsp = STACK, .cr3 = PAGE_TABLES, .gdt = GDT,
		.gdt_limit = sizeof(gdt) - 1, .code = 0x10, .data = 0x18,
	};
	return 0;
}
