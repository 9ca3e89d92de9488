// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import Testing

@testable import LiveUpdateDaemon

/// Whether one more descriptor may be held, for each kind of client and each limit.
@Suite struct QuotaTests {
    private static let process = 128
    private static let user = 10

    private func quota(connections: Int, of user: SessionUser = 7) -> Quota {
        var quota = Quota(mostOfProcess: Self.process, mostOfUser: Self.user)
        for _ in 0..<connections { quota.add(to: user) }
        return quota
    }

    /// The counts of a user, and the expected answer.
    struct Case: Sendable {
        var connections = 0
        var held = 0
        var closing = 0
        var process = 20
        var user: SessionUser = 7
        var isUnlimited = false
        var hasRoom: Bool
    }

    @Test(
        "One more descriptor",
        arguments: [
            Case(hasRoom: true),
            Case(connections: 9, hasRoom: true), Case(connections: 10, hasRoom: false),
            Case(held: 9, hasRoom: true), Case(held: 10, hasRoom: false),
            Case(closing: 9, hasRoom: true), Case(closing: 10, hasRoom: false),
            Case(connections: 3, held: 4, closing: 2, hasRoom: true),
            Case(connections: 3, held: 4, closing: 3, hasRoom: false),
            // Root has no limit of its own, and may use the reserve of the process.
            Case(connections: 50, held: 50, user: 0, hasRoom: true),
            Case(connections: 50, held: 50, isUnlimited: true, hasRoom: true),
            Case(process: 95, hasRoom: true), Case(process: 96, hasRoom: false),
            Case(process: 151, user: 0, hasRoom: true), Case(process: 152, user: 0, hasRoom: false),
            Case(process: 151, isUnlimited: true, hasRoom: true), Case(process: 152, isUnlimited: true, hasRoom: false),
        ]) func room(_ one: Case)
    {
        let quota = quota(connections: one.connections, of: one.user)
        let usage = Quota.Usage(process: one.process, held: one.held, closing: one.closing)
        #expect(quota.hasRoom(for: one.user, isUnlimited: one.isUnlimited, usage) == one.hasRoom)
    }

    @Test("Four connections are always possible, but not from the reserve for root")
    func connections() {
        let full = Quota.Usage(process: 20, held: 10, closing: 0)
        #expect(quota(connections: 3).hasRoomForConnection(of: 7, full))
        #expect(!quota(connections: 4).hasRoomForConnection(of: 7, full))
        let exhausted = Quota.Usage(process: 96, held: 0, closing: 0)
        #expect(!quota(connections: 0).hasRoomForConnection(of: 7, exhausted))
        #expect(quota(connections: 0).hasRoomForConnection(of: 0, exhausted))
    }

    @Test("Root's own socket has descriptors that neither users nor refused connections can use up") func reserve() {
        for process in [8, 64, 128, 696, 65536] {
            let quota = Quota(mostOfProcess: process, mostOfUser: 10)
            #expect(quota.mostOfProcess < quota.mostWithRefused && quota.mostWithRefused < quota.mostWithRoot)
            #expect(quota.mostWithRoot <= process + 32)
        }
    }

    @Test("Many pending closes, or some in a full process, make their user wait")
    func waiting() {
        let quota = quota(connections: 0)
        for (pending, process, waits) in [
            (0, 100, false), (15, 95, false), (15, 96, false), (16, 95, false), (16, 96, true), (255, 20, false),
            (256, 20, true), (9000, 99, true),
        ] { #expect(quota.mustWait(pending: pending, process: process) == waits, "\(pending) in \(process)") }
    }

    @Test("A user's connections do not count against another user, and a closed one no longer counts") func separate() {
        var quota = quota(connections: 10)
        let usage = Quota.Usage(process: 20, held: 0, closing: 0)
        #expect(quota.hasRoom(for: 8, isUnlimited: false, usage))
        #expect(!quota.hasRoom(for: 7, isUnlimited: false, usage))
        quota.remove(from: 7)
        #expect(quota.hasRoom(for: 7, isUnlimited: false, usage))
    }
}
