// SPDX-License-Identifier: Apache-2.0
// The client of vmbus-user against a switch that does what each test says, lies included. Both run
// in turns in one thread, over a real socket.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmbus/client.h"
#include "vmbus/state.h"
#include "vmbus/user_socket.h"

#define FEATURES                                                                                   \
	(VMBUS_USER_DIRECT | VMBUS_USER_MONITOR | VMBUS_USER_STATE | VMBUS_USER_DIRTY |            \
	 VMBUS_USER_SUBCHANNELS)
#define STATE_BYTES ((uint32_t)sizeof(struct vmbus_state))
#define OK 0

static const uint8_t guid[16] = { 1, 2, 3 }, token[32] = { 9, 8, 7 };

// --- both ends ---------------------------------------------------------------------------------

static struct vmbus_client *client;
static char path[64];
static int listener, peer;                // the switch's
static struct vmbus_user_datagram got;    // what it has received last
static char events[8192];                 // what the VMM was told
static uint32_t grants = ~0u;             // answered at once, unless ~0u
static uint64_t switch_features = FEATURES;
static int bell = -1;

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
	size_t used = strlen(events);
	va_list ap;

	va_start(ap, fmt);
	if (used)
		used += (size_t)snprintf(events + used, sizeof(events) - used, "; ");
	vsnprintf(events + used, sizeof(events) - used, fmt, ap);
	va_end(ap);
}

static void expect_events(const char *text)
{
	assert_string_equal(events, text);
	events[0] = 0;
}

static void on_found(void *vmm, const struct vmbus_client_peer *p)
{
	assert_memory_equal(p->guid, guid, sizeof(guid));
	note("found");
}

static void on_attached(void *vmm, const struct vmbus_client_peer *p)
{
	note(p->resumed ? "attached again" : "attached");
}

static void on_detached(void *vmm, const char *why, bool final)
{
	assert_int_not_equal(why[0], 0);
	note(final ? "detached for good" : "detached");
}

static void on_done(void *vmm, uint64_t cookie, int status, const char *text)
{
	if (status)
		note("done %llu %d %s", (unsigned long long)cookie, status, text);
	else
		note("done %llu", (unsigned long long)cookie);
}

static void on_subchannels(void *vmm, uint32_t n_wanted)
{
	note("subchannels %u", n_wanted);
	if (grants != ~0u)
		vmbus_client_grant(client, grants);
}

static void on_channel_failed(void *vmm, uint32_t channel, uint32_t reason, const char *text)
{
	note("failed %u %u %s", channel, reason, text);
}

static void on_lost(void *vmm, const char *why) { note("lost"); }

static void on_leaving(void *vmm, uint32_t reason, uint32_t back_in_ms, const char *text)
{
	note("leaving %u %s", reason, text);
}

static const struct vmbus_client_ops ops = {
	.found = on_found,
	.attached = on_attached,
	.detached = on_detached,
	.done = on_done,
	.subchannels = on_subchannels,
	.channel_failed = on_channel_failed,
	.lost = on_lost,
	.leaving = on_leaving,
};

static void make_client(void)
{
	struct vmbus_client_cfg cfg = { .path = path, .name = "web0", .token = token,
					.features = FEATURES, .ops = &ops };

	assert_int_equal(vmbus_client_create(&cfg, &client), 0);
}

