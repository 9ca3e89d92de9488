# SPDX-License-Identifier: Apache-2.0
"""A luod that answers wrongly: a thread at the other end of a socket pair."""

import errno
import os
import resource
import socket
import struct
import threading
import time

import pytest

import luo


class Luod:
    """Answers each request by a function of the request's struct and tag: messages, each with a count of descriptors."""

    def __init__(self, answers):
        self.own, client = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.own.settimeout(None)
        self.session = luo.Session(client)
        self.answers = answers
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        while request := self.own.recv(80_000):
            (size,) = struct.unpack_from("=I", request, 4)
            for message, count in self.answers(request[4:4 + size], request[4 + size:12 + size]):
                if message is None:
                    self.own.shutdown(socket.SHUT_RDWR)
                    return
                socket.send_fds(self.own, [message], [self.own.fileno()] * count)

    def __enter__(self):
        self.thread.start()
        return self.session

    def __exit__(self, *_):
        self.session.close()
        self.thread.join()
        self.own.close()


def result(number):
    return struct.pack("=i", number)


WRONG = struct.pack("=Q", 1)
NOTICE = struct.pack("=IIQQ", luo.FREEZE_SOON, 24, 5000, 77)
STRANGE = struct.pack("=IIQQQ", 9, 32, 0, 0, 0)
TEXT = b"the reason\nthe remedy"

# The answers, and the errno of a call that brings nothing, and of one that brings a descriptor; 0 for a success.
ROWS = {
    "right": (lambda body, tag, own: [(result(0) + body + tag, own)], 0, 0),
    "reason": (lambda body, tag, own: [(result(-2) + body + tag + TEXT, 0)], errno.ENOENT, errno.ENOENT),
    "too short": (lambda body, tag, own: [(b"1234567", 1)], errno.EPROTO, errno.EPROTO),
    "result only": (lambda body, tag, own: [(result(0), 0)], errno.EPROTO, errno.EPROTO),
    "wrong tag": (lambda body, tag, own: [(result(0) + body + WRONG, 1), (result(0) + body + tag, own)], 0, 0),
    "long, wrong tag": (
        lambda body, tag, own: [(result(0) + body + WRONG + b"x" * 150_000, 1), (result(0) + body + tag, own)], 0, 0),
    "too long": (lambda body, tag, own: [(result(0) + body + tag + b"x" * 150_000, own)], errno.EPROTO, errno.EPROTO),
    "positive": (lambda body, tag, own: [(result(1) + body + tag, own)], errno.EPROTO, errno.EPROTO),
    "one descriptor more": (lambda body, tag, own: [(result(0) + body + tag, own + 1)], errno.EPROTO, errno.EPROTO),
    "many descriptors": (lambda body, tag, own: [(result(0) + body + tag, 40)], errno.EMFILE, errno.EMFILE),
    "no descriptor": (lambda body, tag, own: [(result(0) + body + tag, 0)], 0, errno.EPROTO),
    "failure with one": (lambda body, tag, own: [(result(-2) + body + tag, 1)], errno.EPROTO, errno.EPROTO),
    "closes": (lambda body, tag, own: [(result(0) + body + WRONG, 1), (None, 0)], errno.ENOTCONN, errno.ENOTCONN),
    "refuses": (lambda body, tag, own: [(result(-24), 0), (None, 0)], errno.EMFILE, errno.EMFILE),
    "notice first": (lambda body, tag, own: [(NOTICE, 0), (result(0) + body + tag, own)], 0, 0),
    "lowest result": (lambda body, tag, own: [(result(-2**31) + body + tag, 0)], errno.EPROTO, errno.EPROTO),
    "lowest result only": (lambda body, tag, own: [(result(-2**31), 0)], errno.EPROTO, errno.EPROTO),
    "no errno": (lambda body, tag, own: [(result(-4096) + body + tag, 0)], errno.EPROTO, errno.EPROTO),
    "strange notice": (lambda body, tag, own: [(STRANGE, 1), (result(0) + body + tag, own)], 0, 0),
}


