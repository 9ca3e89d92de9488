// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateDaemon

/// The order in which descriptors are closed.
@Suite struct ClosingQueueTests {
    private typealias Job = ClosingQueue.Job

    private func files(_ numbers: ClosedRange<CInt>) -> [FileDescriptor] {
        numbers.map { FileDescriptor(rawValue: $0) }
    }

    @Test("A user's descriptors are closed in order, one at a time") func order() {
        var queue = ClosingQueue()
        let (first, second) = (queue.add(files(10...12), of: 1), queue.add(files(13...13), of: 1))
        #expect(first)
        #expect(!second, "the user has a turn already")
        for number: CInt in 10...13 {
            let job = queue.next()
            #expect(job == Job(user: 1, descriptor: FileDescriptor(rawValue: number)))
            #expect(!queue.hasNext, "one is being closed")
            if let job { queue.finish(job) }
        }
        #expect(!queue.hasNext)
        #expect(queue.pending == 0)
    }

    @Test("Users take turns, even if one has many descriptors") func turns() {
        var queue = ClosingQueue()
        _ = queue.add(files(100...199), of: 1)
        _ = queue.add(files(20...21), of: 2)
        _ = queue.add(files(30...30), of: 3)
        var served: [UInt32] = []
        for _ in 0..<7 {
            guard let job = queue.next() else { break }
            served.append(job.user)
            queue.finish(job)
        }
        #expect(served == [1, 2, 3, 1, 2, 1, 1])
    }

    @Test("Descriptors count against the limit only while no close of the user ends") func stalled() {
        let patience = ClosingQueue.patience
        var queue = ClosingQueue()
        _ = queue.add(files(10...12), of: 1, at: 1000)
        #expect(queue.stalled(of: 1, at: 1000 + patience) == 0)
        #expect(queue.stalled(of: 1, at: 1001 + patience) == 3)
        #expect(queue.stalled(of: 2, at: .max) == 0)
        if let job = queue.next() { queue.finish(job, at: 5000 + patience) }
        #expect(queue.stalled(of: 1, at: 5000 + 2 * patience) == 0, "one was closed meanwhile")
        #expect(queue.stalled(of: 1, at: 5001 + 2 * patience) == 2)
        _ = queue.add(files(13...13), of: 1, at: 6000 + 2 * patience)
        #expect(queue.stalled(of: 1, at: 6000 + 2 * patience) == 3, "more descriptors are no progress")
    }

    @Test("A user with a stuck close is passed over, and the user's descriptors stay pending") func stuck() {
        var queue = ClosingQueue()
        _ = queue.add(files(10...14), of: 1)
        _ = queue.add(files(20...24), of: 2)
        let stuck = queue.next()
        for _ in 0..<5 { if let job = queue.next() { queue.finish(job) } }
        #expect(!queue.hasNext)
        #expect(queue.pending(of: 1) == 5)
        #expect(queue.pending(of: 2) == 0)
        #expect(queue.pending == 5)
        let isRunnable = queue.add(files(15...15), of: 1)
        #expect(!isRunnable)
        #expect(queue.pending(of: 1) == 6)
        if let stuck { queue.finish(stuck) }
        #expect(queue.hasNext)
        #expect(queue.pending(of: 1) == 5)
    }
}

/// The threads that close.
@Suite struct CloserTests {
    /// Waits until a condition is true, at most ten seconds.
    private func eventually(_ holds: () -> Bool) -> Bool {
        for _ in 0..<10_000 where !holds() { usleep(1000) }
        return holds()
    }

    private func isOpen(_ descriptor: FileDescriptor) -> Bool { fcntl(descriptor.rawValue, F_GETFD) != -1 }

    /// A close that ends only when the test releases it.
    private final class StuckClose: Sendable {
        private let lock = Lock()
        // SAFETY: only used under the lock.
        nonisolated(unsafe) private var isReleased = false
        func wait() { lock.withLock { lock.wait { unsafe isReleased } } }
        func release() {
            lock.withLock {
                unsafe isReleased = true
                lock.wakeAll()
            }
        }
    }

