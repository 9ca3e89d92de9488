# SPDX-License-Identifier: Apache-2.0
"""A client of luod, over its socket: docs/protocol.md in Python, with the standard library only.

    device = luo.Device("/run/luo")
    session = device.create("vm")
    session.preserve(memory, token=1)       # a file descriptor, or what has a fileno()
    device.update()                         # root; programs may end before it when the session is detached
    memory = device.retrieve("vm").retrieve(token=1)

    session.subscribe()                     # luod asks before an update
    notice = session.notice()               # FREEZE_SOON: stop writing to the memory
    session.ready(notice)
    notice = session.notice()               # OVER: go on; notice.value is 1 in the next boot

What luod refuses is an OSError with the errno that docs/protocol.md names.
"""

import collections
import errno
import json
import os
import random
import select
import socket
import struct
import time

_NAME = "=Ii64s"  # size, descriptor or direction, name
_FILE = "=IiQ"  # size, descriptor, token
_WORD = "=II"  # size, a word
_STATUS = "=IIQQ"  # size, the place of a page: boot, session, file
_READY = "=IIQ"  # size, 0, the question
_UPDATE = "=II6Q4096s"  # size, flags, times, text
_NOTICE = "=IIQQ"  # kind, size, value, question

FREEZE_SOON, OVER = 1, 2  # the kinds of notices

# FREEZE_SOON: the value is the time in milliseconds for which luod waits for ready.
# OVER: the value is 1 if the update was made, and 0 if it was called off.
Notice = collections.namedtuple("Notice", "kind value question")


class _Channel:
    """A socket on which calls are made: of luod, or of a session. One request at a time."""

    def __init__(self, connection):
        self._socket = connection
        self._notices = collections.deque()  # notices that came before an answer

    def fileno(self):
        return self._socket.fileno()

    def close(self):
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _call(self, number, layout, *fields, file=None, brings=False):
        """Makes a call, and returns the struct of the answer and its descriptor, or None.

        When the descriptor of an answer does not arrive, this raises an OSError (EMFILE): luod has done the call, and the
        connection can be used further."""
        # With a tag it is done exactly once, also when the orchestrator dies in the middle of it. The flag asks for reasons.
        tag = random.getrandbits(64) or 1
        body = struct.pack(layout, struct.calcsize(layout), *fields)
        request = struct.pack("=I", 0xBA00 | number) + body + struct.pack("=QI", tag, 1)
        socket.send_fds(self._socket, [request], [] if file is None else [file])
        end = 4 + len(body)
        while True:
            answer, files, flags, _ = socket.recv_fds(self._socket, 80_000, 1, socket.MSG_CMSG_CLOEXEC)
            if not answer:
                raise ConnectionResetError("luod has ended")
            if self._set_aside(answer):
                continue
            if len(answer) >= end + 8 and struct.unpack_from("=Q", answer, end)[0] == tag:
                break
            if len(answer) == 4:
                break  # one connection too many: this says so, and belongs to no request
            for other in files:  # an answer that is said again, by the successor of an orchestrator that died
                os.close(other)
        (result,) = struct.unpack_from("=i", answer)
        try:
            return self._understand(layout, answer, end, result, files, flags, brings)
        except OSError:
            for other in files:
                os.close(other)
            raise

    def _set_aside(self, message):
        """Sets a notice aside. Returns whether the message is a notice: the first word of an answer is not positive."""
        if len(message) < struct.calcsize(_NOTICE) or struct.unpack_from("=i", message)[0] <= 0:
            return False
        kind, size, *rest = struct.unpack_from(_NOTICE, message)
        if size == len(message) and kind in (FREEZE_SOON, OVER):
            self._notices.append(Notice(kind, *rest))
        return size == len(message)

    @staticmethod
    def _understand(layout, answer, end, result, files, flags, brings):
        if flags & socket.MSG_CTRUNC:
            raise OSError(errno.EMFILE, "the descriptor of the answer did not arrive: raise the limit on open files")
        fields = struct.unpack(layout, answer[4:end]) if len(answer) > 4 else None
        text = answer[end + 8:]
        if result < 0:
            why = text.decode().replace("\n", "; ")  # the reason, and what to do
            if not why and layout == _UPDATE and fields:
                why = fields[-1].split(b"\0")[0].decode()
            raise OSError(-result, why or os.strerror(-result))
        if result > 0 or fields is None or len(files) != int(brings):
            raise OSError(errno.EIO, "luod sent an unexpected answer: is it of the version of this client?")
        return fields, text if layout == _STATUS else files[0] if files else None


