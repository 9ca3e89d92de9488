#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""/dev/liveupdate with nothing but fcntl.ioctl: the kernel's own, or that of luod below `luoctl run`.

    liveupdate.py keep SESSION TEXT...   preserves a memory file for each text, says "kept", and waits for the end of its input
    liveupdate.py fetch SESSION COUNT    in the next boot: prints the text of each, and lets go of them

docs/protocol.md lists the structs.
"""

import fcntl
import os
import struct
import sys

CREATE_SESSION, RETRIEVE_SESSION = 0xBA00, 0xBA01  # on the device
PRESERVE_FD, RETRIEVE_FD, FINISH, GET_NAME = 0xBA40, 0xBA41, 0xBA42, 0xBA43  # on a session


def call(file, command, layout, *fields):
    """One ioctl: all structs begin with their size, and come back changed."""
    argument = bytearray(struct.pack("=I" + layout, struct.calcsize("=I" + layout), *fields))
    fcntl.ioctl(file, command, argument)
    return struct.unpack("=I" + layout, argument)[1:]


def open_device(path="/dev/liveupdate"):
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def create(device, name):
    return call(device, CREATE_SESSION, "i64s", -1, name.encode())[0]


def retrieve_session(device, name):
    return call(device, RETRIEVE_SESSION, "i64s", -1, name.encode())[0]


def preserve(session, file, token):
    call(session, PRESERVE_FD, "iQ", file, token)


def retrieve(session, token):
    return call(session, RETRIEVE_FD, "iQ", -1, token)[0]


def finish(session):
    call(session, FINISH, "I", 0)


def session_name(session):
    return call(session, GET_NAME, "I64s", 0, b"")[1].split(b"\0")[0].decode()


def keep(name, *texts):
    device = open_device()  # exclusively: nobody else can while it is open
    session = create(device, name)
    os.close(device)
    for token, text in enumerate(texts):
        file = os.memfd_create(name)
        os.write(file, text.encode())
        preserve(session, file, token)
    print("kept", flush=True)
    sys.stdin.read()  # the session ends with its descriptor


def fetch(name, count):
    session = retrieve_session(open_device(), name)
    for token in range(int(count)):
        print(os.pread(retrieve(session, token), 1 << 20, 0).decode())
    finish(session)


if __name__ == "__main__":
    commands = {"keep": keep, "fetch": fetch}
    if len(sys.argv) < 4 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
