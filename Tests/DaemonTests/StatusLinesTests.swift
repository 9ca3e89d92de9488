// SPDX-License-Identifier: Apache-2.0
import Foundation
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore
@testable import LiveUpdateDaemon
@testable import LiveUpdateProtocol

/// The pages of STATUS as bytes: clients read the lines that luod writes.
@Suite struct StatusLinesTests {
    private let daemon = LuodStatus.Daemon(
        orchestrator: 5, keeper: 4,
        processes: [
            .init(
                name: "keeper", process: 4, capabilities: ["cap_kill", "cap_x"], hasNoNewPrivileges: true,
                seccomp: "off"),
            .init(name: "gate", process: 6, capabilities: [], hasNoNewPrivileges: false, seccomp: "filter"),
        ], keeperAnswers: false, refusal: "why", updates: .max, lastBlackout: 7, arenaSize: 4096, arenaUsed: 1,
        flbs: [.init(compatible: "hugetlb-v1", direction: "incoming", count: 3)], missing: ["a", "b"],
        carriesMemory: true, ready: .init(image: "/luod", version: nil, process: 8, since: 9, failure: "why"),
        load: .init(
            counters: [.init(name: "updates", of: "reload", result: "done", count: .max)],
            blackouts: .init(sum: 9, buckets: [.init(upTo: 8, count: 1), .init(upTo: nil, count: 2)]), queue: 1,
            descriptors: 2, descriptorLimit: 3))

    private func session(_ number: UInt64, _ name: String = "vm") -> LuodStatus.Session {
        LuodStatus.Session(
            number: number, name: name, owner: 7, direction: "outgoing", isOpen: true, isFinished: false,
            isDetached: true,
            isAttached: false, since: number == 1 ? .max : nil,
            maker: number == 1 ? .init(process: 3, command: name) : nil)
    }

    private func file(_ token: UInt64, problem: String? = nil) -> LuodStatus.File {
        LuodStatus.File(
            token: "\(token)", compatible: "memfd-v1", size: token == 0 ? nil : .max, retrieved: -5, problem: problem,
            kernel: "stays", device: 1, inode: token)
    }

    private func read(_ bytes: [UInt8]) throws -> [LuodStatus.Line] {
        #expect(bytes.isEmpty || bytes.last == UInt8(ascii: "\n"))
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try bytes.split(separator: UInt8(ascii: "\n")).map {
            try decoder.decode(LuodStatus.Line.self, from: Data($0))
        }
    }

    /// The document of an encodable value as luoctl prints it.
    private func document(_ value: some Encodable) throws -> NSDictionary {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return try #require(try JSONSerialization.jsonObject(with: encoder.encode(value)) as? NSDictionary)
    }

    @Test("The members of a line are those of luoctl's document") func names() throws {
        var other = daemon
        (other.refusal, other.lastBlackout, other.ready) = (nil, nil, nil)
        for daemon in [daemon, other] {
            var (lines, one) = (StatusLines(), session(daemon == other ? 2 : 1))
            lines.add(daemon)
            let file = file(daemon == other ? 0 : 1)
            #expect(lines.add(one) && lines.add(file))
            one.files = []
            let session = try #require(try document(one).mutableCopy() as? NSMutableDictionary)
            session.removeObject(forKey: "files")
            let documents: [String: NSDictionary] = [
                "luod": try document(daemon), "session": session, "file": try document(file),
            ]
            for line in lines.bytes.split(separator: UInt8(ascii: "\n")) {
                let line = try #require(try JSONSerialization.jsonObject(with: Data(line)) as? [String: NSDictionary])
                let (kind, members) = try #require(line.first)
                #expect(members == documents[kind], "\(kind)")
            }
        }
    }

    @Test("Lines come back as they were written, with every character") func roundTrip() throws {
        let odd = "\"\\ \u{0}\u{1}\u{1f}\u{7f} ä€😀 \\x1b/\r\n\t"
        var lines = StatusLines()
        lines.add(daemon)
        var one = session(1, odd)
        #expect(lines.add(one) && lines.add(file(0)) && lines.add(file(1, problem: odd)) && lines.add(session(2)))
        one.files = [file(0), file(1, problem: odd)]
        let status = try #require(LuodStatus(try read(lines.bytes)))
        #expect(status == LuodStatus(daemon: daemon, sessions: [one, session(2)]))
        #expect(status.updates == .max, "luod's members are reached through the status")
        var without = daemon
        without.lastBlackout = nil
        var others = StatusLines()
        others.add(without)
        #expect(try LuodStatus(read(others.bytes))?.lastBlackout == nil)
    }

