import Glibc
import LiveUpdate
import Platform
import SystemPackage

/// Where a state lives: `arena`, the socket `liveupdate` for clients, and `control`, for whoever takes the place of a keeper
/// that died. A lock on the arena decides who runs it.
public struct StateDirectory: Sendable {
    /// Its path.
    public let path: String

    /// Names it.
    public init(_ path: String) { self.path = path }

    /// The clients' socket.
    public var clientSocket: String { path + "/liveupdate" }
    var controlSocket: String { path + "/control" }
    var arena: String { path + "/arena" }

    /// Makes this process the keeper of the state.
    ///
    /// - Throws: ``StateHeld`` when another one is.
    func take() throws -> TakenState {
        if unsafe mkdir(path, 0o711) == -1, errno != EEXIST {
            throw SystemCallError("mkdir", Errno(rawValue: errno))
        }
        _ = unsafe chmod(path, 0o711)
        if let found = try adopt() { return found }
        var table = KeptTable()
        table.add(try lockedArena(), .arena)
        // Whoever bound them is dead: the arena's lock is ours.
        for socket in [controlSocket, clientSocket] { _ = unsafe unlink(socket) }
        table.add(try MessageSocket.listen(at: controlSocket, mode: [.ownerReadWrite]).nonBlocking(), .control)
        table.add(
            try MessageSocket.listen(
                at: clientSocket, mode: [.ownerReadWrite, .groupReadWrite, .otherReadWrite]
            ).nonBlocking(), .listener)
        return TakenState(table: table, running: nil)
    }

    private func lockedArena() throws -> OwnedDescriptor {
        let number = try systemCall("open") {
            unsafe Glibc.open(arena, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        }
        let file = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        do {
            try file.borrowed.lockForWriting()
        } catch {
            throw StateHeld(why: "\(arena) is in use by another process")
        }
        return file
    }

    /// Takes the place of a keeper that died, if its orchestrator still runs.
    private func adopt() throws -> TakenState? {
        guard let connected = try? MessageSocket.connect(to: controlSocket) else { return nil }
        let link = ControlLink(connected)
        try link.send(.adopt)
        var table = KeptTable()
        while link.descriptor.isReadable(within: 10_000), let received = try link.receive(.now) {
            switch received.message {
            case .hold(let keeps):
                for (keep, descriptor) in zip(keeps, received.descriptors) { table.keep(keep, descriptor) }
            case .adopted(let process, let next):
                guard let handle = received.descriptors.first else { break }
                table.startNumbering(at: next)
                let running = RunningProcess(process, handle: OwnedDescriptor(taking: handle))
                return TakenState(table: table, running: Orchestrating(found: link, running))
            case .failed(let why, _): throw StateHeld(why: why)
            default: break
            }
        }
        throw StateHeld(why: "whoever runs on \(path) does not answer")
    }
}

/// A state that is this process's now.
struct TakenState: ~Copyable {
    var table: KeptTable
    /// The orchestrator that was found there.
    var running: Orchestrating?
}

/// Another process runs on the state.
public struct StateHeld: Error, Sendable, CustomStringConvertible {
    let why: String
    public var description: String { why }
}

extension OwnedDescriptor {
    fileprivate consuming func nonBlocking() throws(SystemCallError) -> OwnedDescriptor {
        try borrowed.setNonBlocking()
        return self
    }
}
