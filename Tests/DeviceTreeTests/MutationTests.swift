// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDeviceTree
import TestSupport
import Testing

/// Damaged trees are refused, or read as some tree. The reader never crashes on them.
@Suite struct MutationTests {
    /// Makes every request to a reader of the tree.
    private func readAll(_ bytes: [UInt8]) {
        guard let reader = try? DeviceTreeReader(bytes) else { return }
        readAll(reader, .root, depth: 0)
    }

    private func readAll(_ reader: DeviceTreeReader, _ node: DeviceTreeReader.Node, depth: Int) {
        for name in ["compatible", "number", "fdt", "zero", "empty"] {
            _ = (reader.property(name, of: node), reader.string(name, of: node), reader.u64(name, of: node))
        }
        guard depth < 8 else { return }
        for name in reader.childNames(of: node) {
            if let child = reader.child(name, of: node) { readAll(reader, child, depth: depth + 1) }
        }
    }

    @Test func everyTruncationIsRefused() throws {
        let tree = try RoundTripTests.sample.flattened()
        for length in 0..<tree.count {
            #expect(throws: DeviceTreeError.self) { try DeviceTreeReader([UInt8](tree.prefix(length))) }
        }
    }

    @Test("Versions before 16 are refused unread: on some, libfdt reads through a null pointer", arguments: 0..<16)
    func oldVersions(_ version: UInt32) throws {
        var tree = try RoundTripTests.sample.flattened()
        for offset in [20, 24] { tree.replaceSubrange(offset..<offset + 4, with: nativeBytes(version.bigEndian)) }
        let error = #expect(throws: DeviceTreeError.self) { try DeviceTreeReader(tree) }
        #expect(error?.description.contains("VERSION") == true)
    }

    @Test("A property as long as all memory is refused: in libfdt its end overflows to a place near its start")
    func longProperties() throws {
        var tree = try RoundTripTests.sample.flattened()
        // The property's length comes after the root's token, its empty name, and the property's own token.
        let place = 12 + tree[8..<12].reduce(0) { $0 << 8 | Int($1) }
        #expect([UInt8](tree[place - 4..<place]) == [0, 0, 0, 3])
        for length in (0..<64).map({ UInt32.max - $0 }) + [1 << 31] {
            tree.replaceSubrange(place..<place + 4, with: nativeBytes(length.bigEndian))
            #expect(throws: DeviceTreeError.self, "\(length)") { try DeviceTreeReader(tree) }
        }
    }

    @Test func everyBitOfTheHeaderAndTheStructureCanFlip() throws {
        let tree = try RoundTripTests.sample.flattened()
        for position in tree.indices {
            for bit in 0..<8 {
                var damaged = tree
                damaged[position] ^= 1 << bit
                readAll(damaged)
                _ = try? DeviceTreeReader.totalSize(ofHeader: damaged)
            }
        }
    }

    @Test func randomDamage() throws {
        let tree = try RoundTripTests.sample.flattened()
        var generator = SeededGenerator(seed: announcedSeed("damaged device trees"))
        let interesting: [UInt32] = [0, 1, 2, 3, 4, 9, 0x7FFF_FFFF, 0x8000_0000, .max, .max - 3]
        for _ in 0..<Scale.count(20_000) {
            var damaged = tree
            for _ in 0...generator.index(below: 4) {
                let at = generator.index(below: tree.count - 4)
                let value = interesting.randomElement(using: &generator) ?? 0
                if Bool.random(using: &generator) {
                    damaged.replaceSubrange(at..<at + 4, with: nativeBytes(value.bigEndian))
                } else {
                    damaged[at] = UInt8.random(in: 0...255, using: &generator)
                }
            }
            readAll(damaged)
        }
    }

    @Test func randomBytesAreNoTree() {
        var generator = SeededGenerator(seed: 3)
        for length in 0..<200 {
            let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &generator) }
            #expect(throws: DeviceTreeError.self) { try DeviceTreeReader(bytes) }
            #expect(throws: DeviceTreeError.self) { try DeviceTreeReader.totalSize(ofHeader: bytes) }
        }
    }
}
