# SPDX-License-Identifier: Apache-2.0
data_dir  = "/var/lib/nomad"
bind_addr = "0.0.0.0"
server {
  enabled          = true
  bootstrap_expect = 1
}
