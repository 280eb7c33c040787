// SPDX-License-Identifier: Apache-2.0
// The switch's end of a connection: every row of docs/vmbus-user.md, sections 2.3 and 3, what a
// hostile VMM may do (section 10), and the bytes of section 12. The device is a recorder.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmbus/mapping.h"
#include "vmbus/peer.h"

#define RAM_BYTES (16u << 20)
#define LOW 0x100000u   // where RAM begins
#define ROM 0x8000000u  // a region that may not be written
#define HUNG_UP (-1)    // what `ask` returns then
#define SILENT (-2)     // … if nothing was answered

// --- the rig -----------------------------------------------------------------------------------

static struct rig {
	struct vmbus_peer *peer;
	char calls[256];   // of the device, a word each
	bool later;        // the device finishes later
	int fails;         // the device refuses, errno
	bool full;         // the socket has no room
	uint64_t features; // that the VMM offers
	uint32_t serial;   // of the last request
	uint32_t n_sent;   // messages the peer has sent
	uint32_t sent_bytes;
	uint8_t sent[4096]; // the last of them
	bool dead;
	bool hung_up;
	int guest_fd;
	struct vmbus_bell bell;
	struct vmbus_ring in, out;
	struct vmbus_dirty dirty;
	struct vmbus_monitor_page *page;
	const struct guest_memory *memory;
	uint32_t n_granted; // by the VMM; ~0: not answered
	uint32_t restored;  // grants that the state memory tells of
	int ram, state, bells[2];
} rig;

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

static int on_monitor(void *arg, struct vmbus_monitor_page *page)
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

static int make_memfd(uint64_t bytes, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
	assert_true(fcntl(fd, F_ADD_SEALS, seals) == 0);
	return fd;
}

static int n_fds_open(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int fds_before;

static int setup(void **state)
{
	const struct vmbus_peer_cfg cfg = { on_hello, on_send, NULL };

	fds_before = n_fds_open();
	rig = (struct rig){ .features = 0x1f, .guest_fd = -1, .bell.fd = -1, .n_granted = ~0u };
	rig.ram = make_memfd(RAM_BYTES, F_SEAL_SHRINK);
	rig.state = make_memfd(sizeof(struct vmbus_state), F_SEAL_SHRINK | F_SEAL_GROW);
	for (int i = 0; i < 2; i++)
		rig.bells[i] = eventfd(0, EFD_CLOEXEC);
	return vmbus_peer_create(&cfg, &rig.peer);
}

static int teardown(void **state)
{
	int fds[] = { rig.ram, rig.state, rig.bells[0], rig.bells[1], rig.guest_fd, rig.bell.fd };

	vmbus_peer_destroy(rig.peer);
	free((void *)(uintptr_t)rig.memory);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return n_fds_open() != fds_before; // whatever was sent, no descriptor stays
}

// Feeds one datagram with copies of fds[n]. True: the connection lives.
static bool feed(const void *message, uint32_t bytes, const int *fds, uint32_t n)
{
	struct vmbus_user_datagram datagram = { .bytes = bytes, .n_fds = n };

	memcpy(datagram.message, message, bytes);
	for (uint32_t i = 0; i < n; i++)
		datagram.fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
	rig.hung_up = vmbus_peer_receive(rig.peer, &datagram) < 0;
	return !rig.hung_up;
}

static int last_status(void)
{
	const struct vmbus_user_reply *reply = (const void *)rig.sent;

	assert_int_equal(le16_to_cpu(reply->header.flags), VMBUS_USER_REPLY);
	assert_int_equal(le32_to_cpu(reply->header.serial), rig.serial);
	assert_int_equal(le32_to_cpu(reply->reserved), 0);
	return (int)le32_to_cpu(reply->status);
}

// Sends a request, whose header is filled here. Returns the status of its reply.
static int ask(enum vmbus_user_type type, void *message, uint32_t bytes, const int *fds, uint32_t n)
{
	struct vmbus_user_header *header = message;
	uint32_t before = rig.n_sent;
	bool alive;

	header->type = cpu_to_le16(type);
	header->serial = cpu_to_le32(++rig.serial);
	alive = feed(message, bytes, fds, n);
	if (rig.n_sent == before)
		return alive ? SILENT : HUNG_UP;
	if (!alive && le16_to_cpu(((struct vmbus_user_header *)rig.sent)->flags) == 0)
		return HUNG_UP;
	assert_memory_equal(rig.sent, header, 2);
	return last_status();
}

#define ASK(type, message, ...)                                                                    \
	ask(VMBUS_USER_TYPE_##type, &(message), sizeof(message),                                   \
	    (const int[]){ __VA_ARGS__ __VA_OPT__(, ) -1 },                                        \
	    (uint32_t)(sizeof((const int[]){ __VA_ARGS__ __VA_OPT__(, ) -1 }) / sizeof(int) - 1))

// --- messages that are right -------------------------------------------------------------------

static struct vmbus_user_hello a_hello(void)
{
	return (struct vmbus_user_hello){
		.magic = cpu_to_le32(VMBUS_USER_MAGIC), .version_min = cpu_to_le16(1),
		.version_max = cpu_to_le16(1), .features = cpu_to_le64(rig.features),
		.name = "web0",
	};
}

static struct vmbus_user_state a_state(enum vmbus_user_origin origin)
{
	return (struct vmbus_user_state){ .origin = cpu_to_le32(origin),
					  .bytes = cpu_to_le64(sizeof(struct vmbus_state)) };
}

static struct vmbus_user_region_add a_region(uint32_t number, uint64_t gpa, uint64_t bytes)
{
	return (struct vmbus_user_region_add){ .region = cpu_to_le32(number),
					       .gpa = cpu_to_le64(gpa),
					       .bytes = cpu_to_le64(bytes) };
}

struct gpadl_message {
	struct vmbus_user_gpadl head;
	struct vmbus_user_run runs[VMBUS_USER_GPADL_MAX_RUNS];
};

// One run of n pages from LOW + page × 4096 on.
static struct gpadl_message a_gpadl(uint32_t id, uint32_t channel, uint32_t page, uint32_t n)
{
	return (struct gpadl_message){
		.head = { .gpadl = cpu_to_le32(id), .flags = cpu_to_le32(3),
			  .bytes = cpu_to_le64(n * 4096ull), .n_runs = cpu_to_le32(1),
			  .channel = cpu_to_le32(channel) },
		.runs = { { .gpa = cpu_to_le64(LOW + page * 4096ull),
			    .bytes = cpu_to_le32(n * 4096) } },
	};
}

static int ask_gpadl(struct gpadl_message *m)
{
	return ask(VMBUS_USER_TYPE_GPADL, m,
		   (uint32_t)(sizeof(m->head) + le32_to_cpu(m->head.n_runs) * sizeof(m->runs[0])),
		   NULL, 0);
}

static struct vmbus_user_open an_open(uint32_t channel, uint32_t gpadl)
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

static struct vmbus_user_set_target a_target(uint32_t channel)
{
	return (struct vmbus_user_set_target){
		.channel = cpu_to_le32(channel),
		.target = { .mode = cpu_to_le32(VMBUS_USER_MODE_CALL) },
	};
}

#define RINGS 0x1001u  // GPADL of channel 0's rings: pages 16 … 23
#define BUFFER 0x2002u // another one

enum stage { NEW, LOADING, SERVING, PAUSED };

static void hello(void)
{
	struct vmbus_user_hello m = a_hello();

	assert_int_equal(ASK(HELLO, m), 0);
}

static void load(void)
{
	struct vmbus_user_region_add ram = a_region(1, LOW, RAM_BYTES);
	struct gpadl_message rings = a_gpadl(RINGS, 0, 16, 8);
	struct gpadl_message buffer = a_gpadl(BUFFER, 0, 100, 64);

	assert_int_equal(ASK(REGION_ADD, ram, rig.ram), 0);
	assert_int_equal(ask_gpadl(&rings), 0);
	assert_int_equal(ask_gpadl(&buffer), 0);
}

static int ask_plain(enum vmbus_user_type type)
{
	struct vmbus_user_plain m = {};

	return ask(type, &m, sizeof(m), NULL, 0);
}

// Brings a new connection there, with memory and GPADLs, but without any channel.
static void bring_to(enum stage stage)
{
	if (stage >= LOADING) {
		struct vmbus_user_state m = a_state(VMBUS_USER_NEW);

		hello();
		if (rig.features & VMBUS_USER_STATE)
			assert_int_equal(ASK(STATE, m, rig.state), 0);
		load();
	}
	if (stage >= SERVING)
		assert_int_equal(ask_plain(VMBUS_USER_TYPE_START), 0);
	if (stage >= PAUSED)
		assert_int_equal(ask_plain(VMBUS_USER_TYPE_PAUSE), 0);
	rig.calls[0] = '\0';
}

static void open_channel_0(void)
{
	struct vmbus_user_open m = an_open(0, RINGS);

	assert_int_equal(ASK(OPEN, m, rig.bells[0], rig.bells[1]), 0);
}

static void restart(void)
{
	void *none = NULL;

	assert_int_equal(teardown(&none), 0);
	assert_int_equal(setup(&none), 0);
}

// --- section 2.3 -------------------------------------------------------------------------------

// Sends a right message of that type, for a thing that is there (or not yet).
static int ask_right(enum vmbus_user_type type)
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
	case VMBUS_USER_TYPE_STATE: return ASK(STATE, state, rig.state);
	case VMBUS_USER_TYPE_REGION_ADD: return ASK(REGION_ADD, add, rig.ram);
	case VMBUS_USER_TYPE_REGION_DEL:
		if (vmbus_peer_ready(rig.peer))
			ASK(REGION_ADD, add, rig.ram);
		return ASK(REGION_DEL, del);
	case VMBUS_USER_TYPE_GPADL: return ask_gpadl(&gpadl);
	case VMBUS_USER_TYPE_GPADL_TEARDOWN: return ASK(GPADL_TEARDOWN, gone);
	case VMBUS_USER_TYPE_OPEN: return ASK(OPEN, open, rig.bells[0], rig.bells[1]);
	case VMBUS_USER_TYPE_CLOSE: return ASK(CLOSE, close_message);
	case VMBUS_USER_TYPE_TARGET:
		ASK(OPEN, open, rig.bells[0], rig.bells[1]);
		return ASK(TARGET, target, rig.bells[1]);
	case VMBUS_USER_TYPE_MONITOR: return ASK(MONITOR, monitor);
	case VMBUS_USER_TYPE_DIRTY_LOG: return ASK(DIRTY_LOG, log);
	default: return ask_plain(type);
	}
}

