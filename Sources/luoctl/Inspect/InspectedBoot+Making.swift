// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

extension InspectedBoot {
    init(_ state: InspectedState, in found: Inspection, pages: Bool) {
        updates = state.updateNumber
        sessions = state.sessions.map { session in
            Session(
                name: session.name.description, direction: session.direction.rawValue,
                progress: session.isFinished ? "finished" : session.isOpen ? "open" : "waiting",
                files: session.files.map { file in
                    File(
                        file, session.name.description, records: state.isOver ? nil : found.records(of: file),
                        runs: pages)
                })
        }
        flbs = state.flbs.map(FLB.init)
    }

    /// The failures of the handlers' records.
    var recordFailures: [Failure] { sessions.flatMap(\.files).compactMap(\.failure) }
}

extension InspectedBoot.File {
    init(_ file: InspectedState.File, _ session: String, records: InspectedRecords?, runs: Bool) {
        token = file.status.token
        compatible = file.status.compatible
        slot = file.status.slot.number
        device = file.status.identity.device
        inode = file.status.identity.inode
        data = file.status.data
        retrieveStatus = file.status.retrieveStatus.number
        problem = file.status.problem
        flbs = file.flbs
        stored = file.stored.map(InspectedBoot.Stored.init)
        do throws(LiveUpdateError) {
            guard let records, let map = try PageMap.read(compatible, at: data, in: records) else { return }
            pages = InspectedBoot.Pages(map, runs: runs)
        } catch {
            failure = InspectDocument.Failure(
                gate: ArenaError.Gate.record.rawValue, reason: "token \(token) of \"\(session)\": \(error.reason)")
        }
    }
}

extension InspectedBoot.Pages {
    init(_ map: PageMap, runs: Bool) {
        self.init(
            size: map.size, position: map.position, pageSize: map.pageSize.bytes, present: map.present,
            path: map.path?.string, seals: map.seals?.names,
            runs: !runs
                ? nil
                : map.runs.map { run in
                    InspectedBoot.Run(offset: run.place.offset, size: run.place.length, frame: run.frame)
                })
    }
}

extension InspectedBoot.FLB {
    init(_ flb: InspectedState.FLB) {
        self.init(
            compatible: flb.status.compatible, direction: flb.status.direction.rawValue, discarded: flb.isDiscarded,
            count: flb.status.count, data: flb.data, retrieveStatus: flb.status.retrieveStatus.number,
            stored: flb.stored.map(InspectedBoot.Stored.init))
    }
}

extension InspectedBoot.Stored {
    init(_ stored: InspectedState.Stored) {
        self.init(
            offset: stored.place.offset, size: stored.place.length, checksum: stored.checksum,
            failure: stored.failure.map(InspectDocument.Failure.init))
    }
}