@pytest.mark.parametrize("brings", [0, 1])
@pytest.mark.parametrize("row", ROWS)
def test_answer(row, brings):
    answers, *wanted = ROWS[row]
    with Luod(lambda body, tag: answers(body, tag, brings)) as session:
        for _ in range(1 if row == "refuses" else 3):
            try:
                descriptor = session.get(5) if brings else session.finish()
            except luo.Error as error:
                assert error.errno == wanted[brings] and error.reason, error
                if row == "reason":
                    assert (error.reason, error.remedy) == ("the reason", "the remedy")
            else:
                assert wanted[brings] == 0
                if brings:
                    os.close(descriptor)
        if row == "notice first":
            assert session.notice(0) == luo.Notice(luo.FREEZE_SOON, 5000, 77)


def right(body, tag):
    return [(result(0) + body + tag, 0)]


@pytest.mark.parametrize("text", [b"{{{", b"[1]", b"5", b'{"file":{}}', b'{"luod":5}', b"[" * 60_000, b"\xff", b""])
def test_status_that_cannot_be_read(text):
    with Luod(lambda body, tag: [(result(0) + bytes(body[:4]) + bytes(20) + tag + text, 0)]) as session:
        device = luo.Device.__new__(luo.Device)
        device.__dict__ = session.__dict__
        with pytest.raises(luo.Error) as raised:
            device.status()
        assert raised.value.errno == errno.EPROTO and raised.value.remedy


def test_the_last_notice_of_each_kind_is_kept():
    def answers(body, tag):
        earlier = struct.pack("=IIQQ", luo.FREEZE_SOON, 24, 5000, 76)
        return [(earlier, 0), (NOTICE, 0), *right(body, tag)]

    with Luod(answers) as session:
        for _ in range(5):
            session.finish()
        assert session.notice(0) == luo.Notice(luo.FREEZE_SOON, 5000, 77)
        assert session.notice(0) is None


def test_notice_on_a_high_descriptor():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] != resource.RLIM_INFINITY and limits[1] < 2100:
        pytest.skip("2100 descriptors are needed: ulimit -n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2100), limits[1]))
    try:
        own, client = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with own, client:
            os.dup2(client.fileno(), 2000, inheritable=False)
            with luo.Session(socket.socket(fileno=2000)) as session:
                own.send(NOTICE)
                assert session.notice(1) == luo.Notice(luo.FREEZE_SOON, 5000, 77)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_default_timeout(state):
    def answers(body, tag):
        time.sleep(0.3)
        return right(body, tag)

    socket.setdefaulttimeout(0.05)
    try:
        with Luod(answers) as session:
            session.finish()
        with luo.Device(state) as device, device.create("default timeout") as session:
            assert session.name() == "default timeout"
    finally:
        socket.setdefaulttimeout(None)


# The table of docs/python.md, where luod is not asked.
def test_arguments():
    def refused(number, call, *arguments, **named):
        with pytest.raises(luo.Error) as raised:
            call(*arguments, **named)
        assert raised.value.errno == number, raised.value

    with Luod(right) as session:
        device = luo.Device.__new__(luo.Device)
        device.__dict__ = session.__dict__
        for user in -1, 1 << 32, "0", None, 1.5:
            refused(errno.EINVAL, device.act_as, user)
        refused(errno.EINVAL, device.attach, "name", 1 << 31)
        refused(errno.EINVAL, device.create, "\ud800")
        for patience in -1, float("nan"), float("inf"), 86_401:
            refused(errno.EINVAL, device.update, patience=patience)
        for image, number in ("a\0b", errno.EINVAL), ("\ud800", errno.EINVAL), ("x" * 4096, errno.ENAMETOOLONG):
            for call in device.load, device.update, device.reload:
                refused(number, call, image)
        refused(errno.EINVAL, session.ready, luo.Notice(luo.FREEZE_SOON, 0, 1 << 64))
        session.close()
        refused(errno.EBADF, session.notice, 0)
    for state in "a\0b", "\ud800":
        refused(errno.EINVAL, luo.Device, state)
