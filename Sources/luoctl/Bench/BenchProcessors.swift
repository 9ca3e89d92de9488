import Platform
import SystemPackage

/// Who runs where. What is measured, ours and the floors in turn, runs on one processor, so that both meet the same;
/// who waits for a process that is measured waits on another one.
struct BenchProcessors {
    let measured: CInt
    let waiting: CInt

    /// Not the first one, which has most of the interrupts.
    init(_ allowed: [CInt]) {
        measured = allowed.last ?? 0
        waiting = allowed.dropLast().last ?? measured
    }

    /// For what is measured in this process, and in those that it starts.
    func measureHere() throws(SystemCallError) { try Processors.run(on: measured) }

    /// For who only asks, and waits.
    func waitHere() throws(SystemCallError) { try Processors.run(on: waiting) }

    /// Starts a process on the measured processor, and waits for it on the other.
    func startMeasured(_ image: ProgramImage, inherited: [FileDescriptor]) throws -> ChildProcess {
        try Processors.run(on: measured)
        let child = try ChildProcess.start(image, inherited: inherited)
        try Processors.run(on: waiting)
        return child
    }
}