    @Test("One user's stuck close delays neither the other users nor root")
    func stuckUser()
        throws
    {
        let stuck = StuckClose()
        let first = try openNull()
        let closer = try Closer(threads: 4) { descriptor in
            if descriptor == first { stuck.wait() }
            Closer.closeGracefully(descriptor)
        }
        closer.close(first, of: 1000)
        for user: UInt32 in [1000, 1001, 1002, 1003, 0] {
            let files = try (0..<20).map { _ in try openNull() }
            closer.close(files, of: user)
        }
        #expect(eventually { closer.pending == 21 })
        #expect(closer.pending(of: 1000) == 21)
        for user: UInt32 in [1001, 1002, 1003, 0] { #expect(closer.pending(of: user) == 0) }
        #expect(isOpen(first))
        stuck.release()
        #expect(eventually { closer.pending == 0 })
    }

    @Test("Stuck users on all threads do not delay root") func root() throws {
        let stuck = StuckClose()
        let closer = try Closer(threads: 4) { descriptor in
            if descriptor.rawValue < 0 { return stuck.wait() }
            Closer.closeGracefully(descriptor)
        }
        for user: UInt32 in 1...10 { closer.close(FileDescriptor(rawValue: -2), of: user) }
        for _ in 0..<100 { closer.close(try makeMemoryFile(named: "root's", size: 1), of: 0) }
        #expect(eventually { closer.pending(of: 0) == 0 })
        #expect(closer.pending == 10)
        stuck.release()
        #expect(eventually { closer.pending == 0 })
    }

    /// Opens a descriptor with a close that might sleep, as far as the closer knows.
    private func openNull() throws -> FileDescriptor {
        FileDescriptor(rawValue: try systemCall("open") { unsafe open("/dev/null", O_RDONLY | O_CLOEXEC) })
    }

    @Test("Stuck users on all threads do not delay closes that cannot sleep") func prompt() throws {
        let stuck = StuckClose()
        let closer = try Closer(threads: 4) { descriptor in
            if descriptor.rawValue < 0 { return stuck.wait() }
            Closer.closeGracefully(descriptor)
        }
        defer { stuck.release() }
        for user: UInt32 in 1...10 { closer.close(FileDescriptor(rawValue: -2), of: user) }
        let (empty, emptyPeer) = try MessageSocket.pair()
        let (full, fullPeer) = try MessageSocket.pair()
        let emptyClient = OwnedDescriptor(taking: emptyPeer)
        let fullClient = OwnedDescriptor(taking: fullPeer)
        // A message without bytes can carry descriptors, too.
        let null = OwnedDescriptor(taking: try openNull())
        try fullClient.borrowed.send([], [null.borrowed])
        let kept = try openNull()
        closer.close([kept, try makeMemoryFile(named: "prompt", size: 1).release()], of: 20)
        closer.close(ownSocket: empty, of: 20)
        closer.close(ownSocket: full, of: 20)
        #expect(eventually { closer.pending(of: 20) == 2 })
        #expect(isOpen(kept))
        #expect(isOpen(full))
        #expect(emptyClient.borrowed.hasHungUp)
        stuck.release()
        #expect(eventually { closer.pending == 0 })
    }

    @Test("A held descriptor is closed at once only if it is a small memory file") func held() throws {
        let stuck = StuckClose()
        let closer = try Closer(threads: 3) { descriptor in
            stuck.wait()
            Closer.closeGracefully(descriptor)
        }
        defer { stuck.release() }
        let small = try makeMemoryFile(named: "small", size: 1 << 20)
        try small.borrowed.allocate(offset: 0, length: 1 << 20)
        let large = try makeMemoryFile(named: "large", size: 2 << 20)
        try large.borrowed.allocate(offset: 0, length: 2 << 20)
        let numbers = (small.borrowed, large.borrowed, try openNull())
        let identity = try FileStatus(of: small.borrowed).identity
        closer.close(held: small.release(), of: 30)
        closer.close(held: large.release(), of: 30)
        closer.close(held: numbers.2, of: 30)
        // Another test may have a file with this number by now.
        #expect((try? FileStatus(of: numbers.0).identity) != identity)
        #expect(isOpen(numbers.1) && isOpen(numbers.2))
        #expect(closer.pending(of: 30) == 2)
    }

    @Test("A released closer closes its pending descriptors") func released() throws {
        let file = try makeMemoryFile(named: "last", size: 1).release()
        let stuck = StuckClose()
        let ended = StuckClose()
        do {
            let closer = try Closer(threads: 2) { descriptor in
                stuck.wait()
                Closer.closeGracefully(descriptor)
                if descriptor == file { ended.release() }
            }
            for _ in 0..<10 { closer.close(try makeMemoryFile(named: "before", size: 1), of: 7) }
            closer.close(file, of: 7)
        }
        stuck.release()
        ended.wait()
    }

    @Test("The closer's threads block all signals") func signals() throws {
        let mask = Guarded<[Bool]>([])
        let closer = try Closer(threads: 2) { _ in
            var now = sigset_t()
            unsafe pthread_sigmask(SIG_BLOCK, nil, &now)
            var blocked: [Bool] = []
            for number in [SIGTERM, SIGINT, SIGUSR1, SIGCHLD] { blocked.append(unsafe sigismember(&now, number) == 1) }
            mask.with { $0 = blocked }
        }
        closer.close(FileDescriptor(rawValue: -2), of: 1)
        #expect(eventually { closer.pending == 0 })
        let found = mask.with { $0 }
        #expect(found == [true, true, true, true])
    }

    /// A connection over the loopback device, with unread bytes at its other end.
    private final class UnreadConnection {
        /// This object does not own the descriptor: the closer closes it.
        let mine: FileDescriptor
        private let other: FileDescriptor

        init(lingering time: CInt) throws {
            mine = try Self.socket()
            other = try Self.connect(mine)
            try? mine.setNonBlocking()
            let bytes = [UInt8](repeating: 1, count: 65536)
            while unsafe write(mine.rawValue, bytes, bytes.count) > 0 {}
            // The close of a non-blocking socket does not wait.
            _ = fcntl(mine.rawValue, F_SETFL, O_RDWR)
            var on = linger(l_onoff: 1, l_linger: time)
            let length = socklen_t(MemoryLayout<linger>.size)
            _ = unsafe setsockopt(mine.rawValue, SOL_SOCKET, SO_LINGER, &on, length)
        }

        deinit { try? closeDescriptor(other) }

        private static func connect(_ mine: FileDescriptor) throws -> FileDescriptor {
            let listener = OwnedDescriptor(taking: try Self.socket())
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let (server, client) = (listener.borrowed.rawValue, mine.rawValue)
            let isConnected = unsafe withUnsafeMutablePointer(to: &address) { pointer in
                // SAFETY: a sockaddr_in is a sockaddr of its family.
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                    unsafe bind(server, address, size) == 0 && listen(server, 1) == 0
                        && getsockname(server, address, &size) == 0 && Glibc.connect(client, address, size) == 0
                }
            }
            try #require(isConnected)
            let accepted = try systemCall("accept") { accept(server, nil, nil) }
            return FileDescriptor(rawValue: accepted)
        }

        private static func socket() throws -> FileDescriptor {
            let number = try systemCall("socket") { Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0) }
            return FileDescriptor(rawValue: number)
        }

