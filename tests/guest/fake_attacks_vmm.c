// SPDX-License-Identifier: Apache-2.0
#include "tests/guest/fake_attacks_vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vmbus/state.h"
#include "vmbus/user_socket.h"
#include "vmbus/wire.h"

#define RAM_BYTES (4u << 20)
#define RINGS 0x100000u // where the rings are: 4 pages, 2 each
#define N_ROUNDS 2000u  // of waiting for an answer

// One connection, and the answer that came last.
struct line {
	struct fake_intruder *intruder;
	int fd;
	uint32_t serial;
	bool hung_up;
	struct vmbus_user_datagram answer;
	int ram, state;
};

enum { HUNG_UP = -1, SILENT = -2 }; // what ask() returns beside an errno

static uint32_t rnd(struct fake_intruder *intruder)
{
	intruder->seed = intruder->seed * 1664525 + 1013904223;
	return intruder->seed >> 8;
}

// --- one line ----------------------------------------------------------------------------------

static void wait_a_little(struct line *line)
{
	struct pollfd fd = { line->fd, POLLIN, 0 };

	if (line->intruder->pump)
		line->intruder->pump(line->intruder->ctx);
	else
		poll(&fd, 1, 1);
}

static int make_memory(size_t bytes, bool sealed)
{
	int fd = memfd_create("intruder", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0 && sealed)
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	return fd;
}

static bool line_open(struct line *line, struct fake_intruder *intruder)
{
	*line = (struct line){ .intruder = intruder, .fd = -1, .ram = -1, .state = -1 };
	for (uint32_t i = 0; i < N_ROUNDS && line->fd < 0; i++) {
		line->fd = vmbus_user_connect(intruder->path);
		if (line->fd < 0)
			wait_a_little(line);
	}
	return line->fd >= 0;
}

static void line_close(struct line *line)
{
	vmbus_user_datagram_close(&line->answer);
	for (int *fd = (int[]){ line->fd, line->ram, line->state, -2 }; *fd != -2; fd++)
		if (*fd >= 0)
			close(*fd);
	line->fd = line->ram = line->state = -1;
}

// Takes what came, if anything. True: something did.
static bool listen_to(struct line *line)
{
	int ret;

	vmbus_user_datagram_close(&line->answer);
	line->answer.n_fds = 0;
	ret = vmbus_user_receive(line->fd, &line->answer);
	if (ret == 0 || (ret < 0 && ret != -EAGAIN))
		line->hung_up = true;
	return ret > 0;
}

// Sends a request with a serial of its own and waits for the reply. Returns its status, HUNG_UP or
// SILENT.
static int ask_fds(struct line *line, void *message, uint32_t bytes, const int *fds, uint32_t n_fds)
{
	struct vmbus_user_header *header = message;

	header->serial = cpu_to_le32(++line->serial);
	if (vmbus_user_send(line->fd, message, bytes, fds, n_fds) == -EPIPE)
		line->hung_up = true;
	for (uint32_t i = 0; i < N_ROUNDS && !line->hung_up; i++) {
		const struct vmbus_user_reply *reply = (void *)line->answer.message;

		if (!listen_to(line)) {
			wait_a_little(line);
			continue;
		}
		if (le16_to_cpu(reply->header.flags) & VMBUS_USER_REPLY &&
		    le32_to_cpu(reply->header.serial) == line->serial)
			return (int)le32_to_cpu(reply->status);
	}
	return line->hung_up ? HUNG_UP : SILENT;
}

static int ask(struct line *line, void *message, uint32_t bytes)
{
	return ask_fds(line, message, bytes, NULL, 0);
}

static int ask_plain(struct line *line, uint32_t type)
{
	struct vmbus_user_plain message = { .header.type = cpu_to_le16((uint16_t)type) };

	return ask(line, &message, sizeof(message));
}

static struct vmbus_user_hello hello_of(const char *nic)
{
	struct vmbus_user_hello hello = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_HELLO),
		.magic = cpu_to_le32(VMBUS_USER_MAGIC), .version_min = cpu_to_le16(1),
		.version_max = cpu_to_le16(1), .features = cpu_to_le64(0x1f),
	};

	memcpy(hello.name, nic, strnlen(nic, sizeof(hello.name)));
	return hello;
}

