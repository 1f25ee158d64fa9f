/* SPDX-License-Identifier: Apache-2.0 */
/* Sends every datagram that comes to port 90 back, for a container without such a program. */
#include <netinet/in.h>
#include <sys/socket.h>

int main(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(90)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char buf[512];

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return 1;
	for (;;) {
		socklen_t len = sizeof(sa);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&sa, &len);
		if (n < 0 || sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&sa, len) < 0)
			return 1;
	}
}
