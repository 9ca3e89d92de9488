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

/// Makes one system call. This package reaches the kernel only through this function, so that a test can let the N-th
/// call fail (see ``FaultInjector``). Interrupted calls are made again, even if the interruption was injected. Handlers
/// outside this package may use it, too.
///
/// - Parameters:
///   - name: the name of the call, as in its man page.
///   - body: makes the call, and returns the result of the call.
/// - Throws: the error in `errno` when the call returned -1.
@discardableResult
public func systemCall<Value: SignedInteger>(
    _ name: StaticString, _ body: () -> Value
) throws(SystemCallError) -> Value {
    while true {
        let injected = cshims_fault()
        let value = injected == 0 ? body() : -1
        if value != -1 { return value }
        let error = injected == 0 ? currentErrno() : Errno(rawValue: injected)
        if error != .interrupted { throw SystemCallError(name, error) }
    }
}

/// The error that the last failed call of this thread left in `errno`.
func currentErrno() -> Errno { Errno(rawValue: Glibc.errno) }
