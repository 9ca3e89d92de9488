import Glibc
import Handover
import LiveUpdate
import LiveUpdateEmbedded
import LiveUpdateHandlers
import Platform
import SystemPackage

/// What one more file costs when there are many already.
struct CountBenchmark {
    let rounds: Int

    func run() throws {
        print("one more file: at 10,000 against at 100")
        let wanted = 10_000 + 2 * rounds + 300
        guard DescriptorLimit.raise(to: wanted) else {
            print("  skipped: the limit on open files cannot be raised to \(wanted)\n")
            return
        }
        let orchestrator = Orchestrator(arena: try Arena.make(), descriptors: InheritedDescriptors())
        try orchestrator.registerStandardHandlers()
        let session = try orchestrator.createSession("bench")
        var next: UInt64 = 0
        func preserve(_ count: Int) throws -> Samples {
            var samples = Samples()
            for _ in 0..<count {
                let file = try makeMemoryFile(named: "luobench", size: 4096)
                next += 1
                samples.add(try elapsed { try session.preserve(file.borrowed, token: next) })
            }
            return samples
        }
        // The descriptor table and the arena have their sizes before anything is measured.
        let table = try makeMemoryFile(named: "luobench", size: 0)
        dup2(table.borrowed.rawValue, CInt(wanted) - 1)
        _ = try preserve(100)
        let few = try preserve(rounds)
        _ = try preserve(10_000 - Int(next))
        let many = try preserve(rounds)
        try session.close()
        close(CInt(wanted) - 1)
        print("  at 100 \(few.text)\n  at 10,000 \(many.text)")
        print("  ratio \(Samples.ratio(many, few)), to be at most 1.3\n")
    }
}
