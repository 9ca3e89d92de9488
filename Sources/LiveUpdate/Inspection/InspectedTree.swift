import DeviceTree
package import Handover
package import Platform

/// A tree that one boot handed to the next, or will.
package struct InspectedTree: Sendable {
    /// One of its flattened trees.
    package struct Flattened: Sendable {
        /// Of its node in the root; "/" is the root itself.
        package let name: String
        /// In bytes from the arena's start.
        package let offset: UInt64
        /// As dts; nil when libfdt refuses it.
        package let source: String?
        /// Why it cannot be read; nil when it can.
        package let failure: ArenaError?
    }

    /// Which one.
    package let part: ArenaPart
    /// As its slot says; it may reach beyond the arena.
    package let place: Extent
    /// The root, and what it names.
    package let flattened: [Flattened]
    /// What the boot that gets it begins with, as far as it can be read.
    package let state: InspectedState?
    /// When the boot that wrote it froze its files.
    package let freeze: FreezeTime?
    /// Where the boot that gets it writes its journal.
    package let journalRoom: Extent?
    /// Why it would not be taken over.
    package let failure: ArenaError?

    /// More than ever are in use; damage can name one again and again.
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
            // The incoming one has been taken over: what it names may be gone.
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
