import CShims
import Glibc
public import SystemPackage

/// A system call that failed: which one, and with what errno (see the man page of that name, section 2).
public struct SystemCallError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The name of the call, as in its man page.
    public let call: StaticString
    /// What it failed with.
    public let errno: Errno

    /// Names a failed call.
    public init(_ call: StaticString, _ errno: Errno) {
        self.call = call
        self.errno = errno
    }

    public var description: String { "\(call): \(errno)" }

    /// Whether the system lacked something that has nothing to do with the peer of the call: too many descriptors under
    /// way, no memory, no descriptors. The same call may work a moment later.
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

/// Makes one system call: the only door through which this package reaches the kernel, so that a test can fail the
/// N-th call (see ``FaultInjector``). Interrupted calls are made again, also when the interruption was injected. For
/// handlers of others, too.
///
/// - Parameters:
///   - name: the name of the call, as in its man page.
///   - body: makes it, and returns what it returned.
/// - Throws: what `errno` says when the call returned -1.
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

/// What the last failed call of this thread left in `errno`.
func currentErrno() -> Errno { Errno(rawValue: Glibc.errno) }
