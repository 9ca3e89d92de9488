// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// Lets one thread ask another to stop a long search.
///
/// 1. The working thread calls ``run(_:)``.
/// 2. Another thread calls ``cancel()``.
/// 3. ``HugePageScan`` and ``dataExtents(of:size:)`` check for that now and then, and fail with ECANCELED from then on.
package final class Cancellation: Sendable {
    @TaskLocal private static var current: Cancellation?

    private let wasAsked = Guarded(false)

    /// Makes an object for one piece of work.
    package init() {}

    /// Asks for the end of the work. Work that is over stays as it is.
    package func cancel() { wasAsked.with { $0 = true } }

    /// Does work that this object cancels.
    ///
    /// - Parameter work: runs on this thread.
    /// - Returns: the result of `work`.
    package func run<Result>(_ work: () -> Result) -> Result { Self.$current.withValue(self, operation: work) }

    /// Checks that the work of this thread may continue.
    ///
    /// - Throws: ECANCELED when ``cancel()`` was called.
    package static func check() throws(SystemCallError) {
        guard let current, current.wasAsked.with({ $0 }) else { return }
        throw SystemCallError("a search that takes long", .canceled)
    }
}
