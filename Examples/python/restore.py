#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a virtual machine monitor that restores its guest onto memory files from outside: docs/vmm.md.

    luoctl retrieve --session vm --token 1 -- restore.py id=mem0,file=vm/1,size=16M
    restore.py ZONE...

A zone of the guest's RAM has an id, the SESSION/TOKEN of its file (as LISTEN_FDNAMES has it), a size in bytes (or K, M,
G), and pages=2M or pages=1G for huge pages. In place of a guest, each zone counts in its first 8 bytes how often it was
restored. The program maps nothing before all zones are checked. It exits with 64 for a wrong argument, and with 65 when
it refuses the files.
"""

import fcntl
import mmap
import os
import re
import stat
import sys

FIRST = 3  # the number of the first descriptor, as for sd_listen_fds(3)
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
BASE_PAGE = mmap.PAGESIZE
WRITE_SEALS = fcntl.F_SEAL_WRITE | 0x10  # 0x10: F_SEAL_FUTURE_WRITE


class Refused(Exception):
    """The files are not the guest's RAM."""


class Zone:
    """A part of the guest's RAM, as the configuration describes it."""

    def __init__(self, text):
        fields = dict(part.partition("=")[::2] for part in text.split(","))
        try:
            self.id, self.file = fields.pop("id"), fields.pop("file")
            self.size = size_of(fields.pop("size"))
            self.page = size_of(fields.pop("pages", str(BASE_PAGE)))
        except KeyError as error:
            raise ValueError(f"{text}: no {error.args[0]}=") from None
        if fields:
            raise ValueError(f"{text}: a zone has no {', '.join(fields)}=")
        if self.size == 0 or self.size % self.page != 0:
            raise ValueError(f"{text}: the size is no multiple of the page size")


def size_of(text):
    found = re.fullmatch(r"([0-9]+)([KMG]?)", text)
    if found is None:
        raise ValueError(f"{text!r} is no size")
    return int(found[1]) * UNITS[found[2]]


def passed_files():
    """The descriptors that the caller has passed, by their names."""
    pid, count, names = (os.environ.pop(f"LISTEN_{name}", None) for name in ("PID", "FDS", "FDNAMES"))
    if pid is None or count is None:
        raise Refused("no files were passed: LISTEN_PID and LISTEN_FDS are not set")
    if pid != str(os.getpid()):
        raise Refused(f"the files are for process {pid}, and this is process {os.getpid()}")
    if not re.fullmatch("[0-9]{1,6}", count):
        raise Refused(f"LISTEN_FDS is {count!r}, and no number")
    names = names.split(":") if names else []
    if len(names) != int(count):
        raise Refused(f"{count} files were passed, with {len(names)} names")
    files = {}
    for number, name in enumerate(names, FIRST):
        if name in files:
            raise Refused(f"two files were passed as {name}")
        files[name] = number
    return files


def check(zone, file):
    """Refuses a file that is not the RAM of this zone, or that can change under the guest."""
    try:
        status = os.fstat(file)
        mode = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError as error:
        raise Refused(f"zone {zone.id}: descriptor {file} of {zone.file}: {error.strerror}") from None
    try:
        if not stat.S_ISREG(status.st_mode):
            raise OSError
        seals = fcntl.fcntl(file, fcntl.F_GET_SEALS)
    except OSError:
        raise Refused(f"zone {zone.id}: {zone.file} is no memory file") from None
    if mode != os.O_RDWR:
        raise Refused(f"zone {zone.id}: {zone.file} is not open for reading and writing")
    page = os.fstatvfs(file).f_bsize
    if page != zone.page:
        raise Refused(f"zone {zone.id}: {zone.file} has pages of {page} bytes, and the zone has pages of {zone.page}")
    if status.st_size != zone.size:
        raise Refused(f"zone {zone.id}: {zone.file} has {status.st_size} bytes, and the zone has {zone.size}")
    if not seals & fcntl.F_SEAL_SHRINK:
        raise Refused(f"zone {zone.id}: {zone.file} can shrink; seal it with F_SEAL_SHRINK")
    if seals & WRITE_SEALS:
        raise Refused(f"zone {zone.id}: {zone.file} is sealed against writing")
    return status.st_dev, status.st_ino


def restore(zones, files):
    """Maps the RAM of all zones, after the check of all of them. Returns the mappings in the order of the zones."""
    ids, identities = set(), {}
    for zone in zones:
        if zone.id in ids:
            raise Refused(f"two zones have the id {zone.id}")
        ids.add(zone.id)
        if zone.file not in files:
            raise Refused(f"zone {zone.id}: no {zone.file} was passed, but {', '.join(files) or 'nothing'}")
        identity = check(zone, files[zone.file])
        if identity in identities:
            raise Refused(f"zones {identities[identity]} and {zone.id} have the same memory")
        identities[identity] = zone.id
    if unknown := files.keys() - {zone.file for zone in zones}:
        raise Refused(f"no zone has the file {', '.join(sorted(unknown))}")
    return [mmap.mmap(files[zone.file], zone.size, mmap.MAP_SHARED) for zone in zones]


def main(arguments):
    if not arguments:
        sys.exit(__doc__)
    try:
        zones = [Zone(argument) for argument in arguments]
    except ValueError as error:
        print(f"restore: {error}", file=sys.stderr)
        return 64
    try:
        files = passed_files()
        memories = restore(zones, files)
    except Refused as error:
        print(f"restore: {error}", file=sys.stderr)
        return 65
    for file in files.values():
        os.close(file)  # the mapping has the file
    for zone, memory in zip(zones, memories):
        count = int.from_bytes(memory[:8], "little") + 1
        memory[:8] = count.to_bytes(8, "little")
        print(f"{zone.id}: {zone.size} bytes of {zone.file}, restored {count} times")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
