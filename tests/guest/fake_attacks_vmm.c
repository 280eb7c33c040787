// SPDX-License-Identifier: Apache-2.0
#include "tests/guest/fake_attacks_vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vmbus/state.h"
#include "vmbus/wire.h"

static uint32_t rnd(struct fake_intruder *intruder)
{
	intruder->seed = intruder->seed * 1664525 + 1013904223;
	return intruder->seed >> 8;
}

// Any bytes; and in a second half, messages that look like some.
static const char *any_bytes(struct fake_intruder *intruder)
{
	static uint8_t message[VMBUS_USER_MAX_MESSAGE];

	for (uint32_t i = 0; i < 200; i++) {
		struct line line;

		if (!line_open(&line, intruder))
			return "the switch takes no connection";
		if (i & 1)
			line_say_hello(&line);
		for (uint32_t n = 0; n < 20 && !line.hung_up; n++) {
			uint32_t bytes = 1 + rnd(intruder) % (i & 2 ? 128 : sizeof(message));

			for (uint32_t b = 0; b < bytes; b++)
				message[b] = (uint8_t)(rnd(intruder) & (i & 4 ? 0xff : 3));
			if (i & 8) {
				store_u16(message, (uint16_t)(rnd(intruder) % 18));
				store_u16(message + 2, 0);
			}
			vmbus_user_send(line.fd, message, bytes, NULL, 0);
			line_wait(&line);
			line_listen(&line);
		}
		line_close(&line);
	}
	return NULL;
}

static const char *wrong_names(struct fake_intruder *intruder)
{
	const struct {
		const char *name;
		int status;
	} names[] = { { "nobody", ENOENT }, { "", EINVAL }, { "\xff\xfe", EINVAL } };

	for (uint32_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct vmbus_user_hello hello = line_hello(names[i].name);
		struct line line;
		int ret;

		if (!line_open(&line, intruder))
			return "the switch takes no connection";
		ret = line_ask(&line, &hello, sizeof(hello));
		line_close(&line);
		if (ret != names[i].status)
			return "a name that is none was not refused as it should";
	}
	return NULL;
}

static const char *attach_twice(struct fake_intruder *intruder)
{
	struct vmbus_user_hello hello = line_hello(intruder->nic);
	struct line first, second;
	const char *wrong = NULL;

	if (!line_open(&first, intruder) || line_say_hello(&first))
		return "the NIC cannot be attached to";
	if (!line_open(&second, intruder))
		return "the switch takes no connection";
	if (line_ask(&second, &hello, sizeof(hello)) != EBUSY)
		wrong = "a second attach was not refused";
	else if (line_ask_plain(&first, VMBUS_USER_TYPE_RESET))
		wrong = "a second attach has disturbed the first";
	line_close(&second);
	line_close(&first);
	return wrong;
}

