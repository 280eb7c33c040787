// SPDX-License-Identifier: Apache-2.0
#include "vmbus/nic.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

// f8615163-df3e-46c5-913f-f2d2f965ed0e, in Microsoft's mixed order.
static const uint8_t nic_type[16] = { 0x63, 0x51, 0x61, 0xf8, 0x3e, 0xdf, 0xc5, 0x46,
				      0x91, 0x3f, 0xf2, 0xd2, 0xf9, 0x65, 0xed, 0x0e };

// A request of the VMM's, or one that takes several of the client's.
struct waiter {
	struct waiter *next;
	uint64_t cookie;
	uint32_t number;
	uint32_t n_left; // answers
	int status;      // of the first that failed
};

struct channel {
	bool has_doorbell;
	uint32_t relid;
	uint32_t target_vp; // where events go, or will
	uint32_t old_vp;    // while the guest's MODIFY is under way
};

struct vmbus_nic {
	struct vmbus_nic_cfg cfg;
	struct vmbus_client *client;
	struct vmbus_device *device; // NULL: not offered yet, or gone
	uint64_t features;
	uint64_t guest_os_id;
	bool is_leaving, is_running; // running: inside vmbus_nic_run
	bool is_gone;                // to be freed at its end
	bool has_monitor;            // the switch knows of the monitor page
	uint32_t last_number;
	struct waiter *waiters;
	struct channel channels[VMBUS_DEVICE_MAX_CHANNELS];
};

// What an answer of the client's is for; in the upper bits of its cookie.
enum kind { NOTHING, START, GPADL, TEARDOWN, OPEN, RESUMED, CLOSE, MODIFY, RESET, WAITER };

static uint64_t cookie(enum kind kind, uint32_t channel, uint32_t value)
{
	return (uint64_t)kind << 56 | (uint64_t)channel << 32 | value;
}

static void say(struct vmbus_nic *nic, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct vmbus_nic *nic, const char *fmt, ...)
{
	char text[320];
	va_list ap;

	if (!nic->cfg.ops->says)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	nic->cfg.ops->says(nic->cfg.vmm, text);
}

static void let_go(struct vmbus_nic *nic, uint32_t channel)
{
	if (!nic->channels[channel].has_doorbell)
		return;
	nic->channels[channel].has_doorbell = false;
	nic->cfg.ops->closed(nic->cfg.vmm, channel);
}

// --- waiters -----------------------------------------------------------------------------------

static struct waiter *waiter_add(struct vmbus_nic *nic, uint64_t vmm_cookie)
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (w) {
		w->next = nic->waiters;
		w->cookie = vmm_cookie;
		w->number = ++nic->last_number;
		nic->waiters = w;
	}
	return w;
}

static void waiter_del(struct vmbus_nic *nic, struct waiter *w)
{
	struct waiter **at = &nic->waiters;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	free(w);
}

static uint64_t waiter_cookie(struct waiter *w)
{
	w->n_left++;
	return cookie(WAITER, 0, w->number);
}

static void waiter_done(struct vmbus_nic *nic, uint32_t number, int status)
{
	struct waiter *w = nic->waiters;
	uint64_t vmm_cookie;

	while (w && w->number != number)
		w = w->next;
	if (!w)
		return;
	// A channel that was closed meanwhile has no target that could be wrong.
	if (status < 0 && status != -ECANCELED && status != -ENOTCONN && w->status == 0)
		w->status = status;
	if (--w->n_left > 0)
		return;
	vmm_cookie = w->cookie;
	status = w->status;
	waiter_del(nic, w);
	nic->cfg.ops->done(nic->cfg.vmm, vmm_cookie, status);
}

// --- the guest's wishes ------------------------------------------------------------------------

static void on_gpadl(void *arg, uint32_t channel, const struct vmbus_gpadl *gpadl, bool resume)
{
	struct vmbus_nic *nic = arg;
	uint64_t c = cookie(resume ? NOTHING : GPADL, channel, gpadl->id);

	if (vmbus_client_gpadl_add(nic->client, channel, gpadl->id, &gpadl->runs, c) < 0 &&
	    !resume)
		vmbus_device_gpadl_done(nic->device, channel, gpadl->id, false);
}

