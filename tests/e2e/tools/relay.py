#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""relay.py LISTEN TARGET COUNT [RATE [DIE]] - a unix socket in front of another.

Counts the bytes of clients into the file COUNT (so that a test need not believe what the client
says), lets through RATE bytes a second, and ends all at once after DIE bytes (0: never).
"""
import os
import socket
import sys
import threading
import time

listen, target, count = sys.argv[1:4]
rate = int(sys.argv[4]) if len(sys.argv) > 4 else 0
die = int(sys.argv[5]) if len(sys.argv) > 5 else 0
total = 0


def pump(source, sink, counted):
    global total
    try:
        while data := source.recv(65536):
            if counted:
                total += len(data)
                with open(count, "w") as f:
                    f.write(str(total))
                if die and total > die:
                    os._exit(0)
                if rate:
                    time.sleep(len(data) / rate)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for s in (source, sink):
            s.close()


server = socket.socket(socket.AF_UNIX)
server.bind(listen)
server.listen(64)
while True:
    client, _ = server.accept()
    engine = socket.socket(socket.AF_UNIX)
    engine.connect(target)
    for args in ((client, engine, True), (engine, client, False)):
        threading.Thread(target=pump, args=args, daemon=True).start()
