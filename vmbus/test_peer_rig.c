// SPDX-License-Identifier: Apache-2.0
#include "vmbus/test_peer_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

struct rig rig;
static int record(const char *what)
{
	size_t n = strlen(rig.calls);

	snprintf(rig.calls + n, sizeof(rig.calls) - n, "%s ", what);
	return rig.fails ? -rig.fails : rig.later ? VMBUS_PEER_LATER : 0;
}

static int record_fd(const char *what, int *keep, int fd)
{
	int ret = record(what);

	if (ret >= 0) {
		if (*keep >= 0)
			close(*keep);
		*keep = fd;
	}
	return ret;
}

static int on_state(void *arg, struct vmbus_state *state, enum vmbus_user_origin origin,
		    uint32_t *n_granted, struct err *err)
{
	*n_granted = rig.restored;
	return rig.fails ? err_set(err, rig.fails, "no") : record("state") < 0 ? -1 : 0;
}

static int on_memory(void *arg, const struct guest_memory *memory, bool wait)
{
	int ret = record(wait ? "memory-" : "memory+");

	if (ret >= 0) {
		free((void *)(uintptr_t)rig.memory);
		rig.memory = memory;
	}
	return ret;
}

static int on_gpadl_gone(void *arg, const struct vmbus_peer_gpadl *gpadl) { return record("gone"); }

static int on_open(void *arg, const struct vmbus_peer_open *open, struct err *err)
{
	int ret = record("open");

	if (ret < 0)
		return err_set(err, -ret, "the device will not");
	rig.in = open->in;
	rig.out = open->out;
	if (rig.guest_fd >= 0)
		close(rig.guest_fd);
	rig.guest_fd = open->guest_fd;
	if (rig.bell.fd >= 0)
		close(rig.bell.fd);
	rig.bell = open->bell;
	return ret;
}

static int on_close(void *arg, uint32_t channel) { return record(channel ? "close" : "close0"); }

static int on_target(void *arg, uint32_t channel, const struct vmbus_bell *bell, struct err *err)
{
	int fd = rig.bell.fd, ret = record_fd("target", &fd, bell->fd);

	if (ret < 0)
		return err_set(err, -ret, "the device will not");
	rig.bell = *bell;
	return ret;
}

static int on_monitor(void *arg, struct vmbus_monitor_page *page, uint64_t gpa)
{
	rig.page = page;
	return record("monitor");
}

static int on_start(void *arg, struct vmbus_peer_recovery *out, struct err *err)
{
	*out = (struct vmbus_peer_recovery){ 3, 65 };
	return rig.fails ? err_set(err, rig.fails, "the state memory does not fit")
			 : record("start");
}

static int on_pause(void *arg, struct err *err) { return record("pause"); }
static int on_resume(void *arg, struct err *err) { return record("resume"); }
static int on_save(void *arg, struct err *err) { return record("save"); }

static int on_dirty(void *arg, const struct vmbus_dirty *dirty)
{
	rig.dirty = *dirty;
	return record("dirty");
}

static int on_reset(void *arg) { return record("reset"); }
static void on_granted(void *arg, uint32_t n) { rig.n_granted = n; }

static const struct vmbus_peer_ops ops = {
	.state = on_state, .memory = on_memory, .gpadl_gone = on_gpadl_gone, .open = on_open,
	.close = on_close, .target = on_target, .monitor = on_monitor, .start = on_start,
	.pause = on_pause, .resume = on_resume, .save = on_save, .dirty = on_dirty,
	.reset = on_reset, .granted = on_granted,
};

static int on_hello(void *arg, const struct vmbus_peer_hello *hello,
		    struct vmbus_peer_welcome *welcome, struct err *err)
{
	if (strcmp(hello->name, "web0") != 0)
		return err_set(err, ENOENT, "nobody has this name");
	if (rig.fails)
		return err_set(err, rig.fails, "no");
	*welcome = (struct vmbus_peer_welcome){
		.ops = &ops, .dead = &rig.dead, .instance = 0x1122334455667788, .max_channels = 64,
		.guid = { 0x6e, 0xbb, 0xd5, 0x9f, 0xa1, 0x4e, 0x51, 0x4f, 0x92, 0x31, 0, 0x15, 0x5d,
			  0, 0, 1 },
	};
	return 0;
}

static int on_send(void *arg, const void *message, uint32_t bytes)
{
	if (rig.full)
		return -EAGAIN;
	memcpy(rig.sent, message, bytes);
	rig.sent_bytes = bytes;
	rig.n_sent++;
	return 0;
}

int rig_memfd(uint64_t bytes, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
	assert_true(fcntl(fd, F_ADD_SEALS, seals) == 0);
	return fd;
}

