// SPDX-License-Identifier: Apache-2.0
#include "tests/guest/fake_vmm.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ALL_FEATURES                                                                               \
	(VMBUS_USER_DIRECT | VMBUS_USER_MONITOR | VMBUS_USER_STATE | VMBUS_USER_DIRTY |            \
	 VMBUS_USER_SUBCHANNELS)
#define LINUX_OS_ID 0x8100000000060100ull // what Linux 6.1 writes into its MSR, nearly

// --- the server's and the NICs' ops ------------------------------------------------------------

static int on_send(void *arg, const struct vmbus_contact *to, const void *message, uint32_t bytes)
{
	struct fake_vmm *vmm = arg;

	if (to->target_vp >= vmm->guest.n_vps || to->sint != FAKE_SINT)
		return -ENOENT;
	if (vmm->deaf)
		return -EAGAIN;
	fake_guest_deliver(&vmm->guest, message, bytes);
	return 0;
}

static int on_doorbell(void *arg, uint32_t channel, uint32_t connection)
{
	struct fake_vmm_nic *nic = arg;

	nic->connection[channel] = connection;
	if (nic->doorbell[channel] < 0)
		nic->doorbell[channel] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return nic->doorbell[channel] < 0 ? -errno : nic->doorbell[channel];
}

static void on_target(void *arg, uint32_t channel, struct vmbus_client_target *target)
{
	struct fake_vmm_nic *nic = arg;
	struct fake_guest *guest = &nic->vmm->guest;
	uint32_t vp = target->vp;

	target->mode = VMBUS_USER_MODE_NONE;
	if (vp >= guest->n_vps || !guest->siefp[vp] || guest->sint_masked >> vp & 1)
		return;
	if (nic->vmm->cfg.call) {
		if (nic->call[channel] < 0)
			nic->call[channel] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		nic->call_vp[channel] = vp;
		nic->call_flag[channel] = target->flag;
		target->mode = VMBUS_USER_MODE_CALL;
		target->fd = nic->call[channel];
		return;
	}
	target->mode = VMBUS_USER_MODE_DIRECT;
	target->gpa = (uint64_t)guest->siefp[vp] * VMBUS_PAGE_BYTES + 256 * FAKE_SINT;
	target->fd = nic->vmm->irq[vp];
}

static void on_closed(void *arg, uint32_t channel)
{
	struct fake_vmm_nic *nic = arg;

	nic->connection[channel] = 0;
}

static void on_says(void *arg, const char *sentence)
{
	struct fake_vmm_nic *nic = arg;

	nic->n_says++;
	snprintf(nic->says, sizeof(nic->says), "%s", sentence);
}

static void on_detached(void *arg, const char *why, bool final) { on_says(arg, why); }

static void on_done(void *arg, uint64_t cookie, int status)
{
	struct fake_vmm_nic *nic = arg;

	nic->cookie = cookie;
	nic->status = status;
}

static void on_gone(void *arg)
{
	struct fake_vmm_nic *nic = arg;

	nic->nic = NULL;
	nic->gone = true;
}

static const struct vmbus_host_ops host_ops = { .send = on_send };
static const struct vmbus_nic_ops nic_ops = {
	.doorbell = on_doorbell,
	.target = on_target,
	.closed = on_closed,
	.detached = on_detached,
	.says = on_says,
	.done = on_done,
	.gone = on_gone,
};

// --- the guest's ops ---------------------------------------------------------------------------

static int guest_post(void *ctx, uint32_t connection, const void *message, uint32_t bytes)
{
	struct fake_vmm *vmm = ctx;

	return vmbus_server_post(vmm->server, connection, message, bytes);
}

static void guest_signal(void *ctx, uint32_t connection)
{
	struct fake_vmm *vmm = ctx;

	for (uint32_t n = 0; n < vmm->cfg.n_nics; n++)
		for (uint32_t i = 0; i < FAKE_MAX_VPS; i++)
			if (connection && vmm->nics[n].connection[i] == connection)
				eventfd_write(vmm->nics[n].doorbell[i], 1);
}

