# SPDX-License-Identifier: Apache-2.0
"""Hostile clients for scripts/daemon/attack: users that try to block, kill or exhaust luod.

A client is a generator. Each step is one attempt. A failed system call or a connection that luod has ended starts the
generator again; a `Complaint` says that luod has broken a rule."""

import collections
import ctypes
import errno
import fcntl
import gc
import itertools
import os
import random
import resource
import socket
import struct
import termios
import threading
import time

from harness import Complaint
from luo import Gone, Socket

# Numbers of calls: docs/protocol.md.
CREATE, STATUS, SERVE, PRESERVE, FINISH, GET_NAME = 0x00, 0x21, 0x25, 0x40, 0x42, 0x43
UNPRESERVE, GET, CHECK, DETACH, PRESERVE_HELD = 0x60, 0x61, 0x62, 0x63, 0x64

PATIENCE = 2  # seconds until a client gives up an answer, and begins again
PAGE = 4096
HUGE_PAGE = 2 << 20
TERABYTE = 1 << 40


def expect(result, errnos, what):
    """Complains about a result that is neither one of `errnos` nor ENODEV, which any call has after an update."""
    if -result not in (*errnos, errno.ENODEV):
        wanted = " or ".join(errno.errorcode.get(number, "success") for number in errnos)
        raise Complaint(f"{what}: {errno.errorcode.get(-result, result)}, and not {wanted}")


def message(number, body, tag=0):
    return struct.pack("<I", 0xBA00 | number) + body + (struct.pack("<Q", tag) if tag else b"")


def about_file(number, token):
    return message(number, struct.pack("<IiQ", 16, -1, token))


ASK_STATUS = message(STATUS, struct.pack("<IIQQ", 24, 0, 0, 0))
ASK_NAME = message(GET_NAME, struct.pack("<II64x", 72, 0))


def flood(connected, request, descriptors=()):
    """Sends a request until the queue has no more room. Returns how often."""
    connected.socket.setblocking(False)
    for count in itertools.count():
        try:
            socket.send_fds(connected.socket, [request], descriptors)
        except BlockingIOError:
            return count
        except OSError as error:
            if error.errno == errno.ETOOMANYREFS:
                return count
            raise


def drain(connected):
    """Takes all answers that are there, and returns how many there were."""
    connected.socket.setblocking(False)
    count = 0
    try:
        while True:
            data, descriptors, _, _ = socket.recv_fds(connected.socket, 8192, 253)
            for descriptor in descriptors:
                os.close(descriptor)
            if not data:
                return count
            count += 1
    except BlockingIOError:
        return count
    finally:
        connected.socket.settimeout(PATIENCE)


class Target:
    """The luod that is attacked."""

    _numbers = itertools.count()

    def __init__(self, path, stuck=None):
        """`stuck` is a descriptor of the directory of a file system that does not answer."""
        self.path, self.stuck, self.stuck_files = path, stuck, []

    def connect(self):
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", PATIENCE, 0))
        connecting.connect(self.path)
        connected = Socket(connecting)
        connected.socket.settimeout(PATIENCE)
        return connected

    def session(self, device=None):
        """A new session, on its own connection if none is given."""
        result, session = (device or self.connect()).create(self.name())
        if result != 0:
            raise OSError(-result, "a session")
        session.socket.settimeout(PATIENCE)
        return session

    def name(self):
        return f"{os.getpid()}-{next(self._numbers)}"

    def stuck_file(self):
        """One for each process, and never closed: the process would wait for the file system, too."""
        if not self.stuck_files:
            self.stuck_files.append(os.open("file", os.O_RDWR | os.O_CLOEXEC, dir_fd=self.stuck))
        return self.stuck_files[0]


def memory_file(size, flags=0):
    descriptor = os.memfd_create("attack", os.MFD_CLOEXEC | flags)
    os.ftruncate(descriptor, size)
    return descriptor


# Closes that sleep.

