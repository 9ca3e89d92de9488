// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDeviceTree
import LiveUpdateHandover
import LiveUpdatePlatform

/// The part of a boot's state that travels to the next boot, in the order of the records.
struct LuoTree: Equatable, Sendable {
    struct File: Equatable, Sendable {
        var record: FileRecord
        var slot: DescriptorSlot
        var identity: FileIdentity
        var ranges: [StoredRange]
        /// The FLBs of the file, as indexes into ``LuoTree/flbs``, in link order.
        var links: [UInt8]
        var holdsFile = true
        /// The offset of the file's checksums, which are one of its ranges; 0 for a file without them.
        var attestation: UInt64 = 0
        /// The reason why the file was left out of the update.
        var leftOut: LeftOut?
    }

    struct Session: Equatable, Sendable {
        var name: SessionName
        var user: SessionUser = 0
        var isDetached = false
        var maker: SessionMaker?
        var files: [File]
    }

    struct FLB: Equatable, Sendable {
        var record: FLBRecord
        var ranges: [StoredRange]
    }

    /// The number of updates, including the update that the tree is made for.
    var updateNumber: UInt64
    /// The times at which the freeze began and ended, for display.
    var freeze: FreezeTime
    /// The room in which the next boot can write its journal without touching anything of this boot.
    var journalRoom: Extent
    var sessions: [Session]
    var flbs: [FLB]
    /// The FLBs of discarded sessions, which the next boot finishes.
    var discarded: [FLB]
}

/// The time of a freeze: CLOCK_MONOTONIC, in nanoseconds. It is for display, and no decision depends on it.
public struct FreezeTime: Equatable, Sendable {
    /// The beginning of the freeze; 0 in the first boot.
    public var start: UInt64
    /// The end of the freeze; 0 in the first boot.
    public var end: UInt64
}

/// The names of nodes and properties: those of the kernel where it has them.
enum LuoNames {
    static let handover = "kho-v1"
    static let memoryMap = "preserved-memory-map"
    static let subtree = "fdt"
    static let luo = (node: "LUO", compatible: "luo-v1", property: "liveupdate-number")
    static let sessions = (node: "luo-session", compatible: "luo-session-v1", property: "luo-session-header")
    static let flbs = (node: "luo-flb", compatible: "luo-flb-v1", property: "luo-flb-header")
    /// Used only where a session is detached, or its user is not root.
    static let holders = (node: "luo-holder", compatible: "luo-holder-v1", property: "luo-holder-header")
    /// Used only where the making of a session is known. An image without this node ignores it.
    static let makers = (node: "luo-maker", compatible: "luo-maker-v1", property: "luo-maker-header")
    /// Used only where a file has checksums. An image without this node ignores it.
    static let attestations = (node: "luo-attest", compatible: "luo-attest-v1", property: "luo-attest-header")
    static let slots = (node: "luo-slot", compatible: "luo-slot-v1", property: "luo-slot-header")
    /// Used only where a file has marks.
    static let markedSlots = (node: "luo-slot", compatible: "luo-slot-v2", property: "luo-slot-header")
}

extension LuoTree {
    /// The events that the next boot begins with.
    var events: [Event] {
        var next: UInt64 = 1
        func take() -> UInt64 {
            defer { next += 1 }
            return next
        }
        let flbIDs = flbs.map { _ in FLBID(value: take()) }
        var events: [Event] = []
        func add(_ flb: FLB, _ id: FLBID, _ kind: FLBState.Kind) {
            events.append(
                .flbAdded(
                    FLBState(
                        id: id, kind: kind, compatible: flb.record.name, data: flb.record.data, ranges: flb.ranges,
                        count: flb.record.count, retrieved: .notTried)))
        }
        for (flb, id) in zip(flbs, flbIDs) { add(flb, id, .incoming) }
        for flb in discarded { add(flb, FLBID(value: take()), .discarded) }
        for session in sessions {
            let id = SessionID(value: take())
            events.append(
                .sessionAdded(
                    SessionState(
                        id: id, name: session.name, direction: .incoming, progress: .waiting,
                        holder: SessionHolder(user: session.user, isDetached: session.isDetached))))
            if let maker = session.maker { events.append(.sessionMade(id, maker)) }
            for file in session.files {
                events +=
                    FileState(
                        id: FileID(value: take()), session: id, token: file.record.token,
                        compatible: file.record.compatible, slot: file.slot, identity: file.identity,
                        data: file.record.data, ranges: file.ranges, flbs: file.links.map { flbIDs[Int($0)] },
                        retrieved: file.leftOut.map { .failed(errno: $0.errno) } ?? .notTried,
                        holdsFile: file.holdsFile, attestation: file.attestation,
                        leftOut: file.leftOut?.reason
                    ).added
            }
        }
        return [.boot(updateNumber: updateNumber, nextID: next), .phase(.running)] + events
    }
}
