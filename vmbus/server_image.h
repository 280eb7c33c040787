// SPDX-License-Identifier: Apache-2.0
// The image of a VMBus server, between server_save.c and server_restore.c. In order:
//
//     connection  state, contact, offers_sent, next, next_contact, last relid
//     messages    where they go, number, then each: bytes, message
//     devices     number, then each: type, instance, is_leaving, number of channels, channels
//       channel   index, relid, monitor id, state, two requests, flags, numbers of MODIFY and OPEN,
//                 number of GPADLs, GPADLs: state, id, ranges, offset, pages, runs (gpa, bytes)
//     pending     number, then each GPADL in the making: relid, id, ranges, words, filled, words
#pragma once

#define VMBUS_SERVER_IMAGE 0x53554d5654464557ull // "WEFTVMUS"
#define VMBUS_SERVER_IMAGE_VERSION 1

enum vmbus_image_flag {
	VMBUS_IMAGE_MODIFYING = 1 << 0,
	VMBUS_IMAGE_MODIFY_AGAIN = 1 << 1,
	VMBUS_IMAGE_OFFER_AGAIN = 1 << 2,
	VMBUS_IMAGE_FAIL_OPEN = 1 << 3,
};