def lingering_socket():
    """A TCP socket whose last close waits 30 s, since its peer reads nothing; and the peer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        sender = socket.socket()
        sender.connect(listener.getsockname())
        peer, _ = listener.accept()
    sender.setblocking(False)
    try:
        while True:
            sender.send(bytes(1 << 16))
    except BlockingIOError:
        pass
    sender.setblocking(True)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
    return sender, peer


def linger(luod):
    """Sockets with SO_LINGER: checked, held and released, and left in the queue of a connection that ends."""
    peers = collections.deque(maxlen=200)
    session = luod.session()
    while True:
        for way in ("checked", "held", "queued"):
            sender, peer = lingering_socket()
            peers.append(peer)
            if way == "queued":
                leave_in_queue(luod, sender.fileno())
                sender.close()
            else:
                tag = session.ask(CHECK if way == "checked" else PRESERVE_HELD, struct.pack("<IiQ", 16, -1, 1), sender.fileno())
                sender.close()
                result, _, _ = session.answer(tag)
                if way == "held" and result == 0:
                    session.unpreserve(1)
            yield


def leave_in_queue(luod, descriptor):
    """Ends a connection whose queue at luod has copies of a descriptor."""
    session = luod.session()
    flood(session, about_file(CHECK, 1), [descriptor])
    session.close()


def stuck(luod):
    """A file of a file system that does not answer: checked, preserved, held and released, and left in a queue."""
    file = luod.stuck_file()
    while True:
        session = luod.session()
        for number in (CHECK, PRESERVE, PRESERVE_HELD):
            result, _ = session._file(number, 1, file)
            if result == 0 and number != CHECK:
                session.unpreserve(1)
            yield
        leave_in_queue(luod, file)
        yield


def refused(luod):
    """Connections beyond the limit, with such files in their queues."""
    file = luod.stuck_file()
    held = []
    while True:
        try:
            held.append(luod.connect())
            session = luod.session(held[-1])
            held.append(session)
            session._file(PRESERVE_HELD, 1, file)
        except (OSError, Gone):
            pass
        for _ in range(8):
            connected = luod.connect()
            flood(connected, about_file(CHECK, 1), [file])
            connected.close()
            yield


def gigabytes(luod):
    """Memory files whose last close frees much memory."""
    session = luod.session()
    while True:
        file = memory_file(256 << 20)
        os.posix_fallocate(file, 0, 256 << 20)
        tag = session.ask(PRESERVE_HELD, struct.pack("<IiQ", 16, -1, 1), file)
        os.close(file)
        if session.answer(tag)[0] == 0:
            session.unpreserve(1)
        yield


# Requests with much work.

def _preserve_again_and_again(luod, file):
    session = luod.session()
    session.socket.settimeout(60)  # the request takes long, and is served when others are not kept waiting by it
    while True:
        result = session.preserve(1, file)
        if result == 0:
            session.unpreserve(1)
        session._file(CHECK, 1, file)
        yield


def sparse(luod):
    """A hugetlb file of 8 TiB without a page."""
    yield from _preserve_again_and_again(luod, memory_file(8 * TERABYTE, os.MFD_HUGETLB | os.MFD_HUGE_2MB))


def one_page(luod):
    """A hugetlb file of 8 TiB with one page, far from the ends and from the middle."""
    file = memory_file(8 * TERABYTE, os.MFD_HUGETLB | os.MFD_HUGE_2MB)
    os.posix_fallocate(file, 3 * TERABYTE + 7777 * HUGE_PAGE, HUGE_PAGE)
    yield from _preserve_again_and_again(luod, file)


def extents(luod):
    """A memory file of 60,000 extents."""
    file = memory_file(2 * 60_000 * PAGE)
    for number in range(60_000):
        os.pwrite(file, b"x", 2 * number * PAGE)
    yield from _preserve_again_and_again(luod, file)


MANY = 16_000


def fill(session, count=MANY):
    """Preserves many files in a session, and returns how many: a limit may end it."""
    preserved, token = 0, 0
    while token < count:
        batch = range(token, min(token + 32, count))
        files = [memory_file(PAGE) for _ in batch]
        for number, file in zip(batch, files):
            socket.send_fds(session.socket, [about_file(PRESERVE, number)], [file])
        for file in files:
            os.close(file)
        for _ in batch:
            answer = session.socket.recv(8192)
            if not answer:
                raise Gone
            if answer[:4] != bytes(4):
                return preserved
            preserved += 1
        token += len(batch)
    return preserved


def finish(luod):
    """Sessions of 16,000 files: finished after an update, or closed."""
    device = luod.connect()
    while True:
        name = luod.name()
        result, session = device.create(name)
        if result != 0:
            raise OSError(-result, "a session")
        session.socket.settimeout(30)
        fill(session)
        yield
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            if session.name()[0] == -errno.ENODEV:
                session.close()
                result, session = device.retrieve_session(name)
                if result == 0:
                    session.socket.settimeout(30)
                    session.finish()
                break
            time.sleep(0.05)
        if session:
            session.close()
        yield


# Answers that are not read.

def unread(luod):
    """STATUS of many files, and GET_FD, on connections that do not read; then as many messages as luod holds of one user."""
    session = luod.session()
    fill(session, 8000)
    file = memory_file(PAGE)
    session.preserve(1 << 40, file)
    while True:
        connections = [luod.connect() for _ in range(10)]
        for connected in connections:
            flood(connected, ASK_STATUS)
            yield
        flood(session, about_file(GET, 1 << 40))
        time.sleep(0.2)
        for connected in (*connections, session):
            expect_one_answer(connected)
        for connected in connections:
            connected.close()
        drain(session)
        yield


def expect_one_answer(connected):
    """Complains about a connection with more than one unread answer."""
    unread_bytes = struct.unpack("i", fcntl.ioctl(connected.socket, termios.FIONREAD, bytes(4)))[0]
    try:
        first = len(connected.socket.recv(1 << 18, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return
    if unread_bytes > first:
        raise Complaint(f"{unread_bytes} bytes of unread answers on one connection; the first answer has {first}")


def pipeline(luod):
    """Many requests at once on many connections, and each answer is read late."""
    file = memory_file(PAGE)
    sessions, devices = [luod.session() for _ in range(10)], [luod.connect() for _ in range(10)]
    while True:
        for connected in (*sessions, *devices):
            flood(connected, about_file(CHECK, 1) if connected in sessions else ASK_STATUS, [file])
            yield
        time.sleep(0.1)
        for connected in (*sessions, *devices):
            expect_one_answer(connected)
            drain(connected)


# Things that luod holds.

def churn(luod):
    """Connects, makes 16 sessions and closes all, in a loop."""
    while True:
        device = luod.connect()
        sessions = [device.create(luod.name())[1] for _ in range(16)]
        for session in sessions:
            if session:
                session.close()
        device.close()
        yield


def hoard(luod):
    """Sessions, files and connections up to the limits; then all are closed at once."""
    file = memory_file(PAGE)
    while True:
        held = []
        try:
            while len(held) < 6000:
                held.append(luod.connect())
                for _ in range(8):
                    result, session = held[0].create(luod.name())
                    if result != 0:
                        raise OSError(-result, "the limit")
                    held.append(session)
                    session._file(PRESERVE_HELD, 1, file)
                yield
        except OSError:
            pass
        time.sleep(0.2)
        yield


def connections(luod, count=590):
    """As many connections as one user tries to have, and none is used."""
    held = []
    while True:
        try:
            if len(held) < count:
                held.append(luod.connect())
            else:
                time.sleep(0.05)
        except OSError:
            time.sleep(0.01)
        yield


_libc = ctypes.CDLL(None, use_errno=True)
_SECCOMP = {"x86_64": 317, "aarch64": 277}


class Filtered:
    """A thread under a filter that allows everything, and the listener of the filter. The thread lives until `end`."""

    class _Filter(ctypes.Structure):
        _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32)]

    class _Program(ctypes.Structure):
        _fields_ = [("count", ctypes.c_uint16), ("filters", ctypes.c_void_p)]

    def __init__(self):
        self._made, self._over, self.listener = threading.Event(), threading.Event(), -1
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._made.wait()
        if self.listener == -1:
            raise OSError(errno.EINVAL, "seccomp(2)")

    def _run(self):
        allow = self._Filter(0x06, 0, 0, 0x7FFF0000)  # BPF_RET, SECCOMP_RET_ALLOW
        program = self._Program(1, ctypes.addressof(allow))
        _libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        # SECCOMP_SET_MODE_FILTER with SECCOMP_FILTER_FLAG_NEW_LISTENER.
        self.listener = _libc.syscall(_SECCOMP[os.uname().machine], 1, 8, ctypes.byref(program))
        self._made.set()
        self._over.wait()

    def end(self):
        self._over.set()
        self._thread.join()
        os.close(self.listener)


def serve(luod):
    """SERVE with the same listener again and again, and with new ones."""
    body = struct.pack("<II", 8, 0)
    device = luod.connect()
    while True:
        filtered, session = Filtered(), luod.session()
        first = device.call(SERVE, body, filtered.listener)[0]
        expect(first, (0, errno.EMFILE), "a new listener")
        for _ in range(100):
            yield
            again = device.call(SERVE, body, filtered.listener)[0]
            # The next orchestrator takes it for a request that the one before has not answered.
            has_updated = again == 0 and session.name()[0] == -errno.ENODEV
            has_room_now = again == 0 and first == -errno.EMFILE
            expect(
                again, (0,) if has_updated or has_room_now else (errno.EBUSY, errno.EMFILE),
                "the same listener again")
            if has_room_now:
                first = 0
        filtered.end()
        session.close()


# Descriptors that luod must refuse.

def own_sockets(luod):
    """luod's own sockets as files to hold, visible, and hidden in the queue of another socket."""
    while True:
        device = luod.connect()
        session = luod.session(device)
        for own in (device, session):
            expect(session._file(PRESERVE_HELD, 1, own.socket.fileno())[0], (errno.ELOOP,), "a socket of luod's own")
            yield
        outer, inner = socket.socketpair()
        socket.send_fds(inner, [b"x"], [session.socket.fileno()])
        session._file(PRESERVE_HELD, 2, outer.fileno())
        inner.close()
        outer.close()
        session.close()
        device.close()
        yield