int rig_count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int rig_setup(void **state)
{
	const struct vmbus_peer_cfg cfg = { on_hello, on_send, NULL };

	rig = (struct rig){ .features = 0x1f, .guest_fd = -1, .bell.fd = -1, .n_granted = ~0u };
	rig.n_fds = rig_count_fds();
	rig.ram = rig_memfd(RAM_BYTES, F_SEAL_SHRINK);
	rig.state = rig_memfd(sizeof(struct vmbus_state), F_SEAL_SHRINK | F_SEAL_GROW);
	for (int i = 0; i < 2; i++)
		rig.bells[i] = eventfd(0, EFD_CLOEXEC);
	return vmbus_peer_create(&cfg, &rig.peer);
}

int rig_teardown(void **state)
{
	int fds[] = { rig.ram, rig.state, rig.bells[0], rig.bells[1], rig.guest_fd, rig.bell.fd };

	vmbus_peer_destroy(rig.peer);
	free((void *)(uintptr_t)rig.memory);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return rig_count_fds() != rig.n_fds; // whatever was sent, no descriptor stays
}

// Feeds one datagram with copies of fds[n]. True: the connection lives.
bool rig_feed(const void *message, uint32_t bytes, const int *fds, uint32_t n)
{
	struct vmbus_user_datagram datagram = { .bytes = bytes, .n_fds = n };

	memcpy(datagram.message, message, bytes);
	for (uint32_t i = 0; i < n; i++)
		datagram.fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
	rig.hung_up = vmbus_peer_receive(rig.peer, &datagram) < 0;
	return !rig.hung_up;
}

int rig_last_status(void)
{
	const struct vmbus_user_reply *reply = (const void *)rig.sent;

	assert_int_equal(le16_to_cpu(reply->header.flags), VMBUS_USER_REPLY);
	assert_int_equal(le32_to_cpu(reply->header.serial), rig.serial);
	assert_int_equal(le32_to_cpu(reply->reserved), 0);
	return (int)le32_to_cpu(reply->status);
}

// Sends a request, whose header is filled here. Returns the status of its reply.
int rig_ask(enum vmbus_user_type type, void *message, uint32_t bytes, const int *fds, uint32_t n)
{
	struct vmbus_user_header *header = message;
	uint32_t before = rig.n_sent;
	bool alive;

	header->type = cpu_to_le16(type);
	header->serial = cpu_to_le32(++rig.serial);
	alive = rig_feed(message, bytes, fds, n);
	if (rig.n_sent == before)
		return alive ? SILENT : HUNG_UP;
	if (!alive && le16_to_cpu(((struct vmbus_user_header *)rig.sent)->flags) == 0)
		return HUNG_UP;
	assert_memory_equal(rig.sent, header, 2);
	return rig_last_status();
}

// --- messages that are right -------------------------------------------------------------------

struct vmbus_user_hello a_hello(void)
{
	return (struct vmbus_user_hello){
		.magic = cpu_to_le32(VMBUS_USER_MAGIC), .version_min = cpu_to_le16(1),
		.version_max = cpu_to_le16(1), .features = cpu_to_le64(rig.features),
		.name = "web0",
	};
}

struct vmbus_user_state a_state(enum vmbus_user_origin origin)
{
	return (struct vmbus_user_state){ .origin = cpu_to_le32(origin),
					  .bytes = cpu_to_le64(sizeof(struct vmbus_state)) };
}

struct vmbus_user_region_add a_region(uint32_t number, uint64_t gpa, uint64_t bytes)
{
	return (struct vmbus_user_region_add){ .region = cpu_to_le32(number),
					       .gpa = cpu_to_le64(gpa),
					       .bytes = cpu_to_le64(bytes) };
}

// One run of n pages from LOW + page × 4096 on.
struct gpadl_message a_gpadl(uint32_t id, uint32_t channel, uint32_t page, uint32_t n)
{
	return (struct gpadl_message){
		.head = { .gpadl = cpu_to_le32(id), .flags = cpu_to_le32(3),
			  .bytes = cpu_to_le64(n * 4096ull), .n_runs = cpu_to_le32(1),
			  .channel = cpu_to_le32(channel) },
		.runs = { { .gpa = cpu_to_le64(LOW + page * 4096ull),
			    .bytes = cpu_to_le32(n * 4096) } },
	};
}

int rig_ask_gpadl(struct gpadl_message *m)
{
	return rig_ask(VMBUS_USER_TYPE_GPADL, m,
		   (uint32_t)(sizeof(m->head) + le32_to_cpu(m->head.n_runs) * sizeof(m->runs[0])),
		   NULL, 0);
}

struct vmbus_user_open an_open(uint32_t channel, uint32_t gpadl)
{
	return (struct vmbus_user_open){
		.channel = cpu_to_le32(channel), .relid = cpu_to_le32(5 + channel),
		.gpadl = cpu_to_le32(gpadl), .h2g_page = cpu_to_le32(4),
		.open_serial = cpu_to_le32(1), .vmbus_version = cpu_to_le32(0x50003),
		.monitor_id = cpu_to_le32(VMBUS_USER_NO_MONITOR),
		.target = { .mode = cpu_to_le32(VMBUS_USER_MODE_DIRECT), .flag = cpu_to_le32(70),
			    .gpa = cpu_to_le64(LOW + 512) },
	};
}

