# SPDX-License-Identifier: Apache-2.0
"""The calls of luod's connections and sessions: docs/protocol.md."""

import errno
import json
import os
import socket
from typing import Any, Dict, Optional, Protocol, Tuple, Union

from ._channel import Channel, Notice
from ._errors import Error

_NAME = "=Ii64s"  # size, descriptor or direction, name
_FILE = "=IiQ"  # size, descriptor, token
_WORD = "=II"  # size, a word
_STATUS = "=IIQQ"  # size, the place of a page: boot, session, file
_READY = "=IIQ"  # size, 0, the question
_UPDATE = "=II6Q4096s"  # size, flags, times, text

EITHER, OUTGOING, INCOMING = 0, 1, 2  # the direction of a session for Device.attach


class HasDescriptor(Protocol):
    """A file, a MemoryFile, a socket."""

    def fileno(self) -> int:
        """Returns the descriptor."""
        ...


File = Union[int, HasDescriptor]


class Device(Channel):
    """A connection to luod."""

    def __init__(self, state: Optional[str] = None) -> None:
        """Connects to the luod of a state directory: LUO_STATE in the environment, or /run/luo, without one.

        Raises Error: ENOENT, ENOTDIR or ECONNREFUSED when no luod runs there, EACCES when this user may not connect.
        """
        super().__init__(_connect(state or os.environ.get("LUO_STATE") or "/run/luo"))

    def act_as(self, user: int) -> None:
        """Makes this connection act as another user, by number; for root only."""
        self._call(0x28, _WORD, _ranged(user, 32, "a user"))

    def create(self, name: str, detached: bool = False) -> "Session":
        """Makes an outgoing session. It ends with its last close, unless it is detached.

        Raises Error: EINVAL unless the name has 1 to 63 bytes, EEXIST when the name is in use, EMFILE, EUSERS or ENOSPC at
        the user's limits.
        """
        session = self._session(0x00, name)
        if detached:
            try:
                session.set_detached(True)
            except BaseException:
                session.close()
                raise
        return session

    def retrieve(self, name: str) -> "Session":
        """Opens a session that an update handed over.

        Raises Error: ENOENT when there is none with this name, EINVAL when it was retrieved already and is
        open or detached: attach a detached one.
        """
        return self._session(0x01, name)

    def attach(self, name: str, direction: int = EITHER) -> "Session":
        """Opens a detached session again: OUTGOING, INCOMING, or EITHER, which is the outgoing one if both exist.

        Raises Error: ENOENT when there is none with this name, EBUSY while a client has it.
        """
        return self._session(0x20, name, _ranged(direction, 31, "a direction"))

    def _session(self, number: int, name: str, word: int = -1) -> "Session":
        descriptor = self._call(number, _NAME, word, _name(name), brings=True).needed_descriptor()
        return Session(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, descriptor))

    def status(self) -> Dict[str, Any]:
        """Returns luod's status with its sessions and their files. docs/daemon.md lists the members."""
        while True:
            try:
                return self._read_status()
            except Error as error:
                if error.errno != errno.ESTALE:  # an update came between two pages
                    raise

    def _read_status(self) -> Dict[str, Any]:
        status: Dict[str, Any] = {}
        place: Tuple[int, ...] = (0, 0, 0)
        while not status or any(place):
            answer = self._call(0x21, _STATUS, *place)
            place = answer.fields[1:]
            try:
                for line in map(json.loads, answer.text.splitlines()):
                    _add(line, status)
            except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
                raise Error(errno.EPROTO, f"luod sent a status that cannot be read: {error!r}",
                            "use a client and a luod of the same version") from error
            if not status:
                raise Error(errno.EPROTO, "luod sent a status without its first line",
                            "use a client and a luod of the same version")
        return status

    def load(self, image: str = "") -> Dict[str, int]:
        """Starts the next luod ahead of an update. Root only, as update and reload."""
        return self._change(0x22, image)

    def update(
        self, image: str = "", discard: bool = False, leave_out: bool = False, patience: float = 0,
        without_ready: bool = False,
    ) -> Dict[str, int]:
        """Ends this boot, and begins the next one. Returns when each phase ended, in nanoseconds of CLOCK_MONOTONIC.

        The update waits for subscribers, for patience seconds (0: the default). Then it goes on without those that are not
        ready, or is called off (ETIMEDOUT).
        """
        flags = (1 if discard else 0) | (2 if leave_out else 0) | (16 if without_ready else 0)
        return self._change(0x23, image, flags, patience)

    def reload(self, image: str = "") -> Dict[str, int]:
        """Replaces luod's program, in the same boot."""
        return self._change(0x24, image)

    def _change(self, number: int, image: str, flags: int = 0, patience: float = 0) -> Dict[str, int]:
        text = _path(image, "an image")
        if len(text) >= 4096:
            raise Error(errno.ENAMETOOLONG, f"the path of the image has {len(text)} bytes", "use a path of less than 4096")
        if not 0 <= patience <= 86_400:
            raise Error(errno.EINVAL, f"{patience!r} cannot be a patience", "use seconds, of a day at most")
        fields = self._call(number, _UPDATE, flags, 0, int(patience * 1e9), *[0] * 4, text).fields
        return dict(zip(("asked", "loaded", "published", "taken_over", "switched", "answered"), fields[2:8]))