static bool is_ready(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

// Lets the client do what it can do now.
static void run(void)
{
	while (is_ready(vmbus_client_fd(client), 0))
		vmbus_client_run(client);
}

// The switch gets a new connection; the client takes its time.
static void accept_client(void)
{
	if (peer >= 0)
		close(peer);
	for (int i = 0; (peer = vmbus_user_accept(listener)) == -EAGAIN && i < 100; i++) {
		assert_true(is_ready(vmbus_client_fd(client), 3000));
		vmbus_client_run(client);
	}
	assert_true(peer >= 0);
	run();
}

static void hang_up(void)
{
	close(peer);
	peer = -1;
	run();
}

// The switch receives a message of this type.
static void expect(uint16_t type)
{
	vmbus_user_datagram_close(&got);
	run();
	if (vmbus_user_receive(peer, &got) <= 0)
		fail_msg("no message, where one of type %u should be", type);
	assert_int_equal(load_u16(got.message), type);
	assert_int_equal(load_u16(got.message + 2), 0);
}

static void expect_nothing(void)
{
	run();
	assert_int_equal(vmbus_user_receive(peer, &got), -EAGAIN);
}

static void switch_sends(const void *message, uint32_t bytes)
{
	assert_int_equal(vmbus_user_send(peer, message, bytes, NULL, 0), 0);
}

// Answers the message received last.
static void answer(uint32_t status, uint32_t bytes)
{
	uint8_t reply[256] = {};

	memcpy(reply, got.message, sizeof(struct vmbus_user_header));
	reply[2] = VMBUS_USER_REPLY;
	store_u32(reply + 8, status);
	if (status) {
		strcpy((char *)reply + 16, "no");
		bytes = 18;
	}
	switch_sends(reply, bytes);
}

// Receives and answers.
static void serve(uint16_t type, uint32_t status)
{
	expect(type);
	answer(status, type == VMBUS_USER_TYPE_START ? 32 : 16);
	run();
}

static struct vmbus_user_hello_reply hello_reply(void)
{
	return (struct vmbus_user_hello_reply){
		.head.header = { cpu_to_le16(VMBUS_USER_TYPE_HELLO),
				 cpu_to_le16(VMBUS_USER_REPLY),
				 cpu_to_le32(load_u32(got.message + 4)) },
		.version = cpu_to_le16(1),
		.max_channels = cpu_to_le16(64),
		.max_regions = cpu_to_le32(64),
		.features = cpu_to_le64(switch_features),
		.instance = cpu_to_le64(77),
		.state_bytes = cpu_to_le64(switch_features & VMBUS_USER_STATE ? STATE_BYTES : 0),
		.state_layout_min = cpu_to_le16(1),
		.state_layout_max = cpu_to_le16(1),
		.guid = { 1, 2, 3 },
	};
}

static void serve_hello(void)
{
	struct vmbus_user_hello_reply reply;

	expect(VMBUS_USER_TYPE_HELLO);
	reply = hello_reply();
	switch_sends(&reply, sizeof(reply));
	run();
}

static void serve_state(uint32_t origin)
{
	serve(VMBUS_USER_TYPE_STATE, OK);
	assert_int_equal(load_u32(got.message + 8), origin);
}

// --- what the VMM wants ------------------------------------------------------------------------

static void want_region(uint32_t id, uint64_t cookie)
{
	struct vmbus_client_region region = { .region = id, .gpa = (uint64_t)id << 20,
					      .bytes = 1 << 20, .fd = bell };

	assert_int_equal(vmbus_client_region_add(client, &region, cookie), 0);
}

static void want_gpadl(uint32_t channel, uint32_t id, uint32_t n_runs, uint64_t cookie)
{
	struct vmbus_run *runs = calloc(n_runs, sizeof(*runs));
	struct vmbus_runs list = { runs, n_runs, n_runs * 4096 };

	assert_non_null(runs);
	for (uint32_t i = 0; i < n_runs; i++)
		runs[i] = (struct vmbus_run){ NULL, 8192ull * i, 4096 * i, 4096 };
	assert_int_equal(vmbus_client_gpadl_add(client, channel, id, &list, cookie), 0);
	free(runs);
}

static struct vmbus_client_open opening(uint32_t channel)
{
	return (struct vmbus_client_open){
		.channel = channel, .relid = channel + 1, .gpadl = channel + 10, .h2g_page = 8,
		.vmbus_version = 0x50003, .monitor_id = VMBUS_USER_NO_MONITOR,
		.guest_os_id = 0x8100, .kick_fd = bell,
		.target = { VMBUS_USER_MODE_DIRECT, channel + 1, 3, 2, 0x3ff200, bell },
	};
}

static void want_open(uint32_t channel, uint64_t cookie)
{
	struct vmbus_client_open open = opening(channel);

	assert_int_equal(vmbus_client_open(client, &open, cookie), 0);
}

// --- set-up ------------------------------------------------------------------------------------

static int set_up(void **state)
{
	static int n;

	snprintf(path, sizeof(path), "@weft-test-client-%d-%d", getpid(), n++);
	events[0] = 0;
	grants = ~0u;
	switch_features = FEATURES;
	peer = -1;
	listener = vmbus_user_listen(path);
	bell = memfd_create("bell", MFD_CLOEXEC);
	make_client();
	return listener >= 0 && bell >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	vmbus_user_datagram_close(&got);
	vmbus_client_destroy(client);
	close(bell);
	if (listener >= 0)
		close(listener);
	if (peer >= 0)
		close(peer);
	return 0;
}

// Attached with region 1, nothing else.
static void attach(void)
{
	want_region(1, 1);
	assert_int_equal(vmbus_client_start(client, 2), 0);
	accept_client();
	serve_hello();
	serve_state(VMBUS_USER_NEW);
	serve(VMBUS_USER_TYPE_REGION_ADD, OK);
	serve(VMBUS_USER_TYPE_START, OK);
	expect_events("found; done 1; attached; done 2");
}

// With channel 0 open.
static void attach_open(void)
{
	attach();
	want_gpadl(0, 10, 1, 3);
	want_open(0, 4);
	serve(VMBUS_USER_TYPE_GPADL, OK);
	serve(VMBUS_USER_TYPE_OPEN, OK);
	assert_int_equal(load_u32(got.message + 24), 1);
	assert_int_equal(load_u32(got.message + 28), 0);
	expect_events("done 3; done 4");
}

// The switch is back and is loaded as attach_open left it.
static void reattach_open(void)
{
	accept_client();
	serve_hello();
	serve_state(VMBUS_USER_KEPT);
	serve(VMBUS_USER_TYPE_REGION_ADD, OK);
	serve(VMBUS_USER_TYPE_GPADL, OK);
	serve(VMBUS_USER_TYPE_OPEN, OK);
	assert_int_equal(load_u32(got.message + 24), 1);
	assert_int_equal(load_u32(got.message + 28), VMBUS_USER_OPEN_RESUME);
	serve(VMBUS_USER_TYPE_START, OK);
}

// --- attaching ---------------------------------------------------------------------------------

static void hello_says_who(void **state)
{
	const struct vmbus_user_hello *m = (const void *)got.message;

	accept_client();
	expect(VMBUS_USER_TYPE_HELLO);
	assert_int_equal(got.bytes, sizeof(*m));
	assert_int_equal(le32_to_cpu(m->magic), VMBUS_USER_MAGIC);
	assert_int_equal(le16_to_cpu(m->version_min), 1);
	assert_int_equal(le16_to_cpu(m->version_max), 1);
	assert_int_equal(le64_to_cpu(m->features), FEATURES);
	assert_string_equal(m->name, "web0");
	assert_memory_equal(m->token, token, sizeof(token));
	expect_nothing(); // before the answer
	expect_events("");
}

static void the_state_memory_is_sealed(void **state)
{
	struct stat st;

	accept_client();
	serve_hello();
	expect(VMBUS_USER_TYPE_STATE);
	assert_int_equal(load_u32(got.message + 8), VMBUS_USER_NEW);
	assert_int_equal(load_u32(got.message + 16), STATE_BYTES);
	assert_int_equal(got.n_fds, 1);
	assert_int_equal(fstat(got.fds[0], &st), 0);
	assert_int_equal(st.st_size, STATE_BYTES);
	assert_true((fcntl(got.fds[0], F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW)) ==
		    (F_SEAL_SHRINK | F_SEAL_GROW));
	expect_nothing(); // nobody has said what there is
}

static void requests_have_their_fields(void **state)
{
	struct vmbus_client_target none = { .mode = VMBUS_USER_MODE_NONE, .fd = -1 };

	attach();
	want_gpadl(0, 10, 1, 3);
	want_open(0, 4);
	assert_int_equal(vmbus_client_set_target(client, 0, &none, 5), 0);
	assert_int_equal(vmbus_client_set_monitor(client, 0x5000, 0x6000, 6), 0);
	assert_int_equal(vmbus_client_dirty_log(client, bell, 4096, 7), 0);
	assert_int_equal(vmbus_client_dirty_log(client, -1, 0, 8), 0);
	assert_int_equal(vmbus_client_close(client, 0, 9), 0);
	assert_int_equal(vmbus_client_gpadl_teardown(client, 0, 10, 10), 0);
	assert_int_equal(vmbus_client_region_del(client, 1, 11), 0);
	assert_int_equal(vmbus_client_reset(client, 12), 0);
	serve(VMBUS_USER_TYPE_GPADL, OK);
	assert_int_equal(got.bytes, 48);
	assert_int_equal(load_u32(got.message + 12), 3); // FIRST | LAST
	serve(VMBUS_USER_TYPE_OPEN, OK);
	assert_int_equal(got.bytes, 96);
	assert_int_equal(got.n_fds, 2);
	assert_int_equal(load_u32(got.message + 12), 1); // relid
	assert_int_equal(load_u32(got.message + 16), 10);
	assert_int_equal(load_u32(got.message + 52), 1); // flag
	assert_int_equal(load_u32(got.message + 56), 0x3ff200);
	serve(VMBUS_USER_TYPE_TARGET, OK);
	assert_int_equal(got.n_fds, 0);
	serve(VMBUS_USER_TYPE_MONITOR, OK);
	assert_int_equal(load_u32(got.message + 16), 0x5000);
	assert_int_equal(load_u32(got.message + 24), 0x6000);
	serve(VMBUS_USER_TYPE_DIRTY_LOG, OK);
	assert_int_equal(got.n_fds, 1);
	serve(VMBUS_USER_TYPE_DIRTY_LOG, OK);
	assert_int_equal(got.n_fds, 0);
	serve(VMBUS_USER_TYPE_CLOSE, OK);
	assert_int_equal(load_u32(got.message + 8), 0);
	serve(VMBUS_USER_TYPE_GPADL_TEARDOWN, OK);
	assert_int_equal(load_u32(got.message + 8), 10);
	serve(VMBUS_USER_TYPE_REGION_DEL, OK);
	assert_int_equal(load_u32(got.message + 8), 1);
	serve(VMBUS_USER_TYPE_RESET, OK);
	expect_events("done 3; done 4; done 5; done 6; done 7; done 8; done 9; done 10; done 11; "
		      "done 12");
}

static void impossible_requests_are_refused(void **state)
{
	struct vmbus_client_region region = { .gpa = 1, .bytes = 4096, .fd = bell };
	struct vmbus_client_open open = opening(64);
	struct vmbus_runs none = {};
	struct vmbus_client_cfg cfg = { .path = path, .name = "", .ops = &ops };
	struct vmbus_client *other;

	assert_int_equal(vmbus_client_create(&cfg, &other), -EINVAL);
	assert_int_equal(vmbus_client_region_add(client, &region, 1), -EINVAL);
	region = (struct vmbus_client_region){ .bytes = 4096, .fd = -1 };
	assert_int_equal(vmbus_client_region_add(client, &region, 1), -EBADF);
	assert_int_equal(vmbus_client_gpadl_add(client, 0, 1, &none, 1), -EINVAL);
	assert_int_equal(vmbus_client_open(client, &open, 1), -EINVAL);
	assert_int_equal(vmbus_client_close(client, 64, 1), -EINVAL);
	open.channel = 0;
	open.resume = true; // of what?
	assert_int_equal(vmbus_client_open(client, &open, 1), -EINVAL);
	open.resume = false;
	open.target.mode = 3;
	assert_int_equal(vmbus_client_open(client, &open, 1), -EINVAL);
	run();
	expect_events("");
}

static void a_long_gpadl_goes_in_parts(void **state)
{
	attach();
	want_gpadl(3, 10, 600, 5);
	for (uint32_t part = 0; part < 3; part++) {
		expect_events("");
		serve(VMBUS_USER_TYPE_GPADL, OK);
		assert_int_equal(load_u32(got.message + 12),
				 (part == 0 ? 1u : 0) | (part == 2 ? 2u : 0));
		assert_int_equal(load_u32(got.message + 24), part == 2 ? 600 - 2 * 254 : 254);
		assert_int_equal(load_u32(got.message + 28), 3);
		assert_int_equal(load_u32(got.message + 32), 8192 * 254 * part);
	}
	expect_events("done 5");
	want_gpadl(3, 11, 600, 6);
	serve(VMBUS_USER_TYPE_GPADL, EFAULT);
	serve(VMBUS_USER_TYPE_GPADL, EINVAL);
	serve(VMBUS_USER_TYPE_GPADL, EINVAL);
	expect_events("done 6 -14 no");
}

static void no_more_than_64_are_out(void **state)
{
	attach();
	for (uint32_t i = 0; i < 70; i++)
		assert_int_equal(vmbus_client_close(client, 1, 100 + i), 0);
	for (uint32_t i = 0; i < 64; i++)
		expect(VMBUS_USER_TYPE_CLOSE);
	expect_nothing();
	got.message[2] = VMBUS_USER_REPLY;
	for (uint32_t i = 0; i < 64; i++) {
		// The first one has the serial of START plus 1.
		uint8_t reply[16] = { VMBUS_USER_TYPE_CLOSE, 0, VMBUS_USER_REPLY };

		store_u32(reply + 4, 5 + i);
		switch_sends(reply, sizeof(reply));
	}
	for (uint32_t i = 0; i < 6; i++)
		expect(VMBUS_USER_TYPE_CLOSE);
	expect_nothing();
}

// --- the switch comes and goes -----------------------------------------------------------------

static void a_new_switch_is_loaded(void **state)
{
	attach_open();
	want_gpadl(1, 11, 300, 5);
	want_open(1, 6);
	serve(VMBUS_USER_TYPE_GPADL, OK);
	serve(VMBUS_USER_TYPE_GPADL, OK);
	serve(VMBUS_USER_TYPE_OPEN, OK);
	vmbus_client_set_monitor(client, 0x5000, 0x6000, 7);
	serve(VMBUS_USER_TYPE_MONITOR, OK);
	expect_events("done 5; done 6; done 7");
	hang_up();
	expect_events("detached");
	accept_client();
	serve_hello();
	serve_state(VMBUS_USER_KEPT);
	serve(VMBUS_USER_TYPE_REGION_ADD, OK);
	serve(VMBUS_USER_TYPE_GPADL, OK); // whichever comes first
	serve(VMBUS_USER_TYPE_GPADL, OK);
	serve(VMBUS_USER_TYPE_GPADL, OK);
	serve(VMBUS_USER_TYPE_MONITOR, OK);
	for (uint32_t i = 0; i < 2; i++) {
		serve(VMBUS_USER_TYPE_OPEN, OK);
		assert_int_equal(load_u32(got.message + 8), i);
		assert_int_equal(load_u32(got.message + 24), 1);
		assert_int_equal(load_u32(got.message + 28), VMBUS_USER_OPEN_RESUME);
		assert_int_equal(got.n_fds, 2);
	}
	serve(VMBUS_USER_TYPE_START, OK);
	expect_events("attached again");
	expect_nothing();
	// Twice is no different.
	hang_up();
	accept_client();
	serve_hello();
	serve_state(VMBUS_USER_KEPT);
}

static void a_target_that_was_changed_is_loaded(void **state)
{
	struct vmbus_client_target target = { VMBUS_USER_MODE_CALL, 1, 0, 5, 0, bell };

	attach_open();
	assert_int_equal(vmbus_client_set_target(client, 0, &target, 5), 0);
	serve(VMBUS_USER_TYPE_TARGET, OK);
	hang_up();
	reattach_open();
	expect_events("done 5; detached; attached again");
}

// Which of the requests without answer are done, and which wait.
static void the_unanswered_end_or_wait(void **state)
{
	struct vmbus_client_target target = { VMBUS_USER_MODE_CALL, 1, 0, 5, 0, bell };

	attach_open();
	want_gpadl(0, 20, 1, 5);
	serve(VMBUS_USER_TYPE_GPADL, OK);
	want_region(2, 6);
	want_gpadl(0, 21, 1, 7);
	vmbus_client_set_target(client, 0, &target, 8);
	vmbus_client_gpadl_teardown(client, 0, 20, 9);
	want_gpadl(1, 11, 1, 10);
	want_open(1, 11);
	run();
	events[0] = 0;
	hang_up();
	expect_events("detached; done 9");
	reattach_open();
	expect_events("attached again");
	serve(VMBUS_USER_TYPE_REGION_ADD, OK);
	serve(VMBUS_USER_TYPE_GPADL, OK);
	assert_int_equal(load_u32(got.message + 8), 21);
	serve(VMBUS_USER_TYPE_TARGET, OK);
	serve(VMBUS_USER_TYPE_GPADL, OK);
	serve(VMBUS_USER_TYPE_OPEN, OK);
	assert_int_equal(load_u32(got.message + 8), 1);
	assert_int_equal(load_u32(got.message + 24), 2); // a new serial: it was sent once before
	assert_int_equal(load_u32(got.message + 28), 0);
	expect_events("done 6; done 7; done 8; done 10; done 11");
}

static void while_away_some_is_done_and_some_waits(void **state)
{
	attach_open();
	close(listener);
	listener = -1;
	hang_up();
	expect_events("detached");
	want_gpadl(1, 11, 1, 5);
	want_open(1, 6);
	want_gpadl(0, 21, 1, 7);
	run();
	expect_events("");
	vmbus_client_close(client, 1, 8);
	vmbus_client_gpadl_teardown(client, 1, 11, 9);
	vmbus_client_region_del(client, 1, 10);
	run();
	expect_events("done 6 -125 ; done 8; done 5 -125 ; done 9; done 10");
	vmbus_client_reset(client, 11);
	run();
	expect_events("done 7 -125 ; done 11");
	// And nothing of it is left to be loaded; a new state memory will do.
	listener = vmbus_user_listen(path);
	accept_client();
	serve_hello();
	serve_state(VMBUS_USER_NEW);
	serve(VMBUS_USER_TYPE_START, OK);
	expect_events("attached again");
}

static void the_first_hello_decides(void **state)
{
	vmbus_client_start(client, 1);
	accept_client();
	serve(VMBUS_USER_TYPE_HELLO, EACCES);
	run();
	expect_events("detached for good");
	assert_false(is_ready(vmbus_client_fd(client), 50));
}

static void later_hellos_are_repeated(void **state)
{
	attach_open();
	hang_up();
	for (int i = 0; i < 2; i++) {
		accept_client();
		serve(VMBUS_USER_TYPE_HELLO, i ? EBUSY : ENOENT);
	}
	reattach_open();
	expect_events("detached; detached; detached; attached again");
}

static void nobody_is_there_at_first(void **state)
{
	close(listener);
	listener = -1;
	want_region(1, 1);
	vmbus_client_start(client, 2);
	for (int i = 0; i < 3; i++) {
		assert_true(is_ready(vmbus_client_fd(client), 3000));
		vmbus_client_run(client);
	}
	expect_events("detached");
	listener = vmbus_user_listen(path);
	accept_client();
	serve_hello();
	serve_state(VMBUS_USER_NEW);
	serve(VMBUS_USER_TYPE_REGION_ADD, OK);
	serve(VMBUS_USER_TYPE_START, OK);
	expect_events("found; done 1; attached; done 2");
}

// The switch dies at each step of the loading.
static void loading_begins_again(void **state)
{
	want_region(1, 1);
	vmbus_client_start(client, 2);
	for (int steps = 0; steps < 3; steps++) {
		accept_client();
		expect(VMBUS_USER_TYPE_HELLO);
		if (steps > 0) {
			struct vmbus_user_hello_reply reply = hello_reply();

			switch_sends(&reply, sizeof(reply));
		}
		if (steps > 1)
			serve_state(VMBUS_USER_NEW);
		hang_up();
	}
	accept_client();
	serve_hello();
	serve_state(VMBUS_USER_NEW);
	serve(VMBUS_USER_TYPE_REGION_ADD, OK);
	hang_up();
	accept_client();
	serve_hello();
	serve_state(VMBUS_USER_NEW);
	serve(VMBUS_USER_TYPE_REGION_ADD, OK);
	serve(VMBUS_USER_TYPE_START, OK);
	expect_events("detached; found; detached; detached; done 1; detached; attached; done 2");
}

static void leaving_is_believed(void **state)
{
	struct vmbus_user_leaving_notice m = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_LEAVING),
		.reason = cpu_to_le32(VMBUS_USER_LEAVING_RESTART),
		.back_in_ms = cpu_to_le32(30),
		.text = "back\nsoon",
	};

	attach_open();
	switch_sends(&m, sizeof(m));
	hang_up();
	expect_events("leaving 1 back?soon; detached");
	assert_false(is_ready(vmbus_client_fd(client), 0));
	reattach_open();
	events[0] = 0;
	m.back_in_ms = cpu_to_le32(~0u);
	m.reason = cpu_to_le32(VMBUS_USER_LEAVING_REMOVED);
	memset(m.text, 'x', sizeof(m.text));
	switch_sends(&m, sizeof(m));
	hang_up();
	assert_non_null(strstr(events, "; detached for good"));
	assert_false(is_ready(vmbus_client_fd(client), 50));
}