// HELLO, until the connection before this one has been noticed to be gone.
static int say_hello(struct line *line)
{
	int ret = SILENT;

	for (uint32_t i = 0; i < 200; i++) {
		struct vmbus_user_hello hello = hello_of(line->intruder->nic);
		struct fake_intruder *intruder = line->intruder;

		ret = ask(line, &hello, sizeof(hello));
		if (ret != EBUSY)
			break;
		line_close(line);
		if (!line_open(line, intruder))
			return HUNG_UP;
		wait_a_little(line);
	}
	return ret;
}

static int give_state(struct line *line, uint32_t origin, int fd)
{
	struct vmbus_user_state message = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_STATE),
		.origin = cpu_to_le32(origin), .bytes = cpu_to_le64(sizeof(struct vmbus_state)),
	};

	return ask_fds(line, &message, sizeof(message), &fd, fd >= 0);
}

static int add_region(struct line *line, uint32_t region, uint64_t gpa, uint64_t bytes, int fd)
{
	struct vmbus_user_region_add message = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_REGION_ADD),
		.region = cpu_to_le32(region), .gpa = cpu_to_le64(gpa), .bytes = cpu_to_le64(bytes),
	};

	return ask_fds(line, &message, sizeof(message), &fd, fd >= 0);
}

static int add_gpadl(struct line *line, uint32_t id, uint64_t gpa, uint32_t bytes)
{
	struct {
		struct vmbus_user_gpadl head;
		struct vmbus_user_run run;
	} message = {
		.head = { .header.type = cpu_to_le16(VMBUS_USER_TYPE_GPADL),
			  .gpadl = cpu_to_le32(id), .flags = cpu_to_le32(3),
			  .bytes = cpu_to_le64(bytes), .n_runs = cpu_to_le32(1) },
		.run = { cpu_to_le64(gpa), cpu_to_le32(bytes), 0 },
	};

	return ask(line, &message, sizeof(message));
}

static int open_channel(struct line *line, uint32_t serial, uint32_t flags)
{
	struct vmbus_user_open message = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_OPEN), .relid = cpu_to_le32(5),
		.gpadl = cpu_to_le32(1), .h2g_page = cpu_to_le32(2),
		.open_serial = cpu_to_le32(serial), .flags = cpu_to_le32(flags),
		.vmbus_version = cpu_to_le32(0x50003),
		.monitor_id = cpu_to_le32(VMBUS_USER_NO_MONITOR),
		.target = { .mode = cpu_to_le32(VMBUS_USER_MODE_DIRECT), .flag = cpu_to_le32(5),
			    .gpa = cpu_to_le64(0x200), .sint = cpu_to_le32(2) },
	};
	const int fds[2] = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) };
	int ret = ask_fds(line, &message, sizeof(message), fds, 2);

	close(fds[0]);
	close(fds[1]);
	return ret;
}

static int close_channel(struct line *line)
{
	struct vmbus_user_close message = { .header.type =
						    cpu_to_le16(VMBUS_USER_TYPE_CLOSE) };

	return ask(line, &message, sizeof(message));
}

// All there is to a NIC with an open channel. Returns 0 or the status of what failed.
static int attach(struct line *line, bool sealed)
{
	int ret = say_hello(line);

	line->ram = make_memory(RAM_BYTES, sealed);
	line->state = make_memory(sizeof(struct vmbus_state), true);
	ret = ret ? ret : give_state(line, VMBUS_USER_NEW, line->state);
	ret = ret ? ret : add_region(line, 0, 0, RAM_BYTES, line->ram);
	ret = ret ? ret : ask_plain(line, VMBUS_USER_TYPE_START);
	ret = ret ? ret : add_gpadl(line, 1, RINGS, 4 * 4096);
	return ret ? ret : open_channel(line, 1, 0);
}

// --- attacks -----------------------------------------------------------------------------------

