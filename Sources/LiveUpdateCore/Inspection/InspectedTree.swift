// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDeviceTree
package import LiveUpdateHandover
package import LiveUpdatePlatform

/// A tree that one boot has handed to the next boot, or will hand over.
package struct InspectedTree: Sendable {
    /// One of its flattened trees.
    package struct Flattened: Sendable {
        /// The name of its node in the root; "/" for the root itself.
        package let name: String
        /// The offset in bytes from the arena's start.
        package let offset: UInt64
        /// The source of the tree in dts; nil when libfdt refuses the tree.
        package let source: String?
        /// The reason why the tree cannot be read; nil when it can.
        package let failure: ArenaError?
    }

    /// Which tree of the arena this is: the incoming or the outgoing tree.
    package let part: ArenaPart
    /// The range as the tree's slot names it. It may reach beyond the arena.
    package let place: Extent
    /// The root, and the flattened trees that it names.
    package let flattened: [Flattened]
    /// The state with which the receiving boot begins, as far as it can be read.
    package let state: InspectedState?
    /// The time at which the boot that wrote the tree froze its files.
    package let freeze: FreezeTime?
    /// The room in which the receiving boot writes its journal.
    package let journalRoom: Extent?
    /// The reason why a boot would not take the tree over; nil if it would.
    package let failure: ArenaError?

    /// The most flattened trees to read. An intact root names fewer, and a damaged one can name the same tree many
    /// times.
    private static let most = 16

    init(_ part: ArenaPart, at place: Extent, in arena: ArenaInspection) {
        let reader = LuoTreeReader(arena: arena, range: place)
        self.part = part
        self.place = place
        flattened = Self.flattened(reader)
        do throws(ArenaError) {
            let (tree, map) = try reader.contents()
            var read = PartialState()
            for event in tree.events { read.apply("the \(part)") { event } }
            // The incoming tree was taken over, so the ranges that it names may be gone.
            let isNext = part == .outgoingTree
            if isNext { read.claim([tree.journalRoom], in: arena) }
            state = InspectedState(read.state, in: arena, isOver: !isNext)
            freeze = tree.freeze
            journalRoom = tree.journalRoom
            failure = Self.disagreement(reader, tree, map) ?? read.failure
        } catch {
            (state, freeze, journalRoom) = (nil, nil, nil)
            failure = error
        }
    }

    private static func disagreement(_ reader: LuoTreeReader, _ tree: LuoTree, _ map: UInt64) -> ArenaError? {
        do throws(ArenaError) {
            try reader.check(tree, map: map)
            return nil
        } catch {
            return error
        }
    }

    private static func flattened(_ reader: LuoTreeReader) -> [Flattened] {
        let (first, root) = flattened("/", at: reader.range.offset, reader)
        guard let root else { return [first] }
        return [first]
            + root.childNames().prefix(most).compactMap { name in
                root.child(name).flatMap { root.u64(LuoNames.subtree, of: $0) }.map { offset in
                    flattened(name, at: offset, reader).shown
                }
            }
    }

    private static func flattened(
        _ name: String, at offset: UInt64, _ reader: LuoTreeReader
    ) -> (shown: Flattened, tree: DeviceTreeReader?) {
        do throws(ArenaError) {
            let tree = try reader.flattenedTree(at: offset)
            return (Flattened(name: name, offset: offset, source: tree.source, failure: nil), tree)
        } catch {
            return (Flattened(name: name, offset: offset, source: nil, failure: error), nil)
        }
    }
}