static void what_cannot_go_on_is_lost(void **state)
{
	attach_open();
	want_gpadl(0, 30, 1, 5);
	run();
	hang_up();
	accept_client();
	serve_hello();
	serve(VMBUS_USER_TYPE_STATE, EINVAL);
	run();
	expect_events("detached; lost; detached; done 5 -125 ");
	accept_client();
	serve_hello();
	serve_state(VMBUS_USER_NEW);
	serve(VMBUS_USER_TYPE_REGION_ADD, OK);
	serve(VMBUS_USER_TYPE_START, OK);
	expect_nothing();
	expect_events("attached again");
}

static void recovery_that_fails_is_told(void **state)
{
	attach_open();
	hang_up();
	accept_client();
	serve_hello();
	serve_state(VMBUS_USER_KEPT);
	serve(VMBUS_USER_TYPE_REGION_ADD, OK);
	serve(VMBUS_USER_TYPE_GPADL, OK);
	serve(VMBUS_USER_TYPE_OPEN, EINVAL);
	expect_events("detached; failed 0 3 no");
	serve(VMBUS_USER_TYPE_START, EINVAL);
	expect_events("lost; detached");
	accept_client();
	serve_hello();
	serve_state(VMBUS_USER_NEW);
}

static void without_state_memory_all_is_lost(void **state)
{
	switch_features = VMBUS_USER_DIRECT;
	want_region(1, 1);
	vmbus_client_start(client, 2);
	accept_client();
	serve_hello();
	serve(VMBUS_USER_TYPE_REGION_ADD, OK);
	serve(VMBUS_USER_TYPE_START, OK);
	want_gpadl(0, 10, 1, 3);
	serve(VMBUS_USER_TYPE_GPADL, OK);
	events[0] = 0;
	hang_up();
	expect_events("lost; detached");
	accept_client();
	serve_hello();
	serve(VMBUS_USER_TYPE_REGION_ADD, OK);
	serve(VMBUS_USER_TYPE_START, OK);
}

