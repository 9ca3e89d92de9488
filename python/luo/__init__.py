# SPDX-License-Identifier: Apache-2.0
"""Memory files that stay while their program or luod is replaced.

    with luo.Device() as device, device.create("cache", detached=True) as session:
        file = luo.MemoryFile(1 << 20)      # a memory file, which is a buffer
        session.preserve(file, token=1)

    with luo.Device() as device, device.attach("cache") as session:   # in another program
        file = luo.MemoryFile.from_descriptor(session.get(token=1))

Each failure of luod is a luo.Error: an OSError with the reason and the remedy.
"""

from ._channel import FREEZE_SOON, OVER, Notice
from ._errors import Error
from ._memory import MemoryFile
from ._sessions import EITHER, INCOMING, OUTGOING, Device, HasDescriptor, Session

__all__ = [
    "EITHER", "FREEZE_SOON", "INCOMING", "OUTGOING", "OVER", "Device", "Error", "HasDescriptor", "MemoryFile", "Notice",
    "Session",
]