// Out of memory where something must end: there is no way to tell the switch.
static void give_up(struct vmbus_nic *nic)
{
	say(nic, "out of memory: the NIC of the guest stays as it is");
}

static void on_teardown(void *arg, uint32_t channel, uint32_t gpadl)
{
	struct vmbus_nic *nic = arg;

	if (vmbus_client_gpadl_teardown(nic->client, channel, gpadl,
					cookie(TEARDOWN, channel, gpadl)) < 0)
		give_up(nic);
}

static struct vmbus_client_target make_target(struct vmbus_nic *nic, uint32_t channel)
{
	const struct vmbus_contact *contact = vmbus_server_contact(nic->cfg.server);
	const struct channel *c = &nic->channels[channel];
	struct vmbus_client_target target = {
		.mode = nic->features & VMBUS_USER_DIRECT ? VMBUS_USER_MODE_DIRECT :
							    VMBUS_USER_MODE_CALL,
		.flag = c->relid,
		.vp = c->target_vp,
		.sint = contact ? contact->sint : VMBUS_MESSAGE_SINT,
		.fd = -1,
	};

	if (c->target_vp == VMBUS_NO_INTERRUPT) {
		target.mode = VMBUS_USER_MODE_NONE;
		target.vp = 0;
	} else {
		nic->cfg.ops->target(nic->cfg.vmm, channel, &target);
	}
	return target;
}

// Before the first channel with a monitor id.
static void tell_monitor(struct vmbus_nic *nic, const struct vmbus_open *open)
{
	const struct vmbus_contact *contact = vmbus_server_contact(nic->cfg.server);

	if (open->monitor_id == VMBUS_OFFER_NO_MONITOR || nic->has_monitor || !contact)
		return;
	nic->has_monitor = vmbus_client_set_monitor(nic->client, contact->to_host_monitor_gpa,
						    contact->to_guest_monitor_gpa,
						    cookie(NOTHING, 0, 0)) == 0;
}

static int ask_open(struct vmbus_nic *nic, uint32_t channel, const struct vmbus_open *open)
{
	const struct vmbus_contact *contact = vmbus_server_contact(nic->cfg.server);
	struct vmbus_client_open wanted = {
		.channel = channel,
		.relid = open->relid,
		.gpadl = open->gpadl->id,
		.h2g_page = open->downstream_page,
		.vmbus_version = contact ? contact->version : 0,
		.monitor_id = open->monitor_id == VMBUS_OFFER_NO_MONITOR ? VMBUS_USER_NO_MONITOR :
									    open->monitor_id,
		.guest_os_id = nic->guest_os_id,
		.resume = open->resume,
	};

	tell_monitor(nic, open);
	wanted.kick_fd = nic->cfg.ops->doorbell(nic->cfg.vmm, channel, open->connection_id);
	if (wanted.kick_fd < 0)
		return wanted.kick_fd;
	nic->channels[channel] = (struct channel){ true, open->relid, open->target_vp,
						   open->target_vp };
	wanted.target = make_target(nic, channel);
	return vmbus_client_open(nic->client, &wanted,
				 cookie(open->resume ? RESUMED : OPEN, channel, 0));
}

static void opened(struct vmbus_nic *nic, uint32_t channel, bool resume, int status,
		   const char *text)
{
	if (status < 0) {
		if (status != -ECANCELED)
			say(nic, "channel %u cannot be opened: %s (%s)", channel, text,
			    strerror(-status));
		let_go(nic, channel);
	}
	if (!resume)
		vmbus_device_open_done(nic->device, channel, status == 0);
	else if (status < 0 && status != -ECANCELED)
		vmbus_device_reoffer(nic->device);
}

