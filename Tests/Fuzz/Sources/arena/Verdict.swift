// SPDX-License-Identifier: Apache-2.0
import FuzzSupport

@testable import LiveUpdateCore
@testable import LiveUpdateHandlers
@testable import LiveUpdateHandover

/// Checks that boots refuse an arena if and only if the inspection shows damage. Also reads every part that is shown.
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

/// Whether a boot refuses the arena for a reason that an inspection cannot know: its handlers, or the limit of the
/// arena.
private func isOurs(_ error: LiveUpdateError) -> Bool {
    error.errno == .noSpace || error.reason.contains("no handler knows") || error.reason.contains("is registered")
}

/// Whether a boot reads the damaged part. Boots no longer read the tree of the previous boot, and read the records of a
/// file's handler only when the file is retrieved.
private func isReadByBoots(_ failure: ArenaError, _ inspection: Inspection) -> Bool {
    let previous = inspection.trees.first { $0.part == .incomingTree }?.failure
    return failure != previous && !failure.reason.hasPrefix("the records at")
}