static void each_state_takes_what_it_may(void **state)
{
	static const struct {
		enum vmbus_user_type type;
		int status[4];
	} rows[] = {
		{ VMBUS_USER_TYPE_HELLO, { 0, EALREADY, EALREADY, EALREADY } },
		{ VMBUS_USER_TYPE_STATE, { EPROTO, EBUSY, EBUSY, EBUSY } }, // came already
		{ VMBUS_USER_TYPE_REGION_ADD, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_REGION_DEL, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_GPADL, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_GPADL_TEARDOWN, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_OPEN, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_CLOSE, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_TARGET, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_MONITOR, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_START, { EPROTO, 0, EALREADY, EALREADY } },
		{ VMBUS_USER_TYPE_PAUSE, { EPROTO, EAGAIN, 0, 0 } },
		{ VMBUS_USER_TYPE_RESUME, { EPROTO, EAGAIN, 0, 0 } },
		{ VMBUS_USER_TYPE_SAVE, { EPROTO, EAGAIN, EAGAIN, 0 } },
		{ VMBUS_USER_TYPE_DIRTY_LOG, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_RESET, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_SUBCHANNELS, { EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP } },
		{ (enum vmbus_user_type)17, { EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP } },
		{ (enum vmbus_user_type)0, { EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (int s = NEW; s <= PAUSED; s++) {
			int status;

			restart();
			bring_to((enum stage)s);
			status = ask_right(rows[i].type);
			if (status != rows[i].status[s])
				fail_msg("type %d in state %d: %d, not %d", rows[i].type, s, status,
					 rows[i].status[s]);
			assert_false(rig.hung_up);
		}
}

static void pausing_twice_and_resuming_what_runs_do_nothing(void **state)
{
	bring_to(PAUSED);
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_PAUSE), 0);
	assert_string_equal(rig.calls, "");
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_RESUME), 0);
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_RESUME), 0);
	assert_string_equal(rig.calls, "resume ");
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_SAVE), EAGAIN);
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_PAUSE), 0);
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_SAVE), 0);
	assert_string_equal(rig.calls, "resume pause save ");
	assert_int_equal(rig.sent_bytes, 32);
	assert_int_equal(load_u64(rig.sent + 16), sizeof(struct vmbus_state));
	assert_int_equal(rig.sent[24], VMBUS_STATE_LAYOUT);
}

// --- framing -----------------------------------------------------------------------------------

static void wrong_sizes_end_the_connection(void **state)
{
	static const uint16_t sizes[] = { [1] = 128, 24, 48, 16, 48, 16, 96, 16, 48, 32, 16, 16,
					  16, 16, 32, 16 };

	for (int type = 1; type < (int)ARRAY_SIZE(sizes); type++)
		for (int delta = -1; delta <= 1; delta += 2) {
			uint8_t message[256] = { (uint8_t)type };

			restart();
			if (type == VMBUS_USER_TYPE_GPADL)
				message[24] = 1;
			assert_false(feed(message, (uint32_t)(sizes[type] + delta), NULL, 0));
			assert_int_equal(rig.sent[0], VMBUS_USER_TYPE_LEAVING);
			assert_int_equal(rig.sent[8], VMBUS_USER_LEAVING_PROTOCOL);
		}
	for (uint32_t bytes = 1; bytes < 8; bytes++) {
		restart();
		assert_false(feed("\1\0\0\0\0\0\0", bytes, NULL, 0));
	}
	// n says nothing that the size does not: no sum of it wraps.
	restart();
	bring_to(LOADING);
	struct gpadl_message m = a_gpadl(9, 0, 0, 1);
	m.head.header.type = cpu_to_le16(VMBUS_USER_TYPE_GPADL);
	m.head.n_runs = cpu_to_le32(0x10000001);
	assert_false(feed(&m, sizeof(m.head) + sizeof(m.runs[0]), NULL, 0));
}