struct vmbus_user_set_target a_target(uint32_t channel)
{
	return (struct vmbus_user_set_target){
		.channel = cpu_to_le32(channel),
		.target = { .mode = cpu_to_le32(VMBUS_USER_MODE_CALL) },
	};
}

void rig_hello(void)
{
	struct vmbus_user_hello m = a_hello();

	assert_int_equal(ASK(HELLO, m), 0);
}

void rig_load(void)
{
	struct vmbus_user_region_add ram = a_region(1, LOW, RAM_BYTES);
	struct gpadl_message rings = a_gpadl(RINGS, 0, 16, 8);
	struct gpadl_message buffer = a_gpadl(BUFFER, 0, 100, 64);

	assert_int_equal(ASK_FDS(REGION_ADD, ram, rig.ram), 0);
	assert_int_equal(rig_ask_gpadl(&rings), 0);
	assert_int_equal(rig_ask_gpadl(&buffer), 0);
}

int rig_ask_plain(enum vmbus_user_type type)
{
	struct vmbus_user_plain m = {};

	return rig_ask(type, &m, sizeof(m), NULL, 0);
}

// Brings a new connection there, with memory and GPADLs, but without any channel.
void rig_bring_to(enum stage stage)
{
	if (stage >= LOADING) {
		struct vmbus_user_state m = a_state(VMBUS_USER_NEW);

		rig_hello();
		if (rig.features & VMBUS_USER_STATE)
			assert_int_equal(ASK_FDS(STATE, m, rig.state), 0);
		rig_load();
	}
	if (stage >= SERVING)
		assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_START), 0);
	if (stage >= PAUSED)
		assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_PAUSE), 0);
	rig.calls[0] = '\0';
}

void rig_open_channel_0(void)
{
	struct vmbus_user_open m = an_open(0, RINGS);

	assert_int_equal(ASK_FDS(OPEN, m, rig.bells[0], rig.bells[1]), 0);
}

void rig_restart(void)
{
	void *none = NULL;

	assert_int_equal(rig_teardown(&none), 0);
	assert_int_equal(rig_setup(&none), 0);
}
// Sends a right message of that type, for a thing that is there (or not yet).
int rig_ask_right(enum vmbus_user_type type)
{
	struct vmbus_user_hello hello_message = a_hello();
	struct vmbus_user_state state = a_state(VMBUS_USER_NEW);
	struct vmbus_user_region_add add = a_region(2, ROM, 4096);
	struct vmbus_user_region_del del = { .region = cpu_to_le32(2) };
	struct gpadl_message gpadl = a_gpadl(0x3003, 0, 200, 2);
	struct vmbus_user_gpadl_teardown gone = { .gpadl = cpu_to_le32(BUFFER) };
	struct vmbus_user_open open = an_open(0, RINGS);
	struct vmbus_user_set_target target = a_target(0);
	struct vmbus_user_monitor monitor = { .flags = cpu_to_le32(1),
					      .to_host_gpa = cpu_to_le64(LOW) };
	struct vmbus_user_dirty_log log = {};
	struct vmbus_user_close close_message = {};

	switch (type) {
	case VMBUS_USER_TYPE_HELLO: return ASK(HELLO, hello_message);
	case VMBUS_USER_TYPE_STATE: return ASK_FDS(STATE, state, rig.state);
	case VMBUS_USER_TYPE_REGION_ADD: return ASK_FDS(REGION_ADD, add, rig.ram);
	case VMBUS_USER_TYPE_REGION_DEL:
		if (vmbus_peer_ready(rig.peer))
			ASK_FDS(REGION_ADD, add, rig.ram);
		return ASK(REGION_DEL, del);
	case VMBUS_USER_TYPE_GPADL: return rig_ask_gpadl(&gpadl);
	case VMBUS_USER_TYPE_GPADL_TEARDOWN: return ASK(GPADL_TEARDOWN, gone);
	case VMBUS_USER_TYPE_OPEN: return ASK_FDS(OPEN, open, rig.bells[0], rig.bells[1]);
	case VMBUS_USER_TYPE_CLOSE: return ASK(CLOSE, close_message);
	case VMBUS_USER_TYPE_TARGET:
		ASK_FDS(OPEN, open, rig.bells[0], rig.bells[1]);
		return ASK_FDS(TARGET, target, rig.bells[1]);
	case VMBUS_USER_TYPE_MONITOR: return ASK(MONITOR, monitor);
	case VMBUS_USER_TYPE_DIRTY_LOG: return ASK(DIRTY_LOG, log);
	default: return rig_ask_plain(type);
	}
}