class Device(_Channel):
    """A connection to luod."""

    def __init__(self, state=None):
        state = state or os.environ.get("LUO_STATE", "/run/luo")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(os.path.join(state, "liveupdate"))
        super().__init__(connection)

    def act_as(self, user):
        """Makes this connection act as another user, by number; for root only."""
        self._call(0x28, _WORD, user)

    def create(self, name, detached=False):
        """Makes an outgoing session. It ends with its last close, unless it is detached."""
        session = self._session(0x00, name)
        if detached:
            session.set_detached(True)
        return session

    def retrieve(self, name):
        """Opens a session that an update handed over."""
        return self._session(0x01, name)

    def attach(self, name, direction=0):
        """Opens a detached session again: 1 the outgoing one of that name, 2 the incoming one, 0 either."""
        return self._session(0x20, name, direction)

    def _session(self, number, name, word=-1):
        _, file = self._call(number, _NAME, word, os.fsencode(name), brings=True)
        return Session(socket.socket(fileno=file))

    def status(self):
        """What there is; docs/daemon.md lists the members."""
        while True:
            try:
                return self._read_status()
            except OSError as error:
                if error.errno != errno.ESTALE:  # an update came between two pages
                    raise

    def _read_status(self):
        status, place = None, (0, 0, 0)
        while status is None or any(place):
            fields, page = self._call(0x21, _STATUS, *place)
            place = fields[1:]
            for line in map(json.loads, page.splitlines()):
                if "luod" in line:
                    status = dict(line["luod"], sessions=[])
                sessions = status["sessions"]
                # A session that goes on in the next page is there again.
                if "session" in line and (not sessions or sessions[-1]["number"] != line["session"]["number"]):
                    sessions.append(dict(line["session"], files=[]))
                elif "file" in line:
                    sessions[-1]["files"].append(line["file"])
        return status

    def load(self, image=""):
        """Starts the next luod beforehand."""
        return self._change(0x22, image)

    def update(self, image="", discard=False, leave_out=False, patience=0, without_ready=False):
        """Ends this boot, and begins the next one. Returns when each phase ended, in nanoseconds of CLOCK_MONOTONIC.

        The update waits for subscribers, for patience seconds (0: the default). Then it goes on without those that are not
        ready, or is called off (ETIMEDOUT)."""
        flags = (1 if discard else 0) | (2 if leave_out else 0) | (16 if without_ready else 0)
        return self._change(0x23, image, flags, int(patience * 1e9))

    def reload(self, image=""):
        """Replaces luod's program, in the same boot."""
        return self._change(0x24, image)

    def _change(self, number, image, flags=0, patience=0):
        fields, _ = self._call(number, _UPDATE, flags, 0, patience, *[0] * 4, os.fsencode(image))
        return dict(zip(("asked", "loaded", "published", "taken_over", "switched", "answered"), fields[2:8]))


class Session(_Channel):
    """A session, by a descriptor of its own."""

    def _file(self, number, token):
        return self._call(number, _FILE, -1, token, brings=True)[1]

    def preserve(self, file, token):
        """Preserves a memory file, which goes on being used."""
        self._call(0x40, _FILE, -1, token, file=_number(file))

    def preserve_held(self, file, token):
        """Keeps any descriptor open as it is."""
        self._call(0x64, _FILE, -1, token, file=_number(file))

    def check(self, file, token):
        """Says, by an OSError, why a file would not be preserved."""
        self._call(0x62, _FILE, -1, token, file=_number(file))

    def unpreserve(self, token):
        """Removes a file from an outgoing session."""
        self._call(0x60, _FILE, 0, token)

    def get(self, token):
        """Returns the descriptor of a file of an outgoing session, which keeps the file until it is unpreserved."""
        return self._file(0x61, token)

    def retrieve(self, token):
        """Returns the descriptor of a file that was handed over."""
        return self._file(0x41, token)

    def retrieve_as_held(self, token):
        """Returns the descriptor of a file that an update left out, which retrieve refuses."""
        return self._file(0x65, token)

    def finish(self):
        """Lets go of everything that was handed over."""
        self._call(0x42, _WORD, 0)

    def name(self):
        return os.fsdecode(self._call(0x43, _NAME, 0, b"")[0][2].split(b"\0")[0])

    def set_detached(self, detached):
        """Whether it stays when nobody has it open."""
        self._call(0x63, _WORD, int(detached))

    def subscribe(self, wanted=True):
        """Subscribes, or ends that: luod asks a subscriber before each update. It must read its notices: notice()."""
        self._call(0x66, _WORD, int(wanted))

    def notice(self, timeout=None):
        """Returns the next notice, or None when none comes within timeout seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self._notices:
            left = None if end is None else max(0, end - time.monotonic())
            if not select.select([self._socket], [], [], left)[0]:
                return None
            message = self._socket.recv(8192)
            if not message:
                raise ConnectionResetError("luod has ended")
            self._set_aside(message)  # any other message is a repeated answer
        return self._notices.popleft()

    def ready(self, notice):
        """Answers FREEZE_SOON. If luod does not wait any longer, this raises an OSError (ESTALE), and OVER follows."""
        self._call(0x67, _READY, 0, notice.question)


def _number(file):
    return file if isinstance(file, int) else file.fileno()