static void fields_that_must_be_zero_are(void **state)
{
	// Type, and the offset of a reserved byte of it.
	static const struct {
		enum vmbus_user_type type;
		uint8_t at, bytes;
	} rows[] = {
		{ VMBUS_USER_TYPE_STATE, 12, 24 },	  { VMBUS_USER_TYPE_REGION_ADD, 40, 48 },
		{ VMBUS_USER_TYPE_REGION_DEL, 12, 16 },	  { VMBUS_USER_TYPE_OPEN, 80, 96 },
		{ VMBUS_USER_TYPE_OPEN, 95, 96 },	  { VMBUS_USER_TYPE_OPEN, 79, 96 },
		{ VMBUS_USER_TYPE_CLOSE, 15, 16 },	  { VMBUS_USER_TYPE_TARGET, 12, 48 },
		{ VMBUS_USER_TYPE_TARGET, 40, 48 },	  { VMBUS_USER_TYPE_MONITOR, 12, 32 },
		{ VMBUS_USER_TYPE_START, 8, 16 },	  { VMBUS_USER_TYPE_RESET, 15, 16 },
		{ VMBUS_USER_TYPE_DIRTY_LOG, 12, 32 },	  { VMBUS_USER_TYPE_DIRTY_LOG, 31, 32 },
		{ VMBUS_USER_TYPE_REGION_ADD, 13, 48 },	  { VMBUS_USER_TYPE_MONITOR, 11, 32 },
		{ VMBUS_USER_TYPE_DIRTY_LOG, 9, 32 },	  { VMBUS_USER_TYPE_OPEN, 29, 96 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t m[128] = {};
		const int fds[] = { rig.ram };
		uint32_t n = rows[i].type == VMBUS_USER_TYPE_STATE ||
			     rows[i].type == VMBUS_USER_TYPE_REGION_ADD ||
			     rows[i].type == VMBUS_USER_TYPE_OPEN;

		restart();
		hello();
		m[rows[i].at] = 1;
		if (ask(rows[i].type, m, rows[i].bytes, fds, n) != EINVAL)
			fail_msg("row %zu", i);
	}
	for (int bit = 1; bit < 16; bit++) { // header flags
		struct vmbus_user_plain m = { .header.flags = cpu_to_le16(1 << bit) };

		restart();
		bring_to(LOADING);
		assert_int_equal(ASK(START, m), EINVAL);
	}
	restart();
	struct vmbus_user_hello m = a_hello();
	m.reserved = cpu_to_le64(1);
	assert_int_equal(ASK(HELLO, m), EINVAL);
}

static void a_thousand_failures_are_enough(void **state)
{
	bring_to(LOADING);
	for (int i = 0; i < 999; i++)
		assert_int_equal(ask_plain(VMBUS_USER_TYPE_PAUSE), EAGAIN);
	assert_int_equal(ask_right(VMBUS_USER_TYPE_CLOSE), 0);
	for (int i = 0; i < 999; i++)
		assert_int_equal(ask_plain(VMBUS_USER_TYPE_PAUSE), EAGAIN);
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_PAUSE), HUNG_UP);
}

static void a_full_socket_stops_everything(void **state)
{
	bring_to(SERVING);
	rig.full = true;
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_PAUSE), SILENT);
	assert_false(vmbus_peer_ready(rig.peer));
	assert_true(vmbus_peer_wants_room(rig.peer));
	assert_int_equal(vmbus_peer_flush(rig.peer), 0);
	assert_false(vmbus_peer_ready(rig.peer));
	vmbus_peer_channel_failed(rig.peer, 0, VMBUS_USER_FAILED_INDEX, "dropped");
	rig.full = false;
	assert_int_equal(vmbus_peer_flush(rig.peer), 0);
	assert_int_equal(last_status(), 0);
	assert_int_equal(rig.sent[0], VMBUS_USER_TYPE_PAUSE);
	assert_true(vmbus_peer_ready(rig.peer));
	assert_false(vmbus_peer_wants_room(rig.peer));
}

static void what_is_done_later_is_answered_later(void **state)
{
	static const enum vmbus_user_type types[] = {
		VMBUS_USER_TYPE_GPADL_TEARDOWN, VMBUS_USER_TYPE_OPEN, VMBUS_USER_TYPE_MONITOR,
		VMBUS_USER_TYPE_PAUSE, VMBUS_USER_TYPE_DIRTY_LOG, VMBUS_USER_TYPE_RESET,
	};
	const struct err no = { "it did not work" };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		for (int fails = 0; fails <= 1; fails++) {
			restart();
			bring_to(SERVING);
			rig.later = true;
			assert_int_equal(ask_right(types[i]), SILENT);
			assert_false(vmbus_peer_ready(rig.peer));
			assert_int_equal(vmbus_peer_done(rig.peer, fails ? -ENOMEM : 0, &no), 0);
			assert_int_equal(last_status(), fails ? ENOMEM : 0);
			assert_true(vmbus_peer_ready(rig.peer));
			rig.later = false;
			// A failed request might as well not have been sent.
			if (types[i] == VMBUS_USER_TYPE_OPEN)
				assert_int_equal(ask_right(types[i]), fails ? 0 : EEXIST);
			if (types[i] == VMBUS_USER_TYPE_GPADL_TEARDOWN)
				assert_int_equal(ask_right(types[i]), fails ? 0 : ENOENT);
		}
}

// --- section 3.1 -------------------------------------------------------------------------------

static void hello_is_checked(void **state)
{
	struct vmbus_user_hello right = a_hello(), m;
	static const char *const bad_names[] = { "", "\xff", "a\xc0\x80", "\xed\xa0\x80", "a\xc3",
						 "\xf4\x90\x80\x80", "\xe0\x80\x80" };

	m = right; m.magic = cpu_to_le32(1);
	assert_int_equal(ASK(HELLO, m), EINVAL);
	assert_true(rig.hung_up);
	restart();
	m = right; m.version_min = cpu_to_le16(2); m.version_max = cpu_to_le16(1);
	assert_int_equal(ASK(HELLO, m), EINVAL);
	restart();
	m = right; m.version_min = m.version_max = cpu_to_le16(2);
	assert_int_equal(ASK(HELLO, m), EPROTONOSUPPORT);
	assert_non_null(strstr((char *)rig.sent + 16, "1 to 1"));
	restart();
	m = right; m.version_min = cpu_to_le16(0); m.version_max = cpu_to_le16(9);
	assert_int_equal(ASK(HELLO, m), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++) {
		restart();
		m = right;
		memset(m.name, 0, sizeof(m.name));
		memcpy(m.name, bad_names[i], strlen(bad_names[i]));
		assert_int_equal(ASK(HELLO, m), EINVAL);
	}
	restart();
	m = right; m.name[40] = 'x';
	assert_int_equal(ASK(HELLO, m), EINVAL);
	restart();
	memset(m.name, 'x', sizeof(m.name));
	assert_int_equal(ASK(HELLO, m), ENOENT);
	restart();
	rig.fails = EBUSY;
	assert_int_equal(ASK(HELLO, right), EBUSY);
	assert_true(rig.hung_up);
	restart();
	assert_int_equal(ASK(HELLO, right, rig.ram), EINVAL); // a descriptor nobody asked for
}

static void features_that_were_not_agreed_on_do_not_exist(void **state)
{
	struct vmbus_user_open with_id = an_open(0, RINGS), direct = an_open(0, RINGS);

	rig.features = 0;
	bring_to(LOADING);
	assert_int_equal(ask_right(VMBUS_USER_TYPE_STATE), EOPNOTSUPP);
	assert_int_equal(ask_right(VMBUS_USER_TYPE_MONITOR), EOPNOTSUPP);
	assert_int_equal(ask_right(VMBUS_USER_TYPE_DIRTY_LOG), EOPNOTSUPP);
	assert_int_equal(ASK(OPEN, direct, rig.bells[0], rig.bells[1]), EOPNOTSUPP);
	with_id.target = (struct vmbus_user_target){ .mode = cpu_to_le32(1) };
	with_id.monitor_id = cpu_to_le32(3);
	assert_int_equal(ASK(OPEN, with_id, rig.bells[0], rig.bells[1]), EOPNOTSUPP);
	with_id.monitor_id = cpu_to_le32(VMBUS_USER_NO_MONITOR);
	assert_int_equal(ASK(OPEN, with_id, rig.bells[0], rig.bells[1]), 0);
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_START), 0);
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_PAUSE), 0);
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_SAVE), EOPNOTSUPP);
	assert_int_equal(vmbus_peer_ask_channels(rig.peer, 3), -EOPNOTSUPP);
}

// --- section 3.2 -------------------------------------------------------------------------------