def only_paths(luod):
    """Descriptors that are only paths."""
    session = luod.session()
    held = [os.open("/", os.O_PATH), os.open("/dev/null", os.O_PATH), os.open("/proc/self/fd/0", os.O_PATH)]
    while True:
        for descriptor in held:
            for number in (PRESERVE, PRESERVE_HELD, CHECK):
                expect(session._file(number, 1, descriptor)[0], (errno.EBADF,), "an O_PATH descriptor")
            yield


# Messages.

def malformed(luod, seed=1):
    """Messages of all calls and many lengths, with sizes and contents that cannot be, and with descriptors."""
    chance = random.Random(seed)
    file = memory_file(PAGE)
    lengths = [*range(100), *range(4140, 4180), 8191, 8192, 8193, 20_000]
    while True:
        device = luod.connect()
        targets = [device, luod.session(device)]
        for _ in range(50):
            number = chance.choice((chance.randrange(256), chance.choice(range(0x20, 0x2B)), chance.choice(range(0x40, 0x66))))
            command = chance.choice((0xBA00 | number,) * 8 + (number, 0xFFFFBA00 | number, chance.randrange(1 << 32)))
            length = chance.choice(lengths)
            size = chance.choice((length, 8, 16, 72, 4152, 0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFF8))
            fill_byte = chance.choice((b"\0", b"\xff", b"/"))
            bytes_ = (struct.pack("<II", command, size) + fill_byte * length)[:length]
            connected = chance.choice(targets)
            connected.socket.setblocking(False)
            try:
                socket.send_fds(connected.socket, [bytes_], [file] * chance.choice((0, 0, 1, 2, 16)))
            except BlockingIOError:
                pass
            drain(connected)
            yield
        for connected in targets:
            connected.close()


