// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import Testing

@testable import ListenerHandlers

/// Listening sockets over an update, with two boots in one process.
@Suite struct ListenerHandlerTests {
    private let machine: Machine

    init() throws { machine = try Machine() }

    /// Preserves a listener as token 1 of "s" in a first boot.
    private func preserved(_ listener: Socket) throws -> (luo: Orchestrator, session: Session) {
        let luo = try machine.boot()
        let session = try luo.createSession("s")
        try session.preserve(listener.descriptor, token: 1)
        return (luo, session)
    }

    @Test("A client that connects during the update is served by the next boot", arguments: Kind.allCases)
    func update(_ kind: Kind) throws {
        let address: SocketAddress
        do {
            let listener = try machine.listener(kind)
            address = try listener.address
            try preserved(listener).luo.publish()
        }
        let waiting = try client(of: address, saying: "hello")
        let session = try machine.boot().retrieveSession("s")
        let came = Socket(try session.retrieve(token: 1))
        #expect(try came.address == address)
        #expect(try came.nextClient() == "hello")
        #expect(try came.descriptor.listenerOptions() == [.nonBlocking, .reuseAddress])
        try session.finish()
        withExtendedLifetime(waiting) {}
    }

    @Test("Both kinds count on the same FLB") func network() throws {
        let listeners = try Kind.allCases.map { try machine.listener($0) }
        let first = try machine.boot()
        let session = try first.createSession("s")
        for (token, listener) in listeners.enumerated() {
            try session.preserve(listener.descriptor, token: UInt64(token))
        }
        let own = try NetworkState()
        try first.withOutgoing(Network()) { #expect($0 == nil, "another object of that name is another FLB") }
        try first.publish()

        let next = try machine.boot()
        var expected = own
        expected.listeners = 2
        try next.withIncoming(Network()) { #expect($0 == expected) }
        try next.retrieveSession("s").finish()
        let error = #expect(throws: LiveUpdateError.self) { try next.withIncoming(Network()) { _ in } }
        #expect(error?.errno == .noData, "it is finished with the last of them")
    }

    @Test("A freeze lengthens the queue for clients; unfreeze and retrieve shorten it", arguments: Kind.allCases)
    func backlog(_ kind: Kind) throws {
        let listener = try machine.listener(kind)
        let (luo, _) = try preserved(listener)
        #expect(try listener.backlog() == Machine.backlog)
        try luo.publish()
        #expect(try listener.backlog() == Socket.most)
        try luo.thaw()
        #expect(try listener.backlog() == Machine.backlog)
        try luo.publish()
        let session = try machine.boot().retrieveSession("s")
        let came = Socket(try session.retrieve(token: 1))
        #expect(try came.backlog() == Machine.backlog)
        try session.finish()
    }

    @Test("Options that were set after preserve travel", arguments: Kind.allCases) func options(_ kind: Kind) throws {
        let listener = try machine.listener(kind)
        let (luo, _) = try preserved(listener)
        let before = try luo.status().arenaUsed
        _ = fcntl(listener.descriptor.rawValue, F_SETFL, 0)
        try luo.publish()
        try luo.thaw()
        #expect(try luo.status().arenaUsed == before, "the record that was stored anew has replaced the old one")
        try luo.publish()
        let address = try listener.address
        try listener.lose()
        machine.loseDescriptors()
        try waitUntilNothingListens(at: address)
        // The socket itself is gone, too, and only the record describes it.
        let session = try machine.boot().retrieveSession("s")
        let came = Socket(try session.retrieve(token: 1))
        #expect(try came.address == address)
        #expect(try came.descriptor.listenerOptions() == [.reuseAddress])
        try session.finish()
    }

    @Test("A session is not finished while clients wait at a socket that was not retrieved", arguments: Kind.allCases)
    func canFinish(_ kind: Kind) throws {
        let listener = try machine.listener(kind)
        let address = try listener.address
        try preserved(listener).luo.publish()
        let waiting = try client(of: address)
        let session = try machine.boot().retrieveSession("s")
        let error = #expect(throws: LiveUpdateError.self) { try session.finish() }
        #expect(error?.errno == .resourceBusy)
        _ = Socket(try session.retrieve(token: 1))
        try session.finish()
        withExtendedLifetime(waiting) {}
    }

    // MARK: The name of a Unix socket

    @Test func aSocketWhoseNameWasRemovedIsOpenedAnew() throws {
        let listener = try machine.listener(.unix)
        let address = try listener.address
        unsafe chmod(machine.path.string, 0o640)
        try preserved(listener).luo.publish()
        unsafe unlink(machine.path.string)
        let next = try machine.boot()
        let session = try next.retrieveSession("s")
        let came = Socket(try session.retrieve(token: 1))
        #expect(try came.address == address)
        let waiting = try client(of: address, saying: "found")
        #expect(try came.nextClient() == "found")
        guard case .socket(0o640) = try SocketName(machine.path) else {
            Issue.record("its permissions are not those that were preserved")
            return
        }
        try session.finish()
        withExtendedLifetime(waiting) {}
    }

    @Test func anotherFileOfItsNameIsNamed() throws {
        let listener = try machine.listener(.unix)
        try preserved(listener).luo.publish()
        unsafe unlink(machine.path.string)
        try FileDescriptor.open(machine.path, .writeOnly, options: .create, permissions: .ownerReadWrite).close()
        let session = try machine.boot().retrieveSession("s")
        let error = #expect(throws: LiveUpdateError.self) { _ = try session.retrieve(token: 1) }
        #expect(error?.errno == .staleNFSFileHandle)
        #expect(error?.reason.contains(machine.path.string) == true)
        try session.finish()
    }

    // MARK: Refusals

    @Test func refusals() throws {
        let session = try machine.boot().createSession("s")
        func expectRefused(_ descriptor: FileDescriptor, _ reason: String) {
            let error = #expect(throws: LiveUpdateError.self) { try session.preserve(descriptor, token: 1) }
            #expect(error?.errno == .noSuchFileOrDirectory)
            #expect(error?.reason.contains(reason) == true, "\(error?.reason ?? "")")
        }
        let file = try makeMemoryFile(named: "file", size: 0)
        expectRefused(file.borrowed, "\(Errno.notSocket)")
        let tcp = try machine.listener(.tcp)
        let client = try client(of: tcp.address)
        expectRefused(client.descriptor, "does not listen")
        var on: CInt = 1
        unsafe setsockopt(tcp.descriptor.rawValue, SOL_SOCKET, SO_REUSEPORT, &on, 4)
        expectRefused(tcp.descriptor, "SO_REUSEPORT")
        let name = "relative-\(Int.random(in: 0 ... .max))"
        let relative = Socket(try listen(at: #require(SocketAddress.unix(FilePath(name))), backlog: 1))
        unsafe unlink(name)
        expectRefused(relative.descriptor, "relative")
        #expect(SocketAddress.unix(FilePath(String(repeating: "x", count: 108))) == nil)
    }

    @Test("One address is one file, whatever its descriptor", arguments: Kind.allCases)
    func identity(_ kind: Kind) throws {
        let listener = try machine.listener(kind)
        let (_, session) = try preserved(listener)
        let copy = Socket(OwnedDescriptor(taking: try listener.descriptor.duplicate()))
        let error = #expect(throws: LiveUpdateError.self) { try session.preserve(copy.descriptor, token: 2) }
        #expect(error?.errno == .resourceBusy)
        try session.close()
    }
}
