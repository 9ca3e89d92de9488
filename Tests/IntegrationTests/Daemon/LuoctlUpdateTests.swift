// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// `luoctl update` with files that cannot be frozen, and `luoctl stop`.
@Suite(.requiresRoot) struct LuoctlUpdateTests: LuoctlSuite {
    let daemon: RunningDaemon

    init() async throws { daemon = try await RunningDaemon(["--socket-mode", "0666"]) }

    /// Makes a detached session of a user, preserves files in it, and shortens them.
    private func makeCut(_ name: SessionName, as user: uid_t, files: Int) throws {
        let session = try daemon.connect(as: user).create(name)
        for token in 0..<files {
            let file = try MemoryFile(size: 4096)
            try session.preserve(file, UInt64(token) + 77)
            #expect(ftruncate(file.descriptor.rawValue, 1) == 0)
        }
        try session.setDetached(true)
        session.close()
    }

    @Test("All files that cannot be frozen are listed, with user, session, token and reason", arguments: [2, 120])
    func listed(files: Int) async throws {
        try makeCut("vm", as: 2002, files: files)
        let ended = try await ctl("update")
        #expect(ended.status == 1, "\(ended)")
        for token in 77..<77 + files {
            let line = ended.errors.split(separator: "\n").first { $0.contains("token \(token)") } ?? ""
            #expect(line.contains("2002") && line.contains("vm") && line.contains("4096"), "\(token): \(ended)")
        }
        #expect(try daemon.connect().status().updates == 0)
        #expect(try await ctl("update", "--discard").status == 1, "what cannot be frozen is not discarded")
    }

    @Test("--leave-out goes on; retrieve gives the reason, and --as-held the files") func leftOut() async throws {
        try makeCut("vm", as: 0, files: 1)
        let good = try MemoryFile(bytes: [9])
        let session = try daemon.connect().attach("vm")
        try session.preserve(good, 1)
        session.close()
        let ended = try await ctl("update", "--leave-out")
        #expect(ended.status == 0 && ended.output.contains("token 77"), "\(ended)")
        let shown = try await ctl("status")
        #expect(shown.output.contains("token 77") && shown.output.contains("4096"), "\(shown)")
        let refused = try await ctl("retrieve", "--session", "vm", "--token", "77", "--", "/bin/true")
        #expect(refused.status == 1 && refused.errors.contains("4096"), "\(refused)")
        #expect(refused.errors.contains("--as-held"), "\(refused)")
        let got = try await ctl(
            "retrieve", "--session", "vm", "--token", "77", "--token", "1", "--as-held", "--", "/bin/sh", "-c",
            "stat -L -c %s /proc/$$/fd/3 /proc/$$/fd/4")
        #expect(got.status == 0 && got.lines == ["1", "1"], "\(got)")
        #expect(try await ctl("finish", "--session", "vm").status == 0)
    }

    @Test("--discard prints each discarded session with its user") func discarded() async throws {
        let session = try daemon.connect(as: 2002).create("vm")
        try session.preserve(try MemoryFile(), 77)
        try session.setDetached(true)
        session.close()
        #expect(try await ctl("update").status == 0)
        let ended = try await ctl("update", "--discard")
        #expect(ended.status == 0 && ended.output.contains("2002") && ended.output.contains("vm"), "\(ended)")
        #expect(ended.output.contains("The update discarded, and lost:\nuser 2002"), "\(ended)")
    }

    private static let many = (sessions: 3, files: 120)
    private static let long = String(repeating: "n", count: 40)

    /// Checks that each of the many files is named once.
    private func expectAll(in lines: [String], _ reason: String) {
        for (session, token) in (0..<Self.many.sessions).flatMap({ s in (0..<Self.many.files).map { (s, $0 + 77) } }) {
            let start = "user 2002, session \"\(session)-\(Self.long)\", token \(token): "
            let found = lines.filter { $0.hasPrefix(start) }
            #expect(found.count == 1 && found.first?.contains(reason) == true, "\(start)\(found)")
        }
        #expect(!lines.contains { $0.hasPrefix("and ") }, "\(lines)")
    }

    @Test("--discard prints each of many sessions and files once", arguments: [false, true])
    func discardsMany(asJSON: Bool) async throws {
        for number in 0..<Self.many.sessions {
            let session = try daemon.connect(as: 2002).create("\(number)-\(Self.long)")
            for token in 0..<Self.many.files { try session.preserve(try MemoryFile(), UInt64(token) + 77) }
            try session.setDetached(true)
            session.close()
        }
        #expect(try await ctl("update").status == 0)
        let ended = try await asJSON ? ctl("update", "--discard", "--json") : ctl("update", "--discard")
        #expect(ended.status == 0, "\(ended)")
        let lines = try asJSON ? ended.json(Remarks.self).remarks : ended.lines
        expectAll(in: lines, "-v1, unfinished")
        #expect(lines.filter { $0.hasSuffix("\": unfinished") }.count == Self.many.sessions, "\(lines)")
    }

    @Test("--leave-out prints each of many files once", arguments: [false, true])
    func leavesOutMany(asJSON: Bool) async throws {
        for number in 0..<Self.many.sessions {
            try makeCut("\(number)-\(Self.long)", as: 2002, files: Self.many.files)
        }
        let ended = try await asJSON ? ctl("update", "--leave-out", "--json") : ctl("update", "--leave-out")
        #expect(ended.status == 0, "\(ended)")
        expectAll(in: try asJSON ? ended.json(Remarks.self).remarks : ended.lines, "4096")
    }

    private struct Remarks: Decodable { let remarks: [String] }

    @Test("stop refuses while a file would be lost; otherwise, and with --discard, it ends luod") func stop()
        async throws
    {
        let session = try daemon.connect(as: 2002).create("vm")
        try session.preserve(try MemoryFile(), 77)
        try session.setDetached(true)
        session.close()
        let refused = try await ctl("stop")
        #expect(refused.status == 1, "\(refused)")
        for word in ["2002", "vm", "--discard"] { #expect(refused.errors.contains(word), "\(word): \(refused)") }
        #expect(try daemon.connect().status().sessions.count == 1)
        #expect(try await luoctlAsNobody(["stop", "--discard", "--state", daemon.state]).status == 77)
        let stopped = try await ctl("stop", "--discard", "--json")
        #expect(stopped.status == 0 && stopped.output.contains("\"stopped\" : true"), "\(stopped)")
        #expect(try await ctl("status").status == 69, "it waits until luod has ended")
    }

    @Test("stop ends a luod that holds nothing") func nothing() async throws {
        let ended = try await ctl("stop")
        #expect(ended.status == 0, "\(ended)")
        #expect(daemon.processes.isEmpty)
        #expect(try await ctl("status").status == 69)
    }
}
