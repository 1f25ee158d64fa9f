/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/vm/frame.h"

void dink_put_u32(uint8_t *buf, uint32_t v)
{
	buf[0] = v & 0xff;
	buf[1] = v >> 8 & 0xff;
	buf[2] = v >> 16 & 0xff;
	buf[3] = v >> 24;
}

uint32_t dink_get_u32(const uint8_t *buf)
{
	return (uint32_t)buf[0] | (uint32_t)buf[1] << 8 | (uint32_t)buf[2] << 16 |
	       (uint32_t)buf[3] << 24;
}

void dink_frame_put(uint8_t *buf, uint8_t type, uint32_t id, uint32_t len)
{
	dink_put_u32(buf, len);
	dink_put_u32(buf + 4, id);
	buf[8] = type;
	buf[9] = buf[10] = buf[11] = 0;
}

/* check_frame() - NULL, or what is wrong with the header */
static const char *check_frame(const struct dink_frame *f, bool from_host)
{
	switch (f->type) {
	case DINK_FRAME_REQUEST:
		if (!from_host)
			return "a request from the guest";
		break;
	case DINK_FRAME_RESPONSE:
		if (from_host)
			return "a response from the host";
		break;
	case DINK_FRAME_EVENT:
		if (from_host)
			return "an event from the host";
		if (f->id != 0)
			return "an event with an id";
		return f->len <= DINK_MSG_MAX ? NULL : "a message that is too long";
	case DINK_FRAME_DATA:
		if (f->len == 0)
			return "a data frame without data";
		if (f->len > DINK_DATA_MAX)
			return "a data frame that is too long";
		break;
	case DINK_FRAME_EOF:
	case DINK_FRAME_RESET:
		if (f->len != 0)
			return "an end-of-stream frame with a payload";
		break;
	case DINK_FRAME_CREDIT:
		if (f->len != 4)
			return "a credit frame of the wrong size";
		break;
	default:
		return "a frame of unknown type";
	}
	if (f->id == 0)
		return "a frame without an id";
	return f->len <= DINK_MSG_MAX ? NULL : "a message that is too long";
}

bool dink_frame_get(const uint8_t *buf, bool from_host, struct dink_frame *ret,
		    const char **ret_why)
{
	struct dink_frame f = {
		.len = dink_get_u32(buf),
		.id = dink_get_u32(buf + 4),
		.type = buf[8],
	};
	const char *why = check_frame(&f, from_host);

	if (buf[9] || buf[10] || buf[11])
		why = "a frame header with non-zero padding";
	if (why) {
		*ret_why = why;
		return false;
	}
	*ret = f;
	return true;
}