static void state_memory_is_checked(void **state)
{
	struct vmbus_user_state m = a_state(VMBUS_USER_NEW);
	struct vmbus_state_header header;

	hello();
	m.bytes = cpu_to_le64(4096);
	assert_int_equal(ASK(STATE, m, rig.state), EINVAL);
	m = a_state((enum vmbus_user_origin)3);
	assert_int_equal(ASK(STATE, m, rig.state), EINVAL);
	m = a_state(VMBUS_USER_NEW);
	assert_int_equal(ASK(STATE, m, rig.ram), EPERM);
	assert_int_equal(ASK(STATE, m, rig.bells[0]), EINVAL);
	m = a_state(VMBUS_USER_KEPT);
	assert_int_equal(ASK(STATE, m, rig.state), EINVAL); // nothing was kept in it
	m = a_state(VMBUS_USER_NEW);
	rig.fails = EINVAL;
	assert_int_equal(ASK(STATE, m, rig.state), EINVAL);
	rig.fails = 0;
	assert_int_equal(pread(rig.state, &header, sizeof(header), 0), sizeof(header));
	assert_int_equal(le64_to_cpu(header.magic), 0);
	assert_int_equal(ASK(STATE, m, rig.state), 0);
	assert_int_equal(pread(rig.state, &header, sizeof(header), 0), sizeof(header));
	assert_memory_equal(&header, "WEFTNIC1\1\0\0\0\0\x50\x0e\0\x6e\xbb", 18);
	assert_int_equal(le64_to_cpu(header.instance), 0x1122334455667788);
	assert_int_equal(le64_to_cpu(header.n_adopted), 1);
	assert_int_equal(ASK(STATE, m, rig.state), EBUSY);
}

static void kept_state_memory_is_taken_up_or_refused(void **state)
{
	// What is changed in a good header: offset and value of a byte.
	static const struct {
		uint8_t at, value;
		int status;
	} rows[] = {
		{ 0, 'W', 0 }, { 0, 'w', EINVAL }, { 8, 2, EINVAL }, { 13, 0, EINVAL },
		{ 16, 0, EINVAL }, { 31, 9, EINVAL }, { 32, 9, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vmbus_user_state first = a_state(VMBUS_USER_NEW);
		struct vmbus_user_state again = a_state(VMBUS_USER_KEPT);
		int fd;

		restart();
		hello();
		assert_int_equal(ASK(STATE, first, rig.state), 0);
		fd = rig.state;
		rig.state = -1; // outlives the connection
		fds_before++;
		restart();
		close(rig.state);
		rig.state = fd;
		hello();
		assert_int_equal(pwrite(fd, &rows[i].value, 1, rows[i].at), 1);
		assert_int_equal(ASK(STATE, again, fd), rows[i].status);
		fds_before--; // the one that was taken over is closed with this connection
	}
}

static void state_comes_before_any_open(void **state)
{
	struct vmbus_user_state m = a_state(VMBUS_USER_NEW);

	hello();
	load();
	open_channel_0();
	assert_int_equal(ASK(STATE, m, rig.state), EBUSY);
}

// --- section 3.3 -------------------------------------------------------------------------------

static void regions_are_checked(void **state)
{
	int p[2];
	const struct {
		uint32_t number;
		uint64_t gpa, bytes, offset;
		int *fd, status;
	} rows[] = {
		{ 1, ROM, 4096, 0, &rig.ram, EEXIST },
		{ 2, LOW + RAM_BYTES - 4096, 8192, 0, &rig.ram, EEXIST },
		{ 2, LOW, 4096, 0, &rig.ram, EEXIST },
		{ 2, ROM + 1, 4096, 0, &rig.ram, EINVAL },
		{ 2, ROM, 4095, 0, &rig.ram, EINVAL },
		{ 2, ROM, 0, 0, &rig.ram, EINVAL },
		{ 2, (1ull << 52) - 4096, 8192, 0, &rig.ram, EINVAL },
		{ 2, UINT64_MAX - 4095, 4096, 0, &rig.ram, EINVAL },
		{ 2, ROM, 4096, 2048, &rig.ram, EINVAL },
		{ 2, ROM, 4096, RAM_BYTES, &rig.ram, EINVAL },
		{ 2, ROM, RAM_BYTES, 4096, &rig.ram, EINVAL },
		{ 2, ROM, 1ull << 43, 0, &rig.ram, ENOSPC },
		{ 2, ROM, UINT64_MAX - 4095, 0, &rig.ram, ENOSPC },
		{ 2, ROM, 4096, 0, &rig.bells[0], EINVAL },
		{ 2, ROM, 4096, 0, &p[0], EINVAL },
		{ 2, ROM, 4096, 4096, &rig.ram, 0 },
	};

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	bring_to(SERVING);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vmbus_user_region_add m = a_region(rows[i].number, rows[i].gpa, rows[i].bytes);
		int status;

		m.offset = cpu_to_le64(rows[i].offset);
		status = ASK(REGION_ADD, m, *rows[i].fd);
		if (status != rows[i].status)
			fail_msg("row %zu: %d: %s", i, status, rig.sent + 16);
	}
	close(p[0]);
	close(p[1]);
	assert_int_equal(rig.memory->n_regions, 2);
	assert_string_equal(rig.calls, "memory+ ");
}

static void no_more_than_64_regions(void **state)
{
	bring_to(LOADING);
	for (uint32_t i = 1; i <= 64; i++) {
		struct vmbus_user_region_add m = a_region(1 + i, ROM + i * 8192, 4096);

		assert_int_equal(ASK(REGION_ADD, m, rig.ram), i < 64 ? 0 : ENOSPC);
	}
}

static void regions_in_use_stay(void **state)
{
	struct vmbus_user_region_del del = { .region = cpu_to_le32(1) };
	struct vmbus_user_gpadl_teardown gone = { .gpadl = cpu_to_le32(RINGS) };
	struct vmbus_user_region_add flags = a_region(2, ROM, 4096);
	struct gpadl_message begun = a_gpadl(7, 0, 0, 2);
	struct vmbus_user_open m = an_open(0, RINGS);
	struct vmbus_user_close closing = {};
	struct vmbus_user_monitor monitor = { .flags = cpu_to_le32(1),
					      .to_host_gpa = cpu_to_le64(ROM) };

	bring_to(SERVING);
	assert_int_equal(ASK(REGION_ADD, flags, rig.ram), 0);
	assert_int_equal(ASK(REGION_DEL, del), EBUSY);
	del.region = cpu_to_le32(3);
	assert_int_equal(ASK(REGION_DEL, del), ENOENT);
	del.region = cpu_to_le32(2);
	m.target.gpa = cpu_to_le64(ROM + 256);
	assert_int_equal(ASK(OPEN, m, rig.bells[0], rig.bells[1]), 0);
	assert_int_equal(ASK(REGION_DEL, del), EBUSY);
	assert_non_null(strstr((char *)rig.sent + 16, "doorbell"));
	assert_int_equal(ASK(CLOSE, closing), 0);
	assert_int_equal(ASK(MONITOR, monitor), 0);
	assert_int_equal(ASK(REGION_DEL, del), EBUSY);
	assert_non_null(strstr((char *)rig.sent + 16, "monitor"));
	monitor = (struct vmbus_user_monitor){};
	assert_int_equal(ASK(MONITOR, monitor), 0);
	assert_null(rig.page);
	begun.head.flags = cpu_to_le32(VMBUS_USER_GPADL_FIRST);
	begun.runs[0].gpa = cpu_to_le64(ROM);
	begun.runs[0].bytes = cpu_to_le32(4096);
	assert_int_equal(ask_gpadl(&begun), 0);
	assert_int_equal(ASK(REGION_DEL, del), EBUSY);
	assert_int_equal(ask_gpadl(&begun), EINVAL); // drops it
	assert_int_equal(ASK(REGION_DEL, del), 0);
	assert_int_equal(ASK(REGION_DEL, del), ENOENT);
	assert_int_equal(rig.memory->n_regions, 1);
	del.region = cpu_to_le32(1);
	assert_int_equal(ASK(GPADL_TEARDOWN, gone), 0);
	gone.gpadl = cpu_to_le32(BUFFER);
	assert_int_equal(ASK(GPADL_TEARDOWN, gone), 0);
	assert_int_equal(ASK(REGION_DEL, del), 0);
	assert_int_equal(rig.memory->n_regions, 0);
}

