/* SPDX-License-Identifier: Apache-2.0 */
/* The frequency of the host's time stamp counter, which is the guest's under TCG. */
#pragma once

#include <stdint.h>

/*
 * dink_tsc_khz() - measured over 20 ms once per boot of the host, then kept in dir
 * Return: 0 if this machine has none or it cannot be trusted
 */
uint32_t dink_tsc_khz(const char *dir);
