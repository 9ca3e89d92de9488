// SPDX-License-Identifier: Apache-2.0
import LiveUpdate
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The result of trying to preserve a file.
enum Verdict {
    /// The file was preserved, and is unpreserved again.
    case accepted(Preserved)
    /// No handler accepts the file, or the handler that accepts it failed.
    case refused(Refused)

    struct Preserved {
        var handler: String
        var flbs: [String]
        /// The fate of the file when the kernel is replaced.
        var fate: KernelFate
        /// The duration of each run.
        var nanoseconds: [UInt64]
        /// The bytes that the handler and the FLBs stored, in blocks of the arena.
        var storedBytes: UInt64
        /// The bytes of the journal's records about the file.
        var journalBytes: UInt64

        var median: UInt64 { nanoseconds.sorted()[nanoseconds.count / 2] }
    }

    struct Refused {
        var error: LiveUpdateError
        /// The reason of each handler that does not accept the file.
        var reasons: [(handler: String, reason: String)]
    }

    /// Preserves the file in a temporary arena.
    init(_ descriptor: FileDescriptor) {
        var reasons: [(handler: String, reason: String)] = []
        do throws(LiveUpdateError) {
            let trial = try Trial()
            for (handler, _) in try trial.orchestrator.registrations() {
                if case .refused(let reason) = handler.canPreserve(descriptor) {
                    reasons.append((handler.compatible, reason))
                }
            }
            self = .accepted(try trial.run(descriptor))
        } catch {
            self = .refused(Refused(error: error, reasons: reasons))
        }
    }
}

/// An orchestrator for one check only.
private struct Trial {
    /// The most runs: several, because the first is the slowest. They end once they have taken `longEnough`.
    private static let runs = 5
    private static let longEnough: UInt64 = 500_000_000

    private let arena: Arena
    let orchestrator: Orchestrator

    init() throws(LiveUpdateError) {
        do throws(ArenaError) {
            arena = try Arena.make()
        } catch {
            throw LiveUpdateError(error)
        }
        orchestrator = Orchestrator(arena: arena, descriptors: InheritedDescriptors())
        try orchestrator.registerStandardHandlers()
        try orchestrator.open()
    }

    func run(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> Verdict.Preserved {
        var preserved = try runOnce(descriptor)
        var total = preserved.median
        while preserved.nanoseconds.count < Self.runs, total < Self.longEnough {
            let time = try runOnce(descriptor).median
            preserved.nanoseconds.append(time)
            total += time
        }
        return preserved
    }

    private func runOnce(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> Verdict.Preserved {
        let session = try orchestrator.createSession("check")
        defer { try? session.close() }
        let (stored, journal) = (storedBytes, arena.journalUsed)
        let start = monotonicNanoseconds()
        try session.preserve(descriptor, token: 1)
        let time = monotonicNanoseconds() - start
        let status = try orchestrator.status()
        let handler = status.sessions.flatMap(\.files).first?.compatible ?? ""
        return Verdict.Preserved(
            handler: handler, flbs: status.flbs.map(\.compatible), fate: orchestrator.kernelFate(of: handler),
            nanoseconds: [time], storedBytes: storedBytes - stored,
            journalBytes: arena.journalUsed - min(journal, arena.journalUsed))
    }

    /// The used bytes of the arena without the journal's region, which is allocated in advance.
    private var storedBytes: UInt64 { arena.used - (arena.journal?.length ?? 0) }
}