// --- pause, save, restore ----------------------------------------------------------------------

static void a_paused_guest_is_left_alone(void **state)
{
	attach_open();
	vmbus_client_pause(client, 5);
	run();
	hang_up(); // before the answer
	expect_events("detached; done 5");
	assert_false(is_ready(vmbus_client_fd(client), 50));
	vmbus_client_save(client, 6);
	run();
	expect_events("done 6 -11 ");
	vmbus_client_resume(client, 7);
	reattach_open();
	serve(VMBUS_USER_TYPE_RESUME, OK);
	expect_events("attached again; done 7");
}

static void a_saved_nic_is_restored(void **state)
{
	struct vmbus_client_open open = opening(0);
	void *image = NULL;
	size_t bytes;
	uint8_t byte = 0x5a, id[16];

	attach_open();
	assert_int_equal(vmbus_client_image(client, &image, &bytes), -EAGAIN);
	vmbus_client_pause(client, 5);
	vmbus_client_save(client, 6);
	serve(VMBUS_USER_TYPE_PAUSE, OK);
	expect(VMBUS_USER_TYPE_SAVE);
	{
		struct vmbus_user_save_reply m = { .bytes = cpu_to_le64(STATE_BYTES) };

		memcpy(&m, got.message, 8);
		m.head.header.flags = cpu_to_le16(VMBUS_USER_REPLY);
		switch_sends(&m, sizeof(m));
	}
	run();
	expect_events("done 5; done 6");
	assert_int_equal(vmbus_client_image(client, &image, &bytes), 0);
	assert_int_equal(vmbus_client_restore(client, image, bytes), -EBUSY);
	vmbus_client_destroy(client);
	make_client();
	((uint8_t *)image)[bytes / 2] ^= 1;
	assert_int_equal(vmbus_client_restore(client, image, bytes), -EINVAL);
	((uint8_t *)image)[bytes / 2] ^= 1;
	assert_false(vmbus_client_guid(client, id));
	assert_int_equal(vmbus_client_restore(client, image, bytes), 0);
	assert_true(vmbus_client_guid(client, id));
	assert_memory_equal(id, guid, sizeof(guid));
	free(image);
	want_region(1, 1);
	want_gpadl(0, 10, 1, 2);
	open.resume = true;
	assert_int_equal(vmbus_client_open(client, &open, 3), 0);
	vmbus_client_start(client, 4);
	accept_client();
	serve_hello();
	serve_state(VMBUS_USER_IMAGE);
	assert_int_equal(pread(got.fds[0], &byte, 1, 0), 1);
	assert_int_equal(byte, 0);
	serve(VMBUS_USER_TYPE_REGION_ADD, OK);
	serve(VMBUS_USER_TYPE_GPADL, OK);
	serve(VMBUS_USER_TYPE_OPEN, OK);
	assert_int_equal(load_u32(got.message + 24), 1); // its serial, from the image
	assert_int_equal(load_u32(got.message + 28), VMBUS_USER_OPEN_RESUME);
	serve(VMBUS_USER_TYPE_START, OK);
	expect_events("found; done 1; done 2; done 3; attached; done 4");
	hang_up();
	reattach_open();
}

