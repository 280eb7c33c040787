// SPDX-License-Identifier: Apache-2.0
#include "vmbus/peer.h"

#include <stdlib.h>

#include "vmbus/peer_parts.h"

#define MAX_FAILED 1000 // requests in a row
#define MAX_TEXT 240    // bytes behind a failed reply
#define FEATURES                                                                                   \
	(VMBUS_USER_DIRECT | VMBUS_USER_MONITOR | VMBUS_USER_STATE | VMBUS_USER_DIRTY |            \
	 VMBUS_USER_SUBCHANNELS)

// Everything that is said about a type of request in sections 2.3 and 3.
struct peer_rule {
	uint16_t bytes;             // of the message; of GPADL: without its runs
	uint8_t min_fds, max_fds;
	uint64_t feature;           // that must be agreed on, or 0
	uint8_t error[PEER_N_STATES]; // in that state; 0: it may be sent
	peer_begin_fn *begin;
	peer_finish_fn *finish; // or NULL
};

// --- bytes out ---------------------------------------------------------------------------------

// Copies text, ended by NUL or after max bytes, without cutting a UTF-8 character in two. Returns
// the bytes that were copied.
static uint32_t copy_text(void *to, const char *text, uint32_t max)
{
	uint32_t n = (uint32_t)strnlen(text, max + 1);

	if (n > max)
		for (n = max; n > 0 && (text[n] & 0xc0) == 0x80;)
			n--;
	memcpy(to, text, n);
	return n;
}

int vmbus_peer_flush(struct vmbus_peer *peer)
{
	struct vmbus_user_subchannels ask = {
		.header = { .type = cpu_to_le16(VMBUS_USER_TYPE_SUBCHANNELS),
			    .serial = cpu_to_le32(peer->ask.serial) },
		.n_wanted = cpu_to_le32(peer->ask.n_wanted),
	};
	int ret = 0;

	if (peer->out_bytes)
		ret = peer->cfg.send(peer->cfg.arg, peer->out, peer->out_bytes);
	if (ret < 0)
		return ret == -EAGAIN ? 0 : ret;
	peer->out_bytes = 0;
	if (peer->ask.state != ASK_UNSENT || peer->state != PEER_SERVING)
		return 0;
	ret = peer->cfg.send(peer->cfg.arg, &ask, sizeof(ask));
	if (ret == 0)
		peer->ask.state = ASK_SENT;
	return ret == -EAGAIN ? 0 : ret;
}

bool vmbus_peer_wants_room(const struct vmbus_peer *peer)
{
	return peer->out_bytes ||
	       (peer->ask.state == ASK_UNSENT && peer->state == PEER_SERVING);
}

bool vmbus_peer_ready(const struct vmbus_peer *peer)
{
	return !peer->rule && !peer->out_bytes;
}

// Answers the request under way with message[bytes], of which header and status are filled here.
static int reply(struct vmbus_peer *peer, int status, const void *message, uint32_t bytes)
{
	struct vmbus_user_reply head = { .header = peer->request,
					 .status = cpu_to_le32((uint32_t)status) };

	head.header.flags = cpu_to_le16(VMBUS_USER_REPLY);
	memcpy(peer->out, message, bytes);
	memcpy(peer->out, &head, sizeof(head));
	peer->out_bytes = bytes;
	return vmbus_peer_flush(peer);
}

static int reply_failure(struct vmbus_peer *peer, int error, const char *text)
{
	uint8_t message[sizeof(peer->out)] = {};
	uint32_t n = copy_text(message + sizeof(struct vmbus_user_reply), text, MAX_TEXT);
	int ret = reply(peer, error, message, (uint32_t)sizeof(struct vmbus_user_reply) + n);

	if (ret < 0 || ++peer->n_failed < MAX_FAILED)
		return ret;
	vmbus_peer_leave(peer, VMBUS_USER_LEAVING_PROTOCOL, 0, "too many failed requests in a row");
	return -EPROTO;
}