// What a VMM's thread does for doorbells of mode CALL.
static void take_calls(struct fake_vmm *vmm, struct fake_vmm_nic *nic)
{
	eventfd_t n;

	for (uint32_t i = 0; i < FAKE_MAX_VPS; i++) {
		const struct fake_guest *guest = &vmm->guest;
		uint32_t flag = nic->call_flag[i];
		uint64_t *word;

		if (nic->call[i] < 0 || eventfd_read(nic->call[i], &n) < 0)
			continue;
		word = (uint64_t *)(fake_page_at(&guest->memory, guest->siefp[nic->call_vp[i]]) +
				    256 * FAKE_SINT);
		__atomic_fetch_or(word + flag / 64, 1ull << flag % 64, __ATOMIC_ACQ_REL);
		vmm->n_irqs++;
	}
}

void fake_vmm_run(struct fake_vmm *vmm)
{
	eventfd_t n;

	for (uint32_t i = 0; i < vmm->cfg.n_nics; i++) {
		if (vmm->nics[i].nic)
			vmbus_nic_run(vmm->nics[i].nic);
		if (vmm->cfg.call)
			take_calls(vmm, &vmm->nics[i]);
	}
	for (uint32_t vp = 0; vp < vmm->guest.n_vps; vp++)
		if (eventfd_read(vmm->irq[vp], &n) == 0)
			vmm->n_irqs += n;
	if (vmbus_server_n_waiting(vmm->server))
		vmbus_server_flush(vmm->server);
}

// Sleeps until something rings, a millisecond at most.
static void sleep_a_little(struct fake_vmm *vmm)
{
	struct pollfd fds[FAKE_MAX_NICS + FAKE_MAX_VPS + FAKE_MAX_NICS * FAKE_MAX_VPS];
	nfds_t n = 0;

	for (uint32_t i = 0; i < vmm->cfg.n_nics; i++) {
		if (vmm->nics[i].nic)
			fds[n++] = (struct pollfd){ vmbus_nic_fd(vmm->nics[i].nic), POLLIN, 0 };
		for (uint32_t c = 0; vmm->cfg.call && c < FAKE_MAX_VPS; c++)
			if (vmm->nics[i].call[c] >= 0)
				fds[n++] = (struct pollfd){ vmm->nics[i].call[c], POLLIN, 0 };
	}
	for (uint32_t vp = 0; vp < vmm->guest.n_vps; vp++)
		fds[n++] = (struct pollfd){ vmm->irq[vp], POLLIN, 0 };
	poll(fds, n, 1);
}

bool fake_vmm_pump(struct fake_vmm *vmm)
{
	bool useful = true;

	if (vmm->cfg.pump)
		useful = vmm->cfg.pump(vmm->cfg.ctx);
	else
		sleep_a_little(vmm);
	fake_vmm_run(vmm);
	return useful;
}

static bool guest_pump(void *ctx)
{
	return fake_vmm_pump(ctx);
}

static const struct fake_host_ops guest_ops = {
	.post = guest_post,
	.signal = guest_signal,
	.pump = guest_pump,
};

// --- life --------------------------------------------------------------------------------------

static int create_server(struct fake_vmm *vmm)
{
	const struct vmbus_server_cfg cfg = {
		.memory = &vmm->memory, .n_vps = vmm->guest.n_vps,
		.max_version = vmm->cfg.max_version, .ops = &host_ops, .vmm = vmm,
	};

	return vmbus_server_create(&cfg, &vmm->server);
}

static int create_nic(struct fake_vmm *vmm, uint32_t i)
{
	const struct fake_memory *memory = &vmm->guest.memory;
	const struct vmbus_nic_cfg cfg = {
		.server = vmm->server,
		.client = { .path = vmm->cfg.path, .name = vmm->cfg.nics[i],
			    .token = vmm->cfg.token,
			    .features = vmm->cfg.features ? vmm->cfg.features : ALL_FEATURES },
		.guest_os_id = LINUX_OS_ID,
		.ops = &nic_ops,
		.vmm = &vmm->nics[i],
	};
	const struct vmbus_client_region region = {
		.bytes = (uint64_t)memory->n_pages * VMBUS_PAGE_BYTES, .fd = memory->fd,
	};
	int ret = vmbus_nic_create(&cfg, &vmm->nics[i].nic);

	return ret ? ret : vmbus_nic_region_add(vmm->nics[i].nic, &region, 0);
}

