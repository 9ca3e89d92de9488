# SPDX-License-Identifier: Apache-2.0
"""A luod on a state of its own, for all tests of a run. LUOD names the program."""

import os
import shutil
import signal
import subprocess
import tempfile

import pytest

import luo


@pytest.fixture(scope="session")
def state():
    luod = os.environ["LUOD"]
    place = tempfile.mkdtemp(prefix="luo-")
    with open(f"{place}/log", "wb") as log:
        daemon = subprocess.Popen(
            [luod, "--state", f"{place}/state"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
    try:
        line = daemon.stdout.readline()
        with open(f"{place}/log", encoding="utf-8", errors="replace") as log:
            assert line.startswith(b"luod: ready"), log.read()
        yield f"{place}/state"
    finally:
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(60)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
        daemon.stdout.close()
        shutil.rmtree(place, ignore_errors=True)


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
