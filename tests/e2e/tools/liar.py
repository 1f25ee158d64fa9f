#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""liar.py SOCKET ARCHIVE - a daemon that describes an honest image and sends another archive.

GET /images/NAME/json is answered with the id and layers of the one image in ARCHIVE, under any
name; GET /images/NAME/get with ARCHIVE as it is.
"""
import hashlib
import json
import socketserver
import sys
import tarfile
from http.server import BaseHTTPRequestHandler

path = sys.argv[2]
with tarfile.open(path) as tar:
    members = {m.name.removeprefix("./"): m for m in tar}
    manifest = json.load(tar.extractfile(members["manifest.json"]))
    config = tar.extractfile(members[manifest[0]["Config"]]).read()
about = {
    "Id": "sha256:" + hashlib.sha256(config).hexdigest(),
    "RootFS": {"Type": "layers", "Layers": json.loads(config)["rootfs"]["diff_ids"]},
}


class Liar(BaseHTTPRequestHandler):
    def address_string(self):
        return "client"

    def log_message(self, *args):
        pass

    def do_GET(self):
        if self.path.endswith("/get"):
            with open(path, "rb") as f:
                body = f.read()
        else:
            body = json.dumps(about if self.path.startswith("/images/") else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


with socketserver.ThreadingUnixStreamServer(sys.argv[1], Liar) as server:
    server.serve_forever()