static void init_nic(struct fake_vmm *vmm, uint32_t i)
{
	struct fake_vmm_nic *nic = &vmm->nics[i];

	*nic = (struct fake_vmm_nic){ .vmm = vmm };
	for (uint32_t c = 0; c < FAKE_MAX_VPS; c++)
		nic->doorbell[c] = nic->call[c] = -1;
}

int fake_vmm_init(struct fake_vmm *vmm, const struct fake_vmm_cfg *cfg)
{
	const struct fake_guest_cfg guest = {
		.n_pages = cfg->n_pages ? cfg->n_pages : 8192,
		.memory_flags = cfg->memory_flags,
		.n_vps = cfg->n_vps ? cfg->n_vps : 1, .monitor = cfg->monitor,
		.ops = &guest_ops, .ctx = vmm, .max_rounds = cfg->max_rounds,
	};
	struct guest_region region;
	int ret;

	memset(vmm, 0, sizeof(*vmm));
	vmm->cfg = *cfg;
	for (uint32_t i = 0; i < FAKE_MAX_NICS; i++)
		init_nic(vmm, i);
	for (uint32_t vp = 0; vp < FAKE_MAX_VPS; vp++)
		vmm->irq[vp] = vp < guest.n_vps ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	ret = fake_guest_init(&vmm->guest, &guest);
	if (ret)
		return ret;
	region = (struct guest_region){ 0, (uint64_t)guest.n_pages * VMBUS_PAGE_BYTES,
					vmm->guest.memory.ram, false };
	ret = guest_memory_add(&vmm->memory, &region);
	if (!ret)
		ret = create_server(vmm);
	for (uint32_t i = 0; !ret && i < cfg->n_nics; i++) {
		ret = create_nic(vmm, i);
		if (!ret)
			ret = vmbus_nic_start(vmm->nics[i].nic);
	}
	if (ret)
		fake_vmm_fini(vmm);
	return ret;
}

// Server and NICs go; the guest knows nothing of it.
static void destroy_host(struct fake_vmm *vmm)
{
	vmbus_server_destroy(vmm->server);
	vmm->server = NULL;
	for (uint32_t i = 0; i < FAKE_MAX_NICS; i++) {
		vmbus_nic_destroy(vmm->nics[i].nic);
		vmm->nics[i].nic = NULL;
	}
}

void fake_vmm_fini(struct fake_vmm *vmm)
{
	destroy_host(vmm);
	for (uint32_t i = 0; i < FAKE_MAX_NICS; i++) {
		for (uint32_t c = 0; c < FAKE_MAX_VPS; c++) {
			if (vmm->nics[i].doorbell[c] >= 0)
				close(vmm->nics[i].doorbell[c]);
			if (vmm->nics[i].call[c] >= 0)
				close(vmm->nics[i].call[c]);
		}
		init_nic(vmm, i);
	}
	for (uint32_t vp = 0; vp < FAKE_MAX_VPS; vp++) {
		if (vmm->irq[vp] >= 0)
			close(vmm->irq[vp]);
		vmm->irq[vp] = -1;
	}
	fake_guest_fini(&vmm->guest);
}

static bool has_all_nics(void *arg)
{
	struct fake_vmm *vmm = arg;

	return fake_guest_nic(&vmm->guest, vmm->cfg.n_nics - 1, 0) != NULL;
}

int fake_vmm_boot(struct fake_vmm *vmm)
{
	int ret = fake_guest_connect(&vmm->guest);

	ret = ret ? ret : fake_guest_request_offers(&vmm->guest);
	// A NIC that the switch did not know yet is offered later.
	return ret ? ret : fake_guest_wait(&vmm->guest, has_all_nics, vmm);
}

// --- requests ----------------------------------------------------------------------------------

struct done_wait {
	const struct fake_vmm_nic *nic;
	uint64_t cookie;
};

static bool is_done(void *arg)
{
	const struct done_wait *wait = arg;

	return wait->nic->cookie == wait->cookie;
}

static int wait_done(struct fake_vmm *vmm, uint32_t nic, uint64_t cookie)
{
	struct done_wait wait = { &vmm->nics[nic], cookie };
	int ret = fake_guest_wait(&vmm->guest, is_done, &wait);

	return ret ? ret : vmm->nics[nic].status;
}

