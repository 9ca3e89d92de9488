// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// The number of a session. A boot gives each number once, in rising order, so that numbers tell the older of two
/// sessions.
struct SessionID: Hashable, Comparable, Sendable {
    let value: UInt64
    static func < (left: Self, right: Self) -> Bool { left.value < right.value }
}

/// The number of a preserved file, as ``SessionID``.
struct FileID: Hashable, Comparable, Sendable {
    let value: UInt64
    static func < (left: Self, right: Self) -> Bool { left.value < right.value }
}

/// The number of one preservation of an FLB, as ``SessionID``. The next preservation of the same FLB has another
/// number.
struct FLBID: Hashable, Comparable, Sendable {
    let value: UInt64
    static func < (left: Self, right: Self) -> Bool { left.value < right.value }
}

/// The direction in which a session, a file or an FLB travels.
public enum Direction: String, Sendable {
    /// The direction to the next boot.
    case outgoing
    /// The direction from the previous boot.
    case incoming
}

/// Whether an incoming file or FLB was retrieved: the kernel's `retrieve_status`.
public enum RetrieveStatus: Hashable, Sendable {
    /// 0
    case notTried
    /// 1
    case done
    /// Negative: the errno with which the first try failed. It is remembered for ever.
    case failed(errno: CInt)

    /// The status for an error of a callback; EIO for a number that is no errno.
    static func failed(_ errno: Errno) -> Self {
        .failed(errno: (1...4095).contains(errno.rawValue) ? errno.rawValue : Errno.ioError.rawValue)
    }
}