// --- section 3.4 -------------------------------------------------------------------------------

static void gpadls_are_checked(void **state)
{
	const struct {
		const char *what;
		uint32_t id, channel, flags, n;
		uint64_t bytes, gpa;
		uint32_t run_bytes;
		int status;
	} rows[] = {
		{ "in use", RINGS, 0, 3, 1, 4096, LOW, 4096, EEXIST },
		{ "of another channel", RINGS, 1, 3, 1, 4096, LOW, 4096, 0 },
		{ "no such channel", 5, 64, 3, 1, 4096, LOW, 4096, EINVAL },
		{ "not FIRST", 5, 0, 2, 1, 4096, LOW, 4096, EINVAL },
		{ "unknown flag", 5, 0, 7, 1, 4096, LOW, 4096, EINVAL },
		{ "no runs", 5, 0, 3, 0, 4096, LOW, 4096, EINVAL },
		{ "empty run", 5, 0, 3, 1, 4096, LOW, 0, EINVAL },
		{ "too much", 5, 0, 3, 1, 4096, LOW, 8192, EINVAL },
		{ "too little", 5, 0, 3, 1, 8192, LOW, 4096, EINVAL },
		{ "of no bytes", 5, 0, 3, 1, 0, LOW, 4096, EINVAL },
		{ "outside", 5, 0, 3, 1, 4096, LOW - 4096, 4096, EFAULT },
		{ "half outside", 5, 0, 3, 1, 8192, LOW + RAM_BYTES - 4096, 8192, EFAULT },
		{ "wraps", 5, 0, 3, 1, 8192, UINT64_MAX - 4095, 8192, EFAULT },
		{ "read-only", 5, 0, 3, 1, 4096, ROM, 4096, EFAULT },
		{ "33 MiB", 5, 0, 3, 1, 33ull << 20, LOW, 4096, ENOSPC },
		{ "2^40", 5, 0, 3, 1, 1ull << 40, LOW, 4096, ENOSPC },
		{ "odd bytes are fine", 5, 0, 3, 1, 33, LOW + 5, 33, 0 },
	};
	struct vmbus_user_region_add rom = a_region(2, ROM, 4096);

	bring_to(SERVING);
	rom.flags = cpu_to_le32(VMBUS_USER_REGION_READ_ONLY);
	assert_int_equal(ASK(REGION_ADD, rom, rig.ram), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct gpadl_message m = {
			.head = { .gpadl = cpu_to_le32(rows[i].id), .flags = cpu_to_le32(rows[i].flags),
				  .bytes = cpu_to_le64(rows[i].bytes),
				  .n_runs = cpu_to_le32(rows[i].n),
				  .channel = cpu_to_le32(rows[i].channel) },
			.runs = { { cpu_to_le64(rows[i].gpa), cpu_to_le32(rows[i].run_bytes) } },
		};
		int status = ask_gpadl(&m);

		if (status != rows[i].status)
			fail_msg("%s: %d: %s", rows[i].what, status, rig.sent + 16);
	}
}

static void a_gpadl_takes_as_many_messages_as_it_needs(void **state)
{
	const struct vmbus_peer_gpadl *gpadl;
	struct gpadl_message m = a_gpadl(5, 0, 0, 0);
	uint32_t n = 700; // runs, every other page: none are merged

	bring_to(SERVING);
	m.head.bytes = cpu_to_le64(n * 4096ull);
	for (uint32_t done = 0; done < n;) {
		uint32_t step = n - done < 254 ? n - done : 254;

		for (uint32_t i = 0; i < step; i++)
			m.runs[i] = (struct vmbus_user_run){
				.gpa = cpu_to_le64(LOW + 8192ull * (done + i)),
				.bytes = cpu_to_le32(4096) };
		m.head.n_runs = cpu_to_le32(step);
		m.head.flags = cpu_to_le32((done ? 0 : 1) | (done + step == n ? 2 : 0));
		assert_null(vmbus_peer_gpadl_find(rig.peer, 5, 0));
		assert_int_equal(ask_gpadl(&m), 0);
		done += step;
	}
	gpadl = vmbus_peer_gpadl_find(rig.peer, 5, 0);
	assert_non_null(gpadl);
	assert_int_equal(gpadl->runs.n, n);
	assert_int_equal(gpadl->runs.bytes, n * 4096);
	assert_int_equal(gpadl->runs.runs[699].gpa, LOW + 8192 * 699);
	assert_ptr_equal(gpadl->runs.runs[699].host - gpadl->runs.runs[0].host, 8192 * 699);
}

static void a_broken_sequence_of_a_gpadl_is_dropped(void **state)
{
	struct gpadl_message first = a_gpadl(5, 0, 0, 1), rest, other = a_gpadl(6, 0, 9, 1);

	bring_to(SERVING);
	first.head.flags = cpu_to_le32(VMBUS_USER_GPADL_FIRST);
	first.head.bytes = cpu_to_le64(8192);
	rest = first;
	rest.head.flags = cpu_to_le32(VMBUS_USER_GPADL_LAST);

	for (int change = 0; change < 4; change++) {
		struct gpadl_message wrong = rest;

		assert_int_equal(ask_gpadl(&first), 0);
		switch (change) {
		case 0: wrong.head.gpadl = cpu_to_le32(6); break;
		case 1: wrong.head.channel = cpu_to_le32(1); break;
		case 2: wrong.head.bytes = cpu_to_le64(4096); break;
		case 3: wrong = other; break;
		}
		assert_int_equal(ask_gpadl(&wrong), EINVAL);
		assert_int_equal(ask_gpadl(&rest), EINVAL); // nothing is left of it
	}
	assert_int_equal(ask_gpadl(&first), 0);
	assert_int_equal(ask_gpadl(&rest), 0);
	assert_int_equal(ask_gpadl(&other), 0);
}

static void runs_may_reach_over_regions(void **state)
{
	struct vmbus_user_region_add next = a_region(2, LOW + RAM_BYTES, 8192);
	struct gpadl_message m = a_gpadl(5, 0, RAM_BYTES / 4096 - 1, 2);
	const struct vmbus_peer_gpadl *gpadl;

	bring_to(SERVING);
	assert_int_equal(ASK(REGION_ADD, next, rig.ram), 0);
	assert_int_equal(ask_gpadl(&m), 0);
	gpadl = vmbus_peer_gpadl_find(rig.peer, 5, 0);
	assert_int_equal(gpadl->runs.bytes, 8192);
	gpadl->runs.runs[gpadl->runs.n - 1].host[gpadl->runs.runs[gpadl->runs.n - 1].bytes - 1] = 7;
	assert_int_equal(pread(rig.ram, m.runs, 1, 4095), 1); // the second region's first page
	assert_int_equal(*(uint8_t *)m.runs, 7);
}

static void gpadls_are_limited(void **state)
{
	struct gpadl_message m;

	bring_to(SERVING);
	for (uint32_t i = 2; i < 192; i++) {
		m = a_gpadl(i, 3, 0, 1);
		assert_int_equal(ask_gpadl(&m), 0);
	}
	m = a_gpadl(192, 3, 0, 1);
	assert_int_equal(ask_gpadl(&m), ENOSPC);

	restart();
	bring_to(SERVING);
	for (uint32_t i = 0; i < 1024 / 16; i++) { // of 16 MiB each; two small ones exist
		m = a_gpadl(i, 3, 0, RAM_BYTES / 4096);
		assert_int_equal(ask_gpadl(&m), i < 63 ? 0 : ENOSPC);
	}
}

