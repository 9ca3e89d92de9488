#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A guest lives on: in the same QEMU beside an update of luod, and in another QEMU over an update and over a restart.

Another process updates luod, as an administrator does, and luod asks this program before each update. Prints how long
the guest was paused each time, and the parts of the pause. Exits 0 when the guest's count goes on without a gap.
"""

import argparse
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../python"))
import luo
from qemu import Qemu

RAM, STATE = 1, 2  # the tokens
HUGE_PAGE = 2 << 20
PATIENCE = 60  # seconds that an update waits for this program
QEMU_PARTS = ("stop", "save", "end", "set up", "load", "cont")


class Guest:
    """A guest, whichever QEMU runs it."""

    def __init__(self, options, size):
        self.options = options
        self.size = size
        self.count = 0
        self.qemu = self.next = None
        memory = os.memfd_create("guest", os.MFD_CLOEXEC | os.MFD_HUGETLB | os.MFD_HUGE_2MB)
        os.ftruncate(memory, size)
        self.next = Qemu(self.options, self.size)
        self.start(memory)

    def prepare(self):
        """Starts the next QEMU, which has nothing of the guest yet."""
        self.next = Qemu(self.options, self.size, incoming=True)

    def start(self, memory):
        """Gives the memory, whose descriptor it takes, to the QEMU that was started for it."""
        self.qemu, self.next = self.next, None
        self.qemu.set_up(memory)
        self.memory = memory
        self.unread = ""

    def end(self):
        """Ends the QEMU. From here this program does not hold the memory, either."""
        self.qemu.end()
        self.read_ticks()
        os.close(self.memory)

    def kill(self):
        for qemu in (self.qemu, self.next):
            if qemu:
                qemu.kill()

    def expect_ticks(self, number):
        """Waits until it has counted on."""
        last = self.count + number
        while self.count < last:
            self.read_ticks(1)

    def read_ticks(self, least=0):
        """Reads what it has said: at least something, or all that there is until its QEMU has ended."""
        while text := self.qemu.serial.recv(4096).decode(errors="replace"):
            *lines, self.unread = (self.unread + text).split("\n")
            for line in lines:
                self.read_line(line)
            if least:
                return
        if least:
            raise SystemExit("the guest ended")

    def read_line(self, line):
        tick = re.fullmatch(r"tick (\d+)\r?", line)
        if tick is None:
            print(f"guest: {line.rstrip()}", file=sys.stderr)
        elif int(tick[1]) != self.count + 1:
            raise SystemExit(f"the guest said {tick[0]}, and before that, tick {self.count}")
        else:
            self.count += 1


class Pause:
    """The parts of a pause."""

    def __init__(self):
        self.parts = []
        self.last = time.monotonic()

    def part(self, name):
        now = time.monotonic()
        self.parts.append((name, (now - self.last) * 1000))
        self.last = now

    def print(self, title):
        own = sum(length for name, length in self.parts if name not in QEMU_PARTS)
        print(f"{title}: {sum(length for _, length in self.parts):.1f} ms, of which {own:.1f} ms are not QEMU's")
        for name, length in self.parts:
            print(f"  {name:9} {length:7.1f} ms{'  QEMU' if name in QEMU_PARTS else ''}")


def save(guest, session, pause):
    """Stops the guest, and keeps everything that it is. Its memory is preserved while it runs."""
    guest.qemu.command("stop")
    pause.part("stop")
    state = os.memfd_create("devices", os.MFD_CLOEXEC)
    guest.qemu.save(state)
    pause.part("save")
    session.preserve(state, STATE)
    pause.part("preserve")
    os.close(state)
    guest.end()
    pause.part("end")


def load(guest, memory, state, pause):
    """Goes on with the guest in another QEMU."""
    os.lseek(state, 0, os.SEEK_SET)
    guest.start(memory)
    pause.part("set up")
    guest.qemu.load(state)
    os.close(state)
    guest.qemu.command("cont")
    pause.part("load")


class Update:
    """An update of luod by another process."""

    def __init__(self, state):
        script = f"import sys; sys.path[:0] = {sys.path!r}; import luo; luo.Device(sys.argv[1]).update(patience={PATIENCE})"
        self.process = subprocess.Popen([sys.executable, "-c", script, state])

    def end(self):
        if self.process.wait() != 0:
            raise SystemExit("the update failed")


def preserve(guest, device):
    """Preserves the memory of a guest that runs, and has luod ask before an update."""
    session = device.create("guest")
    session.preserve(guest.memory, RAM)
    session.subscribe()
    return session


def expect(session, kind):
    notice = session.notice(PATIENCE)
    if notice is None or notice.kind != kind:
        raise SystemExit(f"luod sent {notice}, and not a notice of kind {kind}")
    return notice


def beside_an_update(guest, device, state):
    """The QEMU stays, and its virtual processors stop. The memory is the same all the time."""
    device.load()
    session = preserve(guest, device)
    update = Update(state)
    question = expect(session, luo.FREEZE_SOON)
    pause = Pause()
    guest.qemu.command("stop")
    pause.part("stop")
    session.ready(question)
    is_next_boot = expect(session, luo.OVER).value
    pause.part("update")
    guest.qemu.command("cont")  # also when the update was called off
    pause.part("cont")
    update.end()
    if not is_next_boot:
        raise SystemExit("the update was called off")
    device.retrieve("guest").finish()
    return pause


def over_an_update(guest, device, state):
    device.load()
    session = preserve(guest, device)
    guest.prepare()
    update = Update(state)
    question = expect(session, luo.FREEZE_SOON)
    pause = Pause()
    save(guest, session, pause)
    session.ready(question)
    is_next_boot = expect(session, luo.OVER).value
    pause.part("update")
    if is_next_boot:
        session = device.retrieve("guest")
        memory, devices = session.retrieve(RAM), session.retrieve(STATE)
    else:
        memory, devices = session.get(RAM), session.get(STATE)  # the guest goes on without the update
    pause.part("retrieve")
    load(guest, memory, devices, pause)
    if is_next_boot:
        session.finish()
    update.end()
    return pause


def over_a_restart(guest, device, _):
    session = device.create("guest", detached=True)
    session.preserve(guest.memory, RAM)
    guest.prepare()
    pause = Pause()
    save(guest, session, pause)
    session.close()
    session = device.attach("guest")
    memory, state = session.get(RAM), session.get(STATE)
    pause.part("get")
    load(guest, memory, state, pause)
    session.set_detached(False)
    session.close()
    return pause


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state", required=True, help="the state directory of a luod that runs")
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--initrd", required=True)
    parser.add_argument("--pages", type=int, default=64, help="huge pages of 2 MiB that the guest's memory has")
    parser.add_argument("--accel", default="tcg", help="tcg (software), or kvm where it works")
    arguments = parser.parse_args()
    options = ["-accel", arguments.accel, "-cpu", "max", "-kernel", arguments.kernel, "-initrd", arguments.initrd]
    options += ["-append", "console=ttyS0 quiet panic=-1"]

    device = luo.Device(arguments.state)
    guest = Guest(options, arguments.pages * HUGE_PAGE)
    try:
        guest.expect_ticks(10)
        ways = [
            ("beside an update", beside_an_update), ("over an update", over_an_update), ("over a restart", over_a_restart)]
        for name, hand_over in ways:
            before = guest.count
            pause = hand_over(guest, device, arguments.state)
            guest.expect_ticks(10)
            pause.print(f"the guest's pause {name}")
            print(f"  it counted to {before} before, and to {guest.count} after it, without a gap")
    finally:
        guest.kill()


if __name__ == "__main__":
    main()
