// SPDX-License-Identifier: Apache-2.0
import CacheStore
import Glibc
import ListenerHandlers
import LiveUpdateDevice

/// The service. It has one thread and handles one request at a time. Before it ends, it answers the request that it has
/// read.
struct Service: ~Copyable {
    private static let dataToken: UInt64 = 1
    private static let listenerToken: UInt64 = 2

    private let data: OwnedDescriptor
    private let listener: OwnedDescriptor
    private let cache: Cache
    /// The detached session. It stays with luod after the end of this process, also after a crash.
    private let session: DeviceSession

    /// Begins with the files that the previous process left, and makes the missing ones.
    init(_ settings: Settings) throws {
        let device = try LiveUpdateDevice.luod(state: settings.state)
        var legacy = try Legacy(device)
        let data = try legacy.file(Self.dataToken) ?? Self.makeData(settings)
        let listener = try legacy.file(Self.listenerToken) ?? Self.makeListener(settings)

        // The files are preserved now and not at the end, because a preserved file outlives a crash, too.
        let session = try legacy.renewed(on: device)
        if !legacy.isPreserved(Self.dataToken) {
            try session.preserve(data.borrowed, token: Self.dataToken)
        }
        if !legacy.isPreserved(Self.listenerToken) {
            try session.preserveHeld(listener.borrowed, token: Self.listenerToken)
        }
        let cache = try Cache(in: data.borrowed)
        (self.session, self.cache) = (session, cache)
        self.data = data
        self.listener = listener
        log("\(cache.count) keys")
    }

    private static func makeData(_ settings: Settings) throws -> OwnedDescriptor {
        let size: UInt64 = 4 << 20
        let file = try makeMemoryFile(named: "cache", size: size, pageSize: settings.huge ? .huge2M : .base)
        // With this, a pool without free pages is an error here, and not a SIGBUS at the first store.
        do throws(SystemCallError) {
            try file.allocate(offset: 0, length: size)
        } catch {
            throw error.errno == .noSpace && settings.huge ? NoRoom() : error
        }
        return file
    }

    private static func makeListener(_ settings: Settings) throws -> OwnedDescriptor {
        guard let address = SocketAddress.unix(settings.socket) else { throw Errno.fileNameTooLong }
        do throws(SystemCallError) {
            return try listen(at: address, backlog: 64, .nonBlocking)
        } catch {
            // The name is left from a socket that went with its last holder.
            guard error.errno == .addressInUse, nobodyListens(at: address) else { throw error }
            _ = unsafe unlink(settings.socket.string)
            return try listen(at: address, backlog: 64, .nonBlocking)
        }
    }

    private static func nobodyListens(at address: SocketAddress) -> Bool {
        do throws(SystemCallError) {
            _ = try connect(to: address)
            return false
        } catch {
            return error.errno == .connectionRefused
        }
    }

    /// Serves until a signal ends the service. Nothing remains to be preserved then, and clients wait in the socket's
    /// queue.
    func run() throws {
        while Signals.wait(for: listener.borrowed) == .client {
            cache.serveClient(of: listener.borrowed) { info }
        }
    }

    private struct NoRoom: Error, CustomStringConvertible {
        let description =
            "no two free huge pages of 2 MiB: reserve some (luoctl hugepages reserve), or say --base-pages"
    }

    private var info: String {
        let inode = (try? FileStatus(of: data.borrowed).identity.inode).map { "\($0)" } ?? "?"
        return "process \(getpid()), \(cache.count) keys, data in inode \(inode)"
    }
}
