# SPDX-License-Identifier: Apache-2.0
"""The stand-in for a VMM, Examples/python/restore.py: it restores onto the files of luod, and refuses others."""

import contextlib
import fcntl
import os
import subprocess
import sys

import pytest

import luo

RESTORE = os.path.join(os.path.dirname(__file__), "../../Examples/python/restore.py")
LUOCTL = os.environ["LUOCTL"]
SIZE = 1 << 20
ZONE = f"id=mem0,file=vm/1,size={SIZE}"


def memory(size=SIZE, seals=fcntl.F_SEAL_SHRINK, **named):
    file = luo.MemoryFile(size, **named)
    fcntl.fcntl(file.fileno(), fcntl.F_ADD_SEALS, seals)
    return file


def start(files, zones, pid="$$", count=None):
    """Runs the program with descriptors as 3, 4 and so on, under these names, as luoctl retrieve does."""
    names = ":".join(name for name, _ in files)
    moved = [fcntl.fcntl(file, fcntl.F_DUPFD, 100) if file is not None else None for _, file in files]
    redirections = " ".join(f"{to}>&{file}" if file else f"{to}>&-" for to, file in enumerate(moved, 3))
    passed = len(files) if count is None else count
    script = f'export LISTEN_PID="{pid}" LISTEN_FDS="{passed}" LISTEN_FDNAMES="{names}"; exec "$@" {redirections}'
    try:
        return subprocess.run(
            ["/bin/bash", "-c", script, "bash", sys.executable, RESTORE, *zones],
            pass_fds=[file for file in moved if file], capture_output=True, text=True, check=False)
    finally:
        for file in moved:
            if file:
                os.close(file)


def refuses(message, files, zones=(ZONE,), **named):
    ended = start(files, zones, **named)
    assert (ended.returncode, ended.stdout, ended.stderr) == (65, "", f"restore: {message}\n")


# The example of docs/vmm.md.
def test_restore(state):
    def luoctl(*arguments):
        named = {**os.environ, "LUO_STATE": state}
        ended = subprocess.run([LUOCTL, *arguments], env=named, capture_output=True, text=True, check=False)
        return ended.returncode, ended.stdout, ended.stderr

    def retrieve(*options, zone=ZONE):
        return luoctl("retrieve", "--session", "vm", "--token", "1", *options, "--", sys.executable, RESTORE, zone)

    with memory() as file, luo.Device(state) as device:
        with device.create("vm", detached=True) as session:
            session.preserve(file, 1)
        with memoryview(file) as view:
            view[:8] = (41).to_bytes(8, "little")
    with luo.Device(state) as device:
        device.update()
    # A refused restore changes nothing: the next one gets the file, too.
    wrong = retrieve(zone="id=mem0,file=vm/1,size=2M")
    assert wrong == (65, "", f"restore: zone mem0: vm/1 has {SIZE} bytes, and the zone has {2 * SIZE}\n")
    assert retrieve() == (0, f"mem0: {SIZE} bytes of vm/1, restored 42 times\n", "")
    assert luoctl("finish", "--session", "vm")[0] == 0


def test_bad_zones():
    for zone, message in {
        "id=mem0,size=1M": "no file=",
        "file=vm/1,size=1M": "no id=",
        "id=mem0,file=vm/1": "no size=",
        "id=mem0,file=vm/1,size=1M,shared=on": "a zone has no shared=",
        "id=mem0,file=vm/1,size=1M,pages=2M": "the size is no multiple of the page size",
        "id=mem0,file=vm/1,size=0": "the size is no multiple of the page size",
    }.items():
        ended = start([], [zone])
        assert (ended.returncode, ended.stderr) == (64, f"restore: {zone}: {message}\n")
    ended = start([], ["id=mem0,file=vm/1,size=-1"])
    assert (ended.returncode, ended.stderr) == (64, "restore: '-1' is no size\n")


# The table of docs/vmm.md.
def test_bad_files(tmp_path):
    with contextlib.ExitStack() as stack:
        def made(*arguments, **named):
            return stack.enter_context(memory(*arguments, **named)).fileno()

        def opened(path, flags):
            file = os.open(path, flags)
            stack.callback(os.close, file)
            return file

        good = made()
        refuses("no zone has the file vm/2", [("vm/1", good), ("vm/2", made())])
        refuses("zone mem0: no vm/1 was passed, but vm/2", [("vm/2", good)])
        refuses("zone mem0: no vm/1 was passed, but nothing", [])
        refuses("zone mem0: descriptor 3 of vm/1: Bad file descriptor", [("vm/1", None)])
        refuses("two files were passed as vm/1", [("vm/1", good), ("vm/1", good)])
        second = ZONE.replace("mem0", "mem1").replace("vm/1", "vm/2")
        refuses("zones mem0 and mem1 have the same memory", [("vm/1", good), ("vm/2", good)], [ZONE, second])
        refuses("two zones have the id mem0", [("vm/1", good)], [ZONE, ZONE])
        refuses(f"zone mem0: vm/1 has {SIZE // 2} bytes, and the zone has {SIZE}", [("vm/1", made(SIZE // 2))])
        refuses(f"zone mem0: vm/1 has {SIZE * 2} bytes, and the zone has {SIZE}", [("vm/1", made(SIZE * 2))])
        refuses("zone mem0: vm/1 can shrink; seal it with F_SEAL_SHRINK", [("vm/1", made(seals=0))])
        refuses("zone mem0: vm/1 is sealed against writing",
                [("vm/1", made(seals=fcntl.F_SEAL_SHRINK | 0x10))])
        read_only = opened(f"/proc/self/fd/{good}", os.O_RDONLY)
        refuses("zone mem0: vm/1 is not open for reading and writing", [("vm/1", read_only)])
        (tmp_path / "ram").write_bytes(bytes(SIZE))
        for path in "/dev/zero", tmp_path / "ram":
            refuses("zone mem0: vm/1 is no memory file", [("vm/1", opened(path, os.O_RDWR))])
        refuses("zone mem0: vm/1 has pages of 4096 bytes, and the zone has pages of 2097152",
                [("vm/1", good)], ["id=mem0,file=vm/1,size=2M,pages=2M"])
        refuses("2 files were passed, with 1 names", [("vm/1", good)], count=2)
        refuses("LISTEN_FDS is 'x', and no number", [("vm/1", good)], count="x")
        ended = start([("vm/1", good)], [ZONE], pid="1")
        assert ended.returncode == 65
        assert ended.stderr.startswith("restore: the files are for process 1, and this is process ")
        ended = subprocess.run([sys.executable, RESTORE, ZONE], capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (
            65, "restore: no files were passed: LISTEN_PID and LISTEN_FDS are not set\n")
        assert start([("vm/1", good)], [ZONE]).stdout == f"mem0: {SIZE} bytes of vm/1, restored 1 times\n"


def test_huge_pages():
    try:
        file = memory(2 << 20, huge=True)
    except luo.Error as error:
        pytest.skip(str(error))
    with file:
        zone = "id=mem0,file=vm/1,size=2M"
        files = [("vm/1", file.fileno())]
        refuses("zone mem0: vm/1 has pages of 2097152 bytes, and the zone has pages of 4096", files, [zone])
        assert start(files, [zone + ",pages=2M"]).stdout == "mem0: 2097152 bytes of vm/1, restored 1 times\n"
