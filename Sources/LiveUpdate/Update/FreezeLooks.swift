/// What the handlers say of the files ahead of a freeze. Each file is looked at once for one update, some files at a
/// time, so that requests go on meanwhile.
struct FreezeLooks: Sendable {
    /// A look at a file.
    struct Look: Sendable {
        /// Whether freezing the file would change nothing; nil when its handler cannot tell.
        let isUnchanged: (@Sendable () -> Bool)?
        /// Why the file cannot be frozen; nil when it can.
        let obstacle: FreezeObstacle?
    }

    /// The files to look at, the first one last.
    private var waiting: [FileID]
    /// With the handle that the handler returned for the file: a file that was stored again is looked at again.
    private var looks: [FileID: (data: UInt64, look: Look)] = [:]

    init(at files: [FileID]) { waiting = files.reversed() }

    /// Takes the next file to look at; nil when there is none.
    mutating func next() -> FileID? { waiting.popLast() }

    mutating func note(_ look: Look, at file: FileState) { looks[file.id] = (file.data, look) }

    /// The look at a file; nil when there was none, or when the file has changed since.
    func look(at file: FileState) -> Look? { looks[file.id].flatMap { $0.data == file.data ? $0.look : nil } }
}