static const char *wrong_descriptors(struct fake_intruder *intruder)
{
	const int fds[] = { eventfd(0, EFD_CLOEXEC), open("/dev/null", O_RDWR | O_CLOEXEC),
			    open("/", O_RDONLY | O_CLOEXEC), socket(AF_UNIX, SOCK_STREAM, 0),
			    line_memory(4096, true), open("/proc/self/maps", O_RDONLY) };
	const char *wrong = NULL;
	struct line line;

	if (!line_open(&line, intruder) || line_say_hello(&line))
		return "the NIC cannot be attached to";
	for (uint32_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (line_give_state(&line, VMBUS_USER_NEW, fds[i]) <= 0)
			wrong = "a state memory that is none was taken";
		if (line_add_region(&line, 7, 0, LINE_RAM_BYTES, fds[i]) <= 0)
			wrong = "a region that is none was taken";
	}
	if (line_give_state(&line, VMBUS_USER_NEW, -1) != EINVAL ||
	    line_add_region(&line, 7, 0, LINE_RAM_BYTES, -1) != EINVAL)
		wrong = "a request without its descriptor was not refused";
	for (uint32_t n = 1; n <= 4; n++) {
		struct vmbus_user_plain plain = { .header.type =
							  cpu_to_le16(VMBUS_USER_TYPE_RESET) };

		if (line_ask_fds(&line, &plain, sizeof(plain), fds, n) != EINVAL)
			wrong = "descriptors that nobody asked for were not refused";
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	line_close(&line);
	return wrong;
}

// State memory of a size, or without the seals, that would let it be pulled away.
static const char *state_that_may_shrink(struct fake_intruder *intruder)
{
	int open_ended = line_memory(sizeof(struct vmbus_state), false);
	int small = line_memory(4096, true);
	const char *wrong = NULL;
	struct line line;

	if (!line_open(&line, intruder) || line_say_hello(&line))
		return "the NIC cannot be attached to";
	if (line_give_state(&line, VMBUS_USER_NEW, open_ended) != EPERM)
		wrong = "a state memory that may shrink was taken";
	if (line_give_state(&line, VMBUS_USER_NEW, small) != EINVAL)
		wrong = "a state memory that is too small was taken";
	close(open_ended);
	close(small);
	line_close(&line);
	return wrong;
}

// Requests by the thousand, of which no reply is read.
static const char *never_reads(struct fake_intruder *intruder)
{
	struct vmbus_user_plain plain = { .header.type = cpu_to_le16(VMBUS_USER_TYPE_RESET) };
	struct line line;

	if (!line_open(&line, intruder) || line_say_hello(&line))
		return "the NIC cannot be attached to";
	for (uint32_t i = 0; i < 20000; i++)
		if (vmbus_user_send(line.fd, &plain, sizeof(plain), NULL, 0))
			line_wait(&line);
	line_close(&line);
	return NULL;
}

// The memory goes while the switch works on it: it takes leave.
static const char *memory_is_truncated(struct fake_intruder *intruder)
{
	for (uint32_t i = 0; i < 10; i++) {
		struct vmbus_ring_header *rings;
		struct line line;
		uint8_t *ram;

		if (!line_open(&line, intruder) || line_attach(&line, false))
			return "the NIC cannot be attached to";
		ram = mmap(NULL, LINE_RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, line.ram, 0);
		if (ram == MAP_FAILED)
			return "no memory";
		rings = (struct vmbus_ring_header *)(ram + LINE_RINGS);
		__atomic_store_n((uint32_t *)&rings->write, 64, __ATOMIC_RELEASE);
		munmap(ram, LINE_RAM_BYTES);
		if (ftruncate(line.ram, i & 1 ? 0 : LINE_RINGS + 4096))
			return "no truncation";
		for (uint32_t n = 0; n < LINE_ROUNDS && !line.hung_up; n++) {
			line_wait(&line);
			line_listen(&line);
			if (n % 16 == 0 && !line.hung_up)
				line_ask_plain(&line, VMBUS_USER_TYPE_RESUME);
		}
		line_close(&line);
	}
	return NULL;
}

// Random bytes as what an earlier life is said to have left.
static const char *state_of_no_life(struct fake_intruder *intruder)
{
	for (uint32_t i = 0; i < 60; i++) {
		struct vmbus_state *state;
		struct line line;

		if (!line_open(&line, intruder) || line_attach(&line, true))
			return "the NIC cannot be attached to";
		state = mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_SHARED, line.state,
			     0);
		if (state == MAP_FAILED)
			return "no memory";
		for (uint32_t n = 0; n < 1u << i % 12; n++) {
			uint8_t *at = (uint8_t *)state + (i & 1 ? 0x1000 : 0x25000) +
				      rnd(intruder) % 12288;

			*at = (uint8_t)rnd(intruder);
		}
		state->channels[0].batch = cpu_to_le64(rnd(intruder));
		state->header.record = cpu_to_le64(i % 3 ? rnd(intruder) : 1);
		close(line.fd);
		line.fd = vmbus_user_connect(intruder->path);
		line.hung_up = false;
		if (line.fd < 0 || line_say_hello(&line) > 0)
			return "the NIC cannot be attached to again";
		// say_hello may have begun anew, without descriptors: then this is no test.
		if (line.ram >= 0 && !line_give_state(&line, VMBUS_USER_KEPT, line.state)) {
			line_add_region(&line, 0, 0, LINE_RAM_BYTES, line.ram);
			line_add_gpadl(&line, 1, LINE_RINGS, 4 * 4096);
			line_open_channel(&line, 1, VMBUS_USER_OPEN_RESUME);
			line_ask_plain(&line, VMBUS_USER_TYPE_START);
		}
		for (uint32_t n = 0; n < 20; n++)
			line_wait(&line);
		munmap(state, sizeof(*state));
		line_close(&line);
	}
	return NULL;
}

