import LiveUpdate
import LiveUpdateEmbedded
import Platform
import SystemPackage

/// What was found of a run that was killed.
struct Recovered: Codable {
    var run: String
    /// Updates that the run had behind it.
    var updates: UInt64 = 0
    /// Whether it had removed its arena already.
    var atItsEnd = false
    /// Files that its arena knows.
    var files = 0
    /// Tokens of those on hugetlbfs that are as they were.
    var whole: [UInt64] = []
    /// Tokens of those that only the processes held.
    var gone: [UInt64] = []
    /// Huge pages that the run had reserved, and that nobody was left to give back.
    var givenBack: UInt64 = 0
    /// What is there, and is not as it was.
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

/// Goes on where a run was killed: takes back what its arena knows, looks whether it is as it was, and removes it all.
struct DemoRecovery {
    private let place: DemoPlace
    private var notes: DemoNotes?
    private var found: Recovered

    private init(_ place: DemoPlace) {
        self.place = place
        found = Recovered(run: place.run)
    }

    /// - Returns: nil when the run goes on, or had nothing yet, or nothing any more.
    static func run(_ place: DemoPlace) -> Recovered? {
        var recovery = DemoRecovery(place)
        do throws(LiveUpdateError) {
            try recovery.takeEverything()
        } catch {
            switch error.errno {
            case .resourceTemporarilyUnavailable: return nil
            // It ended, or was killed while it removed what it had.
            case .noSuchFileOrDirectory:
                recovery.found.atItsEnd = true
                place.remove()
            default:
                let removal = "; to forget it: \(place.removal)"
                recovery.found.faults.append("what it left cannot be taken back: \(error)\(removal)")
            }
        }
        recovery.settle()
        let found = recovery.found
        let isNothing = found.files == 0 && found.givenBack == 0 && found.faults.isEmpty && recovery.notes == nil
        return isNothing ? nil : found
    }

    /// The arena is locked until all is removed: so no other run can find a part of it.
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
            let taken =
                session.direction == .incoming ? try session.retrieve(token: token) : try session.get(token: token)
            file = OwnedDescriptor(taking: taken)
        } catch {
            // A memory file goes with its last holder; one that has a name should be there.
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

    /// Gives back what the run's guards, killed with it, have not.
    private mutating func settle() {
        for note in [place.reserved, place.overcommitted] {
            do {
                found.givenBack += try HugePageLoan.settle(note)
            } catch {
                found.faults.append("the huge pages of \(note) cannot be given back: \(error)")
            }
        }
        DemoPlace.removeDirectory(of: place.arena)
    }
}

extension DemoNotes {
    func file(_ token: UInt64) -> File? { files.first { $0.token == token } }
}