// Any bytes; and in a second half, messages that look like some.
static const char *any_bytes(struct fake_intruder *intruder)
{
	static uint8_t message[VMBUS_USER_MAX_MESSAGE];

	for (uint32_t i = 0; i < 200; i++) {
		struct line line;

		if (!line_open(&line, intruder))
			return "the switch takes no connection";
		if (i & 1)
			say_hello(&line);
		for (uint32_t n = 0; n < 20 && !line.hung_up; n++) {
			uint32_t bytes = 1 + rnd(intruder) % (i & 2 ? 128 : sizeof(message));

			for (uint32_t b = 0; b < bytes; b++)
				message[b] = (uint8_t)(rnd(intruder) & (i & 4 ? 0xff : 3));
			if (i & 8) {
				store_u16(message, (uint16_t)(rnd(intruder) % 18));
				store_u16(message + 2, 0);
			}
			vmbus_user_send(line.fd, message, bytes, NULL, 0);
			wait_a_little(&line);
			listen_to(&line);
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
		struct vmbus_user_hello hello = hello_of(names[i].name);
		struct line line;
		int ret;

		if (!line_open(&line, intruder))
			return "the switch takes no connection";
		ret = ask(&line, &hello, sizeof(hello));
		line_close(&line);
		if (ret != names[i].status)
			return "a name that is none was not refused as it should";
	}
	return NULL;
}

static const char *attach_twice(struct fake_intruder *intruder)
{
	struct vmbus_user_hello hello = hello_of(intruder->nic);
	struct line first, second;
	const char *wrong = NULL;

	if (!line_open(&first, intruder) || say_hello(&first))
		return "the NIC cannot be attached to";
	if (!line_open(&second, intruder))
		return "the switch takes no connection";
	if (ask(&second, &hello, sizeof(hello)) != EBUSY)
		wrong = "a second attach was not refused";
	else if (ask_plain(&first, VMBUS_USER_TYPE_RESET))
		wrong = "a second attach has disturbed the first";
	line_close(&second);
	line_close(&first);
	return wrong;
}

static const char *wrong_descriptors(struct fake_intruder *intruder)
{
	const int fds[] = { eventfd(0, EFD_CLOEXEC), open("/dev/null", O_RDWR | O_CLOEXEC),
			    open("/", O_RDONLY | O_CLOEXEC), socket(AF_UNIX, SOCK_STREAM, 0),
			    make_memory(4096, true), open("/proc/self/maps", O_RDONLY) };
	const char *wrong = NULL;
	struct line line;

	if (!line_open(&line, intruder) || say_hello(&line))
		return "the NIC cannot be attached to";
	for (uint32_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (give_state(&line, VMBUS_USER_NEW, fds[i]) <= 0)
			wrong = "a state memory that is none was taken";
		if (add_region(&line, 7, 0, RAM_BYTES, fds[i]) <= 0)
			wrong = "a region that is none was taken";
	}
	if (give_state(&line, VMBUS_USER_NEW, -1) != EINVAL ||
	    add_region(&line, 7, 0, RAM_BYTES, -1) != EINVAL)
		wrong = "a request without its descriptor was not refused";
	for (uint32_t n = 1; n <= 4; n++) {
		struct vmbus_user_plain plain = { .header.type =
							  cpu_to_le16(VMBUS_USER_TYPE_RESET) };

		if (ask_fds(&line, &plain, sizeof(plain), fds, n) != EINVAL)
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
	int open_ended = make_memory(sizeof(struct vmbus_state), false);
	int small = make_memory(4096, true);
	const char *wrong = NULL;
	struct line line;

	if (!line_open(&line, intruder) || say_hello(&line))
		return "the NIC cannot be attached to";
	if (give_state(&line, VMBUS_USER_NEW, open_ended) != EPERM)
		wrong = "a state memory that may shrink was taken";
	if (give_state(&line, VMBUS_USER_NEW, small) != EINVAL)
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

	if (!line_open(&line, intruder) || say_hello(&line))
		return "the NIC cannot be attached to";
	for (uint32_t i = 0; i < 20000; i++)
		if (vmbus_user_send(line.fd, &plain, sizeof(plain), NULL, 0))
			wait_a_little(&line);
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

		if (!line_open(&line, intruder) || attach(&line, false))
			return "the NIC cannot be attached to";
		ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, line.ram, 0);
		if (ram == MAP_FAILED)
			return "no memory";
		rings = (struct vmbus_ring_header *)(ram + RINGS);
		__atomic_store_n((uint32_t *)&rings->write, 64, __ATOMIC_RELEASE);
		munmap(ram, RAM_BYTES);
		if (ftruncate(line.ram, i & 1 ? 0 : RINGS + 4096))
			return "no truncation";
		for (uint32_t n = 0; n < N_ROUNDS && !line.hung_up; n++) {
			wait_a_little(&line);
			listen_to(&line);
			if (n % 16 == 0 && !line.hung_up)
				ask_plain(&line, VMBUS_USER_TYPE_RESUME);
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

		if (!line_open(&line, intruder) || attach(&line, true))
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
		if (line.fd < 0 || say_hello(&line) > 0)
			return "the NIC cannot be attached to again";
		// say_hello may have begun anew, without descriptors: then this is no test.
		if (line.ram >= 0 && !give_state(&line, VMBUS_USER_KEPT, line.state)) {
			add_region(&line, 0, 0, RAM_BYTES, line.ram);
			add_gpadl(&line, 1, RINGS, 4 * 4096);
			open_channel(&line, 1, VMBUS_USER_OPEN_RESUME);
			ask_plain(&line, VMBUS_USER_TYPE_START);
		}
		for (uint32_t n = 0; n < 20; n++)
			wait_a_little(&line);
		munmap(state, sizeof(*state));
		line_close(&line);
	}
	return NULL;
}

static const char *regions_that_lie(struct fake_intruder *intruder)
{
	static const struct {
		uint64_t gpa, bytes;
	} lies[] = { { 0, 0 }, { 1, 4096 }, { 0, 4095 }, { 0, RAM_BYTES + 4096 },
		     { 1ull << 52, 4096 }, { UINT64_MAX & ~4095ull, 8192 },
		     { 0, 1ull << 40 }, { 0, UINT64_MAX & ~4095ull } };
	const char *wrong = NULL;
	struct line line;
	int ram = make_memory(RAM_BYTES, true);

	if (!line_open(&line, intruder) || say_hello(&line))
		return "the NIC cannot be attached to";
	for (uint32_t i = 0; i < ARRAY_SIZE(lies); i++)
		if (add_region(&line, i, lies[i].gpa, lies[i].bytes, ram) <= 0)
			wrong = "a region that lies was taken";
	if (add_region(&line, 0, 0, RAM_BYTES, ram) ||
	    add_region(&line, 0, 1ull << 32, 4096, ram) != EEXIST ||
	    add_region(&line, 1, RAM_BYTES - 4096, 8192, ram) != EEXIST)
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

	if (!line_open(&line, intruder) || attach(&line, true))
		return "the NIC cannot be attached to";
	if (add_gpadl(&line, 2, RAM_BYTES, 4096) != EFAULT ||
	    add_gpadl(&line, 2, RAM_BYTES - 4096, 8192) != EFAULT ||
	    add_gpadl(&line, 2, UINT64_MAX - 4095, 8192) != EFAULT)
		wrong = "a GPADL outside of memory was taken";
	if (add_gpadl(&line, 1, 0, 4096) != EEXIST)
		wrong = "a GPADL was taken twice";
	if (add_gpadl(&line, 2, 0, 0) != EINVAL)
		wrong = "a GPADL of nothing was taken";
	while (n < 1000 && !add_gpadl(&line, 100 + n, 0, 4096))
		n++;
	if (n > VMBUS_USER_MAX_GPADLS)
		wrong = "more GPADLs were taken than there may be";
	line_close(&line);
	return wrong;
}

static const char *opens_and_closes(struct fake_intruder *intruder)
{
	struct line line;

	if (!line_open(&line, intruder) || attach(&line, true))
		return "the NIC cannot be attached to";
	for (uint32_t i = 0; i < 300; i++)
		if (close_channel(&line) || open_channel(&line, 2 + i, 0))
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
			say_hello(&line);
		if (i % 3 == 2 && i % 10 == 2 && attach(&line, true))
			return "the NIC cannot be attached to";
		line_close(&line);
	}
	return NULL;
}

// Many who say nothing: others are still heard. They are hung up on by and by.
static const char *says_nothing(struct fake_intruder *intruder)
{
	struct line line, silent[60]; // more than 64 are not listened to at a time
	const char *wrong = NULL;

	for (uint32_t i = 0; i < ARRAY_SIZE(silent); i++)
		line_open(&silent[i], intruder);
	if (!line_open(&line, intruder) || say_hello(&line))
		wrong = "nobody is heard while others say nothing";
	line_close(&line);
	for (uint32_t i = 0; i < ARRAY_SIZE(silent); i++)
		line_close(&silent[i]);
	return wrong;
}

static const char *nonsense_for_ever(struct fake_intruder *intruder)
{
	struct line line;
	uint32_t n = 0;

	if (!line_open(&line, intruder) || say_hello(&line))
		return "the NIC cannot be attached to";
	while (n < 1100 && ask_plain(&line, 99) != HUNG_UP)
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