static const char *regions_that_lie(struct fake_intruder *intruder)
{
	static const struct {
		uint64_t gpa, bytes;
	} lies[] = { { 0, 0 }, { 1, 4096 }, { 0, 4095 }, { 0, LINE_RAM_BYTES + 4096 },
		     { 1ull << 52, 4096 }, { UINT64_MAX & ~4095ull, 8192 },
		     { 0, 1ull << 40 }, { 0, UINT64_MAX & ~4095ull } };
	const char *wrong = NULL;
	struct line line;
	int ram = line_memory(LINE_RAM_BYTES, true);

	if (!line_open(&line, intruder) || line_say_hello(&line))
		return "the NIC cannot be attached to";
	for (uint32_t i = 0; i < ARRAY_SIZE(lies); i++)
		if (line_add_region(&line, i, lies[i].gpa, lies[i].bytes, ram) <= 0)
			wrong = "a region that lies was taken";
	if (line_add_region(&line, 0, 0, LINE_RAM_BYTES, ram) ||
	    line_add_region(&line, 0, 1ull << 32, 4096, ram) != EEXIST ||
	    line_add_region(&line, 1, LINE_RAM_BYTES - 4096, 8192, ram) != EEXIST)
		wrong = "regions that overlap were taken";
	close(ram);
	line_close(&line);
	return wrong;
}

static const char *gpadls_that_lie(struct fake_intruder *intruder)
{
	const char *wrong = NULL;
	struct line line;
	uint32_t n = 0;

	if (!line_open(&line, intruder) || line_attach(&line, true))
		return "the NIC cannot be attached to";
	if (line_add_gpadl(&line, 2, LINE_RAM_BYTES, 4096) != EFAULT ||
	    line_add_gpadl(&line, 2, LINE_RAM_BYTES - 4096, 8192) != EFAULT ||
	    line_add_gpadl(&line, 2, UINT64_MAX - 4095, 8192) != EFAULT)
		wrong = "a GPADL outside of memory was taken";
	if (line_add_gpadl(&line, 1, 0, 4096) != EEXIST)
		wrong = "a GPADL was taken twice";
	if (line_add_gpadl(&line, 2, 0, 0) != EINVAL)
		wrong = "a GPADL of nothing was taken";
	while (n < 1000 && !line_add_gpadl(&line, 100 + n, 0, 4096))
		n++;
	if (n > VMBUS_USER_MAX_GPADLS)
		wrong = "more GPADLs were taken than there may be";
	line_close(&line);
	return wrong;
}

static const char *opens_and_closes(struct fake_intruder *intruder)
{
	struct line line;

	if (!line_open(&line, intruder) || line_attach(&line, true))
		return "the NIC cannot be attached to";
	for (uint32_t i = 0; i < 300; i++)
		if (line_close_channel(&line) || line_open_channel(&line, 2 + i, 0))
			return "a channel is not opened and closed as often as one likes";
	line_close(&line);
	return NULL;
}

static const char *comes_and_goes(struct fake_intruder *intruder)
{
	for (uint32_t i = 0; i < 300; i++) {
		struct line line;

		if (!line_open(&line, intruder))
			return "the switch takes no connection";
		if (i % 3 == 1)
			line_say_hello(&line);
		if (i % 3 == 2 && i % 10 == 2 && line_attach(&line, true))
			return "the NIC cannot be attached to";
		line_close(&line);
	}
	return NULL;
}

