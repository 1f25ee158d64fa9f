# SPDX-License-Identifier: Apache-2.0
data_dir  = "/var/lib/nomad"
bind_addr = "0.0.0.0"
client {
  enabled = true
  servers = ["server:4647"]
}
plugin "docker" {
  config {
    endpoint = "unix:///run/docker.sock"
  }
}
