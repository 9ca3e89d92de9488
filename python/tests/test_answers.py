# SPDX-License-Identifier: Apache-2.0
"""A luod that answers wrongly: a thread at the other end of a socket pair."""

import errno
import os
import socket
import struct
import threading

import pytest

import luo


class Luod:
    """Answers each request by a function of the request's struct and tag: messages, each with a count of descriptors."""

    def __init__(self, answers):
        self.own, client = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
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
