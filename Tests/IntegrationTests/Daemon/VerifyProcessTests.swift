// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// `luoctl preserve --attest` and `luoctl verify` with a running luod.
@Suite struct VerifyProcessTests: LuoctlSuite {
    let daemon: RunningDaemon

    init() async throws { daemon = try await RunningDaemon() }

    private static let allSeals: Seals = [.shrink, .grow, .write, .seal]

    private func memory(_ bytes: [UInt8], _ seals: Seals = []) throws -> OwnedDescriptor {
        let file = try makeMemoryFile(named: "verify", size: 0)
        try file.borrowed.writeWhole(bytes)
        if !seals.isEmpty { try file.borrowed.addSeals(seals) }
        return file
    }

    private func preserve(_ file: FileDescriptor, _ token: Int, _ more: String...) async throws -> Ended {
        try await run(
            [Program.path("luoctl"), "preserve", "--session", "vm", "--token", "\(token)"] + more
                + ["--pid", "\(getpid())", "--fd", "\(file.rawValue)", "--state", daemon.state])
    }

    private func sums(_ bytes: [UInt8]) throws -> FileSums {
        try #require(FileSums(size: UInt64(bytes.count), blockSize: 65536, sums: [CRC32C.of(bytes)]))
    }

    @Test("A sealed file is attested, and is the same after kills and an update; a session that waits still waits")
    func sealed() async throws {
        expect(try await ctl("session", "create", "vm"))
        let file = try memory([1, 2, 3], Self.allSeals)
        expect(try await preserve(file.borrowed, 5, "--attest"))
        expect(try await ctl("verify"), says: "session \"vm\", token 5: same, 1 block of 64 KiB")
        Glibc.kill(try daemon.connect().status().orchestrator, SIGKILL)
        expect(try await ctl("verify", "vm", "--token", "5"), says: "same")
        #expect(try daemon.connect().change(.update) == nil)
        expect(try await ctl("verify", "vm"), says: "same")
        expect(try await ctl("verify", "vm", "--json"), says: "\"is_same\" : true", "\"state\" : \"same\"")
        let session = try #require(try daemon.connect().status().sessions.first)
        #expect(!session.isOpen && session.files.map(\.isAttested) == [true] && session.files.map(\.retrieved) == [0])
        let retrieved = try await run(
            [Program.path("luoctl"), "retrieve", "--session", "vm", "--token", "5", "--verify"]
                + ["--state", daemon.state, "--", "echo", "has run"])
        expect(retrieved, says: "has run")
        let incoming = try daemon.connect().attach("vm")
        #expect(try incoming.retrieve(5).bytes() == [1, 2, 3])
        expect(try await ctl("verify", "vm"), 1, says: "not compared", "a client has the session open")
        incoming.close()
    }

    @Test("A file that may change is not attested, and is not preserved then") func changing() async throws {
        expect(try await ctl("session", "create", "vm"))
        let file = try memory([1])
        expect(
            try await preserve(file.borrowed, 5, "--attest"), 1, says: "EBUSY", "the file may change meanwhile")
        expect(try await preserve(file.borrowed, 5))
        expect(try await ctl("verify"), says: "no file has checksums")
        expect(try await ctl("verify", "vm"), 1, says: "ENODATA", "luoctl preserve --attest")
        expect(try await ctl("verify", "other"), 1, says: "there is no session \"other\"")
        expect(try await ctl("verify", "--token", "5"), 64, says: "--token needs a session")
        _ = file.release()
    }

    @Test("A byte that was changed is named", .enabled(if: geteuid() == 0)) func changed() async throws {
        let client = try daemon.connect()
        let session = try client.create("vm")
        try session.setDetached(true)
        let bytes = [UInt8](repeating: 7, count: 10_000)
        do {
            let file = try memory(bytes)
            try session.preserve(file.borrowed, 5)
            let sums = try Attestation.file(try sums(bytes))
            _ = try session.call(.attest, FileCall(token: 5).body, sums.borrowed)
        }
        session.close()
        expect(try await ctl("verify", "vm", "--ignore-unseen"), says: "same")
        #expect(try client.change(.update) == nil)
        expect(try await ctl("verify", "vm", "--ignore-unseen"), says: "same")
        do {
            let file = try daemon.connect().retrieveDetached("vm", 5)
            expect(
                try await ctl("verify", "vm", "--ignore-unseen"), 1, says: "may change meanwhile", "process \(getpid())"
            )
            try file.descriptor.setPosition(9000)
            try file.descriptor.writeWhole([8])
        }
        let found = try await ctl("verify", "vm", "--ignore-unseen")
        expect(
            found, 1,
            says: "session \"vm\", token 5: 10000 bytes from offset 0 on differ (pages 0 to 2 of 4 KiB)")
        let program = ["--", "echo", "has run"]
        let refused = try await run(
            [Program.path("luoctl"), "retrieve", "--session", "vm", "--token", "5", "--verify", "--ignore-unseen"]
                + ["--state", daemon.state] + program)
        expect(refused, 1, says: "EBADMSG", "10000 bytes from offset 0 on differ")
        #expect(!refused.output.contains("has run"))
        expect(
            try await ctl("verify", "vm", "--ignore-unseen", "--json"), 1, says: "\"first_page\" : 0",
            "\"is_same\" : false")
    }

    @Test("luod refuses sums that another process could change, sums without sense, and unknown numbers")
    func refusedSums() throws {
        let session = try daemon.connect().create("vm")
        try session.preserve(try MemoryFile(bytes: [1]), 5)
        let good = try sums([1]).bytes
        let body = FileCall(token: 5).body
        let open = try memory(good)
        #expect(try refusal { try session.call(.attest, body, open.borrowed) } == .invalidArgument)
        let partly = try memory(good, [.shrink, .grow, .write])
        #expect(try refusal { try session.call(.attest, body, partly.borrowed) } == .invalidArgument)
        let cut = try memory([UInt8](good.dropLast()), Self.allSeals)
        #expect(try refusal { try session.call(.attest, body, cut.borrowed) } == .invalidArgument)
        let large = try memory([UInt8](repeating: 0, count: FileSums.mostBytes + 1), Self.allSeals)
        #expect(try refusal { try session.call(.attest, body, large.borrowed) } == .invalidArgument)
        #expect(try refusal { try session.call(.attest, body) } == .badFileDescriptor)
        #expect(try refusal { try session.call(.attestation, FileCall(token: 5, descriptor: 0).body) }?.rawValue == 61)
        #expect(
            try refusal { try session.call(.attestation, FileCall(token: 5, descriptor: 2).body) } == .invalidArgument)
        let sealed = try memory(good, Self.allSeals)
        _ = try session.call(.attest, body, sealed.borrowed)
        let found = try #require(
            try session.call(.attestation, FileCall(token: 5, descriptor: 0).body).descriptors.first)
        let sums = OwnedDescriptor(taking: found)
        #expect(try Attestation.read(sums.borrowed).bytes == good)
    }
}

extension DaemonClient {
    /// Attaches a session, retrieves a file, and closes the session again.
    fileprivate func retrieveDetached(_ name: SessionName, _ token: UInt64) throws -> MemoryFile {
        let session = try attach(name)
        defer { session.close() }
        return try session.retrieve(token)
    }
}