static void on_open(void *arg, uint32_t channel, const struct vmbus_open *open)
{
	struct vmbus_nic *nic = arg;
	int ret = ask_open(nic, channel, open);

	if (ret < 0)
		opened(nic, channel, open->resume, ret, "the VMM fails");
}

static void on_close(void *arg, uint32_t channel)
{
	struct vmbus_nic *nic = arg;

	if (vmbus_client_close(nic->client, channel, cookie(CLOSE, channel, 0)) < 0)
		give_up(nic);
}

static void on_modify(void *arg, uint32_t channel, uint32_t target_vp)
{
	struct vmbus_nic *nic = arg;
	struct channel *c = &nic->channels[channel];
	struct vmbus_client_target target;

	c->old_vp = c->target_vp;
	c->target_vp = target_vp;
	target = make_target(nic, channel);
	if (vmbus_client_set_target(nic->client, channel, &target, cookie(MODIFY, channel, 0)) == 0)
		return;
	c->target_vp = c->old_vp;
	vmbus_device_modify_done(nic->device, channel, false);
}

static void on_reset(void *arg)
{
	struct vmbus_nic *nic = arg;

	nic->has_monitor = false;
	if (vmbus_client_reset(nic->client, cookie(RESET, 0, 0)) < 0)
		give_up(nic);
}

static void end(struct vmbus_nic *nic)
{
	struct vmbus_nic_cfg cfg = nic->cfg;

	vmbus_nic_destroy(nic);
	if (cfg.ops->gone)
		cfg.ops->gone(cfg.vmm);
}

static void on_gone(void *arg)
{
	struct vmbus_nic *nic = arg;

	nic->device = NULL;
	nic->is_gone = true;
	if (!nic->is_running)
		end(nic);
}

static const struct vmbus_device_ops device_ops = {
	.gpadl = on_gpadl,
	.gpadl_teardown = on_teardown,
	.open = on_open,
	.close = on_close,
	.modify = on_modify,
	.reset = on_reset,
	.gone = on_gone,
};

// --- the switch's answers ----------------------------------------------------------------------

static int offer(struct vmbus_nic *nic, const uint8_t guid[16])
{
	struct vmbus_device_cfg cfg = { .flags = VMBUS_OFFER_ENUMERATE_DEVICE_INTERFACE,
					.wants_monitor = nic->features & VMBUS_USER_MONITOR,
					.ops = &device_ops,
					.device = nic };

	memcpy(cfg.type, nic_type, sizeof(cfg.type));
	memcpy(cfg.instance, guid, sizeof(cfg.instance));
	return vmbus_device_add(nic->cfg.server, &cfg, &nic->device);
}

static void on_attached(void *arg, const struct vmbus_client_peer *peer)
{
	struct vmbus_nic *nic = arg;
	int ret;

	nic->features = peer->features;
	if (nic->cfg.ops->attached)
		nic->cfg.ops->attached(nic->cfg.vmm, peer);
	if (nic->device || nic->is_leaving)
		return;
	ret = offer(nic, peer->guid);
	if (ret < 0)
		say(nic, "the NIC cannot be offered to the guest: %s", strerror(-ret));
}

static void on_detached(void *arg, const char *why, bool final)
{
	struct vmbus_nic *nic = arg;

	if (nic->cfg.ops->detached)
		nic->cfg.ops->detached(nic->cfg.vmm, why, final);
	if (final && nic->device)
		vmbus_device_remove(nic->device);
}

static void modified(struct vmbus_nic *nic, uint32_t channel, int status)
{
	struct channel *c = &nic->channels[channel];

	if (status < 0)
		c->target_vp = c->old_vp;
	vmbus_device_modify_done(nic->device, channel, status == 0);
}

static void was_reset(struct vmbus_nic *nic)
{
	for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS; i++)
		let_go(nic, i);
	vmbus_device_reset_done(nic->device);
}

// Nothing ends badly: if the switch says that there was nothing to end, so much the better.
static void check_end(struct vmbus_nic *nic, int status, const char *text)
{
	if (status < 0 && status != -ENOENT)
		say(nic, "the switch does not let go: %s", text);
}

