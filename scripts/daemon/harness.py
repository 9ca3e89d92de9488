# SPDX-License-Identifier: Apache-2.0
"""Shared by the scripts that attack luod: processes of other users, a file system that does not answer, the requests of root, and
the kernel's numbers about luod's processes."""

import ctypes
import errno
import os
import pwd
import resource
import signal
import struct
import subprocess
import time
import traceback

from honest import connect
from luo import Gone

HERE = os.path.dirname(os.path.realpath(__file__))


class Failure(Exception):
    """A row, or a run of the fuzzer, has failed."""


class Complaint(Exception):
    """An answer of luod breaks a rule."""


def error_name(result):
    return errno.errorcode.get(-result, str(result))


# The machine.

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result == -1:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def leave_mounts():
    """Mounts of this program are its own from now on, so that they end with it."""
    _check(_libc.unshare(0x20000), "unshare")  # CLONE_NEWNS
    _check(_libc.mount(None, b"/", None, 0x44000, None), "mount")  # MS_REC | MS_PRIVATE


def mount_memory(path, size):
    _check(_libc.mount(b"tmpfs", path.encode(), b"tmpfs", 0, f"size={size},mode=0711".encode()), "mount")


def unmount(path):
    _check(_libc.umount2(path.encode(), 2), "umount")  # MNT_DETACH


def free_users(count):
    """Numbers of users that no account and no process has."""
    used = {account.pw_uid for account in pwd.getpwall()}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                used.add(os.stat(f"/proc/{name}").st_uid)
            except OSError:
                pass
    first = 1_700_000_000
    while any(user in used for user in range(first, first + count)):
        first += count
    return list(range(first, first + count))


def free_huge_pages():
    try:
        with open("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", encoding="ascii") as file:
            return int(file.read())
    except OSError:
        return 0


def compile_program(path, *arguments):
    subprocess.run(["cc", "-O2", "-o", path, *arguments], check=True)


def compile_stuck(path):
    """The program that StuckFileSystem starts."""
    files = f"{HERE}/../../Tests/StuckFileSystem"
    compile_program(path, f"{HERE}/stuck.c", f"{files}/server.c", "-DLIFETIME=3600", "-I", f"{files}/include")


# Processes.

