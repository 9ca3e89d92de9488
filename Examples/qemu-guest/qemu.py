# SPDX-License-Identifier: Apache-2.0
"""A QEMU whose guest's memory is a descriptor, controlled over QMP. docs/vmm.md says why it is started as it is."""

import json
import os
import socket
import subprocess

MIGRATION = [
    {"capability": "x-ignore-shared", "state": True},  # the memory stays where it is: only devices are saved
    {"capability": "events", "state": True},
]

PATIENCE = 120  # seconds that a guest may say nothing


class Qemu:
    def __init__(self, options, size, incoming=False):
        """Starts QEMU, which then waits for set_up: it is there before it is needed, and has no memory yet.

        With incoming it will wait for the state of devices.
        """
        serial, self.serial = socket.socketpair()
        qmp, self._qmp = socket.socketpair()
        command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        command += ["-machine", "pc", "-m", f"size={size}b", "-preconfig", *options]
        command += ["-chardev", f"socket,id=serial,fd={serial.fileno()}", "-serial", "chardev:serial"]
        command += ["-chardev", f"socket,id=qmp,fd={qmp.fileno()}", "-mon", "chardev=qmp,mode=control"]
        if incoming:
            command += ["-incoming", "defer"]
        inherited = (serial.fileno(), qmp.fileno())
        self.process = subprocess.Popen(command, pass_fds=inherited, stdin=subprocess.DEVNULL)
        self._size = size
        for other in (serial, qmp):
            other.close()
        for own in (self.serial, self._qmp):
            own.settimeout(PATIENCE)
        self._messages = self._qmp.makefile("r")
        self._events = []
        self._receive()  # the greeting
        self.command("qmp_capabilities")

    def set_up(self, memory):
        """Makes the machine, on the memory of a descriptor. It runs, unless it waits for the state of devices."""
        backend = {"qom-type": "memory-backend-file", "id": "ram", "size": self._size, "share": True}
        self.command("object-add", **backend, **{"mem-path": f"/proc/{os.getpid()}/fd/{memory}"})
        self.command("qom-set", path="/machine", property="memory-backend", value="/objects/ram")
        self.command("x-exit-preconfig")
        self.command("migrate-set-capabilities", capabilities=MIGRATION)

    def command(self, name, file=None, **arguments):
        """Executes a command, and waits for its end."""
        message = json.dumps({"execute": name, "arguments": arguments}).encode()
        socket.send_fds(self._qmp, [message], [] if file is None else [file])
        while True:
            answer = self._receive()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise RuntimeError(f"QEMU refuses {name}: {answer['error']['desc']}")
            self._events.append(answer)

    def wait_for(self, *names):
        """Waits for one of these events."""
        while True:
            event = self._events.pop(0) if self._events else self._receive()
            if event.get("event") in names:
                return event

    def _receive(self):
        line = self._messages.readline()
        if not line:
            raise RuntimeError(f"QEMU has ended, with status {self.process.wait()}")
        return json.loads(line)

    def save(self, file):
        """Saves the state of all devices, of a guest that was stopped."""
        self.command("getfd", file=file, fdname="state")
        self.command("migrate", uri="fd:state")
        self._migrated()

    def load(self, file):
        """Reads that state."""
        self.command("getfd", file=file, fdname="state")
        self.command("migrate-incoming", uri="fd:state")
        self._migrated()

    def _migrated(self):
        while (status := self.wait_for("MIGRATION")["data"]["status"]) != "completed":
            if status == "failed":
                raise RuntimeError("QEMU's migration failed")

    def end(self):
        """Ends it, and waits until it holds nothing any more."""
        self.command("quit")
        self.process.wait()
        self._qmp.close()

    def kill(self):
        self.process.kill()
        self.process.wait()
