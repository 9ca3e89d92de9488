// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
package import SystemPackage

/// A descriptor that becomes readable at a given time: timerfd_create(2).
package struct DeadlineTimer: ~Copyable {
    private let timer: OwnedDescriptor

    /// Makes a timer that is not set, so that its descriptor is not readable.
    ///
    /// - Throws: EMFILE.
    package init() throws(SystemCallError) {
        let number = try systemCall("timerfd_create") { cshims_timer_create() }
        timer = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    }

    /// The descriptor. The timer still owns it.
    package var descriptor: FileDescriptor { timer.borrowed }

    /// Sets the time at which the descriptor becomes readable. Until then it is not readable.
    ///
    /// - Parameter milliseconds: the time, in milliseconds of CLOCK_MONOTONIC; 0 stops the timer.
    package func set(to milliseconds: UInt64) {
        _ = cshims_timer_set(timer.borrowed.rawValue, min(milliseconds, 1 << 50))
    }
}
