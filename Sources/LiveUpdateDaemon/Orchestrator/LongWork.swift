// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateProtocol

/// The requests and the ends of sessions that a ``WorkerPool`` works on. It does no I/O.
struct LongWork {
    /// The purpose of a piece of work.
    enum Purpose {
        /// A request on a session, and its place in the ``ReplyLedger``. The request may preserve a memory file.
        case request(Request, place: Int?, preservesMemory: Bool)
        /// The preparation of a request, which is served again afterwards. The function gets the error of the work.
        case preparation(whenDone: (LiveUpdateError?) -> Void)
        /// The end of a session and of its connection.
        case end(Session)
    }

    /// A piece of work that a thread does or has finished.
    struct Piece {
        let purpose: Purpose
        let connection: Connection
        /// Whether an update has asked the thread to give up the work.
        fileprivate(set) var isInterrupted = false
    }

    private var running: [WorkerPool.WorkID: Piece] = [:]
    /// The users of the sessions that threads end now.
    private var ending: Set<SessionUser> = []

    /// Whether no work is under way.
    var isIdle: Bool { running.isEmpty }

    /// The number of postponed ends of a user's connections.
    private var waitingEnds: [SessionUser: Int] = [:]

    /// Whether a thread ends a session of a user. The user's other ends wait.
    func isEnding(of user: SessionUser) -> Bool { ending.contains(user) }

    /// Whether the requests of a user wait. They do while a session that its client has closed still has its name and
    /// its files.
    func makesWait(_ user: SessionUser) -> Bool { ending.contains(user) || waitingEnds[user] != nil }

    /// Notes a postponed end.
    mutating func addWaitingEnd(of user: SessionUser) { waitingEnds[user, default: 0] += 1 }

    /// Notes that a postponed end has been done.
    mutating func removeWaitingEnd(of user: SessionUser) {
        let left = waitingEnds[user, default: 1] - 1
        waitingEnds[user] = left == 0 ? nil : left
    }

    /// The work that a connection waits for; nil when it waits for no work.
    func work(of connection: Connection) -> WorkerPool.WorkID? {
        running.first { $0.value.connection === connection }?.key
    }

    mutating func begin(_ work: WorkerPool.WorkID, _ purpose: Purpose, _ connection: Connection) {
        running[work] = Piece(purpose: purpose, connection: connection)
        if case .end = purpose { ending.insert(connection.user) }
    }

    mutating func finish(_ work: WorkerPool.WorkID) -> Piece? {
        guard let done = running.removeValue(forKey: work) else { return nil }
        if case .end = done.purpose { ending.remove(done.connection.user) }
        return done
    }

    /// Marks the running requests as interrupted for an update. A second call returns only new ones.
    mutating func interrupt() -> [WorkerPool.WorkID] {
        var requests: [WorkerPool.WorkID] = []
        for (work, piece) in running where !piece.isInterrupted {
            guard case .request = piece.purpose else { continue }
            running[work]?.isInterrupted = true
            requests.append(work)
        }
        return requests
    }

    // MARK: Estimates

    /// A session with more files than this takes long to finish or close, because each file takes about 20
    /// microseconds.
    static let manyFiles = 256

    /// Whether preserving a file may take more than about 2 ms. `size` is the size of the file, and `allocated` counts
    /// its allocated bytes.
    ///
    /// Holes of huge pages cost 0.7 microseconds each, extents of a memory file 3 microseconds, and its pages 16 ns.
    /// The number of extents is not known: there are at most as many as pages, and as pages of holes.
    static func isLong(size: UInt64, allocated: UInt64) -> Bool {
        let used = allocated / 4096
        let holes = size > allocated ? (size - allocated) / 4096 : 0
        return size > 4 << 30 || used > 65536 || min(used, holes) > 512
    }
}
