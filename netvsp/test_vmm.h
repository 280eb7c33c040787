// SPDX-License-Identifier: Apache-2.0
// For tests of a whole NIC in one thread: a VMM of raw messages on a real socket, or one that uses
// vmbus/client.h, and the guest's driver behind it.
#pragma once

#include "netvsp/nvsp.h"
#include "netvsp/test_rig.h"
#include "netvsp/test_switch.h"
#include "vmbus/client.h"
#include "vmbus/user_socket.h"

#define VMM_RAM_GPA 0x100000ull
#define VMM_RAM_BYTES (16u << 20)
#define VMM_FLAGS_PAGE 0u // of RAM, where things lie
#define VMM_MONITOR_PAGE 1u
#define VMM_RING_PAGES 16u // of a channel, both ways; the first one's are at …
#define VMM_RINGS_PAGE(channel) (16u + VMM_RING_PAGES * (channel))
#define VMM_RECEIVE_PAGE 128u
#define VMM_RECEIVE_PAGES 512u
#define VMM_SEND_PAGE 700u
#define VMM_SEND_PAGES 128u
#define VMM_RINGS_GPADL 1u
#define VMM_RECEIVE_GPADL 10u
#define VMM_SEND_GPADL 11u
#define VMM_HUNG_UP (-1)
#define VMM_SILENT (-2)

// --- the VMM -----------------------------------------------------------------------------------

struct vmm {
	int fd, ram_fd, state_fd;
	uint8_t *ram;
	int guest_fds[4], irq_fds[4]; // of channels
	uint32_t serial;
	uint32_t open_serials[4];
	uint64_t features;
	uint32_t will_grant; // sub-channels
	uint32_t n_asked;    // that the switch wanted
	uint32_t failed;     // CHANNEL_FAILED: bit of the channel
	uint32_t left_why;   // LEAVING: the reason
	struct vmbus_user_datagram reply; // the last one
	// With the client library:
	struct vmbus_client *client; // NULL: raw messages
	uint64_t cookie;             // of the last request
	int status;                  // of it; VMM_SILENT: not ended yet
	uint32_t n_attached, n_lost; // times
	uint64_t n_recovered, n_frames_lost; // that START told of last
};

// A VMM with RAM (sealed or not), state memory, and no connection.
void vmm_create(struct vmm *vmm, bool sealed);
void vmm_destroy(struct vmm *vmm);
void vmm_connect(struct vmm *vmm);
void vmm_hang_up(struct vmm *vmm);

// Sends a request with fds[n] and lets the switch run. Returns the reply's status, VMM_HUNG_UP or
// VMM_SILENT: no answer yet.
int vmm_ask(struct vmm *vmm, enum vmbus_user_type type, void *message, uint32_t bytes,
	    const int *fds, uint32_t n);
int vmm_wait(struct vmm *vmm); // for the reply that did not come
void vmm_listen(struct vmm *vmm); // takes requests and notices of the switch
int vmm_ask_plain(struct vmm *vmm, enum vmbus_user_type type);

int vmm_hello(struct vmm *vmm, const char *name, const uint8_t *token);
int vmm_state(struct vmm *vmm, enum vmbus_user_origin origin);
int vmm_region(struct vmm *vmm, uint32_t number, uint64_t gpa, uint64_t bytes);
int vmm_gpadl(struct vmm *vmm, uint32_t id, uint32_t channel, uint32_t page, uint32_t n_pages);
int vmm_teardown(struct vmm *vmm, uint32_t id, uint32_t channel);
int vmm_open(struct vmm *vmm, uint32_t channel, bool resume, uint32_t monitor_id);
int vmm_close(struct vmm *vmm, uint32_t channel);
void vmm_attach(struct vmm *vmm); // all of that up to START and an open channel 0

// The same by the client library, to which vmm_gpadl and vmm_listen go from then on.
void vmm_client_create(struct vmm *vmm, bool sealed);
int vmm_client_wait(struct vmm *vmm); // for the last request; its cookie is vmm->cookie
void vmm_client_open(struct vmm *vmm, bool resume);
void vmm_client_load(struct vmm *vmm); // region, rings' GPADL
void vmm_client_attach(struct vmm *vmm);

// --- the guest ---------------------------------------------------------------------------------

struct driver {
	struct vmm *vmm;
	struct rig rig[4]; // ends of its channels; rig[0] also has the buffers
	uint64_t id;       // of the last packet
	uint8_t completion[64];
};

// Its ends of rings, from the beginning; and the same driver, after its RAM has moved.
void driver_open(struct driver *driver, struct vmm *vmm, unsigned int channel);
void driver_move(struct driver *driver, struct vmm *vmm);
void driver_put(struct driver *driver, const void *nvsp, uint32_t bytes); // asks …
bool driver_await(struct driver *driver); // … and waits for the completion
bool driver_ask(struct driver *driver, const void *nvsp, uint32_t bytes); // true: was completed
bool driver_rndis(struct driver *driver, const void *message, uint32_t bytes, uint8_t *answer);
void driver_start(struct driver *driver); // up to the packet filter
void driver_send(struct driver *driver, unsigned int channel, uint32_t mark);
int64_t driver_receive(struct driver *driver, unsigned int channel); // mark of a frame, -1: none