// The fields that some replies have beyond the plain one.
static int reply_success(struct vmbus_peer *peer)
{
	struct vmbus_user_start_reply start = {
		.n_batches = cpu_to_le64(peer->recovery.n_batches),
		.n_lost = cpu_to_le64(peer->recovery.n_lost),
	};
	struct vmbus_user_save_reply save = { .bytes = cpu_to_le64(sizeof(struct vmbus_state)),
					      .layout = cpu_to_le16(VMBUS_STATE_LAYOUT) };
	struct vmbus_user_reply plain = {};

	peer->n_failed = 0;
	switch (le16_to_cpu(peer->request.type)) {
	case VMBUS_USER_TYPE_START:
		return reply(peer, 0, &start, sizeof(start));
	case VMBUS_USER_TYPE_SAVE:
		return reply(peer, 0, &save, sizeof(save));
	default:
		return reply(peer, 0, &plain, sizeof(plain));
	}
}

static void notice(struct vmbus_peer *peer, enum vmbus_user_type type, const uint32_t numbers[2],
		   const char *text)
{
	struct vmbus_user_leaving_notice m = {
		.header = { .type = cpu_to_le16(type) },
		.reason = cpu_to_le32(numbers[0]),
		.back_in_ms = cpu_to_le32(numbers[1]),
	};

	copy_text(m.text, text, sizeof(m.text));
	// Without room it is dropped: whoever does not read is not told.
	if (!peer->out_bytes)
		peer->cfg.send(peer->cfg.arg, &m, sizeof(m));
}

// Both notices have the same form.
static_assert(sizeof(struct vmbus_user_leaving_notice) == sizeof(struct vmbus_user_channel_failed));

void vmbus_peer_channel_failed(struct vmbus_peer *peer, uint32_t channel,
			       enum vmbus_user_failure reason, const char *text)
{
	notice(peer, VMBUS_USER_TYPE_CHANNEL_FAILED, (uint32_t[]){ channel, reason }, text);
}

void vmbus_peer_leave(struct vmbus_peer *peer, enum vmbus_user_leaving reason, uint32_t back_in_ms,
		      const char *text)
{
	notice(peer, VMBUS_USER_TYPE_LEAVING, (uint32_t[]){ reason, back_in_ms }, text);
}

// --- sub-channels ------------------------------------------------------------------------------

int vmbus_peer_ask_channels(struct vmbus_peer *peer, uint32_t n)
{
	if (!(peer->features & VMBUS_USER_SUBCHANNELS))
		return -EOPNOTSUPP;
	if (peer->ask.state != ASK_NOTHING || !peer->channels[0].open)
		return -EBUSY;
	peer->ask = (struct peer_ask){ .state = ASK_UNSENT, .serial = peer->ask.serial + 1,
				       .n_wanted = n };
	// A failure to send is met again by whoever receives.
	vmbus_peer_flush(peer);
	return 0;
}

// The VMM's answer to our one request; anything else is an answer to nothing, and counts as failed.
static int take_reply(struct vmbus_peer *peer, const struct vmbus_user_datagram *datagram)
{
	const struct vmbus_user_subchannels_reply *m = (const void *)datagram->message;
	uint32_t status, n = 0;
	bool stale = peer->ask.stale;

	if (datagram->bytes < sizeof(m->head))
		return -EPROTO;
	status = le32_to_cpu(m->head.status);
	if (le16_to_cpu(m->head.header.type) != VMBUS_USER_TYPE_SUBCHANNELS ||
	    (status ? datagram->bytes > sizeof(m->head) + MAX_TEXT
		    : datagram->bytes != sizeof(*m)))
		return -EPROTO;
	if (peer->ask.state != ASK_SENT ||
	    le32_to_cpu(m->head.header.serial) != peer->ask.serial)
		return ++peer->n_failed < MAX_FAILED ? 0 : -EPROTO;
	if (!status)
		n = le32_to_cpu(m->n_granted);
	if (n > peer->ask.n_wanted)
		n = 0;
	peer->ask.state = stale ? ASK_NOTHING : ASK_ANSWERED;
	peer->ask.stale = false;
	if (stale)
		return 0;
	peer->n_granted = n;
	peer->welcome.ops->granted(peer->welcome.arg, n);
	return 0;
}

// --- requests that are about the connection as a whole -----------------------------------------

static bool is_utf8(const char *text)
{
	const uint8_t *p = (const uint8_t *)text;

	while (*p) {
		int n = *p < 0x80 ? 0 : *p >= 0xc2 && *p < 0xe0 ? 1 : (*p & 0xf0) == 0xe0 ? 2 :
			*p >= 0xf0 && *p < 0xf5 ? 3 : -1;
		uint8_t lead = *p++;

		// Overlong forms, surrogates, and what is beyond U+10FFFF.
		if (n < 0 || (lead == 0xe0 && *p < 0xa0) || (lead == 0xed && *p > 0x9f) ||
		    (lead == 0xf0 && *p < 0x90) || (lead == 0xf4 && *p > 0x8f))
			return false;
		for (; n > 0; n--)
			if ((*p++ & 0xc0) != 0x80)
				return false;
	}
	return true;
}

