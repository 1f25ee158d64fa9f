# SPDX-License-Identifier: Apache-2.0
"""Runs a command that opens a shell on a pseudo terminal: sizes, ctrl-C, exit code, terminal mode."""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
before = termios.tcgetattr(slave)
pid = os.fork()
if pid == 0:
    os.close(master)
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in range(3):
        os.dup2(slave, fd)
    os.execv(sys.argv[1], sys.argv[1:])

out = b""


def read(until, seconds=float(os.environ.get("TTY_WAIT", 20))):
    """Output up to the text `until`, or for a while."""
    global out
    end = time.time() + seconds
    start = len(out)
    while time.time() < end and until.encode() not in out[start:]:
        if select.select([master], [], [], 0.1)[0]:
            try:
                out += os.read(master, 65536)
            except OSError:
                return


def say(text, until):
    os.write(master, text.encode() + b"\r")
    read(until)


def say_size(wanted):
    """A size takes its way through engines, and nobody says when it has arrived."""
    for _ in range(20):
        say("stty size; echo told", "\ntold")
        if wanted in out:
            break
        time.sleep(0.1)


read("#")
say_size(b"33 101")
say("echo on=$(tty) uid=$(id -u)", "uid=0")
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 122, 0, 0))
os.kill(pid, signal.SIGWINCH)
say_size(b"44 122")
say("sleep 100", "sleep 100")
time.sleep(0.5)
os.write(master, b"\x03")
read("#")
say("echo int=$?", "int=1")
os.write(master, b"exit 6\r")
done = 0
while not done:
    read("never", 0.1)
    done, status = os.waitpid(pid, os.WNOHANG)
read("never", 0.1)
sys.stdout.write(out.decode(errors="replace").replace("\r", ""))
print("mode restored" if termios.tcgetattr(slave) == before else "mode CHANGED")
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)