int fake_vmm_pause(struct fake_vmm *vmm, uint32_t nic)
{
	uint64_t cookie = ++vmm->next_cookie;
	int ret = vmbus_nic_pause(vmm->nics[nic].nic, cookie);

	return ret ? ret : wait_done(vmm, nic, cookie);
}

int fake_vmm_resume(struct fake_vmm *vmm, uint32_t nic)
{
	uint64_t cookie = ++vmm->next_cookie;
	int ret = vmbus_nic_resume(vmm->nics[nic].nic, cookie);

	return ret ? ret : wait_done(vmm, nic, cookie);
}

int fake_vmm_save(struct fake_vmm *vmm, uint32_t nic)
{
	uint64_t cookie = ++vmm->next_cookie;
	int ret = vmbus_nic_save(vmm->nics[nic].nic, cookie);

	return ret ? ret : wait_done(vmm, nic, cookie);
}

static int retarget(struct fake_vmm *vmm, uint32_t vp)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < vmm->cfg.n_nics; i++) {
		uint64_t cookie = ++vmm->next_cookie;

		if (!vmm->nics[i].nic)
			continue;
		vmbus_nic_retarget(vmm->nics[i].nic, vp, cookie);
		ret = wait_done(vmm, i, cookie);
	}
	return ret;
}

int fake_vmm_move_synic(struct fake_vmm *vmm, uint32_t vp)
{
	struct fake_memory *memory = &vmm->guest.memory;
	uint32_t before = vmm->guest.siefp[vp], page = fake_page_get(memory);
	int ret;

	if (!page)
		return -ENOMEM;
	memset(fake_page_at(memory, page), 0, VMBUS_PAGE_BYTES);
	vmm->guest.siefp[vp] = page;
	ret = retarget(vmm, vp);
	fake_page_put(memory, before);
	return ret;
}

int fake_vmm_mask(struct fake_vmm *vmm, uint32_t vp, bool masked)
{
	uint64_t bit = 1ull << vp;

	vmm->guest.sint_masked = masked ? vmm->guest.sint_masked | bit
					: vmm->guest.sint_masked & ~bit;
	return retarget(vmm, vp);
}

void fake_vmm_remove(struct fake_vmm *vmm, uint32_t nic)
{
	if (vmm->nics[nic].nic)
		vmbus_nic_remove(vmm->nics[nic].nic);
}

// --- migration ---------------------------------------------------------------------------------

struct image {
	void *bytes;
	size_t n;
};

static int save_all(struct fake_vmm *vmm, struct image *server, struct image *nics)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < vmm->cfg.n_nics; i++) {
		ret = fake_vmm_pause(vmm, i);
		ret = ret ? ret : fake_vmm_save(vmm, i);
		ret = ret ? ret : vmbus_nic_image(vmm->nics[i].nic, &nics[i].bytes, &nics[i].n);
	}
	return ret ? ret : vmbus_server_save(vmm->server, &server->bytes, &server->n);
}

static int restore_all(struct fake_vmm *vmm, const struct image *server, const struct image *nics)
{
	struct err err = { 0 };
	int ret = create_server(vmm);

	for (uint32_t i = 0; !ret && i < vmm->cfg.n_nics; i++) {
		ret = create_nic(vmm, i);
		ret = ret ? ret : vmbus_nic_restore(vmm->nics[i].nic, nics[i].bytes, nics[i].n);
	}
	ret = ret ? ret : vmbus_server_restore(vmm->server, server->bytes, server->n, &err);
	for (uint32_t i = 0; !ret && i < vmm->cfg.n_nics; i++)
		ret = vmbus_nic_start(vmm->nics[i].nic);
	return ret;
}

int fake_vmm_migrate(struct fake_vmm *vmm, const char *path)
{
	struct image server = { 0 }, nics[FAKE_MAX_NICS] = { 0 };
	int ret = save_all(vmm, &server, nics);

	if (!ret) {
		destroy_host(vmm);
		if (path)
			vmm->cfg.path = path;
		ret = restore_all(vmm, &server, nics);
	}
	free(server.bytes);
	for (uint32_t i = 0; i < FAKE_MAX_NICS; i++)
		free(nics[i].bytes);
	return ret;
}