static int hello_check(const struct vmbus_user_hello *m, struct vmbus_peer_hello *hello,
		       struct err *err)
{
	uint16_t low = le16_to_cpu(m->version_min), high = le16_to_cpu(m->version_max);
	size_t n;

	if (le32_to_cpu(m->magic) != VMBUS_USER_MAGIC)
		return err_set(err, EINVAL, "magic 0x%x: not vmbus-user's", le32_to_cpu(m->magic));
	if (low > high)
		return err_set(err, EINVAL, "lowest version %u, highest %u", low, high);
	if (low > VMBUS_USER_VERSION || high < VMBUS_USER_VERSION)
		return err_set(err, EPROTONOSUPPORT, "versions %u to %u: this switch has %u to %u",
			       low, high, VMBUS_USER_VERSION, VMBUS_USER_VERSION);
	*hello = (struct vmbus_peer_hello){ .features = le64_to_cpu(m->features) };
	memcpy(hello->name, m->name, sizeof(m->name));
	memcpy(hello->token, m->token, sizeof(hello->token));
	n = strlen(hello->name);
	for (size_t i = n; i < sizeof(m->name); i++)
		if (m->name[i])
			return err_set(err, EINVAL, "name: bytes behind its end");
	if (!n || !is_utf8(hello->name))
		return err_set(err, EINVAL, "name: empty, or not UTF-8");
	return peer_check_zero(le64_to_cpu(m->reserved), err);
}

static int begin_hello(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram,
		       struct err *err)
{
	struct vmbus_peer_hello hello;
	int ret = hello_check((const void *)datagram->message, &hello, err);

	if (ret < 0)
		return ret;
	ret = peer->cfg.hello(peer->cfg.arg, &hello, &peer->welcome, err);
	if (ret < 0)
		return ret;
	peer->features = hello.features & FEATURES;
	peer->state = PEER_LOADING;
	return 0;
}

static int welcome(struct vmbus_peer *peer)
{
	bool has_state = peer->features & VMBUS_USER_STATE;
	struct vmbus_user_hello_reply m = {
		.version = cpu_to_le16(VMBUS_USER_VERSION),
		.max_channels = cpu_to_le16(peer->welcome.max_channels),
		.max_regions = cpu_to_le32(VMBUS_USER_MAX_REGIONS),
		.features = cpu_to_le64(peer->features),
		.instance = cpu_to_le64(peer->welcome.instance),
		.state_bytes = cpu_to_le64(has_state ? sizeof(struct vmbus_state) : 0),
		.state_layout_min = cpu_to_le16(VMBUS_STATE_LAYOUT),
		.state_layout_max = cpu_to_le16(VMBUS_STATE_LAYOUT),
	};

	memcpy(m.guid, peer->welcome.guid, sizeof(m.guid));
	peer->n_failed = 0;
	return reply(peer, 0, &m, sizeof(m));
}

// START, PAUSE, RESUME, SAVE: nothing but a reserved field.
static int check_plain(const struct vmbus_user_datagram *datagram, struct err *err)
{
	return peer_check_zero(load_u64(datagram->message + sizeof(struct vmbus_user_header)), err);
}

static int begin_start(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram,
		       struct err *err)
{
	int ret = check_plain(datagram, err);

	peer->recovery = (struct vmbus_peer_recovery){};
	return ret < 0 ? ret : peer->welcome.ops->start(peer->welcome.arg, &peer->recovery, err);
}

static int begin_pause(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram,
		       struct err *err)
{
	int ret = check_plain(datagram, err);

	if (ret < 0 || peer->state == PEER_PAUSED)
		return ret;
	return peer->welcome.ops->pause(peer->welcome.arg, err);
}

static int begin_resume(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram,
			struct err *err)
{
	int ret = check_plain(datagram, err);

	if (ret < 0 || peer->state == PEER_SERVING)
		return ret;
	return peer->welcome.ops->resume(peer->welcome.arg, err);
}