static void runs_are_limited(void **state)
{
	struct gpadl_message m = a_gpadl(5, 0, 0, 0);
	int status = 0;

	bring_to(SERVING);
	m.head.bytes = cpu_to_le64(1 << 20);
	m.head.n_runs = cpu_to_le32(254);
	for (uint32_t i = 0; i < 254; i++)
		m.runs[i] = (struct vmbus_user_run){ .gpa = cpu_to_le64(LOW + 64ull * i),
						     .bytes = cpu_to_le32(1) };
	for (uint32_t i = 0; i < 33; i++) {
		assert_int_equal(status, 0);
		m.head.flags = cpu_to_le32(i == 0);
		status = ask_gpadl(&m);
	}
	assert_int_equal(status, ENOSPC); // 8192 / 254 = 32.3
}

// --- sections 3.5 to 3.7 -----------------------------------------------------------------------

// A changed byte of an OPEN that is right, and what comes of it.
static void opens_are_checked(void **state)
{
	static const struct {
		const char *what;
		uint8_t at, bytes;
		uint64_t value;
		int status;
	} rows[] = {
		{ "right", 16, 4, RINGS, 0 },
		{ "channel 64", 8, 4, 64, EINVAL },
		{ "sub-channel", 8, 4, 1, EPERM },
		{ "no such GPADL", 16, 4, 77, ENOENT },
		{ "h2g of 1 page", 20, 4, 7, EINVAL },
		{ "h2g of no page", 20, 4, 8, EINVAL },
		{ "h2g far outside", 20, 4, 0xffffffff, EINVAL },
		{ "g2h of 1 page", 20, 4, 1, EINVAL },
		{ "g2h of no page", 20, 4, 0, EINVAL },
		{ "smallest", 20, 4, 2, 0 },
		{ "serial 0", 24, 4, 0, EINVAL },
		{ "flag 2", 28, 4, 2, EINVAL },
		{ "monitor id 128", 36, 4, 128, EINVAL },
		{ "monitor id 127", 36, 4, 127, 0 },
		{ "mode 3", 48, 4, 3, EINVAL },
		{ "flag 0", 52, 4, 0, EINVAL },
		{ "flag 2048", 52, 4, 2048, EINVAL },
		{ "flag 2047", 52, 4, 2047, 0 },
		{ "flag area outside", 56, 8, LOW - 256, EFAULT },
		{ "flag area cut", 56, 8, LOW + RAM_BYTES, EFAULT },
		{ "flag area askew", 56, 8, LOW + 8, EINVAL },
		{ "flag area at the end", 56, 8, LOW + RAM_BYTES - 256, 0 },
		{ "CALL needs no area", 48, 4, 1, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vmbus_user_open m = an_open(0, RINGS);
		int status;

		restart();
		bring_to(SERVING);
		memcpy((uint8_t *)&m + rows[i].at, &rows[i].value, rows[i].bytes);
		status = ASK(OPEN, m, rig.bells[0], rig.bells[1]);
		if (status != rows[i].status)
			fail_msg("%s: %d: %s", rows[i].what, status, rig.sent + 16);
		assert_string_equal(rig.calls, status ? "" : "open ");
	}
}

static void descriptors_of_open_are_checked(void **state)
{
	struct vmbus_user_open direct = an_open(0, RINGS), none = an_open(0, RINGS);
	struct vmbus_user_close closing = {};
	uint8_t flags;
	int p[2];

	none.target = (struct vmbus_user_target){};
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	bring_to(SERVING);
	assert_int_equal(ASK(OPEN, direct), EINVAL);
	assert_int_equal(ASK(OPEN, direct, rig.bells[0]), EINVAL);
	assert_int_equal(ASK(OPEN, direct, rig.bells[0], rig.bells[1], rig.ram), EINVAL);
	assert_int_equal(ASK(OPEN, direct, rig.bells[0], rig.ram), EINVAL);
	assert_int_equal(ASK(OPEN, direct, rig.bells[0], p[1]), EINVAL);
	assert_int_equal(ASK(OPEN, direct, p[0], rig.bells[1]), EINVAL);
	assert_int_equal(ASK(OPEN, none, rig.bells[0], rig.bells[1]), EINVAL);
	rig.fails = ENOMEM;
	assert_int_equal(ASK(OPEN, direct, rig.bells[0], rig.bells[1]), ENOMEM);
	rig.fails = 0;
	assert_int_equal(ASK(OPEN, none, rig.bells[0]), 0);
	assert_int_equal(rig.bell.fd, -1);
	assert_int_equal(ASK(CLOSE, closing), 0);
	assert_int_equal(ASK(OPEN, direct, rig.bells[0], rig.bells[1]), 0);
	assert_int_equal(ASK(OPEN, direct, rig.bells[0], rig.bells[1]), EEXIST);
	assert_true(fcntl(rig.bell.fd, F_GETFL) & O_NONBLOCK);
	assert_true(vmbus_bell_ring(&rig.bell));
	assert_int_equal(pread(rig.ram, &flags, 1, 512 + 8), 1);
	assert_int_equal(flags, 1 << 6); // flag 70 is bit 6 of byte 8
	close(p[0]);
	close(p[1]);
}

static void rings_begin_as_they_must(void **state)
{
	// Offsets in the RAM of the four indices: g2h at page 16, h2g at page 20.
	static const uint32_t at[] = { 16 * 4096, 16 * 4096 + 4, 20 * 4096, 20 * 4096 + 4 };
	static const struct {
		uint32_t value;
		int fresh, resumed;
	} rows[] = { { 0, 0, 0 }, { 8, EINVAL, 0 }, { 3 * 4096 - 8, EINVAL, 0 },
		     { 3 * 4096, EINVAL, EINVAL }, { 12, EINVAL, EINVAL },
		     { 0xfffffff8, EINVAL, EINVAL } };

	for (size_t i = 0; i < ARRAY_SIZE(at); i++)
		for (size_t r = 0; r < ARRAY_SIZE(rows); r++)
			for (int resume = 0; resume <= 1; resume++) {
				struct vmbus_user_open m = an_open(0, RINGS);

				restart();
				bring_to(LOADING);
				assert_int_equal(pwrite(rig.ram, &rows[r].value, 4, at[i]), 4);
				m.flags = cpu_to_le32((uint32_t)resume);
				assert_int_equal(ASK(OPEN, m, rig.bells[0], rig.bells[1]),
						 resume ? rows[r].resumed : rows[r].fresh);
			}
}

static void rings_and_doorbells_hold_their_gpadl(void **state)
{
	struct vmbus_user_gpadl_teardown gone = { .gpadl = cpu_to_le32(RINGS) };
	struct vmbus_user_close closing = {};

	bring_to(SERVING);
	open_channel_0();
	assert_int_equal(ASK(GPADL_TEARDOWN, gone), EBUSY);
	gone.channel = cpu_to_le32(1);
	assert_int_equal(ASK(GPADL_TEARDOWN, gone), ENOENT);
	assert_int_equal(ASK(CLOSE, closing), 0);
	assert_int_equal(ASK(CLOSE, closing), 0); // of a closed channel: fine
	gone.channel = cpu_to_le32(0);
	assert_int_equal(ASK(GPADL_TEARDOWN, gone), 0);
	assert_string_equal(rig.calls, "open close0 gone ");
	closing.channel = cpu_to_le32(64);
	assert_int_equal(ASK(CLOSE, closing), EINVAL);
}

static void targets_are_checked(void **state)
{
	struct vmbus_user_set_target call = a_target(0), none = a_target(0), direct = a_target(0);
	struct vmbus_user_region_del del = { .region = cpu_to_le32(2) };
	struct vmbus_user_region_add area = a_region(2, ROM, 4096);

	bring_to(SERVING);
	assert_int_equal(ASK(TARGET, call, rig.bells[0]), ENOTCONN);
	open_channel_0();
	assert_int_equal(ASK(TARGET, call), EINVAL);
	assert_int_equal(ASK(TARGET, call, rig.ram), EINVAL);
	none.target.mode = cpu_to_le32(VMBUS_USER_MODE_NONE);
	assert_int_equal(ASK(TARGET, none, rig.bells[0]), EINVAL);
	assert_int_equal(ASK(TARGET, none), 0);
	direct.target.mode = cpu_to_le32(VMBUS_USER_MODE_DIRECT);
	direct.target.flag = cpu_to_le32(9);
	direct.target.gpa = cpu_to_le64(ROM);
	assert_int_equal(ASK(TARGET, direct, rig.bells[0]), EFAULT);
	assert_int_equal(ASK(REGION_ADD, area, rig.ram), 0);
	rig.fails = ENOMEM;
	assert_int_equal(ASK(TARGET, direct, rig.bells[0]), ENOMEM);
	rig.fails = 0;
	assert_int_equal(ASK(TARGET, direct, rig.bells[0]), 0);
	assert_int_equal(ASK(REGION_DEL, del), EBUSY);
	assert_int_equal(ASK(TARGET, call, rig.bells[0]), 0);
	assert_int_equal(ASK(REGION_DEL, del), 0);
	call.channel = cpu_to_le32(64);
	assert_int_equal(ASK(TARGET, call, rig.bells[0]), EINVAL);
}

static void monitor_and_dirty_log_are_checked(void **state)
{
	struct vmbus_user_monitor monitor = { .flags = cpu_to_le32(1),
					      .to_host_gpa = cpu_to_le64(LOW + 4096) };
	struct vmbus_user_dirty_log log = { .flags = cpu_to_le32(1), .bytes = cpu_to_le64(4096) };
	int bitmap = make_memfd(4096, F_SEAL_SHRINK | F_SEAL_GROW);

	bring_to(SERVING);
	assert_int_equal(ASK(MONITOR, monitor), 0);
	assert_ptr_equal(rig.page, rig.memory->regions[0].host + 4096);
	monitor.to_host_gpa = cpu_to_le64(LOW + 8);
	assert_int_equal(ASK(MONITOR, monitor), EINVAL);
	monitor.to_host_gpa = cpu_to_le64(ROM);
	assert_int_equal(ASK(MONITOR, monitor), EFAULT);
	monitor.flags = cpu_to_le32(0);
	assert_int_equal(ASK(MONITOR, monitor), EINVAL);

	assert_int_equal(ASK(DIRTY_LOG, log), EINVAL);
	assert_int_equal(ASK(DIRTY_LOG, log, rig.ram), EPERM);
	log.bytes = cpu_to_le64(4095);
	assert_int_equal(ASK(DIRTY_LOG, log, bitmap), EINVAL);
	log.bytes = cpu_to_le64(0);
	assert_int_equal(ASK(DIRTY_LOG, log, bitmap), EINVAL);
	log.bytes = cpu_to_le64(2048);
	assert_int_equal(ASK(DIRTY_LOG, log, bitmap), EINVAL);
	log.bytes = cpu_to_le64(4096);
	assert_int_equal(ASK(DIRTY_LOG, log, bitmap), 0);
	assert_int_equal(rig.dirty.n_pages, 32768);
	vmbus_dirty_mark(&rig.dirty, 4096 * 9, 1);
	assert_int_equal(ASK(DIRTY_LOG, log, bitmap), 0); // another one in its place
	assert_int_equal(rig.dirty.words[0], 1 << 9);
	log.flags = cpu_to_le32(0);
	assert_int_equal(ASK(DIRTY_LOG, log, bitmap), EINVAL);
	assert_int_equal(ASK(DIRTY_LOG, log), EINVAL);
	log.bytes = cpu_to_le64(0);
	assert_int_equal(ASK(DIRTY_LOG, log), 0);
	assert_null(rig.dirty.words);
	close(bitmap);
}

static void start_tells_what_was_recovered(void **state)
{
	bring_to(LOADING);
	rig.fails = EINVAL;
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_START), EINVAL);
	rig.fails = 0;
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_PAUSE), EAGAIN); // still loading
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_START), 0);
	assert_int_equal(rig.sent_bytes, 32);
	assert_int_equal(load_u64(rig.sent + 16), 3);
	assert_int_equal(load_u64(rig.sent + 24), 65);
}

