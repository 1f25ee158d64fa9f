/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the log of a swarm's manager ends. A manager that has no majority answers nothing about its
 * swarm, but its log on disk tells how much of it it has seen: what entries say is encrypted there,
 * their term and index are not.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dink_raft_end {
	uint64_t term, index; /* of the last entry; 0 = none */
};

/*
 * dink_raft_read() - the end of a write-ahead log, as far as there is one in these bytes
 * Return: 1 with all of it read, 0 if it goes on behind them, -EBADMSG if it is no such log
 * The bytes are a guest's: any are safe.
 */
int dink_raft_read(const void *log, size_t n, struct dink_raft_end *ret);

/* dink_raft_is_newer() - Raft's own order: who has seen the later term, then the longer log */
bool dink_raft_is_newer(const struct dink_raft_end *a, const struct dink_raft_end *b);
