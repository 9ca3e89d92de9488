import FuzzSupport
import Handover
import LiveUpdateHandlers

@testable import LiveUpdate

/// What is refused is shown as damaged, and what is shown as damaged is refused; all that is shown is looked at.
func compare(_ inspection: Inspection, _ refusals: [LiveUpdateError]) {
    if inspection.failures.isEmpty {
        check(refusals.allSatisfy(isOurs), "shown as sound, and refused: \(refusals)")
    } else if refusals.isEmpty {
        check(!inspection.failures.contains { isReadByBoots($0, inspection) }, "opened: \(inspection.failures)")
    }
    check(inspection.log.allSatisfy { ($0.words == nil) == ($0.failure != nil) }, "records without words")
    for state in [inspection.state] + inspection.trees.map(\.state) {
        for file in state?.sessions.flatMap(\.files) ?? [] {
            let (kind, data) = (file.status.compatible, file.status.data)
            _ = try? PageMap.read(kind, at: data, in: inspection.records(of: file))?.present
        }
    }
}

/// What an inspection cannot know: which handlers there are, and how far the arena may grow.
private func isOurs(_ error: LiveUpdateError) -> Bool {
    error.errno == .noSpace || error.reason.contains("no handler knows") || error.reason.contains("is registered")
}

/// No code reads the tree of the previous boot any more, nor, before a file is retrieved, what its handler stored.
private func isReadByBoots(_ failure: ArenaError, _ inspection: Inspection) -> Bool {
    let previous = inspection.trees.first { $0.part == .incomingTree }?.failure
    return failure != previous && !failure.reason.hasPrefix("the records at")
}
