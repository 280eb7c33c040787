// SPDX-License-Identifier: Apache-2.0
// For tests of a whole NIC in one thread: the switch's side (service, port, a worker that runs when
// it is told to), a VMM of raw messages on a real socket, and the guest's driver behind it.
#pragma once

#include "netvsp/nvsp.h"
#include "netvsp/port_netvsp.h"
#include "netvsp/service.h"
#include "netvsp/test_rig.h"
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

// --- the switch ----------------------------------------------------------------------------------

struct sw {
	struct rcu *rcu;
	struct port_pools pools;
	struct netvsp_service *service;
	struct port_dev *dev; // NIC "web0"
	bool worker_stuck;    // the worker is online and not quiescent
	uint64_t instance;
	char events[512];     // names of events, a letter each: A, D, F, R
	struct rte_mbuf *got[256]; // frames that rx returned
	unsigned int n_got;
};

extern struct sw sw;

void sw_create(uint16_t n_queues);
void sw_start(uint16_t n_queues); // service and port alone: what a restart makes anew
void sw_stop(void);
void sw_destroy(void);
void sw_open_port(uint16_t n_queues);
void sw_close_port(void);
void sw_run(void);       // control: until it has nothing to do
void sw_work(void);      // the worker looks at every queue, then control runs
void sw_free_got(void);

// --- the VMM -------------------------------------------------------------------------------------

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

// --- the guest -------------------------------------------------------------------------------------

struct driver {
	struct vmm *vmm;
	struct rig rig[4]; // ends of its channels; rig[0] also has the buffers
	uint64_t id;       // of the last packet
	uint8_t completion[64];
};

void driver_open(struct driver *driver, struct vmm *vmm, unsigned int channel); // its ends of rings
bool driver_ask(struct driver *driver, const void *nvsp, uint32_t bytes); // true: was completed
bool driver_rndis(struct driver *driver, const void *message, uint32_t bytes, uint8_t *answer);
void driver_start(struct driver *driver); // up to the packet filter
void driver_send(struct driver *driver, unsigned int channel, uint32_t mark);
int64_t driver_receive(struct driver *driver, unsigned int channel); // mark of a frame, -1: none