def cut(luod):
    """Messages with more descriptors than luod takes, and answers whose descriptor the client has no room for."""
    file = memory_file(PAGE)
    while True:
        session = luod.session()
        try:
            socket.send_fds(session.socket, [ASK_NAME], [file] * 253)
            session.socket.recv(8192)
        except OSError:
            pass
        session.close()
        device = luod.connect()
        for _ in range(20):
            device.ask(CREATE, struct.pack("<Ii64s", 72, -1, luod.name().encode()))
            device.socket.recv(8192)  # without room for a descriptor: the session has lost its only one
            yield
        device.close()


def dying(luod):
    """Processes that die in the middle of a request."""
    while True:
        child = os.fork()
        if child == 0:
            try:
                device = luod.connect()
                session = luod.session(device)
                flood(session, about_file(PRESERVE, 1), [memory_file(PAGE)])
                flood(device, ASK_STATUS)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        yield


# Files that change.

def truncated(luod):
    """Preserved files that change their size, so that an update cannot freeze them."""
    while True:
        session = luod.session()
        for token in range(50):
            file = memory_file(PAGE)
            session.preserve(token, file)
            os.ftruncate(file, 2 * PAGE)
            os.close(file)
            yield
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline and session.name()[0] == 0:
            time.sleep(0.02)
        session.close()


