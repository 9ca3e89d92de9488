# SPDX-License-Identifier: Apache-2.0
"""A luod on a state of its own, for all tests of a run. LUOD names the program."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile

import pytest

import luo


class Daemon:
    """A luod, with a state of its own."""

    def __init__(self):
        self.place = tempfile.mkdtemp(prefix="luo-")
        self.state = f"{self.place}/state"
        self.process = None

    def start(self):
        with open(f"{self.place}/log", "wb") as log:
            self.process = subprocess.Popen(
                [os.environ["LUOD"], "--state", self.state], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        line = self.process.stdout.readline()
        with open(f"{self.place}/log", encoding="utf-8", errors="replace") as log:
            assert line.startswith(b"luod: ready"), log.read()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def running_daemon():
    daemon = Daemon()
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.end()
        shutil.rmtree(daemon.place, ignore_errors=True)


@pytest.fixture(scope="session")
def state():
    with running_daemon() as daemon:
        yield daemon.state


@pytest.fixture
def own_daemon():
    """A luod for one test, which ends it and starts it again."""
    with running_daemon() as daemon:
        yield daemon


@pytest.fixture
def device(state):
    with luo.Device(state) as device:
        yield device


def descriptors():
    """The open descriptors and their targets, without the descriptor of the listing itself, which is closed by then."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            pass
    return found


@pytest.fixture(autouse=True)
def no_descriptor_is_left():
    """Each test closes the descriptors that it opens. The descriptors for luod are open before each test."""
    before = descriptors()
    yield
    assert descriptors() == before
