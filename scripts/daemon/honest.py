# SPDX-License-Identifier: Apache-2.0
"""An honest user for scripts/daemon/attack, and the same requests to an echo server. Both measure how long each answer takes."""

import array
import errno
import os
import signal
import socket
import struct
import time

from luo import Gone, Socket

TIMEOUT = 10  # seconds for one answer
PAUSE = 0.001  # seconds between two rounds


def connect(path):
    """A connection to a socket. A full backlog makes connect(2) wait: for as long as TIMEOUT."""
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connecting.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", TIMEOUT, 0))
    try:
        connecting.connect(path)
    except BlockingIOError:
        raise TimeoutError from None
    connected = Socket(connecting)
    connected.socket.settimeout(TIMEOUT)
    return connected


class Measured:
    """When requests were sent, and the seconds that their answers took: pairs in a file of doubles."""

    def __init__(self, path):
        self.path, self.samples = path, array.array("d")

    def add(self, call, *arguments):
        began = time.monotonic()
        try:
            return call(*arguments)
        finally:
            self.samples.extend((began, time.monotonic() - began))

    def write(self):
        with open(self.path, "wb") as file:
            self.samples.tofile(file)


class Samples:
    """What a file of measurements says.

    A client that waits for one answer for a second makes a hundred requests less, each of which would have waited, too. So a
    long answer counts once for each INTERVAL that it took, with the rest of its time."""

    INTERVAL = 0.010  # seconds

    def __init__(self, path, blackouts):
        """`blackouts` are times without service because of an update, from and to: they do not count."""
        samples = array.array("d")
        try:
            with open(path, "rb") as file:
                samples.frombytes(file.read())
        except FileNotFoundError:
            pass
        self.count, self.longest = len(samples) // 2, max(samples[1::2], default=None)
        self._waits = sorted(
            wait for began, took in zip(samples[::2], samples[1::2])
            for wait in self._waits_of(took - self._overlap(began, began + took, blackouts)))

    @staticmethod
    def _overlap(began, ended, blackouts):
        return sum(max(0, min(ended, to) - max(began, from_)) for from_, to in blackouts)

    def _waits_of(self, took):
        return [took - self.INTERVAL * number for number in range(int(took / self.INTERVAL))] or [took]

    def percentile(self, percent):
        """Seconds; None without any answer."""
        return self._waits[len(self._waits) * percent // 100] if self._waits else None


class NextBoot(Exception):
    """An update came: the session belongs to the boot before."""


class Honest:
    """Real requests, each of which must succeed. `tolerated` errnos, such as ENOSPC on a full file system, end a round."""

    def __init__(self, path, measured, tolerated=()):
        self.path, self.measured = path, measured
        self.tolerated = {-error for error in tolerated}
        self.rounds = 0

    def check(self, result, what):
        if result == -errno.ENODEV:
            raise NextBoot
        if result in self.tolerated:
            raise OSError(-result, what)
        assert result == 0, f"{what}: {errno.errorcode.get(-result, result)}"

    def round(self):
        self.rounds += 1
        name, content = f"honest-{self.rounds}", os.urandom(64)
        file = os.memfd_create("attack-honest", os.MFD_CLOEXEC)
        try:
            os.write(file, content)
            device = self.measured.add(connect, self.path)
            try:
                self.use(device, name, file, content)
            finally:
                device.close()
        except OSError as error:
            if -(error.errno or 0) not in self.tolerated:
                raise
        except Gone:
            # A refused connection can end before its first request is sent.
            if -errno.EMFILE not in self.tolerated:
                raise
        finally:
            os.close(file)

    def use(self, device, name, file, content):
        result, session = self.measured.add(device.create, name)
        self.check(result, "create a session")
        preserved = False
        try:
            self.check(self.measured.add(session.preserve, 1, file), "preserve")
            preserved = True
            result, same = self.measured.add(session.get, 1)
            self.check(result, "GET_FD")
            self.compare(same, content)
            self.check(self.measured.add(session.unpreserve, 1), "unpreserve")
        except NextBoot:
            session.close()
            session = self.come_back(device, name, preserved and content)
        finally:
            session.close()

    def come_back(self, device, name, content):
        """Retrieves the session and its file from the next boot. After a second update both are incoming again."""
        while True:
            result, session = self.measured.add(device.retrieve_session, name)
            self.check(result, "retrieve the session after an update")
            try:
                if content:
                    result, same = self.measured.add(session.retrieve, 1)
                    # An unpreserve whose answer was ENODEV changed nothing, and one that came first left no file.
                    self.check(result, "retrieve the file after an update")
                    self.compare(same, content)
                self.check(self.measured.add(session.finish), "finish after an update")
                return session
            except NextBoot:
                session.close()

    def compare(self, descriptor, content):
        try:
            found = os.pread(descriptor, 4096, 0)
        finally:
            os.close(descriptor)
        assert found == content, "another file came back"


class Echoed(Honest):
    """The same messages to the echo server."""

    def use(self, device, name, file, content):
        def ask(number, body, descriptor=None):
            _, _, received = self.measured.add(device.call, number, body, descriptor)
            if received is not None:
                os.close(received)

        ask(0x00, struct.pack("<Ii64s", 72, -1, name.encode()), file)
        ask(0x40, struct.pack("<IiQ", 16, -1, 1), file)
        ask(0x61, struct.pack("<IiQ", 16, -1, 1), file)
        ask(0x60, struct.pack("<IiQ", 16, -1, 1))


def work(client, is_over):
    """Makes rounds until the end, or until SIGTERM, which is a failure."""

    def give_up(*_):
        raise AssertionError("it waited for an answer until it was ended")

    signal.signal(signal.SIGTERM, give_up)
    try:
        while not is_over():
            try:
                client.round()
            except TimeoutError:
                raise AssertionError(f"no answer within {TIMEOUT} s") from None
            except Gone:
                raise AssertionError("luod ended the connection") from None
            time.sleep(PAUSE)
    finally:
        client.measured.write()