static void an_image_that_does_not_fit_is_lost(void **state)
{
	struct vmbus_client_open open = opening(0);
	void *image;
	size_t bytes;

	attach_open();
	vmbus_client_pause(client, 5);
	serve(VMBUS_USER_TYPE_PAUSE, OK);
	vmbus_client_save(client, 6);
	expect(VMBUS_USER_TYPE_SAVE);
	store_u32(got.message + 16, STATE_BYTES);
	store_u16(got.message + 2, VMBUS_USER_REPLY);
	memset(got.message + 20, 0, 12);
	switch_sends(got.message, 32);
	run();
	assert_int_equal(vmbus_client_image(client, &image, &bytes), 0);
	vmbus_client_destroy(client);
	make_client();
	assert_int_equal(vmbus_client_restore(client, image, bytes), 0);
	free(image);
	events[0] = 0;
	open.resume = true;
	vmbus_client_open(client, &open, 3);
	vmbus_client_start(client, 4);
	accept_client();
	serve_hello();
	serve_state(VMBUS_USER_IMAGE);
	serve(VMBUS_USER_TYPE_OPEN, OK);
	serve(VMBUS_USER_TYPE_START, EINVAL);
	expect_events("found; done 3; lost; detached");
	accept_client();
	serve_hello();
	serve_state(VMBUS_USER_NEW);
	serve(VMBUS_USER_TYPE_START, OK);
	expect_events("attached; done 4");
}

