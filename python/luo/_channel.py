# SPDX-License-Identifier: Apache-2.0
"""The client's side of a socket of luod: docs/protocol.md."""

import collections
import errno
import os
import random
import select
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Any, Deque, List, NamedTuple, Optional, Tuple, Type, TypeVar

from ._errors import Error

FREEZE_SOON, OVER = 1, 2  # the kinds of notices

_NOTICE = "=IIQQ"  # kind, size, value, question
_ROOM = 80_000  # bytes, more than any answer has
_LAST_ERRNO = 4095  # the kernel has no larger one
_Self = TypeVar("_Self", bound="Channel")


class Notice(NamedTuple):
    """A notice of luod to a session that has subscribed.

    FREEZE_SOON: the value is the time in milliseconds for which luod waits for Session.ready.
    OVER: the value is 1 if the update was made, and 0 if it was called off.
    """

    kind: int
    value: int
    question: int


class Answer(NamedTuple):
    """The fields of the answer's struct, the text behind its tag, and its descriptor."""

    fields: Tuple[Any, ...]
    text: bytes
    descriptor: Optional[int]

    def needed_descriptor(self) -> int:
        """Returns the descriptor of an answer that has one."""
        assert self.descriptor is not None
        return self.descriptor


class Channel:
    """A socket on which calls are made: of luod, or of a session.

    It has one request at a time: threads wait for each other. Two processes that share a session after a fork must
    not use it at the same time.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        connection.settimeout(None)  # whatever socket.setdefaulttimeout says: a call waits for its answer
        self._notices: Deque[Notice] = collections.deque()  # notices that came before an answer, the last of each kind
        self._lock, self._process = threading.Lock(), os.getpid()

    def fileno(self) -> int:
        """Returns the descriptor, for poll and to pass it to another process."""
        return self._socket.fileno()

    def close(self) -> None:
        """Closes the descriptor. The last close of a session ends it, unless it is detached."""
        self._socket.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _turn(self) -> threading.Lock:
        """Returns the lock. In a child of a fork, a thread of the parent may have had the old one."""
        if self._process != os.getpid():
            self._lock, self._process = threading.Lock(), os.getpid()
        return self._lock

    def _call(
        self, number: int, layout: str, *fields: Any, file: Optional[int] = None, brings: bool = False
    ) -> Answer:
        """Makes a call, and returns its answer. With `brings` a success has a descriptor.

        If the descriptor of an answer does not arrive, this raises an Error with EMFILE. luod has done the call, and
        the connection can still be used.
        """
        # A request with a tag is done exactly once, also when luod's process dies in the middle of it. The flag 1 asks
        # for reasons.
        tag = random.SystemRandom().getrandbits(64) or 1
        body = struct.pack(layout, struct.calcsize(layout), *fields)
        request = struct.pack("=I", 0xBA00 | number) + body + struct.pack("=QI", tag, 1)
        with self._turn():
            self._send(request, file)
            while True:
                message, descriptors, flags = self._receive()
                try:
                    answer = self._understand(message, layout, tag, descriptors, flags, brings)
                except BaseException:
                    _close(descriptors)
                    raise
                if answer is not None:
                    return answer
                _close(descriptors)

    def _send(self, request: bytes, file: Optional[int]) -> None:
        try:
            passed = [] if file is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("=i", file))]
            self._socket.sendmsg([request], passed, socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            pass  # luod has closed the connection, and may have said why before
        except OSError as error:
            what = "the descriptor is not open" if error.errno == errno.EBADF else "the request was not sent"
            raise Error(error.errno or errno.EIO, f"{what}: {error.strerror}") from error

    def _receive(self) -> Tuple[bytes, List[int], int]:
        while True:
            try:
                return self._next_message()
            except ConnectionResetError:
                continue  # the kernel reports this once, and luod's messages are still there
            except Error:
                raise
            except OSError as error:
                raise Error(error.errno or errno.EIO, f"no answer came: {error.strerror}") from error

    def _next_message(self, flags: int = 0) -> Tuple[bytes, List[int], int]:
        """Receives a message, its descriptors and its flags. socket.recv_fds ignores the flags that it is given."""
        message, parts, received, _ = self._socket.recvmsg(
            _ROOM, socket.CMSG_SPACE(8 * struct.calcsize("i")), flags | socket.MSG_CMSG_CLOEXEC)
        descriptors: List[int] = []
        for level, kind, data in parts:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                count = len(data) // struct.calcsize("i")  # a cut part may end in the middle of one
                descriptors += struct.unpack_from(f"={count}i", data)
        if not message:
            _close(descriptors)
            raise Error(errno.ENOTCONN, "luod has ended", "start it again, and connect again")
        return message, descriptors, received

    def _understand(
        self, message: bytes, layout: str, tag: int, descriptors: List[int], flags: int, brings: bool
    ) -> Optional[Answer]:
        """Returns the answer, or None if the message is another one."""
        if self._set_aside(message):
            return None
        if len(message) == 4:
            refusal = -struct.unpack("=i", message)[0]
            if not 0 < refusal <= _LAST_ERRNO:
                raise _unexpected()
            raise Error(refusal, "luod refused the connection: it holds as many descriptors as it may",
                        "close connections, or finish sessions")
        end = 4 + struct.calcsize(layout)
        is_cut = bool(flags & socket.MSG_TRUNC)
        if len(message) < end + 8 or struct.unpack_from("=Q", message, end)[0] != tag:
            if len(message) < 12 and not is_cut:
                raise _unexpected()
            return None  # an answer that luod repeats
        (result,) = struct.unpack_from("=i", message)
        if is_cut or not -_LAST_ERRNO <= result <= 0:
            raise _unexpected()
        fields, text = struct.unpack(layout, message[4:end]), message[end + 8:]
        if flags & socket.MSG_CTRUNC:
            raise Error(errno.EMFILE, "the descriptor of the answer did not arrive: this process has too many open files",
                        "raise the limit on open files (ulimit -n), and repeat the call: nothing is lost")
        if len(descriptors) != int(brings and result == 0):
            raise _unexpected()
        if result < 0:
            # A call that explains itself has the reason in the text of its struct.
            explains = not text and isinstance(fields[-1], bytes)
            why = (fields[-1] if explains else text).split(b"\0")[0].decode(errors="replace")
            raise Error.explained(-result, why) if explains else Error.with_text(-result, why)
        return Answer(fields, text, descriptors[0] if descriptors else None)

    def _set_aside(self, message: bytes) -> bool:
        """Sets a notice aside. Returns whether the message is a notice: the first word of an answer is not positive."""
        if len(message) < struct.calcsize(_NOTICE) or struct.unpack_from("=i", message)[0] <= 0:
            return False
        kind, size, value, question = struct.unpack_from(_NOTICE, message)
        if size == len(message) and kind in (FREEZE_SOON, OVER):
            # A later question, or a later result, makes the earlier one worthless.
            for earlier in [notice for notice in list(self._notices) if notice.kind == kind]:
                try:
                    self._notices.remove(earlier)
                except ValueError:  # another thread has taken it
                    pass
            self._notices.append(Notice(kind, value, question))
        return bool(size == len(message))

    def _next_notice(self, timeout: Optional[float]) -> Optional[Notice]:
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            notice = self._taken_notice()
            if notice is not None:
                return notice
            left = None if end is None else max(0.0, end - time.monotonic())
            # The wait is short, because a call of another thread may set the awaited notice aside.
            # select(2) takes no descriptor from 1024 on.
            polled = select.poll()
            polled.register(self._open_descriptor(), select.POLLIN)
            if polled.poll(50 if left is None else min(left, 0.05) * 1000):
                self._read_notices()
            elif left == 0:
                return self._taken_notice()

    def _taken_notice(self) -> Optional[Notice]:
        try:
            return self._notices.popleft()
        except IndexError:  # there is none, or another thread was faster
            return None

    def _open_descriptor(self) -> int:
        descriptor = self._socket.fileno()
        if descriptor < 0:
            raise Error(errno.EBADF, "the descriptor is not open", "use a session that is not closed")
        return descriptor

    def _read_notices(self) -> None:
        with self._turn():
            try:
                message, descriptors, _ = self._next_message(socket.MSG_DONTWAIT)
            except (BlockingIOError, ConnectionResetError):
                return
            _close(descriptors)  # of a repeated answer
            self._set_aside(message)


def _close(descriptors: List[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _unexpected() -> Error:
    return Error(errno.EPROTO, "luod sent an unexpected answer", "use a client and a luod of the same version")
