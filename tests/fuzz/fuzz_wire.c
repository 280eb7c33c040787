// SPDX-License-Identifier: Apache-2.0
// Whatever a client sends, from the first byte to the objects that change: a whole control with a
// client that has no socket. No state is kept from one input to the next.
#include <stdlib.h>

#include "base/log.h"
#include "control/server.h"
#include "control/testing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	struct test_daemon daemon = {};
	struct control_cfg cfg = { .types = test_types, .hooks = test_hooks(&daemon) };
	struct control *control;
	struct client *client;

	log_set_level(LOG_LEVEL_ERROR);
	if (!loop && loop_create(&loop, NULL) < 0)
		abort();
	cfg.loop = loop;
	if (server_create(&(struct server_cfg){ .loop = loop }, &cfg.server, NULL) < 0 ||
	    control_create(&cfg, &control, NULL) < 0 ||
	    server_client_add(cfg.server, -1, &client) < 0)
		abort();
	// In two pieces: a line may be cut anywhere.
	server_feed(client, data, size / 2);
	server_feed(client, data + size / 2, size - size / 2);
	server_feed(client, "\n", 1);
	server_destroy(cfg.server);
	control_destroy(control);
	return 0;
}