// --- what the switch asks, and lies ------------------------------------------------------------

static void subchannels_are_granted_once(void **state)
{
	struct vmbus_user_subchannels m = {
		.header = { cpu_to_le16(VMBUS_USER_TYPE_SUBCHANNELS), cpu_to_le16(0),
			    cpu_to_le32(9) },
		.n_wanted = cpu_to_le32(4),
	};

	attach_open();
	switch_sends(&m, sizeof(m));
	run();
	expect_events("subchannels 4");
	expect_nothing();
	switch_sends(&m, sizeof(m)); // one at a time
	run();
	assert_int_equal(vmbus_user_receive(peer, &got), 16);
	assert_int_equal(load_u32(got.message + 8), EBUSY);
	vmbus_client_grant(client, 7);
	assert_int_equal(vmbus_user_receive(peer, &got), 24);
	assert_int_equal(load_u16(got.message), VMBUS_USER_TYPE_SUBCHANNELS);
	assert_int_equal(load_u16(got.message + 2), VMBUS_USER_REPLY);
	assert_int_equal(load_u32(got.message + 4), 9);
	assert_int_equal(load_u32(got.message + 16), 4); // no more than wanted
	vmbus_client_grant(client, 7);                   // for nobody
	expect_nothing();
	m.n_wanted = cpu_to_le32(64);
	switch_sends(&m, sizeof(m));
	run();
	assert_int_equal(vmbus_user_receive(peer, &got), 16);
	assert_int_equal(load_u32(got.message + 8), EINVAL);
	m.header.type = cpu_to_le16(200);
	switch_sends(&m, sizeof(m));
	run();
	assert_int_equal(vmbus_user_receive(peer, &got), 16);
	assert_int_equal(load_u32(got.message + 8), EOPNOTSUPP);
}

