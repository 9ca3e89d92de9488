// SPDX-License-Identifier: Apache-2.0
import LiveUpdate
import Testing

@testable import ListenerHandlers

/// A process dies, and only the content of the arena is left of it.
@Suite struct CrashTests {
    private let machine: Machine

    init() throws { machine = try Machine() }

    @Test("A boot that dies goes on, and its FLB has its object again", arguments: Kind.allCases)
    func theSameBoot(_ kind: Kind) throws {
        let listener = try machine.listener(kind)
        try machine.boot().createSession("s").preserve(listener.descriptor, token: 1)
        // Another orchestrator on the same arena has the knowledge of one that starts after a crash.
        let luo = try machine.boot()
        let session = try #require(try luo.openSessions.first)
        try luo.publish()
        #expect(try listener.backlog() == Socket.most, "the freeze has asked the FLB")
        try luo.thaw()
        try session.close()
    }

    @Test("After the death of every process the socket is opened again at its address", arguments: Kind.allCases)
    func nobodyIsLeft(_ kind: Kind) throws {
        let address = try dead(kind)
        let session = try #require(try machine.boot().openSessions.first)
        let came = Socket(try session.get(token: 1))
        #expect(try came.address == address)
        let waiting = try client(of: address, saying: "still here")
        #expect(try came.nextClient() == "still here")
        try session.close()
        withExtendedLifetime(waiting) {}
    }

    @Test("All processes die in an update", arguments: Kind.allCases) func nobodyIsLeftInAnUpdate(_ kind: Kind) throws {
        let address = try dead(kind, publishing: true)
        let next = try machine.boot()
        let session = try next.retrieveSession("s")
        let came = Socket(try session.retrieve(token: 1))
        #expect(try came.address == address)
        #expect(try came.backlog() == Machine.backlog)
        try session.finish()
    }

    @Test("A socket opened again travels as the same file: the address counts", arguments: Kind.allCases)
    func openedAnewAndUpdated(_ kind: Kind) throws {
        let address = try dead(kind)
        try machine.boot().publish()
        let waiting = try client(of: address, saying: "hello")
        let session = try machine.boot().retrieveSession("s")
        let came = Socket(try session.retrieve(token: 1))
        #expect(try came.nextClient() == "hello")
        try session.finish()
        withExtendedLifetime(waiting) {}
    }

    @Test("An address that another process uses by now is not taken away", arguments: Kind.allCases)
    func takenAddress(_ kind: Kind) throws {
        let address = try dead(kind, publishing: true)
        try SocketName.removeIfDead(address)
        let other = Socket(try listen(at: address, backlog: 1))
        let session = try machine.boot().retrieveSession("s")
        let error = #expect(throws: LiveUpdateError.self) { _ = try session.retrieve(token: 1) }
        #expect(error?.errno == .addressInUse)
        #expect(error?.reason.contains("\(address)") == true)
        try session.finish()
        withExtendedLifetime(other) {}
    }

    /// Simulates a process that preserves a listener, and dies.
    private func dead(_ kind: Kind, publishing: Bool = false) throws -> SocketAddress {
        let address = try dying(kind, publishing: publishing)
        try waitUntilNothingListens(at: address)
        return address
    }

    private func dying(_ kind: Kind, publishing: Bool) throws -> SocketAddress {
        let listener = try machine.listener(kind)
        let luo = try machine.boot()
        try luo.createSession("s").preserve(listener.descriptor, token: 1)
        if publishing { try luo.publish() }
        machine.loseDescriptors()
        return try listener.address
    }

    @Test("After a death at any store the socket is held, or it is free", arguments: Kind.allCases)
    func everyStore(_ kind: Kind) throws {
        var stop = 0
        while try !dies(kind, after: stop) { stop += 1 }
        #expect(stop > 10)
    }

    /// - Returns: whether the process reached its end.
    private func dies(_ kind: Kind, after stop: Int) throws -> Bool {
        let machine = try Machine()
        let process = SimulatedProcess(stores: stop)
        let listener = try machine.listener(kind)
        try? preserveAndPublish(listener, machine.boot(process))

        let luo = try machine.boot()
        let came = try luo.status().sessions.contains { $0.direction == .incoming }
        if came {
            let session = try luo.retrieveSession("s")
            #expect(try Socket(session.retrieve(token: 1)).address == listener.address)
            try session.finish()
        } else {
            for session in try luo.openSessions { try session.close() }
        }
        #expect(try listener.backlog() == Machine.backlog, "store \(stop): what was frozen is unfrozen")
        let again = try luo.createSession("again")
        try again.preserve(listener.descriptor, token: 1)
        try again.close()
        #expect(came || process.isDead, "store \(stop)")
        return !process.isDead
    }

    private func preserveAndPublish(_ listener: Socket, _ luo: Orchestrator) throws {
        try luo.createSession("s").preserve(listener.descriptor, token: 1)
        try luo.publish()
    }
}
