// SPDX-License-Identifier: Apache-2.0
#include "tests/guest/line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmbus/state.h"

void line_wait(struct line *line)
{
	struct pollfd fd = { line->fd, POLLIN, 0 };

	if (line->intruder->pump)
		line->intruder->pump(line->intruder->ctx);
	else
		poll(&fd, 1, 1);
}

int line_memory(size_t bytes, bool sealed)
{
	int fd = memfd_create("intruder", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0 && sealed)
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	return fd;
}

bool line_open(struct line *line, struct fake_intruder *intruder)
{
	*line = (struct line){ .intruder = intruder, .fd = -1, .ram = -1, .state = -1,
				.bell = -1 };
	for (uint32_t i = 0; i < LINE_ROUNDS && line->fd < 0; i++) {
		line->fd = vmbus_user_connect(intruder->path);
		if (line->fd < 0)
			line_wait(line);
	}
	return line->fd >= 0;
}

void line_close(struct line *line)
{
	vmbus_user_datagram_close(&line->answer);
	for (int *fd = (int[]){ line->fd, line->ram, line->state, line->bell, -2 }; *fd != -2; fd++)
		if (*fd >= 0)
			close(*fd);
	line->fd = line->ram = line->state = line->bell = -1;
}

bool line_listen(struct line *line)
{
	int ret;

	vmbus_user_datagram_close(&line->answer);
	line->answer.n_fds = 0;
	ret = vmbus_user_receive(line->fd, &line->answer);
	if (ret == 0 || (ret < 0 && ret != -EAGAIN))
		line->hung_up = true;
	return ret > 0;
}

int line_ask_fds(struct line *line, void *message, uint32_t bytes, const int *fds, uint32_t n_fds)
{
	struct vmbus_user_header *header = message;

	header->serial = cpu_to_le32(++line->serial);
	if (vmbus_user_send(line->fd, message, bytes, fds, n_fds) == -EPIPE)
		line->hung_up = true;
	for (uint32_t i = 0; i < LINE_ROUNDS && !line->hung_up; i++) {
		const struct vmbus_user_reply *reply = (void *)line->answer.message;

		if (!line_listen(line)) {
			line_wait(line);
			continue;
		}
		if (le16_to_cpu(reply->header.flags) & VMBUS_USER_REPLY &&
		    le32_to_cpu(reply->header.serial) == line->serial)
			return (int)le32_to_cpu(reply->status);
	}
	return line->hung_up ? LINE_HUNG_UP : LINE_SILENT;
}

int line_ask(struct line *line, void *message, uint32_t bytes)
{
	return line_ask_fds(line, message, bytes, NULL, 0);
}

int line_ask_plain(struct line *line, uint32_t type)
{
	struct vmbus_user_plain message = { .header.type = cpu_to_le16((uint16_t)type) };

	return line_ask(line, &message, sizeof(message));
}

struct vmbus_user_hello line_hello(const char *nic)
{
	struct vmbus_user_hello hello = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_HELLO),
		.magic = cpu_to_le32(VMBUS_USER_MAGIC), .version_min = cpu_to_le16(1),
		.version_max = cpu_to_le16(1), .features = cpu_to_le64(0x1f),
	};

	memcpy(hello.name, nic, strnlen(nic, sizeof(hello.name)));
	return hello;
}

int line_say_hello(struct line *line)
{
	int ret = LINE_SILENT;

	for (uint32_t i = 0; i < 200; i++) {
		struct vmbus_user_hello hello = line_hello(line->intruder->nic);
		struct fake_intruder *intruder = line->intruder;

		ret = line_ask(line, &hello, sizeof(hello));
		if (ret != EBUSY)
			break;
		line_close(line);
		if (!line_open(line, intruder))
			return LINE_HUNG_UP;
		line_wait(line);
	}
	return ret;
}

int line_give_state(struct line *line, uint32_t origin, int fd)
{
	struct vmbus_user_state message = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_STATE),
		.origin = cpu_to_le32(origin), .bytes = cpu_to_le64(sizeof(struct vmbus_state)),
	};

	return line_ask_fds(line, &message, sizeof(message), &fd, fd >= 0);
}

int line_add_region(struct line *line, uint32_t region, uint64_t gpa, uint64_t bytes, int fd)
{
	struct vmbus_user_region_add message = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_REGION_ADD),
		.region = cpu_to_le32(region), .gpa = cpu_to_le64(gpa), .bytes = cpu_to_le64(bytes),
	};

	return line_ask_fds(line, &message, sizeof(message), &fd, fd >= 0);
}

int line_add_gpadl(struct line *line, uint32_t id, uint64_t gpa, uint32_t bytes)
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

	return line_ask(line, &message, sizeof(message));
}

int line_open_channel(struct line *line, uint32_t serial, uint32_t flags)
{
	struct vmbus_user_open message = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_OPEN), .relid = cpu_to_le32(5),
		.gpadl = cpu_to_le32(1), .h2g_page = cpu_to_le32(2),
		.open_serial = cpu_to_le32(serial), .flags = cpu_to_le32(flags),
		.vmbus_version = cpu_to_le32(0x50003),
		.monitor_id = cpu_to_le32(VMBUS_USER_NO_MONITOR),
		.target = { .mode = cpu_to_le32(VMBUS_USER_MODE_DIRECT), .flag = cpu_to_le32(5),
			    .gpa = cpu_to_le64(LINE_FLAGS), .sint = cpu_to_le32(2) },
	};
	const int fds[2] = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) };
	int ret = line_ask_fds(line, &message, sizeof(message), fds, 2);

	close(fds[0]);
	if (line->bell >= 0)
		close(line->bell);
	line->bell = fds[1];
	return ret;
}

int line_close_channel(struct line *line)
{
	struct vmbus_user_close message = { .header.type =
						    cpu_to_le16(VMBUS_USER_TYPE_CLOSE) };

	return line_ask(line, &message, sizeof(message));
}

int line_attach(struct line *line, bool sealed)
{
	int ret = line_say_hello(line);

	line->ram = line_memory(LINE_RAM_BYTES, sealed);
	line->state = line_memory(sizeof(struct vmbus_state), true);
	ret = ret ? ret : line_give_state(line, VMBUS_USER_NEW, line->state);
	ret = ret ? ret : line_add_region(line, 0, 0, LINE_RAM_BYTES, line->ram);
	ret = ret ? ret : line_ask_plain(line, VMBUS_USER_TYPE_START);
	ret = ret ? ret : line_add_gpadl(line, 1, LINE_RINGS, 4 * 4096);
	return ret ? ret : line_open_channel(line, 1, 0);
}