static void failed_channels_are_told(void **state)
{
	struct vmbus_user_channel_failed m = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_CHANNEL_FAILED),
		.channel = cpu_to_le32(5),
		.reason = cpu_to_le32(VMBUS_USER_FAILED_INDEX),
		.text = "index",
	};

	attach_open();
	switch_sends(&m, sizeof(m)); // not open
	m.channel = cpu_to_le32(0);
	switch_sends(&m, sizeof(m));
	run();
	expect_events("failed 0 1 index");
}

static const struct lie {
	uint16_t type, flags;
	int serial; // more than that of the request
	uint32_t status, reserved, bytes;
} lies[] = {
	{ VMBUS_USER_TYPE_CLOSE, 1, 1, 0, 0, 16 },         // serial
	{ VMBUS_USER_TYPE_CLOSE, 1, -1, 0, 0, 16 },
	{ VMBUS_USER_TYPE_OPEN, 1, 0, 0, 0, 16 },          // type
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, 0, 1, 16 },         // reserved field
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, 4096, 0, 16 },      // status
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, ~0u, 0, 16 },
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, 0, 0, 15 },         // size
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, 0, 0, 17 },
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, 0, 0, 4096 },
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, 5, 0, 257 },
	{ VMBUS_USER_TYPE_CLOSE, 3, 0, 0, 0, 16 },         // flag
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, 0, 0, 7 },
	{ VMBUS_USER_TYPE_SUBCHANNELS, 0, 0, 4, 0, 17 },
	{ VMBUS_USER_TYPE_CHANNEL_FAILED, 0, 0, 64, 0, 80 },
	{ VMBUS_USER_TYPE_CHANNEL_FAILED, 0, 0, 0, 0, 79 },
	{ VMBUS_USER_TYPE_LEAVING, 0, 0, 0, 0, 81 },
};