    @Test("A session that continues on the next page is read as one session") func continued() throws {
        var (first, second) = (StatusLines(), StatusLines())
        first.add(daemon)
        #expect(first.add(session(1)) && first.add(file(1)))
        #expect(second.add(session(1)) && second.add(file(2)) && second.add(session(2)))
        let status = try #require(LuodStatus(try read(first.bytes) + read(second.bytes)))
        #expect(status.sessions.map(\.number) == [1, 2] && status.sessions[0].files.map(\.token) == ["1", "2"])
        #expect(try LuodStatus(read(second.bytes)) == nil, "without a line of luod")
    }

    @Test("A line that does not fit is left out as a whole; the first line always fits") func room() throws {
        var lines = StatusLines(room: 10)
        lines.add(daemon)
        let bytes = lines.bytes
        #expect(bytes.count > 10 && !lines.add(session(1)) && !lines.add(file(1)) && lines.bytes == bytes)
    }

    /// Pages of sessions as the core lists them. Each number in `counts` is the number of files in one session.
    private func pages(_ counts: [Int], room: Int, most: Int = 512) throws -> [[LuodStatus.Line]] {
        var number: UInt64 = 0
        let sessions = counts.map { count in
            number += 1
            let session = number
            let files = (0..<count).map { _ in
                number += 1
                return number
            }
            return (session, files)
        }
        var (pages, call): ([[LuodStatus.Line]], StatusCall) = ([], StatusCall())
        repeat {
            let page = try StatusReport.page(call, boot: 3, room: room) {
                daemon
            } parts: { position, _ in
                var (parts, left, isLast): ([StatusPage.Part], Int, Bool) = ([], most, true)
                for (session, files) in sessions where session >= position.session {
                    let isContinued = session == position.session
                    let rest = files.filter { $0 > position.file || !isContinued }
                    if isContinued && rest.isEmpty { continue }
                    guard left > 0 else {
                        isLast = false
                        break
                    }
                    let taken = Array(rest.prefix(left))
                    left -= max(taken.count, 1)
                    parts.append(part(session, taken, isContinued))
                    if taken.count < rest.count { isLast = false }
                    if !isLast { break }
                }
                return StatusPage(parts: parts, isLast: isLast)
            } session: {
                session($0.number)
            } file: { file, _ in
                self.file(file.token)
            }
            #expect(page.lines.bytes.count <= max(room, 900))
            pages.append(try read(page.lines.bytes))
            call = page.next
            if pages.count > 1000 { throw LiveUpdateError(.ioError, "no end") }
        } while !call.isFirst
        return pages
    }

    private func part(_ number: UInt64, _ files: [UInt64], _ isContinued: Bool) -> StatusPage.Part {
        let files = files.map { number in
            FileState(
                id: FileID(value: number), session: SessionID(value: 1), token: number, compatible: "memfd-v1",
                slot: .lost,
                identity: FileIdentity(device: 1, inode: number), data: 0, ranges: [], flbs: [], retrieved: .notTried)
        }
        let session = SessionState(id: SessionID(value: number), name: "vm", direction: .outgoing, progress: .open)
        return StatusPage.Part(
            number: number, session: Status.Session(session, files: files), fileNumbers: files.map(\.id.value),
            problems: files.map { _ in nil }, isContinued: isContinued)
    }

    @Test("Pages of every size together have each session and file once, in order") func paging() throws {
        for counts in [[], [0], [0, 0, 0], [1], [30], [0, 5, 0, 7], [1, 1, 1, 1, 1, 1]] {
            for room in [500, 600, 777, 1500, 65536] {
                for most in [1, 2, 5, 512] {
                    let lines = try pages(counts, room: room, most: most).flatMap { $0 }
                    let status = try #require(LuodStatus(lines))
                    #expect(status.sessions.map(\.files.count) == counts, "\(counts) in \(room)")
                    let tokens = status.sessions.flatMap(\.files).compactMap { UInt64($0.token) }
                    #expect(tokens == tokens.sorted() && Set(tokens).count == tokens.count)
                    #expect(lines.count { $0.luod != nil } == 1)
                }
            }
        }
    }

    @Test("A place of another boot is ESTALE") func stale() {
        let error = failure {
            _ = try StatusReport.page(StatusCall(boot: 2, session: 1), boot: 3) {
                daemon
            } parts: { _, _ in
                StatusPage(parts: [], isLast: true)
            } session: {
                session($0.number)
            } file: { file, _ in
                self.file(file.token)
            }
        }
        #expect(error?.errno == .staleNFSFileHandle)
    }
}
