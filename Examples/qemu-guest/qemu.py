# SPDX-License-Identifier: Apache-2.0
"""A QEMU whose guest's memory is a descriptor, controlled over QMP. docs/vmm.md says why it is started as it is."""

import json
import os
import socket
import subprocess
import time

IGNORE_SHARED = [{"capability": "x-ignore-shared", "state": True}]  # the memory stays, and only devices are saved

PATIENCE = 120  # seconds that a guest may say nothing


class Qemu:
    def __init__(self, program, machine, options, size, memory=None, incoming=()):
        """Starts QEMU. Without memory it waits for set_up: it is there before it is needed.

        incoming has the addresses from which it gets the state of devices. With memory it answers only after connect().
        """
        serial, self.serial = socket.socketpair()
        qmp, self._qmp = socket.socketpair()
        self._program = [program, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        self._program += ["-m", f"size={size}b", *options, "-global", "migration.x-events=on"]
        self._program += ["-chardev", f"socket,id=serial,fd={serial.fileno()}", "-serial", "chardev:serial"]
        self._program += ["-chardev", f"socket,id=qmp,fd={qmp.fileno()}", "-qmp", "chardev:qmp"]
        self._machine = machine
        self._size = size
        command = self._command(memory, incoming)
        inherited = (serial.fileno(), qmp.fileno())
        self.process = subprocess.Popen(command, pass_fds=inherited, stdin=subprocess.DEVNULL)
        for other in (serial, qmp):
            other.close()
        for own in (self.serial, self._qmp):
            own.settimeout(PATIENCE)
        self._messages = self._qmp.makefile("r")
        self._events = []
        if memory is None:
            self.connect()

    def _command(self, memory, incoming):
        """The command line of a QEMU that makes its machine on this memory, or waits for it."""
        if memory is None:
            command = [*self._program, "-machine", self._machine, "-preconfig"]
        else:
            backend = json.dumps(self._backend(memory))
            command = [*self._program, "-object", backend, "-machine", f"{self._machine},memory-backend=ram"]
        for address in incoming:
            command += ["-incoming", address]
        return command

    def _backend(self, memory):
        path = f"/proc/{os.getpid()}/fd/{memory}"
        return {"qom-type": "memory-backend-file", "id": "ram", "size": self._size, "share": True, "mem-path": path}

    def connect(self):
        """Waits until it answers."""
        while "QMP" not in (message := self._receive()):
            if message.get("data", {}).get("status") == "failed":
                raise RuntimeError("QEMU's migration failed")
        version = message["QMP"]["version"]["qemu"]
        self._version = version["major"], version["minor"]
        self.command("qmp_capabilities")

    def set_up(self, memory):
        """Makes the machine, on the memory of a descriptor. It runs, unless it waits for the state of devices."""
        self.command("object-add", **self._backend(memory))
        self.command("qom-set", path="/machine", property="memory-backend", value="/objects/ram")
        self.command("x-exit-preconfig")

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

    def _address(self, file):
        """How a migration gets to a file: QEMU before 8.2 has no file:, and QEMU 11 takes no file as fd:."""
        if self._version >= (8, 2):
            return f"file:/proc/{os.getpid()}/fd/{file}"
        self.command("getfd", file=file, fdname="state")
        return "fd:state"

    def save(self, file):
        """Saves the state of all devices, of a guest that was stopped."""
        self.command("migrate-set-capabilities", capabilities=IGNORE_SHARED)
        self.command("migrate", uri=self._address(file))
        self._migrated()

    def load(self, file):
        """Reads that state."""
        self.command("migrate-set-capabilities", capabilities=IGNORE_SHARED)
        self.command("migrate-incoming", uri=self._address(file))
        self._migrated()

    def transfer(self, channels):
        """Moves the guest, which was stopped, into the QEMU that listens on these channels."""
        self.command("migrate-set-parameters", mode="cpr-transfer")
        self.command("migrate", channels=channels)
        self._migrated()

    def execute(self, memory, state, program=None):
        """Executes its program again, or another one. That goes on with the guest, whose state is in a file."""
        address = self._address(state)
        command = [program] if program else [*self._command(memory, [address]), "-global", "migration.x-ignore-shared=on"]
        self.command("migrate-set-capabilities", capabilities=IGNORE_SHARED)  # so that load() takes this state, too
        self.command("migrate-set-parameters", mode="cpr-exec", **{"cpr-exec-command": command})
        self.command("migrate", uri=address)

    def wait_until_loaded(self):
        """Waits until it has the guest, and then the answers to commands."""
        self.connect()
        while (status := self.command("query-migrate").get("status")) != "completed":
            if status == "failed":
                raise RuntimeError("QEMU's migration failed")
            time.sleep(0.001)

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
