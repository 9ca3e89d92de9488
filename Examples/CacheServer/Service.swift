// SPDX-License-Identifier: Apache-2.0
import CacheStore
import Glibc
import ListenerHandlers
import LiveUpdate

/// The service. It has one thread and handles one request at a time. An update runs between two requests.
struct Service: ~Copyable {
    private static let dataToken: UInt64 = 1
    private static let listenerToken: UInt64 = 2

    private let settings: Settings
    /// The file that this program was started from.
    private let program: FilePath
    private let process: UpdatableProcess
    private let data: OwnedDescriptor
    private let listener: OwnedDescriptor
    private let cache: Cache

    /// Begins a boot with the files that the previous boot left, and makes the missing ones.
    init(_ settings: Settings) throws {
        let process = try UpdatableProcess(at: settings.arena) { (luo) throws(LiveUpdateError) in
            try luo.registerStandardHandlers()
            try luo.registerListenerHandlers(backlog: 64)
        }
        let program = ProgramImage.ownPath()
        // In a process that was started for a hand-over, this returns when the old process has handed over.
        process.ready()
        let luo = process.orchestrator
        let legacy = try Legacy(luo)
        let data = try legacy.file(Self.dataToken) ?? Self.makeData(settings)
        let listener = try legacy.file(Self.listenerToken) ?? Self.makeListener(settings)
        try legacy.letGo()
        let cache = try Cache(in: data.borrowed)

        // The files are preserved now, and not at an update. Preserving changes nothing for their users. A file that
        // cannot be preserved is found now, and with an arena in a file the next process finds the files after a crash.
        let session = try luo.createSession(Legacy.name)
        try session.preserve(data.borrowed, token: Self.dataToken)
        try session.preserve(listener.borrowed, token: Self.listenerToken)
        log("boot \(try luo.status().updateNumber), \(cache.count) keys")
        (self.settings, self.process, self.cache) = (settings, process, cache)
        self.data = data
        self.listener = listener
        self.program = program
    }

    private static func makeData(_ settings: Settings) throws -> OwnedDescriptor {
        let size: UInt64 = 4 << 20
        let file: OwnedDescriptor
        if let path = settings.data {
            file = OwnedDescriptor(
                taking: try FileDescriptor.open(
                    path, .readWrite, options: [.create, .closeOnExec], permissions: .ownerReadWrite))
            if try FileStatus(of: file.borrowed).size == 0 { try file.borrowed.resize(to: Int64(size)) }
        } else {
            file = try makeMemoryFile(named: "cache", size: size, pageSize: settings.huge ? .huge2M : .base)
        }
        // So that a pool without pages is an error here, and not a SIGBUS at the first store.
        try file.allocate(offset: 0, length: size)
        return file
    }

    private static func makeListener(_ settings: Settings) throws -> OwnedDescriptor {
        guard let address = SocketAddress.unix(settings.socket) else { throw Errno.fileNameTooLong }
        return try listen(at: address, backlog: 64, .nonBlocking)
    }

    /// Serves until a signal ends the service, another process serves, or this process becomes the next image.
    func run() throws {
        var handOver: HandOver?
        while true {
            switch Signals.wait(for: listener.borrowed, or: handOver?.descriptor) {
            case .client: cache.serveClient(of: listener.borrowed) { info }
            case .update: if settings.inPlace { update() } else { handOver = begin() ?? handOver }
            case .other: if completeIfReady(&handOver) { return }
            case .end:
                unsafe unlink(settings.socket.string)
                return
            }
        }
    }

    /// The program that is at this path now. /proc/self/exe would be the program that runs already.
    private var next: ProgramImage { ProgramImage(path: program, arguments: CommandLine.arguments) }

    /// Starts the next process beside this one.
    private func begin() -> HandOver? {
        do {
            return try process.handOver(to: next)
        } catch {
            log("no update: \(error)")
            return nil
        }
    }

    /// Hands over when the next process is ready. Until then this process serves clients. Afterwards they wait in the
    /// queue of the socket.
    ///
    /// - Returns: whether the next process serves, so that this process ends.
    private func completeIfReady(_ handOver: inout HandOver?) -> Bool {
        do {
            guard let handOver, try handOver.advance() else { return false }
            try handOver.complete()
            return true
        } catch {
            log("no update: \(error)")
            handOver = nil
            return false
        }
    }

    /// Updates in place: this process becomes the next image.
    private func update() {
        do {
            try process.reboot(into: next)
        } catch {
            log("no update: \(error)")
        }
    }

    private var info: String {
        let boot = (try? process.orchestrator.status().updateNumber).map { "\($0)" } ?? "?"
        let inode = (try? FileStatus(of: data.borrowed).identity.inode).map { "\($0)" } ?? "?"
        return "boot \(boot), process \(getpid()), \(cache.count) keys, data in inode \(inode)"
    }
}
