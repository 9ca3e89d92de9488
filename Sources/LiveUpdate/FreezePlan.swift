import Handover
import Platform
public import SystemPackage

/// A file that cannot be frozen now, so that an update stops at it or leaves it out.
public struct FreezeObstacle: Equatable, Sendable {
    /// The user whose session has it.
    public let user: SessionOwner
    /// Its session, which is an outgoing one.
    public let session: SessionName
    /// Its number in the session.
    public let token: UInt64
    /// The compatible string of its handler.
    public let compatible: String
    /// The errno that its freeze would fail with.
    public let errno: Errno
    /// The reason in words.
    public let reason: String

    package init(
        user: SessionOwner, session: SessionName, token: UInt64, compatible: String, errno: Errno, reason: String
    ) {
        self.user = user
        self.session = session
        self.token = token
        self.compatible = compatible
        self.errno = errno
        self.reason = reason
    }
}

/// A file whose descriptor was lost with its last holder.
public struct LostFile: Equatable, Sendable {
    /// The user whose session has it.
    public let user: SessionOwner
    /// Its session.
    public let session: SessionName
    /// Made in this boot, or handed over to it.
    public let direction: Direction
    /// Its number in the session.
    public let token: UInt64
    /// The compatible string of its handler.
    public let compatible: String

    package init(user: SessionOwner, session: SessionName, direction: Direction, token: UInt64, compatible: String) {
        self.user = user
        self.session = session
        self.direction = direction
        self.token = token
        self.compatible = compatible
    }
}

/// Why a file was left out of an update, as it travels to the next boot.
struct LeftOut: Equatable, Sendable {
    /// 1 to 4095.
    let errno: CInt
    let reason: String

    /// The longest reason, in bytes: the field for it ends with a NUL.
    static let longestReason = 511

    init(_ error: LiveUpdateError) {
        self.init(errno: error.errno.rawValue, reason: error.reason)
    }

    /// Makes any words and any number fit: the reason is cut, and a number that is no errno becomes EIO.
    init(errno: CInt, reason: String) {
        self.errno = Self.errnos.contains(errno) ? errno : Errno.ioError.rawValue
        self.reason = Self.isValid(reason) ? reason : Self.fitting(reason)
    }

    static let errnos: ClosedRange<CInt> = 1...4095

    /// Whether the words fit into the field for them.
    static func isValid(_ reason: String) -> Bool {
        reason.utf8.count <= longestReason && !reason.isEmpty && !reason.utf8.contains(0)
    }

    private static func fitting(_ reason: String) -> String {
        var fitting = ""
        for scalar in reason.unicodeScalars where scalar.value != 0 {
            guard fitting.utf8.count + UTF8.width(scalar) <= longestReason else { break }
            fitting.unicodeScalars.append(scalar)
        }
        return fitting.isEmpty ? "its handler gave no reason" : fitting
    }
}

/// The properties that few files have, so that most records say nothing of them.
struct FileMarks: OptionSet, Sendable {
    let rawValue: UInt8

    /// ``FileHandler/holdsFile`` was false when it was preserved.
    static let holdsNothing = FileMarks(rawValue: 1)
    /// It was left out of the update that it came with.
    static let leftOut = FileMarks(rawValue: 2)

    init(rawValue: UInt8) { self.rawValue = rawValue }

    init(holdsFile: Bool, isLeftOut: Bool) {
        self.init()
        if !holdsFile { insert(.holdsNothing) }
        if isLeftOut { insert(.leftOut) }
    }

    /// - Throws: `record`, for a mark that this version does not know.
    init(checking rawValue: UInt8) throws(ArenaError) {
        guard rawValue & ~3 == 0 else { throw ArenaError(.record, "a file with the unknown marks \(rawValue)") }
        self.rawValue = rawValue
    }
}

extension FileState {
    var marks: FileMarks { FileMarks(holdsFile: holdsFile, isLeftOut: leftOut != nil) }

    /// A file that was left out came with an update, and its retrieve has failed.
    ///
    /// - Throws: `record`.
    func checkLeftOut(_ direction: Direction) throws(ArenaError) {
        guard let leftOut else { return }
        guard direction == .incoming, case .failed = retrieved, LeftOut.isValid(leftOut) else {
            throw ArenaError(
                .record,
                "file \(id.value) was left out, but is \(direction), or its retrieve has not failed, or its reason has "
                    + "\(leftOut.utf8.count) bytes")
        }
    }
}

/// A file that an update freezes.
struct FileToFreeze: Sendable {
    let file: FileState
    let session: SessionState
    /// Whether freezing it would change nothing, where that can be told.
    var isUnchanged: (@Sendable () -> Bool)?
}

/// The files that a freeze did not reach: they travel unfrozen, and are not unfrozen when the update is off.
struct Unfrozen: Equatable, Sendable {
    private(set) var leftOut: [FileID: LeftOut]
    private var lost: Set<FileID> = []

    init(leftOut: [FileID: LeftOut] = [:]) { self.leftOut = leftOut }

    mutating func leaveOut(_ file: FileID, because reason: LeftOut) { leftOut[file] = reason }

    mutating func lose(_ file: FileID) { lost.insert(file) }

    func contains(_ file: FileID) -> Bool {
        (!leftOut.isEmpty && leftOut[file] != nil) || (!lost.isEmpty && lost.contains(file))
    }
}
