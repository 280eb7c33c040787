// SPDX-License-Identifier: Apache-2.0
// A NIC of the client as an image: GUID, open serials, state memory.
#include <errno.h>
#include <stdlib.h>

#include "vmbus/client_impl.h"
#include "vmbus/image.h"

#define CLIENT_IMAGE 0x4c434d5654464557ull // "WEFTVMCL"
#define CLIENT_IMAGE_VERSION 1

// The state memory itself. Its content is the switch's; it is copied, not looked at.
static int put_state(struct vmbus_image_writer *w, int fd, uint32_t bytes)
{
	uint8_t page[4096];

	for (uint32_t at = 0; at < bytes;) {
		uint32_t n = bytes - at < sizeof(page) ? bytes - at : sizeof(page);
		ssize_t got = pread(fd, page, n, at);

		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		vmbus_image_put(w, page, (size_t)got);
		at += (uint32_t)got;
	}
	return 0;
}

int vmbus_client_image(const struct vmbus_client *client, void **image, size_t *bytes)
{
	struct vmbus_image_writer w;
	int ret;

	if (!client->is_saved)
		return -EAGAIN;
	vmbus_image_begin(&w, CLIENT_IMAGE, CLIENT_IMAGE_VERSION);
	vmbus_image_put(&w, client->peer.guid, sizeof(client->peer.guid));
	for (uint32_t i = 0; i < VMBUS_USER_MAX_CHANNELS; i++) {
		vmbus_image_put_u32(&w, client->channels[i].serial);
		vmbus_image_put_u32(&w, client->channels[i].last_serial);
	}
	vmbus_image_put_u32(&w, client->state_bytes);
	ret = put_state(&w, client->state_fd, client->state_bytes);
	if (ret < 0) {
		free(w.bytes);
		return ret;
	}
	return vmbus_image_end(&w, image, bytes);
}

int vmbus_client_restore(struct vmbus_client *client, const void *image, size_t bytes)
{
	struct vmbus_image_reader r;
	uint32_t serials[VMBUS_USER_MAX_CHANNELS][2], state_bytes;
	const void *state;
	uint8_t guid[16];
	int fd;

	if (client->phase != VMBUS_CLIENT_AWAY || client->is_known || client->state_fd >= 0)
		return -EBUSY;
	if (vmbus_image_open(&r, image, bytes, CLIENT_IMAGE, CLIENT_IMAGE_VERSION) < 0)
		return -EINVAL;
	vmbus_image_get(&r, guid, sizeof(guid));
	for (uint32_t i = 0; i < VMBUS_USER_MAX_CHANNELS; i++) {
		serials[i][0] = vmbus_image_get_u32(&r);
		serials[i][1] = vmbus_image_get_u32(&r);
	}
	state_bytes = vmbus_image_get_u32(&r);
	state = vmbus_image_skip(&r, state_bytes);
	if (!vmbus_image_is_done(&r) || !state_bytes)
		return -EINVAL;
	fd = vmbus_client_make_state(state, state_bytes);
	if (fd < 0)
		return fd;
	client->state_fd = fd;
	client->state_bytes = state_bytes;
	client->has_image = client->has_guid = true;
	memcpy(client->peer.guid, guid, sizeof(guid));
	for (uint32_t i = 0; i < VMBUS_USER_MAX_CHANNELS; i++) {
		client->channels[i].serial = serials[i][0];
		client->channels[i].last_serial = serials[i][1];
	}
	return 0;
}
