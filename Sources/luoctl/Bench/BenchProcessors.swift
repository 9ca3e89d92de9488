import Platform
import SystemPackage

/// Who runs where. What is measured, ours and the floors in turn, runs on one processor, so that both meet the same;
/// who waits for a process that is measured waits on another one.
struct BenchProcessors {
    /// Where that is which is measured.
    let measured: [CInt]
    private let waiting: [CInt]
    private let allowed: [CInt]

    /// Not the first one, which has most of the interrupts.
    init(_ allowed: [CInt]) {
        self.allowed = allowed
        measured = [allowed.last ?? 0]
        waiting = allowed.count > 1 ? [allowed[allowed.count - 2]] : measured
    }

    private init(everywhere allowed: [CInt]) { (self.allowed, measured, waiting) = (allowed, allowed, allowed) }

    /// Everybody runs where the scheduler puts him; nil where there is only one processor.
    var everywhere: BenchProcessors? { allowed.count > 1 ? BenchProcessors(everywhere: allowed) : nil }

    /// For what is measured in this process, and in those that it starts.
    func measureHere() throws(SystemCallError) { try Processors.run(on: measured) }

    /// For who only asks, and waits.
    func waitHere() throws(SystemCallError) { try Processors.run(on: waiting) }

    /// Starts a process on the measured processor, and waits for it on the other.
    func startMeasured(_ image: ProgramImage, inherited: [FileDescriptor]) throws -> ChildProcess {
        try measureHere()
        let child = try ChildProcess.start(image, inherited: inherited)
        try waitHere()
        return child
    }
}
