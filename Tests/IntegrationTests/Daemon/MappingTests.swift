// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import TestSupport
import Testing

/// Memory that only mappings have: `luoctl check PID`, and `luoctl preserve --mapping`.
@Suite struct MappingTests: LuoctlSuite {
    let daemon: RunningDaemon

    init() async throws { daemon = try await RunningDaemon() }

    private struct Report: Decodable {
        struct Mapping: Decodable {
            let address, kind, name: String
            let bytes, ownBytes: UInt64
            let accepted: Bool
            let reason, remedy: String?
        }
        let accepted: Bool
        let mappings: [Mapping]
        let privateAnonymousBytes: UInt64

        func mapping(_ name: String) -> Mapping? { mappings.first { $0.name == name } }
    }

    /// Maps 64 KiB of each kind without keeping a descriptor, writes the kind's name there, and prints the addresses.
    private static let script = """
        import ctypes, os, sys, time
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = libc.shmat.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
        def map(fd, flags):
            return libc.mmap(None, 65536, 3, flags, fd, 0)
        def write(name, address):
            ctypes.memmove(address, name.encode(), len(name))
            print(name, hex(address), flush=True)
        for kind in sys.argv[1:]:
            if kind == "anonymous":
                write(kind, map(-1, 0x21))
            elif kind == "system-v":
                number = libc.shmget(0, 65536, 0o1600)
                address = libc.shmat(number, None, 0)
                libc.shmctl(number, 0, None)
                write(kind, address)
            else:
                file = os.memfd_create(kind)
                os.ftruncate(file, 65536)
                write(kind, map(file, 2 if kind.startswith("private") else 1))
                if not kind.endswith("open"):
                    os.close(file)
        print("ready", flush=True)
        time.sleep(600)
        """

    private func program(_ kinds: String...) async throws -> (program: Program, addresses: [String: String]) {
        let program = try Program(["/usr/bin/env", "python3", "-c", Self.script] + kinds)
        try await eventually("the mappings", within: 60) { try program.outputSoFar.contains("ready") }
        let lines = try program.outputSoFar.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        let pairs = lines.filter { $0.count == 2 }.map { ($0[0], $0[1]) }
        return (program, Dictionary(uniqueKeysWithValues: pairs))
    }

    private func check(_ program: Program, status: CInt) async throws -> Report {
        let ended = try await luoctl("check", "--json", "pid:\(program.process)")
        #expect(ended.status == status, "\(ended)")
        return try ended.json(Report.self)
    }

    @Test("Shared memory without a descriptor is preserved from its mapping, with its data", .requiresRoot)
    func shared() async throws {
        let (program, addresses) = try await program("anonymous", "closed", "system-v")
        let report = try await check(program, status: 0)
        #expect(report.accepted)
        #expect(report.privateAnonymousBytes > 0)
        let names = [
            "anonymous": "/dev/zero (deleted)", "closed": "/memfd:closed (deleted)",
            "system-v": "/SYSV00000000 (deleted)",
        ]
        expect(try await ctl("session", "create", "s"))
        for (token, (kind, name)) in names.sorted(by: { $0.key < $1.key }).enumerated() {
            let found = try #require(report.mapping(name), "\(report)")
            #expect(found.kind == "shared")
            #expect(found.accepted)
            #expect(found.bytes == 65536)
            #expect(found.address == addresses[kind])
            expect(
                try await ctl(
                    "preserve", "--session", "s", "--token", "\(token)", "--pid", "\(program.process)", "--mapping",
                    found.address))
        }
        kill(program.process, SIGKILL)
        _ = try await program.ended()
        expect(try await ctl("update"))
        let kept = try await ctl(
            "retrieve", "--session", "s", "--token", "0", "--token", "1", "--token", "2", "--", "/bin/sh", "-c",
            "head -c 9 <&3; head -c 6 <&4; head -c 8 <&5")
        #expect(kept.output == "anonymousclosedsystem-v", "\(kept)")
        expect(try await ctl("finish", "--session", "s"))
    }

    @Test("preserve says that pages which a process has written in a private mapping are not preserved", .requiresRoot)
    func privatePages() async throws {
        let (program, _) = try await program("private-open", "shared-open")
        expect(try await ctl("session", "create", "s"))
        let warning = "process \(program.process) has 4 KiB of private pages over this file"
        for (token, isWarned) in [(3, true), (4, false)] {
            let ended = try await ctl(
                "preserve", "--session", "s", "--token", "\(token)", "--pid", "\(program.process)", "--fd", "\(token)")
            #expect(ended.status == 0 && ended.errors.contains(warning) == isWarned, "\(ended)")
        }
        withExtendedLifetime(program) {}
    }

    @Test("An address inside a mapping stands for it; other addresses are refused with what to do", .requiresRoot)
    func addresses() async throws {
        let (program, addresses) = try await program("anonymous", "private")
        expect(try await ctl("session", "create", "s"))
        func preserve(_ address: String) async throws -> Ended {
            try await ctl(
                "preserve", "--session", "s", "--token", "1", "--pid", "\(program.process)", "--mapping", address)
        }
        expect(try await preserve("0x10"), 1, says: "nothing is mapped there", "luoctl check pid:")
        expect(try await preserve(try #require(addresses["private"])), 1, says: "the mapping is private", "MAP_SHARED")
        expect(try await preserve("7f00"), 64, says: "0x7f2b6d840000")
        let first = try #require(addresses["anonymous"].flatMap { UInt64($0.dropFirst(2), radix: 16) })
        expect(try await preserve("0x" + String(first + 5000, radix: 16)))
        expect(
            try await ctl("preserve", "--session", "s", "--token", "2", "--mapping", "0x10"), 64, says: "--pid")
        expect(
            try await ctl("preserve", "--session", "s", "--token", "2", "--fd", "3", "--mapping", "0x10"), 64,
            says: "one of")
        withExtendedLifetime(program) {}
    }

    @Test("Written pages of a private mapping are missing in their file, with a descriptor or without", .requiresRoot)
    func overAFile() async throws {
        let (program, addresses) = try await program("private", "private-open")
        let report = try await check(program, status: 1)
        #expect(!report.accepted)
        for kind in ["private", "private-open"] {
            let found = try #require(report.mapping("/memfd:\(kind) (deleted)"), "\(report)")
            #expect(found.kind == "private-over-file")
            #expect(!found.accepted)
            #expect(found.ownBytes == 4096)
            #expect(found.address == addresses[kind])
            #expect(found.remedy?.contains("MAP_SHARED") == true)
        }
        let text = try await luoctl("check", "pid:\(program.process)")
        #expect(text.status == 1)
        #expect(text.output.contains("would NOT be preserved"))
        #expect(text.output.contains("/memfd:private-open (deleted), without private pages"))
        #expect(text.output.contains("4 KiB at \(addresses["private"] ?? "?") over /memfd:private (deleted)"))
        withExtendedLifetime(program) {}
    }

    @Test("Without CAP_SYS_ADMIN, memory that only mappings have is named, and the missing right, too", .requiresRoot)
    func withoutRights() async throws {
        let user = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
        let program = try Program(user + ["/usr/bin/env", "python3", "-c", Self.script, "anonymous"])
        try await eventually("the mapping", within: 60) { try program.outputSoFar.contains("ready") }
        let ended = try await luoctlAsNobody(["check", "pid:\(program.process)"])
        #expect([1, 77].contains(ended.status), "\(ended)")
        #expect(ended.output.contains("/dev/zero (deleted)"), "\(ended)")
        #expect(ended.output.contains("run as root"), "\(ended)")
        withExtendedLifetime(program) {}
    }
}
