// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage

/// The processors of the measured and of the waiting processes. This library and the floors are measured in turn on one
/// processor, so that both have the same conditions. A process that waits for a measured one runs on another processor.
struct BenchProcessors {
    /// The processors of the measured processes.
    let measured: [CInt]
    private let waiting: [CInt]
    private let allowed: [CInt]

    /// Chooses the last processors, because the first one has most of the interrupts.
    init(_ allowed: [CInt]) {
        self.allowed = allowed
        measured = [allowed.last ?? 0]
        waiting = allowed.count > 1 ? [allowed[allowed.count - 2]] : measured
    }

    private init(everywhere allowed: [CInt]) { (self.allowed, measured, waiting) = (allowed, allowed, allowed) }

    /// Lets the scheduler place all processes on any processor; nil if there is only one processor.
    var everywhere: BenchProcessors? { allowed.count > 1 ? BenchProcessors(everywhere: allowed) : nil }

    /// Moves this process, and the processes that it starts, to the measured processors.
    func measureHere() throws(SystemCallError) { try Processors.run(on: measured) }

    /// Moves this process to the processors for waiting.
    func waitHere() throws(SystemCallError) { try Processors.run(on: waiting) }

    /// Starts a process on the measured processors, and moves this process to the others.
    func startMeasured(_ image: ProgramImage, inherited: [FileDescriptor]) throws -> ChildProcess {
        try measureHere()
        let child = try ChildProcess.start(image, inherited: inherited)
        try waitHere()
        return child
    }
}
