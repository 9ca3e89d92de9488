// SPDX-License-Identifier: Apache-2.0
import LiveUpdate
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The findings about a run that was killed.
struct Recovered: Codable {
    var run: String
    /// The number of updates that the run had completed.
    var updates: UInt64 = 0
    /// Whether the run had removed its arena already.
    var atItsEnd = false
    /// The number of files in its arena.
    var files = 0
    /// The tokens of the files on hugetlbfs that are unchanged.
    var whole: [UInt64] = []
    /// The tokens of the files that only the run's processes held.
    var gone: [UInt64] = []
    /// The number of huge pages that the run had reserved, and that the recovery released.
    var givenBack: UInt64 = 0
    /// The changes of the files that still exist, and the errors of the recovery.
    var faults: [String] = []

    init(run: String) { self.run = run }

    var text: String {
        func count(_ tokens: [UInt64]) -> String { tokens.count == 1 ? "1 is" : "\(tokens.count) are" }
        let killed = atItsEnd ? "at its end" : "in update \(updates + 1), with \(files) files in its arena"
        var parts = ["found run \(run), which was killed \(killed)"]
        if !whole.isEmpty { parts.append("\(count(whole)) whole, found on hugetlbfs by path") }
        if !gone.isEmpty { parts.append("\(count(gone)) gone with the last process that held them") }
        if givenBack > 0 { parts.append("gave back \(givenBack) huge pages that it had reserved") }
        return parts.joined(separator: "; ")
    }
}

/// Recovers a run that was killed: retrieves the files of its arena, checks them, and removes everything.
struct DemoRecovery {
    private let place: DemoPlace
    private var notes: DemoNotes?
    private var found: Recovered

    private init(_ place: DemoPlace) {
        self.place = place
        found = Recovered(run: place.run)
    }

    /// - Returns: nil if the run goes on, or if it left nothing.
    static func run(_ place: DemoPlace) -> Recovered? {
        var recovery = DemoRecovery(place)
        do throws(LiveUpdateError) {
            try recovery.takeEverything()
        } catch {
            switch error.errno {
            case .resourceTemporarilyUnavailable: return nil
            // The run ended, or was killed while it removed its files.
            case .noSuchFileOrDirectory:
                recovery.found.atItsEnd = true
                place.remove()
            default:
                let removal = "; to forget it: \(place.removal)"
                recovery.found.faults.append("its leftovers cannot be removed: \(error)\(removal)")
            }
        }
        recovery.settle()
        let found = recovery.found
        let isNothing = found.files == 0 && found.givenBack == 0 && found.faults.isEmpty && recovery.notes == nil
        return isNothing ? nil : found
    }

    /// Recovers the files and removes them. The arena is locked until then, so no other run can find a part of them.
    private mutating func takeEverything() throws(LiveUpdateError) {
        let process = try UpdatableProcess(at: place.arena, existing: true) { (orchestrator) throws(LiveUpdateError) in
            try DemoBoot.register(orchestrator, CountedHugeTLB(FLBCallCounts()))
        }
        notes = try? DemoNotes.load(from: place)
        try take(from: process.orchestrator)
        place.remove()
        withExtendedLifetime(process) {}
    }

    private mutating func take(from orchestrator: Orchestrator) throws(LiveUpdateError) {
        let status = try orchestrator.status()
        found.updates = status.updateNumber
        found.files = status.sessions.reduce(0) { $0 + $1.files.count }
        for waiting in status.sessions where !waiting.isOpen {
            _ = try orchestrator.retrieveSession(waiting.name)
        }
        for session in try orchestrator.openSessions {
            for token in session.tokens { take(token, session) }
            try session.close()
        }
    }

    private mutating func take(_ token: UInt64, _ session: Session) {
        let file: OwnedDescriptor
        do throws(LiveUpdateError) {
            file = session.direction == .incoming ? try session.retrieve(token: token) : try session.get(token: token)
        } catch {
            // A memory file is lost with its last holder, but a file with a path should exist.
            if error.errno == .badFileDescriptor, notes?.file(token)?.path == nil {
                found.gone.append(token)
            } else {
                found.faults.append("file \(token): \(error)")
            }
            return
        }
        check(token, file.borrowed)
    }

    private mutating func check(_ token: UInt64, _ file: FileDescriptor) {
        guard let notes, let entry = notes.file(token) else {
            found.faults.append("file \(token) is there, and nothing is noted about what was in it")
            return
        }
        let check = DemoCheck(item: DemoFile(entry, seed: notes.seed), entry: entry, frames: [])
        do {
            let faults = try check.run(file, Progress("looking", total: 1, isShown: false)).faults
            if faults.isEmpty { found.whole.append(token) }
            found.faults += faults.map { "file \(token): \($0)" }
        } catch {
            found.faults.append("file \(token) cannot be looked at: \(error)")
        }
    }

    /// Releases the huge pages that the run's guards have not released, because they were killed with it.
    private mutating func settle() {
        for note in [place.reserved, place.overcommitted] {
            do {
                found.givenBack += try HugePageLoan.settle(note)
            } catch {
                found.faults.append("the huge pages of \(note) cannot be given back: \(error)")
            }
        }
        PoolGuard.removeDirectory(of: place.arena)
    }
}

extension DemoNotes {
    func file(_ token: UInt64) -> File? { files.first { $0.token == token } }
}
