// SPDX-License-Identifier: Apache-2.0

/// The sessions and files that end with luod, and those that survive, for the log and for the answer to STOP. It does
/// no I/O.
///
/// 1. With a service manager's descriptor store, everything survives that it stores.
/// 2. Without a store, a memory file ends with the last process that holds it. The next luod finds a file with a name
///    on hugetlbfs by its path in the arena. The session of such a file stays if it is detached, or if it was not
///    opened since an update.
/// 3. Nothing survives when the state is removed with luod.
package struct EndReport: Equatable, Sendable {
    /// A session at the end of luod.
    package struct Session: Equatable, Sendable {
        /// The session's name, as text for people.
        package var name: String
        package var user: UInt32
        /// Whether the session stays without a process that holds it open: it is detached, or was not opened since an
        /// update.
        package var staysWithoutHolder: Bool
        package var files: [File]

        package init(name: String, user: UInt32, staysWithoutHolder: Bool, files: [File]) {
            self.name = name
            self.user = user
            self.staysWithoutHolder = staysWithoutHolder
            self.files = files
        }
    }

    /// A file of a session.
    package struct File: Equatable, Sendable {
        package var bytes: UInt64
        /// Whether the next luod finds the file by its path.
        package var hasName: Bool
        /// Whether a descriptor store accepts the file. It accepts no file if a close may wait for the file system.
        package var isStorable: Bool

        package init(bytes: UInt64, hasName: Bool, isStorable: Bool = true) {
            self.bytes = bytes
            self.hasName = hasName
            self.isStorable = isStorable
        }
    }

    /// The place of the state after all processes of luod have ended.
    package enum Remains: Equatable, Sendable {
        /// The arena, at this path.
        case arena(String)
        /// The descriptor store of a service manager, which holds all descriptors.
        case descriptorStore
        /// Nothing, because the state is removed.
        case nothing
    }

    /// A number of sessions, of their files and of the bytes of the files.
    package struct Count: Equatable, Sendable {
        package var sessions = 0
        package var files = 0
        package var bytes: UInt64 = 0

        fileprivate mutating func add(_ files: some Collection<File>) {
            self.files += files.count
            for file in files {
                let (sum, overflow) = bytes.addingReportingOverflow(file.bytes)
                bytes = overflow ? .max : sum
            }
        }
    }

    /// The sessions and files that end with luod.
    package private(set) var lost = Count()
    /// The sessions and files that the next luod finds.
    package private(set) var surviving = Count()
    private var losses: [String] = []
    private let remains: Remains

    package init(_ sessions: [Session], _ remains: Remains) {
        self.remains = remains
        for session in sessions { add(session) }
    }

    /// Whether anything is lost.
    package var losesSomething: Bool { lost != Count() }

    private mutating func add(_ session: Session) {
        let isStored = remains == .descriptorStore
        let stays = isStored || (remains != .nothing && session.staysWithoutHolder)
        func survives(_ file: File) -> Bool { stays && (isStored && file.isStorable || file.hasName) }
        let ending = session.files.filter { !survives($0) }
        let staying = session.files.count - ending.count
        surviving.add(session.files.filter(survives))
        lost.add(ending)
        if stays { surviving.sessions += 1 } else { lost.sessions += 1 }
        guard !stays || !ending.isEmpty else { return }
        var count = Count()
        count.add(ending)
        let loss = "\(Self.text(count.files, "file")), \(Self.text(count.bytes))"
        let subject = "session \"\(session.name)\" of user \(session.user)"
        losses.append(
            stays ? "\(subject) stays with \(Self.text(staying, "file")), and loses \(loss)" : "\(subject): \(loss)")
    }

    /// The report as text: one line for the sum of everything that ends, one for each session that loses something, and
    /// one for the sum of everything that survives. Empty without sessions.
    package var lines: [String] {
        var lines: [String] = []
        if losesSomething {
            lines.append("\(Self.text(lost)) end with luod; a file stays only in programs that have it open:")
            lines += losses
        }
        if surviving != Count() { lines.append("\(Self.text(surviving)) survive \(place)") }
        return lines
    }

    private var place: String {
        switch remains {
        case .arena(let path): "in the arena \(path), and by their names: the next luod finds them"
        case .descriptorStore: "in the descriptor store of the service manager: the next luod gets them"
        case .nothing: ""
        }
    }

    private static func text(_ count: Count) -> String {
        "\(text(count.sessions, "session")), \(text(count.files, "file")), \(text(count.bytes))"
    }

    private static func text(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

    private static func text(_ bytes: UInt64) -> String { "\(bytes) byte\(bytes == 1 ? "" : "s")" }
}