static int begin_save(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram,
		      struct err *err)
{
	int ret = check_plain(datagram, err);

	if (ret == 0 && !peer->state_memory.at)
		ret = err_set(err, EINVAL, "there is no state memory: STATE was not sent");
	return ret < 0 ? ret : peer->welcome.ops->save(peer->welcome.arg, err);
}

static void finish_serving(struct vmbus_peer *peer) { peer->state = PEER_SERVING; }
static void finish_pause(struct vmbus_peer *peer) { peer->state = PEER_PAUSED; }

// --- the rules ---------------------------------------------------------------------------------

#define ALWAYS { EPROTO, 0, 0, 0 }

static const struct peer_rule rules[] = {
	[VMBUS_USER_TYPE_HELLO] = { sizeof(struct vmbus_user_hello), 0, 0, 0,
				    { 0, EALREADY, EALREADY, EALREADY }, begin_hello, NULL },
	[VMBUS_USER_TYPE_STATE] = { sizeof(struct vmbus_user_state), 1, 1, VMBUS_USER_STATE,
				    { EPROTO, 0, EBUSY, EBUSY }, peer_state_begin, NULL },
	[VMBUS_USER_TYPE_REGION_ADD] = { sizeof(struct vmbus_user_region_add), 1, 1, 0, ALWAYS,
					 peer_region_add, NULL },
	[VMBUS_USER_TYPE_REGION_DEL] = { sizeof(struct vmbus_user_region_del), 0, 0, 0, ALWAYS,
					 peer_region_del, peer_region_del_finish },
	[VMBUS_USER_TYPE_GPADL] = { sizeof(struct vmbus_user_gpadl), 0, 0, 0, ALWAYS, peer_gpadl,
				    NULL },
	[VMBUS_USER_TYPE_GPADL_TEARDOWN] = { sizeof(struct vmbus_user_gpadl_teardown), 0, 0, 0,
					     ALWAYS, peer_gpadl_teardown,
					     peer_gpadl_teardown_finish },
	[VMBUS_USER_TYPE_OPEN] = { sizeof(struct vmbus_user_open), 1, 2, 0, ALWAYS, peer_open,
				   peer_open_finish },
	[VMBUS_USER_TYPE_CLOSE] = { sizeof(struct vmbus_user_close), 0, 0, 0, ALWAYS, peer_close,
				    peer_close_finish },
	[VMBUS_USER_TYPE_TARGET] = { sizeof(struct vmbus_user_set_target), 0, 1, 0, ALWAYS,
				     peer_target, peer_target_finish },
	[VMBUS_USER_TYPE_MONITOR] = { sizeof(struct vmbus_user_monitor), 0, 0, VMBUS_USER_MONITOR,
				      ALWAYS, peer_monitor, peer_monitor_finish },
	[VMBUS_USER_TYPE_START] = { sizeof(struct vmbus_user_plain), 0, 0, 0,
				    { EPROTO, 0, EALREADY, EALREADY }, begin_start,
				    finish_serving },
	[VMBUS_USER_TYPE_PAUSE] = { sizeof(struct vmbus_user_plain), 0, 0, 0,
				    { EPROTO, EAGAIN, 0, 0 }, begin_pause, finish_pause },
	[VMBUS_USER_TYPE_RESUME] = { sizeof(struct vmbus_user_plain), 0, 0, 0,
				     { EPROTO, EAGAIN, 0, 0 }, begin_resume, finish_serving },
	[VMBUS_USER_TYPE_SAVE] = { sizeof(struct vmbus_user_plain), 0, 0, VMBUS_USER_STATE,
				   { EPROTO, EAGAIN, EAGAIN, 0 }, begin_save, NULL },
	[VMBUS_USER_TYPE_DIRTY_LOG] = { sizeof(struct vmbus_user_dirty_log), 0, 1,
					VMBUS_USER_DIRTY, ALWAYS, peer_dirty_log,
					peer_dirty_log_finish },
	[VMBUS_USER_TYPE_RESET] = { sizeof(struct vmbus_user_plain), 0, 0, 0, ALWAYS, peer_reset,
				    peer_reset_finish },
};

static const char *const state_names[PEER_N_STATES] = {
	[PEER_NEW] = "before HELLO", [PEER_LOADING] = "before START",
	[PEER_SERVING] = "while serving", [PEER_PAUSED] = "while paused",
};