def hoarded_memory(luod, limit=64 << 20, size=4 << 20):
    """Memory beyond the user's limit: in files that are full, and in files that are filled later."""
    while True:
        session = luod.session()
        later, allocated = [], 0
        for token in range(64):
            file = memory_file(size)
            if token % 2:
                os.posix_fallocate(file, 0, size)
            result = session.preserve(token, file)
            if result == 0:
                allocated += size
                if token % 2 == 0:
                    os.posix_fallocate(file, 0, size)
            else:
                expect(result, (errno.EDQUOT, errno.EMFILE), "a file beyond the user's memory")
            os.close(file)
            yield
        # luod reads the sizes now and then, so that it notices files that are filled later with a delay.
        time.sleep(1.5)
        file = memory_file(size)
        os.posix_fallocate(file, 0, size)
        expect(session.preserve(1000, file), (errno.EDQUOT,), f"{allocated >> 20} MiB are preserved, with a limit of {limit >> 20} MiB")
        os.close(file)
        session.close()
        yield


def hoarded_pages(luod, limit=4):
    """More huge pages than the user may have: in files that have their page, and in one that gets it later."""
    while True:
        session, files = luod.session(), []
        for token in range(limit + 1):
            files.append(memory_file(HUGE_PAGE, os.MFD_HUGETLB | os.MFD_HUGE_2MB))
            if token > 0:
                os.posix_fallocate(files[-1], 0, HUGE_PAGE)
            expect(session.preserve(token, files[-1]), (0, errno.EDQUOT, errno.EMFILE), "a file of a huge page")
            yield
        os.posix_fallocate(files[0], 0, HUGE_PAGE)
        time.sleep(1.5)  # luod reads the sizes now and then
        more = memory_file(HUGE_PAGE, os.MFD_HUGETLB | os.MFD_HUGE_2MB)
        os.posix_fallocate(more, 0, HUGE_PAGE)
        expect(session.preserve(1000, more), (errno.EDQUOT,), f"{limit + 1} huge pages are preserved, with a limit of {limit}")
        for file in (*files, more):
            os.close(file)
        session.close()
        yield


def full_arena(luod):
    """Files until nothing more fits into the file system of the state."""
    while True:
        session = luod.session()
        fill(session, 16_000)
        time.sleep(0.2)
        session.close()
        yield


def _descriptors():
    return {int(name) for name in os.listdir("/proc/self/fd")}


def act(client, luod, is_over, count):
    """Runs a client until the end. `count` is called after each attempt.

    Errors of system calls are the client's: luod refuses it, or does not serve it, and it begins again."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    kept = _descriptors()
    while not is_over():
        try:
            for _ in client(luod):
                count()
                if is_over():
                    return
        except (OSError, Gone, struct.error):
            pass
        gc.collect()
        for descriptor in _descriptors() - kept - set(luod.stuck_files):
            try:
                os.close(descriptor)
            except OSError:
                pass
        time.sleep(0.01)