static void lies_end_the_connection(void **state)
{
	static uint8_t m[VMBUS_USER_MAX_MESSAGE];

	attach_open();
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		vmbus_client_close(client, 9, 50);
		expect(VMBUS_USER_TYPE_CLOSE);
		memset(m, 0, sizeof(m));
		store_u16(m, lies[i].type);
		store_u16(m + 2, lies[i].flags);
		store_u32(m + 4, load_u32(got.message + 4) + (uint32_t)lies[i].serial);
		store_u32(m + 8, lies[i].status);
		store_u32(m + 12, lies[i].reserved);
		events[0] = 0;
		switch_sends(m, lies[i].bytes);
		run();
		expect_events("detached; done 50");
		reattach_open();
	}
	// An answer to nothing.
	events[0] = 0;
	memset(m, 0, sizeof(m));
	store_u16(m, VMBUS_USER_TYPE_CLOSE);
	store_u16(m + 2, VMBUS_USER_REPLY);
	switch_sends(m, 16);
	run();
	expect_events("detached");
	// Descriptors.
	reattach_open();
	events[0] = 0;
	assert_int_equal(vmbus_user_send(peer, m, 16, &bell, 1), 0);
	run();
	expect_events("detached");
}

static void hellos_that_lie_are_not_believed(void **state)
{
	for (int i = 0; i < 10; i++) {
		struct vmbus_user_hello_reply m;

		accept_client();
		expect(VMBUS_USER_TYPE_HELLO);
		m = hello_reply();
		switch (i) {
		case 0: m.version = cpu_to_le16(2); break;
		case 1: m.max_channels = cpu_to_le16(0); break;
		case 2: m.max_channels = cpu_to_le16(65); break;
		case 3: m.max_regions = cpu_to_le32(0); break;
		case 4: m.features = cpu_to_le64(FEATURES | 1 << 5); break;
		case 5: m.instance = cpu_to_le64(0); break;
		case 6: m.state_bytes = cpu_to_le64(0); break;
		case 7: m.state_bytes = cpu_to_le64(1ull << 40); break;
		case 8: m.features = cpu_to_le64(0); break;
		case 9: m.state_layout_min = cpu_to_le16(2); break;
		}
		switch_sends(&m, sizeof(m));
		run();
		expect_events("detached");
	}
	accept_client();
	serve_hello();
	expect_events("found");
}

static void another_nic_is_not_taken(void **state)
{
	struct vmbus_user_hello_reply m;

	attach_open();
	hang_up();
	accept_client();
	expect(VMBUS_USER_TYPE_HELLO);
	m = hello_reply();
	m.guid[15] = 1;
	switch_sends(&m, sizeof(m));
	run();
	reattach_open();
	expect_events("detached; detached; attached again");
}

static void a_switch_that_does_not_read_is_waited_for(void **state)
{
	attach();
	// The socket is full long before 64 messages of 4 KiB are out, or not; either way:
	for (uint32_t i = 0; i < 100; i++)
		want_gpadl(0, i, 254, i);
	run();
	for (uint32_t i = 0; i < 100; i++)
		serve(VMBUS_USER_TYPE_GPADL, OK);
	expect_nothing();
	assert_non_null(strstr(events, "done 99"));
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(hello_says_who),
		T(the_state_memory_is_sealed),
		T(requests_have_their_fields),
		T(impossible_requests_are_refused),
		T(a_long_gpadl_goes_in_parts),
		T(no_more_than_64_are_out),
		T(a_new_switch_is_loaded),
		T(a_target_that_was_changed_is_loaded),
		T(the_unanswered_end_or_wait),
		T(while_away_some_is_done_and_some_waits),
		T(the_first_hello_decides),
		T(later_hellos_are_repeated),
		T(nobody_is_there_at_first),
		T(loading_begins_again),
		T(leaving_is_believed),
		T(what_cannot_go_on_is_lost),
		T(recovery_that_fails_is_told),
		T(without_state_memory_all_is_lost),
		T(a_paused_guest_is_left_alone),
		T(a_saved_nic_is_restored),
		T(an_image_that_does_not_fit_is_lost),
		T(subchannels_are_granted_once),
		T(failed_channels_are_told),
		T(lies_end_the_connection),
		T(hellos_that_lie_are_not_believed),
		T(another_nic_is_not_taken),
		T(a_switch_that_does_not_read_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