static void on_done(void *arg, uint64_t c, int status, const char *text)
{
	struct vmbus_nic *nic = arg;
	uint32_t channel = (uint32_t)(c >> 32) & 0xffff, value = (uint32_t)c;
	enum kind kind = (enum kind)(c >> 56);

	if (kind == WAITER) {
		waiter_done(nic, value, status);
		return;
	}
	if (kind == START && status < 0)
		say(nic, "the switch cannot serve the NIC: %s", text);
	if (kind < GPADL || !nic->device)
		return;
	if (kind >= TEARDOWN && kind != OPEN && kind != RESUMED && kind != MODIFY)
		check_end(nic, status, text);
	switch (kind) {
	case GPADL: vmbus_device_gpadl_done(nic->device, channel, value, status == 0); break;
	case TEARDOWN: vmbus_device_gpadl_teardown_done(nic->device, channel, value); break;
	case OPEN: opened(nic, channel, false, status, text); break;
	case RESUMED: opened(nic, channel, true, status, text); break;
	case CLOSE:
		let_go(nic, channel);
		vmbus_device_close_done(nic->device, channel);
		break;
	case MODIFY: modified(nic, channel, status); break;
	case RESET: was_reset(nic); break;
	default: break;
	}
}

static void on_subchannels(void *arg, uint32_t n_wanted)
{
	struct vmbus_nic *nic = arg;
	uint32_t n = 0;

	if (nic->device)
		n = vmbus_device_offer_subchannels(nic->device, n_wanted);
	vmbus_client_grant(nic->client, n);
}

static void on_channel_failed(void *arg, uint32_t channel, uint32_t reason, const char *text)
{
	struct vmbus_nic *nic = arg;

	say(nic, "channel %u has failed: %s (%u)", channel, text, reason);
	if (nic->device && !nic->cfg.keep_failed)
		vmbus_device_reoffer(nic->device);
}

static void on_lost(void *arg, const char *why)
{
	struct vmbus_nic *nic = arg;

	say(nic, "the guest must begin anew: %s", why);
	nic->has_monitor = false;
	if (nic->device)
		vmbus_device_reoffer(nic->device);
}

static void on_leaving(void *arg, uint32_t reason, uint32_t back_in_ms, const char *text)
{
	say(arg, "the switch leaves: %s (%u), back in %u ms", text, reason, back_in_ms);
}

static const struct vmbus_client_ops client_ops = {
	.attached = on_attached,
	.detached = on_detached,
	.done = on_done,
	.subchannels = on_subchannels,
	.channel_failed = on_channel_failed,
	.lost = on_lost,
	.leaving = on_leaving,
};

// --- the VMM's calls ---------------------------------------------------------------------------

int vmbus_nic_create(const struct vmbus_nic_cfg *cfg, struct vmbus_nic **out)
{
	struct vmbus_client_cfg client = cfg->client;
	struct vmbus_nic *nic = calloc(1, sizeof(*nic));
	int ret;

	if (!nic)
		return -ENOMEM;
	nic->cfg = *cfg;
	nic->features = client.features;
	nic->guest_os_id = cfg->guest_os_id;
	client.ops = &client_ops;
	client.vmm = nic;
	ret = vmbus_client_create(&client, &nic->client);
	if (ret < 0) {
		free(nic);
		return ret;
	}
	*out = nic;
	return 0;
}

void vmbus_nic_destroy(struct vmbus_nic *nic)
{
	if (!nic)
		return;
	vmbus_client_destroy(nic->client);
	while (nic->waiters)
		waiter_del(nic, nic->waiters);
	free(nic);
}

void vmbus_nic_remove(struct vmbus_nic *nic)
{
	nic->is_leaving = true;
	if (nic->device)
		vmbus_device_remove(nic->device);
	else
		on_gone(nic);
}

int vmbus_nic_fd(const struct vmbus_nic *nic) { return vmbus_client_fd(nic->client); }

