// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore

/// The status in pages, in the order of IDs. Each session and file comes once, even if others come and go between
/// pages.
@Suite struct StatusPageTests {
    private let machine: Machine
    private let handler = TestHandler()

    init() throws { machine = try Machine() }

    private struct Entry: Equatable {
        var session: SessionName
        var token: UInt64?
    }

    /// Reads all pages, and calls `between` after each page.
    private func read(
        _ boot: Orchestrator, of user: SessionUser? = nil, most: Int, between: (Int) throws -> Void = { _ in }
    ) throws -> [Entry] {
        var (entries, position): ([Entry], StatusPosition) = ([], StatusPosition())
        for number in 0..<10_000 {
            let page = try boot.statusPage(after: position, of: user, most: most)
            for part in page.parts {
                if !part.isContinued { entries.append(Entry(session: part.session.name)) }
                #expect(
                    part.fileNumbers.count == part.session.files.count && part.problems.count == part.fileNumbers.count)
                entries += part.session.files.map { Entry(session: part.session.name, token: $0.token) }
            }
            let count = page.parts.reduce(0) { $0 + ($1.isContinued ? 0 : 1) + $1.fileNumbers.count }
            #expect(count <= most && page.parts.dropFirst().allSatisfy { !$0.isContinued })
            guard !page.isLast, let last = page.parts.last else { return entries }
            position = StatusPosition(session: last.number, file: last.fileNumbers.last ?? 0)
            if last.fileNumbers.isEmpty && last.isContinued { Issue.record("a page that leads nowhere") }
            try between(number)
        }
        Issue.record("no end")
        return entries
    }

    /// The whole status without pages.
    private func whole(_ boot: Orchestrator, of user: SessionUser? = nil) throws -> [Entry] {
        try boot.status().sessions.filter { user == nil || $0.holder.user == user }.flatMap { session in
            [Entry(session: session.name)] + session.files.map { Entry(session: session.name, token: $0.token) }
        }
    }

    private func fill(_ boot: Orchestrator, _ counts: [(SessionUser, Int)], _ name: String) throws -> [Session] {
        try counts.enumerated().map { index, count in
            let session = try boot.createSession(
                SessionName("\(name)\(index)"), holder: SessionHolder(user: count.0, isDetached: true))
            for token in 0..<count.1 {
                let file = try MemoryFile()
                try withExtendedLifetime(file) { try session.preserve(file.descriptor, token: UInt64(token)) }
            }
            return session
        }
    }

    @Test(
        "Pages of every size have the whole status, for root and each user, also after an update and a crash"
    )
    func sizes() throws {
        var boot = try machine.boot(.nextBoot, handler)
        let counts: [(SessionUser, Int)] = [(0, 0), (7, 3), (0, 1), (7, 0), (9, 8), (0, 2)]
        var kept = try fill(boot, counts, "a")
        func check() throws {
            for most in 1...20 {
                for user in [nil, 0, 7, 9, 11] as [SessionUser?] {
                    let expected = try whole(boot, of: user)
                    #expect(try read(boot, of: user, most: most) == expected, "\(most) of \(user ?? .max)")
                }
            }
        }
        try check()
        try boot.publish()
        boot = try machine.boot(.nextBoot, handler)
        try check()
        kept += try fill(boot, counts, "b")
        try check()
        boot = try machine.boot(.sameBoot, handler)
        try check()
        #expect(try boot.statusSummary().updateNumber == 1)
        withExtendedLifetime(kept) {}
    }

    @Test("Sessions and files that stay come once, while others come and go between the pages") func changes()
        throws
    {
        let boot = try machine.boot(.nextBoot, handler)
        let stay = try fill(boot, (0..<8).map { (SessionUser($0 % 2), 4) }, "stay")
        var going = try fill(boot, (0..<8).map { (SessionUser($0 % 2), 2) }, "go")
        var coming: [Session] = []
        let entries = try read(boot, most: 3) { number in
            if let session = going.popLast() { try session.close() }
            coming += try fill(boot, [(0, 1)], "come\(number)-")
            if number < 8 { try stay[number].unpreserve(token: 0) }
        }
        for index in 0..<8 {
            let name = SessionName("stay\(index)")
            #expect(entries.count { $0 == Entry(session: name) } == 1)
            for token in 1..<4 { #expect(entries.count { $0 == Entry(session: name, token: UInt64(token)) } == 1) }
            #expect(entries.count { $0 == Entry(session: name, token: 0) } <= 1)
        }
        #expect(Set(entries.map { "\($0)" }).count == entries.count, "nothing is there twice")
        withExtendedLifetime(coming) {}
    }

    @Test("The order follows insertions at any place, and removals") func order() {
        var random = SeededGenerator(seed: announcedSeed("StatusPageTests"))
        var order = SessionOrder()
        var expected: [UInt64: SessionUser] = [:]
        for _ in 0..<2000 {
            let number = UInt64.random(in: 1...300, using: &random)
            if let user = expected.removeValue(forKey: number) {
                order.remove(SessionID(value: number), of: user)
            } else {
                let user = SessionUser.random(in: 0..<3, using: &random)
                expected[number] = user
                order.insert(SessionID(value: number), of: user)
            }
            let after = UInt64.random(in: 0...310, using: &random)
            for user in [nil, 0, 1, 2, 3] as [SessionUser?] {
                let known = expected.filter { $0.key > after && (user == nil || $0.value == user) }.keys.sorted()
                #expect(order.sessions(after: after, of: user).map(\.value) == known)
            }
        }
        for (number, user) in expected { order.remove(SessionID(value: number), of: user) }
        #expect(order == SessionOrder(), "nothing is left of a user without sessions")
    }

    @Test("A file that cannot be frozen has its reason, unless a request of its session is under way") func problems()
        throws
    {
        handler.change { $0.freezeObstacle = { $0.token == 1 ? LiveUpdateError(.ioError, "why") : nil } }
        let boot = try machine.boot(.nextBoot, handler)
        let sessions = try fill(boot, [(0, 2)], "s")
        let page = try boot.statusPage(after: StatusPosition(), of: nil, most: 10)
        #expect(page.parts.map(\.problems) == [[nil, "why"]])
        let busy = try sessions[0].lock.withLock { try boot.statusPage(after: StatusPosition(), of: nil, most: 10) }
        #expect(busy.parts.map(\.problems) == [[nil, nil]])
    }
}
