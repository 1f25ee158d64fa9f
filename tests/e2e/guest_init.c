/* SPDX-License-Identifier: Apache-2.0 */
/* /init of a test guest: one line about what the kernel offers, then power off. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#define KVM_GET_API_VERSION _IO(0xAE, 0x00)

static void print_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		printf("kvm=none ");
	else
		printf("kvm=%d ", ioctl(fd, KVM_GET_API_VERSION, 0));
}

static void print_clock(void)
{
	char text[64] = "";
	FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");

	if (f && fgets(text, sizeof(text), f))
		text[strcspn(text, "\n")] = '\0';
	if (f)
		fclose(f);
	/* tsc-early is the same clock until its frequency is known better */
	printf("clock=%.3s\n", text);
}

int main(void)
{
	(void)mkdir("/sys", 0755);
	if (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) < 0 ||
	    mount("sysfs", "/sys", "sysfs", 0, NULL) < 0)
		perror("mount");
	printf("cpus=%ld ", sysconf(_SC_NPROCESSORS_ONLN));
	print_kvm();
	print_clock();
	fflush(stdout);
	sync();
	return reboot(RB_POWER_OFF);
}
