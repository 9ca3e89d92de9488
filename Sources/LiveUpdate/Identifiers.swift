import SystemPackage

/// A number that is given once in a boot, in rising order: so it tells which of two is older.
struct SessionID: Hashable, Comparable, Sendable {
    let value: UInt64
    static func < (left: Self, right: Self) -> Bool { left.value < right.value }
}

/// As ``SessionID``, for a preserved file.
struct FileID: Hashable, Comparable, Sendable {
    let value: UInt64
    static func < (left: Self, right: Self) -> Bool { left.value < right.value }
}

/// As ``SessionID``, for one preservation of an FLB: preserved anew it is another one.
struct FLBID: Hashable, Comparable, Sendable {
    let value: UInt64
    static func < (left: Self, right: Self) -> Bool { left.value < right.value }
}

/// Which way something travels.
public enum Direction: String, Sendable {
    /// To the next boot.
    case outgoing
    /// From the previous boot.
    case incoming
}

/// Whether something that came was fetched: the kernel's `retrieve_status`.
public enum RetrieveStatus: Hashable, Sendable {
    /// 0
    case notTried
    /// 1
    case done
    /// Negative: what the first try failed with, for ever.
    case failed(errno: CInt)

    /// What a callback threw; EIO for what is no errno.
    static func failed(_ errno: Errno) -> Self {
        .failed(errno: (1...4095).contains(errno.rawValue) ? errno.rawValue : Errno.ioError.rawValue)
    }
}