static void reset_leaves_regions_only(void **state)
{
	struct vmbus_user_gpadl_teardown gone = { .gpadl = cpu_to_le32(BUFFER) };
	struct vmbus_user_region_del del = { .region = cpu_to_le32(1) };
	struct gpadl_message begun = a_gpadl(7, 0, 0, 2);
	struct vmbus_user_set_target target = a_target(0);

	bring_to(SERVING);
	open_channel_0();
	ask_right(VMBUS_USER_TYPE_MONITOR);
	begun.head.flags = cpu_to_le32(VMBUS_USER_GPADL_FIRST);
	begun.head.bytes = cpu_to_le64(16384);
	assert_int_equal(ask_gpadl(&begun), 0);
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_RESET), 0);
	assert_int_equal(ASK(TARGET, target, rig.bells[0]), ENOTCONN);
	assert_int_equal(ASK(GPADL_TEARDOWN, gone), ENOENT);
	assert_int_equal(rig.memory->n_regions, 1);
	assert_int_equal(ASK(REGION_DEL, del), 0);
	assert_int_equal(ask_plain(VMBUS_USER_TYPE_PAUSE), 0); // serving as before
}

// --- sections 3.10 and 3.11 --------------------------------------------------------------------

static bool answer_ask(uint32_t serial, uint32_t status, uint32_t n)
{
	struct vmbus_user_subchannels_reply m = {
		.head = { .header = { .type = cpu_to_le16(VMBUS_USER_TYPE_SUBCHANNELS),
				      .flags = cpu_to_le16(VMBUS_USER_REPLY),
				      .serial = cpu_to_le32(serial) },
			  .status = cpu_to_le32(status) },
		.n_granted = cpu_to_le32(n),
	};

	return feed(&m, status ? 16 : sizeof(m), NULL, 0);
}

// Asks for 4 and returns the serial of what was sent.
static uint32_t ask_for_4(void)
{
	const struct vmbus_user_subchannels *sent = (const void *)rig.sent;

	rig.n_granted = ~0u;
	assert_int_equal(vmbus_peer_ask_channels(rig.peer, 4), 0);
	assert_int_equal(rig.sent_bytes, 16);
	assert_int_equal(le16_to_cpu(sent->header.type), VMBUS_USER_TYPE_SUBCHANNELS);
	assert_int_equal(le16_to_cpu(sent->header.flags), 0);
	assert_int_equal(le32_to_cpu(sent->n_wanted), 4);
	return le32_to_cpu(sent->header.serial);
}

static int open_sub(uint32_t channel)
{
	struct vmbus_user_open m = an_open(channel, RINGS);
	struct gpadl_message rings = a_gpadl(RINGS, channel, 32 + 8 * channel, 8);

	if (!vmbus_peer_gpadl_find(rig.peer, RINGS, channel))
		assert_int_equal(ask_gpadl(&rings), 0);
	return ASK(OPEN, m, rig.bells[0], rig.bells[1]);
}

static void granted_channels_may_be_opened(void **state)
{
	struct vmbus_user_close closing = {};
	uint32_t serial;

	bring_to(SERVING);
	assert_int_equal(vmbus_peer_ask_channels(rig.peer, 4), -EBUSY); // channel 0 is closed
	open_channel_0();
	assert_int_equal(open_sub(1), EPERM);
	serial = ask_for_4();
	assert_int_equal(vmbus_peer_ask_channels(rig.peer, 4), -EBUSY);
	assert_true(answer_ask(serial + 1, 0, 4)); // to nothing
	assert_int_equal(rig.n_granted, ~0u);
	assert_true(answer_ask(serial, 0, 2));
	assert_int_equal(rig.n_granted, 2);
	assert_int_equal(open_sub(2), 0);
	assert_int_equal(open_sub(1), 0);
	assert_int_equal(open_sub(3), EPERM);
	assert_int_equal(vmbus_peer_ask_channels(rig.peer, 4), -EBUSY); // once in a life
	assert_int_equal(ASK(CLOSE, closing), 0);
	assert_int_equal(open_sub(1), EPERM);
	closing.channel = cpu_to_le32(1);
	assert_int_equal(ASK(CLOSE, closing), 0); // closed with channel 0
	open_channel_0();
	serial = ask_for_4();
	assert_true(answer_ask(serial, EBUSY, 0));
	assert_int_equal(rig.n_granted, 0);
}

