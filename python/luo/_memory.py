# SPDX-License-Identifier: Apache-2.0
"""Memory files that are buffers."""

import errno
import fcntl
import mmap
import os
from typing import Any, Type, TypeVar, Union

from ._errors import Error

_PAGES = {"2M": 21, "1G": 30}  # the base-2 logarithms of the sizes
_Self = TypeVar("_Self", bound="MemoryFile")
_map: Any = mmap.mmap.__new__  # the parameters of mmap and of MemoryFile differ


class MemoryFile(mmap.mmap):
    """A memory file that is mapped: a bytes-like object that can be preserved.

    It is a mmap.mmap, so that memoryview and numpy.frombuffer lie on the memory itself. Its content begins with zeros.
    """

    _descriptor: int

    def __new__(cls: Type[_Self], size: int, *, huge: Union[bool, str] = False, name: str = "luo") -> _Self:
        """Makes a memory file.

        size: bytes, more than 0. On huge pages it is rounded up to whole pages.
        huge: False for ordinary pages; True or "2M" for huge pages of 2 MiB; "1G" for 1 GiB.
        name: for /proc; at most 249 bytes.

        Raises Error: EINVAL for another size or kind of pages, ENOMEM without enough free huge pages, and the errors of
        memfd_create(2). A file of huge pages has all its pages from the start.
        """
        order = _order(huge)
        if not isinstance(size, int) or size <= 0:
            raise Error(errno.EINVAL, f"a memory file cannot have {size!r} bytes", "use a size of more than 0")
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        if order:
            flags |= os.MFD_HUGETLB | order << os.MFD_HUGE_SHIFT
            size = -(-size >> order) << order
        descriptor = -1
        try:
            descriptor = os.memfd_create(name, flags)
            os.ftruncate(descriptor, size)
            if order:
                os.posix_fallocate(descriptor, 0, size)
            return _mapped(cls, descriptor, size, mmap.PROT_READ | mmap.PROT_WRITE)
        except BaseException as error:
            if descriptor >= 0:
                os.close(descriptor)
            # OverflowError: the size; ValueError: the name.
            if isinstance(error, (OSError, OverflowError, ValueError)):
                raise _failed(error, order) from error
            raise

    @classmethod
    def from_descriptor(cls: Type[_Self], descriptor: int) -> _Self:
        """Maps the file of a descriptor, such as one of Session.retrieve. The object closes the descriptor.

        The memory is read-only if the descriptor is, or if the file is sealed against writing.
        Raises Error: EINVAL for an empty file, EBADF, and the errors of mmap(2). The descriptor stays open then.
        """
        try:
            size = os.fstat(descriptor).st_size
            if size == 0:
                raise Error(errno.EINVAL, "an empty file cannot be mapped", "give it a size before it is preserved")
            is_writable = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR and not _is_sealed(descriptor)
            return _mapped(cls, descriptor, size, mmap.PROT_READ | (mmap.PROT_WRITE if is_writable else 0))
        except Error:
            raise
        except OSError as error:
            raise Error(error.errno or errno.EIO, f"mapping descriptor {descriptor} failed: {error.strerror}") from error
        except OverflowError as error:
            raise Error(errno.EBADF, f"descriptor {descriptor} is not open", "use the descriptor of a memory file") from error
        except ValueError as error:  # the file was made shorter meanwhile
            raise Error(errno.EINVAL, f"mapping descriptor {descriptor} failed: {error}") from error

    def fileno(self) -> int:
        """Returns the descriptor of the file. It is of this object: do not close it."""
        if self._descriptor < 0:
            raise ValueError("the memory file is closed")
        return self._descriptor

    def close(self) -> None:
        """Unmaps the memory, and closes the descriptor. A session that has preserved the file still has it.

        Raises BufferError while a memoryview or an array lies on the memory.
        """
        super().close()
        self._close_descriptor()

    def _close_descriptor(self) -> None:
        # The number is forgotten before the close, because another thread may close the object, too.
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # The mapping ends with the last reference to it, and needs no descriptor.
        if getattr(self, "_descriptor", -1) >= 0:
            self._close_descriptor()


def _mapped(cls: Type[_Self], descriptor: int, size: int, protection: int) -> _Self:
    mapped: _Self = _map(cls, descriptor, size, mmap.MAP_SHARED, protection)
    mapped._descriptor = descriptor
    return mapped


def _order(huge: Union[bool, str]) -> int:
    """The base-2 logarithm of the size of a huge page; 0 for ordinary pages."""
    if huge is False:
        return 0
    if huge is True:
        return _PAGES["2M"]
    if not isinstance(huge, str) or huge not in _PAGES:
        raise Error(errno.EINVAL, f"there are no huge pages of the size {huge!r}", 'use True, "2M" or "1G"')
    return _PAGES[huge]


def _is_sealed(descriptor: int) -> bool:
    """Whether the file has a seal against writing. Files with a name have no seals."""
    try:
        seals: int = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        return False
    return bool(seals & (fcntl.F_SEAL_WRITE | 0x10))  # 0x10: F_SEAL_FUTURE_WRITE


def _failed(error: Exception, order: int) -> Error:
    number = error.errno if isinstance(error, OSError) else errno.EINVAL
    if order and number in (errno.ENOMEM, errno.ENOSPC):
        return Error(errno.ENOMEM, "there are not enough free huge pages",
                     "reserve them as root: luoctl hugepages, or vm.nr_hugepages")
    if order and number in (errno.ENODEV, errno.ENOENT):
        return Error(number, "this machine has no huge pages of this size", "use another size")
    return Error(number or errno.EIO, f"making a memory file failed: {error}")
