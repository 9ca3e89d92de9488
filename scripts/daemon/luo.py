# SPDX-License-Identifier: Apache-2.0
"""A client of luod's socket, as docs/protocol.md describes it, and a daemon to talk to. For the tests in this folder."""

import errno
import itertools
import json
import mmap
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

PATIENCE = 60  # seconds for what must come, on a machine that is busy
_tags = itertools.count(time.monotonic_ns() << 8 & (1 << 62) - 1)


class Gone(Exception):
    """The connection has ended: no orchestrator holds it any more."""


def _status(lines):
    """One document of the lines of all pages."""
    status = dict(next(line["luod"] for line in lines if "luod" in line), sessions=[])
    for line in lines:
        # A session that goes on in the next page is there again.
        if "session" in line and line["session"]["number"] not in [s["number"] for s in status["sessions"][-1:]]:
            status["sessions"].append(dict(line["session"], files=[]))
        elif "file" in line:
            status["sessions"][-1]["files"].append(line["file"])
    return status


class Socket:
    """A connection to luod, or a session of it."""

    def __init__(self, connected):
        self.socket = connected
        self.socket.settimeout(PATIENCE)

    @classmethod
    def connect(cls, path):
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connecting.connect(path)
        return cls(connecting)

    def close(self):
        self.socket.close()

    def ask(self, number, struct_, descriptor=None):
        tag = next(_tags)
        message = struct.pack("<I", 0xBA00 | number) + struct_ + struct.pack("<Q", tag)
        try:
            socket.send_fds(self.socket, [message], [] if descriptor is None else [descriptor])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Gone from error
        return tag

    def answer(self, tag):
        """The result, the struct, and the descriptor or None."""
        while True:
            try:
                data, descriptors, flags, _ = socket.recv_fds(self.socket, 80_000, 4)
            except ConnectionResetError as error:
                raise Gone from error
            if not data:
                raise Gone
            if len(data) == 4:  # luod refuses the connection itself
                refusal = -struct.unpack("<i", data)[0]
                raise OSError(refusal, os.strerror(refusal))
            if flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
                for descriptor in descriptors:
                    os.close(descriptor)
                raise OSError(errno.EMFILE, "a descriptor did not arrive: raise the limit on open files")
            if struct.unpack("<Q", data[-8:])[0] == tag:
                return struct.unpack("<i", data[:4])[0], data[4:-8], descriptors[0] if descriptors else None
            for descriptor in descriptors:  # of an answer that came twice
                os.close(descriptor)

    def call(self, number, struct_, descriptor=None):
        return self.answer(self.ask(number, struct_, descriptor))

    # On the device.

    def _session(self, number, name, word=-1):
        result, _, descriptor = self.call(number, struct.pack("<Ii64s", 72, word, name.encode()))
        assert (result == 0) == (descriptor is not None)
        return result, descriptor and Socket(socket.socket(fileno=descriptor))

    def create(self, name):
        return self._session(0x00, name)

    def retrieve_session(self, name):
        return self._session(0x01, name)

    def attach(self, name):
        return self._session(0x20, name, 0)

    def status(self):
        """The status of all pages: luod's members, and the sessions with their files."""
        while True:
            place, lines = (0, 0, 0), []
            while True:
                result, page, place = self._status_page(place)
                if result:
                    break
                lines += map(json.loads, page.splitlines())
                if place == (0, 0, 0):
                    return _status(lines)
            assert result == -errno.ESTALE, errno.errorcode[-result]  # an update came between two pages

    def _status_page(self, place):
        """The result of a page, its lines, and the place of the next one."""
        tag = next(_tags)
        try:
            self.socket.send(struct.pack("<I", 0xBA21) + struct.pack("<IIQQ", 24, *place) + struct.pack("<Q", tag))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Gone from error
        while True:
            try:
                data = self.socket.recv(80_000)
            except ConnectionResetError as error:
                raise Gone from error
            if not data:
                raise Gone
            if len(data) == 12 and struct.unpack("<Q", data[4:])[0] == tag:
                return struct.unpack("<i", data[:4])[0], b"", place
            if len(data) >= 36 and struct.unpack("<Q", data[28:36])[0] == tag:
                return 0, data[36:], struct.unpack("<IQQ", data[8:28])

    def ask_change(self, number, image="", flags=0):
        return self.ask(number, struct.pack("<II48x4096s", 4152, flags, image.encode()))

    def changed(self, tag):
        """The result, and what is said about it."""
        result, body, _ = self.answer(tag)
        return result, body[56:].split(b"\0")[0].decode()

    def load(self, image=""):
        return self.changed(self.ask_change(0x22, image))

    def update(self, image="", flags=0):
        return self.changed(self.ask_change(0x23, image, flags))

    def reload(self, image=""):
        return self.changed(self.ask_change(0x24, image))

    def as_user(self, user):
        """Root acts as another user from now on."""
        return self.call(0x28, struct.pack("<II", 8, user))[0]

    def remove_session(self, name, flags=4):
        """Removes a session, by force. The name is as `status` has it. The result, and the obstacles or the reason."""
        return self.changed(self.ask_change(0x29, name, flags))

    # On a session.

    def _file(self, number, token, descriptor=None):
        result, _, received = self.call(number, struct.pack("<IiQ", 16, -1, token), descriptor)
        return result, received

    def preserve(self, token, descriptor):
        return self._file(0x40, token, descriptor)[0]

    def retrieve(self, token):
        return self._file(0x41, token)

    def get(self, token):
        return self._file(0x61, token)

    def take(self, token):
        """Gets a file and unpreserves it. Returns the result of the first step that fails, and the descriptor or None."""
        result, descriptor = self.get(token)
        if result == 0:
            result = self.unpreserve(token)
            if result != 0:
                os.close(descriptor)
                descriptor = None
        return result, descriptor

    def unpreserve(self, token):
        return self._file(0x60, token)[0]

    def finish(self):
        return self.call(0x42, struct.pack("<II", 8, 0))[0]

    def set_detached(self, detached=1):
        return self.call(0x63, struct.pack("<II", 8, detached))[0]

    def name(self):
        result, body, _ = self.call(0x43, struct.pack("<II64x", 72, 0))
        return result, body[8:].split(b"\0")[0].decode()