void vmbus_nic_run(struct vmbus_nic *nic)
{
	nic->is_running = true;
	vmbus_client_run(nic->client);
	nic->is_running = false;
	if (nic->is_gone)
		end(nic);
}

int vmbus_nic_start(struct vmbus_nic *nic)
{
	return vmbus_client_start(nic->client, cookie(START, 0, 0));
}

void vmbus_nic_set_guest_os(struct vmbus_nic *nic, uint64_t guest_os_id)
{
	nic->guest_os_id = guest_os_id;
}

int vmbus_nic_retarget(struct vmbus_nic *nic, uint32_t vp, uint64_t vmm_cookie)
{
	struct waiter *w = waiter_add(nic, vmm_cookie);
	int ret = 0;

	if (!w)
		return -ENOMEM;
	for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS && ret == 0; i++) {
		struct vmbus_client_target target;

		if (!nic->channels[i].has_doorbell || nic->channels[i].target_vp != vp)
			continue;
		target = make_target(nic, i);
		ret = vmbus_client_set_target(nic->client, i, &target, waiter_cookie(w));
	}
	// The one that failed is not answered; those before it are, for nobody.
	if (ret == 0)
		ret = (int)w->n_left;
	if (ret <= 0)
		waiter_del(nic, w);
	return ret;
}

// For a request of the client's that was made with a new waiter's cookie, or failed.
static int wait_for(struct vmbus_nic *nic, struct waiter *w, int ret)
{
	if (ret < 0)
		waiter_del(nic, w);
	return ret;
}

int vmbus_nic_region_add(struct vmbus_nic *nic, const struct vmbus_client_region *region,
			 uint64_t vmm_cookie)
{
	struct waiter *w = waiter_add(nic, vmm_cookie);

	return w ? wait_for(nic, w, vmbus_client_region_add(nic->client, region,
							    waiter_cookie(w))) :
		   -ENOMEM;
}

int vmbus_nic_region_del(struct vmbus_nic *nic, uint32_t region, uint64_t vmm_cookie)
{
	struct waiter *w = waiter_add(nic, vmm_cookie);

	return w ? wait_for(nic, w, vmbus_client_region_del(nic->client, region,
							    waiter_cookie(w))) :
		   -ENOMEM;
}

int vmbus_nic_dirty_log(struct vmbus_nic *nic, int fd, uint64_t bytes, uint64_t vmm_cookie)
{
	struct waiter *w = waiter_add(nic, vmm_cookie);

	return w ? wait_for(nic, w, vmbus_client_dirty_log(nic->client, fd, bytes,
							   waiter_cookie(w))) :
		   -ENOMEM;
}

static int ask_plain(struct vmbus_nic *nic, int (*ask)(struct vmbus_client *, uint64_t),
		     uint64_t vmm_cookie)
{
	struct waiter *w = waiter_add(nic, vmm_cookie);

	return w ? wait_for(nic, w, ask(nic->client, waiter_cookie(w))) : -ENOMEM;
}

int vmbus_nic_pause(struct vmbus_nic *nic, uint64_t vmm_cookie)
{
	return ask_plain(nic, vmbus_client_pause, vmm_cookie);
}

int vmbus_nic_resume(struct vmbus_nic *nic, uint64_t vmm_cookie)
{
	return ask_plain(nic, vmbus_client_resume, vmm_cookie);
}

int vmbus_nic_save(struct vmbus_nic *nic, uint64_t vmm_cookie)
{
	return ask_plain(nic, vmbus_client_save, vmm_cookie);
}

int vmbus_nic_image(const struct vmbus_nic *nic, void **image, size_t *bytes)
{
	return vmbus_client_image(nic->client, image, bytes);
}

int vmbus_nic_restore(struct vmbus_nic *nic, const void *image, size_t bytes)
{
	int ret = vmbus_client_restore(nic->client, image, bytes);
	uint8_t guid[16];

	if (ret < 0)
		return ret;
	vmbus_client_guid(nic->client, guid);
	return offer(nic, guid);
}
