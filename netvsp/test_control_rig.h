// SPDX-License-Identifier: Apache-2.0
// A guest's driver for unit tests of the control machine: it sends NVSP and RNDIS messages as
// bytes and picks answers apart. One rig for a test program.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "netvsp/control.h"
#include "netvsp/rndis.h"

#define RIG_RECEIVE_GPADL 0xe1e10u // 16 MiB
#define RIG_SEND_GPADL 0xe1e11u    // 1 MiB
#define RIG_RECEIVE_BYTES (16u << 20)
#define RIG_SEND_BYTES (1u << 20)
#define RIG_RECEIVE_ID 0xcafe
#define RIG_SPEED 10000000000ull // bit/s
#define RIG_MAC { { 0x00, 0x15, 0x5d, 0x01, 0x02, 0x03 } }

struct rig {
	struct netvsp_control control;
	struct netvsp_config config; // changed before rig_open
	struct netvsp_request request;
	struct netvsp_answer answer; // to the last request
	struct netvsp_notice notice;
	uint64_t receive_bytes, send_bytes; // of the two GPADLs
	struct netvsp_totals totals;
	uint32_t request_id; // of the last RNDIS request
};

extern struct rig rig;

// Setup of every test: configuration and machine are new. Four channels, NVSP up to 6.1.
int rig_set_up(void **state);

// The machine anew with rig.config.
void rig_open(void);

// Sends an NVSP message as guests do, padded to 40 bytes, with or without the completion flag.
// Returns the effects.
uint32_t rig_nvsp(const void *message, uint32_t bytes);
uint32_t rig_nvsp_unflagged(const void *message, uint32_t bytes);

// Sends an RNDIS message with NVSP 107. The completion must be 108 with success. Returns effects.
uint32_t rig_rndis(const void *message, uint32_t bytes);

// The same, whatever comes of it.
uint32_t rig_rndis_any(const void *message, uint32_t bytes);

// QUERY and SET. Return the status of the answer.
uint32_t rig_query(uint32_t oid, const void *info, uint32_t bytes);
uint32_t rig_set(uint32_t oid, const void *info, uint32_t bytes);

// Value of the last QUERY.
const uint8_t *rig_value(void);
uint32_t rig_value_bytes(void);
uint32_t rig_query_u32(uint32_t oid); // it must succeed and be 4 bytes

// Word at `offset` of the last completion or message.
uint32_t rig_completion(uint32_t offset);
uint32_t rig_message(uint32_t offset);

// Whether the last completion is 108 with failure.
bool rig_was_refused(void);

// Steps of a handshake, each of which must succeed.
void rig_init(uint32_t version);
void rig_ndis(uint32_t version); // NDIS_CONFIG with all capabilities and MTU 1514, NDIS_VERSION
void rig_buffers(void);
void rig_initialize(void); // RNDIS

// All of them; channel 0 is open.
void rig_handshake(uint32_t version);

// SUBCHANNEL for n more channels; all are granted and opened.
void rig_subchannels(uint32_t n);

// RSS parameters as Linux sends them: table, then key. Returns the status.
uint32_t rig_set_rss(uint16_t flags, uint32_t hash, const uint32_t *table, uint32_t n);

// The next notice of the machine. Returns false if there is none.
bool rig_notice(uint64_t now_ns);
