// SPDX-License-Identifier: Apache-2.0
#include "partition/serial.h"

enum {
	DATA,
	INTERRUPT_ENABLE,
	INTERRUPT_ID,
	LINE_CONTROL,
	MODEM_CONTROL,
	LINE_STATUS,
	MODEM_STATUS,
	SCRATCH
};
enum { IER_RECEIVE = 1, IER_SEND = 2 };
enum { IIR_NONE = 1, IIR_SEND = 2, IIR_RECEIVE = 4, IIR_FIFO = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RECEIVE = 2 };
enum { LCR_DIVISOR = 0x80 };
enum { MCR_LOOPBACK = 0x10 };
enum { LSR_DATA = 1, LSR_SENT = 0x60 };
enum { MSR_CONNECTED = 0xb0 }; // carrier, data set ready, clear to send

void partition_serial_init(struct partition_serial *serial, const struct partition_serial_ops *ops,
			   void *owner)
{
	*serial = (struct partition_serial){ .ops = ops, .owner = owner, .divisor = { 1 } };
}

static uint8_t interrupt_id(const struct partition_serial *s)
{
	if ((s->ier & IER_RECEIVE) && s->n > 0)
		return IIR_RECEIVE;
	return (s->ier & IER_SEND) && s->sent ? IIR_SEND : IIR_NONE;
}

static void update_irq(struct partition_serial *s)
{
	bool level = interrupt_id(s) != IIR_NONE;

	if (level == s->irq_level)
		return;
	s->irq_level = level;
	s->ops->irq(s->owner, level);
}

static void take(struct partition_serial *s, uint8_t byte)
{
	if (s->n < PARTITION_SERIAL_QUEUE)
		s->queue[(s->head + s->n++) % PARTITION_SERIAL_QUEUE] = byte;
}

uint32_t partition_serial_type(struct partition_serial *serial, const uint8_t *bytes, uint32_t n)
{
	uint32_t room = PARTITION_SERIAL_QUEUE - serial->n;

	n = n < room ? n : room;
	for (uint32_t i = 0; i < n; i++)
		take(serial, bytes[i]);
	update_irq(serial);
	return n;
}

static void send(struct partition_serial *s, uint8_t byte)
{
	if (s->mcr & MCR_LOOPBACK)
		take(s, byte);
	else
		s->ops->out(s->owner, byte);
	s->sent = true;
}

static void write_register(struct partition_serial *s, uint32_t reg, uint8_t v)
{
	if (reg <= INTERRUPT_ENABLE && (s->lcr & LCR_DIVISOR)) {
		s->divisor[reg] = v;
		return;
	}
	switch (reg) {
	case DATA: send(s, v); break;
	case INTERRUPT_ENABLE:
		// The transmitter is always empty: who begins to ask is told so.
		s->sent |= (v & IER_SEND) && !(s->ier & IER_SEND);
		s->ier = v & 0x0f;
		break;
	case INTERRUPT_ID:
		s->fcr = v;
		if (v & FCR_CLEAR_RECEIVE)
			s->n = 0;
		break;
	case LINE_CONTROL: s->lcr = v; break;
	case MODEM_CONTROL: s->mcr = v & 0x1f; break;
	case SCRATCH: s->scratch = v; break;
	}
}

static uint8_t read_data(struct partition_serial *s)
{
	uint8_t byte;

	if (s->n == 0)
		return 0;
	byte = s->queue[s->head];
	s->head = (s->head + 1) % PARTITION_SERIAL_QUEUE;
	s->n--;
	return byte;
}

// In loopback the four outputs are wired to the four inputs.
static uint8_t modem_status(uint8_t mcr)
{
	if (!(mcr & MCR_LOOPBACK))
		return MSR_CONNECTED;
	return (uint8_t)((mcr & 0x0c) << 4 | (mcr & 1) << 5 | (mcr & 2) << 3);
}

static uint8_t read_interrupt_id(struct partition_serial *s)
{
	uint8_t id = interrupt_id(s);

	if (id == IIR_SEND)
		s->sent = false; // told
	return id | (s->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t read_register(struct partition_serial *s, uint32_t reg)
{
	if (reg <= INTERRUPT_ENABLE && (s->lcr & LCR_DIVISOR))
		return s->divisor[reg];
	switch (reg) {
	case DATA: return read_data(s);
	case INTERRUPT_ENABLE: return s->ier;
	case INTERRUPT_ID: return read_interrupt_id(s);
	case LINE_CONTROL: return s->lcr;
	case MODEM_CONTROL: return s->mcr;
	case LINE_STATUS: return LSR_SENT | (s->n > 0 ? LSR_DATA : 0);
	case MODEM_STATUS: return modem_status(s->mcr);
	default: return s->scratch;
	}
}

int partition_serial_handle(void *serial, struct partition_access *access)
{
	struct partition_serial *s = serial;
	uint32_t reg = access->address & 7;

	if (access->is_write)
		write_register(s, reg, (uint8_t)access->value);
	else
		access->value = read_register(s, reg);
	update_irq(s);
	return 0;
}
