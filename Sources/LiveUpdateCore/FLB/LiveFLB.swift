// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// The running state of one preservation of an FLB, in one direction: the kernel's `luo_flb_private_state`. The part
/// that must not be lost is in ``FLBState``. Only ``FLBTable`` has and changes it, under its monitor.
final class LiveFLB {
    let id: FLBID
    let direction: Direction
    let compatible: String
    let data: UInt64
    var ranges: [StoredRange]
    /// The registered FLB, which has the callbacks; nil for an FLB that was handed over and is not registered yet.
    var definition: (any FileLifecycleBound)?
    var object: (any Sendable)?
    /// The number of files that are counted on the FLB, with the files of preserves that have not returned yet.
    var users: UInt64
    var retrieved: RetrieveStatus
    /// The number of getters' closures that run now.
    var loans = 0
    /// Whether a callback runs, so that no other one may begin.
    var isBusy = false
    /// Whether the FLB is finished or unpreserved.
    var isGone = false

    init(_ state: FLBState, definition: (any FileLifecycleBound)?, object: (any Sendable)?) {
        id = state.id
        direction = state.kind == .outgoing ? .outgoing : .incoming
        compatible = state.compatible
        data = state.data
        ranges = state.ranges
        users = state.count
        retrieved = state.retrieved
        isGone = state.kind == .incoming && state.count == 0
        self.definition = definition
        self.object = object
    }

    /// The outgoing FLB as the journal records it, ahead of its first file.
    var record: FLBState {
        FLBState(
            id: id, kind: .outgoing, compatible: compatible, data: data, ranges: ranges, count: 0, retrieved: .done)
    }
}

extension FileLifecycleBound {
    /// The callbacks without the object's type, because the core has objects of many FLBs side by side.
    func preserveErased(_ context: FLBContext) throws(LiveUpdateError) -> (data: UInt64, object: any Sendable) {
        let (data, object) = try preserve(context)
        return (data, object)
    }

    func retrieveErased(_ context: FLBContext) throws(LiveUpdateError) -> any Sendable { try retrieve(context) }

    func resumeErased(_ context: FLBContext) throws(LiveUpdateError) -> any Sendable { try resume(context) }

    func unpreserveErased(_ object: any Sendable, _ context: FLBContext) {
        if let object = object as? Object { unpreserve(object, context) }
    }

    func finishErased(_ object: any Sendable, _ context: FLBContext) {
        if let object = object as? Object { finish(object, context) }
    }

    func serializeErased(_ object: any Sendable, _ context: FLBContext) throws(LiveUpdateError) -> UInt64 {
        guard let object = object as? Object else { return context.data }
        return try serialize(object, context)
    }

    /// The object with its own type.
    func typed(_ object: any Sendable) throws(LiveUpdateError) -> Object {
        guard let object = object as? Object else {
            throw LiveUpdateError(
                .invalidArgument, "the live object of \"\(compatible)\" was made by another FLB of that name",
                remedy: "give each FLB a compatible string of its own")
        }
        return object
    }
}