static const struct peer_rule *rule_find(uint16_t type)
{
	return type < ARRAY_SIZE(rules) && rules[type].bytes ? &rules[type] : NULL;
}

// Does the size fit the type? Where it does not, the two sides do not speak the same language.
static bool size_fits(const struct peer_rule *rule, const struct vmbus_user_datagram *datagram)
{
	uint64_t bytes = rule->bytes;

	if (datagram->bytes < bytes)
		return false;
	if (rule->begin == peer_gpadl) {
		const struct vmbus_user_gpadl *m = (const void *)datagram->message;

		bytes += le32_to_cpu(m->n_runs) * (uint64_t)sizeof(m->runs[0]);
	}
	return datagram->bytes == bytes;
}

// What is checked of every request before it is begun.
static int check_request(const struct vmbus_peer *peer, const struct peer_rule *rule,
			 const struct vmbus_user_datagram *datagram, struct err *err)
{
	if (!rule)
		return err_set(err, EOPNOTSUPP, "type %u does not exist",
			       le16_to_cpu(peer->request.type));
	if (rule->error[peer->state])
		return err_set(err, rule->error[peer->state], "not %s", state_names[peer->state]);
	if (rule->feature & ~peer->features)
		return err_set(err, EOPNOTSUPP, "its feature was not agreed on");
	if (le16_to_cpu(peer->request.flags))
		return err_set(err, EINVAL, "header flags 0x%x: 0 for a request",
			       le16_to_cpu(peer->request.flags));
	if (datagram->n_fds < rule->min_fds || datagram->n_fds > rule->max_fds)
		return err_set(err, EINVAL, "%u descriptors: %u to %u", datagram->n_fds,
			       rule->min_fds, rule->max_fds);
	return 0;
}

static int protocol_error(struct vmbus_peer *peer, const char *text)
{
	vmbus_peer_leave(peer, VMBUS_USER_LEAVING_PROTOCOL, 0, text);
	return -EPROTO;
}

static int end_request(struct vmbus_peer *peer, const struct peer_rule *rule, int ret,
		       const struct err *err)
{
	bool is_new = peer->state == PEER_NEW;

	peer->rule = NULL;
	if (ret < 0) {
		ret = reply_failure(peer, -ret, err ? err->text : "");
		// Who cannot say HELLO is not listened to any longer.
		return ret == 0 && is_new && rule && rule->begin == begin_hello ? -EACCES : ret;
	}
	if (rule->finish)
		rule->finish(peer);
	return rule->begin == begin_hello ? welcome(peer) : reply_success(peer);
}

static int take(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram)
{
	const struct peer_rule *rule;
	struct err err = {};
	int ret;

	if (datagram->bytes < sizeof(peer->request))
		return protocol_error(peer, "a message shorter than its header");
	memcpy(&peer->request, datagram->message, sizeof(peer->request));
	if (le16_to_cpu(peer->request.flags) & VMBUS_USER_REPLY) {
		ret = take_reply(peer, datagram);
		return ret < 0 ? protocol_error(peer, "a reply to nothing, or of a wrong size")
			       : 0;
	}
	rule = rule_find(le16_to_cpu(peer->request.type));
	if (rule && !size_fits(rule, datagram))
		return protocol_error(peer, "a message of a wrong size");
	ret = check_request(peer, rule, datagram, &err);
	if (ret == 0)
		ret = rule->begin(peer, datagram, &err);
	if (ret == VMBUS_PEER_LATER) {
		peer->rule = rule;
		return 0;
	}
	return end_request(peer, rule, ret, &err);
}

int vmbus_peer_receive(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram)
{
	int ret;

	assert(vmbus_peer_ready(peer));
	ret = take(peer, datagram);
	vmbus_user_datagram_close(datagram);
	return ret;
}

int vmbus_peer_done(struct vmbus_peer *peer, int ret, const struct err *err)
{
	assert(peer->rule);
	return end_request(peer, peer->rule, ret, err);
}

int vmbus_peer_create(const struct vmbus_peer_cfg *cfg, struct vmbus_peer **out)
{
	struct vmbus_peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return -ENOMEM;
	peer->cfg = *cfg;
	*out = peer;
	return 0;
}

void vmbus_peer_destroy(struct vmbus_peer *peer)
{
	if (!peer)
		return;
	peer_memory_drop(peer);
	free(peer);
}
