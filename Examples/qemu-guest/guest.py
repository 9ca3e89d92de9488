#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A guest lives on: in the same QEMU beside an update of luod, and in another QEMU over an update and over a restart.

Its devices go to the other QEMU by a migration that leaves out the memory, or by QEMU's own cpr-transfer or cpr-exec.

Another process updates luod, as an administrator does, and luod asks this program before each update. Prints how long
the guest was paused each time, and the parts of the pause. Exits 0 when the guest's count goes on without a gap.
"""

import argparse
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../python"))
import luo
from qemu import Qemu

RAM, STATE = 1, 2  # the tokens
HUGE_PAGE = 2 << 20
PATIENCE = 60  # seconds that an update waits for this program
QEMU_PARTS = ("stop", "save", "end", "set up", "load", "cont", "transfer", "exec")


class Guest:
    """A guest, whichever QEMU runs it."""

    def __init__(self, start, start_next, size, place):
        """Starts a guest. start and start_next start the first QEMU and the next ones, and place is for sockets."""
        self.start_next = start_next
        self.size = size
        self.place = place
        self.count = 0
        self.qemu = self.next = None
        memory = os.memfd_create("guest", os.MFD_CLOEXEC | os.MFD_HUGETLB | os.MFD_HUGE_2MB)
        os.ftruncate(memory, size)
        self.next = start()
        self.start(memory)

    def prepare(self):
        """Starts the next QEMU, which has nothing of the guest yet."""
        self.next = self.start_next(incoming=["defer"])

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

    def hold(self, memory):
        """Holds the memory by this descriptor from now on."""
        os.close(self.memory)
        self.memory = memory

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


class Transfer:
    """A move into another QEMU by cpr-transfer. It waits with the memory, which it opened by a descriptor of luod's."""

    def __init__(self, guest, session):
        self.guest = guest
        directory = tempfile.mkdtemp(dir=guest.place)
        self.channels = [
            {"channel-type": kind, "addr": {"transport": "socket", "type": "unix", "path": f"{directory}/{kind}"}}
            for kind in ("main", "cpr")]
        guest.hold(session.get(RAM))
        addresses = [json.dumps(channel) for channel in self.channels]
        guest.next = guest.start_next(memory=guest.memory, incoming=addresses)
        while not is_listening(f"{directory}/cpr"):
            if guest.next.process.poll() is not None:
                raise SystemExit("the next QEMU ended")
            time.sleep(0.01)

    def move(self, pause):
        guest = self.guest
        guest.qemu.transfer(self.channels)
        guest.next.wait_until_loaded()
        pause.part("transfer")
        guest.qemu.end()
        guest.read_ticks()
        guest.qemu, guest.next, guest.unread = guest.next, None, ""
        pause.part("end")


class Exec:
    """A move by cpr-exec: the process executes QEMU again. luod holds the memory, and the file of the state."""

    def __init__(self, guest, session, program=None):
        self.guest = guest
        self.program = program
        guest.hold(session.get(RAM))
        self.state = os.memfd_create("devices", os.MFD_CLOEXEC)
        session.preserve_held(self.state, STATE)  # not preserve: it gets its size later

    def move(self, pause):
        qemu = self.guest.qemu
        qemu.execute(self.guest.memory, self.state, self.program)
        if self.program is None:
            qemu.wait_until_loaded()
        else:
            qemu.process.wait()
        os.close(self.state)
        pause.part("exec")


def is_listening(path):
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as sockets:
        return any(line.split()[3] == "00010000" and line.split()[-1] == path for line in sockets)


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


def beside_an_update(guest, device, state, kind=None):
    """luod holds the memory, which is the same all the time. The virtual processors stop, and the QEMU stays; or it moves the
    guest by itself, if there is a kind of move."""
    device.load()
    session = preserve(guest, device)
    way = kind and kind(guest, session)
    update = Update(state)
    question = expect(session, luo.FREEZE_SOON)
    pause = Pause()
    guest.qemu.command("stop")
    pause.part("stop")
    if way:
        way.move(pause)
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


def moved_over_a_restart(kind, guest, device, _):
    with device.create("guest") as session:
        session.preserve(guest.memory, RAM)
        way = kind(guest, session)
        pause = Pause()
        guest.qemu.command("stop")
        pause.part("stop")
        way.move(pause)
        guest.qemu.command("cont")
        pause.part("cont")
    return pause


def after_a_death(guest, device, _):
    """The program that QEMU executes ends at once. luod has the memory, and the state that QEMU has saved before."""
    session = device.create("guest", detached=True)
    session.preserve(guest.memory, RAM)
    way = Exec(guest, session, program="/bin/false")
    guest.prepare()
    pause = Pause()
    guest.qemu.command("stop")
    pause.part("stop")
    way.move(pause)
    guest.read_ticks()
    os.close(guest.memory)
    session.close()
    session = device.attach("guest")
    memory, state = session.get(RAM), session.get(STATE)
    pause.part("get")
    load(guest, memory, state, pause)
    session.set_detached(False)
    session.close()
    return pause


WAYS = {
    "ignore-shared": [("over an update", over_an_update), ("over a restart", over_a_restart)],
    "cpr-transfer": [
        ("over an update", functools.partial(beside_an_update, kind=Transfer)),
        ("over a restart", functools.partial(moved_over_a_restart, Transfer))],
    "cpr-exec": [
        ("over an update", functools.partial(beside_an_update, kind=Exec)),
        ("over a restart", functools.partial(moved_over_a_restart, Exec)),
        ("after a death", after_a_death)],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state", required=True, help="the state directory of a luod that runs")
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--initrd", required=True)
    parser.add_argument("--pages", type=int, default=64, help="huge pages of 2 MiB that the guest's memory has")
    parser.add_argument("--accel", default="tcg", help="tcg (software), or kvm where it works")
    parser.add_argument("--qemu", default="qemu-system-x86_64", help="the program")
    parser.add_argument("--next-qemu", help="the program to which the guest moves: another version (not by cpr-exec)")
    parser.add_argument("--machine", default="pc", help="its type, with the version for two versions of QEMU")
    parser.add_argument(
        "--by", default="ignore-shared", choices=WAYS, help="how the guest's devices go to the next QEMU: cpr-transfer "
        "needs QEMU 10.0, and cpr-exec a newer one")
    arguments = parser.parse_args()
    options = ["-accel", arguments.accel, "-cpu", "max", "-kernel", arguments.kernel, "-initrd", arguments.initrd]
    options += ["-append", "console=ttyS0 quiet panic=-1"]
    machine = arguments.machine + (",aux-ram-share=on" if arguments.by != "ignore-shared" else "")
    size = arguments.pages * HUGE_PAGE

    with tempfile.TemporaryDirectory(prefix="qemu-guest.") as place, luo.Device(arguments.state) as device:
        start, start_next = (
            functools.partial(Qemu, program, machine, options, size)
            for program in (arguments.qemu, arguments.next_qemu or arguments.qemu))
        guest = Guest(start, start_next, size, place)
        try:
            guest.expect_ticks(10)
            for name, way in [("beside an update", beside_an_update), *WAYS[arguments.by]]:
                before = guest.count
                pause = way(guest, device, arguments.state)
                guest.expect_ticks(10)
                pause.print(f"the guest's pause {name}")
                print(f"  it counted to {before} before, and to {guest.count} after it, without a gap")
        except RuntimeError as error:
            raise SystemExit(f"guest: {error}") from None
        finally:
            guest.kill()


if __name__ == "__main__":
    main()
