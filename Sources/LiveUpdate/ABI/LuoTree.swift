import DeviceTree
import Handover
import Platform

/// What travels: the part of a boot's state that the next one gets, in the order of the records.
struct LuoTree: Equatable, Sendable {
    struct File: Equatable, Sendable {
        var record: FileRecord
        var slot: DescriptorSlot
        var identity: FileIdentity
        var ranges: [StoredRange]
        /// Indexes into ``LuoTree/flbs``, in link order.
        var links: [UInt8]
        var holdsFile = true
        /// The reason why the file was left out of the update.
        var leftOut: LeftOut?
    }

    struct Session: Equatable, Sendable {
        var name: SessionName
        var owner: SessionOwner = 0
        var isDetached = false
        var files: [File]
    }

    struct FLB: Equatable, Sendable {
        var record: FLBRecord
        var ranges: [StoredRange]
    }

    /// Updates, with the one that it is made for.
    var updateNumber: UInt64
    /// When the first file was frozen, and the last one was: to be shown.
    var freeze: FreezeTime
    /// Where the next boot can write its journal without touching anything of this one.
    var journalRoom: Extent
    var sessions: [Session]
    var flbs: [FLB]
    /// FLBs of sessions that were discarded: for the next boot to finish.
    var discarded: [FLB]
}

/// When files were frozen: CLOCK_MONOTONIC, in nanoseconds. It is shown, and no decision rests on it.
public struct FreezeTime: Equatable, Sendable {
    /// 0 in the first boot.
    public var start: UInt64
    /// 0 in the first boot.
    public var end: UInt64
}

/// Names of nodes and properties: the kernel's where it has one.
enum LuoNames {
    static let handover = "kho-v1"
    static let memoryMap = "preserved-memory-map"
    static let subtree = "fdt"
    static let luo = (node: "LUO", compatible: "luo-v1", property: "liveupdate-number")
    static let sessions = (node: "luo-session", compatible: "luo-session-v1", property: "luo-session-header")
    static let flbs = (node: "luo-flb", compatible: "luo-flb-v1", property: "luo-flb-header")
    /// Only where sessions are other users' or detached.
    static let holders = (node: "luo-holder", compatible: "luo-holder-v1", property: "luo-holder-header")
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
                        holder: SessionHolder(owner: session.owner, isDetached: session.isDetached))))
            for file in session.files {
                events.append(
                    .fileAdded(
                        FileState(
                            id: FileID(value: take()), session: id, token: file.record.token,
                            compatible: file.record.compatible, slot: file.slot, identity: file.identity,
                            data: file.record.data, ranges: file.ranges, flbs: file.links.map { flbIDs[Int($0)] },
                            retrieved: file.leftOut.map { .failed(errno: $0.errno) } ?? .notTried,
                            holdsFile: file.holdsFile, leftOut: file.leftOut?.reason)))
            }
        }
        return [.boot(updateNumber: updateNumber, nextID: next), .phase(.running)] + events
    }
}