class Process:
    """A fork of this program that runs as a user, and no longer than this program."""

    def __init__(self, name, user, kept, complaints, run):
        self.name, self.has_ended = name, False
        starter = os.getpid()
        self.pid = os.fork()
        if self.pid > 0:
            return
        code = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            # A terminal sends these to all; this program ends its clients.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            self._close_all_but(kept)
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            _libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
            if os.getppid() == starter:
                run()
            code = 0
        except BaseException as error:
            text = f"{name}: {error}" if isinstance(error, (AssertionError, Complaint)) else traceback.format_exc()
            os.write(complaints, f"{text}\0".encode())
        finally:
            os._exit(code)

    @staticmethod
    def _close_all_but(kept):
        low = 3
        for descriptor in sorted(kept):
            os.closerange(low, descriptor)
            low = descriptor + 1
        os.closerange(low, resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    def wait(self, seconds):
        """Whether it has ended."""
        deadline = time.monotonic() + seconds
        while not self.has_ended:
            if os.waitpid(self.pid, os.WNOHANG)[0] == self.pid:
                self.has_ended = True
            elif time.monotonic() > deadline:
                return False
            else:
                time.sleep(0.005)
        return True

    def kill(self):
        if not self.has_ended:
            os.kill(self.pid, signal.SIGKILL)


class StuckFileSystem:
    """A file system that does not answer."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        path = self.process.stdout.readline().strip()
        self.directory = os.open(path, os.O_PATH) if path else None
        self.why = None if path else self.process.stderr.read().decode().strip()

    def end(self):
        if self.directory is not None:
            os.close(self.directory)
            self.directory = None
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


# What the kernel says of luod.

class Watch:
    """The processes of a luod: how much memory and how many descriptors they have."""

    def __init__(self, keeper):
        self.keeper, self.most = keeper, {}

    def processes(self):
        """The orchestrators and the gate are children of the keeper; a name and a process each."""
        found = [("keeper", self.keeper)]
        try:
            with open(f"/proc/{self.keeper}/task/{self.keeper}/children", encoding="ascii") as file:
                children = file.read().split()
        except OSError:
            return found
        for child in children:
            try:
                with open(f"/proc/{child}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            found += [(name, int(child)) for name in ("orchestrator", "gate") if name.encode() in words]
        return found

    def look(self):
        for name, process in self.processes():
            try:
                with open(f"/proc/{process}/status", encoding="ascii", errors="replace") as file:
                    found = [line.split()[1] for line in file if line.startswith("RssAnon:")]
            except OSError:
                continue
            if found:
                self.most[name] = max(self.most.get(name, 0), int(found[0]) * 1024)

    def descriptors(self):
        """How many each process has, without the gate, which comes and goes with programs."""
        counts = {}
        for name, process in self.processes():
            if name != "gate":
                try:
                    counts[name] = len(os.listdir(f"/proc/{process}/fd"))
                except OSError:
                    counts[name] = -1
        return counts


class Root:
    """Root looks, removes and updates, each time on a new connection."""

    def __init__(self, state, tolerated):
        # luod has a socket for root alone, if it is there.
        own, shared = f"{state}/root", f"{state}/liveupdate"
        self.path, self.tolerated, self.longest = own if os.path.exists(own) else shared, tolerated, 0.0
        self.blackouts = []  # times without service, from and to

    def _timed(self, what, call):
        began = time.monotonic()
        device = None
        try:
            device = connect(self.path)
            return call(device)
        except (OSError, Gone, AssertionError, struct.error) as error:
            raise Failure(f"root cannot {what}: {error or type(error).__name__}") from None
        finally:
            self.longest = max(self.longest, time.monotonic() - began)
            if device:
                device.close()

    def status(self):
        return self._timed("look", lambda device: device.status())

    def remove_own(self):
        """Makes a session with a file, and removes it while it is open."""

        def remove(device):
            name = f"root-{time.monotonic_ns()}"
            result, session = device.create(name)
            if result == -errno.ENOSPC and errno.ENOSPC in self.tolerated:
                return
            if result != 0:
                raise Failure(f"root cannot create a session: {error_name(result)}")
            file = os.memfd_create("attack-root", os.MFD_CLOEXEC)
            try:
                result = session.preserve(1, file)
                if result not in (0, -errno.ENODEV, *(-error for error in self.tolerated)):
                    raise Failure(f"root cannot preserve: {error_name(result)}")
                result, why = device.remove_session(name)
                if result != 0:
                    raise Failure(f"root cannot remove a session: {error_name(result)}, {why}")
            finally:
                os.close(file)
                session.close()

        self._timed("remove", remove)

    def update(self):
        """Updates without files that cannot be frozen, and without sessions that are unfinished since the update before."""

        def update(device):
            for flags in (2, 3):
                result, body, _ = device.answer(device.ask_change(0x23, flags=flags))
                if result != -errno.EBUSY:
                    break
            if result != 0:
                why = body[56:].split(b"\0")[0].decode(errors="replace")
                raise Failure(f"root cannot update: {error_name(result)}, {why}")
            # Asked for, loaded, published, taken over, switched, answered: docs/protocol.md.
            times = struct.unpack_from("<6Q", body, 8)
            self.blackouts.append((times[1] / 1e9, times[5] / 1e9))

        self._timed("update", update)

    def remove_all(self):
        """Removes the sessions that users have left: those that were not retrieved after an update, and those that hold themselves."""
        removed = 0
        for session in self.status()["sessions"]:

            def remove(device, session=session):
                if device.as_user(session["owner"]) != 0:
                    raise Failure("root cannot act as another user")
                # 1 the outgoing one, 2 the incoming one, 4 by force.
                direction = 1 if session["direction"] == "outgoing" else 2
                result, why = device.remove_session(session["name"], direction | 4)
                if result not in (0, -errno.ENOENT):
                    raise Failure(f"root cannot remove {session['name']}: {error_name(result)}, {why}")

            self._timed("remove", remove)
            removed += 1
        return removed
