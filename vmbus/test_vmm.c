// SPDX-License-Identifier: Apache-2.0
#include "vmbus/test_vmm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

const uint8_t vmm_token[32] = { 9, 8, 7 };
struct vmbus_client *the_client;
char vmm_events[8192];
uint32_t vmm_grants = ~0u;
int vmm_bell = -1;

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
	size_t used = strlen(vmm_events);
	va_list ap;

	va_start(ap, fmt);
	if (used)
		used += (size_t)snprintf(vmm_events + used, sizeof(vmm_events) - used, "; ");
	vsnprintf(vmm_events + used, sizeof(vmm_events) - used, fmt, ap);
	va_end(ap);
}

void vmm_expect_events(const char *text)
{
	assert_string_equal(vmm_events, text);
	vmm_events[0] = 0;
}

static void on_found(void *vmm, const struct vmbus_client_peer *p)
{
	assert_memory_equal(p->guid, test_guid, sizeof(test_guid));
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
	if (vmm_grants != ~0u)
		vmbus_client_grant(the_client, vmm_grants);
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

const struct vmbus_client_ops vmm_client_ops = {
	.found = on_found,
	.attached = on_attached,
	.detached = on_detached,
	.done = on_done,
	.subchannels = on_subchannels,
	.channel_failed = on_channel_failed,
	.lost = on_lost,
	.leaving = on_leaving,
};

void vmm_make_client(void)
{
	struct vmbus_client_cfg cfg = { .path = the_switch.path, .name = "web0", .token = vmm_token,
					.features = TEST_FEATURES, .ops = &vmm_client_ops };

	assert_int_equal(vmbus_client_create(&cfg, &the_client), 0);
}

static int client_fd(void) { return vmbus_client_fd(the_client); }
static void client_run(void) { vmbus_client_run(the_client); }

// --- what the VMM wants ------------------------------------------------------------------------

void vmm_want_region(uint32_t id, uint64_t cookie)
{
	struct vmbus_client_region region = {
		.region = id, .gpa = (uint64_t)id << 20, .bytes = 1 << 20, .fd = vmm_bell
	};

	assert_int_equal(vmbus_client_region_add(the_client, &region, cookie), 0);
}

void vmm_want_gpadl(uint32_t channel, uint32_t id, uint32_t n_runs, uint64_t cookie)
{
	struct vmbus_run *runs = calloc(n_runs, sizeof(*runs));
	struct vmbus_runs list = { runs, n_runs, n_runs * 4096 };

	assert_non_null(runs);
	for (uint32_t i = 0; i < n_runs; i++)
		runs[i] = (struct vmbus_run){ NULL, 8192ull * i, 4096 * i, 4096 };
	assert_int_equal(vmbus_client_gpadl_add(the_client, channel, id, &list, cookie), 0);
	free(runs);
}

struct vmbus_client_open vmm_opening(uint32_t channel)
{
	return (struct vmbus_client_open){
		.channel = channel, .relid = channel + 1, .gpadl = channel + 10, .h2g_page = 8,
		.vmbus_version = 0x50003, .monitor_id = VMBUS_USER_NO_MONITOR,
		.guest_os_id = 0x8100, .kick_fd = vmm_bell,
		.target = { VMBUS_USER_MODE_DIRECT, channel + 1, 3, 2, 0x3ff200, vmm_bell },
	};
}

void vmm_want_open(uint32_t channel, uint64_t cookie)
{
	struct vmbus_client_open open = vmm_opening(channel);

	assert_int_equal(vmbus_client_open(the_client, &open, cookie), 0);
}

// --- set-up ------------------------------------------------------------------------------------

int test_vmm_begin(void **state)
{
	vmm_events[0] = 0;
	vmm_grants = ~0u;
	switch_begin(client_fd, client_run);
	vmm_bell = memfd_create("bell", MFD_CLOEXEC);
	vmm_make_client();
	return vmm_bell >= 0 ? 0 : -1;
}

int test_vmm_end(void **state)
{
	vmbus_client_destroy(the_client);
	close(vmm_bell);
	switch_end();
	return 0;
}

// Attached with region 1, nothing else.
void vmm_attach(void)
{
	vmm_want_region(1, 1);
	assert_int_equal(vmbus_client_start(the_client, 2), 0);
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_NEW);
	switch_serve(VMBUS_USER_TYPE_REGION_ADD, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
	vmm_expect_events("found; done 1; attached; done 2");
}

// With channel 0 open.
void vmm_attach_open(void)
{
	vmm_attach();
	vmm_want_gpadl(0, 10, 1, 3);
	vmm_want_open(0, 4);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_OPEN, TEST_OK);
	assert_int_equal(switch_got(24), 1);
	assert_int_equal(switch_got(28), 0);
	vmm_expect_events("done 3; done 4");
}

// The switch is back and is loaded as attach_open left it.
void vmm_reattach_open(void)
{
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_KEPT);
	switch_serve(VMBUS_USER_TYPE_REGION_ADD, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_OPEN, TEST_OK);
	assert_int_equal(switch_got(24), 1);
	assert_int_equal(switch_got(28), VMBUS_USER_OPEN_RESUME);
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
}
