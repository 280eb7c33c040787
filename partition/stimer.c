// SPDX-License-Identifier: Apache-2.0
#include "partition/stimer.h"

#include <errno.h>

enum { ENABLED = 1, PERIODIC = 2, AUTO_ENABLE = 8, DIRECT = 1 << 12 };
#define CONFIG_BITS 0x000f1fffull
#define RETRY 10000u // 1 ms: a full message slot is tried again, EOM or not

// What a timer's message says (TLFS, "HV_TIMER_MESSAGE_PAYLOAD").
struct timer_message {
	uint32_t index, reserved;
	uint64_t expired, delivered;
};

static uint32_t sint_of(uint64_t config) { return config >> 16 & 0x0f; }
static uint8_t vector_of(uint64_t config) { return config >> 4 & 0xff; }

void partition_stimers_reset(struct partition_stimers *stimers)
{
	for (uint32_t i = 0; i < PARTITION_N_STIMERS; i++)
		stimers->timers[i] = (struct partition_stimer){ .due = PARTITION_STIMER_NEVER };
}

int partition_stimers_read(const struct partition_stimers *stimers, uint32_t msr, uint64_t *value)
{
	uint32_t at = msr - PARTITION_MSR_STIMER0_CONFIG;
	const struct partition_stimer *timer = &stimers->timers[at / 2 % PARTITION_N_STIMERS];

	*value = at % 2 ? timer->count : timer->config;
	return 0;
}

// Does the timer have somewhere to go?
static bool has_target(uint64_t config)
{
	return config & DIRECT ? vector_of(config) >= 16 : sint_of(config) != 0;
}

static uint64_t period_of(const struct partition_stimer *timer)
{
	return timer->count > PARTITION_STIMER_MIN_PERIOD ? timer->count
							  : PARTITION_STIMER_MIN_PERIOD;
}

static void arm(struct partition_stimer *timer, uint64_t now)
{
	timer->missed = 0;
	timer->due = PARTITION_STIMER_NEVER;
	if (!(timer->config & ENABLED) || timer->count == 0)
		return;
	timer->due = timer->config & PERIODIC ? now + period_of(timer) : timer->count;
	if (timer->due < now && (timer->config & PERIODIC))
		timer->due = PARTITION_STIMER_NEVER; // a period beyond all time
}

int partition_stimers_write(struct partition_stimers *stimers, uint32_t msr, uint64_t value,
			    uint64_t now)
{
	uint32_t at = msr - PARTITION_MSR_STIMER0_CONFIG;
	struct partition_stimer *timer = &stimers->timers[at / 2 % PARTITION_N_STIMERS];

	if (at % 2 == 0) {
		if (value & ~CONFIG_BITS)
			return -EINVAL;
		timer->config = value;
	} else {
		timer->count = value;
		if (value == 0)
			timer->config &= ~(uint64_t)ENABLED;
		else if (timer->config & AUTO_ENABLE)
			timer->config |= ENABLED;
	}
	if (!has_target(timer->config))
		timer->config &= ~(uint64_t)ENABLED;
	arm(timer, now);
	return 0;
}

uint64_t partition_stimers_due(const struct partition_stimers *stimers)
{
	uint64_t due = PARTITION_STIMER_NEVER;

	for (uint32_t i = 0; i < PARTITION_N_STIMERS; i++)
		if (stimers->timers[i].due < due)
			due = stimers->timers[i].due;
	return due;
}

// False: the message slot is full.
static bool deliver(struct partition_stimers *stimers, uint32_t i, uint64_t expired, uint64_t now)
{
	struct partition_synic *synic = stimers->synic;
	uint64_t config = stimers->timers[i].config;
	const struct timer_message body = { .index = i, .expired = expired, .delivered = now };
	const struct partition_message message = { .type = PARTITION_MESSAGE_TIMER,
						   .payload = &body, .bytes = sizeof(body) };

	if (config & DIRECT) {
		synic->interrupt(synic->owner, synic->vp, vector_of(config));
		return true;
	}
	return partition_synic_post(synic, sint_of(config), &message) != -EAGAIN;
}

static void fire(struct partition_stimers *stimers, uint32_t i, uint64_t now)
{
	struct partition_stimer *timer = &stimers->timers[i];
	uint64_t expired = timer->missed ? timer->missed : timer->due;

	if (!deliver(stimers, i, expired, now)) {
		timer->missed = expired;
		timer->due = now + RETRY;
		return;
	}
	timer->missed = 0;
	timer->due = PARTITION_STIMER_NEVER;
	if (!(timer->config & PERIODIC)) {
		timer->config &= ~(uint64_t)ENABLED;
		return;
	}
	// Periods that passed unnoticed are left out.
	timer->due = expired + period_of(timer);
	if (timer->due <= now)
		timer->due = now + period_of(timer);
}

void partition_stimers_run(struct partition_stimers *stimers, uint64_t now)
{
	for (uint32_t i = 0; i < PARTITION_N_STIMERS; i++)
		if (stimers->timers[i].due <= now)
			fire(stimers, i, now);
}