        /// Reads up to the end of the connection.
        ///
        /// - Throws: ECONNRESET when it ends with a reset.
        func readToEnd() throws -> Int {
            var buffer = [UInt8](repeating: 0, count: 1 << 20)
            var total = 0
            while true {
                let count = try systemCall("read") {
                    unsafe read(other.rawValue, &buffer, buffer.count)
                }
                if count == 0 { return total }
                total += count
            }
        }
    }

    @Test("The close of a socket with SO_LINGER does not wait for its peer, which gets all bytes") func lingering()
        throws
    {
        let connection = try UnreadConnection(lingering: 30)
        let closer = try Closer(threads: 2)
        let start = monotonicNanoseconds()
        closer.close(connection.mine, of: 1)
        #expect(eventually { closer.pending == 0 })
        #expect(monotonicNanoseconds() - start < 10_000_000_000, "SO_LINGER would wait for 30 seconds")
        let received = try connection.readToEnd()
        #expect(received > 65536)
    }

    @Test("A reset that the client requested with SO_LINGER stays a reset") func reset() throws {
        let connection = try UnreadConnection(lingering: 0)
        let closer = try Closer(threads: 2)
        closer.close(connection.mine, of: 1)
        #expect(eventually { closer.pending == 0 })
        let error = #expect(throws: SystemCallError.self) { _ = try connection.readToEnd() }
        #expect(error?.errno == .connectionReset)
    }

    @Test(
        "One of 5 users has files of a stuck file system: the descriptors of the others are closed",
        .enabled(if: StuckFileSystem.isMissing == nil))
    func unansweredFlush() throws {
        let system = try StuckFileSystem()
        let closer = try Closer(threads: 4)
        defer { system.end() }
        for _ in 0..<20 { closer.close(try system.open(), of: 1000) }
        #expect(system.wait(for: .flush))
        for user: UInt32 in [1001, 1002, 1003, 0] {
            for _ in 0..<20 { closer.close(try makeMemoryFile(named: "closed", size: 1), of: user) }
        }
        #expect(eventually { closer.pending == 20 })
        #expect(closer.pending(of: 1000) == 20)
        // Another test may start a program at this moment, which then has a copy of the descriptor, too.
        #expect(system.count(.flush) <= 2, "one thread of the user's waits, and not one for each descriptor")
        #expect(system.count(.getattr) == 0)
        system.end()
        #expect(eventually { closer.pending == 0 })
    }
}