class Session(Channel):
    """A session, by a descriptor of its own.

    Each call can raise an Error: ENODEV when the session's boot has ended, EINVAL on a session of the other direction,
    EMFILE when the descriptor of the answer does not arrive, and ENOTCONN when luod has ended.
    """

    def _file(self, number: int, token: int) -> int:
        return self._call(number, _FILE, -1, _token(token), brings=True).needed_descriptor()

    def preserve(self, file: File, token: int) -> None:
        """Preserves a memory file, which stays in use.

        Raises Error: EEXIST when the token is in use, EBADF, ENOENT when luod does not take this kind of file, EBUSY when
        the file is preserved already, EMFILE, EDQUOT or ENOSPC at the user's limits.
        """
        self._call(0x40, _FILE, -1, _token(token), file=_number(file))

    def preserve_held(self, file: File, token: int) -> None:
        """Holds any descriptor open as it is. Raises Error as preserve does."""
        self._call(0x64, _FILE, -1, _token(token), file=_number(file))

    def check(self, file: File, token: int) -> None:
        """Raises the Error with which a file would not be preserved."""
        self._call(0x62, _FILE, -1, _token(token), file=_number(file))

    def unpreserve(self, token: int) -> None:
        """Removes a file from an outgoing session. Raises Error: ENOENT for an unknown token."""
        self._call(0x60, _FILE, 0, _token(token))

    def get(self, token: int) -> int:
        """Returns a descriptor of a file of an outgoing session, which still has the file.

        Raises Error: ENOENT for an unknown token, EBADF when the file was lost.
        """
        return self._file(0x61, token)

    def retrieve(self, token: int) -> int:
        """Returns a descriptor of a file that was handed over.

        Raises Error: ENOENT for an unknown token, and the error of the file's handler.
        """
        return self._file(0x41, token)

    def retrieve_as_held(self, token: int) -> int:
        """Returns the descriptor of a file that an update left out, which retrieve refuses."""
        return self._file(0x65, token)

    def finish(self) -> None:
        """Ends a session that was handed over. A detached session stays, without files.

        Raises Error: EBUSY when a file cannot be finished yet.
        """
        self._call(0x42, _WORD, 0)

    def name(self) -> str:
        """Returns the name."""
        return os.fsdecode(self._call(0x43, _NAME, 0, b"").fields[2].split(b"\0")[0])

    def set_detached(self, detached: bool) -> None:
        """Makes the session stay after its last close, or not."""
        self._call(0x63, _WORD, int(detached))

    def subscribe(self, wanted: bool = True) -> None:
        """Subscribes, or ends that: luod asks a subscriber before each update. It must read its notices: notice()."""
        self._call(0x66, _WORD, int(wanted))

    def notice(self, timeout: Optional[float] = None) -> Optional[Notice]:
        """Returns the next notice, or None if none comes within timeout seconds (None: no limit)."""
        return self._next_notice(timeout)

    def ready(self, notice: Notice) -> None:
        """Answers FREEZE_SOON. If luod does not wait any longer, this raises an Error (ESTALE), and OVER follows."""
        self._call(0x67, _READY, 0, _ranged(notice.question, 64, "a question"))


def _add(line: Dict[str, Any], status: Dict[str, Any]) -> None:
    """Adds a line of the status."""
    if "luod" in line:
        status.clear()
        status.update(line["luod"], sessions=[])
    sessions = status["sessions"]
    # A session that goes on in the next page is there again.
    if "session" in line and (not sessions or sessions[-1]["number"] != line["session"]["number"]):
        sessions.append(dict(line["session"], files=[]))
    elif "file" in line:
        sessions[-1]["files"].append(line["file"])


def _path(path: Union[str, bytes, "os.PathLike[str]"], what: str) -> bytes:
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError as error:
        raise Error(errno.EINVAL, f"{path!r} cannot be the path of {what}: {error}") from error
    if b"\0" in encoded:
        raise Error(errno.EINVAL, f"{path!r} cannot be the path of {what}: it has a NUL", "use another path")
    return encoded


def _connect(state: str) -> socket.socket:
    state = os.fsdecode(_path(state, "a state"))
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(None)  # whatever socket.setdefaulttimeout says
    try:
        try:
            connection.connect(os.path.join(state, "root"))  # for root and the user of luod only
        except OSError:
            connection.connect(os.path.join(state, "liveupdate"))
    except OSError as error:
        connection.close()
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED):
            remedy = f"start it: luod --state {state}; or name another state"
            raise Error(error.errno, f"no luod runs on {state}", remedy) from error
        if error.errno == errno.EACCES:
            remedy = "run as root, or start luod with --socket-group and --socket-mode 0660"
            raise Error(errno.EACCES, f"this user may not connect to luod on {state}", remedy) from error
        # A path that is too long has no errno.
        raise Error(error.errno or errno.ENAMETOOLONG, f"connecting to luod on {state} failed: {error}") from error
    return connection


def _name(name: str) -> bytes:
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError:
        encoded = b""
    if not 0 < len(encoded) < 64 or b"\0" in encoded:
        raise Error(errno.EINVAL, f"{name!r} cannot be the name of a session", "use 1 to 63 bytes, and no NUL")
    return encoded


def _token(token: int) -> int:
    return _ranged(token, 64, "a token")


def _ranged(number: int, bits: int, what: str) -> int:
    if not isinstance(number, int) or not 0 <= number < 1 << bits:
        raise Error(errno.EINVAL, f"{number!r} cannot be {what}", f"use a number of {bits} bits without a sign")
    return number


def _number(file: File) -> int:
    number = file if isinstance(file, int) else file.fileno()
    try:
        os.fstat(number)
    except (OSError, OverflowError) as error:
        raise Error(errno.EBADF, f"descriptor {number} is not open", "use the descriptor of a memory file") from error
    return number
