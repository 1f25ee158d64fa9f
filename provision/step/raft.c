/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log is etcd's: a frame is 8 bytes of length (little endian; with padding, its count is in the
 * top byte) and a record, both in the protocol buffers' encoding. The file is as long as it may
 * ever get from the start: a length of zero is the end.
 */
#include "provision/step/raft.h"

#include <errno.h>

enum { RECORD_MAX = 32 << 20, RECORD_ENTRY = 2, RECORD_SNAPSHOT = 5, FIELDS = 8 };
enum { WIRE_VARINT, WIRE_64, WIRE_BYTES, WIRE_32 = 5 };

struct bytes {
	const uint8_t *p;
	size_t n;
};

/* The last of each field by its number; further ones are passed over. */
struct message {
	uint64_t number[FIELDS];
	struct bytes data[FIELDS];
};

static bool take(struct bytes *b, size_t n)
{
	if (n > b->n)
		return false;
	b->p += n;
	b->n -= n;
	return true;
}

static bool take_varint(struct bytes *b, uint64_t *ret)
{
	*ret = 0;
	for (unsigned shift = 0; shift < 64 && b->n > 0; shift += 7) {
		uint8_t byte = b->p[0];

		take(b, 1);
		*ret |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

static bool take_field(struct bytes *b, struct message *m)
{
	uint64_t key, value = 0;
	struct bytes data = {};

	if (!take_varint(b, &key))
		return false;
	switch (key & 7) {
	case WIRE_VARINT:
		if (!take_varint(b, &value))
			return false;
		break;
	case WIRE_64:
	case WIRE_32:
		if (!take(b, (key & 7) == WIRE_64 ? 8 : 4))
			return false;
		break;
	case WIRE_BYTES:
		if (!take_varint(b, &value) || value > b->n)
			return false;
		data = (struct bytes){b->p, (size_t)value};
		take(b, data.n);
		break;
	default:
		return false;
	}
	if (key >> 3 < FIELDS) {
		m->number[key >> 3] = value;
		m->data[key >> 3] = data;
	}
	return true;
}

static bool read_message(struct bytes b, struct message *ret)
{
	*ret = (struct message){};
	while (b.n > 0)
		if (!take_field(&b, ret))
			return false;
	return true;
}

/* Of a record {1: type, 3: data}; an entry is {2: term, 3: index}, a snapshot {1: index, 2: term}. */
static bool read_record(struct bytes b, struct dink_raft_end *end)
{
	struct message record, m;

	if (!read_message(b, &record))
		return false;
	if (record.number[1] == RECORD_ENTRY) {
		if (!read_message(record.data[3], &m))
			return false;
		/* the last one counts: an entry may take the place of later ones */
		*end = (struct dink_raft_end){.term = m.number[2], .index = m.number[3]};
	}
	if (record.number[1] == RECORD_SNAPSHOT) {
		if (!read_message(record.data[3], &m))
			return false;
		if (m.number[1] > end->index)
			*end = (struct dink_raft_end){.term = m.number[2], .index = m.number[1]};
	}
	return true;
}

int dink_raft_read(const void *log, size_t n, struct dink_raft_end *ret)
{
	struct bytes b = {log, n};

	*ret = (struct dink_raft_end){};
	while (b.n >= 8) {
		uint64_t head = 0, length, pad;

		for (int i = 7; i >= 0; i--)
			head = head << 8 | b.p[i];
		if (head == 0)
			return 1;
		length = head & ~(UINT64_C(0xff) << 56);
		pad = head >> 63 ? head >> 56 & 7 : 0;
		if (length == 0 || length > RECORD_MAX)
			return -EBADMSG;
		if (length + pad > b.n - 8)
			return 0;
		take(&b, 8);
		if (!read_record((struct bytes){b.p, (size_t)length}, ret))
			return -EBADMSG;
		take(&b, (size_t)(length + pad));
	}
	return 0;
}

bool dink_raft_is_newer(const struct dink_raft_end *a, const struct dink_raft_end *b)
{
	return a->term != b->term ? a->term > b->term : a->index > b->index;
}