class File:
    """A memory file that is known again: by its content, its inode and its size."""

    def __init__(self, content, huge=False):
        flags = os.MFD_CLOEXEC | (os.MFD_HUGETLB | os.MFD_HUGE_2MB if huge else 0)
        self.descriptor = os.memfd_create("luo-test", flags)
        self.content, self.huge = content.encode(), huge
        self.size = 2 << 20 if huge else 4096
        os.ftruncate(self.descriptor, self.size)
        self._write()
        self.inode = os.fstat(self.descriptor).st_ino

    def _write(self):
        """Others may have the huge pages for a while."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with self._map(self.descriptor) as bytes_:
                    bytes_[: len(self.content)] = self.content
                return
            except OSError as error:
                if error.errno != errno.ENOMEM or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def _map(self, descriptor):
        return mmap.mmap(descriptor, self.size)

    def is_same(self, descriptor):
        """Whether a descriptor that came, which is closed, is of this file as it was."""
        with os.fdopen(descriptor, "rb", closefd=True) as file:
            if os.fstat(file.fileno()).st_ino != self.inode or os.fstat(file.fileno()).st_size != self.size:
                return False
            with self._map(file.fileno()) as bytes_:
                return bytes_[: len(self.content)] == self.content

    def close(self):
        os.close(self.descriptor)


class Daemon:
    """luod on a state of its own."""

    def __init__(self, luod, options=(), place=None):
        self.luod, self.options = luod, list(options)
        self.place = tempfile.mkdtemp(prefix="luod-", dir=place)
        self.state = f"{self.place}/state"
        self.keeper = None

    def start(self, before=()):
        """Starts a keeper, with another program before it if that is wanted.

        Returns whether it became ready; False when it ended before."""
        # Files, and no pipe: who is left when it dies has its standard output, too.
        with open(f"{self.place}/log", "ab") as log, open(f"{self.place}/out", "wb") as out:
            self.keeper = subprocess.Popen(
                [*before, self.luod, "--state", self.state, "--patience", str(PATIENCE * 1000), *self.options],
                stdout=out, stderr=log, stdin=subprocess.DEVNULL)
        while True:
            has_keeper = self.has_keeper()
            with open(f"{self.place}/out", "rb") as out:
                if out.read().startswith(b"luod: ready"):
                    return True
            if not has_keeper:
                return False
            time.sleep(0.002)

    def start_at_last(self):
        """As often as it takes: who had the state may not have ended yet."""
        deadline = time.monotonic() + PATIENCE
        while not self.start():
            assert time.monotonic() < deadline, "no keeper can be started"
            time.sleep(0.005)

    def has_keeper(self):
        return self.keeper.poll() is None

    def connect(self):
        return Socket.connect(f"{self.state}/liveupdate")

    def processes(self):
        """All that run on this state, but for who traces them."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if self.state.encode() in words and b"strace" not in words[0]:
                found.append(int(name))
        return found

    def log(self):
        with open(f"{self.place}/log", encoding="utf-8", errors="replace") as file:
            return file.read()

    def end(self):
        """Ends all of it, whatever state it is in."""
        if self.keeper:
            self.keeper.kill()
            self.keeper.wait()
        deadline = time.monotonic() + PATIENCE
        while (left := self.processes()) and time.monotonic() < deadline:
            for process in left:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.002)
        shutil.rmtree(self.place, ignore_errors=True)
