// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
public import SystemPackage

/// A failed system call: its name and its errno (see the man page of that name, section 2).
public struct SystemCallError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The name of the call, as in its man page.
    public let call: StaticString
    /// The error.
    public let errno: Errno

    /// Names a failed call.
    public init(_ call: StaticString, _ errno: Errno) {
        self.call = call
        self.errno = errno
    }

    public var description: String { "\(call): \(errno)" }

    /// Whether the system lacked something that has nothing to do with the peer of the call: memory, descriptors, or
    /// room for descriptors in unread messages. The same call may succeed a moment later.
    package var isShortage: Bool {
        switch errno {
        case .tooManyReferences, .noBufferSpace, .noMemory, .tooManyOpenFiles, .tooManyOpenFilesInSystem: true
        default: false
        }
    }

    public static func == (left: Self, right: Self) -> Bool {
        left.errno == right.errno && "\(left.call)" == "\(right.call)"
    }
}

/// Makes one system call. This package reaches the kernel only through this function, so that a test of a debug build
/// can make the N-th call fail (`FaultInjector`). Interrupted calls are made again, even if the interruption was
/// injected. Handlers outside this package may use it, too.
///
/// - Parameters:
///   - name: the name of the call, as in its man page.
///   - body: makes the call, and returns the result of the call.
/// - Returns: the result of the call, which is not -1.
/// - Throws: the error in `errno` when the call returned -1.
@discardableResult
public func systemCall<Value: SignedInteger>(
    _ name: StaticString, _ body: () -> Value
) throws(SystemCallError) -> Value {
    while true {
        let injected = injectedFault()
        let value = injected == 0 ? body() : -1
        if value != -1 { return value }
        let error = injected == 0 ? currentErrno() : Errno(rawValue: injected)
        if error != .interrupted { throw SystemCallError(name, error) }
    }
}

/// The error that the current call must fail with; 0 for none. Release builds have no injected faults.
@inline(__always)
func injectedFault() -> CInt {
    #if DEBUG
        cshims_fault()
    #else
        0
    #endif
}

/// The error that the last failed call of this thread left in `errno`.
func currentErrno() -> Errno { Errno(rawValue: Glibc.errno) }

extension Errno {
    /// The name of the error in errno(3), such as `ENOENT`, or its number when it has no name: strerrorname_np(3).
    package var symbol: String {
        unsafe cshims_errno_name(rawValue).map { unsafe String(cString: $0) } ?? "errno \(rawValue)"
    }
}

#if DEBUG
    /// Makes system calls of the current thread fail, by their number. In a fault sweep the first call fails, then the
    /// second, the third, and so on, until a run meets no fault. After each run a test may see only success or the
    /// injected error.
    ///
    /// SQLite is tested like this. Every call of this package that can fail is covered, including `close`. Release
    /// builds do not have this type.
    public enum FaultInjector {
        /// Runs `body` with a fault armed on this thread.
        ///
        /// - Parameters:
        ///   - number: the system call that fails, counted from 1; 0 fails none and only counts.
        ///   - errno: the error of the call. A call is repeated after EINTR, so EINTR together with `fromThenOn` never
        ///     ends.
        ///   - sticky: whether all later calls fail, too.
        ///   - body: the code to test.
        /// - Returns: what `body` returned, and the number of calls that were made or refused.
        public static func failing<Value>(
            call number: Int, with errno: Errno = .ioError, fromThenOn sticky: Bool = false, _ body: () -> Value
        ) -> (value: Value, calls: Int) {
            cshims_fault_arm(number, errno.rawValue, sticky ? 1 : 0)
            let value = body()
            return (value, cshims_fault_disarm())
        }
    }
#endif
