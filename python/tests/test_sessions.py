# SPDX-License-Identifier: Apache-2.0
"""Sessions and files, with a luod that is really there."""

import errno
import os
import resource
import subprocess
import sys
import threading

import pytest

import luo

EXAMPLES = os.path.join(os.path.dirname(__file__), "../../Examples/python")


def fails(number, call, *arguments, **named):
    """The call raises a luo.Error with the errno, a reason and a remedy."""
    with pytest.raises(luo.Error) as raised:
        call(*arguments, **named)
    error = raised.value
    assert error.errno == number, error
    assert isinstance(error, OSError) and error.reason and error.reason in str(error)
    return error


def test_life(device):
    with luo.MemoryFile(4096) as file, device.create("life") as session:
        assert session.name() == "life"
        session.preserve(file, 1)
        got = session.get(1)
        try:
            assert os.fstat(got).st_ino == os.fstat(file.fileno()).st_ino
            assert not os.get_inheritable(got) and not os.get_inheritable(session.fileno())
        finally:
            os.close(got)
        session.unpreserve(1)
        fails(errno.ENOENT, session.get, 1)
    with device.create("life"):  # the close has released the name
        pass


# The table of docs/python.md.
def test_bad_input(device, state):
    with luo.MemoryFile(4096) as file, device.create("bad") as session, open("/dev/null", "rb") as null:
        for name in "", "n" * 64, "a\0b":
            assert fails(errno.EINVAL, device.create, name).remedy
        for token in -1, 1 << 64, "1", None:
            fails(errno.EINVAL, session.preserve, file, token)
        for descriptor in -1, 1 << 20, 1 << 40:
            fails(errno.EBADF, session.preserve, descriptor, 1)
        with pytest.raises(AttributeError):
            session.preserve(b"bytes", 1)
        fails(errno.ENOENT, session.preserve, null, 1)
        fails(errno.EINVAL, session.retrieve, 1)
        fails(errno.EINVAL, session.finish)
        session.preserve(file, 1)
        error = fails(errno.EEXIST, session.preserve, file, 1)
        assert "token 1" in error.reason and error.remedy
        fails(errno.EBUSY, session.preserve, file, 2)
        fails(errno.EBUSY, session.check, file, 2)
        fails(errno.ENOENT, session.unpreserve, 2)
        fails(errno.EEXIST, device.create, "bad")
        fails(errno.ENOENT, device.retrieve, "nowhere")
        fails(errno.ENOENT, device.attach, "nowhere")
        fails(errno.EBUSY, device.attach, "bad")
        fails(errno.EINVAL, device.attach, "bad", 3)
        fails(errno.ESTALE, session.ready, luo.Notice(luo.FREEZE_SOON, 1, 4711))
        error = fails(errno.EOPNOTSUPP, device.load, "/nowhere/luod")
        assert "/nowhere/luod" in error.reason and error.remedy
    fails(errno.ENOENT, luo.Device, "/nowhere")
    fails(errno.ENOTDIR, luo.Device, "/dev/null")
    fails(errno.ENAMETOOLONG, luo.Device, "/" + "n" * 200)
    closed = luo.Device(state)
    closed.close()
    fails(errno.EBADF, closed.create, "closed")


def test_update(device, state):
    with luo.MemoryFile(8192) as file:
        file[:5] = b"hello"
        with device.create("update") as session:
            session.preserve(file, 1)
            assert device.update()["answered"] > 0
            fails(errno.ENODEV, session.preserve, file, 2)
        with device.retrieve("update") as session:
            fails(errno.EINVAL, session.get, 1)
            with luo.MemoryFile.from_descriptor(session.retrieve(1)) as same:
                same[5:] = same[5:]
                assert same[:5] == b"hello"
                same[0:1] = b"j"
                assert file[:5] == b"jello"
            os.close(session.retrieve_as_held(1))
            session.finish()
            session.finish()