static void grants_that_are_too_late_or_too_large_are_none(void **state)
{
	struct vmbus_user_close closing = {};
	uint32_t serial;

	bring_to(SERVING);
	open_channel_0();
	serial = ask_for_4();
	assert_int_equal(ASK(CLOSE, closing), 0);
	open_channel_0();
	assert_true(answer_ask(serial, 0, 4));
	assert_int_equal(rig.n_granted, ~0u);
	assert_int_equal(open_sub(1), EPERM);
	serial = ask_for_4();
	assert_true(answer_ask(serial, 0, 5));
	assert_int_equal(rig.n_granted, 0);
	assert_false(feed("\x80\0\1\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, NULL, 0));
}

static void an_ask_waits_for_room(void **state)
{
	bring_to(SERVING);
	open_channel_0();
	rig.full = true;
	assert_int_equal(vmbus_peer_ask_channels(rig.peer, 4), 0);
	assert_true(vmbus_peer_wants_room(rig.peer));
	assert_true(vmbus_peer_ready(rig.peer)); // requests are read meanwhile
	rig.full = false;
	assert_int_equal(vmbus_peer_flush(rig.peer), 0);
	assert_int_equal(rig.sent[0], VMBUS_USER_TYPE_SUBCHANNELS);
	assert_false(vmbus_peer_wants_room(rig.peer));
}

static void restored_grants_count(void **state)
{
	struct vmbus_user_state kept = a_state(VMBUS_USER_NEW);

	hello();
	rig.restored = 2;
	assert_int_equal(ASK(STATE, kept, rig.state), 0);
	load();
	open_channel_0();
	assert_int_equal(open_sub(2), 0);
	assert_int_equal(open_sub(3), EPERM);
}

static void notices_are_bytes_as_written(void **state)
{
	struct vmbus_user_leaving_notice want = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_CHANNEL_FAILED),
		.reason = cpu_to_le32(3), .back_in_ms = cpu_to_le32(2), .text = "the ring is broken",
	};

	bring_to(SERVING);
	vmbus_peer_channel_failed(rig.peer, 3, VMBUS_USER_FAILED_PACKET, "the ring is broken");
	assert_int_equal(rig.sent_bytes, sizeof(want));
	assert_memory_equal(rig.sent, &want, sizeof(want));
	want = (struct vmbus_user_leaving_notice){
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_LEAVING),
		.reason = cpu_to_le32(VMBUS_USER_LEAVING_RESTART),
	};
	memset(want.text, 'x', 63); // é would be cut in two
	vmbus_peer_leave(rig.peer, VMBUS_USER_LEAVING_RESTART, 0,
			 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\xc3\xa9");
	assert_memory_equal(rig.sent, &want, sizeof(want));
}

// --- section 12 --------------------------------------------------------------------------------

static void the_handshake_is_as_written(void **state)
{
	static const uint8_t reply[80] = {
		1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		1, 0, 0x40, 0, 0x40, 0, 0, 0, 0x15, 0, 0, 0, 0, 0, 0, 0,
		0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0, 0x50, 0x0e, 0, 0, 0, 0, 0,
		1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0x6e, 0xbb, 0xd5, 0x9f, 0xa1, 0x4e, 0x51, 0x4f, 0x92, 0x31, 0, 0x15, 0x5d, 0, 0, 1,
	};
	static const uint8_t plain[16] = { 2, 0, 1, 0, 2 };

	rig.features = 0x15;
	hello();
	assert_int_equal(rig.sent_bytes, sizeof(reply));
	assert_memory_equal(rig.sent, reply, sizeof(reply));
	assert_int_equal(ask_right(VMBUS_USER_TYPE_STATE), 0);
	assert_int_equal(rig.sent_bytes, sizeof(plain));
	assert_memory_equal(rig.sent, plain, sizeof(plain));
}

// --- section 10 --------------------------------------------------------------------------------

static void truncated_memory_is_met_with_zeros(void **state)
{
	struct vmbus_user_open m = an_open(0, RINGS);
	struct vmbus_user_region_add soft = a_region(2, ROM, 1 << 20);
	struct gpadl_message rings = a_gpadl(9, 0, 0, 8);
	int fd = make_memfd(1 << 20, 0);

	bring_to(SERVING);
	assert_int_equal(ASK(REGION_ADD, soft, fd), 0);
	rings.runs[0].gpa = cpu_to_le64(ROM);
	assert_int_equal(ask_gpadl(&rings), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	m.gpadl = cpu_to_le32(9);
	assert_false(rig.dead);
	assert_int_equal(vmbus_mapping_install(), 0); // in place of the test library's
	assert_int_equal(ASK(OPEN, m, rig.bells[0], rig.bells[1]), 0);
	assert_true(rig.dead);
	close(fd);
}

static void a_vmm_may_leave_at_any_time(void **state)
{
	for (int s = NEW; s <= PAUSED; s++)
		for (int n = 0; n < 6; n++) {
			static const enum vmbus_user_type types[] = {
				VMBUS_USER_TYPE_OPEN, VMBUS_USER_TYPE_REGION_ADD,
				VMBUS_USER_TYPE_GPADL, VMBUS_USER_TYPE_DIRTY_LOG,
				VMBUS_USER_TYPE_RESET, VMBUS_USER_TYPE_TARGET };

			restart();
			bring_to((enum stage)s);
			rig.later = true;
			if (s > NEW && types[n] != VMBUS_USER_TYPE_TARGET)
				ask_right(types[n]);
		}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_state_takes_what_it_may),
		TEST(pausing_twice_and_resuming_what_runs_do_nothing),
		TEST(wrong_sizes_end_the_connection),
		TEST(fields_that_must_be_zero_are),
		TEST(a_thousand_failures_are_enough),
		TEST(a_full_socket_stops_everything),
		TEST(what_is_done_later_is_answered_later),
		TEST(hello_is_checked),
		TEST(features_that_were_not_agreed_on_do_not_exist),
		TEST(state_memory_is_checked),
		TEST(kept_state_memory_is_taken_up_or_refused),
		TEST(state_comes_before_any_open),
		TEST(regions_are_checked),
		TEST(no_more_than_64_regions),
		TEST(regions_in_use_stay),
		TEST(gpadls_are_checked),
		TEST(a_gpadl_takes_as_many_messages_as_it_needs),
		TEST(a_broken_sequence_of_a_gpadl_is_dropped),
		TEST(runs_may_reach_over_regions),
		TEST(gpadls_are_limited),
		TEST(runs_are_limited),
		TEST(opens_are_checked),
		TEST(descriptors_of_open_are_checked),
		TEST(rings_begin_as_they_must),
		TEST(rings_and_doorbells_hold_their_gpadl),
		TEST(targets_are_checked),
		TEST(monitor_and_dirty_log_are_checked),
		TEST(start_tells_what_was_recovered),
		TEST(reset_leaves_regions_only),
		TEST(granted_channels_may_be_opened),
		TEST(grants_that_are_too_late_or_too_large_are_none),
		TEST(an_ask_waits_for_room),
		TEST(restored_grants_count),
		TEST(notices_are_bytes_as_written),
		TEST(the_handshake_is_as_written),
		TEST(truncated_memory_is_met_with_zeros),
		TEST(a_vmm_may_leave_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
