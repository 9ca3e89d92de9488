#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gated: a program for `luoctl run` whose threads make the kernel's calls on sessions of theirs, and look at each result: a
call that was done twice, or not at all, has another one. Prints "ok"."""

import errno
import os
import sys
import threading

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../Examples/python"))
import liveupdate  # noqa: E402

THREADS, FILES = 3, 4


def fails(wanted, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        assert error.errno == wanted, f"{call.__name__}: {error}"
    else:
        raise AssertionError(f"{call.__name__}: done, and not {errno.errorcode[wanted]}")


def use(session, name):
    files = [os.memfd_create(f"{name}-{token}") for token in range(FILES)]
    for token, file in enumerate(files):
        os.write(file, name.encode())
        liveupdate.preserve(session, file, token)
        assert liveupdate.session_name(session) == name
        fails(errno.EEXIST, liveupdate.preserve, session, file, token)
        fails(errno.EBUSY, liveupdate.preserve, session, file, token + FILES)
    fails(errno.EINVAL, liveupdate.finish, session)
    for file in files:
        os.close(file)
    os.close(session)


def guarded(failures, *arguments):
    try:
        use(*arguments)
    except BaseException as failure:  # pylint: disable=broad-except
        failures.append(failure)


def main():
    device = liveupdate.open_device()
    fails(errno.EBUSY, liveupdate.open_device)
    names = [f"session {number}" for number in range(THREADS)]
    sessions = [liveupdate.create(device, name) for name in names]
    fails(errno.EEXIST, liveupdate.create, device, names[0])
    failures = []
    threads = [
        threading.Thread(target=guarded, args=(failures, session, name)) for session, name in zip(sessions, names)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    # They have ended with their last close.
    for name in names:
        os.close(liveupdate.create(device, name))
    os.close(device)
    os.close(liveupdate.open_device())
    print("ok")


if __name__ == "__main__":
    main()