def test_detached_and_status(device):
    with luo.MemoryFile(4096) as file:
        with device.create("detached", detached=True) as session:
            session.preserve(file, 7)
        with device.attach("detached", luo.OUTGOING) as session:
            listed = [one for one in device.status()["sessions"] if one["name"] == "detached"]
            assert len(listed) == 1 and [one["token"] for one in listed[0]["files"]] == ["7"]
            session.set_detached(False)
    fails(errno.ENOENT, device.attach, "detached")


def test_status_of_many_pages(device):
    sessions = [device.create(f"page-{number:050}") for number in range(500)]
    try:
        names = {one["name"] for one in device.status()["sessions"]}
        assert {session.name() for session in sessions} <= names
    finally:
        for session in sessions:
            session.close()


def test_notices(state):
    with luo.Device(state) as device, device.create("notices") as session:
        session.subscribe()
        assert session.notice(0) is None
        outcome = []

        def update():
            with luo.Device(state) as other:
                outcome.append(other.update(patience=60))

        thread = threading.Thread(target=update)
        thread.start()
        question = session.notice(60)
        assert question.kind == luo.FREEZE_SOON and question.value > 0
        assert session.name() == "notices"
        session.ready(question)
        assert session.notice(60) == (luo.OVER, 1, 0)
        thread.join()
        assert len(outcome) == 1
        with device.retrieve("notices") as incoming:
            error = fails(errno.EBUSY, device.update)
            assert '"notices"' in error.reason and "luoctl" in error.remedy
            incoming.finish()


def test_threads(device):
    files = [luo.MemoryFile(4096) for _ in range(8)]
    errors = []
    with device.create("threads") as session:
        def use(token):
            try:
                for _ in range(100):
                    got = session.get(token)
                    same = os.fstat(got).st_ino == os.fstat(files[token].fileno()).st_ino
                    os.close(got)
                    assert same
                    assert str(1000 + token) in fails(errno.ENOENT, session.get, 1000 + token).reason
            except BaseException as error:
                errors.append(error)

        for token, file in enumerate(files):
            session.preserve(file, token)
        threads = [threading.Thread(target=use, args=[token]) for token in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for file in files:
        file.close()
    assert not errors


def test_fork_while_a_thread_has_the_turn(device):
    with device.create("fork") as session:
        with session._turn():
            child = os.fork()
            if child == 0:
                os._exit(0 if session.name() == "fork" else 1)
            assert os.waitpid(child, 0)[1] == 0
        assert session.name() == "fork"


def test_too_many_open_files(device):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with luo.MemoryFile(4096) as file, device.create("room") as session:
        session.preserve(file, 1)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
        try:
            for _ in range(20):
                fails(errno.EMFILE, session.get, 1)
                fails(errno.EMFILE, device.create, "other")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.close(session.get(1))


def run_counter(state):
    return subprocess.run(
        [sys.executable, f"{EXAMPLES}/counter.py", "count"], env={**os.environ, "LUO_STATE": state},
        capture_output=True, text=True, check=False)


def test_example(device, state):
    def count():
        ended = run_counter(state)
        assert (ended.returncode, ended.stderr) == (0, "")
        return int(ended.stdout)

    assert [count(), count()] == [1, 2]
    device.update()
    assert [count(), count()] == [3, 4]
    device.update()
    assert count() == 5
    with device.attach("count") as session:
        session.set_detached(False)
    ended = run_counter("/nowhere")
    assert ended.returncode == 1 and "luod --state /nowhere" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize("is_incoming", [False, True])
def test_example_after_the_end_of_luod(own_daemon, is_incoming):
    """luod holds the memory file alone, so the file is lost with luod. The program makes a new one, and goes on."""
    assert run_counter(own_daemon.state).stdout == "1\n"
    if is_incoming:
        with luo.Device(own_daemon.state) as device:
            device.update()
    own_daemon.end()
    own_daemon.start()
    ended = run_counter(own_daemon.state)
    assert (ended.returncode, ended.stdout) == (0, "1\n") and "lost when luod ended" in ended.stderr, ended.stderr
    ended = run_counter(own_daemon.state)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "2\n", "")