// Many who say nothing: others are still heard. They are hung up on by and by.
static const char *says_nothing(struct fake_intruder *intruder)
{
	struct line line, silent[150];
	const char *wrong = NULL;

	for (uint32_t i = 0; i < ARRAY_SIZE(silent); i++)
		line_open(&silent[i], intruder);
	if (!line_open(&line, intruder) || line_say_hello(&line))
		wrong = "nobody is heard while others say nothing";
	line_close(&line);
	for (uint32_t i = 0; i < ARRAY_SIZE(silent); i++)
		line_close(&silent[i]);
	return wrong;
}

// A doorbell whose writer would wait: full, and set to blocking after the switch has looked at it.
static const char *bell_that_waits(struct fake_intruder *intruder)
{
	const char *wrong = NULL;
	struct line line;
	eventfd_t rung;
	uint64_t *flags;

	if (!line_open(&line, intruder) || line_attach(&line, true))
		return "the NIC cannot be attached to";
	flags = mmap(NULL, LINE_RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, line.ram, 0);
	if (flags == MAP_FAILED)
		return "no memory";
	for (uint32_t i = 0; i < 5 && !wrong; i++) {
		if (line_ask_plain(&line, VMBUS_USER_TYPE_PAUSE))
			wrong = "a guest is not paused";
		__atomic_store_n(&flags[LINE_FLAGS / sizeof(*flags)], 0, __ATOMIC_RELEASE);
		fcntl(line.bell, F_SETFL, O_NONBLOCK);
		eventfd_read(line.bell, &rung);
		eventfd_write(line.bell, UINT64_MAX - 1);
		fcntl(line.bell, F_SETFL, 0);
		if (line_ask_plain(&line, VMBUS_USER_TYPE_RESUME)) // which rings it
			wrong = "the switch waits for a doorbell";
	}
	munmap(flags, LINE_RAM_BYTES);
	line_close(&line);
	return wrong;
}

static const char *nonsense_for_ever(struct fake_intruder *intruder)
{
	struct line line;
	uint32_t n = 0;

	if (!line_open(&line, intruder) || line_say_hello(&line))
		return "the NIC cannot be attached to";
	while (n < 1100 && line_ask_plain(&line, 99) != LINE_HUNG_UP)
		n++;
	line_close(&line);
	return n >= 1100 ? "nonsense is answered for ever" : NULL;
}

const struct fake_vmm_attack fake_vmm_attacks[] = {
	{ "any-bytes", any_bytes },
	{ "wrong-names", wrong_names },
	{ "attach-twice", attach_twice },
	{ "wrong-descriptors", wrong_descriptors },
	{ "state-that-may-shrink", state_that_may_shrink },
	{ "never-reads", never_reads },
	{ "memory-is-truncated", memory_is_truncated },
	{ "state-of-no-life", state_of_no_life },
	{ "regions-that-lie", regions_that_lie },
	{ "gpadls-that-lie", gpadls_that_lie },
	{ "opens-and-closes", opens_and_closes },
	{ "comes-and-goes", comes_and_goes },
	{ "says-nothing", says_nothing },
	{ "bell-that-waits", bell_that_waits },
	{ "nonsense-for-ever", nonsense_for_ever },
	{ 0 },
};

int fake_vmm_attacks_run(const char *path, const char *nic, const char *name, double seconds)
{
	struct fake_intruder intruder = { .path = path, .nic = nic, .seed = 1 };
	time_t until = time(NULL) + (time_t)seconds;
	int wrong = 0;

	do {
		for (const struct fake_vmm_attack *attack = fake_vmm_attacks; attack->name;
		     attack++) {
			const char *what;

			if (!strcmp(name, "list")) {
				printf("%s\n", attack->name);
				continue;
			}
			if (strcmp(name, "all") && strcmp(name, attack->name))
				continue;
			what = attack->run(&intruder);
			printf("%s %s\n", attack->name, what ? what : "ok");
			fflush(stdout);
			wrong |= what != NULL;
		}
	} while (strcmp(name, "list") && time(NULL) < until);
	return wrong;
}
