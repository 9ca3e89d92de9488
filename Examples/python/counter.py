#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A counter in memory that outlives its program, and updates of luod.

    counter.py NAME     adds 1 to the counter of that name, and prints it

The counter is in a file of a detached session.
"""

import errno
import sys

import luo

TOKEN = 1


def preserve(device, name, file):
    """Puts a file into a new session, which stays when this program ends."""
    with device.create(name, detached=True) as session:
        session.preserve(file, TOKEN)


def replace():
    """Makes a file in place of the one that a session has lost (EBADF): luod held it, and has ended since."""
    print("counter: the count was lost when luod ended; it begins again", file=sys.stderr)
    return luo.MemoryFile(4096)


def get(session):
    """Returns the file of an outgoing session, or None if the session is incoming."""
    try:
        return luo.MemoryFile.from_descriptor(session.get(TOKEN))
    except luo.Error as error:
        if error.errno == errno.EINVAL:
            return None
        if error.errno != errno.EBADF:
            raise
    session.set_detached(False)
    session.unpreserve(TOKEN)
    file = replace()
    session.preserve(file, TOKEN)
    session.set_detached(True)
    return file


def take(session):
    """Returns the file of an incoming session. The session is finished, so that the file can be preserved again."""
    try:
        file = luo.MemoryFile.from_descriptor(session.retrieve(TOKEN))
    except luo.Error as error:
        if error.errno != errno.EBADF:
            raise
        file = replace()
    session.finish()
    session.set_detached(False)
    return file


def find(device, name):
    """Returns the file of the counter, or a new one."""
    try:
        session = device.attach(name)
    except luo.Error as error:
        if error.errno != errno.ENOENT:
            raise
        file = luo.MemoryFile(4096)
    else:
        with session:
            file = get(session)
            if file is not None:
                return file
            file = take(session)
    preserve(device, name, file)
    return file


def main(name):
    with luo.Device() as device, find(device, name) as file:
        with memoryview(file) as memory, memory.cast("Q") as numbers:
            numbers[0] += 1
            print(numbers[0])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1])
    except luo.Error as error:
        sys.exit(f"counter: {error.reason}; {error.remedy}")
