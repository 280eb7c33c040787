// SPDX-License-Identifier: Apache-2.0
// Control messages between the worker of channel 0, which finds and publishes them, and control,
// which understands them. One request at a time, since the ring waits for its answer; one notice
// at a time beside it. A NIC has one; it outlives a pause (docs/vmbus-user.md, section 8.6).
#pragma once

#include "netvsp/control.h"

enum netvsp_mail {
	NETVSP_MAIL_EMPTY,
	NETVSP_MAIL_REQUESTED, // control has the word: request is filled
	NETVSP_MAIL_ANSWERED,  // the worker has the word: answer is filled
};

struct netvsp_mailbox {
	uint32_t state; // enum netvsp_mail; release by whoever gives the word away
	struct netvsp_request request;
	struct netvsp_answer answer;

	uint32_t notice_posted; // 1: notice is filled (control); 0: it was published (worker)
	struct netvsp_notice notice;

	int fd; // eventfd by which the worker calls control: a request, an answer or a notice that
		// was published; constant
};
