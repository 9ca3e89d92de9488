// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
public import SystemPackage

/// A file that cannot be frozen now: an update stops at this file, or leaves it out.
public struct FreezeObstacle: Equatable, Sendable {
    /// The user of the file's session.
    public let user: SessionUser
    /// The file's session, which is outgoing.
    public let session: SessionName
    /// The file's number in the session.
    public let token: UInt64
    /// The compatible string of its handler.
    public let compatible: String
    /// The errno with which the freeze would fail.
    public let errno: Errno
    /// The reason in words.
    public let reason: String

    package init(
        user: SessionUser, session: SessionName, token: UInt64, compatible: String, errno: Errno, reason: String
    ) {
        self.user = user
        self.session = session
        self.token = token
        self.compatible = compatible
        self.errno = errno
        self.reason = reason
    }
}

/// A file without a descriptor: the last process that held it has ended.
public struct LostFile: Equatable, Sendable {
    /// The user of the file's session.
    public let user: SessionUser
    /// The file's session.
    public let session: SessionName
    /// The direction of the session: outgoing when this boot made it, incoming when an update handed it over.
    public let direction: Direction
    /// The file's number in the session.
    public let token: UInt64
    /// The compatible string of its handler.
    public let compatible: String

    package init(user: SessionUser, session: SessionName, direction: Direction, token: UInt64, compatible: String) {
        self.user = user
        self.session = session
        self.direction = direction
        self.token = token
        self.compatible = compatible
    }
}

/// The errno and the reason of a file that was left out of an update, as they travel to the next boot.
struct LeftOut: Equatable, Sendable {
    /// 1 to 4095.
    let errno: CInt
    let reason: String

    /// The longest reason, in bytes: the field for it ends with a NUL.
    static let longestReason = 511

    init(_ error: LiveUpdateError, ofToken token: UInt64) {
        self.init(errno: error.errno.rawValue, reason: error.reason(ofToken: token))
    }

    init(_ obstacle: FreezeObstacle) {
        self.init(errno: obstacle.errno.rawValue, reason: obstacle.reason)
    }

    /// Makes the reason and the errno of any handler fit. A long reason is cut, and a number that is no errno is
    /// replaced by EIO.
    init(errno: CInt, reason: String) {
        self.errno = Self.errnos.contains(errno) ? errno : Errno.ioError.rawValue
        self.reason = Self.isValid(reason) ? reason : Self.fitting(reason)
    }

    static let errnos: ClosedRange<CInt> = 1...4095

    /// Whether a reason fits into its field.
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

/// The rare properties of a file. The record of a file without them does not mention them.
struct FileMarks: OptionSet, Sendable {
    let rawValue: UInt8

    /// ``FileHandler/holdsFile`` was false when the file was preserved.
    static let holdsNothing = FileMarks(rawValue: 1)
    /// The update that handed over the file has left it out.
    static let leftOut = FileMarks(rawValue: 2)

    init(rawValue: UInt8) { self.rawValue = rawValue }

    init(holdsFile: Bool, isLeftOut: Bool) {
        self.init()
        if !holdsFile { insert(.holdsNothing) }
        if isLeftOut { insert(.leftOut) }
    }

    /// - Throws: `record` for a mark that this version does not know.
    init(checking rawValue: UInt8) throws(ArenaError) {
        guard rawValue & ~3 == 0 else { throw ArenaError(.record, "a file with the unknown marks \(rawValue)") }
        self.rawValue = rawValue
    }
}

extension FileState {
    var marks: FileMarks { FileMarks(holdsFile: holdsFile, isLeftOut: leftOut != nil) }

    /// Checks that a file that was left out is incoming, has a failed retrieve, and has a reason that fits.
    ///
    /// - Throws: `record`.
    func checkLeftOut(_ direction: Direction) throws(ArenaError) {
        guard let leftOut else { return }
        guard direction == .incoming, case .failed = retrieved, LeftOut.isValid(leftOut) else {
            throw ArenaError(
                .record,
                "file \(id.value) was left out, but is \(direction), or its retrieve has not failed, or its reason "
                    + "of \(leftOut.utf8.count) bytes does not fit")
        }
    }
}

/// A file that an update freezes.
struct FileToFreeze: Sendable {
    var file: FileState
    let session: SessionState
    /// Whether freezing the file would change nothing; nil when its handler cannot tell.
    var isUnchanged: (@Sendable () -> Bool)?
}

/// The files that travel without a freeze. They need no unfreeze when the update is called off.
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
