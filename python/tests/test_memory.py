# SPDX-License-Identifier: Apache-2.0
"""Memory files as buffers."""

import errno
import fcntl
import gc
import mmap
import os

import numpy
import pytest

import luo


def free_pages():
    try:
        with open("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", encoding="ascii") as file:
            return int(file.read())
    except OSError:
        return 0


def refused(number, *arguments, **named):
    with pytest.raises(luo.Error) as raised:
        luo.MemoryFile(*arguments, **named)
    assert raised.value.errno == number, raised.value
    return raised.value


def test_buffer():
    with luo.MemoryFile(10_000, name="a file") as file:
        assert len(file) == 10_000 and not any(file[:])
        assert "a file" in os.readlink(f"/proc/self/fd/{file.fileno()}")
        assert not os.get_inheritable(file.fileno())
        with memoryview(file) as view:
            view[9999] = 7
        assert os.pread(file.fileno(), 1, 9999) == b"\7"
        number = file.fileno()
    with pytest.raises(OSError):
        os.fstat(number)
    with pytest.raises(ValueError):
        file.fileno()
    file.close()


def test_numpy():
    with luo.MemoryFile(8 * 1024) as file:
        array = numpy.frombuffer(file, dtype=numpy.int64)
        array[:] = numpy.arange(1024)
        assert os.pread(file.fileno(), 8, 8 * 5) == (5).to_bytes(8, "little")
        with pytest.raises(BufferError):
            file.close()
        assert array.sum() == 1023 * 1024 // 2 and file.fileno() >= 0
        del array
    matrix_file = luo.MemoryFile(8 * 12)
    matrix = numpy.ndarray((3, 4), dtype=numpy.float64, buffer=matrix_file)
    matrix[2, 3] = 1.5
    assert matrix.sum() == 1.5
    del matrix
    matrix_file.close()


def test_numpy_over_an_update(device):
    with luo.MemoryFile(1 << 16) as file:
        array = numpy.frombuffer(file, dtype=numpy.float32)
        array[100] = 2.5
        with device.create("array") as session:
            session.preserve(file, 1)
            device.update()
        del array
    with device.retrieve("array") as session, luo.MemoryFile.from_descriptor(session.retrieve(1)) as file:
        session.finish()
        assert numpy.frombuffer(file, dtype=numpy.float32)[100] == 2.5


def test_read_only_and_sealed():
    with luo.MemoryFile(4096) as file:
        file[:4] = b"text"
        with luo.MemoryFile.from_descriptor(os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY)) as same:
            assert same[:4] == b"text"
            with pytest.raises(TypeError):
                same[0:1] = b"x"
    descriptor = os.memfd_create("sealed", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, b"sealed")
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    try:
        file = luo.MemoryFile.from_descriptor(descriptor)
    except luo.Error as error:  # Linux before 6.7
        assert error.errno == errno.EPERM
        os.close(descriptor)
    else:
        with file:
            assert file[:] == b"sealed"


def test_collected():
    file = luo.MemoryFile(4096)
    number = file.fileno()
    del file
    gc.collect()
    with pytest.raises(OSError):
        os.fstat(number)


# The table of docs/python.md.
def test_bad_input():
    for size in 0, -1, "4096", 1.5, None:
        refused(errno.EINVAL, size)
    for huge in "4K", "2m", 2, None, [], {}:
        refused(errno.EINVAL, 4096, huge=huge)
    refused(errno.EINVAL, 1 << 70)
    for name in "n" * 250, "a\0b", "\ud800":
        refused(errno.EINVAL, 4096, name=name)
    assert refused(errno.ENOMEM, 1 << 50, huge=True).remedy
    empty = os.memfd_create("empty")
    try:
        for descriptor, number in (empty, errno.EINVAL), (-1, errno.EBADF), (1 << 40, errno.EBADF):
            with pytest.raises(luo.Error) as raised:
                luo.MemoryFile.from_descriptor(descriptor)
            assert raised.value.errno == number
        os.fstat(empty)  # it stays open
    finally:
        os.close(empty)


def test_huge_pages(device):
    if free_pages() < 4:
        text = "four free huge pages of 2 MiB are needed: scripts/with-huge-pages reserves them"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    for huge in True, "2M":
        with luo.MemoryFile((2 << 20) + 1, huge=huge) as file:
            assert len(file) == 4 << 20
            file[(4 << 20) - 1] = 9
            with device.create("huge") as session:
                session.preserve(file, 1)
                with luo.MemoryFile.from_descriptor(session.get(1)) as same:
                    assert same[(4 << 20) - 1] == 9


def test_gigantic_page():
    try:
        with luo.MemoryFile(1, huge="1G") as file:
            assert len(file) == 1 << 30
    except luo.Error as error:
        assert error.errno in (errno.ENOMEM, errno.ENODEV, errno.ENOENT) and error.remedy


def test_it_is_an_mmap():
    with luo.MemoryFile(4096) as file:
        assert isinstance(file, mmap.mmap)
        file.seek(10)
        file.write(b"abc")
        file.seek(0)
        assert file.find(b"abc") == 10
