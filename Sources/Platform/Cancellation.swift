import SystemPackage

/// Lets one thread ask another to give up a search that takes long.
///
/// 1. The working thread calls ``run(_:)``.
/// 2. Another thread calls ``cancel()``.
/// 3. ``HugePageScan`` and ``dataExtents(of:size:)`` look for that now and then, and fail with ECANCELED from then on.
public final class Cancellation: Sendable {
    @TaskLocal private static var current: Cancellation?

    private let wasAsked = Guarded(false)

    /// Makes one, for one piece of work.
    public init() {}

    /// Asks for the end of the work. Work that is over stays as it is.
    public func cancel() { wasAsked.with { $0 = true } }

    /// Does work that this object cancels.
    ///
    /// - Parameter work: runs on this thread.
    public func run<Result>(_ work: () -> Result) -> Result { Self.$current.withValue(self, operation: work) }

    /// Looks whether the work of this thread goes on.
    ///
    /// - Throws: ECANCELED when its end was asked for.
    static func check() throws(SystemCallError) {
        guard let current, current.wasAsked.with({ $0 }) else { return }
        throw SystemCallError("a search that takes long", .canceled)
    }
}
