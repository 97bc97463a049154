"""Hosts that can be lost: each of hosts.Hosts with processes of its own, reached over its link only. Needs root.

The first is the machine that the test runs on: whatever is started with `prefix()` begins there.
"""
import pathlib
import subprocess
import sys
import time

import hosts

SHELL = pathlib.Path(__file__).with_name("remote_shell.py")
NETWORK = "10.99.0.0/24"


class Machines(hosts.Hosts):
    """A context manager. Host i has the address addresses[i]."""

    def __init__(self, count, folder):
        super().__init__(count, folder)
        self.addresses = [f"10.99.0.{i + 1}" for i in range(count)]
        self.running = [None] * count

    def _build(self):
        super()._build()
        self.agent.write_text(f'#!/bin/sh\nexec {sys.executable} -B {SHELL} "$@"\n')
        for i in range(1, self.count):
            self.boot(i)

    def _tear_down(self):
        for i in range(1, self.count):
            self._end(i)
        super()._tear_down()

    def boot(self, i):
        """Its processes are a tree of their own, which ends as a whole."""
        self.restore(i)
        serve = f'hostname h{i + 1}; exec "{sys.executable}" -B "{SHELL}" serve {self.addresses[i]}'
        self.running[i] = subprocess.Popen(
            ["ip", "netns", "exec", self.names[i], "unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", serve],
            stdin=subprocess.DEVNULL)
        probe = [*self.prefix(), str(self.agent), self.addresses[i], "true"]
        deadline = time.monotonic() + 10
        while subprocess.run(probe, capture_output=True).returncode != 0:
            if time.monotonic() > deadline:
                raise AssertionError(f"host {i + 1} does not answer")
            time.sleep(0.05)

    def crash(self, i):
        """Power loss: nothing on the host says goodbye."""
        self.cut(i)
        self._end(i)

    def cut(self, i):
        self._link(i, "down")

    def restore(self, i):
        self._link(i, "up")

    def _link(self, i, state):
        self._ip("-n", self.switch, "link", "set", f"port{i + 1}", state)

    def _end(self, i):
        if self.running[i] is not None:
            self.running[i].kill()
            self.running[i].wait()
            self.running[i] = None

    def prefix(self):
        """What begins on the first host."""
        return ["ip", "netns", "exec", self.names[0], "unshare", "--uts", "sh", "-c", 'hostname h1; exec "$@"', "sh"]
