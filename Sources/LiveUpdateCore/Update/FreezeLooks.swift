// SPDX-License-Identifier: Apache-2.0

/// The answers of the handlers about the files ahead of a freeze. Each file is looked at once for one update, some
/// files at a time, so that requests go on meanwhile.
struct FreezeLooks: Sendable {
    /// A look at a file.
    struct Look: Sendable {
        /// Whether freezing the file would change nothing; nil when its handler cannot tell.
        let isUnchanged: (@Sendable () -> Bool)?
        /// The reason why the file cannot be frozen; nil when it can.
        let obstacle: FreezeObstacle?
    }

    /// The files to look at, the first one last.
    private var waiting: [FileID]
    /// Each look, with the file's handle and slot at that time. A look counts only as long as both are the same.
    private var looks: [FileID: (data: UInt64, slot: DescriptorSlot, look: Look)] = [:]

    init(at files: [FileID]) { waiting = files.reversed() }

    /// Takes the next file to look at; nil when there is none.
    mutating func next() -> FileID? { waiting.popLast() }

    /// Whether no file is left to look at.
    var isDone: Bool { waiting.isEmpty }

    mutating func note(_ look: Look, at file: FileState) { looks[file.id] = (file.data, file.slot, look) }

    /// The look at a file; nil when there was none, or when the file has changed since.
    subscript(file: FileState) -> Look? {
        guard let noted = looks[file.id], noted.data == file.data, noted.slot == file.slot else { return nil }
        return noted.look
    }
}
